//! Quantiles of classic histograms: one series for each bucket, with its upper bound in `le`.

use std::collections::HashMap;

use crate::promql::key::{Kept, Key};
use crate::sample::{METRIC_NAME, Sample};

/// The label that holds a bucket's upper bound.
const BOUND: &str = "le";

/// Relative differences between neighbouring counts that are below it come from rounding.
const TOLERANCE: f64 = 1e-12;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// `histogram_quantile`: one sample per histogram, under its metric's name still. Series whose `le` is no number are
/// passed over.
pub fn quantiles(q: f64, samples: &[Sample]) -> Vec<Sample> {
    let names = [BOUND.to_owned()];
    let mut places: HashMap<(&str, Key<'_>), usize> = HashMap::new();
    let mut histograms: Vec<(&Sample, Vec<Bucket>)> = Vec::new();
    for sample in samples {
        let Ok(bound) = sample.labels.get(BOUND).parse() else { continue };
        let key = (sample.labels.metric_name(), Key { labels: &sample.labels, kept: Kept::Others(&names) });
        let place = *places.entry(key).or_insert(histograms.len());
        if place == histograms.len() {
            histograms.push((sample, Vec::new()));
        }
        histograms[place].1.push(Bucket { bound, count: sample.value });
    }
    let result = |(sample, buckets): (&Sample, Vec<Bucket>)| Sample {
        labels: sample.labels.filtered(|name| name != BOUND && name != METRIC_NAME),
        value: quantile(q, buckets),
    };
    histograms.into_iter().map(result).collect()
}

/// By a straight line within the bucket that holds the quantile. The lowest bucket begins at 0 where its bound is
/// positive; of the highest, which has no upper end, the lower bound is given.
fn quantile(q: f64, mut buckets: Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    merge_equal(&mut buckets);
    make_monotonic(&mut buckets);
    let [below @ .., highest] = buckets.as_slice() else { return f64::NAN };
    let Some(second) = below.last() else { return f64::NAN };
    if highest.bound != f64::INFINITY || highest.count == 0.0 {
        return f64::NAN;
    }
    let rank = q * highest.count;
    let place = first_with(below, rank);
    match (place.checked_sub(1).map(|before| below[before]), below.get(place)) {
        (_, None) => second.bound,
        (None, Some(lowest)) if lowest.bound <= 0.0 => lowest.bound,
        (None, Some(lowest)) => lowest.bound * (rank / lowest.count),
        (Some(before), Some(bucket)) => {
            before.bound + (bucket.bound - before.bound) * ((rank - before.count) / (bucket.count - before.count))
        }
    }
}

/// The first bucket with at least so much, by bisection: counts that are NaN are met as in Prometheus.
fn first_with(buckets: &[Bucket], rank: f64) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if buckets[middle].count >= rank { high = middle } else { low = middle + 1 }
    }
    low
}

/// Buckets that say the same bound in different words (`1` and `1.0`) are one.
fn merge_equal(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|later, kept| {
        let same = later.bound == kept.bound;
        if same {
            kept.count += later.count;
        }
        same
    });
}

/// Counts must not fall from a bucket to the next: differences by rounding are taken out, and a fall is levelled.
fn make_monotonic(buckets: &mut [Bucket]) {
    let Some(mut before) = buckets.first().map(|bucket| bucket.count) else { return };
    for bucket in buckets.iter_mut().skip(1) {
        if nearly_equal(before, bucket.count) || bucket.count < before {
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
}

fn nearly_equal(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}
