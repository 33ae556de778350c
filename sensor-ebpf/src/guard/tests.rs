use super::{
    bucket::Bucket,
    budget::{Share, per_window, share_of, window},
    filter::{CLIENT_TICK, FilterBlock, Met, Place, SYN_TICK, client_ticks, syn_ticks},
    hash, synack,
    synack::{Scratch, SynAck},
};
use crate::abi::{BudgetShare, FlowKey, SEED_WORDS, guard_flags};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Numbers as good as random ones (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn seed(&mut self) -> hash::Seed {
        std::array::from_fn::<u64, SEED_WORDS, _>(|_| self.next())
    }
}

struct Filter {
    blocks: Vec<FilterBlock>,
    seed: hash::Seed,
}

impl Filter {
    fn new(blocks: usize) -> Self {
        Self {
            blocks: vec![FilterBlock::default(); blocks],
            seed: Random(1).seed(),
        }
    }

    fn meet(&mut self, key: &FlowKey, sequence: u32, now_ns: u64, limits: (u32, u32)) -> Met {
        let hash = hash::syn(&self.seed, key, sequence);
        let place = Place::of(hash, self.blocks.len() as u32 - 1, now_ns, SYN_TICK);
        let block = &raw mut self.blocks[place.block as usize];
        // SAFETY: a live block, which nobody else has.
        unsafe { place.meet(block, syn_ticks(limits.0), syn_ticks(limits.1) + 1) }
    }
}

/// A SYN of a random source and port to one server.
fn spoofed(random: &mut Random) -> (FlowKey, u32) {
    let mut key = FlowKey {
        dst: [1; 16],
        dst_port: 80,
        src_port: random.next() as u16,
        ..FlowKey::default()
    };
    key.src[10..12].fill(0xff);
    key.src[12..].copy_from_slice(&(random.next() as u32).to_be_bytes());
    (key, random.next() as u32)
}

/// What clients and attackers meet in a filter of so many blocks while 1.488 M random SYNs come in
/// each second, all at a sixteenth of its size: of clients that retransmit after `gap_ns`, how many
/// find their first SYN and how many do not; and how many random SYNs are taken for
/// retransmissions.
fn flood(blocks: usize, gap_ns: u64) -> (u32, u32, u32) {
    const PER_SECOND: u64 = 1_488_000 / 16;
    const CLIENT_EACH: u64 = 200;
    let mut filter = Filter::new(blocks / 16);
    let mut random = Random(2);
    let mut clients = std::collections::VecDeque::new();
    let (mut found, mut lost, mut false_admits) = (0, 0, 0);
    let limits = (700, 4_500);
    for number in 0..8 * PER_SECOND {
        let now = 1_000 * SECOND + number * SECOND / PER_SECOND;
        let (key, sequence) = spoofed(&mut random);
        match filter.meet(&key, sequence, now, limits) {
            Met::Again => false_admits += 1,
            Met::First | Met::Early => {}
        }
        if number % CLIENT_EACH == 0 {
            clients.push_back((now, key, sequence));
        }
        while let Some((at, key, sequence)) = clients.front()
            && at + gap_ns <= now
        {
            match filter.meet(key, *sequence, now, limits) {
                Met::Again => found += 1,
                Met::First | Met::Early => lost += 1,
            }
            clients.pop_front();
        }
    }
    (found, lost, false_admits)
}

/// The figures of `docs/dataplane.md`, for the size that the product has.
#[test]
fn a_flood_at_line_rate_leaves_retransmissions_their_first_syn() {
    let (found, lost, false_admits) = flood(524_288, SECOND);
    assert!(found > 3_000);
    assert!(lost * 1_000 < found, "{lost} of {found} lost after 1 s");
    // 15 entries of 20 bits each: 14 in a million.
    assert!(false_admits < 50, "{false_admits} false admits");
    let (found, lost, _) = flood(524_288, 2 * SECOND);
    assert!(lost * 200 < found, "{lost} of {found} lost after 2 s");
    let (found, lost, _) = flood(524_288, 3 * SECOND);
    assert!(lost * 20 < found, "{lost} of {found} lost after 3 s");
}

#[test]
fn a_filter_tells_early_late_and_first() {
    let mut filter = Filter::new(16);
    let (key, sequence) = spoofed(&mut Random(3));
    let start = 5_000 * SECOND;
    let mut at = |milliseconds: u64| {
        filter.meet(
            &key,
            sequence,
            start + milliseconds * MILLISECOND,
            (700, 4_500),
        )
    };
    assert_eq!(at(0), Met::First);
    assert_eq!(at(300), Met::Early);
    assert_eq!(at(500), Met::Early);
    assert_eq!(at(1_000), Met::Again);
    assert_eq!(at(3_000), Met::Again);
    assert_eq!(at(5_000), Met::First);
    // Known anew since then.
    assert_eq!(at(5_100), Met::Early);
    assert_eq!(at(6_000), Met::Again);
}

#[test]
fn a_client_is_known_until_it_is_silent_for_too_long() {
    let mut block = FilterBlock::default();
    let block = &raw mut block;
    let place = |seconds: u64| Place::of(0x1234_5678_9abc_def0, 0, seconds * SECOND, CLIENT_TICK);
    let max = client_ticks(300);
    // SAFETY: a live block, which nobody else has.
    unsafe {
        assert!(!place(10_000).refresh(block, max));
        place(10_000).insert(block);
        assert!(place(10_200).refresh(block, max));
        assert!(place(10_490).refresh(block, max));
        assert!(!place(10_900).refresh(block, max));
    }
}

#[test]
fn the_newest_take_the_place_of_the_oldest() {
    let mut block = FilterBlock::default();
    let block = &raw mut block;
    let place = |number: u64| Place::of(number << 13 << 12, 0, SECOND, CLIENT_TICK);
    // SAFETY: a live block, which nobody else has.
    unsafe {
        for number in 1..=20 {
            place(number).insert(block);
        }
        for number in 1..=20 {
            assert_eq!(place(number).refresh(block, 1), number > 5, "{number}");
        }
    }
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let hash = 0x1234_5678_9abc_def0;
    let mut bucket = Bucket::default();
    let mut granted = 0;
    // 10,000 SYNs a second for 10 s; 100 a second are granted, and 50 at once.
    for number in 0..100_000_u64 {
        let now = 77 * SECOND + number * SECOND / 10_000;
        let (after, ok) = bucket.take(hash, now, 100, 50);
        bucket = after;
        granted += u32::from(ok);
    }
    assert!((1_045..=1_055).contains(&granted), "{granted}");
}

#[test]
fn a_bucket_that_another_source_takes_is_full() {
    let (mine, other) = (0x1234_5678_9abc_def0, 0x1234_5a78_9abc_def0);
    assert_eq!(Bucket::index(mine, 1023), Bucket::index(other, 1023));
    let mut bucket = Bucket::default();
    for _ in 0..5 {
        (bucket, _) = bucket.take(mine, SECOND, 1, 3);
    }
    assert!(!bucket.take(mine, SECOND, 1, 3).1);
    let (bucket, granted) = bucket.take(other, SECOND, 1, 3);
    assert!(granted);
    assert!(bucket.take(mine, SECOND, 1, 3).1);
}

/// The clock's 22 bits pass in 73 minutes.
#[test]
fn a_bucket_survives_its_clock() {
    let hash = 0x1234_5678_9abc_def0;
    let lap = (1 << 22) << 20;
    let (mut bucket, _) = Bucket::default().take(hash, lap - 1, 10, 10);
    for _ in 0..20 {
        (bucket, _) = bucket.take(hash, lap - 1, 10, 10);
    }
    assert!(!bucket.take(hash, lap, 10, 10).1);
    assert!(bucket.take(hash, lap + 150 * MILLISECOND, 10, 10).1);
}

/// What the CPUs of a host take of one budget in a window, if each asks so often.
fn spend(cpus: usize, asks: usize, per_second: u32) -> (u32, u32) {
    let limit = per_window(per_second);
    let mut shares = vec![BudgetShare::default(); cpus];
    let (mut taken, mut granted) = (0, 0);
    let now = window(500 * SECOND);
    for _ in 0..asks {
        for share in &mut shares {
            granted += u32::from(match share.take(now) {
                Share::Granted => true,
                Share::Denied => false,
                Share::Empty => {
                    let before = taken;
                    taken += share_of(limit);
                    share.refill(before, limit)
                }
            });
        }
    }
    (granted, limit)
}

#[test]
fn a_budget_is_never_exceeded_and_mostly_used() {
    for (cpus, per_second) in [(1, 1), (1, 100), (4, 10_000), (64, 2_000_000), (7, 12_345)] {
        let (granted, limit) = spend(cpus, 300_000 / cpus, per_second);
        assert_eq!(granted, limit, "{cpus} CPUs, {per_second}/s");
    }
    // One CPU that gets all of the flood has the whole budget.
    let (granted, limit) = spend(1, 1_000_000, 1_000_000);
    assert_eq!(granted, limit);
}

#[test]
fn a_new_window_has_a_new_budget() {
    let mut share = BudgetShare::default();
    assert_eq!(share.take(7), Share::Empty);
    assert!(!share.refill(14, 14));
    assert_eq!(share.take(7), Share::Denied);
    assert_eq!(share.take(8), Share::Empty);
    assert!(share.refill(0, 14));
    assert_eq!(per_window(100), 14);
}

#[test]
fn every_part_of_a_syn_is_hashed() {
    let mut random = Random(9);
    let seed = random.seed();
    let (key, sequence) = spoofed(&mut random);
    let hash = hash::syn(&seed, &key, sequence);
    assert_ne!(hash, hash::syn(&seed, &key, sequence ^ 1));
    for at in 0..16 {
        let mut other = key;
        other.src[at] ^= 1;
        assert_ne!(hash, hash::syn(&seed, &other, sequence));
        let mut other = key;
        other.dst[at] ^= 1;
        assert_ne!(hash, hash::syn(&seed, &other, sequence));
    }
    for (src_port, dst_port) in [(1, 0), (0, 1)] {
        let mut other = key;
        other.src_port ^= src_port;
        other.dst_port ^= dst_port;
        assert_ne!(hash, hash::syn(&seed, &other, sequence));
    }
    assert_ne!(hash, hash::syn(&random.seed(), &key, sequence));
}

/// Options of a client in a scratch, from offset 40 on.
fn offered(options: &[u8]) -> Scratch {
    let mut scratch = Scratch::default();
    scratch.segment[40..40 + options.len()].copy_from_slice(options);
    scratch.read_options(40, 40 + options.len());
    scratch
}

fn header(options: &[u8]) -> synack::TcpHeader {
    let all = guard_flags::TIMESTAMPS | guard_flags::SACK | guard_flags::WINDOW_SCALING;
    let answer = SynAck {
        server_port: 80,
        client_port: 40_000,
        cookie: 7,
        sequence: u32::MAX,
        mss: 1460,
        flags: 2,
    };
    answer.header(&offered(options), all, 7, 100 * SECOND)
}

#[test]
fn broken_options_are_as_good_as_none() {
    let plain = |options: &[u8]| !header(options).is_extended;
    assert!(plain(&[]));
    // A length of 0 or 1, one beyond the end, of another length than it has to be, after the end.
    assert!(plain(&[5, 0, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0]));
    assert!(plain(&[8, 10, 0, 0, 0, 1, 0, 0]));
    assert!(plain(&[8, 9, 0, 0, 0, 1, 0, 0, 0, 0]));
    assert!(plain(&[0, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0]));
    assert!(!plain(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0]));
}

#[test]
fn a_window_scale_is_at_most_14() {
    let answer = header(&[3, 3, 200, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(u32::from_be(answer.words[7]) & 63, 14);
    assert_eq!(u32::from_be(answer.words[9]), 0x0103_0307);
}

#[test]
fn the_sequence_number_wraps() {
    assert_eq!(header(&[]).words[2], 0);
}

/// The sum of all words, checksum included, is all ones (RFC 1071).
#[test]
fn checksums_are_right() {
    fn sum16(bytes: &[u8]) -> u32 {
        let words = bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let sum: u32 = words.sum();
        (sum & 0xffff) + (sum >> 16)
    }
    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
    let mut random = Random(4);
    for round in 0..1_000 {
        let from = std::array::from_fn(|_| random.next() as u8);
        let to = std::array::from_fn(|_| random.next() as u8);
        assert_eq!(sum16(&bytes(&synack::v4(&from, &to, 24).0)), 0xffff);
        let options: &[u8] = if round % 2 == 0 {
            &[]
        } else {
            &[8, 10, 1, 2, 3, 4, 0, 0, 0, 0]
        };
        let mut tcp = header(options);
        tcp.words[1] = random.next() as u32;
        tcp.seal(synack::sum_v6(&from, &to));
        let mut all = [from, to].concat();
        all.extend([0, 0, 0, tcp.len() as u8, 0, 0, 0, 6]);
        all.extend(&bytes(&tcp.words)[..tcp.len()]);
        assert_eq!(sum16(&all), 0xffff);
    }
}
