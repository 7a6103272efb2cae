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

fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(|c: char| !c.is_whitespace())?;
        let end = text[start..].find(char::is_whitespace).map_or(text.len(), |length| start + length);
        from = end;
        Some(start..end)
    })
}

fn expand(word: &str, all: &mut Vec<Option<f64>>) -> Result<(), String> {
    if word.contains("{{") {
        return Err("native histograms ({{…}}) are not supported by this version".to_owned());
    }
    let refuse = || format!("`{word}` is no value: write 1, _, _x5, stale, 7x3, 1+2x3 or 5-1x2");
    let (what, times) = match word.rsplit_once('x') {
        Some((what, times)) => (what, Some(times.parse::<usize>().map_err(|_| refuse())?)),
        None => (word, None),
    };
    let count = times.unwrap_or(0);
    if all.len().saturating_add(count) >= MAX_VALUES {
        return Err(format!("a series of more than {MAX_VALUES} values"));
    }
    match what {
        "_" => all.extend(std::iter::repeat_n(None, times.unwrap_or(1))),
        "stale" if times.is_none() => all.push(Some(stale_marker())),
        _ => {
            let (first, step) = first_and_step(what, times.is_some()).ok_or_else(refuse)?;
            // Added up step by step, as Prometheus does: rounding accumulates.
            all.extend(std::iter::successors(Some(first), |value| Some(value + step)).take(count + 1).map(Some));
        }
    }
    Ok(())
}

/// `1+2` as (1, 2), `5-1` as (5, -1), `7` as (7, 0).
fn first_and_step(text: &str, repeated: bool) -> Option<(f64, f64)> {
    if let Some(value) = number(text) {
        return Some((value, 0.0));
    }
    let signs = text.char_indices().skip(1).filter(|(_, c)| repeated && matches!(c, '+' | '-'));
    let mut split = signs.filter_map(|(at, _)| Some((number(&text[..at])?, number(&text[at..])?)));
    split.next()
}

fn number(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['+', '-']);
    let named = digits.eq_ignore_ascii_case("inf") || digits.eq_ignore_ascii_case("nan");
    let looks = named || digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    text.parse().ok().filter(|_| looks && text.len() - digits.len() <= 1)
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
            ("--1", 0),
            ("1x1000000", 0),
        ] {
            assert_eq!(values(text).expect_err(text).0, at, "{text}");
        }
    }
}
