//! Compressed captures: gzip and zstd, recognised by magic, streamed with bounded memory
//! whatever the ratio.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError::SkipFrame},
};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// First bytes of a zstd skippable frame, of which the lowest four bits are free (RFC 8878, 3.1.2).
const ZSTD_SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

type Source = io::BufReader<Box<dyn Read + Send>>;

/// Wraps `source` by what its first bytes say.
pub(super) fn by_magic(mut source: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    // A pipe may deliver its first bytes one by one.
    let mut head = Vec::with_capacity(4);
    (&mut source).take(4).read_to_end(&mut head)?;
    let magic = head.clone();
    let whole: Box<dyn Read + Send> = Box::new(io::Cursor::new(head).chain(source));
    Ok(if magic.starts_with(&GZIP) {
        Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(
            64 * 1024,
            whole,
        )))
    } else if magic == ZSTD || is_skippable(&magic) {
        let source = io::BufReader::with_capacity(64 * 1024, whole);
        Box::new(Zstd::new(source)?)
    } else {
        whole
    })
}

fn is_skippable(magic: &[u8]) -> bool {
    magic.len() == 4 && magic[0] & 0xf0 == ZSTD_SKIPPABLE[0] && magic[1..] == ZSTD_SKIPPABLE[1..]
}

/// All frames of a zstd file, one after the other.
struct Zstd {
    source: Source,
    decoder: FrameDecoder,
    /// Whether `decoder` holds a frame that is not wholly handed out.
    in_frame: bool,
}

impl Zstd {
    fn new(source: Source) -> io::Result<Self> {
        let mut decoder = FrameDecoder::new();
        // A decoder limits the window (to 100 MiB) for every frame but its first, which it
        // takes at its word: let that one be ours, an empty one.
        let empty: [u8; 6] = [ZSTD[0], ZSTD[1], ZSTD[2], ZSTD[3], 0x20, 0];
        decoder.init(&empty[..]).map_err(corrupt)?;
        Ok(Self {
            source,
            decoder,
            in_frame: false,
        })
    }

    /// Begins the next frame; false at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(SkipFrame { length, .. })) => {
                    let mut skipped = self.source.by_ref().take(length.into());
                    if io::copy(&mut skipped, &mut io::sink())? < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(corrupt(error)),
            }
        }
        Ok(false)
    }
}

impl Read for Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            // A step of one byte decodes one block (at most 128 KiB), whatever `buffer` holds.
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBytes(1))
                    .map_err(corrupt)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.in_frame = false;
            let stored = self.decoder.get_checksum_from_data();
            if stored.is_some() && stored != self.decoder.get_calculated_checksum() {
                return Err(corrupt("checksum mismatch"));
            }
        }
    }
}

fn corrupt(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("zstd: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(data: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        by_magic(Box::new(io::Cursor::new(data)))?.read_to_end(&mut out)?;
        Ok(out)
    }

    /// A zstd frame of one raw block.
    fn raw_frame(content: &[u8]) -> Vec<u8> {
        let mut frame = ZSTD.to_vec();
        frame.extend([0x20, content.len() as u8]);
        frame.extend(&(((content.len() as u32) << 3) | 1).to_le_bytes()[..3]);
        frame.extend(content);
        frame
    }

    #[test]
    fn what_is_not_compressed_passes_unchanged() {
        assert_eq!(all(b"ab".to_vec()).unwrap(), b"ab");
        assert_eq!(all(b"abcdefgh".to_vec()).unwrap(), b"abcdefgh");
    }

    #[test]
    fn zstd_frames_follow_each_other() {
        let mut file = vec![0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        file.extend(raw_frame(b"first "));
        file.extend(raw_frame(b""));
        file.extend(raw_frame(b"second"));
        assert_eq!(all(file).unwrap(), b"first second");
    }

    #[test]
    fn a_window_of_petabytes_is_refused() {
        // No single segment, window log 10 + 31.
        let error = all(vec![
            ZSTD[0], ZSTD[1], ZSTD[2], ZSTD[3], 0x00, 0xf8, 1, 0, 0,
        ])
        .unwrap_err();
        assert!(error.to_string().contains("zstd"), "{error}");
        // A single segment of 2^60 bytes.
        let mut file = ZSTD.to_vec();
        file.push(0xe0);
        file.extend((1_u64 << 60).to_le_bytes());
        assert!(all(file).is_err());
    }

    #[test]
    fn a_cut_zstd_file_is_an_error() {
        let mut file = raw_frame(b"0123456789");
        file.truncate(file.len() - 3);
        assert!(all(file).is_err());
        assert!(all(vec![0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1]).is_err());
    }

    #[test]
    fn gzip_members_follow_each_other_and_cuts_are_errors() {
        use std::io::Write;
        let member = |content: &[u8]| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        };
        let mut file = member(b"first ");
        file.extend(member(b"second"));
        assert_eq!(all(file.clone()).unwrap(), b"first second");
        file.truncate(file.len() - 9);
        assert!(all(file).is_err());
    }
}
