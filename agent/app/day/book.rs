//! What the receivers were told, and what must hold of it: no resolve without its page, no page under two keys, no
//! notification under two ids, nothing out of order.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;

use crate::sample::{Labels, Timestamp};

/// How long an Alertmanager keeps what nobody repeats, milliseconds.
const FORGETS: i64 = 300_000;
/// Why an alert has ended that fires on at another receiver.
const ELSEWHERE: &str = "routed elsewhere";

/// Everything that was accepted, by endpoint.
#[derive(Default)]
pub struct Book {
    endpoints: BTreeMap<String, Endpoint>,
    pub wrong: Vec<String>,
    pub pages: usize,
    pub resolves: usize,
    /// What was accepted again under the same id.
    pub again: usize,
}

#[derive(Default)]
struct Endpoint {
    /// What fires there, by labels and key.
    open: BTreeMap<(String, String), Incident>,
    /// Over for good, by labels and `startsAt`.
    over: BTreeSet<(String, String)>,
    bodies: BTreeSet<Bytes>,
    ids: BTreeMap<String, Bytes>,
    /// The newest id of each key.
    newest: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Incident {
    starts: String,
    told_at: Timestamp,
}

/// One alert as a message tells it.
struct Told {
    labels: String,
    starts: String,
    resolved: bool,
    /// It fires on, elsewhere.
    elsewhere: bool,
}

impl Book {
    /// An endpoint has accepted a message. `endpoint`: `receiver/kind/place`.
    pub fn accept(&mut self, endpoint: &str, id: Option<&str>, body: &Bytes, now: Timestamp) {
        let kind = endpoint.split('/').nth(1).unwrap_or_default().to_owned();
        let (key, told) = match kind.as_str() {
            "webhook" => webhook(body),
            "pagerduty" => pagerduty(body),
            "slack" => slack(body),
            _ => alertmanager(body),
        };
        let known = self.endpoints.entry(endpoint.to_owned()).or_default();
        let again = !known.bodies.insert(body.clone());
        let repeated = id.is_some_and(|id| known.ids.contains_key(id));
        let mut wrong = Vec::new();
        if let Some(id) = id {
            wrong.extend(known.identify(id, &key, body));
        }
        if repeated {
            self.again += 1;
        } else {
            for told in told {
                let before = known.open.len();
                wrong.extend(known.tell(&kind, &key, &told, again && id.is_none(), now));
                self.pages += usize::from(known.open.len() > before);
                self.resolves += usize::from(known.open.len() < before);
            }
        }
        self.wrong.extend(wrong.into_iter().map(|wrong| format!("{endpoint}: {wrong} (key {key})")));
    }

    /// A receiver was removed: what it was told is nobody's any more.
    pub fn forget(&mut self, receiver: &str) {
        self.endpoints.retain(|endpoint, _| endpoint.split('/').next() != Some(receiver));
    }

    /// What fires at an endpoint: labels and since when.
    pub fn open(&self, endpoint: &str, now: Timestamp) -> BTreeMap<String, String> {
        let Some(known) = self.endpoints.get(endpoint) else { return BTreeMap::new() };
        let forgets = endpoint.contains("/alertmanager/");
        let stays = |incident: &&Incident| !forgets || now - incident.told_at < FORGETS;
        let open = known.open.iter().filter(|(_, incident)| stays(incident));
        open.map(|((labels, _), incident)| (labels.clone(), incident.starts.clone())).collect()
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.endpoints.keys().cloned().collect()
    }
}

impl Endpoint {
    /// An id stands for one body, and comes again only before the next one of its key.
    fn identify(&mut self, id: &str, key: &str, body: &Bytes) -> Option<String> {
        let newest = self.newest.insert(key.to_owned(), id.to_owned());
        match self.ids.insert(id.to_owned(), body.clone()) {
            Some(before) if before != body => Some(format!("{id} has another body than before")),
            Some(_) if newest.as_deref() != Some(id) => Some(format!("{id} came again after {newest:?}")),
            _ => None,
        }
    }

    /// `again`: the same message was accepted before, and has no id to tell whether it is meant to be another.
    fn tell(&mut self, kind: &str, key: &str, told: &Told, again: bool, now: Timestamp) -> Option<String> {
        let Told { labels, starts, resolved, elsewhere } = told;
        let place = (labels.clone(), key.to_owned());
        let incident = (labels.clone(), starts.clone());
        let open = self.open.get(&place).cloned();
        let reminded = kind == "alertmanager";
        let wrong = if *resolved {
            if !elsewhere {
                self.over.insert(incident);
            }
            match self.open.remove(&place) {
                Some(open) if open.starts != *starts && !again => Some(format!("ended, and {open:?} was told")),
                // What waited for long is overtaken by reminders, and those repeat what has ended.
                None if !reminded && !again => Some("a resolve without its page".to_owned()),
                _ => None,
            }
        } else if again && self.over.contains(&incident) {
            None
        } else {
            let other =
                self.open.iter().find(|((other, at), open)| other == labels && at != key && open.starts == *starts);
            let wrong = match (open, other) {
                (_, Some(((_, other), _))) => Some(format!("paged under {other} too")),
                (Some(open), _) if open.starts > *starts => Some(format!("older than {open:?}")),
                (None, _) if self.over.contains(&incident) => Some("fires again though it is over".to_owned()),
                _ => None,
            };
            self.open.insert(place, Incident { starts: starts.clone(), told_at: now });
            wrong
        };
        wrong.map(|wrong| format!("{wrong}: {labels} since {starts}"))
    }
}

fn json(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn labels(value: &Value) -> String {
    let labels = value.as_object().unwrap().iter();
    Labels::new(labels.map(|(name, value)| (name.as_str(), value.as_str().unwrap()))).to_string()
}

fn webhook(body: &Bytes) -> (String, Vec<Told>) {
    let message = json(body);
    let told = |alert: &Value| Told {
        labels: labels(&alert["labels"]),
        starts: text(&alert["startsAt"]),
        resolved: alert["status"] == "resolved",
        elsewhere: alert["annotations"]["resolution"] == ELSEWHERE,
    };
    (text(&message["groupKey"]), message["alerts"].as_array().unwrap().iter().map(told).collect())
}

fn pagerduty(body: &Bytes) -> (String, Vec<Told>) {
    let event = json(body);
    let told = Told {
        labels: labels(&event["payload"]["custom_details"]["labels"]),
        starts: text(&event["payload"]["timestamp"]),
        resolved: event["event_action"] == "resolve",
        elsewhere: event["payload"]["custom_details"]["resolution"] == ELSEWHERE,
    };
    (text(&event["dedup_key"]), vec![told])
}

/// A message has no key: people read it.
fn slack(body: &Bytes) -> (String, Vec<Told>) {
    let message = json(body);
    let blocks = message["blocks"].as_array().unwrap().iter().filter(|block| block["type"] == "section");
    let told = |block: &Value| {
        let block = text(&block["text"]["text"]);
        let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        Told {
            labels: line("*Labels* "),
            starts: line("*Since* "),
            resolved: block.contains("*Resolved*"),
            elsewhere: line("*Ended* ") == ELSEWHERE,
        }
    };
    (String::new(), blocks.map(told).collect())
}

fn alertmanager(body: &Bytes) -> (String, Vec<Told>) {
    let told = |alert: &Value| Told {
        labels: labels(&alert["labels"]),
        starts: text(&alert["startsAt"]),
        resolved: alert.get("endsAt").is_some(),
        elsewhere: alert["annotations"]["resolution"] == ELSEWHERE,
    };
    (String::new(), json(body).as_array().unwrap().iter().map(told).collect())
}
