//! Build, run, stop: the only file that knows every module.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::alert::group::Dispatcher;
use crate::api::{self, Liveness};
use crate::clock::{Clock, millis};
use crate::config::load::{self, Loaded, Source};
use crate::config::{Config, Problem, state_dir};
use crate::engine::{self, Engine};
use crate::export::catalogue::{Catalogue, Family};
use crate::export::own::OwnMetrics;
use crate::net::tls::{Tls, TlsSettings};
use crate::net::{Net, NetSettings, http};
use crate::notify::queue::Limits;
use crate::notify::{self, Outbox, outbox};
use crate::rule::{self, Group};
use crate::sample::Labels;
use crate::state::rows::Rows;
use crate::state::{self, Grace, Op, State};
use crate::store::{self, Store, StoreLimits};
use crate::target::board::Board;
use crate::target::task::{self, Shared, Task};
use crate::telemetry;

/// How many looks may be under way at once.
const LOOKS: usize = 256;
/// What the store may hold. The window is Prometheus's lookback, and a little.
const STORE: StoreLimits = StoreLimits { series: 200_000, window: Duration::from_secs(360) };
/// How long the parts may take to stop: each ends what it is committing.
const LAST_COMMITS: Duration = Duration::from_secs(2);
/// How long deliveries under way may take after that.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);
/// How long everything may take to stop.
const STOP: Duration = Duration::from_secs(8);

/// Why the agent does not run, or runs no more.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration cannot be used, and no last good one is kept:{}", lines(.0))]
    Config(Vec<Problem>),
    #[error(transparent)]
    State(#[from] state::OpenError),
    #[error("cannot listen on {address}: {error}. Set `listen` to a free address")]
    Listen { address: String, error: std::io::Error },
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    #[error(transparent)]
    Closed(#[from] state::Closed),
    #[error(
        "{part} broke: {error}. Start the agent again (what it accepted is kept), and please report this as a defect"
    )]
    Broken { part: &'static str, error: String },
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n{problem}")).collect()
}

/// What is to be run.
struct Plan {
    loaded: Loaded,
    groups: Vec<Group>,
    /// What is wrong with the present configuration, when the last good one runs instead.
    rejected: Vec<Problem>,
}

/// Runs the agent with the configuration at `path`, or what the environment names, until it is told to stop.
pub fn run(path: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<(), StartError> {
    let clock = Clock::start();
    let present = usable(|shipped| load::load(path, environment, shipped));
    let dir = match &present {
        Ok((loaded, _)) => loaded.config.state_dir.clone(),
        Err(_) => state_dir::find(path, environment),
    };
    let state_metrics = state::Metrics::default();
    let (state, kept) = State::open(&dir, state_metrics.clone(), move || clock.now())?;
    let plan = plan(present, &kept.rows, environment)?;
    let log = telemetry::start(&plan.loaded.config.log).map_err(StartError::Runtime)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new().map_err(StartError::Runtime)?;
        let running = start(clock, plan, state, &state_metrics, kept, &log).await?;
        wait_and_stop(running, &mut signals).await
    });
    log.flush(LAST_LINES);
    ended
}

/// A configuration with its rules, or everything that is wrong with either.
fn usable(load: impl Fn(&[&str]) -> Result<Loaded, Vec<Problem>>) -> Result<(Loaded, Vec<Group>), Vec<Problem>> {
    let mut groups = rule::shipped();
    let loaded = load(&rule::names(&groups))?;
    let mut problems = Vec::new();
    let disabled = &loaded.config.disabled_rules;
    groups.iter_mut().for_each(|group| group.rules.retain(|rule| !disabled.contains(&rule.alert)));
    for rules in &loaded.source.rules {
        match rule::file::load(&rules.file.path.to_string_lossy(), &rules.file.text, rules.hold) {
            Ok(more) => groups.extend(more),
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() { Ok((loaded, groups)) } else { Err(problems) }
}

/// The present configuration, or where it is bad, the last good one.
fn plan(
    present: Result<(Loaded, Vec<Group>), Vec<Problem>>,
    kept: &Rows,
    environment: &BTreeMap<String, String>,
) -> Result<Plan, StartError> {
    let rejected = match present {
        Ok((loaded, groups)) => return Ok(Plan { loaded, groups, rejected: Vec::new() }),
        Err(problems) => problems,
    };
    if kept.config.is_empty() {
        return Err(StartError::Config(rejected));
    }
    let source = Source::from_files(&kept.config);
    match usable(|shipped| load::load_from_snapshot(&source, environment, shipped)) {
        Ok((loaded, groups)) => Ok(Plan { loaded, groups, rejected }),
        // The last good one is of no use here either: what is wrong with the present one is what to mend.
        Err(_) => Err(StartError::Config(rejected)),
    }
}

/// How long the last log lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);
/// What is said of a part that nobody told to end.
const ENDED: &str = "it ended by itself";

/// A part that runs, and how it is told to stop.
struct Part {
    name: &'static str,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Part {
    fn new(name: &'static str) -> (Self, watch::Receiver<bool>) {
        let (stop, stopped) = watch::channel(false);
        (Part { name, stop, tasks: JoinSet::new() }, stopped)
    }

    /// Tells it to stop and waits until `deadline`; says so when it does not.
    async fn end(mut self, deadline: Instant) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline, all).await.is_err() {
            tracing::error!(part = self.name, "did not stop in time and is cut off");
        }
    }

    /// Resolves when one of its tasks ends that nobody told to, with how it ended.
    async fn broken(&mut self) -> (&'static str, String) {
        let error = match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok(())) => ENDED.to_owned(),
            Some(Err(error)) => error.to_string(),
        };
        (self.name, error)
    }
}

/// SIGTERM, SIGINT and SIGHUP, heard from the start on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves when the agent is told to stop. A terminal that goes, or who expects a reload, does not stop it.
    async fn told(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => tracing::warn!("SIGHUP changes nothing: this version does not reload"),
            }
        }
    }
}

struct Running {
    /// In the order of stopping.
    parts: Vec<Part>,
    outbox: Outbox,
    state: State,
}

async fn start(
    clock: Clock,
    plan: Plan,
    state: State,
    state_metrics: &state::Metrics,
    kept: state::Loaded,
    log: &telemetry::Output,
) -> Result<Running, StartError> {
    let Plan { loaded, groups, rejected } = plan;
    let config = &loaded.config;
    let node = node_name();
    let listen = |error| StartError::Listen { address: config.listen.to_string(), error };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let local = listener.local_addr().map_err(listen)?;
    let external_url = external_url(local, &node);
    let address = local.to_string();
    say_what_runs(&loaded, &rejected, &kept, &address);
    if let Some(error) = &state.status().borrow().error {
        tracing::error!(state_dir = %config.state_dir.display(), error, "the state is not durable: pages are kept in memory");
    }

    let store = Arc::new(Mutex::new(Store::new(STORE)));
    let board = Arc::new(Board::default());
    let net = Arc::new(Net::new(NetSettings::default()));
    let metrics = AllMetrics::new(config, rejected.is_empty());
    let registry = metrics.registry(state_metrics, log);
    let mut catalogue = Catalogue::of_kinds();
    catalogue.extend(task::METRICS.iter().map(|metric| Family::from(*metric)));
    let catalogue = Arc::new(Mutex::new(catalogue));
    let own_labels = own_labels(&config.listen.to_string(), &node);
    let own = OwnMetrics::new(registry, own_labels, catalogue.clone(), &mut store::lock(&store));

    let receivers = config.alerting.as_ref().map(|alerting| alerting.receivers.clone()).unwrap_or_default();
    let outbox_parts = outbox::Parts {
        receivers,
        external_url: external_url.clone(),
        limits: Limits::default(),
        send: notify::webhook::sender(net.clone(), Arc::new(Tls::new(TlsSettings::default(), Some(http::ALPN)))),
        state: state.clone(),
        clock,
        metrics: metrics.notify,
    };
    let (outbox, mut ops) = Outbox::start(outbox_parts, kept.rows.deliveries, kept.rows.refused);
    let (dispatcher, gone) = Dispatcher::new(config.alerting.as_ref(), kept.rows.groups);
    ops.extend(gone.into_iter().map(Op::DeleteGroup));
    let files = loaded.source.to_files();
    if rejected.is_empty() && files != kept.rows.config {
        ops.push(Op::PutConfig(files));
    }
    let (graces, grace_ops) = graces(config, kept.rows.graces, clock.now());
    ops.extend(grace_ops);
    if !ops.is_empty() {
        state.commit(ops).await?;
    }

    let shared = Arc::new(Shared {
        clock,
        store: store.clone(),
        board: board.clone(),
        net,
        state: state.clone(),
        slots: Semaphore::new(LOOKS),
        metrics: metrics.task,
        node,
    });
    let (mut targets, stop_targets) = Part::new("targets");
    for target in &config.targets {
        let grace = graces.get(&target.name).cloned();
        let task = Task::new(target.clone(), shared.clone(), grace);
        targets.tasks.spawn(task.run(stop_targets.clone()));
    }

    let (published, alerts) = watch::channel(Arc::default());
    let liveness = Arc::new(Liveness::default());
    liveness.tick(clock.now());
    let parts = engine::Parts {
        clock,
        store: store.clone(),
        board: board.clone(),
        state: state.clone(),
        outbox: outbox.clone(),
        own,
        metrics: metrics.engine,
        store_metrics: metrics.store,
        liveness: liveness.clone(),
        published,
        interval: config.evaluation.interval,
        react: config.evaluation.react,
        labels: config.labels.clone(),
        external_url: external_url.clone(),
    };
    let watched: BTreeSet<String> =
        config.targets.iter().map(|target| target.name.clone()).chain([env!("CARGO_PKG_NAME").to_owned()]).collect();
    let engine = Engine::new(parts, groups, watched, kept.rows.alerts, dispatcher);
    let (mut evaluation, stop_evaluation) = Part::new("evaluation");
    evaluation.tasks.spawn(engine.run(stop_evaluation));

    let context = api::Context { clock, board, store, alerts, liveness, labels: config.labels.clone(), catalogue };
    let (mut serving, stop_serving) = Part::new("http");
    serving.tasks.spawn(api::serve(listener, api::router(Arc::new(context)), stop_serving));
    // Evaluation first: the agent's own going is nobody's outage.
    Ok(Running { parts: vec![evaluation, targets, serving], outbox, state })
}

/// Waits for a signal, then stops the parts in order under one deadline. A second signal stops at once. A part that
/// breaks stops the agent too: one that still answers but no longer watches would deceive everybody.
async fn wait_and_stop(mut running: Running, signals: &mut Signals) -> Result<(), StartError> {
    let ended = tokio::select! {
        () = signals.told() => Ok(()),
        (part, error) = running.broken() => Err(StartError::Broken { part, error }),
    };
    match &ended {
        Ok(()) => tracing::info!("stopping: deliveries under way get 5 s; a second signal stops at once"),
        Err(error) => tracing::error!(%error, "stopping"),
    }
    tokio::select! {
        () = stop(running) => tracing::info!("stopped"),
        () = signals.told() => tracing::warn!("stopped at once: what is accepted stays for the next start"),
    }
    ended
}

impl Running {
    async fn broken(&mut self) -> (&'static str, String) {
        let each = self.parts.iter_mut().map(|part| Box::pin(part.broken()));
        tokio::select! {
            (part, ..) = futures_util::future::select_all(each) => part,
            () = self.outbox.ended() => ("outbox", ENDED.to_owned()),
        }
    }
}

async fn stop(running: Running) {
    let now = Instant::now();
    let deadline = now + STOP;
    for part in running.parts {
        part.end(now + LAST_COMMITS).await;
    }
    running.outbox.stop(Instant::now() + LAST_DELIVERIES).await;
    if tokio::time::timeout_at(deadline, running.state.stop()).await.is_err() {
        tracing::error!(part = "state", "did not stop in time and is left behind");
    }
}

/// Every module's own metrics, and what only the start knows.
#[derive(Default)]
struct AllMetrics {
    engine: engine::metrics::Metrics,
    task: task::Metrics,
    notify: notify::metrics::Metrics,
    store: store::Metrics,
    receivers: Gauge,
    config_good: Gauge,
}

impl AllMetrics {
    fn new(config: &Config, good: bool) -> Self {
        let metrics = AllMetrics::default();
        metrics.receivers.set(i64::try_from(paging_receivers(config)).unwrap_or(i64::MAX));
        metrics.config_good.set(i64::from(good));
        metrics
    }

    fn registry(&self, state: &state::Metrics, log: &telemetry::Output) -> Registry {
        let mut registry = Registry::default();
        log.register(&mut registry);
        self.engine.register(&mut registry);
        self.task.register(&mut registry);
        self.notify.register(&mut registry);
        self.store.register(&mut registry);
        state.register(&mut registry);
        let help = "Receivers that are configured: while 0, nobody is paged";
        registry.register("watchkeeper_receivers", help, self.receivers.clone());
        let help = "Whether the present configuration runs (1), or the last good one because it is bad (0)";
        registry.register("watchkeeper_config_last_reload_successful", help, self.config_good.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("watchkeeper_build", "The version that runs", build);
        registry
    }
}

/// Where people find this agent. An address that stands for all of them leads nowhere: the node's name does.
fn external_url(local: SocketAddr, node: &str) -> String {
    if local.ip().is_unspecified() { format!("http://{node}:{}", local.port()) } else { format!("http://{local}") }
}

/// `listen` is the address as configured: port 0 is another one after each start.
fn own_labels(listen: &str, node: &str) -> Labels {
    const NAME: &str = env!("CARGO_PKG_NAME");
    Labels::new([("target", NAME), ("job", NAME), ("service", NAME), ("instance", listen), ("node", node)])
}

/// How many receivers send to somebody: one without a webhook only swallows.
fn paging_receivers(config: &Config) -> usize {
    let receivers = config.alerting.iter().flat_map(|alerting| &alerting.receivers);
    receivers.filter(|receiver| !receiver.webhooks.is_empty()).count()
}

/// `NODE_NAME`, else the host's name.
fn node_name() -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let named = std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    named.or_else(host).unwrap_or_else(|| "unknown".to_owned())
}

/// The graces that still run, by target, and what the state must learn of them. A target that was first configured
/// without one has had its start: a grace that is added later does not run.
fn graces(config: &Config, known: Vec<Grace>, now: i64) -> (BTreeMap<String, Grace>, Vec<Op>) {
    let mut known: BTreeMap<String, Grace> = known.into_iter().map(|grace| (grace.target.clone(), grace)).collect();
    let mut running = BTreeMap::new();
    let mut ops = Vec::new();
    for target in &config.targets {
        let grace = known.remove(&target.name).unwrap_or_else(|| {
            let grace = Grace { target: target.name.clone(), configured_at: now, ended: target.grace.is_zero() };
            ops.push(Op::PutGrace(grace.clone()));
            grace
        });
        let left = grace.configured_at + millis(target.grace) - now;
        if !grace.ended && (0..=millis(target.grace)).contains(&left) {
            running.insert(target.name.clone(), grace);
        }
    }
    ops.extend(known.into_keys().map(Op::DeleteGrace));
    (running, ops)
}

/// The first lines of the log: what runs, where, and what is missing.
fn say_what_runs(loaded: &Loaded, rejected: &[Problem], kept: &state::Loaded, address: &str) {
    let config = &loaded.config;
    tracing::info!(
        target: telemetry::ALWAYS,
        address,
        version = env!("CARGO_PKG_VERSION"),
        state_dir = %config.state_dir.display(),
        targets = config.targets.len(),
        "listening"
    );
    for problem in rejected {
        tracing::error!(%problem, "the configuration is bad: the last good one runs");
    }
    for note in &loaded.notes {
        tracing::warn!("{note}");
    }
    for problem in &loaded.unusable {
        tracing::warn!(%problem, "a secret file cannot be used now: it is read again when it is needed");
    }
    if kept.down_for > 0 {
        let (alerts, deliveries) = (kept.rows.alerts.len(), kept.rows.deliveries.len());
        let seconds = kept.down_for / 1_000;
        tracing::info!(down_for_seconds = seconds, alerts, deliveries, "the watch goes on from its kept state");
    }
    if let Some(lost) = &kept.lost {
        tracing::error!(
            reason = lost,
            "the earlier state could not be used: it is set aside, and the watch starts anew"
        );
    }
    for target in &config.targets {
        tracing::info!(target = target.name, kind = target.settings.kind(), instance = target.instance, "watching");
    }
    if config.targets.is_empty() {
        tracing::warn!(
            "nothing is watched: name targets in a configuration file (--config), or set DATABASE_URL, REDIS_URL, \
             or API_HOST and API_PORT"
        );
    }
    if paging_receivers(config) == 0 {
        tracing::error!(
            "nobody is paged: add to the configuration `alerting: {{route: {{receiver: oncall}}, \
             receivers: [{{name: oncall, webhook_configs: [{{url: \"https://…\"}}]}}]}}`"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_whose_task_panics_or_ends_is_seen() {
        let (mut part, _stop) = Part::new("evaluation");
        part.tasks.spawn(std::future::pending());
        part.tasks.spawn(async { panic!("a defect") });
        let (name, error) = part.broken().await;
        assert_eq!(name, "evaluation");
        assert!(error.contains("a defect"), "{error}");
        part.tasks.spawn(async {});
        assert_eq!(part.broken().await.1, "it ended by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_runs_or_has_nothing_to_do_is_not_broken() {
        let (mut busy, stopped) = Part::new("targets");
        let (mut empty, _stop) = Part::new("http");
        busy.tasks.spawn(async move {
            let mut stopped = stopped;
            crate::stop::told(&mut stopped).await;
        });
        let broken = async {
            tokio::select! { _ = busy.broken() => {}, _ = empty.broken() => {} }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), broken).await.is_err());
        busy.end(Instant::now() + LAST_COMMITS).await;
    }

    #[test]
    fn pages_lead_to_an_address_that_exists() {
        let url = |local: &str| external_url(local.parse().unwrap(), "node-7");
        assert_eq!(url("127.0.0.1:7799"), "http://127.0.0.1:7799");
        assert_eq!(url("0.0.0.0:7799"), "http://node-7:7799");
        assert_eq!(url("[::]:7799"), "http://node-7:7799");
    }

    #[test]
    fn grace_is_begun_once_and_what_is_over_stays_over() {
        let text = "targets: {plain: {tcp: {address: 'h:1'}}, new: {tcp: {address: 'h:1'}, grace: 30s}, old: {tcp: {address: 'h:1'}, grace: 30s}, \
                    late: {tcp: {address: 'h:1'}, grace: 30s}}";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watchkeeper.yml");
        std::fs::write(&path, text).unwrap();
        let environment = BTreeMap::from([("STATE_DIRECTORY".to_owned(), dir.path().display().to_string())]);
        let config =
            load::load(Some(&path), &environment, &[]).unwrap_or_else(|problems| panic!("{problems:?}")).config;
        let grace = |target: &str, configured_at, ended| Grace { target: target.to_owned(), configured_at, ended };
        let plain = || grace("plain", 90_000, true);
        let known =
            vec![plain(), grace("old", 95_000, true), grace("late", 69_999, false), grace("removed", 95_000, false)];
        let (running, ops) = graces(&config, known, 100_000);
        assert_eq!(running.keys().collect::<Vec<_>>(), ["new"]);
        assert_eq!(ops, [Op::PutGrace(grace("new", 100_000, false)), Op::DeleteGrace("removed".to_owned())]);

        let (running, ops) = graces(&config, vec![grace("new", 80_000, false)], 100_000);
        assert_eq!(running["new"].configured_at, 80_000, "a restart goes on where it was");
        assert_eq!(ops.len(), 3, "the others begin");
        assert!(ops.contains(&Op::PutGrace(grace("plain", 100_000, true))), "a grace that is added later is over");
    }
}
