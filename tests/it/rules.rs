//! The shipped rules, and unit tests of rules: promtool must say what we say.

use std::path::{Path, PathBuf};

use watchkeeper::cli::test::{Args, run};

use crate::support::place::folder;
use crate::support::prometheus::{promtool, promtool3, run_promtool};

/// Debian's promtool, and Prometheus 3's where there is one.
fn promtools() -> Vec<PathBuf> {
    std::iter::once(promtool()).chain(promtool3()).collect()
}

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rules")
}

/// The names in `rules/` that end so, sorted.
fn names(ending: &str) -> Vec<String> {
    let entries = std::fs::read_dir(rules()).expect("rules/");
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(ending));
    names.sort();
    names
}

fn passes(tool: &Path, arguments: &[&str], place: &Path) -> bool {
    let output = run_promtool(tool, arguments, "", place);
    if !output.status.success() {
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

#[test]
fn every_shipped_rule_file_has_its_tests_and_promtool_passes_both() {
    let tests = names(".test.yml");
    let files: Vec<String> = names(".yml").into_iter().filter(|name| !tests.contains(name)).collect();
    assert_eq!(tests, files.iter().map(|name| name.replace(".yml", ".test.yml")).collect::<Vec<_>>());
    for tool in promtools() {
        for file in &files {
            assert!(passes(&tool, &["check", "rules", file], &rules()), "{} check {file}", tool.display());
        }
        for test in &tests {
            assert!(passes(&tool, &["test", "rules", test], &rules()), "{} test {test}", tool.display());
        }
    }
}

const RULES: &str = r#"
groups:
  - name: one
    interval: 7m
    rules:
      - alert: Down
        expr: up == 0
        for: 90s
        keep_firing_for: 1m
        labels: {severity: page, where: "<{{ $labels.job }}{{ $labels.nope }}>"}
        annotations: {summary: '{{ $labels.job }} is {{ $value }}, {{ humanizeDuration 90061 }}, {{ printf "%.1f" $value }}'}
      - {alert: Always, expr: 1}
  - name: two
    rules:
      - {alert: Many, expr: count(up == 0) > 1, labels: {severity: none}}
"#;

/// A series that is down at 0, 1, 2, 3 minutes and then up. (Unset, promtool 2.42 does not default the interval.)
const INPUT: &str = r#"interval: 1m, input_series: [{series: 'up{job="a"}', values: "0x3 1x9"}]"#;

/// What the tests of one file say, and whether they are right.
const CASES: [(&str, &str, bool); 12] = [
    ("an alert fires after its `for`", "alert_rule_test: [{eval_time: 1m, alertname: Down, exp_alerts: []}]", true),
    (
        "with labels and annotations",
        r#"alert_rule_test: [{eval_time: 2m59s, alertname: Down, exp_alerts: [{
            exp_labels: {severity: page, where: <a>, job: a}, exp_annotations: {summary: "a is 0, 1d 1h 1m 1s, 0.0"}}]}]"#,
        true,
    ),
    (
        "with other annotations",
        "alert_rule_test: [{eval_time: 2m, alertname: Down, exp_alerts: [{exp_labels: {severity: page, where: <a>, job: a}}]}]",
        false,
    ),
    (
        "it is kept firing",
        "promql_expr_test: [{expr: 'count(ALERTS{alertname=\"Down\"})', eval_time: 4m, exp_samples: [{value: 1}]}]",
        true,
    ),
    ("and then gone", "promql_expr_test: [{expr: 'ALERTS{alertname=\"Down\"}', eval_time: 5m, exp_samples: []}]", true),
    (
        "but not earlier",
        "promql_expr_test: [{expr: 'ALERTS{alertname=\"Down\"}', eval_time: 4m, exp_samples: []}]",
        false,
    ),
    ("a scalar always fires", "alert_rule_test: [{alertname: Always, exp_alerts: [{}]}]", true),
    ("an alert that is not expected", "alert_rule_test: [{alertname: Always, exp_alerts: []}]", false),
    ("a value that is not quite right", "promql_expr_test: [{expr: 0.1 + 0.2, exp_samples: [{value: 0.3}]}]", false),
    ("an operation that has no value", "promql_expr_test: [{expr: up + on (job) down}, {expr: ')'}]", false),
    ("a key that does not exist", "alert_rule_tests: []", false),
    ("nothing at all", "name: nothing", true),
];

#[test]
fn unit_tests_pass_and_fail_where_they_do_in_promtool() {
    let place = folder();
    std::fs::write(place.path().join("rules.yml"), RULES).expect("the rules");
    for (what, test, right) in CASES {
        let path = place.path().join("test.yml");
        let text = format!("rule_files: [rules.yml]\ntests:\n  - {{{INPUT}, {test}}}\n");
        std::fs::write(&path, text).expect("the test");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ours = run(&Args { files: vec![path] }, &mut out, &mut err).expect("memory takes everything");
        assert_eq!(ours, right, "{what}: {}{}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
        for tool in promtools() {
            assert_eq!(
                passes(&tool, &["test", "rules", "test.yml"], place.path()),
                right,
                "{what}: {}",
                tool.display()
            );
        }
    }
}

/// The blocks of YAML in a document.
fn examples(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(rules().join("..").join(document)).expect("the document");
    let blocks = text.split("```yaml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_documented_mapping_passes_its_documented_test() {
    let place = folder();
    let [mapping, test] = &examples("docs/how-to/map-your-metrics.md")[..] else { panic!("two examples") };
    std::fs::write(place.path().join("django.yml"), mapping).expect("the mapping");
    std::fs::write(place.path().join("test.yml"), test).expect("the test");
    std::fs::copy(rules().join("services.yml"), place.path().join("services.yml")).expect("the shipped rules");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = Args { files: vec![place.path().join("test.yml")] };
    assert!(run(&args, &mut out, &mut err).expect("memory"), "{}", String::from_utf8_lossy(&err));
    for tool in promtools() {
        assert!(passes(&tool, &["test", "rules", "test.yml"], place.path()), "{}", tool.display());
    }
}
