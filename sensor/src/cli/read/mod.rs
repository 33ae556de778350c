//! `sensor read`: the engine over capture files, for a person or as EVE JSON Lines.

mod progress;
mod summary;
mod tally;

use std::{
    cell::OnceCell,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;

use self::{progress::Progress, summary::Summary};
use crate::{
    core::{engine::Engine, event::Event, stats::Stats, time::Timestamp},
    output::{EveWriter, Stream},
    source::capture::{CaptureError, CaptureStats, Reader},
};

/// Arguments of `sensor read`.
#[derive(Debug, clap::Args)]
pub(super) struct ReadArgs {
    /// EVE JSON Lines on stdout and nothing else, instead of a summary
    #[arg(long)]
    json: bool,
    /// The configuration (default: SENSOR_CONFIG, or /etc/sensor/sensor.toml if it exists)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// pcap or pcapng, plain or compressed with gzip or zstd; `-` is stdin. Several are read one
    /// after the other as if they were one
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Reads the captures; the status is 1 if one of them was broken.
///
/// # Errors
/// If the configuration is wrong or stdout cannot be written. A broken capture is no error
/// here: what was read is reported first, then the break, on stderr.
pub(super) fn run(args: &ReadArgs) -> anyhow::Result<ExitCode> {
    let config = super::config::load(args.config.as_deref(), &[])?.config;
    // A fixed seed: the same file gives the same bytes.
    let engine = Engine::new(config.engine.with_seed(0));
    let breaks = if args.json {
        let mut writer = EveWriter::new(Stream::new(io::stdout()));
        let reading = read(engine, &args.files, &mut |event| writer.write(event))?;
        writer.flush().context("stdout")?;
        reading.breaks
    } else {
        let mut summary = Summary::default();
        let reading = read(engine, &args.files, &mut |event| {
            summary.add(event);
            Ok(())
        })?;
        let text = summary.render(&reading);
        io::stdout()
            .lock()
            .write_all(text.as_bytes())
            .context("stdout")?;
        reading.breaks
    };
    for error in &breaks {
        eprintln!("error: {error}");
    }
    Ok(if breaks.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What reading the files brought besides events.
#[derive(Debug, Default)]
struct Reading {
    capture: CaptureStats,
    /// Earliest and latest time of a frame.
    span: Option<(Timestamp, Timestamp)>,
    engine: Stats,
    breaks: Vec<CaptureError>,
}

/// Runs all files through one engine.
fn read(
    mut engine: Engine,
    files: &[PathBuf],
    emit: &mut dyn FnMut(&Event) -> io::Result<()>,
) -> anyhow::Result<Reading> {
    let mut reading = Reading::default();
    // Nothing can fail on the engine's side of the border: the first error is kept aside and
    // ends reading.
    let failure = OnceCell::new();
    let mut out = |event: Event| {
        if failure.get().is_none()
            && let Err(error) = emit(&event)
        {
            failure.get_or_init(|| error);
        }
    };
    let mut progress = Progress::new(files);
    for path in files {
        let mut reader = match Reader::open(path) {
            Ok(reader) => reader.numbered_after(reading.capture.packets),
            Err(error) => {
                reading.breaks.push(error);
                continue;
            }
        };
        while let Some(frame) = reader.next() {
            match frame {
                Ok(frame) => {
                    let (first, last) = reading.span.get_or_insert((frame.time, frame.time));
                    (*first, *last) = ((*first).min(frame.time), (*last).max(frame.time));
                    engine.on_frame(&frame, &mut out);
                }
                Err(error) => reading.breaks.push(error),
            }
            if failure.get().is_some() {
                break;
            }
            progress.step(&reader);
        }
        progress.end_of_file(&reader);
        reading.capture.merge(&reader.stats());
    }
    engine.finish(&mut out);
    progress.end();
    reading.engine = engine.stats();
    match failure.into_inner() {
        Some(error) => Err(anyhow::Error::from(error).context("stdout")),
        None => Ok(reading),
    }
}
