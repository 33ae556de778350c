//! The methods: how a SYN to a destination under attack is judged.

use sensor_ebpf::{
    abi::{DropReason, Method},
    guard::{
        bucket::Bucket,
        filter::{CLIENT_TICK, Met, Place, SYN_TICK, client_ticks, syn_ticks},
        hash,
    },
    parse::{Bytes as _, Pointers},
};

use super::{
    super::maps::{SOURCE_RATES, SOURCES, SYN_FILTER},
    Case, Verdict, budget,
    cookie::{self, Answer},
    has_lapsed,
};

/// Offset of the sequence number in a TCP header.
const SEQUENCE: usize = 4;

#[inline(always)]
pub(super) fn decide(case: &mut Case<'_>) -> Verdict {
    if case.destination.method == Method::Cookie as u32 {
        match cookie::answer(case) {
            Answer::Made => return Verdict::Answer,
            Answer::NotNeeded => return Verdict::Pass,
            Answer::TooMany if !has_lapsed(case) => return Verdict::Drop(DropReason::SynAckRate),
            Answer::TooMany | Answer::Impossible => {}
        }
    }
    if has_lapsed(case) {
        case.counters.lapsed += 1;
        return Verdict::Pass;
    }
    if case.destination.method == Method::Rate as u32 {
        rate(case)
    } else {
        retransmission(case)
    }
}

/// Drops the first SYN of a client that is not known. Its retransmission, which repeats ports and
/// sequence number after a second or so, passes, and the client is known for a while.
#[inline(always)]
fn retransmission(case: &mut Case<'_>) -> Verdict {
    let settings = case.settings;
    // SAFETY: nothing has moved the packet.
    let packet = unsafe { Pointers::new(case.frame.ctx.data(), case.frame.ctx.data_end()) };
    let Some(sequence) = packet.get::<4>(case.subject.transport() + SEQUENCE) else {
        return Verdict::Pass;
    };
    let sequence = u32::from_ne_bytes(sequence);
    let key = &case.subject.key;
    let syn = Place::of(
        hash::syn(&settings.seed, key, sequence),
        settings.syn_filter_mask,
        case.now_ns,
        SYN_TICK,
    );
    let client = Place::of(
        hash::address(&settings.seed, &key.src),
        settings.sources_mask,
        case.now_ns,
        CLIENT_TICK,
    );
    let (Some(syns), Some(clients)) = (
        SYN_FILTER.get_ptr_mut(syn.block),
        SOURCES.get_ptr_mut(client.block),
    ) else {
        return Verdict::Pass;
    };
    let min = syn_ticks(settings.retransmission_min_ms);
    let max = syn_ticks(settings.retransmission_max_ms) + 1;
    // SAFETY: the blocks of those places.
    unsafe {
        // Hardly any block of a flooded filter is in a cache: this one is on its way while the
        // other is looked through.
        Place::fetch(syns);
        if client.refresh(clients, client_ticks(settings.validated_seconds)) {
            case.counters.known_admitted += 1;
            return Verdict::Pass;
        }
        if !matches!(syn.meet(syns, min, max), Met::Again) {
            return Verdict::Drop(DropReason::FirstSyn);
        }
        client.insert(clients);
    }
    case.counters.retransmission_admitted += 1;
    Verdict::Pass
}

/// Limits SYNs by source, then all of those that remain together.
///
/// Once the destination's budget of the window is spent, sources are not asked any more: under a flood
/// of random ones each would cost a read of memory that no cache holds, and the SYN is dropped anyway.
#[inline(always)]
fn rate(case: &mut Case<'_>) -> Verdict {
    let budget = budget::of_syns(case.destination.slot);
    let per_second = case.destination.syn_per_second;
    if budget::is_spent(budget, per_second, case.now_ns) {
        return Verdict::Drop(DropReason::DestinationRate);
    }
    if !source_may_send(case) {
        return Verdict::Drop(DropReason::SourceRate);
    }
    if budget::take(budget, per_second, case.now_ns) {
        Verdict::Pass
    } else {
        Verdict::Drop(DropReason::DestinationRate)
    }
}

/// Takes a token of the source's bucket.
#[inline(always)]
fn source_may_send(case: &Case<'_>) -> bool {
    let settings = case.settings;
    if settings.source_per_second == 0 {
        return true;
    }
    let hash = hash::address(&settings.seed, &case.subject.key.src);
    let index = Bucket::index(hash, settings.source_rates_mask);
    let Some(bucket) = SOURCE_RATES.get_ptr_mut(index) else {
        return true;
    };
    // SAFETY: a live map value; of two CPUs either may win, at the price of a token.
    unsafe {
        let (after, granted) = Bucket(bucket.read_volatile()).take(
            hash,
            case.now_ns,
            settings.source_per_second,
            settings.source_burst,
        );
        bucket.write_volatile(after.0);
        granted
    }
}
