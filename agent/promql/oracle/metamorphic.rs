//! The same question asked otherwise has the same answer.

use std::collections::BTreeMap;

use super::fixed::Fixed;
use crate::promql::{Point, Series, Settings, Steps, Value, evaluate, evaluate_range, parse};
use crate::sample::{Labels, METRIC_NAME, stale_marker};

const NOW: i64 = 1_700_000_000_000;
const SEEDS: u64 = 60;

type Vector = BTreeMap<Labels, u64>;

/// Series with gaps, resets, stale markers, NaN and infinities; `whole`: small whole numbers alone, which add up
/// exactly in any order.
fn world(random: &mut fastrand::Rng, whole: bool) -> Vec<Series> {
    let mut found = Vec::new();
    for name in ["a", "b"] {
        for (x, y) in [("1", "p"), ("1", "q"), ("2", "p"), ("2", ""), ("", "q")] {
            if random.u8(0..5) > 0 {
                let labels = Labels::new([(METRIC_NAME, name), ("x", x), ("y", y)]);
                found.push(Series { labels, points: points(random, whole) });
            }
        }
    }
    found
}

fn points(random: &mut fastrand::Rng, whole: bool) -> Vec<Point> {
    let (step, mut value) = ([15_000, 30_000, 7_000][random.usize(0..3)], 0.0);
    let first = NOW - 1_800_000 + random.i64(0..step);
    let times = (0..).map(|index| first + index * step).take_while(|at| *at <= NOW);
    times
        .filter_map(|at| {
            value = if random.u8(0..30) == 0 { 0.0 } else { value + f64::from(random.u8(0..5)) };
            let odd = match random.u8(0..100) {
                0 if !whole => f64::NAN,
                1 if !whole => f64::INFINITY,
                2 => stale_marker(),
                _ if whole => value,
                _ => value * 1.1,
            };
            (random.u8(0..15) > 0).then_some(Point { at, value: odd })
        })
        .collect()
}

const EXPRESSIONS: [&str; 24] = [
    "a",
    "-a",
    "a + on (x, y) b",
    "a > 10 or b",
    "a and ignoring (y) b",
    "sum by (x) (a)",
    "avg without (y) (a)",
    "stddev(b)",
    "quantile by (y) (0.3, a)",
    "count_values(\"v\", b)",
    "max by (x) (a) / on (x) group_right sum by (x, y) (b)",
    "rate(a[5m])",
    "increase(a[2m30s] offset 1m)",
    "irate(b[1m])",
    "deriv(a[5m])",
    "avg_over_time(b[3m])",
    "quantile_over_time(0.9, a[4m])",
    "max_over_time(rate(a[2m])[10m:30s])",
    "sum_over_time((a > 3)[5m:])",
    "absent(a{x=\"7\"})",
    "absent_over_time(b{x=\"1\"}[30s])",
    "label_replace(a, \"z\", \"$1\", \"x\", \"(.*)\")",
    "clamp(a, 1, 20) % 7",
    "scalar(b{x=\"1\",y=\"p\"}) * a",
];

/// The bits of each value, any NaN being one.
fn instant(text: &str, data: &Fixed, at: i64) -> Vector {
    match evaluate(&parse(text).unwrap(), data, at, &Settings::default()) {
        Ok(Value::Vector(samples)) => samples.into_iter().map(|s| (s.labels, bits(s.value))).collect(),
        other => panic!("{text}: {other:?}"),
    }
}

fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

fn steps(text: &str, data: &Fixed, steps: Steps) -> BTreeMap<i64, Vector> {
    let series = evaluate_range(&parse(text).unwrap(), data, &steps, &Settings::default()).unwrap();
    let mut found: BTreeMap<i64, Vector> = BTreeMap::new();
    for Series { labels, points } in series {
        for point in points {
            found.entry(point.at).or_default().insert(labels.clone(), bits(point.value));
        }
    }
    found
}

/// Puts `@` after every selector and subquery, before its offset if it has one.
fn fixed_at(text: &str, at: i64) -> String {
    use crate::promql::{At, Expr, ExprKind};
    fn fix(expr: &mut Expr, at: i64) {
        match &mut expr.kind {
            ExprKind::Selector(selector) => selector.at = Some(At::Time(at)),
            ExprKind::Subquery(subquery) => subquery.at = Some(At::Time(at)),
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Paren(inner) | ExprKind::Unary { operand: inner, .. } => fix(inner, at),
            ExprKind::Binary(binary) => {
                [&mut binary.left, &mut binary.right].into_iter().for_each(|side| fix(side, at))
            }
            ExprKind::Aggregate(aggregate) => fix(&mut aggregate.operand, at),
            ExprKind::Call(call) => call.arguments.iter_mut().for_each(|argument| fix(argument, at)),
        }
    }
    let mut expr = parse(text).unwrap();
    fix(&mut expr, at);
    expr.to_string()
}

/// Every expression in worlds of several seeds.
fn everywhere(whole: bool, test: impl Fn(&str, &[Series], &mut fastrand::Rng)) {
    for seed in 0..SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let world = world(&mut random, whole);
        for text in EXPRESSIONS {
            test(text, &world, &mut random);
        }
    }
}

#[test]
fn an_instant_is_a_step_of_a_range_and_what_at_fixes() {
    everywhere(false, |text, world, random| {
        let data = Fixed::new(world.to_vec());
        let step = random.i64(1_000..200_000);
        let from = NOW - 1_200_000 + random.i64(0..60_000);
        let range = steps(text, &data, Steps { from, to: from + 4 * step, step });
        for at in (0..5).map(|index| from + index * step) {
            let then = range.get(&at).cloned().unwrap_or_default();
            assert_eq!(instant(text, &data, at), then, "{text} at {at}");
        }
        let elsewhere = random.i64(-90_000_000..90_000_000);
        assert_eq!(
            instant(&fixed_at(text, from), &data, from + elsewhere),
            instant(text, &data, from),
            "{text} @ {from}"
        );
    });
}

#[test]
fn the_order_of_the_input_changes_no_answer() {
    everywhere(true, |text, world, random| {
        let mut other = world.to_vec();
        random.shuffle(&mut other);
        let at = NOW - random.i64(0..1_000_000);
        let (ours, others) = (Fixed::new(world.to_vec()), Fixed::new(other));
        // These add up what is no whole number.
        if !text.starts_with("stddev") {
            assert_eq!(instant(text, &ours, at), instant(text, &others, at), "{text}");
        }
    });
}

#[test]
fn an_offset_is_the_same_question_about_moved_samples() {
    everywhere(false, |text, world, random| {
        if text.contains('[') || text.contains("offset") {
            return;
        }
        let by = random.i64(-600..600) * 1_000;
        let moved = |series: &Series| {
            let points = series.points.iter().map(|point| Point { at: point.at + by, ..*point }).collect();
            Series { labels: series.labels.clone(), points }
        };
        let (still, moved) = (Fixed::new(world.to_vec()), Fixed::new(world.iter().map(moved).collect()));
        assert_eq!(instant(text, &moved, NOW + by), instant(text, &still, NOW), "{text}");
        let offset = format!("sum by (x) (count_over_time(a[5m] offset {}ms))", by.abs());
        let at = NOW - 600_000;
        assert_eq!(instant(&offset, &still, at + by.abs()), instant("sum by (x) (count_over_time(a[5m]))", &still, at));
    });
}

#[test]
fn groups_add_up_to_the_whole() {
    everywhere(true, |_, world, random| {
        let data = Fixed::new(world.to_vec());
        let at = NOW - random.i64(0..1_500_000);
        let total = instant("sum(a)", &data, at);
        for parts in [
            "sum(sum by (x) (a))",
            "sum(sum without (x) (a))",
            "sum(sum by (x, y) (a))",
            "sum(a{x=\"1\"} or a{x!=\"1\"})",
        ] {
            assert_eq!(instant(parts, &data, at), total, "{parts}");
        }
        assert_eq!(instant("sum(count by (y) (b))", &data, at), instant("count(b)", &data, at));
        assert_eq!(instant("max(max by (y) (a))", &data, at), instant("max(a)", &data, at));
        assert_eq!(instant("-min(-a)", &data, at), instant("max(a)", &data, at));
        assert_eq!(instant("topk by (x) (1, a)", &data, at).len(), instant("group by (x) (a)", &data, at).len());
    });
}

#[test]
fn adjoining_windows_add_up_to_the_one_that_covers_them() {
    everywhere(true, |_, world, random| {
        let data = Fixed::new(world.to_vec());
        let at = NOW - random.i64(0..600_000);
        let (first, second) = (random.i64(1..400), random.i64(1..400));
        for function in ["count_over_time", "sum_over_time"] {
            let whole = format!("sum({function}(a[{}s])) or vector(0)", first + second);
            let late = format!("sum({function}(a[{second}s]))");
            let early = format!("sum({function}(a[{first}s] offset {second}s))");
            let parts = format!("(({late} or vector(0)) + ({early} or vector(0)))");
            assert_eq!(instant(&whole, &data, at), instant(&parts, &data, at), "{whole} at {at}");
        }
        let most =
            format!("max by (x, y) (max_over_time(a[{second}s]) or max_over_time(a[{first}s] offset {second}s)) < 0");
        assert_eq!(instant(&most, &data, at), Vector::new(), "no value is negative");
    });
}

#[test]
fn what_a_filter_leaves_and_what_it_takes_are_the_whole() {
    everywhere(true, |_, world, random| {
        let data = Fixed::new(world.to_vec());
        let (at, limit) = (NOW - random.i64(0..1_500_000), random.u8(0..200));
        let halves = format!("(a > {limit}) or (a <= {limit})");
        assert_eq!(instant(&halves, &data, at), instant("a", &data, at));
        assert_eq!(instant("(a and b) or (a unless b)", &data, at), instant("a", &data, at));
        assert_eq!(instant("(a and on (x) b) or (a unless on (x) b)", &data, at), instant("a", &data, at));
    });
}
