//! Cost of the data plane for one packet, by `BPF_PROG_TEST_RUN`, beside programs that do less.
//! Run by `cargo xtask bench kernel`, as root; prints figures as JSON.

mod guard;
mod lists;
mod memory;

use std::ffi::CStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, ProgramArray},
    programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp},
};
use aya_obj::programs::XdpAttachType;
use sensor_ebpf::{
    abi::{self, TableSize},
    hash::FLOW_SEED_WORDS,
};

static PRODUCT: &[u8] = aya::include_bytes_aligned!("../../sensor-ebpf/prebuilt/sensor.bpf.o");
static BENCH: &[u8] = aya::include_bytes_aligned!("../../sensor-ebpf/prebuilt/bench.bpf.o");

/// Where Debian's xdp-tools keeps xdp-filter with all features and the policy "allow".
const XDP_FILTER: &str = "/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_all.o";

const ROUNDS: usize = 20;
const REPEAT: u32 = 1_000_000;
const FLOWS: u32 = 131_072;
const LOOPBACK: u32 = 1;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// Loads with many flows, and the programs that make them: for programs with and without
/// multi-buffer support.
const ORDERS: [(&str, [&str; 2]); 2] = [
    // First: it is in this order that the reference finds room for its entries.
    (
        "65,536 flows in turn",
        ["vary_in_turn", "vary_in_turn_linear"],
    ),
    ("65,536 flows by chance", ["vary", "vary_linear"]),
];

/// The least, the least that counts flows, the product, and a product of others.
const CONTENDERS: [&str; 4] = ["empty", "reference", "sensor", "xdp-filter"];

fn main() -> Result<()> {
    // Listeners and settings of the bench's own.
    // SAFETY: this process has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(std::io::Error::last_os_error()).context("no network namespace: not root?");
    }
    let other = std::env::var_os("SENSOR_BPF_OBJECT")
        .map(std::fs::read)
        .transpose()?;
    let product_object = other.as_deref().unwrap_or(PRODUCT);
    let product = counting(product_object)?;
    let bench_programs = [
        "empty",
        "reference",
        "vary",
        "vary_linear",
        "vary_in_turn",
        "vary_in_turn_linear",
        "vary_source",
        "vary_source_within",
        "vary_syn",
    ];
    let mut bench = load(BENCH, &bench_programs)?;
    let filter = xdp_filter()?;
    let contender = |bench, name: &str| match name {
        "sensor" => program(&product, abi::program::XDP).map(Some),
        "xdp-filter" => Ok(filter.as_ref()),
        other => program(bench, other).map(Some),
    };
    let mut targets = Vec::new();
    for name in CONTENDERS {
        if let Some(program) = contender(&bench, name)? {
            targets.push((name, program.fd()?.try_clone()?));
        }
    }
    let mut figures = Figures::new();
    let mut best = vec![u128::MAX; targets.len()];
    for _ in 0..ROUNDS {
        for (best, (name, _)) in best.iter_mut().zip(&targets) {
            if let Some(program) = contender(&bench, name)? {
                *best = (*best).min(measure(program)?);
            }
        }
    }
    figures.add("one flow", &targets, &best);
    for (load, order) in ORDERS {
        best.fill(u128::MAX);
        for _ in 0..ROUNDS {
            for (best, (_, target)) in best.iter_mut().zip(&targets) {
                *best = (*best).min(measure_behind(&mut bench, order, target)?);
            }
        }
        figures.add(load, &targets, &best);
    }
    figures.rows.push(Row {
        name: "one read of memory that no cache holds".to_owned(),
        value: memory::latency(),
        unit: "ns",
        ratio: None,
    });
    let established = lists::measure(product_object, &mut bench, &mut figures)?;
    guard::measure(product_object, &mut bench, established, &mut figures)?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// Cost of a program behind one that varies what it sees, which is counted with it.
fn measure_behind(bench: &mut Ebpf, order: [&str; 2], target: &ProgramFd) -> Result<u128> {
    // A program array holds programs of one kind.
    let [mut entry, linear] = order;
    let mut next = ProgramArray::try_from(bench.map_mut("NEXT").context("NEXT")?)?;
    if next.set(0, target, 0).is_err() {
        entry = linear;
        let map = bench.map_mut("NEXT_LINEAR").context("NEXT_LINEAR")?;
        ProgramArray::try_from(map)?
            .set(0, target, 0)
            .context("NEXT_LINEAR")?;
    }
    measure(program(bench, entry)?)
}

/// What `cargo xtask bench` reads.
#[derive(serde::Serialize)]
struct Figures {
    conditions: Vec<String>,
    rows: Vec<Row>,
}

#[derive(serde::Serialize)]
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    ratio: Option<f64>,
}

impl Figures {
    fn new() -> Self {
        let conditions = vec![
            format!("interleaved, best of {ROUNDS} rounds of {REPEAT} runs each"),
            "a ratio is sensor's time divided by the row's: above 1 sensor is slower".into(),
            "over 65,536 flows all run behind a program that changes the port, xdp-filter behind \
             one without multi-buffer support"
                .into(),
        ];
        Self {
            conditions,
            rows: Vec::new(),
        }
    }

    fn add<T>(&mut self, load: &str, targets: &[(&str, T)], nanoseconds: &[u128]) {
        let rows: Vec<_> = targets.iter().zip(nanoseconds).collect();
        let sensor = rows.iter().find(|((name, _), _)| *name == "sensor");
        for ((name, _), ns) in &rows {
            self.rows.push(Row {
                name: format!("{name}, {load}"),
                value: **ns as f64,
                unit: "ns",
                ratio: sensor
                    .filter(|_| **ns > 0)
                    .map(|(_, sensor)| **sensor as f64 / **ns as f64),
            });
        }
    }
}

fn load(object: &[u8], programs: &[&str]) -> Result<Ebpf> {
    let size = TableSize::of(FLOWS);
    let seed: [u64; FLOW_SEED_WORDS] =
        std::array::from_fn(|at| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(at as u64 + 1));
    let mut ebpf = EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::STATS)
        .map_max_entries(abi::map::FLOWS, 2 * size.sets)
        .map_max_entries(abi::map::FLOWS_USED, 2 * size.words())
        .map_max_entries(abi::map::SPILL_0, size.spill)
        .map_max_entries(abi::map::SPILL_1, size.spill)
        .override_global(abi::constant::FLOW_SETS, &size.sets, false)
        .override_global(abi::constant::FLOW_SEED, seed.as_slice(), false)
        .load(object)?;
    for name in programs {
        let program: &mut Xdp = ebpf
            .program_mut(name)
            .context("no such program")?
            .try_into()?;
        program
            .load()
            .with_context(|| format!("cannot load {name}"))?;
    }
    Ok(ebpf)
}

/// The product, counting into generation 1 what loopback receives.
fn counting(object: &[u8]) -> Result<Ebpf> {
    let mut product = load(object, &[abi::program::XDP])?;
    Array::<_, u64>::try_from(product.map_mut(abi::map::EPOCH).context("EPOCH")?)?.set(0, 1, 0)?;
    Array::<_, u64>::try_from(product.map_mut(abi::map::DEVICES).context("DEVICES")?)?.set(
        LOOPBACK,
        abi::device_entry(LOOPBACK, 1),
        0,
    )?;
    Ok(product)
}

fn program<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a Xdp> {
    Ok(ebpf.program(name).context("no such program")?.try_into()?)
}

/// Nanoseconds of one run over a packet that passes, as the kernel measures them.
fn measure(program: &Xdp) -> Result<u128> {
    let (verdict, nanoseconds) = run(program, [10, 0, 0, 1])?;
    if verdict != XDP_PASS {
        bail!("the verdict is {verdict} instead of XDP_PASS");
    }
    Ok(nanoseconds)
}

/// The last verdict, and the nanoseconds of one run over a packet from `source`.
fn run(program: &Xdp, source: [u8; 4]) -> Result<(u32, u128)> {
    let mut frame = vec![0; 64];
    frame[12] = 0x08;
    frame[14] = 0x45;
    frame[17] = 50;
    frame[22] = 64;
    frame[23] = 6;
    frame[26..30].copy_from_slice(&source);
    frame[30..34].copy_from_slice(&[10, 0, 0, 2]);
    frame[34..38].copy_from_slice(&[0x80, 0, 0, 80]);
    frame[46] = 0x50;
    frame[47] = 0x10;
    run_frame(program, &frame)
}

/// The last verdict, and the nanoseconds of one run over a frame.
fn run_frame(program: &Xdp, frame: &[u8]) -> Result<(u32, u128)> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.repeat = REPEAT;
    let result = program.test_run(options)?;
    Ok((result.return_value, result.duration.as_nanos()))
}

/// xdp-filter as its package has it, loaded without libxdp's dispatcher; `None` where it is not
/// installed.
fn xdp_filter() -> Result<Option<Xdp>> {
    if !Path::new(XDP_FILTER).is_file() {
        eprintln!("xdp-filter is not measured: apt install xdp-tools bpftool");
        return Ok(None);
    }
    own_bpffs()?;
    let pin = "/sys/fs/bpf/sensor-bench";
    let loaded = Command::new("bpftool")
        .args(["prog", "load", XDP_FILTER, pin, "type", "xdp"])
        .status()
        .context("cannot start bpftool: apt install bpftool")?;
    if !loaded.success() {
        bail!("bpftool cannot load {XDP_FILTER}");
    }
    let program = Xdp::from_pin(pin, XdpAttachType::Interface)?;
    Ok(Some(program))
}

/// Mounts a BPF file system that nobody else sees and that ends with this process, for the maps
/// that xdp-filter pins.
fn own_bpffs() -> Result<()> {
    const BPF: &CStr = c"bpf";
    let none = std::ptr::null();
    // SAFETY: all strings end with NUL and outlive the calls; this process has one thread.
    let failed = unsafe {
        libc::unshare(libc::CLONE_NEWNS) != 0
            || libc::mount(
                BPF.as_ptr(),
                c"/".as_ptr(),
                none,
                libc::MS_REC | libc::MS_PRIVATE,
                none.cast(),
            ) != 0
            || libc::mount(
                BPF.as_ptr(),
                c"/sys/fs/bpf".as_ptr(),
                BPF.as_ptr(),
                0,
                none.cast(),
            ) != 0
    };
    if failed {
        return Err(std::io::Error::last_os_error()).context("cannot mount a BPF file system");
    }
    Ok(())
}
