use std::io::Write;

use anyhow::Result;
use etherparse::PacketBuilder;

use crate::pcap;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_767_225_600 * SECOND;
const REQUEST: &[u8] =
    b"GET /index.html HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: bench\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Writes `rate` HTTP exchanges a second, each on a connection of its own, for `seconds`.
///
/// A closed connection is remembered for 60 seconds (Suricata's time-out), so that after a
/// minute the number of live flows stays at about 60 to 65 times the rate.
pub(crate) fn write(seconds: u64, rate: u64, out: &mut impl Write) -> Result<()> {
    pcap::header(out)?;
    for number in 0..seconds * rate {
        exchange(number, START + number * SECOND / rate, out)?;
    }
    Ok(())
}

fn exchange(number: u64, time: u64, out: &mut impl Write) -> Result<()> {
    // A client has a port for every second exchange, servers are few.
    let [.., a, b, c] = (number % (1 << 24)).to_be_bytes();
    let client = ([10, a, b, c], 1024 + (number / (1 << 24)) as u16);
    let server = ([192, 0, 2, (number % 250) as u8], 80);
    let mut time = time;
    let mut send =
        |from: ([u8; 4], u16), to: ([u8; 4], u16), flags: &str, seq, ack, payload: &[u8]| {
            let mut tcp = PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4(from.0, to.0, 64)
                .tcp(from.1, to.1, seq, 64_000);
            for flag in flags.chars() {
                tcp = match flag {
                    's' => tcp.syn(),
                    'a' => tcp.ack(ack),
                    'p' => tcp.psh(),
                    _ => tcp.fin(),
                };
            }
            let mut frame = Vec::with_capacity(tcp.size(payload.len()));
            tcp.write(&mut frame, payload)?;
            pcap::packet(out, time, frame.len() as u32, &frame)?;
            time += 1_000;
            anyhow::Ok(())
        };
    let (sent, got) = (1 + REQUEST.len() as u32, 1 + RESPONSE.len() as u32);
    send(client, server, "s", 0, 0, &[])?;
    send(server, client, "sa", 0, 1, &[])?;
    send(client, server, "a", 1, 1, &[])?;
    send(client, server, "pa", 1, 1, REQUEST)?;
    send(server, client, "pa", 1, sent, RESPONSE)?;
    send(client, server, "fa", sent, got, &[])?;
    send(server, client, "fa", got, sent + 1, &[])?;
    send(client, server, "a", sent + 1, got + 1, &[])
}
