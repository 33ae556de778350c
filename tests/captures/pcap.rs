use std::io::{self, Write};

/// Writes the header of a nanosecond pcap of Ethernet frames.
pub(crate) fn header(out: &mut impl Write) -> io::Result<()> {
    let words: [u32; 6] = [0xa1b2_3c4d, 4 << 16 | 2, 0, 0, 1 << 20, 1];
    for word in words {
        out.write_all(&word.to_le_bytes())?;
    }
    Ok(())
}

/// Writes a packet at `time`, nanoseconds since the epoch.
pub(crate) fn packet(
    out: &mut impl Write,
    time: u64,
    wire_len: u32,
    data: &[u8],
) -> io::Result<()> {
    let words = [
        (time / 1_000_000_000) as u32,
        (time % 1_000_000_000) as u32,
        data.len() as u32,
        wire_len,
    ];
    for word in words {
        out.write_all(&word.to_le_bytes())?;
    }
    out.write_all(data)
}
