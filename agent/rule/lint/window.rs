//! Windows that do not fit the targets' intervals, or the store.

use std::time::Duration;

use super::producer::Producers;
use super::{Finding, WINDOW_TOO_LONG, WINDOW_TOO_SHORT, metric_name, walk};
use crate::duration;
use crate::promql::{Expr, ExprKind, Function, Selector};
use crate::store::MAX_ROWS;

/// Functions that have no value over fewer than two samples.
const NEED_TWO: [Function; 7] = [
    Function::Rate,
    Function::Increase,
    Function::Irate,
    Function::Delta,
    Function::Idelta,
    Function::Deriv,
    Function::PredictLinear,
];

/// `offset`: how far before its tick the group is evaluated, where it says so itself.
pub fn find(expr: &Expr, offset: Option<Duration>, producers: Option<&Producers>, findings: &mut Vec<Finding>) {
    let Some(producers) = producers else { return };
    for read in expr.reads() {
        let Some(interval) = metric_name(read.selector).and_then(|name| producers.interval(name)) else { continue };
        let kept = interval.saturating_mul(u32::try_from(MAX_ROWS).unwrap_or(u32::MAX));
        let window = millis(read.window) + offset.unwrap_or(producers.query_offset);
        if window > kept {
            let message = format!(
                "looks back {}, and at an interval of {} the store keeps {} ({MAX_ROWS} samples) at most: shorten the \
                 window, or lengthen the target's `interval`",
                duration::format(window),
                duration::format(interval),
                duration::format(kept)
            );
            findings.push(Finding { at: position(expr, read.selector), lint: WINDOW_TOO_LONG, message });
        }
    }
    walk(expr, &mut |expr| {
        if let ExprKind::Call(call) = &expr.kind
            && NEED_TWO.contains(&call.function)
            && let Some(argument) = call.arguments.first()
            && let ExprKind::Selector(selector) = &argument.unwrapped().kind
        {
            short(argument, call.function, selector, producers, findings);
        }
    });
}

fn short(argument: &Expr, function: Function, selector: &Selector, producers: &Producers, findings: &mut Vec<Finding>) {
    let interval = metric_name(selector).and_then(|name| producers.interval(name));
    let (Some(range), Some(interval)) = (selector.range.map(millis), interval) else { return };
    if range >= interval * 2 {
        return;
    }
    let (name, often) = (function.name(), if range <= interval { "never" } else { "not always" });
    let message = format!(
        "`{name}` needs two samples, and a window of {} over a target that is looked at every {} {often} has them: make it \
         {} at least",
        duration::format(range),
        duration::format(interval),
        duration::format(interval * 2)
    );
    findings.push(Finding::new(argument, WINDOW_TOO_SHORT, message));
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}

fn position(expr: &Expr, wanted: &Selector) -> usize {
    let mut at = expr.span.start;
    walk(expr, &mut |expr| {
        if let ExprKind::Selector(selector) = &expr.kind
            && std::ptr::eq(selector, wanted)
        {
            at = expr.span.start;
        }
    });
    at
}
