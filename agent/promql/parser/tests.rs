use super::*;
use crate::promql::parse;

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
        ("{\"my.metric\", \"my.label\"=~\"x\"}", "{\"my.label\"=~\"x\",__name__=\"my.metric\"}"),
        ("a==bool on(b)c", "a == bool on (b) c"),
        ("count", "count"),
        ("sum{by=\"x\"}", "sum{by=\"x\"}"),
        ("- 1 + Inf", "-1 + Inf"),
        ("absent ( a ) or time() * vec", "absent(a) or time() * vec"),
        ("rate(a{b='c'} [ 300 ] Offset -90s)", "rate(a{b=\"c\"}[5m] offset -1m30s)"),
        ("a offset 0 + rate(a[+1.5]offset+1h30m)", "a + rate(a[1s500ms] offset 1h30m)"),
        (
            "a * on(b) group_left c / ignoring(d) group_right(e,) f",
            "a * on (b) group_left () c / ignoring (d) group_right (e) f",
        ),
        (
            "topk by(a)(1+1,b) or count_values(\"c\",d)without(e)",
            "topk by (a) (1 + 1, b) or count_values without (e) (\"c\", d)",
        ),
        (
            "sum by(offset,on,bool,and)(by{on='x',offset='y'})",
            "sum by (offset, on, bool, and) (by{offset=\"y\",on=\"x\"})",
        ),
        ("offset offset 5m and and", "offset offset 5m and and"),
        ("rate ( a [ 1h : ] )", "rate(a[1h:])"),
        ("rate(a[5m])[1h:5m]offset-1m @end()", "rate(a[5m])[1h:5m] @ end() offset -1m"),
        ("a @ start() [5m]", "a[5m] @ start()"),
        ("a offset 0s [1h:.5]", "a[1h:500ms]"),
        ("a @ -1.0005 offset 5m [1h:]", "a @ -1.001 offset 5m[1h:]"),
        ("a[5m] @ 5m", "a[5m] @ 300.000"),
        ("a offset 0s offset 5m", "a offset 5m"),
        ("a[7d:8d] offset 365d", "a[1w:8d] offset 1y"),
        ("a{d='1',c='2',c='1'}", "a{c=\"1\",c=\"2\",d=\"1\"}"),
        ("sum by () (a atan2 ignoring() b)", "sum(a atan2 b)"),
        ("1 + on() a", "1 + a"),
        ("{__name__='a',__name__=~'b'}", "{__name__=\"a\",__name__=~\"b\"}"),
        ("{__name__='on',inf='x'}", "{__name__=\"on\",inf=\"x\"}"),
        ("sum by ('without', a:b, 'c d') (a)", "sum by (\"without\", a:b, \"c d\") (a)"),
        ("a offset --5m", "a offset 5m"),
        ("a + on() b", "a + on () b"),
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
        ("on", "unexpected \"on\": an operand was expected", 0..2),
        ("and(a)", "unexpected \"and\": an operand was expected", 0..3),
        (
            "-a[5m]",
            "unary expression only allowed on expressions of type scalar or instant vector, got range vector",
            0..1,
        ),
        ("a[5m] + 1", "binary expression must contain only scalar and instant vector types", 0..5),
        ("rate(a)", "expected type range vector in call to function \"rate\", got instant vector", 5..6),
        ("sum(a[5m])", "expected type instant vector in aggregation expression, got range vector", 4..9),
        ("a[0]", "duration must be greater than 0 (and at least one millisecond)", 2..3),
        ("a[-5m]", "duration must be greater than 0 (and at least one millisecond)", 2..5),
        ("a[b]", "unexpected \"b\": a number or duration was expected in the range", 2..3),
        ("a[5m", "unexpected end of input: \"]\" was expected to close the range", 4..4),
        ("a[5m][5m]", "ranges only allowed for vector selectors", 5..9),
        ("sum(a)[5m]", "ranges only allowed for vector selectors", 6..10),
        ("a offset 1h[5m]", "no offset modifiers allowed before range", 11..15),
        ("a offset b", "unexpected \"b\": a number or duration was expected as the offset", 9..10),
        ("a offset 5m offset 5m", "offset may not be set multiple times", 12..18),
        ("a offset 9223372037", "duration out of range", 9..19),
        ("a[292y24w3d23h47m17s]", "duration out of range", 2..20),
        ("a[300y]", "duration out of range", 2..6),
        (
            "sum(a) offset 5m",
            "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            7..13,
        ),
        ("a * on(b) group_left(b) c", "label \"b\" must not occur in ON and GROUP clause at once", 2..3),
        ("a and on(b) group_left c", "no grouping allowed for \"and\" operation", 2..5),
        ("a * group_left(b) c", "unexpected \"group_left\": an operand was expected", 4..14),
        ("topk(a)", "wrong number of arguments for aggregation topk, expected 2, got 1", 0..7),
        ("sum(3, a)", "wrong number of arguments for aggregation sum, expected 1, got 2", 0..9),
        ("topk(a, b)", "expected type scalar in aggregation parameter, got instant vector", 5..6),
        ("count_values(3, a)", "expected type string in aggregation parameter, got scalar", 13..14),
        ("count_values(\"\", a)", "invalid label name: it is empty", 13..15),
        ("round(a, 1, 2)", "expected at most 2 argument(s) in call to \"round\", got 3", 0..14),
        ("rate(a[5m],)", "trailing commas not allowed in function call args", 11..12),
        ("sum by (inf) (a)", "unexpected \"inf\": a label name was expected", 8..11),
        (
            "label_replace(a, \"\", \"b\", \"c\", \"d\")",
            "invalid destination label name in label_replace(): it is empty",
            17..19,
        ),
        ("label_replace(a, \"b\", \"c\", \"d\", \"(\")", "invalid regular expression \"(\": unclosed group", 32..35),
        (
            "{a=\"b\" or c=\"d\"}",
            "\"or\" between label matchers is not PromQL: write a regular expression, or two selectors",
            7..9,
        ),
        ("a @ 5 @ start()", "@ <timestamp> may not be set multiple times", 6..7),
        ("a @ 5 [5m]", "no @ modifiers allowed before range", 6..10),
        ("a @ b", "unexpected \"b\": a time in seconds, start() or end() was expected after @", 4..5),
        ("a @ 1e20", "timestamp out of bounds for @ modifier: 100000000000000000000", 4..8),
        ("(a[5m])[1h:]", "subquery is only allowed on instant vector, got range vector instead", 0..7),
        ("a[1h:0]", "duration must be greater than 0 (and at least one millisecond)", 5..6),
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
        ("a[5m * 2]", "arithmetic on durations (an experiment of Prometheus's) is"),
        ("a offset (5m)", "arithmetic on durations (an experiment of Prometheus's) is"),
        ("limitk(5, a)", "the aggregation limitk is"),
        ("histogram_count(a)", "the function histogram_count is"),
    ] {
        assert_eq!(parse(text).expect_err(text).message, format!("{what} not supported by this version"));
    }
}

#[test]
fn an_expression_knows_how_far_it_looks_back() {
    const MINUTE: i64 = 60_000;
    for (text, reach) in [
        ("1 + time()", 0),
        ("a", 5 * MINUTE),
        ("a offset 1h + rate(b[10m])", 65 * MINUTE),
        ("sum(rate(a[10m] offset 1h)) > topk(scalar(c offset 2h), b)", 125 * MINUTE),
        ("a offset -4m", MINUTE),
        ("rate(a[5m] offset -1h)", 0),
    ] {
        let reaches = parse(text).unwrap().reads().iter().map(|read| read.reach).max();
        assert_eq!(reaches.unwrap_or(0), reach, "{text}");
    }
    let expr = parse("rate(a[10m] offset 1h) / b offset -1m").unwrap();
    let selectors: Vec<_> =
        expr.reads().into_iter().map(|found| (found.selector.range, found.selector.offset)).collect();
    assert_eq!(selectors, [(Some(10 * MINUTE), 60 * MINUTE), (None, -MINUTE)]);
}

#[test]
fn nesting_is_bounded() {
    let deep = format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(parse(&deep).unwrap_err().message.contains("nests deeper"));
    assert!(parse(&"-".repeat(10_000)).is_err());
    let wide = vec!["a"; 1_000].join(" + ");
    assert!(parse(&wide).is_ok(), "width is not depth");
    let chain = vec!["a"; 2_002].join(" + ");
    assert!(parse(&chain).unwrap_err().message.contains("more than 2000 operators"));
}
