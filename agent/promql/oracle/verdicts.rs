//! What Prometheus accepts, and what it writes back (tests/promql/syntax_cases.py).

use serde::Deserialize;

use crate::promql::function::OTHER_FUNCTIONS;
use crate::promql::parse;

#[derive(Deserialize)]
struct Recorded {
    /// A text, and what Prometheus writes back; nothing where it refuses.
    cases: Vec<(String, Option<String>)>,
}

/// What Prometheus accepts and we do not, each with the words of our refusal.
const REFUSED: &[(&str, &str)] = &[
    ("bytes that are not UTF-8", "samples and labels are UTF-8 here"),
    ("at least one millisecond", "time is counted in milliseconds; Prometheus's window of less is always empty"),
    ("invalid label name", "Prometheus says so at each evaluation"),
    ("invalid destination label name", "Prometheus says so at each evaluation"),
    ("invalid source label name", "Prometheus says so at each evaluation"),
    ("invalid regular expression", "Prometheus says so at each evaluation, of label_replace"),
];

fn is_meant(message: &str) -> bool {
    let by_name = |name: &str| message == format!("the function {name} is not supported by this version");
    REFUSED.iter().any(|(words, _)| message.contains(words)) || OTHER_FUNCTIONS.split_whitespace().any(by_name)
}

/// Texts that differ on purpose: a name in braces (ours goes before them), durations as numbers (ours are seconds),
/// infinity (ours has no sign), what 3.5 writes so that it cannot be read back (`on (x.y)`, a lost group), times
/// beyond 64 bits, long expressions (Prometheus breaks lines), and what it escapes that need not be.
fn is_written_alike(text: &str, theirs: &str) -> bool {
    let ours = parse(text).map(|expr| expr.to_string()).unwrap_or_default();
    let other = ["__name__", "Inf", "group_", "\"x.y\"", "\"z.w\"", "@ -9223372036854776", "@ 9223372036854774", "\\"];
    let durations = text.split(|c: char| !(c.is_alphanumeric() || c == '.')).filter(|word| {
        word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(|c: char| "smhdwy".contains(c))
    });
    ours == theirs
        || theirs.contains('\n')
        || durations.count() > 0
        || other.iter().any(|words| theirs.contains(words) || ours.contains(words) || text.contains(words))
}

fn difference(text: &str, theirs: Option<&str>) -> Option<String> {
    match (parse(text), theirs) {
        (Err(_), None) => None,
        (Err(error), Some(_)) if is_meant(&error.message) => None,
        (Ok(ours), Some(theirs)) if is_written_alike(text, theirs) => {
            let again = parse(&ours.to_string()).is_ok_and(|again| crate::fuzz::same(&again, &ours));
            (!again).then(|| format!("{text:?}: written as {ours}, which is another"))
        }
        (ours, theirs) => Some(format!("{text:?}: {:?} instead of {theirs:?}", ours.map(|expr| expr.to_string()))),
    }
}

#[test]
fn thousands_of_texts_are_accepted_refused_and_written_as_by_prometheus() {
    let recorded: Recorded = serde_json::from_str(include_str!("../../../tests/promql/syntax.json")).unwrap();
    assert!(recorded.cases.len() >= 5_000);
    let wrong: Vec<String> =
        recorded.cases.iter().filter_map(|(text, theirs)| difference(text, theirs.as_deref())).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), recorded.cases.len(), wrong.join("\n"));
}

/// The corpus stands outside of the repository; without it there is nothing to read.
#[test]
fn every_expression_found_in_the_wild_is_read_and_written_back() {
    let Ok(wild) = std::fs::read_to_string("../shared/promql/wild-exprs.txt") else { return };
    for line in wild.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let text = line.split('\t').next().unwrap_or_default();
        let expr = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parse(&expr.to_string()).as_ref(), Ok(&expr), "{text}");
    }
}

#[test]
fn mutated_expressions_never_break_the_parser() {
    let seeds = [
        "sum by (a, \"b.c\") (rate(a{b=\"c\"}[5m])) > bool on (x) group_left (y) 0.5",
        "max_over_time(rate(a[5m])[1h:5m] @ end() offset -1h) unless {\"m.n\", x=~'y|z'}",
        "label_replace(topk(3, -a ^ 2) by (b), \"x\", \"$1\", `y`, \"(.*)\") atan2 1h30m",
        "a @ 1.5 offset 5m + count_values without () (\"v\", b) # c\n == 0x1F",
    ];
    let tokens = [
        "(", ")", "[1h:]", "[", "]", "{", "}", ":", "@", "start()", "offset", "-", "1e", "0x", "\\xff", "\"", "é",
        "inf", "by", "on",
    ];
    crate::fuzz::texts(4_000, &seeds, &tokens, |text| drop(crate::fuzz::syntax(text)));
}
