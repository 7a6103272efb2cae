//! PromQL: from text to a tree, and from a tree and samples to a value. Pure; knows samples and labels only.
//!
//! The language of this version: instant selectors, numbers and strings, arithmetic, comparison, `and`, `or`,
//! `unless`, `on` and `ignoring`, `sum`, `min`, `max`, `avg` and `count`, `absent` and `time`. The rest of
//! Prometheus's language is recognised and refused by name.

mod aggregate;
mod ast;
mod binary;
mod eval;
mod lexer;
mod parser;

#[cfg(test)]
mod oracle;

use std::ops::Range;

pub use ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Expr, ExprKind, Function, Grouping, Matching, Selector, ValueType,
};
pub use eval::{EvalError, LOOKBACK, Point, Select, Series, Value, evaluate};

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
