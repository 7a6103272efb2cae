//! Reads `defaults` and `targets`: each target by itself, every problem of each.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fields::{Fields, SHORTEST};
use super::files;
use super::read::FromNode;
use super::tree::{Key, Node, Problem};
use super::words::list;
use crate::duration;
use crate::probe::{self, KINDS};
use crate::target::{Priority, Schedule, Scope, Target};

pub(super) const SCHEDULE: &[&str] = &["interval", "timeout", "rise", "fall", "confirm", "grace"];
pub(super) const OWN: &[&str] = &["labels", "scope", "priority", "job", "service"];
/// Kinds and settings of the design that this version does not have.
const LATER: &[&str] = &["dns", "grpc", "pgbouncer", "depends_on"];
/// Labels that the agent sets itself.
const RESERVED: &[&str] = &["target", "instance", "kind", "priority", "scope", "node", "alertname"];
const LONGEST_NAME: usize = 100;
const LONGEST_LABEL: usize = 1_024;
const MOST_LABELS: usize = 50;
/// A look more often than this costs more than it tells.
const FASTEST: Duration = Duration::from_millis(100);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(2);
const MOST_LOOKS: u32 = 100;

/// What a target has unless it says otherwise.
pub(super) struct Defaults {
    interval: Duration,
    /// Unset: the smaller of 2 s and 80 % of the target's interval.
    timeout: Option<Duration>,
    rise: u32,
    fall: u32,
    confirm: Duration,
    grace: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults {
            interval: Duration::from_secs(5),
            timeout: None,
            rise: 2,
            fall: 2,
            confirm: Duration::from_millis(250),
            grace: Duration::ZERO,
        }
    }
}

impl Defaults {
    /// These defaults, where `fields` does not say otherwise.
    fn overridden(&self, fields: &mut Fields) -> Defaults {
        Defaults {
            interval: fields.duration("interval", FASTEST).unwrap_or(self.interval),
            timeout: fields.duration("timeout", SHORTEST).or(self.timeout),
            rise: looks(fields, "rise").unwrap_or(self.rise),
            fall: looks(fields, "fall").unwrap_or(self.fall),
            confirm: fields.duration("confirm", SHORTEST).unwrap_or(self.confirm),
            grace: fields.duration("grace", Duration::ZERO).unwrap_or(self.grace),
        }
    }

    fn schedule(&self) -> Schedule {
        let timeout = self.timeout.unwrap_or_else(|| LONGEST_TIMEOUT.min(self.interval * 4 / 5));
        let Defaults { interval, rise, fall, confirm, .. } = *self;
        Schedule { interval, timeout, rise, fall, confirm }
    }
}

/// Reads `defaults`.
pub(super) fn defaults(node: &Node, problems: &mut Vec<Problem>) -> Defaults {
    let Some(mut fields) = Fields::of(node, "defaults", problems) else { return Defaults::default() };
    fields.only(SCHEDULE, &[]);
    let defaults = Defaults::default().overridden(&mut fields);
    if defaults.schedule().timeout > defaults.interval {
        let place = if node.get("timeout").is_some() { "timeout" } else { "interval" };
        fields.refuse(place, &longer(&defaults));
    }
    defaults
}

fn longer(schedule: &Defaults) -> String {
    format!(
        "the timeout ({}) is longer than the interval ({}): one look must end before the next",
        duration::format(schedule.schedule().timeout),
        duration::format(schedule.interval)
    )
}

fn looks(fields: &mut Fields, key: &str) -> Option<u32> {
    let count = fields.get::<u32>(key)?;
    if !(1..=MOST_LOOKS).contains(&count) {
        fields.refuse(key, &format!("{count} looks in a row: a number from 1 to {MOST_LOOKS} is wanted"));
        return None;
    }
    Some(count)
}

/// Reads `targets`.
pub(super) fn targets(node: &Node, defaults: &Defaults, problems: &mut Vec<Problem>) -> Vec<Target> {
    let Some(fields) = Fields::of(node, "targets", problems) else { return Vec::new() };
    let entries = fields.node.entries();
    entries.iter().filter_map(|(key, node)| target(key, node, defaults, problems)).collect()
}

fn target(key: &Key, node: &Node, defaults: &Defaults, problems: &mut Vec<Problem>) -> Option<Target> {
    let before = problems.len();
    check_name(key, problems);
    let settings = settings(key, node, problems);
    let mut fields = Fields::of(node, &key.text, problems)?;
    let own = defaults.overridden(&mut fields);
    if own.schedule().timeout > own.interval {
        let place = if node.get("timeout").is_some() { "timeout" } else { "interval" };
        fields.refuse(place, &longer(&own));
    }
    let scope = fields.get::<Scope>("scope").unwrap_or(scope(settings.as_ref()));
    let priority = fields.get::<Priority>("priority").unwrap_or(Priority::P1);
    let mut labels = labels(&mut fields, RESERVED);
    let job = named_label(&mut fields, &mut labels, "job").unwrap_or_else(|| key.text.clone());
    let service = named_label(&mut fields, &mut labels, "service").unwrap_or_else(|| key.text.clone());
    if problems.len() > before {
        return None;
    }
    let (settings, instance) = settings?;
    let (schedule, grace) = (own.schedule(), own.grace);
    let files = node.get(settings.kind()).map(files::named).unwrap_or_default();
    let name = key.text.clone();
    Some(Target { name, settings, schedule, grace, scope, priority, job, service, instance, labels, files })
}

/// Each node's agent looks at its own host.
fn scope(settings: Option<&(probe::Settings, String)>) -> Scope {
    match settings {
        Some((probe::Settings::Host(_), _)) => Scope::Node,
        _ => Scope::Cluster,
    }
}

fn check_name(key: &Key, problems: &mut Vec<Problem>) {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if key.text.is_empty() || key.text.len() > LONGEST_NAME || !key.text.chars().all(fits) {
        let message = format!(
            "`{}` is no name for a target: letters, digits, `_`, `-` and `.`, at most {LONGEST_NAME}",
            super::tree::shown(&key.text)
        );
        problems.push(Problem::new(&key.at, message));
    }
}

/// `job` and `service`: their own key, or the label of that name.
fn named_label(fields: &mut Fields, labels: &mut BTreeMap<String, String>, name: &str) -> Option<String> {
    let label = labels.remove(name);
    let own = fields.text(name);
    if own.is_some() && label.is_some() {
        fields.refuse(name, &format!("`labels` sets `{name}` too: keep one of them"));
    }
    own.or(label)
}

/// Reads `labels`: names as Prometheus's, without those that are `reserved`. An empty value is no label.
pub(super) fn labels(fields: &mut Fields, reserved: &[&str]) -> BTreeMap<String, String> {
    let Some(node) = fields.node.get("labels") else { return BTreeMap::new() };
    let Some(mut inner) = Fields::of(node, "labels", fields.problems) else { return BTreeMap::new() };
    if node.entries().len() > MOST_LABELS {
        inner.problems.push(Problem::new(&node.at, format!("more than {MOST_LABELS} labels")));
    }
    let mut labels = BTreeMap::new();
    for (key, value) in node.entries() {
        if let Some(message) = label_name_problem(&key.text, reserved) {
            inner.problems.push(Problem::new(&key.at, message));
        } else if let Some(text) = inner.get::<String>(&key.text) {
            if text.len() > LONGEST_LABEL {
                inner.problems.push(Problem::new(&value.at, format!("a label of more than {LONGEST_LABEL} bytes")));
            }
            labels.insert(key.text.clone(), text);
        }
    }
    labels.retain(|_, text| !text.is_empty());
    labels
}

fn label_name_problem(name: &str, reserved: &[&str]) -> Option<String> {
    if reserved.contains(&name) {
        return Some(format!("the label `{name}` is set by watchkeeper itself: use another name"));
    }
    let problem = if is_label_name(name) { None } else { Some("letters, digits and `_`, not first a digit") };
    let problem = problem.or(name.starts_with("__").then_some("names that start with `__` are Prometheus's own"));
    problem.map(|why| format!("`{}` is no name for a label: {why}", super::tree::shown(name)))
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`.
pub(super) fn is_label_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The kind's settings and the instance that they name.
fn settings(target: &Key, node: &Node, problems: &mut Vec<Problem>) -> Option<(probe::Settings, String)> {
    let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let before = problems.len();
    let mut fields = Fields::of(node, &target.text, problems)?;
    fields.only(&[&kinds, OWN, SCHEDULE].concat(), LATER);
    let misspelt = problems.len() > before;
    let given: Vec<&(Key, Node)> =
        node.entries().iter().filter(|(key, _)| kinds.contains(&key.text.as_str())).collect();
    match given.as_slice() {
        [(key, node)] => kind_settings(target, key, node, problems),
        [] if misspelt => None,
        [] => {
            let message = format!("`{}` does not say what to watch: add one of {}", target.text, list(&kinds));
            problems.push(Problem::new(&target.at, message));
            None
        }
        [(first, _), (second, _), ..] => {
            let message = format!("`{}` and `{}` in one target: make two targets of them", first.text, second.text);
            problems.push(Problem::new(&second.at, message));
            None
        }
    }
}

/// What is wrong with the secrets of targets: they are read at each look, so they may still come.
pub(super) fn unusable(node: &Node, targets: &[Target]) -> Vec<Problem> {
    let mut problems = Vec::new();
    // Where nothing is wrong, every entry has become a target.
    for ((_, node), target) in node.entries().iter().zip(targets) {
        let Some((key, settings)) = node.entry(target.settings.kind()) else { continue };
        files::unreadable(settings, &mut problems);
        if let Err(message) = target.settings.instance()
            && !files::lacks_one(settings)
        {
            problems.push(Problem::new(&key.at, format!("`{}`: {message}", key.text)));
        }
    }
    problems
}

/// A regular expression's error spans lines to draw an arrow: its first line and the reason are enough.
fn one_line(message: &str) -> String {
    match message.split_once('\n') {
        Some((first, rest)) => format!("{first} {}", rest.rsplit("error: ").next().unwrap_or_default().trim()),
        None => message.to_owned(),
    }
}

fn kind_settings(
    target: &Key,
    key: &Key,
    node: &Node,
    problems: &mut Vec<Problem>,
) -> Option<(probe::Settings, String)> {
    let read = probe::Settings::deserialize(&key.text, FromNode(node))?;
    let settings = match read {
        Ok(settings) => settings,
        Err(wrong) => {
            problems.push(wrong.within(key, node).into_problem(node));
            return None;
        }
    };
    let wrong = settings.check();
    for (name, message) in &wrong {
        let at = node.get(name).map_or(&key.at, |value| &value.at);
        problems.push(Problem::new(at, format!("`{name}`: {}", one_line(message))));
    }
    match settings.instance() {
        Ok(instance) if wrong.is_empty() => return Some((settings, instance)),
        // The address stands in a secret that is not there yet, or not right yet: the watch goes on without it.
        Err(_) if wrong.is_empty() && files::names_one(node) => return Some((settings, target.text.clone())),
        Err(message) if wrong.is_empty() => {
            problems.push(Problem::new(&key.at, format!("`{}`: {message}", key.text)));
        }
        _ => {}
    }
    None
}
