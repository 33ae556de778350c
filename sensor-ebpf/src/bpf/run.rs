//! What one run of a program knows of itself.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use sensor_ebpf::{
    abi::{
        DEVICES_SIZE, Direction, DropReason, FlowKey, ProtocolClass, Settings, Totals,
        UnparsedReason, totals_index,
    },
    parse::{Headers, Unkeyed},
};

use super::{
    count,
    guard::{self, Frame, Segment},
    lists,
    maps::{CPU, Cpu, DEVICES, EPOCH, SETTINGS, TOTALS},
    sample::{self, Wanted},
    table::{Entry, Place},
};

/// One packet on its way through a program.
pub(super) struct Run {
    /// Read once: flow table and totals of one packet belong to the same generation.
    pub(super) epoch: u64,
    pub(super) ifindex: u32,
    pub(super) direction: Direction,
    /// Wire bytes without FCS.
    pub(super) bytes: u64,
    /// Packets that this run stands for.
    pub(super) packets: u64,
    /// Whether the device has a slot of its own in the totals.
    pub(super) known_device: bool,
    pub(super) totals: &'static mut Totals,
    pub(super) cpu: &'static mut Cpu,
    pub(super) settings: &'static Settings,
}

/// What becomes of a packet that is booked.
pub(super) enum Outcome {
    /// It goes on; perhaps a sample of it is wanted.
    Pass(Option<Wanted>),
    /// It ends here.
    Drop,
}

impl Run {
    /// Counts the run, before anything else. `None` cannot happen: all look-ups are within
    /// arrays, but the verifier wants to see it handled.
    #[inline(always)]
    pub(super) fn begin(
        ifindex: u32,
        direction: Direction,
        packets: u64,
        bytes: u64,
    ) -> Option<Self> {
        let epoch = *EPOCH.get(0)?;
        let device = *DEVICES.get(ifindex % DEVICES_SIZE as u32)?;
        let known_device = device >> 32 == u64::from(ifindex) && device != 0;
        let slot = if known_device { device as u32 } else { 0 };
        // SAFETY: the value belongs to this CPU, and no other program of this direction runs on
        // it before this one ends.
        let totals = unsafe { &mut *TOTALS.get_ptr_mut(totals_index(epoch, slot, direction))? };
        totals.runs += packets;
        totals.bytes += bytes;
        // SAFETY: as above; see `Cpu`.
        let cpu = unsafe { &mut *CPU.get_ptr_mut(0)? };
        let settings = SETTINGS.get(0)?;
        Some(Self {
            epoch,
            ifindex,
            direction,
            bytes,
            packets,
            known_device,
            totals,
            cpu,
            settings,
        })
    }

    /// Books the packet under exactly one term of the law of accounting, judges it if it can be
    /// stopped (`received` is then the frame), and decides whether a sample of it is wanted.
    #[inline(always)]
    pub(super) fn account(
        &mut self,
        key: &FlowKey,
        parsed: Result<Headers, Unkeyed>,
        received: Option<&Frame<'_>>,
    ) -> Outcome {
        let headers = match parsed {
            Ok(headers) if self.known_device => headers,
            Ok(_) => return Outcome::Pass(self.unparsed(UnparsedReason::UnknownDevice)),
            Err(Unkeyed::NonIp) => {
                self.totals.non_ip += self.packets;
                self.totals.non_ip_bytes += self.bytes;
                return Outcome::Pass(sample::of_unkeyed(self.settings));
            }
            Err(Unkeyed::Unparsed(reason)) => return Outcome::Pass(self.unparsed(reason)),
        };
        if count::is_open(headers.tcp_flags) {
            self.totals.syn += self.packets;
        }
        let lists = match received {
            Some(_) => lists::generation(self),
            None => 0,
        };
        let hint = if lists == 0 { None } else { lists::hint(key) };
        if let Some(hint) = hint
            && let Some(reason) = lists::blocked_address(self, key, hint)
        {
            return self.refuse(key, reason);
        }
        let place = Place::of(self.epoch, key);
        let mut entry = place.lookup(key);
        let mut passed = 0;
        if let Some(hint) = hint
            && !entry.is_some_and(|entry| count::state(entry).passed_lists() == lists)
        {
            match lists::judge(self, key, hint) {
                lists::Verdict::Pass { lasting, .. } => passed = if lasting { lists } else { 0 },
                lists::Verdict::Block(reason) => return self.refuse(key, reason),
            }
            if let Some(entry) = entry {
                count::set_state(entry, count::state(entry).after_lists(passed));
            }
        }
        let mut segment = Segment::Pass;
        if entry.is_none() {
            if let Some(frame) = received {
                segment = guard::segment(self, key, &headers, frame);
                if segment == Segment::Drop {
                    return self.refuse(key, DropReason::OutOfState);
                }
            }
            entry = self.first_touch(&place, key, passed);
        }
        let counted = match entry {
            Some(entry) => {
                let counted = count::packet(self, entry, headers.tcp_flags);
                if segment == Segment::ByCookie {
                    count::mark_by_cookie(entry);
                }
                if received.is_some()
                    && guard::is_watching(self, key)
                    && count::completes_handshake(counted, headers.tcp_flags)
                {
                    guard::completed(self, key, &headers);
                }
                Some(counted)
            }
            None => {
                count::overflow(self, key);
                None
            }
        };
        Outcome::Pass(sample::of_flow(self, key, headers.tcp_flags, counted))
    }

    /// A flow that this generation has not met: what is remembered of it goes into its entry, so
    /// that its later packets make one look-up. `None` if there is no room. `passed` is the
    /// generation of the lists that let the flow pass until they change, or 0.
    #[inline(always)]
    fn first_touch(&mut self, place: &Place, key: &FlowKey, passed: u32) -> Option<Entry> {
        if place.is_full(self) {
            return None;
        }
        let state = sample::remembered(key).after_lists(passed);
        place.insert(self, key, state.0)
    }

    /// Drops the packet and keeps it out of the flow table.
    #[inline(always)]
    pub(super) fn refuse(&mut self, key: &FlowKey, reason: DropReason) -> Outcome {
        self.suppress(ProtocolClass::of(key.protocol));
        self.dropped(reason);
        Outcome::Drop
    }

    /// Books the packet as one that is kept out of the flow table.
    #[inline(always)]
    pub(super) fn suppress(&mut self, class: ProtocolClass) {
        let class = class as usize;
        if let Some(packets) = self.totals.suppressed.get_mut(class)
            && let Some(bytes) = self.totals.suppressed_bytes.get_mut(class)
        {
            *packets += self.packets;
            *bytes += self.bytes;
        }
    }

    /// Counts a packet that the program drops.
    #[inline(always)]
    pub(super) fn dropped(&mut self, reason: DropReason) {
        self.totals.dropped += self.packets;
        self.totals.dropped_bytes += self.bytes;
        if let Some(packets) = self.totals.dropped_by.get_mut(reason as usize) {
            *packets += self.packets;
        }
    }

    #[inline(always)]
    fn unparsed(&mut self, reason: UnparsedReason) -> Option<Wanted> {
        let at = reason as usize;
        if let Some(packets) = self.totals.unparsed.get_mut(at)
            && let Some(bytes) = self.totals.unparsed_bytes.get_mut(at)
        {
            *packets += self.packets;
            *bytes += self.bytes;
        }
        sample::of_unkeyed(self.settings)
    }

    /// The coarse monotonic clock. It moves with the tick only, as `jiffies` does, which costs
    /// one load instead of a call: the clock is read where `jiffies` has moved.
    #[inline(always)]
    pub(super) fn now_ns(&mut self) -> u64 {
        // SAFETY: the helpers have no preconditions.
        let jiffies = unsafe { bpf_jiffies64() };
        if self.cpu.jiffies != jiffies {
            self.cpu.jiffies = jiffies;
            // SAFETY: the helpers have no preconditions.
            self.cpu.now_ns = unsafe { bpf_ktime_get_coarse_ns() };
        }
        self.cpu.now_ns
    }
}
