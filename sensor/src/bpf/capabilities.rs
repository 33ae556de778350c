//! Which capabilities this process lacks.

use caps::{CapSet, Capability};

/// A capability that the data plane may need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needed {
    pub(super) name: &'static str,
    capability: Capability,
}

pub(super) const BPF: Needed = Needed {
    name: "CAP_BPF",
    capability: Capability::CAP_BPF,
};
pub(super) const NET_ADMIN: Needed = Needed {
    name: "CAP_NET_ADMIN",
    capability: Capability::CAP_NET_ADMIN,
};
pub(super) const PERFMON: Needed = Needed {
    name: "CAP_PERFMON",
    capability: Capability::CAP_PERFMON,
};

/// Names of those of `needed` that are not in force. `CAP_SYS_ADMIN` stands for `CAP_BPF` and
/// `CAP_PERFMON`, as in the kernel's `bpf_capable()` and `perfmon_capable()`.
pub(super) fn missing(needed: &[Needed]) -> Vec<&'static str> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    let admin = has(Capability::CAP_SYS_ADMIN);
    needed
        .iter()
        .filter(|needed| {
            let covered = admin && needed.capability != Capability::CAP_NET_ADMIN;
            !covered && !has(needed.capability)
        })
        .map(|needed| needed.name)
        .collect()
}

/// What to say when the kernel answered `EPERM`.
pub(super) fn explain_refusal(needed: &[Needed]) -> String {
    let missing = missing(needed);
    if missing.is_empty() {
        "these capabilities in the initial user namespace (a container's own do not count)".into()
    } else {
        missing.join(", ")
    }
}
