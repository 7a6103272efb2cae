//! PromQL: from text to a tree, and from a tree and samples to a value. Pure; knows samples and labels only.
//!
//! The language is a stock Prometheus 3.5's over floats: what it accepts is accepted, what it rejects is rejected. What
//! needs native histograms or an experiment of Prometheus's is recognised and refused by name.

mod aggregate;
mod ast;
mod binary;
mod eval;
mod function;
mod functions;
mod key;
mod lexer;
mod math;
mod names;
mod parser;

#[cfg(test)]
mod oracle;

use std::ops::Range;

pub use ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Expr, ExprKind, Group, Grouping, Matching, Read, Selector,
    Side, Subquery, ValueType,
};
#[cfg(test)]
pub use eval::series_between;
pub use eval::{
    Annotation, Answer, EvalError, Evaluation, LOOKBACK, Point, Select, Series, Settings, Snapshot, Steps, Taking,
    Value, Visit, Wanted, evaluate, evaluate_range,
};
pub use function::{Arity, Function};
pub use names::Names;

/// Why a text is not an expression of this version. `span` is a byte range of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    pub message: String,
    pub span: Range<usize>,
}

/// Reads and type-checks an expression.
pub fn parse(text: &str) -> Result<Expr, SyntaxError> {
    parse_within(text, usize::MAX)
}

/// As [`parse`], of a stranger: its compiled regular expressions may take so many bytes in all.
pub fn parse_within(text: &str, patterns: usize) -> Result<Expr, SyntaxError> {
    parser::parse_within(text, patterns)
}
