//! Slack's incoming webhooks (docs.slack.dev, "Sending messages using incoming webhooks"): a page that people read.

use std::time::Duration;

use serde_json::{Value, json};

use crate::alert::group::{Notification, Notified};
use crate::clock::rfc3339;
use crate::config::fields::Fields;
use crate::notify::judge::{Answer, Meaning};
use crate::notify::payload::{annotations, is_resolved, runbook, told};
use crate::notify::send::{Request, destination};
use crate::notify::{Delivery, Manner, Message, timeout, written};
use crate::rule::ALERT_NAME;
use crate::sample::Timestamp;
use crate::secret::{Secret, SecretSource};

pub const KEYS: &[&str] = &["api_url", "api_url_file", "channel", "username", "send_resolved", "timeout"];
pub const LATER: &[&str] = &[
    "http_config",
    "app_token",
    "app_token_file",
    "app_url",
    "title",
    "title_link",
    "pretext",
    "text",
    "message_text",
    "fallback",
    "color",
    "fields",
    "short_fields",
    "footer",
    "actions",
    "callback_id",
    "icon_emoji",
    "icon_url",
    "image_url",
    "thumb_url",
    "link_names",
    "mrkdwn_in",
];

/// Slack's limits in characters: of a block's text, and of the message's (which notifications show).
const MAX_BLOCK: usize = 3_000;
const MAX_TEXT: usize = 40_000;
/// Alerts that have a block of their own; Slack takes 50 blocks.
const MAX_ALERTS: usize = 40;
/// Of the message's text: what a notification on a telephone shows.
const HEADLINE: usize = 500;
/// Slack's rate: about one message a second for each webhook.
const PACE: Duration = Duration::from_secs(1);

/// An incoming webhook. `PartialEq` compares sources, not the secrets behind them.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub api_url: SecretSource,
    /// Where the webhook lets one choose.
    pub channel: Option<String>,
    pub username: Option<String>,
    pub send_resolved: bool,
    pub timeout: Duration,
}

pub(crate) fn read(fields: &mut Fields) -> Option<Settings> {
    Some(Settings {
        channel: fields.text("channel"),
        username: fields.text("username"),
        send_resolved: fields.get("send_resolved").unwrap_or(true),
        timeout: timeout(fields),
        api_url: fields.secret("api_url", true)?,
    })
}

impl Settings {
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let url = self.api_url.read().map_err(|error| error.to_string()).and_then(|url| destination(&url).map(|_| ()));
        url.err().map(|message| ("api_url", message)).into_iter().collect()
    }

    pub fn identity(&self) -> Secret {
        Secret::new(format!("{}\n{}", written(&self.api_url), self.channel.as_deref().unwrap_or_default()))
    }

    pub fn manner(&self) -> Manner {
        Manner { pairs: self.send_resolved, pace: PACE, ..Manner::default() }
    }

    pub fn messages(&self, notification: &Notification, external_url: &str) -> Vec<Message> {
        if !self.send_resolved && !notification.news {
            return Vec::new();
        }
        let alerts = told(notification, self.send_resolved);
        let resolve = is_resolved(notification);
        let headline = headline(&alerts, resolve);
        let shown = alerts.iter().take(MAX_ALERTS);
        let mut blocks: Vec<Value> = shown.map(|told| section(&block(told))).collect();
        blocks.push(context(&footer(notification, alerts.len(), external_url)));
        let mut message = json!({ "text": headline, "blocks": blocks });
        for (key, value) in [("channel", &self.channel), ("username", &self.username)] {
            if let Some(value) = value {
                message[key] = json!(value);
            }
        }
        let payload = message.to_string().into();
        vec![Message { key: notification.key.clone(), first: notification.first, resolve, payload }]
    }

    pub fn request(&self, delivery: &Delivery, _: Timestamp) -> Result<Request, String> {
        let url = self.api_url.read().map_err(|error| error.to_string())?;
        destination(&url)?;
        let headers = vec![("content-type", Secret::new("application/json"))];
        Ok(Request { url, headers, body: delivery.payload.clone(), hidden: Vec::new(), timeout: self.timeout })
    }
}

/// Slack says `ok` when it has the message. 400 is about the message: final. 403, 404 and 410 are about the webhook
/// or its channel (`action_prohibited`, `no_service`, `channel_is_archived`): every further page would fail alike, so
/// it is disabled, loudly, and keeps what waits. A 2xx that is not Slack's comes from something in between.
pub fn meaning(answer: &Answer) -> Meaning {
    match answer.status {
        200..=299 if is_ok(&answer.body) => Meaning::Taken,
        400 | 413 => Meaning::Refused,
        403 | 404 | 410 => Meaning::Gone,
        _ => Meaning::Later,
    }
}

/// `ok`, or as services in Slack's manner answer: nothing, or JSON that does not deny it.
fn is_ok(body: &str) -> bool {
    let body = body.trim();
    let denied = |json: Value| json.get("ok") == Some(&Value::Bool(false));
    body.is_empty() || body == "ok" || serde_json::from_str(body).is_ok_and(|json| !denied(json))
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

fn context(text: &str) -> Value {
    json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": text }] })
}

/// What a notification shows: how many, and of the first what it is.
fn headline(alerts: &[&Notified], resolve: bool) -> String {
    let first = alerts.first().map_or_else(String::new, |told| escaped(summary(told), HEADLINE));
    let word = if resolve { "RESOLVED" } else { "FIRING" };
    let others = if alerts.len() > 1 { format!(" (and {} more)", alerts.len() - 1) } else { String::new() };
    clipped(format!("[{word}] {first}{others}"), MAX_TEXT)
}

/// One alert: what it is, how bad, since when, why, and what to do.
fn block(told: &Notified) -> String {
    let alert = &told.alert;
    let annotations = annotations(told);
    let labels = &alert.id.labels;
    let status = if told.resolved.is_some() { ":large_green_circle: *Resolved*" } else { ":red_circle: *Firing*" };
    let mut lines = vec![format!("{status} *{}*", escaped(summary(told), 600))];
    let mut line = |name: &str, text: &str, room: usize| {
        if !text.is_empty() {
            lines.push(format!("*{name}* {}", escaped(text, room)));
        }
    };
    line("Severity", labels.get("severity"), 60);
    line("Description", annotations.get("description").copied().unwrap_or_default(), 800);
    line("Cause", annotations.get("cause").copied().unwrap_or_default(), 400);
    line("Blind", annotations.get("blind").copied().unwrap_or_default(), 600);
    line("Ended", annotations.get("resolution").copied().unwrap_or_default(), 60);
    line("Value", &alert.value.to_string(), 40);
    line("Since", &rfc3339(alert.starts_at.unwrap_or(alert.active_at)), 40);
    if let Some(resolved) = told.resolved {
        line("Until", &rfc3339(resolved.at), 40);
    }
    line("Labels", &labels.to_string(), 400);
    let link = runbook(alert).and_then(|url| linked(url, "Runbook"));
    if link.is_none() {
        // The shipped rules name a path in the repository: no link, and of use all the same.
        line("Runbook", annotations.get("runbook_url").copied().unwrap_or_default(), 400);
    }
    let text = lines.join("\n");
    match link {
        // Half a link is none.
        Some(link) if width(&text) + 1 + width(&link) <= MAX_BLOCK => format!("{text}\n{link}"),
        _ => clipped(text, MAX_BLOCK),
    }
}

fn summary(told: &Notified) -> &str {
    let own = told.alert.annotations.get("summary").map(String::as_str).filter(|summary| !summary.trim().is_empty());
    own.unwrap_or_else(|| told.alert.id.labels.get(ALERT_NAME))
}

fn footer(notification: &Notification, alerts: usize, external_url: &str) -> String {
    let more = alerts.saturating_sub(MAX_ALERTS);
    let more = if more > 0 { format!("{more} more alerts are not shown. ") } else { String::new() };
    let agent = linked(external_url, "Watchkeeper").unwrap_or_else(|| "Watchkeeper".to_owned());
    clipped(format!("{more}{agent} · {}", escaped(&notification.receiver, 200)), MAX_BLOCK)
}

/// A link, where the URL can stand in one.
fn linked(url: &str, text: &str) -> Option<String> {
    let fits = url.len() <= 1_000 && !url.contains(['<', '>', '|', ' ', '\n']);
    fits.then(|| format!("<{}|{text}>", url.replace('&', "&amp;")))
}

/// A text with Slack's three characters escaped, in at most `room` characters: what does not fit is counted.
fn escaped(text: &str, room: usize) -> String {
    const NOTE: usize = 24;
    let whole: String = text.chars().map(escape).collect();
    if width(&whole) <= room {
        return whole;
    }
    let mut kept = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let piece = escape(c);
        if width(&kept) + width(&piece) + NOTE.min(room) > room {
            break;
        }
        kept += &piece;
        taken += 1;
    }
    format!("{kept}… (+{} characters)", text.chars().count() - taken)
}

fn escape(c: char) -> String {
    match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        other => other.to_string(),
    }
}

/// Slack does not say what it counts; UTF-16 units are the most that it could be.
fn width(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// A last resort that no sum of parts should need.
fn clipped(text: String, room: usize) -> String {
    if width(&text) <= room {
        return text;
    }
    text.chars().take(room / 2).collect()
}

#[cfg(test)]
#[path = "slack_tests.rs"]
mod tests;
