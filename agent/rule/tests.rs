use proptest::prelude::*;

use super::*;
use crate::alert::AlertState;
use crate::config::load::SHIPPED_FILES;
use crate::matcher::Matcher;
use crate::sample::METRIC_NAME;

/// Samples that do not change until they are changed.
struct Fixed(Vec<Sample>);

impl Select for Fixed {
    fn instant(&self, matchers: &[Matcher], _at: Timestamp, _lookback: i64) -> Vec<Sample> {
        let matching = |sample: &&Sample| matchers.iter().all(|matcher| matcher.matches_labels(&sample.labels));
        self.0.iter().filter(matching).cloned().collect()
    }

    fn range(&self, _: &[Matcher], _: Timestamp, _: Timestamp, _: &mut promql::Visit<'_>) {}
}

struct Broken;

impl Select for Broken {
    fn instant(&self, _matchers: &[Matcher], _at: Timestamp, _lookback: i64) -> Vec<Sample> {
        panic!("the held view is looked at only where a held group's alert would go")
    }

    fn range(&self, matchers: &[Matcher], _: Timestamp, until: Timestamp, _: &mut promql::Visit<'_>) {
        self.instant(matchers, until, 0);
    }
}

fn series(name: &str, labels: &[(&str, &str)], value: f64) -> Sample {
    Sample { labels: Labels::new(labels.iter().copied().chain([(METRIC_NAME, name)])), value }
}

fn down(targets: &[&str]) -> Fixed {
    Fixed(targets.iter().map(|target| series("up", &[("target", target)], 0.0)).collect())
}

fn group(hold: bool, rules: &str) -> Group {
    let text = format!("groups: [{{name: g, rules: [{rules}]}}]");
    file::load("a.yml", &text, hold).unwrap_or_else(|problems| panic!("{problems:?}")).remove(0)
}

fn nothing(_: &Rule, _: &Alert) -> bool {
    false
}

fn everything(_: &Rule, _: &Alert) -> bool {
    true
}

/// A group from tick to tick.
struct World {
    group: Group,
    active: BTreeMap<AlertId, Alert>,
    recorded: Recorded,
    at: Timestamp,
    keep: fn(&Rule, &Alert) -> bool,
    removed: BTreeSet<String>,
}

impl World {
    fn new(hold: bool, rules: &str) -> Self {
        let (active, recorded, removed) = Default::default();
        World { group: group(hold, rules), active, recorded, at: 0, keep: nothing, removed }
    }

    fn tick(&mut self, current: &dyn Select, held: &dyn Select) -> Outcome {
        let external = BTreeMap::new();
        let recorded = std::mem::take(&mut self.recorded);
        let context = Context {
            external_labels: &external,
            external_url: "",
            query_offset: self.group.query_offset.unwrap_or_default(),
            subquery_step: std::time::Duration::from_secs(60),
            recorded: &recorded,
            keep: &self.keep,
            removed: &self.removed,
        };
        self.at += 5_000;
        let outcome = evaluate(&self.group, &self.active, current, held, self.at, &context);
        apply(&mut self.active, &outcome);
        self.recorded.clone_from(&outcome.recorded);
        outcome
    }

    fn only(&self) -> &Alert {
        assert_eq!(self.active.len(), 1);
        self.active.values().next().expect("one")
    }
}

fn apply(active: &mut BTreeMap<AlertId, Alert>, outcome: &Outcome) {
    for change in &outcome.changes {
        match change {
            Change::Put { alert, .. } => active.insert(alert.id.clone(), alert.clone()),
            Change::Remove(id) => active.remove(id),
        };
    }
}

fn labels(outcome: &Outcome) -> Vec<String> {
    outcome.samples.iter().map(|sample| format!("{} {}", sample.labels, sample.value)).collect()
}

#[test]
fn an_alert_has_the_expression_s_labels_then_the_rule_s_then_its_name() {
    let rule = r#"{alert: Down, expr: up == 0, labels: {target: "<{{ $labels.target }}>", severity: "{{ $labels.nope }}"},
                   annotations: {summary: "{{ $labels.__name__ }} {{ $labels.target }} is {{ $value }}"}}"#;
    let mut world = World::new(false, rule);
    world.tick(&down(&["db"]), &Broken);
    let alert = world.only();
    assert_eq!(alert.id.labels.to_string(), r#"{alertname="Down", target="<db>"}"#);
    assert_eq!(alert.annotations["summary"], "up db is 0");
    assert_eq!(alert.id.rule, r#"Down{severity="{{ $labels.nope }}", target="<{{ $labels.target }}>"}"#);
}

#[test]
fn a_scalar_is_one_alert_without_labels() {
    let mut world = World::new(false, "{alert: Always, expr: 1}");
    world.tick(&down(&[]), &Broken);
    assert_eq!(world.only().id.labels.to_string(), r#"{alertname="Always"}"#);
}

#[test]
fn active_alerts_are_series() {
    let mut world = World::new(false, "{alert: Down, expr: up == 0, for: 5s, labels: {severity: page}}");
    let pending = world.tick(&down(&["db"]), &Broken);
    assert_eq!(
        labels(&pending),
        [
            r#"ALERTS{alertname="Down", alertstate="pending", severity="page", target="db"} 1"#,
            r#"ALERTS_FOR_STATE{alertname="Down", severity="page", target="db"} 5"#,
        ]
    );
    let firing = world.tick(&down(&["db"]), &Broken);
    assert!(labels(&firing)[0].contains(r#"alertstate="firing""#));
    assert!(world.tick(&down(&[]), &Broken).samples.is_empty());
}

/// A quirk that rules over `ALERTS` can see: what the alert itself does not have.
#[test]
fn a_label_that_expands_to_nothing_stands_in_the_alert_s_series_as_it_is_written() {
    let mut world = World::new(false, "{alert: A, expr: up == 0, labels: {team: '{{ $labels.team }}', job: ''}}");
    let outcome = world.tick(&down(&["a"]), &Broken);
    assert_eq!(world.only().id.labels.get("team"), "");
    let teams: Vec<&str> = outcome.samples.iter().map(|sample| sample.labels.get("team")).collect();
    assert_eq!(teams, ["{{ $labels.team }}"; 2]);
    assert!(outcome.samples.iter().all(|sample| sample.labels.get("job").is_empty()));
}

#[test]
fn a_rule_sees_the_alerts_of_the_rules_before_it() {
    let mut world = World::new(
        false,
        r#"{alert: Down, expr: up == 0}, {alert: Any, expr: 'count(ALERTS{alertname="Down", alertstate="firing"}) > 0'}"#,
    );
    let outcome = world.tick(&down(&["db"]), &Broken);
    assert_eq!(outcome.events.len(), 2);
    // The store still has what the first tick wrote; the first rule has ended it.
    let stale = Fixed(outcome.samples);
    let outcome = world.tick(&stale, &Broken);
    assert!(outcome.events.iter().all(|event| matches!(event, Event::Resolved { .. })), "{:?}", outcome.events);
    assert_eq!(outcome.events.len(), 2);
}

#[test]
fn rules_of_one_name_do_not_touch_each_other_s_alerts() {
    let rules = r#"{alert: Down, expr: 'up{target="a"} == 0', labels: {severity: warning}},
                   {alert: Down, expr: 'up{target="b"} == 0', labels: {severity: critical}}"#;
    let mut world = World::new(false, rules);
    world.tick(&down(&["a", "b"]), &Broken);
    let outcome = world.tick(&down(&["a", "b"]), &Broken);
    assert!(outcome.changes.is_empty() && outcome.events.is_empty());
    assert_eq!(world.active.len(), 2);
}

#[test]
fn alerts_that_cannot_be_told_apart_are_an_error_and_keep_the_state() {
    let mut world = World::new(false, r#"{alert: Down, expr: up == 0, labels: {target: ""}}"#);
    world.tick(&down(&["a"]), &Broken);
    let outcome = world.tick(&down(&["a", "b"]), &Broken);
    assert_eq!(outcome.errors.len(), 1);
    assert!(outcome.errors[0].to_string().starts_with("a.yml:1:"), "{}", outcome.errors[0]);
    assert!(outcome.changes.is_empty() && outcome.events.is_empty());
    assert_eq!(outcome.samples.len(), 2, "its series go on");
    assert_eq!(world.active.len(), 1);
}

#[test]
fn an_error_of_evaluation_resolves_nothing() {
    let mut world = World::new(false, "{alert: Differ, expr: a != on (x) b}");
    let equal = Fixed(vec![series("a", &[("x", "1")], 1.0), series("b", &[("x", "1")], 2.0)]);
    assert_eq!(world.tick(&equal, &Broken).events.len(), 1);
    let many = Fixed(vec![
        series("a", &[("x", "1")], 1.0),
        series("b", &[("x", "1"), ("y", "1")], 2.0),
        series("b", &[("x", "1"), ("y", "2")], 2.0),
    ]);
    let outcome = world.tick(&many, &Broken);
    assert_eq!((outcome.errors.len(), outcome.events.len(), world.active.len()), (1, 0, 1));
}

#[test]
fn an_error_of_evaluation_names_the_place_inside_of_the_expression() {
    let text = "groups:\n- name: g\n  rules:\n  - alert: Many\n    expr: |\n      up\n        > (a / on () b)\n";
    let group = file::load("a.yml", text, false).unwrap_or_else(|problems| panic!("{problems:?}")).remove(0);
    let mut world = World { group, ..World::new(false, "") };
    let two = |name| [series(name, &[("x", "1")], 1.0), series(name, &[("x", "2")], 1.0)];
    let outcome = world.tick(&Fixed([two("a"), two("b"), two("up")].concat()), &Broken);
    assert!(outcome.errors[0].to_string().starts_with("a.yml:7:12: Many: "), "{}", outcome.errors[0]);
}

#[test]
fn a_firing_alert_whose_inputs_are_stale_is_held() {
    let mut world = World::new(true, "{alert: Down, expr: up == 0, keep_firing_for: 5s}");
    world.tick(&down(&["db"]), &Broken);
    for _ in 0..100 {
        assert!(world.tick(&down(&[]), &down(&["db"])).events.is_empty());
    }
    assert_eq!(world.only().held_since, Some(10_000));
    world.tick(&down(&["db"]), &Broken);
    assert_eq!(world.only().held_since, None);
    // Gone in both views: it recovered, and keep_firing_for runs from here.
    assert!(world.tick(&down(&[]), &down(&[])).events.is_empty());
    assert_eq!(world.tick(&down(&[]), &down(&[])).events.len(), 1);
}

#[test]
fn a_blind_alert_names_the_inputs_that_are_unknown() {
    let mut world = World::new(true, "{alert: Down, expr: up == 0 and on () ready == 0}");
    let ready = |targets: &[&str]| {
        let up = down(targets).0;
        Fixed(up.into_iter().chain([series("ready", &[("target", "gate")], 0.0)]).collect())
    };
    world.tick(&ready(&["db"]), &Broken);
    world.tick(&ready(&[]), &ready(&["db"]));
    assert_eq!(world.only().unknown_inputs, ["up of db"], "the other input is known");
    assert_eq!(
        world.only().blindness().unwrap(),
        "its inputs have been unknown since 1970-01-01T00:00:10.000Z, whether it is over cannot be seen: up of db"
    );
    world.tick(&ready(&["db"]), &Broken);
    assert_eq!((world.only().blindness(), world.only().unknown_inputs.len()), (None, 0));
    // Gone for good is gone, with its reason.
    let outcome = world.tick(&ready(&[]), &ready(&[]));
    assert!(matches!(outcome.events.as_slice(), [Event::Resolved { reason: Resolution::Recovered, .. }]));
}

#[test]
fn an_alert_that_was_restored_says_what_was_not_seen_yet() {
    let mut world = World::new(true, "{alert: Down, expr: 'up{job=\"a\"} == 0'}");
    world.tick(&Fixed(vec![series("up", &[("target", "db"), ("job", "a")], 0.0)]), &Broken);
    world.keep = everything;
    world.tick(&down(&[]), &down(&[]));
    assert_eq!(world.only().unknown_inputs, [r#"up{job="a"} (not seen yet)"#]);
}

#[test]
fn a_pending_alert_that_is_blind_neither_fires_nor_goes() {
    let mut world = World::new(true, "{alert: Down, expr: up == 0, for: 10s}");
    world.tick(&down(&["db"]), &Broken);
    for _ in 0..10 {
        assert!(world.tick(&down(&[]), &down(&["db"])).events.is_empty());
        assert_eq!((world.only().state, world.only().held_since), (AlertState::Pending, Some(10_000)));
    }
    assert!(world.tick(&down(&["db"]), &Broken).events.is_empty(), "the blind time does not count");
    assert_eq!(world.tick(&down(&["db"]), &Broken).events.len(), 1);
}

#[test]
fn a_blind_alert_of_a_removed_target_resolves_with_that_reason() {
    let mut world = World::new(true, "{alert: Down, expr: up == 0}");
    world.tick(&down(&["db"]), &Broken);
    world.tick(&down(&[]), &down(&["db"]));
    assert!(world.only().held_since.is_some());
    let removed = BTreeSet::from(["db".to_owned()]);
    let outcome = resolve_removed(&[world.group.clone()], &removed, &BTreeSet::new(), &world.active, world.at);
    assert!(matches!(outcome.events.as_slice(), [Event::Resolved { reason: Resolution::TargetRemoved, .. }]));
}

#[test]
fn time_in_which_an_alert_was_blind_does_not_count_towards_keep_firing_for() {
    let mut world = World::new(true, "{alert: Down, expr: up == 0, keep_firing_for: 10s}");
    world.tick(&down(&["db"]), &Broken);
    world.tick(&down(&[]), &down(&[]));
    assert!(world.only().keep_firing_since.is_some());
    // Another outage of what it reads: whether it was over cannot be known any more.
    for _ in 0..10 {
        assert!(world.tick(&down(&[]), &down(&["db"])).events.is_empty());
    }
    assert_eq!(world.only().keep_firing_since, None);
    for _ in 0..2 {
        assert!(world.tick(&down(&[]), &down(&[])).events.is_empty(), "it is kept for 10 s from here");
    }
    assert_eq!(world.tick(&down(&[]), &down(&[])).events.len(), 1);
}

#[test]
fn of_several_selectors_one_that_is_unknown_holds_the_alert_and_the_others_may_move() {
    let mut world = World::new(true, "{alert: Down, expr: up == 0 and on () ready == 0}");
    let ready = |value, targets: &[&str]| {
        let up = down(targets).0;
        Fixed(up.into_iter().chain([series("ready", &[("target", "gate")], value)]).collect())
    };
    world.tick(&ready(0.0, &["db"]), &Broken);
    // `up` is unknown and `ready` known: held while the known part says so.
    assert!(world.tick(&ready(0.0, &[]), &ready(0.0, &["db"])).events.is_empty());
    assert_eq!(world.only().unknown_inputs, ["up of db"]);
    // Whatever `up` is now, the known part ends it.
    let outcome = world.tick(&ready(1.0, &[]), &ready(1.0, &["db"]));
    assert!(matches!(outcome.events.as_slice(), [Event::Resolved { reason: Resolution::Recovered, .. }]));
}

#[test]
fn many_unknown_inputs_are_counted() {
    let mut world = World::new(true, "{alert: Down, expr: count(up == 0)}");
    let all = down(&["a", "b", "c", "d", "e", "f", "g"]);
    world.tick(&all, &Broken);
    world.tick(&down(&[]), &all);
    assert_eq!(world.only().unknown_inputs, ["up of a", "up of b", "up of c", "up of d", "up of e", "and 2 more"]);
}

#[test]
fn foreign_groups_keep_prometheus_s_behaviour() {
    let mut world = World::new(false, "{alert: Down, expr: up == 0}");
    world.tick(&down(&["db"]), &Broken);
    let outcome = world.tick(&down(&[]), &Broken);
    assert!(matches!(outcome.events.as_slice(), [Event::Resolved { .. }]));
}

#[test]
fn restored_alerts_are_kept_as_long_as_they_must_be() {
    for hold in [false, true] {
        let mut world = World::new(hold, "{alert: Down, expr: up == 0, for: 10s}");
        for _ in 0..3 {
            world.tick(&down(&["firing"]), &down(&[]));
        }
        world.tick(&down(&["firing", "pending"]), &down(&[]));
        world.keep = everything;
        for _ in 0..10 {
            assert!(world.tick(&down(&[]), &down(&[])).events.is_empty());
        }
        assert_eq!(world.active.len(), 2);
        world.keep = nothing;
        let outcome = world.tick(&down(&["pending"]), &down(&[]));
        assert!(matches!(outcome.events.as_slice(), [Event::Resolved { .. }]), "{:?}", outcome.events);
        assert_eq!(world.only().state, AlertState::Pending, "the time without a verdict does not count");
    }
}

#[test]
fn an_alert_of_a_removed_rule_or_target_resolves_with_the_reason() {
    let mut world = World::new(
        false,
        r#"{alert: Down, expr: up == 0}, {alert: Slow, expr: up == 0, for: 1h},
           {alert: Own, expr: up == 0, labels: {target: elsewhere}}"#,
    );
    world.tick(&down(&["db"]), &Broken);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    // A label of that name that no target ever had ends nothing.
    let same = resolve_removed(&[world.group.clone()], &names(&["cache"]), &names(&[]), &world.active, 9);
    assert!(same.changes.is_empty() && same.events.is_empty());

    let reasons = |outcome: &Outcome| -> Vec<(String, Resolution)> {
        let reason = |event: &Event| match event {
            Event::Resolved { alert, at: 9, reason } => (alert.id.labels.get(ALERT_NAME).to_owned(), *reason),
            other => panic!("{other:?}"),
        };
        outcome.events.iter().map(reason).collect()
    };
    let target = resolve_removed(&[world.group.clone()], &names(&["db"]), &names(&[]), &world.active, 9);
    assert_eq!(reasons(&target), [("Down".to_owned(), Resolution::TargetRemoved)]);
    assert_eq!(target.changes.len(), 2, "what was pending goes quietly");

    let changed = resolve_removed(&[world.group.clone()], &names(&[]), &names(&["db"]), &world.active, 9);
    assert_eq!(reasons(&changed), [("Down".to_owned(), Resolution::TargetChanged)]);

    let rule = resolve_removed(&[], &names(&[]), &names(&[]), &world.active, 9);
    let removed = |name: &str| (name.to_owned(), Resolution::RuleRemoved);
    assert_eq!(reasons(&rule), [removed("Down"), removed("Own")]);
    assert_eq!(rule.changes.len(), 3);
}

#[test]
fn what_is_still_seen_of_a_removed_target_begins_no_alert() {
    let rules = "{alert: Down, expr: up == 0}, {alert: Own, expr: count(up) > 0, labels: {target: db}}";
    let mut world = World::new(false, rules);
    world.removed.insert("db".to_owned());
    world.tick(&down(&["db", "cache"]), &Broken);
    let labels = world.active.keys().map(|id| (id.labels.get(ALERT_NAME), id.labels.get("target")));
    assert_eq!(labels.collect::<Vec<_>>(), [("Down", "cache"), ("Own", "db")]);
}

#[test]
fn more_alerts_than_the_limit_are_an_error_and_drop_them_all_as_in_prometheus() {
    let mut world = World::new(false, "{alert: Down, expr: up == 0}");
    world.group.limit = Some(2);
    world.tick(&down(&["a", "b"]), &Broken);
    let outcome = world.tick(&down(&["b", "c", "d"]), &Broken);
    assert!(outcome.errors[0].to_string().ends_with("Down: exceeded limit of 2 with 3 alerts"));
    let over = |event: &Event| matches!(event, Event::Resolved { reason: Resolution::LimitExceeded, .. });
    assert!(outcome.events.len() == 2 && outcome.events.iter().all(over), "{outcome:?}");
    assert_eq!((world.active.len(), outcome.samples.len()), (0, 0));
    assert_eq!(world.tick(&down(&["b"]), &Broken).events.len(), 1, "within the limit it fires anew");
}

#[test]
fn more_alerts_than_the_limit_change_nothing_where_alerts_are_held() {
    let mut world = World::new(true, "{alert: Down, expr: up == 0}");
    world.group.limit = Some(2);
    world.tick(&down(&["a", "b"]), &Broken);
    let outcome = world.tick(&down(&["a", "b", "c"]), &Broken);
    assert!(outcome.events.is_empty() && outcome.errors.len() == 1);
    assert_eq!((world.active.len(), outcome.samples.len()), (2, 4));
}

#[test]
fn every_shipped_rule_loads_and_says_what_it_must() {
    let groups = shipped();
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    let expected = [
        "targets",
        "services-mapped",
        "services",
        "gateway",
        "certificates",
        "postgres",
        "redis",
        "host",
        "region",
        "self",
    ];
    assert_eq!(names, expected);
    for rule in groups.iter().flat_map(|group| &group.rules) {
        if let RuleKind::Alerting(alerting) = &rule.kind {
            says_what_it_must(rule, alerting);
        }
    }
    assert!(groups.iter().all(|group| group.hold));
    for group in &groups {
        assert_eq!(SHIPPED_FILES.iter().filter(|name| is_shipped_as(group, name)).count(), 1, "{}", group.file);
    }
}

fn says_what_it_must(rule: &Rule, alerting: &AlertingRule) {
    let text = |of: &[(String, Template)], name: &str| {
        of.iter().find(|(found, _)| found == name).map(|(_, text)| text.text().to_owned()).unwrap_or_default()
    };
    let severity = match text(&alerting.labels, "priority").as_str() {
        "P0" | "P1" => "critical",
        "P2" | "P3" => "warning",
        "none" => "none",
        other => panic!("{}: priority {other:?}", rule.id),
    };
    assert_eq!(text(&alerting.labels, "severity"), severity, "{}", rule.id);
    assert!(matches!(text(&alerting.labels, "source").as_str(), "documented" | "derived"), "{}", rule.id);
    assert!(!text(&alerting.annotations, "summary").is_empty(), "{}", rule.id);
    assert!(text(&alerting.annotations, "description").contains("$value"), "{}", rule.id);
    let runbook = text(&alerting.annotations, "runbook_url");
    assert_eq!(runbook, format!("docs/runbooks/{}.md", rule.name), "{}", rule.id);
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&runbook);
    let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{runbook}: {error}"));
    assert!(text.starts_with(&format!("# {}\n", rule.name)), "{runbook}");
}

proptest! {
    /// Any number of alerts, seen, stale or gone at random: pages and resolves alternate for each, what is held does
    /// not resolve, and the events say exactly what the state does.
    #[test]
    fn pages_and_resolves_alternate(
        ticks in prop::collection::vec(prop::collection::vec(0u8..3, 3), 0..40),
        pending_for in 0u64..20,
        keep in 0u64..20,
    ) {
        let rule = format!("{{alert: Down, expr: up == 0, for: {pending_for}s, keep_firing_for: {keep}s}}");
        let mut world = World::new(true, &rule);
        let mut paged = BTreeSet::new();
        for tick in ticks {
            let names = ["a", "b", "c"];
            let with = |most: u8| -> Vec<&str> { (0..3).filter(|i| tick[*i] <= most).map(|i| names[i]).collect() };
            let outcome = world.tick(&down(&with(0)), &down(&with(1)));
            for event in &outcome.events {
                match event {
                    Event::Fired(alert) => prop_assert!(paged.insert(alert.id.clone())),
                    Event::Resolved { alert, .. } => {
                        prop_assert!(paged.remove(&alert.id));
                        let target = names.iter().position(|name| *name == alert.id.labels.get("target"));
                        prop_assert_eq!(target.map(|i| tick[i]), Some(2), "resolved though not seen to be gone");
                    }
                }
            }
            let firing: BTreeSet<AlertId> =
                world.active.values().filter(|alert| alert.starts_at.is_some()).map(|alert| alert.id.clone()).collect();
            prop_assert_eq!(&firing, &paged);
            prop_assert_eq!(outcome.samples.len(), 2 * world.active.len());
        }
    }
}
