use std::io::Cursor;

use super::*;
use crate::core::frame::LinkType;

const MICRO: u32 = 0xa1b2_c3d4;
const NANO: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

/// Writes integers in one byte order.
struct Out(Vec<u8>, bool);

impl Out {
    fn u16(mut self, value: u16) -> Self {
        self.0.extend(if self.1 {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(if self.1 {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
        self
    }

    fn raw(mut self, value: &[u8]) -> Self {
        self.0.extend(value);
        self
    }
}

fn pcap_header(magic: u32, big_endian: bool, link: u32) -> Out {
    Out(Vec::new(), big_endian)
        .u32(magic)
        .u16(2)
        .u16(4)
        .u32(0)
        .u32(0)
        .u32(65535)
        .u32(link)
}

/// A pcap of one packet at 1.5 s (in the magic's unit) with claimed and real lengths.
fn pcap(magic: u32, big_endian: bool, link: u32, captured: u32, wire: u32, data: &[u8]) -> Vec<u8> {
    let fraction = if magic == NANO { 500_000_000 } else { 500_000 };
    let mut out = pcap_header(magic, big_endian, link)
        .u32(1)
        .u32(fraction)
        .u32(captured)
        .u32(wire);
    if magic == MODIFIED {
        out = out.raw(&[0; 8]);
    }
    out.raw(data).0
}

/// A pcapng block; `body` must be padded.
fn block(big_endian: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let total = body.len() as u32 + 12;
    Out(Vec::new(), big_endian)
        .u32(kind)
        .u32(total)
        .raw(body)
        .u32(total)
        .0
}

fn section(big_endian: bool) -> Vec<u8> {
    let body = Out(Vec::new(), big_endian)
        .u32(0x1a2b_3c4d)
        .u16(1)
        .u16(0)
        .raw(&[0xff; 8])
        .0;
    block(big_endian, 0x0a0d_0d0a, &body)
}

fn interface(big_endian: bool, link: u16, snaplen: u32, options: &[u8]) -> Vec<u8> {
    let body = Out(Vec::new(), big_endian)
        .u16(link)
        .u16(0)
        .u32(snaplen)
        .raw(options)
        .0;
    block(big_endian, 1, &body)
}

fn enhanced(big_endian: bool, interface: u32, ticks: u64, data: &[u8], options: &[u8]) -> Vec<u8> {
    let length = data.len() as u32;
    let mut body = Out(Vec::new(), big_endian)
        .u32(interface)
        .u32((ticks >> 32) as u32)
        .u32(ticks as u32)
        .u32(length)
        .u32(length)
        .raw(data)
        .0;
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(options);
    block(big_endian, 6, &body)
}

fn reader(bytes: impl Into<Vec<u8>>) -> Reader {
    Reader::from_source(Path::new("test"), Box::new(Cursor::new(bytes.into()))).unwrap()
}

fn frames(bytes: impl Into<Vec<u8>>) -> Vec<Frame> {
    reader(bytes).map(Result::unwrap).collect()
}

/// How many frames come before the error, and its text.
fn broken(bytes: impl Into<Vec<u8>>) -> (usize, String) {
    let mut reader = reader(bytes);
    let mut count = 0;
    let error = loop {
        match reader.next().expect("an error before the end") {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(reader.next().is_none(), "nothing follows an error");
    (count, error.to_string())
}

#[test]
fn every_pcap_flavour_reads_the_same() {
    for magic in [MICRO, NANO, MODIFIED] {
        for big_endian in [false, true] {
            let all = frames(pcap(magic, big_endian, 1, 3, 60, b"abc"));
            assert_eq!(all.len(), 1, "{magic:x} {big_endian}");
            assert_eq!(all[0].time.0, 1_500_000_000, "{magic:x} {big_endian}");
            assert_eq!((all[0].wire_len, &all[0].data[..]), (60, &b"abc"[..]));
            assert_eq!(all[0].origin, Origin::Capture { number: 1 });
        }
    }
}

#[test]
fn lengths_of_old_versions_are_swapped_back() {
    let mut file = pcap(MICRO, false, 1, 60, 3, b"abc");
    file[6] = 2;
    assert_eq!(frames(file)[0].wire_len, 60);
}

#[test]
fn fcs_is_not_part_of_a_frame() {
    // Two words of FCS; the second file's snaplen cut them off already.
    let link = 0x2400_0001;
    let all = frames(pcap(MICRO, false, link, 8, 8, b"abcdFCS!"));
    assert_eq!((all[0].wire_len, &all[0].data[..]), (4, &b"abcd"[..]));
    let all = frames(pcap(MICRO, false, link, 2, 8, b"ab"));
    assert_eq!((all[0].wire_len, &all[0].data[..]), (4, &b"ab"[..]));
    // By an interface option (32 bits), and by a packet's flags (2 bytes).
    let fcs_option = [13, 0, 1, 0, 32, 0, 0, 0];
    let flags = [2, 0, 4, 0, 0x40, 0, 0, 0, 0, 0, 0, 0];
    let file = [
        section(false),
        interface(false, 1, 0, &fcs_option),
        enhanced(false, 0, 0, b"abcdFCS!", &[]),
        enhanced(false, 0, 0, b"abcdef:-", &flags),
    ];
    let all = frames(file.concat());
    assert_eq!(&all[0].data[..], b"abcd");
    assert_eq!(&all[1].data[..], b"abcdef");
}

#[test]
fn a_wire_length_below_the_captured_is_mended() {
    assert_eq!(frames(pcap(MICRO, false, 1, 3, 1, b"abc"))[0].wire_len, 3);
}

#[test]
fn link_types_are_told_apart_and_others_counted() {
    for (number, link) in [
        (0, LinkType::Loopback),
        (108, LinkType::Loopback),
        (1, LinkType::Ethernet),
        (9, LinkType::Ppp),
        (50, LinkType::Ppp),
        (12, LinkType::RawIp),
        (14, LinkType::RawIp),
        (101, LinkType::RawIp),
        (228, LinkType::RawIp),
        (229, LinkType::RawIp),
        (113, LinkType::LinuxSll),
        (276, LinkType::LinuxSll2),
    ] {
        assert_eq!(
            frames(pcap(MICRO, false, number, 3, 3, b"abc"))[0].link,
            link
        );
    }
    let mut wireless = reader(pcap(MICRO, false, 105, 3, 3, b"abc"));
    assert!(wireless.next().is_none());
    assert_eq!(wireless.stats().packets, 1);
    assert_eq!(wireless.stats().unsupported, BTreeMap::from([(105, 1)]));
}

#[test]
fn sections_of_both_byte_orders_with_interfaces_of_their_own() {
    let nanoseconds = [9, 0, 1, 0, 9, 0, 0, 0];
    let offset = [0, 14, 0, 8, 0, 0, 0, 0, 0, 0, 0, 100];
    let file = [
        section(false),
        interface(false, 1, 0, &nanoseconds),
        interface(false, 101, 0, &[]),
        enhanced(false, 1, 7, b"E\0", &[]),
        enhanced(false, 0, 7, b"eth", &[]),
        block(false, 4, b"NRB.NRB."),
        block(false, 0x0bad_f00d, &[0; 4096]),
        section(true),
        interface(true, 113, 0, &offset),
        block(true, 5, &[0; 12]),
        enhanced(true, 0, 7, b"cooked", &[]),
    ];
    let mut reader = reader(file.concat()).numbered_after(10);
    let all: Vec<Frame> = reader.by_ref().map(Result::unwrap).collect();
    let seen: Vec<_> = all
        .iter()
        .map(|frame| (frame.link, frame.time.0, &frame.data[..]))
        .collect();
    assert_eq!(
        seen,
        [
            (LinkType::RawIp, 7_000, &b"E\0"[..]),
            (LinkType::Ethernet, 7, b"eth"),
            (LinkType::LinuxSll, 100_000_007_000, b"cooked"),
        ]
    );
    assert_eq!(all[2].origin, Origin::Capture { number: 13 });
    assert_eq!(reader.stats().other_blocks, 3);
}

#[test]
fn simple_and_obsolete_packets() {
    let simple = Out(Vec::new(), false).u32(100).raw(b"12345678").0;
    let obsolete = Out(Vec::new(), false)
        .u16(0)
        .u16(9)
        .u32(0)
        .u32(2_000_000)
        .u32(5)
        .u32(50)
        .raw(b"abcde\0\0\0")
        .0;
    let file = [
        section(false),
        interface(false, 1, 6, &[]),
        block(false, 2, &obsolete),
        block(false, 3, &simple),
    ];
    let mut reader = reader(file.concat());
    let all: Vec<Frame> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!(
        (all[0].time.0, all[0].wire_len, &all[0].data[..]),
        (2_000_000_000, 50, &b"abcde"[..])
    );
    // It has no time and takes the one before; the interface's snaplen says how much was kept.
    assert_eq!(
        (all[1].time.0, all[1].wire_len, &all[1].data[..]),
        (2_000_000_000, 100, &b"123456"[..])
    );
    assert_eq!(reader.stats().untimed, 1);
}

#[test]
fn a_cut_is_told_by_byte_and_packet() {
    let mut file = pcap(MICRO, false, 1, 3, 3, b"abc");
    let (whole, record) = (file.len(), file.split_off(24));
    file.extend(&record);
    file.extend(&record);
    for (keep, text) in [
        (whole + 1, "the packet's header needs 16 bytes, 1 are left"),
        (whole + 17, "the packet needs 3 bytes, 1 are left"),
    ] {
        let (count, error) = broken(&file[..keep]);
        assert_eq!(count, 1);
        assert_eq!(
            error,
            format!("test: stopped at byte 43, packet 2: the file is cut off: {text}")
        );
    }
    assert_eq!(frames(&file[..whole]).len(), 1);
}

#[test]
fn a_pcapng_cut_anywhere_is_an_error_unless_between_blocks() {
    let blocks = [
        section(true),
        interface(true, 1, 0, &[]),
        enhanced(true, 0, 1, b"abcdef", &[]),
        block(true, 4, &[0; 8]),
        enhanced(true, 0, 2, b"abcdef", &[]),
    ];
    let file = blocks.concat();
    let mut ends = Vec::new();
    for part in &blocks {
        ends.push(ends.last().unwrap_or(&0) + part.len());
    }
    for keep in 12..file.len() {
        let outcome: Result<Vec<_>, _> = reader(&file[..keep]).collect();
        assert_eq!(
            outcome.is_ok(),
            ends.contains(&keep),
            "cut at {keep}: {outcome:?}"
        );
    }
    // The offset is the broken block's own, after those that were passed over.
    let (count, error) = broken(&file[..file.len() - 1]);
    assert_eq!(count, 1);
    assert!(
        error.contains(&format!(
            "stopped at byte {}, packet 2: the file is cut off",
            ends[3]
        )),
        "{error}"
    );
}

#[test]
fn lying_lengths_stop_the_reader_before_memory_is_taken() {
    for claimed in [u32::MAX, 0x8000_0000, 1_048_577] {
        let (count, error) = broken(pcap(MICRO, false, 1, claimed, claimed, b"abc"));
        assert_eq!(count, 0);
        assert!(
            error.contains(&format!("a packet of {claimed} bytes is claimed")),
            "{error}"
        );
    }
    let (_, error) = broken(pcap(MICRO, false, 1, 1_048_576, 60, b"abc"));
    assert!(
        error.contains("the packet needs 1048576 bytes, 3 are left"),
        "{error}"
    );

    let with = |blocks: &[Vec<u8>]| {
        [section(false), interface(false, 1, 0, &[]), blocks.concat()].concat()
    };
    let mut longer = enhanced(false, 0, 0, b"abcd", &[]);
    longer[20] = 200;
    assert!(
        broken(with(&[longer]))
            .1
            .contains("200 bytes is claimed in a block with room for 4")
    );
    let mut unequal = enhanced(false, 0, 0, b"abcd", &[]);
    let last = unequal.len() - 4;
    unequal[last] += 4;
    assert!(
        broken(with(&[unequal]))
            .1
            .contains("two lengths differ: 36 in front, 40 behind")
    );
    for total in [0_u32, 8, 13] {
        let mut zero = block(false, 99, &[0; 8]);
        zero[4..8].copy_from_slice(&total.to_le_bytes());
        assert!(
            broken(with(&[zero]))
                .1
                .contains(&format!("impossible length {total}"))
        );
    }
    let mut huge = block(false, 99, &[0; 8]);
    huge[4..8].copy_from_slice(&0xffff_fffc_u32.to_le_bytes());
    assert!(
        broken(with(&[huge]))
            .1
            .contains("needs 4294967292 bytes, 20 are left")
    );
    assert!(
        broken(with(&[enhanced(false, 7, 0, b"abcd", &[])]))
            .1
            .contains("interface 7")
    );
    let short = [section(false), block(false, 1, &[1, 0, 0, 0])].concat();
    assert!(broken(short).1.contains("impossible length"));
    assert!(
        broken([section(false), block(false, 3, &[4, 0, 0, 0])].concat())
            .1
            .contains("interface 0")
    );
}

#[test]
fn what_is_no_capture_is_refused_with_what_it_begins_with() {
    let open = |bytes: &[u8]| {
        Reader::from_source(Path::new("x"), Box::new(Cursor::new(bytes.to_vec())))
            .unwrap_err()
            .to_string()
    };
    assert!(open(b"").contains("it is empty"));
    assert!(open(b"GET / HTTP").contains("47 45 54 20"));
    assert!(
        open(&pcap_header(MICRO, true, 1).0[..20]).contains("cut off: the file header needs 24")
    );
    let mut version = pcap_header(MICRO, true, 1).0;
    version[5] = 3;
    assert!(open(&version).contains("version 3.4"));
    assert!(
        Reader::open(Path::new("/nonexistent/x"))
            .unwrap_err()
            .to_string()
            .contains("cannot open")
    );
    assert!(
        Reader::open(Path::new("/"))
            .unwrap_err()
            .to_string()
            .contains("cannot open")
    );
}
