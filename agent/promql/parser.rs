//! From tokens to a typed tree: recursive descent, with binary operators by precedence.

use std::ops::Range;

use super::SyntaxError;
use super::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Expr, ExprKind, Function, Grouping, Matching, Selector, ValueType,
    is_label_name,
};
use super::lexer::{self, Token};
use crate::matcher::{MatchOp, Matcher};
use crate::sample::METRIC_NAME;

/// How deep an expression may nest.
const DEPTH_LIMIT: usize = 100;

/// Functions of Prometheus that this version does not have.
const OTHER_FUNCTIONS: &str = "abs absent_over_time acos acosh asin asinh atan atanh avg_over_time ceil changes clamp \
    clamp_max clamp_min cos cosh count_over_time day_of_month day_of_week day_of_year days_in_month deg delta deriv \
    double_exponential_smoothing exp first_over_time floor histogram_avg histogram_count histogram_fraction \
    histogram_quantile histogram_quantiles histogram_stddev histogram_stdvar histogram_sum hour idelta increase info \
    irate label_join label_replace last_over_time ln log10 log2 mad_over_time max_over_time min_over_time minute month \
    pi predict_linear present_over_time quantile_over_time rad rate resets round scalar sgn sin sinh sort sort_by_label \
    sort_by_label_desc sort_desc sqrt stddev_over_time stdvar_over_time sum_over_time tan tanh timestamp \
    ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time vector year";

/// Aggregations of Prometheus that this version does not have.
const OTHER_AGGREGATIONS: &str = "bottomk count_values group limit_ratio limitk quantile stddev stdvar topk";

/// Words that are operators or modifiers, and so never a metric name where an operand is wanted.
const OPERATORS: [&str; 13] = [
    "and",
    "or",
    "unless",
    "atan2",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "by",
    "without",
    "offset",
    "default",
];

type Parsed<T> = Result<T, SyntaxError>;

pub fn parse(text: &str) -> Parsed<Expr> {
    let mut parser = Parser { tokens: lexer::tokens(text)?, at: 0, depth: 0 };
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
        let returns_bool = self.bool_modifier(op)?;
        let matching = self.matching()?;
        // The power operator is right associative.
        let looser = op.precedence() - u8::from(op == BinaryOp::Power);
        let right = self.expression(looser)?;
        let span = left.span.start..right.span.end;
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
        if self.is_word("group_left") || self.is_word("group_right") {
            return Err(self.unsupported_here("group_left and group_right are"));
        }
        Ok(Some(Matching { on, labels }))
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
            "atan2" => return Err(self.unsupported_here("the operator atan2 is")),
            "=" => return Err(self.error_here("unexpected \"=\": compare with ==")),
            _ => return Ok(None),
        }))
    }

    /// One operand with its sign. A sign binds as tightly as `*`, so `-2 ^ 2` is `-(2 ^ 2)`.
    fn operand(&mut self) -> Parsed<Expr> {
        let negative = *self.peek() == Token::Symbol("-");
        if !negative && *self.peek() != Token::Symbol("+") {
            let operand = self.primary()?;
            return self.no_suffix(operand);
        }
        let (_, sign) = self.next();
        let operand = self.expression(BinaryOp::Multiply.precedence())?;
        let kind = operand.value_type();
        if kind == ValueType::String {
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

    /// What Prometheus allows behind an operand, and this version does not.
    fn no_suffix(&self, operand: Expr) -> Parsed<Expr> {
        if *self.peek() == Token::Symbol("[") {
            return Err(self.unsupported_here("ranges such as x[5m] and subqueries are"));
        }
        if *self.peek() == Token::Symbol("@") {
            return Err(self.unsupported_here("the modifier @ is"));
        }
        if self.is_word("offset") {
            return Err(self.unsupported_here("the modifier offset is"));
        }
        Ok(operand)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let (token, span) = self.next();
        match token {
            Token::Number(value) => Ok(Expr { kind: ExprKind::Number(value), span }),
            Token::String(text) => Ok(Expr { kind: ExprKind::String(text), span }),
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
        if OPERATORS.contains(&lower.as_str()) && !matches!(lower.as_str(), "default") {
            return Err(error(span, format!("unexpected {word:?}: an operand was expected")));
        }
        if before_parenthesis { self.call(word, span) } else { self.selector(Some(word), span) }
    }

    fn aggregate(&mut self, op: AggregateOp, start: Range<usize>) -> Parsed<Expr> {
        let mut grouping = self.grouping()?;
        self.expect("(", "to open the aggregation")?;
        let operand = self.expression(0)?;
        if *self.peek() == Token::Symbol(",") {
            return Err(self.error_here(format!("{} takes one argument", op.name())));
        }
        let mut end = self.expect(")", "to close the aggregation")?.end;
        if grouping.is_none() {
            grouping = self.grouping()?;
            end = self.tokens[self.at - 1].1.end;
        }
        check_type(&operand, ValueType::Vector, "aggregation expression")?;
        let aggregate = Aggregate { op, operand, grouping };
        Ok(Expr { kind: ExprKind::Aggregate(Box::new(aggregate)), span: start.start..end })
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.next();
        Ok(Some(Grouping { without, labels: self.label_names()? }))
    }

    fn call(&mut self, name: &str, span: Range<usize>) -> Parsed<Expr> {
        let Some(function) = Function::ALL.into_iter().find(|function| function.name() == name) else {
            if OTHER_FUNCTIONS.split_whitespace().any(|other| other == name) {
                return Err(unsupported(span, &format!("the function {name} is")));
            }
            return Err(error(span, unknown_function(name)));
        };
        self.expect("(", "to open the call")?;
        let mut arguments = Vec::new();
        while *self.peek() != Token::Symbol(")") {
            arguments.push(self.expression(0)?);
            if *self.peek() != Token::Symbol(",") {
                break;
            }
            self.next();
        }
        let close = self.expect(")", "to close the call")?;
        let wanted = function.arguments();
        if arguments.len() != wanted.len() {
            let message = format!("expected {} argument(s) in call to {name:?}, got {}", wanted.len(), arguments.len());
            return Err(error(span.start..close.end, message));
        }
        for (argument, wanted) in arguments.iter().zip(wanted) {
            check_type(argument, *wanted, &format!("call to function {name:?}"))?;
        }
        Ok(Expr { kind: ExprKind::Call(Call { function, arguments }), span: span.start..close.end })
    }

    /// A selector whose name, or opening brace, has been read.
    fn selector(&mut self, name: Option<&str>, start: Range<usize>) -> Parsed<Expr> {
        let mut matchers = Vec::new();
        let mut end = start.end;
        if let Some(name) = name {
            matchers.push(matcher(METRIC_NAME, MatchOp::Equal, name, &start)?);
        }
        let braced = name.is_none() || *self.peek() == Token::Symbol("{");
        if braced {
            if name.is_some() {
                self.next();
            }
            end = self.matchers(&mut matchers)?;
        }
        let span = start.start..end;
        if matchers.iter().all(|matcher| matcher.matches("")) {
            return Err(error(span, "vector selector must contain at least one non-empty matcher"));
        }
        Ok(Expr { kind: ExprKind::Selector(Selector { matchers }), span })
    }

    /// The matchers up to the closing brace; gives its end.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Parsed<usize> {
        loop {
            let (token, span) = self.next();
            let name = match token {
                Token::Symbol("}") => return Ok(span.end),
                Token::Word(word) if is_label_name(&word) => word,
                Token::String(text) if !matches!(self.peek(), Token::Symbol("=" | "!=" | "=~" | "!~")) => {
                    self.set_name(matchers, &text, &span)?;
                    self.matcher_end()?;
                    continue;
                }
                Token::String(text) => text,
                token => return Err(error(span, format!("unexpected {} in label matching", describe(&token)))),
            };
            if name == METRIC_NAME && matchers.iter().any(is_the_name) {
                return Err(error(span, "metric name must not be set twice"));
            }
            let found = self.matcher(&name, span)?;
            matchers.push(found);
            self.matcher_end()?;
        }
    }

    /// `{"my.metric"}`: a quoted string without an operator is the metric's name.
    fn set_name(&self, matchers: &mut Vec<Matcher>, name: &str, span: &Range<usize>) -> Parsed<()> {
        if matchers.iter().any(is_the_name) {
            return Err(error(span.clone(), "metric name must not be set twice"));
        }
        matchers.push(matcher(METRIC_NAME, MatchOp::Equal, name, span)?);
        Ok(())
    }

    fn matcher(&mut self, name: &str, start: Range<usize>) -> Parsed<Matcher> {
        let (token, span) = self.next();
        let op = match token {
            Token::Symbol("=") => MatchOp::Equal,
            Token::Symbol("!=") => MatchOp::NotEqual,
            Token::Symbol("=~") => MatchOp::Regex,
            Token::Symbol("!~") => MatchOp::NotRegex,
            token => {
                let message = format!("unexpected {}: one of =, !=, =~, !~ was expected", describe(&token));
                return Err(error(span, message));
            }
        };
        match self.next() {
            (Token::String(value), span) => matcher(name, op, &value, &(start.start..span.end)),
            (token, span) => Err(error(span, format!("unexpected {}: a quoted value was expected", describe(&token)))),
        }
    }

    /// A comma, or the closing brace, which stays.
    fn matcher_end(&mut self) -> Parsed<()> {
        match self.peek() {
            Token::Symbol("}") => Ok(()),
            Token::Symbol(",") => {
                self.next();
                Ok(())
            }
            Token::Word(word) if word == "or" => Err(self.unsupported_here("or between label matchers is")),
            token => Err(self.error_here(format!("unexpected {}: a comma or }} was expected", describe(token)))),
        }
    }

    /// `(a, b)`, possibly empty, a trailing comma allowed.
    fn label_names(&mut self) -> Parsed<Vec<String>> {
        self.expect("(", "to open the label names")?;
        let mut names = Vec::new();
        while *self.peek() != Token::Symbol(")") {
            match self.next() {
                (Token::Word(word), _) if is_label_name(&word) => names.push(word),
                (Token::String(text), _) if !text.is_empty() => names.push(text),
                (token, span) => {
                    return Err(error(span, format!("unexpected {}: a label name was expected", describe(&token))));
                }
            }
            if *self.peek() != Token::Symbol(",") {
                break;
            }
            self.next();
        }
        self.expect(")", "to close the label names")?;
        Ok(names)
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn is_word(&self, wanted: &str) -> bool {
        matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(wanted))
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

    fn unsupported_here(&self, what: &str) -> SyntaxError {
        unsupported(self.tokens[self.at].1.clone(), what)
    }
}

fn error(span: Range<usize>, message: impl Into<String>) -> SyntaxError {
    SyntaxError { message: message.into(), span }
}

fn unsupported(span: Range<usize>, what: &str) -> SyntaxError {
    error(span, format!("{what} not supported by this version"))
}

fn unknown_function(name: &str) -> String {
    let known = OTHER_FUNCTIONS.split_whitespace().chain(Function::ALL.iter().map(|function| function.name()));
    let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(known, name));
    match nearest.filter(|known| strsim::damerau_levenshtein(known, name) <= 2) {
        Some(known) => format!("unknown function with name {name:?}: did you mean {known:?}?"),
        None => format!("unknown function with name {name:?}"),
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("{word:?}"),
        Token::Number(value) => format!("number {value}"),
        Token::String(text) => format!("string {text:?}"),
        Token::Symbol(symbol) => format!("{symbol:?}"),
        Token::End => "end of input".to_owned(),
    }
}

fn is_the_name(matcher: &Matcher) -> bool {
    &*matcher.name == METRIC_NAME
}

fn matcher(name: &str, op: MatchOp, value: &str, span: &Range<usize>) -> Parsed<Matcher> {
    Matcher::new(name, op, value).map_err(|message| error(span.clone(), message))
}

fn check_type(expr: &Expr, wanted: ValueType, place: &str) -> Parsed<()> {
    let found = expr.value_type();
    if found == wanted {
        return Ok(());
    }
    let message = format!("expected type {} in {place}, got {}", wanted.name(), found.name());
    Err(error(expr.span.clone(), message))
}

fn check_binary(binary: &Binary, operator: Range<usize>) -> Parsed<()> {
    let sides = [&binary.left, &binary.right];
    let symbol = binary.op.symbol();
    if let Some(side) = sides.iter().find(|side| side.value_type() == ValueType::String) {
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
    Ok(())
}

#[cfg(test)]
mod tests;
