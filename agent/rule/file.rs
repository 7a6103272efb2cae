//! Prometheus's rule files, read strictly: everything that is wrong is found at once, each with its place. What
//! this version does not support is refused by its name.

use std::collections::BTreeSet;

use super::reader::Reader;
use super::template::{Mistake, Template};
use super::{AlertingRule, Basis, Group, Rule, RuleKind, link};
use crate::config::tree::{self, Node, Problem, Value};
use crate::promql::{self, Expr, ValueType};

const FILE_KEYS: &[&str] = &["groups"];
const GROUP_KEYS: &[&str] = &["name", "interval", "limit", "labels", "rules"];
const RULE_KEYS: &[&str] = &["alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"];
/// What only an alerting rule has.
const ALERTING_KEYS: &[&str] = &["for", "keep_firing_for", "annotations"];

/// Keys of Prometheus (and of Thanos) that are not supported, and what they are.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("query_offset", "query offsets"),
    ("evaluation_delay", "query offsets"),
    ("partial_response_strategy", "Thanos's partial responses"),
];

/// Labels or annotations as written: names and texts.
type Named<'a> = Vec<(&'a str, &'a Node)>;

/// Reads a rule file's text. `file` is the name that positions and alerts bear; `hold` as in [`Group::hold`].
/// Recorded series are followed within the file; where several files run together, [`link`] them.
pub fn load(file: &str, text: &str, hold: bool) -> Result<Vec<Group>, Vec<Problem>> {
    let root = tree::parse(file, text).map_err(|problem| vec![problem])?;
    if root.get("tests").is_some() && root.get("groups").is_none() {
        return Err(vec![Problem::new(
            &root.at,
            "these are unit tests of rules, not rules: run `watchkeeper test` on them",
        )]);
    }
    let mut reader = Reader { unsupported: Some(unsupported), ..Reader::default() };
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
    for node in reader.list(root, "groups") {
        let name = reader.required(node, "name", "a group");
        if !name.is_empty() && !names.insert(name.clone()) {
            let message = format!("group `{name}` stands twice in this file: give each its own name");
            reader.refuse(node.get("name").unwrap_or(node), message);
        }
        reader.keys(node, GROUP_KEYS, "a group");
        let interval = reader.duration(node, "interval").filter(|interval| !interval.is_zero());
        let (limit, rules) = (limit(reader, node), rules(reader, node));
        groups.push(Group { file: file.to_owned(), name, interval, limit, hold, rules });
    }
    groups
}

/// 0 is none, as in Prometheus.
fn limit(reader: &mut Reader, group: &Node) -> Option<usize> {
    let node = group.get("limit").filter(|node| node.value != Value::Null)?;
    let text = reader.scalar(node)?;
    match text.parse::<usize>() {
        Ok(limit) => Some(limit).filter(|limit| *limit > 0),
        Err(_) => {
            let message = format!("`limit` is a number of series or alerts, 0 for none, not `{}`", tree::shown(&text));
            reader.refuse(node, message);
            None
        }
    }
}

fn rules(reader: &mut Reader, group: &Node) -> Vec<Rule> {
    let shared = labels(reader, group);
    let mut ids = BTreeSet::new();
    let mut rules = Vec::new();
    for node in reader.list(group, "rules") {
        let Some(rule) = rule(reader, node, &shared) else { continue };
        if matches!(rule.kind, RuleKind::Alerting(_)) && !ids.insert(rule.id.clone()) {
            let message = format!(
                "alert `{}` stands twice in this group with the same labels: its alerts could not be told apart",
                rule.name
            );
            reader.refuse(node.get("alert").unwrap_or(node), message);
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
    match node.get("record") {
        Some(record) => recording(reader, node, record, &labels),
        None => alerting(reader, node, &labels),
    }
}

fn alerting(reader: &mut Reader, node: &Node, labels: &Named) -> Option<Rule> {
    let name = match node.get("alert") {
        None if matches!(node.value, Value::Mapping(_)) => {
            reader.refuse(node, "a rule needs `alert` or `record`".to_owned());
            String::new()
        }
        _ => reader.required(node, "alert", "a rule"),
    };
    let expr = expr(reader, node);
    let alerting = AlertingRule {
        pending_for: reader.duration(node, "for").unwrap_or_default(),
        keep_firing_for: reader.duration(node, "keep_firing_for").unwrap_or_default(),
        labels: labels.iter().filter_map(|(name, node)| named_template(reader, name, node)).collect(),
        annotations: annotations(reader, node),
    };
    let id = id(&name, &alerting.labels);
    let at = node.get("alert").unwrap_or(node).at.clone();
    let expr = expr.filter(|_| !name.is_empty())?;
    Some(Rule { name, id, at, expr, basis: Basis::default(), kind: RuleKind::Alerting(alerting) })
}

fn recording(reader: &mut Reader, node: &Node, record: &Node, labels: &Named) -> Option<Rule> {
    if let Some(alert) = node.get("alert") {
        reader.refuse(alert, "a rule has `alert` or `record`, not both".to_owned());
    }
    for (key, _) in node.entries().iter().filter(|(key, _)| ALERTING_KEYS.contains(&key.text.as_str())) {
        let message = format!("`{}` belongs to alerting rules, not to a recording rule", key.text);
        reader.problems.push(Problem::new(&key.at, message));
    }
    let name = reader.required(node, "record", "a rule");
    if !name.is_empty() && !is_metric_name(&name) {
        let message = format!(
            "`{}` is no name for a series: letters, digits, underscores and colons, not beginning with a digit",
            tree::shown(&name)
        );
        reader.refuse(record, message);
    }
    let expr = expr(reader, node);
    let labels = labels.iter().filter_map(|(name, node)| Some(((*name).to_owned(), reader.scalar(node)?)));
    let kind = RuleKind::Recording { labels: labels.collect() };
    let expr = expr.filter(|_| !name.is_empty())?;
    Some(Rule { id: name.clone(), name, at: record.at.clone(), expr, basis: Basis::default(), kind })
}

fn expr(reader: &mut Reader, rule: &Node) -> Option<Expr> {
    let text = reader.required(rule, "expr", "a rule");
    let node = rule.get("expr").filter(|_| !text.is_empty())?;
    match promql::parse(&text) {
        Ok(expr) => match expr.value_type() {
            ValueType::Vector | ValueType::Scalar => return Some(expr),
            other => {
                let message = format!("a rule's expression is a vector or a number, not a {}", other.name());
                reader.refuse(node, message);
            }
        },
        Err(error) => reader.problems.push(Problem::new(&node.position_of(error.span.start), error.message)),
    }
    None
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
        if !is_label_name(&name.text) {
            let message = format!(
                "`{}` is no name for one of the `{key}`: letters, digits and underscores, not beginning with a digit, \
                 and not `__name__`",
                tree::shown(&name.text)
            );
            reader.problems.push(Problem::new(&name.at, message));
        }
        found.push((name.text.as_str(), node));
    }
    found.sort_by_key(|(name, _)| *name);
    found
}

fn named_template(reader: &mut Reader, name: &str, node: &Node) -> Option<(String, Template)> {
    let text = reader.scalar(node)?;
    Some((name.to_owned(), template(reader, node, &text)?))
}

fn template(reader: &mut Reader, node: &Node, text: &str) -> Option<Template> {
    let mistakes = match Template::parse(text) {
        Ok(template) => return Some(template),
        Err(mistakes) => mistakes,
    };
    let problem = |mistake: Mistake| Problem::new(&node.position_of(mistake.offset), mistake.message);
    reader.problems.extend(mistakes.into_iter().map(problem));
    None
}

/// The refusal of a key that Prometheus knows and this version does not.
fn unsupported(_what: &str, key: &str) -> Option<String> {
    let (name, meaning) = UNSUPPORTED.iter().find(|(name, _)| *name == key)?;
    Some(format!("{meaning} (`{name}`) are not supported by this version"))
}

/// See [`Rule::id`].
fn id(alert: &str, labels: &[(String, Template)]) -> String {
    if labels.is_empty() {
        return alert.to_owned();
    }
    let labels: Vec<String> = labels.iter().map(|(name, text)| format!("{name}={:?}", text.text())).collect();
    format!("{alert}{{{}}}", labels.join(", "))
}

fn is_metric_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

fn is_label_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit()) && name != "__name__"
}

#[cfg(test)]
mod tests;
