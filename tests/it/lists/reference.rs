//! Random nested entries against a plain reference that asks every entry in turn.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use sensor::{
    core::time::Timestamp,
    lists::{List, NewEntry, Source},
};
use sensor_tests::root_or_skip;

use super::bed::{Bed, packet};

/// Long after any test.
const FAR_NS: u64 = u64::MAX / 2;

/// An entry in plain words.
#[derive(Clone, Debug)]
struct Plain {
    what: What,
    list: List,
    dry_run: bool,
    until_ns: Option<u64>,
    source: Source,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Net(IpAddr, u8),
    Port(bool, u16),
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    from: IpAddr,
    is_tcp: bool,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    WouldDrop,
    Drop,
}

fn same_bits(one: IpAddr, other: IpAddr, len: u8) -> bool {
    let bits = |bytes: &[u8]| -> Vec<bool> {
        let bit = |byte: u8| (0..8).rev().map(move |at| byte >> at & 1 == 1);
        bytes.iter().flat_map(|byte| bit(*byte)).collect()
    };
    let (one, other) = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (bits(&one.octets()), bits(&other.octets())),
        (IpAddr::V6(one), IpAddr::V6(other)) => (bits(&one.octets()), bits(&other.octets())),
        _ => return false,
    };
    one[..len.into()] == other[..len.into()]
}

impl Plain {
    fn holds_for(&self, packet: &Packet) -> bool {
        self.until_ns.is_none_or(|end| end == FAR_NS)
            && match self.what {
                What::Net(net, len) => same_bits(net, packet.from, len),
                What::Port(is_tcp, port) => (is_tcp, port) == (packet.is_tcp, packet.port),
            }
    }

    fn entry(&self) -> NewEntry {
        let text = match self.what {
            What::Net(IpAddr::V4(net), len) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                format!("{}/{len}", Ipv4Addr::from(u32::from(net) & mask))
            }
            What::Net(IpAddr::V6(net), len) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                format!("{}/{len}", Ipv6Addr::from(u128::from(net) & mask))
            }
            What::Port(true, port) => format!("tcp/{port}"),
            What::Port(false, port) => format!("udp/{port}"),
        };
        NewEntry {
            target: text.parse().expect("a target"),
            list: self.list,
            source: self.source.clone(),
            reason: "".into(),
            dry_run: self.dry_run,
            until_ns: self.until_ns,
        }
    }
}

fn verdict(entries: &[Plain], packet: &Packet) -> Verdict {
    let any = |list, dry_run| {
        entries
            .iter()
            .any(|entry| entry.list == list && entry.dry_run == dry_run && entry.holds_for(packet))
    };
    if any(List::Allow, false) {
        Verdict::Pass
    } else if any(List::Block, false) {
        Verdict::Drop
    } else if any(List::Block, true) {
        Verdict::WouldDrop
    } else {
        Verdict::Pass
    }
}

/// Few addresses that share many bits, so that entries nest and packets meet them.
fn address() -> impl Strategy<Value = IpAddr> {
    let bytes = prop::array::uniform3(prop::sample::select(vec![0_u8, 1, 2, 3, 128, 255]));
    (any::<bool>(), bytes).prop_map(|(is_v4, [a, b, c])| {
        if is_v4 {
            Ipv4Addr::new(10, a, b, c).into()
        } else {
            Ipv6Addr::new(0x2001, 0xdb8 + u16::from(a), 0, 0, 0, 0, b.into(), c.into()).into()
        }
    })
}

fn what() -> impl Strategy<Value = What> {
    let len = prop::sample::select(vec![0_u8, 1, 8, 15, 22, 23, 24, 25, 31, 32]);
    let long = prop::sample::select(vec![0_u8, 4, 16, 31, 32, 80, 96, 111, 112, 127, 128]);
    prop_oneof![
        8 => (address(), len, long).prop_map(|(address, len, long)| {
            What::Net(address, if address.is_ipv4() { len } else { long })
        }),
        1 => (any::<bool>(), prop::sample::select(vec![22_u16, 53, 80]))
            .prop_map(|(is_tcp, port)| What::Port(is_tcp, port)),
    ]
}

fn plain() -> impl Strategy<Value = Plain> {
    let until = prop::sample::select(vec![None, None, Some(FAR_NS), Some(1)]);
    let source = prop::sample::select(vec![Source::Command, Source::Config]);
    (what(), 0_u8..6, until, source).prop_map(|(what, kind, until_ns, source)| Plain {
        what,
        list: if kind < 2 { List::Allow } else { List::Block },
        dry_run: kind == 2,
        until_ns,
        source,
    })
}

fn packets() -> impl Strategy<Value = Vec<Packet>> {
    let port = prop::sample::select(vec![22_u16, 53, 443]);
    let packet = (address(), any::<bool>(), port).prop_map(|(from, is_tcp, port)| Packet {
        from,
        is_tcp,
        port,
    });
    prop::collection::vec(packet, 1..24)
}

/// Several states of the lists after one another: what is changed has to come out as what is
/// made anew.
fn states() -> impl Strategy<Value = Vec<Vec<Plain>>> {
    prop::collection::vec(prop::collection::vec(plain(), 0..12), 1..4)
}

/// The first entry of several with the same key is replaced by the last, as by commands.
fn last_of_each_key(entries: &[Plain]) -> Vec<Plain> {
    let key = |plain: &Plain| {
        let entry = plain.entry();
        (entry.target, entry.list, entry.source)
    };
    let mut kept: Vec<Plain> = Vec::new();
    for entry in entries {
        kept.retain(|other| key(other) != key(entry));
        kept.push(entry.clone());
    }
    kept
}

fn check(bed: &mut Bed, states: &[Vec<Plain>], packets: &[Packet]) -> Result<(), TestCaseError> {
    let failed = |error: anyhow::Error| TestCaseError::fail(format!("{error:#}"));
    let mut expected = [0_u64; 3];
    for entries in states {
        let entries = last_of_each_key(entries);
        for source in [Source::Command, Source::Config] {
            let of_source = entries.iter().filter(|entry| entry.source == source);
            let new = of_source.map(Plain::entry).collect();
            bed.lists
                .replace(&source, new, Timestamp(0))
                .map_err(|error| failed(error.into()))?;
        }
        bed.install().map_err(failed)?;
        // Twice: as a flow's first packet, and as a later one.
        for packet in packets.iter().chain(packets) {
            let expected_verdict = verdict(&entries, packet);
            expected[expected_verdict as usize] += 1;
            let frame = super::bed::packet(packet.from, packet.is_tcp, packet.port);
            let passes = bed.passes(&frame).map_err(failed)?;
            prop_assert_eq!(
                passes,
                expected_verdict != Verdict::Drop,
                "{:?} among {:#?}",
                packet,
                entries
            );
        }
    }
    let totals = bed.received().map_err(failed)?.totals;
    prop_assert_eq!(totals.dropped, expected[Verdict::Drop as usize]);
    prop_assert_eq!(totals.suppressed.iter().sum::<u64>(), totals.dropped);
    prop_assert_eq!(
        totals.would_drop.iter().sum::<u64>(),
        expected[Verdict::WouldDrop as usize]
    );
    Ok(())
}

#[test]
fn verdicts_are_those_of_a_plain_reference() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    Bed::run(|bed| {
        let bed = RefCell::new(bed);
        let mut runner = TestRunner::new(Config {
            cases: 60,
            failure_persistence: None,
            ..Config::default()
        });
        let result = runner.run(&(states(), packets()), |(states, packets)| {
            let mut bed = bed.borrow_mut();
            // What a case that failed has left is not this one's.
            let _ = bed.received();
            check(&mut bed, &states, &packets)
        });
        Ok(result?)
    })
}

#[test]
fn an_ipv6_prefix_never_stops_ipv4() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    Bed::run(|bed| {
        let v4 = packet("192.0.2.1".parse()?, true, 80);
        let v6 = packet("2001:db8::1".parse()?, true, 80);
        bed.list(List::Block, "::/0", None)?;
        assert_eq!((bed.passes(&v4)?, bed.passes(&v6)?), (true, false));
        bed.list(List::Block, "192.0.2.0/24", None)?;
        assert!(!bed.passes(&v4)?);
        bed.unlist(List::Block, "::/0")?;
        assert_eq!((bed.passes(&v4)?, bed.passes(&v6)?), (false, true));
        bed.list(List::Block, "0.0.0.0/0", None)?;
        bed.unlist(List::Block, "192.0.2.0/24")?;
        assert_eq!((bed.passes(&v4)?, bed.passes(&v6)?), (false, true));
        Ok(())
    })
}
