//! Calls and aggregations.

use std::ops::Range;

use super::check::{check_aggregate, check_call};
use super::{Parsed, Parser, error, unsupported};
use crate::promql::ast::{Aggregate, AggregateOp, Call, Expr, ExprKind, Grouping};
use crate::promql::function::{Function, OTHER_FUNCTIONS};
use crate::promql::lexer::Token;

impl Parser {
    pub(super) fn aggregate(&mut self, op: AggregateOp, start: Range<usize>) -> Parsed<Expr> {
        let mut grouping = self.grouping()?;
        if op == AggregateOp::CountValues {
            self.refuse_bytes_as_label()?;
        }
        let (mut arguments, mut end) = self.arguments("to open the aggregation", "to close the aggregation")?;
        if grouping.is_none() {
            grouping = self.grouping()?;
            end = self.tokens[self.at - 1].1.end;
        }
        let span = start.start..end;
        let wanted = 1 + usize::from(op.parameter().is_some());
        let given = arguments.len();
        let operand = arguments.pop().filter(|_| given == wanted);
        let Some(operand) = operand else {
            let message =
                format!("wrong number of arguments for aggregation {}, expected {wanted}, got {given}", op.name());
            return Err(error(span, message));
        };
        // `by ()` is what stands there without it.
        let grouping = grouping.filter(|grouping| grouping.without || !grouping.labels.is_empty());
        let aggregate = Aggregate { op, parameter: arguments.pop(), operand, grouping };
        check_aggregate(&aggregate)?;
        Ok(Expr { kind: ExprKind::Aggregate(Box::new(aggregate)), span })
    }

    /// Prometheus says so at each evaluation.
    fn refuse_bytes_as_label(&self) -> Parsed<()> {
        match self.tokens.get(self.at + 1) {
            Some((Token::Bytes(quoted), span)) => Err(error(span.clone(), format!("invalid label name {quoted}"))),
            _ => Ok(()),
        }
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.next();
        let labels = self.label_names()?;
        Ok(Some(Grouping { without, labels }))
    }

    pub(super) fn call(&mut self, name: &str, span: Range<usize>) -> Parsed<Expr> {
        let Some(function) = Function::named(name) else {
            if OTHER_FUNCTIONS.split_whitespace().any(|other| other == name) {
                return Err(unsupported(span, &format!("the function {name} is")));
            }
            return Err(error(span, unknown_function(name)));
        };
        let (arguments, end) = self.arguments("to open the call", "to close the call")?;
        let span = span.start..end;
        if let Some(message) = function.refuses(arguments.len()) {
            return Err(error(span, message));
        }
        let pattern = check_call(function, &arguments)?;
        self.pattern(pattern.as_ref().map_or(0, |compiled| compiled.size), &span)?;
        Ok(Expr { kind: ExprKind::Call(Call { function, arguments, pattern }), span })
    }

    /// `(a, b)`; gives the end of the closing parenthesis.
    fn arguments(&mut self, open: &str, close: &str) -> Parsed<(Vec<Expr>, usize)> {
        self.expect("(", open)?;
        let mut arguments = Vec::new();
        if *self.peek() != Token::Symbol(")") {
            arguments.push(self.expression(0)?);
            while *self.peek() == Token::Symbol(",") {
                self.next();
                if *self.peek() == Token::Symbol(")") {
                    return Err(self.error_here("trailing commas not allowed in function call args"));
                }
                arguments.push(self.expression(0)?);
            }
        }
        Ok((arguments, self.expect(")", close)?.end))
    }
}

fn unknown_function(name: &str) -> String {
    let known = OTHER_FUNCTIONS.split_whitespace().chain(Function::ALL.iter().map(|function| function.name()));
    let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(known, name));
    match nearest.filter(|known| strsim::damerau_levenshtein(known, name) <= 2) {
        Some(known) => format!("unknown function with name {name:?}: did you mean {known:?}?"),
        None => format!("unknown function with name {name:?}"),
    }
}
