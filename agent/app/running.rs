//! The agent as it runs: its parts, and how they take over another configuration.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::grace::{self, Graces};
use super::metrics::{Metrics, Modules};
use super::part::{ENDED, Part};
use super::rules::Plan;
use super::signals::Signals;
use super::{Origin, StartError, say};
use crate::api::reload::Reload;
use crate::api::status::ConfigStatus;
use crate::api::{self, Liveness, auth};
use crate::clock::Clock;
use crate::config::changes::Changes;
use crate::config::load::Loaded;
use crate::config::{self, Config, Problem};
use crate::engine::{self, Apply, Engine, Kept, Setup};
use crate::export::catalogue::{Catalogue, Family};
use crate::export::own::OwnMetrics;
use crate::net::tls::{Tls, TlsSettings};
use crate::net::{Net, NetSettings, http};
use crate::node;
use crate::notify::queue::Limits;
use crate::notify::{self, Outbox, outbox};
use crate::promql::LOOKBACK;
use crate::region::{self, Region};
use crate::rule::{self, Group};
use crate::sample::Labels;
use crate::state::rows::Rows;
use crate::state::{self, Closed, Grace, Op, State};
use crate::store::{self, Selection, Store, StoreLimits};
use crate::target::Target;
use crate::target::board::Board;
use crate::target::memory::Memories;
use crate::target::task::{self, Shared};
use crate::target::watch::Watch;
use crate::telemetry;

/// How many looks may be under way at once.
const LOOKS: usize = 256;
/// The most series that the store may hold.
const STORE_SERIES: usize = 200_000;
/// How much longer than the rules look back the store keeps samples.
const STORE_MARGIN: Duration = Duration::from_secs(60);
/// How often the files of the configuration are looked at.
const LOOK_AT_FILES: Duration = Duration::from_secs(2);
/// Requests for a reload that may wait.
const RELOADS: usize = 4;
/// How long the parts may take to stop: each ends what it is committing.
const LAST_COMMITS: Duration = Duration::from_secs(2);
/// How long deliveries under way may take after that.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);
/// How long everything may take to stop.
const STOP: Duration = Duration::from_secs(8);

/// What a start has opened before the runtime.
pub struct Opened {
    pub clock: Clock,
    pub state: State,
    pub state_metrics: state::Metrics,
    pub kept: state::Loaded,
    pub log: telemetry::Output,
}

pub struct Running {
    origin: Origin,
    clock: Clock,
    /// With which the agent started: some settings stay as they are here.
    started: Arc<Config>,
    config: watch::Sender<Arc<Config>>,
    config_status: watch::Sender<ConfigStatus>,
    region: Region,
    regions: Part,
    /// The files that are kept as the last good configuration.
    files: Vec<(String, String)>,
    changes: Changes,
    metrics: Metrics,
    log: telemetry::Output,
    store: Arc<Mutex<Store>>,
    /// What the rules that run select.
    selected: Vec<Selection>,
    outbox: Outbox,
    state: State,
    engine: mpsc::Sender<Apply>,
    reloads: mpsc::Receiver<Reload>,
    watch: Watch,
    /// Of every target, as it was at the last apply.
    graces: Vec<Grace>,
    evaluation: Part,
    serving: Part,
}

/// What happens while the agent runs.
enum Event {
    Stop,
    Reload(&'static str, Option<Reload>),
    LookAtFiles,
    Broken(&'static str, String),
}

pub async fn start(origin: Origin, plan: Plan, opened: Opened) -> Result<Running, StartError> {
    let Opened { clock, state, state_metrics, mut kept, log } = opened;
    let Plan { loaded, groups, rejected } = plan;
    // Before anybody hears that the agent runs: what changes from then on is seen.
    let changes = Changes::new(loaded.named.clone().with(origin.path.as_deref(), &rejected));
    let config = &loaded.config;
    let node = node::name();
    let listen = |error| StartError::Listen { address: config.listen.to_string(), error };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let local = listener.local_addr().map_err(listen)?;
    let external_url = external_url(local, &node);
    say::start(&loaded, &rejected, &kept, &local.to_string());
    if let Some(error) = &state.status().borrow().error {
        tracing::error!(state_dir = %config.state_dir.display(), error, "the state is not durable: pages are kept in memory");
    }
    make_token(config);

    let store = Arc::new(Mutex::new(store_for(&groups, STORE_SERIES)));
    let selected = selections(&groups);
    let board = Arc::new(Board::default());
    let net = Arc::new(Net::new(NetSettings::default()));
    let metrics = Metrics::default();
    metrics.runs(config, rejected.is_empty());
    let modules = Modules::new(state_metrics, log.clone());
    let registry = metrics.registry(&modules);
    let mut catalogue = Catalogue::of_kinds();
    catalogue.extend(task::METRICS.iter().map(|metric| Family::from(*metric)));
    let catalogue = Arc::new(Mutex::new(catalogue));
    let own_labels = own_labels(&config.listen.to_string(), &node);
    let own = OwnMetrics::new(registry, own_labels, catalogue.clone(), &mut store::lock(&store));

    let outbox_parts = outbox::Parts {
        receivers: receivers(config),
        external_url: external_url.clone(),
        limits: Limits::default(),
        send: notify::send::sender(net.clone(), Arc::new(Tls::new(TlsSettings::default(), Some(http::ALPN)))),
        state: state.clone(),
        clock,
        metrics: modules.notify,
    };
    let known_targets = kept.rows.graces.iter().map(|grace| grace.target.clone()).collect();
    let (outbox, graces) = resume(outbox_parts, &loaded, &rejected, &mut kept.rows).await?;

    let region_parts = region::task::Parts {
        clock,
        board: board.clone(),
        state: state.clone(),
        metrics: modules.region,
        node: node.clone(),
    };
    let (region, region_task) = Region::new(config.region.clone(), &kept.rows.meta, region_parts);
    let (mut regions, stop_regions) = Part::new("region");
    regions.tasks.spawn(region_task.run(stop_regions));

    let shared = Arc::new(Shared {
        clock,
        store: store.clone(),
        catalogue: catalogue.clone(),
        board: board.clone(),
        net,
        state: state.clone(),
        slots: Semaphore::new(LOOKS),
        metrics: modules.task,
        memories: Memories::new(&kept.rows.meta),
        node,
    });
    let mut watch = Watch::new(shared);
    watch.apply(config.targets.clone(), &graces.running).await;

    let (published, alerts) = watch::channel(Arc::default());
    let rules = Arc::new(engine::status::Rules::default());
    let liveness = Arc::new(Liveness::default());
    liveness.tick(clock.now());
    let parts = engine::Parts {
        clock,
        store: store.clone(),
        board: board.clone(),
        state: state.clone(),
        outbox: outbox.clone(),
        own,
        metrics: modules.engine,
        store_metrics: modules.store,
        liveness: liveness.clone(),
        published,
        rules: rules.clone(),
        external_url,
    };
    let kept = Kept { targets: known_targets, alerts: kept.rows.alerts, groups: kept.rows.groups };
    let engine = Engine::new(parts, setup(config, groups, BTreeSet::new()), kept);
    let (apply, applied) = mpsc::channel(1);
    let (mut evaluation, stop_evaluation) = Part::new("evaluation");
    evaluation.tasks.spawn(engine.run(applied, stop_evaluation));

    let started_at = clock.now();
    let (config_status, shown_status) = watch::channel(ConfigStatus::new(&rejected, started_at));
    let files = loaded.source.to_files();
    let started = Arc::new(loaded.config);
    let (config, shown) = watch::channel(started.clone());
    let (ask, reloads) = mpsc::channel(RELOADS);
    let context = api::Context {
        clock,
        board,
        store: store.clone(),
        alerts,
        liveness,
        config: shown,
        reloads: ask,
        catalogue,
        region: region.clone(),
        outbox: outbox.clone(),
        state: state.status(),
        queries: api::prometheus::Gate::new(modules.queries),
        rules,
        config_status: shown_status,
        started_at,
    };
    let (mut serving, stop_serving) = Part::new("http");
    serving.tasks.spawn(api::serve(listener, Arc::new(context), stop_serving));
    Ok(Running {
        origin,
        clock,
        started,
        config,
        config_status,
        region,
        regions,
        files,
        changes,
        metrics,
        log,
        store,
        selected,
        outbox,
        state,
        engine: apply,
        reloads,
        watch,
        graces: graces.known,
        evaluation,
        serving,
    })
}

/// The outbox and the graces, which go on from the rows that were kept and are taken out of them. Commits what changes by
/// that, and the configuration where it is the present one.
pub(super) async fn resume(
    parts: outbox::Parts,
    loaded: &Loaded,
    rejected: &[Problem],
    rows: &mut Rows,
) -> Result<(Outbox, Graces), Closed> {
    let (state, clock) = (parts.state.clone(), parts.clock);
    let (outbox, mut ops) =
        Outbox::start(parts, std::mem::take(&mut rows.deliveries), std::mem::take(&mut rows.refused));
    outbox.recall(&rows.meta);
    let files = loaded.source.to_files();
    if rejected.is_empty() && files != rows.config {
        ops.push(Op::PutConfig(files));
    }
    let mut graces = grace::graces(&loaded.config, std::mem::take(&mut rows.graces), clock.now());
    ops.append(&mut graces.ops);
    if !ops.is_empty() {
        state.commit(ops).await?;
    }
    Ok((outbox, graces))
}

impl Running {
    /// Works, and reloads when asked, until the agent is told to stop or a part breaks.
    pub async fn work(&mut self, signals: &mut Signals) -> Result<(), StartError> {
        loop {
            let (why, answer) = match self.next(signals).await {
                Event::Stop => return Ok(()),
                Event::Broken(part, error) => return Err(StartError::Broken { part, error }),
                Event::LookAtFiles if !self.changes.look() => continue,
                Event::LookAtFiles => ("a file has changed", None),
                Event::Reload(why, answer) => (why, answer),
            };
            // A reload waits for the disk, and a disk may hang: what it has not taken over by then, the next start does.
            tokio::select! {
                // Whoever asked may have gone.
                outcome = self.reload(why) => drop(answer.map(|answer| answer.send(outcome))),
                () = signals.stop() => return Ok(()),
            }
        }
    }

    async fn next(&mut self, signals: &mut Signals) -> Event {
        tokio::select! {
            stop = signals.any() => if stop { Event::Stop } else { Event::Reload("SIGHUP", None) },
            Some(answer) = self.reloads.recv() => Event::Reload("POST /-/reload", Some(answer)),
            () = tokio::time::sleep(LOOK_AT_FILES) => Event::LookAtFiles,
            (part, error) = self.watch.broken() => Event::Broken(part, error),
            (part, error) = self.evaluation.broken() => Event::Broken(part, error),
            (part, error) = self.regions.broken() => Event::Broken(part, error),
            (part, error) = self.serving.broken() => Event::Broken(part, error),
            () = self.outbox.ended() => Event::Broken("outbox", ENDED.to_owned()),
        }
    }

    /// Takes over the configuration as it is now. A bad one changes nothing but what says so. The answer: what of it
    /// waits for the next start.
    async fn reload(&mut self, why: &str) -> Result<Vec<String>, Vec<Problem>> {
        self.changes.act();
        let (loaded, groups) = match self.origin.load() {
            Ok(usable) => usable,
            Err(problems) => {
                for problem in &problems {
                    tracing::error!(%problem, why, "the configuration is bad: the one before goes on");
                }
                self.metrics.rejected();
                self.config_status.send_modify(|status| {
                    status.problems = problems.iter().map(Problem::to_string).collect();
                });
                self.changes.follow_problems(self.origin.path.as_deref(), &problems);
                return Err(problems);
            }
        };
        let notes = say::waits_for_start(&self.started, &loaded.config);
        self.apply(loaded, groups).await;
        tracing::warn!(why, targets = self.config.borrow().targets.len(), "reloaded");
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        Ok(notes)
    }

    /// Each owner compares for itself: what is unchanged keeps its state.
    async fn apply(&mut self, mut loaded: Loaded, groups: Vec<Group>) {
        keep_instances(&mut loaded.config.targets, &self.config.borrow().targets);
        stay_until_start(&self.config.borrow(), &mut loaded.config);
        let config = &loaded.config;
        say::config_notes(&loaded);
        self.log.set_level(config.log.level);
        make_token(config);
        let files = loaded.source.to_files();
        let mut ops = Vec::new();
        if files != self.files {
            ops.push(Op::PutConfig(files.clone()));
            self.files = files;
        }
        let graces = grace::graces(config, std::mem::take(&mut self.graces), self.clock.now());
        ops.extend(graces.ops);
        self.graces = graces.known;
        // Whatever broke the state, the watch goes on.
        let _ = self.state.commit(ops).await;
        let selected = selections(&groups);
        // The rules before read their windows until the engine has the new ones.
        if selected != self.selected {
            let both = self.selected.iter().chain(&selected).cloned().collect();
            select(&self.store, both).await;
        }
        let applied = self.watch.apply(config.targets.clone(), &graces.running).await;
        say::applied(&applied, config);
        let renewed = applied.renewed.into_iter().collect();
        // In the same step: no rule is evaluated between the end of a target's series and that of its alerts, and no
        // region is judged by a target that is gone.
        self.region.apply(config.region.clone());
        let (done, applied) = oneshot::channel();
        if self.engine.try_send(Apply { setup: setup(config, groups, renewed), done }).is_ok() {
            let _ = applied.await;
        }
        if selected != self.selected {
            select(&self.store, selected.clone()).await;
            self.selected = selected;
        }
        self.metrics.runs(config, true);
        self.config_status.send_replace(ConfigStatus::new(&[], self.clock.now()));
        self.metrics.reloaded();
        self.changes.follow(loaded.named.with(self.origin.path.as_deref(), &[]));
        self.config.send_replace(Arc::new(loaded.config));
    }

    /// Evaluation first: the agent's own going is nobody's outage.
    pub async fn stop(self, now: Instant) {
        let deadline = now + STOP;
        let deadline_of_parts = now + LAST_COMMITS;
        self.evaluation.end(deadline_of_parts).await;
        self.regions.end(deadline_of_parts).await;
        self.watch.end(deadline_of_parts).await;
        self.serving.end(deadline_of_parts).await;
        self.outbox.stop(Instant::now() + LAST_DELIVERIES).await;
        if tokio::time::timeout_at(deadline, self.state.stop()).await.is_err() {
            tracing::error!(part = "state", "did not stop in time and is left behind");
        }
    }
}

/// A little at a time: of many series the comparing takes long, and the watch goes on meanwhile.
async fn select(store: &Mutex<Store>, selections: Vec<Selection>) {
    const SERIES_AT_ONCE: usize = 5_000;
    store::lock(store).begin_select(selections);
    while store::lock(store).go_on_selecting(SERIES_AT_ONCE) {
        tokio::task::yield_now().await;
    }
}

/// A store that keeps what these rules need: everything for the lookback, what they select for as long as they look
/// back.
pub(super) fn store_for(groups: &[Group], series: usize) -> Store {
    let window = Duration::from_millis(LOOKBACK.unsigned_abs()) + STORE_MARGIN;
    let mut store = Store::new(StoreLimits { series, window });
    store.select(selections(groups));
    store
}

pub(super) fn selections(groups: &[Group]) -> Vec<Selection> {
    let kept = |(matchers, window)| Selection { matchers, window: window + STORE_MARGIN };
    rule::selections(groups).into_iter().map(kept).collect()
}

/// `renewed` are the targets whose labels a reload has changed.
pub(super) fn setup(config: &Config, groups: Vec<Group>, renewed: BTreeSet<String>) -> Setup {
    let targets = config.targets.iter().map(|target| target.name.clone());
    let names = targets.chain([env!("CARGO_PKG_NAME").to_owned()]).collect();
    Setup {
        groups,
        watched: rule::Watched { names, renewed },
        alerting: config.alerting.clone(),
        interval: config.evaluation.interval,
        react: config.evaluation.react,
        labels: config.labels.clone(),
    }
}

pub(super) fn receivers(config: &Config) -> Vec<notify::Receiver> {
    config.alerting.as_ref().map(|alerting| alerting.receivers.clone()).unwrap_or_default()
}

/// A target whose address stands in a secret that cannot be read now keeps the instance that it had: under another label
/// its series would end, and its alerts with them.
fn keep_instances(targets: &mut [Target], before: &[Target]) {
    for target in targets.iter_mut().filter(|target| target.settings.instance().is_err()) {
        let known = before.iter().find(|known| known.name == target.name && known.settings == target.settings);
        if let Some(known) = known {
            target.instance.clone_from(&known.instance);
        }
    }
}

/// What only a start can take up stays as it runs, and so does the token of its own that lies in the state folder:
/// see [`say::waits_for_start`].
fn stay_until_start(runs: &Config, config: &mut Config) {
    config.listen = runs.listen;
    config.state_dir.clone_from(&runs.state_dir);
    config.log.format = runs.log.format;
    if config.auth.own_token {
        config.auth.token_file = config::auth::own_token(&config.state_dir);
    }
}

/// Without it nothing can be changed over HTTP; the watch goes on.
fn make_token(config: &Config) {
    let path = &config.auth.token_file;
    if config.auth.own_token
        && let Err(error) = auth::ensure(path)
    {
        tracing::warn!(token_file = %path.display(), %error, "no token can be made: requests that change something are refused");
    }
}

/// Where people find this agent. An address that stands for all of them leads nowhere: the node's name does.
fn external_url(local: SocketAddr, node: &str) -> String {
    if local.ip().is_unspecified() { format!("http://{node}:{}", local.port()) } else { format!("http://{local}") }
}

/// `listen` is the address as configured: port 0 is another one after each start.
pub(super) fn own_labels(listen: &str, node: &str) -> Labels {
    const NAME: &str = env!("CARGO_PKG_NAME");
    Labels::new([("target", NAME), ("job", NAME), ("service", NAME), ("instance", listen), ("node", node)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_lead_to_an_address_that_exists() {
        let url = |local: &str| external_url(local.parse().unwrap(), "node-7");
        assert_eq!(url("127.0.0.1:7799"), "http://127.0.0.1:7799");
        assert_eq!(url("0.0.0.0:7799"), "http://node-7:7799");
        assert_eq!(url("[::]:7799"), "http://node-7:7799");
    }
}
