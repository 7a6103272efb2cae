//! promtool's unit-test files, read strictly.

use std::collections::BTreeMap;
use std::time::Duration;

use super::values::{self, Wrong};
use crate::clock::millis;
use crate::config::tree::{self, Node, Position, Problem, Value};
use crate::promql::{self, Expr};
use crate::rule::reader::Reader;
use crate::sample::{Labels, Timestamp};

const FILE_KEYS: &[&str] = &["rule_files", "evaluation_interval", "group_eval_order", "fuzzy_compare", "tests"];
const TEST_KEYS: &[&str] = &[
    "name",
    "interval",
    "input_series",
    "alert_rule_test",
    "promql_expr_test",
    "external_labels",
    "external_url",
    "start_timestamp",
];
const MINUTE: Duration = Duration::from_secs(60);

pub struct TestFile {
    /// Patterns, relative to the file.
    pub rule_files: Vec<(Position, String)>,
    pub evaluation_interval: Duration,
    pub group_eval_order: Vec<String>,
    /// Whether values that are neighbouring floats are equal.
    pub fuzzy: bool,
    pub tests: Vec<Test>,
}

pub struct Test {
    pub at: Position,
    pub name: String,
    pub interval: Duration,
    /// No two with the same labels.
    pub series: Vec<(Labels, Vec<Option<f64>>)>,
    /// Input series of native histograms, which are left out: what reads them is refused.
    pub histograms: Vec<Labels>,
    pub alerts: Vec<AlertTest>,
    pub exprs: Vec<ExprTest>,
    pub external_labels: BTreeMap<String, String>,
    pub external_url: String,
    /// Where time 0 of the test is.
    pub start: Timestamp,
}

pub struct AlertTest {
    pub at: Position,
    /// Since the test's start.
    pub eval_time: i64,
    pub alertname: String,
    pub expected: Vec<ExpectedAlert>,
}

/// Labels (with `alertname`) and annotations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExpectedAlert {
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
}

pub struct ExprTest {
    pub at: Position,
    pub eval_time: i64,
    pub text: String,
    pub expr: Expr,
    pub expected: Vec<(Labels, f64)>,
    /// Whether native histograms are expected, which cannot be told.
    pub histograms: bool,
}

/// Reads a test file's text; `file` is the name that positions bear.
pub fn read(file: &str, text: &str) -> Result<TestFile, Vec<Problem>> {
    let root = tree::parse_first(file, text).map_err(|problem| vec![problem])?;
    if root.get("groups").is_some() && root.get("tests").is_none() {
        return Err(vec![Problem::new(&root.at, "these are rules, not unit tests: run `watchkeeper check` on them")]);
    }
    let mut reader = Reader::default();
    if root.value != Value::Null {
        reader.keys(&root, FILE_KEYS, "a test file");
    }
    let interval = reader.duration(&root, "evaluation_interval").filter(|interval| !interval.is_zero());
    let evaluation_interval = interval.unwrap_or(MINUTE);
    let texts = |reader: &mut Reader, key| -> Vec<(Position, String)> {
        let nodes = reader.list(&root, key);
        nodes.iter().filter_map(|node| Some((node.at.clone(), reader.scalar(node)?))).collect()
    };
    let (rule_files, order) = (texts(&mut reader, "rule_files"), texts(&mut reader, "group_eval_order"));
    let file = TestFile {
        rule_files,
        evaluation_interval,
        group_eval_order: once_each(&mut reader, order),
        fuzzy: boolean(&mut reader, &root, "fuzzy_compare"),
        tests: reader.list(&root, "tests").iter().map(|node| test(&mut reader, node, evaluation_interval)).collect(),
    };
    reader.finish(file)
}

fn once_each(reader: &mut Reader, names: Vec<(Position, String)>) -> Vec<String> {
    let mut found = Vec::new();
    for (at, name) in names {
        if found.contains(&name) {
            reader.problems.push(Problem::new(&at, format!("group `{name}` stands twice in `group_eval_order`")));
        }
        found.push(name);
    }
    found
}

fn test(reader: &mut Reader, node: &Node, evaluation_interval: Duration) -> Test {
    if node.value != Value::Null {
        reader.keys(node, TEST_KEYS, "a test");
    }
    let interval = reader.duration(node, "interval").filter(|interval| !interval.is_zero());
    let inputs: Vec<Input> = reader.list(node, "input_series").iter().filter_map(|node| input(reader, node)).collect();
    let (histograms, series): (Vec<Input>, Vec<Input>) = inputs.into_iter().partition(|(_, values)| values.is_none());
    // Of two with the same labels the later one counts, as in promtool.
    let series: BTreeMap<Labels, Vec<Option<f64>>> =
        series.into_iter().map(|(labels, values)| (labels, values.unwrap_or_default())).collect();
    Test {
        at: node.at.clone(),
        name: text(reader, node, "name"),
        interval: interval.unwrap_or(evaluation_interval),
        series: series.into_iter().collect(),
        histograms: histograms.into_iter().map(|(labels, _)| labels).collect(),
        alerts: reader.list(node, "alert_rule_test").iter().map(|node| alert_test(reader, node)).collect(),
        exprs: reader.list(node, "promql_expr_test").iter().filter_map(|node| expr_test(reader, node)).collect(),
        external_labels: texts(reader, node, "external_labels"),
        external_url: text(reader, node, "external_url"),
        start: start(reader, node),
    }
}

/// Labels and values; no values where they are native histograms.
type Input = (Labels, Option<Vec<Option<f64>>>);

fn input(reader: &mut Reader, node: &Node) -> Option<Input> {
    reader.keys(node, &["series", "values"], "a series");
    reader.required(node, "series", "a series");
    let labels = parsed(reader, node, "series", input_labels)?;
    if node.get("values").and_then(Node::text).is_some_and(values::are_histograms) {
        return Some((labels, None));
    }
    Some((labels, Some(parsed(reader, node, "values", values::values).unwrap_or_default())))
}

fn input_labels(text: &str) -> Result<Labels, Wrong> {
    let labels = values::series(text)?;
    if labels.is_empty() && !text.is_empty() {
        Err((0, "a series needs a name or labels".to_owned()))
    } else {
        Ok(labels)
    }
}

fn alert_test(reader: &mut Reader, node: &Node) -> AlertTest {
    reader.keys(node, &["eval_time", "alertname", "exp_alerts"], "an alert's test");
    let alertname = reader.required(node, "alertname", "an alert's test");
    let expected =
        reader.list(node, "exp_alerts").iter().map(|node| expected_alert(reader, node, &alertname)).collect();
    AlertTest { at: node.at.clone(), eval_time: eval_time(reader, node), alertname, expected }
}

fn expected_alert(reader: &mut Reader, node: &Node, alertname: &str) -> ExpectedAlert {
    if node.value != Value::Null {
        reader.keys(node, &["exp_labels", "exp_annotations"], "an expected alert");
    }
    let labels = texts(reader, node, "exp_labels");
    if let Some((name, _)) = labels.iter().find(|(_, value)| value.is_empty()) {
        reader.refuse(node, format!("no alert has an empty label: leave `{name}` out"));
    }
    let labels = Labels::new(labels).with("alertname", alertname);
    ExpectedAlert { labels, annotations: texts(reader, node, "exp_annotations") }
}

fn expr_test(reader: &mut Reader, node: &Node) -> Option<ExprTest> {
    reader.keys(node, &["expr", "eval_time", "exp_samples"], "an expression's test");
    let text = reader.required(node, "expr", "an expression's test");
    let samples = reader.list(node, "exp_samples");
    let histograms = samples.iter().any(|node| node.get("histogram").is_some_and(|found| found.text().is_some()));
    let expected = samples.iter().map(|node| expected_sample(reader, node)).collect();
    let eval_time = eval_time(reader, node);
    let expr =
        parsed(reader, node, "expr", |text| promql::parse(text).map_err(|error| (error.span.start, error.message)))?;
    Some(ExprTest { at: node.at.clone(), eval_time, text, expr, expected, histograms })
}

fn expected_sample(reader: &mut Reader, node: &Node) -> (Labels, f64) {
    if node.value != Value::Null {
        reader.keys(node, &["labels", "value", "histogram"], "an expected sample");
    }
    let labels = parsed(reader, node, "labels", values::series).unwrap_or_default();
    let quoted = matches!(node.get("value").map(|found| &found.value), Some(Value::Scalar { plain: false, .. }));
    let read = |text: &str| number(text).filter(|_| !quoted).ok_or_else(|| no_number(text, quoted));
    (labels, parsed(reader, node, "value", read).unwrap_or(0.0))
}

fn no_number(text: &str, quoted: bool) -> Wrong {
    let what = if quoted { "a text: write a number without quotes" } else { "no number: write 1.5, 2e3, .inf or .nan" };
    (0, format!("`{}` is {what}", tree::shown(text)))
}

/// A number as promtool's YAML has it: `.inf` and `.nan`, `0x10`, `010` and `0o10` (8), `1_000`.
fn number(text: &str) -> Option<f64> {
    let plain = text.replace('_', "");
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let octal =
        unsigned.len() > 1 && unsigned.starts_with('0') && unsigned.bytes().all(|byte| (b'0'..b'8').contains(&byte));
    let value = match unsigned.to_ascii_lowercase().as_str() {
        ".inf" => Some(f64::INFINITY),
        ".nan" => Some(f64::NAN),
        hex if hex.starts_with("0x") => u64::from_str_radix(&hex[2..], 16).ok().map(|value| value as f64),
        octal if octal.starts_with("0o") => u64::from_str_radix(&octal[2..], 8).ok().map(|value| value as f64),
        _ if octal => u64::from_str_radix(unsigned, 8).ok().map(|value| value as f64),
        decimal if decimal.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            decimal.parse::<f64>().ok().filter(|value| value.is_finite())
        }
        _ => None,
    };
    value.map(|value| if plain.starts_with('-') { -value } else { value })
}

fn eval_time(reader: &mut Reader, node: &Node) -> i64 {
    millis(reader.duration(node, "eval_time").unwrap_or_default())
}

/// RFC 3339, or seconds since the epoch.
fn start(reader: &mut Reader, node: &Node) -> Timestamp {
    let read = |text: &str| match (text.parse::<f64>(), text.parse::<jiff::Timestamp>()) {
        (Ok(seconds), _) if seconds.is_finite() => Ok((seconds * 1000.0) as i64),
        (_, Ok(time)) => Ok(time.as_millisecond()),
        _ => Err((0, format!("`{text}` is no time: write 2024-01-01T00:00:00Z or seconds since 1970"))),
    };
    parsed(reader, node, "start_timestamp", read).unwrap_or(0)
}

/// In the words of YAML 1.1, as promtool takes them.
fn boolean(reader: &mut Reader, node: &Node, key: &str) -> bool {
    let read = |text: &str| match text {
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Ok(true),
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Ok(false),
        _ => Err((0, format!("`{key}` is true or false, not `{text}`"))),
    };
    parsed(reader, node, key, read).unwrap_or(false)
}

/// The text under a key, read further; `None` where there is none, or a problem was found.
fn parsed<T>(reader: &mut Reader, node: &Node, key: &str, read: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
    let found = node.get(key).filter(|found| found.value != Value::Null)?;
    let text = reader.scalar(found)?;
    let problem = |(offset, message): Wrong| reader.problems.push(Problem::new(&found.position_of(offset), message));
    read(&text).map_err(problem).ok()
}

fn text(reader: &mut Reader, node: &Node, key: &str) -> String {
    node.get(key).and_then(|found| reader.scalar(found)).unwrap_or_default()
}

fn texts(reader: &mut Reader, node: &Node, key: &str) -> BTreeMap<String, String> {
    let entries = reader.mapping(node, key);
    entries.iter().filter_map(|(name, node)| Some((name.text.clone(), reader.scalar(node)?))).collect()
}
