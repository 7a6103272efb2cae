//! Binary operators: on numbers, between vector and scalar, and between vectors by their labels.

use std::collections::{HashMap, HashSet};

use super::ast::{Binary, BinaryOp, Matching};
use super::eval::drop_name;
use crate::sample::{Labels, METRIC_NAME, Sample};

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

/// Every sample of a vector with one scalar. A comparison without `bool` keeps the sample as it is, or drops it.
/// `swapped`: the scalar stands on the left.
pub fn with_scalar(expr: &Binary, vector: Vec<Sample>, scalar: f64, swapped: bool) -> Vec<Sample> {
    let each = |sample: Sample| {
        let (left, right) = if swapped { (scalar, sample.value) } else { (sample.value, scalar) };
        if expr.op.is_comparison() && !expr.returns_bool {
            return compare(expr.op, left, right).then_some(sample);
        }
        Some(Sample { labels: drop_name(&sample.labels), value: scalars(expr.op, left, right) })
    };
    vector.into_iter().filter_map(each).collect()
}

/// `and`, `or`, `unless`.
pub fn sets(op: BinaryOp, matching: Option<&Matching>, left: Vec<Sample>, right: &[Sample]) -> Vec<Sample> {
    let key = |sample: &Sample| signature(matching, &sample.labels);
    match op {
        BinaryOp::Or => {
            let known: HashSet<Labels> = left.iter().map(key).collect();
            let more = right.iter().filter(|sample| !known.contains(&key(sample))).cloned();
            left.iter().cloned().chain(more).collect()
        }
        _ => {
            let known: HashSet<Labels> = right.iter().map(key).collect();
            let wanted = op == BinaryOp::And;
            left.into_iter().filter(|sample| known.contains(&key(sample)) == wanted).collect()
        }
    }
}

/// Arithmetic and comparison between vectors, one to one.
pub fn one_to_one(expr: &Binary, left: Vec<Sample>, right: Vec<Sample>) -> Result<Vec<Sample>, String> {
    if left.is_empty() || right.is_empty() {
        return Ok(Vec::new());
    }
    let matching = expr.matching.as_ref();
    let mut others: HashMap<Labels, Sample> = HashMap::with_capacity(right.len());
    for sample in right {
        let key = signature(matching, &sample.labels);
        if let Some(other) = others.get(&key) {
            return Err(format!(
                "found duplicate series for the match group {key} on the right hand-side of the operation: \
                 [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                sample.labels, other.labels
            ));
        }
        others.insert(key, sample);
    }
    let mut matched = HashSet::new();
    let mut result = Vec::new();
    for sample in left {
        let key = signature(matching, &sample.labels);
        let Some(other) = others.get(&key) else { continue };
        let filters = expr.op.is_comparison() && !expr.returns_bool;
        if filters && !compare(expr.op, sample.value, other.value) {
            continue;
        }
        let value = if filters { sample.value } else { scalars(expr.op, sample.value, other.value) };
        result.push(Sample { labels: result_labels(expr, &sample.labels), value });
        if !matched.insert(key) {
            return Err("multiple matches for labels: many-to-one matching must be explicit \
                        (group_left/group_right)"
                .to_owned());
        }
    }
    Ok(result)
}

/// The labels by which two samples are a pair.
fn signature(matching: Option<&Matching>, labels: &Labels) -> Labels {
    match matching {
        None => drop_name(labels),
        Some(Matching { on: true, labels: names }) => labels.filtered(|name| names.iter().any(|other| other == name)),
        Some(Matching { on: false, labels: names }) => {
            labels.filtered(|name| name != METRIC_NAME && !names.iter().any(|other| other == name))
        }
    }
}

/// What a pair's result is called: the name goes unless a comparison filters, and `on` and `ignoring` take effect.
fn result_labels(expr: &Binary, labels: &Labels) -> Labels {
    let keeps_name = expr.op.is_comparison() && !expr.returns_bool;
    let named = if keeps_name { labels.clone() } else { drop_name(labels) };
    match &expr.matching {
        None => named,
        Some(Matching { on, labels: names }) => named.filtered(|name| names.iter().any(|other| other == name) == *on),
    }
}
