//! The maps; `abi::map` tells their meaning. Sizes are defaults: user space changes those of the
//! flow tables, of `FLOW_STATE` and of the rings before it loads the object.

use aya_ebpf::{
    Global,
    btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
    helpers::bpf_map_lookup_elem,
    macros::btf_map,
};
use sensor_ebpf::{
    abi::{
        BUDGETS as BUDGET_COUNT, BudgetShare, DEVICES_SIZE, Destination, DestinationCounters,
        DestinationKey, FilterPrefix, FlowEntry, FlowKey, FlowSet, GENERATIONS, GuardSettings,
        LIST_ENTRIES, LIST_PORTS as MAX_LIST_PORTS, ListEntry, ListHits, ListPort,
        MAX_DESTINATIONS, MAX_RINGS, MAX_SUSPECTS, SKETCH_CELLS, Settings, SketchCell,
        TOTALS_SLOTS, TableSize, Totals,
    },
    guard::{filter::FilterBlock, synack::Scratch},
    hash::FLOW_SEED_WORDS,
    lists::index,
};

use super::blocked::LastBlocked;

/// `BPF_F_MMAPABLE`: such an array's values start at a page, so that a block of a filter is a cache
/// line, and a slot for a flow two; user space can map them.
const PAGE_ALIGNED: usize = 1 << 10;

#[btf_map]
pub(super) static DEVICES: Array<u64, DEVICES_SIZE> = Array::new();

/// Sizes in the object: user space replaces them by those it wants.
const SIZE: TableSize = TableSize::of(65_536);

#[btf_map]
pub(super) static FLOWS: Array<FlowSet, { GENERATIONS * SIZE.sets as usize }, PAGE_ALIGNED> =
    Array::new();

#[btf_map]
pub(super) static FLOWS_USED: Array<u64, { GENERATIONS * SIZE.words() as usize }, PAGE_ALIGNED> =
    Array::new();

#[btf_map]
pub(super) static SPILL_0: HashMap<FlowKey, FlowEntry, { SIZE.spill as usize }> = HashMap::new();

#[btf_map]
pub(super) static SPILL_1: HashMap<FlowKey, FlowEntry, { SIZE.spill as usize }> = HashMap::new();

#[unsafe(no_mangle)]
static FLOW_SETS: Global<u32> = Global::new(SIZE.sets);

#[unsafe(no_mangle)]
static FLOW_SEED: [u64; FLOW_SEED_WORDS] = [1; FLOW_SEED_WORDS];

/// Sets of one generation.
#[inline(always)]
pub(super) fn flow_sets() -> u32 {
    FLOW_SETS.load()
}

/// A word of the key of the flows' hash.
#[inline(always)]
pub(super) fn flow_seed(at: usize) -> u64 {
    // SAFETY: within the array, as all callers pass constants below its length. The compiler
    // knows its initial value, which is not the one in force.
    unsafe { FLOW_SEED.as_ptr().add(at).read_volatile() }
}

#[btf_map]
pub(super) static FLOW_STATE: LruHashMap<FlowKey, u64, 65_536> = LruHashMap::new();

#[btf_map]
pub(super) static TOTALS: PerCpuArray<Totals, { GENERATIONS * TOTALS_SLOTS * 2 }> =
    PerCpuArray::new();

#[btf_map]
pub(super) static SETTINGS: Array<Settings, 1> = Array::new();

#[btf_map]
pub(super) static EPOCH: Array<u64, 1> = Array::new();

#[btf_map]
pub(super) static RINGS: ArrayOfMaps<RingBuf<u8, 262_144>, MAX_RINGS> = ArrayOfMaps::new();

#[btf_map]
pub(super) static FILTER_ADDRS: LpmTrie<[u8; 16], u8, 1024> = LpmTrie::new();

#[btf_map]
pub(super) static FILTER_PORTS: HashMap<u16, u8, 1024> = HashMap::new();

/// Entries of hash tables whose memory comes with them (`BPF_F_NO_PREALLOC`).
const ON_DEMAND: usize = 1;

#[btf_map]
pub(super) static LIST_EXACT: HashMap<[u8; 16], ListEntry, LIST_ENTRIES, ON_DEMAND> =
    HashMap::new();

#[btf_map]
pub(super) static LIST_PREFIXES: LpmTrie<[u8; 16], ListEntry, { LIST_ENTRIES + 1 }> =
    LpmTrie::new();

#[btf_map]
pub(super) static LIST_PORTS: HashMap<ListPort, ListEntry, MAX_LIST_PORTS, ON_DEMAND> =
    HashMap::new();

#[btf_map]
pub(super) static LIST_INDEX: Array<u64, { index::WORDS }, PAGE_ALIGNED> = Array::new();

#[btf_map]
pub(super) static LIST_HITS: Array<ListHits, LIST_ENTRIES> = Array::new();

#[btf_map]
pub(super) static DESTINATIONS: HashMap<DestinationKey, Destination, MAX_DESTINATIONS> =
    HashMap::new();

#[btf_map]
pub(super) static DESTINATION_COUNTERS: PerCpuArray<DestinationCounters, MAX_DESTINATIONS> =
    PerCpuArray::new();

#[btf_map]
pub(super) static SUSPECTS: HashMap<DestinationKey, u64, MAX_SUSPECTS> = HashMap::new();

#[btf_map]
pub(super) static SYN_SKETCH: PerCpuArray<SketchCell, SKETCH_CELLS> = PerCpuArray::new();

#[btf_map]
pub(super) static SYN_FILTER: Array<FilterBlock, 262_144, PAGE_ALIGNED> = Array::new();

#[btf_map]
pub(super) static SOURCES: Array<FilterBlock, 16_384, PAGE_ALIGNED> = Array::new();

#[btf_map]
pub(super) static SOURCE_RATES: Array<u64, 262_144> = Array::new();

#[btf_map]
pub(super) static BUDGETS: Array<u64, BUDGET_COUNT> = Array::new();

#[btf_map]
pub(super) static BUDGET_SHARES: PerCpuArray<BudgetShare, BUDGET_COUNT> = PerCpuArray::new();

/// A segment that the guard looks into: too large for the stack.
#[btf_map]
pub(super) static GUARD_SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

#[btf_map]
pub(super) static GUARD: Array<GuardSettings, 1> = Array::new();

#[btf_map]
pub(super) static HEARTBEAT: Array<u64, 1> = Array::new();

#[btf_map]
pub(super) static CPU: PerCpuArray<Cpu, 1> = PerCpuArray::new();

/// Key of a trie for a look-up of a full address. The verifier wants every access to the stack
/// aligned, and the address follows a field of four bytes.
#[repr(C, align(8))]
struct FullPrefix {
    _pad: u32,
    prefix: FilterPrefix,
}

impl FullPrefix {
    #[inline(always)]
    const fn of(address: [u8; 16]) -> Self {
        Self {
            _pad: 0,
            prefix: FilterPrefix {
                prefix_len: 128,
                address,
            },
        }
    }
}

/// Whether the sampling filter holds a prefix of `address`.
#[inline(always)]
pub(super) fn in_filter(address: [u8; 16]) -> bool {
    let key = FullPrefix::of(address);
    // SAFETY: the map's key is laid out as `FilterPrefix`.
    let found = unsafe {
        bpf_map_lookup_elem(
            (&raw const FILTER_ADDRS).cast_mut().cast(),
            (&raw const key.prefix).cast(),
        )
    };
    !found.is_null()
}

/// What the lists know of the longest listed prefix of `address`.
#[inline(always)]
pub(super) fn longest_prefix(address: [u8; 16]) -> Option<&'static ListEntry> {
    let key = FullPrefix::of(address);
    // SAFETY: the map's key is laid out as `FilterPrefix`, its value is a `ListEntry`, which
    // stays readable for as long as this run lasts.
    unsafe {
        bpf_map_lookup_elem(
            (&raw const LIST_PREFIXES).cast_mut().cast(),
            (&raw const key.prefix).cast(),
        )
        .cast::<ListEntry>()
        .as_ref()
    }
}

/// What a CPU keeps between packets. Programs of one direction never interrupt one another on a
/// CPU; see `docs/dataplane.md` for what happens where two directions do.
#[repr(C)]
pub(super) struct Cpu {
    /// Generation whose table this CPU has found full, or 0.
    pub(super) full_epoch: u64,
    /// `jiffies` when `now_ns` was read.
    pub(super) jiffies: u64,
    /// The coarse monotonic clock at that tick.
    pub(super) now_ns: u64,
    /// Which 10 ms `spent` belongs to.
    pub(super) window: u64,
    /// Tokens spent in this window, by `SampleClass`.
    pub(super) spent: [u32; 5],
    /// Records since the last wake-up.
    pub(super) unnotified: u32,
    pub(super) last_blocked: LastBlocked,
}
