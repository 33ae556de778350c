//! Loading the object under test, and reading its counters. Each test has maps of its own.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, HashMap, PerCpuArray},
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use sensor_ebpf::abi::{self, Direction, FlowEntry, FlowKey, Settings, Totals};
use zerocopy::{FromBytes, IntoBytes};

static COMMITTED: &[u8] = aya::include_bytes_aligned!("../../../sensor-ebpf/prebuilt/sensor.bpf.o");

/// The index of the loopback device, which `BPF_PROG_TEST_RUN` gives a packet without context.
pub(super) const LOOPBACK: u32 = 1;

/// The object under test, or `None` (with a line on stderr) for whom cannot load programs.
pub(super) fn loaded() -> Result<Option<Programs>> {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: needs root");
        return Ok(None);
    }
    Programs::load().map(Some)
}

/// A loaded object with loopback in slot 1.
pub(super) struct Programs {
    ebpf: Ebpf,
}

impl Programs {
    fn load() -> Result<Self> {
        let other = std::env::var_os("SENSOR_BPF_OBJECT")
            .map(std::fs::read)
            .transpose()?;
        // The verifier's full log takes minutes where a program is too large for it.
        let level = match std::env::var_os("SENSOR_BPF_LOG") {
            Some(_) => VerifierLogLevel::VERBOSE | VerifierLogLevel::STATS,
            None => VerifierLogLevel::STATS,
        };
        let mut ebpf = EbpfLoader::new()
            .verifier_log_level(level)
            .load(other.as_deref().unwrap_or(COMMITTED))
            .context("cannot load the BPF object")?;
        for name in [abi::program::XDP, abi::program::XDP_LINEAR] {
            let program: &mut Xdp = ebpf.program_mut(name).context(name)?.try_into()?;
            program
                .load()
                .with_context(|| format!("the verifier refuses {name}"))?;
        }
        let egress: &mut aya::programs::SchedClassifier = ebpf
            .program_mut(abi::program::EGRESS)
            .context("egress")?
            .try_into()?;
        egress
            .load()
            .context("the verifier refuses the egress classifier")?;
        let mut this = Self { ebpf };
        this.array::<u64>(abi::map::DEVICES)?
            .set(LOOPBACK, abi::device_entry(LOOPBACK, 1), 0)?;
        this.open_generation(1)?;
        Ok(this)
    }

    fn array<V: aya::Pod>(&mut self, name: &str) -> Result<Array<&mut aya::maps::MapData, V>> {
        Ok(Array::try_from(
            self.ebpf.map_mut(name).with_context(|| name.to_owned())?,
        )?)
    }

    /// Counts into generation `epoch` from now on.
    pub(super) fn open_generation(&mut self, epoch: u64) -> Result<()> {
        Ok(self.array::<u64>(abi::map::EPOCH)?.set(0, epoch, 0)?)
    }

    /// Replaces the settings.
    pub(super) fn set(&mut self, settings: Settings) -> Result<()> {
        let value: Bytes<{ size_of::<Settings>() }> = Bytes(settings.as_bytes().try_into()?);
        Ok(self.array(abi::map::SETTINGS)?.set(0, value, 0)?)
    }

    /// Runs the XDP program once over a frame and returns its verdict.
    pub(super) fn receive(&self, frame: &[u8]) -> Result<u32> {
        let program: &Xdp = self
            .ebpf
            .program(abi::program::XDP)
            .context("xdp")?
            .try_into()?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        Ok(program.test_run(options)?.return_value)
    }

    /// All flows of a generation.
    pub(super) fn flows(&self, epoch: u64) -> Result<Vec<(FlowKey, FlowEntry)>> {
        let name = if epoch & 1 == 0 {
            abi::map::FLOWS_0
        } else {
            abi::map::FLOWS_1
        };
        let map = self.ebpf.map(name).context(name)?;
        let map: HashMap<_, Bytes<48>, Bytes<64>> = HashMap::try_from(map)?;
        map.iter()
            .map(|item| item.map(|(key, value)| (key.read(), value.read())))
            .map(|item| Ok(item?))
            .collect()
    }

    /// Sum over CPUs of the totals of a generation, slot and direction.
    pub(super) fn totals(&self, epoch: u64, slot: u32, direction: Direction) -> Result<Totals> {
        let map = self.ebpf.map(abi::map::TOTALS).context("totals")?;
        let map: PerCpuArray<_, Bytes<{ size_of::<Totals>() }>> = PerCpuArray::try_from(map)?;
        let mut sum = Totals::default();
        for cpu in map
            .get(&abi::totals_index(epoch, slot, direction), 0)?
            .iter()
        {
            let words = <[u64; size_of::<Totals>() / 8]>::read_from_bytes(&cpu.0)
                .map_err(|e| anyhow::anyhow!("{e}"))?;
            for (to, from) in <[u64; size_of::<Totals>() / 8]>::mut_from_bytes(sum.as_mut_bytes())
                .map_err(|e| anyhow::anyhow!("{e}"))?
                .iter_mut()
                .zip(words)
            {
                *to += from;
            }
        }
        Ok(sum)
    }
}

/// Plain bytes, for aya's typed maps: the ABI's own types cannot implement its `Pod` here.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Bytes<const N: usize>([u8; N]);

// SAFETY: any bit pattern is a value, and N is a multiple of the alignment for every type here.
unsafe impl<const N: usize> aya::Pod for Bytes<N> {}

impl<const N: usize> Bytes<N> {
    fn read<T: FromBytes>(&self) -> T {
        let Ok(value) = T::read_from_bytes(&self.0) else {
            unreachable!("sizes are equal");
        };
        value
    }
}
