//! What may follow an operand: a range, a subquery's range and step, `offset` and `@`.

use std::ops::Range;

use super::{Parsed, Parser, describe, error, unsupported};
use crate::promql::ast::{At, Expr, ExprKind, Selector, Subquery, ValueType};
use crate::promql::lexer::Token;

/// The longest range or offset, seconds: Go's longest duration.
const DURATION_LIMIT: f64 = i64::MAX as f64 / 1e9;

/// The farthest time that `@` may name, milliseconds: 73 million years. Sums of times stay within 64 bits; nobody has
/// samples there.
const FARTHEST: i64 = i64::MAX / 4;

impl Parser {
    /// Takes every modifier that stands here. Each binds to what stands before it.
    pub(super) fn modifiers(&mut self, mut operand: Expr) -> Parsed<Expr> {
        loop {
            operand = match self.peek() {
                Token::Symbol("[") => self.brackets(operand)?,
                Token::Symbol("@") => self.at(operand)?,
                Token::Word(word) if word.eq_ignore_ascii_case("offset") => self.offset(operand)?,
                _ => return Ok(operand),
            }
        }
    }

    /// `[5m]`, `[1h:5m]` or `[1h:]`.
    fn brackets(&mut self, operand: Expr) -> Parsed<Expr> {
        let open = self.next().1;
        let range = self.positive_duration("in the range")?;
        let is_subquery = *self.peek() == Token::Symbol(":");
        let mut step = None;
        if is_subquery {
            self.next();
            if *self.peek() != Token::Symbol("]") {
                step = Some(self.positive_duration("as the step of the subquery")?);
            }
        }
        self.refuse_duration_expression(&["+", "-", "*", "/", "%", "^"])?;
        let close = self.expect("]", "to close the range")?;
        if is_subquery {
            return subquery(operand, range, step, close.end);
        }
        ranged(operand, range, open.start..close.end)
    }

    fn offset(&mut self, mut operand: Expr) -> Parsed<Expr> {
        let word = self.next().1;
        let (millis, span) = self.duration("as the offset")?;
        let Some((offset, _)) = target(&mut operand.kind) else {
            let message = "offset modifier must be preceded by an instant vector selector or range vector selector or \
                           a subquery";
            return Err(error(word, message));
        };
        // As in Prometheus, an offset of nothing is none.
        if *offset != 0 {
            return Err(error(word, "offset may not be set multiple times"));
        }
        *offset = millis;
        operand.span.end = span.end;
        Ok(operand)
    }

    fn at(&mut self, mut operand: Expr) -> Parsed<Expr> {
        let symbol = self.next().1;
        let (time, span) = self.timestamp()?;
        let Some((_, at)) = target(&mut operand.kind) else {
            let message = "@ modifier must be preceded by an instant vector selector or range vector selector or a \
                           subquery";
            return Err(error(symbol, message));
        };
        if at.is_some() {
            return Err(error(symbol, "@ <timestamp> may not be set multiple times"));
        }
        *at = Some(time);
        operand.span.end = span.end;
        Ok(operand)
    }

    /// `start()`, `end()`, or seconds since the epoch.
    fn timestamp(&mut self) -> Parsed<(At, Range<usize>)> {
        let fixed = match (self.is_word("start"), self.is_word("end")) {
            (true, _) => At::Start,
            (_, true) => At::End,
            _ => return self.seconds(),
        };
        let word = self.next().1;
        self.expect("(", "after @ start or @ end")?;
        let close = self.expect(")", "after @ start( or @ end(")?;
        Ok((fixed, word.start..close.end))
    }

    fn seconds(&mut self) -> Parsed<(At, Range<usize>)> {
        let (seconds, span) = self.signed_number("a time in seconds, start() or end() was expected after @", 1)?;
        if seconds.is_nan() || seconds.abs() >= i64::MAX as f64 {
            let message = format!("timestamp out of bounds for @ modifier: {seconds}");
            return Err(error(span, message));
        }
        let millis = (seconds * 1e3).round() as i64;
        Ok((At::Time(millis.clamp(-FARTHEST, FARTHEST)), span))
    }

    fn positive_duration(&mut self, place: &str) -> Parsed<i64> {
        let (millis, span) = self.duration(place)?;
        if millis < 1 {
            return Err(error(span, "duration must be greater than 0 (and at least one millisecond)"));
        }
        Ok(millis)
    }

    /// A duration or a number of seconds, with or without a sign: whole milliseconds.
    fn duration(&mut self, place: &str) -> Parsed<(i64, Range<usize>)> {
        self.refuse_duration_expression(&["("])?;
        let wanted = format!("a number or duration was expected {place}");
        let (seconds, span) = self.signed_number(&wanted, usize::MAX)?;
        if seconds.is_nan() || seconds.abs() >= DURATION_LIMIT {
            return Err(error(span, "duration out of range"));
        }
        // Prometheus rounds to nanoseconds, and cuts them off when it compares times.
        Ok((((seconds * 1e9).round() / 1e6) as i64, span))
    }

    /// A number after at most so many signs.
    fn signed_number(&mut self, wanted: &str, signs: usize) -> Parsed<(f64, Range<usize>)> {
        let start = self.tokens[self.at].1.start;
        let mut factor = 1.0;
        for _ in 0..signs {
            match self.peek() {
                Token::Symbol("-") => factor = -factor,
                Token::Symbol("+") => {}
                _ => break,
            }
            self.next();
        }
        match self.next() {
            (Token::Number(number), span) => Ok((factor * number, start..span.end)),
            (token, span) => Err(error(span, format!("unexpected {}: {wanted}", describe(&token)))),
        }
    }

    /// `x[5m * 2]` and `x[(5m)]` are an experiment of Prometheus's.
    fn refuse_duration_expression(&self, symbols: &[&str]) -> Parsed<()> {
        match &self.tokens[self.at] {
            (Token::Symbol(symbol), span) if symbols.contains(symbol) => {
                Err(unsupported(span.clone(), "arithmetic on durations (an experiment of Prometheus's) is"))
            }
            _ => Ok(()),
        }
    }
}

/// The offset and the `@` of what may bear them.
fn target(kind: &mut ExprKind) -> Option<(&mut i64, &mut Option<At>)> {
    match kind {
        ExprKind::Selector(selector) => Some((&mut selector.offset, &mut selector.at)),
        ExprKind::Subquery(subquery) => Some((&mut subquery.offset, &mut subquery.at)),
        _ => None,
    }
}

fn subquery(operand: Expr, range: i64, step: Option<i64>, end: usize) -> Parsed<Expr> {
    let found = operand.value_type();
    if found != ValueType::Vector {
        let message = format!("subquery is only allowed on instant vector, got {} instead", found.name());
        return Err(error(operand.span, message));
    }
    let span = operand.span.start..end;
    let subquery = Subquery { operand, range, step, offset: 0, at: None };
    Ok(Expr { kind: ExprKind::Subquery(Box::new(subquery)), span })
}

fn ranged(mut operand: Expr, range: i64, brackets: Range<usize>) -> Parsed<Expr> {
    let message = match &mut operand.kind {
        ExprKind::Selector(Selector { range: Some(_), .. }) => "ranges only allowed for vector selectors",
        ExprKind::Selector(Selector { offset, .. }) if *offset != 0 => "no offset modifiers allowed before range",
        ExprKind::Selector(Selector { at: Some(At::Time(_)), .. }) => "no @ modifiers allowed before range",
        ExprKind::Selector(selector) => {
            selector.range = Some(range);
            operand.span.end = brackets.end;
            return Ok(operand);
        }
        _ => "ranges only allowed for vector selectors",
    };
    Err(error(brackets, message))
}
