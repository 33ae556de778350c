//! Cost of the guard for a SYN to a destination under attack, beside a flow that is under way.

use std::net::TcpListener;

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{Array, HashMap, ProgramArray},
};
use sensor_ebpf::abi::{
    self, Destination, DestinationKey, GuardMode, GuardSettings, Method, Settings, map,
};
use zerocopy::IntoBytes as _;

use super::{
    Figures, ROUNDS, Row, XDP_DROP, XDP_TX, counting,
    lists::{Bytes, mapped},
    program, run_frame,
};

/// Whom the SYNs are sent to.
const SERVER: [u8; 4] = [10, 0, 0, 2];
const PORT: u16 = 80;

/// Name of a row, the method, and what becomes of a SYN.
const METHODS: [(&str, Method, u32); 3] = [
    ("SYN, answered by a cookie", Method::Cookie, XDP_TX),
    (
        "SYN, first of an unknown client",
        Method::Retransmission,
        XDP_DROP,
    ),
    ("SYN, beyond the destination's rate", Method::Rate, XDP_DROP),
];

/// Adds the rows of the guard. `established` is the cost of a flow that is under way, ns.
pub(super) fn measure(
    object: &[u8],
    bench: &mut Ebpf,
    established: u128,
    figures: &mut Figures,
) -> Result<()> {
    // Of this process's own network namespace; a cookie is due for every SYN.
    std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2").context("tcp_syncookies")?;
    let _listener = TcpListener::bind(("0.0.0.0", PORT)).context("cannot listen")?;
    let mut plane = counting(object)?;
    for (name, method, expected) in METHODS {
        arm(&mut plane, method)?;
        let next = bench.map_mut("NEXT").context("NEXT")?;
        let target = program(&plane, abi::program::XDP)?.fd()?.try_clone()?;
        ProgramArray::try_from(next)?.set(0, &target, 0)?;
        let mut best = u128::MAX;
        for _ in 0..ROUNDS {
            let (verdict, nanoseconds) = run_frame(program(bench, "vary_syn")?, &[0; 58])?;
            if verdict != expected {
                bail!("{name}: the verdict is {verdict} instead of {expected}");
            }
            best = best.min(nanoseconds);
        }
        figures.rows.push(Row {
            name: name.to_owned(),
            value: best as f64,
            unit: "ns",
            ratio: (established > 0).then(|| best as f64 / established as f64),
        });
    }
    figures.conditions.push(
        "rows of SYNs: each from a client of its own, to a destination under attack; the ratio is \
         to an established flow without lists; the making of the SYN is in it"
            .to_owned(),
    );
    Ok(())
}

fn arm(plane: &mut Ebpf, method: Method) -> Result<()> {
    const KEY: usize = size_of::<DestinationKey>();
    let settings = GuardSettings {
        seed: std::array::from_fn(|at| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * at as u64 + 1)),
        // As many as the maps have in the object.
        syn_filter_mask: 262_143,
        sources_mask: 16_383,
        source_rates_mask: 262_143,
        suspect_per_window: 0,
        hold_seconds: 0,
        ..GuardSettings::DEFAULT
    };
    set::<_, { size_of::<GuardSettings>() }>(plane, map::GUARD, &settings)?;
    let key = DestinationKey {
        address: mapped(SERVER),
        port: PORT,
        _pad: 0,
    };
    let destination = Destination {
        method: method as u32,
        syn_per_second: 1,
        ..Destination::default()
    };
    let destinations = plane.map_mut(map::DESTINATIONS).context("destinations")?;
    let mut destinations: HashMap<_, [u8; KEY], Bytes<{ size_of::<Destination>() }>> =
        HashMap::try_from(destinations)?;
    destinations.insert(
        <[u8; KEY]>::try_from(key.as_bytes())?,
        Bytes(destination.as_bytes().try_into()?),
        0,
    )?;
    set::<_, { size_of::<Settings>() }>(
        plane,
        map::SETTINGS,
        &Settings {
            guard: GuardMode::Mitigate as u32,
            destinations: 1,
            ..Settings::default()
        },
    )
}

/// Writes the one value of a map.
fn set<T, const N: usize>(plane: &mut Ebpf, name: &str, value: &T) -> Result<()>
where
    T: zerocopy::IntoBytes + zerocopy::Immutable,
{
    let map = plane.map_mut(name).with_context(|| name.to_owned())?;
    Ok(Array::<_, Bytes<N>>::try_from(map)?.set(0, Bytes(value.as_bytes().try_into()?), 0)?)
}
