//! The configuration as the rest of the agent sees it: plain data, complete and checked.

mod alerting;
pub mod auth;
pub mod changes;
#[cfg(test)]
mod corpus;
mod discover;
mod environment;
mod expand;
pub(crate) mod fields;
pub(crate) mod files;
mod kept;
pub mod load;
pub mod profile;
pub mod read;
mod region;
mod scalar;
pub mod state_dir;
mod targets;
mod text;
pub mod tree;
pub(crate) mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::alert::route::Route;
use crate::notify::Receiver;
use crate::target::Target;

pub use auth::OWN_TOKEN;
pub use tree::Problem;

/// Everything that a run is configured with, defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub listen: SocketAddr,
    pub state_dir: PathBuf,
    /// On every alert, and on every sample that leaves. Rules do not see them.
    pub labels: BTreeMap<String, String>,
    pub evaluation: Evaluation,
    /// The rule files that the patterns under `rule_files` found, in order.
    pub rule_files: Vec<RuleFile>,
    /// Names of shipped rules that are switched off.
    pub disabled_rules: Vec<String>,
    /// The files of shipped rules whose alerts are held while their inputs are stale or unknown.
    pub hold_shipped: BTreeSet<String>,
    pub targets: Vec<Target>,
    /// `None` while nobody is paged.
    pub alerting: Option<Alerting>,
    /// The region that the agent stands in.
    pub region: Option<crate::region::Settings>,
    pub auth: Auth,
    pub log: Log,
}

/// Who may do what over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Holds the token that changes need. Read at each use.
    pub token_file: PathBuf,
    /// Whether the agent makes the file: none was configured.
    pub own_token: bool,
    /// Whether reading needs the token, too. Health and region checks stay open.
    pub closed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    pub interval: Duration,
    /// Whether a changed verdict brings the next evaluation forward.
    pub react: bool,
    /// How far back the groups of rule files look that say nothing of it themselves.
    pub query_offset: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFile {
    pub path: PathBuf,
    /// Whether alerts of this file are held while their inputs are stale or unknown.
    pub hold: bool,
}

/// Who is paged: Alertmanager's `route` and `receivers`.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerting {
    pub route: Route,
    pub receivers: Vec<Receiver>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human on a terminal, JSON elsewhere.
    Auto,
    Json,
    Human,
}

/// Every key that is read here; the settings of kinds are their own.
#[cfg(test)]
fn known_keys() -> Vec<&'static str> {
    let kinds = crate::probe::KINDS.iter().map(|kind| kind.name);
    let receivers = crate::notify::KINDS.iter().flat_map(|kind| kind.keys.iter().copied().chain([kind.key]));
    let sections = [load::SECTIONS, auth::KEYS, targets::SCHEDULE, targets::OWN, region::KEYS, region::INPUT];
    [sections.concat(), alerting::ROUTE.to_vec()].concat().into_iter().chain(kinds).chain(receivers).collect()
}
