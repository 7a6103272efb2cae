//! An answer beside what the script expects.

use std::collections::BTreeMap;

use watchkeeper::promql::{Point, Series, Steps};
use watchkeeper::sample::{Labels, Sample, is_stale};

use crate::notation::Item;

/// How far two values may lie apart, of their size.
const TOLERANCE: f64 = 1e-6;

type Expected = [(Labels, Vec<Item>)];

/// Whether two values are equal, or nearly.
pub fn near(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (size, apart) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
        return apart < TOLERANCE * f64::MIN_POSITIVE;
    }
    apart / size.min(f64::MAX) < TOLERANCE
}

/// What is wrong with an instant vector.
pub fn vector(expected: &Expected, ordered: bool, found: &[Sample]) -> Result<(), String> {
    let wanted = by_labels(expected);
    for (place, Sample { labels, value }) in found.iter().enumerate() {
        let Some((position, items)) = wanted.get(labels) else {
            return Err(format!("{labels} {value} is not expected"));
        };
        match items.first() {
            Some(Item::Float(wanted)) if near(*wanted, *value) => {}
            item => return Err(format!("{labels} is {value} instead of {item:?}")),
        }
        if ordered && *position != place {
            return Err(format!("{labels} comes at {} instead of {}", place + 1, position + 1));
        }
    }
    all_found(&wanted, found.iter().map(|sample| &sample.labels))
}

/// What is wrong with series at steps.
pub fn matrix(expected: &Expected, steps: &Steps, found: &[Series]) -> Result<(), String> {
    if let Some(pair) = found.windows(2).find(|pair| pair[0].labels >= pair[1].labels) {
        return Err(format!("{} comes before {}", pair[0].labels, pair[1].labels));
    }
    let wanted = by_labels(expected);
    for Series { labels, points } in found {
        let Some((_, items)) = wanted.get(labels) else {
            return Err(format!("{labels} is not expected, with {points:?}"));
        };
        let wanted = points_of(items, steps)?;
        let same = |(a, b): (&Point, &Point)| a.at == b.at && near(a.value, b.value);
        if wanted.len() != points.len() || !wanted.iter().zip(points).all(same) {
            return Err(format!("{labels} is {points:?} instead of {wanted:?}"));
        }
    }
    all_found(&wanted, found.iter().map(|series| &series.labels))
}

fn by_labels(expected: &Expected) -> BTreeMap<&Labels, (usize, &[Item])> {
    expected.iter().enumerate().map(|(place, (labels, items))| (labels, (place, items.as_slice()))).collect()
}

fn points_of(items: &[Item], steps: &Steps) -> Result<Vec<Point>, String> {
    let times = (0..items.len() as i64).map(|index| steps.from + index * steps.step);
    let mut found = Vec::new();
    for (at, item) in times.zip(items) {
        match item {
            _ if at > steps.to => return Err("more values are expected than the range has steps".to_owned()),
            Item::Float(value) => found.push(Point { at, value: *value }),
            Item::Gap => {}
            Item::Histogram => return Err("a native histogram is expected".to_owned()),
        }
    }
    Ok(found)
}

fn all_found<'a, T>(wanted: &BTreeMap<&Labels, T>, found: impl Iterator<Item = &'a Labels>) -> Result<(), String> {
    let found: Vec<&Labels> = found.collect();
    match wanted.keys().find(|labels| !found.contains(labels)) {
        Some(missing) => Err(format!("{missing} is missing")),
        None if found.len() != wanted.len() => Err("labels twice".to_owned()),
        None => Ok(()),
    }
}
