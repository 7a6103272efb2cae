//! Unit tests of rules in promtool's form (`promtool test rules`), over the same store and the same evaluation as
//! the agent's. What is easily missed: every group is evaluated at 0, E, 2E… up to the last `eval_time` (E is
//! `evaluation_interval`; a group's own interval does not count), a tick sees no sample later than itself, alerts are
//! those of the last tick at or before their `eval_time`, and expressions are evaluated after the last tick.

mod compare;
mod format;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

use super::{Change, Context, Group, Outcome, Recorded, evaluate, file, link};
use crate::alert::{Alert, AlertId, AlertState};
use crate::clock::millis;
use crate::config::files;
use crate::config::tree::{Position, Problem};
use crate::duration;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::{self, Expr, Select, Settings, Value};
use crate::sample::{Label, Labels, Sample, Timestamp, is_stale};
use crate::store::{SeriesId, SourceId, Store, StoreLimits};
use format::{AlertTest, ExpectedAlert, ExprTest, Test, TestFile};

const MAX_SERIES: usize = 1_000_000;
/// Evaluations of all groups in one test.
const MAX_TICKS: i64 = 1_000_000;

/// Which tests are run, and how strictly rule files are read.
#[derive(Debug, Default)]
pub struct Options {
    /// Only tests whose name one of these finds; all of them where there is none.
    pub run: Vec<Regex>,
    /// Whether keys that are not known in rule files are passed over.
    pub ignore_unknown_fields: bool,
}

impl Options {
    fn asks_for(&self, test: &Test) -> bool {
        self.run.is_empty() || self.run.iter().any(|name| name.is_match(&test.name))
    }
}

/// What came of one test file.
#[derive(Debug)]
pub struct Report {
    pub cases: Vec<Case>,
    /// Patterns that name no file, and what is not tested.
    pub warnings: Vec<Problem>,
}

/// What came of one test.
#[derive(Debug)]
pub struct Case {
    /// `unnamed#N`, counted from 0, where the test has no name.
    pub name: String,
    pub failures: Vec<Failure>,
    /// Expressions that expect native histograms: they are not tested.
    pub skipped: usize,
}

impl Report {
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.cases.iter().flat_map(|case| &case.failures)
    }

    /// How many tests have failures.
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|case| !case.failures.is_empty()).count()
    }

    pub fn skipped(&self) -> usize {
        self.cases.iter().map(|case| case.skipped).sum()
    }
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
pub fn run(path: &Path, options: &Options) -> Result<Report, Vec<Problem>> {
    let file = format::read(&path.display().to_string(), &text_of(path)?)?;
    let (groups, mut warnings) = groups(path, &file, options)?;
    let mut cases = Vec::new();
    for (number, test) in file.tests.iter().enumerate().filter(|(_, test)| options.asks_for(test)) {
        let name = if test.name.is_empty() { format!("unnamed#{number}") } else { test.name.clone() };
        let skipped: Vec<&ExprTest> = test.exprs.iter().filter(|expr| expr.histograms).collect();
        let not_tested = |expr: &&ExprTest| {
            Problem::new(&expr.at, "not tested: native histograms (`histogram`) are not supported by this version")
        };
        warnings.extend(skipped.iter().map(not_tested));
        let skipped = skipped.len();
        cases.push(Case { name, failures: Run::new(&file, test, &groups).finish(), skipped });
    }
    Ok(Report { cases, warnings })
}

/// The groups of all rule files, in the order in which they are evaluated. Held alerts are the agent's own idea:
/// tests see what Prometheus would.
fn groups(path: &Path, tests: &TestFile, options: &Options) -> Result<(Vec<Group>, Vec<Problem>), Vec<Problem>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut groups, mut warnings, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for (at, pattern) in &tests.rule_files {
        let mut found = rule_files(folder, pattern).unwrap_or_else(|why| {
            problems.push(Problem::new(at, why));
            Vec::new()
        });
        if found.is_empty() {
            warnings.push(Problem::new(at, format!("`{pattern}` finds no file")));
        }
        found.retain(|path| seen.insert(path.clone()));
        for path in found {
            match load(&path, options) {
                Ok(loaded) => groups.extend(loaded),
                Err(wrong) => problems.extend(wrong),
            }
        }
    }
    link(&mut groups);
    groups.sort_by_key(|group| tests.group_eval_order.iter().position(|name| *name == group.name));
    if problems.is_empty() { Ok((groups, warnings)) } else { Err(problems) }
}

/// The files that a pattern finds; none, too, where a path without a pattern leads nowhere.
fn rule_files(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    if pattern.rfind('[') > pattern.rfind(']') {
        return Err(format!("`{pattern}` is no pattern: a bracket is not closed"));
    }
    let mut found = files::find(&folder.join(pattern))?;
    found.retain(|path| !pattern.is_empty() && path.exists());
    Ok(found)
}

fn load(path: &Path, options: &Options) -> Result<Vec<Group>, Vec<Problem>> {
    let (name, text) = (path.display().to_string(), text_of(path)?);
    if options.ignore_unknown_fields { file::load_leniently(&name, &text) } else { file::load(&name, &text, false) }
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
        self.refuse_histograms();
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

    /// A rule that reads an input series of native histograms would see nothing of it.
    fn refuse_histograms(&mut self) {
        let rules = self.groups.iter().flat_map(|group| &group.rules);
        let found: Vec<String> =
            rules.filter_map(|rule| Some(format!("rule {}: {}", rule.name, self.histogram_in(&rule.expr)?))).collect();
        found.into_iter().for_each(|message| self.break_off(message));
    }

    /// Why an expression cannot be evaluated: it reads native histograms.
    fn histogram_in(&self, expr: &Expr) -> Option<String> {
        if self.test.histograms.is_empty() {
            return None;
        }
        let reads = expr.reads();
        let is_read = |labels: &&Labels| {
            reads.iter().any(|read| read.selector.matchers.iter().all(|matcher| matcher.matches_labels(labels)))
        };
        let labels = self.test.histograms.iter().find(is_read)?;
        Some(format!("reads {labels}: native histograms are not supported by this version"))
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
            query_offset: group.query_offset.unwrap_or_default(),
            subquery_step: self.file.evaluation_interval,
            recorded: &self.recorded[index],
            keep: &|_, _| false,
            removed: &BTreeSet::new(),
        };
        let data = self.store.current();
        let outcome = evaluate(group, &self.active, &data, &data, at, &context);
        for error in &outcome.errors {
            let time = written_time(at - self.test.start);
            self.break_off(format!("rule {} at {time}: {} ({})", error.rule, error.message, error.at));
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
        let written_at = at - millis(self.groups[index].query_offset.unwrap_or_default());
        self.refuse_second_values(source, &outcome.samples, written_at);
        // Two groups may write the same series, with the same values; the first one's stands for both.
        let row: Vec<(SeriesId, f64)> = outcome
            .samples
            .iter()
            .filter_map(|sample| Some((self.store.series(source, &sample.labels).ok()?, sample.value)))
            .collect();
        self.store.append(source, written_at, !outcome.partial, &row);
        self.recorded[index] = outcome.recorded;
    }

    /// Another group, or an input, has given one of these series another value at the same time: an error in promtool.
    fn refuse_second_values(&mut self, source: SourceId, samples: &[Sample], at: Timestamp) {
        let foreign = samples.iter().filter(|sample| self.store.series(source, &sample.labels).is_err());
        let foreign: Vec<&Sample> = foreign.collect();
        for sample in foreign {
            let other = self.value_at(&sample.labels, at).filter(|value| value.to_bits() != sample.value.to_bits());
            if let Some(other) = other {
                let (time, labels, value) = (written_time(at - self.test.start), &sample.labels, sample.value);
                let message =
                    format!("{labels} at {time}: {value:?}, and another group has given it {other:?} already");
                self.break_off(message);
            }
        }
    }

    fn value_at(&self, labels: &Labels, at: Timestamp) -> Option<f64> {
        let matcher = |label: &Label| Matcher::new(&label.name, MatchOp::Equal, &label.value).ok();
        let matchers: Vec<Matcher> = labels.iter().filter_map(matcher).collect();
        let found = self.store.current().instant(&matchers, at, 1);
        found.into_iter().find(|sample| sample.labels == *labels).map(|sample| sample.value)
    }

    fn compare_alerts(&self, test: &AlertTest) -> Option<Failure> {
        let named = self.active.values().filter(|alert| alert.id.labels.get(super::ALERT_NAME) == test.alertname);
        let (firing, pending): (Vec<&Alert>, Vec<&Alert>) = named.partition(|alert| alert.state == AlertState::Firing);
        let got =
            |alert: &&Alert| ExpectedAlert { labels: alert.id.labels.clone(), annotations: alert.annotations.clone() };
        let pending: Vec<&Labels> = pending.iter().map(|alert| &alert.id.labels).collect();
        let difference = compare::alerts(&test.expected, firing.iter().map(got).collect(), &pending)?;
        let time = written_time(test.eval_time);
        Some(self.failure(&test.at, format!("alert {} at {time}:{difference}", test.alertname)))
    }

    fn expressions(&mut self) {
        let test = self.test;
        for expr in test.exprs.iter().filter(|expr| !expr.histograms) {
            let difference = self.compare_samples(expr);
            if let Some(difference) = difference {
                let time = written_time(expr.eval_time);
                self.fail(&expr.at, format!("`{}` at {time}:{difference}", expr.text));
            }
        }
    }

    fn compare_samples(&self, test: &ExprTest) -> Option<String> {
        let at = self.test.start + test.eval_time;
        if let Some(why) = self.histogram_in(&test.expr) {
            return Some(format!(" {why}"));
        }
        let subquery_step = millis(self.file.evaluation_interval).max(1);
        let settings = Settings { subquery_step, ..Settings::default() };
        match promql::evaluate(&test.expr, &self.store.current(), at, &settings) {
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

/// For the fuzz loop: any text is a file of tests or refused, its lines are series, values, or refused inside of them.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_or_refuse(text: &str) {
    if let Err(problems) = format::read("t.yml", text) {
        assert!(!problems.is_empty());
    }
    for line in text.lines().take(20) {
        let wrong = [values::values(line).err(), values::series(line).err()];
        for (at, message) in wrong.into_iter().flatten() {
            assert!(at <= line.len() && !message.is_empty(), "{at}: {message}");
        }
    }
}

#[cfg(test)]
mod tests;
