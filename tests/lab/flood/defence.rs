use anyhow::Result;
use sensor_ebpf::lab::program;

use crate::{ForeignProgram, Host, Namespace};

/// SYNs a second that a rate limit of the packet filter lets pass.
pub const FILTER_RATE: u32 = 1000;

/// What stands between the attack and the listener, other than the sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// Nothing but the kernel, whose `tcp_syncookies` is set so.
    Kernel(u8),
    /// A rule of nftables: see [`Filter`].
    Nftables(Filter),
    /// An XDP program that knows the attacker's addresses and drops what comes from there.
    DropAttack,
    /// An XDP program that drops everything: the end of the scale.
    DropAll,
}

/// What nftables can do about a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Lets [`FILTER_RATE`] SYNs a second pass, whoever sent them, before connection tracking.
    RateLimit,
    /// Answers SYNs with cookies of its own and opens a second connection to the listener.
    Synproxy,
}

/// A defence in place; dropped, it is gone, except for sysctls.
#[derive(Debug)]
pub struct Armed {
    _program: Option<ForeignProgram>,
    table: Option<Namespace>,
}

impl Defence {
    /// Puts it in place on a host.
    ///
    /// # Errors
    /// Where the kernel lacks it, or `nft` is not installed.
    pub fn arm(self, host: &Host, port: u16) -> Result<Armed> {
        let network = &host.namespace;
        let mut armed = Armed {
            _program: None,
            table: None,
        };
        match self {
            Self::Kernel(cookies) => network.set_sysctl("net/ipv4/tcp_syncookies", cookies)?,
            Self::Nftables(filter) => {
                network.set_sysctl("net/ipv4/tcp_syncookies", 1)?;
                if filter == Filter::Synproxy {
                    // A client's ACK must not look like a connection that is under way.
                    network.set_sysctl("net/netfilter/nf_conntrack_tcp_loose", 0)?;
                }
                network.feed("nft", &["-f", "-"], &filter.rules(port))?;
                armed.table = Some(network.clone());
            }
            Self::DropAttack => {
                let attached = ForeignProgram::attach(network, host.device, program::DROP_ATTACK)?;
                armed._program = Some(attached);
            }
            Self::DropAll => {
                armed._program = Some(ForeignProgram::drop_all(network, host.device)?);
            }
        }
        Ok(armed)
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        if let Some(network) = &self.table {
            // The namespace ends soon after, and its rules with it.
            let _ = network.tool("nft", "delete table inet flood");
        }
    }
}

impl Filter {
    fn rules(self, port: u16) -> String {
        let syn = format!("tcp dport {port} tcp flags & (fin|syn|rst|ack) == syn");
        let proxied = format!("tcp dport {port} ct state invalid,untracked");
        match self {
            Self::RateLimit => format!(
                "table inet flood {{
                    chain early {{
                        type filter hook prerouting priority raw;
                        {syn} limit rate over {FILTER_RATE}/second burst 100 packets drop
                    }}
                }}"
            ),
            Self::Synproxy => format!(
                "table inet flood {{
                    chain early {{
                        type filter hook prerouting priority raw;
                        {syn} notrack
                    }}
                    chain input {{
                        type filter hook input priority filter;
                        {proxied} synproxy mss 1460 wscale 7 timestamp sack-perm
                        tcp dport {port} ct state invalid drop
                    }}
                }}"
            ),
        }
    }
}
