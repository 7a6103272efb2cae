//! From text to tokens, each with the bytes that it stands in.

use std::ops::Range;

use super::SyntaxError;

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A metric name, label name, function or keyword.
    Word(String),
    Number(f64),
    String(String),
    /// Brackets, commas, operators.
    Symbol(&'static str),
    End,
}

/// Longer ones first: `=~` is not `=`.
const SYMBOLS: [&str; 24] = [
    "==", "!=", "<=", ">=", "=~", "!~", "(", ")", "{", "}", "[", "]", ",", "+", "-", "*", "/", "%", "^", "<", ">", "=",
    ":", "@",
];

/// The largest expression, bytes.
const LENGTH_LIMIT: usize = 64 * 1024;

/// Every token of a text; the last is [`Token::End`].
pub fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, SyntaxError> {
    if text.len() > LENGTH_LIMIT {
        let message = format!("the expression is longer than {LENGTH_LIMIT} bytes");
        return Err(SyntaxError { message, span: 0..0 });
    }
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        at += blank(&text[at..]);
        let (token, length) = token(&text[at..]).map_err(|(message, span)| {
            let span = at + span.start..(at + span.end).min(text.len());
            SyntaxError { message, span }
        })?;
        let end = token == Token::End;
        tokens.push((token, at..at + length));
        at += length;
        if end {
            return Ok(tokens);
        }
    }
}

type LexError = (String, Range<usize>);

/// White space and `# comments`.
fn blank(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        match rest.strip_prefix('#') {
            Some(comment) => rest = comment.find('\n').map_or("", |end| &comment[end..]),
            None => return text.len() - rest.len(),
        }
    }
}

fn token(text: &str) -> Result<(Token, usize), LexError> {
    let Some(first) = text.chars().next() else { return Ok((Token::End, 0)) };
    if first.is_ascii_digit() || (first == '.' && text[1..].starts_with(|c: char| c.is_ascii_digit())) {
        return number(text);
    }
    if first.is_ascii_alphabetic() || first == '_' || (first == ':' && text.len() > 1) {
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
        return Ok((Token::Word(text[..end].to_owned()), end));
    }
    match first {
        '"' | '\'' => quoted(text, first),
        '`' => raw(text),
        _ => match SYMBOLS.iter().find(|symbol| text.starts_with(**symbol)) {
            Some(symbol) => Ok((Token::Symbol(symbol), symbol.len())),
            None => Err((format!("unexpected character {first:?}"), 0..first.len_utf8())),
        },
    }
}

/// Go's number literals, and durations as numbers of seconds.
fn number(text: &str) -> Result<(Token, usize), LexError> {
    let hex = text.starts_with("0x") || text.starts_with("0X");
    let mut end = if hex { 2 } else { 0 };
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(end) {
        let sign = matches!(byte, b'+' | b'-') && !hex && matches!(bytes[end - 1], b'e' | b'E');
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || (sign && end > 0)) {
            break;
        }
        end += 1;
    }
    let word = &text[..end];
    match parse_number(word) {
        Some(value) => Ok((Token::Number(value), end)),
        None if crate::duration::parse(word).is_ok() => Err(("duration out of range".to_owned(), 0..end)),
        None => Err((format!("bad number or duration {word:?}"), 0..end)),
    }
}

fn parse_number(word: &str) -> Option<f64> {
    let plain = word.replace('_', "");
    let underscores_stand_between_digits =
        !word.contains("__") && !word.ends_with('_') && !word.contains("._") && !word.contains("_.");
    if !underscores_stand_between_digits {
        return None;
    }
    if let Some(digits) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).ok().map(|value| value as f64);
    }
    if let Ok(duration) = crate::duration::parse(&plain)
        && plain.ends_with(|c: char| c.is_ascii_alphabetic())
    {
        // Go's durations are 64 bits of nanoseconds.
        i64::try_from(duration.as_nanos()).ok()?;
        return Some(duration.as_secs_f64());
    }
    let digits_only = plain.len() > 1 && plain.starts_with('0') && plain.chars().all(|c| c.is_ascii_digit());
    if digits_only && plain.chars().all(|c| c < '8') {
        // Go's ParseInt with base 0 reads a leading zero as octal.
        return u64::from_str_radix(&plain, 8).ok().map(|value| value as f64);
    }
    let is_decimal = plain.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if is_decimal { plain.parse().ok() } else { None }
}

/// A string with Go's escapes.
fn quoted(text: &str, quote: char) -> Result<(Token, usize), LexError> {
    let mut value = String::new();
    let mut rest = &text[1..];
    loop {
        let at = text.len() - rest.len();
        let Some(c) = rest.chars().next() else { return Err(("unterminated quoted string".into(), 0..text.len())) };
        rest = &rest[c.len_utf8()..];
        match c {
            c if c == quote => return Ok((Token::String(value), text.len() - rest.len())),
            '\n' => return Err(("unterminated quoted string".into(), 0..at)),
            '\\' => {
                let (c, length) = escape(rest, quote).ok_or(("unknown escape sequence".to_owned(), at..at + 2))?;
                value.push(c);
                rest = &rest[length..];
            }
            c => value.push(c),
        }
    }
}

/// What follows a backslash: the character, and how many bytes it took.
fn escape(text: &str, quote: char) -> Option<(char, usize)> {
    let first = text.chars().next()?;
    let simple = match first {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' => '\\',
        c if c == quote => c,
        'x' => return code(text.get(1..3)?, 16).map(|c| (c, 3)),
        'u' => return code(text.get(1..5)?, 16).map(|c| (c, 5)),
        'U' => return code(text.get(1..9)?, 16).map(|c| (c, 9)),
        '0'..='7' => return code(text.get(..3)?, 8).map(|c| (c, 3)),
        _ => return None,
    };
    Some((simple, first.len_utf8()))
}

/// Bytes above 127 that are written as `\xff` would make strings that are not UTF-8: they are refused.
fn code(digits: &str, radix: u32) -> Option<char> {
    let value = u32::from_str_radix(digits, radix).ok()?;
    char::from_u32(value).filter(|c| digits.len() > 3 || c.is_ascii())
}

/// A string in backticks has no escapes.
fn raw(text: &str) -> Result<(Token, usize), LexError> {
    let end = text[1..].find('`').ok_or_else(|| ("unterminated raw string".to_owned(), 0..text.len()))?;
    Ok((Token::String(text[1..=end].to_owned()), end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Token> {
        tokens(text).unwrap().into_iter().map(|(token, _)| token).collect()
    }

    #[test]
    fn numbers_are_go_s_and_durations_are_seconds() {
        for (text, value) in [
            ("1", 1.0),
            (".5", 0.5),
            ("1.", 1.0),
            ("1e3", 1e3),
            ("1E-2", 0.01),
            ("0x1F", 31.0),
            ("1_000", 1e3),
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("250ms", 0.25),
            ("010", 8.0),
            ("08", 8.0),
            ("0s", 0.0),
        ] {
            assert_eq!(all(text), [Token::Number(value), Token::End], "{text}");
        }
        for text in ["1__0", "1_", "0xg", "1e", "1m1h", "5x", "1.2.3"] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }

    #[test]
    fn strings_have_go_s_escapes() {
        assert_eq!(all(r#""a\n\"\\\x41\u00e9""#), [Token::String("a\n\"\\Aé".into()), Token::End]);
        assert_eq!(all(r"'it\'s'"), [Token::String("it's".into()), Token::End]);
        assert_eq!(all(r"`\d`"), [Token::String(r"\d".into()), Token::End]);
        for text in [r#""a"#, "'a\nb'", r#""\z""#, "`a", r#""\'""#] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }

    #[test]
    fn comments_and_white_space_are_passed_over_and_places_are_kept() {
        let found = tokens("a # b\n + c").unwrap();
        let spans: Vec<_> = found.iter().map(|(_, span)| span.clone()).collect();
        assert_eq!(spans, [0..1, 7..8, 9..10, 10..10]);
        assert_eq!(tokens("a ? b").unwrap_err().span, 2..3);
    }
}
