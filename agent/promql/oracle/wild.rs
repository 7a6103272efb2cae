//! The expressions that people write: each loads, and has a value over random samples that it selects.

use std::path::Path;

use super::fixed::Fixed;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::{Expr, Point, Selector, Series, Settings, Steps, evaluate, evaluate_range, parse};
use crate::sample::{Label, Labels};

const NOW: i64 = 1_700_000_000_000;

/// A value that the matchers of one label all pass, where one is easily found.
fn value(matchers: &[&Matcher]) -> String {
    let exact = matchers.iter().filter(|matcher| matcher.op != MatchOp::NotEqual);
    let plain = |text: &str| text.replace(".*", "x").replace(".+", "x").replace(['^', '$', '(', ')', '\\'], "");
    let parts = exact.flat_map(|matcher| {
        let alternatives = matcher.value.split('|').map(plain).collect::<Vec<_>>();
        std::iter::once(matcher.value.to_string()).chain(alternatives)
    });
    let mut candidates = parts.chain(["5", "500", "abc", "a-b", ""].map(str::to_owned));
    candidates.find(|value| matchers.iter().all(|matcher| matcher.matches(value))).unwrap_or_default()
}

/// Series that a selector shows, if one can be made for it; several differ in a label of their own.
fn series(selector: &Selector, count: usize, random: &mut fastrand::Rng) -> Vec<Series> {
    let named = |matcher: &Matcher| {
        let same: Vec<&Matcher> = selector.matchers.iter().filter(|other| other.name == matcher.name).collect();
        Label { name: matcher.name.clone(), value: value(&same).into() }
    };
    let labels: Vec<Label> = selector.matchers.iter().map(named).collect();
    let mut found = Vec::new();
    for instance in 0..count {
        let labels = Labels::from_labels(labels.clone()).with("a_label_of_its_own", &instance.to_string());
        found.push(Series { labels, points: points(random) });
    }
    found
}

fn points(random: &mut fastrand::Rng) -> Vec<Point> {
    let (mut value, grows) = (random.f64() * 9.0, random.bool());
    let times = (0..80).map(|step| NOW - 20 * 60_000 + step * 15_000);
    times
        .filter_map(|at| {
            value = if grows { value + random.f64() } else { f64::from(random.u8(0..9)) };
            (random.u8(0..20) > 0).then_some(Point { at, value })
        })
        .collect()
}

fn world(expr: &Expr, count: usize, random: &mut fastrand::Rng) -> Fixed {
    let mut all: Vec<Series> = expr.reads().iter().flat_map(|read| series(read.selector, count, random)).collect();
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all.dedup_by(|a, b| a.labels == b.labels);
    Fixed::new(all)
}

fn evaluated(expr: &Expr, data: &Fixed) -> Result<(), String> {
    let settings = Settings::default();
    evaluate(expr, data, NOW, &settings).map_err(|error| error.message)?;
    let steps = Steps { from: NOW - 300_000, to: NOW, step: 60_000 };
    evaluate_range(expr, data, &steps, &settings).map_err(|error| error.message).map(drop)
}

fn trial(text: &str, random: &mut fastrand::Rng) -> Result<(), String> {
    let expr = parse(text).map_err(|error| error.message)?;
    // Where samples are matched one to one, several series may be too many.
    let several = random.usize(1..4);
    evaluated(&expr, &world(&expr, several, random)).or_else(|_| evaluated(&expr, &world(&expr, 1, random)))?;
    let written = expr.to_string();
    let again = parse(&written).map_err(|error| format!("as {written}: {}", error.message))?;
    if again == expr { Ok(()) } else { Err(format!("becomes {written}")) }
}

#[test]
fn every_expression_of_the_wild_loads_and_has_a_value() {
    let path = Path::new("../shared/promql/wild-exprs.txt");
    let Ok(text) = std::fs::read_to_string(path) else {
        return println!("SKIPPED: no {}", path.display());
    };
    let mut random = fastrand::Rng::with_seed(20);
    let exprs: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split('\t').next())
        .filter(|text| !text.is_empty() && !text.starts_with('#'))
        .collect();
    let wrong = |expr: &&str| trial(expr, &mut random).err().map(|why| format!("{expr}\n    {why}"));
    let wrong: Vec<String> = exprs.iter().filter_map(wrong).collect();
    assert!(exprs.len() > 1_000 && wrong.is_empty(), "{} of {}:\n{}", wrong.len(), exprs.len(), wrong.join("\n"));
}
