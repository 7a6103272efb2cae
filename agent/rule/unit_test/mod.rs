//! Unit tests of rules in promtool's form (`promtool test rules`), over the same store and the same evaluation as
//! the agent's. What is easily missed: every group is evaluated at 0, E, 2E… up to the last `eval_time` (E is
//! `evaluation_interval`; a group's own interval does not count), a tick sees no sample later than itself, alerts are
//! those of the last tick at or before their `eval_time`, and expressions are evaluated after the last tick.

mod compare;
mod format;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::{Change, Context, Group, Outcome, Recorded, evaluate, file, link};
use crate::alert::{Alert, AlertId, AlertState};
use crate::clock::millis;
use crate::config::files;
use crate::config::tree::{Position, Problem};
use crate::duration;
use crate::promql::{self, Settings, Value};
use crate::sample::{Labels, Sample, Timestamp, is_stale};
use crate::store::{SeriesId, SourceId, Store, StoreLimits};
use format::{AlertTest, ExpectedAlert, ExprTest, Test, TestFile};

const MAX_SERIES: usize = 1_000_000;
/// Evaluations of all groups in one test.
const MAX_TICKS: i64 = 1_000_000;

/// What came of one test file.
#[derive(Debug)]
pub struct Report {
    pub tests: usize,
    pub failures: Vec<Failure>,
    /// Patterns that name no file.
    pub warnings: Vec<Problem>,
}

/// What a test expected, and what it got.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{at}: {test}{message}")]
pub struct Failure {
    pub at: Position,
    /// The test's name and a colon, where it has one.
    pub test: String,
    pub message: String,
}

/// Runs the tests of a file. The error is what is wrong with the file, or with the rule files that it names.
pub fn run(path: &Path) -> Result<Report, Vec<Problem>> {
    let tests = format::read(&path.display().to_string(), &text_of(path)?)?;
    let (groups, warnings) = groups(path, &tests)?;
    let failures = tests.tests.iter().flat_map(|test| Run::new(&tests, test, &groups).finish()).collect();
    Ok(Report { tests: tests.tests.len(), failures, warnings })
}

/// The groups of all rule files, in the order in which they are evaluated. Held alerts are the agent's own idea:
/// tests see what Prometheus would.
fn groups(path: &Path, tests: &TestFile) -> Result<(Vec<Group>, Vec<Problem>), Vec<Problem>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut groups, mut warnings, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (at, pattern) in &tests.rule_files {
        let found = files::find(&folder.join(pattern)).unwrap_or_else(|why| {
            problems.push(Problem::new(at, why));
            Vec::new()
        });
        if found.is_empty() {
            warnings.push(Problem::new(at, format!("`{pattern}` finds no file")));
        }
        for path in found {
            let loaded = text_of(&path).and_then(|text| file::load(&path.display().to_string(), &text, false));
            loaded.map_or_else(|wrong| problems.extend(wrong), |loaded| groups.extend(loaded));
        }
    }
    link(&mut groups);
    groups.sort_by_key(|group| tests.group_eval_order.iter().position(|name| *name == group.name));
    if problems.is_empty() { Ok((groups, warnings)) } else { Err(problems) }
}

fn text_of(path: &Path) -> Result<String, Vec<Problem>> {
    let problem = |why| vec![Problem::new(&Position::outside(path.display().to_string()), why)];
    files::read_text(path).map_err(problem)
}

/// One test as it runs.
struct Run<'a> {
    file: &'a TestFile,
    test: &'a Test,
    groups: &'a [Group],
    store: Store,
    inputs: Vec<Input<'a>>,
    /// Where what each group writes goes.
    written: Vec<SourceId>,
    /// What each group recorded at the last tick.
    recorded: Vec<Recorded>,
    active: BTreeMap<AlertId, Alert>,
    failures: Vec<Failure>,
    /// An input or a rule did not work: there is no use in going on.
    broken: bool,
}

/// An input series, and how many of its values are in the store.
struct Input<'a> {
    source: SourceId,
    labels: &'a Labels,
    values: &'a [Option<f64>],
    loaded: usize,
}

impl<'a> Run<'a> {
    fn new(file: &'a TestFile, test: &'a Test, groups: &'a [Group]) -> Self {
        let mut store = Store::new(StoreLimits { series: MAX_SERIES, window: Duration::from_millis(i64::MAX as u64) });
        let written = groups.iter().map(|group| store.add_source(&group.name, MAX_SERIES)).collect();
        let mut run = Run {
            file,
            test,
            groups,
            store,
            inputs: Vec::new(),
            written,
            recorded: vec![Recorded::new(); groups.len()],
            active: BTreeMap::new(),
            failures: Vec::new(),
            broken: false,
        };
        run.inputs = test.series.iter().map(|(labels, values)| run.input(labels, values)).collect();
        run
    }

    /// A source of its own for each series: a gap in one says nothing of the others.
    fn input(&mut self, labels: &'a Labels, values: &'a [Option<f64>]) -> Input<'a> {
        let source = self.store.add_source("input_series", 1);
        if let Err(refused) = self.store.series(source, labels) {
            self.break_off(format!("input series {labels}: {refused}"));
        }
        Input { source, labels, values, loaded: 0 }
    }

    fn finish(mut self) -> Vec<Failure> {
        let step = millis(self.file.evaluation_interval).max(1);
        let times = self.test.alerts.iter().map(|alert| alert.eval_time);
        let last = times.chain(self.test.exprs.iter().map(|expr| expr.eval_time)).max().unwrap_or(0);
        if last / step > MAX_TICKS {
            self.break_off(format!("more than {MAX_TICKS} evaluations: make evaluation_interval longer"));
        }
        let mut since_start = 0;
        while !self.broken && since_start <= last {
            self.tick(since_start);
            since_start += step;
        }
        if !self.broken {
            self.expressions();
        }
        self.failures
    }

    /// Evaluates every group, then the alert tests whose time this tick is the last one for.
    fn tick(&mut self, since_start: i64) {
        let at = self.test.start + since_start;
        self.load(at);
        for index in 0..self.groups.len() {
            self.evaluate(index, at);
        }
        if self.broken {
            return;
        }
        let until = since_start + millis(self.file.evaluation_interval);
        let (test, mut failures) = (self.test, Vec::new());
        for alert in test.alerts.iter().filter(|alert| (since_start..until).contains(&alert.eval_time)) {
            failures.extend(self.compare_alerts(alert));
        }
        self.failures.extend(failures);
    }

    /// Appends the inputs' values up to a time.
    fn load(&mut self, at: Timestamp) {
        let interval = millis(self.test.interval);
        for input in &mut self.inputs {
            while let Some(value) = input.values.get(input.loaded) {
                let time = self.test.start + interval * input.loaded as i64;
                if time > at {
                    break;
                }
                input.loaded += 1;
                // A series that has ended may be gone from the store: it is asked for anew.
                let written = value.filter(|value| !is_stale(*value));
                let row = written.and_then(|value| Some((self.store.series(input.source, input.labels).ok()?, value)));
                if value.is_some() {
                    self.store.append(input.source, time, true, row.as_slice());
                }
            }
        }
    }

    fn evaluate(&mut self, index: usize, at: Timestamp) {
        let group = &self.groups[index];
        let context = Context {
            external_labels: &self.test.external_labels,
            external_url: &self.test.external_url,
            recorded: &self.recorded[index],
            keep: &|_, _| false,
            removed: &BTreeSet::new(),
        };
        let data = self.store.current();
        let outcome = evaluate(group, &self.active, &data, &data, at, &context);
        for error in &outcome.errors {
            let time = written_time(at - self.test.start);
            self.break_off(format!("rule {} at {time}: {}", error.rule, error.message));
        }
        self.apply(index, outcome, at);
    }

    fn apply(&mut self, index: usize, outcome: Outcome, at: Timestamp) {
        for change in outcome.changes {
            match change {
                Change::Put { alert, .. } => self.active.insert(alert.id.clone(), alert),
                Change::Remove(id) => self.active.remove(&id),
            };
        }
        let source = self.written[index];
        // Two groups may have alerts with the same labels; the first one's series stands for both.
        let row: Vec<(SeriesId, f64)> = outcome
            .samples
            .iter()
            .filter_map(|sample| Some((self.store.series(source, &sample.labels).ok()?, sample.value)))
            .collect();
        self.store.append(source, at, !outcome.partial, &row);
        self.recorded[index] = outcome.recorded;
    }

    fn compare_alerts(&self, test: &AlertTest) -> Option<Failure> {
        let firing = self.active.values().filter(|alert| {
            alert.state == AlertState::Firing && alert.id.labels.get(super::ALERT_NAME) == test.alertname
        });
        let got = firing
            .map(|alert| ExpectedAlert { labels: alert.id.labels.clone(), annotations: alert.annotations.clone() });
        let difference = compare::alerts(&test.expected, got.collect())?;
        let time = written_time(test.eval_time);
        Some(self.failure(&test.at, format!("alert {} at {time}:{difference}", test.alertname)))
    }

    fn expressions(&mut self) {
        let test = self.test;
        for expr in &test.exprs {
            let difference = self.compare_samples(expr);
            if let Some(difference) = difference {
                let time = written_time(expr.eval_time);
                self.fail(&expr.at, format!("`{}` at {time}:{difference}", expr.text));
            }
        }
    }

    fn compare_samples(&self, test: &ExprTest) -> Option<String> {
        let at = self.test.start + test.eval_time;
        match promql::evaluate(&test.expr, &self.store.current(), at, &Settings::default()) {
            Ok(Value::Vector(samples)) => compare::samples(&test.expected, samples, self.file.fuzzy),
            Ok(Value::Scalar(value)) => {
                let sample = Sample { labels: Labels::default(), value };
                compare::samples(&test.expected, vec![sample], self.file.fuzzy)
            }
            Ok(Value::String(_)) => Some(" is a string, not a vector or a number".to_owned()),
            Ok(Value::Matrix(_)) => Some(" is a range vector, not a vector or a number".to_owned()),
            Err(error) => Some(format!(" {}", error.message)),
        }
    }

    fn fail(&mut self, at: &Position, message: String) {
        let failure = self.failure(at, message);
        self.failures.push(failure);
    }

    fn break_off(&mut self, message: String) {
        self.fail(&self.test.at, message);
        self.broken = true;
    }

    fn failure(&self, at: &Position, message: String) -> Failure {
        let test = if self.test.name.is_empty() { String::new() } else { format!("{}: ", self.test.name) };
        Failure { at: at.clone(), test, message }
    }
}

fn written_time(since_start: i64) -> String {
    duration::format(Duration::from_millis(since_start.unsigned_abs()))
}

#[cfg(test)]
mod tests;
