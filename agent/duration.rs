//! Durations as Prometheus writes them: `250ms`, `30s`, `1m30s`, `4h`, `1d`, `0`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Parses a duration: units from large to small, each at most once, whole numbers; `0` needs no unit.
pub fn parse(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is not a duration: write it as 250ms, 30s, 1m30s, 4h or 1d");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let (number, tail) = rest.split_at(digits);
        let name = &tail[..tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len())];
        let number: u64 = number.parse().map_err(|_| refuse())?;
        let (_, scale) = units.find(|(unit, _)| *unit == name).ok_or_else(refuse)?;
        total = number.checked_mul(*scale).and_then(|part| total.checked_add(part)).ok_or_else(refuse)?;
        rest = &tail[name.len()..];
    }
    if text.is_empty() || total > i64::MAX as u64 { Err(refuse()) } else { Ok(Duration::from_millis(total)) }
}

/// Writes a duration so that [`parse`] reads it back: `90s` becomes `1m30s`.
pub fn format(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, scale) in UNITS.iter().filter(|(unit, _)| !matches!(*unit, "y" | "w")) {
        if left >= *scale {
            text.push_str(&(left / scale).to_string());
            text.push_str(unit);
            left %= scale;
        }
    }
    text
}

/// For `#[serde(deserialize_with = "crate::duration::deserialize")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(de::Error::custom)
}

/// As [`deserialize`], for fields that may be left out (with `#[serde(default)]`).
pub fn deserialize_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        for wrong in ["", "5", "s", "1s1m", "1s1s", "1.5s", "-1s", "5 s", "99999999999999999999y"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for millis in [0, 1, 250, 1_000, 90_000, 86_400_001] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&format(duration)), Ok(duration));
        }
    }
}
