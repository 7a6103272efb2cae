use super::*;
use crate::alert::AlertState;
use crate::alert::route::{GroupBy, Route};
use crate::config::Alerting;
use crate::notify::queue::Limits;
use crate::notify::webhook::Settings;
use crate::notify::{self, Receiver, outbox};
use crate::sample::METRIC_NAME;
use crate::secret::{Secret, SecretSource};
use crate::state;
use crate::state::rows::Rows;
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
    let webhook = Settings {
        url: SecretSource::Value(Secret::new("http://127.0.0.1/")),
        send_resolved: true,
        max_alerts: 0,
        timeout: Duration::from_secs(10),
        signing_secrets: Vec::new(),
    };
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
    Alerting { route, receivers: vec![Receiver { name: "pager".to_owned(), webhooks: vec![webhook] }] }
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
        interval: Duration::from_secs(5),
        react: true,
        labels: BTreeMap::from([("region".to_owned(), "here".to_owned())]),
        external_url: String::new(),
    };
    let groups = rule::file::load("a.yml", rules, false).unwrap_or_else(|problems| panic!("{problems:?}"));
    let (dispatcher, _) = Dispatcher::new(Some(&alerting), Vec::new());
    let engine = Engine::new(parts, groups, BTreeSet::new(), restored, dispatcher);
    Scene { engine, source, wrote_at: 0, _dir: dir }
}

impl Scene {
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
        State::open(self._dir.path(), state::Metrics::default(), move || clock.now()).unwrap().1.rows
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
    let tick = Tick { events: vec![Event::Fired(fired)], ..Tick::default() };
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
    second.engine.take_up().await;
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
