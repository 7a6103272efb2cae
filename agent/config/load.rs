//! Loads a configuration: defaults, what the environment names, the file, the environment's overrides, in that order.
//! Each piece is read by itself, and every problem is reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::changes::Named;
use super::discover::Discovered;
use super::fields::{Fields, SHORTEST};
use super::tree::{self, Node, Position, Problem, Value};
use super::words::{list, nearest, wanted_not};
use super::{Alerting, Config, Evaluation, Log, LogFormat, LogLevel, RuleFile};
use super::{alerting, auth, discover, environment, expand, files, profile, region, state_dir, targets};

/// Every key at the top.
pub(super) const SECTIONS: &[&str] = &[
    "listen",
    "state_dir",
    "auth",
    "labels",
    "defaults",
    "evaluation",
    "rule_files",
    "shipped_rules",
    "targets",
    profile::KEY,
    "alerting",
    "region",
    "telemetry",
];
/// The files of shipped rules, as `shipped_rules: {hold: [redis]}` calls them.
pub const SHIPPED_FILES: [&str; 9] =
    ["targets", "services", "gateway", "certificates", "postgres", "redis", "host", "region", "self"];
/// Sections of the design that this version does not have.
const LATER: &[&str] = &["otlp"];
const LISTEN: &str = "127.0.0.1:7799";

/// A configuration that may be run, and what it was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: Config,
    pub source: Source,
    /// What people should know and need not mend: variables that were seen but cannot be used, and the like.
    pub notes: Vec<String>,
    /// Files of secrets and certificates that cannot be read, or hold nothing of use, now. The agent runs (they are
    /// read again at each use), a check fails.
    pub unusable: Vec<Problem>,
    /// Every file that it is made of or names: see [`super::changes`].
    pub named: Named,
}

/// The files of a configuration as they were read, unexpanded: what is kept as the last good one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub main: Option<FileText>,
    /// What `alerting: {file: …}` names.
    pub alerting: Option<FileText>,
    pub rules: Vec<RuleText>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileText {
    pub path: PathBuf,
    pub text: String,
}

/// A rule file that `rule_files` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleText {
    pub file: FileText,
    pub hold: bool,
}

/// The text may hold secrets.
impl fmt::Debug for FileText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileText({})", self.path.display())
    }
}

/// Loads the file at `path`, or, where there is none, what the environment names.
/// `shipped` are the names of the shipped rules, which `shipped_rules: {disable: […]}` may name.
/// The problems are sorted by place.
pub fn load(path: Option<&Path>, env: &BTreeMap<String, String>, shipped: &[&str]) -> Result<Loaded, Vec<Problem>> {
    let main = match path {
        None => None,
        Some(path) => {
            let text = read_file(path).map_err(|problem| vec![problem])?;
            Some(FileText { path: path.to_owned(), text })
        }
    };
    build(main, Files::Disk, env, shipped)
}

/// The text of a file that the command line names.
pub fn read_file(path: &Path) -> Result<String, Problem> {
    files::read_text(path).map_err(|message| Problem::new(&Position::outside("watchkeeper"), message))
}

/// Loads a configuration from its kept copy, without its files; secrets are still read from where they are.
/// Where a `WATCHKEEPER__…` variable is what is wrong, it is left out, and a note says so.
pub fn load_from_snapshot(
    source: &Source,
    env: &BTreeMap<String, String>,
    shipped: &[&str],
) -> Result<Loaded, Vec<Problem>> {
    let load = |env: &BTreeMap<String, String>| build(source.main.clone(), Files::Kept(source), env, shipped);
    let problems = match load(env) {
        Ok(loaded) => return Ok(loaded),
        Err(problems) => problems,
    };
    let bad: BTreeSet<&str> = problems.iter().filter_map(|problem| environment::variable_at(&problem.at)).collect();
    let mut good = env.clone();
    good.retain(|name, _| !bad.contains(name.as_str()));
    if good.len() == env.len() {
        return Err(problems);
    }
    let mut loaded = load(&good)?;
    loaded.notes.extend(bad.iter().map(|name| format!("the environment variable {name} is wrong and is left out")));
    Ok(loaded)
}

/// Where the files that a configuration names come from.
#[derive(Clone, Copy)]
enum Files<'a> {
    Disk,
    Kept(&'a Source),
}

fn build(
    main: Option<FileText>,
    files: Files,
    env: &BTreeMap<String, String>,
    shipped: &[&str],
) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut failed = expand::Failed::default();
    let found = layered(main.as_ref(), env, &mut failed).map_err(|problem| vec![problem])?;
    let mut tree = found.tree;
    environment::apply(&mut tree, env, &mut problems);
    let mut reader = Reader {
        files,
        env,
        shipped,
        source: Source { main, ..Source::default() },
        failed,
        unusable: Vec::new(),
        named: Named::default(),
    };
    reader.named.patterns.extend(reader.source.main.iter().map(|main| main.path.clone()));
    reader.named.paths.extend(files::named(&tree));
    let config = reader.config(&tree, &mut problems);
    problems.retain(|problem| !reader.failed.scalars.contains(&problem.at));
    problems.append(&mut reader.failed.problems);
    let notes = [found.notes, environment::near_misses(env, SECTIONS)].concat();
    match config {
        Some(config) if problems.is_empty() => {
            reader.unusable.sort_by(|a, b| a.at.cmp(&b.at));
            Ok(Loaded { config, source: reader.source, notes, unusable: reader.unusable, named: reader.named })
        }
        _ => {
            problems.sort_by(|a, b| a.at.cmp(&b.at));
            problems.dedup();
            Err(problems)
        }
    }
}

/// What the environment names, below a profile, below the file; with what is to be said of the first.
fn layered(
    main: Option<&FileText>,
    env: &BTreeMap<String, String>,
    failed: &mut expand::Failed,
) -> Result<Discovered, Problem> {
    let file = main.map(|main| parsed(main, env, failed)).transpose()?;
    let profile = profile::named(file.as_ref(), env);
    let mut found = discover::discover(env, file.is_none() && profile.is_none());
    if let Some(profile) = profile {
        found.tree = environment::merge(found.tree, profile::tree(&profile, env, failed)?);
    }
    if let Some(file) = file {
        found.tree = environment::merge(found.tree, file);
    }
    Ok(found)
}

/// A file as a tree, expanded, its relative paths resolved.
fn parsed(file: &FileText, env: &BTreeMap<String, String>, failed: &mut expand::Failed) -> Result<Node, Problem> {
    let mut tree = tree::parse(&file.path.to_string_lossy(), &file.text)?;
    if !matches!(tree.value, Value::Mapping(_) | Value::Null) {
        let message = wanted_not("a configuration of `key: value` lines", &tree.describe());
        return Err(Problem::new(&tree.at, message));
    }
    expand::expand(&mut tree, env, failed);
    files::resolve_paths(&mut tree);
    Ok(tree)
}

struct Reader<'a> {
    files: Files<'a>,
    env: &'a BTreeMap<String, String>,
    shipped: &'a [&'a str],
    source: Source,
    failed: expand::Failed,
    unusable: Vec<Problem>,
    named: Named,
}

impl Reader<'_> {
    fn config(&mut self, tree: &Node, problems: &mut Vec<Problem>) -> Option<Config> {
        let mut fields = Fields::of(tree, "configuration", problems)?;
        fields.only(SECTIONS, LATER);
        let listen = listen(&mut fields);
        let labels = targets::labels(&mut fields, &["alertname"]);
        fields.text("state_dir");
        fields.text(profile::KEY);
        let rule_files = self.rule_files(&mut fields);
        let state_dir = state_dir::in_tree(tree).unwrap_or_else(|| state_dir::default(self.env));
        let defaults = tree.get("defaults").map(|node| targets::defaults(node, problems)).unwrap_or_default();
        let targets = tree.get("targets").map(|node| targets::targets(node, &defaults, problems)).unwrap_or_default();
        let unusable = tree.get("targets").map(|node| targets::unusable(node, &targets)).unwrap_or_default();
        self.unusable.extend(unusable);
        let region = tree.get("region").and_then(|node| region::region(node, tree.get("targets"), &targets, problems));
        Some(Config {
            auth: auth::auth(tree, &state_dir, problems),
            state_dir,
            labels,
            rule_files,
            evaluation: evaluation(tree, problems),
            disabled_rules: self.disabled_rules(tree, problems),
            hold_shipped: hold_shipped(tree, problems),
            targets,
            alerting: tree.get("alerting").and_then(|node| self.alerting(node, problems)),
            region,
            log: log(tree, problems),
            listen: listen?,
        })
    }

    fn disabled_rules(&self, tree: &Node, problems: &mut Vec<Problem>) -> Vec<String> {
        let Some(node) = tree.get("shipped_rules") else { return Vec::new() };
        let Some(mut fields) = Fields::of(node, "shipped_rules", problems) else { return Vec::new() };
        fields.only(&["disable", "hold"], &[]);
        let names = fields.get::<Vec<String>>("disable").unwrap_or_default();
        let items = node.get("disable").map_or(&[][..], Node::items);
        for (name, item) in names.iter().zip(items).filter(|(name, _)| !self.shipped.contains(&name.as_str())) {
            let what_then = match nearest(name, self.shipped) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", list(self.shipped)),
            };
            let message = format!("`disable`: no shipped rule is called `{}`: {what_then}", tree::shown(name));
            fields.problems.push(Problem::new(&item.at, message));
        }
        names
    }

    /// `route` and `receivers` here, or in the file that `file` names.
    fn alerting(&mut self, node: &Node, problems: &mut Vec<Problem>) -> Option<Alerting> {
        let Some((_, named)) = node.entry("file") else { return self.routes(node, problems) };
        let mut fields = Fields { node, problems };
        fields.only(&["file", "route", "receivers"], &[]);
        for (key, _) in node.entries().iter().filter(|(key, _)| matches!(key.text.as_str(), "route" | "receivers")) {
            let message = format!("`file` is given too: write `{}` into that file, or remove `file`", key.text);
            fields.problems.push(Problem::new(&key.at, message));
        }
        let path = PathBuf::from(fields.text("file")?);
        let file = match self.alerting_file(&path) {
            Ok(file) => file,
            Err(message) => {
                fields.problems.push(Problem::new(&named.at, format!("`file`: {message}")));
                return None;
            }
        };
        let tree = parsed(&file, self.env, &mut self.failed).map_err(|problem| problems.push(problem)).ok()?;
        self.source.alerting = Some(file);
        self.named.paths.extend(files::named(&tree));
        self.routes(&tree, problems)
    }

    fn routes(&mut self, node: &Node, problems: &mut Vec<Problem>) -> Option<Alerting> {
        let alerting = alerting::alerting(node, problems)?;
        self.unusable.extend(alerting::unusable(node));
        Some(alerting)
    }

    fn alerting_file(&self, path: &Path) -> Result<FileText, String> {
        match self.files {
            Files::Disk => Ok(FileText { path: path.to_owned(), text: files::read_text(path)? }),
            Files::Kept(kept) => kept.alerting.clone().ok_or_else(|| format!("no copy of {} was kept", path.display())),
        }
    }

    /// The rule files that the patterns find, each once, in order.
    fn rule_files(&mut self, fields: &mut Fields) -> Vec<RuleFile> {
        let patterns = fields.items("rule_files");
        for item in patterns {
            let Some((pattern, hold)) = rule_pattern(item, fields.problems) else { continue };
            let path = files::beside(&pattern.at, pattern.text().unwrap_or_default());
            self.named.patterns.insert(path.clone());
            if matches!(self.files, Files::Disk)
                && let Err(message) = self.add_rules(&path, hold)
            {
                fields.problems.push(Problem::new(&pattern.at, format!("`rule_files`: {message}")));
            }
        }
        if let Files::Kept(kept) = self.files {
            self.source.rules.clone_from(&kept.rules);
        }
        self.source.rules.iter().map(|rule| RuleFile { path: rule.file.path.clone(), hold: rule.hold }).collect()
    }

    fn add_rules(&mut self, pattern: &Path, hold: bool) -> Result<(), String> {
        let found = files::find(pattern)?;
        if found.is_empty() {
            return Err(format!("no file fits {}: mend the pattern, or remove it", pattern.display()));
        }
        for path in found {
            if self.source.rules.iter().all(|known| known.file.path != path) {
                let text = files::read_text(&path)?;
                self.source.rules.push(RuleText { file: FileText { path, text }, hold });
            }
        }
        Ok(())
    }
}

/// `shipped_rules: {hold: …}`: `true`, `false`, or the files whose alerts are held. What else is wrong with the section
/// is said with `disable`.
fn hold_shipped(tree: &Node, problems: &mut Vec<Problem>) -> BTreeSet<String> {
    let all = || SHIPPED_FILES.map(str::to_owned).into();
    let section = tree.get("shipped_rules").filter(|node| matches!(node.value, Value::Mapping(_)));
    let Some((section, node)) = section.and_then(|section| Some((section, section.get("hold")?))) else { return all() };
    let mut fields = Fields { node: section, problems };
    if !matches!(node.value, Value::Sequence(_)) {
        return if fields.get("hold").unwrap_or(true) { all() } else { BTreeSet::new() };
    }
    let names = fields.get::<Vec<String>>("hold").unwrap_or_default();
    for (name, item) in names.iter().zip(node.items()).filter(|(name, _)| !SHIPPED_FILES.contains(&name.as_str())) {
        let what_then = match nearest(name, &SHIPPED_FILES) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", list(&SHIPPED_FILES)),
        };
        let message = format!("`hold`: no file of shipped rules is called `{}`: {what_then}", tree::shown(name));
        fields.problems.push(Problem::new(&item.at, message));
    }
    names.into_iter().collect()
}

/// A pattern, or `{path: pattern, hold: true}`.
fn rule_pattern<'a>(item: &'a Node, problems: &mut Vec<Problem>) -> Option<(&'a Node, bool)> {
    if item.text().is_some_and(|text| !text.is_empty()) {
        return Some((item, false));
    }
    let Value::Mapping(_) = item.value else {
        let wanted = "a path, or {path: …, hold: true},";
        problems.push(Problem::new(&item.at, format!("`rule_files`: {}", wanted_not(wanted, &item.describe()))));
        return None;
    };
    let mut fields = Fields { node: item, problems };
    fields.only(&["path", "hold"], &[]);
    let hold = fields.get("hold").unwrap_or(false);
    if item.get("path").is_none() {
        fields.refuse("path", "the key is missing: it names the rule files");
    }
    fields.text("path")?;
    Some((item.get("path")?, hold))
}

fn listen(fields: &mut Fields) -> Option<SocketAddr> {
    if fields.node.get("listen").is_none() {
        return LISTEN.parse().ok();
    }
    let text = fields.text("listen")?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let message =
            format!("an address and a port are wanted, such as {LISTEN} or [::]:7799, not {}", said(fields, "listen"));
        fields.refuse("listen", &message);
    }
    parsed
}

fn said(fields: &Fields, key: &str) -> String {
    fields.node.get(key).map(Node::describe).unwrap_or_default()
}

fn evaluation(tree: &Node, problems: &mut Vec<Problem>) -> Evaluation {
    let mut evaluation = Evaluation { interval: Duration::from_secs(5), react: true, query_offset: Duration::ZERO };
    let node = tree.get("evaluation");
    if let Some(mut fields) = node.and_then(|node| Fields::of(node, "evaluation", problems)) {
        fields.only(&["interval", "react", "query_offset"], &[]);
        evaluation.interval = fields.duration("interval", SHORTEST).unwrap_or(evaluation.interval);
        evaluation.react = fields.get("react").unwrap_or(true);
        evaluation.query_offset = fields.duration("query_offset", Duration::ZERO).unwrap_or_default();
    }
    evaluation
}

fn log(tree: &Node, problems: &mut Vec<Problem>) -> Log {
    let mut log = Log { level: LogLevel::Info, format: LogFormat::Auto };
    let Some(node) = tree.get("telemetry") else { return log };
    let Some(mut fields) = Fields::of(node, "telemetry", problems) else { return log };
    fields.only(&["log"], LATER);
    let node = node.get("log");
    if let Some(mut fields) = node.and_then(|node| Fields::of(node, "log", problems)) {
        fields.only(&["level", "format"], &[]);
        log.level = fields.get("level").unwrap_or(log.level);
        log.format = fields.get("format").unwrap_or(log.format);
    }
    log
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
