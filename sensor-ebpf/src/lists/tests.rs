use super::*;
use crate::abi::ListPort;
use index::{Slot, WORDS};

const NOW: u64 = 1_000;
const LATER: u64 = NOW + 1;

fn entry(allow: u64, block: u64, dry: u64) -> ListEntry {
    ListEntry {
        allow_until_ns: allow,
        block_until_ns: block,
        dry_until_ns: dry,
        allow_hits: 1,
        block_hits: 2,
        dry_hits: 3,
        flags: 0,
        owner: 0,
    }
}

#[test]
fn nothing_listed_passes() {
    let pass = Decision::Pass { allowed: false };
    assert_eq!(decide(None, None, NOW), pass);
    assert_eq!(decide(Some(&entry(0, 0, 0)), None, NOW), pass);
}

#[test]
fn allowing_wins_wherever_it_stands() {
    let spared = Decision::Spared { hits: 1 };
    let allow = entry(u64::MAX, 0, 0);
    let block = entry(0, u64::MAX, 0);
    assert_eq!(
        decide(Some(&entry(LATER, LATER, 0)), None, NOW),
        spared,
        "same entry"
    );
    assert_eq!(decide(Some(&allow), Some(&block), NOW), spared);
    assert_eq!(decide(Some(&block), Some(&allow), NOW), spared);
    assert_eq!(
        decide(Some(&allow), None, NOW),
        Decision::Pass { allowed: true }
    );
}

#[test]
fn every_time_to_live_ends_by_itself() {
    let ends_now = entry(NOW, NOW, NOW);
    assert_eq!(
        decide(Some(&ends_now), None, NOW),
        Decision::Pass { allowed: false }
    );
    let reason = DropReason::BlockAddress;
    assert_eq!(
        decide(Some(&entry(NOW, LATER, 0)), None, NOW),
        Decision::Block { reason, hits: 2 },
        "the allow entry is over"
    );
    assert_eq!(
        decide(Some(&entry(0, NOW, LATER)), None, NOW),
        Decision::DryRun { reason, hits: 3 },
        "the block entry is over"
    );
}

#[test]
fn blocking_wins_over_a_dry_run_and_the_reason_names_the_entry() {
    let mut both = entry(0, LATER, LATER);
    both.flags = list_flags::BLOCKS_PREFIX;
    assert_eq!(
        decide(Some(&both), None, NOW),
        Decision::Block {
            reason: DropReason::BlockPrefix,
            hits: 2
        }
    );
    both.block_until_ns = 0;
    assert_eq!(
        decide(Some(&both), None, NOW),
        Decision::DryRun {
            reason: DropReason::BlockAddress,
            hits: 3
        }
    );
    let reason = DropReason::BlockPort;
    assert_eq!(
        decide(Some(&both), Some(&entry(0, LATER, 0)), NOW),
        Decision::Block { reason, hits: 2 }
    );
    assert_eq!(
        decide(None, Some(&entry(0, 0, LATER)), NOW),
        Decision::DryRun { reason, hits: 3 }
    );
}

#[test]
fn only_whole_neighbour_discovery_is_exempt() {
    let discovery = |protocol, kind, flags| {
        is_neighbour_discovery(&FlowKey {
            protocol,
            src_port: kind,
            flags,
            ..FlowKey::default()
        })
    };
    assert!((133..=137).all(|kind| discovery(58, kind, key_flags::IPV6)));
    assert!(!discovery(58, 128, key_flags::IPV6), "echo request");
    assert!(!discovery(58, 138, key_flags::IPV6));
    assert!(!discovery(17, 135, 0), "a UDP port");
    assert!(!discovery(58, 135, key_flags::IPV6 | key_flags::FRAGMENT));
}

#[test]
fn slots_lie_within_the_index_and_families_and_ports_apart() {
    let extremes = [
        Slot::v4(0),
        Slot::v4(0xff_ffff),
        Slot::v6(0),
        Slot::v6(u32::MAX),
        index::all_v6().next().expect("a slot"),
        index::all_v6().last().expect("a slot"),
        Slot::port(6, 0).expect("TCP"),
        Slot::port(132, u16::MAX).expect("SCTP"),
    ];
    assert!(
        extremes
            .iter()
            .all(|slot| (slot.word() as usize) < WORDS && slot.shift() < 63)
    );
    let all: Vec<_> = index::all_v6().collect();
    for net in [0, 1, 0x2001_0db8, u32::MAX] {
        assert!(all.binary_search(&Slot::v6(net)).is_ok());
        assert!(all.binary_search(&Slot::v4(net)).is_err());
    }
    assert_ne!(Slot::port(6, 53), Slot::port(17, 53));
    assert_eq!(Slot::port(1, 53), None);
    assert_eq!(size_of::<ListPort>(), 4);
}

#[test]
fn a_packets_slots_are_those_of_its_addresses_and_port() {
    let mut key = FlowKey {
        dst_port: 53,
        protocol: 17,
        ..FlowKey::default()
    };
    key.src[12..].copy_from_slice(&[192, 0, 2, 77]);
    assert_eq!(Slot::source(&key), Slot::v4(0xc0_0002));
    assert_eq!(Slot::destination_port(&key), Slot::port(17, 53));
    key.src[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    key.flags = key_flags::IPV6 | key_flags::FRAGMENT;
    assert_eq!(Slot::source(&key), Slot::v6(0x2001_0db8));
    assert_eq!(Slot::destination_port(&key), None);
}

#[test]
fn neighbours_and_families_have_other_marks() {
    let address = |last| {
        let mut address = [0; 16];
        address[0] = 0x20;
        address[15] = last;
        address
    };
    assert_eq!(owner(&address(1)), owner(&address(1)));
    assert_ne!(owner(&address(1)), owner(&address(2)));
    let port = |protocol| port_owner(ListPort { port: 53, protocol });
    assert_ne!(port(6), port(17));
}
