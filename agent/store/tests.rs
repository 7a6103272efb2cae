use super::*;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::{self, Select};
use crate::sample::{Sample, stale_marker};

const MINUTE: Timestamp = 60_000;
const LOOKBACK_MS: i64 = 5 * MINUTE;

fn store() -> Store {
    Store::new(StoreLimits { series: 100, window: Duration::from_secs(600) })
}

fn named(name: &str) -> Labels {
    Labels::new([("__name__", name), ("job", "db")])
}

fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher::new(name, op, value).unwrap()
}

fn current(store: &Store, name: &str, at: Timestamp) -> Vec<f64> {
    values(store.current().instant(&[matcher("__name__", MatchOp::Equal, name)], at, LOOKBACK_MS))
}

fn held(store: &Store, name: &str, at: Timestamp) -> Vec<f64> {
    values(store.held().instant(&[matcher("__name__", MatchOp::Equal, name)], at, LOOKBACK_MS))
}

fn values(samples: Vec<Sample>) -> Vec<f64> {
    samples.iter().map(|sample| sample.value).collect()
}

#[test]
fn a_series_that_is_missing_in_a_complete_report_is_gone_in_both_views() {
    let mut store = store();
    let source = store.add_source("db", 10);
    let [up, lag] = ["up", "lag"].map(|name| store.series(source, &named(name)).unwrap());
    store.append(source, MINUTE, true, &[(up, 1.0), (lag, 3.0)]);
    assert_eq!(current(&store, "lag", MINUTE), [3.0]);

    store.append(source, 2 * MINUTE, true, &[(up, 1.0)]);
    assert!(current(&store, "lag", 2 * MINUTE).is_empty());
    assert!(held(&store, "lag", 2 * MINUTE).is_empty());
    assert_eq!(current(&store, "lag", 2 * MINUTE - 1), [3.0]);
}

#[test]
fn a_series_that_is_missing_in_a_failed_look_is_stale_but_held_beyond_the_window() {
    let mut store = store();
    let source = store.add_source("db", 10);
    let [up, lag] = ["up", "lag"].map(|name| store.series(source, &named(name)).unwrap());
    store.append(source, 0, true, &[(up, 1.0), (lag, 3.0)]);
    for minute in 1..60 {
        store.append(source, minute * MINUTE, false, &[(up, 0.0)]);
        assert_eq!(held(&store, "lag", minute * MINUTE), [3.0]);
        assert!(current(&store, "lag", minute * MINUTE).is_empty());
    }
    store.append(source, 60 * MINUTE, true, &[(up, 1.0)]);
    assert!(held(&store, "lag", 60 * MINUTE).is_empty());
    assert!(!store.contains(lag));
    assert!(store.contains(up));
}

#[test]
fn a_source_that_falls_silent_is_held_and_not_current_after_the_lookback() {
    let mut store = store();
    let source = store.add_source("db", 10);
    let up = store.series(source, &named("up")).unwrap();
    store.append(source, 0, true, &[(up, 1.0)]);
    assert_eq!(current(&store, "up", LOOKBACK_MS - 1), [1.0]);
    assert!(current(&store, "up", LOOKBACK_MS).is_empty());
    assert_eq!(held(&store, "up", LOOKBACK_MS), [1.0]);
    assert_eq!(store.newest(LOOKBACK_MS - 1).count(), 1);
    assert_eq!(store.newest(LOOKBACK_MS).count(), 0);
}

#[test]
fn a_removed_source_holds_nothing_and_leaves_with_the_window() {
    let mut store = store();
    let source = store.add_source("db", 10);
    let other = store.add_source("cache", 10);
    let up = store.series(source, &named("up")).unwrap();
    store.append(source, 0, true, &[(up, 1.0)]);
    store.append(source, MINUTE, false, &[]);
    store.remove_source(source, 2 * MINUTE);
    assert!(held(&store, "up", 2 * MINUTE).is_empty());
    assert_eq!(held(&store, "up", 2 * MINUTE - 1), [1.0]);
    assert_eq!(store.series(source, &named("up")), Err(Refused::NoSource));
    assert_eq!(store.append(source, 3 * MINUTE, true, &[(up, 1.0)]), 0);

    store.append(other, 13 * MINUTE, true, &[]);
    let counts = store.counts();
    assert_eq!((counts.sources, counts.series, counts.samples, counts.symbols), (1, 0, 0, 0));
}

#[test]
fn a_reload_may_give_the_labels_of_a_removed_source_to_a_new_one_in_the_same_instant() {
    let mut store = store();
    let old = store.add_source("db", 10);
    let before = store.series(old, &named("up")).unwrap();
    store.append(old, MINUTE, true, &[(before, 0.0)]);
    store.remove_source(old, 2 * MINUTE);

    let new = store.add_source("db", 10);
    let after = store.series(new, &named("up")).unwrap();
    assert_ne!(before, after);
    assert_eq!(store.append(new, 2 * MINUTE - 1, true, &[(after, 1.0)]), 0, "it would overlap");
    assert_eq!(store.append(new, 2 * MINUTE, true, &[(after, 1.0)]), 1);
    assert_eq!(current(&store, "up", 2 * MINUTE), [1.0]);
    assert_eq!(current(&store, "up", 2 * MINUTE - 1), [0.0]);
}

#[test]
fn a_live_source_keeps_its_labels_to_itself() {
    let mut store = store();
    let one = store.add_source("one", 10);
    let two = store.add_source("two", 10);
    store.series(one, &named("up")).unwrap();
    let refused = store.series(two, &named("up")).unwrap_err();
    assert_eq!(refused.to_string(), r#"up{job="db"}: a series of one already; give one of them another label"#);
    assert_eq!(store.counts().refused.taken, 1);
}

#[test]
fn a_report_that_is_not_newer_is_dropped_and_counted() {
    let mut store = store();
    let source = store.add_source("db", 10);
    let up = store.series(source, &named("up")).unwrap();
    store.append(source, 5, true, &[(up, 1.0)]);
    assert_eq!(store.append(source, 5, true, &[(up, 2.0)]), 0);
    assert_eq!(store.append(source, 4, true, &[]), 0);
    assert_eq!(store.counts().dropped.out_of_order, 1);
    assert_eq!(current(&store, "up", 5), [1.0]);
}

#[test]
fn a_series_that_stands_twice_in_a_report_keeps_the_first_value() {
    let mut store = store();
    let source = store.add_source("db", 10);
    let up = store.series(source, &named("up")).unwrap();
    assert_eq!(store.append(source, 5, true, &[(up, 1.0), (up, 2.0)]), 1);
    assert_eq!(store.counts().dropped.duplicate, 1);
    assert_eq!(current(&store, "up", 5), [1.0]);
}

#[test]
fn a_forgotten_series_id_is_dead_even_when_its_place_is_taken() {
    let mut store = store();
    let source = store.add_source("db", 10);
    let gone = store.series(source, &named("gone")).unwrap();
    store.append(source, 0, true, &[(gone, 1.0)]);
    store.append(source, 11 * MINUTE, true, &[]);
    assert!(!store.contains(gone));
    let new = store.series(source, &named("new")).unwrap();
    assert_eq!(store.append(source, 12 * MINUTE, true, &[(gone, 7.0), (new, 8.0)]), 1);
    assert_eq!(store.counts().dropped.unknown_series, 1);
    assert_eq!(current(&store, "new", 12 * MINUTE), [8.0]);
    assert!(current(&store, "gone", 12 * MINUTE).is_empty());
}

#[test]
fn a_source_writes_its_own_series_only() {
    let mut store = store();
    let one = store.add_source("one", 10);
    let two = store.add_source("two", 10);
    let up = store.series(one, &named("up")).unwrap();
    assert_eq!(store.append(two, 1, true, &[(up, 1.0)]), 0);
    assert_eq!(store.counts().dropped.unknown_series, 1);
}

#[test]
fn a_series_that_returns_within_the_window_is_the_same_series() {
    let mut store = store();
    let source = store.add_source("db", 10);
    let up = store.series(source, &named("up")).unwrap();
    store.append(source, 0, true, &[(up, 1.0)]);
    store.append(source, MINUTE, true, &[]);
    assert_eq!(store.series(source, &named("up")), Ok(up));
    store.append(source, 2 * MINUTE, true, &[(up, 3.0)]);
    let seen: Vec<_> = (0..3).map(|minute| current(&store, "up", minute * MINUTE)).collect();
    assert_eq!(seen, [vec![1.0], vec![], vec![3.0]]);
}

#[test]
fn a_stale_marker_ends_a_series() {
    let mut store = store();
    let source = store.add_source("rules", 10);
    let up = store.series(source, &named("up")).unwrap();
    store.append(source, 0, true, &[(up, 1.0)]);
    store.append(source, 1, false, &[(up, stale_marker())]);
    store.append(source, 2, false, &[]);
    assert!(current(&store, "up", 1).is_empty());
    assert!(held(&store, "up", 2).is_empty());
}

#[test]
fn a_full_source_forgets_what_has_ended_before_it_refuses() {
    let mut store = store();
    let source = store.add_source("db", 2);
    let [one, two] = ["one", "two"].map(|name| store.series(source, &named(name)).unwrap());
    store.append(source, 0, true, &[(one, 1.0), (two, 1.0)]);
    let refused = store.series(source, &named("three")).unwrap_err();
    assert_eq!(refused, Refused::SourceFull { source_name: "db".into(), max: 2 });

    store.append(source, 1, true, &[(two, 1.0)]);
    let three = store.series(source, &named("three")).unwrap();
    assert!(!store.contains(one));
    assert_eq!(store.append(source, 2, true, &[(two, 1.0), (three, 1.0)]), 2);
    assert_eq!(store.counts().refused.source_full, 1);
}

#[test]
fn what_is_only_unknown_is_not_forgotten_for_room() {
    let mut store = store();
    let source = store.add_source("db", 1);
    let one = store.series(source, &named("one")).unwrap();
    store.append(source, 0, true, &[(one, 1.0)]);
    store.append(source, 1, false, &[]);
    assert!(store.series(source, &named("two")).is_err());
    assert_eq!(held(&store, "one", 1), [1.0]);
}

#[test]
fn a_full_store_forgets_removed_sources_before_it_refuses() {
    let mut store = Store::new(StoreLimits { series: 1, window: Duration::from_secs(600) });
    let old = store.add_source("old", 10);
    let new = store.add_source("new", 10);
    let one = store.series(old, &named("one")).unwrap();
    store.append(old, 0, true, &[(one, 1.0)]);
    let refused = store.series(new, &named("two")).unwrap_err();
    assert_eq!(refused, Refused::StoreFull { source_name: "new".into(), max: 1 });
    store.remove_source(old, 1);
    assert!(store.series(new, &named("two")).is_ok());
    assert_eq!(store.counts().refused.store_full, 1);
}

#[test]
fn selection_takes_every_kind_of_matcher() {
    let mut store = store();
    let source = store.add_source("db", 10);
    let labels = [
        Labels::new([("__name__", "a"), ("mode", "read")]),
        Labels::new([("__name__", "a"), ("mode", "write")]),
        Labels::new([("__name__", "b")]),
        Labels::new([("mode", "nameless")]),
    ];
    let row: Vec<_> = (1_u8..)
        .zip(&labels)
        .map(|(value, labels)| (store.series(source, labels).unwrap(), f64::from(value)))
        .collect();
    store.append(source, 1, true, &row);
    let select = |matchers: &[(&str, MatchOp, &str)]| {
        let matchers: Vec<_> = matchers.iter().map(|(name, op, value)| matcher(name, *op, value)).collect();
        values(store.current().instant(&matchers, 1, 1))
    };
    assert_eq!(select(&[("__name__", MatchOp::Equal, "a")]), [1.0, 2.0]);
    assert_eq!(select(&[("__name__", MatchOp::Equal, "a"), ("mode", MatchOp::NotEqual, "read")]), [2.0]);
    assert_eq!(select(&[("__name__", MatchOp::Equal, "a"), ("__name__", MatchOp::NotEqual, "a")]), Vec::<f64>::new());
    assert_eq!(select(&[("__name__", MatchOp::NotEqual, "")]), [1.0, 2.0, 3.0]);
    assert_eq!(select(&[("__name__", MatchOp::Regex, "b|c")]), [3.0]);
    assert_eq!(select(&[("__name__", MatchOp::Equal, "")]), [4.0]);
    assert_eq!(select(&[("mode", MatchOp::Regex, ".*e.*")]), [4.0, 1.0, 2.0]);
    assert_eq!(select(&[("mode", MatchOp::Equal, "")]), [3.0]);
}

#[test]
fn a_source_that_reports_without_a_pause_is_bounded_by_rows() {
    let mut store = store();
    let source = store.add_source("db", 10);
    let up = store.series(source, &named("up")).unwrap();
    (0..30_000).for_each(|at| assert_eq!(store.append(source, at, true, &[(up, 1.0)]), 1));
    assert_eq!(store.counts().samples, source::MAX_ROWS);
    assert_eq!(current(&store, "up", 29_999), [1.0]);
}

fn points(view: View<'_>, name: &str, after: Timestamp, until: Timestamp) -> Vec<(Timestamp, f64)> {
    let mut found = promql::series_between(&view, &[matcher("__name__", MatchOp::Equal, name)], after, until);
    assert!(found.len() <= 1, "{found:?}");
    found.pop().map(|series| series.points.iter().map(|point| (point.at, point.value)).collect()).unwrap_or_default()
}

/// A target that is seen every minute from 0 to 9, and then fails.
fn outage(store: &mut Store, until: i64) {
    let source = store.add_source("app", 10);
    let [up, hits] = ["up", "hits"].map(|name| store.series(source, &named(name)).unwrap());
    for minute in 0..10 {
        store.append(source, minute * MINUTE, true, &[(up, 1.0), (hits, minute as f64)]);
    }
    for minute in 10..until {
        store.append(source, minute * MINUTE, false, &[(up, 0.0)]);
    }
}

#[test]
fn a_range_of_what_is_unknown_is_its_last_one_however_long_the_outage() {
    let mut store = store();
    outage(&mut store, 10);
    let last = points(store.current(), "hits", 4 * MINUTE, 9 * MINUTE);
    assert_eq!(last.len(), 5);
    for length in [12, 30, 500] {
        let mut store = self::store();
        outage(&mut store, length);
        let now = (length - 1) * MINUTE;
        let held = points(store.held(), "hits", now - 5 * MINUTE, now);
        let moved: Vec<_> = last.iter().map(|(at, value)| (at + now - 9 * MINUTE, *value)).collect();
        assert_eq!(held, moved, "{length}");
        assert!(points(store.current(), "hits", now - 2 * MINUTE, now).is_empty());
        assert_eq!(points(store.held(), "up", now - 2 * MINUTE, now), [(now - MINUTE, 0.0), (now, 0.0)]);
        // Ten minutes before the outage, ten up to now, and a few.
        assert!(store.counts().samples < 40, "{:?}", store.counts());
    }
}

#[test]
fn a_range_of_a_source_that_fell_silent_ends_where_it_is_asked_for() {
    let mut store = store();
    outage(&mut store, 10);
    let now = 20 * MINUTE;
    let held = points(store.held(), "hits", now - 2 * MINUTE, now);
    assert_eq!(held, [(now - MINUTE, 8.0), (now, 9.0)]);
    assert_eq!(points(store.held(), "hits", 8 * MINUTE, 12 * MINUTE), [(9 * MINUTE, 9.0)], "not silent for long");
}

#[test]
fn a_range_of_what_is_gone_keeps_its_time_in_both_views() {
    let mut store = store();
    let source = store.add_source("app", 10);
    let hits = store.series(source, &named("hits")).unwrap();
    store.append(source, MINUTE, true, &[(hits, 1.0)]);
    store.append(source, 2 * MINUTE, true, &[]);
    store.append(source, 3 * MINUTE, false, &[]);
    for view in [store.current(), store.held()] {
        assert_eq!(points(view, "hits", 0, 3 * MINUTE), [(MINUTE, 1.0)]);
    }
}

#[test]
fn an_outage_that_ends_leaves_the_present_window_only() {
    let mut store = store();
    outage(&mut store, 100);
    let source = SourceId(store.series.values().next().unwrap().source);
    let up = store.series(source, &named("up")).unwrap();
    store.append(source, 100 * MINUTE, true, &[(up, 1.0)]);
    assert_eq!(store.counts().series, 1);
    assert!(points(store.held(), "hits", 0, 100 * MINUTE).is_empty());
    assert_eq!(points(store.current(), "up", 90 * MINUTE, 100 * MINUTE).len(), 10);
}

#[test]
fn a_label_set_that_moves_to_a_new_source_is_one_series_in_a_range() {
    let mut store = store();
    let old = store.add_source("app", 10);
    let before = store.series(old, &named("hits")).unwrap();
    store.append(old, MINUTE, true, &[(before, 1.0)]);
    store.remove_source(old, 2 * MINUTE);
    let new = store.add_source("app", 10);
    let after = store.series(new, &named("hits")).unwrap();
    store.append(new, 3 * MINUTE, true, &[(after, 2.0)]);
    for view in [store.current(), store.held()] {
        assert_eq!(points(view, "hits", 0, 3 * MINUTE), [(MINUTE, 1.0), (3 * MINUTE, 2.0)]);
    }
}

fn selection(name: &str, minutes: u64) -> Selection {
    Selection { matchers: vec![matcher("__name__", MatchOp::Equal, name)], window: Duration::from_secs(minutes * 60) }
}

#[test]
fn what_comes_and_goes_while_series_are_selected_is_selected_right() {
    let mut store = store();
    let source = store.add_source("app", 10);
    let series = |store: &mut Store, name: &str, pod: &str| {
        store.series(source, &Labels::new([("__name__", name), ("pod", pod)])).unwrap()
    };
    let before: Vec<_> = ["a", "b", "c"].into_iter().map(|pod| series(&mut store, "hits", pod)).collect();
    let rows = |ids: &[SeriesId]| ids.iter().map(|id| (*id, 1.0)).collect::<Vec<_>>();
    store.append(source, 0, true, &rows(&before));
    store.begin_select(vec![selection("hits", 30), selection("up", 30)]);
    assert!(store.go_on_selecting(1));
    let after = [series(&mut store, "up", "d"), series(&mut store, "hits", "e")];
    let there = [&before[1..2], &after].concat();
    for minute in 1..20 {
        store.append(source, minute * MINUTE, true, &rows(&there));
    }
    assert!(!store.contains(before[0]), "gone while it was remembered already");
    while store.go_on_selecting(1) {}
    let seen = |store: &Store, name: &str| {
        let samples = store.current().instant(&[matcher("__name__", MatchOp::Equal, name)], 30 * MINUTE, 30 * MINUTE);
        samples.iter().map(|sample| sample.labels.get("pod").to_owned()).collect::<String>()
    };
    assert_eq!((seen(&store, "hits"), seen(&store, "up")), ("be".to_owned(), "d".to_owned()));
    for minute in 20..60 {
        store.append(source, minute * MINUTE, true, &rows(&there));
    }
    assert_eq!(points(store.current(), "up", -1, 60 * MINUTE).len(), 31);
}

#[test]
fn a_series_is_kept_as_far_back_as_what_selects_it_looks() {
    let mut store = store();
    let source = store.add_source("app", 10);
    let [hits, up] = ["hits", "up"].map(|name| store.series(source, &named(name)).unwrap());
    let report = |store: &mut Store, minutes: std::ops::Range<i64>| {
        for minute in minutes {
            store.append(source, minute * MINUTE, true, &[(hits, minute as f64), (up, minute as f64)]);
        }
        let now = store.counts().samples as i64;
        let kept = |name: &str| points(store.current(), name, -1, 1_000 * MINUTE).len() as i64;
        assert_eq!(kept("hits") + kept("up"), now);
        [kept("hits"), kept("up")]
    };
    assert_eq!(report(&mut store, 0..60), [11, 11]);
    store.select(vec![selection("hits", 30), selection("up", 5)]);
    assert_eq!(report(&mut store, 60..61), [12, 11], "what is forgotten does not come back");
    assert_eq!(report(&mut store, 61..120), [31, 11]);
    // The longest counts, also for what comes later.
    let later = Selection { matchers: Vec::new(), window: Duration::from_secs(900) };
    store.select(vec![selection("hits", 20), later, selection("hits", 12)]);
    assert_eq!(points(store.current(), "hits", 0, 120 * MINUTE).len(), 21, "given back at once");
    assert_eq!(report(&mut store, 120..180), [21, 16]);
    store.select(Vec::new());
    assert_eq!(report(&mut store, 180..181), [11, 11]);
}

#[test]
fn what_one_series_keeps_does_not_keep_another_that_ended() {
    let mut store = store();
    let source = store.add_source("app", 10);
    store.select(vec![selection("hits", 600)]);
    let [hits, up] = ["hits", "up"].map(|name| store.series(source, &named(name)).unwrap());
    store.append(source, 0, true, &[(hits, 1.0), (up, 1.0)]);
    for minute in 1..100 {
        store.append(source, minute * MINUTE, true, &[(hits, 1.0)]);
    }
    assert!(store.contains(hits) && !store.contains(up));
    assert_eq!(store.counts().samples, 100);
}

#[test]
fn a_removed_source_stays_as_long_as_its_longest_window() {
    let mut store = store();
    store.select(vec![selection("hits", 30)]);
    let [long, short, other] = ["long", "short", "other"].map(|name| store.add_source(name, 10));
    let hits = store.series(long, &named("hits")).unwrap();
    let up = store.series(short, &named("up")).unwrap();
    store.append(long, 0, true, &[(hits, 1.0)]);
    store.append(short, 0, true, &[(up, 1.0)]);
    store.remove_source(long, MINUTE);
    store.remove_source(short, MINUTE);
    store.append(other, 20 * MINUTE, true, &[]);
    assert!(store.contains(hits) && !store.contains(up));
    store.append(other, 40 * MINUTE, true, &[]);
    assert!(!store.contains(hits));
}

#[test]
fn more_than_can_be_remembered_is_found_all_the_same() {
    let mut store = store();
    let source = store.add_source("app", 100);
    let all = Selection { matchers: vec![matcher("job", MatchOp::Equal, "db")], window: Duration::ZERO };
    store.select(vec![all.clone(), selection("hits", 1)]);
    let row: Vec<_> = (0..40)
        .map(|at| store.series(source, &named("hits").with("at", &at.to_string())).unwrap())
        .map(|series| (series, 1.0))
        .collect();
    store.append(source, MINUTE, true, &row);
    assert_eq!(store.current().instant(&all.matchers, MINUTE, MINUTE).len(), 40);
    assert_eq!(current(&store, "hits", MINUTE).len(), 40);
    store.append(source, 60 * MINUTE, true, &row[..3]);
    assert_eq!(store.current().instant(&all.matchers, 60 * MINUTE, MINUTE).len(), 3);
}

/// The times and whether each is a marker.
fn marks(view: View<'_>, name: &str, after: Timestamp, until: Timestamp) -> Vec<(Timestamp, bool)> {
    let mut found = Vec::new();
    view.range(&[matcher("__name__", MatchOp::Equal, name)], after, until, &mut |_, points| {
        found.extend(points.iter().map(|point| (point.at / MINUTE, crate::sample::is_stale(point.value))));
    });
    found
}

#[test]
fn a_stale_marker_stands_once_where_a_series_goes_missing() {
    let mut store = store();
    let source = store.add_source("app", 10);
    let [hits, up] = ["hits", "up"].map(|name| store.series(source, &named(name)).unwrap());
    for minute in [1, 2, 5, 8] {
        store.append(source, minute * MINUTE, true, &[(hits, 1.0), (up, 1.0)]);
        store.append(source, (minute + 1) * MINUTE - 1_000, minute != 5, &[(up, 1.0)]);
    }
    let marked = |view, after, until| marks(view, "hits", after * MINUTE, until * MINUTE);
    let all = [(1, false), (1, true), (2, false), (2, true), (5, false), (5, true), (8, false), (8, true)];
    assert_eq!(marked(store.current(), 0, 9), all);
    assert_eq!(marked(store.current(), 6, 7), [], "it was missing before");
    assert_eq!(marked(store.current(), 2, 3), [(2, true)], "it went missing within");
    let held: Vec<_> = all.into_iter().filter(|mark| *mark != (5, true)).collect();
    assert_eq!(marked(store.held(), 0, 9), held, "what is unknown is not marked");
}

#[test]
fn a_source_that_is_removed_marks_the_end_of_what_it_had() {
    let mut store = store();
    let source = store.add_source("app", 10);
    let [hits, up] = ["hits", "up"].map(|name| store.series(source, &named(name)).unwrap());
    store.append(source, MINUTE, true, &[(hits, 1.0), (up, 1.0)]);
    store.append(source, 2 * MINUTE, true, &[(up, 1.0)]);
    store.remove_source(source, 3 * MINUTE);
    for view in [store.current(), store.held()] {
        assert_eq!(marks(view, "up", 0, 5 * MINUTE), [(1, false), (2, false), (3, true)]);
        assert_eq!(marks(view, "hits", 0, 5 * MINUTE), [(1, false), (2, true)]);
        assert_eq!(marks(view, "up", 3 * MINUTE, 5 * MINUTE), []);
    }
}

#[test]
fn a_label_string_is_kept_once() {
    let mut store = store();
    let source = store.add_source("db", 10);
    for instance in ["one", "two", "three"] {
        store.series(source, &named("up").with("instance", instance)).unwrap();
    }
    // __name__, up, job, db, instance and three values.
    assert_eq!(store.counts().symbols, 8);
}
