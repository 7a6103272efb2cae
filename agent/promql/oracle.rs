//! Our answers beside those of others: a real Prometheus's, computed once (tests/promql/generate), and those of
//! another parser.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::{Select, Series, Value, evaluate, parse};
use crate::matcher::Matcher;
use crate::sample::{Labels, Sample, Timestamp};

#[derive(Deserialize)]
struct Recorded {
    at: Timestamp,
    series: Vec<(Labels, String)>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    expr: String,
    scalar: Option<String>,
    vector: Option<Vec<(Labels, String)>>,
    fails: Option<String>,
}

/// A value as the recording writes it: the bits of a float, any NaN being one.
fn exact(value: f64) -> String {
    if value.is_nan() { "nan".into() } else { format!("{:016x}", value.to_bits()) }
}

struct Fixed(Vec<Sample>);

impl Select for Fixed {
    fn instant(&self, matchers: &[Matcher], _: Timestamp, _: i64) -> Vec<Sample> {
        let selected = |sample: &&Sample| matchers.iter().all(|matcher| matcher.matches_labels(&sample.labels));
        self.0.iter().filter(selected).cloned().collect()
    }

    fn range(&self, _: &[Matcher], _: Timestamp, _: Timestamp) -> Vec<Series> {
        Vec::new()
    }
}

fn from_bits(text: &str) -> f64 {
    u64::from_str_radix(text, 16).map_or(f64::NAN, f64::from_bits)
}

fn answer(expr: &str, data: &Fixed, at: Timestamp) -> Result<Value, String> {
    let expr = parse(expr).map_err(|error| error.message)?;
    evaluate(&expr, data, at).map_err(|error| error.message)
}

/// Whether two recorded values agree. Powers may differ in the last place, as libraries of mathematics do.
fn agree(expr: &str, ours: &str, theirs: &str) -> bool {
    let close = |a: f64, b: f64| (a - b).abs() <= a.abs() * 1e-15;
    ours == theirs || (expr.contains('^') && close(from_bits(ours), from_bits(theirs)))
}

fn difference(case: &Case, ours: Result<Value, String>) -> Option<String> {
    let describe = |what: String| Some(format!("{}\n    {what}", case.expr));
    match (ours, &case.scalar, &case.vector, &case.fails) {
        (Err(_), None, None, Some(_)) => None,
        (Ok(Value::Scalar(ours)), Some(theirs), ..) => {
            if agree(&case.expr, &exact(ours), theirs) {
                None
            } else {
                describe(format!("{ours} instead of {theirs}"))
            }
        }
        (Ok(Value::Vector(ours)), _, Some(theirs), _) => {
            let ours: BTreeMap<Labels, String> =
                ours.into_iter().map(|sample| (sample.labels, exact(sample.value))).collect();
            let theirs: BTreeMap<Labels, String> = theirs.iter().cloned().collect();
            let same = ours.len() == theirs.len()
                && ours
                    .iter()
                    .all(|(labels, value)| theirs.get(labels).is_some_and(|other| agree(&case.expr, value, other)));
            if same { None } else { describe(format!("{ours:?}\n    instead of {theirs:?}")) }
        }
        (ours, ..) => describe(format!("{ours:?} instead of {:?}", case.fails)),
    }
}

#[test]
fn a_thousand_expressions_are_worth_what_prometheus_says() {
    let recorded: Recorded = serde_json::from_str(include_str!("../../tests/promql/instant.json")).unwrap();
    let samples =
        recorded.series.iter().map(|(labels, value)| Sample { labels: labels.clone(), value: from_bits(value) });
    let data = Fixed(samples.collect());
    let at = recorded.at * 1_000;
    let wrong: Vec<String> =
        recorded.cases.iter().filter_map(|case| difference(case, answer(&case.expr, &data, at))).collect();
    assert!(recorded.cases.len() >= 1_000);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), recorded.cases.len(), wrong.join("\n"));
}

/// Expressions of this version's language, as text.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "a",
            "b{c=\"d\"}",
            "{e=~\"f|g\",h!=\"\"}",
            "up:sum",
            "time()",
            "1",
            "2.5",
            "1e3",
            "Inf"
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,3}_m".prop_map(|name| format!("{name}{{x!~\"y.+\"}}")),
    ];
    leaf.prop_recursive(5, 40, 2, |inner| {
        let ops = ["+", "-", "*", "/", "%", "^", "== bool", ">", "<= on (a)", "and", "or ignoring (b, c)", "unless"];
        let sums = ["sum", "min by (a)", "max without (b, c)", "avg", "count", "absent"];
        prop_oneof![
            (inner.clone(), prop::sample::select(ops.to_vec()), inner.clone())
                .prop_map(|(l, op, r)| format!("{l} {op} {r}")),
            (prop::sample::select(sums.to_vec()), inner.clone()).prop_map(|(op, operand)| format!("{op}({operand})")),
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.prop_map(|inner| format!("-{inner}")),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_back_is_the_same_tree(text in expression()) {
        if let Ok(expr) = parse(&text) {
            let written = expr.to_string();
            prop_assert_eq!(parse(&written).expect(&written), expr);
        }
    }

    /// Known differences: the other parser allows a sign before a string, which is not generated here.
    #[test]
    fn another_parser_accepts_and_refuses_the_same(text in expression()) {
        let (ours, theirs) = (parse(&text), promql_parser::parser::parse(&text));
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}: {:?} / {:?}", text, ours.err(), theirs.err());
    }

    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,60}") {
        drop(parse(&text));
    }

    #[test]
    fn no_sequence_of_tokens_breaks_the_parser(words in prop::collection::vec(
        prop::sample::select(vec!["(", ")", "{", "}", ",", "a", "sum", "by", "on", "-", "+", "and", "1", "\"x\"", "=", "==", "[", "@", "bool"]), 0..30)
    ) {
        drop(parse(&words.join(" ")));
    }
}
