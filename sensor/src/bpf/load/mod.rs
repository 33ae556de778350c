//! Loading the embedded object: sizes, maps, rings, programs; and what was found pinned.

mod maps;
mod programs;

use std::{
    hash::{BuildHasher as _, RandomState},
    path::Path,
};

use aya::{Ebpf, EbpfLoader, maps::MapData, util::online_cpus};
use sensor_ebpf::{
    abi::{FlowKey, GENERATIONS, Settings, TableSize, constant, map},
    hash::FLOW_SEED_WORDS,
};

use super::{
    Grace, GuardTables, LoadError, LoadOptions, ProgramStats, capabilities,
    flows::FlowTables,
    generation::{Beginning, Generations},
    guard::{self, Guard},
    lists::{ListMaps, Tables},
    pin::{Before, Old, Pins, Previous, layout},
    rings::Rings,
    slots::Slots,
    sys::{
        map::{Array, KeySet, OuterArray, PerCpuArray, Table},
        mapped::MappedArray,
    },
};

pub(super) use self::{
    maps::{possible_cpus, refused_map, typed},
    programs::{IngressPrograms, Programs, XdpPrograms, load_program},
};
use self::{
    maps::{refused, take},
    programs::programs,
};

/// The product's BPF object, aligned as aya's ELF reader wants it.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../sensor-ebpf/prebuilt/sensor.bpf.o"
));

/// Everything that loading makes. Nothing is created later, so that a process may give up its
/// capabilities for maps once it is attached.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) programs: Programs,
    pub(super) stats: Vec<ProgramStats>,
    pub(super) slots: Slots,
    pub(super) settings: Array<Settings>,
    pub(super) filter_addresses: KeySet,
    pub(super) filter_ports: KeySet,
    pub(super) lists: ListMaps,
    pub(super) generations: Generations,
    pub(super) rings: Rings,
    pub(super) guard: Guard,
    pub(super) pins: Option<Pins>,
    /// Pinned data planes with other layouts.
    pub(super) previous: Vec<Previous>,
    /// Their sample rings that could not be opened.
    pub(super) lost_rings: u64,
    /// What is remembered of flows' sampling.
    pub(super) flow_state: Table<FlowKey, u64>,
}

/// See [`super::DataPlane::load`]; `path` is where the data plane is pinned.
pub(super) fn load(options: LoadOptions, path: Option<&Path>) -> Result<Loaded, LoadError> {
    check(options)?;
    let missing = capabilities::missing(&[
        capabilities::BPF,
        capabilities::NET_ADMIN,
        capabilities::PERFMON,
    ]);
    // CAP_PERFMON is only needed for what the verifier cannot prove without it: the kernel will
    // say so if it is.
    if missing
        .iter()
        .any(|name| *name != capabilities::PERFMON.name)
    {
        return Err(LoadError::Capabilities {
            missing: missing.join(", "),
        });
    }
    let capacity = options.flow_table_capacity;
    let size = TableSize::of(capacity);
    let sizes = sizes(size, capacity, options.guard_tables);
    let layout = layout(OBJECT, &sizes, options.ring_bytes)
        .map_err(|error| LoadError::Object(error.to_string()))?;
    let (mut pins, before) = match path {
        Some(path) => {
            let (pins, before) = Pins::open(path, layout.number)?;
            (Some(pins), before)
        }
        None => (None, Before::default()),
    };
    // Records of an earlier process are found where its seed has put them.
    let seed = match &before.own {
        Some(meta) => meta.flow_seed,
        None => random_seed(),
    };
    let mut loader = loader(&sizes, &size.sets, &seed);
    if let Some(pins) = &pins {
        // A map that has its name already is used as it is, any other gets it.
        for name in &layout.names {
            loader.map_pin_path(name, pins.state.map(name));
        }
    }
    let mut object = loader.load(OBJECT).map_err(refused)?;

    let mut stats = Vec::new();
    let programs = programs(&mut object, options.passive, &mut stats)?;

    let previous = previous(before.others, options.grace)?;
    let online =
        online_cpus().map_err(|(path, error)| LoadError::Object(format!("{path}: {error}")))?;
    let state = pins.as_ref().map(|pins| &pins.state);
    let rings = typed(&mut object, map::RINGS, OuterArray::new)?;
    let mut rings = Rings::create(&rings, &online, options.ring_bytes, state)
        .map_err(|source| refused_map("a sample ring", source))?;
    let mut lost_rings = 0;
    for previous in &previous {
        let adopted = rings.adopt(previous.state(), previous.is_readable());
        lost_rings += adopted.map_err(|source| LoadError::from(previous.unreadable(source)))?;
    }
    let beginning = match &before.own {
        Some(meta) => Beginning::Resume {
            recorded: meta.head.recorded,
        },
        None => Beginning::At {
            epoch: previous.iter().map(Previous::end).max().unwrap_or(1),
        },
    };
    let generations = generations(
        |name| take(&mut object, name),
        capacity,
        options.grace,
        beginning,
    )?;
    let mut slots = Slots::new(typed(&mut object, map::DEVICES, Array::new)?);
    let latest = previous.iter().filter_map(|previous| previous.meta());
    let latest = latest.max_by_key(|meta| meta.head.heartbeat_ns);
    if let Some(meta) = before.own.as_deref().or(latest) {
        slots
            .resume(meta)
            .map_err(|source| refused_map(map::DEVICES, source))?;
    }
    let mut filter_addresses = typed(&mut object, map::FILTER_ADDRS, KeySet::new)?;
    let mut filter_ports = typed(&mut object, map::FILTER_PORTS, KeySet::new)?;
    if let Some(pins) = &mut pins {
        for (name, filter) in [
            (map::FILTER_ADDRS, &mut filter_addresses),
            (map::FILTER_PORTS, &mut filter_ports),
        ] {
            filter
                .resume()
                .map_err(|source| refused_map(name, source))?;
        }
        pins.describe(capacity, seed);
        if before.own.is_none() {
            pins.head().recorded = generations.epoch() - 1;
        }
    }
    let is_resumed = before.own.is_some();
    let lists = lists(&mut object, pins.as_ref(), is_resumed, &previous)?;
    let guard = guard(&mut object, options.guard_tables, is_resumed)?;
    Ok(Loaded {
        programs,
        stats,
        slots,
        settings: typed(&mut object, map::SETTINGS, Array::new)?,
        filter_addresses,
        filter_ports,
        lists,
        generations,
        rings,
        guard,
        pins,
        previous,
        lost_rings,
        flow_state: typed(&mut object, map::FLOW_STATE, Table::new)?,
    })
}

/// Opens the maps of the lists, with what an earlier process has left.
fn lists(
    object: &mut Ebpf,
    pins: Option<&Pins>,
    is_resumed: bool,
    previous: &[Previous],
) -> Result<ListMaps, LoadError> {
    let tables = Tables {
        exact: typed(object, map::LIST_EXACT, Table::new)?,
        prefixes: typed(object, map::LIST_PREFIXES, Table::new)?,
        ports: typed(object, map::LIST_PORTS, Table::new)?,
    };
    let index = typed(object, map::LIST_INDEX, MappedArray::new)?;
    let hits = typed(object, map::LIST_HITS, Table::new)?;
    let mut lists = ListMaps::new(tables, index, hits);
    let Some(pins) = pins else {
        return Ok(lists);
    };
    let resumed = if is_resumed {
        lists.resume(&pins.state)
    } else {
        let latest = previous.iter().max_by_key(|one| one.heartbeat_ns());
        let before = latest.map(|latest| (latest.state(), latest.is_readable()));
        lists.replace(&pins.state, before)
    };
    resumed.map_err(|source| refused_map("what the lists remember", source))?;
    Ok(lists)
}

/// Opens the guard's maps.
fn guard(object: &mut Ebpf, tables: GuardTables, is_resumed: bool) -> Result<Guard, LoadError> {
    let cpus = possible_cpus()?;
    let maps = guard::Maps {
        settings: typed(object, map::GUARD, Array::new)?,
        heartbeat: typed(object, map::HEARTBEAT, Array::new)?,
        destinations: typed(object, map::DESTINATIONS, Table::new)?,
        suspects: typed(object, map::SUSPECTS, Table::new)?,
        counters: typed(object, map::DESTINATION_COUNTERS, |map| {
            PerCpuArray::new(map, cpus)
        })?,
    };
    let mut guard = Guard::new(maps, tables)
        .map_err(|source| LoadError::Object(format!("no random numbers: {source}")))?;
    if is_resumed {
        guard
            .resume()
            .map_err(|source| refused_map(map::DESTINATIONS, source))?;
    }
    Ok(guard)
}

/// Opens the maps that a generation is counted into, each by its name.
fn generations(
    mut open: impl FnMut(&'static str) -> Result<MapData, LoadError>,
    flow_capacity: u32,
    grace: Grace,
    beginning: Beginning,
) -> Result<Generations, LoadError> {
    let cpus = possible_cpus()?;
    let refused = |name: &'static str| move |source| refused_map(name, source);
    let flows = FlowTables::new(
        MappedArray::new(open(map::FLOWS)?).map_err(refused(map::FLOWS))?,
        &MappedArray::new(open(map::FLOWS_USED)?).map_err(refused(map::FLOWS_USED))?,
        [
            Table::new(open(map::SPILL_0)?).map_err(refused(map::SPILL_0))?,
            Table::new(open(map::SPILL_1)?).map_err(refused(map::SPILL_1))?,
        ],
        flow_capacity,
    )
    .map_err(refused(map::FLOWS))?;
    Generations::start(
        Array::new(open(map::EPOCH)?).map_err(refused(map::EPOCH))?,
        flows,
        PerCpuArray::new(open(map::TOTALS)?, cpus).map_err(refused(map::TOTALS))?,
        grace,
        beginning,
    )
    .map_err(|source| refused_map("the grace period's maps", source))
}

/// Opens what pinned data planes with other layouts have counted, as far as this build can read it.
fn previous(others: Vec<Old>, grace: Grace) -> Result<Vec<Previous>, LoadError> {
    others
        .into_iter()
        .map(|old| {
            let recorded = old.head.recorded;
            let readable = old.meta.as_ref().map(|meta| {
                let open = |name| {
                    let map = old.state.open(name);
                    map.map_err(|source| refused_map(name, source))?
                        .ok_or(LoadError::Missing { kind: "map", name })
                };
                generations(
                    open,
                    meta.flow_capacity,
                    grace,
                    Beginning::Resume { recorded },
                )
            });
            let readable = match readable {
                Some(Ok(generations)) => Some(generations),
                Some(Err(error)) => {
                    tracing::warn!("A pinned data plane is not readable: {error}");
                    None
                }
                None => None,
            };
            Previous::new(old, readable).map_err(LoadError::from)
        })
        .collect()
}

/// The key of the hash that places flows, of the operating system's random numbers.
fn random_seed() -> [u64; FLOW_SEED_WORDS] {
    let random = RandomState::new();
    std::array::from_fn(|at| random.hash_one(at))
}

/// How many entries the maps have whose sizes are chosen here.
fn sizes(size: TableSize, capacity: u32, guard: GuardTables) -> [(&'static str, u32); 8] {
    [
        (map::FLOWS, GENERATIONS as u32 * size.sets),
        (map::FLOWS_USED, GENERATIONS as u32 * size.words()),
        (map::SPILL_0, size.spill),
        (map::SPILL_1, size.spill),
        (map::FLOW_STATE, capacity),
        (map::SYN_FILTER, guard.syn_filter),
        (map::SOURCES, guard.sources),
        (map::SOURCE_RATES, guard.source_rates),
    ]
}

fn loader<'a>(
    sizes: &[(&'static str, u32)],
    sets: &'a u32,
    seed: &'a [u64; FLOW_SEED_WORDS],
) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader
        .override_global(constant::FLOW_SETS, sets, true)
        .override_global(constant::FLOW_SEED, seed.as_slice(), true);
    for (name, size) in sizes {
        loader.map_max_entries(name, *size);
    }
    loader
}

/// The object with maps of its own in these sizes; no program is loaded yet.
pub(super) fn open(capacity: u32, guard: GuardTables) -> Result<Ebpf, LoadError> {
    let size = TableSize::of(capacity);
    let sizes = sizes(size, capacity, guard);
    loader(&sizes, &size.sets, &random_seed())
        .load(OBJECT)
        .map_err(refused)
}

fn check(options: LoadOptions) -> Result<(), LoadError> {
    let bytes = options.ring_bytes;
    if !bytes.is_power_of_two() || bytes < 16 * 1024 {
        return Err(LoadError::Option {
            option: "ring_bytes",
            value: bytes.into(),
            reason: "a ring's size is a power of two, of 16 KiB or more",
        });
    }
    if options.flow_table_capacity == 0 {
        return Err(LoadError::Option {
            option: "flow_table_capacity",
            value: 0,
            reason: "a flow table holds at least one flow",
        });
    }
    options.guard_tables.check()?;
    Ok(())
}
