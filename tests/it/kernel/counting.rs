//! What becomes of each sort of packet: exactly one term of the law of accounting.

use anyhow::Result;
use sensor_ebpf::abi::{Direction, FlowEntry, FlowKey, Totals, UNPARSED_REASONS, key_flags};

use super::frames::{arp, ethernet, extended, tagged, tcp, tcp_flag, udp};
use super::programs::{Programs, Setup, loaded};

/// Flows and totals that agree with one another.
type Counted = (Vec<(FlowKey, FlowEntry)>, Totals);

/// Receives the frames with a fresh object.
fn received(frames: &[Vec<u8>]) -> Result<Option<Counted>> {
    let Some(programs) = loaded(Setup::default())? else {
        return Ok(None);
    };
    for frame in frames {
        programs.receive(frame)?;
    }
    finished(&programs, frames.len()).map(Some)
}

fn finished(programs: &Programs, frames: usize) -> Result<Counted> {
    let totals = programs.balanced(1, Direction::Ingress)?;
    assert_eq!(totals.runs, frames as u64);
    Ok((programs.flows(1)?, totals))
}

#[test]
fn tcp_flags_are_collected_and_counted() -> Result<()> {
    use tcp_flag::{ACK, FIN, RST, SYN};
    let flags = [SYN, SYN | ACK, ACK, FIN | ACK, FIN | ACK, RST];
    let Some((flows, totals)) = received(&flags.map(tcp))? else {
        return Ok(());
    };
    assert_eq!(flows.len(), 1);
    let entry = flows[0].1;
    assert_eq!((entry.packets, entry.bytes), (6, 6 * 54));
    assert_eq!(entry.tcp_flags, u64::from(SYN | ACK | FIN | RST));
    assert_eq!(
        (entry.syn, entry.syn_ack, entry.fin, entry.rst),
        (1, 1, 2, 1)
    );
    assert_eq!(totals.syn, 1);
    assert!(0 < entry.first_ns && entry.first_ns <= entry.last_ns);
    Ok(())
}

#[test]
fn each_reason_to_give_up_has_its_own_count() -> Result<()> {
    let whole = udp((1000, 7), 0);
    let broken = |at: usize, value: u8| {
        let mut frame = whole.clone();
        frame[at] = value;
        frame
    };
    let mut bad_v6 = extended(&[]);
    bad_v6[14] = 0x40;
    let frames = [
        // By reason, in the order of `UNPARSED_REASONS`, of which the last needs no frame.
        vec![whole[..41].to_vec(), whole[..33].to_vec(), broken(17, 24)],
        vec![tagged(&whole, &[(0x8100, 1); 5])],
        vec![broken(14, 0x65), broken(14, 0x44), broken(17, 19)],
        vec![bad_v6],
        vec![extended(&[60; 7]), extended(&[0, 43, 60, 60, 60, 60, 60])],
    ];
    for (reason, frames) in frames.iter().enumerate() {
        let Some((flows, totals)) = received(frames)? else {
            return Ok(());
        };
        let mut expected = [0; 6];
        expected[reason] = frames.len() as u64;
        assert_eq!(totals.unparsed, expected, "{}", UNPARSED_REASONS[reason]);
        assert_eq!(flows.len(), 0);
    }
    Ok(())
}

#[test]
fn what_is_not_ip_is_counted_as_such() -> Result<()> {
    let frames = [arp(), ethernet(60, &[0x42; 60]), ethernet(0x88cc, &[])];
    let Some((flows, totals)) = received(&frames)? else {
        return Ok(());
    };
    assert_eq!((flows.len(), totals.non_ip), (0, 3));
    assert_eq!(totals.non_ip_bytes, 42 + 74 + 14);
    Ok(())
}

#[test]
fn tags_of_every_sort_are_part_of_the_key() -> Result<()> {
    use key_flags::{QINQ, VLAN};
    let whole = udp((1000, 7), 0);
    /// Tags as ethertype and TCI; VLAN ids and flags of the key.
    type Case<'a> = (&'a [(u16, u16)], [u16; 2], u16);
    let cases: [Case<'_>; 6] = [
        (&[], [0, 0], 0),
        (&[(0x8100, 0xe007)], [7, 0], VLAN),
        (&[(0x8100, 0x6000)], [0, 0], VLAN),
        (&[(0x88a8, 100), (0x8100, 200)], [100, 200], VLAN | QINQ),
        (
            &[(0x9100, 3), (0x8100, 4), (0x8100, 5)],
            [3, 4],
            VLAN | QINQ,
        ),
        (&[(0x8100, 4095); 4], [4095, 4095], VLAN | QINQ),
    ];
    let frames = cases.map(|(tags, ..)| tagged(&whole, tags));
    let Some((flows, _)) = received(&frames)? else {
        return Ok(());
    };
    let mut found: Vec<_> = flows.iter().map(|(key, _)| (key.vlan, key.flags)).collect();
    let mut expected: Vec<_> = cases
        .iter()
        .map(|(_, vlan, flags)| (*vlan, *flags))
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(flows.iter().all(|(key, _)| key.dst_port == 7));
    Ok(())
}

#[test]
fn fragments_have_ports_only_where_they_carry_them() -> Result<()> {
    let mut first = udp((1000, 7), 64);
    first[20] = 0x20;
    let mut later = udp((1000, 7), 64);
    later[21] = 9;
    let mut tail = later.clone();
    // Shorter than a UDP header, which it does not have.
    tail.truncate(14 + 20 + 3);
    tail[17] = 23;
    let mut v6 = extended(&[44]);
    v6[14 + 40 + 3] = 0x10;
    let atomic = extended(&[44]);
    let Some((mut flows, totals)) = received(&[first, later, tail, v6, atomic])? else {
        return Ok(());
    };
    assert_eq!(totals.unparsed, [0; 6]);
    flows.sort_unstable_by_key(|(key, _)| (key.flags, key.src_port));
    let found: Vec<_> = flows
        .iter()
        .map(|(key, entry)| (key.flags, key.src_port, key.protocol, entry.packets))
        .collect();
    use key_flags::{FRAGMENT, IPV6};
    let expected = [
        (0, 1000, 17, 1),
        (IPV6, 0x1000, 17, 1),
        (FRAGMENT, 0, 17, 2),
        (IPV6 | FRAGMENT, 0, 17, 1),
    ];
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn extension_headers_are_followed_to_the_transport() -> Result<()> {
    let chains: [&[u8]; 5] = [&[], &[0], &[43], &[60, 60], &[0, 43, 60, 60, 60, 60]];
    let frames = chains.map(extended);
    let Some((flows, totals)) = received(&frames)? else {
        return Ok(());
    };
    assert_eq!((flows.len(), totals.unparsed), (1, [0; 6]));
    let (key, entry) = flows[0];
    assert_eq!(
        (key.src_port, key.dst_port, key.protocol),
        (0x1000, 0x2000, 17)
    );
    assert_eq!((key.flags, entry.packets), (key_flags::IPV6, 5));
    Ok(())
}
