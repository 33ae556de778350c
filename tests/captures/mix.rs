use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use sensor::{
    core::frame::{Frame, LinkType},
    source::capture::Reader,
};

use crate::pcap;

/// Time between two captures of the mix, and at most between two packets, nanoseconds.
const PAUSE: u64 = 1_000_000;
const LONGEST_GAP: u64 = 60_000_000_000;
/// The mix begins on 2026-01-01.
const START: u64 = 1_767_225_600_000_000_000;

/// Writes the captures one after the other, and all of them again with other addresses, until
/// there are `packets`. Time runs on from one to the next.
pub(crate) fn write(folder: &Path, packets: u64, out: &mut impl Write) -> Result<()> {
    let mut frames = Vec::new();
    for path in captures(folder)? {
        let Ok(reader) = Reader::open(&path) else {
            continue;
        };
        let mut last = None;
        // Cut captures count as far as they can be read.
        for frame in reader.map_while(Result::ok) {
            if frame.link != LinkType::Ethernet {
                continue;
            }
            let gap = last.map_or(PAUSE, |last| frame.time.since(last).min(LONGEST_GAP));
            last = Some(frame.time);
            frames.push((gap, frame));
        }
    }
    if frames.is_empty() {
        bail!("{} lists no Ethernet capture", folder.display());
    }
    pcap::header(out)?;
    let (mut written, mut time) = (0, START);
    for round in 0_u16.. {
        for (gap, frame) in &frames {
            time += gap;
            let data = shifted(frame, round);
            pcap::packet(out, time, frame.wire_len, &data)?;
            written += 1;
        }
        if written >= packets {
            break;
        }
    }
    eprintln!("{written} packets of {} in the captures", frames.len());
    Ok(())
}

/// The captures in the index's order, each once.
fn captures(folder: &Path) -> Result<Vec<PathBuf>> {
    let index = folder.join("INDEX.tsv");
    let text =
        fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    let mut seen = BTreeSet::new();
    Ok(text
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').nth(1))
        .filter(|path| seen.insert(*path))
        .map(|path| folder.join(path))
        .collect())
}

/// The frame's bytes with other IP addresses, the same ones for the same round.
fn shifted(frame: &Frame, round: u16) -> Vec<u8> {
    let mut data = frame.data.to_vec();
    let mut at = 12;
    while let Some(&[high, low]) = data.get(at..at + 2) {
        match u16::from_be_bytes([high, low]) {
            0x8100 | 0x88a8 => at += 4,
            0x0800 => {
                shift(&mut data, at + 2 + 12, 4, round);
                shift(&mut data, at + 2 + 16, 4, round);
                break;
            }
            0x86dd => {
                shift(&mut data, at + 2 + 8, 16, round);
                shift(&mut data, at + 2 + 24, 16, round);
                break;
            }
            _ => break,
        }
    }
    data
}

/// Adds `round` to an address's first word and takes it from its last, in one's complement: every
/// checksum over the address stays right. Unspecified and broadcast addresses stay, too.
fn shift(data: &mut [u8], at: usize, length: usize, round: u16) {
    let Some(address) = data.get_mut(at..at + length) else {
        return;
    };
    if address.iter().all(|byte| *byte == 0) || address.iter().all(|byte| *byte == 0xff) {
        return;
    }
    let mut add = |at: usize, value: u16| {
        if let Some(word) = address.get_mut(at..at + 2) {
            let sum = (u32::from(word[0]) << 8 | u32::from(word[1])) + u32::from(value);
            let folded = ((sum & 0xffff) + (sum >> 16)) as u16;
            word.copy_from_slice(&folded.to_be_bytes());
        }
    };
    add(0, round);
    add(length - 2, !round);
}
