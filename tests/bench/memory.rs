//! What this machine's memory costs, without which figures over many flows say little.

use std::hint::black_box;
use std::time::Instant;

/// More than caches hold.
const BYTES: usize = 64 << 20;
/// Bytes from one place to be read to another, so that none comes along with its neighbour.
const APART: usize = 128;
const WORDS_APART: usize = APART / size_of::<u32>();
const PLACES: usize = BYTES / APART;

const READS: u32 = 1_000_000;
const ROUNDS: u32 = 3;

/// Nanoseconds of one read, each of which has to wait for the one before; best of some rounds.
pub(super) fn latency() -> f64 {
    let mut memory = vec![0_u32; BYTES / size_of::<u32>()];
    for (at, next) in cycle().into_iter().enumerate() {
        memory[at * WORDS_APART] = next;
    }
    let mut best = f64::INFINITY;
    let mut at = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..READS {
            at = memory[at as usize * WORDS_APART];
        }
        best = best.min(start.elapsed().as_secs_f64());
        black_box(at);
    }
    best * 1e9 / f64::from(READS)
}

/// For each place the next one, in one cycle through all of them by chance (Sattolo's algorithm).
fn cycle() -> Vec<u32> {
    let mut next: Vec<u32> = (0..PLACES as u32).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..PLACES).rev() {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        next.swap(last, (random >> 33) as usize % last);
    }
    next
}
