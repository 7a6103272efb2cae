//! Strings and numbers as they are written in a template, where the crate takes more than Go does.

/// The string, character or number that a text begins with, as it is written.
pub fn written(text: &str) -> &str {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '`' | '\''));
    let Some(quote) = quote else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-')));
        return &text[..end.unwrap_or(text.len())];
    };
    let mut escaped = false;
    let end = text[1..].find(|c| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped && quote != '`';
        ends
    });
    end.map_or(text, |end| &text[..end + 2])
}

/// What Go refuses about a literal.
pub fn mistake(written: &str) -> Option<&'static str> {
    match written.as_bytes().first() {
        Some(b'"') => quoted(written).err(),
        Some(b'0') if is_decimal(written) && written.contains(['8', '9']) => Some("bad number syntax"),
        Some(b'0'..=b'9' | b'.' | b'+' | b'-') => {
            written.parse::<f64>().is_ok_and(f64::is_infinite).then_some("number too large")
        }
        _ => None,
    }
}

fn is_decimal(written: &str) -> bool {
    written.chars().all(|c| c.is_ascii_digit())
}

fn quoted(written: &str) -> Result<(), &'static str> {
    let mut rest = written.chars();
    rest.next();
    while let Some(c) = rest.next() {
        match c {
            '\n' => return Err("unterminated quoted string"),
            '\\' => escape(&mut rest).ok_or("invalid escape in a string")?,
            _ => {}
        }
    }
    Ok(())
}

fn escape(rest: &mut std::str::Chars) -> Option<()> {
    let (radix, digits) = match rest.next()? {
        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' | '"' => return Some(()),
        'x' => (16, 2),
        'u' => (16, 4),
        'U' => (16, 8),
        '0'..='7' => (8, 2),
        _ => return None,
    };
    (0..digits).try_for_each(|_| rest.next().filter(|c| c.is_digit(radix)).map(|_| ()))
}
