//! The notation of series and values in promtool's unit tests.

use std::ops::Range;

use crate::matcher::MatchOp;
use crate::promql::{self, ExprKind};
use crate::sample::{Labels, stale_marker};

/// The most values that one series may have.
const MAX_VALUES: usize = 1_000_000;

/// What is wrong, and where in the text.
pub type Wrong = (usize, String);

/// One series' values at successive intervals; `None` where there is no sample.
/// `1 2 3`, `_`, `_x5` (five gaps), `stale`, `7x3` (four times 7), `1+2x3` (1 3 5 7), `5-1x2`.
pub fn values(text: &str) -> Result<Vec<Option<f64>>, Wrong> {
    let mut all = Vec::new();
    for Range { start, end } in words(text) {
        expand(&text[start..end], &mut all).map_err(|message| (start, message))?;
    }
    Ok(all)
}

/// Whether values are native histograms: `{{schema:0 sum:1}}`.
pub fn are_histograms(text: &str) -> bool {
    text.contains("{{")
}

const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];

fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(|c| !BLANK.contains(&c))?;
        let end = text[start..].find(BLANK).map_or(text.len(), |length| start + length);
        from = end;
        Some(start..end)
    })
}

fn expand(word: &str, all: &mut Vec<Option<f64>>) -> Result<(), String> {
    let refuse = || format!("`{word}` is no value: write 1, _, _x5, stale, 7x3, 1+2x3 or 5-1x2");
    let Written { value, count } = read(word).ok_or_else(refuse)?;
    if all.len().saturating_add(count) > MAX_VALUES {
        return Err(format!("a series of more than {MAX_VALUES} values"));
    }
    match value {
        None => all.extend(std::iter::repeat_n(None, count)),
        // Added up step by step, as Prometheus does: rounding accumulates.
        Some((first, step)) => {
            all.extend(std::iter::successors(Some(first), |value| Some(value + step)).take(count).map(Some));
        }
    }
    Ok(())
}

/// What one word stands for.
struct Written {
    /// The first value and the step; `None` is a gap.
    value: Option<(f64, f64)>,
    count: usize,
}

/// The words are Prometheus's, to the letter: `Infx3`, `0X3` and `_ x3` are none.
fn read(word: &str) -> Option<Written> {
    if let Some(rest) = word.strip_prefix('_') {
        return Some(Written { value: None, count: times(rest)?.unwrap_or(1) });
    }
    if word == "stale" {
        return Some(Written { value: Some((stale_marker(), 0.0)), count: 1 });
    }
    let (first, rest) = number(word)?;
    let (step, rest) = if rest.starts_with(['+', '-']) { number(rest)? } else { (0.0, rest) };
    let times = times(rest)?;
    let stepped = rest.len() < word.len() && step != 0.0;
    if stepped && times.is_none() {
        return None;
    }
    Some(Written { value: Some((first, step)), count: times.unwrap_or(0).saturating_add(1) })
}

/// The number after `x`; `Some(None)` where nothing follows.
fn times(text: &str) -> Option<Option<usize>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.strip_prefix('x').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().map(Some)
}

/// A number with its sign at the start, and what follows it.
fn number(text: &str) -> Option<(f64, &str)> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let word = unsigned.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(unsigned.len());
    let named = &unsigned[..word];
    let (value, length) = match named.to_ascii_lowercase().as_str() {
        "inf" => (f64::INFINITY, word),
        "nan" => (f64::NAN, word),
        _ => {
            let length = decimal_length(unsigned);
            (decimal(&unsigned[..length])?, length)
        }
    };
    let value = if text.starts_with('-') { -value } else { value };
    Some((value, &unsigned[length..]))
}

/// `12.5e-3`: digits, a point, an exponent; underscores are looked at later.
fn decimal_length(text: &str) -> usize {
    let digits = |from: usize| {
        let rest = &text[from..];
        from + rest.find(|c: char| !(c.is_ascii_digit() || c == '_')).unwrap_or(rest.len())
    };
    let mut end = digits(0);
    if text[end..].starts_with('.') {
        end = digits(end + 1);
    }
    let exponent = text[end..].strip_prefix(['e', 'E']);
    match exponent {
        Some(rest) if end > 0 => digits(end + 1 + usize::from(rest.starts_with(['+', '-']))),
        _ => end,
    }
}

/// A number as Prometheus reads it: underscores between digits, `010` is 8, and no overflow.
fn decimal(text: &str) -> Option<f64> {
    let apart = |at: usize| {
        let digit =
            |index: Option<usize>| index.and_then(|index| text.as_bytes().get(index)).is_some_and(u8::is_ascii_digit);
        digit(at.checked_sub(1)) && digit(Some(at + 1))
    };
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let octal = plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|byte| (b'0'..b'8').contains(&byte));
    let value =
        if octal { u64::from_str_radix(&plain, 8).ok().map(|value| value as f64) } else { plain.parse::<f64>().ok() };
    let whole = text.match_indices('_').all(|(at, _)| apart(at));
    value.filter(|value| whole && value.is_finite() && plain.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

/// The labels that `name{a="b"}` names; empty text is no labels.
pub fn series(text: &str) -> Result<Labels, Wrong> {
    if matches!(text.trim(), "" | "{}") {
        return Ok(Labels::default());
    }
    let expr = promql::parse(text).map_err(|error| (error.span.start, error.message))?;
    let ExprKind::Selector(selector) = expr.kind else {
        return Err((0, format!("`{text}` is no series: write name{{label=\"value\"}}")));
    };
    if selector.range.is_some() || selector.offset != 0 {
        return Err((0, format!("`{text}`: a series has neither range nor offset")));
    }
    if let Some(matcher) = selector.matchers.iter().find(|matcher| matcher.op != MatchOp::Equal) {
        return Err((0, format!("`{matcher}`: a series has labels by `=` only")));
    }
    let name = |at: usize| &selector.matchers[at].name;
    if let Some(twice) = (1..selector.matchers.len()).find(|at| (0..*at).any(|before| name(before) == name(*at))) {
        return Err((0, format!("`{text}`: the label {} stands twice", name(twice))));
    }
    Ok(Labels::new(selector.matchers.iter().map(|matcher| (matcher.name.clone(), matcher.value.clone()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::is_stale;

    fn read(text: &str) -> Vec<Option<f64>> {
        values(text).unwrap_or_else(|(at, message)| panic!("{text}: {at}: {message}"))
    }

    fn some(all: &[f64]) -> Vec<Option<f64>> {
        all.iter().copied().map(Some).collect()
    }

    #[test]
    fn values_repeat_and_step_one_more_time_than_they_say() {
        assert_eq!(read("1 -2 3.5e2\n .5"), some(&[1.0, -2.0, 350.0, 0.5]));
        assert_eq!(read("7x2"), some(&[7.0, 7.0, 7.0]));
        assert_eq!(read("0x3"), some(&[0.0; 4]));
        assert_eq!(read("1+2x3"), some(&[1.0, 3.0, 5.0, 7.0]));
        assert_eq!(read("5-1x2"), some(&[5.0, 4.0, 3.0]));
        assert_eq!(read("-2+4x1 -5-1x1"), some(&[-2.0, 2.0, -5.0, -6.0]));
        assert_eq!(read("1e1+1e-1x1"), some(&[10.0, 10.1]));
        assert_eq!(read("Inf -Inf"), some(&[f64::INFINITY, f64::NEG_INFINITY]));
        assert!(read("NaN")[0].is_some_and(f64::is_nan));
        assert_eq!(read("1_000 5. 1e1_0 010 0x1"), some(&[1e3, 5.0, 1e10, 8.0, 0.0, 0.0]));
        assert_eq!(read("1 +2x1 nan+1x0").len(), 4);
    }

    #[test]
    fn gaps_are_as_many_as_they_say() {
        assert_eq!(read("_ 1 _x2 2 _x0"), [None, Some(1.0), None, None, Some(2.0)]);
        assert!(read("stale")[0].is_some_and(is_stale));
    }

    #[test]
    fn steps_accumulate_their_rounding() {
        assert_eq!(read("0+0.1x3")[3], Some(0.1 + 0.1 + 0.1));
        assert_ne!(read("0+0.1x3")[3], Some(0.3));
    }

    #[test]
    fn what_is_no_value_is_refused_where_it_stands() {
        for (text, at) in [
            ("1 x", 2),
            ("1 2x", 2),
            ("a", 0),
            ("1  stalex2", 3),
            ("1+2", 0),
            ("1 {{schema:1}}", 2),
            ("Infx3", 0),
            ("1+Infx2", 0),
            ("Stale", 0),
            ("_ x3", 2),
            ("_x", 0),
            ("__", 0),
            ("1x3.0", 0),
            ("1x3_", 0),
            ("0X3", 0),
            ("1++2x3", 0),
            ("1e400", 0),
            ("5m", 0),
            ("1__0", 0),
            ("1_", 0),
            ("infinity", 0),
            ("--1", 0),
            ("1x1000000", 0),
            ("1\u{a0}2", 0),
        ] {
            assert_eq!(values(text).expect_err(text).0, at, "{text}");
        }
    }
}
