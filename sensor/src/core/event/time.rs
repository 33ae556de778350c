//! Times as EVE writes them: UTC, to the microsecond.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::core::time::Timestamp;

/// `2026-01-02T03:04:05.678901+0000`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EveTime(pub Timestamp);

/// A certificate's date, `2026-01-02T03:04:05`; seconds since the Unix epoch, perhaps before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertTime(pub i64);

impl Serialize for EveTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = *b"0000-00-00T00:00:00.000000+0000";
        let nanoseconds = self.0.0;
        // At most 584 years after 1970, so neither cast loses anything.
        date_time(&mut text, (nanoseconds / 1_000_000_000) as i64);
        digits(&mut text, 20, 6, nanoseconds % 1_000_000_000 / 1000);
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl Serialize for CertTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = *b"0000-00-00T00:00:00";
        // RFC 5280 section 4.1.2.5 ends at the year 9999.
        date_time(&mut text, self.0.clamp(-62_167_219_200, 253_402_300_799));
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// Writes date and time of `seconds` (within the years 0 to 9999) over the first 19 bytes.
fn date_time(text: &mut [u8], seconds: i64) {
    let (days, second) = (
        seconds.div_euclid(86_400),
        seconds.rem_euclid(86_400) as u64,
    );
    // Howard Hinnant's days-to-civil algorithm: eras of 400 years that start on 1 March.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    digits(text, 0, 4, (year_of_era + era * 400 + next) as u64);
    digits(text, 5, 2, month as u64);
    digits(text, 8, 2, day as u64);
    digits(text, 11, 2, second / 3600);
    digits(text, 14, 2, second / 60 % 60);
    digits(text, 17, 2, second % 60);
}

fn digits(text: &mut [u8], at: usize, count: usize, mut value: u64) {
    for slot in text.iter_mut().skip(at).take(count).rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

impl JsonSchema for EveTime {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EveTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}\+0000$"
        })
    }
}

impl JsonSchema for CertTime {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CertTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$" })
    }
}
