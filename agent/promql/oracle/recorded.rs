//! The values of recorded expressions.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::matcher::Matcher;
use crate::promql::{Point, Select, Series, Settings, Value, evaluate, parse};
use crate::sample::{Labels, Sample, Timestamp, is_stale, stale_marker};

#[derive(Deserialize)]
struct Recorded<T> {
    /// Seconds.
    at: Timestamp,
    /// Samples as text.
    series: Vec<(Labels, String)>,
    cases: Vec<T>,
}

#[derive(Deserialize)]
struct Case {
    expr: String,
    /// How long before the recording's time it was asked, milliseconds.
    #[serde(default)]
    ago: i64,
    scalar: Option<String>,
    vector: Option<Vec<(Labels, String)>>,
    fails: Option<String>,
}

/// Series over time, by their labels.
struct Fixed(Vec<Series>);

impl Fixed {
    fn matching<'a>(&'a self, matchers: &'a [Matcher]) -> impl Iterator<Item = &'a Series> {
        self.0.iter().filter(|series| matchers.iter().all(|matcher| matcher.matches_labels(&series.labels)))
    }
}

impl Select for Fixed {
    fn instant(&self, matchers: &[Matcher], at: Timestamp, lookback: i64) -> Vec<Sample> {
        let newest = |series: &Series| {
            let point = series.points.iter().rev().find(|point| point.at <= at)?;
            let shown = point.at > at - lookback && !is_stale(point.value);
            shown.then(|| Sample { labels: series.labels.clone(), value: point.value })
        };
        self.matching(matchers).filter_map(newest).collect()
    }

    fn range(
        &self,
        matchers: &[Matcher],
        after: Timestamp,
        until: Timestamp,
        visit: &mut dyn FnMut(&Labels, &[Point]),
    ) {
        for Series { labels, points } in self.matching(matchers) {
            let from = points.partition_point(|point| point.at <= after);
            let to = points.partition_point(|point| point.at <= until);
            if from < to {
                visit(labels, &points[from..to]);
            }
        }
    }
}

fn answer(expr: &str, data: &Fixed, at: Timestamp) -> Result<Value, String> {
    let expr = parse(expr).map_err(|error| error.message)?;
    evaluate(&expr, data, at, &Settings::default()).map_err(|error| error.message)
}

/// Whether two values agree: to the last bit, any NaN being one. Powers and the exponential may differ in
/// the last place, as libraries of mathematics do.
fn agree(expr: &str, ours: f64, theirs: f64) -> bool {
    let roughly = ["^", "exp("].iter().any(|word| expr.contains(word));
    let same = ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan());
    same || (roughly && (ours - theirs).abs() <= ours.abs() * 1e-15)
}

fn difference(case: &Case, ours: Result<Value, String>, read: fn(&str) -> f64) -> Option<String> {
    let describe = |what: String| Some(format!("{} (ago {})\n    {what}", case.expr, case.ago));
    match (ours, &case.scalar, &case.vector, &case.fails) {
        (Err(_), None, None, Some(_)) => None,
        (Ok(Value::Scalar(ours)), Some(theirs), ..) => {
            if agree(&case.expr, ours, read(theirs)) {
                None
            } else {
                describe(format!("{ours} instead of {theirs}"))
            }
        }
        (Ok(Value::Vector(ours)), _, Some(theirs), _) => {
            let ours: BTreeMap<Labels, f64> = ours.into_iter().map(|sample| (sample.labels, sample.value)).collect();
            let theirs: BTreeMap<Labels, f64> =
                theirs.iter().map(|(labels, value)| (labels.clone(), read(value))).collect();
            let agrees = |(labels, value): (&Labels, &f64)| {
                theirs.get(labels).is_some_and(|other| agree(&case.expr, *value, *other))
            };
            let same = ours.len() == theirs.len() && ours.iter().all(agrees);
            if same { None } else { describe(format!("{ours:?}\n    instead of {theirs:?}")) }
        }
        (ours, ..) => describe(format!("{ours:?} instead of {:?} {:?}", case.fails, case.vector)),
    }
}

fn check(recorded: &Recorded<Case>, data: &Fixed, read: fn(&str) -> f64) {
    let ask = |case: &Case| answer(&case.expr, data, recorded.at * 1_000 - case.ago);
    let wrong: Vec<String> = recorded.cases.iter().filter_map(|case| difference(case, ask(case), read)).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), recorded.cases.len(), wrong.join("\n"));
}

/// The bits of a float.
fn from_bits(text: &str) -> f64 {
    u64::from_str_radix(text, 16).map_or(f64::NAN, f64::from_bits)
}

fn from_decimal(text: &str) -> f64 {
    if text == "stale" { stale_marker() } else { text.parse().unwrap() }
}

#[test]
fn a_thousand_expressions_over_instants_are_worth_what_prometheus_says() {
    let recorded: Recorded<Case> = serde_json::from_str(include_str!("../../../tests/promql/instant.json")).unwrap();
    let point = |value: &str| Point { at: recorded.at * 1_000, value: from_bits(value) };
    let series = recorded.series.iter();
    let data = series.map(|(labels, value)| Series { labels: labels.clone(), points: vec![point(value)] }).collect();
    assert!(recorded.cases.len() >= 1_000);
    check(&recorded, &Fixed(data), from_bits);
}

#[test]
fn thousands_of_expressions_over_ranges_are_worth_what_prometheus_says() {
    let recorded: Recorded<Case> = serde_json::from_str(include_str!("../../../tests/promql/range.json")).unwrap();
    let point = |pair: &[&str]| Point {
        at: recorded.at * 1_000 + pair[0].parse::<i64>().unwrap(),
        value: from_decimal(pair[1]),
    };
    let points = |text: &str| text.split(' ').collect::<Vec<_>>().chunks(2).map(point).collect();
    let series = recorded.series.iter();
    let mut data: Vec<Series> =
        series.map(|(labels, text)| Series { labels: labels.clone(), points: points(text) }).collect();
    data.sort_by(|a, b| a.labels.cmp(&b.labels));
    assert!(recorded.cases.len() >= 2_000);
    check(&recorded, &Fixed(data), from_decimal);
}
