use std::{path::Path, process::Command};

use sensor::{core::frame::Frame, source::capture::Reader};
use sensor_tests::skip;

/// Every case of the pcapng reader conformance suite that the public captures have, against
/// tshark: packets, their times and lengths.
#[test]
fn pcapng_is_read_as_tshark_reads_it() {
    let Some(cases) = std::env::var_os("SENSOR_CASES") else {
        return skip("needs SENSOR_CASES");
    };
    // Cargo runs tests in the package's folder; the variable is relative to the workspace.
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(cases);
    let index = std::fs::read_to_string(cases.join("INDEX.tsv")).unwrap();
    let files: Vec<_> = index
        .lines()
        .filter(|line| line.contains("reader conformance"))
        .filter_map(|line| line.split('\t').nth(1))
        .collect();
    assert!(!files.is_empty(), "the index lists conformance cases");
    for file in files {
        let (ours, theirs) = (ours(&cases.join(file)), tsharks(&cases.join(file)));
        assert_eq!(ours.len(), theirs.len(), "{file}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.lengths, theirs.lengths, "{file}");
            // tshark has no time for simple packets; a frame has that of the one before.
            assert!(
                theirs.time.is_empty() || ours.time == theirs.time,
                "{file}: {ours:?} {theirs:?}"
            );
        }
    }
}

#[derive(Debug)]
struct Packet {
    /// Seconds with nine decimals.
    time: String,
    /// On the wire, and captured.
    lengths: [usize; 2],
}

fn ours(path: &Path) -> Vec<Packet> {
    let packet = |frame: Frame| Packet {
        time: format!(
            "{}.{:09}",
            frame.time.0 / 1_000_000_000,
            frame.time.0 % 1_000_000_000
        ),
        lengths: [frame.wire_len as usize, frame.data.len()],
    };
    Reader::open(path)
        .unwrap()
        .map(Result::unwrap)
        .map(packet)
        .collect()
}

fn tsharks(path: &Path) -> Vec<Packet> {
    let output = Command::new("tshark")
        .args([
            "-n",
            "-T",
            "fields",
            "-E",
            "separator=;",
            "-e",
            "frame.time_epoch",
        ])
        .args(["-e", "frame.len", "-e", "frame.cap_len"])
        // Custom blocks and journal entries are records of tshark's, but no packets.
        .args(["-Y", "frame.encap_type", "-r"])
        .arg(path)
        .output()
        .expect("tshark starts (apt install tshark)");
    let text = String::from_utf8(output.stdout).unwrap();
    let packet = |line: &str| {
        let mut fields = line.split(';');
        let time = fields.next().unwrap().to_owned();
        let mut length = || fields.next().unwrap().parse().unwrap();
        Packet {
            time,
            lengths: [length(), length()],
        }
    };
    text.lines().map(packet).collect()
}
