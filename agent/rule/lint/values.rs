//! Label values that no configured target has.

use std::collections::BTreeSet;

use super::known::wants_value;
use super::producer::{Producers, Source};
use super::{Finding, UNKNOWN_VALUE, metric_name, walk};
use crate::config::words;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::{Expr, ExprKind};
use crate::target::task;

pub fn find(expr: &Expr, producers: Option<&Producers>, findings: &mut Vec<Finding>) {
    let Some(producers) = producers else { return };
    walk(expr, &mut |expr| {
        if let ExprKind::Selector(selector) = &expr.kind
            && let Some(name) = metric_name(selector)
            && let Some(sources) = producers.sources(name)
        {
            let matchers: Vec<&Matcher> = selector.matchers.iter().filter(|matcher| wants_value(matcher)).collect();
            findings.extend(unknown(name, &matchers, &sources).map(|text| Finding::new(expr, UNKNOWN_VALUE, text)));
        }
    });
}

/// Why none of these targets passes the matchers.
fn unknown(name: &str, matchers: &[&Matcher], sources: &[&Source]) -> Option<String> {
    let passes = |matcher: &Matcher, source: &Source| value(source, name, matcher).is_none_or(|v| matcher.matches(v));
    if sources.is_empty() {
        return None;
    }
    for matcher in matchers {
        if let Some(words) = vocabulary(name, matcher)
            && !words.iter().any(|word| matcher.matches(word))
        {
            let list = words::list(words);
            return Some(format!("`{name}` never has `{matcher}`, so nothing is selected: there are {list}"));
        }
        if !sources.iter().any(|source| passes(matcher, source)) {
            let what_there_is = alternatives(matcher, name, sources);
            return Some(format!(
                "no configured target with `{name}` has `{matcher}`, so nothing is selected: {what_there_is}"
            ));
        }
    }
    let all = sources.iter().any(|source| matchers.iter().all(|matcher| passes(matcher, source)));
    (!all).then(|| {
        let of_targets =
            matchers.iter().filter(|matcher| sources.iter().any(|source| value(source, name, matcher).is_some()));
        let shown: Vec<String> = of_targets.map(|matcher| format!("`{matcher}`")).collect();
        format!("no configured target with `{name}` has {}, so nothing is selected", shown.join(" and "))
    })
}

fn alternatives(matcher: &Matcher, name: &str, sources: &[&Source]) -> String {
    /// How many values are shown.
    const SHOWN: usize = 5;
    let values: BTreeSet<&str> = sources.iter().filter_map(|source| value(source, name, matcher)).collect();
    let values: Vec<&str> = values.into_iter().collect();
    let near = if matcher.op == MatchOp::Equal { words::nearest(&matcher.value, &values) } else { None };
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None if values.len() > SHOWN => {
            format!("there are {} and {} more", words::list(&values[..SHOWN]), values.len() - SHOWN)
        }
        None => format!("there is {}", words::list(&values)),
    }
}

/// What a target's configuration says that the label is; `None` where it says nothing of it.
fn value<'a>(source: &'a Source, name: &str, matcher: &Matcher) -> Option<&'a str> {
    if name == task::TARGET_UP.name && &*matcher.name == "kind" {
        return Some(source.kind);
    }
    source.labels.get(&*matcher.name).map(String::as_str)
}

/// Everything that a label of a verdict can be. Rules for each priority are meant, whichever the targets have today.
fn vocabulary(name: &str, matcher: &Matcher) -> Option<&'static [&'static str]> {
    match &*matcher.name {
        _ if name != task::TARGET_UP.name => None,
        "priority" => Some(&["P0", "P1", "P2", "P3"]),
        "scope" => Some(&["cluster", "node"]),
        _ => None,
    }
}
