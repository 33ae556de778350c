use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Numbers that look random and are the same in every run (xorshift).
#[derive(Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Numbers that begin with `seed`, which is not 0.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub const fn draw(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    /// A feed of networks between /18 and /32 as text, each once, below 128.0.0.0: the upper half
    /// is never listed.
    pub fn feed(&mut self, count: usize) -> String {
        let mut seen = HashSet::new();
        let mut text = String::new();
        while seen.len() < count {
            let len = 18 + self.draw() % 15;
            let net = self.draw() >> 1 & u32::MAX << (32 - len);
            if seen.insert((net, len)) {
                // Nothing fails to be written into a string.
                let _ = writeln!(text, "{}/{len} ; a comment", Ipv4Addr::from(net));
            }
        }
        text
    }
}
