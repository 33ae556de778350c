//! Loading the object under test, running it, and reading its maps. Each test has maps of its own.

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod, VerifierLogLevel,
    maps::{
        Array, ArrayOfMaps, HashMap, LpmTrie, Map, MapData, PerCpuArray, RingBuf, lpm_trie::Key,
    },
    programs::{Program, ProgramInfo, SchedClassifier, TestRun as _, TestRunOptions, Xdp},
};
use sensor_ebpf::abi::{
    self, Direction, FlowEntry, FlowKey, FlowSet, SETS_PER_WORD, SampleHeader, Settings, SlotTag,
    TableSize, Totals, WAYS, constant, map, program,
};
use sensor_ebpf::hash::{self, FLOW_SEED_WORDS};
use sensor_ebpf::sampling::State;
use zerocopy::{FromBytes, IntoBytes};

static COMMITTED: &[u8] = aya::include_bytes_aligned!("../../../sensor-ebpf/prebuilt/sensor.bpf.o");

/// The index of the loopback device, which `BPF_PROG_TEST_RUN` gives a packet without context.
pub(super) const LOOPBACK: u32 = 1;

/// A key of the flows' hash, the same in each run.
const SEED: [u64; FLOW_SEED_WORDS] = {
    let mut seed = [0x9e37_79b9_7f4a_7c15; FLOW_SEED_WORDS];
    let mut at = 1;
    while at < FLOW_SEED_WORDS {
        seed[at] = u64::wrapping_mul(seed[at - 1], 0xd134_2543_de82_ef95);
        at += 1;
    }
    seed
};

const BPF_MAP_TYPE_RINGBUF: u32 = 27;

/// What a test loads the object with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    /// Which programs: the verifier takes a second or two for each.
    pub(super) programs: &'static [&'static str],
    /// Flows that each flow table is made for.
    pub(super) flows: u32,
    /// Bytes of the ring that all CPUs share; 0 for none.
    pub(super) ring: u32,
    /// Whether loopback has a slot in the totals.
    pub(super) device: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self::of(&[program::XDP])
    }
}

impl Setup {
    /// The default, with these programs.
    pub(super) const fn of(programs: &'static [&'static str]) -> Self {
        Self {
            programs,
            flows: 1024,
            ring: 1 << 20,
            device: true,
        }
    }
}

/// The object under test, or `None` (with a line on stderr) for whom cannot load programs.
pub(super) fn loaded(setup: Setup) -> Result<Option<Programs>> {
    if !sensor_tests::root_or_skip() {
        return Ok(None);
    }
    Programs::load(setup).map(Some)
}

/// A loaded object that counts into generation 1, used from one CPU.
pub(super) struct Programs {
    ebpf: Ebpf,
    ring: Option<RingBuf<MapData>>,
}

/// A ring record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) header: SampleHeader,
    pub(super) data: Vec<u8>,
    /// Bytes that the record has for data.
    pub(super) room: usize,
}

impl Programs {
    pub(super) fn load(setup: Setup) -> Result<Self> {
        crate::test_run::stay_on_this_cpu()?;
        let other = std::env::var_os("SENSOR_BPF_OBJECT")
            .map(std::fs::read)
            .transpose()?;
        // What led to a refusal; the full log takes minutes.
        let level = match std::env::var_os("SENSOR_BPF_LOG") {
            Some(_) => VerifierLogLevel::DEBUG | VerifierLogLevel::STATS,
            None => VerifierLogLevel::STATS,
        };
        let size = TableSize::of(setup.flows);
        let mut ebpf = EbpfLoader::new()
            .verifier_log_level(level)
            .map_max_entries(map::FLOWS, 2 * size.sets)
            .map_max_entries(map::FLOWS_USED, 2 * size.words())
            .map_max_entries(map::SPILL_0, size.spill)
            .map_max_entries(map::SPILL_1, size.spill)
            .override_global(constant::FLOW_SETS, &size.sets, true)
            .override_global(constant::FLOW_SEED, SEED.as_slice(), true)
            .map_max_entries(map::SYN_FILTER, 1024)
            .map_max_entries(map::SOURCES, 1024)
            .map_max_entries(map::SOURCE_RATES, 1024)
            .load(other.as_deref().unwrap_or(COMMITTED))
            .context("cannot load the BPF object")?;
        for name in setup.programs {
            let program = ebpf.program_mut(name).with_context(|| *name)?;
            match program {
                Program::Xdp(program) => program.load(),
                Program::SchedClassifier(program) => program.load(),
                _ => bail!("{name} is of another type"),
            }
            .with_context(|| format!("the verifier refuses {name}"))?;
        }
        let mut this = Self { ebpf, ring: None };
        if setup.device {
            this.array::<u64>(map::DEVICES)?
                .set(LOOPBACK, abi::device_entry(LOOPBACK, 1), 0)?;
        }
        if setup.ring > 0 {
            this.add_ring(setup.ring)?;
        }
        this.open_generation(1)?;
        Ok(this)
    }

    fn add_ring(&mut self, bytes: u32) -> Result<()> {
        let ring = aya_obj::Map::new_from_params(BPF_MAP_TYPE_RINGBUF, 0, 0, bytes, 0);
        let ring = MapData::create(ring, "ring", None)?;
        let mut rings: ArrayOfMaps<_, MapData> =
            ArrayOfMaps::try_from(self.ebpf.map_mut(map::RINGS).context("rings")?)?;
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"));
        for cpu in 0..u32::try_from(cpus?)? {
            rings.set(cpu, &ring, 0)?;
        }
        self.ring = Some(RingBuf::try_from(Map::RingBuf(ring))?);
        Ok(())
    }

    pub(super) fn array<V: Pod>(&mut self, name: &str) -> Result<Array<&mut MapData, V>> {
        Ok(Array::try_from(self.map_mut(name)?)?)
    }

    pub(super) fn map(&self, name: &str) -> Result<&Map> {
        self.ebpf.map(name).with_context(|| name.to_owned())
    }

    pub(super) fn map_mut(&mut self, name: &str) -> Result<&mut Map> {
        self.ebpf.map_mut(name).with_context(|| name.to_owned())
    }

    fn table<V: Pod>(&self, name: &str) -> Result<HashMap<&MapData, Bytes<48>, V>> {
        let map = self.ebpf.map(name).with_context(|| name.to_owned())?;
        Ok(HashMap::try_from(map)?)
    }

    /// Counts into generation `epoch` from now on.
    pub(super) fn open_generation(&mut self, epoch: u64) -> Result<()> {
        Ok(self.array::<u64>(map::EPOCH)?.set(0, epoch, 0)?)
    }

    /// Replaces the settings.
    pub(super) fn set(&mut self, settings: Settings) -> Result<()> {
        let value: Bytes<{ size_of::<Settings>() }> = Bytes(settings.as_bytes().try_into()?);
        Ok(self.array(map::SETTINGS)?.set(0, value, 0)?)
    }

    /// Makes this the sampling filter.
    pub(super) fn filter(
        &mut self,
        prefix: Option<(u32, [u8; 16])>,
        port: Option<u16>,
    ) -> Result<()> {
        let mut prefixes: LpmTrie<_, [u8; 16], u8> =
            LpmTrie::try_from(self.map_mut(map::FILTER_ADDRS)?)?;
        let old: Vec<_> = prefixes.keys().collect::<Result<_, _>>()?;
        for key in old {
            prefixes.remove(&key)?;
        }
        if let Some((len, address)) = prefix {
            prefixes.insert(&Key::new(len, address), 1, 0)?;
        }
        let mut ports: HashMap<_, u16, u8> = HashMap::try_from(self.map_mut(map::FILTER_PORTS)?)?;
        let old: Vec<_> = ports.keys().collect::<Result<_, _>>()?;
        for key in old {
            ports.remove(&key)?;
        }
        if let Some(port) = port {
            ports.insert(port, 1, 0)?;
        }
        Ok(())
    }

    /// Runs the XDP program once over a frame and returns its verdict.
    pub(super) fn receive(&self, frame: &[u8]) -> Result<u32> {
        self.receive_often(frame, 1)
    }

    /// Runs the XDP program `repeat` times over the same frame.
    pub(super) fn receive_often(&self, frame: &[u8], repeat: u32) -> Result<u32> {
        self.receive_by(program::XDP, frame, repeat)
    }

    /// Runs the XDP program once over a frame; the verdict, and the frame afterwards.
    pub(super) fn exchange(&self, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        let program: &Xdp = self.ebpf.program(program::XDP).context("xdp")?.try_into()?;
        let mut after = vec![0; frame.len() + 256];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut after);
        let result = program.test_run(options)?;
        after.truncate(result.data_size_out as usize);
        Ok((result.return_value, after))
    }

    /// Runs one of the XDP programs.
    pub(super) fn receive_by(&self, name: &str, frame: &[u8], repeat: u32) -> Result<u32> {
        let program: &Xdp = self.ebpf.program(name).context("xdp")?.try_into()?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.repeat = repeat;
        Ok(program.test_run(options)?.return_value)
    }

    /// Runs one of the classifiers once; `context` is a `struct __sk_buff`.
    pub(super) fn classify(&self, name: &str, frame: &[u8], context: &[u8]) -> Result<u32> {
        let program: &SchedClassifier =
            self.ebpf.program(name).context("classifier")?.try_into()?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.ctx_in = Some(context);
        Ok(program.test_run(options)?.return_value)
    }

    /// All flows of a generation, and what earlier ones have left in the spill table.
    pub(super) fn flows(&self, epoch: u64) -> Result<Vec<(FlowKey, FlowEntry)>> {
        let mut flows = self.flows_in_sets(epoch)?;
        for item in &self.table::<Bytes<64>>(spill(epoch))? {
            let (key, entry) = item?;
            flows.push((key.read(), entry.read()));
        }
        Ok(flows)
    }

    /// Flows of a generation that did not meet a full set.
    fn flows_in_sets(&self, epoch: u64) -> Result<Vec<(FlowKey, FlowEntry)>> {
        let sets: Array<_, Bytes<{ size_of::<FlowSet>() }>> =
            Array::try_from(self.ebpf.map(map::FLOWS).context("sets")?)?;
        let used: Array<_, u64> = Array::try_from(self.ebpf.map(map::FLOWS_USED).context("bits")?)?;
        let half = sets.len() / 2;
        let first = (epoch & 1) as u32 * half;
        let mut flows = Vec::new();
        for index in first..first + half {
            let set: FlowSet = sets.get(&index, 0)?.read();
            let bits = used.get(&(index / SETS_PER_WORD), 0)?;
            for (way, slot) in set.slots.iter().enumerate() {
                let tag = SlotTag(slot.tag);
                if tag.is_of(epoch) {
                    let bit = index % SETS_PER_WORD * WAYS as u32 + way as u32;
                    ensure!(tag.is_ready() && bits >> bit & 1 == 1, "{slot:?} {bits:x}");
                    flows.push((slot.key, slot.entry));
                }
            }
        }
        Ok(flows)
    }

    /// One flow of a generation, if it is there.
    pub(super) fn flow(&self, epoch: u64, key: &FlowKey) -> Result<Option<FlowEntry>> {
        let sets: Array<_, Bytes<{ size_of::<FlowSet>() }>> =
            Array::try_from(self.ebpf.map(map::FLOWS).context("sets")?)?;
        let half = sets.len() / 2;
        let hash = hash::flow(&key.words(), |at| SEED[at]);
        let index = (epoch & 1) as u32 * half + abi::set_of(hash, half);
        let set: FlowSet = sets.get(&index, 0)?.read();
        let tag = SlotTag::ready(epoch, hash);
        let mut slots = set.slots.iter();
        if let Some(slot) = slots.find(|slot| slot.tag == tag.0 && slot.key == *key) {
            return Ok(Some(slot.entry));
        }
        match self
            .table::<Bytes<64>>(spill(epoch))?
            .get(&Bytes::of(key)?, 0)
        {
            Ok(entry) => Ok(Some(entry.read())),
            Err(aya::maps::MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes room in a spill table, as user space never does while it is counted into.
    pub(super) fn remove_spilled(&mut self, epoch: u64) -> Result<()> {
        let mut map: HashMap<_, Bytes<48>, Bytes<64>> =
            HashMap::try_from(self.map_mut(spill(epoch))?)?;
        let key = map.keys().next().context("nothing was spilled")??;
        Ok(map.remove(&key)?)
    }

    /// What is remembered of flows' sampling beyond generations.
    pub(super) fn flow_states(&self) -> Result<Vec<(FlowKey, State)>> {
        self.table::<u64>(map::FLOW_STATE)?
            .iter()
            .map(|item| item.map(|(key, value)| (key.read(), State(value))))
            .map(|item| Ok(item?))
            .collect()
    }

    /// Sets what is remembered of a flow, as user space does.
    pub(super) fn set_flow_state(&mut self, key: &FlowKey, state: State) -> Result<()> {
        let map = self.map_mut(map::FLOW_STATE)?;
        let mut map: HashMap<_, Bytes<48>, u64> = HashMap::try_from(map)?;
        Ok(map.insert(Bytes::of(key)?, state.0, 0)?)
    }

    /// Sum over CPUs of the totals of a generation, slot and direction.
    pub(super) fn totals(&self, epoch: u64, slot: u32, direction: Direction) -> Result<Totals> {
        const WORDS: usize = size_of::<Totals>() / 8;
        let map = self.ebpf.map(map::TOTALS).context("totals")?;
        let map: PerCpuArray<_, [u64; WORDS]> = PerCpuArray::try_from(map)?;
        let mut sum = [0; WORDS];
        for cpu in map
            .get(&abi::totals_index(epoch, slot, direction), 0)?
            .iter()
        {
            for (to, from) in sum.iter_mut().zip(cpu) {
                *to += from;
            }
        }
        Totals::read_from_bytes(sum.as_bytes()).ok().context("size")
    }

    /// Loopback's totals, which have to agree with its flows by the law of accounting, in packets
    /// and in bytes.
    pub(super) fn balanced(&self, epoch: u64, direction: Direction) -> Result<Totals> {
        let totals = self.totals(epoch, 1, direction)?;
        let (mut packets, mut bytes) = (0, 0);
        for (key, entry) in self.flows(epoch)? {
            if key.direction == direction as u8 {
                packets += entry.packets;
                bytes += entry.bytes;
            }
        }
        packets += totals.non_ip + totals.suppressed.iter().sum::<u64>();
        packets += totals.overflow.iter().chain(&totals.unparsed).sum::<u64>();
        bytes += totals.non_ip_bytes + totals.suppressed_bytes.iter().sum::<u64>();
        bytes += totals
            .overflow_bytes
            .iter()
            .chain(&totals.unparsed_bytes)
            .sum::<u64>();
        ensure!(
            (totals.runs, totals.bytes) == (packets, bytes),
            "{packets} packets and {bytes} bytes are accounted for in {totals:?}"
        );
        Ok(totals)
    }

    /// Takes all records out of the ring.
    pub(super) fn records(&mut self) -> Result<Vec<Record>> {
        let ring = self.ring.as_mut().context("the test has no ring")?;
        let mut records = Vec::new();
        while let Some(record) = ring.next() {
            let (header, data) = SampleHeader::read_from_prefix(&record)
                .ok()
                .context("a record is shorter than its header")?;
            let captured = data
                .get(..header.captured_len as usize)
                .context("a record is shorter than it says")?;
            records.push(Record {
                header,
                data: captured.to_vec(),
                room: data.len(),
            });
        }
        Ok(records)
    }

    /// What the kernel says of a loaded program.
    pub(super) fn info(&self, name: &str) -> Result<ProgramInfo> {
        Ok(self.ebpf.program(name).context("program")?.info()?)
    }
}

const fn spill(epoch: u64) -> &'static str {
    if epoch & 1 == 0 {
        map::SPILL_0
    } else {
        map::SPILL_1
    }
}

/// Plain bytes, for aya's typed maps: the ABI's own types cannot implement its `Pod` here.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Bytes<const N: usize>([u8; N]);

// SAFETY: any bit pattern is a value, and N is a multiple of the alignment for every type here.
unsafe impl<const N: usize> Pod for Bytes<N> {}

impl<const N: usize> Bytes<N> {
    pub(super) fn of(value: &(impl IntoBytes + zerocopy::Immutable)) -> Result<Self> {
        Ok(Self(value.as_bytes().try_into()?))
    }

    fn read<T: FromBytes>(&self) -> T {
        let Ok(value) = T::read_from_bytes(&self.0) else {
            unreachable!("sizes are equal");
        };
        value
    }
}
