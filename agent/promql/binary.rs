//! Binary operators: on numbers, between vector and scalar, and between vectors by their labels.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::ast::{Binary, BinaryOp, Group, Matching, Side};
use super::key::{Kept, Key};
use crate::sample::{Label, Labels, METRIC_NAME, Sample};

/// Two numbers; a comparison (which then has `bool`) gives 0 or 1.
pub fn scalars(op: BinaryOp, left: f64, right: f64) -> f64 {
    match arithmetic(op, left, right) {
        Some(value) => value,
        None => f64::from(u8::from(compare(op, left, right))),
    }
}

fn arithmetic(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    Some(match op {
        BinaryOp::Add => left + right,
        BinaryOp::Subtract => left - right,
        BinaryOp::Multiply => left * right,
        BinaryOp::Divide => left / right,
        BinaryOp::Modulo => left % right,
        BinaryOp::Power => left.powf(right),
        _ => return None,
    })
}

#[expect(clippy::float_cmp, reason = "PromQL compares exactly")]
fn compare(op: BinaryOp, left: f64, right: f64) -> bool {
    match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Less => left < right,
        BinaryOp::LessOrEqual => left <= right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterOrEqual => left >= right,
        _ => false,
    }
}

/// Every sample of a vector with one scalar, under its own name still. A comparison without `bool` keeps the sample as
/// it is, or drops it. `swapped`: the scalar stands on the left.
pub fn with_scalar(expr: &Binary, mut vector: Vec<Sample>, scalar: f64, swapped: bool) -> Vec<Sample> {
    let sides = |value: f64| if swapped { (scalar, value) } else { (value, scalar) };
    if filters(expr) {
        vector.retain(|sample| compare(expr.op, sides(sample.value).0, sides(sample.value).1));
        return vector;
    }
    for sample in &mut vector {
        let (left, right) = sides(sample.value);
        sample.value = scalars(expr.op, left, right);
    }
    vector
}

/// A comparison without `bool` lets samples pass, name and all.
pub fn filters(expr: &Binary) -> bool {
    expr.op.is_comparison() && !expr.returns_bool
}

/// `and`, `or`, `unless`.
pub fn sets(op: BinaryOp, matching: Option<&Matching>, mut left: Vec<Sample>, mut right: Vec<Sample>) -> Vec<Sample> {
    let kept = Kept::by_matching(matching);
    if op == BinaryOp::Or {
        let passes = unmatched(&right, &left, kept);
        retain(&mut right, &passes);
        left.append(&mut right);
        return left;
    }
    let mut passes = unmatched(&left, &right, kept);
    if op == BinaryOp::And {
        passes.iter_mut().for_each(|passes| *passes = !*passes);
    }
    retain(&mut left, &passes);
    left
}

/// For each sample whether no one of `others` has its key.
fn unmatched(samples: &[Sample], others: &[Sample], kept: Kept<'_>) -> Vec<bool> {
    let known: HashSet<Key<'_>> = others.iter().map(|sample| Key { labels: &sample.labels, kept }).collect();
    samples.iter().map(|sample| !known.contains(&Key { labels: &sample.labels, kept })).collect()
}

fn retain(samples: &mut Vec<Sample>, passes: &[bool]) {
    let mut passes = passes.iter();
    samples.retain(|_| passes.next() == Some(&true));
}

/// Arithmetic and comparison between vectors: one to one, or, with `group_left` and `group_right`, many to one.
pub fn vectors(expr: &Binary, left: &[Sample], right: &[Sample]) -> Result<Vec<Sample>, String> {
    if left.is_empty() || right.is_empty() {
        return Ok(Vec::new());
    }
    let group = expr.matching.as_ref().and_then(|matching| matching.group.as_ref());
    let swapped = group.is_some_and(|group| group.side == Side::Right);
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let kept = Kept::by_matching(expr.matching.as_ref());
    let ones = by_key(one, kept, if swapped { "left" } else { "right" })?;
    let mut pairs = Vec::new();
    for sample in many {
        let key = Key { labels: &sample.labels, kept };
        let Some(other) = ones.get(&key) else { continue };
        let (left, right) = if swapped { (other.value, sample.value) } else { (sample.value, other.value) };
        if filters(expr) && !compare(expr.op, left, right) {
            continue;
        }
        let value = if filters(expr) { left } else { scalars(expr.op, left, right) };
        let labels = result_labels(expr, &sample.labels, &other.labels);
        pairs.push((key, Sample { labels, value }));
    }
    match group {
        None => check_one_to_one(&pairs)?,
        Some(_) => check_many_to_one(&pairs)?,
    }
    Ok(pairs.into_iter().map(|(_, sample)| sample).collect())
}

/// The samples of the side that has one for each key.
fn by_key<'a>(samples: &'a [Sample], kept: Kept<'a>, side: &str) -> Result<HashMap<Key<'a>, &'a Sample>, String> {
    let mut found: HashMap<Key<'a>, &Sample> = HashMap::with_capacity(samples.len());
    for sample in samples {
        let key = Key { labels: &sample.labels, kept };
        if let Some(other) = found.insert(key, sample) {
            return Err(format!(
                "found duplicate series for the match group {} on the {side} hand-side of the operation: \
                 [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                key.to_labels(),
                sample.labels,
                other.labels
            ));
        }
    }
    Ok(found)
}

fn check_one_to_one(pairs: &[(Key<'_>, Sample)]) -> Result<(), String> {
    let mut seen = HashSet::with_capacity(pairs.len());
    if pairs.iter().all(|(key, _)| seen.insert(*key)) {
        return Ok(());
    }
    Err("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)".to_owned())
}

fn check_many_to_one(pairs: &[(Key<'_>, Sample)]) -> Result<(), String> {
    let mut seen: HashMap<&Labels, Key<'_>> = HashMap::with_capacity(pairs.len());
    for (key, sample) in pairs {
        match seen.entry(&sample.labels) {
            Entry::Vacant(place) => drop(place.insert(*key)),
            Entry::Occupied(other) if other.get() == key => {
                return Err("multiple matches for labels: grouping labels must ensure unique matches".to_owned());
            }
            Entry::Occupied(_) => return Err("vector cannot contain metrics with the same labelset".to_owned()),
        }
    }
    Ok(())
}

/// What a pair's result is called: the name goes unless a comparison filters; one to one, `on` and `ignoring` take
/// effect; else the labels that the group includes come from the other side, or go where they are empty there.
fn result_labels(expr: &Binary, labels: &Labels, other: &Labels) -> Labels {
    let filters = filters(expr);
    match &expr.matching {
        Some(Matching { group: Some(group), .. }) => grouped_labels(expr, group, labels, other),
        None if filters => labels.clone(),
        None => labels.filtered(|name| name != METRIC_NAME),
        Some(Matching { on, labels: names, .. }) => {
            labels.filtered(|name| (filters || name != METRIC_NAME) && names.iter().any(|other| other == name) == *on)
        }
    }
}

fn grouped_labels(expr: &Binary, group: &Group, labels: &Labels, other: &Labels) -> Labels {
    if filters(expr) && group.include.is_empty() {
        return labels.clone();
    }
    let from_other = |name: &str| group.include.iter().any(|included| included == name);
    let own = labels.iter().filter(|label| !from_other(&label.name) && (filters(expr) || &*label.name != METRIC_NAME));
    let included = other.iter().filter(|label| from_other(&label.name));
    let included = included.filter(|label| !expr.returns_bool || &*label.name != METRIC_NAME);
    Labels::from_labels(own.chain(included).cloned().collect::<Vec<Label>>())
}
