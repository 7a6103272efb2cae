use super::*;
use crate::promql::parse;

/// One series with a sample each second, and the questions that it was asked.
struct Seconds;

impl Select for Seconds {
    fn instant(&self, _: &[Matcher], at: Timestamp, _: i64) -> Vec<Sample> {
        vec![Sample { labels: labels(), value: (at / 1_000) as f64 }]
    }

    fn range(&self, _: &[Matcher], after: Timestamp, until: Timestamp, visit: &mut dyn FnMut(&Labels, &[Point])) {
        let times = (after.div_euclid(1_000) + 1)..=until.div_euclid(1_000);
        let points: Vec<Point> = times.map(|second| Point { at: second * 1_000, value: second as f64 }).collect();
        visit(&labels(), &points);
    }
}

fn labels() -> Labels {
    Labels::new([(METRIC_NAME, "a"), ("b", "c")])
}

fn one(text: &str, at: Timestamp) -> f64 {
    match evaluate(&parse(text).unwrap(), &Seconds, at, &Settings::default()) {
        Ok(Value::Vector(samples)) => samples[0].value,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn an_offset_moves_the_question_and_not_the_time() {
    assert_eq!(one("a offset 1m", 1_000_000), 940.0);
    assert_eq!(one("a offset -1m", 1_000_000), 1_060.0);
    assert_eq!(one("max_over_time(a[10s] offset 1m)", 1_000_000), 940.0);
    assert_eq!(one("timestamp(a offset 1m)", 1_000_500), 940.0);
    assert_eq!(one("predict_linear(a[10s] offset 1m, 60)", 1_000_000), 1_060.0, "from the evaluation's time on");
}

#[test]
fn a_window_is_open_on_its_left() {
    assert_eq!(one("count_over_time(a[10s])", 1_000_000), 10.0);
    assert_eq!(one("min_over_time(a[10s])", 1_000_000), 991.0);
    assert_eq!(one("rate(a[1m])", 1_000_000), 1.0, "extrapolated to its edges");
}

#[test]
fn what_a_range_selects_is_bounded_too() {
    let expr = parse("a[1h]").unwrap();
    let within = |samples| evaluate(&expr, &Seconds, 7_200_000, &Settings { samples, ..Settings::default() });
    assert!(within(3_600).is_ok());
    let error = within(3_599).unwrap_err();
    assert_eq!((error.span.clone(), error.message.contains("3599 samples")), (0..5, true), "{error}");
}

#[test]
fn a_range_is_a_value_of_its_own() {
    match evaluate(&parse("a[3s]").unwrap(), &Seconds, 10_000, &Settings::default()) {
        Ok(Value::Matrix(series)) => assert_eq!(series[0].points.len(), 3),
        other => panic!("{other:?}"),
    }
}
