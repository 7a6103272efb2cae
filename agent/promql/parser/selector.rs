//! Selectors: matchers, ranges, offsets.

use std::ops::Range;

use super::{Parsed, Parser, describe, error, matcher, unsupported};
use crate::matcher::{MatchOp, Matcher};
use crate::promql::ast::{Expr, ExprKind, Selector, is_label_name};
use crate::promql::lexer::Token;
use crate::sample::METRIC_NAME;

/// The longest range or offset, milliseconds: Go's longest duration.
const DURATION_LIMIT: f64 = i64::MAX as f64 / 1e9;

impl Parser {
    /// A selector whose name, or opening brace, has been read.
    pub(super) fn selector(&mut self, name: Option<&str>, start: Range<usize>) -> Parsed<Expr> {
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
        Ok(Expr { kind: ExprKind::Selector(Selector { matchers, range: None, offset: 0, at: None }), span })
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

    /// `[5m]`, `offset 1h`: what may follow an operand.
    pub(super) fn suffixes(&mut self, mut operand: Expr) -> Parsed<Expr> {
        let mut has_offset = false;
        loop {
            match self.peek() {
                Token::Symbol("[") => self.range(&mut operand, has_offset)?,
                Token::Symbol("@") => return Err(self.unsupported_here("the modifier @ is")),
                Token::Word(word) if word.eq_ignore_ascii_case("offset") => {
                    self.offset(&mut operand, has_offset)?;
                    has_offset = true;
                }
                _ => return Ok(operand),
            }
        }
    }

    fn range(&mut self, operand: &mut Expr, has_offset: bool) -> Parsed<()> {
        let open = self.next().1;
        let (millis, span) = self.duration("in the range")?;
        let close = match self.next() {
            (Token::Symbol("]"), span) => span,
            (Token::Symbol(":"), span) => {
                return Err(unsupported(open.start..span.end, "subqueries such as x[1h:5m] are"));
            }
            (Token::Word(word), span) if word.starts_with(':') => {
                return Err(unsupported(open.start..span.end, "subqueries such as x[1h:5m] are"));
            }
            (token, span) => {
                return Err(error(
                    span,
                    format!("unexpected {}: \"]\" was expected to close the range", describe(&token)),
                ));
            }
        };
        if millis < 1 {
            let message = "duration must be greater than 0 (and at least one millisecond)";
            return Err(error(span, message));
        }
        if has_offset {
            return Err(error(open.start..close.end, "no offset modifiers allowed before range"));
        }
        match &mut operand.kind {
            ExprKind::Selector(selector) if selector.range.is_none() => selector.range = Some(millis),
            _ => return Err(error(open.start..close.end, "ranges only allowed for vector selectors")),
        }
        operand.span.end = close.end;
        Ok(())
    }

    fn offset(&mut self, operand: &mut Expr, has_offset: bool) -> Parsed<()> {
        let word = self.next().1;
        let (millis, span) = self.duration("as the offset")?;
        let ExprKind::Selector(selector) = &mut operand.kind else {
            let message = "offset modifier must be preceded by an instant vector selector or range vector selector";
            return Err(error(word, message));
        };
        if has_offset {
            return Err(error(word, "offset may not be set multiple times"));
        }
        selector.offset = millis;
        operand.span.end = span.end;
        Ok(())
    }

    /// A duration or a number of seconds, with or without a sign: whole milliseconds.
    fn duration(&mut self, place: &str) -> Parsed<(i64, Range<usize>)> {
        let sign = matches!(self.peek(), Token::Symbol("+" | "-")).then(|| self.next());
        let negative = matches!(sign, Some((Token::Symbol("-"), _)));
        let (seconds, span) = match self.next() {
            (Token::Number(seconds), span) => (seconds, span),
            (token, span) => {
                let message = format!("unexpected {}: a number or duration was expected {place}", describe(&token));
                return Err(error(span, message));
            }
        };
        let span = sign.map_or(span.start, |(_, sign)| sign.start)..span.end;
        if seconds.is_nan() || seconds >= DURATION_LIMIT {
            return Err(error(span, "duration out of range"));
        }
        // Prometheus rounds to nanoseconds, and cuts them off when it compares times.
        let millis = ((seconds * 1e9).round() / 1e6) as i64;
        Ok((if negative { -millis } else { millis }, span))
    }

    /// `(a, b)`, possibly empty, a trailing comma allowed.
    pub(super) fn label_names(&mut self) -> Parsed<Vec<String>> {
        self.expect("(", "to open the label names")?;
        let mut names = Vec::new();
        while *self.peek() != Token::Symbol(")") {
            match self.next() {
                (Token::Word(word), _) if is_label_name(&word) && !is_number(&word) => names.push(word),
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
}

fn is_the_name(matcher: &Matcher) -> bool {
    &*matcher.name == METRIC_NAME
}

/// `inf` and `nan` are numbers, not names.
fn is_number(word: &str) -> bool {
    word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan")
}
