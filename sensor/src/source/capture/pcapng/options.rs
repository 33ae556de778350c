use super::Endian;

/// Code and value of each option, up to the end mark or to what does not fit.
pub(super) fn options(mut bytes: &[u8], endian: Endian) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let code = endian.u16(bytes, 0)?;
        let length = usize::from(endian.u16(bytes, 2)?);
        if code == 0 {
            return None;
        }
        let value = bytes.get(4..4 + length)?;
        // Values are padded to 32 bits.
        bytes = bytes.get(4 + length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((code, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_end_mark_and_lies() {
        let bytes = [
            9, 0, 1, 0, 6, 0, 0, 0, 1, 0, 4, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0, 9, 0,
        ];
        let all: Vec<_> = options(&bytes, Endian::Little).collect();
        assert_eq!(all, [(9, &[6][..]), (1, b"eth0")]);
        assert_eq!(options(&[9, 0, 200, 0, 1, 2], Endian::Little).count(), 0);
        assert_eq!(options(&[0, 9, 0, 1, 6], Endian::Big).count(), 1);
    }
}
