//! The configuration that most tests share: looks often, evaluates often, pages at once.

use crate::support::agent::Setup;
use crate::support::receiver::Receiver;

/// A rule without a delay, for any target: tests that are about something else than the shipped rules' patience.
pub const RULES: &str = r#"
groups:
- name: test
  rules:
  - alert: TargetDown
    expr: watchkeeper_target_up == 0
    labels: {severity: critical, test: "yes"}
    annotations: {summary: "{{ $labels.target }} is down"}
"#;

/// Three failures in a row and a whole interval for each look: a busy machine is no outage.
const OFTEN: &str = "
defaults: {interval: 500ms, timeout: 500ms, confirm: 50ms, fall: 3}
evaluation: {interval: 300ms}
rule_files: [{path: rules.yml, hold: true}]
";

/// Pages the receiver for the alerts of [`RULES`] alone; `more` holds the targets, and whatever else.
pub fn paging(receiver: &Receiver, more: &str) -> Setup {
    Setup::new(&paging_text(receiver, more)).with_file("rules.yml", RULES)
}

/// What [`paging`] writes, to change the configuration of a running agent.
pub fn paging_text(receiver: &Receiver, more: &str) -> String {
    format!(
        "{OFTEN}
alerting:
  route:
    receiver: nobody
    routes:
    - {{receiver: people, matchers: ['test=\"yes\"'], group_by: [alertname, target]}}
  receivers:
  - name: nobody
  - name: people
    webhook_configs: [{{url: \"{}\"}}]
{more}",
        receiver.url()
    )
}

/// Pages the receiver for every alert, the shipped rules' too.
pub fn paging_everything(receiver: &Receiver, more: &str) -> Setup {
    Setup::new(&paging_everything_text(receiver, more)).with_file("rules.yml", RULES)
}

/// What [`paging_everything`] writes.
pub fn paging_everything_text(receiver: &Receiver, more: &str) -> String {
    format!("{OFTEN}{}{more}", pages_for_everything(receiver))
}

/// The `alerting` that pages for every alert, each target on its own; but for what an agent says of itself on a machine
/// that stands still for seconds, which is true, and no business of the tests.
pub fn pages_for_everything(receiver: &Receiver) -> String {
    format!(
        "
alerting:
  route:
    receiver: people
    group_by: [alertname, target]
    routes: [{{receiver: nobody, matchers: [alertname=EvaluationLate]}}]
  receivers: [{{name: nobody}}, {{name: people, webhook_configs: [{{url: \"{}\"}}]}}]
",
        receiver.url()
    )
}
