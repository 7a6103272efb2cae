//! `label_replace` and `label_join`.

use regex::{Captures, Regex};

use crate::sample::{Labels, Sample};

/// How long a value may become, bytes. Nested calls multiply text: ten of `"$1$1$1$1"` make a million times as much.
const VALUE_LIMIT: usize = 64 * 1024;
/// What a value may take freely. The bytes beyond count as work.
const FREE: usize = 256;

/// Why values were not made: one is too long, or all together take more than there is room for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{function} makes more text than is allowed: label values of {VALUE_LIMIT} bytes, and 50 MB in all")]
pub struct TooLong {
    function: &'static str,
}

/// Sets a label of those series whose `source` label the pattern matches to the replacement, expanded. An empty value
/// removes it. Gives how much work that was, at most `room`.
pub fn replace(
    samples: &mut [Sample],
    destination: &str,
    replacement: &str,
    source: &str,
    pattern: &Regex,
    room: usize,
) -> Result<usize, TooLong> {
    set(samples, destination, room, |labels| {
        let Some(captures) = pattern.captures(labels.get(source)) else { return Some(None) };
        expand(replacement, &captures).map(Some)
    })
    .ok_or(TooLong { function: "label_replace" })
}

/// Sets a label to the values of others, joined. Gives how much work that was, at most `room`.
pub fn join(
    samples: &mut [Sample],
    destination: &str,
    separator: &str,
    sources: &[&str],
    room: usize,
) -> Result<usize, TooLong> {
    set(samples, destination, room, |labels| joined(labels, separator, sources).map(Some))
        .ok_or(TooLong { function: "label_join" })
}

/// Sets the label to what `value` makes; none within is no change, none without is too long.
fn set(
    samples: &mut [Sample],
    destination: &str,
    room: usize,
    value: impl Fn(&Labels) -> Option<Option<String>>,
) -> Option<usize> {
    let mut work = 0;
    for sample in samples {
        let Some(value) = value(&sample.labels)? else { continue };
        work += value.len().saturating_sub(FREE);
        if work > room {
            return None;
        }
        sample.labels = sample.labels.with(destination, &value);
    }
    Some(work)
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

    #[test]
    fn replacements_are_expanded_as_in_go() {
        let pattern = Regex::new("^(?P<name>[a-z]+)-([0-9]+)$").unwrap();
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

    #[test]
    fn text_that_multiplies_is_bounded() {
        let pattern = Regex::new("^(?s:(.*))$").unwrap();
        let of = |length: usize| {
            let labels = Labels::new([("a", "x".repeat(length).as_str())]);
            vec![Sample { labels, value: 0.0 }; 3]
        };
        assert_eq!(replace(&mut of(100), "b", "$1$1", "a", &pattern, 0), Ok(0), "short values are free");
        assert_eq!(replace(&mut of(1_000), "b", "$1", "a", &pattern, 10_000), Ok(3 * 744));
        assert!(replace(&mut of(1_000), "b", "$1", "a", &pattern, 2_000).is_err(), "all together");
        assert!(replace(&mut of(40_000), "b", "$1$1", "a", &pattern, usize::MAX).is_err(), "one alone");
        assert!(join(&mut of(40_000), "b", "", &["a", "a"], usize::MAX).is_err());
    }
}
