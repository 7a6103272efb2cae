//! What is probably wrong with rules that load: expressions that can never have a value, or always have one, names that
//! nothing produces, windows that do not fit, alerts that nobody can act on.
//!
//! Pure: rules, and what can be produced, to warnings. A lint speaks only where it can be sure of what it says.

mod allow;
mod bound;
mod counter;
mod known;
mod never;
mod own;
mod producer;
mod repeated;
#[cfg(test)]
mod tests;
mod values;
mod window;

use std::collections::BTreeMap;

use self::allow::Allowed;
use super::file;
use super::{Group, Rule, RuleKind};
use crate::config::tree::{self, Node, Position};
use crate::promql::Expr;

pub use producer::{Producers, Scrapes};

/// Every lint, by its name.
pub const LINTS: &[&str] = &[
    UNKNOWN_METRIC,
    UNKNOWN_LABEL,
    UNKNOWN_VALUE,
    WINDOW_TOO_LONG,
    WINDOW_TOO_SHORT,
    COUNTER_WITHOUT_RATE,
    NO_RUNBOOK,
    NO_SEVERITY,
    NEVER_FIRES,
    ALWAYS_FIRES,
    DUPLICATE_RULE,
    DUPLICATE_SELECTOR,
    UNNORMALIZED_BOUND,
    UNKNOWN_LINT,
];
const UNKNOWN_METRIC: &str = "unknown-metric";
const UNKNOWN_LABEL: &str = "unknown-label";
const UNKNOWN_VALUE: &str = "unknown-value";
const WINDOW_TOO_LONG: &str = "window-too-long";
const WINDOW_TOO_SHORT: &str = "window-too-short";
const COUNTER_WITHOUT_RATE: &str = "counter-without-rate";
const NO_RUNBOOK: &str = "no-runbook";
const NO_SEVERITY: &str = "no-severity";
const NEVER_FIRES: &str = "never-fires";
const ALWAYS_FIRES: &str = "always-fires";
const DUPLICATE_RULE: &str = "duplicate-rule";
const DUPLICATE_SELECTOR: &str = "duplicate-selector";
const UNNORMALIZED_BOUND: &str = "unnormalized-bound";
const UNKNOWN_LINT: &str = "unknown-lint";

/// One thing that is probably wrong. Written as `file:line:column: warning: message (lint)`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: warning: {message} ({lint})")]
pub struct Warning {
    pub at: Position,
    pub lint: &'static str,
    pub message: String,
}

/// A finding within an expression: where (in bytes), which lint, what.
#[derive(Debug)]
struct Finding {
    at: usize,
    lint: &'static str,
    message: String,
}

impl Finding {
    fn new(expr: &Expr, lint: &'static str, message: impl Into<String>) -> Self {
        Finding { at: expr.span.start, lint, message: message.into() }
    }
}

/// What a rule is found to be the second one of, over all files: kind, name, labels.
pub type Seen = BTreeMap<(bool, String, Vec<(String, String)>), Position>;

/// The warnings about a rule file that loads, in the order of the file. `producers` is `None` where it is not known what
/// is watched. `seen` are the rules of the files before it.
pub fn lint(name: &str, text: &str, producers: Option<&Producers>, seen: &mut Seen) -> Vec<Warning> {
    let (Ok(root), Ok(groups)) = (tree::parse(name, text), file::load(name, text, false)) else { return Vec::new() };
    let nodes = root.get("groups").map_or(&[][..], Node::items);
    let allowed = Allowed::read(text, nodes);
    let mut warnings = allowed.unknown(name);
    for (group, node) in groups.iter().zip(nodes) {
        let rules = node.get("rules").map_or(&[][..], Node::items);
        for (rule, node) in group.rules.iter().zip(rules) {
            let mut found = Vec::new();
            lint_rule(group, rule, node, producers, seen, &mut found);
            let allowed = allowed.of_rule(node.at.line);
            warnings.extend(found.into_iter().filter(|warning| !allowed.contains(warning.lint)));
        }
    }
    warnings.sort_by(|a, b| (&a.at, a.lint).cmp(&(&b.at, b.lint)));
    warnings
}

fn lint_rule(
    group: &Group,
    rule: &Rule,
    node: &Node,
    producers: Option<&Producers>,
    seen: &mut Seen,
    warnings: &mut Vec<Warning>,
) {
    let mut findings = Vec::new();
    bound::find(&rule.expr, &mut findings);
    counter::find(&rule.expr, producers, &mut findings);
    never::find(&rule.expr, matches!(rule.kind, RuleKind::Alerting(_)), &mut findings);
    known::find(&rule.expr, producers, &mut findings);
    repeated::find(&rule.expr, &mut findings);
    values::find(&rule.expr, producers, &mut findings);
    window::find(&rule.expr, group.query_offset, producers, &mut findings);
    let expr = node.get("expr").unwrap_or(node);
    let warning = |Finding { at, lint, message }| Warning { at: expr.position_of(at), lint, message };
    warnings.extend(findings.into_iter().map(warning));
    let mut about = |lint, message: String| warnings.push(Warning { at: rule.at.clone(), lint, message });
    missing(rule, &mut about);
    duplicate(group, rule, seen, &mut about);
}

fn missing(rule: &Rule, about: &mut impl FnMut(&'static str, String)) {
    let RuleKind::Alerting(alerting) = &rule.kind else { return };
    let has = |of: &[(String, super::template::Template)], names: &[&str]| {
        of.iter().any(|(name, text)| names.contains(&name.as_str()) && !text.text().trim().is_empty())
    };
    if !has(&alerting.annotations, &["runbook_url", "runbook"]) {
        let message = "has no runbook: whoever is paged must know what to do, add the annotation `runbook_url`";
        about(NO_RUNBOOK, format!("alert `{}` {message}", rule.name));
    }
    if !has(&alerting.labels, &["severity"]) {
        let message = "has no severity: routes cannot tell whom it should wake, add the label `severity`";
        about(NO_SEVERITY, format!("alert `{}` {message}", rule.name));
    }
}

/// As promtool's `duplicate-rules`: the same name with the same labels.
fn duplicate(group: &Group, rule: &Rule, seen: &mut Seen, about: &mut impl FnMut(&'static str, String)) {
    let (is_alert, labels) = match &rule.kind {
        RuleKind::Alerting(alerting) => {
            let labels = alerting.labels.iter();
            (true, labels.map(|(name, text)| (name.clone(), text.text().to_owned())).collect())
        }
        RuleKind::Recording { labels } => (false, labels.clone()),
    };
    match seen.entry((is_alert, rule.name.clone(), labels)) {
        std::collections::btree_map::Entry::Vacant(free) => {
            free.insert(rule.at.clone());
        }
        std::collections::btree_map::Entry::Occupied(first) => {
            let message = format!(
                "`{}` stands with the same labels at {} already: its series would be one, give one of them another \
                 name or label (group `{}`)",
                rule.name,
                first.get(),
                group.name
            );
            about(DUPLICATE_RULE, message);
        }
    }
}

/// Calls `visit` with an expression and all that is in it, outermost first.
fn walk<'a>(expr: &'a Expr, visit: &mut dyn FnMut(&'a Expr)) {
    use crate::promql::ExprKind;
    visit(expr);
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) => {}
        ExprKind::Subquery(subquery) => walk(&subquery.operand, visit),
        ExprKind::Paren(inner) | ExprKind::Unary { operand: inner, .. } => walk(inner, visit),
        ExprKind::Binary(binary) => {
            walk(&binary.left, visit);
            walk(&binary.right, visit);
        }
        ExprKind::Aggregate(aggregate) => {
            aggregate.parameter.iter().for_each(|parameter| walk(parameter, visit));
            walk(&aggregate.operand, visit);
        }
        ExprKind::Call(call) => call.arguments.iter().for_each(|argument| walk(argument, visit)),
    }
}

/// What is left of an expression that is a number: `5`, `-5`, `(2 * 60)`.
fn constant(expr: &Expr) -> Option<f64> {
    use crate::promql::{BinaryOp, ExprKind};
    match &expr.kind {
        ExprKind::Number(value) => Some(*value),
        ExprKind::Paren(inner) => constant(inner),
        ExprKind::Unary { negative, operand } => constant(operand).map(|value| if *negative { -value } else { value }),
        ExprKind::Binary(binary) => {
            let (left, right) = (constant(&binary.left)?, constant(&binary.right)?);
            match binary.op {
                BinaryOp::Add => Some(left + right),
                BinaryOp::Subtract => Some(left - right),
                BinaryOp::Multiply => Some(left * right),
                BinaryOp::Divide => Some(left / right),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The metric that a selector names.
fn metric_name(selector: &crate::promql::Selector) -> Option<&str> {
    use crate::matcher::MatchOp;
    let name = selector.matchers.iter().find(|matcher| &*matcher.name == crate::sample::METRIC_NAME)?;
    (name.op == MatchOp::Equal).then_some(&*name.value)
}
