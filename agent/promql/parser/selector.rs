//! Selectors: names, matchers, and lists of labels.

use std::ops::Range;

use super::{Parsed, Parser, describe, error, matcher};
use crate::matcher::{MatchOp, Matcher};
use crate::promql::ast::{Expr, ExprKind, Selector, is_grouping_label, is_label_name};
use crate::promql::lexer::Token;
use crate::promql::names::Names;
use crate::sample::METRIC_NAME;

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

    /// The matchers up to the closing brace; gives its end. A quoted string without an operator is the metric's name.
    /// As in Prometheus, only a name before the braces forbids another one within.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Parsed<usize> {
        let named = !matchers.is_empty();
        loop {
            let (token, span) = self.next();
            let name = match token {
                Token::Symbol("}") => return Ok(span.end),
                Token::Word(word) if is_label_name(&word) => word,
                Token::String(text) if !matches!(self.peek(), Token::Symbol("=" | "!=" | "=~" | "!~")) => {
                    if named {
                        return Err(error(span, "metric name must not be set twice"));
                    }
                    matchers.push(matcher(METRIC_NAME, MatchOp::Equal, &text, &span)?);
                    self.matcher_end()?;
                    continue;
                }
                Token::String(text) => text,
                token => return Err(error(span, format!("unexpected {} in label matching", describe(&token)))),
            };
            if name == METRIC_NAME && named {
                return Err(error(span, "metric name must not be set twice"));
            }
            let found = self.matcher(&name, span)?;
            matchers.push(found);
            self.matcher_end()?;
        }
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
            (Token::String(value), span) => {
                let span = start.start..span.end;
                let matcher = matcher(name, op, &value, &span)?;
                self.pattern(matcher.size(), &span)?;
                Ok(matcher)
            }
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
            Token::Word(word) if word == "or" => Err(self.error_here(
                "\"or\" between label matchers is not PromQL: write a regular expression, or two selectors",
            )),
            token => Err(self.error_here(format!("unexpected {}: a comma or }} was expected", describe(token)))),
        }
    }

    /// `(a, b)`, possibly empty, a trailing comma allowed.
    pub(super) fn label_names(&mut self) -> Parsed<Names> {
        self.expect("(", "to open the label names")?;
        let mut names = Vec::new();
        while *self.peek() != Token::Symbol(")") {
            match self.next() {
                (Token::Word(word), _) if is_grouping_label(&word) => names.push(word),
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
        Ok(Names::new(names))
    }
}
