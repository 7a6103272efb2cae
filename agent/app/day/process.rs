//! The agent from start to end, as `app` builds it: but for what looks and what sends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::plan::{Plan, main_file};
use super::receivers::Receivers;
use super::truth::Truth;
use super::watching::Watching;
use crate::alert::Alert;
use crate::app::metrics::Metrics;
use crate::app::rules::{self, plan};
use crate::app::running::{own_labels, receivers, resume, selections, setup, store_for};
use crate::app::{Origin, grace};
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::{self, Apply, Engine, Kept};
use crate::export::own::OwnMetrics;
use crate::net::{Net, NetSettings};
use crate::notify::queue::Limits;
use crate::notify::{self, Outbox, outbox};
use crate::rule::Group;
use crate::state::rows::Rows;
use crate::state::{self, Grace, Loaded, Op, OpenError, State};
use crate::store;
use crate::target::Target;
use crate::target::memory::Memories;
use crate::target::task::{self, Shared};

/// What outlives a process.
pub struct Machine {
    pub dir: tempfile::TempDir,
    pub clock: Clock,
    /// The clock for the thread of the state, which has no paused one.
    pub now: Arc<AtomicI64>,
    pub receivers: Receivers,
}

pub struct Process {
    pub state: State,
    pub config: Config,
    pub groups: Vec<Group>,
    pub watching: Watching,
    pub shared: Arc<Shared>,
    pub alerts: watch::Receiver<Arc<Vec<Alert>>>,
    origin: Origin,
    metrics: Metrics,
    graces: Vec<Grace>,
    outbox: Outbox,
    apply: mpsc::Sender<Apply>,
    stop: watch::Sender<bool>,
    engine: JoinHandle<()>,
}

impl Machine {
    fn origin(&self) -> Origin {
        Origin { path: Some(main_file(self.dir.path())), environment: BTreeMap::new() }
    }

    /// Opens the state, as soon as whoever had it before has let go.
    pub async fn open(&self, metrics: state::Metrics) -> (State, Loaded) {
        loop {
            let now = self.now.clone();
            match State::open(&self.state_dir(), metrics.clone(), move || now.load(Ordering::SeqCst)) {
                Ok(opened) => return opened,
                Err(OpenError::Locked { .. } | OpenError::InUse { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn state_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    /// As `app::running::start`.
    pub async fn start(&self, truth: &Truth) -> Process {
        let clock = self.clock;
        let state_metrics = state::Metrics::default();
        let (state, kept) = self.open(state_metrics.clone()).await;
        assert_eq!(kept.lost, None, "the state was lost");
        let origin = self.origin();
        let present = origin.load();
        let plan = plan(present, &kept.rows, &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"));
        let rules::Plan { loaded, groups, rejected } = plan;
        let (config, groups) = (&loaded.config, Plan::watched(groups));
        let store = Arc::new(Mutex::new(store_for(&groups, 10_000)));
        let (metrics, engine_metrics) = (Metrics::default(), engine::metrics::Metrics::default());
        let (notify_metrics, store_metrics) = (notify::metrics::Metrics::default(), store::Metrics::default());
        metrics.runs(config, rejected.is_empty());
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        engine_metrics.register(&mut registry);
        notify_metrics.register(&mut registry);
        store_metrics.register(&mut registry);
        state_metrics.register(&mut registry);
        let own =
            OwnMetrics::new(registry, own_labels("127.0.0.1:0", "node"), Arc::default(), &mut store::lock(&store));
        let outbox_parts = outbox::Parts {
            receivers: receivers(config),
            external_url: "http://127.0.0.1:7799".to_owned(),
            limits: Limits::default(),
            send: self.receivers.send(),
            state: state.clone(),
            clock,
            metrics: notify_metrics,
        };
        let mut rows = kept.rows;
        let targets = rows.graces.iter().map(|grace| grace.target.clone()).collect();
        let (outbox, graces) = resume(outbox_parts, &loaded, &rejected, &mut rows).await.unwrap();
        let shared = Arc::new(Shared {
            clock,
            store: store.clone(),
            catalogue: Arc::default(),
            board: Arc::default(),
            net: Arc::new(Net::new(NetSettings::default())),
            state: state.clone(),
            slots: Semaphore::new(1),
            metrics: task::Metrics::default(),
            memories: Memories::new(&rows.meta),
            node: "node".to_owned(),
        });
        let mut watching = Watching::new(shared.clone());
        watching.apply(&config.targets, &graces.running, truth, clock.now());
        let (published, shown) = watch::channel(Arc::default());
        let parts = engine::Parts {
            clock,
            store,
            board: shared.board.clone(),
            state: state.clone(),
            outbox: outbox.clone(),
            own,
            metrics: engine_metrics,
            store_metrics,
            liveness: Arc::default(),
            published,
            rules: Arc::default(),
            external_url: "http://127.0.0.1:7799".to_owned(),
        };
        let kept = Kept { targets, alerts: rows.alerts, groups: rows.groups };
        let engine = Engine::new(parts, setup(config, groups.clone(), BTreeSet::new()), kept);
        let (apply, applied) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        Process {
            state,
            config: loaded.config,
            groups,
            watching,
            shared,
            alerts: shown,
            origin,
            metrics,
            graces: graces.known,
            outbox,
            apply,
            stop,
            engine: tokio::spawn(engine.run(applied, stopped)),
        }
    }
}

impl Process {
    /// As `app::running::Running::reload`. Whether the configuration was good.
    pub async fn reload(&mut self, truth: &Truth) -> bool {
        let Ok((loaded, groups)) = self.origin.load() else {
            self.metrics.rejected();
            return false;
        };
        let (config, groups) = (loaded.config, Plan::watched(groups));
        let mut ops = vec![Op::PutConfig(loaded.source.to_files())];
        let graces = grace::graces(&config, std::mem::take(&mut self.graces), self.shared.clock.now());
        ops.extend(graces.ops);
        self.graces = graces.known;
        let _ = self.state.commit(ops).await;
        store::lock(&self.shared.store).select(selections(&groups));
        self.watching.apply(&config.targets, &graces.running, truth, self.shared.clock.now());
        let labels = |target: &Target| target.series_labels(&self.shared.node);
        let is_renewed = |target: &&Target| {
            let known = self.config.targets.iter().find(|known| known.name == target.name);
            known.is_some_and(|known| labels(known) != labels(target))
        };
        let renewed = config.targets.iter().filter(is_renewed).map(|target| target.name.clone()).collect();
        let (done, applied) = oneshot::channel();
        if self.apply.try_send(Apply { setup: setup(&config, groups.clone(), renewed), done }).is_ok() {
            let _ = applied.await;
        }
        self.metrics.runs(&config, true);
        self.metrics.reloaded();
        (self.config, self.groups) = (config, groups);
        true
    }

    /// Lets everything that is due now happen, and be committed.
    pub async fn settle(&self) {
        let mut quiet = 0;
        while quiet < 12 {
            tokio::task::yield_now().await;
            quiet = if self.state.is_idle() { quiet + 1 } else { 0 };
        }
        assert!(!self.engine.is_finished(), "the engine has ended");
    }

    /// Nothing more is done, and nobody told.
    pub async fn kill(self) {
        self.engine.abort();
        let _ = self.engine.await;
    }

    /// As `app::running::Running::stop`.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.engine.await.unwrap();
        drop(self.watching);
        self.outbox.stop(Instant::now()).await;
        self.state.stop().await;
    }
}

/// The rows that the next start would find.
pub async fn rows(machine: &Machine) -> Rows {
    let (state, loaded) = machine.open(state::Metrics::default()).await;
    state.stop().await;
    loaded.rows
}

/// Breaks the configuration's file.
pub fn spoil(dir: &Path) {
    std::fs::write(main_file(dir), "targets: [this is no mapping").unwrap();
}
