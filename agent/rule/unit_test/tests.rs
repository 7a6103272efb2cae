use std::path::PathBuf;

use super::*;

/// Runs a test file beside a rule file; the failures as text.
fn run_with(rules: &str, tests: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("rules.yml"), rules).expect("a file");
    let path = folder.path().join("tests.yml");
    std::fs::write(&path, tests).expect("a file");
    let text = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
    match run(&path, &Options::default()) {
        Ok(report) => report.failures().map(|failure| text(failure.to_string())).collect(),
        Err(problems) => problems.iter().map(|problem| text(problem.to_string())).collect(),
    }
}

const RULES: &str = r#"
groups:
  - name: one
    interval: 1h
    rules:
      - {alert: Down, expr: up == 0, for: 2m, labels: {severity: page}, annotations: {summary: "{{ $labels.job }} down"}}
  - name: two
    rules:
      - {alert: Down, expr: absent(up), labels: {severity: none}}
"#;

fn tests(body: &str) -> String {
    format!("rule_files: [rules.yml]\ntests:\n{body}")
}

#[test]
fn the_shipped_rules_pass_their_tests() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rules");
    let files = files::find(&folder.join("*.test.yml")).expect("a pattern");
    assert_eq!(files.len(), 9);
    for file in files {
        let report = run(&file, &Options::default()).unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert_eq!(report.failures().collect::<Vec<_>>(), Vec::<&Failure>::new());
        assert!(report.warnings.is_empty() && !report.cases.is_empty());
    }
}

#[test]
fn alerts_are_those_that_fire_at_the_last_tick() {
    let body = r#"
  - input_series: [{series: 'up{job="a"}', values: "0x9"}]
    alert_rule_test:
      - {eval_time: 1m59s, alertname: Down, exp_alerts: []}
      - eval_time: 2m59s
        alertname: Down
        exp_alerts: [{exp_labels: {severity: page, job: a}, exp_annotations: {summary: a down}}]
"#;
    assert_eq!(run_with(RULES, &tests(body)), Vec::<String>::new());
}

#[test]
fn rules_of_one_name_in_all_groups_count_together() {
    let body = r#"
  - input_series: [{series: 'up{job="a"}', values: "0 0 0 stale"}]
    alert_rule_test:
      - {eval_time: 3m, alertname: Down, exp_alerts: [{exp_labels: {severity: none}}]}
"#;
    assert_eq!(run_with(RULES, &tests(body)), Vec::<String>::new());
}

#[test]
fn samples_after_the_last_tick_are_never_seen() {
    let body = r#"
  - interval: 10s
    input_series: [{series: x, values: "0+1x20"}]
    promql_expr_test:
      - {expr: x, eval_time: 90s, exp_samples: [{labels: x, value: 6}]}
  - interval: 10s
    input_series: [{series: x, values: "0+1x20"}]
    promql_expr_test:
      - {expr: x, eval_time: 90s, exp_samples: [{labels: x, value: 9}]}
      - {expr: x, eval_time: 2m, exp_samples: [{labels: x, value: 12}]}
"#;
    assert_eq!(run_with(RULES, &tests(body)), Vec::<String>::new());
}

#[test]
fn gaps_last_five_minutes_and_stale_ends_at_once() {
    let body = r#"
  - input_series:
      - {series: gap, values: "1 _x20"}
      - {series: ended, values: "1 stale"}
    promql_expr_test:
      - {expr: gap, eval_time: 4m59s, exp_samples: [{labels: gap, value: 1}]}
      - {expr: gap, eval_time: 5m, exp_samples: []}
      - {expr: ended, eval_time: 59s, exp_samples: [{labels: ended, value: 1}]}
      - {expr: ended, eval_time: 1m, exp_samples: []}
      - {expr: time(), eval_time: 5m, exp_samples: [{value: 300}]}
"#;
    assert_eq!(run_with(RULES, &tests(body)), Vec::<String>::new());
}

#[test]
fn the_alerts_of_all_ticks_are_series() {
    let body = r#"
  - input_series: [{series: 'up{job="a"}', values: "0x9"}]
    promql_expr_test:
      - {expr: ALERTS, eval_time: 1m, exp_samples: [{labels: 'ALERTS{alertname="Down", alertstate="pending", job="a", severity="page"}', value: 1}]}
      - {expr: ALERTS_FOR_STATE, eval_time: 4m, exp_samples: [{labels: 'ALERTS_FOR_STATE{alertname="Down", job="a", severity="page"}', value: 0}]}
"#;
    assert_eq!(run_with(RULES, &tests(body)), Vec::<String>::new());
}

#[test]
fn a_failure_says_what_was_expected_and_what_came() {
    let body = r#"
  - name: wrong
    input_series: [{series: 'up{job="a"}', values: "0x9"}]
    alert_rule_test:
      - {eval_time: 5m, alertname: Down, exp_alerts: [{exp_labels: {severity: page, job: b}}]}
      - {eval_time: 5m, alertname: Down, exp_alerts: [{exp_labels: {severity: page, job: a}, exp_annotations: {summary: a up}}]}
    promql_expr_test:
      - {expr: up, eval_time: 0s, exp_samples: [{labels: 'up{job="a"}', value: 1}]}
"#;
    let found = run_with(RULES, &tests(body));
    assert_eq!(
        found,
        [
            "tests.yml:7:9: wrong: alert Down at 5m:\n    \
             expected, not firing: {alertname=\"Down\", job=\"b\", severity=\"page\"}\n        \
             differs from {alertname=\"Down\", job=\"a\", severity=\"page\"}\n        \
             in job: expected \"b\", got \"a\"\n    \
             firing, not expected: {alertname=\"Down\", job=\"a\", severity=\"page\"}\n        summary: \"a down\"",
            "tests.yml:8:9: wrong: alert Down at 5m:\n    \
             annotations of {alertname=\"Down\", job=\"a\", severity=\"page\"}:\n        \
             summary: expected \"a up\", got \"a down\"",
            "tests.yml:10:9: wrong: `up` at 0s:\n    up{job=\"a\"}: expected 1.0, got 0.0",
        ]
    );
}

#[test]
fn values_compare_exactly_unless_fuzzy() {
    let body = r#"
  - input_series: [{series: low, values: 2.9999999999999996}, {series: odd, values: NaN}]
    promql_expr_test:
      - {expr: low, exp_samples: [{labels: low, value: 3}]}
      - {expr: odd, exp_samples: [{labels: odd, value: .nan}]}
"#;
    assert_eq!(run_with(RULES, &tests(body)).len(), 2);
    let fuzzy = run_with(RULES, &format!("fuzzy_compare: true\n{}", tests(body)));
    assert!(fuzzy.len() == 1 && fuzzy[0].contains("`odd`"), "{fuzzy:?}");
}

#[test]
fn a_rule_that_cannot_be_evaluated_fails_the_test() {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: a == on (x) b}]}]";
    let body = r#"
  - input_series: [{series: 'a{x="1"}', values: 1}, {series: 'b{x="1",y="1"}', values: 1}, {series: 'b{x="1",y="2"}', values: 1}]
"#;
    let found = run_with(rules, &tests(body));
    assert!(found.len() == 1 && found[0].starts_with("tests.yml:4:5: rule A at 0s: "), "{found:?}");
}

#[test]
fn groups_are_evaluated_in_the_order_asked_for() {
    let rules = r#"groups:
  - {name: late, rules: [{alert: Late, expr: 'ALERTS{alertname="Early"}'}]}
  - {name: early, rules: [{alert: Early, expr: up}]}
"#;
    let body = "  - input_series: [{series: up, values: 1}]\n    alert_rule_test:\n      \
                - {eval_time: 0s, alertname: Late, exp_alerts: [{exp_labels: {alertstate: firing}}]}\n";
    assert_eq!(run_with(rules, &tests(body)).len(), 1);
    assert_eq!(run_with(rules, &format!("group_eval_order: [early, late]\n{}", tests(body))), Vec::<String>::new());
}

#[test]
fn templates_see_the_test_s_external_labels() {
    let rules = r#"groups: [{name: g, rules: [{alert: A, expr: up, annotations: {where: "{{ $externalLabels.cluster }} {{ $externalURL }}"}}]}]"#;
    let body = r#"
  - external_labels: {cluster: c}
    external_url: http://x
    input_series: [{series: up, values: 1}]
    alert_rule_test: [{eval_time: 0, alertname: A, exp_alerts: [{exp_annotations: {where: c http://x}}]}]
"#;
    assert_eq!(run_with(rules, &tests(body)), Vec::<String>::new());
}

#[test]
fn a_test_may_start_later_than_1970() {
    let body = r#"
  - start_timestamp: "2024-01-01T00:00:00Z"
    input_series: [{series: x, values: 1 2}]
    promql_expr_test:
      - {expr: time(), eval_time: 5m, exp_samples: [{value: 1704067500}]}
      - {expr: x, eval_time: 1m, exp_samples: [{labels: x, value: 2}]}
"#;
    assert_eq!(run_with(RULES, &tests(body)), Vec::<String>::new());
}

#[test]
fn mistakes_are_found_at_once_where_they_stand() {
    let text = r#"rule_files: [rules.yml]
evaluation_intervall: 1m
tests:
  - input_series:
      - {series: 'up{job="a"', values: 1}
      - {series: up, values: "1 2 {{schema:0}}"}
      - {series: 'up{a=~"b"}', values: 1}
    alert_rule_test: [{eval_time: 1m}]
    promql_expr_test: [{expr: "atan(x[5m])", exp_samples: [{value: x, histogram: y}]}]
"#;
    let found = run_with(RULES, text);
    let places: Vec<&str> = found.iter().map(|text| &text[..text.find(": ").unwrap_or(0)]).collect();
    assert_eq!(
        places,
        ["tests.yml:2:1", "tests.yml:5:29", "tests.yml:7:19", "tests.yml:8:23", "tests.yml:9:37", "tests.yml:9:68"],
        "{found:#?}"
    );
}

#[test]
fn a_rule_file_that_cannot_be_used_is_an_error_and_one_that_is_missing_a_warning() {
    assert!(
        run_with("groups: [{name: g, rules: [{record: 'a{b}', expr: b}]}]", &tests("  - {}"))[0]
            .contains("no name for a series")
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.yml");
    std::fs::write(&path, "rule_files: [nope*.yml]\ntests: [{}]").expect("a file");
    assert_eq!(run(&path, &Options::default()).expect("a report").warnings.len(), 1);
    assert!(run(&folder.path().join("nope.yml"), &Options::default()).is_err());
}

#[test]
fn any_text_is_a_test_file_or_refused() {
    let seeds = [
        include_str!("../../../rules/self.test.yml"),
        "rule_files: [a.yml]\ntests: [{interval: 1m, input_series: [{series: 'a{b=\"c\"}', values: '1+2x3 _ stale'}]}]",
        "1+2x3 _x5 stale 7x3 -1.5e3 NaN\na{b=\"c\",d=\"e\"}\n5-1x2",
    ];
    let tokens = [
        "x5",
        "x999999",
        "_",
        "stale",
        "+",
        "-",
        "{",
        "}",
        "\"",
        "'",
        ": ",
        "- ",
        "\n",
        "  ",
        "1e999",
        "{{",
        "eval_time: ",
        "5m",
    ];
    crate::fuzz::texts(600, &seeds, &tokens, crate::fuzz::unit_tests);
}

#[test]
fn native_histograms_are_refused_by_name_where_anything_reads_them() {
    let body = r#"
  - input_series: [{series: h, values: "{{schema:0 sum:1 count:1}}"}, {series: up, values: 1}]
    promql_expr_test:
      - {expr: h, exp_samples: [{labels: h, histogram: "{{schema:0 sum:1 count:1}}"}]}
      - {expr: 'sum(h) or up', exp_samples: [{labels: up, value: 1}]}
      - {expr: up, exp_samples: [{labels: up, value: 1}]}
"#;
    let found = run_with(RULES, &tests(body));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("`sum(h) or up` at 0s: reads h: native histograms are not supported"), "{found:?}");
    let rules = "groups: [{name: g, rules: [{alert: A, expr: 'absent({__name__=~\"h|i\"})'}]}]";
    let found = run_with(rules, &tests(body));
    assert!(found[0].contains("rule A: reads h: native histograms"), "{found:?}");
}

#[test]
fn of_two_series_with_the_same_labels_the_later_one_counts() {
    let body = r#"
  - input_series: [{series: x, values: _ 1}, {series: 'x{}', values: 2}]
    promql_expr_test: [{expr: x, eval_time: 1m, exp_samples: [{labels: x, value: 2}]}]
"#;
    assert_eq!(run_with(RULES, &tests(body)), Vec::<String>::new());
}

#[test]
fn what_could_never_pass_is_refused() {
    for (text, why) in [
        ("group_eval_order: [a, a]\ntests: []", "group `a` stands twice"),
        ("tests: [{alert_rule_test: [{alertname: A, exp_alerts: [{exp_labels: {x: ''}}]}]}]", "leave `x` out"),
        ("tests: [{promql_expr_test: [{expr: 1, exp_samples: [{value: '1'}]}]}]", "without quotes"),
        ("tests: [{input_series: [{series: '{}', values: 1}]}]", "needs a name or labels"),
        ("tests: [{input_series: [{series: 'x{a=\"b\",a=\"c\"}', values: 1}]}]", "the label a stands twice"),
        ("rule_files: ['[a']\ntests: [{}]", "a bracket is not closed"),
        ("rule_files: [.]\ntests: [{}]", "cannot read"),
    ] {
        let found = run_with(RULES, text);
        assert!(found.len() == 1 && found[0].contains(why), "{text}: {found:?}");
    }
}

#[test]
fn a_file_that_two_patterns_find_counts_once_and_one_that_is_not_there_is_a_warning() {
    let text = "rule_files: [rules.yml, 'rule?.yml', nope.yml, '']\ntests: [{input_series: [{series: 'up{job=\"a\"}', \
                values: 0x9}], promql_expr_test: [{expr: count(ALERTS), eval_time: 5m, exp_samples: [{value: 1}]}]}]";
    assert_eq!(run_with(RULES, text), Vec::<String>::new());
}

#[test]
fn tests_are_chosen_by_name_and_rule_files_read_leniently_if_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("r.yml"), "groups: [{name: g, owner: me, rules: [{alert: A, expr: up}]}]")
        .expect("rules");
    let path = folder.path().join("t.yml");
    let wrong = "promql_expr_test: [{expr: 1}]";
    std::fs::write(&path, format!("rule_files: [r.yml]\ntests: [{{{wrong}}}, {{name: one}}, {{name: two, {wrong}}}]"))
        .expect("tests");
    let names = |run: &[&str]| {
        let run = run.iter().map(|text| Regex::new(text).expect("a pattern")).collect();
        let report = super::run(&path, &Options { run, ignore_unknown_fields: true }).expect("a report");
        report.cases.iter().map(|case| (case.name.clone(), case.failures.len())).collect::<Vec<_>>()
    };
    let case = |name: &str, failures: usize| (name.to_owned(), failures);
    assert_eq!(names(&[]), [case("unnamed#0", 1), case("one", 0), case("two", 1)]);
    assert_eq!(names(&["^o"]), [case("one", 0)]);
    assert_eq!(names(&["w", "q"]), [case("two", 1)]);
    assert!(names(&["q"]).is_empty());
    assert!(run(&path, &Options::default()).is_err());
}

#[test]
fn two_groups_may_not_give_a_series_two_values_at_once() {
    let rules = |second: &str| {
        format!(
            "groups: [{{name: g, rules: [{{record: r, expr: up}}]}}, {{name: h, rules: [{{record: r, expr: {second}}}]}}]"
        )
    };
    let body = "  - {input_series: [{series: up, values: 1}]}\n";
    assert_eq!(run_with(&rules("up"), &tests(body)), Vec::<String>::new());
    let failures = run_with(&rules("up + 1"), &tests(body));
    assert_eq!(failures, ["tests.yml:3:5: r at 0s: 2.0, and another group has given it 1.0 already"]);
}

#[test]
fn yaml_is_read_as_promtool_reads_it() {
    let body = "  - ~\n  - {input_series: [{series: x, values: 8}], promql_expr_test: [{expr: x, exp_samples: [{labels: x, value: 0o10}]}]}\n---\nsecond\n";
    assert_eq!(run_with("groups: []", &format!("fuzzy_compare: yes\n{}", tests(body))), Vec::<String>::new());
}
