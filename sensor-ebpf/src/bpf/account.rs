//! Where each packet is booked: under exactly one term of the law of accounting.

use sensor_ebpf::{
    abi::{DropReason, FlowKey, UnparsedReason},
    parse::{Headers, Unkeyed},
};

use super::{
    count,
    guard::{self, Frame, Segment},
    lists,
    run::Run,
    sample::{self, Wanted},
    table::{Entry, Place},
};

/// What becomes of a packet that is booked.
pub(super) enum Outcome {
    /// It goes on; perhaps a sample of it is wanted.
    Pass(Option<Wanted>),
    /// It ends here.
    Drop,
}

impl Run {
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
            && let Some(reason) = lists::blocked_address(self, key, hint, lists)
        {
            return self.stop(key, reason);
        }
        let place = Place::of(self.epoch, key);
        let mut entry = place.lookup(key);
        let mut passed = 0;
        if let Some(hint) = hint
            && !entry.is_some_and(|entry| count::state(entry).passed_lists() == lists)
        {
            match lists::judge(self, key, hint) {
                lists::Verdict::Pass { lasting, .. } => passed = if lasting { lists } else { 0 },
                lists::Verdict::Block(reason) => return self.stop(key, reason),
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
                    return self.stop(key, DropReason::OutOfState);
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

    #[inline(always)]
    fn stop(&mut self, key: &FlowKey, reason: DropReason) -> Outcome {
        self.refuse(key, reason);
        Outcome::Drop
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
}
