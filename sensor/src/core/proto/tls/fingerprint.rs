//! Fingerprints of a ClientHello: JA3, and JA4 by its BSD-licensed specification.

use std::fmt::Write;

use md5::Md5;
use sha2::{Digest, Sha256};

use super::parser::{ClientHello, is_grease};
use crate::core::event::Ja3;

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Version, ciphers, extensions, groups and point formats in order, without GREASE.
pub(super) fn ja3(hello: &ClientHello) -> Ja3 {
    let list = |items: &[u16]| {
        let items = items.iter().filter(|&&item| !is_grease(item));
        items.map(ToString::to_string).collect::<Vec<_>>().join("-")
    };
    let formats = hello.point_formats.iter().map(ToString::to_string);
    let string = format!(
        "{},{},{},{},{}",
        hello.version,
        list(&hello.ciphers),
        list(&hello.extensions),
        list(&hello.groups),
        formats.collect::<Vec<_>>().join("-")
    );
    Ja3 {
        hash: hex(&Md5::digest(&string)).into(),
        string: string.into(),
    }
}

/// The highest version that the client offers, whose own field stays at TLS 1.2 for later ones
/// (RFC 8446 section 4.1.2).
pub(super) fn offered_version(hello: &ClientHello) -> u16 {
    let versions = hello.versions.iter().copied();
    versions
        .filter(|&version| !is_grease(version))
        .max()
        .unwrap_or(hello.version)
}

/// JA4 of a ClientHello over `transport` (`t` for TCP, `q` for QUIC).
pub(super) fn ja4(hello: &ClientHello, transport: char) -> String {
    let clean = |items: &[u16]| -> Vec<u16> {
        items
            .iter()
            .copied()
            .filter(|&item| !is_grease(item))
            .collect()
    };
    let (mut ciphers, mut extensions) = (clean(&hello.ciphers), clean(&hello.extensions));
    let version = match offered_version(hello) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    };
    let destination = if extensions.contains(&0) { 'd' } else { 'i' };
    let counts = [ciphers.len(), extensions.len()].map(|count| count.min(99));
    let [first, last] = alpn(hello.alpns.first().map_or(&[], Vec::as_slice));
    ciphers.sort_unstable();
    extensions.retain(|&kind| !matches!(kind, 0x0000 | 0x0010));
    extensions.sort_unstable();
    let list = |items: &[u16]| {
        items
            .iter()
            .map(|item| format!("{item:04x}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let mut tail = list(&extensions);
    let algorithms = clean(&hello.signature_algorithms);
    if !algorithms.is_empty() {
        let _ = write!(tail, "_{}", list(&algorithms));
    }
    let (ciphers, tail) = (
        truncated(&list(&ciphers)),
        truncated(if extensions.is_empty() { "" } else { &tail }),
    );
    format!(
        "{transport}{version}{destination}{:02}{:02}{first}{last}_{ciphers}_{tail}",
        counts[0], counts[1]
    )
}

fn truncated(list: &str) -> String {
    if list.is_empty() {
        return "000000000000".to_owned();
    }
    let mut digest = hex(&Sha256::digest(list));
    digest.truncate(12);
    digest
}

/// First and last character of the first ALPN value; of its hexadecimal form where either is
/// not alphanumeric.
fn alpn(value: &[u8]) -> [char; 2] {
    let (Some(&first), Some(&last)) = (value.first(), value.last()) else {
        return ['0', '0'];
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)];
    }
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 15)]
}
