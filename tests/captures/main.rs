//! Makes the captures that benchmarks read, on stdout: `captures mix FOLDER` or
//! `captures live SECONDS`.

mod live;
mod mix;
mod pcap;

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use anyhow::Result;
use clap::Parser;

#[derive(Debug, Parser)]
enum Cli {
    /// Every Ethernet capture that FOLDER/INDEX.tsv lists, repeated with shifted addresses
    Mix {
        folder: PathBuf,
        /// At least so many packets
        #[arg(long, default_value_t = 1_000_000)]
        packets: u64,
    },
    /// HTTP exchanges that begin at a steady rate
    Live {
        /// How long they go on
        seconds: u64,
        /// Exchanges that begin in a second
        #[arg(long, default_value_t = 1_600)]
        rate: u64,
    },
}

fn main() -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    match Cli::parse() {
        Cli::Mix { folder, packets } => mix::write(&folder, packets, &mut out)?,
        Cli::Live { seconds, rate } => live::write(seconds, rate, &mut out)?,
    }
    out.flush()?;
    Ok(())
}
