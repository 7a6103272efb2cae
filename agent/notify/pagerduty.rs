//! PagerDuty's Events API v2 (developer.pagerduty.com/docs/events-api-v2): one incident for each alert.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::alert::group::{Notification, Notified};
use crate::clock::rfc3339;
use crate::config::fields::Fields;
use crate::notify::judge::{Answer, Meaning};
use crate::notify::payload::{annotations, cut, generator_url, runbook, told};
use crate::notify::send::{Request, destination};
use crate::notify::{Delivery, Manner, Message, timeout, written};
use crate::rule::ALERT_NAME;
use crate::sample::{Labels, Timestamp};
use crate::secret::{Secret, SecretSource};

pub const KEYS: &[&str] = &["routing_key", "routing_key_file", "url", "severity", "client", "send_resolved", "timeout"];
pub const LATER: &[&str] = &[
    "service_key",
    "service_key_file",
    "client_url",
    "description",
    "details",
    "images",
    "links",
    "source",
    "component",
    "group",
    "class",
    "http_config",
];

/// The limits that PagerDuty publishes: characters of a key (taken as bytes: nobody counts fewer) and of a summary,
/// bytes of an event.
const MAX_KEY: usize = 255;
const MAX_SUMMARY: usize = 1_024;
const MAX_EVENT: usize = 512_000;
/// What the routing key takes of an event at most, in bytes: `"routing_key":"…",`.
const ROUTING: usize = 64;
/// Characters of any other field.
const MAX_FIELD: usize = 1_024;
const ROUTING_KEY: usize = 32;
const URL: &str = "https://events.pagerduty.com/v2/enqueue";
const SEVERITIES: &[&str] = &["critical", "error", "warning", "info"];

/// A service's integration. `PartialEq` compares sources, not the secrets behind them.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The integration key: 32 characters.
    pub routing_key: SecretSource,
    pub url: Secret,
    /// Instead of what the alert's `severity` gives.
    pub severity: Option<String>,
    /// What the incident says it was made by.
    pub client: String,
    pub send_resolved: bool,
    pub timeout: Duration,
}

pub(crate) fn read(fields: &mut Fields) -> Option<Settings> {
    let severity = fields.text("severity");
    if severity.as_deref().is_some_and(|severity| !SEVERITIES.contains(&severity)) {
        fields.refuse("severity", "one of `critical`, `error`, `warning` and `info` is wanted");
    }
    Some(Settings {
        url: Secret::new(fields.text("url").unwrap_or_else(|| URL.to_owned())),
        severity,
        client: fields.text("client").unwrap_or_else(|| "Watchkeeper".to_owned()),
        send_resolved: fields.get("send_resolved").unwrap_or(true),
        timeout: timeout(fields),
        routing_key: fields.secret("routing_key", true)?,
    })
}

impl Settings {
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let url = destination(&self.url).err().map(|message| ("url", message));
        let key = self.read_key().err().map(|message| ("routing_key", message));
        url.into_iter().chain(key).collect()
    }

    fn read_key(&self) -> Result<Secret, String> {
        let key = self.routing_key.read().map_err(|error| error.to_string())?;
        let length = key.expose().chars().count();
        if length == ROUTING_KEY && key.expose().chars().all(|c| c.is_ascii_alphanumeric()) {
            return Ok(key);
        }
        let found = if length == ROUTING_KEY { "others among them".to_owned() } else { length.to_string() };
        Err(format!("a routing key is the 32 letters and digits of an Events API v2 integration, this one has {found}"))
    }

    pub fn identity(&self) -> Secret {
        Secret::new(format!("{}\n{}", written(&self.routing_key), self.url.expose()))
    }

    pub fn manner(&self) -> Manner {
        Manner { pairs: self.send_resolved, ..Manner::default() }
    }

    /// An event for each alert of which something new is to be told.
    pub fn messages(&self, notification: &Notification, external_url: &str) -> Vec<Message> {
        let news = told(notification, self.send_resolved).into_iter().filter(|told| told.news);
        news.map(|told| self.message(&notification.receiver, told, external_url)).collect()
    }

    fn message(&self, receiver: &str, told: &Notified, external_url: &str) -> Message {
        let key = dedup_key(receiver, &told.alert.id.labels);
        let resolve = told.resolved.is_some();
        let payload = self.event(&key, told, external_url);
        Message { key, first: told.first, resolve, payload }
    }

    /// The event but for its routing key, within its limit: details go first.
    fn event(&self, key: &str, told: &Notified, external_url: &str) -> Bytes {
        let alert = &told.alert;
        let mut event = json!({
            "event_action": if told.resolved.is_some() { "resolve" } else { "trigger" },
            "dedup_key": key,
            "client": self.client,
            "client_url": external_url,
            "links": links(told, external_url),
            "payload": {
                "summary": summary(told),
                "source": source(&alert.id.labels),
                "severity": self.severity.as_deref().unwrap_or_else(|| severity(alert.id.labels.get("severity"))),
                "timestamp": rfc3339(alert.starts_at.unwrap_or(alert.active_at)),
                "component": cut(first_of(&alert.id.labels, &["service", "target"]), MAX_FIELD),
                "group": cut(alert.id.labels.get("job"), MAX_FIELD),
                "class": cut(alert.id.labels.get(ALERT_NAME), MAX_FIELD),
                "custom_details": details(told),
            },
        });
        let whole = event.to_string();
        if whole.len() + ROUTING <= MAX_EVENT {
            return whole.into();
        }
        let lost = whole.len() + ROUTING - MAX_EVENT;
        let note = format!("left out: the event was {lost} bytes longer than PagerDuty takes");
        event["payload"]["custom_details"] = json!({ "details": note });
        event.to_string().into()
    }

    pub fn request(&self, delivery: &Delivery, _: Timestamp) -> Result<Request, String> {
        let key = self.read_key()?;
        let event = delivery.payload.strip_prefix(b"{").ok_or("the kept event is no JSON object")?;
        let body = [format!("{{\"routing_key\":{},", json!(key.expose())).as_bytes(), event].concat();
        let headers = vec![("content-type", Secret::new("application/json"))];
        Ok(Request { url: self.url.clone(), headers, body: body.into(), hidden: vec![key], timeout: self.timeout })
    }
}

/// 202 and its kind: taken. 400: the event is invalid; 413: it is too large. 429 asks to slow down; everything else is
/// another time's matter.
pub fn meaning(answer: &Answer) -> Meaning {
    match answer.status {
        200..=299 => Meaning::Taken,
        400 | 413 => Meaning::Refused,
        _ => Meaning::Later,
    }
}

/// From the receiver and the alert's labels only: the same in every process, on every node, after any change of the
/// routing tree. What is longer than PagerDuty takes ends in a digest of all of it.
pub fn dedup_key(receiver: &str, labels: &Labels) -> String {
    let whole = format!("{receiver}:{labels}");
    if whole.len() <= MAX_KEY {
        return whole;
    }
    let digest: String = Sha256::digest(&whole).iter().map(|byte| format!("{byte:02x}")).collect();
    let end = whole.floor_char_boundary(MAX_KEY - digest.len() - 1);
    format!("{}#{digest}", &whole[..end])
}

fn summary(told: &Notified) -> String {
    let alert = &told.alert;
    let own = alert.annotations.get("summary").filter(|summary| !summary.trim().is_empty());
    let summary = own.cloned().unwrap_or_else(|| alert.id.labels.to_string());
    cut(&summary, MAX_SUMMARY)
}

fn source(labels: &Labels) -> String {
    cut(first_of(labels, &["instance", "target", "service", "node", ALERT_NAME]), MAX_FIELD)
}

/// The first of these labels that is there.
fn first_of<'a>(labels: &'a Labels, names: &[&str]) -> &'a str {
    names.iter().map(|name| labels.get(name)).find(|value| !value.is_empty()).unwrap_or("watchkeeper")
}

/// PagerDuty's four words. What has no grade that we know is an error: neither overlooked nor the loudest.
fn severity(label: &str) -> &'static str {
    match label.to_lowercase().as_str() {
        "critical" | "page" | "emergency" => "critical",
        "warning" | "warn" => "warning",
        "info" | "information" | "notice" | "none" => "info",
        _ => "error",
    }
}

fn links(told: &Notified, external_url: &str) -> Vec<Value> {
    let runbook = runbook(&told.alert).map(|href| json!({ "href": href, "text": "Runbook" }));
    let alerts = json!({ "href": generator_url(external_url), "text": "Alerts of this agent" });
    runbook.into_iter().chain([alerts]).collect()
}

fn details(told: &Notified) -> Value {
    let mut details = Map::new();
    for (name, value) in annotations(told) {
        details.insert(name.to_owned(), value.into());
    }
    details.insert("labels".to_owned(), json!(told.alert.id.labels));
    details.insert("value".to_owned(), told.alert.value.to_string().into());
    Value::Object(details)
}

#[cfg(test)]
#[path = "pagerduty_tests.rs"]
mod tests;
