//! Alerts whose inputs cannot be seen, from end to end: who is told what meanwhile, and how it ends.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::configuration::pages_for_everything;
use crate::reload::wait_for_reloads;
use crate::support::agent::{Agent, Setup, let_pass};
use crate::support::http::{Answer, HttpService};
use crate::support::receiver::Receiver;
use crate::support::wait::{SOON, eventually, until};

/// The same rule under another name in a file that holds its alerts, and in one that does not.
fn rules(alert: &str) -> String {
    format!("groups: [{{name: jobs, rules: [{{alert: {alert}, expr: jobs_waiting > 5}}]}}]")
}

/// Several evaluations.
const A_WHILE: Duration = Duration::from_millis(1_500);

struct Scene {
    application: HttpService,
    receiver: Receiver,
    agent: Agent,
}

fn configuration(application: &HttpService, receiver: &Receiver, more: &str) -> String {
    format!(
        "
defaults: {{interval: 300ms, timeout: 300ms, confirm: 50ms, fall: 3}}
evaluation: {{interval: 300ms}}
rule_files: [foreign.yml, {{path: held.yml, hold: true}}]
targets: {{app: {{scrape: {{url: \"{}\"}}}}}}
{}{more}",
        application.url("/metrics"),
        pages_for_everything(receiver)
    )
}

fn waiting(jobs: u32) -> Answer {
    Answer::text(200, &format!("# TYPE jobs_waiting gauge\njobs_waiting {jobs}\n"))
}

/// Both alerts have paged.
fn firing() -> Scene {
    let (application, receiver) = (HttpService::start(waiting(7)), Receiver::start());
    let setup = Setup::new(&configuration(&application, &receiver, ""));
    let agent = setup.with_file("foreign.yml", &rules("Foreign")).with_file("held.yml", &rules("Held")).start();
    for name in ["Foreign", "Held"] {
        receiver.wait_for_page(name, SOON);
    }
    Scene { application, receiver, agent }
}

/// As [`firing`]; then the application answers nobody any more.
fn blind() -> Scene {
    let scene = firing();
    scene.application.answer(Answer::Hang);
    scene.wait_until_blind();
    scene
}

impl Scene {
    fn alert(&self, name: &str) -> Option<Value> {
        let json = self.agent.get("/api/v1/alerts").json();
        json["data"]["alerts"].as_array()?.iter().find(|alert| alert["labels"]["alertname"] == name).cloned()
    }

    fn wait_until_blind(&self) -> Value {
        eventually("the alert to be blind", SOON, || match self.alert("Held") {
            Some(alert) if alert["blind"] == true => Ok(alert),
            other => Err(format!("{other:?}")),
        })
    }

    /// How many notifications say that the alert is so.
    fn told(&self, status: &str, name: &str) -> usize {
        self.receiver.attempts().iter().filter(|delivery| delivery.alert(status, name).is_some()).count()
    }

    /// What a command says of the agent.
    fn ask(&self, words: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_watchkeeper"));
        command.args(words).args(["--url", &format!("http://{}", self.agent.address())]).env_clear();
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    fn count_blind(&self) -> Vec<f64> {
        self.agent.metrics("watchkeeper_alerts", &["state=\"blind\""])
    }
}

#[test]
fn a_blind_alert_is_shown_everywhere_and_told_nobody() {
    let scene = blind();
    let alert = scene.wait_until_blind();
    assert_eq!(alert["state"], "firing");
    assert_eq!(alert["blindInputs"], serde_json::json!(["jobs_waiting of app"]));
    assert!(alert["blindSince"].as_str() > alert["activeAt"].as_str(), "{alert}");

    let rules = scene.agent.get("/api/v1/rules?rule_name[]=Held").json();
    let rule = &rules["data"]["groups"][0]["rules"][0];
    assert_eq!((&rule["state"], &rule["alerts"][0]["blindSince"]), (&"firing".into(), &alert["blindSince"]), "{rules}");

    let status = scene.agent.get("/v1/status").json();
    assert_eq!(status["alerts"]["blind"], 1, "{status}");
    assert_eq!(status["blindAlerts"][0]["labels"]["alertname"], "Held");
    assert_eq!(status["blindAlerts"][0]["since"], alert["blindSince"]);

    for command in ["status", "alerts"] {
        let said = scene.ask(&[command]);
        let line = said.lines().find(|line| line.contains("blind") && line.contains("Held"));
        assert!(line.is_some_and(|line| line.contains("jobs_waiting of app")), "{command}: {said}");
    }
    until("it to be counted", SOON, || scene.count_blind() == [1.0]);
    until("its age", SOON, || !scene.agent.metrics("watchkeeper_alert_blind_seconds", &["alert=\"Held\""]).is_empty());

    let_pass(A_WHILE);
    assert_eq!((scene.told("firing", "Held"), scene.told("resolved", "Held")), (1, 0), "{}", scene.receiver.dump());
}

#[test]
fn a_foreign_file_resolves_what_it_does_not_see_as_prometheus_does() {
    let scene = firing();
    scene.application.answer(Answer::Hang);
    scene.receiver.wait_for_resolve("Foreign", SOON);
    assert!(scene.alert("Foreign").is_none());
    scene.wait_until_blind();
}

#[test]
fn inputs_that_return_end_an_alert_or_let_it_go_on() {
    let scene = blind();
    scene.application.answer(waiting(8));
    until("it to be seen", SOON, || scene.alert("Held").is_some_and(|alert| alert.get("blind").is_none()));
    assert_eq!(scene.alert("Held").unwrap()["value"], "8e+00");
    until("nothing to be blind", SOON, || scene.count_blind() == [0.0]);
    assert_eq!((scene.told("firing", "Held"), scene.told("resolved", "Held")), (1, 0), "{}", scene.receiver.dump());

    scene.application.answer(Answer::Hang);
    scene.wait_until_blind();
    scene.application.answer(waiting(2));
    scene.receiver.wait_for_resolve("Held", SOON);
    assert_eq!((scene.told("firing", "Held"), scene.told("resolved", "Held")), (1, 1), "{}", scene.receiver.dump());
    let lines = scene.agent.lines();
    let resolved = lines.iter().find(|line| line.contains("alert resolved") && line.contains("Held"));
    assert!(resolved.is_some_and(|line| line.contains("recovered")), "{resolved:?}");
}

#[test]
fn a_restart_keeps_a_blind_alert_blind() {
    let mut scene = blind();
    let before = scene.wait_until_blind();
    scene.agent.terminate();
    scene.agent.start_again();
    let after = scene.wait_until_blind();
    assert!(after["blindSince"].as_str() >= before["blindSince"].as_str(), "its time goes on: {before} {after}");
    let_pass(A_WHILE);
    assert_eq!(scene.wait_until_blind()["state"], "firing");
    assert_eq!((scene.told("firing", "Held"), scene.told("resolved", "Held")), (1, 0), "{}", scene.receiver.dump());
    scene.application.answer(waiting(2));
    scene.receiver.wait_for_resolve("Held", SOON);
}

#[test]
fn a_file_that_is_no_longer_held_resolves_what_is_blind() {
    let scene = blind();
    let text = configuration(&scene.application, &scene.receiver, "").replace("hold: true", "hold: false");
    scene.agent.setup.configure(&format!("{text}\nlisten: {}\n", scene.agent.address()));
    scene.agent.signal("HUP");
    scene.receiver.wait_for_resolve("Held", SOON);
}

#[test]
fn a_reload_that_leaves_the_rule_as_it_is_keeps_it_blind() {
    let scene = blind();
    let before = scene.wait_until_blind();
    let text = configuration(&scene.application, &scene.receiver, "shipped_rules: {disable: [NobodyIsPaged]}\n");
    scene.agent.setup.configure(&format!("{text}\nlisten: {}\n", scene.agent.address()));
    scene.agent.signal("HUP");
    wait_for_reloads(&scene.agent, "applied", 1);
    let_pass(A_WHILE);
    assert_eq!(scene.wait_until_blind()["blindSince"], before["blindSince"]);
    assert_eq!(scene.told("resolved", "Held"), 0, "{}", scene.receiver.dump());
}
