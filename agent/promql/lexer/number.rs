//! Go's number literals, and durations as numbers of seconds.

use super::{LexError, Token};

pub fn number(text: &str) -> Result<(Token, usize), LexError> {
    let (scanned, is_number) = scan(text.as_bytes());
    if is_number {
        return match literal(&text[..scanned]) {
            Some(value) => Ok((Token::Number(value), scanned)),
            None => Err((format!("bad number {:?}", &text[..scanned]), 0..scanned)),
        };
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))).unwrap_or(text.len());
    let end = scanned.max(text[..end].trim_end_matches('.').len());
    let word = &text[..end];
    let Ok(duration) = crate::duration::parse(word) else {
        return Err((format!("bad number or duration {word:?}"), 0..end));
    };
    // Go's durations are 64 bits of nanoseconds.
    match i64::try_from(duration.as_nanos()) {
        Ok(_) => Ok((Token::Number(duration.as_secs_f64()), end)),
        Err(_) => Err(("duration out of range".to_owned(), 0..end)),
    }
}

/// How far a number goes in the way that Prometheus scans it, and whether that is all: `5m` goes on as a duration.
fn scan(text: &[u8]) -> (usize, bool) {
    let at = |place: usize| text.get(place).copied().unwrap_or(0);
    let hex = at(0) == b'0' && matches!(at(1), b'x' | b'X');
    let is_digit = |byte: u8| if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let mut end = if hex { 2 + usize::from(at(2) == b'_') } else { 0 };
    let (mut dot, mut exponent) = (false, false);
    if !hex && at(end) == b'.' {
        end += 1;
    }
    end += usize::from(is_digit(at(end)));
    loop {
        let byte = at(end);
        let next = at(end + 1);
        match byte {
            b'.' if dot || hex || matches!(next, b'.' | b'_') => return (end + 1, false),
            b'.' => dot = true,
            b'e' | b'E' => {
                let sign = usize::from(matches!(next, b'+' | b'-'));
                if exponent || matches!(at(end + 1 + sign), b'.' | b'_' | b'e' | b'E' | 0) {
                    return (end + 1 + sign, false);
                }
                exponent = true;
                end += sign;
            }
            b'_' if matches!(next, b'.' | b'_' | b'e' | b'E' | 0) => return (end + 1, false),
            b'_' => {}
            byte if is_digit(byte) => end += text[end..].iter().take_while(|byte| is_digit(**byte)).count() - 1,
            byte => return (end, !(byte.is_ascii_alphanumeric() || byte == b'_')),
        }
        end += 1;
    }
}

/// What Go reads: integers with base prefixes (a leading zero is octal), else decimals.
fn literal(word: &str) -> Option<f64> {
    let plain: String = word.chars().filter(|c| *c != '_').collect();
    if !underscores_separate_digits(word) {
        return None;
    }
    if let Some(digits) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return i64::from_str_radix(digits, 16).ok().map(|value| value as f64);
    }
    if plain.len() > 1
        && plain.starts_with('0')
        && let Ok(octal) = i64::from_str_radix(&plain, 8)
    {
        return Some(octal as f64);
    }
    plain.parse().ok().filter(|value: &f64| value.is_finite())
}

fn underscores_separate_digits(word: &str) -> bool {
    let bytes = word.as_bytes();
    let digit = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_alphanumeric);
    let separates = |place: usize| place > 0 && digit(place - 1) && digit(place + 1);
    (0..bytes.len()).all(|place| bytes[place] != b'_' || separates(place))
}
