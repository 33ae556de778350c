//! What the system's settings let a cookie carry.

use std::fs;

use sensor_ebpf::abi::guard_flags;

/// Settings of the system that decide on cookies, of the calling thread's network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSettings {
    /// `net.ipv4.tcp_syncookies`: 0 never, 1 when a listener's queue is full, 2 always.
    pub syncookies: u64,
    /// `net.ipv4.tcp_timestamps`: 2 without offsets, so that a cookie can carry more than the MSS.
    pub timestamps: u64,
    /// `net.ipv4.tcp_sack`.
    pub sack: u64,
    /// `net.ipv4.tcp_window_scaling`.
    pub window_scaling: u64,
    /// `net.ipv4.tcp_ecn`.
    pub ecn: u64,
    /// The larger of the largest receive buffers, `net.ipv4.tcp_rmem[2]` and `net.core.rmem_max`.
    pub receive_buffer: u64,
}

impl TcpSettings {
    /// Reads them. What cannot be read counts as 0: a cookie then carries less.
    #[must_use]
    pub fn read() -> Self {
        Self {
            syncookies: sysctl("ipv4/tcp_syncookies", 0),
            timestamps: sysctl("ipv4/tcp_timestamps", 0),
            sack: sysctl("ipv4/tcp_sack", 0),
            window_scaling: sysctl("ipv4/tcp_window_scaling", 0),
            ecn: sysctl("ipv4/tcp_ecn", 0),
            receive_buffer: sysctl("ipv4/tcp_rmem", 2).max(sysctl("core/rmem_max", 0)),
        }
    }

    pub(in crate::bpf) fn cookie_flags(self) -> u32 {
        [
            (self.timestamps == 2, guard_flags::TIMESTAMPS),
            (self.sack != 0, guard_flags::SACK),
            (self.window_scaling != 0, guard_flags::WINDOW_SCALING),
            (self.ecn != 0, guard_flags::ECN),
        ]
        .into_iter()
        .filter(|(on, _)| *on)
        .fold(0, |flags, (_, flag)| flags | flag)
    }

    /// As `tcp_select_initial_window` in `net/ipv4/tcp_output.c` chooses it when the cookie comes
    /// back, for a listener whose receive buffer is not fixed (`SO_RCVBUF`).
    pub(in crate::bpf) fn window_scale(self) -> u32 {
        self.receive_buffer
            .checked_ilog2()
            .unwrap_or(0)
            .saturating_sub(15)
            .min(14)
    }
}

/// One number of a setting below `/proc/sys/net`.
fn sysctl(name: &str, word: usize) -> u64 {
    fs::read_to_string(format!("/proc/sys/net/{name}"))
        .ok()
        .and_then(|text| text.split_whitespace().nth(word)?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: TcpSettings = TcpSettings {
        syncookies: 1,
        timestamps: 1,
        sack: 1,
        window_scaling: 1,
        ecn: 2,
        receive_buffer: 6_291_456,
    };

    #[test]
    fn only_timestamps_without_offset_carry_options() {
        assert_eq!(DEBIAN.cookie_flags() & guard_flags::TIMESTAMPS, 0);
        let plain = TcpSettings {
            timestamps: 2,
            sack: 0,
            ..DEBIAN
        };
        assert_eq!(
            plain.cookie_flags(),
            guard_flags::TIMESTAMPS | guard_flags::WINDOW_SCALING | guard_flags::ECN
        );
    }

    #[test]
    fn the_window_scale_is_the_one_that_the_kernel_chooses() {
        let of = |receive_buffer| {
            TcpSettings {
                receive_buffer,
                ..DEBIAN
            }
            .window_scale()
        };
        assert_eq!(of(6_291_456), 7);
        assert_eq!(of(33_554_432), 10);
        assert_eq!(of(65_535), 0);
        assert_eq!(of(0), 0);
        assert_eq!(of(u64::MAX), 14);
    }
}
