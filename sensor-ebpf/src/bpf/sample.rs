//! Copies of packets to user space.

use core::cmp;

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_get_smp_processor_id,
        generated::{
            bpf_ktime_get_ns, bpf_ringbuf_discard, bpf_ringbuf_reserve, bpf_ringbuf_submit,
        },
    },
};
use sensor_ebpf::{
    abi::{
        FlowKey, MAX_RINGS, SAMPLE_SIZES, SampleClass, SampleHeader, SampleLoss, Settings, mode,
    },
    sampling::{self, State},
};

use super::{
    bounds,
    count::Counted,
    maps::{FILTER_PORTS, FLOW_STATE, RINGS, in_filter},
    run::Run,
};

/// Length of a budget's window.
const WINDOW_NS: u64 = 10_000_000;

/// User space is woken for one record in so many, and polls for the rest.
const WAKE_EACH: u32 = 64;

/// A packet of which a sample is wanted.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) class: SampleClass,
    pub(super) flow: Option<Counted>,
}

/// What only the entry points know of the packet.
pub(super) trait Source {
    /// Bytes that [`copy`](Self::copy) can reach.
    fn len(&self) -> u32;
    /// Copies the first `len` bytes to `to`; false if they cannot be read.
    ///
    /// # Safety
    ///
    /// `to` has room for `len` bytes.
    unsafe fn copy(&self, to: *mut u8, len: u32) -> bool;
    /// TCI and ethertype of a tag that is not in the bytes; zeros without one.
    fn vlan(&self) -> (u16, u16);
}

/// Decides for a packet without key.
#[inline(always)]
pub(super) fn of_unkeyed(settings: &Settings) -> Option<Wanted> {
    sampling::without_key(settings).map(|class| Wanted { class, flow: None })
}

/// Decides for a packet with key; without entry if the table is full.
#[inline(always)]
pub(super) fn of_flow(
    run: &Run,
    key: &FlowKey,
    tcp_flags: u8,
    flow: Option<Counted>,
) -> Option<Wanted> {
    // SAFETY: a live map value; a torn or stale state costs at most a sample.
    let state = flow.map(|flow| State(unsafe { (&raw const (*flow.entry.as_ptr()).state).read() }));
    let class = sampling::decide(run.settings, state, key, tcp_flags, run.totals.runs)?;
    if !passes_filter(run.settings, key) {
        return None;
    }
    Some(Wanted { class, flow })
}

#[inline(always)]
fn passes_filter(settings: &Settings, key: &FlowKey) -> bool {
    if settings.mode & (mode::FILTER_ADDRESSES | mode::FILTER_PORTS) == 0 {
        return true;
    }
    if settings.mode & mode::FILTER_ADDRESSES != 0 && !in_filter(key.src) && !in_filter(key.dst) {
        return false;
    }
    // SAFETY: only presence is asked for, the values are not read.
    unsafe {
        settings.mode & mode::FILTER_PORTS == 0
            || FILTER_PORTS.get(&key.src_port).is_some()
            || FILTER_PORTS.get(&key.dst_port).is_some()
    }
}

/// Writes the sample, or counts why there is none.
#[inline(always)]
pub(super) fn take(run: &mut Run, key: &FlowKey, wanted: Wanted, source: &impl Source) {
    match write(run, wanted, source) {
        Ok(()) => {
            run.totals.sampled += 1;
            if let Some(flow) = wanted.flow {
                remember(key, flow);
            }
        }
        Err(loss) => {
            if let Some(lost) = run.totals.sample_lost.get_mut(loss as usize) {
                *lost += 1;
            }
        }
    }
}

#[inline(always)]
fn write(run: &mut Run, wanted: Wanted, source: &impl Source) -> Result<(), SampleLoss> {
    spend(run, wanted.class)?;
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let ring = RINGS
        .get(cpu % MAX_RINGS as u32)
        .ok_or(SampleLoss::NoRing)?;
    let ring = core::ptr::from_ref(ring).cast_mut().cast();
    let len = source.len();
    // SAFETY: `ring` is a ring, as the map's definition says.
    unsafe {
        if len as usize <= SAMPLE_SIZES[0] {
            record::<{ SAMPLE_SIZES[0] }>(run, wanted, source, ring, len)
        } else if len as usize <= SAMPLE_SIZES[1] {
            record::<{ SAMPLE_SIZES[1] }>(run, wanted, source, ring, len)
        } else {
            record::<{ SAMPLE_SIZES[2] }>(run, wanted, source, ring, len)
        }
    }
}

/// Takes a token of the class's budget on this CPU.
#[inline(always)]
fn spend(run: &mut Run, class: SampleClass) -> Result<(), SampleLoss> {
    let window = run.now_ns() / WINDOW_NS;
    if run.cpu.window != window {
        run.cpu.window = window;
        run.cpu.spent = [0; 5];
    }
    let at = class as usize;
    match (run.cpu.spent.get_mut(at), run.settings.budget.get(at)) {
        (Some(spent), Some(budget)) if *spent < *budget => {
            *spent += 1;
            Ok(())
        }
        _ => Err(SampleLoss::Budget),
    }
}

/// # Safety
///
/// `ring` is a ring buffer map.
#[inline(always)]
unsafe fn record<const SIZE: usize>(
    run: &mut Run,
    wanted: Wanted,
    source: &impl Source,
    ring: *mut core::ffi::c_void,
    len: u32,
) -> Result<(), SampleLoss> {
    let (vlan_tci, vlan_proto) = source.vlan();
    let mut header = SampleHeader {
        time_ns: 0,
        epoch: run.epoch,
        number: wanted.flow.map_or(0, |flow| flow.number),
        wire_len: run.bytes as u32,
        captured_len: 0,
        ifindex: run.ifindex,
        direction: run.direction as u8,
        class: wanted.class as u8,
        segments: run.packets as u16,
        vlan_tci,
        vlan_proto,
        _pad: 0,
    };
    if len == 0 {
        return Err(SampleLoss::Unreadable);
    }
    let len = bounds::length(cmp::min(len as usize, SIZE), SIZE);
    header.captured_len = len;
    // SAFETY: the size is a constant, which is what the verifier asks for; the record is either
    // submitted or discarded on each path; header and data lie within it.
    unsafe {
        let size = size_of::<SampleHeader>() + SIZE;
        let to = bpf_ringbuf_reserve(ring, size as u64, 0).cast::<u8>();
        if to.is_null() {
            return Err(SampleLoss::RingFull);
        }
        header.time_ns = bpf_ktime_get_ns();
        to.cast::<SampleHeader>().write(header);
        if !source.copy(to.add(size_of::<SampleHeader>()), len) {
            bpf_ringbuf_discard(to.cast(), BPF_RB_NO_WAKEUP.into());
            return Err(SampleLoss::Unreadable);
        }
        run.cpu.unnotified += 1;
        let flags = if run.cpu.unnotified >= WAKE_EACH {
            run.cpu.unnotified = 0;
            BPF_RB_FORCE_WAKEUP
        } else {
            BPF_RB_NO_WAKEUP
        };
        bpf_ringbuf_submit(to.cast(), flags.into());
    }
    Ok(())
}

/// What is remembered of a flow from earlier generations.
#[inline(always)]
pub(super) fn remembered(key: &FlowKey) -> State {
    // SAFETY: the value is copied at once.
    State(unsafe { FLOW_STATE.get(key).copied() }.unwrap_or(0))
}

/// Notes that the flow was sampled once more: in its entry, and for later generations. A flow's
/// first packet in a generation writes nothing that outlives the generation, so that a flood of
/// spoofed sources cannot push real flows out of `FLOW_STATE`.
#[inline(always)]
fn remember(key: &FlowKey, flow: Counted) {
    // SAFETY: a live map value; of concurrent writers any may win, at the price of a sample.
    let state = unsafe { State((*flow.entry.as_ptr()).state).after_sample() };
    let mut kept = state;
    if flow.number > 1 {
        if let Some(old) = FLOW_STATE.get_ptr_mut(key) {
            // SAFETY: the value may be recycled for another flow by another CPU before it is
            // written: that flow is then sampled too little, and counted all the same.
            unsafe {
                kept = state.with_verdict_of(State(*old));
                *old = kept.0;
            }
        } else {
            // Failure leaves the flow unknown to the next generation, which samples it anew.
            let _ = FLOW_STATE.insert(key, &state.0, 0);
        }
    }
    // SAFETY: as above.
    unsafe { (*flow.entry.as_ptr()).state = kept.0 };
}
