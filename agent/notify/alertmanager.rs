//! Alertmanager's API v2: every peer of a cluster is told by itself, and reminded while an alert fires and for a while
//! after, as Prometheus does: see [`crate::notify::reminders`].

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::json;

use crate::alert::group::{Notification, Notified};
use crate::clock::rfc3339;
use crate::config::fields::Fields;
use crate::config::tree::Value;
use crate::notify::judge::{Answer, Meaning};
use crate::notify::payload::{annotations, generator_url, is_resolved, told};
use crate::notify::send::{Request, destination};
use crate::notify::{Delivery, Manner, Message, timeout, written};
use crate::sample::Timestamp;
use crate::secret::{Secret, SecretSource};

pub const KEYS: &[&str] = &["urls", "basic_auth", "authorization", "timeout"];
pub const LATER: &[&str] = &[
    "scheme",
    "path_prefix",
    "static_configs",
    "api_version",
    "tls_config",
    "http_config",
    "alert_relabel_configs",
    "relabel_configs",
];

const PATH: &str = "/api/v2/alerts";

/// One peer. `PartialEq` compares sources, not the secrets behind them.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub url: Secret,
    pub auth: Option<Auth>,
    pub timeout: Duration,
}

/// How the agent says who it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Auth {
    Basic { username: String, password: SecretSource },
    Bearer(SecretSource),
}

/// A peer for each URL.
pub(crate) fn read(fields: &mut Fields) -> Vec<Settings> {
    let urls: Vec<String> = fields.get("urls").unwrap_or_default();
    if urls.is_empty() && !fields.node.get("urls").is_some_and(|node| !matches!(node.value, Value::Sequence(_))) {
        fields.refuse("urls", "the address of every peer is wanted: [\"http://alertmanager-0:9093\", …]");
    }
    let (auth, timeout) = (auth(fields), timeout(fields));
    let peer = |url: String| Settings { url: Secret::new(url), auth: auth.clone(), timeout };
    urls.into_iter().map(peer).collect()
}

fn auth(fields: &mut Fields) -> Option<Auth> {
    if fields.node.get("basic_auth").is_some() && fields.node.get("authorization").is_some() {
        fields.refuse("authorization", "`basic_auth` is given too: keep one of them");
    }
    let node = fields.node;
    for key in ["basic_auth", "authorization"] {
        // What stands there instead may be a secret, so it is not shown.
        if node.get(key).is_some_and(|node| !matches!(node.value, Value::Mapping(_))) {
            fields.refuse(key, "a mapping is wanted");
            return None;
        }
    }
    if let Some(node) = node.get("basic_auth") {
        let mut fields = Fields::of(node, "basic_auth", fields.problems)?;
        fields.only(&["username", "password", "password_file"], &[]);
        let username = fields.text("username").unwrap_or_default();
        return Some(Auth::Basic { username, password: fields.secret("password", true)? });
    }
    let mut fields = Fields::of(node.get("authorization")?, "authorization", fields.problems)?;
    fields.only(&["credentials", "credentials_file"], &["type"]);
    fields.secret("credentials", true).map(Auth::Bearer)
}

impl Auth {
    fn header(&self) -> Result<Secret, String> {
        let secret = self.secret()?;
        Ok(Secret::new(match self {
            Auth::Basic { username, .. } => {
                format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{}", secret.expose())))
            }
            Auth::Bearer(_) => format!("Bearer {}", secret.expose()),
        }))
    }

    fn secret(&self) -> Result<Secret, String> {
        let (Auth::Basic { password: source, .. } | Auth::Bearer(source)) = self;
        source.read().map_err(|error| error.to_string())
    }
}

impl Settings {
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let url = destination(&self.url).err().map(|message| ("urls", message));
        let key = match &self.auth {
            Some(Auth::Basic { .. }) => "password",
            _ => "credentials",
        };
        let auth = self.auth.as_ref().and_then(|auth| auth.header().err()).map(|message| (key, message));
        url.into_iter().chain(auth).collect()
    }

    pub fn identity(&self) -> Secret {
        Secret::new(written(&SecretSource::Value(self.url.clone())))
    }

    /// A refusal may be about one alert of many, so no resolve is held back for it.
    pub fn manner(&self) -> Manner {
        Manner { reminds: true, ..Manner::default() }
    }

    pub fn messages(&self, notification: &Notification, external_url: &str) -> Vec<Message> {
        let alerts: Vec<serde_json::Value> =
            told(notification, true).into_iter().map(|told| alert(told, external_url)).collect();
        let payload = Bytes::from(serde_json::Value::Array(alerts).to_string());
        let (key, resolve) = (notification.key.clone(), is_resolved(notification));
        vec![Message { key, first: notification.first, resolve, payload }]
    }

    pub fn request(&self, delivery: &Delivery, wall_ms: Timestamp) -> Result<Request, String> {
        destination(&self.url)?;
        let base = self.url.expose().trim_end_matches('/');
        let url = if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") };
        let (url, body) = (Secret::new(url), until_now(&delivery.payload, wall_ms));
        let (mut headers, mut hidden) = (vec![("content-type", Secret::new("application/json"))], Vec::new());
        if let Some(auth) = &self.auth {
            headers.push(("authorization", auth.header()?));
            hidden.push(auth.secret()?);
        }
        Ok(Request { url, headers, body, hidden, timeout: self.timeout })
    }
}

/// A firing alert has no `endsAt`: what is frozen here may arrive late, and a time that was near when it was frozen
/// would then be past, a resolve. Alertmanager ends it by itself, its `resolve_timeout` after the last reminder.
fn alert(told: &Notified, external_url: &str) -> serde_json::Value {
    let alert = &told.alert;
    let mut json = json!({
        "labels": alert.id.labels,
        "annotations": annotations(told),
        "startsAt": rfc3339(alert.starts_at.unwrap_or(alert.active_at)),
        "generatorURL": generator_url(external_url),
    });
    if let Some(resolved) = told.resolved {
        json["endsAt"] = rfc3339(resolved.at).into();
    }
    json
}

/// The alerts with no time that is yet to come. Alertmanager refuses what begins later than it ends, takes what ends
/// later than now as firing until then, and gives what has no end one of its own. Our times are ahead of everybody's
/// where the clock was wrong when the agent started and has been set back since.
fn until_now(payload: &Bytes, wall_ms: Timestamp) -> Bytes {
    let Ok(mut alerts) = serde_json::from_slice::<Vec<serde_json::Value>>(payload) else { return payload.clone() };
    let now = rfc3339(wall_ms);
    for alert in &mut alerts {
        limit(alert, "endsAt", &now);
        let end = alert["endsAt"].as_str().unwrap_or(&now).to_owned();
        limit(alert, "startsAt", &end);
    }
    Bytes::from(serde_json::Value::Array(alerts).to_string())
}

/// Both times are written alike: the order of their texts is theirs.
fn limit(alert: &mut serde_json::Value, key: &str, latest: &str) {
    if let Some(at) = alert.get_mut(key).filter(|at| at.as_str().is_some_and(|at| at > latest)) {
        *at = latest.into();
    }
}

/// 2xx: taken. 400, 413 and 422: these alerts are not what it takes. Everything else is tried again.
pub fn meaning(answer: &Answer) -> Meaning {
    match answer.status {
        200..=299 => Meaning::Taken,
        400 | 413 | 422 => Meaning::Refused,
        _ => Meaning::Later,
    }
}

#[cfg(test)]
#[path = "alertmanager_tests.rs"]
mod tests;
