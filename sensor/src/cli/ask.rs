//! `sensor status|flows|stats`: questions to a running sensor.

use std::{
    io::{self, Write as _},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
};

use serde_json::Value;

use super::{config, detach, table};
use crate::{
    bpf::Pinned,
    daemon::control::{ClientError, FlowQuery, FlowSort, Request, ask},
};

/// Where the sensor is, and how the answer is to look.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Path of the control socket (default: `control.socket` of the configuration)
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct FlowsArgs {
    #[command(flatten)]
    common: Common,
    /// What the largest are the largest by
    #[arg(long, default_value = "bytes")]
    sort: FlowSort,
    /// How many
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: usize,
    /// Only flows with this address at either end
    #[arg(long)]
    address: Option<IpAddr>,
    /// Only flows with this port at either end
    #[arg(long)]
    port: Option<u16>,
    /// Only flows of this IP protocol (tcp, udp, icmp, ... or a number)
    #[arg(long)]
    proto: Option<String>,
    /// Only flows of this application protocol (dns, http, tls, ...)
    #[arg(long, value_name = "NAME")]
    app_proto: Option<String>,
}

pub(super) fn status(common: &Common) -> anyhow::Result<ExitCode> {
    answer(common, &Request::Status {}, table::status)
}

pub(super) fn stats(common: &Common) -> anyhow::Result<ExitCode> {
    answer(common, &Request::Stats {}, table::stats)
}

pub(super) fn flows(args: &FlowsArgs) -> anyhow::Result<ExitCode> {
    let query = FlowQuery {
        sort: args.sort,
        limit: args.limit,
        address: args.address,
        port: args.port,
        proto: args.proto.clone(),
        app_proto: args.app_proto.clone(),
    };
    answer(&args.common, &Request::Flows(query), table::flows)
}

/// What is at work without a sensor.
fn unattended() -> Option<String> {
    let path = config::load(None, &[]).ok()?.config.pin.path;
    let pinned = Pinned::read(&path).ok()??;
    Some(format!(
        "a pinned data plane is at work on {} without one, for {} s: {} packets wait to be read \
         (`sensor detach` removes it)",
        detach::names(&pinned.devices),
        pinned.unattended.as_secs(),
        pinned.unread_packets
    ))
}

pub(super) fn answer(
    common: &Common,
    request: &Request,
    render: impl Fn(&Value) -> String,
) -> anyhow::Result<ExitCode> {
    let socket = match &common.socket {
        Some(socket) => socket.clone(),
        None => config::load(None, &[])?.config.control.socket,
    };
    let value = match ask(&socket, request) {
        Err(error @ ClientError::NotRunning { .. }) => match unattended() {
            Some(pinned) => anyhow::bail!("{error}; {pinned}"),
            None => return Err(error.into()),
        },
        answer => answer?,
    };
    let mut out = io::stdout().lock();
    if common.json {
        serde_json::to_writer(&mut out, &value).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        out.write_all(render(&value).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}
