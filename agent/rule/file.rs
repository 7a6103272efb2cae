//! Prometheus's rule files, read strictly: everything that is wrong is found at once, each with its place. What
//! this version does not support is refused by its name.

use std::collections::BTreeSet;

use super::reader::Reader;
use super::template::{Mistake, Template};
use super::{Group, Rule};
use crate::config::tree::{self, Node, Problem, Value};
use crate::promql::{self, Expr, ValueType};

const FILE_KEYS: &[&str] = &["groups"];
const GROUP_KEYS: &[&str] = &["name", "interval", "rules"];
const RULE_KEYS: &[&str] = &["alert", "expr", "for", "keep_firing_for", "labels", "annotations"];

/// Keys of Prometheus (and of Thanos) that are not supported, and what they are.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("record", "recording rules"),
    ("limit", "limits on a group's alerts"),
    ("query_offset", "query offsets"),
    ("evaluation_delay", "query offsets"),
    ("partial_response_strategy", "Thanos's partial responses"),
];

/// Reads a rule file's text. `file` is the name that positions and alerts bear; `hold` as in [`Group::hold`].
pub fn load(file: &str, text: &str, hold: bool) -> Result<Vec<Group>, Vec<Problem>> {
    let root = tree::parse(file, text).map_err(|problem| vec![problem])?;
    if root.get("tests").is_some() && root.get("groups").is_none() {
        return Err(vec![Problem::new(
            &root.at,
            "these are unit tests of rules, not rules: run `watchkeeper test` on them",
        )]);
    }
    let mut reader = Reader { unsupported: Some(unsupported), ..Reader::default() };
    let groups = groups(&mut reader, &root, file, hold);
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
        groups.push(Group { file: file.to_owned(), name, interval, hold, rules: rules(reader, node) });
    }
    groups
}

fn rules(reader: &mut Reader, group: &Node) -> Vec<Rule> {
    let mut ids = BTreeSet::new();
    let mut rules = Vec::new();
    for node in reader.list(group, "rules") {
        let Some(rule) = rule(reader, node) else { continue };
        if !ids.insert(rule.id.clone()) {
            let message = format!(
                "alert `{}` stands twice in this group with the same labels: its alerts could not be told apart",
                rule.alert
            );
            reader.refuse(node.get("alert").unwrap_or(node), message);
        }
        rules.push(rule);
    }
    rules
}

/// A rule, unless it lacks what makes one.
fn rule(reader: &mut Reader, node: &Node) -> Option<Rule> {
    reader.keys(node, RULE_KEYS, "a rule");
    let recording = node.get("record").is_some();
    let alert = if recording { String::new() } else { reader.required(node, "alert", "a rule") };
    let expr = expr(reader, node);
    let pending_for = reader.duration(node, "for").unwrap_or_default();
    let keep_firing_for = reader.duration(node, "keep_firing_for").unwrap_or_default();
    let labels = templates(reader, node, "labels");
    let annotations = templates(reader, node, "annotations");
    let id = id(&alert, &labels);
    let at = node.get("alert").unwrap_or(node).at.clone();
    let expr = expr.filter(|_| !alert.is_empty())?;
    Some(Rule { alert, id, at, expr, pending_for, keep_firing_for, labels, annotations })
}

fn expr(reader: &mut Reader, rule: &Node) -> Option<Expr> {
    let text = reader.required(rule, "expr", "a rule");
    let node = rule.get("expr").filter(|_| !text.is_empty())?;
    match promql::parse(&text) {
        Ok(expr) => match expr.value_type() {
            ValueType::Vector | ValueType::Scalar => return Some(expr),
            other => {
                let message = format!("an alert's expression is a vector or a number, not a {}", other.name());
                reader.refuse(node, message);
            }
        },
        Err(error) => reader.problems.push(Problem::new(&node.position_of(error.span.start), error.message)),
    }
    None
}

/// Names and templates, sorted by name.
fn templates(reader: &mut Reader, rule: &Node, key: &str) -> Vec<(String, Template)> {
    let mut found = Vec::new();
    for (name, node) in reader.mapping(rule, key) {
        if !is_label_name(&name.text) {
            let message = format!(
                "`{}` is no name for one of the `{key}`: letters, digits and underscores, not beginning with a digit, \
                 and not `__name__`",
                tree::shown(&name.text)
            );
            reader.problems.push(Problem::new(&name.at, message));
        }
        if let Some(template) = reader.scalar(node).and_then(|text| template(reader, node, &text)) {
            found.push((name.text.clone(), template));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
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
fn unsupported(what: &str, key: &str) -> Option<String> {
    if (what, key) == ("a group", "labels") {
        return Some(
            "labels of a group (`labels`) are not supported by this version: give them to its rules".to_owned(),
        );
    }
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

fn is_label_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit()) && name != "__name__"
}

#[cfg(test)]
mod tests;
