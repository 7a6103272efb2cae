//! The syntax tree. Every node knows the bytes that it was read from. `Display` writes canonical PromQL.

mod display;

use std::ops::Range;

use super::LOOKBACK;
use super::function::Function;
use super::names::Names;
use crate::matcher::{Compiled, Matcher};
use display::in_order;

#[derive(Debug, Clone)]
pub struct Expr {
    pub kind: ExprKind,
    /// Bytes of the text.
    pub span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    Number(f64),
    String(String),
    Selector(Selector),
    Subquery(Box<Subquery>),
    Paren(Box<Expr>),
    /// A sign before an operand.
    Unary {
        negative: bool,
        operand: Box<Expr>,
    },
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(Call),
}

/// The tree, without where it was read from.
impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// An instant or a range selector. The metric name is a matcher on `__name__` like the others.
#[derive(Debug, Clone)]
pub struct Selector {
    /// In the order in which they stand in the text, which tells something to `absent` alone.
    pub matchers: Vec<Matcher>,
    /// How long a range selector's window is, milliseconds, at least 1. `None` for an instant selector.
    pub range: Option<i64>,
    /// How long before the evaluation's time it looks, milliseconds; negative: after it.
    pub offset: i64,
    /// What stands in for the evaluation's time.
    pub at: Option<At>,
}

/// Whatever the order of the matchers.
impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        (self.range, self.offset, self.at) == (other.range, other.offset, other.at)
            && in_order(&self.matchers) == in_order(&other.matchers)
    }
}

/// `operand[range:step]`: what the operand was worth at the multiples of the step within the range.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    pub operand: Expr,
    /// Milliseconds, at least 1.
    pub range: i64,
    /// Milliseconds, at least 1; `None` for the default of the evaluation.
    pub step: Option<i64>,
    /// As a selector's.
    pub offset: i64,
    pub at: Option<At>,
}

/// The modifier `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Unix milliseconds.
    Time(i64),
    /// `start()`: the first time of the whole query.
    Start,
    /// `end()`: the last one.
    End,
}

/// A selector of an expression, and how far before the expression's time it looks. What `@` fixes does not count: it is
/// as far away as one likes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Read<'a> {
    pub selector: &'a Selector,
    /// By ranges, offsets and the subqueries around it, milliseconds, at least 0.
    pub window: i64,
    /// As `window`, with the lookback of an instant selector: what is older can make no difference.
    pub reach: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    pub op: BinaryOp,
    pub left: Expr,
    pub right: Expr,
    /// `bool` after a comparison: 0 or 1 instead of a filter.
    pub returns_bool: bool,
    pub matching: Option<Matching>,
}

/// `on (…)` or `ignoring (…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching {
    pub on: bool,
    pub labels: Names,
    /// One to one without it.
    pub group: Option<Group>,
}

/// `group_left (…)`, where several samples on the left belong to one on the right, or `group_right (…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The side that has many.
    pub side: Side,
    /// Labels that the result takes from the side that has one.
    pub include: Names,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub op: AggregateOp,
    /// What `topk`, `bottomk`, `quantile` (a number) and `count_values` (a label's name) take first.
    pub parameter: Option<Expr>,
    pub operand: Expr,
    pub grouping: Option<Grouping>,
}

/// `by (…)` or `without (…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    pub without: bool,
    pub labels: Names,
}

#[derive(Debug, Clone)]
pub struct Call {
    pub function: Function,
    pub arguments: Vec<Expr>,
    /// The pattern of `label_replace`, compiled once.
    pub pattern: Option<Compiled>,
}

/// The pattern follows from the arguments.
impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function && self.arguments == other.arguments
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateOp {
    Sum,
    Min,
    Max,
    Avg,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Unless,
}

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    Scalar,
    Vector,
    /// A range vector.
    Matrix,
    String,
}

impl ValueType {
    pub fn name(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
            ValueType::String => "string",
        }
    }
}

impl AggregateOp {
    pub const ALL: [AggregateOp; 12] = [
        AggregateOp::Sum,
        AggregateOp::Min,
        AggregateOp::Max,
        AggregateOp::Avg,
        AggregateOp::Count,
        AggregateOp::Group,
        AggregateOp::Stddev,
        AggregateOp::Stdvar,
        AggregateOp::Topk,
        AggregateOp::Bottomk,
        AggregateOp::Quantile,
        AggregateOp::CountValues,
    ];

    pub fn name(self) -> &'static str {
        match self {
            AggregateOp::Sum => "sum",
            AggregateOp::Min => "min",
            AggregateOp::Max => "max",
            AggregateOp::Avg => "avg",
            AggregateOp::Count => "count",
            AggregateOp::Group => "group",
            AggregateOp::Stddev => "stddev",
            AggregateOp::Stdvar => "stdvar",
            AggregateOp::Topk => "topk",
            AggregateOp::Bottomk => "bottomk",
            AggregateOp::Quantile => "quantile",
            AggregateOp::CountValues => "count_values",
        }
    }

    /// The type of the parameter that stands before the operand.
    pub fn parameter(self) -> Option<ValueType> {
        match self {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Quantile => Some(ValueType::Scalar),
            AggregateOp::CountValues => Some(ValueType::String),
            _ => None,
        }
    }
}

impl BinaryOp {
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Modulo => "%",
            BinaryOp::Power => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessOrEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterOrEqual => ">=",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
        }
    }

    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessOrEqual | Greater | GreaterOrEqual)
    }

    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }

    /// From 1, which binds loosest.
    pub fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And | BinaryOp::Unless => 2,
            op if op.is_comparison() => 3,
            BinaryOp::Add | BinaryOp::Subtract => 4,
            BinaryOp::Power => 6,
            _ => 5,
        }
    }
}

impl Matching {
    /// Whether operands are matched as without it.
    pub fn says_nothing(&self, beside_scalar: bool) -> bool {
        self.labels.is_empty() && (beside_scalar || (self.group.is_none() && !self.on))
    }
}

impl Selector {
    /// What it reads within subqueries that look so far back themselves.
    fn read(&self, behind: i64) -> Read<'_> {
        let before = |range: i64| match self.at {
            Some(_) => range.saturating_add(self.offset).max(0),
            None => behind.saturating_add(range).saturating_add(self.offset).max(0),
        };
        Read { selector: self, window: before(self.range.unwrap_or(0)), reach: before(self.range.unwrap_or(LOOKBACK)) }
    }
}

impl Expr {
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Selector(selector) if selector.range.is_some() => ValueType::Matrix,
            ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Selector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Paren(inner) | ExprKind::Unary { operand: inner, .. } => inner.value_type(),
            ExprKind::Call(call) => call.function.result(),
            ExprKind::Binary(binary) => {
                // The right side first: a long chain of operators hangs on the left one.
                let scalars = [&binary.right, &binary.left].iter().all(|side| side.value_type() == ValueType::Scalar);
                if scalars { ValueType::Scalar } else { ValueType::Vector }
            }
        }
    }

    /// Every selector in the expression, in the order of the text, with how far it looks back.
    pub fn reads(&self) -> Vec<Read<'_>> {
        let mut found = Vec::new();
        self.collect_reads(0, &mut found);
        found
    }

    /// The expression inside of any parentheses around it.
    pub fn unwrapped(&self) -> &Expr {
        match &self.kind {
            ExprKind::Paren(inner) => inner.unwrapped(),
            _ => self,
        }
    }

    /// `behind`: how far back the subqueries around the expression look.
    fn collect_reads<'a>(&'a self, behind: i64, found: &mut Vec<Read<'a>>) {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Selector(selector) => found.push(selector.read(behind)),
            ExprKind::Subquery(subquery) => {
                let behind = if subquery.at.is_some() { 0 } else { behind };
                let behind = behind.saturating_add(subquery.range).saturating_add(subquery.offset);
                subquery.operand.collect_reads(behind, found);
            }
            ExprKind::Paren(inner) | ExprKind::Unary { operand: inner, .. } => inner.collect_reads(behind, found),
            ExprKind::Binary(binary) => {
                binary.left.collect_reads(behind, found);
                binary.right.collect_reads(behind, found);
            }
            ExprKind::Aggregate(aggregate) => {
                aggregate.parameter.iter().for_each(|parameter| parameter.collect_reads(behind, found));
                aggregate.operand.collect_reads(behind, found);
            }
            ExprKind::Call(call) => call.arguments.iter().for_each(|argument| argument.collect_reads(behind, found)),
        }
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub fn is_metric_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.contains(':')
}

/// What stands without quotes in a list of labels: a colon may be in it; `inf` and `nan` are numbers, and `without` is
/// the one keyword that Prometheus's grammar does not take there.
pub fn is_grouping_label(name: &str) -> bool {
    is_metric_name(name) && !["inf", "nan", "without"].iter().any(|other| name.eq_ignore_ascii_case(other))
}
