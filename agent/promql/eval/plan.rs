//! What an evaluation reads and when, worked out before it begins.

use std::collections::HashSet;

use super::{Settings, Steps};
use crate::promql::ast::{At, Expr, ExprKind, Selector, Subquery};
use crate::promql::function::Function;
use crate::sample::Timestamp;

/// Where a node stands in memory: its identity for as long as the expression is borrowed.
pub type Place = usize;

pub fn place<T>(node: &T) -> Place {
    std::ptr::from_ref(node).addr()
}

#[derive(Default)]
pub struct Plan<'a> {
    pub readings: Vec<Reading<'a>>,
    /// Inner ones before those around them.
    pub subqueries: Vec<Repetition<'a>>,
    /// The largest parts that are worth the same at every step, as `@` fixes all that they read.
    pub constants: HashSet<Place>,
}

/// The samples that a selector needs for all its steps: `after < t <= until`.
pub struct Reading<'a> {
    pub expr: &'a Expr,
    pub selector: &'a Selector,
    pub after: Timestamp,
    pub until: Timestamp,
    /// Whether it stands within a subquery.
    pub repeated: bool,
    /// Whether only the last sample of each series counts.
    pub newest: bool,
}

/// The times at which a subquery's operand is evaluated.
pub struct Repetition<'a> {
    pub subquery: &'a Subquery,
    pub steps: Steps,
    /// The steps of what reads the subquery.
    pub read_at: Steps,
    /// Whether it stands within an aggregation's parameter: see [`fixed`].
    pub in_parameter: bool,
}

impl<'a> Plan<'a> {
    pub fn new(expr: &'a Expr, steps: &Steps, settings: &Settings) -> Self {
        let mut plan = Plan::default();
        let walk = Walk { query: *steps, settings, repeated: false, in_parameter: false };
        walk.visit(expr, steps, &mut plan);
        if steps.from < steps.to {
            find_constants(expr, &mut plan.constants);
        } else {
            let operands = plan.subqueries.iter().map(|repetition| &repetition.subquery.operand);
            operands.for_each(|operand| find_constants(operand, &mut plan.constants));
        }
        plan
    }
}

#[derive(Clone, Copy)]
struct Walk<'s> {
    query: Steps,
    settings: &'s Settings,
    repeated: bool,
    in_parameter: bool,
}

impl Walk<'_> {
    fn visit<'a>(self, expr: &'a Expr, steps: &Steps, plan: &mut Plan<'a>) {
        match &expr.kind {
            ExprKind::Selector(selector) => {
                let fixed = fixed(selector.at, &self.query, self.in_parameter);
                let (from, to) = fixed.map_or((steps.from, steps.to), |at| (at, at));
                let back = selector.offset.saturating_add(selector.range.unwrap_or(self.settings.lookback));
                let (after, until) = (from.saturating_sub(back), to.saturating_sub(selector.offset));
                let newest = selector.range.is_none() && from == to;
                plan.readings.push(Reading { expr, selector, after, until, repeated: self.repeated, newest });
                if fixed.is_some() && selector.offset != 0 {
                    // `timestamp` looks without the offset.
                    let after = from.saturating_sub(self.settings.lookback);
                    plan.readings.push(Reading { expr, selector, after, until: to, repeated: self.repeated, newest });
                }
            }
            ExprKind::Subquery(subquery) => {
                let inner = self.repetition(subquery, steps);
                Walk { repeated: true, ..self }.visit(&subquery.operand, &inner, plan);
                let in_parameter = self.in_parameter;
                plan.subqueries.push(Repetition { subquery, steps: inner, read_at: *steps, in_parameter });
            }
            ExprKind::Aggregate(aggregate) => {
                let inner = Walk { in_parameter: true, ..self };
                aggregate.parameter.iter().for_each(|parameter| inner.visit(parameter, steps, plan));
                self.visit(&aggregate.operand, steps, plan);
            }
            _ => children(expr).for_each(|child| self.visit(child, steps, plan)),
        }
    }

    /// The multiples of the step that the windows of all the steps hold.
    fn repetition(self, subquery: &Subquery, steps: &Steps) -> Steps {
        let (from, to) =
            fixed(subquery.at, &self.query, self.in_parameter).map_or((steps.from, steps.to), |at| (at, at));
        let step = subquery.step.unwrap_or(self.settings.subquery_step).max(1);
        let after = from.saturating_sub(subquery.offset).saturating_sub(subquery.range);
        Steps { from: multiple_after(after, step), to: to.saturating_sub(subquery.offset), step }
    }
}

/// The first multiple of the step that is later.
pub fn multiple_after(time: Timestamp, step: i64) -> Timestamp {
    (time.div_euclid(step).saturating_add(1)).saturating_mul(step)
}

/// The time that `@` fixes. Within the parameter of an aggregation `start()` and `end()` have no effect, as in Prometheus.
pub fn fixed(at: Option<At>, query: &Steps, in_parameter: bool) -> Option<Timestamp> {
    match at? {
        At::Time(at) => Some(at),
        At::Start | At::End if in_parameter => None,
        At::Start => Some(query.from),
        At::End => Some(query.to),
    }
}

impl Repetition<'_> {
    /// The first of the steps from `time` on that a window holds.
    pub fn needed_from(&self, time: Timestamp) -> Timestamp {
        let Subquery { offset, range, at: None, .. } = self.subquery else { return time };
        let Steps { from, to, step } = self.read_at;
        let asked = time.saturating_add(*offset);
        let steps = asked.saturating_sub(from).max(0).saturating_add(step - 1) / step;
        let reader = from.saturating_add(steps.saturating_mul(step));
        let open = reader.saturating_sub(*offset).saturating_sub(*range);
        match reader > to {
            true => Timestamp::MAX,
            false if time > open => time,
            false => multiple_after(open, self.steps.step),
        }
    }
}

pub fn children(expr: &Expr) -> impl DoubleEndedIterator<Item = &Expr> {
    let (two, more): ([Option<&Expr>; 2], &[Expr]) = match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) => ([None, None], &[]),
        ExprKind::Subquery(subquery) => ([Some(&subquery.operand), None], &[]),
        ExprKind::Paren(inner) | ExprKind::Unary { operand: inner, .. } => ([Some(inner), None], &[]),
        ExprKind::Binary(binary) => ([Some(&binary.left), Some(&binary.right)], &[]),
        ExprKind::Aggregate(aggregate) => ([aggregate.parameter.as_ref(), Some(&aggregate.operand)], &[]),
        ExprKind::Call(call) => ([None, None], &call.arguments),
    };
    two.into_iter().flatten().chain(more)
}

fn find_constants(expr: &Expr, found: &mut HashSet<Place>) {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::Selector(selector) if selector.range.is_some() => {}
        ExprKind::Subquery(subquery) => find_constants(&subquery.operand, found),
        _ if is_constant(expr) => drop(found.insert(place(expr))),
        ExprKind::Aggregate(aggregate) => find_constants(&aggregate.operand, found),
        _ => children(expr).for_each(|child| find_constants(child, found)),
    }
}

fn is_constant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Selector(selector) => selector.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.at.is_some(),
        // Whatever its parameter is: as in Prometheus, the first step's counts then.
        ExprKind::Aggregate(aggregate) => is_constant(&aggregate.operand),
        ExprKind::Call(call) => !tells_the_time(call.function, call.arguments.len()) && all_constant(expr),
        _ => all_constant(expr),
    }
}

fn all_constant(expr: &Expr) -> bool {
    children(expr).all(is_constant)
}

/// Whether a function's value depends on the time of the evaluation itself.
fn tells_the_time(function: Function, arguments: usize) -> bool {
    use Function::{PredictLinear, Time, Timestamp};
    matches!(function, Time | Timestamp | PredictLinear) || (arguments == 0 && function != Function::Pi)
}
