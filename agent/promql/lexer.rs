//! From text to tokens, each with the bytes that it stands in.

mod number;
mod string;

use std::ops::Range;

use super::SyntaxError;
use number::number;
use string::{quoted, raw};

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A metric name, label name, function or keyword.
    Word(String),
    Number(f64),
    String(String),
    /// A string whose escapes make bytes that are not UTF-8, as Go quotes it.
    Bytes(String),
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
    let mut tokens: Vec<(Token, Range<usize>)> = Vec::new();
    let mut at = 0;
    let mut in_brackets = false;
    loop {
        let just_opened = matches!(tokens.last(), Some((Token::Symbol("["), _)));
        at += blank(&text[at..], !just_opened);
        let (token, length) = token(&text[at..], in_brackets).map_err(|(message, span)| {
            let span = at + span.start..(at + span.end).min(text.len());
            SyntaxError { message, span }
        })?;
        in_brackets = token == Token::Symbol("[") || (in_brackets && token != Token::Symbol("]"));
        let end = token == Token::End;
        tokens.push((token, at..at + length));
        at += length;
        if end {
            return Ok(tokens);
        }
    }
}

type LexError = (String, Range<usize>);

/// White space and `# comments`, which Prometheus does not take just after an opening bracket.
fn blank(text: &str, comments: bool) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        match rest.strip_prefix('#').filter(|_| comments) {
            Some(comment) => rest = comment.find(['\n', '\r']).map_or("", |end| &comment[end..]),
            None => return text.len() - rest.len(),
        }
    }
}

/// In brackets a colon stands before the step of a subquery; elsewhere it is a letter.
fn token(text: &str, in_brackets: bool) -> Result<(Token, usize), LexError> {
    let Some(first) = text.chars().next() else { return Ok((Token::End, 0)) };
    if first.is_ascii_digit() || (first == '.' && text[1..].starts_with(|c: char| c.is_ascii_digit())) {
        return number(text);
    }
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || (c == ':' && !in_brackets);
    if is_letter(first) {
        let end = text.find(|c: char| !is_letter(c)).unwrap_or(text.len());
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
            ("1_000.5", 1000.5),
            ("0x1e ", 30.0),
            ("0x12ee", 4846.0),
            ("0x_1", 1.0),
            ("0_7", 7.0),
            ("017_7", 127.0),
            ("01777777777777777777777777", 1.777_777_777_777_777_7e24),
            ("1e-999", 0.0),
            ("1.e3", 1e3),
        ] {
            assert_eq!(all(text), [Token::Number(value), Token::End], "{text}");
        }
        for text in [
            "1__0",
            "1_",
            "1_ ",
            "0xg",
            "1e",
            "1e+ ",
            "1e999",
            "1m1h",
            "5x",
            "1.2.3",
            ".5.",
            "1._0",
            "1e_3",
            "0x",
            "0x1e",
            "0xee",
            "0x1e+5",
            "0xffffffffffffffffffff",
            "1.5h",
            "1_0s",
            "5mm",
            "1d1y",
            "1h500",
        ] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }

    #[test]
    fn strings_have_go_s_escapes() {
        assert_eq!(all(r#""a\n\"\\\x41\u00e9""#), [Token::String("a\n\"\\Aé".into()), Token::End]);
        assert_eq!(all(r"'it\'s'"), [Token::String("it's".into()), Token::End]);
        assert_eq!(all(r"`\d`"), [Token::String(r"\d".into()), Token::End]);
        assert_eq!(all(r#""\xc3\xa9\000""#), [Token::String("é\0".into()), Token::End], "bytes make characters");
        for text in [r#""a"#, "'a\nb'", r#""\z""#, "`a", r#""\'""#, r#""\0""#, r#""\777""#, r#""\ud800""#, "`\u{fffd}`"]
        {
            assert!(tokens(text).is_err(), "{text}");
        }
        assert_eq!(all(r#""\"é\xff\n\xc5z""#)[0], Token::Bytes(r#""\"é\xff\n\xc5z""#.to_owned()));
    }

    #[test]
    fn comments_and_white_space_are_passed_over_and_places_are_kept() {
        let found = tokens("a # b\n + c").unwrap();
        let spans: Vec<_> = found.iter().map(|(_, span)| span.clone()).collect();
        assert_eq!(spans, [0..1, 7..8, 9..10, 10..10]);
        assert_eq!(tokens("a ? b").unwrap_err().span, 2..3);
    }
}
