//! Canonical PromQL.

use std::fmt;
use std::time::Duration;

use super::{Aggregate, At, Binary, Expr, ExprKind, Selector, Side, Subquery, is_label_name, is_metric_name};
use crate::matcher::{Matcher, quote};
use crate::sample::METRIC_NAME;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(value) => f.write_str(&number(*value)),
            ExprKind::String(text) => f.write_str(&quote(text)),
            ExprKind::Selector(selector) => write!(f, "{selector}"),
            ExprKind::Subquery(subquery) => write!(f, "{subquery}"),
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
        if !others.is_empty() || name.is_none() {
            write!(f, "{{{}}}", others.iter().map(|matcher| matcher_text(matcher)).collect::<Vec<_>>().join(", "))?;
        }
        if let Some(range) = self.range {
            write!(f, "[{}]", duration(range))?;
        }
        modifiers(f, self.at, self.offset)
    }
}

impl fmt::Display for Subquery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}:{}]", self.operand, duration(self.range), self.step.map(duration).unwrap_or_default())?;
        modifiers(f, self.at, self.offset)
    }
}

fn modifiers(f: &mut fmt::Formatter<'_>, at: Option<At>, offset: i64) -> fmt::Result {
    match at {
        None => {}
        Some(At::Start) => f.write_str(" @ start()")?,
        Some(At::End) => f.write_str(" @ end()")?,
        Some(At::Time(millis)) => {
            let sign = if millis < 0 { "-" } else { "" };
            let millis = millis.unsigned_abs();
            write!(f, " @ {sign}{}.{:03}", millis / 1_000, millis % 1_000)?;
        }
    }
    match offset {
        0 => Ok(()),
        offset => write!(f, " offset {}{}", if offset < 0 { "-" } else { "" }, duration(offset)),
    }
}

fn duration(millis: i64) -> String {
    crate::duration::format(Duration::from_millis(millis.unsigned_abs()))
}

/// A label name that is not of the classic form stands in quotes.
fn matcher_text(matcher: &Matcher) -> String {
    let name = label(&matcher.name);
    format!("{name}{}{}", matcher.op.symbol(), quote(&matcher.value))
}

fn label(name: &str) -> String {
    if is_label_name(name) { name.to_owned() } else { quote(name) }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.left, self.op.symbol())?;
        if self.returns_bool {
            f.write_str(" bool")?;
        }
        if let Some(matching) = &self.matching {
            write!(f, " {} ({})", if matching.on { "on" } else { "ignoring" }, labels(&matching.labels))?;
            if let Some(group) = &matching.group {
                let word = if group.side == Side::Left { "group_left" } else { "group_right" };
                write!(f, " {word} ({})", labels(&group.include))?;
            }
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
        match &self.parameter {
            Some(parameter) => write!(f, "({parameter}, {})", self.operand),
            None => write!(f, "({})", self.operand),
        }
    }
}

fn labels(names: &[String]) -> String {
    names.iter().map(|name| label(name)).collect::<Vec<_>>().join(", ")
}
