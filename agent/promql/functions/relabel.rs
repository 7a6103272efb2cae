//! `label_replace` and `label_join`.

use regex::Captures;

use crate::matcher::Compiled;
use crate::sample::{Labels, Sample};

/// How long a value may become, bytes. Nested calls multiply text: ten of `"$1$1$1$1"` make a million times as much.
const VALUE_LIMIT: usize = 64 * 1024;
/// What a value may take freely. The bytes beyond count as work.
const FREE: usize = 256;
/// How many bytes of a compiled pattern make it twice as hard to match, and then so many of a value as a sample's work.
const PATTERN_BYTES: usize = 16 * 1024;
const VALUE_BYTES: usize = 64;

/// Why values were not made: one is too long, or all together take more than there is room for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{function} makes more text than is allowed: label values of {VALUE_LIMIT} bytes, and 50 MB in all")]
pub struct TooLong {
    function: &'static str,
}

/// How far a piece of it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// How many samples were looked at.
    pub samples: usize,
    /// How much work the making of text was.
    pub work: usize,
    /// How much of [`Bounds::effort`] they took.
    pub effort: usize,
}

/// How much may be done.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// See [`Piece::work`].
    pub room: usize,
    /// How many plain samples may be looked at in one piece; of what is harder to match, fewer.
    pub effort: usize,
}

/// Sets a label of those series whose `source` label the pattern matches to the replacement, expanded. An empty value
/// removes it.
pub fn replace(
    samples: &mut [Sample],
    destination: &str,
    replacement: &str,
    source: &str,
    pattern: &Compiled,
    bounds: Bounds,
) -> Result<Piece, TooLong> {
    let hardness = 1 + pattern.size / PATTERN_BYTES;
    let effort = |labels: &Labels| 1 + (labels.get(source).len() * hardness + replacement.len()) / VALUE_BYTES;
    set(samples, destination, bounds, effort, |labels| {
        let Some(captures) = pattern.regex.captures(labels.get(source)) else { return Some(None) };
        expand(replacement, &captures).map(Some)
    })
    .ok_or(TooLong { function: "label_replace" })
}

/// Sets a label to the values of others, joined.
pub fn join(
    samples: &mut [Sample],
    destination: &str,
    separator: &str,
    sources: &[&str],
    bounds: Bounds,
) -> Result<Piece, TooLong> {
    let effort = |_: &Labels| 1 + sources.len() / 8;
    set(samples, destination, bounds, effort, |labels| joined(labels, separator, sources).map(Some))
        .ok_or(TooLong { function: "label_join" })
}

/// Sets the label to what `value` makes; none within is no change, none without is too long.
fn set(
    samples: &mut [Sample],
    destination: &str,
    bounds: Bounds,
    effort: impl Fn(&Labels) -> usize,
    value: impl Fn(&Labels) -> Option<Option<String>>,
) -> Option<Piece> {
    let mut piece = Piece { samples: 0, work: 0, effort: 0 };
    for sample in samples {
        if piece.effort >= bounds.effort {
            break;
        }
        piece.effort += effort(&sample.labels);
        piece.samples += 1;
        let Some(value) = value(&sample.labels)? else { continue };
        let long = value.len().saturating_sub(FREE);
        (piece.work, piece.effort) = (piece.work + long, piece.effort + long / FREE);
        if piece.work > bounds.room {
            return None;
        }
        sample.labels = sample.labels.with(destination, &value);
    }
    Some(piece)
}

fn joined(labels: &Labels, separator: &str, sources: &[&str]) -> Option<String> {
    let mut text = String::new();
    for (index, source) in sources.iter().enumerate() {
        append(&mut text, if index > 0 { separator } else { "" })?;
        append(&mut text, labels.get(source))?;
    }
    Some(text)
}

/// None where the text would become too long.
fn append(text: &mut String, more: &str) -> Option<()> {
    let fits = text.len() + more.len() <= VALUE_LIMIT;
    if fits {
        text.push_str(more);
    }
    fits.then_some(())
}

/// Go's expansion: `$1`, `${1}`, `$name`, `${name}`; `$$` is a dollar; a group that is not there is empty. A dollar that
/// no name follows stands for itself. None is too long.
fn expand(template: &str, captures: &Captures<'_>) -> Option<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        append(&mut text, before)?;
        rest = match after.strip_prefix('$') {
            Some(after) => {
                append(&mut text, "$")?;
                after
            }
            None => match reference(after) {
                Some((name, after)) => {
                    append(&mut text, group(name, captures))?;
                    after
                }
                None => {
                    append(&mut text, "$")?;
                    after
                }
            },
        };
    }
    append(&mut text, rest)?;
    Some(text)
}

/// The name behind a dollar, and what follows.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (inner, braced) = text.strip_prefix('{').map_or((text, false), |inner| (inner, true));
    let end = inner.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    let after = if braced { after.strip_prefix('}')? } else { after };
    (!name.is_empty()).then_some((name, after))
}

fn group<'a>(name: &str, captures: &Captures<'a>) -> &'a str {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let found = if is_number { captures.get(name.parse().unwrap_or(usize::MAX)) } else { captures.name(name) };
    found.map_or("", |found| found.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::anchored;

    #[test]
    fn replacements_are_expanded_as_in_go() {
        let pattern = anchored("(?P<name>[a-z]+)-([0-9]+)").unwrap().regex;
        let captures = pattern.captures("ab-12").unwrap();
        for (template, text) in [
            ("$1/$2", "ab/12"),
            ("${1}x$2", "abx12"),
            ("$1x", ""),
            ("$name ${name}", "ab ab"),
            ("$$1 $", "$1 $"),
            ("$9$nope.", "."),
            ("${1", "${1"),
            ("$ {}${}", "$ {}${}"),
            ("$0", "ab-12"),
        ] {
            assert_eq!(expand(template, &captures).as_deref(), Some(text), "{template}");
        }
    }

    const ALL: Bounds = Bounds { room: usize::MAX, effort: usize::MAX };

    fn of(length: usize) -> Vec<Sample> {
        let labels = Labels::new([("a", "x".repeat(length).as_str())]);
        vec![Sample { labels, value: 0.0 }; 3]
    }

    #[test]
    fn text_that_multiplies_is_bounded() {
        let pattern = anchored("(.*)").unwrap();
        let replace = |length, to, room| replace(&mut of(length), "b", to, "a", &pattern, Bounds { room, ..ALL });
        assert_eq!(replace(100, "$1$1", 0).unwrap().work, 0, "short values are free");
        assert_eq!(replace(1_000, "$1", 10_000).unwrap().work, 3 * 744);
        assert!(replace(1_000, "$1", 2_000).is_err(), "all together");
        assert!(replace(40_000, "$1$1", usize::MAX).is_err(), "one alone");
        assert!(join(&mut of(40_000), "b", "", &["a", "a"], ALL).is_err());
    }

    #[test]
    fn the_longer_a_value_the_fewer_are_in_a_piece() {
        let (plain, large) = (anchored("(.*)").unwrap(), anchored(r"\pL{40}").unwrap());
        let samples = |length, pattern| {
            let piece = replace(&mut of(length), "b", "$1", "a", pattern, Bounds { effort: 3, ..ALL });
            piece.unwrap().samples
        };
        assert_eq!((samples(10, &plain), samples(1_000, &plain), samples(10, &large)), (3, 1, 1));
    }
}
