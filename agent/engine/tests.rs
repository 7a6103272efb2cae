use super::*;
use crate::alert::AlertState;
use crate::alert::route::{GroupBy, Route};
use crate::config::Alerting;
use crate::notify::queue::Limits;
use crate::notify::{self, outbox};
use crate::sample::METRIC_NAME;
use crate::secret::{Secret, SecretSource};
use crate::state::rows::Rows;
use crate::state::{self, samples};
use crate::store::StoreLimits;

const RULES: &str = "
groups:
- name: g
  rules:
  - {alert: Now, expr: now == 1}
  - {alert: Later, expr: later == 1, for: 1h}
";

/// An engine over a state folder, a store that the test fills, and a receiver that never answers.
struct Scene {
    engine: Engine,
    source: SourceId,
    wrote_at: Timestamp,
    _dir: tempfile::TempDir,
}

fn alerting() -> Alerting {
    let route = Route {
        receiver: "pager".to_owned(),
        matchers: Vec::new(),
        continues: false,
        group_by: GroupBy::All,
        group_wait: Duration::ZERO,
        group_interval: Duration::ZERO,
        repeat_interval: Duration::from_secs(3600),
        routes: Vec::new(),
    };
    Alerting { route, receivers: vec![samples::receiver("pager")] }
}

/// `room`: how many deliveries the outbox takes.
fn scene(room: usize, rules: &str, restored: Vec<Alert>) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::start();
    let (state, _) = State::open(dir.path(), state::Metrics::default(), move || clock.now()).unwrap();
    let store = Arc::new(Mutex::new(Store::new(StoreLimits { series: 100, window: Duration::from_secs(360) })));
    let alerting = alerting();
    let outbox_parts = outbox::Parts {
        receivers: alerting.receivers.clone(),
        external_url: String::new(),
        limits: Limits { deliveries: room, bytes: room * 1_000_000, ..Limits::default() },
        send: Arc::new(|_| Box::pin(std::future::pending())),
        state: state.clone(),
        clock,
        metrics: notify::metrics::Metrics::default(),
    };
    let (outbox, _) = Outbox::start(outbox_parts, Vec::new(), Vec::new());
    let source = store::lock(&store).add_source("test", 10);
    let own = OwnMetrics::new(Default::default(), Labels::default(), Default::default(), &mut store::lock(&store));
    let parts = Parts {
        clock,
        store,
        board: Arc::default(),
        state,
        outbox,
        own,
        metrics: Metrics::default(),
        store_metrics: store::Metrics::default(),
        liveness: Arc::default(),
        published: watch::channel(Arc::default()).0,
        rules: Arc::default(),
        external_url: String::new(),
    };
    let mut engine = Engine::new(parts, setup(rules), Kept { alerts: restored, ..Kept::default() });
    (engine.dispatcher, _) = Dispatcher::new(Some(&alerting), Vec::new());
    Scene { engine, source, wrote_at: 0, _dir: dir }
}

fn setup(rules: &str) -> Setup {
    Setup {
        groups: rule::file::load("a.yml", rules, false).unwrap_or_else(|problems| panic!("{problems:?}")),
        watched: rule::Watched::default(),
        alerting: Some(alerting()),
        interval: Duration::from_secs(5),
        react: true,
        labels: BTreeMap::from([("region".to_owned(), "here".to_owned())]),
    }
}

impl Scene {
    async fn reload(&mut self, setup: Setup) {
        self.engine.apply(Apply { setup, done: oneshot::channel().0 }).await;
    }

    fn write(&mut self, names: &[&str]) {
        let at = self.engine.parts.clock.now().max(self.wrote_at + 1);
        self.wrote_at = at;
        let mut store = store::lock(&self.engine.parts.store);
        let series = |name: &&str| (store.series(self.source, &Labels::new([(METRIC_NAME, *name)])).unwrap(), 1.0);
        let row: Vec<_> = names.iter().map(series).collect();
        store.append(self.source, at, true, &row);
    }

    /// One evaluation of the only group, as of now, accepted.
    async fn tick(&mut self) {
        let at = self.wrote_at.max(self.engine.parts.clock.now());
        let tick = self.engine.evaluate(&[Due { group: 0, at }]);
        self.engine.accept(tick, at).await;
    }

    fn states(&self) -> Vec<(&str, AlertState)> {
        self.engine.alerts.values().map(|alert| (alert.id.labels.get(ALERT_NAME), alert.state)).collect()
    }

    fn depth(&self) -> usize {
        self.engine.parts.outbox.status().iter().map(|receiver| receiver.depth).sum()
    }

    /// What the next start would find.
    async fn rows(self) -> Rows {
        self.engine.parts.state.stop().await;
        let clock = self.engine.parts.clock;
        drop(self.engine);
        samples::opened(|| State::open(self._dir.path(), state::Metrics::default(), move || clock.now())).1.rows
    }
}

#[tokio::test]
async fn what_is_accepted_is_in_memory_in_the_outbox_and_on_the_disk() {
    let mut scene = scene(10, RULES, Vec::new());
    scene.write(&["now", "later"]);
    scene.tick().await;
    assert_eq!(scene.states(), [("Later", AlertState::Pending), ("Now", AlertState::Firing)]);
    assert_eq!(scene.depth(), 1);
    let rows = scene.rows().await;
    assert_eq!((rows.alerts.len(), rows.groups.len(), rows.deliveries.len()), (2, 1, 1));
    let outward = &rows.groups[0].members[0].alert.id.labels;
    assert_eq!(outward.get("region"), "here", "an alert leaves with the agent's labels");
}

#[tokio::test]
async fn without_room_at_the_receiver_the_alert_is_accepted_and_its_page_waits() {
    let mut scene = scene(0, RULES, Vec::new());
    scene.write(&["now", "later"]);
    scene.tick().await;
    assert_eq!(scene.states(), [("Later", AlertState::Pending), ("Now", AlertState::Firing)]);
    assert_eq!(scene.depth(), 0);
    let late = scene.engine.parts.clock.now() + 60_000;
    assert!(scene.engine.next_wake() < late, "regular ticks go on");
    let rows = scene.rows().await;
    assert_eq!((rows.alerts.len(), rows.groups.len(), rows.deliveries.len()), (2, 1, 0));
    assert!(rows.groups[0].due.is_some(), "the group is still to be told");
}

#[tokio::test]
async fn a_group_that_finds_no_room_does_not_keep_the_loop_spinning() {
    let mut scene = scene(0, "groups: [{name: g, rules: []}]", Vec::new());
    let clock = scene.engine.parts.clock;
    let fired = crate::state::samples::alert("db", clock.now());
    let tick = Tick { news: vec![Event::Fired(fired)], ..Tick::default() };
    scene.engine.accept(tick, clock.now()).await;
    assert!(scene.engine.dispatcher.groups().all(|group| group.due.is_some_and(|due| due <= clock.now())));
    assert!(scene.engine.next_wake() > clock.now(), "a deadline that has passed does not wake the loop at once");
}

#[tokio::test]
async fn what_a_restart_resolves_waits_for_room_and_is_not_forgotten() {
    let mut first = scene(1, RULES, Vec::new());
    first.write(&["now"]);
    first.tick().await;
    let rows = first.rows().await;
    // The rule is gone, and there is no room at the receiver.
    let mut second = scene(0, "groups: [{name: other, rules: []}]", rows.alerts);
    (second.engine.dispatcher, _) = Dispatcher::new(Some(&alerting()), rows.groups);
    second.engine.take_up(Vec::new()).await;
    assert_eq!((second.states(), second.depth()), (vec![], 0));
    second.engine.parts.outbox = scene(1, RULES, Vec::new()).engine.parts.outbox;
    second.engine.tick(&[]).await;
    assert_eq!(second.depth(), 1, "the resolve is told when there is room");
}

#[tokio::test]
async fn a_state_that_is_closed_stops_no_page() {
    let mut scene = scene(1, RULES, Vec::new());
    scene.engine.parts.state.stop().await;
    scene.write(&["now"]);
    scene.tick().await;
    assert_eq!(scene.states(), [("Now", AlertState::Firing)]);
    assert_eq!(scene.depth(), 1);
}

#[tokio::test]
async fn a_reload_keeps_what_is_unchanged_and_resolves_what_is_gone() {
    let mut scene = scene(10, RULES, Vec::new());
    scene.write(&["now", "later"]);
    scene.tick().await;
    let before = scene.engine.alerts.clone();
    let next = scene.engine.ticks.next();
    scene.reload(setup(RULES)).await;
    assert_eq!(scene.engine.alerts, before, "the timers of `for` go on");
    assert_eq!(scene.engine.ticks.next(), next);
    assert_eq!(scene.depth(), 1, "what was told is not told again");

    scene.reload(setup("groups: [{name: g, rules: [{alert: Later, expr: later == 1, for: 1h}]}]")).await;
    assert_eq!(scene.states(), [("Later", AlertState::Pending)]);
    assert_eq!(scene.depth(), 2, "the rule is gone: its alert resolves");
    let labels = |alert: &Alert| (alert.active_at, alert.id.clone());
    assert!(before.values().map(labels).any(|old| old == labels(scene.engine.alerts.values().next().unwrap())));
}

#[tokio::test]
async fn other_labels_of_the_agent_end_the_page_under_the_old_ones_and_begin_one_under_the_new() {
    let mut scene = scene(10, RULES, Vec::new());
    scene.write(&["now"]);
    scene.tick().await;
    let labels = BTreeMap::from([("region".to_owned(), "there".to_owned())]);
    scene.reload(Setup { labels, ..setup(RULES) }).await;
    assert_eq!(scene.depth(), 3, "a page, its resolve, and a page");
    let regions: Vec<String> = scene
        .engine
        .dispatcher
        .groups()
        .flat_map(|group| &group.members)
        .map(|member| member.alert.id.labels.get("region").to_owned())
        .collect();
    assert_eq!(regions, ["there"]);
}

#[tokio::test]
async fn without_receivers_a_reload_keeps_the_alerts() {
    let mut scene = scene(10, RULES, Vec::new());
    scene.write(&["now"]);
    scene.tick().await;
    scene.reload(Setup { alerting: None, ..setup(RULES) }).await;
    assert_eq!(scene.states(), [("Now", AlertState::Firing)]);
    scene.reload(setup(RULES)).await;
    assert_eq!(scene.depth(), 1, "the receiver knows it already");
}

/// With one endpoint of the receiver at each of these paths.
fn paging(paths: &[&str]) -> Setup {
    let endpoint = |path: &&str| {
        let notify::Settings::Webhook(settings) = samples::webhook(true) else { panic!() };
        let url = SecretSource::Value(Secret::new(format!("http://127.0.0.1/{path}")));
        notify::Settings::Webhook(notify::webhook::Settings { url, ..settings })
    };
    let mut setup = setup(RULES);
    let receivers = vec![notify::Receiver::new("pager", paths.iter().map(endpoint).collect())];
    setup.alerting = setup.alerting.map(|alerting| Alerting { receivers, ..alerting });
    setup
}

fn id_of(path: &str) -> String {
    paging(&[path]).alerting.unwrap().receivers[0].endpoints[0].id.clone()
}

/// What waits for one endpoint: `page` or `resolve`, a star where it is the first that it hears.
fn waiting(rows: &Rows, endpoint: &str) -> Vec<&'static str> {
    let at = rows.deliveries.iter().filter(|delivery| delivery.endpoint == endpoint);
    at.map(|delivery| match (delivery.first, delivery.resolve) {
        (true, false) => "*page",
        (false, false) => "page",
        (_, true) => "resolve",
    })
    .collect()
}

#[tokio::test]
async fn an_endpoint_that_is_added_hears_what_fires_before_it_hears_that_it_is_over() {
    let mut scene = scene(10, RULES, Vec::new());
    scene.reload(paging(&["a"])).await;
    scene.write(&["now"]);
    scene.tick().await;
    scene.reload(paging(&["a"])).await;
    scene.reload(paging(&["a", "b"])).await;
    scene.reload(paging(&["b", "a"])).await;
    scene.write(&["later"]);
    scene.tick().await;
    let rows = scene.rows().await;
    assert_eq!(waiting(&rows, &id_of("a")), ["*page", "resolve"], "it is told nothing twice");
    assert_eq!(waiting(&rows, &id_of("b")), ["*page", "resolve"]);
}

#[tokio::test]
async fn an_endpoint_that_is_added_while_the_agent_is_down_hears_what_fires() {
    let mut first = scene(10, RULES, Vec::new());
    first.reload(paging(&["a"])).await;
    first.write(&["now"]);
    first.tick().await;
    let rows = first.rows().await;
    let kept = rows.clone();
    for (paths, told) in [(&["a", "b"][..], &["*page"][..]), (&["a"], &[]), (&["b"], &["*page"])] {
        let mut second = scene(10, RULES, kept.alerts.clone());
        second.engine.parts.outbox.recall(&kept.meta);
        second.engine.dispatcher = Dispatcher::new(None, kept.groups.clone()).0;
        second.reload(paging(paths)).await;
        let rows = second.rows().await;
        assert_eq!(waiting(&rows, &id_of("b")), told, "{paths:?}");
        assert_eq!(waiting(&rows, &id_of("a")), Vec::<&str>::new(), "{paths:?}: it knows");
    }
}

#[tokio::test]
async fn what_takes_the_place_of_an_endpoint_is_told_what_fires_too() {
    let mut scene = scene(10, RULES, Vec::new());
    scene.reload(paging(&["a"])).await;
    scene.write(&["now"]);
    scene.tick().await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    scene.reload(paging(&["b"])).await;
    let rows = scene.rows().await;
    let why = "what was on its way to the old URL may have arrived there";
    assert_eq!(waiting(&rows, &id_of("b")), ["*page", "*page"], "{why}");
    assert_eq!(waiting(&rows, &id_of("a")), Vec::<&str>::new());
}

#[tokio::test]
async fn the_results_of_a_group_that_is_gone_end() {
    let mut scene = scene(10, RULES, Vec::new());
    scene.write(&["now"]);
    scene.tick().await;
    let alerts = |scene: &Scene| {
        let now = scene.engine.parts.clock.now() + 1;
        let store = store::lock(&scene.engine.parts.store);
        store.newest(now).filter(|(labels, ..)| labels.metric_name() == "ALERTS").count()
    };
    assert_eq!(alerts(&scene), 1);
    scene.reload(setup(RULES)).await;
    assert_eq!(alerts(&scene), 1);
    scene.reload(setup("groups: [{name: other, rules: []}]")).await;
    assert_eq!(alerts(&scene), 0);
}

/// It would end a pending alert, though nothing that it reads has changed.
#[tokio::test]
async fn a_rule_that_is_put_before_others_hides_nothing_of_what_they_recorded() {
    let mut scene = scene(10, "groups: [{name: g, rules: [{record: a, expr: now}]}]", Vec::new());
    scene.write(&["now"]);
    scene.tick().await;
    let more = "{record: b, expr: now}, {alert: On, expr: a == 1, for: 1h}, {record: a, expr: now}";
    scene.reload(setup(&format!("groups: [{{name: g, rules: [{more}]}}]"))).await;
    scene.write(&["now"]);
    scene.tick().await;
    assert_eq!(scene.states(), [("On", AlertState::Pending)]);
}

#[tokio::test]
async fn what_is_repeated_of_a_blind_alert_says_so_and_going_blind_pages_nobody() {
    let mut scene = scene(10, RULES, Vec::new());
    scene.write(&["now"]);
    scene.tick().await;
    assert_eq!(scene.depth(), 1);
    let mut alert = scene.engine.alerts.values().next().unwrap().clone();
    alert.held_since = Some(scene.wrote_at);
    alert.unknown_inputs = vec!["now of app".to_owned()];
    let blind = Tick { changes: vec![Change::Put { alert, durable: true }], ..Tick::default() };
    scene.engine.accept(blind, scene.wrote_at).await;
    assert_eq!(scene.depth(), 1, "nobody is paged anew");
    scene.engine.accept(Tick::default(), scene.wrote_at + 2 * 3_600_000).await;
    assert_eq!(scene.depth(), 2, "it is repeated");
    let rows = scene.rows().await;
    let payload = String::from_utf8_lossy(&rows.deliveries[1].payload).into_owned();
    assert!(payload.contains("its inputs have been unknown since"), "{payload}");
    assert!(payload.contains("now of app"), "{payload}");
    assert!(!rows.groups[0].members[0].alert.annotations.contains_key(BLIND), "nothing has to be taken back");
}

/// The samples of an instant, for whoever selects them.
struct Page(Vec<Sample>);

impl crate::promql::Select for Page {
    fn instant(&self, matchers: &[crate::matcher::Matcher], _: Timestamp, _: i64) -> Vec<Sample> {
        let matches = |sample: &&Sample| matchers.iter().all(|matcher| matcher.matches_labels(&sample.labels));
        self.0.iter().filter(matches).cloned().collect()
    }

    fn range(&self, _: &[crate::matcher::Matcher], _: Timestamp, _: Timestamp, _: &mut crate::promql::Visit<'_>) {}
}

/// What the agent says of its blind alerts at a time.
fn blind_seconds(metrics: &super::Metrics, alerts: &BTreeMap<AlertId, Alert>, now: Timestamp) -> Page {
    let mut registry = prometheus_client::registry::Registry::default();
    metrics.register(&mut registry);
    metrics.see(&Board::default(), alerts, now, 0);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let of_metric = text.lines().filter(|line| line.starts_with("watchkeeper_alert_blind_seconds{"));
    let sample = |line: &str| Sample {
        labels: Labels::new([
            (METRIC_NAME, "watchkeeper_alert_blind_seconds"),
            ("alert", line.split('"').nth(1).unwrap()),
        ]),
        value: line.rsplit(' ').next().unwrap().parse().unwrap(),
    };
    Page(of_metric.map(sample).collect())
}

#[test]
fn an_alert_that_was_blind_for_longer_than_15_minutes_is_warned_of() {
    let group = rule::shipped().into_iter().find(|group| group.name == "self").unwrap();
    let metrics = super::Metrics::default();
    let blind = Alert { held_since: Some(60_000), ..samples::alert("db", 0) };
    let alerts = BTreeMap::from([(blind.id.clone(), blind.clone())]);
    let keep = |_: &Rule, _: &Alert| false;
    let (external_labels, removed) = (BTreeMap::new(), BTreeSet::new());
    let fires = |alerts: &BTreeMap<AlertId, Alert>, now: Timestamp| {
        let context = rule::Context {
            external_labels: &external_labels,
            external_url: "",
            query_offset: Duration::ZERO,
            subquery_step: Duration::from_secs(5),
            recorded: &[],
            keep: &keep,
            removed: &removed,
        };
        let data = blind_seconds(&metrics, alerts, now);
        let outcome = rule::evaluate(&group, &BTreeMap::new(), &data, &data, now, &context);
        let fired = |event: &Event| match event {
            Event::Fired(alert) => Some(alert.clone()),
            Event::Resolved { .. } => None,
        };
        outcome.events.iter().filter_map(fired).find(|alert| alert.id.rule.starts_with("AlertsBlind"))
    };
    let minutes = |minutes: i64| minutes * 60_000;
    assert!(fires(&alerts, minutes(16)).is_none(), "15 minutes are not longer than that");
    let warned = fires(&alerts, minutes(16) + 5_000).expect("it is blind for longer");
    assert_eq!(warned.id.labels.get("alert"), blind.id.labels.get("alertname"));
    assert!(warned.annotations["description"].contains("15m 5s"), "{:?}", warned.annotations);
    assert!(fires(&BTreeMap::new(), minutes(17)).is_none(), "and not once it is seen again");
}
