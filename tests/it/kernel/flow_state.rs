//! What is remembered of a flow's sampling when its generation is over.

use anyhow::{Context as _, Result};
use sensor_ebpf::abi::{FlowKey, SampleClass, Settings};
use sensor_ebpf::sampling::{State, Verdict};

use super::frames::udp;
use super::programs::{Programs, Setup, loaded};

const FIRST: u32 = 3;

fn ready() -> Result<Option<Programs>> {
    let mut programs = loaded(Setup::default())?;
    if let Some(programs) = &mut programs {
        programs.set(Settings {
            first_packets: FIRST,
            budget: [1000; 5],
            ..Settings::default()
        })?;
    }
    Ok(programs)
}

fn frame() -> Vec<u8> {
    udp((1000, 7), 0)
}

fn only_key(programs: &Programs) -> Result<FlowKey> {
    Ok(programs.flows(1)?.first().context("a flow")?.0)
}

#[test]
fn an_established_flow_is_not_sampled_anew_in_the_next_generation() -> Result<()> {
    let Some(mut programs) = ready()? else {
        return Ok(());
    };
    programs.receive_often(&frame(), 5)?;
    assert_eq!(programs.records()?.len(), FIRST as usize);
    let states = programs.flow_states()?;
    assert_eq!(states, [(only_key(&programs)?, State(FIRST.into()))]);
    programs.open_generation(2)?;
    programs.receive_often(&frame(), 5)?;
    assert_eq!(programs.records()?.len(), 0);
    let (_, entry) = *programs.flows(2)?.first().context("a flow")?;
    assert_eq!((entry.packets, entry.state), (5, FIRST.into()));
    Ok(())
}

/// A flood of spoofed sources must not push real flows out.
#[test]
fn a_flows_first_packet_leaves_nothing_behind() -> Result<()> {
    let Some(mut programs) = ready()? else {
        return Ok(());
    };
    for port in 1..=100 {
        programs.receive(&udp((port, 7), 0))?;
    }
    assert_eq!(programs.records()?.len(), 100);
    assert_eq!(programs.flow_states()?.len(), 0);
    programs.receive(&udp((5, 7), 0))?;
    assert_eq!(programs.flow_states()?.len(), 1);
    Ok(())
}

#[test]
fn verdicts_of_user_space_reach_the_flow_in_the_next_generation() -> Result<()> {
    for (verdict, sampled) in [(Verdict::Enough, 0), (Verdict::More, 10)] {
        let Some(mut programs) = ready()? else {
            return Ok(());
        };
        programs.receive(&frame())?;
        let key = only_key(&programs)?;
        programs.set_flow_state(&key, State::of(verdict))?;
        programs.records()?;
        programs.open_generation(2)?;
        programs.receive_often(&frame(), 10)?;
        let records = programs.records()?;
        assert_eq!(records.len(), sampled, "{verdict:?}");
        let full = SampleClass::Full as u8;
        assert!(records.iter().all(|record| record.header.class == full));
        let states = programs.flow_states()?;
        assert_eq!(states[0].1.verdict(), verdict);
    }
    Ok(())
}

/// The verdict is taken over where the flow is sampled, and stops it within the generation.
#[test]
fn a_verdict_reaches_a_flow_at_its_next_sample() -> Result<()> {
    let Some(mut programs) = ready()? else {
        return Ok(());
    };
    programs.receive(&frame())?;
    let key = only_key(&programs)?;
    programs.set_flow_state(&key, State::of(Verdict::Enough))?;
    programs.receive_often(&frame(), 10)?;
    assert_eq!(programs.records()?.len(), 2);
    Ok(())
}
