//! The generic webhook: Alertmanager's payload, version 4, signed by Standard Webhooks where keys are given.

use std::time::Duration;

use crate::alert::group::Notification;
use crate::config::fields::Fields;
use crate::config::tree::{Node, Problem, from_node};
use crate::notify::judge::{Answer, Meaning};
use crate::notify::payload::{is_resolved, payload};
use crate::notify::send::{Request, destination};
use crate::notify::{Delivery, Manner, Message, sign, timeout, written};
use crate::sample::Timestamp;
use crate::secret::{Secret, SecretSource};

pub const KEYS: &[&str] =
    &["url", "url_file", "send_resolved", "max_alerts", "timeout", "signing_secrets", "signing_secrets_file"];
pub const LATER: &[&str] = &["http_config"];

/// Where a webhook goes. `PartialEq` compares sources, not the secrets behind them.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub url: SecretSource,
    pub send_resolved: bool,
    /// At most this many alerts in a payload, the rest counted as truncated; 0: all.
    pub max_alerts: usize,
    pub timeout: Duration,
    /// `whsec_…` keys, every one of which signs.
    pub signing_secrets: Vec<SecretSource>,
}

pub(crate) fn read(fields: &mut Fields) -> Option<Settings> {
    Some(Settings {
        timeout: timeout(fields),
        send_resolved: fields.get("send_resolved").unwrap_or(true),
        max_alerts: fields.get("max_alerts").unwrap_or(0),
        signing_secrets: signing_secrets(fields),
        url: fields.secret("url", true)?,
    })
}

/// `signing_secrets`, or the file with one on each line.
fn signing_secrets(fields: &mut Fields) -> Vec<SecretSource> {
    if fields.node.get("signing_secrets_file").is_some() {
        return fields.secret("signing_secrets", false).into_iter().collect();
    }
    let mut keys = Vec::new();
    for item in fields.items("signing_secrets") {
        match signing_secret(item) {
            Ok(key) => keys.push(key),
            Err(problem) => fields.problems.push(problem),
        }
    }
    keys
}

fn signing_secret(item: &Node) -> Result<SecretSource, Problem> {
    let named = |message: String| Problem::new(&item.at, format!("`signing_secrets`: {message}"));
    let key = from_node(item).map(SecretSource::Value).map_err(|problem| named(problem.message))?;
    match sign::keys(&key) {
        Ok(_) => Ok(key),
        Err(error) => Err(named(format!("{error}: make one with `openssl rand -base64 32`"))),
    }
}

impl Settings {
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let url = self.url.read().map_err(|error| error.to_string()).and_then(|url| destination(&url).map(|_| ()));
        let mut problems: Vec<_> = url.err().map(|message| ("url", message)).into_iter().collect();
        for source in &self.signing_secrets {
            problems.extend(sign::keys(source).err().map(|error| ("signing_secrets", error.to_string())));
        }
        problems
    }

    pub fn identity(&self) -> Secret {
        Secret::new(written(&self.url))
    }

    pub fn manner(&self) -> Manner {
        Manner { pairs: self.send_resolved, ..Manner::default() }
    }

    pub fn messages(&self, notification: &Notification, external_url: &str) -> Vec<Message> {
        let payload = payload(notification, self.send_resolved, self.max_alerts, external_url);
        let message = |payload| Message {
            key: notification.key.clone(),
            first: notification.first,
            resolve: is_resolved(notification),
            payload,
        };
        payload.map(message).into_iter().collect()
    }

    pub fn request(&self, delivery: &Delivery, wall_ms: Timestamp) -> Result<Request, String> {
        let url = self.url.read().map_err(|error| error.to_string())?;
        destination(&url)?;
        let timestamp = wall_ms.div_euclid(1_000);
        let mut headers = vec![
            ("content-type", Secret::new("application/json")),
            ("webhook-id", Secret::new(&*delivery.id)),
            ("webhook-timestamp", Secret::new(timestamp.to_string())),
        ];
        let mut keys = Vec::new();
        for source in &self.signing_secrets {
            keys.extend(sign::keys(source).map_err(|error| error.to_string())?);
        }
        if !keys.is_empty() {
            headers.push(("webhook-signature", sign::signature(&keys, &delivery.id, timestamp, &delivery.payload)));
        }
        Ok(Request { url, headers, body: delivery.payload.clone(), hidden: Vec::new(), timeout: self.timeout })
    }
}

/// 2xx: done. 400, 413 and 422: final. 410: disabled. Everything else is tried again, redirects too: they are never
/// followed, since a signed page goes where the configuration says and nowhere else.
pub fn meaning(answer: &Answer) -> Meaning {
    match answer.status {
        200..=299 => Meaning::Taken,
        400 | 413 | 422 => Meaning::Refused,
        410 => Meaning::Gone,
        _ => Meaning::Later,
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
