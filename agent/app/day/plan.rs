//! The configurations of the day, as files: what an operator would write, and edit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::rule::Group;

/// Name, what it is, priority, and grace.
const TARGETS: [(&str, &str, &str, &str); 12] = [
    ("web", "tcp", "P0", "0s"),
    ("api", "tcp", "P0", "0s"),
    ("pool", "tcp", "P0", "1m"),
    ("db", "redis", "P0", "0s"),
    ("auth", "tcp", "P0", "2m"),
    ("cache", "redis", "P1", "0s"),
    ("queue", "redis", "P1", "5m"),
    ("edge", "tcp", "P1", "0s"),
    ("mail", "tcp", "P2", "5m"),
    ("search", "tcp", "P2", "0s"),
    ("reports", "tcp", "P3", "0s"),
    ("batch", "tcp", "P3", "3m"),
];

/// The shipped groups that have something to read.
const OF_THE_DAY: [&str; 2] = ["targets", "self"];

/// Rule files besides the shipped ones, and whether their alerts are held.
const RULES: [(&str, bool, &str); 4] = [
    (
        "held.yml",
        true,
        "
groups:
  - name: held
    rules:
      - {alert: HeldAtOnce, expr: watchkeeper_target_up == 0, labels: {severity: critical}}
      - {alert: HeldLater, expr: probe_success == 0, for: 2m, keep_firing_for: 3m, labels: {severity: warning}}
",
    ),
    (
        "open.yml",
        false,
        "
groups:
  - name: open
    interval: 30s
    rules:
      - {alert: OpenAtOnce, expr: 'watchkeeper_target_up{priority=~\"P[01]\"} == 0', labels: {severity: critical}}
      - {alert: OpenLater, expr: probe_success == 0, for: 1m, labels: {severity: warning}}
      - {alert: OpenKept, expr: watchkeeper_target_up == 0, keep_firing_for: 5m, labels: {severity: info}}
",
    ),
    (
        "many.yml",
        false,
        "
groups:
  - name: many
    rules:
      - {alert: ManyDown, expr: count(watchkeeper_target_up == 0) >= 2, for: 30s, labels: {severity: critical}}
",
    ),
    (
        "often.yml",
        true,
        "
groups:
  - name: often
    rules:
      - {record: 'target:up:avg5m', expr: 'avg_over_time(watchkeeper_target_up[5m])'}
      - {alert: OftenDown, expr: 'target:up:avg5m < 0.5', keep_firing_for: 2m, labels: {severity: warning}}
",
    ),
];

/// Trees, and the receivers that each leads to. No alert takes two ways to one receiver.
const TREES: [(&str, &[&str]); 5] = [
    (
        "{receiver: pager, group_by: [alertname, service], routes: [
            {receiver: deadman, matchers: ['alertname=\"Watchdog\"'], repeat_interval: 10m},
            {receiver: peers, matchers: ['severity!=\"none\"'], continue: true},
            {receiver: incidents, matchers: ['severity=\"critical\"'], continue: true, group_by: ['...']},
            {receiver: chat, matchers: ['severity=~\"warning|info\"'], group_by: [service], group_interval: 1m},
            {receiver: pager, matchers: ['severity=\"critical\"']}]}",
        &["pager", "deadman", "peers", "incidents", "chat"],
    ),
    (
        "{receiver: chat, group_by: [service], group_wait: 30s, group_interval: 1m, repeat_interval: 1h, routes: [
            {receiver: pager, matchers: ['severity=\"critical\"'], group_by: ['...']},
            {receiver: incidents, matchers: ['severity=\"warning\"'], group_wait: 0s, group_interval: 0s}]}",
        &["chat", "pager", "incidents"],
    ),
    (
        "{receiver: both, group_by: [alertname], group_interval: 30s, repeat_interval: 30m, routes: [
            {receiver: peers, matchers: ['severity!=\"none\"'], continue: true, group_by: [service]},
            {receiver: incidents, matchers: ['priority=\"P0\"'], group_by: [alertname]}]}",
        &["both", "peers", "incidents"],
    ),
    ("{receiver: pager}", &["pager"]),
    (
        "{receiver: pager, group_by: ['...'], routes: [
            {receiver: both, matchers: ['service=~\"web|api|pool|db\"'], continue: true, group_by: [service]},
            {receiver: pager, matchers: ['severity=\"critical\"'], group_by: [alertname, service]}]}",
        &["pager", "both"],
    ),
];

/// Receivers, and their endpoints: `URL` stands for where the receiver is now.
const RECEIVERS: [(&str, &str); 6] = [
    ("pager", "webhook_configs: [{url: URL/webhook/0}]"),
    ("deadman", "webhook_configs: [{url: URL/webhook/0}]"),
    ("incidents", "pagerduty_configs: [{routing_key: 0123456789abcdef0123456789abcdef, url: URL/pagerduty/0}]"),
    ("chat", "slack_configs: [{api_url: URL/slack/0}]"),
    ("peers", "alertmanager_configs: [{urls: [URL/alertmanager/0, URL/alertmanager/1]}]"),
    (
        "both",
        "webhook_configs: [{url: URL/webhook/0}], pagerduty_configs: [{routing_key: abcdef0123456789abcdef0123456789, url: URL/pagerduty/0}]",
    ),
];

/// What an operator has in mind.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How often each was edited: another edition has other settings.
    targets: BTreeMap<&'static str, u32>,
    rules: BTreeSet<&'static str>,
    disabled: BTreeSet<&'static str>,
    tree: usize,
    pages: bool,
    /// Receivers that no route leads to are left out.
    tidy: bool,
    /// To which address each receiver has moved.
    moved: BTreeMap<&'static str, u32>,
    labels: u32,
}

impl Plan {
    pub fn new() -> Self {
        Plan {
            targets: TARGETS.iter().map(|target| (target.0, 0)).collect(),
            rules: RULES.iter().map(|rules| rules.0).collect(),
            disabled: BTreeSet::new(),
            tree: 0,
            pages: true,
            tidy: false,
            moved: BTreeMap::new(),
            labels: 0,
        }
    }

    /// One edit.
    pub fn edit(&mut self, random: &mut fastrand::Rng) {
        let a_target = TARGETS[random.usize(..TARGETS.len())].0;
        match random.u8(0..16) {
            0..3 => toggle(&mut self.rules, RULES[random.usize(..RULES.len())].0),
            3 => toggle(&mut self.disabled, ["ServiceDown", "InstanceDown", "DeliveryFailing"][random.usize(..3)]),
            4..7 => (self.tree, self.tidy) = (random.usize(..TREES.len()), random.bool()),
            7..9 => *self.moved.entry(RECEIVERS[random.usize(..RECEIVERS.len())].0).or_default() += 1,
            9 => self.labels += 1,
            10..12 => match self.targets.remove(a_target) {
                Some(_) => {}
                None => drop(self.targets.insert(a_target, random.u32(..4))),
            },
            12..14 => drop(self.targets.entry(a_target).and_modify(|edition| *edition += 1)),
            14 => self.pages = !self.pages,
            _ => {}
        }
    }

    /// Everybody is paged, and every receiver is there.
    pub fn at_last(&mut self) {
        (self.pages, self.tidy, self.tree) = (true, false, 0);
    }

    /// The receivers that there are; `None` while nobody is paged.
    fn receivers(&self) -> Option<Vec<&'static str>> {
        let wanted = |name: &&str| !self.tidy || TREES[self.tree].1.contains(name);
        self.pages.then(|| RECEIVERS.iter().map(|receiver| receiver.0).filter(wanted).collect())
    }

    /// Writes it into a folder; the path of the main file.
    pub fn write(&self, dir: &Path) -> PathBuf {
        for (name, _, text) in RULES {
            fs::write(dir.join(name), text).unwrap();
        }
        let path = main_file(dir);
        fs::write(&path, self.text(dir)).unwrap();
        path
    }

    /// Rules that this day has no series for are left out for its speed.
    pub fn watched(mut groups: Vec<Group>) -> Vec<Group> {
        groups.retain(|group| !group.file.starts_with("shipped:") || OF_THE_DAY.contains(&group.name.as_str()));
        groups
    }

    fn text(&self, dir: &Path) -> String {
        let mut text = format!("listen: 127.0.0.1:0\nstate_dir: {}\n", dir.join("state").display());
        let _ = writeln!(text, "evaluation: {{interval: 15s}}\ndefaults: {{interval: 15s}}");
        let _ = writeln!(text, "labels: {{region: r{}}}", self.labels);
        let disabled: Vec<&str> = self.disabled.iter().copied().collect();
        let _ = writeln!(text, "shipped_rules: {{disable: [{}]}}", disabled.join(", "));
        let rules = RULES.iter().filter(|rules| self.rules.contains(rules.0));
        let rules: Vec<String> = rules.map(|(name, hold, _)| format!("{{path: {name}, hold: {hold}}}")).collect();
        let _ = writeln!(text, "rule_files: [{}]\ntargets:", rules.join(", "));
        for (name, kind, priority, grace) in TARGETS {
            if let Some(edition) = self.targets.get(name) {
                let _ = writeln!(text, "  {name}: {}", target(name, kind, priority, grace, *edition));
            }
        }
        if let Some(receivers) = self.receivers() {
            let _ = writeln!(text, "alerting:\n  route: {}\n  receivers:", TREES[self.tree].0);
            for (name, endpoints) in RECEIVERS.iter().filter(|receiver| receivers.contains(&receiver.0)) {
                let url = format!("http://{name}.localhost/{name}/{}", self.moved.get(name).unwrap_or(&0));
                let _ = writeln!(text, "    - {{name: {name}, {}}}", endpoints.replace("URL", &url));
            }
        }
        text
    }
}

/// Every target that there may be.
pub fn targets() -> Vec<String> {
    TARGETS.iter().map(|target| target.0.to_owned()).collect()
}

/// Every receiver that there may be.
pub fn receivers() -> Vec<&'static str> {
    RECEIVERS.iter().map(|receiver| receiver.0).collect()
}

/// Where the configuration is.
pub fn main_file(dir: &Path) -> PathBuf {
    dir.join("watchkeeper.yml")
}

fn target(name: &str, kind: &str, priority: &str, grace: &str, edition: u32) -> String {
    let settings = match kind {
        "tcp" => format!("tcp: {{address: '{name}.localhost:1'}}"),
        _ => format!("redis: {{url: 'redis://{name}.localhost:1', reconnect: 1m}}"),
    };
    let fall = 2 + edition % 2;
    let labels = if edition % 3 == 2 { ", labels: {team: blue}" } else { "" };
    let priority = if edition % 5 == 4 { "P2" } else { priority };
    format!("{{{settings}, priority: {priority}, grace: {grace}, fall: {fall}{labels}}}")
}

fn toggle(set: &mut BTreeSet<&'static str>, name: &'static str) {
    if !set.remove(name) {
        set.insert(name);
    }
}
