use super::*;
use crate::promql::parse;
use crate::sample::METRIC_NAME;

/// One series with a sample each second, and the questions that it was asked.
struct Seconds;

impl Select for Seconds {
    fn instant(&self, _: &[Matcher], at: Timestamp, _: i64) -> Vec<Sample> {
        vec![Sample { labels: labels(), value: (at / 1_000) as f64 }]
    }

    fn range(&self, _: &[Matcher], after: Timestamp, until: Timestamp, visit: &mut Visit<'_>) {
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
fn the_ends_of_time_are_steps_as_any() {
    let expr = parse("predict_linear(a[3s] @ 10, 1) + time() * 0").unwrap();
    for at in [Timestamp::MIN, Timestamp::MAX] {
        let steps = Steps { from: at, to: at, step: 60_000 };
        assert_eq!(evaluate_range(&expr, &Seconds, &steps, &Settings::default()).unwrap()[0].points.len(), 1);
        assert!(
            matches!(evaluate(&expr, &Seconds, at, &Settings::default()), Ok(Value::Vector(found)) if found.len() == 1)
        );
    }
}

#[test]
fn a_range_is_a_value_of_its_own() {
    match evaluate(&parse("a[3s]").unwrap(), &Seconds, 10_000, &Settings::default()) {
        Ok(Value::Matrix(series)) => assert_eq!(series[0].points.len(), 3),
        other => panic!("{other:?}"),
    }
}

mod steps {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::*;
    use crate::promql::{At, ExprKind, Subquery, parse};
    use crate::sample::{METRIC_NAME, stale_marker};

    /// Series over time, and how often they were selected.
    #[derive(Default)]
    struct Data {
        series: Vec<Series>,
        selections: std::sync::atomic::AtomicUsize,
    }

    impl Data {
        /// `name{x="…"}` with a value each ten seconds from 0 on; NaN is none.
        fn with(mut self, name: &str, x: &str, values: &[f64]) -> Self {
            let point = |(index, value): (usize, &f64)| Point { at: index as i64 * 10_000, value: *value };
            let points =
                values.iter().enumerate().map(point).filter(|point| !point.value.is_nan() || is_stale(point.value));
            self.series.push(Series { labels: Labels::new([(METRIC_NAME, name), ("x", x)]), points: points.collect() });
            self
        }
    }

    impl Select for Data {
        fn instant(&self, matchers: &[Matcher], at: Timestamp, lookback: i64) -> Vec<Sample> {
            let mut found = Vec::new();
            self.range(matchers, at - lookback, at, &mut |labels, points| {
                let newest = points[points.len() - 1];
                if !is_stale(newest.value) {
                    found.push(Sample { labels: labels.clone(), value: newest.value });
                }
            });
            found
        }

        fn range(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp, visit: &mut Visit<'_>) {
            self.selections.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            for Series { labels, points } in &self.series {
                let points = snapshot::between(points, after, until);
                if !points.is_empty() && matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
                    visit(labels, points);
                }
            }
        }
    }

    /// `a` counts up by one every ten seconds for an hour, `b` is its square, `c` breaks off at 100 s.
    fn data() -> Data {
        let counts: Vec<f64> = (0..360).map(f64::from).collect();
        let squares: Vec<f64> = counts.iter().map(|value| value * value).collect();
        let broken: Vec<f64> = (0..10).map(f64::from).chain([stale_marker()]).collect();
        Data::default().with("a", "1", &counts).with("b", "1", &squares).with("c", "1", &broken)
    }

    /// Subqueries and `@` put into a parsed expression, as the parser's part of them is another's.
    fn over(operand: &str, range: i64, step: Option<i64>, offset: i64, at: Option<At>) -> Expr {
        let operand = parse(operand).unwrap();
        Expr { kind: ExprKind::Subquery(Box::new(Subquery { operand, range, step, offset, at })), span: 0..1 }
    }

    fn called(function: &str, argument: Expr) -> Expr {
        let mut call = parse(&format!("{function}(a[1s])")).unwrap();
        let ExprKind::Call(inner) = &mut call.kind else { panic!("{function}") };
        inner.arguments = vec![argument];
        call
    }

    fn at(mut expr: Expr, fixed: At) -> Expr {
        fn fix(expr: &mut Expr, fixed: At) {
            match &mut expr.kind {
                ExprKind::Selector(selector) => selector.at = Some(fixed),
                ExprKind::Call(call) => call.arguments.iter_mut().for_each(|argument| fix(argument, fixed)),
                ExprKind::Binary(binary) => {
                    fix(&mut binary.left, fixed);
                    fix(&mut binary.right, fixed);
                }
                _ => {}
            }
        }
        fix(&mut expr, fixed);
        expr
    }

    fn value(expr: &Expr, data: &Data, at: Timestamp) -> f64 {
        match evaluate(expr, data, at, &Settings::default()).unwrap() {
            Value::Vector(samples) => samples[0].value,
            other => panic!("{other:?}"),
        }
    }

    fn range(text: &str, data: &Data, from: i64, to: i64, step: i64) -> Result<Vec<Series>, String> {
        let steps = Steps { from, to, step };
        evaluate_range(&parse(text).unwrap(), data, &steps, &Settings::default()).map_err(|error| error.message)
    }

    fn values(series: &Series) -> Vec<(i64, f64)> {
        series.points.iter().map(|point| (point.at, point.value)).collect()
    }

    #[test]
    fn a_subquery_evaluates_at_the_multiples_of_its_step_within_a_left_open_window() {
        let data = data();
        let subquery = over("a", 60_000, Some(20_000), 0, None);
        let times = |at| match evaluate(&subquery, &data, at, &Settings::default()).unwrap() {
            Value::Matrix(series) => series[0].points.iter().map(|point| point.at / 1_000).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(times(600_000), [560, 580, 600]);
        assert_eq!(times(610_000), [560, 580, 600]);
        assert_eq!(times(599_999), [540, 560, 580]);
        assert_eq!(times(30_000), [0, 20]);
    }

    #[test]
    fn a_subquery_has_a_default_step_an_offset_and_a_time_of_its_own() {
        let data = data();
        assert_eq!(value(&called("count_over_time", over("a", 600_000, None, 0, None)), &data, 1_200_000), 10.0);
        let behind = called("max_over_time", over("a", 60_000, Some(10_000), 300_000, None));
        assert_eq!(value(&behind, &data, 1_200_000), 90.0);
        let ahead = called("max_over_time", over("a", 60_000, Some(10_000), -300_000, None));
        assert_eq!(value(&ahead, &data, 1_200_000), 150.0);
        let fixed = called("max_over_time", over("a", 60_000, Some(10_000), 0, Some(At::Time(500_000))));
        assert_eq!(value(&fixed, &data, 1_200_000), 50.0);
    }

    #[test]
    fn subqueries_nest_and_select_once() {
        let data = data();
        let inner = over("rate(a[1m])", 300_000, Some(30_000), 0, None);
        let mut outer = over("a", 600_000, Some(60_000), 0, None);
        let ExprKind::Subquery(subquery) = &mut outer.kind else { panic!() };
        subquery.operand = called("max_over_time", inner);
        let nested = called("avg_over_time", outer);
        let found = value(&nested, &data, 1_800_000);
        assert!((found - 0.1).abs() < 1e-12, "{found}");
        assert_eq!(data.selections.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[test]
    fn a_range_is_what_its_instants_are() {
        let data = data();
        for text in
            ["a", "rate(a[1m])", "a + ignoring(x) b", "sum by (x) ({__name__=~'a|b'})", "topk(1, b) > 5", "c", "time()"]
        {
            let expr = parse(text).unwrap();
            let series = range(text, &data, 0, 900_000, 45_000).unwrap();
            for at in (0..=900_000).step_by(45_000) {
                let of_range: Vec<(Labels, f64)> = series
                    .iter()
                    .filter_map(|series| {
                        let point = series.points.iter().find(|point| point.at == at)?;
                        Some((series.labels.clone(), point.value))
                    })
                    .collect();
                let instant = match evaluate(&expr, &data, at, &Settings::default()).unwrap() {
                    Value::Vector(samples) => samples.into_iter().map(|sample| (sample.labels, sample.value)).collect(),
                    Value::Scalar(value) => vec![(Labels::default(), value)],
                    other => panic!("{other:?}"),
                };
                assert_eq!(of_range, instant, "{text} at {at}");
            }
        }
    }

    #[test]
    fn a_range_selects_once_and_stale_markers_end_its_series() {
        let data = data();
        let series = range("c", &data, 80_000, 200_000, 10_000).unwrap();
        assert_eq!(values(&series[0]), [(80_000, 8.0), (90_000, 9.0)]);
        assert_eq!(data.selections.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[test]
    fn at_stands_in_for_the_evaluation_s_time() {
        let data = data();
        let steps = Steps { from: 100_000, to: 300_000, step: 100_000 };
        let ask = |fixed| {
            let expr = at(parse("a + b").unwrap(), fixed);
            values(&evaluate_range(&expr, &data, &steps, &Settings::default()).unwrap()[0])
        };
        assert_eq!(ask(At::Start), [(100_000, 110.0), (200_000, 110.0), (300_000, 110.0)]);
        assert_eq!(ask(At::End), [(100_000, 930.0), (200_000, 930.0), (300_000, 930.0)]);
        assert_eq!(ask(At::Time(20_000))[2], (300_000, 6.0));
        assert_eq!(value(&at(parse("timestamp(a)").unwrap(), At::Time(25_000)), &data, 900_000), 20.0);
        let line = at(parse("predict_linear(a[1m], 0)").unwrap(), At::Time(60_000));
        assert!((value(&line, &data, 120_000) - 12.0).abs() < 1e-9, "from the evaluation's time on");
    }

    #[test]
    fn series_that_become_one_are_refused_even_at_different_steps() {
        let none = f64::NAN;
        // The first ends before the second begins.
        let first = [vec![1.0; 5], vec![stale_marker()]].concat();
        let then = [vec![none; 5], vec![1.0; 5], vec![none; 40]].concat();
        let data = Data::default().with("a", "1", &first).with("b", "1", &then);
        let names = "{__name__=~'a|b'}";
        for text in [format!("sum_over_time({names}[20s])"), format!("-{names}")] {
            let error = range(&text, &data, 0, 90_000, 10_000);
            assert_eq!(error, Err(SAME_LABELS.to_owned()), "{text}");
        }
        assert_eq!(range(&format!("sum_over_time({names}[20s])"), &data, 0, 40_000, 10_000).unwrap().len(), 1);
        let replaced = format!("label_replace({names}, '__name__', 'z', '', '')");
        assert_eq!(range(&replaced, &data, 0, 90_000, 10_000).map(|series| series.len()), Ok(1), "as after 3.5");
        assert!(range(&format!("abs({names} offset 10m)"), &data, 0, 90_000, 10_000).is_ok());
    }

    #[test]
    fn an_evaluation_goes_on_where_it_stopped() {
        let data = data();
        let expr = parse("sum by (x) (rate(a[1m])) + ignoring(y) b").unwrap();
        let steps = Steps { from: 60_000, to: 3_000_000, step: 15_000 };
        let settings = Settings::default();
        let snapshot = Snapshot::take(&expr, &data, &steps, &settings).unwrap();
        let mut evaluation = Evaluation::range(&expr, &snapshot, steps, settings).unwrap();
        let mut slices = 1;
        while !evaluation.advance(50).unwrap() {
            slices += 1;
        }
        assert!(slices > 20, "{slices}");
        assert_eq!(evaluation.finish().value, Value::Matrix(evaluate_range(&expr, &data, &steps, &settings).unwrap()));
    }

    /// Notes how often it was asked, and has some series.
    struct Asked(AtomicUsize);

    impl Select for Asked {
        fn instant(&self, _: &[Matcher], _: Timestamp, _: i64) -> Vec<Sample> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let labels = |index: usize| Labels::new([("x", index.to_string())]);
            (0..2_500).map(|index| Sample { labels: labels(index), value: 1.0 }).collect()
        }

        fn range(&self, _: &[Matcher], _: Timestamp, _: Timestamp, _: &mut Visit<'_>) {}
    }

    #[test]
    fn no_more_than_one_operation_of_a_step_is_done_at_once() {
        let data = Asked(AtomicUsize::new(0));
        let expr = parse("sum((a + b) * (c + d)) + scalar(e or a) * time()").unwrap();
        let mut evaluation = Evaluation::instant(&expr, &data, 0, Settings::default());
        let mut pieces = Vec::new();
        while !evaluation.advance(1_000).unwrap() {
            pieces.push(data.0.swap(0, Ordering::Relaxed));
        }
        assert!(pieces.iter().all(|asked| *asked <= 1), "{pieces:?}");
        assert_eq!(pieces.iter().sum::<usize>(), 6);
        assert!(pieces.len() >= 10, "six selections, and what is made of them: {pieces:?}");
    }

    #[test]
    fn labels_are_replaced_a_few_at_a_time() {
        let data = Asked(AtomicUsize::new(0));
        let expr = parse("count(label_join(label_replace(a, 'y', '$1', 'x', '(.*)'), 'z', '-', 'x', 'y'))").unwrap();
        let mut evaluation = Evaluation::instant(&expr, &data, 0, Settings::default());
        let mut pieces = 1;
        while !evaluation.advance(1_000).unwrap() {
            pieces += 1;
        }
        assert_eq!(pieces, 1 + 3 + 3 + 1, "2,500 series by the thousand, twice");
        let Value::Vector(samples) = evaluation.finish().value else { panic!("a vector") };
        assert_eq!(samples[0].value, 2_500.0);
    }

    #[test]
    fn what_is_worth_the_same_at_every_step_is_evaluated_once() {
        let data = Asked(AtomicUsize::new(0));
        let steps = Steps { from: 0, to: 100_000, step: 10_000 };
        let relabelled = |value| format!("label_replace(a @ 1, 'y', '{value}', '', '')");
        let twice = format!("label_replace({} or {}, 'z', '1', '', '')", relabelled(1), relabelled(2));
        for (text, asked) in [("sum(a @ 1)", 1), ("time() + sum(a @ 1)", 1), (&*twice, 2)] {
            for text in [text, &format!("last_over_time(({text})[1m:1s])")] {
                let expr = parse(text).unwrap();
                let mut evaluation = Evaluation::range(&expr, &data, steps, Settings::default()).unwrap();
                while !evaluation.advance(1).unwrap() {}
                assert_eq!(data.0.swap(0, Ordering::Relaxed), asked, "{text}");
            }
        }
    }

    #[test]
    fn a_long_replacement_makes_no_piece_long() {
        let data = Asked(AtomicUsize::new(0));
        let replacement = "$0".repeat(15_000);
        let pieces = |text: &str| {
            let expr = parse(text).unwrap();
            let mut evaluation =
                Evaluation::instant(&expr, &data, 0, Settings { work: 10_000_000, ..Settings::default() });
            let mut pieces = 0;
            while !evaluation.advance(1_000).unwrap() {
                pieces += 1;
            }
            pieces
        };
        let replaced = |with: &str| format!("label_replace(a, 'y', '{with}', 'none', '(.*)')");
        assert!(pieces(&replaced(&replacement)) > 100 * pieces(&replaced("")).max(1), "each takes its time");
    }

    #[test]
    fn what_operations_make_is_bounded() {
        let data = Asked(AtomicUsize::new(0));
        let refused = |text: &str, settings| {
            let expr = parse(text).unwrap();
            let mut evaluation = Evaluation::instant(&expr, &data, 0, settings);
            evaluation.advance(usize::MAX).unwrap_err().message
        };
        let settings = Settings { series: 4_000, ..Settings::default() };
        let error = refused("a or label_replace(a, 'y', '1', '', '')", settings);
        assert!(error.contains("more than 4000 series are selected or made"), "{error}");
        let settings = Settings { samples: 6_000, ..Settings::default() };
        let error = refused("a + (a + (a + a))", settings);
        assert!(error.contains("more than 6000 samples"), "{error}");
    }

    #[test]
    fn every_bound_names_itself() {
        let data = data();
        let few = Settings { samples: 100, series: 1, work: 1_000, ..Settings::default() };
        let refused = |text: &str, settings| {
            let steps = Steps { from: 0, to: 3_600_000, step: 1_000 };
            evaluate_range(&parse(text).unwrap(), &data, &steps, &settings).unwrap_err().message
        };
        let default = Settings::default();
        assert!(refused("a", Settings { samples: few.samples, ..default }).contains("more than 100 samples"));
        assert!(refused("{x='1'}", Settings { series: few.series, ..default }).contains("more than 1 series"));
        assert!(refused("time()", Settings { work: few.work, ..default }).contains("more than 1000 samples in all"));
        let endless = over("a", i64::MAX, Some(1), 0, None);
        let error = evaluate(&endless, &data, 0, &Settings { work: 1_000, ..default }).unwrap_err();
        assert!(error.message.contains("in all its steps"), "{error}");
    }

    #[test]
    fn steps_that_no_window_holds_are_left_out() {
        let data = data();
        let expr = called("count_over_time", over("a", 20_000, Some(10_000), 0, None));
        let steps = Steps { from: 600_000, to: 3_000_000, step: 600_000 };
        let settings = Settings { work: 100, ..Settings::default() };
        let series = evaluate_range(&expr, &data, &steps, &settings).unwrap();
        assert_eq!(values(&series[0]), (1..=5).map(|at| (at * 600_000, 2.0)).collect::<Vec<_>>());
    }

    #[test]
    fn a_snapshot_made_of_pieces_is_the_same_one() {
        let data = data();
        let expr = parse("rate(a[1m]) + on (x) b").unwrap();
        let steps = Steps { from: 0, to: 90_000, step: 10_000 };
        let settings = Settings::default();
        let mut taking = Snapshot::begin(&expr, &steps, &settings);
        while let Some(wanted) = taking.wanted() {
            data.range(&wanted.matchers, wanted.after, wanted.until, &mut |labels, points| {
                // The later half first, as of a removed source and the one after it.
                let (early, late) = points.split_at(points.len() / 2);
                taking.add(labels, late).unwrap();
                taking.add(labels, early).unwrap();
            });
            taking.complete();
        }
        let snapshot = taking.finish();
        let expected = evaluate_range(&expr, &data, &steps, &settings).unwrap();
        assert!(!expected.is_empty());
        assert_eq!(evaluate_range(&expr, &snapshot, &steps, &settings).unwrap(), expected);
    }

    #[test]
    fn of_an_instant_selector_only_the_newest_sample_is_taken() {
        let data = data();
        let expr = parse("a").unwrap();
        let few = Settings { samples: 50, ..Settings::default() };
        let many = Settings { samples: 1, ..Settings::default() };
        let steps = Steps::once(90_000);
        let snapshot = Snapshot::take(&expr, &data, &steps, &few).unwrap();
        assert_eq!(evaluate(&expr, &snapshot, 90_000, &few), evaluate(&expr, &data, 90_000, &few));
        let refused = |settings: &Settings| Snapshot::take(&parse("a[1m]").unwrap(), &data, &steps, settings).err();
        assert!(refused(&many).is_some_and(|error| error.is_limit));
    }

    #[test]
    fn a_rate_of_what_is_no_counter_by_its_name_is_told() {
        let data = data();
        let told = |text: &str| {
            let expr = parse(text).unwrap();
            let mut evaluation = Evaluation::instant(&expr, &data, 90_000, Settings::default());
            evaluation.advance(usize::MAX).unwrap();
            evaluation.finish().annotations.into_iter().map(|note| note.span).collect::<Vec<_>>()
        };
        assert_eq!(told("sum(rate((a[1m])))"), vec![10..15]);
        assert_eq!(told("irate(a[1m])"), Vec::<Range<usize>>::new());
    }

    #[test]
    fn a_wrong_quantile_is_annotated_once() {
        let data = data();
        let expr = parse("quantile(2, a)").unwrap();
        let steps = Steps { from: 0, to: 50_000, step: 10_000 };
        let mut evaluation = Evaluation::range(&expr, &data, steps, Settings::default()).unwrap();
        evaluation.advance(usize::MAX).unwrap();
        let annotations = evaluation.finish().annotations;
        let [Annotation { is_warning: true, message, span }] = annotations.as_slice() else {
            panic!("{annotations:?}")
        };
        assert_eq!((message.as_str(), span.clone()), ("quantile value should be between 0 and 1, got 2", 9..10));
    }

    #[test]
    fn sort_puts_nan_last_either_way() {
        let data = Data::default().with("a", "1", &[2.0]).with("a", "2", &[-1.0]).with("a", "3", &[5.0]);
        let order = |text: &str| match evaluate(&parse(text).unwrap(), &data, 0, &Settings::default()).unwrap() {
            Value::Vector(samples) => {
                samples.iter().map(|sample| sample.labels.get("x").to_owned()).collect::<String>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(order("sort(sqrt(a))"), "132");
        assert_eq!(order("sort_desc(sqrt(a))"), "312");
    }

    #[test]
    fn names_come_off_and_what_differed_by_them_alone_is_refused() {
        let data = data();
        let names = |text: &str| match evaluate(&parse(text).unwrap(), &data, 90_000, &Settings::default()) {
            Ok(Value::Vector(samples)) => samples.iter().map(|sample| sample.labels.metric_name().to_owned()).collect(),
            Err(error) => vec![error.message],
            other => panic!("{other:?}"),
        };
        assert_eq!(names("a * 2"), [""]);
        assert_eq!(names("a > 2"), ["a"]);
        assert_eq!(names("a > bool 2"), [""]);
        assert_eq!(names("(a * 2) or b"), [""], "b is a without its name");
        assert_eq!(names("(a * 2) or on(x, __name__) b"), ["", "b"]);
        assert_eq!(names("a * 2 > ignoring(y) b"), Vec::<String>::new());
        assert_eq!(names("b > a * 2"), ["b"]);
        assert_eq!(names("{x='1'} * 2"), [SAME_LABELS]);
        assert_eq!(names("last_over_time(a[1m])"), ["a"]);
        assert_eq!(names("a * on(x) group_left(__name__) b"), ["b"]);
        assert_eq!(names("count by (__name__) (a * 2)"), [""]);
        assert_eq!(names("topk(5, -a)"), [""]);
    }

    #[test]
    fn type_and_unit_go_with_the_name() {
        let labels = Labels::new([(METRIC_NAME, "a"), ("__type__", "counter"), ("__unit__", "s"), ("x", "1")]);
        let points = vec![Point { at: 0, value: 1.0 }];
        let data = Data { series: vec![Series { labels, points }], ..Data::default() };
        let labels = |text: &str| match evaluate(&parse(text).unwrap(), &data, 0, &Settings::default()).unwrap() {
            Value::Vector(samples) => samples.iter().map(|sample| sample.labels.to_string()).collect::<String>(),
            other => panic!("{other:?}"),
        };
        for text in ["-a", "a * 2", "a > bool 0", "abs(a)", "a + a", "a * on(x) group_left a", "(a * 2) + -a"] {
            assert_eq!(labels(text), r#"{x="1"}"#, "{text}");
        }
        assert_eq!(labels("sum without (x) (a)"), r#"{__type__="counter", __unit__="s"}"#);
    }

    #[test]
    fn a_histogram_s_faults_are_annotated() {
        let bucket = |bound: &str, value| Series {
            labels: Labels::new([(METRIC_NAME, "h"), ("le", bound)]),
            points: vec![Point { at: 0, value }],
        };
        let series = vec![bucket("1", 5.0), bucket("2", 4.0), bucket("+Inf", 6.0), bucket("no", 1.0)];
        let data = Data { series, ..Data::default() };
        let expr = parse("histogram_quantile(0.5, h)").unwrap();
        let mut evaluation = Evaluation::instant(&expr, &data, 0, Settings::default());
        evaluation.advance(usize::MAX).unwrap();
        let said: Vec<String> = evaluation.finish().annotations.into_iter().map(|said| said.message).collect();
        assert!(said[0].contains(r#"malformed value of "no" for metric name "h""#), "{said:?}");
        assert!(said[1].contains("needed to be fixed for monotonicity"), "{said:?}");
    }
}
