use anyhow::{Context as _, Result};

use crate::Namespace;

/// What the kernel itself counts on a device: the independent count that tests compare with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets received, including those that an XDP program dropped.
    pub rx_packets: u64,
    /// Their bytes without FCS.
    pub rx_bytes: u64,
    /// Packets lost before XDP, e.g. because the receive queue was full.
    pub rx_dropped: u64,
    /// Packets sent, after segmentation.
    pub tx_packets: u64,
    /// Their bytes without FCS.
    pub tx_bytes: u64,
    /// Packets not sent because the other end's queue was full.
    pub tx_dropped: u64,
}

impl Counters {
    /// Reads the counters of `device` in `namespace`.
    ///
    /// # Errors
    /// If there is no such device.
    pub fn read(namespace: &Namespace, device: &str) -> Result<Self> {
        let text = namespace.enter(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
        let line = text
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'))
            .with_context(|| format!("no device {device}"))?;
        let fields: Vec<u64> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let [
            rx_bytes,
            rx_packets,
            _,
            rx_dropped,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            _,
            tx_dropped,
            ..,
        ] = fields[..]
        else {
            anyhow::bail!("unknown format of /proc/net/dev: {line}");
        };
        Ok(Self {
            rx_packets,
            rx_bytes,
            rx_dropped,
            tx_packets,
            tx_bytes,
            tx_dropped,
        })
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            rx_packets: self.rx_packets - earlier.rx_packets,
            rx_bytes: self.rx_bytes - earlier.rx_bytes,
            rx_dropped: self.rx_dropped - earlier.rx_dropped,
            tx_packets: self.tx_packets - earlier.tx_packets,
            tx_bytes: self.tx_bytes - earlier.tx_bytes,
            tx_dropped: self.tx_dropped - earlier.tx_dropped,
        }
    }
}

/// Index of `device` in `namespace`.
pub(crate) fn index(namespace: &Namespace, device: &str) -> Result<u32> {
    let name = std::ffi::CString::new(device)?;
    // SAFETY: a valid string; the call has no other precondition.
    let index = namespace.enter(|| unsafe { libc::if_nametoindex(name.as_ptr()) })?;
    anyhow::ensure!(index != 0, "no device {device}");
    Ok(index)
}
