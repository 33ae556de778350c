//! One interface: whether it can be attached, driver, MTU, queues, offloads.

use std::{path::Path, thread};

use super::{Finding, line, offload};
use crate::bpf::{self, AttachError, DeviceFacts};

/// Drivers known to run XDP natively (kernel documentation and sources).
const NATIVE: &[&str] = &[
    "bnxt_en",
    "bonding",
    "ena",
    "fsl_dpaa2_eth",
    "fsl_enetc",
    "gve",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "nfp",
    "qede",
    "sfc",
    "stmmaceth",
    "thunder-nicvf",
    "tsnep",
    "tun",
    "veth",
    "virtio_net",
    "vmxnet3",
];
/// One page, less head room and tail: what linear XDP takes on most drivers.
const LINEAR_MTU: u32 = 3498;

pub(super) fn examine(name: &str) -> Vec<Finding> {
    let path = Path::new("/sys/class/net").join(name);
    let subject = |what: &str| format!("{name} {what}");
    let (facts, refusal) = match bpf::inspect(name) {
        Ok(inspected) => inspected,
        Err(error) => return vec![refused(&subject("interface"), &error)],
    };
    let mut findings = vec![
        attachable(&subject("interface"), &facts, refusal.as_ref()),
        state(&subject("state"), line(path.join("operstate")).as_deref()),
    ];
    let driver = offload::driver(name);
    findings.push(native(&subject("driver"), driver.as_deref()));
    findings.push(mtu(&subject("mtu"), facts.mtu));
    let queues = facts.rx_queues as usize;
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    findings.push(self::queues(&subject("queues"), queues, cpus));
    findings.push(offloads(&subject("offloads"), name, offload::flags(name)));
    findings
}

/// The error's text names the remedy behind its last colon.
fn refused(subject: &str, error: &AttachError) -> Finding {
    let text = error.to_string();
    let (found, remedy) = text.rsplit_once(": ").unwrap_or((&text, "see `ip link`"));
    Finding::failure(subject, found, remedy)
}

fn attachable(subject: &str, facts: &DeviceFacts, refusal: Option<&AttachError>) -> Finding {
    match refusal {
        Some(error) => refused(subject, error),
        None => {
            let kind = facts.kind.as_deref().unwrap_or("hardware");
            Finding::ok(subject, format!("{kind}, can be attached"))
        }
    }
}

fn state(subject: &str, state: Option<&str>) -> Finding {
    match state {
        Some("down") => Finding::warning(subject, "down", "`ip link set dev IFACE up`"),
        state => Finding::ok(subject, state.unwrap_or("unknown")),
    }
}

fn native(subject: &str, driver: Option<&str>) -> Finding {
    match driver {
        Some(driver) if NATIVE.contains(&driver) => {
            Finding::ok(subject, format!("{driver}: runs XDP natively"))
        }
        driver => Finding::warning(
            subject,
            format!("{}: perhaps generic XDP only", driver.unwrap_or("unknown")),
            "`--mode native` finds out; generic XDP runs after GRO and counts too few packets",
        ),
    }
}

fn mtu(subject: &str, mtu: u32) -> Finding {
    if mtu <= LINEAR_MTU {
        return Finding::ok(subject, mtu.to_string());
    }
    Finding::warning(
        subject,
        format!("{mtu}: needs a driver with multi-buffer XDP"),
        format!("if attaching fails: `ip link set dev IFACE mtu {LINEAR_MTU}`"),
    )
}

fn queues(subject: &str, queues: usize, cpus: usize) -> Finding {
    let found = format!("{queues} for receiving, {cpus} CPUs");
    if queues >= cpus || queues == 0 {
        return Finding::ok(subject, found);
    }
    Finding::warning(
        subject,
        format!("{found}: not all CPUs can share the load"),
        format!("`ethtool -L IFACE combined {cpus}`, if the hardware has as many"),
    )
}

fn offloads(subject: &str, name: &str, flags: Option<offload::Flags>) -> Finding {
    let Some(flags) = flags else {
        return Finding::ok(subject, "not to be told");
    };
    let mut wrong = Vec::new();
    let mut remedy = format!("`ethtool -K {name}");
    if flags.lro {
        wrong.push("LRO merges packets before they are counted");
        remedy.push_str(" lro off");
    }
    if flags.rx_vlan {
        wrong.push("VLAN tags are stripped before XDP sees them");
        remedy.push_str(" rxvlan off");
    }
    if wrong.is_empty() {
        return Finding::ok(subject, "nothing that falsifies counts");
    }
    Finding::warning(subject, wrong.join("; "), remedy + "`")
}

#[cfg(test)]
mod tests {
    use super::{super::Grade, *};

    #[test]
    fn missing_interface_is_a_failure() {
        for name in ["nosuchdevice0", "../lo"] {
            let findings = examine(name);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].grade, Grade::Failure);
        }
    }

    #[test]
    fn offloads_that_falsify_counts_have_one_command() {
        let flags = offload::Flags {
            lro: true,
            rx_vlan: true,
        };
        let finding = offloads("eth0 offloads", "eth0", Some(flags));
        assert_eq!(
            finding.remedy.as_deref(),
            Some("`ethtool -K eth0 lro off rxvlan off`")
        );
    }

    #[test]
    fn loopback_is_examined_and_cannot_be_attached() {
        let findings = examine("lo");
        let find = |subject: &str| {
            findings
                .iter()
                .find(|finding| finding.subject == subject)
                .unwrap_or_else(|| panic!("{subject} in {findings:?}"))
        };
        assert_eq!(find("lo interface").grade, Grade::Failure);
        assert_eq!(find("lo mtu").grade, Grade::Warning);
    }

    #[test]
    fn few_queues_and_large_mtus_are_warnings() {
        assert_eq!(queues("", 1, 4).grade, Grade::Warning);
        assert_eq!(queues("", 4, 4).grade, Grade::Ok);
        assert_eq!(mtu("", 9000).grade, Grade::Warning);
        assert_eq!(mtu("", 1500).grade, Grade::Ok);
    }
}
