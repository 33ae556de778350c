//! Multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is fast", 2014):
//! who does not know the coefficients cannot aim at a block, and no multiplication waits for
//! another.

use crate::abi::{FlowKey, SEED_WORDS};

/// Random coefficients.
pub type Seed = [u64; SEED_WORDS];

/// Of an address.
#[must_use]
#[inline(always)]
pub fn address(seed: &Seed, address: &[u8; 16]) -> u64 {
    seed[0].wrapping_add(words(seed, 1, address))
}

/// Of an address and a port.
#[must_use]
#[inline(always)]
pub fn destination(seed: &Seed, address: &[u8; 16], port: u16) -> u64 {
    seed[0]
        .wrapping_add(words(seed, 1, address))
        .wrapping_add(seed[5].wrapping_mul(port.into()))
}

/// Of a SYN: addresses, ports and the initial sequence number, which a retransmission repeats.
#[must_use]
#[inline(always)]
pub fn syn(seed: &Seed, key: &FlowKey, sequence: u32) -> u64 {
    let ports = u64::from(key.src_port) << 16 | u64::from(key.dst_port);
    seed[0]
        .wrapping_add(words(seed, 1, &key.src))
        .wrapping_add(words(seed, 5, &key.dst))
        .wrapping_add(seed[9].wrapping_mul(ports))
        .wrapping_add(seed[10].wrapping_mul(sequence.into()))
}

#[inline(always)]
fn words(seed: &Seed, from: usize, address: &[u8; 16]) -> u64 {
    let word = |at: usize| {
        let bytes = [
            address[at * 4],
            address[at * 4 + 1],
            address[at * 4 + 2],
            address[at * 4 + 3],
        ];
        seed[from + at].wrapping_mul(u32::from_ne_bytes(bytes).into())
    };
    word(0)
        .wrapping_add(word(1))
        .wrapping_add(word(2))
        .wrapping_add(word(3))
}
