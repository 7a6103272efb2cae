//! Expressions that can never have a value, and alerts that always do.

use super::{ALWAYS_FIRES, Finding, NEVER_FIRES, constant, metric_name, walk};
use crate::matcher::MatchOp;
use crate::promql::{AggregateOp, Binary, BinaryOp, Expr, ExprKind, Function, Selector};

/// What a value can be.
#[derive(Clone, Copy)]
struct Bounds {
    least: f64,
    most: f64,
}

pub fn find(expr: &Expr, is_alert: bool, findings: &mut Vec<Finding>) {
    if is_alert {
        always(expr, findings);
    }
    walk(expr, &mut |expr| match &expr.kind {
        ExprKind::Selector(selector) => contradictory(expr, selector, findings),
        ExprKind::Binary(binary) => {
            never_compares(expr, binary, findings);
            never_meets(expr, binary, findings);
        }
        ExprKind::Call(call) if call.function == Function::Absent => {
            if let Some(always) = call.arguments.first().filter(|argument| is_always_there(argument)) {
                let message = format!("`{always}` is always there, so `absent` of it never is");
                findings.push(Finding::new(expr, NEVER_FIRES, message));
            }
        }
        _ => {}
    });
}

/// A comparison with `bool` is 0 or 1, and either fires. A bare constant is meant to, as in a watchdog.
fn always(expr: &Expr, findings: &mut Vec<Finding>) {
    if let ExprKind::Binary(binary) = &expr.unwrapped().kind
        && binary.returns_bool
    {
        let message = "with `bool` a comparison is 0 or 1 and never nothing, so that the alert fires whatever the outcome: \
                       leave `bool` out, or compare with `== 1`";
        findings.push(Finding::new(expr, ALWAYS_FIRES, message));
    }
}

fn is_always_there(expr: &Expr) -> bool {
    match &expr.unwrapped().kind {
        ExprKind::Call(call) => call.function == Function::Vector,
        ExprKind::Binary(binary) if binary.op == BinaryOp::Or => {
            is_always_there(&binary.left) || is_always_there(&binary.right)
        }
        _ => false,
    }
}

/// A label that must have two values, or one that another matcher excludes.
fn contradictory(expr: &Expr, selector: &Selector, findings: &mut Vec<Finding>) {
    for one in selector.matchers.iter().filter(|matcher| matcher.op == MatchOp::Equal) {
        let against = selector.matchers.iter().find(|other| other.name == one.name && !other.matches(&one.value));
        if let Some(other) = against {
            let message = format!("nothing can pass both `{one}` and `{other}`, so this selects no series");
            findings.push(Finding::new(expr, NEVER_FIRES, message));
            return;
        }
    }
}

/// A comparison with what the value can never be.
fn never_compares(expr: &Expr, binary: &Binary, findings: &mut Vec<Finding>) {
    if !binary.op.is_comparison() || binary.returns_bool {
        return;
    }
    let sides = [(&binary.left, &binary.right, binary.op), (&binary.right, &binary.left, mirrored(binary.op))];
    for (side, other, op) in sides {
        let Some(limit) = constant(other) else { continue };
        if limit.is_nan() && op != BinaryOp::NotEqual {
            let message = "no value compares with NaN, so this is never true: `x != x` finds values that are NaN";
            findings.push(Finding::new(expr, NEVER_FIRES, message));
        } else if let Some((bounds, why)) = bounds(side)
            && !bounds.could_be(op, limit)
        {
            let message = format!("{why}, so `{} {limit}` is never true", op.symbol());
            findings.push(Finding::new(expr, NEVER_FIRES, message));
        }
    }
}

pub(super) fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessOrEqual => BinaryOp::GreaterOrEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterOrEqual => BinaryOp::LessOrEqual,
        other => other,
    }
}

impl Bounds {
    fn could_be(self, op: BinaryOp, limit: f64) -> bool {
        match op {
            BinaryOp::Equal => self.least <= limit && limit <= self.most,
            BinaryOp::NotEqual => self.least != self.most || self.least != limit,
            BinaryOp::Less => self.least < limit,
            BinaryOp::LessOrEqual => self.least <= limit,
            BinaryOp::Greater => self.most > limit,
            BinaryOp::GreaterOrEqual => self.most >= limit,
            _ => true,
        }
    }
}

/// What an expression can be worth where it has a value, and why.
fn bounds(expr: &Expr) -> Option<(Bounds, String)> {
    let of = |least, most, why: &str| Some((Bounds { least, most }, why.to_owned()));
    match &expr.unwrapped().kind {
        ExprKind::Aggregate(aggregate) if matches!(aggregate.op, AggregateOp::Count) => {
            of(1.0, f64::INFINITY, "`count` of nothing has no value instead of being 0 (`absent` asks for that)")
        }
        ExprKind::Call(call) => match call.function {
            Function::Absent | Function::AbsentOverTime => of(1.0, 1.0, "`absent` is 1 or has no value"),
            Function::CountOverTime => {
                of(1.0, f64::INFINITY, "`count_over_time` of nothing has no value instead of being 0")
            }
            Function::Changes | Function::Resets => of(0.0, f64::INFINITY, "a number of changes is not negative"),
            Function::Rate | Function::Increase => of(0.0, f64::INFINITY, "what a counter grows by is not negative"),
            _ => None,
        },
        ExprKind::Selector(selector) => {
            let name = metric_name(selector).filter(|name| is_boolean(name))?;
            of(0.0, 1.0, &format!("`{name}` is 0 or 1"))
        }
        _ => None,
    }
}

/// Metrics that say yes or no, by Prometheus's convention.
fn is_boolean(name: &str) -> bool {
    matches!(
        name,
        "up" | "probe_success"
            | "pg_up"
            | "redis_up"
            | "mysql_up"
            | "watchkeeper_target_up"
            | "watchkeeper_instance_up"
    )
}

/// `x > 5 and x < 3`, `x unless x`, `x > 5 < 3`.
fn never_meets(expr: &Expr, binary: &Binary, findings: &mut Vec<Finding>) {
    if binary.matching.is_none() && binary.op == BinaryOp::Unless && binary.left == binary.right {
        let message = "whatever is on the left of `unless` is on its right, too: nothing is left";
        findings.push(Finding::new(expr, NEVER_FIRES, message));
    }
    let is_end = binary.op == BinaryOp::And || binary.op.is_comparison() && !binary.returns_bool;
    if !is_end || binary.matching.is_some() {
        return;
    }
    let mut limits = Vec::new();
    collect(expr, &mut limits);
    for (index, (of, op, limit)) in limits.iter().enumerate() {
        let against =
            limits[..index].iter().find(|other| other.0 == *of && excludes((other.1, other.2), (*op, *limit)));
        if let Some((_, other, bound)) = against {
            let message =
                format!("`{of}` cannot be `{} {bound}` and `{} {limit}` at the same time", other.symbol(), op.symbol());
            // The outermost expression with the contradiction has it, too.
            if !findings.iter().any(|finding| finding.lint == NEVER_FIRES && finding.message == message) {
                findings.push(Finding::new(expr, NEVER_FIRES, message));
            }
        }
    }
}

/// The comparisons with numbers that must all hold for the same series.
fn collect<'a>(expr: &'a Expr, limits: &mut Vec<(&'a Expr, BinaryOp, f64)>) {
    let ExprKind::Binary(binary) = &expr.unwrapped().kind else { return };
    if binary.op == BinaryOp::And && binary.matching.is_none() {
        collect(&binary.left, limits);
        collect(&binary.right, limits);
    } else if binary.op.is_comparison() && !binary.returns_bool {
        let (side, other, op) = match constant(&binary.left) {
            Some(_) => (&binary.right, &binary.left, mirrored(binary.op)),
            None => (&binary.left, &binary.right, binary.op),
        };
        if let Some(limit) = constant(other) {
            limits.push((compared(side), op, limit));
            collect(side, limits);
        }
    }
}

/// What a chain of comparisons is about: of `x > 5 < 3` it is `x`.
fn compared(expr: &Expr) -> &Expr {
    match &expr.unwrapped().kind {
        ExprKind::Binary(binary)
            if binary.op.is_comparison() && !binary.returns_bool && constant(&binary.right).is_some() =>
        {
            compared(&binary.left)
        }
        _ => expr.unwrapped(),
    }
}

fn excludes(one: (BinaryOp, f64), other: (BinaryOp, f64)) -> bool {
    let range = |(op, limit): (BinaryOp, f64)| match op {
        BinaryOp::Equal => Some((limit, false, limit, false)),
        BinaryOp::Less => Some((f64::NEG_INFINITY, false, limit, true)),
        BinaryOp::LessOrEqual => Some((f64::NEG_INFINITY, false, limit, false)),
        BinaryOp::Greater => Some((limit, true, f64::INFINITY, false)),
        BinaryOp::GreaterOrEqual => Some((limit, false, f64::INFINITY, false)),
        _ => None,
    };
    let (Some(one), Some(other)) = (range(one), range(other)) else { return false };
    let least = one.0.max(other.0);
    let most = one.2.min(other.2);
    let open = (one.1 && one.0 == least) || (other.1 && other.0 == least);
    let ends = (one.3 && one.2 == most) || (other.3 && other.2 == most);
    least > most || (least == most && (open || ends))
}
