//! The values of recorded expressions.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::fixed::Fixed;
use crate::promql::{Point, Series, Settings, Steps, Value, evaluate, evaluate_range, parse};
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
    fails: Option<String>,
}

/// An answer of either side, with times as milliseconds after the recording's.
type Answer = Result<BTreeMap<Labels, Vec<Point>>, String>;

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
    let expr = parse(&case.expr).map_err(|error| error.message)?;
    let settings = Settings::default();
    if let Some((from, to, step)) = case.range {
        let steps = Steps { from: now + from, to: now + to, step };
        return evaluate_range(&expr, data, &steps, &settings)
            .map(|series| by_labels(series, now))
            .map_err(|error| error.message);
    }
    let at = now - case.ago;
    match evaluate(&expr, data, at, &settings).map_err(|error| error.message)? {
        Value::Scalar(value) => Ok(BTreeMap::from([(Labels::default(), vec![Point { at: -case.ago, value }])])),
        Value::Vector(samples) => {
            let points = |value| vec![Point { at: -case.ago, value }];
            Ok(samples.into_iter().map(|sample| (sample.labels, points(sample.value))).collect())
        }
        Value::Matrix(series) => Ok(by_labels(series, now)),
        Value::String(text) => Err(format!("the string {text}")),
    }
}

fn by_labels(series: Vec<Series>, now: Timestamp) -> BTreeMap<Labels, Vec<Point>> {
    let relative = |points: Vec<Point>| points.into_iter().map(|point| Point { at: point.at - now, ..point }).collect();
    series.into_iter().map(|series| (series.labels, relative(series.points))).collect()
}

fn theirs(case: &Case, read: Read) -> Answer {
    let at_once = |text: &str| vec![Point { at: -case.ago, value: read(text) }];
    if let Some(why) = &case.fails {
        return Err(why.clone());
    }
    if let Some(value) = &case.scalar {
        return Ok(BTreeMap::from([(Labels::default(), at_once(value))]));
    }
    let vector = case.vector.iter().flatten().map(|(labels, value)| (labels.clone(), at_once(value)));
    let matrix = case.matrix.iter().flatten().map(|(labels, text)| (labels.clone(), points(text, read)));
    Ok(vector.chain(matrix).collect())
}

fn difference(case: &Case, ours: &Answer, theirs: &Answer) -> Option<String> {
    let same = match (ours, theirs) {
        (Err(_), Err(_)) => true,
        // After 3.5 said also where there is nothing to choose from.
        (Err(why), Ok(_)) if why == "Parameter value is NaN" => true,
        (Ok(ours), Ok(theirs)) => agree(&case.expr, ours, theirs),
        _ => false,
    };
    let when = case.range.map_or_else(|| format!("ago {}", case.ago), |range| format!("range {range:?}"));
    (!same).then(|| format!("{} ({when})\n    {ours:?}\n    instead of {theirs:?}", case.expr))
}

fn agree(expr: &str, ours: &BTreeMap<Labels, Vec<Point>>, theirs: &BTreeMap<Labels, Vec<Point>>) -> bool {
    let apart = units_allowed(expr);
    // Mended after 3.5: NaN for a limit in the lowest bucket.
    let is_mended = |theirs: f64| theirs.is_nan() && expr.contains("histogram_fraction(");
    let points =
        |(a, b): (&Point, &Point)| a.at == b.at && (units_apart(a.value, b.value) <= apart || is_mended(b.value));
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|((our_labels, ours), (their_labels, theirs))| {
            our_labels == their_labels && ours.len() == theirs.len() && ours.iter().zip(theirs).all(points)
        })
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
