//! Go's string literals, in single quotes, too.

use super::{LexError, Token};
use crate::matcher::quote;

/// Prometheus refuses the character that stands for bytes that could not be read.
const UNREADABLE: char = '\u{fffd}';

pub fn quoted(text: &str, quote: char) -> Result<(Token, usize), LexError> {
    let mut value = Vec::new();
    let mut rest = &text[1..];
    loop {
        let at = text.len() - rest.len();
        let Some(c) = rest.chars().next() else { return Err(("unterminated quoted string".into(), 0..text.len())) };
        rest = &rest[c.len_utf8()..];
        match c {
            c if c == quote => return finish(value, text.len() - rest.len()),
            '\n' => return Err(("unterminated quoted string".into(), 0..at)),
            UNREADABLE => return Err(unreadable(at)),
            '\\' => {
                let length = escape(rest, quote, &mut value).ok_or_else(|| {
                    let escaped = rest.chars().next().map_or(0, char::len_utf8);
                    ("unknown escape sequence".to_owned(), at..at + 1 + escaped)
                })?;
                rest = &rest[length..];
            }
            c => push(&mut value, c),
        }
    }
}

/// A string in backticks has no escapes.
pub fn raw(text: &str) -> Result<(Token, usize), LexError> {
    let end = text[1..].find('`').ok_or_else(|| ("unterminated raw string".to_owned(), 0..text.len()))?;
    let inner = &text[1..=end];
    match inner.find(UNREADABLE) {
        Some(at) => Err(unreadable(at + 1)),
        None => Ok((Token::String(inner.to_owned()), end + 2)),
    }
}

fn unreadable(at: usize) -> LexError {
    ("invalid UTF-8 rune".to_owned(), at..at + UNREADABLE.len_utf8())
}

/// Go's strings are bytes; ours, as those of every exposition, are UTF-8.
fn finish(value: Vec<u8>, length: usize) -> Result<(Token, usize), LexError> {
    match String::from_utf8(value) {
        Ok(text) => Ok((Token::String(text), length)),
        Err(error) => Ok((Token::Bytes(quoted_bytes(error.as_bytes())), length)),
    }
}

fn quoted_bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        let valid = quote(chunk.valid());
        text += &valid[1..valid.len() - 1];
        chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
    }
    format!("\"{text}\"")
}

fn push(value: &mut Vec<u8>, c: char) {
    value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// What follows a backslash; gives how many bytes it took.
fn escape(text: &str, quote: char, value: &mut Vec<u8>) -> Option<usize> {
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
        'x' => return byte(text.get(1..3)?, 16, value).map(|()| 3),
        '0'..='7' => return byte(text.get(..3)?, 8, value).map(|()| 3),
        'u' => return code_point(text.get(1..5)?, value).map(|()| 5),
        'U' => return code_point(text.get(1..9)?, value).map(|()| 9),
        _ => return None,
    };
    push(value, simple);
    Some(first.len_utf8())
}

fn byte(digits: &str, radix: u32, value: &mut Vec<u8>) -> Option<()> {
    let byte = number(digits, radix).and_then(|number| u8::try_from(number).ok())?;
    value.push(byte);
    Some(())
}

fn code_point(digits: &str, value: &mut Vec<u8>) -> Option<()> {
    push(value, number(digits, 16).and_then(char::from_u32)?);
    Some(())
}

/// Digits alone: no sign.
fn number(digits: &str, radix: u32) -> Option<u32> {
    let only_digits = digits.chars().all(|c| c.is_digit(radix));
    only_digits.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}
