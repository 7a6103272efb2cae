//! What the log says of a start and of a reload.

use super::metrics::paging_receivers;
use crate::config::load::Loaded;
use crate::config::{Config, Problem};
use crate::target::Target;
use crate::target::watch::Applied;
use crate::{state, telemetry};

/// The first lines of the log: what runs, where, and what is missing.
pub fn start(loaded: &Loaded, rejected: &[Problem], kept: &state::Loaded, address: &str) {
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
        watching(target, "watching");
    }
    config_notes(loaded);
}

/// What a reload changes of what is watched: what runs on as before is not told again.
pub fn applied(applied: &Applied, config: &Config) {
    for (names, message) in [(&applied.added, "watching"), (&applied.changed, "watching with changed settings")] {
        let named = config.targets.iter().filter(|target| names.contains(&target.name));
        named.for_each(|target| watching(target, message));
    }
    for target in &applied.removed {
        tracing::info!(target, "no longer watched");
    }
}

fn watching(target: &Target, message: &str) {
    tracing::info!(target = target.name, kind = target.settings.kind(), instance = target.instance, "{message}");
}

/// What of a configuration people should know.
pub fn config_notes(loaded: &Loaded) {
    let config = &loaded.config;
    for note in &loaded.notes {
        tracing::warn!("{note}");
    }
    for problem in &loaded.unusable {
        tracing::warn!(%problem, "a secret file cannot be used now: it is read again when it is needed");
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

/// Settings that a reload has read but that only a start can take up: those that differ from the start's.
pub fn waits_for_start(started: &Config, after: &Config) -> Vec<String> {
    let waits = |key: &str, changed: bool| {
        changed.then(|| format!("`{key}` has changed: that waits for the next start of the agent"))
    };
    let all = [
        waits("listen", started.listen != after.listen),
        waits("state_dir", started.state_dir != after.state_dir),
        waits("telemetry.log.format", started.log.format != after.log.format),
    ];
    all.into_iter().flatten().collect()
}
