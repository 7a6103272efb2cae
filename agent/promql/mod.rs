//! PromQL: from text to a tree, and from a tree and samples to a value. Pure; knows samples and labels only.
//!
//! The language of this version: instant and range selectors with `offset`, all arithmetic, comparison and set
//! operators with `on`, `ignoring`, `group_left` and `group_right`, the stable aggregations, and the [`Function`]s.
//! The rest of Prometheus's language (subqueries, `@`, native histograms, experimental functions) is recognised and
//! refused by name.

mod aggregate;
mod ast;
mod binary;
mod eval;
mod function;
mod functions;
mod key;
mod lexer;
mod math;
mod parser;

#[cfg(test)]
mod oracle;

use std::ops::Range;

pub use ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Expr, ExprKind, Group, Grouping, Matching, Read, Selector,
    Side, Subquery, ValueType,
};
pub use eval::{
    EvalError, LOOKBACK, Point, Select, Series, Settings, Steps, Value, evaluate, evaluate_range, series_between,
};
pub use function::{Arity, Function};

/// Why a text is not an expression of this version. `span` is a byte range of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    pub message: String,
    pub span: Range<usize>,
}

/// Reads and type-checks an expression.
pub fn parse(text: &str) -> Result<Expr, SyntaxError> {
    parser::parse(text)
}
