//! Alertmanager's webhook payload, version "4".

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::alert::Alert;
use crate::alert::group::{Notification, Notified};
use crate::clock::rfc3339;
use crate::sample::Labels;

/// Go's zero time: the end of an alert that has none.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
/// The annotation that says why an alert has resolved.
const RESOLUTION: &str = "resolution";

/// Field by field as Alertmanager's `template.Data` and its webhook `Message`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    receiver: &'a str,
    status: &'static str,
    alerts: Vec<Entry<'a>>,
    group_labels: &'a Labels,
    common_labels: BTreeMap<&'a str, &'a str>,
    common_annotations: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: BTreeMap<&'a str, &'a str>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
}

/// What a receiver is told of a notification. Of two alerts with the same labels, from different rules, the one that
/// fires speaks for both: they are one incident.
pub fn told(notification: &Notification, send_resolved: bool) -> Vec<&Notified> {
    let fires = |labels: &Labels| {
        let mut firing = notification.alerts.iter().filter(|told| told.resolved.is_none());
        firing.any(|told| told.alert.id.labels == *labels)
    };
    let wanted = |told: &&Notified| told.resolved.is_none() || send_resolved && !fires(&told.alert.id.labels);
    notification.alerts.iter().filter(wanted).collect()
}

/// Where the alerts of the agent are listed.
pub fn generator_url(external_url: &str) -> String {
    format!("{}/api/v1/alerts", external_url.trim_end_matches('/'))
}

/// The runbook that the alert names, where it is a link that people can follow.
pub fn runbook(alert: &Alert) -> Option<&str> {
    let url = alert.annotations.get("runbook_url")?;
    let is_link = url.starts_with("https://") || url.starts_with("http://");
    (is_link && url.len() <= 2_048).then_some(url.as_str())
}

/// At most `room` characters of a text, the last of them an ellipsis where something is missing.
pub fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(room - 1).collect();
    kept.push('…');
    kept
}

/// The payload of a notification, or `None` where nothing is left to say: only resolved alerts, and the receiver
/// does not want them. `max_alerts` 0 is all of them; those that fire come first.
pub fn payload(
    notification: &Notification,
    send_resolved: bool,
    max_alerts: usize,
    external_url: &str,
) -> Option<Bytes> {
    if !send_resolved && !notification.news {
        return None;
    }
    let wanted = |told: &&Notified| send_resolved || told.resolved.is_none();
    let alerts: Vec<&Notified> = notification.alerts.iter().filter(wanted).collect();
    let shown = if max_alerts == 0 { alerts.len() } else { alerts.len().min(max_alerts) };
    let message = Message {
        receiver: &notification.receiver,
        status: if is_resolved(notification) { "resolved" } else { "firing" },
        alerts: alerts[..shown].iter().map(|told| entry(told, external_url)).collect(),
        group_labels: &notification.group_labels,
        common_labels: common(alerts.iter().map(|told| labels(&told.alert))),
        common_annotations: common(alerts.iter().map(|told| annotations(told))),
        external_url,
        version: "4",
        group_key: &notification.key,
        truncated_alerts: alerts.len() - shown,
    };
    // Strings, numbers and maps of strings: nothing in it can fail to serialize.
    serde_json::to_vec(&message).ok().map(Bytes::from)
}

/// Whether nothing of the notification fires any more.
pub fn is_resolved(notification: &Notification) -> bool {
    notification.alerts.iter().all(|told| told.resolved.is_some())
}

fn entry<'a>(told: &'a Notified, external_url: &str) -> Entry<'a> {
    let alert = &told.alert;
    let starts_at = alert.starts_at.unwrap_or(alert.active_at);
    Entry {
        status: if told.resolved.is_some() { "resolved" } else { "firing" },
        labels: &alert.id.labels,
        annotations: annotations(told),
        starts_at: rfc3339(starts_at),
        // Where the clock went back over a restart, it ends before it began.
        ends_at: told.resolved.map_or_else(|| ZERO_TIME.to_owned(), |resolved| rfc3339(resolved.at.max(starts_at))),
        generator_url: generator_url(external_url),
        fingerprint: format!("{:016x}", alert.id.labels.fingerprint()),
    }
}

fn labels(alert: &Alert) -> BTreeMap<&str, &str> {
    alert.id.labels.iter().map(|label| (&*label.name, &*label.value)).collect()
}

/// The alert's own, and why it has resolved.
pub fn annotations(told: &Notified) -> BTreeMap<&str, &str> {
    let own = &told.alert.annotations;
    let mut all: BTreeMap<&str, &str> = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if let Some(resolved) = told.resolved {
        all.entry(RESOLUTION).or_insert(resolved.reason.name());
    }
    all
}

/// What all of them have with the same value.
fn common<'a>(mut maps: impl Iterator<Item = BTreeMap<&'a str, &'a str>>) -> BTreeMap<&'a str, &'a str> {
    let mut shared = maps.next().unwrap_or_default();
    for map in maps {
        shared.retain(|name, value| map.get(name) == Some(value));
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Resolution;
    use crate::alert::group::{Resolved, key};
    use crate::state::samples;

    fn notification(alerts: Vec<Notified>) -> Notification {
        let group_labels = Labels::new([("alertname", "ServiceDown")]);
        Notification {
            key: key("pager", &group_labels),
            receiver: "pager".into(),
            group_labels,
            alerts,
            first: true,
            news: true,
        }
    }

    fn firing(service: &str) -> Notified {
        let mut alert = samples::alert(service, 1_700_000_000_000);
        alert.annotations.insert("cause".into(), "connect 10.0.0.5:6379: connection refused".into());
        Notified { alert, resolved: None, first: true, news: true }
    }

    fn ended(service: &str) -> Notified {
        let resolved = Resolved { at: 1_700_000_060_000, reason: Resolution::Recovered };
        Notified {
            alert: samples::alert(service, 1_700_000_000_000),
            resolved: Some(resolved),
            first: false,
            news: true,
        }
    }

    fn json(notification: &Notification, send_resolved: bool, max_alerts: usize) -> serde_json::Value {
        let bytes = payload(notification, send_resolved, max_alerts, "http://127.0.0.1:7799").unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_page_is_alertmanager_s_version_4() {
        let fingerprint = format!("{:016x}", samples::alert("db", 0).id.labels.fingerprint());
        let expected = serde_json::json!({
            "receiver": "pager",
            "status": "firing",
            "alerts": [{
                "status": "firing",
                "labels": {"alertname": "ServiceDown", "service": "db", "severity": "critical"},
                "annotations": {"cause": "connect 10.0.0.5:6379: connection refused", "summary": "db is down"},
                "startsAt": "2023-11-14T22:13:20.000Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://127.0.0.1:7799/api/v1/alerts",
                "fingerprint": fingerprint,
            }],
            "groupLabels": {"alertname": "ServiceDown"},
            "commonLabels": {"alertname": "ServiceDown", "service": "db", "severity": "critical"},
            "commonAnnotations": {"cause": "connect 10.0.0.5:6379: connection refused", "summary": "db is down"},
            "externalURL": "http://127.0.0.1:7799",
            "version": "4",
            "groupKey": r#"pager:{alertname="ServiceDown"}"#,
            "truncatedAlerts": 0,
        });
        assert_eq!(json(&notification(vec![firing("db")]), true, 0), expected);
    }

    #[test]
    fn a_resolve_says_when_and_why() {
        let told = json(&notification(vec![ended("db")]), true, 0);
        assert_eq!(told["status"], "resolved");
        assert_eq!(told["alerts"][0]["status"], "resolved");
        assert_eq!(told["alerts"][0]["endsAt"], "2023-11-14T22:14:20.000Z");
        assert_eq!(told["alerts"][0]["annotations"]["resolution"], "recovered");
    }

    #[test]
    fn a_group_in_which_something_fires_is_firing_and_shows_what_is_common() {
        let told = json(&notification(vec![firing("db"), ended("cache")]), true, 0);
        assert_eq!(told["status"], "firing");
        assert_eq!(told["commonLabels"], serde_json::json!({"alertname": "ServiceDown", "severity": "critical"}));
        assert_eq!(told["commonAnnotations"], serde_json::json!({}));
    }

    #[test]
    fn what_is_too_many_is_counted() {
        let told = json(&notification(vec![firing("a"), firing("b"), firing("c")]), true, 2);
        assert_eq!((told["alerts"].as_array().unwrap().len(), &told["truncatedAlerts"]), (2, &1.into()));
    }

    #[test]
    fn who_does_not_want_resolves_gets_none() {
        let mut only_resolves = notification(vec![firing("a"), ended("b")]);
        only_resolves.news = false;
        assert_eq!(payload(&only_resolves, false, 0, ""), None);
        let told = json(&notification(vec![firing("a"), ended("b")]), false, 0);
        assert_eq!(told["alerts"].as_array().unwrap().len(), 1);
    }
}
