//! Build, apply, stop: the only module that knows every other.

#[cfg(test)]
mod day;
mod grace;
mod metrics;
mod part;
pub(crate) mod rules;
mod running;
mod say;
mod signals;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::load;
use crate::config::{Problem, state_dir};
use crate::state::{self, State};
use crate::telemetry;
use running::Running;
use signals::Signals;

/// How long the last log lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

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

/// Where the configuration comes from, at the start and at each reload.
#[derive(Debug, Clone)]
pub struct Origin {
    pub path: Option<PathBuf>,
    pub environment: BTreeMap<String, String>,
}

impl Origin {
    fn load(&self) -> Result<(load::Loaded, Vec<crate::rule::Group>), Vec<Problem>> {
        rules::usable(|shipped| load::load(self.path.as_deref(), &self.environment, shipped))
    }
}

/// Runs the agent with the configuration at `path`, or what the environment names, until it is told to stop.
pub fn run(path: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<(), StartError> {
    let clock = Clock::start();
    let origin = Origin { path: path.map(Path::to_owned), environment: environment.clone() };
    let present = origin.load();
    let dir = match &present {
        Ok((loaded, _)) => loaded.config.state_dir.clone(),
        Err(_) => state_dir::find(path, environment),
    };
    let state_metrics = state::Metrics::default();
    let (state, kept) = State::open(&dir, state_metrics.clone(), move || clock.now())?;
    let plan = rules::plan(present, &kept.rows, environment)?;
    let log = telemetry::start(&plan.loaded.config.log).map_err(StartError::Runtime)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)?;
    let ended = runtime.block_on(async {
        let signals = Signals::new().map_err(StartError::Runtime)?;
        let opened = running::Opened { clock, state, state_metrics, kept, log: log.clone() };
        let running = running::start(origin, plan, opened).await?;
        work_and_stop(running, signals).await
    });
    log.flush(LAST_LINES);
    ended
}

/// Works until told to stop, then stops the parts in order under one deadline. A second signal stops at once. A part
/// that breaks stops the agent too: one that still answers but no longer watches would deceive everybody.
async fn work_and_stop(mut running: Running, mut signals: Signals) -> Result<(), StartError> {
    let ended = running.work(&mut signals).await;
    match &ended {
        Ok(()) => tracing::info!("stopping: deliveries under way get 5 s; a second signal stops at once"),
        Err(error) => tracing::error!(%error, "stopping"),
    }
    tokio::select! {
        () = running.stop(Instant::now()) => tracing::info!("stopped"),
        () = signals.stop() => tracing::warn!("stopped at once: what is accepted stays for the next start"),
    }
    ended
}
