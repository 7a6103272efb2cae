//! Wall clocks that are set while the agent watches or while it does not run: no timer heeds them, and no page is lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::configuration::{RULES, paging_everything};
use crate::support::agent::Setup;
use crate::support::alertmanager::Alertmanager;
use crate::support::faketime::FakeTime;
use crate::support::http::{Answer, HttpService};
use crate::support::receiver::{Delivery, Receiver};
use crate::support::wait::{SOON, until};
use crate::told::{assert_told, firing};

const HOUR: i64 = 3_600;

/// A rule with patience, and the shipped one about the clock with less of it.
const CLOCK_RULES: &str = "
  - {alert: Patient, expr: watchkeeper_target_up == 0, for: 6s}
  - {alert: Stepped, expr: abs(watchkeeper_clock_stepped_seconds) > 1, for: 1s}
";

#[test]
fn a_clock_that_is_set_forward_changes_no_timer_and_loses_no_page() {
    step_in_an_outage(HOUR);
}

#[test]
fn a_clock_that_is_set_back_changes_no_timer_and_loses_no_page() {
    step_in_an_outage(-HOUR);
}

/// The clock is set while one alert fires and another waits; then the agent is started again by the clock as it is;
/// then with the clock as it was.
fn step_in_an_outage(by: i64) {
    let time = FakeTime::new();
    let (service, other) = (HttpService::start(Answer::Status(200)), HttpService::start(Answer::Status(200)));
    let receiver = Receiver::start();
    let targets = format!(
        "targets: {{api: {{http: {{url: \"{}\"}}}}, web: {{http: {{url: \"{}\"}}}}}}",
        service.url("/"),
        other.url("/")
    );
    let setup = paging_everything(&receiver, &format!("{targets}\nshipped_rules: {{disable: [ServiceDown]}}\n"));
    let mut agent = time.over(setup).with_file("rules.yml", &format!("{RULES}{CLOCK_RULES}")).start();
    agent.wait_for_verdict("api", true);
    agent.wait_for_verdict("web", true);

    service.answer(Answer::Status(503));
    let failed = Instant::now();
    let page = receiver.wait_for_page("TargetDown", SOON);
    assert_sent_at(&page, 0);
    time.step_to(by);
    until("the step to be seen", SOON, || {
        agent.metric("watchkeeper_clock_stepped_seconds").is_some_and(|seen| (seen - by as f64).abs() < 5.0)
    });
    assert_eq!(firing(&agent).len(), 1, "nothing fires or resolves by it");
    assert_sent_at(&receiver.wait_for_page("Stepped", SOON), by);
    let patient = receiver.wait_for_page("Patient", SOON);
    assert!(failed.elapsed() >= Duration::from_secs(6), "`for` was cut short to {:?}", failed.elapsed());
    assert_sent_at(&patient, by);

    // Its own time begins anew: nothing differs from it.
    agent.kill9();
    agent.start_again();
    receiver.wait_for_resolve("Stepped", SOON);
    agent.wait_for_verdict("api", false);
    // And the other way round, while it does not run.
    assert!(agent.terminate().success());
    time.step_to(0);
    agent.start_again();
    agent.wait_for_verdict("api", false);
    agent.wait_for_verdict("web", true);
    service.answer(Answer::Status(200));
    let incidents = ["TargetDown", "Patient", "Stepped"].map(|rule| {
        let target = if rule == "Stepped" { "watchkeeper" } else { "api" };
        ((rule.to_owned(), target.to_owned()), 1)
    });
    for rule in ["TargetDown", "Patient"] {
        assert_sent_at(&receiver.wait_for_resolve(rule, SOON), 0);
    }
    assert_told(&receiver, &BTreeMap::from(incidents));
}

/// What the receiver of a signed page compares with its own clock.
#[track_caller]
fn assert_sent_at(delivery: &Delivery, offset: i64) {
    let sent: i64 = delivery.request.header("webhook-timestamp").parse().expect("seconds");
    let difference = sent - jiff::Timestamp::now().as_second();
    assert!((difference - offset).abs() < 60, "sent {difference} s from now, the clock is {offset} s off");
}

#[test]
fn an_alertmanager_takes_the_pages_of_an_agent_whose_clock_has_been_set_right() {
    let time = FakeTime::new();
    time.step_to(HOUR);
    let service = HttpService::start(Answer::Status(503));
    let alertmanager = Alertmanager::start();
    let text = format!(
        "
defaults: {{interval: 300ms, timeout: 300ms, confirm: 50ms, fall: 3}}
evaluation: {{interval: 300ms}}
rule_files: [rules.yml]
alerting:
  route: {{receiver: nobody, routes: [{{receiver: am, matchers: ['test=\"yes\"'], group_by: [target]}}]}}
  receivers: [{{name: nobody}}, {{name: am, alertmanager_configs: [{{urls: [\"{}\"]}}]}}]
targets: {{api: {{http: {{url: \"{}\"}}}}}}
",
        alertmanager.url(),
        service.url("/")
    );
    // Until it fires for the first time, nothing is told: the clock is set right before.
    let agent =
        time.over(Setup::new(&text)).with_file("rules.yml", &RULES.replace("== 0", "== 0\n    for: 3s")).start();
    agent.wait_for_verdict("api", false);
    time.step_to(0);
    until("the alert at Alertmanager", SOON, || alertmanager.alerts().len() == 1);
    service.answer(Answer::Status(200));
    until("no alert at Alertmanager", SOON, || alertmanager.alerts().is_empty());
    assert_eq!(agent.metrics("watchkeeper_deliveries_given_up_total", &[]).iter().sum::<f64>(), 0.0);
}
