//! The syntax tree. Every node knows the bytes that it was read from. `Display` writes canonical PromQL.

use std::fmt;
use std::ops::Range;

use crate::matcher::{Matcher, quote};
use crate::sample::METRIC_NAME;

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

/// An instant selector. The metric name is a matcher on `__name__` like the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    pub matchers: Vec<Matcher>,
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
    pub labels: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub op: AggregateOp,
    pub operand: Expr,
    pub grouping: Option<Grouping>,
}

/// `by (…)` or `without (…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    pub without: bool,
    pub labels: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub function: Function,
    pub arguments: Vec<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Absent,
    Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateOp {
    Sum,
    Min,
    Max,
    Avg,
    Count,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
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
    String,
}

impl ValueType {
    pub fn name(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "instant vector",
            ValueType::String => "string",
        }
    }
}

impl Function {
    pub const ALL: [Function; 2] = [Function::Absent, Function::Time];

    pub fn name(self) -> &'static str {
        match self {
            Function::Absent => "absent",
            Function::Time => "time",
        }
    }

    /// The types of its arguments.
    pub fn arguments(self) -> &'static [ValueType] {
        match self {
            Function::Absent => &[ValueType::Vector],
            Function::Time => &[],
        }
    }

    pub fn result(self) -> ValueType {
        match self {
            Function::Absent => ValueType::Vector,
            Function::Time => ValueType::Scalar,
        }
    }
}

impl AggregateOp {
    pub const ALL: [AggregateOp; 5] =
        [AggregateOp::Sum, AggregateOp::Min, AggregateOp::Max, AggregateOp::Avg, AggregateOp::Count];

    pub fn name(self) -> &'static str {
        match self {
            AggregateOp::Sum => "sum",
            AggregateOp::Min => "min",
            AggregateOp::Max => "max",
            AggregateOp::Avg => "avg",
            AggregateOp::Count => "count",
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

impl Expr {
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Selector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Paren(inner) | ExprKind::Unary { operand: inner, .. } => inner.value_type(),
            ExprKind::Call(call) => call.function.result(),
            ExprKind::Binary(binary) => {
                let scalars = [&binary.left, &binary.right].iter().all(|side| side.value_type() == ValueType::Scalar);
                if scalars { ValueType::Scalar } else { ValueType::Vector }
            }
        }
    }

    /// Every selector in the expression, in the order of the text.
    pub fn selectors(&self) -> Vec<&Selector> {
        let mut found = Vec::new();
        self.collect_selectors(&mut found);
        found
    }

    fn collect_selectors<'a>(&'a self, found: &mut Vec<&'a Selector>) {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Selector(selector) => found.push(selector),
            ExprKind::Paren(inner) | ExprKind::Unary { operand: inner, .. } => inner.collect_selectors(found),
            ExprKind::Binary(binary) => {
                binary.left.collect_selectors(found);
                binary.right.collect_selectors(found);
            }
            ExprKind::Aggregate(aggregate) => aggregate.operand.collect_selectors(found),
            ExprKind::Call(call) => call.arguments.iter().for_each(|argument| argument.collect_selectors(found)),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(value) => f.write_str(&number(*value)),
            ExprKind::String(text) => f.write_str(&quote(text)),
            ExprKind::Selector(selector) => write!(f, "{selector}"),
            ExprKind::Paren(inner) => write!(f, "({inner})"),
            ExprKind::Unary { negative, operand } => write!(f, "{}{operand}", if *negative { "-" } else { "+" }),
            ExprKind::Binary(binary) => write!(f, "{binary}"),
            ExprKind::Aggregate(aggregate) => write!(f, "{aggregate}"),
            ExprKind::Call(call) => write!(f, "{}({})", call.function.name(), list(&call.arguments)),
        }
    }
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        // A sign before an operand of a power would be read as the sign of the power.
        value if value.is_infinite() => if value > 0.0 { "Inf" } else { "-Inf" }.into(),
        value => value.to_string(),
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_name = |matcher: &&Matcher| {
            &*matcher.name == METRIC_NAME && matcher.op.symbol() == "=" && is_metric_name(&matcher.value)
        };
        let name = self.matchers.iter().find(is_name);
        let others: Vec<&Matcher> =
            self.matchers.iter().filter(|matcher| !name.is_some_and(|name| std::ptr::eq(name, *matcher))).collect();
        f.write_str(name.map_or("", |name| &name.value))?;
        if others.is_empty() && name.is_some() {
            return Ok(());
        }
        write!(f, "{{{}}}", others.iter().map(|matcher| matcher_text(matcher)).collect::<Vec<_>>().join(", "))
    }
}

/// A label name that is not of the classic form stands in quotes.
fn matcher_text(matcher: &Matcher) -> String {
    let name = label(&matcher.name);
    format!("{name}{}{}", matcher.op.symbol(), quote(&matcher.value))
}

fn label(name: &str) -> String {
    if is_label_name(name) { name.to_owned() } else { quote(name) }
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

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.left, self.op.symbol())?;
        if self.returns_bool {
            f.write_str(" bool")?;
        }
        if let Some(matching) = &self.matching {
            write!(f, " {} ({})", if matching.on { "on" } else { "ignoring" }, labels(&matching.labels))?;
        }
        write!(f, " {}", self.right)
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.name())?;
        if let Some(grouping) = &self.grouping {
            let word = if grouping.without { "without" } else { "by" };
            write!(f, " {word} ({}) ", labels(&grouping.labels))?;
        }
        write!(f, "({})", self.operand)
    }
}

fn labels(names: &[String]) -> String {
    names.iter().map(|name| label(name)).collect::<Vec<_>>().join(", ")
}
