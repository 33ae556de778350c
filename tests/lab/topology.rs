use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::Array;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, tc::TcAttachOptions};
use sensor_ebpf::lab::{Port, QINQ, map, program};

use crate::generator::INVENTED;
use crate::namespace::mount_sys;
use crate::object::{attach_xdp, object};
use crate::{Counters, Namespace, device, kernel_is};

/// VLAN ids of the lab's tagged networks with one tag. That of [`QINQ`] has two.
pub const VLANS: [u8; 1] = [20];

/// Which processor runs the server's receive path (NAPI).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Napi {
    /// The one that sends: a saturating generator leaves it exactly the rest of its own core.
    #[default]
    Sender,
    /// A kernel thread: generator and server run side by side, and the queue can overflow.
    Threaded,
}

/// How to lay the lab.
#[derive(Clone, Copy, Debug, Default)]
pub struct LabOptions {
    pub napi: Napi,
    /// No classifiers that add and remove VLAN tags, which every packet pays for: the tagged
    /// networks do not work then, nor below Linux 6.6, which has no TCX.
    pub untagged: bool,
    /// Bytes of the largest packet on every device, where it is not 1500. A veth with XDP takes
    /// no more than about 3,500.
    pub mtu: Option<u16>,
}

/// One end of the wire.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where it lives.
    pub namespace: Namespace,
    /// Its device's name: `c0`, `s0` or `a0`.
    pub device: &'static str,
    /// Which end of the wire it is.
    pub port: Port,
}

impl Host {
    fn new(device: &'static str, port: Port) -> Result<Self> {
        Ok(Self {
            namespace: Namespace::new()?,
            device,
            port,
        })
    }

    /// Last byte of all its addresses.
    const fn number(&self) -> u8 {
        self.port as u8 + 1
    }

    /// Its MAC address.
    #[must_use]
    pub const fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.number()]
    }

    /// Its IPv4 address in the network of a VLAN, or with 0 in the untagged one.
    #[must_use]
    pub const fn ipv4(&self, vlan: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 77, vlan, self.number()))
    }

    /// Its IPv6 address in the network of a VLAN, or with 0 in the untagged one.
    #[must_use]
    pub const fn ipv6(&self, vlan: u8) -> IpAddr {
        let number = self.number() as u16;
        IpAddr::V6(Ipv6Addr::new(0xfd77, vlan as u16, 0, 0, 0, 0, 0, number))
    }

    /// What the kernel counted on its device.
    ///
    /// # Errors
    /// If the device is gone.
    pub fn counters(&self) -> Result<Counters> {
        Counters::read(&self.namespace, self.device)
    }

    /// What its kernel counted of TCP under a name of `Tcp` or `TcpExt` in `/proc/net/snmp` and
    /// `/proc/net/netstat`, e.g. `ActiveOpens` or `SyncookiesRecv`.
    ///
    /// # Errors
    /// If the kernel has no such counter.
    pub fn tcp_counter(&self, name: &str) -> Result<u64> {
        for (file, prefix) in [("snmp", "Tcp: "), ("netstat", "TcpExt: ")] {
            let file = format!("/proc/thread-self/net/{file}");
            let text = self.namespace.enter(|| std::fs::read_to_string(file))??;
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
            let (names, values) = lines.next().zip(lines.next()).context("no counters")?;
            let mut pairs = names.split(' ').zip(values.split(' '));
            if let Some((_, value)) = pairs.find(|(known, _)| *known == name) {
                return Ok(value.parse()?);
            }
        }
        anyhow::bail!("no counter {name}")
    }

    /// Runs a future to its end inside the namespace.
    ///
    /// # Panics
    /// As the future does.
    pub fn block_on<F>(&self, future: F) -> Result<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        self.namespace.enter(|| -> Result<F::Output> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(future))
        })?
    }

    fn set_up(&self) -> Result<()> {
        let (device, number) = (self.device, self.number());
        let network = &self.namespace;
        network.enter(|| {
            for (key, value) in [
                ("accept_ra", "0"),
                ("router_solicitations", "0"),
                ("addr_gen_mode", "1"),
            ] {
                let file = format!("/proc/sys/net/ipv6/conf/{device}/{key}");
                std::fs::write(&file, value).with_context(|| format!("cannot write {file}"))?;
            }
            anyhow::Ok(())
        })??;
        // Redirected frames carry no metadata: neither a checksum to be completed nor a tag.
        network.tool(
            "ethtool",
            &format!("-K {device} tx off txvlan off tx-vlan-stag-hw-insert off"),
        )?;
        network.ip(&format!("link set {device} up"))?;
        // The wire can only redirect to a device whose other end has NAPI, which a veth runs
        // for XDP or GRO; turned on before the device is up, the other end would not learn it.
        network.tool("ethtool", &format!("-K {device} gro on"))?;
        for vlan in [0].into_iter().chain(VLANS).chain([QINQ]) {
            network.ip(&format!("addr add 10.77.{vlan}.{number}/24 dev {device}"))?;
            network.ip(&format!(
                "-6 addr add fd77:{vlan:x}::{number}/64 dev {device} nodad"
            ))?;
            for peer in (1..=3).filter(|peer| *peer != number) {
                for address in [
                    format!("10.77.{vlan}.{peer}"),
                    format!("fd77:{vlan:x}::{peer}"),
                ] {
                    network.ip(&format!(
                        "neigh replace {address} lladdr 02:00:00:00:00:0{peer} dev {device} nud permanent"
                    ))?;
                }
            }
        }
        // A device takes frames that are one tag longer than its MTU says, and no longer ones.
        for (family, route) in [
            (
                "-4",
                format!("10.77.{QINQ}.0/24 dev {device} src 10.77.{QINQ}.{number}"),
            ),
            ("-6", format!("fd77:{QINQ:x}::/64 dev {device} metric 256")),
        ] {
            network.ip(&format!(
                "{family} route replace {route} proto kernel mtu 1496"
            ))?;
        }
        Ok(())
    }
}

/// The whole lab; dropped, it is gone.
#[derive(Debug)]
pub struct Lab {
    pub client: Host,
    pub server: Host,
    pub attacker: Host,
    /// Where the cables meet: `wc`, `ws`, `wa`.
    pub wire: Namespace,
    _wire_object: Ebpf,
    _vlan_objects: Vec<Ebpf>,
}

impl Lab {
    /// Lays the lab.
    ///
    /// # Errors
    /// Without root, without `ip` and `ethtool`, or on a kernel without veth, XDP or live
    /// frames (5.18).
    pub fn new(options: LabOptions) -> Result<Self> {
        let client = Host::new("c0", Port::Client)?;
        let server = Host::new("s0", Port::Server)?;
        let attacker = Host::new("a0", Port::Attacker)?;
        let wire = Namespace::new()?;
        // Lest the wire's own ends speak, e.g. of multicast groups.
        wire.enter(|| std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"))?
            .context("cannot turn IPv6 off in the wire")?;
        let mut wire_object = object()?;
        let mut ports = [0; 3];
        for (host, end) in [(&client, "wc"), (&server, "ws"), (&attacker, "wa")] {
            let (device, number) = (host.device, host.number());
            wire.ip(&format!(
                "link add {end} type veth peer name {device} netns {} \
                 address 02:00:00:00:00:0{number}",
                host.namespace.path().display()
            ))?;
            wire.ip(&format!("link set {end} up"))?;
            ports[host.port as usize] = device::index(&wire, end)?;
        }
        for host in [&client, &server, &attacker] {
            host.set_up()?;
        }
        // Addresses that the generator invents lie behind a router that is not there: the wire
        // drops what goes to it.
        let mac = format!("lladdr 02:00:00:00:00:0{INVENTED} dev s0 nud permanent");
        for words in [
            format!("neigh replace 10.77.0.{INVENTED} {mac}"),
            format!("neigh replace fd77::{INVENTED} {mac}"),
            format!("route add 198.18.0.0/15 via 10.77.0.{INVENTED}"),
            format!("route add 16.0.0.0/4 via 10.77.0.{INVENTED}"),
            format!("-6 route add 2001:2::/48 via fd77::{INVENTED}"),
            format!("-6 route add 3fff::/20 via fd77::{INVENTED}"),
            // Where a crowd of clients lives: all of it is the client host.
            "route add 10.78.0.0/16 via 10.77.0.1".to_owned(),
            "-6 route add fd78::/64 via fd77::1".to_owned(),
        ] {
            server.namespace.ip(&words)?;
        }
        // Binding to an IPv6 address asks for the address itself, whatever the routes say.
        client
            .namespace
            .set_sysctl("net/ipv6/ip_nonlocal_bind", 1)?;
        client.namespace.ip("route add local 10.78.0.0/16 dev c0")?;
        client.namespace.ip("-6 route add local fd78::/64 dev c0")?;
        let mut map: Array<_, u32> = wire_object
            .take_map(map::PORTS)
            .context("no map PORTS")?
            .try_into()?;
        for (index, ifindex) in (0..).zip(ports) {
            map.set(index, ifindex, 0)?;
        }
        for (name, end) in [
            (program::TO_SERVER, "wc"),
            (program::TO_SERVER, "wa"),
            (program::FROM_SERVER, "ws"),
        ] {
            attach_xdp(&mut wire_object, name, &wire, end)?;
        }
        let mut vlan_objects = Vec::new();
        if !options.untagged && kernel_is(6, 6) {
            for host in [&client, &server] {
                vlan_objects.push(tag(host)?);
            }
        }
        if options.napi == Napi::Threaded {
            threaded(&server.namespace, server.device)?;
        }
        if let Some(mtu) = options.mtu {
            for (network, device) in [
                (&client.namespace, "c0"),
                (&server.namespace, "s0"),
                (&wire, "wc"),
                (&wire, "ws"),
            ] {
                network.ip(&format!("link set {device} mtu {mtu}"))?;
            }
        }
        Ok(Self {
            client,
            server,
            attacker,
            wire,
            _wire_object: wire_object,
            _vlan_objects: vlan_objects,
        })
    }

    /// Packets between client and server that queues had no room for, in both directions.
    ///
    /// # Errors
    /// If a device is gone.
    pub fn lost(&self) -> Result<u64> {
        let (server, client) = (self.server.counters()?, self.client.counters()?);
        Ok(server.rx_dropped + server.tx_dropped + client.rx_dropped + client.tx_dropped)
    }

    /// Moves the wire's receive path from the clients to a kernel thread, `napi/wc-*`.
    pub(crate) fn thread_wire_of_clients(&self) -> Result<()> {
        threaded(&self.wire, "wc")
    }
}

/// Adds and removes VLAN tags on a host's device. Ahead of all other classifiers, so that the
/// sensor at the same device sees the tags as it would on a tagged interface.
fn tag(host: &Host) -> Result<Ebpf> {
    let mut object = object()?;
    for (name, direction) in [
        (program::VLAN_PUSH, TcAttachType::Egress),
        (program::VLAN_POP, TcAttachType::Ingress),
    ] {
        let classifier: &mut SchedClassifier = object
            .program_mut(name)
            .with_context(|| format!("no program {name}"))?
            .try_into()?;
        classifier
            .load()
            .with_context(|| format!("cannot load {name}"))?;
        host.namespace
            .enter(|| {
                let first = TcAttachOptions::TcxOrder(LinkOrder::first());
                classifier.attach_with_options(host.device, direction, first)
            })?
            .with_context(|| format!("cannot attach {name} to {}", host.device))?;
    }
    Ok(object)
}

/// Moves a device's receive path to a kernel thread.
fn threaded(network: &Namespace, device: &str) -> Result<()> {
    let file = format!("/sys/class/net/{device}/threaded");
    network.enter(|| {
        mount_sys().context("cannot mount /sys in a namespace")?;
        std::fs::write(&file, "1").with_context(|| format!("cannot write {file}"))
    })?
}
