//! Comparisons of a counter's value, which only grows and begins anew with every restart.

use super::never;
use super::producer::{self, Producers};
use super::{COUNTER_WITHOUT_RATE, Finding, constant, metric_name};
use crate::promql::{AggregateOp, BinaryOp, Expr, ExprKind};

/// In `x_total > 0 and …` a counter says that something has ever happened, which is meant.
pub fn find(expr: &Expr, producers: Option<&Producers>, findings: &mut Vec<Finding>) {
    look(expr, false, producers, findings);
}

fn look(expr: &Expr, is_gate: bool, producers: Option<&Producers>, findings: &mut Vec<Finding>) {
    match &expr.kind {
        ExprKind::Paren(inner) | ExprKind::Unary { operand: inner, .. } => look(inner, is_gate, producers, findings),
        ExprKind::Aggregate(aggregate) => look(&aggregate.operand, is_gate, producers, findings),
        ExprKind::Call(call) => {
            call.arguments.iter().for_each(|argument| look(argument, is_gate, producers, findings));
        }
        ExprKind::Binary(binary) => {
            if is_order(binary.op) && !binary.returns_bool {
                let (op, mirrored) = (binary.op, never::mirrored(binary.op));
                compared(&binary.left, op, &binary.right, is_gate, producers, findings);
                compared(&binary.right, mirrored, &binary.left, is_gate, producers, findings);
            }
            // In `a / (b_total > 0)` it guards against a division by 0.
            let is_gate = is_gate || !binary.op.is_comparison();
            look(&binary.left, is_gate, producers, findings);
            look(&binary.right, is_gate, producers, findings);
        }
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) | ExprKind::Subquery(_) => {}
    }
}

fn is_order(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Greater | BinaryOp::GreaterOrEqual | BinaryOp::Less | BinaryOp::LessOrEqual)
}

fn compared(
    side: &Expr,
    op: BinaryOp,
    other: &Expr,
    is_gate: bool,
    producers: Option<&Producers>,
    findings: &mut Vec<Finding>,
) {
    let (Some(limit), Some((expr, name))) = (constant(other), counter(side, producers)) else { return };
    let is_meant = is_gate && limit == 0.0 || !is_declared(name, producers) && could_be_a_gauge(name, op, limit);
    if is_meant {
        return;
    }
    let message = format!(
        "`{name}` is a counter: it only grows, and begins anew when its process does, so that comparing it with {limit} says \
         how old the process is; compare `increase({name}[5m])` or `rate({name}[5m])`"
    );
    findings.push(Finding::new(expr, COUNTER_WITHOUT_RATE, message));
}

/// The counter whose value this is, or a sum or a multiple of it.
fn counter<'a>(expr: &'a Expr, producers: Option<&Producers>) -> Option<(&'a Expr, &'a str)> {
    match &expr.kind {
        ExprKind::Paren(inner) => counter(inner, producers),
        ExprKind::Selector(selector) => {
            let name = metric_name(selector).filter(|name| is_counter(name, producers))?;
            (selector.range.is_none()).then_some((expr, name))
        }
        ExprKind::Aggregate(aggregate) if is_value(aggregate.op) => counter(&aggregate.operand, producers),
        ExprKind::Binary(binary) if matches!(binary.op, BinaryOp::Multiply | BinaryOp::Divide) => {
            constant(&binary.right)?;
            counter(&binary.left, producers)
        }
        _ => None,
    }
}

fn is_value(op: AggregateOp) -> bool {
    matches!(op, AggregateOp::Sum | AggregateOp::Max | AggregateOp::Min | AggregateOp::Avg)
}

/// As declared; else by the suffixes that counters have. `_count` and `_sum` end the names of gauges, too.
fn is_counter(name: &str, producers: Option<&Producers>) -> bool {
    match producer::is_counter(name) {
        Some(declared) => declared,
        None => is_declared(name, producers) || name.ends_with("_total") || name.ends_with("_bucket"),
    }
}

fn is_declared(name: &str, producers: Option<&Producers>) -> bool {
    let configured = producers.and_then(|producers| producers.get(name)).filter(|produced| produced.counter);
    producer::is_counter(name) == Some(true) || configured.is_some()
}

/// Gauges are called `_total`, too (`nodes_offline_total > 0`, `uptime_seconds_total < 60`): that something is below a
/// limit, or is there at all, is asked of a counter only where it counts trouble.
fn could_be_a_gauge(name: &str, op: BinaryOp, limit: f64) -> bool {
    const TROUBLE: [&str; 14] = [
        "error",
        "fail",
        "drop",
        "refus",
        "reject",
        "restart",
        "retr",
        "evict",
        "timeout",
        "lost",
        "kill",
        "panic",
        "exception",
        "discard",
    ];
    match op {
        BinaryOp::Greater if limit >= 1.0 => false,
        BinaryOp::GreaterOrEqual if limit > 1.0 => false,
        BinaryOp::Greater | BinaryOp::GreaterOrEqual => !TROUBLE.iter().any(|word| name.contains(word)),
        _ => true,
    }
}
