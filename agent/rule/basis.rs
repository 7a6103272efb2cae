//! What rules rest on in the end: a rule that reads a recorded series rests on what its recording rule reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Group, Rule, RuleKind};
use crate::clock::millis;
use crate::duration;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::{Expr, LOOKBACK, Select, Selector};
use crate::sample::{Labels, METRIC_NAME, Sample, Timestamp};

/// Filled in by [`link`].
#[derive(Debug, Clone, Default)]
pub struct Basis {
    /// The matchers of each selector: of the rule's own ones and, where such a one could select a recorded series, of
    /// the rule that records it. A selector that names a recorded series stands for these alone.
    pub selectors: Vec<Vec<Matcher>>,
    /// How far back they look: a window over a recorded series adds to the one behind it.
    pub window: Duration,
    /// Whether something is read through a window or a recorded series. What such an expression would be worth if its
    /// inputs had kept their last values cannot be told.
    pub derived: bool,
}

/// Follows recorded series to their sources, over all groups that run together.
pub fn link(groups: &mut [Group]) {
    let mut recorded: BTreeMap<String, Vec<Expr>> = BTreeMap::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        if let RuleKind::Recording { .. } = rule.kind {
            recorded.entry(rule.name.clone()).or_default().push(rule.expr.clone());
        }
    }
    for rule in groups.iter_mut().flat_map(|group| &mut group.rules) {
        let mut basis = Basis::default();
        basis.window = follow(&rule.expr, &recorded, &mut BTreeMap::new(), &mut basis);
        basis.derived |= !basis.window.is_zero();
        rule.basis = basis;
    }
}

/// Adds what an expression rests on and gives how far back it looks. `windows` are those of the recorded names that
/// were followed: each is once, since they may read each other in a circle.
fn follow<'a>(
    expr: &Expr,
    recorded: &'a BTreeMap<String, Vec<Expr>>,
    windows: &mut BTreeMap<&'a str, Duration>,
    basis: &mut Basis,
) -> Duration {
    let mut longest = Duration::ZERO;
    for read in expr.reads() {
        let selector = read.selector;
        let mut behind = Duration::ZERO;
        let mut is_recorded = false;
        for (name, sources) in recorded.iter().filter(|(name, _)| could_name(&selector.matchers, name)) {
            is_recorded = true;
            if !windows.contains_key(name.as_str()) {
                windows.insert(name, Duration::ZERO);
                let window = sources.iter().map(|source| follow(source, recorded, windows, basis)).max();
                windows.insert(name, window.unwrap_or_default());
            }
            behind = behind.max(windows[name.as_str()]);
        }
        basis.derived |= is_recorded;
        if !(is_recorded && is_named(&selector.matchers)) {
            basis.selectors.push(selector.matchers.clone());
        }
        longest = longest.max(behind + Duration::from_millis(read.window.unsigned_abs()));
    }
    longest
}

fn is_named(matchers: &[Matcher]) -> bool {
    matchers.iter().any(|matcher| &*matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal)
}

/// Whether the matchers let a metric of this name pass.
pub fn could_name(matchers: &[Matcher], name: &str) -> bool {
    matchers.iter().filter(|matcher| &*matcher.name == METRIC_NAME).all(|matcher| matcher.matches(name))
}

/// Whether an alert that its expression no longer shows rests on inputs that are not known: some of them now, or all
/// of them a window ago, so that the window has not filled again. Only for rules that read through a window or a
/// recorded series; for others the held view answers.
pub fn is_unknown(rule: &Rule, alert: &Labels, current: &dyn Select, held: &dyn Select, at: Timestamp) -> bool {
    let Basis { selectors, window, derived } = &rule.basis;
    if !derived {
        return false;
    }
    let about = |data: &dyn Select, matchers: &[Matcher], at| about(data.instant(matchers, at, LOOKBACK), alert);
    let lost = |matchers: &Vec<Matcher>| {
        let known: BTreeSet<Labels> =
            current.instant(matchers, at, LOOKBACK).into_iter().map(|sample| sample.labels).collect();
        about(held, matchers, at).iter().any(|labels| !known.contains(labels))
    };
    let known_at = |at| selectors.iter().any(|matchers| !about(current, matchers, at).is_empty());
    selectors.iter().any(lost) || (!window.is_zero() && known_at(at) && !known_at(at - millis(*window)))
}

/// How many unknown inputs of an alert are named.
const NAMED: usize = 5;

/// What the sources of a rule show of what is unknown, for people.
pub struct Inputs<'a> {
    rule: &'a Rule,
    /// Series that are known no more, whatever alert they are about.
    lost: Vec<Labels>,
    /// Selectors of which nothing was ever seen, or not since the start.
    unseen: Vec<String>,
}

impl<'a> Inputs<'a> {
    pub fn of(rule: &'a Rule, current: &dyn Select, held: &dyn Select, at: Timestamp) -> Self {
        let mut inputs = Inputs { rule, lost: Vec::new(), unseen: Vec::new() };
        for matchers in &rule.basis.selectors {
            let labels = |data: &dyn Select| -> BTreeSet<Labels> {
                data.instant(matchers, at, LOOKBACK).into_iter().map(|sample| sample.labels).collect()
            };
            let (known, all) = (labels(current), labels(held));
            if known.is_empty() && all.is_empty() {
                let selector = Selector { matchers: matchers.clone(), range: None, offset: 0, at: None };
                inputs.unseen.push(format!("{selector} (not seen yet)"));
            }
            inputs.lost.extend(all.difference(&known).cloned());
        }
        inputs
    }

    /// The inputs that are unknown of those that an alert is about, some of them where they are many.
    pub fn unknown_to(&self, alert: &Labels) -> Vec<String> {
        let lost: BTreeSet<String> = agreeing(self.lost.clone(), alert).iter().map(named).collect();
        let mut unknown: Vec<String> = if lost.is_empty() { self.unseen.clone() } else { lost.into_iter().collect() };
        if unknown.is_empty() {
            unknown.push(match self.rule.basis.window {
                Duration::ZERO => "what it was about, not seen since the agent's start".to_owned(),
                window => format!("its window of {} has not filled again", duration::format(window)),
            });
        }
        let unnamed = unknown.len().saturating_sub(NAMED);
        unknown.truncate(NAMED);
        if unnamed > 0 {
            unknown.push(format!("and {unnamed} more"));
        }
        unknown
    }
}

/// A series by its metric and where it comes from: `pg_up of db`.
fn named(labels: &Labels) -> String {
    match (labels.metric_name(), labels.get("target")) {
        ("", _) | (_, "") => labels.to_string(),
        (metric, target) => format!("{metric} of {target}"),
    }
}

/// The series that an alert is about: those that come from where its labels say, or where there are none, all.
fn about(samples: Vec<Sample>, alert: &Labels) -> Vec<Labels> {
    agreeing(samples.into_iter().map(|sample| sample.labels).collect(), alert)
}

fn agreeing(all: Vec<Labels>, alert: &Labels) -> Vec<Labels> {
    const ORIGIN: [&str; 5] = ["target", "instance", "job", "service", "node"];
    let agrees = |labels: &Labels| {
        ORIGIN.iter().all(|name| {
            let (theirs, own) = (labels.get(name), alert.get(name));
            theirs.is_empty() || own.is_empty() || theirs == own
        })
    };
    if all.iter().any(agrees) { all.into_iter().filter(agrees).collect() } else { all }
}
