//! Evaluations that can be done a little at a time.

use std::collections::HashMap;

use super::collected::Collected;
use super::plan::{Place, Plan, Repetition, children, place};
use super::{
    Annotation, EvalError, Intermediate, Ledger, Moment, Select, Series, Settings, Steps, Value, Vector, error, sorted,
};
use crate::promql::ast::{Expr, ExprKind, ValueType};
use crate::sample::{Labels, Timestamp};

/// The evaluation of an expression: at each of its steps, or at one instant. The subqueries in it are evaluated first,
/// inner ones before outer ones, each over all the time that is asked of it; their results are then read like stored
/// series. A step is evaluated one operation after the other, first what it is made of: so nothing takes longer than one
/// operation over as many series as the settings allow, and the caller may do something else between calls of
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
    /// What is still to be evaluated of this step, the next one last; none before its beginning. And whether it is within
    /// an aggregation's parameter.
    operations: Vec<(&'a Expr, bool)>,
    /// Whether a step is divided into its operations. To evaluate it at once is quicker.
    is_divided: bool,
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
        Ok(Evaluation { is_divided: true, ..Self::planned(expr, plan, data, data, steps, settings, false) })
    }

    /// At an instant.
    pub fn instant(expr: &'a Expr, data: &'a dyn Select, at: Timestamp, settings: Settings) -> Self {
        let steps = Steps::once(at);
        let plan = Plan::new(expr, &steps, &settings);
        Evaluation { is_divided: true, ..Self::planned(expr, plan, data, data, steps, settings, true) }
    }

    /// With each step evaluated at once.
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
            operations: Vec::new(),
            is_divided: false,
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

    /// Goes on until some `samples` more were looked at (a thousand take about a tenth of a millisecond), or one operation
    /// is done that looks at more, or to the end. True at the end.
    pub fn advance(&mut self, samples: usize) -> Result<bool, EvalError> {
        let enough = self.ledger.work.saturating_add(samples);
        while !self.is_done && self.ledger.work < enough {
            self.go_on()?;
        }
        Ok(self.is_done)
    }

    /// The answer. What was not evaluated yet is missing in it.
    pub fn finish(self) -> Answer {
        let value = self.value.unwrap_or_else(|| Value::Matrix(sorted(self.collected.series())));
        Answer { value, annotations: self.ledger.annotations() }
    }

    /// Evaluates one operation of a step of a subquery or of the expression.
    fn go_on(&mut self) -> Result<(), EvalError> {
        self.ledger.spend(1, &self.settings, &self.expr.span)?;
        let (expr, steps, data, in_parameter) = match self.waiting.last() {
            Some(Repetition { subquery, steps, in_parameter, .. }) => {
                (&subquery.operand, *steps, self.repeated, *in_parameter)
            }
            None => (self.expr, self.steps, self.data, false),
        };
        let at = self.next;
        if at <= steps.to {
            let (operation, in_parameter) = self.next_operation(expr, in_parameter);
            let tells_origins = steps.from < steps.to;
            let subqueries = &self.subqueries;
            let (query, settings, ledger) = (self.steps, &self.settings, &mut self.ledger);
            let mut moment = Moment { data, subqueries, at, query, settings, tells_origins, in_parameter, ledger };
            if moment.relabel_some(operation)? {
                self.operations.push((operation, in_parameter));
                return Ok(());
            }
            let value = moment.value(operation)?;
            if !self.operations.is_empty() {
                return self.ledger.hold(operation, value, &self.settings);
            }
            self.ledger.ready.clear();
            self.ledger.relabelled = 0;
            self.keep(value, at, expr)?;
        }
        self.next = self.after(at);
        // At the end of time there is no later step.
        if self.next > steps.to || self.next <= at {
            self.complete();
        }
        Ok(())
    }

    /// The step's next operation; the whole expression, unless a step is divided.
    fn next_operation(&mut self, expr: &'a Expr, in_parameter: bool) -> (&'a Expr, bool) {
        if self.is_divided && self.operations.is_empty() && !self.ledger.knows(expr) {
            self.divide(expr, in_parameter);
        }
        self.operations.pop().unwrap_or((expr, in_parameter))
    }

    /// Puts an operation before those that it is made of, the first one last. What is read as a range is none, nor what
    /// is known.
    fn divide(&mut self, expr: &'a Expr, in_parameter: bool) {
        self.operations.push((expr, in_parameter));
        let parameter = match &expr.kind {
            ExprKind::Aggregate(aggregate) => aggregate.parameter.as_ref(),
            _ => None,
        };
        for child in children(expr).rev() {
            let is_operation = match &child.unwrapped().kind {
                ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Subquery(_) => false,
                ExprKind::Selector(selector) => selector.range.is_none(),
                _ => true,
            };
            if is_operation && !self.ledger.knows(child) {
                self.divide(child, in_parameter || parameter.is_some_and(|parameter| std::ptr::eq(parameter, child)));
            }
        }
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
