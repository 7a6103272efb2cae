//! What a case needs that Watchkeeper leaves out, as a stock Prometheus 3.5 does: native histograms, experimental
//! functions and syntax, and what upstream's own runs switch on.

use watchkeeper::matcher::{MatchOp, Matcher};
use watchkeeper::promql::{Expr, ExprKind, Function, Selector};
use watchkeeper::sample::METRIC_NAME;

use crate::data::Data;
use crate::notation::Item;
use crate::script::{Eval, Expected};

/// Calls, aggregations and modifiers, by name, with what they belong to.
const NAMED: [(&str, &str); 6] = [
    (
        "experimental functions",
        "double_exponential_smoothing first_over_time histogram_quantiles info mad_over_time sort_by_label \
         sort_by_label_desc ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time start \
         end range step",
    ),
    ("experimental aggregations", "limitk limit_ratio"),
    ("native histograms", "histogram_avg histogram_count histogram_stddev histogram_stdvar histogram_sum"),
    ("extended range selectors (experimental)", "anchored smoothed"),
    ("fill modifiers (experimental)", "fill fill_left fill_right"),
    ("duration expressions (experimental)", "min max"),
];

/// What an expression names that our parser refuses. The names of metrics and labels in braces do not count.
pub fn named(text: &str) -> Option<String> {
    let bare = bare(text);
    let bare = bare.to_ascii_lowercase();
    let words: Vec<&str> = bare.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').collect();
    let mut found =
        NAMED[..5].iter().flat_map(|(feature, names)| names.split_whitespace().map(move |name| (*feature, name)));
    let hit = found.find(|(_, name)| words.contains(name));
    let hit = hit.map(|(feature, name)| format!("{feature}: {name}"));
    hit.or_else(|| calculates_a_duration(&bare).then(|| NAMED[5].0.to_owned())).or_else(|| trims(&bare))
}

/// The text without strings and without what stands in braces.
fn bare(text: &str) -> String {
    let (mut bare, mut quote, mut braces, mut chars) = (String::new(), None, 0, text.chars());
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', Some('"' | '\'')) => drop(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'' | '`', None) => quote = Some(c),
            ('{', None) => braces += 1,
            ('}', None) => braces -= 1,
            (c, None) if braces == 0 => bare.push(c),
            _ => {}
        }
    }
    bare
}

/// `[5m * 2]`, `offset (1h / 2)`, `[min(1m, step())]`.
fn calculates_a_duration(bare: &str) -> bool {
    let in_brackets = bare.split('[').skip(1).filter_map(|after| after.split(']').next());
    let after_offset = bare.split("offset").skip(1).map(|after| after.trim_start().trim_start_matches(['-', '+', ' ']));
    let plain = |c: char| c.is_alphanumeric() || ".:_ ".contains(c);
    in_brackets.into_iter().any(|inside| !inside.chars().all(plain) || inside.contains("step"))
        || after_offset.into_iter().any(|after| after.starts_with(['(', 's', 'r']) || after.starts_with("m"))
}

/// `</` and `>/` cut native histograms.
fn trims(bare: &str) -> Option<String> {
    (bare.contains("</") || bare.contains(">/")).then(|| "native histograms: </ and >/".to_owned())
}

/// What the expression reads, or what is expected of it, that Watchkeeper does not hold.
pub fn selected(eval: &Eval, expr: &Expr, data: &Data) -> Option<String> {
    let histogram = |selector: &&Selector| data.has_histograms(&selector.matchers);
    let expects = match &eval.expected {
        Expected::Series(series) => series.iter().any(|(_, items)| items.contains(&Item::Histogram)),
        _ => false,
    };
    let read = expr.reads().iter().map(|read| read.selector).find(histogram).map(|selector| {
        format!("native histograms: {}", selector.matchers.iter().map(Matcher::to_string).collect::<Vec<_>>().join(","))
    });
    read.or_else(|| expects.then(|| "native histograms: in the answer".to_owned()))
}

/// What may make the expected answer another than ours: upstream runs with flags that a stock Prometheus has off.
pub fn of_the_answer(eval: &Eval, expr: &Expr, data: &Data) -> Option<String> {
    let reads = |has: &dyn Fn(&[Matcher]) -> bool| expr.reads().iter().any(|read| has(&read.selector.matchers));
    let counts = |expr: &Expr| match &expr.kind {
        ExprKind::Call(call) => {
            matches!(call.function, Function::Rate | Function::Irate | Function::Increase | Function::Resets)
        }
        _ => false,
    };
    if any(expr, &counts) && reads(&|matchers| data.has_start_timestamps(matchers)) {
        return Some("start timestamps (flag)".to_owned());
    }
    let several = reads(&|matchers| data.names(matchers) > 1);
    // They go with the name.
    let typed = reads(&|matchers| data.has_type_and_unit(matchers));
    (drops_names(expr) && (several || (typed && matches_labels(expr)) || shows_names(eval, expr)))
        .then(|| "delayed removal of __name__ (flag)".to_owned())
}

/// Whether something in the expression takes metric names off.
fn drops_names(expr: &Expr) -> bool {
    let keeps = [Function::LabelReplace, Function::LabelJoin, Function::LastOverTime, Function::Scalar];
    any(expr, &|expr| match &expr.kind {
        ExprKind::Unary { negative, .. } => *negative,
        ExprKind::Call(call) => !keeps.contains(&call.function),
        ExprKind::Binary(binary) => !binary.op.is_set() && (!binary.op.is_comparison() || binary.returns_bool),
        _ => false,
    })
}

/// Whether an operator in the expression matches samples by their labels.
fn matches_labels(expr: &Expr) -> bool {
    any(expr, &|expr| matches!(&expr.kind, ExprKind::Binary(binary) if binary.op.is_set()))
}

/// Whether something in the expression, or its answer, tells whether a name is there.
fn shows_names(eval: &Eval, expr: &Expr) -> bool {
    let name = |label: &String| label == METRIC_NAME;
    let shown = any(expr, &|expr| match &expr.kind {
        ExprKind::String(text) => text == METRIC_NAME,
        ExprKind::Aggregate(aggregate) => aggregate.grouping.iter().any(|by| by.labels.iter().any(name)),
        ExprKind::Binary(binary) => binary.matching.iter().any(|matching| matching.labels.iter().any(name)),
        ExprKind::Selector(selector) => {
            selector.matchers.iter().any(|m| &*m.name == METRIC_NAME && m.op == MatchOp::Regex)
        }
        _ => false,
    });
    let expected = match &eval.expected {
        Expected::Series(series) => series.iter().any(|(labels, _)| !labels.metric_name().is_empty()),
        _ => false,
    };
    shown || (expected && any(expr, &|expr| matches!(&expr.kind, ExprKind::Subquery(_))))
}

/// Whether it holds for a node of the tree.
pub fn any(expr: &Expr, holds: &dyn Fn(&Expr) -> bool) -> bool {
    holds(expr)
        || match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) => false,
            ExprKind::Subquery(subquery) => any(&subquery.operand, holds),
            ExprKind::Paren(inner) | ExprKind::Unary { operand: inner, .. } => any(inner, holds),
            ExprKind::Binary(binary) => any(&binary.left, holds) || any(&binary.right, holds),
            ExprKind::Aggregate(aggregate) => {
                aggregate.parameter.iter().any(|parameter| any(parameter, holds)) || any(&aggregate.operand, holds)
            }
            ExprKind::Call(call) => call.arguments.iter().any(|argument| any(argument, holds)),
        }
}
