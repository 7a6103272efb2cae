//! How scripts write series, values and times.

use std::iter::Peekable;
use std::str::CharIndices;

use watchkeeper::sample::{Labels, METRIC_NAME, stale_marker};

/// One value of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item {
    Gap,
    Float(f64),
    /// A native histogram, whatever it holds.
    Histogram,
}

/// A line `name{label="value"} values`.
pub fn line(text: &str) -> Result<(Labels, Vec<Item>), String> {
    let (labels, rest) = series(text)?;
    let items = values(rest)?;
    if items.is_empty() { Err(format!("`{text}`: a series without values")) } else { Ok((labels, items)) }
}

/// A series, and what follows it.
pub fn series(text: &str) -> Result<(Labels, &str), String> {
    let named = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').unwrap_or(text.len());
    let (name, rest) = text.split_at(named);
    let mut pairs = vec![(METRIC_NAME.to_owned(), name.to_owned())];
    let Some(inside) = rest.strip_prefix('{') else {
        return if name.is_empty() { Err(format!("`{text}` is no series")) } else { Ok((Labels::new(pairs), rest)) };
    };
    let mut chars = inside.char_indices().peekable();
    loop {
        skip_space(&mut chars);
        match chars.next() {
            Some((at, '}')) => return Ok((Labels::new(pairs), &inside[at + 1..])),
            Some((_, ',')) => {}
            Some((at, _)) => pairs.push(label(inside, at, &mut chars)?),
            None => return Err(format!("`{text}`: the labels do not end")),
        }
    }
}

type Chars<'a> = Peekable<CharIndices<'a>>;

fn skip_space(chars: &mut Chars) {
    while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
}

/// `name="value"`, `"name"="value"`, or a quoted metric name.
fn label(text: &str, start: usize, chars: &mut Chars) -> Result<(String, String), String> {
    let first = text[start..].chars().next().unwrap_or_default();
    let quoted = matches!(first, '"' | '\'' | '`');
    let name = if quoted { string(first, chars)? } else { word(text, start, chars) };
    skip_space(chars);
    if chars.next_if(|(_, c)| *c == '=').is_none() {
        return if quoted { Ok((METRIC_NAME.into(), name)) } else { Err(format!("`{name}`: a label without value")) };
    }
    skip_space(chars);
    match chars.next() {
        Some((_, quote @ ('"' | '\'' | '`'))) => Ok((name, string(quote, chars)?)),
        _ => Err(format!("`{name}`: its value is not quoted")),
    }
}

fn word(text: &str, start: usize, chars: &mut Chars) -> String {
    while chars.next_if(|(_, c)| c.is_alphanumeric() || *c == '_').is_some() {}
    let end = chars.peek().map_or(text.len(), |(at, _)| *at);
    text[start..end].to_owned()
}

/// A string whose opening quote has been read.
fn string(quote: char, chars: &mut Chars) -> Result<String, String> {
    let mut found = String::new();
    loop {
        match chars.next().ok_or("a string without end")?.1 {
            c if c == quote => return Ok(found),
            '\\' if quote != '`' => found.push(escaped(chars)?),
            c => found.push(c),
        }
    }
}

fn escaped(chars: &mut Chars) -> Result<char, String> {
    let digits = |chars: &mut Chars, count| {
        let code: String = chars.by_ref().take(count).map(|(_, c)| c).collect();
        u32::from_str_radix(&code, 16).ok().and_then(char::from_u32).ok_or(format!("`{code}` is no character"))
    };
    match chars.next().ok_or("a string without end")?.1 {
        'n' => Ok('\n'),
        't' => Ok('\t'),
        'r' => Ok('\r'),
        'x' => digits(chars, 2),
        'u' => digits(chars, 4),
        'U' => digits(chars, 8),
        c @ ('\\' | '"' | '\'') => Ok(c),
        c => Err(format!("`\\{c}` is no escape")),
    }
}

/// `1 _ _x5 stale 7x3 1+2x3 {{schema:0}}x2`.
pub fn values(text: &str) -> Result<Vec<Item>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = if rest.starts_with("{{") { histogram_end(rest)? } else { word_end(rest) };
        expand(&rest[..end], &mut found)?;
        rest = rest[end..].trim_start();
    }
    Ok(found)
}

fn word_end(text: &str) -> usize {
    text.find(char::is_whitespace).unwrap_or(text.len())
}

/// Where `{{…}}x5` or `{{…}}+{{…}}x5` ends.
fn histogram_end(text: &str) -> Result<usize, String> {
    let close = text.find("}}").ok_or_else(|| format!("`{text}`: a histogram without end"))? + 2;
    let after = text[close..].strip_prefix(['+', '-']).filter(|next| next.starts_with("{{"));
    match after {
        Some(next) => Ok(text.len() - next.len() + histogram_end(next)?),
        None => Ok(close + word_end(&text[close..])),
    }
}

fn expand(word: &str, found: &mut Vec<Item>) -> Result<(), String> {
    let refuse = || format!("`{word}` is no value");
    let after = word.rfind("}}").map_or(0, |at| at + 2);
    let (what, times) = match word[after..].rsplit_once('x') {
        Some((what, times)) => (&word[..after + what.len()], times.parse().map_err(|_| refuse())?),
        None => (word, 0),
    };
    let repeated = after + what.len() < word.len();
    match what {
        "_" => found.extend(std::iter::repeat_n(Item::Gap, if repeated { times } else { 1 })),
        "stale" => found.extend(std::iter::repeat_n(Item::Float(stale_marker()), times + 1)),
        _ if what.starts_with("{{") => found.extend(std::iter::repeat_n(Item::Histogram, times + 1)),
        _ => {
            let (first, step) = first_and_step(what, repeated).ok_or_else(refuse)?;
            // Step by step, so that rounding accumulates.
            found.extend(
                std::iter::successors(Some(first), |value| Some(value + step)).take(times + 1).map(Item::Float),
            );
        }
    }
    Ok(())
}

fn first_and_step(text: &str, repeated: bool) -> Option<(f64, f64)> {
    if let Some(value) = float(text) {
        return Some((value, 0.0));
    }
    let signs = text.char_indices().skip(1).filter(|(_, c)| repeated && matches!(c, '+' | '-'));
    signs.filter_map(|(at, _)| Some((float(&text[..at])?, float(&text[at..])?))).next()
}

/// A number, hexadecimal and infinite ones too.
pub fn float(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        let value = u64::from_str_radix(hex, 16).ok()? as f64;
        return Some(if negative { -value } else { value });
    }
    let named = digits.eq_ignore_ascii_case("inf") || digits.eq_ignore_ascii_case("nan");
    let looks = named || digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    text.parse().ok().filter(|_| looks)
}

/// A duration such as `1h30m`, or seconds, as milliseconds.
pub fn millis(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * 1_000.0).round() as i64);
    }
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let duration = watchkeeper::duration::parse(text)?;
    Ok(sign * i64::try_from(duration.as_millis()).map_err(|error| error.to_string())?)
}

/// A string as PromQL and Go quote it.
pub fn unquoted(text: &str) -> Result<String, String> {
    let mut chars = text.char_indices().peekable();
    match chars.next() {
        Some((_, quote @ ('"' | '`'))) => {
            let found = string(quote, &mut chars)?;
            if chars.next().is_none() { Ok(found) } else { Err(format!("{text}: goes on after its end")) }
        }
        _ => Err(format!("{text}: is no string")),
    }
}
