//! Who is told: PagerDuty of what is critical, Slack of the rest, a dead man's switch of nothing but the watch itself.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::receivers::{Imitation, PAGERDUTY, SLACK};
use crate::support::receiver::{Delivery, Receiver};
use crate::support::wait::{Witness, eventually, until};

/// A `for` or a window of 10 minutes takes 10 s here, one follows the other, and a machine that stands still for some
/// seconds makes both begin anew.
const PATIENT: Duration = Duration::from_secs(180);

pub struct People {
    pagerduty: Receiver,
    slack: Receiver,
    dead_man: Receiver,
    witness: Witness,
}

/// What somebody must be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// `pagerduty` or `slack`.
    receiver: &'static str,
    alert: &'static str,
    severity: &'static str,
    priority: &'static str,
    summary: String,
    /// A part of the cause.
    cause: &'static str,
}

pub fn critical(alert: &'static str, priority: &'static str, summary: &str) -> Page {
    let summary = summary.to_owned();
    Page { receiver: "pagerduty", alert, severity: "critical", priority, summary, cause: "" }
}

pub fn warning(alert: &'static str, summary: &str) -> Page {
    let summary = summary.to_owned();
    Page { receiver: "slack", alert, severity: "warning", priority: "P2", summary, cause: "" }
}

impl Page {
    pub fn because(mut self, cause: &'static str) -> Self {
        self.cause = cause;
        self
    }
}

/// What a receiver was told of one alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    receiver: &'static str,
    /// The same in a page and its resolve. Slack has none: the alert's labels stand for it.
    key: String,
    fires: bool,
    alert: String,
    severity: String,
    priority: String,
    summary: String,
    /// All that it says.
    text: String,
}

impl Told {
    /// Whether it is about the same alert, at the same receiver.
    fn is_of(&self, page: &Told) -> bool {
        (self.receiver, &self.key) == (page.receiver, &page.key)
    }
}

impl People {
    pub fn start() -> Self {
        let (pagerduty, slack, dead_man) = (Receiver::start(), Receiver::start(), Receiver::start());
        pagerduty.decide(PAGERDUTY.yes);
        slack.decide(SLACK.yes);
        People { pagerduty, slack, dead_man, witness: Witness::start() }
    }

    /// What the machine under the tests says of itself is true, and no business of theirs: others may keep it busy,
    /// or fill its disks. So is what the agent says of itself where the machine stood still under it.
    pub fn alerting(&self, disk: &Path) -> String {
        let endpoints = |kind: &Imitation, receiver: &Receiver| (kind.endpoints)(&receiver.url());
        format!(
            "
alerting:
  route:
    receiver: slack
    group_by: ['...']
    routes:
    - {{receiver: nobody, matchers: ['alertname=~\"CpuHigh|LoadHigh|MemoryHigh|OomKill|ContainerCpuThrottled\"']}}
    - {{receiver: nobody, matchers: ['alertname=~\"EvaluationLate|AgentBlind|DeliveryFailing\"']}}
    - {{receiver: nobody, matchers: ['alertname=~\"DiskFull|InodesLow\"', 'mountpoint!=\"{}\"']}}
    - {{receiver: dead-man, matchers: ['alertname=\"Watchdog\"'], repeat_interval: 1s}}
    - {{receiver: pagerduty, matchers: ['severity=\"critical\"']}}
  receivers:
  - {{name: nobody}}
  - {{name: pagerduty, {}}}
  - {{name: slack, {}}}
  - {{name: dead-man, webhook_configs: [{{url: \"{}\"}}]}}
",
            disk.display(),
            endpoints(&PAGERDUTY, &self.pagerduty),
            endpoints(&SLACK, &self.slack),
            self.dead_man.url()
        )
    }

    /// Waits for the page, and returns it as it was told.
    #[track_caller]
    pub fn told(&self, page: &Page) -> Told {
        let is_it = |told: &Told| told.fires && told.alert == page.alert && told.summary == page.summary;
        let told = self.wait_for(&format!("{page:?}"), is_it);
        let facts = (told.receiver, told.severity.as_str(), told.priority.as_str());
        assert_eq!(facts, (page.receiver, page.severity, page.priority), "{told:#?}");
        for part in [&format!("docs/runbooks/{}.md", page.alert), page.cause] {
            assert!(told.text.contains(part), "no {part}: {told:#?}");
        }
        told
    }

    /// Waits for the end of what was told, at the same receiver and under the same key.
    #[track_caller]
    pub fn told_of_the_end(&self, page: &Told) {
        let what = format!("the end of {:?} {}", page.summary, page.key);
        let newest = || self.all().into_iter().rfind(|told| told.is_of(page)).filter(|told| !told.fires);
        let told = eventually(&what, PATIENT, || newest().ok_or_else(|| format!("{:#?}", self.all())));
        assert!(told.text.contains("recovered"), "{told:#?}");
    }

    /// These were told, each of them once; of those that have ended, once that they have; and nothing else was, nor is
    /// on its way: the switch is told by the same evaluations. Seconds in which the machine stood still are minutes here,
    /// without a request or an answer: the same may have been told again, and that what was under way took long.
    #[track_caller]
    pub fn nothing_else(&self, pages: &[Told]) {
        self.hear_the_dead_man_s_switch_again();
        let mut others = self.all();
        for page in pages {
            for fires in [true, false] {
                let is_it = |told: &Told| told.fires == fires && told.is_of(page);
                others.iter().position(is_it).map(|at| others.remove(at));
            }
        }
        if self.witness.stood_still() > Duration::ZERO {
            others.retain(|told| !told.alert.starts_with("Latency") && !pages.iter().any(|page| told.is_of(page)));
        }
        assert!(others.is_empty(), "nobody should have been told of:\n{others:#?}\nbut only of:\n{pages:#?}");
    }

    /// Begins a new page of the book: what was told until now is no longer looked at.
    pub fn forget(&self) {
        self.pagerduty.forget();
        self.slack.forget();
    }

    /// Waits for two more of its beats.
    #[track_caller]
    fn hear_the_dead_man_s_switch_again(&self) {
        let before = self.dead_man.accepted().len();
        until("two more beats of the dead man's switch", PATIENT, || self.dead_man.accepted().len() >= before + 2);
        for beat in self.dead_man.accepted() {
            assert!(beat.alert("firing", "Watchdog").is_some() && beat.alerts().len() == 1, "{}", self.dead_man.dump());
        }
    }

    #[track_caller]
    fn wait_for(&self, what: &str, is_it: impl Fn(&Told) -> bool) -> Told {
        eventually(what, PATIENT, || self.all().into_iter().find(&is_it).ok_or_else(|| format!("{:#?}", self.all())))
    }

    /// What both have taken, checked against what their providers take, in the order of each.
    fn all(&self) -> Vec<Told> {
        let by_pagerduty = deliveries(&self.pagerduty, &PAGERDUTY).iter().map(event).collect::<Vec<_>>();
        let by_slack = deliveries(&self.slack, &SLACK).iter().map(message).collect::<Vec<_>>();
        [by_pagerduty, by_slack].concat()
    }
}

/// An attempt whose answer came too late is made again, with the same bytes: it counts once.
fn deliveries(receiver: &Receiver, kind: &Imitation) -> Vec<Delivery> {
    let mut taken = receiver.accepted();
    taken.dedup_by(|one, other| one.request.body == other.request.body);
    taken.iter().for_each(kind.check);
    taken
}

fn event(delivery: &Delivery) -> Told {
    let event = &delivery.payload;
    let (payload, labels) = (&event["payload"], &event["payload"]["custom_details"]["labels"]);
    Told {
        receiver: "pagerduty",
        key: text(&event["dedup_key"]),
        fires: event["event_action"] == "trigger",
        alert: text(&payload["class"]),
        severity: text(&payload["severity"]),
        priority: text(&labels["priority"]),
        summary: text(&payload["summary"]),
        text: event.to_string(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Each alert is a group of its own, and so a message.
fn message(delivery: &Delivery) -> Told {
    let block = text(&delivery.payload["blocks"][0]["text"]["text"]);
    let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(&format!("*{name}* "))).unwrap_or_default();
    let label = |name: &str| between(line("Labels"), &format!("{name}=\""), "\"");
    let headline = text(&delivery.payload["text"]);
    Told {
        receiver: "slack",
        key: line("Labels").to_owned(),
        fires: headline.starts_with("[FIRING] "),
        alert: label("alertname"),
        severity: line("Severity").to_owned(),
        priority: label("priority"),
        summary: headline.split_once("] ").map_or(String::new(), |(_, summary)| summary.to_owned()),
        text: block.clone(),
    }
}

/// What stands between the two, or nothing.
fn between(text: &str, before: &str, after: &str) -> String {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    found.map_or(String::new(), |(found, _)| found.to_owned())
}
