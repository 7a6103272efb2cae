//! What is accepted, what is written back, and what must not break the parser.

use proptest::prelude::*;

use crate::promql::parse;

/// Expressions of this version's language, as text.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "a",
            "b{c=\"d\"}",
            "{e=~\"f|g\",h!=\"\"}",
            "up:sum",
            "rate(a[5m])",
            "max_over_time(b{c=\"d\"}[1h30m] offset -5m)",
            "e offset 1d",
            "label_replace(a, \"x\", \"$1\", \"y\", \"(.*)\")",
            "label_join(a, \"x\", \"-\", \"y\", \"z\")",
            "round(a, 0.5)",
            "minute()",
            "time()",
            "1",
            "2.5",
            "1e3",
            "Inf",
            "rate(a[1h:5m] @ end())",
            "a @ 5 offset 1m",
            "max_over_time(rate(b[5m])[1w:] offset 1d)"
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,3}_m".prop_map(|name| format!("{name}{{x!~\"y.+\"}}")),
    ];
    leaf.prop_recursive(5, 40, 2, |inner| {
        let ops = ["+", "-", "*", "/", "%", "^", "== bool", ">", "<= on (a)", "and", "or ignoring (b, c)", "unless"];
        let joins = ["* on (a) group_left", "== bool ignoring (b) group_right (c)", "> on (a, b) group_left (c, d)"];
        let sums = ["sum", "min by (a)", "max without (b, c)", "avg", "count", "absent", "group", "stdvar by (x)"];
        let functions = ["abs", "clamp_min", "histogram_quantile", "rate", "timestamp", "scalar", "vector", "hour"];
        let ranked = ["topk", "bottomk by (a)", "quantile without (b)", "count_values"];
        prop_oneof![
            (inner.clone(), prop::sample::select(joins.to_vec()), inner.clone())
                .prop_map(|(l, op, r)| format!("{l} {op} ({r})")),
            (prop::sample::select(functions.to_vec()), inner.clone()).prop_map(|(name, a)| format!("{name}({a})")),
            (prop::sample::select(functions.to_vec()), inner.clone(), inner.clone())
                .prop_map(|(name, a, b)| format!("{name}({a}, {b})")),
            (prop::sample::select(ranked.to_vec()), prop::sample::select(vec!["3", "a", "\"v\""]), inner.clone())
                .prop_map(|(op, parameter, operand)| format!("{op}({parameter}, {operand})")),
            (
                inner.clone(),
                prop::sample::select(vec![
                    "[5m]",
                    "[1h30m]",
                    " offset 5m",
                    "[90s] offset -1h",
                    "[1h:5m]",
                    "[1d:]",
                    " @ 5",
                    "[7d] @ start()"
                ])
            )
                .prop_map(|(operand, suffix)| format!("{operand}{suffix}")),
            (inner.clone(), prop::sample::select(ops.to_vec()), inner.clone())
                .prop_map(|(l, op, r)| format!("{l} {op} {r}")),
            (prop::sample::select(sums.to_vec()), inner.clone()).prop_map(|(op, operand)| format!("{op}({operand})")),
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.prop_map(|inner| format!("-{inner}")),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_back_is_the_same_tree(text in expression()) {
        if let Ok(expr) = parse(&text) {
            let written = expr.to_string();
            prop_assert_eq!(parse(&written).expect(&written), expr);
        }
    }

    /// Known differences: the other parser allows a sign before a string, which is not generated here.
    #[test]
    fn another_parser_accepts_and_refuses_the_same(text in expression()) {
        let (ours, theirs) = (parse(&text), promql_parser::parser::parse(&text));
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}: {:?} / {:?}", text, ours.err(), theirs.err());
    }

    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,60}") {
        drop(parse(&text));
    }

    #[test]
    fn no_sequence_of_tokens_breaks_the_parser(words in prop::collection::vec(
        prop::sample::select(vec!["(", ")", "{", "}", ",", "a", "sum", "by", "on", "-", "+", "and", "1", "\"x\"", "=", "==", "[", "]", ":", "@", "bool", "5m", "offset", "group_left", "topk", "rate"]), 0..30)
    ) {
        drop(parse(&words.join(" ")));
    }
}
