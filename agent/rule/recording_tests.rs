//! Recording rules over a real store, tick by tick, with what rests on them.

use std::time::Duration;

use super::*;
use crate::alert::AlertState;
use crate::promql::Settings;
use crate::sample::METRIC_NAME;
use crate::store::{SourceId, Store, StoreLimits};

const TICK: Timestamp = 5_000;

/// The groups of one file over a store, as the engine runs them: a look at the target `app`, then every group.
struct World {
    store: Store,
    target: SourceId,
    groups: Vec<Group>,
    sources: Vec<SourceId>,
    recorded: Vec<Recorded>,
    active: BTreeMap<AlertId, Alert>,
    at: Timestamp,
    errors: Vec<String>,
    events: Vec<Event>,
}

impl World {
    fn new(groups: &str) -> Self {
        let groups = file::load("a.yml", groups, true).unwrap_or_else(|problems| panic!("{problems:?}"));
        let mut store = Store::new(StoreLimits { series: 1_000, window: Duration::from_secs(700) });
        World {
            target: store.add_source("app", 100),
            sources: groups.iter().map(|group| store.add_source(&group.name, 100)).collect(),
            recorded: vec![Recorded::new(); groups.len()],
            store,
            groups,
            active: BTreeMap::new(),
            at: 1_700_000_000_000,
            errors: Vec::new(),
            events: Vec::new(),
        }
    }

    /// One tick. `look`: what the target reported, or nothing where it could not be looked at.
    fn tick(&mut self, look: Option<&[(&str, f64)]>) {
        self.at += TICK;
        let row: Vec<_> = look.unwrap_or_default().iter().map(|(name, value)| (self.series(name), *value)).collect();
        self.store.append(self.target, self.at, look.is_some(), &row);
        (self.errors, self.events) = Default::default();
        for index in 0..self.groups.len() {
            let outcome = self.evaluate(index);
            self.apply(index, outcome);
        }
    }

    fn series(&mut self, name: &str) -> crate::store::SeriesId {
        let labels = Labels::new([(METRIC_NAME, name), ("service", "app"), ("target", "app")]);
        self.store.series(self.target, &labels).unwrap()
    }

    fn evaluate(&self, index: usize) -> Outcome {
        let context = Context {
            external_labels: &BTreeMap::new(),
            external_url: "",
            query_offset: self.groups[index].query_offset.unwrap_or_default(),
            subquery_step: std::time::Duration::from_secs(60),
            recorded: &self.recorded[index],
            keep: &|_, _| false,
            removed: &BTreeSet::new(),
        };
        let (current, held) = (self.store.current(), self.store.held());
        evaluate(&self.groups[index], &self.active, &current, &held, self.at, &context)
    }

    fn apply(&mut self, index: usize, outcome: Outcome) {
        for change in outcome.changes {
            match change {
                Change::Put { alert, .. } => self.active.insert(alert.id.clone(), alert),
                Change::Remove(id) => self.active.remove(&id),
            };
        }
        let source = self.sources[index];
        let row: Vec<_> = outcome
            .samples
            .iter()
            .map(|sample| (self.store.series(source, &sample.labels).unwrap(), sample.value))
            .collect();
        self.store.append(source, self.at, !outcome.partial, &row);
        self.recorded[index] = outcome.recorded;
        self.errors.extend(outcome.errors.iter().map(ToString::to_string));
        self.events.extend(outcome.events);
    }

    fn times(&mut self, count: usize, look: Option<&[(&str, f64)]>) {
        (0..count).for_each(|_| self.tick(look));
    }

    /// What an expression is worth now.
    fn query(&self, expr: &str) -> Vec<String> {
        let expr = promql::parse(expr).unwrap();
        match promql::evaluate(&expr, &self.store.current(), self.at, &Settings::default()).unwrap() {
            Value::Vector(samples) => {
                samples.iter().map(|sample| format!("{} {}", sample.labels, sample.value)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn only(&self) -> &Alert {
        assert_eq!(self.active.len(), 1, "{:?} {:?}", self.active, self.errors);
        self.active.values().next().unwrap()
    }

    /// What a restart leaves: the alerts, an empty store.
    fn restart(&mut self, groups: &str) {
        let (active, at) = (std::mem::take(&mut self.active), self.at);
        *self = World { active, at, ..World::new(groups) };
    }
}

#[test]
fn what_is_recorded_is_a_series_with_the_rule_s_labels_until_its_result_vanishes() {
    let mut world = World::new(
        r#"groups: [{name: g, rules: [{record: "a:b", expr: up > 0, labels: {target: "", by: rule}}, {record: c, expr: 7}]}]"#,
    );
    world.tick(Some(&[("up", 1.0)]));
    assert_eq!(world.query("a:b"), [r#"a:b{by="rule", service="app"} 1"#]);
    assert_eq!(world.query("c"), ["c 7"]);
    world.tick(Some(&[("up", 0.0)]));
    assert_eq!(world.query("a:b"), Vec::<String>::new());
}

#[test]
fn later_rules_of_a_tick_see_what_was_recorded_and_what_no_longer_is() {
    let mut world = World::new(
        r#"groups: [{name: g, rules: [{alert: Before, expr: "a:b"}, {record: "a:b", expr: up > 0}, {alert: After, expr: "a:b"}]}]"#,
    );
    let names = |world: &World| -> Vec<String> { world.active.keys().map(|id| id.rule.clone()).collect() };
    world.tick(Some(&[("up", 1.0)]));
    assert_eq!(names(&world), ["After"]);
    world.tick(Some(&[("up", 1.0)]));
    assert_eq!(names(&world), ["After", "Before"]);
    world.tick(Some(&[("up", 0.0)]));
    assert_eq!(names(&world), ["Before"], "it sees the tick before");
    world.tick(Some(&[("up", 0.0)]));
    assert_eq!(names(&world), Vec::<String>::new());
}

#[test]
fn a_recorded_series_is_read_through_a_window_by_the_tick_that_records_it() {
    let mut world = World::new(
        r#"groups: [{name: g, rules: [{record: "a:b", expr: up}, {record: "a:c", expr: "count_over_time(a:b[12s])"}]}]"#,
    );
    for expected in [1, 2, 3, 3] {
        world.tick(Some(&[("up", 1.0)]));
        assert_eq!(world.query("a:c"), [format!(r#"a:c{{service="app", target="app"}} {expected}"#)]);
    }
}

#[test]
fn series_that_cannot_be_told_apart_and_too_many_are_an_error() {
    let mut world = World::new(
        r#"
groups:
  - {name: g, rules: [{record: "a:b", expr: '{__name__=~"x|y"}'}]}
  - {name: h, limit: 1, rules: [{record: "a:c", expr: '{__name__=~"x|y"}', labels: {more: than}}, {record: "a:d", expr: x}]}
  - {name: i, limit: 1, rules: [{record: "a:e", expr: 'count by (of) (x) or count by (target) (x)'}]}
"#,
    );
    world.tick(Some(&[("x", 1.0), ("y", 2.0)]));
    assert_eq!(world.errors.len(), 3, "{:?}", world.errors);
    assert!(
        world.errors[0].contains("vector contains metrics with the same labelset after applying rule labels"),
        "{:?}",
        world.errors
    );
    assert!(world.errors[2].ends_with("a:e: exceeded limit of 1 with 2 series"), "{:?}", world.errors);
    assert_eq!(world.query(r#"{__name__=~"a:.*"}"#), [r#"a:d{service="app", target="app"} 1"#], "the others go on");
}

#[test]
fn of_two_rules_that_record_one_series_the_first_counts() {
    let mut world = World::new(
        r#"groups: [{name: g, rules: [{record: "a:b", expr: x}, {record: "a:b", expr: y}, {record: "a:b", expr: y, labels: {of: y}}]}]"#,
    );
    world.tick(Some(&[("x", 1.0), ("y", 2.0)]));
    let expected = [r#"a:b{service="app", target="app"} 1"#, r#"a:b{of="y", service="app", target="app"} 2"#];
    assert_eq!(world.query("a:b"), expected);
    assert!(world.errors.len() == 1 && world.errors[0].contains("by an earlier rule"), "{:?}", world.errors);
    world.tick(Some(&[("x", 2.0), ("y", 2.0)]));
    assert_eq!(world.errors, Vec::<String>::new(), "equal values do not contradict each other");
}

#[test]
fn an_error_of_a_recording_rule_resolves_no_alert_over_what_it_recorded() {
    for groups in [
        r#"groups: [{name: g, rules: [{record: "a:b", expr: x == on (service) y}, {alert: A, expr: "a:b"}]}]"#,
        r#"groups: [{name: g, rules: [{record: "a:b", expr: x == on (service) y}]}, {name: h, rules: [{alert: A, expr: "a:b"}]}]"#,
    ] {
        let mut world = World::new(groups);
        world.tick(Some(&[("x", 1.0), ("y", 1.0)]));
        let twin = Labels::new([(METRIC_NAME, "y"), ("service", "app"), ("target", "twin")]);
        let twin = world.store.series(world.target, &twin).unwrap();
        for _ in 0..100 {
            let at = world.at + TICK - 1;
            let row = [(world.series("x"), 1.0), (world.series("y"), 1.0), (twin, 1.0)];
            world.store.append(world.target, at, true, &row);
            world.at += TICK;
            (0..world.groups.len()).for_each(|index| {
                let outcome = world.evaluate(index);
                world.apply(index, outcome);
            });
            assert!(world.events.iter().all(|event| matches!(event, Event::Fired(_))), "{:?}", world.events);
        }
        assert_eq!(world.only().state, AlertState::Firing);
        world.tick(Some(&[("x", 1.0), ("y", 2.0)]));
        assert!(world.active.is_empty(), "it is known again, and gone: {:?}", world.active);
    }
}

#[test]
fn an_alert_over_a_recorded_series_is_held_while_what_was_recorded_from_is_unknown() {
    for groups in [
        r#"groups: [{name: g, rules: [{record: "a:b", expr: sum by (service) (up)}, {alert: Down, expr: "a:b == 0"}]}]"#,
        r#"groups: [{name: g, rules: [{alert: Down, expr: "a:b == 0"}]}, {name: h, rules: [{record: "a:b", expr: sum by (service) (up)}]}]"#,
    ] {
        let mut world = World::new(groups);
        world.times(2, Some(&[("up", 0.0)]));
        for _ in 0..1_000 {
            world.tick(None);
            assert!(world.events.is_empty(), "{:?}", world.events);
        }
        assert!(world.only().held_since.is_some());
        assert_eq!(world.query("a:b"), Vec::<String>::new(), "to others it is absent, as in Prometheus");
        world.times(2, Some(&[("up", 1.0)]));
        assert!(world.active.is_empty());
    }
}

/// Requests and errors by the shape of the shipped rules.
const RATIO: &str = r#"
groups:
  - name: g
    rules:
      - {record: "service:requests", expr: "sum by (service) (increase(requests_total[5m]))"}
      - {record: "service:errors", expr: "sum by (service) (increase(errors_total[5m])) / service:requests"}
      - {alert: Errors, expr: "service:errors > 0.05 and on (service) service:requests >= 20"}
"#;

impl World {
    /// `count` ticks of ten requests each, of which `errors` fail.
    fn traffic(&mut self, requests: &mut (f64, f64), count: usize, errors: f64) {
        for _ in 0..count {
            *requests = (requests.0 + 10.0, requests.1 + errors);
            self.tick(Some(&[("requests_total", requests.0), ("errors_total", requests.1)]));
        }
    }
}

#[test]
fn no_data_never_resolves_a_rate() {
    let mut world = World::new(RATIO);
    let mut requests = (0.0, 0.0);
    world.traffic(&mut requests, 100, 1.0);
    assert_eq!(world.only().state, AlertState::Firing);
    for _ in 0..200 {
        world.tick(None);
        assert!(world.events.is_empty(), "{:?}", world.events);
    }
    // It is seen again, and the window has not filled: one good look proves nothing.
    for _ in 0..59 {
        world.traffic(&mut requests, 1, 0.0);
        assert!(world.events.is_empty(), "{:?}", world.events);
    }
    world.traffic(&mut requests, 3, 0.0);
    assert!(world.active.is_empty(), "a whole window is well");
}

#[test]
fn a_rate_that_is_seen_to_recover_resolves_at_once() {
    let mut world = World::new(RATIO);
    let mut requests = (0.0, 0.0);
    world.traffic(&mut requests, 100, 1.0);
    world.traffic(&mut requests, 29, 0.0);
    assert_eq!(world.active.len(), 1);
    world.traffic(&mut requests, 3, 0.0);
    assert!(world.active.is_empty(), "half a window without an error: 5 %");
}

#[test]
fn no_traffic_is_no_alert_and_ends_one() {
    let mut world = World::new(RATIO);
    let mut requests = (0.0, 0.0);
    world.traffic(&mut requests, 100, 1.0);
    let idle = [("requests_total", requests.0), ("errors_total", requests.1)];
    world.times(61, Some(&idle));
    assert!(world.active.is_empty());
}

#[test]
fn a_restored_rate_is_kept_until_its_window_has_filled() {
    let mut world = World::new(RATIO);
    let mut requests = (0.0, 0.0);
    world.traffic(&mut requests, 100, 1.0);
    world.restart(RATIO);
    for _ in 0..59 {
        world.traffic(&mut requests, 1, 0.0);
        assert!(world.events.is_empty(), "{:?}", world.events);
    }
    world.traffic(&mut requests, 3, 0.0);
    assert!(world.active.is_empty());
}

#[test]
fn a_series_that_a_complete_look_no_longer_shows_is_gone_not_unknown() {
    let mut world = World::new(RATIO);
    let mut requests = (0.0, 0.0);
    world.traffic(&mut requests, 100, 1.0);
    world.times(62, Some(&[("up", 1.0)]));
    assert!(world.active.is_empty());
}

#[test]
fn the_store_must_keep_of_each_series_what_reads_it() {
    let kept = |rules: &str, hold: bool| {
        let mut groups = file::load("a.yml", &format!("groups: [{{name: g, rules: [{rules}]}}]"), hold).unwrap();
        link(&mut groups);
        ["x", "y", "a:b"].map(|name| {
            let named = |matchers: &[Matcher]| matchers.iter().any(|matcher| &*matcher.value == name);
            let all = selections(&groups).into_iter().filter(|(matchers, _)| named(matchers));
            all.map(|(_, window)| window.as_secs()).max()
        })
    };
    assert_eq!(kept("{alert: A, expr: time() > bool 5}", true), [None; 3]);
    assert_eq!(kept("{alert: A, expr: x}", true), [Some(300), None, None]);
    let two = "{alert: A, expr: 'rate(x[15m] offset 1m) > y'}";
    assert_eq!(kept(two, false), [Some(960), Some(300), None]);
    assert_eq!(kept(two, true), [Some(960), Some(960), None], "whether it was there before the window is looked at");
    let recorded = "{record: 'a:b', expr: 'rate(x[10m])'}, {alert: A, expr: 'max_over_time(a:b[1h]) > 0'}";
    assert_eq!(kept(recorded, false), [Some(600), None, Some(3_600)]);
    assert_eq!(kept(recorded, true), [Some(4_200), None, Some(3_600)]);
}

#[test]
fn recorded_names_are_followed_to_their_sources_whatever_their_order() {
    let text = r#"
groups:
  - {name: a, rules: [{alert: A, expr: '{__name__=~"l2:.*"} > 0'}, {alert: B, expr: "l2:x or other"}]}
  - {name: b, rules: [{record: "l2:x", expr: "max_over_time(l1:x[10m])"}, {record: "l1:x", expr: "rate(raw[5m]) or l2:x"}]}
"#;
    let groups = file::load("a.yml", text, true).unwrap();
    let basis = |rule: usize| {
        let basis = &groups[0].rules[rule].basis;
        let text = |matchers: &Vec<crate::matcher::Matcher>| {
            matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        (basis.selectors.iter().map(text).collect::<Vec<_>>(), basis.window, basis.derived)
    };
    let raw = r#"__name__="raw""#.to_owned();
    let quarter = Duration::from_secs(900);
    assert_eq!(basis(0), (vec![raw.clone(), r#"__name__=~"l2:.*""#.to_owned()], quarter, true));
    assert_eq!(basis(1), (vec![raw, r#"__name__="other""#.to_owned()], quarter, true));
}

#[test]
fn alerts_that_end_or_change_their_state_at_a_tick_are_ended_in_the_windows_of_later_rules() {
    let mut world = World::new(
        r#"
groups:
- name: g
  rules:
  - {alert: A, expr: 'x == 1', for: 1s}
  - {record: "n:now", expr: 'count by (alertstate) (ALERTS{alertname="A"})'}
  - {record: "n:window", expr: 'count by (alertstate) (last_over_time(ALERTS{alertname="A"}[1m]))'}
  - {record: "n:at", expr: 'count by (alertstate) (count_over_time(ALERTS{alertname="A"}[1s]))'}
"#,
    );
    let states = |world: &World, name: &str| world.query(&format!("{name}{{alertstate!=\"\"}}"));
    world.tick(Some(&[("x", 1.0)]));
    assert_eq!(states(&world, "n:now"), [r#"n:now{alertstate="pending"} 1"#]);
    world.tick(Some(&[("x", 1.0)]));
    assert_eq!(states(&world, "n:now"), [r#"n:now{alertstate="firing"} 1"#]);
    assert_eq!(states(&world, "n:at"), [r#"n:at{alertstate="firing"} 1"#], "pending has ended at this tick");
    world.tick(Some(&[("x", 0.0)]));
    assert_eq!(states(&world, "n:now"), Vec::<String>::new());
    assert_eq!(states(&world, "n:at"), Vec::<String>::new(), "a stale marker is no sample");
    assert_eq!(states(&world, "n:window").len(), 2, "the window shows what was");
}

#[test]
fn a_group_with_a_query_offset_sees_and_writes_what_was_then() {
    let mut world = World::new(
        r#"
groups:
- {name: g, query_offset: 5s, rules: [{record: "a:t", expr: 'timestamp(x)'}, {record: "a:time", expr: 'time()'}]}
"#,
    );
    world.tick(Some(&[("x", 1.0)]));
    world.tick(Some(&[("x", 2.0)]));
    let outcome = world.evaluate(0);
    let time = outcome.samples.iter().find(|sample| sample.labels.get(METRIC_NAME) == "a:time").expect("recorded");
    assert_eq!(time.value, (world.at - 5_000) as f64 / 1000.0);
}
