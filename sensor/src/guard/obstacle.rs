//! What stands in the way of cookies.

use sensor_ebpf::abi::DestinationKey;

use super::address_of;

/// Why cookies do not serve where they are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// `net.ipv4.tcp_syncookies` is 0: the kernel would not accept them.
    SyncookiesOff,
    /// The self-test of cookies has not ended yet.
    Untested,
    /// The self-test of cookies failed for the address family, or could not be made.
    SelfTest,
    /// Nobody listens there in this network namespace: it is forwarded, translated, or closed.
    NoListener,
    /// A mirror port: nothing can be answered.
    Mirror,
}

impl Obstacle {
    /// For machines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SyncookiesOff => "syncookies_off",
            Self::Untested => "untested",
            Self::SelfTest => "self_test_failed",
            Self::NoListener => "no_listener",
            Self::Mirror => "mirror_port",
        }
    }

    /// For people, with the remedy.
    #[must_use]
    pub const fn explained(self) -> &'static str {
        match self {
            Self::SyncookiesOff => {
                "net.ipv4.tcp_syncookies is 0, so the kernel refuses cookies: set it to 1"
            }
            Self::Untested => "the self-test of cookies is running",
            Self::SelfTest => "the self-test of cookies failed",
            Self::NoListener => {
                "nobody listens there in this network namespace (forwarded, translated or closed)"
            }
            Self::Mirror => "a mirror port answers nothing",
        }
    }
}

/// What stands in the way of cookies on this host, for each family of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Obstacles {
    pub ipv4: Option<Obstacle>,
    pub ipv6: Option<Obstacle>,
}

impl Obstacles {
    /// The same for both families.
    #[must_use]
    pub const fn both(obstacle: Obstacle) -> Self {
        Self {
            ipv4: Some(obstacle),
            ipv6: Some(obstacle),
        }
    }

    /// To cookies for what is sent to that destination.
    #[must_use]
    pub fn of(self, key: &DestinationKey) -> Option<Obstacle> {
        if address_of(key).is_ipv4() {
            self.ipv4
        } else {
            self.ipv6
        }
    }
}
