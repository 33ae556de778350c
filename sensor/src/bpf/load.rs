//! Loading the embedded object: sizes, maps, rings, programs.

use std::{
    hash::{BuildHasher as _, RandomState},
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Map, MapData, MapError},
    programs::{Program, ProgramError},
    util::{nr_cpus, online_cpus},
};
use sensor_ebpf::{
    abi::{GENERATIONS, Settings, TableSize, constant, map, program},
    hash::FLOW_SEED_WORDS,
};

use super::{
    LoadError, LoadOptions, ProgramStats, capabilities,
    flows::FlowTables,
    generation::Generations,
    guard::{self, Guard},
    rings::Rings,
    slots::Slots,
    sys::{
        map::{Array, HashTable, KeySet, OuterArray, PerCpuArray},
        mapped::MappedArray,
    },
};

/// The product's BPF object, aligned as aya's ELF reader wants it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
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
    pub(super) generations: Generations,
    pub(super) rings: Rings,
    pub(super) guard: Guard,
}

/// Descriptors of the loaded programs.
#[derive(Debug)]
pub(super) struct Programs {
    /// Takes multi-buffer frames; `None` where the kernel knows none (below 5.18).
    pub(super) xdp: Option<OwnedFd>,
    /// The same for drivers that refuse multi-buffer programs.
    pub(super) xdp_linear: OwnedFd,
    pub(super) egress: OwnedFd,
}

/// See [`super::DataPlane::load`].
pub(super) fn load(options: LoadOptions) -> Result<Loaded, LoadError> {
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
    // Of the operating system's random numbers.
    let random = RandomState::new();
    let seed: [u64; FLOW_SEED_WORDS] = std::array::from_fn(|at| random.hash_one(at));
    let mut object = EbpfLoader::new()
        .map_max_entries(map::FLOWS, GENERATIONS as u32 * size.sets)
        .map_max_entries(map::FLOWS_USED, GENERATIONS as u32 * size.words())
        .map_max_entries(map::SPILL_0, size.spill)
        .map_max_entries(map::SPILL_1, size.spill)
        .override_global(constant::FLOW_SETS, &size.sets, true)
        .override_global(constant::FLOW_SEED, seed.as_slice(), true)
        .map_max_entries(map::FLOW_STATE, capacity)
        .map_max_entries(map::SYN_FILTER, options.guard_tables.syn_filter)
        .map_max_entries(map::SOURCES, options.guard_tables.sources)
        .map_max_entries(map::SOURCE_RATES, options.guard_tables.source_rates)
        .load(OBJECT)
        .map_err(refused)?;

    let mut stats = Vec::new();
    let xdp = match load_program(&mut object, program::XDP, &mut stats) {
        Ok(fd) => Some(fd),
        Err(error) => {
            tracing::warn!(%error, "No multi-buffer XDP here; jumbo frames need it");
            None
        }
    };
    let programs = Programs {
        xdp,
        xdp_linear: load_program(&mut object, program::XDP_LINEAR, &mut stats)?,
        egress: load_program(&mut object, program::EGRESS, &mut stats)?,
    };

    let cpus = nr_cpus().map_err(|(path, error)| LoadError::Object(format!("{path}: {error}")))?;
    let online =
        online_cpus().map_err(|(path, error)| LoadError::Object(format!("{path}: {error}")))?;
    let rings = typed(&mut object, map::RINGS, OuterArray::new)?;
    let rings = Rings::create(&rings, &online, options.ring_bytes)
        .map_err(|source| refused_map("a sample ring", source))?;
    let flows = FlowTables::new(
        typed(&mut object, map::FLOWS, MappedArray::new)?,
        &typed(&mut object, map::FLOWS_USED, MappedArray::new)?,
        [
            typed(&mut object, map::SPILL_0, HashTable::new)?,
            typed(&mut object, map::SPILL_1, HashTable::new)?,
        ],
        capacity,
    )
    .map_err(|source| refused_map(map::FLOWS, source))?;
    let generations = Generations::start(
        typed(&mut object, map::EPOCH, Array::new)?,
        flows,
        typed(&mut object, map::TOTALS, |map| PerCpuArray::new(map, cpus))?,
        options.grace,
    )
    .map_err(|source| refused_map("the grace period's maps", source))?;
    let guard = Guard::new(
        guard::Maps {
            settings: typed(&mut object, map::GUARD, Array::new)?,
            heartbeat: typed(&mut object, map::HEARTBEAT, Array::new)?,
            destinations: typed(&mut object, map::DESTINATIONS, HashTable::new)?,
            suspects: typed(&mut object, map::SUSPECTS, HashTable::new)?,
            counters: typed(&mut object, map::DESTINATION_COUNTERS, |map| {
                PerCpuArray::new(map, cpus)
            })?,
        },
        options.guard_tables,
    )
    .map_err(|source| LoadError::Object(format!("no random numbers: {source}")))?;
    Ok(Loaded {
        programs,
        stats,
        slots: Slots::new(typed(&mut object, map::DEVICES, Array::new)?),
        settings: typed(&mut object, map::SETTINGS, Array::new)?,
        filter_addresses: typed(&mut object, map::FILTER_ADDRS, KeySet::new)?,
        filter_ports: typed(&mut object, map::FILTER_PORTS, KeySet::new)?,
        generations,
        rings,
        guard,
    })
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

fn load_program(
    object: &mut Ebpf,
    name: &'static str,
    stats: &mut Vec<ProgramStats>,
) -> Result<OwnedFd, LoadError> {
    let missing = LoadError::Missing {
        kind: "program",
        name,
    };
    let program = object.program_mut(name).ok_or(missing)?;
    match program {
        Program::Xdp(xdp) => xdp.load(),
        Program::SchedClassifier(classifier) => classifier.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(|error| refused_program(name, error))?;
    let as_object_error = |error: ProgramError| LoadError::Object(error.to_string());
    let info = program.info().map_err(as_object_error)?;
    stats.push(ProgramStats {
        name,
        verified_instructions: info.verified_instruction_count().unwrap_or(0),
        translated_bytes: info.size_translated().unwrap_or(0),
        jited_bytes: info.size_jitted(),
    });
    let fd = program.fd().map_err(as_object_error)?;
    fd.as_fd()
        .try_clone_to_owned()
        .map_err(|error| LoadError::Object(error.to_string()))
}

/// Takes a map out of the object and checks that its layout is the one this build knows.
fn typed<T>(
    object: &mut Ebpf,
    name: &'static str,
    make: impl FnOnce(MapData) -> std::io::Result<T>,
) -> Result<T, LoadError> {
    let missing = || LoadError::Missing { kind: "map", name };
    let (Map::Array(data)
    | Map::ArrayOfMaps(data)
    | Map::HashMap(data)
    | Map::LpmTrie(data)
    | Map::PerCpuArray(data)) = object.take_map(name).ok_or_else(missing)?
    else {
        return Err(missing());
    };
    make(data).map_err(|source| refused_map(name, source))
}

fn refused_map(what: &str, source: std::io::Error) -> LoadError {
    LoadError::Map {
        what: what.to_owned(),
        source,
    }
}

fn refused_program(name: &'static str, error: ProgramError) -> LoadError {
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = &error
    {
        if io_error.raw_os_error() == Some(libc::EPERM) {
            return LoadError::Capabilities {
                missing: capabilities::explain_refusal(&[
                    capabilities::BPF,
                    capabilities::NET_ADMIN,
                    capabilities::PERFMON,
                ]),
            };
        }
        let log = verifier_log.to_string();
        let lines = log.lines().count();
        let tail: Vec<_> = log.lines().skip(lines.saturating_sub(3)).collect();
        return LoadError::Verifier {
            program: name,
            message: format!("{io_error}: {}", tail.join("; ")),
        };
    }
    LoadError::Object(error.to_string())
}

fn refused(error: EbpfError) -> LoadError {
    if let EbpfError::MapError(MapError::CreateError { name, io_error }) = error {
        if io_error.raw_os_error() == Some(libc::EPERM) {
            return LoadError::Capabilities {
                missing: capabilities::explain_refusal(&[capabilities::BPF]),
            };
        }
        return refused_map(&format!("map `{name}`"), io_error);
    }
    LoadError::Object(error.to_string())
}
