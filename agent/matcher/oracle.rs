//! Patterns beside a real Prometheus's (tests/promql/patterns_cases.py).

use serde::Deserialize;

use super::{MatchOp, Matcher};

#[derive(Deserialize)]
struct Recorded {
    values: Vec<String>,
    /// A pattern, and which of the values it matches; nothing where RE2 refuses it.
    cases: Vec<(String, Option<Vec<usize>>)>,
}

/// What RE2 takes and we refuse by name, and why.
const REFUSED: [(&str, &str); 6] = [
    ("\\Ba", "Rust's engine has no ASCII \\B over text"),
    ("a\\B", "as above"),
    ("\\p{Cs}", "no text holds a surrogate"),
    ("\\p{Cn}", "the two know other versions of Unicode"),
    ("(?P<n>a)(?P<n>b)", "which of the two $n means could not be said"),
    ("(?<1n>a)", "a name that begins with a digit could not be told from a number"),
];

fn difference(values: &[String], pattern: &str, theirs: Option<&Vec<usize>>) -> Option<String> {
    let ours = Matcher::new("a", MatchOp::Regex, pattern).map(|matcher| {
        let matched = values.iter().enumerate().filter(|(_, value)| matcher.matches(value));
        matched.map(|(place, _)| place).collect::<Vec<_>>()
    });
    match (&ours, theirs) {
        (Ok(ours), Some(theirs)) if ours == theirs => None,
        (Err(_), None) => None,
        (Err(_), Some(_)) if REFUSED.iter().any(|(refused, _)| *refused == pattern) => None,
        _ => Some(format!("{pattern:?}: {ours:?} instead of {theirs:?}")),
    }
}

#[test]
fn patterns_match_what_prometheus_matches() {
    let recorded: Recorded = serde_json::from_str(include_str!("../../tests/promql/patterns.json")).unwrap();
    assert!(recorded.cases.len() >= 300);
    let differs =
        |(pattern, theirs): &(String, Option<Vec<usize>>)| difference(&recorded.values, pattern, theirs.as_ref());
    let wrong: Vec<String> = recorded.cases.iter().filter_map(differs).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), recorded.cases.len(), wrong.join("\n"));
}
