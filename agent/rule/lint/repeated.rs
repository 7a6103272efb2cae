//! What stands twice where once is the same: mostly one of the two was meant to be something else.

use super::{DUPLICATE_SELECTOR, Finding, walk};
use crate::promql::{Binary, BinaryOp, Expr, ExprKind, Selector};

pub fn find(expr: &Expr, findings: &mut Vec<Finding>) {
    walk(expr, &mut |expr| match &expr.kind {
        ExprKind::Selector(selector) => matcher(expr, selector, findings),
        ExprKind::Binary(binary) => side(expr, binary, findings),
        _ => {}
    });
}

fn matcher(expr: &Expr, selector: &Selector, findings: &mut Vec<Finding>) {
    let all = &selector.matchers;
    let twice = all.iter().enumerate().find(|(index, matcher)| all[..*index].contains(matcher));
    if let Some((_, matcher)) = twice {
        let message =
            format!("`{matcher}` stands twice in one selector: leave one out, or say what it was meant to be");
        findings.push(Finding::new(expr, DUPLICATE_SELECTOR, message));
    }
}

fn side(expr: &Expr, binary: &Binary, findings: &mut Vec<Finding>) {
    if matches!(binary.op, BinaryOp::And | BinaryOp::Or) && binary.left == binary.right {
        let message = format!("both sides of `{}` are the same: one of them would do", binary.op.symbol());
        findings.push(Finding::new(expr, DUPLICATE_SELECTOR, message));
    }
}
