use proptest::prelude::*;

use super::*;

const ROOM: usize = 1 << 20;

fn drain(assembler: &mut Assembler, force: Option<Gap>) -> Vec<Piece> {
    std::iter::from_fn(|| assembler.take(force)).collect()
}

fn data(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn started(seq: u32) -> Assembler {
    let mut assembler = Assembler::default();
    assembler.start(seq);
    assembler
}

#[test]
fn a_hole_waits_until_it_is_filled() {
    let limits = Limits::default();
    let mut assembler = started(u32::MAX - 1);
    assert!(assembler.insert(2, &data("ef"), &limits, ROOM).held);
    assert_eq!(drain(&mut assembler, None), []);
    assembler.insert(u32::MAX - 1, &data("abcd"), &limits, ROOM);
    assert_eq!(
        drain(&mut assembler, None),
        [Piece::Data(data("abcd")), Piece::Data(data("ef"))]
    );
    assert_eq!(assembler.held_bytes(), 0);
}

#[test]
fn an_acknowledged_hole_is_a_loss() {
    let limits = Limits::default();
    let mut assembler = started(100);
    assembler.insert(105, &data("fg"), &limits, ROOM);
    assembler.acknowledge(104);
    assert_eq!(drain(&mut assembler, None), []);
    assembler.acknowledge(107);
    assert_eq!(
        drain(&mut assembler, None),
        [Piece::Gap(5, Gap::Loss), Piece::Data(data("fg"))]
    );
}

#[test]
fn of_overlapping_segments_the_first_stands() {
    let limits = Limits::default();
    let mut assembler = started(0);
    assembler.insert(4, &data("EF"), &limits, ROOM);
    let placed = assembler.insert(2, &data("cdxxgh"), &limits, ROOM);
    assert!(placed.overlap && placed.held);
    assembler.insert(0, &data("abyyyyyyyy"), &limits, ROOM);
    let text: Vec<u8> = drain(&mut assembler, None)
        .into_iter()
        .flat_map(|piece| match piece {
            Piece::Data(data) => data.to_vec(),
            Piece::Gap(..) => panic!("no byte is missing"),
        })
        .collect();
    assert_eq!(text, b"abcdEFghyy");
}

#[test]
fn limits_refuse_what_waits_but_not_what_is_next() {
    let limits = Limits {
        stream_bytes: 4,
        stream_segments: 1,
        ..Limits::default()
    };
    let mut assembler = started(0);
    assert!(assembler.insert(10, &data("12345"), &limits, ROOM).dropped);
    assert!(assembler.insert(20, &data("1"), &limits, 0).dropped);
    assert!(assembler.insert(10, &data("1234"), &limits, ROOM).held);
    assert!(assembler.insert(20, &data("x"), &limits, ROOM).dropped);
    assert!(!assembler.insert(0, &data("0123456789"), &limits, 0).dropped);
    assert_eq!(
        drain(&mut assembler, None),
        [Piece::Data(data("0123456789")), Piece::Data(data("1234"))]
    );
}

#[test]
fn bytes_acknowledged_behind_all_that_was_seen_are_missing() {
    let limits = Limits::default();
    let mut assembler = started(0);
    assembler.insert(0, &data("ab"), &limits, ROOM);
    drain(&mut assembler, None);
    assembler.finish_at(10);
    assembler.acknowledge(11);
    assert_eq!(assembler.missing_at_end(), 8);
}

proptest! {
    /// Whatever the order, the overlaps and the start: a byte comes out where it belongs, once,
    /// and it is the one that was seen first.
    #[test]
    fn as_a_plain_reference_does_it(
        start in any::<u32>(),
        segments in prop::collection::vec((0_usize..200, 1_usize..60, any::<u8>()), 1..60),
    ) {
        let limits = Limits::default();
        let mut assembler = started(start);
        let mut reference: Vec<Option<u8>> = vec![None; 300];
        let mut out: Vec<Option<u8>> = Vec::new();
        let mut taken = 0;
        for (at, len, fill) in segments {
            let bytes = Bytes::from(vec![fill; len]);
            for place in &mut reference[at..at + len] {
                place.get_or_insert(fill);
            }
            let placed = assembler.insert(start.wrapping_add(at as u32), &bytes, &limits, ROOM);
            prop_assert!(!placed.dropped);
            for piece in drain(&mut assembler, None) {
                match piece {
                    Piece::Data(data) => out.extend(data.iter().copied().map(Some)),
                    Piece::Gap(..) => prop_assert!(false, "nothing was acknowledged"),
                }
            }
            prop_assert_eq!(&out[taken..], &reference[taken..out.len()]);
            taken = out.len();
            prop_assert_eq!(reference.get(taken).copied().flatten(), None);
        }
        for piece in drain(&mut assembler, Some(Gap::Loss)) {
            match piece {
                Piece::Data(data) => out.extend(data.iter().copied().map(Some)),
                Piece::Gap(len, _) => out.extend(vec![None; len as usize]),
            }
        }
        prop_assert_eq!(&out[..], &reference[..out.len()]);
        prop_assert!(reference[out.len()..].iter().all(Option::is_none));
        prop_assert_eq!(assembler.held_bytes(), 0);
    }
}
