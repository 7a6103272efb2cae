//! What can be produced under a configuration, as far as it is known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::own::OWN;
use crate::config::Config;
use crate::probe::{KINDS, Settings};
use crate::sample::{Metric, MetricKind};
use crate::target::{Target, task};

/// Labels that every series of a target may bear.
const OF_TARGETS: [&str; 6] = ["__name__", "target", "job", "instance", "service", "node"];

/// What pages of other exporters say, where it was asked.
#[derive(Debug, Clone, Default)]
pub struct Scrapes {
    /// The labels of each metric.
    pub metrics: BTreeMap<String, BTreeSet<String>>,
}

/// What the configured targets can produce.
#[derive(Debug, Clone, Default)]
pub struct Producers {
    metrics: BTreeMap<String, Produced>,
    /// Whether pages are scraped whose names nobody has declared.
    scrapes: bool,
    targets: Vec<Source>,
    recorded: BTreeSet<String>,
    /// How far before its tick a group is evaluated that does not say so itself.
    pub query_offset: Duration,
    /// The configuration's `labels:`, which rules do not see.
    pub outward: BTreeSet<String>,
    /// The longest interval of the targets that are scraped, and of all others.
    scraped_every: Option<Duration>,
}

/// A configured target, as its series show it.
#[derive(Debug, Clone)]
pub struct Source {
    pub kind: &'static str,
    is_scraped: bool,
    /// `target`, `job` and `service` are on every series; the target's own labels too.
    pub labels: BTreeMap<String, String>,
}

impl Source {
    fn of(target: &Target) -> Self {
        let fixed = [("target", &target.name), ("job", &target.job), ("service", &target.service)];
        let fixed = fixed.map(|(name, value)| (name.to_owned(), value.clone()));
        Source {
            kind: target.settings.kind(),
            is_scraped: matches!(target.settings, Settings::Scrape(_)),
            labels: target.labels.clone().into_iter().chain(fixed).collect(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Produced {
    /// `None`: any label.
    pub labels: Option<BTreeSet<String>>,
    pub counter: bool,
    /// The longest interval of its producers; `None`: not known.
    pub interval: Option<Duration>,
}

impl Producers {
    /// What the targets of a configuration declare. `scrapes`: what a running agent has from pages, where it was asked.
    pub fn of(config: &Config, scrapes: Option<&Scrapes>) -> Self {
        let mut producers = Producers {
            outward: config.labels.keys().cloned().collect(),
            query_offset: config.evaluation.query_offset,
            ..Producers::default()
        };
        producers.targets = config.targets.iter().map(Source::of).collect();
        let own: BTreeSet<String> = config.targets.iter().flat_map(|target| target.labels.keys().cloned()).collect();
        for target in &config.targets {
            let interval = Some(target.schedule.interval);
            let kind = KINDS.iter().find(|kind| kind.name == target.settings.kind());
            let declared = kind.map_or(&[][..], |kind| kind.metrics).iter().chain(task::METRICS);
            declared.for_each(|metric| producers.declare(metric, &own, interval));
            if let Settings::Scrape(_) = target.settings {
                producers.scrapes = true;
                producers.scraped_every = producers.scraped_every.max(interval);
            }
        }
        if let Some(scrapes) = scrapes {
            producers.scrapes = false;
            for (name, labels) in &scrapes.metrics {
                let labels = labels.iter().chain(&own).cloned().chain(OF_TARGETS.map(str::to_owned)).collect();
                let interval = producers.scraped_every.filter(|_| !OWN.contains(&name.as_str()));
                let seen = Produced { labels: Some(labels), counter: false, interval };
                producers.metrics.entry(name.clone()).or_insert(seen);
            }
        }
        producers
    }

    fn declare(&mut self, metric: &Metric, own: &BTreeSet<String>, interval: Option<Duration>) {
        let labels = metric.labels.iter().chain(&OF_TARGETS).map(|name| (*name).to_owned()).chain(own.iter().cloned());
        let produced = self.metrics.entry(metric.name.to_owned()).or_insert_with(|| Produced {
            labels: Some(labels.collect()),
            counter: metric.kind == MetricKind::Counter,
            interval,
        });
        produced.interval = produced.interval.max(interval);
    }

    /// What a rule records can be read, with any label.
    pub fn record(&mut self, name: &str) {
        let recorded = Produced { labels: None, counter: false, interval: None };
        self.metrics.entry(name.to_owned()).or_insert(recorded);
        self.recorded.insert(name.to_owned());
    }

    pub fn get(&self, name: &str) -> Option<&Produced> {
        self.metrics.get(name)
    }

    pub fn names(&self) -> Vec<&str> {
        self.metrics.keys().map(String::as_str).chain(OWN.iter().copied()).collect()
    }

    /// Whether something could bear this name all the same: a page that is scraped, a rule's alerts, the agent itself.
    /// No page brings a name of the agent's, but that of another agent.
    pub fn may_exist(&self, name: &str) -> bool {
        let is_ours = name.starts_with("watchkeeper_") && !is_declared(name);
        let is_always = matches!(name, "ALERTS" | "ALERTS_FOR_STATE") || OWN.contains(&name) || is_of_all(name);
        is_always || self.scrapes && !is_ours
    }

    /// The targets that could have a metric; `None` where it need not be a target's.
    pub fn sources(&self, name: &str) -> Option<Vec<&Source>> {
        let is_of_rules = matches!(name, "ALERTS" | "ALERTS_FOR_STATE") || self.recorded.contains(name);
        if is_of_rules || OWN.contains(&name) {
            return None;
        }
        let could = |source: &&Source| is_of_all(name) || source.is_scraped || declares(source.kind, name);
        Some(self.targets.iter().filter(could).collect())
    }

    /// The longest interval at which a metric is produced, where that is known.
    pub fn interval(&self, name: &str) -> Option<Duration> {
        match self.metrics.get(name) {
            Some(produced) => produced.interval,
            None => self.scraped_every,
        }
    }
}

fn declares(kind: &str, name: &str) -> bool {
    KINDS.iter().any(|known| known.name == kind && known.metrics.iter().any(|metric| metric.name == name))
}

fn is_declared(name: &str) -> bool {
    KINDS.iter().any(|kind| kind.metrics.iter().any(|metric| metric.name == name)) || is_of_all(name)
}

/// Whether every target has it, whatever its kind.
fn is_of_all(name: &str) -> bool {
    task::METRICS.iter().any(|metric| metric.name == name)
}

/// The declared kind of a metric of any kind of target, configured or not.
pub fn is_counter(name: &str) -> Option<bool> {
    let all = KINDS.iter().flat_map(|kind| kind.metrics);
    all.copied().find(|metric| metric.name == name).map(|metric| metric.kind == MetricKind::Counter)
}
