//! Canonical PromQL, as Prometheus 3.5 writes it, but so that it is always read back as the same tree: names in lists
//! of labels are quoted where they must be, `ignoring ()` stays before `group_left`, and infinity has no sign.

use std::fmt;
use std::time::Duration;

use super::{
    Aggregate, At, Binary, Expr, ExprKind, Selector, Side, Subquery, is_grouping_label, is_label_name, is_metric_name,
};
use crate::float;
use crate::matcher::{MatchOp, Matcher, quote};
use crate::promql::names::Names;
use crate::sample::METRIC_NAME;

/// Words that are not read as a metric's name.
const RESERVED: [&str; 8] = ["atan2", "on", "ignoring", "group_left", "group_right", "bool", "inf", "nan"];

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
        value => float::plain(value),
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = bare_name(&self.matchers);
        let others = self.matchers.iter().enumerate().filter(|(place, _)| Some(*place) != name);
        let mut others: Vec<String> = others.map(|(_, matcher)| matcher_text(matcher)).collect();
        others.sort();
        f.write_str(name.map_or("", |place| &self.matchers[place].value))?;
        if !others.is_empty() || name.is_none() {
            write!(f, "{{{}}}", others.join(","))?;
        }
        if let Some(range) = self.range {
            write!(f, "[{}]", duration(range))?;
        }
        modifiers(f, self.at, self.offset)
    }
}

/// Which matcher is written as a name before the braces, where none within may be on the name.
fn bare_name(matchers: &[Matcher]) -> Option<usize> {
    let mut names = matchers.iter().enumerate().filter(|(_, matcher)| &*matcher.name == METRIC_NAME);
    let (place, matcher) = names.next().filter(|_| names.next().is_none())?;
    let is_reserved = RESERVED.iter().any(|word| matcher.value.eq_ignore_ascii_case(word));
    (matcher.op == MatchOp::Equal && is_metric_name(&matcher.value) && !is_reserved).then_some(place)
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

/// Years, weeks and days stand alone or not at all, as Prometheus writes them: `1w`, but `8d`.
fn duration(millis: i64) -> String {
    const DAY: u64 = 86_400_000;
    match millis.unsigned_abs() {
        0 => "0s".to_owned(),
        millis if millis % (365 * DAY) == 0 => format!("{}y", millis / (365 * DAY)),
        millis if millis % (7 * DAY) == 0 => format!("{}w", millis / (7 * DAY)),
        millis => crate::duration::format(Duration::from_millis(millis)),
    }
}

/// The matchers in one order, whatever theirs is.
pub fn in_order(matchers: &[Matcher]) -> Vec<&Matcher> {
    let mut ordered: Vec<&Matcher> = matchers.iter().collect();
    ordered.sort_by(|a, b| (&a.name, a.op.symbol(), &a.value).cmp(&(&b.name, b.op.symbol(), &b.value)));
    ordered
}

/// A label name that is not of the classic form stands in quotes.
fn matcher_text(matcher: &Matcher) -> String {
    let name = if is_label_name(&matcher.name) { matcher.name.to_string() } else { quote(&matcher.name) };
    format!("{name}{}{}", matcher.op.symbol(), quote(&matcher.value))
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

fn labels(names: &Names) -> String {
    let label = |name: &String| if is_grouping_label(name) { name.clone() } else { quote(name) };
    names.iter().map(label).collect::<Vec<_>>().join(", ")
}
