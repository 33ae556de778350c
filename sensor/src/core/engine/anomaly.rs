//! What breaks the rules below all applications, told.

use sensor_ebpf::abi::FlowKey;

use super::Tracker;
use super::emit::Emitter;
use super::found::{Meta, Part};
use super::packet::interface;
use crate::core::event::{Anomaly, AnomalyKind, Body, Event, Proto};
use crate::core::flow::key::Key;
use crate::core::flow::tunnel::{Tunnel, Tunnels};
use crate::core::proto::Side;

impl Tracker {
    /// Reports what is wrong with a packet's checksums, once a flow, and with a tunnel in it.
    #[cold]
    pub(super) fn complain(
        &mut self,
        slot: u32,
        side: Side,
        part: &Part<'_>,
        out: &mut Emitter<'_>,
    ) {
        let Some(flow) = self.table.get_mut(slot) else {
            return;
        };
        let checksum = part
            .wrong_checksum
            .filter(|_| !std::mem::replace(&mut flow.checksum_told, true));
        for event in [checksum, part.flaw].into_iter().flatten() {
            if flow.anomalies >= self.config.limits.flow_anomalies {
                return;
            }
            flow.anomalies += 1;
            let name = interface(&self.interfaces, flow.key.ifindex());
            let anomaly = anomaly(AnomalyKind::Decode, event);
            let mut event = flow.as_ref(name).event(side, part.meta.time, anomaly);
            event.pcap_cnt = part.meta.number;
            out.send(event);
        }
    }

    /// Reports what belongs to no flow; `of` is who sent it, and within what.
    #[cold]
    pub(super) fn report(
        &self,
        meta: &Meta,
        name: &'static str,
        of: Option<(&FlowKey, Option<&Tunnel>)>,
        out: &mut Emitter<'_>,
    ) {
        let mut event = Event::new(meta.time, anomaly(AnomalyKind::Decode, name));
        event.pcap_cnt = meta.number;
        if let Some((key, tunnel)) = of {
            let (ends, swapped) = Key::of(key, 0);
            let [(src, _), (dest, _)] = [swapped, !swapped].map(|end| ends.end(end.into()));
            event.in_iface = interface(&self.interfaces, key.ifindex).cloned();
            event.vlan = ends.vlans();
            event.src_ip = Some(src.into());
            event.dest_ip = Some(dest.into());
            event.proto = Some(Proto(key.protocol));
            event.ip_v = Some(if src.is_ipv4() { 4 } else { 6 });
            if let Some(tunnel) = tunnel {
                let mut tunnels = Tunnels::default();
                tunnels.note(Side::Originator, tunnel);
                tunnels.describe(Side::Originator, &mut event);
            }
        }
        out.send(event);
    }
}

/// An anomaly below all applications.
pub(super) const fn anomaly(kind: AnomalyKind, event: &'static str) -> Body {
    let anomaly = Anomaly {
        app_proto: None,
        kind,
        event,
        layer: None,
    };
    Body::Anomaly { anomaly }
}
