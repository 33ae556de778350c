//! Lengths of time as people write them.

/// Reads `90`, `90s`, `10m`, `2h`, `7d` or `1w` as seconds, at least one.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let refused = || format!("`{text}` is no length of time: write 90s, 10m, 2h, 7d or 1w");
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let factor = match text.get(digits.len()..).unwrap_or_default() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(refused()),
    };
    let count: u64 = digits.parse().map_err(|_| refused())?;
    match count.checked_mul(factor) {
        Some(seconds) if seconds > 0 => Ok(seconds),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn units_multiply_and_nonsense_is_refused() {
        let good = [
            ("90", 90),
            ("5s", 5),
            ("10m", 600),
            ("2h", 7200),
            ("7d", 604_800),
        ];
        for (text, expected) in good {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "m",
            "0",
            "0m",
            "-1",
            "1.5h",
            "3x",
            "10 m",
            "99999999999999999999s",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(seconds(&format!("{}w", u64::MAX)).is_err());
    }
}
