//! What the host brings along against SYN floods: cookies, what they can carry, queues.

use std::fs;

use super::{Finding, line};

/// Listeners ask for a queue of this length at the least, if they ask for what the system allows.
const SHORT_QUEUE: u64 = 1024;

pub(super) fn examine() -> Vec<Finding> {
    let setting = |name: &str| line(format!("/proc/sys/net/{name}"));
    vec![
        cookies(setting("ipv4/tcp_syncookies").as_deref()),
        loopback(fs::read_to_string("/proc/net/if_inet6").ok().as_deref()),
        timestamps(setting("ipv4/tcp_timestamps").as_deref()),
        queues(
            setting("core/somaxconn").and_then(|text| text.parse().ok()),
            setting("ipv4/tcp_max_syn_backlog").and_then(|text| text.parse().ok()),
        ),
    ]
}

/// With 0 the kernel neither sends cookies nor accepts those that the guard has sent.
fn cookies(value: Option<&str>) -> Finding {
    let subject = "tcp_syncookies";
    match value {
        Some("0") => Finding::warning(
            subject,
            "0: neither the kernel nor the guard can answer a SYN flood by cookies",
            "sysctl -w net.ipv4.tcp_syncookies=1; until then the guard makes clients retransmit",
        ),
        Some("2") => Finding::warning(
            subject,
            "2: every connection loses TCP options, also without a flood",
            "sysctl -w net.ipv4.tcp_syncookies=1 sends cookies only when a queue is full",
        ),
        Some(value) => Finding::ok(subject, format!("{value}: cookies when a queue is full")),
        None => Finding::warning(
            subject,
            "the kernel has no SYN cookies",
            "a kernel built with CONFIG_SYN_COOKIES=y lets the guard answer floods by cookies",
        ),
    }
}

/// The guard tries its cookies on loopback, for each family of addresses, before it sends any.
/// `addresses` are those of IPv6, as in `/proc/net/if_inet6`.
fn loopback(addresses: Option<&str>) -> Finding {
    let subject = "IPv6 loopback";
    let has = |address: &str| {
        let mut lines = addresses.unwrap_or_default().lines();
        lines.any(|line| line.starts_with(address))
    };
    if has("00000000000000000000000000000001") {
        Finding::ok(subject, "::1: the guard can try its cookies there")
    } else if has("") {
        Finding::warning(
            subject,
            "no ::1: the guard cannot try its cookies, and sends none over IPv6",
            "`sysctl -w net.ipv6.conf.lo.disable_ipv6=0`; until then it makes clients retransmit",
        )
    } else {
        Finding::ok(subject, "no IPv6 on this host")
    }
}

/// Only timestamps without a secret offset can carry options through a cookie that XDP makes:
/// `cookie_timestamp_decode` in net/ipv4/syncookies.c takes the offset off first.
fn timestamps(value: Option<&str>) -> Finding {
    let subject = "tcp_timestamps";
    match value {
        Some("2") => Finding::ok(
            subject,
            "2: connections through the guard's cookies keep window scaling and SACK",
        ),
        Some(value) => Finding::ok(
            subject,
            format!(
                "{value}: under a flood, connections through the guard's cookies have neither \
                 window scaling nor SACK; 2 keeps both, at the price of timestamps that show the \
                 uptime"
            ),
        ),
        None => Finding::ok(subject, "not to be told"),
    }
}

fn queues(somaxconn: Option<u64>, backlog: Option<u64>) -> Finding {
    let subject = "listen queues";
    let (Some(somaxconn), Some(backlog)) = (somaxconn, backlog) else {
        return Finding::ok(subject, "not to be told");
    };
    let found = format!("somaxconn {somaxconn}, tcp_max_syn_backlog {backlog}");
    if somaxconn.min(backlog) < SHORT_QUEUE {
        Finding::warning(
            subject,
            found,
            "sysctl -w net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=4096, so that crowds \
             need no cookies; what a listener passes to listen(2) limits its queue as well",
        )
    } else {
        Finding::ok(subject, found)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Grade, *};

    #[test]
    fn cookies_are_wanted_when_a_queue_is_full_only() {
        assert_eq!(cookies(Some("1")).grade, Grade::Ok);
        for bad in [Some("0"), Some("2"), None] {
            let finding = cookies(bad);
            assert_eq!(finding.grade, Grade::Warning);
            assert!(finding.remedy.is_some());
        }
    }

    #[test]
    fn a_loopback_without_an_address_of_ipv6_is_named() {
        let one = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let other = "fe80000000000000505400fffe123456 02 40 20 80     eth0\n";
        assert_eq!(loopback(Some(&format!("{other}{one}"))).grade, Grade::Ok);
        assert_eq!(loopback(Some(other)).grade, Grade::Warning);
        for none in [Some(""), None] {
            assert_eq!(loopback(none).grade, Grade::Ok);
        }
    }

    #[test]
    fn what_cookies_cost_is_said() {
        assert!(timestamps(Some("1")).found.contains("SACK"));
        assert!(timestamps(Some("2")).found.contains("keep"));
    }

    #[test]
    fn short_queues_are_named() {
        assert_eq!(queues(Some(128), Some(4096)).grade, Grade::Warning);
        assert_eq!(queues(Some(4096), Some(512)).grade, Grade::Warning);
        assert_eq!(queues(Some(4096), Some(4096)).grade, Grade::Ok);
        assert_eq!(queues(None, None).grade, Grade::Ok);
    }
}
