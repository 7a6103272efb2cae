//! Quantiles of classic histograms: one series for each bucket, with its upper bound in `le`.

use std::collections::HashMap;

use crate::promql::key::{Kept, Key, is_reserved};
use crate::promql::names::Names;
use crate::sample::Sample;

/// The label that holds a bucket's upper bound.
const BOUND: &str = "le";

/// Relative differences between neighbouring counts that are below it come from rounding.
const TOLERANCE: f64 = 1e-12;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// What a function of histograms gives.
#[derive(Debug, Default)]
pub struct Results {
    /// One sample per histogram.
    pub samples: Vec<Sample>,
    /// Names of histograms whose counts fell from a bucket to the next by more than rounding explains.
    pub levelled: Vec<String>,
    /// Series whose `le` is no number: their names, and what it is. They are passed over.
    pub malformed: Vec<(String, String)>,
}

/// `histogram_quantile`.
pub fn quantiles(q: f64, samples: &[Sample]) -> Results {
    of_histograms(samples, |buckets| quantile(q, buckets))
}

/// `histogram_fraction`: of each histogram which part of the observations lies between two values.
pub fn fractions(lower: f64, upper: f64, samples: &[Sample]) -> Results {
    of_histograms(samples, |buckets| (fraction(lower, upper, buckets), false))
}

/// `compute` gives a value, and whether the counts had to be levelled.
fn of_histograms(samples: &[Sample], compute: impl Fn(Vec<Bucket>) -> (f64, bool)) -> Results {
    let mut results = Results::default();
    for (sample, buckets) in histograms(samples, &mut results.malformed) {
        let (value, levelled) = compute(buckets);
        if levelled {
            results.levelled.push(sample.labels.metric_name().to_owned());
        }
        let labels = sample.labels.filtered(|name| name != BOUND && !is_reserved(name));
        results.samples.push(Sample { labels, value });
    }
    results
}

/// The buckets of each histogram, with one of its samples.
fn histograms<'a>(samples: &'a [Sample], malformed: &mut Vec<(String, String)>) -> Vec<(&'a Sample, Vec<Bucket>)> {
    let names = Names::new(vec![BOUND.to_owned()]);
    let mut places: HashMap<(&str, Key<'_>), usize> = HashMap::new();
    let mut found: Vec<(&Sample, Vec<Bucket>)> = Vec::new();
    for sample in samples {
        let (name, bound) = (sample.labels.metric_name(), sample.labels.get(BOUND));
        let Some(upper) = upper_bound(bound) else {
            malformed.push((name.to_owned(), bound.to_owned()));
            continue;
        };
        let key = (name, Key { labels: &sample.labels, kept: Kept::Others(&names) });
        let place = *places.entry(key).or_insert(found.len());
        if place == found.len() {
            found.push((sample, Vec::new()));
        }
        found[place].1.push(Bucket { bound: upper, count: sample.value });
    }
    found
}

/// As Go reads numbers: what is too large for one is none.
fn upper_bound(text: &str) -> Option<f64> {
    let overflows = |bound: &f64| bound.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
    text.parse().ok().filter(|bound| !overflows(bound))
}

/// By straight lines within the buckets that hold the limits. The lowest bucket begins at 0 where its bound is positive,
/// else a limit within it counts the whole of it: as after Prometheus 3.5, which gives NaN for a limit in either.
fn fraction(lower: f64, upper: f64, mut buckets: Vec<Bucket>) -> f64 {
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    if buckets.last().is_none_or(|bucket| bucket.bound != f64::INFINITY) {
        return f64::NAN;
    }
    merge_equal(&mut buckets);
    let total = buckets.last().map_or(0.0, |bucket| bucket.count);
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, &buckets, total) - rank_of(lower, &buckets, total)) / total
}

/// How many observations lie below a value.
fn rank_of(value: f64, buckets: &[Bucket], total: f64) -> f64 {
    let is_positive = buckets.first().is_some_and(|lowest| lowest.bound > 0.0);
    let (mut start, mut below) = (if is_positive { 0.0 } else { f64::NEG_INFINITY }, 0.0);
    // Unlike `min`, this keeps NaN.
    let limited = |rank: f64| if rank > total { total } else { rank };
    for Bucket { bound, count } in buckets {
        if start >= value {
            return limited(below);
        }
        if *bound > value {
            let is_open = start == f64::NEG_INFINITY;
            return limited(if is_open { *count } else { below + (count - below) * (value - start) / (bound - start) });
        }
        (start, below) = (*bound, *count);
    }
    total
}

/// By a straight line within the bucket that holds the quantile. The lowest bucket begins at 0 where its bound is
/// positive; of the highest, which has no upper end, the lower bound is given.
fn quantile(q: f64, mut buckets: Vec<Bucket>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if !(0.0..=1.0).contains(&q) {
        return (if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY }, false);
    }
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    if buckets.last().is_none_or(|highest| highest.bound != f64::INFINITY) {
        return (f64::NAN, false);
    }
    merge_equal(&mut buckets);
    let levelled = make_monotonic(&mut buckets);
    (quantile_of_monotonic(q, &buckets), levelled)
}

fn quantile_of_monotonic(q: f64, buckets: &[Bucket]) -> f64 {
    let [below @ .., highest] = buckets else { return f64::NAN };
    let Some(second) = below.last() else { return f64::NAN };
    if highest.count == 0.0 {
        return f64::NAN;
    }
    let rank = q * highest.count;
    let place = first_with(below, rank);
    match (place.checked_sub(1).map(|before| below[before]), below.get(place)) {
        (_, None) => second.bound,
        (None, Some(lowest)) if lowest.bound <= 0.0 => lowest.bound,
        // A rank of -0 gives 0.
        (None, Some(lowest)) => 0.0 + lowest.bound * (rank / lowest.count),
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

/// Counts must not fall from a bucket to the next: differences by rounding are taken out, and a fall is levelled: then true.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let (mut before, mut levelled) = (buckets.first().map_or(0.0, |bucket| bucket.count), false);
    for bucket in buckets.iter_mut().skip(1) {
        if nearly_equal(before, bucket.count) {
            bucket.count = before;
        } else if bucket.count < before {
            bucket.count = before;
            levelled = true;
        } else {
            before = bucket.count;
        }
    }
    levelled
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
