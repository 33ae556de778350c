//! Holds the core to its first invariant: no clock, no files, no sockets, no threads, no kernel.

use std::fs;
use std::path::Path;

/// What no file below `core/` may name, but for tests in files of their own.
const FORBIDDEN: [&str; 16] = [
    "aya",
    "tokio",
    "libc",
    "socket2",
    "axum",
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "std::os",
    "Instant",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "File::open",
];

/// The forbidden names in a line of code; comments may speak of anything.
fn forbidden(line: &str) -> Vec<&'static str> {
    let code = line.split("//").next().unwrap_or_default();
    let is_word = |at: usize, name: &str| {
        let outside = |byte: Option<&u8>| {
            byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        };
        let bytes = code.as_bytes();
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        outside(before) && outside(bytes.get(at + name.len()))
    };
    // `use std::{fs, io}` names `std::fs`, too.
    let grouped = |name: &str| {
        name.strip_prefix("std::").is_some_and(|item| {
            code.split_once("std::{").is_some_and(|(_, items)| {
                items
                    .split(['{', '}', ',', ':'])
                    .any(|found| found.trim() == item)
            })
        })
    };
    FORBIDDEN
        .into_iter()
        .filter(|name| grouped(name) || code.match_indices(name).any(|(at, _)| is_word(at, name)))
        .collect()
}

fn check(folder: &Path, found: &mut Vec<String>, files: &mut usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap_or_default();
        if name == "tests" || name == "imports" {
            continue;
        }
        if path.is_dir() {
            check(&path, found, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *files += 1;
            for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
                for name in forbidden(line) {
                    found.push(format!("{}:{}: {name}", path.display(), number + 1));
                }
            }
        }
    }
}

#[test]
fn the_core_has_no_clock_no_files_and_no_sockets() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/core");
    let (mut found, mut files) = (Vec::new(), 0);
    check(&core, &mut found, &mut files);
    assert!(files > 20, "the folder has moved");
    assert!(
        found.is_empty(),
        "forbidden in core/:\n{}",
        found.join("\n")
    );
}

#[test]
fn forbidden_names_are_found_and_others_are_not() {
    assert_eq!(forbidden("use std::fs::File;"), ["std::fs"]);
    assert_eq!(forbidden("use std::{fmt, fs};"), ["std::fs"]);
    assert_eq!(forbidden("let now = Instant::now();"), ["Instant"]);
    assert_eq!(
        forbidden("use std::time::{Duration, SystemTime};"),
        ["SystemTime"]
    );
    assert_eq!(forbidden("let socket: std::net::UdpSocket;"), ["UdpSocket"]);
    assert_eq!(forbidden("use aya::Ebpf;"), ["aya"]);
    assert!(forbidden("// not tokio").is_empty());
    assert!(forbidden("use std::net::IpAddr; let ayah = Instantly;").is_empty());
}
