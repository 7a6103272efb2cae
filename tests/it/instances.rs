//! Several addresses behind one name, and the agent that is told of one name only.

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::configuration::pages_for_everything;
use crate::support::agent::{Agent, Setup};
use crate::support::http::{Answer, HttpService};
use crate::support::place::free_port;
use crate::support::receiver::Receiver;
use crate::support::wait::{SOON, eventually, until};

/// The shipped rules' expressions, without their patience.
const RULES: &str = r#"
groups:
- name: impatient
  rules:
  - alert: AllDown
    expr: watchkeeper_target_up == 0
  - alert: SomeDown
    expr: watchkeeper_instance_up == 0 unless on (target) watchkeeper_target_up == 0
"#;

struct Scene {
    receiver: Receiver,
    services: Vec<HttpService>,
    port: u16,
    agent: Agent,
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

fn hosts(addresses: &[u8]) -> String {
    addresses.iter().map(|last| format!("{} pods.internal\n", ip(*last))).collect()
}

impl Scene {
    /// Three services on one port, at 127.0.0.2 and the next two.
    fn start() -> Self {
        let (receiver, port) = (Receiver::start(), free_port());
        let services = (2..5).map(|last| HttpService::start_at(ip(last), port, Answer::Status(200))).collect();
        let text = format!(
            "{}
defaults: {{interval: 300ms, timeout: 300ms, confirm: 50ms, fall: 3}}
evaluation: {{interval: 300ms}}
rule_files: [{{path: rules.yml, hold: true}}]
shipped_rules: {{disable: [ServiceDown, InstanceDown, Watchdog]}}
targets: {{pods: {{http: {{url: \"http://pods.internal:{port}/health\"}}}}}}
",
            pages_for_everything(&receiver)
        );
        let agent = Setup::new(&text).with_file("rules.yml", RULES).with_hosts(&hosts(&[2, 3, 4])).start();
        let scene = Scene { receiver, services, port, agent };
        scene.wait_for_instances(3);
        scene
    }

    fn instance(&self, last: u8) -> String {
        format!("http://{}:{}/health", ip(last), self.port)
    }

    /// Waits until so many instances have a verdict.
    #[track_caller]
    fn wait_for_instances(&self, count: usize) {
        eventually(&format!("{count} instances"), SOON, || {
            let seen = self.agent.metrics("watchkeeper_instance_up", &[]);
            if seen.len() == count { Ok(()) } else { Err(format!("{seen:?}\n{}", self.agent.lines().join("\n"))) }
        });
    }

    /// The firing alerts of the test's own rules: name and instance.
    fn firing(&self) -> Vec<(String, String)> {
        let json = self.agent.get("/api/v1/alerts").json();
        let text = |alert: &Value, label: &str| alert["labels"][label].as_str().unwrap_or_default().to_owned();
        let alerts = json["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().map(|alert| (text(alert, "alertname"), text(alert, "instance")));
        firing.filter(|(name, _)| ["SomeDown", "AllDown"].contains(&name.as_str())).collect()
    }

    /// Waits until these fire and no other.
    #[track_caller]
    fn wait_for_firing(&self, alerts: &[(String, String)]) {
        eventually(&format!("{alerts:?} to fire"), SOON, || match self.firing() {
            firing if firing == alerts => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    fn lead_to(&self, addresses: &[u8]) {
        self.agent.setup.write("hosts", &hosts(addresses));
    }
}

#[test]
fn one_of_three_dies_then_all_then_one_comes_back() {
    let mut scene = Scene::start();
    let whole = || scene.agent.metrics("watchkeeper_target_up", &["instance=\"http://pods.internal:"]);
    until("the whole to be up", SOON, || whole() == [1.0]);
    assert_eq!(scene.agent.metric("watchkeeper_target_instances"), Some(3.0));

    scene.services[1].stop();
    let page = scene.receiver.wait_for_page("SomeDown", SOON);
    let alert = page.alert("firing", "SomeDown").unwrap().clone();
    assert_eq!(alert["labels"]["instance"], scene.instance(3));
    assert!(alert["annotations"]["cause"].as_str().unwrap().contains("connection refused"), "{alert}");
    scene.wait_for_firing(&[("SomeDown".to_owned(), scene.instance(3))]);
    scene.agent.wait_for_verdict("pods", true);

    scene.services[0].stop();
    scene.services[2].stop();
    let page = scene.receiver.wait_for_page("AllDown", SOON);
    let cause = page.alert("firing", "AllDown").unwrap()["annotations"]["cause"].as_str().unwrap().to_owned();
    for last in 2..5 {
        assert!(cause.contains(&scene.instance(last)), "{last} in {cause}");
    }

    scene.services[2].start_again();
    scene.receiver.wait_for_resolve("AllDown", SOON);
    until("it to be up", SOON, || scene.agent.metrics("watchkeeper_instance_up", &["127.0.0.4"]) == [1.0]);
}

#[test]
fn an_address_that_leaves_the_name_takes_its_alert_along() {
    let mut scene = Scene::start();
    scene.services[2].stop();
    scene.receiver.wait_for_page("SomeDown", SOON);
    scene.lead_to(&[2, 3]);
    scene.receiver.wait_for_resolve("SomeDown", SOON);
    scene.wait_for_instances(2);
    let json = scene.agent.get("/api/v1/targets").json();
    let targets = json["data"]["activeTargets"].as_array().unwrap().clone();
    let instances: Vec<&str> = targets.iter().map(|target| target["labels"]["instance"].as_str().unwrap()).collect();
    assert_eq!(instances, [scene.instance(2), scene.instance(3)]);

    // One address alone is the target itself again.
    scene.lead_to(&[2]);
    scene.wait_for_instances(0);
    scene.agent.wait_for_verdict("pods", true);
    until("its own look", SOON, || scene.agent.metrics("probe_success", &["pods.internal"]) == [1.0]);
}

#[test]
fn the_alert_of_one_instance_survives_a_kill_without_a_word() {
    let mut scene = Scene::start();
    scene.services[1].stop();
    scene.receiver.wait_for_page("SomeDown", SOON);
    scene.agent.kill9();
    scene.agent.start_again();
    scene.wait_for_instances(3);
    scene.wait_for_firing(&[("SomeDown".to_owned(), scene.instance(3))]);
    let said = scene.agent.lines().join("\n");
    let told = scene.receiver.dump();
    assert_eq!(scene.receiver.notifications().len(), 1, "neither resolved nor paged again:\n{told}\n{said}");
    scene.services[1].start_again();
    scene.receiver.wait_for_resolve("SomeDown", SOON);
}

#[test]
fn a_restored_alert_of_one_instance_does_not_wait_for_another_that_is_down() {
    let mut scene = Scene::start();
    scene.services[1].stop();
    scene.receiver.wait_for_page("SomeDown", SOON);
    scene.services[2].stop();
    scene.receiver.wait_for("the page of both", SOON, |delivery| delivery.alerts().len() == 2);
    scene.agent.kill9();
    scene.services[2].start_again();
    scene.agent.start_again();
    let resolve = scene.receiver.wait_for_resolve("SomeDown", SOON);
    assert_eq!(resolve.alert("resolved", "SomeDown").unwrap()["labels"]["instance"], scene.instance(4));
    scene.wait_for_firing(&[("SomeDown".to_owned(), scene.instance(3))]);
}
