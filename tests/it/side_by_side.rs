//! The alert state machine beside a real Prometheus: the same rules over the same application, once a second each, must
//! take every alert through the same states in the same order. When a state begins differs by the phase of the ticks,
//! so only the order is compared, and every phase of the script is longer than what a rule waits for in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::agent::Setup;
use crate::support::client;
use crate::support::http::{Answer, HttpService};
use crate::support::prometheus::{Prometheus, prometheus3};
use crate::support::wait::{SOON, until};

const RULES: &str = r#"
groups:
  - name: side
    rules:
      - {alert: AtOnce, expr: max(w_flap) == 1}
      - {alert: After, expr: max by (part) (w_flap) == 1, for: 2s, annotations: {value: "{{ $value }}"}}
      - {alert: Never, expr: max(w_flap) == 1, for: 30s}
      - {alert: Kept, expr: max(w_gap) == 1, for: 1s, keep_firing_for: 6s}
      - {alert: Missing, expr: max by (part) (w_missing) > 0, for: 1s}
      - {alert: Absent, expr: absent(w_missing), for: 1s}
      - {alert: Mode, expr: max by (mode) (w_mode) == 1, for: 1s, labels: {was: "{{ $labels.mode }}"}}
      - {alert: Level, expr: max(w_level) > 0, labels: {level: '{{ printf "%.1f" $value }}'}}
      - {record: "side:flap", expr: max(w_flap)}
      - {alert: Chained, expr: "side:flap == 1"}
      - {alert: Many, expr: 'count(ALERTS{alertname=~"AtOnce|Missing", alertstate="firing"}) > 1'}
"#;

/// How long each phase lasts, and what the application shows in it: flap, gap, missing (-: no such series), mode, level.
const PHASE: Duration = Duration::from_secs(4);
const SCRIPT: [(&str, &str, &str, &str, &str); 8] = [
    ("0", "0", "0", "a", "0"),
    ("1", "1", "1", "a", "1"),
    ("0", "0", "-", "b", "2"),
    ("1", "1", "2", "b", "2"),
    ("1", "0", "0", "c", "0"),
    ("0", "0", "-", "c", "3.25"),
    ("1", "0", "1", "a", "0"),
    ("0", "0", "0", "a", "0"),
];

fn page(phase: usize) -> String {
    let (flap, gap, missing, mode, level) = SCRIPT[phase.min(SCRIPT.len() - 1)];
    let missing = if missing == "-" { String::new() } else { format!("w_missing{{part=\"x\"}} {missing}\n") };
    format!("w_flap{{part=\"x\"}} {flap}\nw_gap {gap}\n{missing}w_mode{{mode=\"{mode}\"}} 1\nw_level {level}\n")
}

/// Prometheus 3 takes no page that does not say what it is.
fn shown(phase: usize) -> Answer {
    let headers = vec![("Content-Type".to_owned(), "text/plain; version=0.0.4".to_owned())];
    Answer::Full { status: 200, headers, body: page(phase).into_bytes() }
}

/// Which states each alert went through, by its labels.
#[derive(Default)]
struct Seen(BTreeMap<String, Vec<String>>);

impl Seen {
    fn now(address: &str) -> Option<Self> {
        let mut seen = Seen::default();
        seen.look(address);
        (!seen.0.is_empty()).then_some(seen)
    }

    /// Only the alert of the first mode, and it fires.
    fn is_settled(&self) -> bool {
        self.0.len() == 1 && self.0.iter().all(|(labels, states)| labels.contains("Mode") && states == &["firing"])
    }

    fn look(&mut self, address: &str) {
        let Ok(answer) = client::get(address, "/api/v1/alerts") else { return };
        let alerts = answer.json()["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let now: BTreeMap<String, String> = alerts.iter().filter_map(state).collect();
        for (labels, states) in &mut self.0 {
            add(states, now.get(labels).map_or("gone", String::as_str));
        }
        for (labels, state) in now {
            self.0.entry(labels).or_insert_with(|| vec![state]);
        }
    }
}

fn add(states: &mut Vec<String>, state: &str) {
    if states.last().is_none_or(|last| last != state) {
        states.push(state.to_owned());
    }
}

/// The alert's labels and state, where it is one of [`RULES`].
fn state(alert: &Value) -> Option<(String, String)> {
    let name = alert["labels"]["alertname"].as_str()?;
    let ours = RULES.contains(&format!("alert: {name},"));
    ours.then(|| (alert["labels"].to_string(), alert["state"].as_str().unwrap_or_default().to_owned()))
}

#[test]
fn every_alert_goes_through_the_same_states_as_in_a_real_prometheus() {
    let application = HttpService::start(shown(0));
    let prometheus = Prometheus::start_program(
        &prometheus3().unwrap_or_else(|| PathBuf::from("prometheus")),
        &format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs: [{{job_name: app, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]\n",
            application.port()
        ),
        RULES,
    );
    let agent = Setup::new(&format!(
        "defaults: {{interval: 1s, timeout: 900ms}}\n\
         evaluation: {{interval: 1s, react: false}}\n\
         rule_files: [rules.yml]\n\
         targets: {{app: {{scrape: {{url: \"{}\"}}}}}}\n",
        application.url("/metrics")
    ))
    .with_file("rules.yml", RULES)
    .start();
    agent.wait_for_verdict("app", true);
    let address = format!("127.0.0.1:{}", prometheus.port);
    // Before the first page everything is absent, for as long as each of them takes to start.
    for address in [&*address, agent.address()] {
        until("the first phase to be settled", SOON, || Seen::now(address).is_some_and(|seen| seen.is_settled()));
    }
    let (mut theirs, mut ours) = (Seen::default(), Seen::default());
    for phase in 1..SCRIPT.len() {
        application.answer(shown(phase));
        let began = Instant::now();
        while began.elapsed() < PHASE {
            theirs.look(&address);
            ours.look(agent.address());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    assert!(theirs.0.len() > 12, "{:#?}", theirs.0);
    assert_eq!(ours.0, theirs.0);
}
