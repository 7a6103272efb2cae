//! From tokens to a typed tree: recursive descent, with binary operators by precedence.

mod call;
mod check;
mod modifier;
mod selector;

use std::ops::Range;

use super::SyntaxError;
use super::ast::{AggregateOp, Binary, BinaryOp, Expr, ExprKind, Group, Matching, Side, ValueType};
use super::lexer::{self, Token};
use super::names::Names;
use crate::matcher::{MatchOp, Matcher};
use check::check_binary;

/// How deep an expression may nest.
const DEPTH_LIMIT: usize = 100;

/// How many operators an expression may have: a chain of them is a deep tree, too.
const OPERATOR_LIMIT: usize = 2_000;

/// Aggregations of Prometheus that this version does not have.
const OTHER_AGGREGATIONS: &str = "limit_ratio limitk";

/// Operators and modifiers that are never a metric's name. (`and`, `by`, `offset` and others may be one.)
const RESERVED: [&str; 6] = ["atan2", "on", "ignoring", "group_left", "group_right", "bool"];

/// Words that are a metric's name where an operand is wanted, but never a call.
const KEYWORDS: [&str; 8] = ["and", "or", "unless", "by", "without", "offset", "start", "end"];

type Parsed<T> = Result<T, SyntaxError>;

/// `patterns`: how many bytes its compiled regular expressions may take.
pub fn parse_within(text: &str, patterns: usize) -> Parsed<Expr> {
    let mut parser = Parser { tokens: lexer::tokens(text)?, at: 0, depth: 0, operators: 0, patterns };
    if *parser.peek() == Token::End {
        return Err(parser.error_here("no expression found"));
    }
    let expr = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(expr),
        token => Err(parser.error_here(format!("unexpected {}: an operator was expected", describe(token)))),
    }
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    depth: usize,
    operators: usize,
    /// How many bytes further regular expressions may take.
    patterns: usize,
}

impl Parser {
    /// Operands joined by operators that bind tighter than `looser`.
    fn expression(&mut self, looser: u8) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(self.error_here(format!("the expression nests deeper than {DEPTH_LIMIT}")));
        }
        let mut left = self.operand()?;
        while let Some(op) = self.binary_op()? {
            if op.precedence() <= looser {
                break;
            }
            left = self.binary(left, op)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn binary(&mut self, left: Expr, op: BinaryOp) -> Parsed<Expr> {
        let operator = self.next().1;
        self.operators += 1;
        if self.operators > OPERATOR_LIMIT {
            return Err(error(operator, format!("the expression has more than {OPERATOR_LIMIT} operators")));
        }
        let returns_bool = self.bool_modifier(op)?;
        let matching = self.matching()?;
        // The power operator is right associative.
        let looser = op.precedence() - u8::from(op == BinaryOp::Power);
        let right = self.expression(looser)?;
        let span = left.span.start..right.span.end;
        // Without labels and without a group there is nothing to match differently; between scalars, too.
        let scalar = [&left, &right].iter().any(|side| side.value_type() == ValueType::Scalar);
        let matching = matching.filter(|matching| !matching.says_nothing(scalar));
        let binary = Binary { op, left, right, returns_bool, matching };
        check_binary(&binary, operator)?;
        Ok(Expr { kind: ExprKind::Binary(Box::new(binary)), span })
    }

    fn bool_modifier(&mut self, op: BinaryOp) -> Parsed<bool> {
        if !self.is_word("bool") {
            return Ok(false);
        }
        let (_, span) = self.next();
        if op.is_comparison() {
            return Ok(true);
        }
        Err(error(span, "bool modifier can only be used on comparison operators"))
    }

    fn matching(&mut self) -> Parsed<Option<Matching>> {
        let on = self.is_word("on");
        if !on && !self.is_word("ignoring") {
            return Ok(None);
        }
        self.next();
        let labels = self.label_names()?;
        Ok(Some(Matching { on, labels, group: self.group()? }))
    }

    /// `group_left (…)`; the labels may be left out.
    fn group(&mut self) -> Parsed<Option<Group>> {
        let side = match (self.is_word("group_left"), self.is_word("group_right")) {
            (true, _) => Side::Left,
            (_, true) => Side::Right,
            _ => return Ok(None),
        };
        self.next();
        let listed = *self.peek() == Token::Symbol("(");
        let include = if listed { self.label_names()? } else { Names::default() };
        Ok(Some(Group { side, include }))
    }

    /// The operator that stands here, if one does.
    fn binary_op(&self) -> Parsed<Option<BinaryOp>> {
        let word = match self.peek() {
            Token::Symbol(symbol) => (*symbol).to_owned(),
            Token::Word(word) => word.to_ascii_lowercase(),
            _ => return Ok(None),
        };
        Ok(Some(match word.as_str() {
            "+" => BinaryOp::Add,
            "-" => BinaryOp::Subtract,
            "*" => BinaryOp::Multiply,
            "/" => BinaryOp::Divide,
            "%" => BinaryOp::Modulo,
            "^" => BinaryOp::Power,
            "==" => BinaryOp::Equal,
            "!=" => BinaryOp::NotEqual,
            "<" => BinaryOp::Less,
            "<=" => BinaryOp::LessOrEqual,
            ">" => BinaryOp::Greater,
            ">=" => BinaryOp::GreaterOrEqual,
            "and" => BinaryOp::And,
            "or" => BinaryOp::Or,
            "unless" => BinaryOp::Unless,
            "atan2" => BinaryOp::Atan2,
            "=" => return Err(self.error_here("unexpected \"=\": compare with ==")),
            _ => return Ok(None),
        }))
    }

    /// One operand with its sign. A sign binds as tightly as `*`, so `-2 ^ 2` is `-(2 ^ 2)`.
    fn operand(&mut self) -> Parsed<Expr> {
        let negative = *self.peek() == Token::Symbol("-");
        if !negative && *self.peek() != Token::Symbol("+") {
            let operand = self.primary()?;
            return self.modifiers(operand);
        }
        let (_, sign) = self.next();
        let operand = self.expression(BinaryOp::Multiply.precedence())?;
        let kind = operand.value_type();
        if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
            let message = format!(
                "unary expression only allowed on expressions of type scalar or instant vector, got {}",
                kind.name()
            );
            return Err(error(sign, message));
        }
        let span = sign.start..operand.span.end;
        if let ExprKind::Number(value) = operand.kind {
            return Ok(Expr { kind: ExprKind::Number(if negative { -value } else { value }), span });
        }
        Ok(Expr { kind: ExprKind::Unary { negative, operand: Box::new(operand) }, span })
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let (token, span) = self.next();
        match token {
            Token::Number(value) => Ok(Expr { kind: ExprKind::Number(value), span }),
            Token::String(text) => Ok(Expr { kind: ExprKind::String(text), span }),
            Token::Bytes(_) => Err(unsupported(span, "a string whose escapes make bytes that are not UTF-8 is")),
            Token::Symbol("(") => self.parentheses(span),
            Token::Symbol("{") => self.selector(None, span),
            Token::Word(word) => self.word(&word, span),
            token => Err(error(span, format!("unexpected {}: an operand was expected", describe(&token)))),
        }
    }

    fn parentheses(&mut self, open: Range<usize>) -> Parsed<Expr> {
        let inner = self.expression(0)?;
        let close = self.expect(")", "to close the parenthesis")?;
        Ok(Expr { kind: ExprKind::Paren(Box::new(inner)), span: open.start..close.end })
    }

    /// A word: a number, an aggregation, a call, or a metric's name.
    fn word(&mut self, word: &str, span: Range<usize>) -> Parsed<Expr> {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "inf" => return Ok(Expr { kind: ExprKind::Number(f64::INFINITY), span }),
            "nan" => return Ok(Expr { kind: ExprKind::Number(f64::NAN), span }),
            _ => {}
        }
        let before_parenthesis = *self.peek() == Token::Symbol("(");
        let grouped = before_parenthesis || self.is_word("by") || self.is_word("without");
        if grouped && OTHER_AGGREGATIONS.split_whitespace().any(|name| name == lower) {
            return Err(unsupported(span, &format!("the aggregation {lower} is")));
        }
        if let Some(op) = AggregateOp::ALL.into_iter().find(|op| grouped && op.name() == lower) {
            return self.aggregate(op, span);
        }
        let keyword = before_parenthesis && KEYWORDS.contains(&lower.as_str());
        if keyword || RESERVED.contains(&lower.as_str()) {
            return Err(error(span, format!("unexpected {word:?}: an operand was expected")));
        }
        if before_parenthesis { self.call(word, span) } else { self.selector(Some(word), span) }
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn is_word(&self, wanted: &str) -> bool {
        matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(wanted))
    }

    /// Takes up a compiled regular expression.
    fn pattern(&mut self, size: usize, span: &Range<usize>) -> Parsed<()> {
        let left = self.patterns.checked_sub(size);
        let message = "the regular expressions here are larger than a query may have: write fewer, without counted \
                       repetitions and classes of Unicode";
        self.patterns = left.ok_or_else(|| error(span.clone(), message))?;
        Ok(())
    }

    /// The token that stands here; the end stays where it is.
    fn next(&mut self) -> (Token, Range<usize>) {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn expect(&mut self, symbol: &'static str, why: &str) -> Parsed<Range<usize>> {
        match self.next() {
            (Token::Symbol(found), span) if found == symbol => Ok(span),
            (token, span) => {
                Err(error(span, format!("unexpected {}: {symbol:?} was expected {why}", describe(&token))))
            }
        }
    }

    fn error_here(&self, message: impl Into<String>) -> SyntaxError {
        error(self.tokens[self.at].1.clone(), message)
    }
}

fn error(span: Range<usize>, message: impl Into<String>) -> SyntaxError {
    SyntaxError { message: message.into(), span }
}

fn unsupported(span: Range<usize>, what: &str) -> SyntaxError {
    error(span, format!("{what} not supported by this version"))
}

fn describe(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("{word:?}"),
        Token::Number(value) => format!("number {value}"),
        Token::String(text) => format!("string {text:?}"),
        Token::Bytes(text) => format!("string {text} with bytes that are not UTF-8"),
        Token::Symbol(symbol) => format!("{symbol:?}"),
        Token::End => "end of input".to_owned(),
    }
}

fn matcher(name: &str, op: MatchOp, value: &str, span: &Range<usize>) -> Parsed<Matcher> {
    Matcher::new(name, op, value).map_err(|message| error(span.clone(), message))
}

#[cfg(test)]
mod tests;
