//! Evaluations that can be done a little at a time.

use std::collections::HashMap;

use super::collected::Collected;
use super::plan::{Place, Plan, Repetition, place};
use super::{
    Annotation, EvalError, Intermediate, Ledger, Moment, Select, Series, Settings, Steps, Value, Vector, error, sorted,
};
use crate::promql::ast::{Expr, ExprKind, ValueType};
use crate::sample::{Labels, Timestamp};

/// The evaluation of an expression: at each of its steps, or at one instant. The subqueries in it are evaluated first,
/// inner ones before outer ones, each over all the time that is asked of it; their results are then read like stored
/// series. So no single step takes long, and the caller may do something else between calls of
/// [`Evaluation::advance`].
pub struct Evaluation<'a> {
    expr: &'a Expr,
    data: &'a dyn Select,
    /// What selectors within subqueries read.
    repeated: &'a dyn Select,
    steps: Steps,
    settings: Settings,
    /// Subqueries that are still to be evaluated, the next one last.
    waiting: Vec<Repetition<'a>>,
    /// The results of the others.
    subqueries: HashMap<Place, Vec<Series>>,
    next: Timestamp,
    collected: Collected,
    /// The value of an instant evaluation, at its end.
    value: Option<Value>,
    is_instant: bool,
    is_done: bool,
    ledger: Ledger,
}

/// What an expression is worth, and what is to be said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub value: Value,
    /// In the order in which they arose, each once.
    pub annotations: Vec<Annotation>,
}

impl<'a> Evaluation<'a> {
    /// Over a range: the answer is a matrix.
    pub fn range(expr: &'a Expr, data: &'a dyn Select, steps: Steps, settings: Settings) -> Result<Self, EvalError> {
        match expr.value_type() {
            ValueType::Scalar | ValueType::Vector => {}
            ValueType::Matrix | ValueType::String => {
                let kind = expr.value_type().name();
                let message =
                    format!("invalid expression type {kind:?} for range query, must be Scalar or instant Vector");
                return Err(error(&expr.span, message));
            }
        }
        let steps = Steps { step: steps.step.max(1), ..steps };
        let plan = Plan::new(expr, &steps, &settings);
        Ok(Self::planned(expr, plan, data, data, steps, settings, false))
    }

    /// At an instant.
    pub fn instant(expr: &'a Expr, data: &'a dyn Select, at: Timestamp, settings: Settings) -> Self {
        let steps = Steps::once(at);
        let plan = Plan::new(expr, &steps, &settings);
        Self::planned(expr, plan, data, data, steps, settings, true)
    }

    pub(super) fn planned(
        expr: &'a Expr,
        plan: Plan<'a>,
        data: &'a dyn Select,
        repeated: &'a dyn Select,
        steps: Steps,
        settings: Settings,
        is_instant: bool,
    ) -> Self {
        let mut waiting = plan.subqueries;
        waiting.reverse();
        let mut evaluation = Evaluation {
            expr,
            data,
            repeated,
            steps,
            settings,
            waiting,
            subqueries: HashMap::new(),
            next: 0,
            collected: Collected::default(),
            value: None,
            is_instant,
            is_done: steps.from > steps.to,
            ledger: Ledger {
                constants: plan.constants.into_iter().map(|place| (place, None)).collect(),
                ..Ledger::default()
            },
        };
        evaluation.next = evaluation.first();
        evaluation
    }

    /// Goes on until some `samples` more were looked at (a thousand take about a tenth of a millisecond), or to the end.
    /// True at the end.
    pub fn advance(&mut self, samples: usize) -> Result<bool, EvalError> {
        let enough = self.ledger.work.saturating_add(samples);
        while !self.is_done && self.ledger.work < enough {
            self.step()?;
        }
        Ok(self.is_done)
    }

    /// The answer. What was not evaluated yet is missing in it.
    pub fn finish(self) -> Answer {
        let value = self.value.unwrap_or_else(|| Value::Matrix(sorted(self.collected.series())));
        Answer { value, annotations: self.ledger.annotations }
    }

    /// Evaluates one step of a subquery or of the expression.
    fn step(&mut self) -> Result<(), EvalError> {
        self.ledger.begin_step(&self.settings, &self.expr.span)?;
        let (expr, steps, data) = match self.waiting.last() {
            Some(Repetition { subquery, steps, .. }) => (&subquery.operand, *steps, self.repeated),
            None => (self.expr, self.steps, self.data),
        };
        let at = self.next;
        if at <= steps.to {
            let tells_origins = steps.from < steps.to;
            let subqueries = &self.subqueries;
            let (query, settings, ledger) = (self.steps, &self.settings, &mut self.ledger);
            let value = Moment { data, subqueries, at, query, settings, tells_origins, ledger }.value(expr)?;
            self.keep(value, at, expr)?;
        }
        self.next = self.after(at);
        // At the end of time there is no later step.
        if self.next > steps.to || self.next <= at {
            self.complete();
        }
        Ok(())
    }

    fn keep(&mut self, value: Intermediate, at: Timestamp, expr: &Expr) -> Result<(), EvalError> {
        if self.is_instant && self.waiting.is_empty() {
            self.value = Some(value.shown());
            return Ok(());
        }
        let vector = match value {
            Intermediate::Vector(vector) => vector,
            Intermediate::Scalar(value) => Vector::one(Labels::default(), value),
            Intermediate::Matrix(_) | Intermediate::String(_) => {
                return Err(error(&expr.span, "a scalar or an instant vector was expected"));
            }
        };
        self.collected.add(at, vector);
        self.settings.check_series(self.collected.len(), &expr.span)?;
        self.settings.check_samples(self.collected.points(), &expr.span)
    }

    fn complete(&mut self) {
        match self.waiting.pop() {
            Some(Repetition { subquery, .. }) => {
                let mut series = std::mem::take(&mut self.collected).series();
                // A selector's series have one order, whenever each begins.
                if matches!(subquery.operand.unwrapped().kind, ExprKind::Selector(_)) {
                    series = sorted(series);
                }
                self.subqueries.insert(place(subquery), series);
                self.next = self.first();
            }
            None => self.is_done = true,
        }
    }

    fn first(&self) -> Timestamp {
        self.waiting.last().map_or(self.steps.from, |repetition| repetition.needed_from(repetition.steps.from))
    }

    fn after(&self, at: Timestamp) -> Timestamp {
        match self.waiting.last() {
            Some(repetition) => repetition.needed_from(at.saturating_add(repetition.steps.step)),
            None => at.saturating_add(self.steps.step),
        }
    }
}
