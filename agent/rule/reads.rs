//! Which series a rule reads, as far as its selectors tell.

use super::basis::could_name;
use super::{Group, Rule, RuleKind};
use crate::matcher::{MatchOp, Matcher};
use crate::probe::KINDS;
use crate::sample::{Labels, METRIC_NAME};

/// Whether some target that a restored alert of the rule could rest on is not known yet: until then the alert is kept
/// as it is. Recorded series are followed to what they rest on. A selector that could match the target that the
/// alert's own labels name (or, where they name none, the targets of its `service`) is about that one, so that one
/// target which stays unknown does not keep the alerts of all others. `targets` are the labels of each target's
/// verdict and whether it is known.
pub fn waits_for(rule: &Rule, alert: &Labels, targets: &[(Labels, bool)]) -> bool {
    let name = ["target", "service"].into_iter().find(|name| !alert.get(name).is_empty());
    let is_own = |target: &Labels| name.is_some_and(|name| target.get(name) == alert.get(name));
    rule.basis.selectors.iter().any(|matchers| {
        let read = || targets.iter().filter(|(target, _)| could_match(matchers, target));
        let about_own = read().any(|(target, _)| is_own(target));
        read().any(|(target, known)| !known && (!about_own || is_own(target)))
    })
}

/// Whether a rule of the group reads a series of the target: its changed verdict then brings the group's next
/// evaluation forward. `target` are the labels of its verdict.
pub fn reads_target(group: &Group, target: &Labels) -> bool {
    group.rules.iter().any(|rule| reads(rule, target))
}

/// Whether one of a group's rules could see what the group writes itself: `ALERTS`, `ALERTS_FOR_STATE`, or what its rules record.
pub fn sees_own(rules: &[Rule]) -> bool {
    let recorded = rules.iter().filter(|rule| matches!(rule.kind, RuleKind::Recording { .. }));
    let own: Vec<&str> = recorded.map(|rule| rule.name.as_str()).chain(["ALERTS", "ALERTS_FOR_STATE"]).collect();
    let could_see = |matchers: &[Matcher]| own.iter().any(|name| could_name(matchers, name));
    rules.iter().any(|rule| rule.expr.reads().iter().any(|read| could_see(&read.selector.matchers)))
}

fn reads(rule: &Rule, target: &Labels) -> bool {
    rule.expr.reads().iter().any(|read| could_match(&read.selector.matchers, target))
}

/// Labels that the target's verdict does not carry say nothing: a series may have its own besides.
fn could_match(matchers: &[Matcher], target: &Labels) -> bool {
    matchers.iter().all(|matcher| {
        let value = target.get(&matcher.name);
        match (&*matcher.name, matcher.op) {
            (METRIC_NAME, MatchOp::Equal) => could_report(target.get("kind"), &matcher.value),
            _ => value.is_empty() || matcher.matches(value),
        }
    })
}

/// Whether a target of this kind can have a metric. Names that no kind declares are facts of every target, except
/// the agent's own and what rules write (recorded names have a colon by convention).
fn could_report(kind: &str, metric: &str) -> bool {
    let declares = |kind: &crate::probe::Kind| kind.metrics.iter().any(|declared| declared.name == metric);
    let mut declared = KINDS.iter().filter(|kind| declares(kind)).peekable();
    if declared.peek().is_some() {
        return kind.is_empty() || declared.any(|found| found.name == kind);
    }
    let of_targets = ["watchkeeper_target_", "watchkeeper_instance_"];
    let agents_own = metric.starts_with("watchkeeper_") && !of_targets.iter().any(|prefix| metric.starts_with(prefix));
    !agents_own && !metric.contains(':') && !matches!(metric, "ALERTS" | "ALERTS_FOR_STATE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::file;

    fn group(expr: &str) -> Group {
        let text = format!("groups: [{{name: g, rules: [{{alert: A, expr: '{expr}'}}]}}]");
        file::load("a.yml", &text, true).unwrap_or_else(|problems| panic!("{problems:?}")).remove(0)
    }

    fn target(name: &str, kind: &str, priority: &str) -> Labels {
        Labels::new([("target", name), ("kind", kind), ("priority", priority), ("job", name)])
    }

    #[test]
    fn a_rule_waits_for_the_targets_that_it_could_read() {
        let db = || target("db", "postgres", "P0");
        for (expr, waits) in [
            (r#"watchkeeper_target_up{priority="P0"} == 0"#, true),
            (r#"watchkeeper_target_up{priority="P1"} == 0"#, false),
            (r#"probe_success{job=~"d.*"}"#, true),
            (r#"probe_success{job!="db"}"#, false),
            // A label that verdicts do not carry may stand on the target's other series.
            (r#"pg_up{datname="x"}"#, true),
            (r#"a{job="x"} and on (target) b{target="db"}"#, true),
            ("redis_up == 0", false),
            ("pg_up == 0", true),
            ("watchkeeper_instance_up == 0", true),
            ("watchkeeper_state_lost == 1", false),
            (r#"ALERTS{alertname="x"}"#, false),
            ("time() > bool 5", false),
        ] {
            let group = group(expr);
            let waits_for = |known| waits_for(&group.rules[0], &Labels::default(), &[(db(), known)]);
            assert_eq!(waits_for(false), waits, "{expr}");
            assert_eq!(reads_target(&group, &db()), waits, "{expr}");
            assert!(!waits_for(true), "{expr}: has its verdict");
        }
    }

    #[test]
    fn a_rule_waits_until_the_last_of_its_targets_has_a_verdict() {
        let rule = group("watchkeeper_target_up == 0").rules.remove(0);
        let targets = |a, b| [(target("a", "http", "P0"), a), (target("b", "http", "P0"), b)];
        let any = Labels::default();
        assert!(waits_for(&rule, &any, &targets(true, false)));
        assert!(!waits_for(&rule, &any, &targets(true, true)));
        assert!(!waits_for(&rule, &any, &[]));
    }

    #[test]
    fn an_alert_of_one_target_waits_for_that_one_and_for_what_else_its_rule_names() {
        let alert = target("a", "http", "P0");
        let targets = |a, b| [(target("a", "http", "P0"), a), (target("b", "http", "P0"), b)];
        let rule = group("watchkeeper_target_up == 0").rules.remove(0);
        assert!(!waits_for(&rule, &alert, &targets(true, false)));
        assert!(waits_for(&rule, &alert, &targets(false, true)));
        let rule = group(r#"probe_success{target="a"} == 0 and on () probe_success{target="b"} == 0"#).rules.remove(0);
        assert!(waits_for(&rule, &alert, &targets(true, false)));
    }

    #[test]
    fn groups_that_could_see_what_they_write_are_known() {
        for (expr, sees) in
            [("ALERTS", true), (r#"{alertstate="firing"}"#, true), (r#"{__name__=~"ALERTS.*"}"#, true), ("up", false)]
        {
            assert_eq!(group(expr).sees_own, sees, "{expr}");
        }
        let text = "groups: [{name: g, rules: [{record: 'a:b', expr: c}, {alert: A, expr: 'a:b == 0'}]}]";
        assert!(file::load("a.yml", text, true).unwrap()[0].sees_own);
    }
}
