//! Cost of the allow and block lists, beside a flow that is under way without them.

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, LpmTrie, ProgramArray, lpm_trie::Key},
};
use sensor_ebpf::{
    abi::{GuardMode, ListEntry, Settings, list_flags, map, program},
    lists::{
        self,
        index::{self, Slot},
    },
};
use zerocopy::IntoBytes as _;

use super::{Figures, ROUNDS, Row, XDP_DROP, XDP_PASS, counting, run};

/// Networks of the feed: 65,536 are all /24s of 10.0.0.0/8, the rest come after it.
const PREFIXES: u32 = 100_000;
/// Not in the feed, as the source of the flow that is under way.
const FREE: [u8; 4] = [172, 16, 0, 1];
/// Listed by itself.
const LISTED: [u8; 4] = [192, 0, 2, 1];

/// Plain bytes, for aya's typed maps.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Bytes<const N: usize>(pub(super) [u8; N]);

// SAFETY: any bit pattern is a value, and N is a multiple of the alignment.
unsafe impl<const N: usize> Pod for Bytes<N> {}

/// Name, the program behind a varying one or by itself, with lists, source, verdict.
type Case = (
    &'static str,
    Option<&'static str>,
    bool,
    [u8; 4],
    Option<u32>,
);

/// Adds the rows of the lists.
///
/// Returns the cost of a flow that is under way without them, nanoseconds.
pub(super) fn measure(object: &[u8], bench: &mut Ebpf, figures: &mut Figures) -> Result<u128> {
    let without = counting(object)?;
    let mut with = counting(object)?;
    fill(&mut with)?;
    let without = super::program(&without, program::XDP)?;
    let with = super::program(&with, program::XDP)?;
    let targets = [without.fd()?.try_clone()?, with.fd()?.try_clone()?];
    let rows: [Case; 6] = [
        (
            "established flow, no lists",
            None,
            false,
            FREE,
            Some(XDP_PASS),
        ),
        (
            "established flow, lists and guard on",
            None,
            true,
            FREE,
            Some(XDP_PASS),
        ),
        ("blocked by its address", None, true, LISTED, Some(XDP_DROP)),
        (
            "random addresses, no lists",
            Some("vary_source"),
            false,
            FREE,
            None,
        ),
        (
            "random addresses, 100,000 prefixes",
            Some("vary_source"),
            true,
            FREE,
            None,
        ),
        (
            "random addresses within them",
            Some("vary_source_within"),
            true,
            FREE,
            Some(XDP_DROP),
        ),
    ];
    let mut best = [u128::MAX; 6];
    for _ in 0..ROUNDS {
        for (best, (name, varying, lists, source, expected)) in best.iter_mut().zip(rows) {
            let program = match varying {
                Some(varying) => {
                    let next = bench.map_mut("NEXT").context("NEXT")?;
                    ProgramArray::try_from(next)?.set(0, &targets[usize::from(lists)], 0)?;
                    super::program(bench, varying)?
                }
                None if lists => with,
                None => without,
            };
            let (verdict, nanoseconds) = run(program, source)?;
            if expected.is_some_and(|expected| expected != verdict) {
                bail!("{name}: the verdict is {verdict}");
            }
            *best = (*best).min(nanoseconds);
        }
    }
    figures.conditions.push(
        "rows of the lists: the ratio is the row's time divided by that of an established flow \
         without lists; 100,000 IPv4 /24s are blocked, and one address"
            .to_owned(),
    );
    let [base, ..] = best;
    for ((name, ..), ns) in rows.iter().zip(best) {
        figures.rows.push(Row {
            name: (*name).to_owned(),
            value: ns as f64,
            unit: "ns",
            ratio: (base > 0).then(|| ns as f64 / base as f64),
        });
    }
    Ok(base)
}

/// Puts the feed and the address on the block list, and switches lists and guard on.
fn fill(product: &mut Ebpf) -> Result<()> {
    const SIZE: usize = size_of::<ListEntry>();
    let bytes =
        |entry: ListEntry| -> Result<Bytes<SIZE>> { Ok(Bytes(entry.as_bytes().try_into()?)) };
    let block = ListEntry {
        block_until_ns: u64::MAX,
        ..ListEntry::default()
    };
    let mut words = vec![0_u64; index::WORDS];
    let mut mark = |slot: Slot, bit: u64| words[slot.word() as usize] |= bit << slot.shift();

    let map = product.map_mut(map::LIST_PREFIXES).context("prefixes")?;
    let mut prefixes: LpmTrie<_, [u8; 16], Bytes<SIZE>> = LpmTrie::try_from(map)?;
    for count in 0..PREFIXES {
        let net = (10 << 16) + count;
        mark(Slot::v4(net), index::PREFIX);
        let entry = ListEntry {
            flags: list_flags::BLOCKS_PREFIX,
            block_hits: count + 1,
            ..block
        };
        let address = mapped((net << 8).to_be_bytes());
        prefixes.insert(&Key::new(96 + 24, address), bytes(entry)?, 0)?;
    }
    let address = mapped(LISTED);
    mark(Slot::v4(0xc0_0002), index::EXACT);
    let map = product.map_mut(map::LIST_EXACT).context("addresses")?;
    let mut exact: HashMap<_, Bytes<16>, Bytes<SIZE>> = HashMap::try_from(map)?;
    let entry = ListEntry {
        owner: lists::owner(&address),
        ..block
    };
    exact.insert(Bytes(address), bytes(entry)?, 0)?;
    let map = product.map_mut(map::LIST_INDEX).context("index")?;
    let mut index: Array<_, u64> = Array::try_from(map)?;
    for (at, word) in (0..).zip(words) {
        if word != 0 {
            index.set(at, word, 0)?;
        }
    }
    let settings = Settings {
        lists_generation: 1,
        guard: GuardMode::Mitigate as u32,
        ..Settings::default()
    };
    let settings: Bytes<{ size_of::<Settings>() }> = Bytes(settings.as_bytes().try_into()?);
    let map = product.map_mut(map::SETTINGS).context("settings")?;
    Ok(Array::try_from(map)?.set(0, settings, 0)?)
}

/// As flow keys hold an IPv4 address.
pub(super) fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let mut address = [0; 16];
    address[10..12].fill(0xff);
    address[12..].copy_from_slice(&v4);
    address
}
