//! The values of recorded expressions.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::fixed::Fixed;
use crate::api::prometheus::{Notes, placed};
use crate::promql::{
    EvalError, Evaluation, Expr, Point, Select, Series, Settings, Steps, Value, evaluate, evaluate_range, parse,
};
use crate::sample::{Labels, Timestamp, stale_marker};

#[derive(Deserialize)]
struct Recorded {
    /// Seconds.
    at: Timestamp,
    /// Samples as text.
    series: Vec<(Labels, String)>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    expr: String,
    /// How long before the recording's time it was asked, milliseconds.
    #[serde(default)]
    ago: i64,
    /// Start and end, as milliseconds after the recording's time, and step of a range query.
    range: Option<(i64, i64, i64)>,
    scalar: Option<String>,
    vector: Option<Vec<(Labels, String)>>,
    matrix: Option<Vec<(Labels, String)>>,
    string: Option<String>,
    fails: Option<String>,
    /// Warnings and infos, where they were recorded.
    notes: Option<Vec<String>>,
    /// What the failure says, where it was recorded.
    why: Option<String>,
    /// Whether the order of the vector counts.
    #[serde(default)]
    ordered: bool,
}

/// An answer of either side, with times as milliseconds after the recording's.
type Answer = Result<Values, String>;

#[derive(Debug, Default)]
struct Values {
    series: BTreeMap<Labels, Vec<Point>>,
    /// Of a vector the labels in their order.
    order: Vec<Labels>,
    string: Option<String>,
    notes: Vec<String>,
}

/// How a recording writes a float.
type Read = fn(&str) -> f64;

impl Recorded {
    fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap()
    }

    /// The samples, of a file that writes them as pairs of time and value.
    fn samples(&self) -> Fixed {
        let series = |(labels, text): &(Labels, String)| {
            let points = points(text, from_decimal).into_iter();
            let points = points.map(|point| Point { at: self.at * 1_000 + point.at, ..point }).collect();
            Series { labels: labels.clone(), points }
        };
        let mut all: Vec<Series> = self.series.iter().map(series).collect();
        // As Prometheus has them: a sum's last digits depend on the order.
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        Fixed::new(all)
    }

    /// Fails where any of these cases has another answer than the recorded one.
    fn check<'a>(&self, data: &Fixed, read: Read, cases: impl Iterator<Item = &'a Case>) {
        let (mut asked, mut wrong) = (0, Vec::new());
        for case in cases {
            asked += 1;
            wrong.extend(difference(case, &ours(case, data, self.at * 1_000), &theirs(case, read)));
        }
        println!("{} of {asked} differ", wrong.len());
        assert!(wrong.is_empty(), "{} of {asked} differ:\n{}", wrong.len(), wrong.join("\n"));
    }

    /// A quarter of the cases, so that the quarters are compared side by side.
    fn check_quarter(&self, quarter: usize) {
        self.check(&self.samples(), from_decimal, self.cases.iter().skip(quarter).step_by(4));
    }
}

fn ours(case: &Case, data: &Fixed, now: Timestamp) -> Answer {
    let expr = parse(&case.expr).map_err(|error| placed(&case.expr, &error))?;
    let (settings, at) = (Settings::default(), now - case.ago);
    let value = match case.range {
        Some(range) => evaluate_range(&expr, data, &steps(range, now), &settings).map(Value::Matrix),
        None => {
            let value = evaluate(&expr, data, at, &settings);
            let divided = in_pieces(&expr, data, at, &settings);
            assert_eq!(format!("{value:?}"), format!("{divided:?}"), "{expr} in pieces");
            value
        }
    };
    let values = values(value.map_err(|error| error.message)?, at - now, now);
    let notes = case.notes.iter().flat_map(|_| notes(case, &expr, data, now)).collect();
    Ok(Values { notes, ..values })
}

fn steps((from, to, step): (i64, i64, i64), now: Timestamp) -> Steps {
    Steps { from: now + from, to: now + to, step }
}

/// What the evaluation says besides.
fn notes(case: &Case, expr: &Expr, data: &Fixed, now: Timestamp) -> Vec<String> {
    let (settings, at) = (Settings::default(), now - case.ago);
    let mut evaluation = match case.range {
        Some(range) => Evaluation::range(expr, data, steps(range, now), settings).unwrap(),
        None => Evaluation::instant(expr, data, at, settings),
    };
    evaluation.advance(usize::MAX).unwrap();
    let mut lines = Notes::of(&case.expr, &evaluation.finish().annotations).lines();
    // Said after 3.5.
    lines.retain(|line| !line.contains("sort is ineffective"));
    lines
}

fn values(value: Value, at: Timestamp, now: Timestamp) -> Values {
    let once = |value| vec![Point { at, value }];
    match value {
        Value::Scalar(value) => with_series([(Labels::default(), once(value))]),
        Value::Vector(samples) => {
            let order = samples.iter().map(|sample| sample.labels.clone()).collect();
            let series = samples.into_iter().map(|sample| (sample.labels, once(sample.value)));
            Values { order, ..with_series(series) }
        }
        Value::Matrix(series) => {
            let relative = |point: Point| Point { at: point.at - now, ..point };
            let points = |points: Vec<Point>| points.into_iter().map(relative).collect();
            with_series(series.into_iter().map(|series| (series.labels, points(series.points))))
        }
        Value::String(text) => Values { string: Some(text), ..Values::default() },
    }
}

/// One operation after the other, as queries of the API are evaluated.
fn in_pieces(expr: &Expr, data: &dyn Select, at: Timestamp, settings: &Settings) -> Result<Value, EvalError> {
    let mut evaluation = Evaluation::instant(expr, data, at, *settings);
    while !evaluation.advance(1)? {}
    Ok(evaluation.finish().value)
}

fn with_series(series: impl IntoIterator<Item = (Labels, Vec<Point>)>) -> Values {
    Values { series: series.into_iter().collect(), ..Values::default() }
}

fn theirs(case: &Case, read: Read) -> Answer {
    let at_once = |text: &str| vec![Point { at: -case.ago, value: read(text) }];
    if let Some(kind) = &case.fails {
        return Err(case.why.as_ref().unwrap_or(kind).clone());
    }
    let scalar = case.scalar.iter().map(|value| (Labels::default(), at_once(value)));
    let vector = case.vector.iter().flatten().map(|(labels, value)| (labels.clone(), at_once(value)));
    let matrix = case.matrix.iter().flatten().map(|(labels, text)| (labels.clone(), points(text, read)));
    Ok(Values {
        order: case.vector.iter().flatten().map(|(labels, _)| labels.clone()).collect(),
        string: case.string.clone(),
        notes: case.notes.clone().unwrap_or_default(),
        ..with_series(scalar.chain(vector).chain(matrix))
    })
}

fn difference(case: &Case, ours: &Answer, theirs: &Answer) -> Option<String> {
    let what = match (ours, theirs) {
        (Err(_), Err(_)) => None,
        // After 3.5 said also where there is nothing to choose from.
        (Err(why), Ok(_)) if why == "Parameter value is NaN" || why.ends_with("overflows int64") => None,
        // What Prometheus does not expect itself: a string or a fixed range in parentheses.
        (Ok(_), Err(why)) if why.starts_with("unexpected ") => None,
        (Ok(ours), Ok(theirs)) => contrast(case, ours, theirs),
        _ => Some(format!("{ours:?}\n    instead of {theirs:?}")),
    }?;
    let when = case.range.map_or_else(|| format!("ago {}", case.ago), |range| format!("range {range:?}"));
    Some(format!("{} ({when})\n    {what}", case.expr))
}

/// Where two values differ.
fn contrast(case: &Case, ours: &Values, theirs: &Values) -> Option<String> {
    let known = |labels: &&Labels| !ours.series.contains_key(*labels);
    let labels = ours.series.keys().chain(theirs.series.keys().filter(known));
    let (our, their) = (|labels| ours.series.get(labels), |labels| theirs.series.get(labels));
    let series = labels.filter(|labels| !agree(&case.expr, our(labels), their(labels)));
    let mut lines: Vec<String> =
        series.map(|labels| format!("{labels} is {:?}\n    instead of {:?}", our(labels), their(labels))).collect();
    if ours.string != theirs.string {
        lines.push(format!("{:?} instead of {:?}", ours.string, theirs.string));
    }
    if case.notes.is_some() && ours.notes != theirs.notes {
        let only = |some: &Values, others: &Values| -> Vec<String> {
            some.notes.iter().filter(|note| !others.notes.contains(note)).cloned().collect()
        };
        lines.push(format!("says {:?}\n    instead of {:?}", only(ours, theirs), only(theirs, ours)));
    }
    if case.ordered && ours.order != theirs.order {
        lines.push(format!("in order {:?}\n    instead of {:?}", ours.order, theirs.order));
    }
    (!lines.is_empty()).then(|| lines.join("\n    "))
}

fn agree(expr: &str, ours: Option<&Vec<Point>>, theirs: Option<&Vec<Point>>) -> bool {
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return false };
    let apart = units_allowed(expr);
    // Mended after 3.5: NaN for a limit in the lowest bucket.
    let is_mended = |theirs: f64| theirs.is_nan() && expr.contains("histogram_fraction(");
    let points =
        |(a, b): (&Point, &Point)| a.at == b.at && (units_apart(a.value, b.value) <= apart || is_mended(b.value));
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(points)
}

/// Libraries of mathematics differ in the last place of these.
fn units_allowed(expr: &str) -> u64 {
    let words = ["^", "exp(", "ln(", "log2(", "log10(", "sin", "cos", "tan"];
    u64::from(words.iter().any(|word| expr.contains(word)))
}

/// How many floats lie between two, any NaN being one, and the zeros two.
fn units_apart(a: f64, b: f64) -> u64 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() && b.is_nan() { 0 } else { u64::MAX };
    }
    let place = |value: f64| {
        let bits = (value.to_bits() & !(1 << 63)) as i64;
        if value.is_sign_negative() { -1 - bits } else { bits }
    };
    place(a).abs_diff(place(b))
}

/// The bits of a float.
fn from_bits(text: &str) -> f64 {
    u64::from_str_radix(text, 16).map_or(f64::NAN, f64::from_bits)
}

fn from_decimal(text: &str) -> f64 {
    if text == "stale" { stale_marker() } else { text.parse().unwrap() }
}

/// `time value time value …`
fn points(text: &str, read: Read) -> Vec<Point> {
    let words: Vec<&str> = text.split(' ').collect();
    words.chunks(2).map(|pair| Point { at: pair[0].parse().unwrap(), value: read(pair[1]) }).collect()
}

#[test]
fn a_thousand_expressions_over_instants_are_worth_what_prometheus_says() {
    let recorded = Recorded::read(include_str!("../../../tests/promql/instant.json"));
    let point = |value: &str| Point { at: recorded.at * 1_000, value: from_bits(value) };
    let series = recorded.series.iter();
    let data = series.map(|(labels, value)| Series { labels: labels.clone(), points: vec![point(value)] }).collect();
    assert!(recorded.cases.len() >= 1_000);
    recorded.check(&Fixed::new(data), from_bits, recorded.cases.iter());
}

#[test]
fn thousands_of_expressions_over_ranges_are_worth_what_prometheus_says() {
    let recorded = Recorded::read(include_str!("../../../tests/promql/range.json"));
    assert!(recorded.cases.len() >= 3_000);
    recorded.check(&recorded.samples(), from_decimal, recorded.cases.iter());
}

fn language() -> Recorded {
    Recorded::read(include_str!("../../../tests/promql/language.json"))
}

#[test]
fn the_whole_language_is_recorded_in_ten_thousand_cases_with_the_others() {
    assert!(language().cases.len() >= 6_000);
}

#[test]
fn the_whole_language_is_worth_what_prometheus_says_first_quarter() {
    language().check_quarter(0);
}

#[test]
fn the_whole_language_is_worth_what_prometheus_says_second_quarter() {
    language().check_quarter(1);
}

#[test]
fn the_whole_language_is_worth_what_prometheus_says_third_quarter() {
    language().check_quarter(2);
}

#[test]
fn the_whole_language_is_worth_what_prometheus_says_fourth_quarter() {
    language().check_quarter(3);
}

#[test]
fn corners_of_the_language_are_worth_what_prometheus_says_and_told_of_as_by_it() {
    let recorded = Recorded::read(include_str!("../../../tests/promql/edges.json"));
    assert!(recorded.cases.len() >= 600 && recorded.cases.iter().any(|case| case.notes.is_some()));
    recorded.check(&recorded.samples(), from_decimal, recorded.cases.iter());
}

#[test]
#[ignore = "tests/promql/live makes the recording that PROMQL_RECORDING names"]
fn a_live_recording_is_worth_what_prometheus_says() {
    let path = std::env::var("PROMQL_RECORDING").expect("PROMQL_RECORDING names a recording");
    let recorded = Recorded::read(&std::fs::read_to_string(path).unwrap());
    recorded.check(&recorded.samples(), from_decimal, recorded.cases.iter());
}

#[test]
fn neighbouring_floats_are_one_unit_apart() {
    assert_eq!(units_apart(1.0, 1.0 + f64::EPSILON), 1);
    assert_eq!(units_apart(0.0, -0.0), 1);
    assert_eq!(units_apart(f64::NAN, -f64::NAN), 0);
    assert_eq!(units_apart(f64::MAX, f64::INFINITY), 1);
}
