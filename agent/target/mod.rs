//! What is watched: a target as configured.

pub mod board;
mod record;
pub mod task;
pub mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::probe;
use crate::sample::Labels;

/// A named thing to watch.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub name: String,
    pub settings: probe::Settings,
    pub schedule: Schedule,
    /// No verdict of down before this long after the target was first configured, or its first success.
    pub grace: Duration,
    pub scope: Scope,
    pub priority: Priority,
    /// `job`: the target's name unless given.
    pub job: String,
    /// `service`: the target's name unless given.
    pub service: String,
    /// host:port, or the URL without credentials and query.
    pub instance: String,
    /// The target's own `labels:` (without `service`, `job`, `instance`, which stand above).
    pub labels: BTreeMap<String, String>,
}

/// How often to look, and how many looks make a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    pub interval: Duration,
    pub timeout: Duration,
    /// Good looks in a row that make a target up again.
    pub rise: u32,
    /// Failed looks in a row that make it down.
    pub fall: u32,
    /// How soon a failed look is repeated, to confirm it.
    pub confirm: Duration,
}

/// Who must look: one agent of the cluster, or the one on each node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Cluster,
    Node,
}

impl Scope {
    pub fn name(self) -> &'static str {
        match self {
            Scope::Cluster => "cluster",
            Scope::Node => "node",
        }
    }
}

/// How urgent a target's outage is: P0 and P1 are critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Priority {
    P0,
    P1,
    P2,
    P3,
}

impl Priority {
    pub fn name(self) -> &'static str {
        match self {
            Priority::P0 => "P0",
            Priority::P1 => "P1",
            Priority::P2 => "P2",
            Priority::P3 => "P3",
        }
    }
}

impl Target {
    /// The labels of every series of this target. `node` is the agent's node name, carried by node-scoped targets.
    pub fn series_labels(&self, node: &str) -> Labels {
        let own = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fixed = [
            ("target", self.name.as_str()),
            ("job", &self.job),
            ("instance", &self.instance),
            ("service", &self.service),
        ];
        let node = (self.scope == Scope::Node).then_some(("node", node));
        Labels::new(own.chain(fixed).chain(node))
    }

    /// The labels that `watchkeeper_target_up` carries besides.
    pub fn verdict_labels(&self, node: &str) -> Labels {
        let more = [("kind", self.settings.kind()), ("priority", self.priority.name()), ("scope", self.scope.name())];
        self.series_labels(node).with_all(more)
    }
}
