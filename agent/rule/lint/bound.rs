//! Bounds of histograms and summaries that are written as no series has them.

use super::{Finding, UNNORMALIZED_BOUND, metric_name, walk};
use crate::export::parse::bound;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::{Expr, ExprKind};

pub fn find(expr: &Expr, findings: &mut Vec<Finding>) {
    walk(expr, &mut |expr| {
        if let ExprKind::Selector(selector) = &expr.kind {
            let name = metric_name(selector).unwrap_or_default();
            let wrong = selector.matchers.iter().filter_map(|matcher| misspelt(name, matcher));
            findings.extend(wrong.map(|message| Finding::new(expr, UNNORMALIZED_BOUND, message)));
        }
    });
}

fn misspelt(name: &str, matcher: &Matcher) -> Option<String> {
    // What rules record may have such a label of any form.
    let is_bound = match &*matcher.name {
        "le" => name.ends_with("_bucket"),
        "quantile" => true,
        _ => false,
    };
    if !is_bound || name.contains(':') {
        return None;
    }
    let kept = |text: &str| bound::canonical(text.into()).into_owned();
    let right = match matcher.op {
        MatchOp::Equal => kept(&matcher.value),
        MatchOp::Regex => matcher.value.split('|').map(|text| alternative(text, matcher)).collect::<Vec<_>>().join("|"),
        MatchOp::NotEqual | MatchOp::NotRegex => return None,
    };
    (*right != *matcher.value).then(|| {
        let right = Matcher::new(&matcher.name, matcher.op, &right).map_or(right, |right| right.to_string());
        format!(
            "a bound is kept as a float, as by Prometheus 3, whatever the page says, so `{matcher}` selects nothing: use \
             `{right}`"
        )
    })
}

/// An alternative of a pattern, which is a plain number and nothing else, as it would match; any other as it stands,
/// and one whose right form the pattern matches elsewhere.
fn alternative(text: &str, matcher: &Matcher) -> String {
    let plain = text.replace("\\.", ".");
    let is_number = !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let kept = bound::canonical(plain.as_str().into());
    match is_number && kept != plain && !matcher.matches(&kept) {
        true => kept.replace('.', "\\.").replace('+', "\\+"),
        false => text.to_owned(),
    }
}
