//! Types, and what else an expression must hold before it is evaluated.

use std::ops::Range;

use super::{Parsed, error};
use crate::matcher::{self, Compiled};
use crate::promql::ast::{Aggregate, Binary, BinaryOp, Expr, ExprKind, Matching, ValueType};
use crate::promql::function::Function;

fn check_type(expr: &Expr, wanted: ValueType, place: &str) -> Parsed<()> {
    let found = expr.value_type();
    if found == wanted {
        return Ok(());
    }
    let message = format!("expected type {} in {place}, got {}", wanted.name(), found.name());
    Err(error(expr.span.clone(), message))
}

pub fn check_binary(binary: &Binary, operator: Range<usize>) -> Parsed<()> {
    let sides = [&binary.left, &binary.right];
    let symbol = binary.op.symbol();
    let is_operand = |side: &Expr| matches!(side.value_type(), ValueType::Scalar | ValueType::Vector);
    if let Some(side) = sides.iter().find(|side| !is_operand(side)) {
        let message = "binary expression must contain only scalar and instant vector types";
        return Err(error(side.span.clone(), message));
    }
    let scalar = |side: &Expr| side.value_type() == ValueType::Scalar;
    let any_scalar = scalar(&binary.left) || scalar(&binary.right);
    if scalar(&binary.left) && scalar(&binary.right) && binary.op.is_comparison() && !binary.returns_bool {
        return Err(error(operator, "comparisons between scalars must use bool modifier"));
    }
    if any_scalar && binary.op.is_set() {
        return Err(error(operator, format!("set operator {symbol:?} not allowed in binary scalar expression")));
    }
    if any_scalar && binary.matching.is_some() {
        return Err(error(operator, "vector matching only allowed between instant vectors"));
    }
    binary.matching.as_ref().map_or(Ok(()), |matching| check_matching(binary.op, matching, operator))
}

fn check_matching(op: BinaryOp, matching: &Matching, operator: Range<usize>) -> Parsed<()> {
    let Some(group) = &matching.group else { return Ok(()) };
    if op.is_set() {
        return Err(error(operator, format!("no grouping allowed for {:?} operation", op.symbol())));
    }
    match group.include.iter().find(|label| matching.on && matching.labels.contains(label)) {
        Some(label) => Err(error(operator, format!("label {label:?} must not occur in ON and GROUP clause at once"))),
        None => Ok(()),
    }
}

pub fn check_aggregate(aggregate: &Aggregate) -> Parsed<()> {
    check_type(&aggregate.operand, ValueType::Vector, "aggregation expression")?;
    let Some((parameter, wanted)) = aggregate.parameter.as_ref().zip(aggregate.op.parameter()) else { return Ok(()) };
    check_type(parameter, wanted, "aggregation parameter")?;
    if wanted == ValueType::String { check_label(parameter, "label name") } else { Ok(()) }
}

/// The types of the arguments; gives the pattern of `label_replace`. What Prometheus would say of names and patterns
/// at each evaluation is said here.
pub fn check_call(function: Function, arguments: &[Expr]) -> Parsed<Option<Compiled>> {
    let listed = function.arguments();
    for (place, argument) in arguments.iter().enumerate() {
        let wanted = listed.get(place).or(listed.last()).copied().unwrap_or(ValueType::Vector);
        check_type(argument, wanted, &format!("call to function {:?}", function.name()))?;
    }
    match (function, arguments) {
        (Function::LabelReplace, [_, destination, _, _, pattern]) => {
            check_label(destination, "destination label name in label_replace()")?;
            let compiled = matcher::anchored(string(pattern).unwrap_or_default());
            compiled.map(Some).map_err(|message| error(pattern.span.clone(), message))
        }
        (Function::LabelJoin, [_, destination, _, sources @ ..]) => {
            check_label(destination, "destination label name in label_join()")?;
            sources.iter().try_for_each(|source| check_label(source, "source label name in label_join()"))?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// Any text but the empty one can be a label's name.
fn check_label(expr: &Expr, what: &str) -> Parsed<()> {
    match string(expr) {
        Some("") => Err(error(expr.span.clone(), format!("invalid {what}: it is empty"))),
        _ => Ok(()),
    }
}

fn string(expr: &Expr) -> Option<&str> {
    match &expr.unwrapped().kind {
        ExprKind::String(text) => Some(text),
        _ => None,
    }
}
