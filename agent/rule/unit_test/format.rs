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
    pub series: Vec<(Labels, Vec<Option<f64>>)>,
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
}

/// Reads a test file's text; `file` is the name that positions bear.
pub fn read(file: &str, text: &str) -> Result<TestFile, Vec<Problem>> {
    let root = tree::parse(file, text).map_err(|problem| vec![problem])?;
    if root.get("groups").is_some() && root.get("tests").is_none() {
        return Err(vec![Problem::new(&root.at, "these are rules, not unit tests: run `watchkeeper check` on them")]);
    }
    let mut reader = Reader { unsupported: Some(unsupported), ..Reader::default() };
    reader.keys(&root, FILE_KEYS, "a test file");
    let interval = reader.duration(&root, "evaluation_interval").filter(|interval| !interval.is_zero());
    let evaluation_interval = interval.unwrap_or(MINUTE);
    let texts = |reader: &mut Reader, key| -> Vec<(Position, String)> {
        let nodes = reader.list(&root, key);
        nodes.iter().filter_map(|node| Some((node.at.clone(), reader.scalar(node)?))).collect()
    };
    let file = TestFile {
        rule_files: texts(&mut reader, "rule_files"),
        evaluation_interval,
        group_eval_order: texts(&mut reader, "group_eval_order").into_iter().map(|(_, name)| name).collect(),
        fuzzy: boolean(&mut reader, &root, "fuzzy_compare"),
        tests: reader.list(&root, "tests").iter().map(|node| test(&mut reader, node, evaluation_interval)).collect(),
    };
    reader.finish(file)
}

fn unsupported(_what: &str, key: &str) -> Option<String> {
    (key == "histogram").then(|| "native histograms (`histogram`) are not supported by this version".to_owned())
}

fn test(reader: &mut Reader, node: &Node, evaluation_interval: Duration) -> Test {
    reader.keys(node, TEST_KEYS, "a test");
    let interval = reader.duration(node, "interval").filter(|interval| !interval.is_zero());
    Test {
        at: node.at.clone(),
        name: text(reader, node, "name"),
        interval: interval.unwrap_or(evaluation_interval),
        series: reader.list(node, "input_series").iter().map(|node| input(reader, node)).collect(),
        alerts: reader.list(node, "alert_rule_test").iter().map(|node| alert_test(reader, node)).collect(),
        exprs: reader.list(node, "promql_expr_test").iter().filter_map(|node| expr_test(reader, node)).collect(),
        external_labels: texts(reader, node, "external_labels"),
        external_url: text(reader, node, "external_url"),
        start: start(reader, node),
    }
}

fn input(reader: &mut Reader, node: &Node) -> (Labels, Vec<Option<f64>>) {
    reader.keys(node, &["series", "values"], "a series");
    reader.required(node, "series", "a series");
    let labels = parsed(reader, node, "series", values::series).unwrap_or_default();
    (labels, parsed(reader, node, "values", values::values).unwrap_or_default())
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
    let labels = Labels::new(texts(reader, node, "exp_labels")).with("alertname", alertname);
    ExpectedAlert { labels, annotations: texts(reader, node, "exp_annotations") }
}

fn expr_test(reader: &mut Reader, node: &Node) -> Option<ExprTest> {
    reader.keys(node, &["expr", "eval_time", "exp_samples"], "an expression's test");
    let text = reader.required(node, "expr", "an expression's test");
    let expected = reader.list(node, "exp_samples").iter().map(|node| expected_sample(reader, node)).collect();
    let eval_time = eval_time(reader, node);
    let expr =
        parsed(reader, node, "expr", |text| promql::parse(text).map_err(|error| (error.span.start, error.message)))?;
    Some(ExprTest { at: node.at.clone(), eval_time, text, expr, expected })
}

fn expected_sample(reader: &mut Reader, node: &Node) -> (Labels, f64) {
    reader.keys(node, &["labels", "value"], "an expected sample");
    let labels = parsed(reader, node, "labels", values::series).unwrap_or_default();
    (labels, parsed(reader, node, "value", number).unwrap_or(0.0))
}

/// A number as YAML and Go write it: `.inf` and `Inf`.
fn number(text: &str) -> Result<f64, Wrong> {
    let named = match text.to_ascii_lowercase().as_str() {
        "" => Some(0.0),
        ".inf" | "+.inf" => Some(f64::INFINITY),
        "-.inf" => Some(f64::NEG_INFINITY),
        ".nan" => Some(f64::NAN),
        _ => None,
    };
    named.map_or_else(|| text.parse().map_err(|_| (0, format!("`{text}` is no number"))), Ok)
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

fn boolean(reader: &mut Reader, node: &Node, key: &str) -> bool {
    let read = |text: &str| text.parse().map_err(|_| (0, format!("`{key}` is true or false, not `{text}`")));
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
