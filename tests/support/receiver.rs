//! Who is paged: a webhook receiver in this process that keeps everything it is sent.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::http::{Answer, HttpService, Request};
use super::wait::eventually;

/// One request that the receiver was sent, with how it answered.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its place among all requests, from 0.
    pub index: usize,
    /// When it came.
    pub at: Instant,
    pub request: Request,
    /// The payload; null where it was no JSON.
    pub payload: Value,
    pub answer: Answer,
}

impl Delivery {
    /// Whether the receiver took it: whatever else it answered, the sender must try again.
    pub fn accepted(&self) -> bool {
        matches!(self.answer, Answer::Status(200..=299) | Answer::Full { status: 200..=299, .. })
    }

    /// `firing` or `resolved`, of the whole notification.
    pub fn status(&self) -> &str {
        self.payload["status"].as_str().unwrap_or_default()
    }

    pub fn group_key(&self) -> &str {
        self.payload["groupKey"].as_str().unwrap_or_default()
    }

    /// The notification's id, the same in every attempt.
    pub fn id(&self) -> &str {
        self.request.header("webhook-id")
    }

    pub fn alerts(&self) -> &[Value] {
        self.payload["alerts"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The alert of this name and status, if the notification has one.
    pub fn alert(&self, status: &str, name: &str) -> Option<&Value> {
        self.alerts().iter().find(|alert| alert["status"] == status && alert["labels"]["alertname"] == name)
    }

    /// Whether one of the `v1` signatures is right for this key (`whsec_…`), by Standard Webhooks 1.0.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("a key in base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length is a key");
        mac.update(format!("{}.{}.", self.id(), self.request.header("webhook-timestamp")).as_bytes());
        mac.update(&self.request.body);
        let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.request.header("webhook-signature").split(' ').any(|signature| signature == wanted)
    }
}

#[derive(Default)]
struct Kept {
    deliveries: Vec<Delivery>,
    taken: Vec<bool>,
    script: VecDeque<Answer>,
    after_script: Option<Box<dyn Fn() -> Answer + Send>>,
}

/// A receiver on 127.0.0.1: takes everything (200), except where its script says otherwise.
pub struct Receiver {
    kept: Arc<Mutex<Kept>>,
    service: HttpService,
}

impl Receiver {
    pub fn start() -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let service = HttpService::start_deciding({
            let kept = kept.clone();
            move |request| keep(&kept, request)
        });
        Receiver { kept, service }
    }

    pub fn url(&self) -> String {
        self.service.url("/page")
    }

    /// The answers to the next requests, in order; after them it takes everything again.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.kept.lock().expect("no panic").script.extend(answers);
    }

    /// What decides on every later answer for which there is no script.
    pub fn decide(&self, decide: impl Fn() -> Answer + Send + 'static) {
        self.kept.lock().expect("no panic").after_script = Some(Box::new(decide));
    }

    /// Refuses new connections and breaks the open ones.
    pub fn stop(&mut self) {
        self.service.stop();
    }

    /// Listens again on the same port.
    pub fn start_again(&mut self) {
        self.service.start_again();
    }

    /// Everything that was sent, in order, whatever was answered.
    pub fn attempts(&self) -> Vec<Delivery> {
        self.kept.lock().expect("no panic").deliveries.clone()
    }

    /// Forgets everything that was sent until now.
    pub fn forget(&self) {
        let mut kept = self.kept.lock().expect("no panic");
        kept.deliveries.clear();
        kept.taken.clear();
    }

    /// What the receiver took, in order.
    pub fn accepted(&self) -> Vec<Delivery> {
        self.attempts().into_iter().filter(Delivery::accepted).collect()
    }

    /// The ids of what the receiver took. An agent that was killed before it noted the answer sends a notification again,
    /// under the same id.
    pub fn notifications(&self) -> BTreeSet<String> {
        self.accepted().iter().map(|delivery| delivery.id().to_owned()).collect()
    }

    /// Waits for an accepted delivery that fits, and takes it, so that the next wait finds neither it nor a repetition
    /// of it: an agent that was killed before it noted the answer sends a notification again, under the same id.
    /// Fails the test after `within`, with a dump of everything that came.
    #[track_caller]
    pub fn wait_for(&self, what: &str, within: Duration, fits: impl Fn(&Delivery) -> bool) -> Delivery {
        eventually(what, within, || self.take(&fits).ok_or_else(|| format!("these deliveries:\n{}", self.dump())))
    }

    /// Waits for the notification in which the alert of this name fires.
    #[track_caller]
    pub fn wait_for_page(&self, alert: &str, within: Duration) -> Delivery {
        self.wait_for(&format!("the page {alert}"), within, |delivery| delivery.alert("firing", alert).is_some())
    }

    /// Waits for the notification in which the alert of this name has resolved.
    #[track_caller]
    pub fn wait_for_resolve(&self, alert: &str, within: Duration) -> Delivery {
        self.wait_for(&format!("the resolve of {alert}"), within, |delivery| {
            delivery.alert("resolved", alert).is_some()
        })
    }

    fn take(&self, fits: impl Fn(&Delivery) -> bool) -> Option<Delivery> {
        let mut kept = self.kept.lock().expect("no panic");
        let is_taken = |id: &str| kept.deliveries.iter().zip(&kept.taken).any(|(one, taken)| *taken && one.id() == id);
        let free = |at: &usize| {
            let delivery = &kept.deliveries[*at];
            delivery.accepted() && !is_taken(delivery.id()) && fits(delivery)
        };
        let found = (0..kept.deliveries.len()).find(free)?;
        kept.taken[found] = true;
        Some(kept.deliveries[found].clone())
    }

    /// What came, for people: one line for each alert of each request.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for delivery in self.attempts() {
            let Delivery { index, request, payload, answer, .. } = &delivery;
            let _ = writeln!(
                text,
                "#{index} {} {} {} → {answer:?}",
                delivery.id(),
                payload["status"],
                delivery.group_key()
            );
            for alert in delivery.alerts() {
                let _ = writeln!(text, "    {} {} {}", alert["status"], alert["labels"], alert["annotations"]);
            }
            if payload.is_null() {
                let _ = writeln!(text, "    no JSON: {}", String::from_utf8_lossy(&request.body));
            }
        }
        if text.is_empty() { "none at all\n".to_owned() } else { text }
    }
}

fn keep(kept: &Mutex<Kept>, request: &Request) -> Answer {
    let mut kept = kept.lock().expect("no panic");
    let decided = kept.script.pop_front().or_else(|| kept.after_script.as_ref().map(|decide| decide()));
    let answer = decided.unwrap_or(Answer::Status(200));
    let payload = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let index = kept.deliveries.len();
    kept.deliveries.push(Delivery {
        index,
        at: Instant::now(),
        request: request.clone(),
        payload,
        answer: answer.clone(),
    });
    kept.taken.push(false);
    answer
}
