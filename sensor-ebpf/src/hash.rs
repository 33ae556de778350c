//! The hash that places flows, keyed so that nobody can aim at a set.

/// Random numbers that key a hash.
pub const FLOW_SEED_WORDS: usize = 13;

/// Hashes the words of a flow's key ([`FlowKey::words`](crate::abi::FlowKey::words)).
///
/// The sum is Multilinear-HM of Lemire and Kaser, "Strongly Universal String Hashing is Fast"
/// (The Computer Journal 57:11, 2014): for keys chosen without knowledge of the seed, two differ
/// in the sum's high half as two random numbers do, and its products do not wait for one another.
/// What follows is a permutation, that makes the low half as good as the high one and scatters
/// the regular patterns which ports and addresses form.
///
/// `seed` gives the random words, of which there are [`FLOW_SEED_WORDS`], one at a time: the kernel
/// has no registers to hold them all.
#[must_use]
#[inline(always)]
pub fn flow(key: &[u64; 6], seed: impl Fn(usize) -> u64) -> u64 {
    let mut sum = seed(0);
    for (at, word) in key.iter().enumerate() {
        let low = seed(2 * at + 1).wrapping_add(word & 0xffff_ffff);
        let high = seed(2 * at + 2).wrapping_add(word >> 32);
        sum = sum.wrapping_add(low.wrapping_mul(high));
    }
    scatter(sum)
}

/// A permutation of 64 bits: multiplications carry upwards, shifts bring down.
#[inline(always)]
const fn scatter(sum: u64) -> u64 {
    const ODD: u64 = 0xd6e8_feb8_6659_fd93;
    let mixed = (sum ^ sum >> 32).wrapping_mul(ODD);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(ODD);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{FlowKey, TableSize, WAYS, set_of};

    fn seed(of: u64) -> [u64; FLOW_SEED_WORDS] {
        std::array::from_fn(|at| scatter(of * 100 + at as u64 + 1))
    }

    fn key() -> FlowKey {
        let mut key = FlowKey::default();
        key.src[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
        key.dst[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 2]);
        (key.src_port, key.dst_port, key.protocol, key.ifindex) = (1024, 443, 6, 3);
        key
    }

    #[test]
    fn every_field_of_the_key_counts() {
        let seed = seed(1);
        let hash = |key: &FlowKey| flow(&key.words(), |at| seed[at]);
        let mut seen = vec![hash(&key())];
        let mut see = |change: &dyn Fn(&mut FlowKey)| {
            let mut other = key();
            change(&mut other);
            seen.push(hash(&other));
        };
        for at in 0..16 {
            see(&|key| key.src[at] ^= 1);
            see(&|key| key.dst[at] ^= 1);
        }
        see(&|key| key.src_port ^= 1);
        see(&|key| key.dst_port ^= 1);
        see(&|key| key.vlan[0] ^= 1);
        see(&|key| key.vlan[1] ^= 1);
        see(&|key| key.ifindex ^= 1);
        see(&|key| key.protocol ^= 1);
        see(&|key| key.direction ^= 1);
        see(&|key| key.flags ^= 1);
        see(&|key| std::mem::swap(&mut key.src, &mut key.dst));
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    /// Flows that find their set full, of as many as the table is made for.
    fn spilled(seed: u64, keys: impl Iterator<Item = FlowKey>, size: TableSize) -> usize {
        let seed = self::seed(seed);
        let mut taken = vec![0; size.sets as usize];
        keys.filter(|key| {
            let set = &mut taken[set_of(flow(&key.words(), |at| seed[at]), size.sets) as usize];
            *set += 1;
            *set > WAYS
        })
        .count()
    }

    /// The regular patterns of real and of generated traffic fit as random keys would, whatever
    /// the seed: into the sets and half of the spill table's margin.
    #[test]
    fn regular_keys_spread_like_random_ones() {
        const FLOWS: u32 = 1 << 14;
        let size = TableSize::of(FLOWS);
        let of = |change: fn(&mut FlowKey, u32)| {
            (0..FLOWS).map(move |number| {
                let mut key = key();
                change(&mut key, number);
                key
            })
        };
        let patterns: [fn(&mut FlowKey, u32); 5] = [
            |key, number| key.src_port = number as u16,
            |key, number| key.src[12..].copy_from_slice(&number.to_be_bytes()),
            |key, number| key.src[8..12].copy_from_slice(&(number << 7).to_be_bytes()),
            |key, number| {
                key.src[15] = number as u8;
                key.dst[15] = (number >> 8) as u8;
            },
            |key, number| {
                key.src[14] = (number >> 7) as u8;
                key.src_port = 32_768 + (number as u16 & 0x7f);
                key.dst_port = key.src_port ^ 1;
            },
        ];
        for change in patterns {
            for seed in 0..16 {
                let spilled = spilled(seed, of(change), size);
                assert!(
                    spilled < size.spill as usize * 5 / 6,
                    "seed {seed}: {spilled}"
                );
            }
        }
    }
}
