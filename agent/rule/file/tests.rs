use std::time::Duration;

use super::*;

/// Texts of rule files, and whether Prometheus 3.5 takes them.
fn verdicts() -> Vec<(String, bool)> {
    serde_json::from_str(include_str!("../../../tests/rules/verdicts.json")).expect("texts and verdicts")
}

fn problems(text: &str) -> Vec<String> {
    match load("r.yml", text, false) {
        Ok(groups) => panic!("loaded {groups:?}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

const GOOD: &str = r#"
groups:
  - name: g
    interval: 30s
    rules:
      - alert: InstanceDown
        expr: up == 0
        for: 5m
        keep_firing_for: 1m30s
        labels: {severity: page, team: "{{ $labels.team }}", level: 1}
        annotations:
          summary: "Instance {{ $labels.instance }} down"
      - alert: Always
        expr: 1
  - name: empty
"#;

#[test]
fn a_rule_file_is_read_as_prometheus_reads_it() {
    let groups = load("r.yml", GOOD, true).unwrap_or_else(|problems| panic!("{problems:?}"));
    let [group, empty] = groups.as_slice() else { panic!("{groups:?}") };
    assert_eq!((group.name.as_str(), group.interval, group.hold), ("g", Some(Duration::from_secs(30)), true));
    assert_eq!((empty.interval, empty.rules.len()), (None, 0));
    let rule = &group.rules[0];
    let RuleKind::Alerting(alerting) = &rule.kind else { panic!("{rule:?}") };
    assert_eq!((alerting.pending_for, alerting.keep_firing_for), (Duration::from_secs(300), Duration::from_secs(90)));
    assert_eq!(
        alerting.labels.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["level", "severity", "team"]
    );
    assert_eq!(rule.at.to_string(), "r.yml:6:16");
    assert_eq!(
        (rule.id.as_str(), group.rules[1].id.as_str()),
        (r#"InstanceDown{level="1", severity="page", team="{{ $labels.team }}"}"#, "Always")
    );
}

#[test]
fn a_recording_rule_has_its_labels_as_they_stand_and_both_kinds_have_their_group_s() {
    let text = r#"
groups:
  - name: g
    limit: 20
    labels: {team: a, source: group}
    rules:
      - {record: "a:b", expr: up, labels: {source: "{{ $labels.x }}", job: ""}}
      - {record: "a:b", expr: down, labels: {source: own}}
      - {alert: A, expr: "a:b", labels: {source: own}}
  - {name: h, limit: 0}
"#;
    let groups = load("r.yml", text, true).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!((groups[0].limit, groups[1].limit), (Some(20), None));
    let [first, _, alert] = groups[0].rules.as_slice() else { panic!("{groups:?}") };
    let RuleKind::Recording { labels } = &first.kind else { panic!("{first:?}") };
    let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("job", ""), ("source", "{{ $labels.x }}"), ("team", "a")]);
    assert_eq!(alert.id, r#"A{source="own", team="a"}"#);
    assert_eq!(alert.basis.selectors.len(), 2, "it rests on what is recorded");
}

#[test]
fn an_empty_file_has_no_groups() {
    for text in ["", "# nothing", "groups:", "groups: []"] {
        assert!(load("r.yml", text, false).is_ok_and(|groups| groups.is_empty()), "{text:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_found_at_once_where_it_stands() {
    let text = r#"groups:
  - name: g
    limit: five
    labels: {a-b: b}
    rules:
      - alert: A
        expr: up ==
        fore: 5m
        labels: {"a-b": c}
        annotations: {summary: "{{ $label.x }} {{ toDuration }}"}
      - record: a{b}
        expr: up
        alert: A
        for: 5m
        annotations: {a: b}
      - {record: a:b, labels: {c: "{{ literal"}}
      - {expr: up}
      - alert: B
        for: 5
      - alert: C
        expr: |
          up
            == foo(1)
  - name: g
    evaluation_delay: 1m
    rules:
      - {alert: D, expr: up, labels: {a: b}}
      - {alert: D, expr: down, labels: {a: b}}
      - {alert: E, expr: '"text"', labels: [a]}
"#;
    let found = problems(text);
    let expected = [
        "r.yml:3:12: `limit` is a number of series or alerts, 0 for none, not `five`",
        "r.yml:7:20: ",
        "r.yml:8:9: unknown key `fore`: did you mean `for`?",
        "r.yml:10:36: template: undefined variable \"$label\"",
        "r.yml:10:51: template function \"toDuration\" does not exist",
        "r.yml:11:17: `a{b}` is no name for a series: an expression belongs under `expr`",
        "r.yml:13:16: a rule has `alert` or `record`, not both",
        "r.yml:14:9: `for` belongs to alerting rules, not to a recording rule",
        "r.yml:15:9: `annotations` belongs to alerting rules",
        "r.yml:16:9: a rule needs `expr`",
        "r.yml:17:9: a rule needs `alert` or `record`",
        "r.yml:18:9: a rule needs `expr`",
        "r.yml:19:14: `for`: \"5\" is not a duration",
        "r.yml:23:16: ",
        "r.yml:24:11: group `g` stands twice in this file",
        "r.yml:25:5: Cortex's `evaluation_delay` is `query_offset`",
        "r.yml:29:44: `labels` is a mapping of names to texts, not a list",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

/// What promtool 3.5 says of the same text: `tests/it/rules.rs` asks one that is there.
#[test]
fn what_prometheus_takes_is_taken_and_what_it_refuses_is_refused() {
    for (text, good) in verdicts() {
        let found = load("r.yml", &text, false);
        assert_eq!(found.is_ok(), good, "{text}\n{found:?}");
    }
}

#[test]
fn an_alert_that_stands_twice_has_alerts_of_its_own_each_time() {
    let text = "groups: [{name: g, rules: [{alert: D, expr: up}, {alert: D, expr: down}]}]";
    let groups = load("r.yml", text, false).unwrap_or_else(|problems| panic!("{problems:?}"));
    let ids: Vec<&str> = groups[0].rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["D", "D #2"]);
}

#[test]
fn what_is_no_rule_file_is_refused() {
    assert!(problems("rules: []")[0].starts_with("r.yml:1:1: unknown key `rules`"));
    assert!(problems("[]")[0].contains("a rule file is a mapping"));
    assert!(problems("groups: 5")[0].starts_with("r.yml:1:9: `groups` is a list"));
    assert!(problems("groups: [x]")[0].contains("a group is a mapping"));
    assert!(problems("groups: [{rules: []}]")[0].contains("a group needs `name`"));
    assert!(problems("groups: [{name: g, rules: [{alert: A, alert: B, expr: up}]}]")[0].starts_with("r.yml:1:"));
    assert!(problems("groups: [")[0].starts_with("r.yml:1:"));
    assert!(problems("groups: [{name: g, rules: [{alert: [A], expr: {a: b}}]}]").len() == 2);
}

#[test]
fn any_text_is_a_rule_file_or_refused() {
    let seeds = [
        include_str!("../../../rules/targets.yml"),
        include_str!("../../../rules/redis.yml"),
        "groups: [{name: g, interval: 5s, rules: [{alert: A, expr: 'sum by (a) (b{c=~\"d|e\"}) > 1', for: 1m}]}]",
    ];
    let tokens = [
        "{{ $labels.a }}",
        "{{",
        "}}",
        "expr: ",
        "- ",
        ": ",
        "\n",
        "  ",
        "'",
        "\"",
        "sum",
        "(",
        ")",
        "{",
        "}",
        "=~",
        "[5m]",
        "and on(a)",
        "for: ",
        "1e999",
        "\\x",
        "record: ",
        "&a ",
        "*a",
    ];
    crate::fuzz::texts(600, &seeds, &tokens, crate::fuzz::rule_file);
}

#[test]
fn unit_tests_given_as_rules_are_told_where_they_belong() {
    let problems = load("t.yml", "rule_files: [a.yml]\ntests: []\n", false).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["t.yml:1:1: these are unit tests of rules, not rules: run `watchkeeper test` on them"]);
}

#[test]
fn a_mistake_in_an_expression_is_found_in_every_style_of_yaml() {
    for written in [
        "rate(a[5m:]) @ x",
        "'a{b=\"c''d\"} @ x'",
        r#""a{b=\"c\"} @ x""#,
        "|\n          a\n            + b @ x",
        ">-\n          a\n          + b @ x",
        "a\n          + b @ x",
        "\"a\\\n          + b @ x\"",
    ] {
        let text = format!("groups:\n- name: g\n  rules:\n    - expr: {written}\n      alert: A\n");
        let (line, column) =
            text.lines().enumerate().find_map(|(at, line)| Some((at + 1, line.find("@ x")? + 3))).unwrap();
        let found = problems(&text);
        assert!(found[0].starts_with(&format!("r.yml:{line}:{column}: ")), "{written}: {found:?}, not {line}:{column}");
    }
}

/// Judged by promtool 3.5.3.
#[test]
fn a_limit_is_a_number_as_yaml_has_them() {
    let limit = |text: &str| load("r.yml", &format!("groups: [{{name: g, limit: {text}, rules: []}}]"), false);
    for (text, wanted) in [
        ("0x10", Some(16)),
        ("0b11", Some(3)),
        ("0o10", Some(8)),
        ("010", Some(8)),
        ("08", Some(8)),
        ("1_000", Some(1_000)),
        ("1e3", Some(1_000)),
        ("2.9", Some(2)),
        ("+5", Some(5)),
        ("-1", None),
        ("~", None),
    ] {
        assert_eq!(limit(text).unwrap()[0].limit, wanted, "{text}");
    }
    for text in ["9223372036854775808", "1e30", ".inf", "'5'", "true", "[1]"] {
        assert!(limit(text).is_err(), "{text}");
    }
}
