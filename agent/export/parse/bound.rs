//! The bounds that stand in labels: `le` of a histogram, `quantile` of a summary. Prometheus 3 writes their values as
//! OpenMetrics does (`le="1"` becomes `le="1.0"`), whatever the page, so that a rule selects the same of every page.

use std::borrow::Cow;

use super::number;
use crate::export::catalogue::FamilyKind;
use crate::float;

/// The label of such a family's samples whose values are numbers.
pub fn label_of(kind: FamilyKind) -> Option<&'static str> {
    match kind {
        FamilyKind::Histogram => Some("le"),
        FamilyKind::Summary => Some("quantile"),
        _ => None,
    }
}

/// A value as Prometheus keeps it; what is no number stays.
pub fn canonical(text: Cow<'_, str>) -> Cow<'_, str> {
    let plain = if separates_digits(&text) { Cow::Owned(text.replace('_', "")) } else { Cow::Borrowed(&*text) };
    match number(&plain) {
        Ok(value) => Cow::Owned(written(value)),
        Err(_) => text,
    }
}

/// Whether every underscore stands between two digits, as Go lets it.
fn separates_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit = |place: Option<usize>| place.and_then(|place| bytes.get(place)).is_some_and(u8::is_ascii_digit);
    let separates = |place: usize| digit(place.checked_sub(1)) && digit(Some(place + 1));
    (0..bytes.len()).all(|place| bytes[place] != b'_' || separates(place))
}

/// The shortest digits, with an exponent from a million on and below 0.0001, and never as an integer.
fn written(value: f64) -> String {
    match value {
        _ if value.is_nan() => return "NaN".to_owned(),
        f64::INFINITY => return "+Inf".to_owned(),
        f64::NEG_INFINITY => return "-Inf".to_owned(),
        0.0 => return "0.0".to_owned(),
        _ => {}
    }
    let text = float::general(value);
    if text.contains(['.', 'e']) { text } else { text + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Prometheus 3.5.3 keeps them of a page that it has scraped.
    #[test]
    fn bounds_are_written_as_open_metrics_writes_them() {
        for (text, kept) in [
            ("1", "1.0"),
            ("0", "0.0"),
            ("-0", "0.0"),
            ("-1", "-1.0"),
            ("21", "21.0"),
            ("1.50", "1.5"),
            ("1e3", "1000.0"),
            ("123456", "123456.0"),
            ("1000000", "1e+06"),
            ("1234567", "1.234567e+06"),
            ("1e21", "1e+21"),
            ("1e-300", "1e-300"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1_0", "10.0"),
            ("inf", "+Inf"),
            ("+Inf", "+Inf"),
            ("-Inf", "-Inf"),
            ("nan", "NaN"),
            ("1e400", "1e400"),
            ("_1", "_1"),
            (" 3", " 3"),
            ("0x10", "0x10"),
            ("abc", "abc"),
            ("", ""),
        ] {
            assert_eq!(canonical(text.into()), kept, "{text}");
        }
    }
}
