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
        let ours =
            run(&Args { files: vec![path], ..Args::default() }, &mut out, &mut err).expect("memory takes everything");
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

#[test]
fn the_recorded_verdicts_on_rule_files_are_those_of_promtool_3() {
    let Some(tool) = promtool3() else { return };
    let text = include_str!("../rules/verdicts.json");
    let verdicts: Vec<(String, bool)> = serde_json::from_str(text).expect("texts and verdicts");
    let place = folder();
    for (text, good) in verdicts {
        std::fs::write(place.path().join("rules.yml"), &text).expect("the rules");
        assert_eq!(
            run_promtool(&tool, &["check", "rules", "rules.yml"], "", place.path()).status.success(),
            good,
            "{text}"
        );
    }
}

/// Prometheus's own rule files, where they are there: taken and refused as promtool takes and refuses them.
#[test]
fn prometheus_s_own_rule_files_are_taken_and_refused_as_by_promtool_3() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/promql");
    let Some(tool) = promtool3().filter(|_| shared.exists()) else {
        return println!("SKIPPED: no data, or no promtool 3");
    };
    let mut seen = 0;
    for folder in ["rules-fixtures", "promtool", "kubernetes-mixin"] {
        for entry in std::fs::read_dir(shared.join(folder)).expect("a folder").map(|entry| entry.unwrap().path()) {
            let Some("yml" | "yaml") = entry.extension().and_then(|extension| extension.to_str()) else { continue };
            let name = entry.display().to_string();
            let theirs = run_promtool(&tool, &["check", "rules", &name], "", &shared).status.success();
            let ours = watchkeeper::rule::file::load(&name, &std::fs::read_to_string(&entry).unwrap(), false);
            assert_eq!(ours.is_ok(), theirs, "{name}: {ours:?}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

/// Whole files that promtool 3.5 passes (true) or fails; `rules.yml` is [`RULES`].
const FILES: [(&str, bool); 22] = [
    ("", true),
    ("rule_files: [nope.yml]\ntests: [{}]", true),
    ("rule_files: ['']\ntests: [{}]", true),
    ("rule_files: ['[a']\ntests: [{}]", false),
    ("rule_files: [.]\ntests: [{}]", false),
    ("rule_files: [rules.yml, rules.yml]\ntests: [{}]", true),
    ("rule_files: [rules.yml]\ngroup_eval_order: [one, one]\ntests: [{}]", false),
    ("rule_files: [rules.yml]\ngroup_eval_order: [nope]\ntests: [{}]", true),
    ("tests: [{alert_rule_test: [{eval_time: 1m}]}]", false),
    ("tests: [{alert_rule_test: [{eval_time: 1m, alertname: Nope}]}]", true),
    ("tests: [{promql_expr_test: [{expr: 1, eval_time: 60}]}]", false),
    ("tests: [{promql_expr_test: [{expr: 1, eval_time: 1.5m}]}]", false),
    ("tests: [{promql_expr_test: [{expr: 1, exp_samples: [{value: '1'}]}]}]", false),
    ("tests: [{promql_expr_test: [{expr: inf, exp_samples: [{value: .inf}]}]}]", true),
    ("tests: [{promql_expr_test: [{expr: inf, exp_samples: [{value: Inf}]}]}]", false),
    ("tests: [{promql_expr_test: [{expr: 8, exp_samples: [{value: 010}]}]}]", true),
    ("tests: [{promql_expr_test: [{expr: 0, exp_samples: [null]}]}]", true),
    (
        "tests: [{input_series: [{series: x, values: _ 1}, {series: x, values: 2}], promql_expr_test: [{expr: x, exp_samples: [{labels: x, value: 2}]}]}]",
        true,
    ),
    ("tests: [{input_series: [{series: '{}', values: 1}]}]", false),
    ("tests: [{input_series: [{series: x, values: Infx3}]}]", false),
    ("tests: [{input_series: [{series: x, values: 1 1_000 5. 010 0x1 Inf+1x2 _x0 1x00003}]}]", true),
    ("tests: [{promql_expr_test: [{expr: 'x[5m]', exp_samples: []}]}]", false),
];

#[test]
fn files_pass_and_fail_where_they_do_in_promtool() {
    let place = folder();
    std::fs::write(place.path().join("rules.yml"), RULES).expect("the rules");
    let path = place.path().join("test.yml");
    for (text, right) in FILES {
        std::fs::write(&path, text).expect("the test");
        assert_eq!(verdict(&path, &Args::default()).0, right, "{text}");
        if let Some(tool) = promtool3() {
            assert_eq!(passes(&tool, &["test", "rules", "test.yml"], place.path()), right, "{text}");
        }
    }
}

/// Whether a file passes, and what is said of it.
fn verdict(path: &Path, more: &Args) -> (bool, String) {
    let args =
        Args { files: vec![path.to_owned()], ignore_unknown_fields: more.ignore_unknown_fields, ..Args::default() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let passed = run(&args, &mut out, &mut err).expect("memory takes everything");
    (passed, String::from_utf8_lossy(&[out, err].concat()).into_owned())
}

/// Prometheus's own test files, where they are, and the whole of a well-known mixin's.
#[test]
fn the_test_files_of_others_pass_and_fail_as_they_should() {
    let shared = rules().join("../../shared/promql");
    let Ok(entries) = std::fs::read_dir(shared.join("promtool")) else {
        println!("SKIPPED: {} is not there", shared.display());
        return;
    };
    const PASSING: [&str; 7] = [
        "unittest.yml",
        "long-period.yml",
        "no-test-group-interval.yml",
        "at-modifier-test.yml",
        "negative-offset-test.yml",
        "start-time-test.yml",
        "rules_run_extrafields.yml",
    ];
    let mixin = std::fs::read_dir(shared.join("kubernetes-mixin/tests")).expect("the mixin's tests");
    let mut wrong = Vec::new();
    for path in entries.chain(mixin).map(|entry| entry.expect("an entry").path()) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if !std::fs::read_to_string(&path).expect("a text").contains("\ntests:") {
            continue;
        }
        let right = path.parent().expect("a folder").ends_with("tests") || PASSING.contains(&name.as_str());
        let lenient = Args { ignore_unknown_fields: name.contains("extrafields"), ..Args::default() };
        let (passed, said) = verdict(&path, &lenient);
        if passed != right {
            wrong.push(format!("{name}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
    let args = Args { files: vec![place.path().join("test.yml")], ..Args::default() };
    assert!(run(&args, &mut out, &mut err).expect("memory"), "{}", String::from_utf8_lossy(&err));
    for tool in promtools() {
        assert!(passes(&tool, &["test", "rules", "test.yml"], place.path()), "{}", tool.display());
    }
}

#[test]
fn the_loop_that_records_a_history_names_pages_so_that_their_time_is_read() {
    let text = std::fs::read_to_string(rules().join("../docs/how-to/replay-a-history.md")).expect("the document");
    let (_, rest) = text.split_once("$(").expect("the command that gives the name");
    let (command, rest) = rest.split_once(')').expect("its end");
    let ending = rest.split_whitespace().next().expect("the name's ending").trim_end_matches(';');
    let output = std::process::Command::new("sh").args(["-c", command]).output().expect("a shell");
    let name = format!("{}{ending}", String::from_utf8_lossy(&output.stdout).trim());
    let at = watchkeeper::rule::replay::history::time_of_name(&name).unwrap_or_else(|| panic!("{name}"));
    assert!((at - watchkeeper::clock::wall_ms()).abs() < 60_000, "{name}: {at}");
}
