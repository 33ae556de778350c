//! The law of accounting, as a pure function of what was counted.

use sensor_ebpf::abi::{FlowEntry, ProtocolClass, Totals};

use super::FlowSums;

/// `|runs - (Σ flows + Σ overflow + non-IP + Σ unparsed + Σ suppressed)|` in packets.
pub(super) fn difference(totals: &Totals, flows: &FlowSums) -> u64 {
    let booked = flows.packets.iter().sum::<u64>()
        + totals.overflow.iter().sum::<u64>()
        + totals.non_ip
        + totals.unparsed.iter().sum::<u64>()
        + totals.suppressed.iter().sum::<u64>();
    totals.runs.abs_diff(booked)
}

/// Adds a flow record.
pub(super) fn add_flow(sums: &mut FlowSums, protocol: u8, entry: &FlowEntry) {
    let class = ProtocolClass::of(protocol) as usize;
    sums.entries += 1;
    sums.packets[class] += entry.packets;
    sums.bytes[class] += entry.bytes;
}

/// Sums the totals of all CPUs.
pub(super) fn sum(cpus: &[Totals]) -> Totals {
    let mut sum = Totals::default();
    for cpu in cpus {
        let Totals {
            runs,
            bytes,
            non_ip,
            non_ip_bytes,
            suppressed,
            suppressed_bytes,
            syn,
            sampled,
            sample_lost,
            overflow,
            overflow_bytes,
            unparsed,
            unparsed_bytes,
            dropped,
            dropped_bytes,
            transmitted,
            transmitted_bytes,
            dropped_by,
            would_drop,
            would_transmit,
            syncookies,
        } = cpu;
        for (to, from) in [
            (&mut sum.runs, runs),
            (&mut sum.bytes, bytes),
            (&mut sum.non_ip, non_ip),
            (&mut sum.non_ip_bytes, non_ip_bytes),
            (&mut sum.syn, syn),
            (&mut sum.sampled, sampled),
            (&mut sum.dropped, dropped),
            (&mut sum.dropped_bytes, dropped_bytes),
            (&mut sum.transmitted, transmitted),
            (&mut sum.transmitted_bytes, transmitted_bytes),
            (&mut sum.would_transmit, would_transmit),
            (&mut sum.syncookies, syncookies),
        ] {
            *to += from;
        }
        add_each(&mut sum.sample_lost, sample_lost);
        add_each(&mut sum.suppressed, suppressed);
        add_each(&mut sum.suppressed_bytes, suppressed_bytes);
        add_each(&mut sum.overflow, overflow);
        add_each(&mut sum.overflow_bytes, overflow_bytes);
        add_each(&mut sum.unparsed, unparsed);
        add_each(&mut sum.unparsed_bytes, unparsed_bytes);
        add_each(&mut sum.dropped_by, dropped_by);
        add_each(&mut sum.would_drop, would_drop);
    }
    sum
}

fn add_each(to: &mut [u64], from: &[u64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromBytes as _, IntoBytes as _};

    use super::*;

    fn counted() -> (Totals, FlowSums) {
        let totals = Totals {
            runs: 100,
            non_ip: 5,
            suppressed: [2, 1, 1, 1, 1, 1],
            overflow: [1, 2, 3, 4, 5, 6],
            unparsed: [1, 1, 1, 1, 1, 1],
            ..Totals::default()
        };
        let flows = FlowSums {
            entries: 2,
            packets: [60, 1, 0, 0, 0, 0],
            bytes: [0; 6],
        };
        (totals, flows)
    }

    #[test]
    fn the_law_holds_where_every_packet_is_booked_once() {
        let (totals, flows) = counted();
        assert_eq!(difference(&totals, &flows), 0);
    }

    #[test]
    fn a_missing_and_a_double_packet_both_show() {
        let (totals, mut flows) = counted();
        flows.packets[1] -= 1;
        assert_eq!(difference(&totals, &flows), 1);
        flows.packets[0] += 3;
        assert_eq!(difference(&totals, &flows), 2);
    }

    #[test]
    fn every_counter_is_summed_over_the_cpus() {
        let mut cpu = Totals::default();
        let words = size_of::<Totals>() / 8;
        let values: Vec<u64> = (1..=words as u64).collect();
        cpu.as_mut_bytes().copy_from_slice(values.as_bytes());
        let total = sum(&[cpu, cpu, cpu]);
        let tripled = <[u64]>::ref_from_bytes(total.as_bytes()).expect("u64 words");
        assert!(
            tripled
                .iter()
                .zip(&values)
                .all(|(sum, one)| *sum == 3 * one)
        );
    }

    #[test]
    fn flows_are_summed_by_protocol() {
        let mut sums = FlowSums::default();
        let entry = FlowEntry {
            packets: 3,
            bytes: 180,
            ..FlowEntry::default()
        };
        add_flow(&mut sums, 17, &entry);
        add_flow(&mut sums, 17, &entry);
        add_flow(&mut sums, 89, &entry);
        assert_eq!(sums.entries, 3);
        assert_eq!((sums.packets[1], sums.bytes[1]), (6, 360));
        assert_eq!((sums.packets[5], sums.bytes[5]), (3, 180));
    }
}
