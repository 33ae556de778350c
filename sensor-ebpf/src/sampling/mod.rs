//! Which packets are copied to user space: a pure decision, made in the kernel.

use crate::abi::{FlowKey, SampleClass, Settings, mode};

/// What is remembered of a flow beyond a generation: the value of `FLOW_STATE` and of
/// `FlowEntry::state`. The low 24 bits count the packets sampled so far, saturating; the next 8
/// are user space's [`Verdict`]; the high half is the generation of the lists that let the flow
/// pass (`Settings::lists_generation`), or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State(pub u64);

/// What user space has decided for one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Verdict {
    /// The settings decide.
    Default = 0,
    /// No more samples of this flow.
    Enough = 1,
    /// All of this flow's packets, within the budget of [`SampleClass::Full`].
    More = 2,
}

impl State {
    /// The state that carries a verdict and no history.
    #[must_use]
    pub const fn of(verdict: Verdict) -> Self {
        Self((verdict as u64) << VERDICT_SHIFT)
    }

    /// Packets sampled so far, saturating.
    #[must_use]
    #[inline(always)]
    pub const fn sampled(self) -> u32 {
        self.0 as u32 & MAX_SAMPLED
    }

    #[must_use]
    #[inline(always)]
    pub const fn verdict(self) -> Verdict {
        match self.0 as u32 >> VERDICT_SHIFT {
            1 => Verdict::Enough,
            2 => Verdict::More,
            _ => Verdict::Default,
        }
    }

    /// This state after one more sample.
    #[must_use]
    #[inline(always)]
    pub const fn after_sample(self) -> Self {
        if self.sampled() == MAX_SAMPLED {
            self
        } else {
            Self(self.0 + 1)
        }
    }

    /// This state's history with the verdict of `other`.
    #[must_use]
    #[inline(always)]
    pub const fn with_verdict_of(self, other: Self) -> Self {
        Self((self.0 & !VERDICT_MASK) | (other.0 & VERDICT_MASK))
    }

    /// The generation of the lists that let the flow pass for good; 0 if none has.
    #[must_use]
    #[inline(always)]
    pub const fn passed_lists(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// This state after the lists of a generation let the flow pass.
    #[must_use]
    #[inline(always)]
    pub const fn after_lists(self, generation: u32) -> Self {
        Self((self.0 & 0xffff_ffff) | (generation as u64) << 32)
    }
}

const VERDICT_SHIFT: u32 = 24;
const VERDICT_MASK: u64 = 0xff00_0000;
const MAX_SAMPLED: u32 = 0x00ff_ffff;

/// Decides whether a packet is wanted, and why.
///
/// `state` is `None` for a packet without flow entry (table full); `count` numbers the packets of
/// a CPU and device, so that one in M is spread evenly over all of them, whatever their flows.
#[must_use]
#[inline(always)]
pub fn decide(
    settings: &Settings,
    state: Option<State>,
    key: &FlowKey,
    tcp_flags: u8,
    count: u64,
) -> Option<SampleClass> {
    if settings.mode & (mode::SAMPLE_OFF | mode::SAMPLE_FULL) != 0 {
        return without_key(settings);
    }
    if let Some(state) = state {
        match state.verdict() {
            Verdict::Enough => return None,
            Verdict::More => return Some(SampleClass::Full),
            Verdict::Default => {}
        }
    }
    if tcp_flags & CONTROL_FLAGS != 0 {
        return Some(SampleClass::Control);
    }
    if is_dns(key) {
        return Some(SampleClass::Dns);
    }
    if state.is_some_and(|state| state.sampled() < settings.first_packets) {
        return Some(SampleClass::First);
    }
    (scatter(count) < settings.rest_below).then_some(SampleClass::Rest)
}

/// Decides for a frame that has no key: only `--sampling full` wants it.
#[must_use]
#[inline(always)]
pub fn without_key(settings: &Settings) -> Option<SampleClass> {
    (settings.mode & (mode::SAMPLE_OFF | mode::SAMPLE_FULL) == mode::SAMPLE_FULL)
        .then_some(SampleClass::Full)
}

/// FIN, SYN, RST.
const CONTROL_FLAGS: u8 = 0x07;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// DNS, multicast DNS (RFC 6762) or LLMNR (RFC 4795), by port.
#[inline(always)]
fn is_dns(key: &FlowKey) -> bool {
    matches!(key.protocol, TCP | UDP)
        && (matches!(key.src_port, 53 | 5353 | 5355) || matches!(key.dst_port, 53 | 5353 | 5355))
}

/// Spreads consecutive numbers evenly over 2^32: multiples of the golden ratio, of which any run
/// falls below a threshold as often as its share says, to within one or two.
#[inline(always)]
const fn scatter(count: u64) -> u32 {
    (count as u32).wrapping_mul(0x9e37_79b1)
}

#[cfg(test)]
mod tests;
