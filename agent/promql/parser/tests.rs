use super::*;

/// An expression written back with every operator's operands in parentheses.
fn grouped(text: &str) -> String {
    fn walk(expr: &Expr) -> String {
        match &expr.kind {
            ExprKind::Binary(b) => format!("[{} {} {}]", walk(&b.left), b.op.symbol(), walk(&b.right)),
            ExprKind::Unary { operand, .. } => format!("-{}", walk(operand)),
            ExprKind::Paren(inner) => walk(inner),
            _ => expr.to_string(),
        }
    }
    walk(&parse(text).unwrap())
}

#[test]
fn operators_bind_as_in_prometheus() {
    assert_eq!(grouped("a + b * c"), "[a + [b * c]]");
    assert_eq!(grouped("a - b - c"), "[[a - b] - c]");
    assert_eq!(grouped("a ^ b ^ c"), "[a ^ [b ^ c]]");
    assert_eq!(grouped("-a ^ b"), "-[a ^ b]");
    assert_eq!(grouped("-a * b"), "[-a * b]");
    assert_eq!(grouped("a == b + c and d or e unless f"), "[[[a == [b + c]] and d] or [e unless f]]");
    assert_eq!(grouped("a AND b Or c"), "[[a and b] or c]");
}

#[test]
fn every_node_knows_where_it_stands() {
    let expr = parse(" sum by (a) (b{c=\"d\"}) > 1 ").unwrap();
    assert_eq!(expr.span, 1..26);
    let ExprKind::Binary(binary) = expr.kind else { panic!("a comparison") };
    assert_eq!((binary.left.span.clone(), binary.right.span.clone()), (1..22, 25..26));
    let ExprKind::Aggregate(aggregate) = binary.left.kind else { panic!("an aggregation") };
    assert_eq!(aggregate.operand.span, 13..21);
}

#[test]
fn what_is_written_is_canonical() {
    for (text, canonical) in [
        ("sum(a)by(b,c,)", "sum by (b, c) (a)"),
        ("{__name__=\"a\",b!='c'}", "a{b!=\"c\"}"),
        ("{\"my.metric\", \"my.label\"=~\"x\"}", "{__name__=\"my.metric\", \"my.label\"=~\"x\"}"),
        ("a==bool on(b)c", "a == bool on (b) c"),
        ("count", "count"),
        ("sum{by=\"x\"}", "sum{by=\"x\"}"),
        ("- 1 + Inf", "-1 + Inf"),
        ("absent ( a ) or time() * vec", "absent(a) or time() * vec"),
    ] {
        let expr = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(expr.to_string(), canonical);
        assert_eq!(parse(canonical).unwrap(), expr, "{canonical}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, message, span) in [
        ("", "no expression found", 0..0),
        ("a +", "unexpected end of input: an operand was expected", 3..3),
        ("a b", "unexpected \"b\": an operator was expected", 2..3),
        ("(a", "unexpected end of input: \")\" was expected to close the parenthesis", 2..2),
        ("a{b}", "unexpected \"}\": one of =, !=, =~, !~ was expected", 3..4),
        ("a{b=c}", "unexpected \"c\": a quoted value was expected", 4..5),
        ("a{b=\"c\" d=\"e\"}", "unexpected \"d\": a comma or } was expected", 8..9),
        ("{}", "vector selector must contain at least one non-empty matcher", 0..2),
        ("{a=~\".*\"}", "vector selector must contain at least one non-empty matcher", 0..9),
        ("a{__name__=\"b\"}", "metric name must not be set twice", 2..10),
        ("1 == 2", "comparisons between scalars must use bool modifier", 2..4),
        ("1 and a", "set operator \"and\" not allowed in binary scalar expression", 2..5),
        ("a + on(b) 1", "vector matching only allowed between instant vectors", 2..3),
        ("a + bool b", "bool modifier can only be used on comparison operators", 4..8),
        ("\"a\" + 1", "binary expression must contain only scalar and instant vector types", 0..3),
        ("-\"a\"", "unary expression only allowed on expressions of type scalar or instant vector, got string", 0..1),
        ("sum(1)", "expected type instant vector in aggregation expression, got scalar", 4..5),
        ("absent(1)", "expected type instant vector in call to function \"absent\", got scalar", 7..8),
        ("time(a)", "expected 0 argument(s) in call to \"time\", got 1", 0..7),
        ("abset(a)", "unknown function with name \"abset\": did you mean \"absent\"?", 0..5),
        ("and", "unexpected \"and\": an operand was expected", 0..3),
        ("a = 1", "unexpected \"=\": compare with ==", 2..3),
        ("a{b=~\"(\"}", "invalid regular expression \"(\": unclosed group", 2..8),
    ] {
        let found = parse(text).expect_err(text);
        assert_eq!((found.message.as_str(), found.span), (message, span), "{text}");
    }
}

#[test]
fn what_prometheus_knows_and_this_version_does_not_is_refused_by_name() {
    for (text, what) in [
        ("rate(a[5m])", "the function rate is"),
        ("a[5m]", "ranges such as x[5m] and subqueries are"),
        ("a offset 5m", "the modifier offset is"),
        ("a @ 5", "the modifier @ is"),
        ("topk(5, a)", "the aggregation topk is"),
        ("a * on(b) group_left c", "group_left and group_right are"),
        ("a atan2 b", "the operator atan2 is"),
        ("{a=\"b\" or c=\"d\"}", "or between label matchers is"),
    ] {
        assert_eq!(parse(text).expect_err(text).message, format!("{what} not supported by this version"));
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(parse(&deep).unwrap_err().message.contains("nests deeper"));
    assert!(parse(&"-".repeat(10_000)).is_err());
    let wide = vec!["a"; 1_000].join(" + ");
    assert!(parse(&wide).is_ok(), "width is not depth");
}
