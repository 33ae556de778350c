//! What the kernel's sampling is told.

use sensor_ebpf::sampling::Verdict;

use super::live::{counted, drained, key, sampled};
use super::*;
use crate::core::kernel::KernelFlow;

/// What the engine wants by now, as (source port, verdict).
fn wishes(run: &mut Run) -> Vec<(u16, Verdict)> {
    let wishes = run.engine.take_wishes();
    wishes
        .map(|wish| (wish.key.src_port, wish.verdict))
        .collect()
}

#[test]
fn all_of_a_connection_is_wanted_while_it_brings_transactions() {
    let mut run = Run::new(EngineConfig {
        limits: Limits {
            unproductive_samples: [3, 3],
            ..Limits::default()
        },
        ..EngineConfig::default()
    });
    let request = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";
    let length = u32::try_from(request.len()).unwrap();
    let asks = |number: u64, seq: u32, payload: &[u8]| {
        sampled(0, 1, number, false, client("A", seq, 501, payload).bytes())
    };
    run.frame(&asks(1, 101, b""));
    let client_port = key(&asks(1, 101, b"")).src_port;
    assert_eq!(wishes(&mut run), [], "nothing is known yet");
    run.frame(&asks(2, 101, request));
    assert_eq!(wishes(&mut run), [(client_port, Verdict::More)]);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    run.frame(&sampled(
        0,
        1,
        1,
        true,
        server("A", 501, 101 + length, answer).bytes(),
    ));
    assert_eq!(wishes(&mut run), [(80, Verdict::More)]);
    // Acknowledgements bring nothing.
    for number in 3..6 {
        run.frame(&asks(number, 101 + length, b""));
    }
    assert_eq!(wishes(&mut run), [(client_port, Verdict::Default)]);
    // Another request and its answer do.
    run.frame(&asks(6, 101 + length, request));
    let seq = 501 + u32::try_from(answer.len()).unwrap();
    run.frame(&sampled(
        0,
        1,
        2,
        true,
        server("A", seq, 101 + 2 * length, answer).bytes(),
    ));
    run.frame(&asks(7, 101 + 2 * length, b""));
    assert!(wishes(&mut run).contains(&(client_port, Verdict::More)));
    run.finish();
    assert_eq!(
        wishes(&mut run),
        [(client_port, Verdict::Default), (80, Verdict::Default)],
        "the next connection begins afresh"
    );
}

/// A connection of which nobody understands a byte, and its ends' ports.
fn unknown(run: &mut Run) -> (u16, u16) {
    let asks = sampled(0, 1, 1, false, client("A", 101, 501, &[0xee; 3000]).bytes());
    run.frame(&asks);
    run.frame(&sampled(
        0,
        1,
        1,
        true,
        server("A", 501, 3101, &[0xee; 3000]).bytes(),
    ));
    (key(&asks).src_port, key(&asks).dst_port)
}

#[test]
fn nothing_is_wanted_of_what_nobody_understands_until_it_ends() {
    let mut run = Run::new(EngineConfig::default());
    let (client_port, server_port) = unknown(&mut run);
    assert_eq!(wishes(&mut run), [(server_port, Verdict::Enough)]);
    let more = |number| sampled(0, 1, number, false, client("A", 3101, 3501, b"on").bytes());
    run.frame(&more(2));
    assert_eq!(wishes(&mut run), [(client_port, Verdict::Enough)]);
    run.frame(&more(3));
    assert_eq!(wishes(&mut run), [], "once is enough");
    // Its end is known from the kernel's counters.
    let reset = KernelFlow {
        rst: 1,
        ..counted(&more(3), 9, (0, 1))
    };
    run.drain(&drained(1, 1, vec![reset]));
    assert_eq!(wishes(&mut run), [(client_port, Verdict::Default)]);
    run.finish();
    assert_eq!(wishes(&mut run), [(server_port, Verdict::Default)]);
}

#[test]
fn wishes_are_bounded_and_come_up_again() {
    let mut run = Run::new(EngineConfig {
        limits: Limits {
            wishes: 1,
            ..Limits::default()
        },
        ..EngineConfig::default()
    });
    let (client_port, server_port) = unknown(&mut run);
    let more = |number| sampled(0, 1, number, false, client("A", 3101, 3501, b"on").bytes());
    run.frame(&more(2));
    assert_eq!(run.engine.stats().kernel.wishes_dropped, 1);
    assert_eq!(wishes(&mut run), [(server_port, Verdict::Enough)]);
    run.frame(&more(3));
    assert_eq!(wishes(&mut run), [(client_port, Verdict::Enough)]);
}
