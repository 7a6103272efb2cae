//! Numbers as Prometheus writes them in JSON.

use std::fmt::Write;

use crate::float;
use crate::sample::Timestamp;

/// The value of a sample of a vector or matrix: very small and very large ones have an exponent. It stands in quotes:
/// JSON has no NaN.
pub fn write_sample(out: &mut String, value: f64) {
    let plain = 1e-6..1e21;
    match value == 0.0 || plain.contains(&value.abs()) {
        true => write_value(out, value),
        false => *out += &exponent(value),
    }
}

/// A scalar: Go's `strconv.FormatFloat(value, 'f', -1, 64)`.
pub fn write_value(out: &mut String, value: f64) {
    match value {
        value if value.is_nan() => out.push_str("NaN"),
        f64::INFINITY => out.push_str("+Inf"),
        f64::NEG_INFINITY => out.push_str("-Inf"),
        value => out.push_str(&float::plain(value)),
    }
}

/// A time in seconds: `1700000000`, or with three digits `1700000000.500`.
pub fn write_time(out: &mut String, at: Timestamp) {
    let (sign, at) = (if at < 0 { "-" } else { "" }, at.unsigned_abs());
    // Writing to a string does not fail.
    let _ = match at % 1_000 {
        0 => write!(out, "{sign}{}", at / 1_000),
        millis => write!(out, "{sign}{}.{millis:03}", at / 1_000),
    };
}

/// An alert's value: Go's `strconv.FormatFloat(value, 'e', -1, 64)`: `1e+00`.
pub fn exponent(value: f64) -> String {
    if value.is_finite() {
        return float::exponential(value);
    }
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(value: f64) -> String {
        let mut text = String::new();
        write_value(&mut text, value);
        text
    }

    #[test]
    fn values_are_written_as_prometheus_3_5_writes_them() {
        for (number, text) in [
            (1.0, "1"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (97_292_184_331_072.0 + 0.125, "97292184331072.12"),
            (1e6, "1000000"),
            (1e21, "1000000000000000000000"),
            (123_456_789_012_345_678_901_234.0, "123456789012345690000000"),
            (1e-7, "0.0000001"),
            (1.5e-10, "0.00000000015"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(value(number), text);
        }
    }

    #[test]
    fn samples_have_an_exponent_where_prometheus_writes_one() {
        for (value, text) in [
            (1e21, "1e+21"),
            (9e20, "900000000000000000000"),
            (1e-6, "0.000001"),
            (-9.5e-7, "-9.5e-07"),
            (0.0, "0"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
        ] {
            let mut written = String::new();
            write_sample(&mut written, value);
            assert_eq!(written, text);
        }
    }

    #[test]
    fn times_have_no_fraction_or_three_digits_of_it() {
        let time = |at| {
            let mut text = String::new();
            write_time(&mut text, at);
            text
        };
        for (at, text) in [
            (1_700_000_000_123, "1700000000.123"),
            (1_500, "1.500"),
            (2_000, "2"),
            (7, "0.007"),
            (-1_500, "-1.500"),
            (0, "0"),
        ] {
            assert_eq!(time(at), text);
        }
    }

    #[test]
    fn values_of_alerts_have_an_exponent() {
        for (value, text) in
            [(1.0, "1e+00"), (0.0, "0e+00"), (1234.5, "1.2345e+03"), (-1e-7, "-1e-07"), (1e100, "1e+100")]
        {
            assert_eq!(exponent(value), text);
        }
        assert_eq!(exponent(f64::NEG_INFINITY), "-Inf");
        assert_eq!(exponent(f64::NAN), "NaN");
    }
}
