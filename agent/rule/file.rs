//! Prometheus's rule files, read as strictly as Prometheus 3.5 reads them, and no more so: everything that is wrong is
//! found at once, each with its place (model/rulefmt).

use std::collections::{BTreeMap, BTreeSet};

use super::reader::Reader;
use super::template::{Mistake, Template};
use super::{AlertingRule, Basis, Group, Rule, RuleKind, link, reads};
use crate::config::tree::{self, Node, Problem, Value};
use crate::promql::{self, Expr};
use crate::sample::METRIC_NAME;

const FILE_KEYS: &[&str] = &["groups"];
const GROUP_KEYS: &[&str] = &["name", "interval", "query_offset", "limit", "labels", "rules"];
const RULE_KEYS: &[&str] = &["alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"];
/// What only an alerting rule has.
const ALERTING_KEYS: &[&str] = &["for", "keep_firing_for", "annotations"];

/// Keys of Prometheus's relatives, which Prometheus refuses too, and what to do about them.
const FOREIGN: &[(&str, &str)] = &[
    ("evaluation_delay", "Cortex's `evaluation_delay` is `query_offset` in Prometheus's rule files"),
    ("partial_response_strategy", "`partial_response_strategy` is Thanos's, not Prometheus's: remove it"),
];

/// Labels or annotations as written: names and texts.
type Named<'a> = Vec<(&'a str, &'a Node)>;

/// Reads a rule file's text. `file` is the name that positions and alerts bear; `hold` as in [`Group::hold`].
/// Recorded series are followed within the file; where several files run together, [`link`] them.
pub fn load(file: &str, text: &str, hold: bool) -> Result<Vec<Group>, Vec<Problem>> {
    read(file, text, hold, Reader { unsupported: Some(foreign), ..Reader::default() })
}

/// As [`load`], but keys that are not known are passed over: for files with fields of another tool.
pub fn load_leniently(file: &str, text: &str) -> Result<Vec<Group>, Vec<Problem>> {
    read(file, text, false, Reader { lenient: true, ..Reader::default() })
}

fn read(file: &str, text: &str, hold: bool, mut reader: Reader) -> Result<Vec<Group>, Vec<Problem>> {
    let root = tree::parse_first(file, text).map_err(|problem| vec![problem])?;
    if root.get("tests").is_some() && root.get("groups").is_none() {
        return Err(vec![Problem::new(
            &root.at,
            "these are unit tests of rules, not rules: run `watchkeeper test` on them",
        )]);
    }
    let mut groups = groups(&mut reader, &root, file, hold);
    link(&mut groups);
    reader.finish(groups)
}

fn groups(reader: &mut Reader, root: &Node, file: &str, hold: bool) -> Vec<Group> {
    if root.value == Value::Null {
        return Vec::new();
    }
    reader.keys(root, FILE_KEYS, "a rule file");
    let mut names = BTreeSet::new();
    let mut groups = Vec::new();
    for node in given(reader.list(root, "groups")) {
        let name = reader.required(node, "name", "a group");
        if !name.is_empty() && !names.insert(name.clone()) {
            let message = format!("group `{name}` stands twice in this file: give each its own name");
            reader.refuse(node.get("name").unwrap_or(node), message);
        }
        reader.keys(node, GROUP_KEYS, "a group");
        let interval = reader.duration(node, "interval").filter(|interval| !interval.is_zero());
        let query_offset = reader.duration(node, "query_offset");
        let (limit, rules) = (limit(reader, node), rules(reader, node));
        let (file, sees_own) = (file.to_owned(), reads::sees_own(&rules));
        groups.push(Group { file, name, interval, query_offset, limit, hold, sees_own, rules });
    }
    groups
}

/// Nothing between two commas is nothing, as in Prometheus.
fn given(items: &[Node]) -> impl Iterator<Item = &Node> {
    items.iter().filter(|item| item.value != Value::Null)
}

/// 0 and less is none, and a fraction is cut, as in Prometheus. A text is refused, whatever it says.
fn limit(reader: &mut Reader, group: &Node) -> Option<usize> {
    let node = group.get("limit").filter(|node| node.value != Value::Null)?;
    let text = reader.scalar(node)?;
    let plain = matches!(node.value, Value::Scalar { plain: true, .. });
    match whole(&text) {
        Some(limit) if plain => usize::try_from(limit).ok().filter(|limit| *limit > 0),
        _ => {
            let message = format!("`limit` is a number of series or alerts, 0 for none, not `{}`", tree::shown(&text));
            reader.refuse(node, message);
            None
        }
    }
}

/// A number as Prometheus's YAML has it: `0x10`, `0b11`, `0o10` and `010` (8), `1_000`, `1e3`, without its fraction.
fn whole(text: &str) -> Option<i64> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let radix = |radix, digits: &str| i64::from_str_radix(&format!("{sign}{digits}"), radix).ok();
    let based = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => radix(16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => radix(2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => radix(8, &digits[2..]),
        [b'0', _, ..] => radix(8, digits),
        _ => None,
    };
    let cut = || plain.parse::<f64>().ok().filter(|value| value.abs() < i64::MAX as f64).map(|value| value as i64);
    based.or_else(cut)
}

fn rules(reader: &mut Reader, group: &Node) -> Vec<Rule> {
    let shared = labels(reader, group);
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    let mut rules = Vec::new();
    for node in given(reader.list(group, "rules")) {
        let Some(mut rule) = rule(reader, node, &shared) else { continue };
        let count = ids.entry(rule.id.clone()).or_default();
        *count += 1;
        // Prometheus takes them, each with alerts of its own.
        if *count > 1 {
            rule.id = format!("{} #{count}", rule.id);
        }
        rules.push(rule);
    }
    rules
}

/// A rule, unless it lacks what makes one. `shared` are the group's labels: its own win.
fn rule(reader: &mut Reader, node: &Node, shared: &Named) -> Option<Rule> {
    reader.keys(node, RULE_KEYS, "a rule");
    let own = labels(reader, node);
    let inherited = shared.iter().filter(|(name, _)| !own.iter().any(|(own, _)| own == name));
    let mut labels: Named = inherited.chain(&own).copied().collect();
    labels.sort_by_key(|(name, _)| *name);
    match said(node, "record") {
        Some(record) => recording(reader, node, record, &labels),
        None => alerting(reader, node, &own, &labels),
    }
}

/// What stands under a key and says something.
fn said<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    node.get(key).filter(|node| node.value != Value::Null && node.text() != Some(""))
}

/// `own` are the labels that the rule itself has: mistakes in the templates of those are found here, those in its
/// group's only show in the alerts, as in Prometheus.
fn alerting(reader: &mut Reader, node: &Node, own: &Named, labels: &Named) -> Option<Rule> {
    let name = match said(node, "alert") {
        None if matches!(node.value, Value::Mapping(_)) => {
            reader.refuse(node, "a rule needs `alert` or `record`".to_owned());
            String::new()
        }
        _ => reader.required(node, "alert", "a rule"),
    };
    let expr = expr(reader, node);
    let label = |reader: &mut Reader, (label, node): &(&str, &Node)| {
        if own.iter().any(|(own, _)| own == label) {
            return named_template(reader, label, node);
        }
        Some(((*label).to_owned(), Template::unchecked(&reader.scalar(node)?)))
    };
    let alerting = AlertingRule {
        pending_for: reader.duration(node, "for").unwrap_or_default(),
        keep_firing_for: reader.duration(node, "keep_firing_for").unwrap_or_default(),
        labels: labels.iter().filter_map(|found| label(reader, found)).collect(),
        annotations: annotations(reader, node),
    };
    let id = id(&name, &alerting.labels);
    let at = node.get("alert").unwrap_or(node).at.clone();
    let (expr, written) = expr.filter(|_| !name.is_empty())?;
    Some(Rule { name, id, at, expr, written, basis: Basis::default(), kind: RuleKind::Alerting(alerting) })
}

fn recording(reader: &mut Reader, node: &Node, record: &Node, labels: &Named) -> Option<Rule> {
    if let Some(alert) = said(node, "alert") {
        reader.refuse(alert, "a rule has `alert` or `record`, not both".to_owned());
    }
    for (key, value) in node.entries().iter().filter(|(key, _)| ALERTING_KEYS.contains(&key.text.as_str())) {
        if says_nothing(reader, value) {
            continue;
        }
        let message = format!("`{}` belongs to alerting rules, not to a recording rule", key.text);
        reader.problems.push(Problem::new(&key.at, message));
    }
    let name = reader.required(node, "record", "a rule");
    if name.contains(['{', '}']) {
        let message = format!("`{}` is no name for a series: an expression belongs under `expr`", tree::shown(&name));
        reader.refuse(record, message);
    }
    let expr = expr(reader, node);
    let labels = labels.iter().filter_map(|(name, node)| Some(((*name).to_owned(), reader.scalar(node)?)));
    let kind = RuleKind::Recording { labels: labels.collect() };
    let (expr, written) = expr.filter(|_| !name.is_empty())?;
    Some(Rule { id: name.clone(), name, at: record.at.clone(), expr, written, basis: Basis::default(), kind })
}

/// Whether a recording rule may have it, since it is as good as absent: `for: 0s`, `annotations: {}`.
fn says_nothing(reader: &mut Reader, value: &Node) -> bool {
    match &value.value {
        Value::Null => true,
        Value::Mapping(entries) => entries.is_empty(),
        Value::Sequence(_) => false,
        Value::Scalar { text, .. } => match crate::duration::parse(text) {
            Ok(duration) => duration.is_zero(),
            Err(message) => {
                reader.refuse(value, message);
                true
            }
        },
    }
}

/// The expression, and where it stands. Of any type: a string or a range fails at each evaluation, as in Prometheus, and
/// the rules beside it work.
fn expr(reader: &mut Reader, rule: &Node) -> Option<(Expr, Node)> {
    let text = reader.required(rule, "expr", "a rule");
    let node = rule.get("expr").filter(|_| !text.is_empty())?;
    let refuse = |error: promql::SyntaxError| Problem::new(&node.position_of(error.span.start), error.message);
    let expr = promql::parse(&text).map_err(|error| reader.problems.push(refuse(error))).ok()?;
    Some((expr, node.clone()))
}

/// The labels of a group or a rule.
fn labels<'a>(reader: &mut Reader, node: &'a Node) -> Named<'a> {
    named(reader, node, "labels")
}

/// Sorted by name.
fn annotations(reader: &mut Reader, rule: &Node) -> Vec<(String, Template)> {
    let found = named(reader, rule, "annotations");
    found.into_iter().filter_map(|(name, node)| named_template(reader, name, node)).collect()
}

/// What stands under a key by name, sorted, with names that are checked.
fn named<'a>(reader: &mut Reader, node: &'a Node, key: &str) -> Named<'a> {
    let mut found = Vec::new();
    for (name, node) in reader.mapping(node, key) {
        // Any other text is a name since Prometheus 3.
        if name.text.is_empty() || (key == "labels" && name.text == METRIC_NAME) {
            let message = format!("`{}` is no name for one of the `{key}`", tree::shown(&name.text));
            reader.problems.push(Problem::new(&name.at, message));
        }
        found.push((name.text.as_str(), node));
    }
    found.sort_by_key(|(name, _)| *name);
    found
}

fn named_template(reader: &mut Reader, name: &str, node: &Node) -> Option<(String, Template)> {
    let text = reader.scalar(node)?;
    let problem = |mistake: Mistake| Problem::new(&node.position_of(mistake.offset), mistake.message);
    match Template::parse(&text) {
        Ok(template) => Some((name.to_owned(), template)),
        Err(mistakes) => {
            reader.problems.extend(mistakes.into_iter().map(problem));
            None
        }
    }
}

/// The refusal of a key that Prometheus does not know and its relatives do.
fn foreign(_what: &str, key: &str) -> Option<String> {
    let (_, meaning) = FOREIGN.iter().find(|(name, _)| *name == key)?;
    Some((*meaning).to_owned())
}

/// See [`Rule::id`].
fn id(alert: &str, labels: &[(String, Template)]) -> String {
    if labels.is_empty() {
        return alert.to_owned();
    }
    let labels: Vec<String> = labels.iter().map(|(name, text)| format!("{name}={:?}", text.text())).collect();
    format!("{alert}{{{}}}", labels.join(", "))
}

#[cfg(test)]
mod tests;
