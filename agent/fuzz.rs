//! Fuzzing, as plain functions: a seeded loop of each runs with the tests, a longer one where `WATCHKEEPER_FUZZ_CASES`
//! asks for it, and `tests/fuzz/` gives them to cargo-fuzz. Not in the built agent.

use std::collections::BTreeMap;
#[cfg(test)]
use std::iter;

use crate::export::parse::{Dialect, Entry, Limits, entries};
use crate::matcher::Matcher;
use crate::promql::{self, Expr, Point, Select, Settings, Steps, Visit};
use crate::rule::template::{Data, Template};
use crate::rule::{self, unit_test};
use crate::sample::{Labels, Sample, Timestamp, is_stale, stale_marker};

/// Any text is an expression that can be evaluated, or is refused: see [`syntax`].
pub fn expression(text: &str) {
    let Some(expr) = syntax(text) else { return };
    let settings = Settings { samples: 20_000, ..Settings::default() };
    let _ = promql::evaluate(&expr, &Few, 600_000, &settings);
    let steps = Steps { from: 540_000, to: 600_000, step: 30_000 };
    let _ = promql::evaluate_range(&expr, &Few, &steps, &settings);
}

/// Any text is an expression, which is written as what is read again as the same tree, or is refused at a place inside of
/// it.
pub fn syntax(text: &str) -> Option<Expr> {
    match promql::parse(text) {
        Ok(expr) => {
            let written = expr.to_string();
            assert!(promql::parse(&written).is_ok_and(|read| same(&read, &expr)), "{written:?} is not read back");
            Some(expr)
        }
        Err(error) => {
            assert!(!error.message.is_empty());
            assert!(text.get(error.span.clone()).is_some(), "{:?} is not within the text", error.span);
            None
        }
    }
}

/// NaN is not itself.
pub(crate) fn same(one: &Expr, other: &Expr) -> bool {
    one == other || format!("{:?}", one.kind).contains("NaN")
}

/// A few series with a gap, a stale marker, a reset, NaN and infinities, each a minute for ten minutes.
struct Few;

impl Few {
    fn series() -> impl Iterator<Item = (Labels, Vec<Point>)> {
        let values = [1.0, 2.0, f64::NAN, stale_marker(), 5.0, 0.5, f64::INFINITY, -3.0, 1e300, 7.0];
        (0..6_usize).map(move |index| {
            let pairs = [("__name__", ["a", "b"][index % 2]), ("c", ["d", "e", "f"][index / 2]), ("le", "0.5")];
            let kept = |minute: &usize| !(minute + index).is_multiple_of(4);
            let point =
                |minute: usize| Point { at: minute as i64 * 60_000, value: values[(minute + index) % values.len()] };
            (Labels::new(pairs), (0..=10).filter(kept).map(point).collect())
        })
    }
}

impl Select for Few {
    fn instant(&self, matchers: &[Matcher], at: Timestamp, lookback: i64) -> Vec<Sample> {
        let mut found = Vec::new();
        self.range(matchers, at.saturating_sub(lookback), at, &mut |labels, points| {
            let last = points.last().filter(|point| !is_stale(point.value));
            found.extend(last.map(|point| Sample { labels: labels.clone(), value: point.value }));
        });
        found
    }

    fn range(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp, visit: &mut Visit<'_>) {
        for (labels, mut points) in Few::series() {
            points.retain(|point| after < point.at && point.at <= until);
            if !points.is_empty() && matchers.iter().all(|matcher| matcher.matches_labels(&labels)) {
                visit(&labels, &points);
            }
        }
    }
}

/// Any text is a rule file, or is refused with its problems in order.
pub fn rule_file(text: &str) {
    match rule::file::load("r.yml", text, false) {
        Ok(groups) => {
            for rule in groups.iter().flat_map(|group| &group.rules) {
                let written = rule.expr.to_string();
                assert_eq!(promql::parse(&written).map(|expr| expr.to_string()), Ok(written));
            }
        }
        Err(problems) => assert!(!problems.is_empty() && problems.is_sorted_by(|a, b| a.at <= b.at)),
    }
}

/// Any text is a template that expands within its bound, or has mistakes that stand inside of it.
pub fn template(text: &str) {
    let labels = Labels::new([("job", "api"), ("n", "12.5")]);
    let (external_labels, external_url) = (&BTreeMap::new(), "http://a");
    match Template::parse(text) {
        Ok(template) => {
            for value in [1.5, f64::NAN, f64::INFINITY, -1e300] {
                let data = Data {
                    name: "X",
                    labels: &labels,
                    value,
                    external_labels,
                    external_url,
                    query: &|_| Ok(Vec::new()),
                };
                assert!(template.expand(&data).len() <= 64 * 1024);
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            for mistake in mistakes {
                assert!(text.is_char_boundary(mistake.offset), "{}: {}", mistake.offset, mistake.message);
            }
        }
    }
}

/// Any text is a file of unit tests or refused, and so is the notation of its series and values.
pub fn unit_tests(text: &str) {
    unit_test::read_or_refuse(text);
}

/// Any text is a page or refused, in either dialect.
pub fn exposition(text: &str) {
    for dialect in [Dialect::Prometheus, Dialect::OpenMetrics] {
        for entry in entries(text, dialect, Limits::default()) {
            if let Ok(Entry::Sample(sample)) = entry {
                assert!(sample.to_labels().len() <= 65);
            }
        }
    }
}

#[cfg(test)]
/// Shows the text over which a body broke.
struct Shown<'a>(&'a str);

#[cfg(test)]
impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("over this text: {:?}", self.0);
        }
    }
}

#[cfg(test)]
/// Gives `body` so many texts, or as many as `WATCHKEEPER_FUZZ_CASES` says: each one of `seeds` with a few pieces cut out, doubled, moved, or replaced by tokens.
pub fn texts(cases: usize, seeds: &[&str], tokens: &[&str], mut body: impl FnMut(&str)) {
    let asked = std::env::var("WATCHKEEPER_FUZZ_CASES").ok().and_then(|text| text.parse().ok());
    let cases = asked.unwrap_or(cases);
    let mut random = fastrand::Rng::with_seed(cases as u64);
    for case in 0..cases {
        let mut text: Vec<char> = seeds[case % seeds.len()].chars().collect();
        for _ in 0..random.usize(1..6) {
            mutate(&mut text, tokens, &mut random);
        }
        let text: String = text.into_iter().collect();
        let shown = Shown(&text);
        body(shown.0);
    }
}

#[cfg(test)]
fn mutate(text: &mut Vec<char>, tokens: &[&str], random: &mut fastrand::Rng) {
    let from = random.usize(0..=text.len());
    let to = text.len().min(from + random.usize(0..8));
    let at = random.usize(0..=text.len());
    match random.u8(0..5) {
        0 => drop(text.drain(from..to)),
        1 => {
            let piece = text[from..to].to_vec();
            text.splice(at..at, piece);
        }
        2 => {
            let any = char::from_u32(random.u32(0..0x3000)).unwrap_or('\u{fffd}');
            text.splice(from..to, iter::once(any));
        }
        _ => {
            let token = random.choice(tokens).copied().unwrap_or_default();
            text.splice(at..at, token.chars());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_an_expression_or_refused() {
        let seeds = [
            "sum by (c) (rate(a{c=~\"d|e\"}[5m] offset 1m)) / ignoring (le) group_left (c) b > bool 1",
            "histogram_quantile(0.9, a) and on (c) absent(b{c!=\"x\"}) or -vector(1) ^ 2 unless topk(2, b)",
            "label_replace(a, \"x\", \"$1\", \"c\", \"(.*)\") == max_over_time(b[10m]) * 1e3",
            "avg_over_time(rate(a[1m])[5m:30s] @ end()) + count_values(\"v\", a @ 300) % quantile(0.5, b)",
            "{__name__=~\"a|b\", c!~\"f\"} - predict_linear(a[5m:1m], 3600) < clamp(b, -1, +Inf) # end",
        ];
        let tokens = [
            "(",
            ")",
            "{",
            "}",
            "[5m]",
            "[5m:1m]",
            "[1h:]",
            "@ 60",
            "@ start()",
            "offset -5m",
            "and",
            "or",
            "unless",
            " by (c)",
            " without (le)",
            " on ()",
            " ignoring (c)",
            " group_left()",
            " group_right(c)",
            " bool ",
            "+",
            "-",
            "*",
            "/",
            "%",
            "^",
            "==",
            "!=",
            "=~",
            ">",
            "<=",
            "NaN",
            "Inf",
            "1e999",
            "0x1f",
            "1_0",
            "5m",
            "\"",
            "'",
            "`",
            "\\",
            ",",
            "a",
            "b",
            "sum",
            "rate",
            "time()",
            "stddev",
            "count_over_time",
            "quantile_over_time",
            "sort_desc",
            "#",
            "\n",
            " atan2 ",
            "absent_over_time",
        ];
        texts(1_500, &seeds, &tokens, expression);
    }

    #[test]
    fn any_text_is_a_page_or_refused() {
        let seeds = [
            "# HELP a b\\nc\n# TYPE a counter\na_total{b=\"c\\\"d\",e=\"f\"} 1.5e3 1795255200000\n",
            "# TYPE a histogram\n# UNIT a_seconds seconds\na_bucket{le=\"+Inf\"} 3 1.5 # {x=\"y\"} 1 2\na_sum NaN\n# EOF\n",
            "a 1\nb{} -Inf\nc{x=\"\"} +Inf 5\n\n# free\nd{a=\"1\",} 0\n",
        ];
        let tokens = [
            "{",
            "}",
            "\"",
            "\\",
            "\n",
            "=",
            ",",
            " ",
            "#",
            "# EOF\n",
            "# TYPE ",
            "# HELP ",
            "counter",
            "NaN",
            "1e999",
            "-",
            "{le=\"1\"}",
            " # {a=\"b\"} 1",
            "\t",
            "\r",
            "é",
            "9999999999999999",
        ];
        texts(3_000, &seeds, &tokens, exposition);
    }
}
