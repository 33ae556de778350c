//! Errors of the data plane: each message is one line that says the cause and the remedy.

use std::io;

use super::PinError;

/// Why the BPF object could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The process may not load BPF programs.
    #[error(
        "loading the BPF programs needs {missing}: run as root, or `setcap \
         cap_bpf,cap_net_admin,cap_perfmon+ep` on the binary, or in a systemd unit \
         `AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON`"
    )]
    Capabilities {
        /// The missing capabilities, by name.
        missing: String,
    },
    /// An option that the kernel could not accept.
    #[error("{option} = {value} is not usable: {reason}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// Its value.
        value: u64,
        /// What it has to be.
        reason: &'static str,
    },
    /// The object does not have what this build expects of it.
    #[error("the BPF object has no {kind} `{name}`: rebuild it with `cargo xtask ebpf`")]
    Missing {
        /// `map` or `program`.
        kind: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// The kernel refused a map, usually for want of memory.
    #[error("the kernel refused to create {what}: {source} (smaller tables need less memory)")]
    Map {
        /// The map.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The verifier refused a program.
    #[error("the kernel's verifier refused program `{program}`: {message}")]
    Verifier {
        /// The program's name.
        program: &'static str,
        /// The tail of the verifier's log.
        message: String,
    },
    /// The data plane cannot be pinned, or the pinned one not be used.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Anything else that aya reports.
    #[error("the BPF object could not be loaded: {0}")]
    Object(String),
}

/// Why a device could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No device of that name.
    #[error("there is no interface `{device}` here: `ip link` lists them{hint}")]
    NoDevice {
        /// The name that was given.
        device: String,
        /// A device that was perhaps meant, with leading punctuation, or empty.
        hint: String,
    },
    /// The device is attached already.
    #[error("`{device}` is attached already: name each interface once")]
    Twice {
        /// The device.
        device: String,
    },
    /// Loopback has no sender but the host itself.
    #[error(
        "`{device}` is the loopback interface, where every packet would be counted twice: name an \
         interface that faces a network"
    )]
    Loopback {
        /// The device.
        device: String,
    },
    /// Not an Ethernet device.
    #[error(
        "`{device}` carries no Ethernet frames (link type {hardware}), and the programs parse \
         nothing else: attach the Ethernet device below it"
    )]
    NotEthernet {
        /// The device.
        device: String,
        /// Its `ARPHRD_*`.
        hardware: u16,
    },
    /// A VLAN sub-interface.
    #[error(
        "`{device}` is a VLAN interface of `{parent}`, which has no XDP of its own: attach \
         `{parent}`, whose frames carry the tags"
    )]
    Vlan {
        /// The device.
        device: String,
        /// The device below it.
        parent: String,
    },
    /// A member of a bond or team.
    #[error("`{device}` is a member of `{master}`: attach `{master}`, which sees all its members")]
    BondMember {
        /// The device.
        device: String,
        /// The bond.
        master: String,
    },
    /// Another program holds the device.
    #[error(
        "`{device}` already runs the XDP program {program}: watch beside it with `--mode passive`, \
         stop its owner, or remove it with `ip link set dev {device} xdp off` (`bpftool net list dev {device}` names it; \
         `sensor detach` removes that of a pinned sensor)"
    )]
    Foreign {
        /// The device.
        device: String,
        /// Id and, where it may be known, name and mode of the other program.
        program: String,
    },
    /// The process may not attach.
    #[error(
        "attaching to `{device}` needs {missing}: run as root, or `setcap \
         cap_bpf,cap_net_admin,cap_perfmon+ep` on the binary, or in a systemd unit \
         `AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON`"
    )]
    Capabilities {
        /// The device.
        device: String,
        /// The missing capabilities, by name.
        missing: String,
    },
    /// No XDP mode that was allowed works.
    #[error("`{device}` takes no XDP program in {mode} mode: {reason}")]
    Refused {
        /// The device.
        device: String,
        /// The mode that was asked for.
        mode: &'static str,
        /// Each attempt with its answer, and a remedy where one is known.
        reason: String,
    },
    /// Tap mode would cut the host off.
    #[error(
        "`{device}` has addresses ({addresses}) and --tap drops everything that arrives there: \
         choose the mirror port, or allow it with --force"
    )]
    TapWithAddresses {
        /// The device.
        device: String,
        /// Some of its addresses.
        addresses: String,
    },
    /// Tap is a mode of the whole data plane.
    #[error(
        "`{device}`: mirror ports and other interfaces cannot share one sensor, because --tap \
         drops everything: run a second sensor"
    )]
    TapMixed {
        /// The device.
        device: String,
    },
    /// A passive data plane drops nothing.
    #[error("`{device}`: --tap drops every frame, which passive mode cannot: choose one of them")]
    TapPassive {
        /// The device.
        device: String,
    },
    /// The kernel has no TCX, or refuses it.
    #[error(
        "`{device}` takes no classifier at TCX ingress ({source}), which passive mode needs: it \
         came with Linux 6.6; without it, stop the other XDP program and use `--mode auto`"
    )]
    Passive {
        /// The device.
        device: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Promiscuous mode could not be set.
    #[error("`{device}` could not be made promiscuous: {source} (--tap also needs CAP_NET_RAW)")]
    Promiscuous {
        /// The device.
        device: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// No slot left.
    #[error("{limit} interfaces are attached, and there is no room for `{device}`")]
    TooMany {
        /// The device.
        device: String,
        /// How many can be attached.
        limit: usize,
    },
    /// Two devices whose indices share the slot of the device table.
    #[error(
        "the index of `{device}` collides with that of `{other}` (modulo 65536): recreate one of \
         them"
    )]
    IndexCollision {
        /// The device.
        device: String,
        /// The device that was there first.
        other: String,
    },
    /// What keeps the programs on the device could not be pinned, or taken over.
    #[error("`{device}`: {source}")]
    Pin {
        /// The device.
        device: String,
        /// Why.
        source: PinError,
    },
    /// Something between this process and the kernel failed.
    #[error("`{device}`: {what}: {source}")]
    System {
        /// The device.
        device: String,
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A generation could not be closed. Nothing is lost: the next call closes the same one.
#[derive(Debug, thiserror::Error)]
#[error("generation {epoch} could not be closed, at {step}: {source}")]
pub struct GenerationError {
    /// The generation's number.
    pub epoch: u64,
    /// The step that failed.
    pub step: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

/// A map or ring of the running data plane did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the data plane's {what} failed: {source}")]
pub struct PlaneError {
    /// The operation.
    pub what: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}
