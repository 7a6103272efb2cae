//! What was expected beside what came, in words.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::format::ExpectedAlert;
use crate::sample::{Labels, Sample};

/// The difference between two sets of alerts; `None` when they are equal. `pending` are labels of alerts that do not
/// fire yet.
pub fn alerts(expected: &[ExpectedAlert], mut unexpected: Vec<ExpectedAlert>, pending: &[&Labels]) -> Option<String> {
    let mut missing = Vec::new();
    for alert in expected {
        match unexpected.iter().position(|got| got == alert) {
            Some(at) => drop(unexpected.swap_remove(at)),
            None => missing.push(alert),
        }
    }
    unexpected.sort();
    let mut text = String::new();
    missing.retain(|alert| match unexpected.iter().position(|got| got.labels == alert.labels) {
        Some(at) => {
            annotations(&mut text, alert, &unexpected.remove(at));
            false
        }
        None => true,
    });
    for alert in missing {
        let only = if pending.contains(&&alert.labels) { " (it is pending)" } else { "" };
        let _ = write!(text, "\n    expected, not firing: {}{only}", alert.labels);
        text.extend(nearest(&alert.labels, &unexpected));
    }
    for alert in unexpected {
        let _ = write!(text, "\n    firing, not expected: {}", alert.labels);
        for (name, value) in &alert.annotations {
            let _ = write!(text, "\n        {name}: {value:?}");
        }
    }
    (!text.is_empty()).then_some(text)
}

fn annotations(text: &mut String, expected: &ExpectedAlert, got: &ExpectedAlert) {
    let _ = write!(text, "\n    annotations of {}:", expected.labels);
    let names: BTreeSet<&String> = expected.annotations.keys().chain(got.annotations.keys()).collect();
    for name in names {
        let (wanted, found) = (expected.annotations.get(name), got.annotations.get(name));
        if wanted != found {
            let _ = write!(text, "\n        {name}: expected {}, got {}", quoted(wanted), quoted(found));
        }
    }
}

fn quoted(text: Option<&String>) -> String {
    text.map_or("none".to_owned(), |text| format!("{text:?}"))
}

/// The difference between two vectors. Values compare exactly, so that NaN equals nothing; where `fuzzy`, a
/// neighbouring float is equal too.
pub fn samples(expected: &[(Labels, f64)], got: Vec<Sample>, fuzzy: bool) -> Option<String> {
    let mut expected: Vec<(Labels, f64)> = expected.to_vec();
    let mut got: Vec<(Labels, f64)> = got.into_iter().map(|sample| (sample.labels, sample.value)).collect();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    got.sort_by(|a, b| a.0.cmp(&b.0));
    let same = |(a, b): (&(Labels, f64), &(Labels, f64))| a.0 == b.0 && equal(a.1, b.1, fuzzy);
    if expected.len() == got.len() && expected.iter().zip(&got).all(same) {
        return None;
    }
    Some(differences(&expected, &got, fuzzy))
}

/// One line for each sample that differs.
fn differences(expected: &[(Labels, f64)], got: &[(Labels, f64)], fuzzy: bool) -> String {
    let mut text = String::new();
    let mut left: Vec<&(Labels, f64)> = got.iter().collect();
    for (labels, value) in expected {
        let found = left.iter().position(|(found, _)| found == labels).map(|at| left.remove(at).1);
        let _ = match found {
            None => write!(text, "\n    expected, missing: {labels} {value:?}"),
            Some(found) if equal(*value, found, fuzzy) => Ok(()),
            Some(found) if found.is_nan() && value.is_nan() => {
                write!(text, "\n    {labels}: NaN is equal to nothing, not even itself: test for it with `!=`")
            }
            Some(found) => write!(text, "\n    {labels}: expected {value:?}, got {found:?}"),
        };
    }
    for (labels, value) in left {
        let _ = write!(text, "\n    got, not expected: {labels} {value:?}");
    }
    text
}

/// The labels in which the most similar of the other alerts differs, where these are few.
fn nearest(labels: &Labels, others: &[ExpectedAlert]) -> Option<String> {
    let names = |other: &Labels| -> BTreeSet<String> {
        let all = labels.iter().chain(other.iter()).map(|label| label.name.to_string());
        all.filter(|name| labels.get(name) != other.get(name)).collect()
    };
    let (other, names) =
        others.iter().map(|other| (other, names(&other.labels))).min_by_key(|(_, names)| names.len())?;
    let differ = |name: &String| format!("{name}: expected {:?}, got {:?}", labels.get(name), other.labels.get(name));
    let close = names.len() <= 2;
    close.then(|| {
        format!(
            "\n        differs from {}\n        in {}",
            other.labels,
            names.iter().map(differ).collect::<Vec<_>>().join("; ")
        )
    })
}

fn equal(a: f64, b: f64, fuzzy: bool) -> bool {
    a == b || (fuzzy && (a == b.next_up() || a == b.next_down()))
}
