//! What was expected beside what came, in words.

use std::fmt::Write;

use super::format::ExpectedAlert;
use crate::sample::{Labels, Sample};

/// The difference between two sets of alerts; `None` when they are equal.
pub fn alerts(expected: &[ExpectedAlert], mut unexpected: Vec<ExpectedAlert>) -> Option<String> {
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
        let _ = write!(text, "\n    expected, not firing: {}", alert.labels);
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
    let names: std::collections::BTreeSet<&String> =
        expected.annotations.keys().chain(got.annotations.keys()).collect();
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
    Some(format!("\n    expected: {}\n    got:      {}", list(&expected), list(&got)))
}

fn equal(a: f64, b: f64, fuzzy: bool) -> bool {
    a == b || (fuzzy && (a == b.next_up() || a == b.next_down()))
}

fn list(samples: &[(Labels, f64)]) -> String {
    if samples.is_empty() {
        return "nothing".to_owned();
    }
    samples.iter().map(|(labels, value)| format!("{labels} {value:?}")).collect::<Vec<_>>().join(", ")
}
