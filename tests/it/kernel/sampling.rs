//! Records in the rings: which packets, with what in their headers, and what is lost how.

use anyhow::Result;
use sensor_ebpf::abi::{Direction, SAMPLE_SIZES, SampleClass, SampleLoss, Settings, Totals, mode};

use super::frames::{arp, tagged, tcp, tcp_flag, udp};
use super::programs::{LOOPBACK, Programs, Record, Setup, loaded};

const PLENTY: [u32; 5] = [1000; 5];

fn ready(settings: Settings) -> Result<Option<Programs>> {
    ready_with(settings, Setup::default())
}

fn ready_with(settings: Settings, setup: Setup) -> Result<Option<Programs>> {
    let mut programs = loaded(setup)?;
    if let Some(programs) = &mut programs {
        programs.set(settings)?;
    }
    Ok(programs)
}

/// Records and totals, which have to agree.
fn taken(programs: &mut Programs) -> Result<(Vec<Record>, Totals)> {
    let records = programs.records()?;
    let totals = programs.balanced(1, Direction::Ingress)?;
    assert_eq!(totals.sampled, records.len() as u64);
    Ok((records, totals))
}

fn first(packets: u32) -> Settings {
    Settings {
        first_packets: packets,
        budget: PLENTY,
        ..Settings::default()
    }
}

fn full() -> Settings {
    Settings {
        mode: mode::SAMPLE_FULL,
        budget: PLENTY,
        ..Settings::default()
    }
}

#[test]
fn the_first_packets_of_a_flow_come_with_their_numbers() -> Result<()> {
    let Some(mut programs) = ready(first(3))? else {
        return Ok(());
    };
    let frame = udp((1000, 7), 20);
    programs.receive_often(&frame, 10)?;
    let (records, totals) = taken(&mut programs)?;
    assert_eq!(totals.sample_lost, [0; 4]);
    assert_eq!(records.len(), 3);
    let mut last_ns = 0;
    for (number, Record { header, data, .. }) in (1..).zip(&records) {
        assert_eq!((header.number, header.epoch), (number, 1));
        assert_eq!(
            (header.class, header.direction),
            (SampleClass::First as u8, 0)
        );
        assert_eq!((header.ifindex, header.segments), (LOOPBACK, 1));
        assert_eq!((header.wire_len, header.captured_len), (62, 62));
        assert_eq!((header.vlan_tci, header.vlan_proto), (0, 0));
        assert!(header.time_ns > last_ns);
        last_ns = header.time_ns;
        assert_eq!(data, &frame);
    }
    Ok(())
}

#[test]
fn a_record_is_of_the_smallest_size_that_holds_the_frame() -> Result<()> {
    let Some(mut programs) = ready(full())? else {
        return Ok(());
    };
    // The longest Ethernet frame without FCS, with two tags, is whole; a jumbo frame is cut.
    let tagged = tagged(&udp((1000, 7), 1472), &[(0x88a8, 5), (0x8100, 6)]);
    let plain = [14, 128, 129, 512, 513, 1518, 2048, 2049, 9000];
    let mut frames: Vec<_> = plain
        .into_iter()
        .map(|len| match len {
            14 => arp()[..14].to_vec(),
            len => udp((1000, 7), len - 42),
        })
        .collect();
    frames.push(tagged);
    for frame in &mut frames {
        for (at, byte) in frame.iter_mut().enumerate().skip(54) {
            *byte = at as u8;
        }
        programs.receive(frame)?;
    }
    let (records, _) = taken(&mut programs)?;
    assert_eq!(records.len(), frames.len());
    for (record, frame) in records.iter().zip(&frames) {
        let room = SAMPLE_SIZES
            .into_iter()
            .find(|size| *size >= frame.len())
            .unwrap_or(2048);
        assert_eq!(record.room, room, "for {} bytes", frame.len());
        assert_eq!(record.header.wire_len as usize, frame.len());
        assert_eq!(record.data, frame[..frame.len().min(room)]);
    }
    Ok(())
}

#[test]
fn control_segments_dns_and_all_the_rest_have_classes_of_their_own() -> Result<()> {
    let Some(mut programs) = ready(Settings {
        first_packets: 0,
        ..first(0)
    })?
    else {
        return Ok(());
    };
    use tcp_flag::{ACK, FIN, RST, SYN};
    for flags in [SYN, SYN | ACK, FIN | ACK, RST] {
        programs.receive(&tcp(flags))?;
    }
    for ports in [(53, 9999), (9999, 53), (5353, 5353), (1, 5355)] {
        programs.receive(&udp(ports, 30))?;
    }
    programs.receive(&tcp(ACK))?;
    programs.receive(&udp((1, 2), 30))?;
    programs.receive(&arp())?;
    let (records, _) = taken(&mut programs)?;
    let classes: Vec<_> = records.iter().map(|record| record.header.class).collect();
    assert_eq!(
        classes,
        [[SampleClass::Control as u8; 4], [SampleClass::Dns as u8; 4]].concat()
    );
    Ok(())
}

#[test]
fn of_the_rest_one_in_so_many_is_taken() -> Result<()> {
    let Some(mut programs) = ready(Settings {
        rest_below: Settings::rest_below(8),
        ..first(0)
    })?
    else {
        return Ok(());
    };
    programs.receive_often(&udp((1, 2), 30), 800)?;
    let (records, _) = taken(&mut programs)?;
    assert!((98..=102).contains(&records.len()), "{}", records.len());
    let rest = SampleClass::Rest as u8;
    assert!(records.iter().all(|record| record.header.class == rest));
    Ok(())
}

#[test]
fn full_takes_everything_and_off_takes_nothing() -> Result<()> {
    for (mode, expected) in [(mode::SAMPLE_FULL, 4), (mode::SAMPLE_OFF, 0)] {
        let Some(mut programs) = ready(Settings { mode, ..first(5) })? else {
            return Ok(());
        };
        let frames = [
            arp(),
            tcp(tcp_flag::SYN),
            udp((1, 2), 0),
            tcp(0)[..40].to_vec(),
        ];
        for frame in &frames {
            programs.receive(frame)?;
        }
        let (records, totals) = taken(&mut programs)?;
        assert_eq!(
            (records.len(), totals.unparsed[0], totals.non_ip),
            (expected, 1, 1)
        );
        for (record, frame) in records.iter().zip(&frames) {
            assert_eq!(&record.data, frame);
            // Only what has a flow has a number in it.
            let has_flow = frame.len() == 54 || frame[23] == 17;
            assert_eq!(record.header.number, u64::from(has_flow && frame[12] == 8));
            assert_eq!(record.header.class, SampleClass::Full as u8);
        }
    }
    Ok(())
}

/// A CPU and a class have so many samples in 10 ms; the counts do not change.
#[test]
fn a_spent_budget_is_counted_as_loss() -> Result<()> {
    let Some(mut programs) = ready(Settings {
        budget: [3, 0, 1, 0, 0],
        ..first(1_000_000)
    })?
    else {
        return Ok(());
    };
    let started = std::time::Instant::now();
    programs.receive_often(&udp((1, 2), 0), 1000)?;
    programs.receive_often(&tcp(tcp_flag::SYN), 1000)?;
    let windows = 2 + started.elapsed().as_millis() as usize / 10;
    let (records, totals) = taken(&mut programs)?;
    assert!(
        records.len() >= 4 && records.len() <= 4 * windows,
        "{}",
        records.len()
    );
    let mut lost = [0; 4];
    lost[SampleLoss::Budget as usize] = 2000 - records.len() as u64;
    assert_eq!((totals.runs, totals.sample_lost), (2000, lost));
    Ok(())
}

#[test]
fn a_full_ring_and_a_missing_one_are_counted_as_loss() -> Result<()> {
    for (ring, loss) in [(4096, SampleLoss::RingFull), (0, SampleLoss::NoRing)] {
        let Some(programs) = ready_with(
            full(),
            Setup {
                ring,
                ..Setup::default()
            },
        )?
        else {
            return Ok(());
        };
        programs.receive_often(&udp((1, 2), 0), 100)?;
        let totals = programs.balanced(1, Direction::Ingress)?;
        // A record takes 8 bytes of its own beside header and data.
        let fits = u64::from(ring) / (8 + 48 + 128);
        let mut lost = [0; 4];
        lost[loss as usize] = 100 - fits;
        assert_eq!((totals.sampled, totals.sample_lost), (fits, lost));
    }
    Ok(())
}

#[test]
fn filters_by_address_and_port_choose_what_is_sampled_and_change_no_count() -> Result<()> {
    let prefix = |len: u32, last: [u8; 4]| {
        (
            96 + len,
            std::net::Ipv4Addr::from(last).to_ipv6_mapped().octets(),
        )
    };
    let net = Some(prefix(24, [10, 0, 0, 0]));
    let source = Some(prefix(32, [10, 0, 0, 1]));
    let other = Some(prefix(24, [10, 0, 1, 0]));
    let (addresses, ports) = (mode::FILTER_ADDRESSES, mode::FILTER_PORTS);
    let cases = [
        (addresses, net, None, 1),
        (addresses, source, None, 1),
        (addresses, other, None, 0),
        (addresses, None, None, 0),
        (ports, None, Some(7), 1),
        (ports, None, Some(1000), 1),
        (ports, None, Some(8), 0),
        (addresses | ports, net, Some(7), 1),
        (addresses | ports, other, Some(7), 0),
        (addresses | ports, net, Some(8), 0),
    ];
    let Some(mut programs) = ready(first(5))? else {
        return Ok(());
    };
    for (at, (mode, prefix, port, expected)) in (1_u16..).zip(cases) {
        programs.set(Settings { mode, ..first(5) })?;
        programs.filter(prefix, port)?;
        // Packets of flows that none of the filters can tell apart.
        programs.receive(&tagged(&udp((1000, 7), 0), &[(0x8100, at)]))?;
        let sampled = programs.records()?.len();
        assert_eq!(sampled, expected, "{mode} {prefix:?} {port:?}");
        let totals = programs.balanced(1, Direction::Ingress)?;
        assert_eq!((totals.runs, totals.sample_lost), (at.into(), [0; 4]));
    }
    Ok(())
}

#[test]
fn a_packet_without_room_in_the_table_is_sampled_without_number() -> Result<()> {
    let Some(mut programs) = ready_with(
        full(),
        Setup {
            flows: 1,
            ..Setup::default()
        },
    )?
    else {
        return Ok(());
    };
    // Far more than the smallest table holds.
    for port in 1..1000 {
        programs.receive(&udp((port, 7), 0))?;
    }
    let (records, totals) = taken(&mut programs)?;
    let overflow = totals.overflow.iter().sum::<u64>();
    assert!(
        overflow > 0 && overflow < records.len() as u64,
        "{overflow}"
    );
    let without = records.iter().filter(|record| record.header.number == 0);
    assert_eq!(without.count() as u64, overflow);
    assert!(records.iter().all(|record| record.header.number <= 1));
    Ok(())
}
