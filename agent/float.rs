//! Floats in the shortest digits that are read back, as Go writes them. Of two texts that are equally short and equally
//! near, Go takes the one with the even last digit, and Rust the larger one: `97292184331072.12` is such a tie.

/// With an exponent, as `{:e}`: `9.7e1`. Infinities and NaN as Rust writes them.
pub fn scientific(value: f64) -> String {
    let text = format!("{value:e}");
    even(&text, value).unwrap_or(text)
}

/// As Go's `%e` with the digits that are needed: `9.7e+01`. For finite values.
pub fn exponential(value: f64) -> String {
    with_exponent(&scientific(value))
}

/// As Go's `%g`: with an exponent from a million on and below 0.0001. For finite values.
pub fn general(value: f64) -> String {
    let text = scientific(value);
    if (-4..6).contains(&exponent(&text)) { plain(value) } else { with_exponent(&text) }
}

/// The exponent in what Rust writes with `{:e}`.
pub fn exponent(text: &str) -> i32 {
    text.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0)
}

/// What Rust writes with `{:e}`, with the exponent as Go writes it: a sign, and two digits at least.
pub fn with_exponent(text: &str) -> String {
    let mantissa = text.split_once('e').map_or(text, |(mantissa, _)| mantissa);
    format!("{mantissa}e{:+03}", exponent(text))
}

/// Without an exponent.
pub fn plain(value: f64) -> String {
    let text = value.to_string();
    even(&text, value).unwrap_or(text)
}

/// What is one less in its last digit, where that is odd and the value stands in the middle between the two.
fn even(text: &str, value: f64) -> Option<String> {
    /// So few digits belong to one float alone.
    const UNIQUE: usize = 15;
    /// As many decimals as any float has.
    const ALL: usize = 1_075;
    let mantissa = &text[..text.find('e').unwrap_or(text.len())];
    let last = mantissa.rfind(|c| matches!(c, '1'..='9')).filter(|last| *last >= UNIQUE)?;
    let digit = text.as_bytes()[last];
    if digit.is_multiple_of(2) {
        return None;
    }
    let lower = format!("{}{}{}", &text[..last], char::from(digit - 1), &text[last + 1..]);
    let is_read_back = lower.parse() == Ok(value);
    let is_tie = || digits(&format!("{value:.ALL$e}")) == digits(&lower) + "5";
    (is_read_back && is_tie()).then_some(lower)
}

/// The significant digits.
fn digits(text: &str) -> String {
    let digits: String = text.chars().take_while(|c| *c != 'e').filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Prometheus 3.5.3 writes them.
    #[test]
    fn of_two_texts_that_are_equally_near_the_even_one_is_written() {
        for (value, text) in [
            (97_292_184_331_072.0 + 0.125, "97292184331072.12"),
            (-(97_292_184_331_072.0 + 0.125), "-97292184331072.12"),
            (97_292_184_331_072.0 + 0.375, "97292184331072.38"),
            (0.3, "0.3"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e23, "100000000000000000000000"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(plain(value), text);
        }
        assert_eq!(scientific(97_292_184_331_072.0 + 0.125), "9.729218433107212e13");
        assert_eq!(scientific(5e-324), "5e-324");
    }

    #[test]
    fn exponents_are_written_as_go_writes_them() {
        for (value, text) in [
            (1.0, "1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (999_999.0, "999999"),
            (-1e6, "-1e+06"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(general(value), text);
        }
        assert_eq!([1.0, 0.25, 1e100].map(exponential), ["1e+00", "2.5e-01", "1e+100"]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut bits = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..20_000 {
            bits = bits.rotate_left(17).wrapping_mul(0xBF58_476D_1CE4_E5B9) ^ (bits >> 31);
            let value = f64::from_bits(bits);
            let rounded = (f64::from_bits(bits & !(0x7FF << 52) | (1_069 << 52)) * 8.0).trunc() / 8.0;
            for value in [value, rounded].into_iter().filter(|value| value.is_finite()) {
                assert_eq!(plain(value).parse(), Ok(value));
                assert_eq!(scientific(value).parse(), Ok(value));
            }
        }
    }
}
