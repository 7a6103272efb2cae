//! Binary operators: on numbers, between vector and scalar, and between vectors by their labels.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::ast::{Binary, BinaryOp, Group, Matching, Side};
use super::eval::{SAME_LABELS, Vector, have_metadata, only_names_differ, share_a_name, without_name};
use super::key::{Kept, Key, has_reserved, is_reserved};
use super::math::power;
use super::math::trigonometry::atan2;
use crate::sample::{Label, Labels, Sample};

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
        BinaryOp::Power => power(left, right),
        BinaryOp::Atan2 => atan2(left, right),
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
pub fn with_scalar(expr: &Binary, mut vector: Vector, scalar: f64, swapped: bool) -> Vector {
    let sides = |value: f64| if swapped { (scalar, value) } else { (value, scalar) };
    if filters(expr) {
        vector.samples.retain(|sample| compare(expr.op, sides(sample.value).0, sides(sample.value).1));
        return vector;
    }
    vector.map(|value| {
        let (left, right) = sides(value);
        scalars(expr.op, left, right)
    })
}

/// A comparison without `bool` lets samples pass, name and all.
pub fn filters(expr: &Binary) -> bool {
    expr.op.is_comparison() && !expr.returns_bool
}

/// Two vectors: by a set operator, one to one, or, with `group_left` and `group_right`, many to one.
pub fn vectors(expr: &Binary, left: Vector, right: Vector) -> Result<Vector, String> {
    let (left, right) = if looks_at_names(expr) { (left.settled(), right.settled()) } else { (left, right) };
    if expr.op.is_set() { Ok(sets(expr, left, right)) } else { matched(expr, &left, &right) }
}

fn looks_at_names(expr: &Binary) -> bool {
    expr.matching.as_ref().is_some_and(|matching| {
        let included = matching.group.as_ref().is_some_and(|group| has_reserved(&group.include));
        included || has_reserved(&matching.labels)
    })
}

/// `and`, `or`, `unless`.
fn sets(expr: &Binary, mut left: Vector, mut right: Vector) -> Vector {
    let kept = Kept::by_matching(expr.matching.as_ref());
    if expr.op == BinaryOp::Or {
        let passes = unmatched(&right.samples, &left.samples, kept);
        retain(&mut right.samples, &passes);
        return union(left, right);
    }
    let mut passes = unmatched(&left.samples, &right.samples, kept);
    if expr.op == BinaryOp::And {
        passes.iter_mut().for_each(|passes| *passes = !*passes);
    }
    retain(&mut left.samples, &passes);
    left
}

fn union(left: Vector, right: Vector) -> Vector {
    match (left.samples.is_empty(), right.samples.is_empty()) {
        (_, true) => return left,
        (true, _) => return right,
        _ => {}
    }
    let (mut left, mut right) =
        if left.nameless == right.nameless { (left, right) } else { (left.settled(), right.settled()) };
    left.samples.append(&mut right.samples);
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

/// Arithmetic and comparison between vectors.
fn matched(expr: &Binary, left: &Vector, right: &Vector) -> Result<Vector, String> {
    if left.samples.is_empty() || right.samples.is_empty() {
        return Ok(Vector::default());
    }
    let group = expr.matching.as_ref().and_then(|matching| matching.group.as_ref());
    let swapped = group.is_some_and(|group| group.side == Side::Right);
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let kept = Kept::by_matching(expr.matching.as_ref());
    let ones = by_key(one, kept, if swapped { "left" } else { "right" })?;
    let nameless = drops_names(expr, many);
    let mut pairs = Vec::with_capacity(many.samples.len());
    for sample in &many.samples {
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
        None if is_whole(kept) && (many.nameless || share_a_name(&many.samples)) => {}
        None => check_one_to_one(&pairs)?,
        Some(_) => check_many_to_one(&pairs, if nameless { Kept::Unreserved } else { Kept::All })?,
    }
    let samples: Vec<Sample> = pairs.into_iter().map(|(_, sample)| sample).collect();
    // A type or unit told them apart.
    if nameless && have_metadata(&samples) && only_names_differ(&samples) {
        return Err(SAME_LABELS.to_owned());
    }
    Ok(if nameless { Vector::unnamed(samples) } else { Vector::named(samples) })
}

/// Whether a key is all but the metric's name.
fn is_whole(kept: Kept<'_>) -> bool {
    matches!(kept, Kept::Others(names) if names.is_empty())
}

/// Whether names that still stand in the results' labels do not count: all operators but comparisons that filter take
/// them off. A name that `group_left` includes is the result's own.
fn drops_names(expr: &Binary, many: &Vector) -> bool {
    if filters(expr) { many.nameless } else { expr.returns_bool || !looks_at_names(expr) }
}

/// The samples of the side that has one for each key.
fn by_key<'a>(one: &'a Vector, kept: Kept<'a>, side: &str) -> Result<HashMap<Key<'a>, &'a Sample>, String> {
    let mut found: HashMap<Key<'a>, &Sample> = HashMap::with_capacity(one.samples.len());
    let shown = |sample: &Sample| if one.nameless { without_name(&sample.labels) } else { sample.labels.clone() };
    for sample in &one.samples {
        let key = Key { labels: &sample.labels, kept };
        if let Some(other) = found.insert(key, sample) {
            return Err(format!(
                "found duplicate series for the match group {} on the {side} hand-side of the operation: \
                 [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                key.to_labels(),
                shown(sample),
                shown(other)
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

fn check_many_to_one(pairs: &[(Key<'_>, Sample)], named: Kept<'_>) -> Result<(), String> {
    let mut seen: HashMap<Key<'_>, Key<'_>> = HashMap::with_capacity(pairs.len());
    for (key, sample) in pairs {
        match seen.entry(Key { labels: &sample.labels, kept: named }) {
            Entry::Vacant(place) => drop(place.insert(*key)),
            Entry::Occupied(other) if other.get() == key => {
                return Err("multiple matches for labels: grouping labels must ensure unique matches".to_owned());
            }
            Entry::Occupied(_) => return Err(SAME_LABELS.to_owned()),
        }
    }
    Ok(())
}

/// What a pair's result is called. One to one, `on` and `ignoring` take effect; else the labels that the group includes
/// come from the other side, or go where they are empty there. Whether the name counts says [`drops_names`].
fn result_labels(expr: &Binary, labels: &Labels, other: &Labels) -> Labels {
    match &expr.matching {
        Some(Matching { group: Some(group), .. }) if !group.include.is_empty() => {
            grouped_labels(expr, group, labels, other)
        }
        None | Some(Matching { group: Some(_), .. }) => settled(expr, labels),
        Some(Matching { on: false, labels: names, .. }) if names.is_empty() => settled(expr, labels),
        Some(Matching { on, labels: names, .. }) => {
            let settles = looks_at_names(expr) && !filters(expr);
            labels.filtered(|name| names.contains(name) == *on && !(settles && is_reserved(name)))
        }
    }
}

/// The labels as they are, but for a name that is known to go and would not be noted by [`drops_names`].
fn settled(expr: &Binary, labels: &Labels) -> Labels {
    if looks_at_names(expr) && !filters(expr) { without_name(labels) } else { labels.clone() }
}

fn grouped_labels(expr: &Binary, group: &Group, labels: &Labels, other: &Labels) -> Labels {
    let from_other = |name: &str| group.include.contains(name);
    let own = labels.iter().filter(|label| !from_other(&label.name) && (filters(expr) || !is_reserved(&label.name)));
    let included = other.iter().filter(|label| from_other(&label.name));
    Labels::from_labels(own.chain(included).cloned().collect::<Vec<Label>>())
}
