//! Every module's own metrics, and what only the application knows.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::clock::wall_ms;
use crate::config::Config;
use crate::{api, engine, notify, region, state, store, target, telemetry};

#[derive(Clone, Default)]
pub struct Metrics {
    receivers: Gauge,
    config_good: Gauge,
    config_loaded: Gauge,
    reloads: Family<Outcome, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The modules' own metrics.
pub struct Modules {
    pub engine: engine::metrics::Metrics,
    pub task: target::task::Metrics,
    pub notify: notify::metrics::Metrics,
    pub store: store::Metrics,
    pub region: region::metrics::Metrics,
    pub queries: api::prometheus::Metrics,
    state: state::Metrics,
    log: telemetry::Output,
}

impl Modules {
    /// Those of state and log count since before the start.
    pub fn new(state: state::Metrics, log: telemetry::Output) -> Self {
        Modules {
            engine: engine::metrics::Metrics::default(),
            task: target::task::Metrics::default(),
            notify: notify::metrics::Metrics::default(),
            store: store::Metrics::default(),
            region: region::metrics::Metrics::default(),
            queries: api::prometheus::Metrics::default(),
            state,
            log,
        }
    }
}

impl Metrics {
    /// The configuration that runs from now on, and whether it is the present one.
    pub fn runs(&self, config: &Config, present: bool) {
        self.receivers.set(i64::try_from(paging_receivers(config)).unwrap_or(i64::MAX));
        self.config_good.set(i64::from(present));
        self.config_loaded.set(wall_ms() / 1_000);
    }

    pub fn reloaded(&self) {
        self.reloads.get_or_create_owned(&Outcome { outcome: "applied" }).inc();
    }

    pub fn rejected(&self) {
        self.config_good.set(0);
        self.reloads.get_or_create_owned(&Outcome { outcome: "rejected" }).inc();
    }

    pub fn registry(&self, modules: &Modules) -> Registry {
        let mut registry = Registry::default();
        modules.log.register(&mut registry);
        modules.engine.register(&mut registry);
        modules.task.register(&mut registry);
        modules.notify.register(&mut registry);
        modules.store.register(&mut registry);
        modules.state.register(&mut registry);
        modules.region.register(&mut registry);
        modules.queries.register(&mut registry);
        self.register(&mut registry);
        registry
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Receivers that are configured: while 0, nobody is paged";
        registry.register("watchkeeper_receivers", help, self.receivers.clone());
        let help = "Whether the present configuration runs (1), or the last good one because it is bad (0)";
        registry.register("watchkeeper_config_last_reload_successful", help, self.config_good.clone());
        let help = "When the configuration that runs was loaded, in seconds since the Unix epoch";
        registry.register("watchkeeper_config_last_reload_success_timestamp_seconds", help, self.config_loaded.clone());
        let help = "Reloads of the configuration, by what became of them";
        registry.register("watchkeeper_config_reloads", help, self.reloads.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("watchkeeper_build", "The version that runs", build);
    }
}

/// How many receivers send to somebody: one without an endpoint only swallows.
pub fn paging_receivers(config: &Config) -> usize {
    let receivers = config.alerting.iter().flat_map(|alerting| &alerting.receivers);
    receivers.filter(|receiver| !receiver.endpoints.is_empty()).count()
}
