/// Cuts an input into pieces, each with a byte that says what to do with it.
///
/// Before each piece come its tag and its length in two bytes, of which the upper six bits are
/// not used: a piece has at most 1,023 bytes, or what is left.
#[derive(Clone, Copy, Debug)]
pub struct Pieces<'a>(pub &'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[tag, low, high], rest) = self.0.split_first_chunk::<3>()?;
        let length = usize::from(u16::from_le_bytes([low, high]) & 0x3ff).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        self.0 = rest;
        Some((tag, piece))
    }
}
