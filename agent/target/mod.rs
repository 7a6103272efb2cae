//! What is watched: a target as configured.

pub mod board;
mod manager;
pub mod memory;
pub(crate) mod record;
pub mod task;
pub mod verdict;
pub mod watch;
pub(crate) mod whole;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
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
    /// The files of secrets and certificates that the settings name. With another content it is another target.
    pub files: Vec<PathBuf>,
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

    /// The labels of its verdict.
    pub fn verdict_labels(&self, node: &str) -> Labels {
        self.series_labels(node).with_all(self.classes())
    }

    /// The labels that verdicts carry besides.
    fn classes(&self) -> [(&'static str, &'static str); 3] {
        [("kind", self.settings.kind()), ("priority", self.priority.name()), ("scope", self.scope.name())]
    }

    /// The `instance` of one of several addresses: the target's own, with the address in place of the host.
    fn instance_at(&self, host: &str, address: IpAddr) -> String {
        let address = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let (scheme, rest) = match self.instance.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), self.instance.as_str()),
        };
        match rest.strip_prefix(host) {
            Some(rest) => format!("{scheme}{address}{rest}"),
            // It does not begin with the host: a file named the address after the configuration was read.
            None => address,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A target of a kind, with its settings as YAML: every 5 s, for 2 s, two and two.
    pub fn target(name: &str, kind: &str, settings: &str) -> Target {
        let node = crate::config::tree::parse("test", settings).unwrap();
        let from = crate::config::tree::from_node::<serde_json::Value>(&node).unwrap();
        let settings = probe::Settings::deserialize(kind, from).unwrap().unwrap();
        Target {
            name: name.to_owned(),
            instance: settings.instance().unwrap(),
            settings,
            schedule: Schedule {
                interval: Duration::from_secs(5),
                timeout: Duration::from_secs(2),
                rise: 2,
                fall: 2,
                confirm: Duration::from_millis(250),
            },
            grace: Duration::ZERO,
            scope: Scope::Cluster,
            priority: Priority::P1,
            job: name.to_owned(),
            service: name.to_owned(),
            labels: BTreeMap::new(),
            files: Vec::new(),
        }
    }

    #[test]
    fn an_instance_has_its_address_in_place_of_the_host() {
        let at = |url: &str, host: &str, address: &str| {
            let target = target("api", "http", &format!("url: '{url}'"));
            target.instance_at(host, address.parse().unwrap())
        };
        assert_eq!(at("http://api:8000/health", "api", "10.0.0.1"), "http://10.0.0.1:8000/health");
        assert_eq!(at("http://http/http", "http", "10.0.0.1"), "http://10.0.0.1/http");
        assert_eq!(at("https://u:p@api.example/x?y=z", "api.example", "fd00::1"), "https://[fd00::1]/x");
        let tcp = target("db", "tcp", "address: 'db:5432'");
        assert_eq!(tcp.instance_at("db", "10.0.0.1".parse().unwrap()), "10.0.0.1:5432");
    }
}
