//! `label_replace` and `label_join`.

use regex::{Captures, Regex};

use crate::sample::{Labels, Sample};

/// Sets a label of those series whose `source` label the pattern matches to the replacement, expanded. An empty value
/// removes it.
pub fn replace(samples: &mut [Sample], destination: &str, replacement: &str, source: &str, pattern: &Regex) {
    for sample in samples {
        let value = pattern.captures(sample.labels.get(source)).map(|captures| expand(replacement, &captures));
        if let Some(value) = value {
            sample.labels = sample.labels.with(destination, &value);
        }
    }
}

/// Sets a label to the values of others, joined.
pub fn join(samples: &mut [Sample], destination: &str, separator: &str, sources: &[&str]) {
    let joined = |labels: &Labels| sources.iter().map(|source| labels.get(source)).collect::<Vec<_>>().join(separator);
    for sample in samples {
        sample.labels = sample.labels.with(destination, &joined(&sample.labels));
    }
}

/// Go's expansion: `$1`, `${1}`, `$name`, `${name}`; `$$` is a dollar; a group that is not there is empty. A dollar that
/// no name follows stands for itself.
fn expand(template: &str, captures: &Captures<'_>) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        rest = match after.strip_prefix('$') {
            Some(after) => {
                text.push('$');
                after
            }
            None => match reference(after) {
                Some((name, after)) => {
                    text.push_str(group(name, captures));
                    after
                }
                None => {
                    text.push('$');
                    after
                }
            },
        };
    }
    text + rest
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
            assert_eq!(expand(template, &captures), text, "{template}");
        }
    }
}
