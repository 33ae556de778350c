//! The machine: kernel, capabilities, BTF, JIT, clock.

use std::path::Path;

use caps::{CapSet, Capability};

use super::{Finding, line};

/// The oldest kernel whose helpers the programs need (`bpf_xdp_load_bytes`).
const OLDEST: (u32, u32) = (5, 18);
/// TCX, for packets that the host sends.
const TCX: (u32, u32) = (6, 6);

pub(super) fn examine() -> Vec<Finding> {
    let release = line("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        kernel(&release),
        capabilities(|capability| {
            caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
        }),
        btf(Path::new("/sys/kernel/btf/vmlinux").exists()),
        jit(line("/proc/sys/net/core/bpf_jit_enable").as_deref()),
        clock(line("/sys/devices/system/clocksource/clocksource0/current_clocksource").as_deref()),
    ]
}

fn kernel(release: &str) -> Finding {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let subject = "kernel";
    if version < OLDEST {
        Finding::failure(subject, release, "the sensor needs Linux 5.18 or newer")
    } else if version < TCX {
        Finding::warning(
            subject,
            format!("{release}, without TCX: sent packets are counted by a clsact filter"),
            "Linux 6.6 or newer has TCX, which dies with the process",
        )
    } else {
        Finding::ok(subject, release)
    }
}

fn capabilities(has: impl Fn(Capability) -> bool) -> Finding {
    let needed = [
        (Capability::CAP_BPF, "CAP_BPF"),
        (Capability::CAP_NET_ADMIN, "CAP_NET_ADMIN"),
        (Capability::CAP_PERFMON, "CAP_PERFMON"),
    ];
    let missing: Vec<_> = needed
        .iter()
        .filter(|(capability, _)| !has(*capability))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Finding::ok("capabilities", "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON");
    }
    Finding::failure(
        "capabilities",
        format!("{} missing", missing.join(", ")),
        "run as root, `setcap cap_bpf,cap_net_admin,cap_perfmon+ep` on the binary, or use the \
         systemd unit",
    )
}

fn btf(exists: bool) -> Finding {
    if exists {
        Finding::ok("btf", "/sys/kernel/btf/vmlinux")
    } else {
        Finding::warning(
            "btf",
            "the kernel has no type information",
            "a kernel built with CONFIG_DEBUG_INFO_BTF=y gives better diagnostics",
        )
    }
}

fn jit(enabled: Option<&str>) -> Finding {
    match enabled {
        Some("0") => Finding::warning(
            "jit",
            "off: programs are interpreted, many times slower",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Some(_) => Finding::ok("jit", "on"),
        // Without the switch, the kernel was built to compile always.
        None => Finding::ok("jit", "always on, or not to be told"),
    }
}

fn clock(source: Option<&str>) -> Finding {
    match source {
        Some(
            source @ ("tsc" | "kvm-clock" | "arch_sys_counter" | "hyperv_clocksource_tsc_page"),
        ) => Finding::ok("clock", source),
        Some(source) => Finding::warning(
            "clock",
            format!("{source}: reading it may cost a microsecond"),
            "boot with a stable TSC, or choose another clock source",
        ),
        None => Finding::ok("clock", "not to be told"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Grade, *};

    #[test]
    fn kernels_are_graded_by_what_they_have() {
        assert_eq!(kernel("5.10.0-28-amd64").grade, Grade::Failure);
        assert_eq!(kernel("6.1.0-13-amd64").grade, Grade::Warning);
        assert_eq!(kernel("6.18.1").grade, Grade::Ok);
        assert_eq!(kernel("").grade, Grade::Failure);
    }

    #[test]
    fn each_missing_capability_is_named() {
        let finding = capabilities(|capability| capability == Capability::CAP_BPF);
        assert_eq!(finding.grade, Grade::Failure);
        assert_eq!(finding.found, "CAP_NET_ADMIN, CAP_PERFMON missing");
        assert_eq!(capabilities(|_| true).grade, Grade::Ok);
    }

    #[test]
    fn interpreter_is_a_warning() {
        assert_eq!(jit(Some("0")).grade, Grade::Warning);
        assert_eq!(jit(Some("1")).grade, Grade::Ok);
    }
}
