use std::net::SocketAddr;

use anyhow::Result;
use sensor_ebpf::abi::Method;
use sensor_tests::Host;
use sensor_tests::flood::{Armed, Defence, Filter, GuardReport, GuardSpec, Guarded};

/// Whoever stands between the flood and the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contender {
    Other(Defence),
    /// The sensor's guard, armed with a method; `tcp_syncookies` is set so.
    Guard(Method, u8),
}

impl Contender {
    /// All of them: first those that bound the scale.
    pub(super) const ALL: [Self; 9] = [
        Self::Other(Defence::DropAll),
        Self::Other(Defence::DropAttack),
        Self::Other(Defence::Kernel(1)),
        Self::Other(Defence::Nftables(Filter::RateLimit)),
        Self::Other(Defence::Nftables(Filter::Synproxy)),
        Self::Guard(Method::Cookie, 1),
        Self::Guard(Method::Cookie, 2),
        Self::Guard(Method::Retransmission, 1),
        Self::Guard(Method::Rate, 1),
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Other(Defence::DropAll) => "XDP_DROP of everything",
            Self::Other(Defence::DropAttack) => "XDP_DROP of the attack",
            Self::Other(Defence::Kernel(_)) => "kernel alone",
            Self::Other(Defence::Nftables(Filter::RateLimit)) => "nftables limit",
            Self::Other(Defence::Nftables(Filter::Synproxy)) => "nftables SYNPROXY",
            Self::Guard(Method::Cookie, 2) => "guard, cookie, tcp_syncookies=2",
            Self::Guard(Method::Cookie, _) => "guard, cookie",
            Self::Guard(Method::Retransmission, _) => "guard, retransmission",
            Self::Guard(Method::Rate, _) => "guard, rate",
            Self::Guard(Method::Watch, _) => "guard, watching",
        }
    }

    /// Whether a client can get through at all.
    pub(super) const fn lets_clients_in(self) -> bool {
        !matches!(self, Self::Other(Defence::DropAll))
    }

    /// Puts it in place; `limit` is that of SYNs a second to the target by the method "rate", or 0
    /// for none.
    pub(super) fn arm(self, host: &Host, target: SocketAddr, limit: u32) -> Result<InPlace> {
        match self {
            Self::Other(defence) => defence.arm(host, target.port()).map(InPlace::Other),
            Self::Guard(method, cookies) => {
                let network = &host.namespace;
                network.set_sysctl("net/ipv4/tcp_syncookies", cookies)?;
                let mut spec = GuardSpec::new(method, [target]);
                if method == Method::Rate {
                    spec.syn_per_second = limit;
                }
                Guarded::start(host, spec).map(InPlace::Guard)
            }
        }
    }
}

/// A contender at work.
pub(super) enum InPlace {
    Other(#[expect(dead_code, reason = "kept until dropped")] Armed),
    Guard(Guarded),
}

impl InPlace {
    /// Ends it; the guard tells what it counted.
    pub(super) fn end(self) -> Result<Option<GuardReport>> {
        match self {
            Self::Other(_) => Ok(None),
            Self::Guard(guarded) => guarded.stop().map(Some),
        }
    }
}
