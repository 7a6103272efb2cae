//! Rows for tests.

use std::collections::BTreeMap;

use crate::alert::group::{Group, Member, Timing, key};
use crate::alert::{Alert, AlertId, AlertState};
use crate::notify::{Delivery, Receiver, Settings, webhook};
use crate::sample::{Labels, Timestamp};
use crate::secret::{Secret, SecretSource};

pub fn alert(service: &str, starts_at: Timestamp) -> Alert {
    let labels = Labels::new([("alertname", "ServiceDown"), ("service", service), ("severity", "critical")]);
    Alert {
        id: AlertId { file: "shipped/core.yml".into(), group: "core".into(), rule: "ServiceDown".into(), labels },
        annotations: BTreeMap::from([("summary".to_owned(), format!("{service} is down"))]),
        value: f64::NAN,
        state: AlertState::Firing,
        active_at: starts_at,
        starts_at: Some(starts_at),
        keep_firing_since: None,
        held_since: None,
        unknown_inputs: Vec::new(),
    }
}

pub fn group(receiver: &str, alerts: Vec<Alert>) -> Group {
    let labels = Labels::default();
    let told = |alert: Alert| Member { told: alert.starts_at, alert, resolved: None };
    Group {
        key: key(receiver, &labels),
        receiver: receiver.to_owned(),
        labels,
        timing: Timing { wait: 0, interval: 0, repeat: 14_400_000 },
        members: alerts.into_iter().map(told).collect(),
        due: None,
        flushed_at: None,
        notified_at: None,
    }
}

/// A receiver of one webhook.
pub fn receiver(name: &str) -> Receiver {
    Receiver::new(name, vec![webhook(true)])
}

pub fn webhook(send_resolved: bool) -> Settings {
    Settings::Webhook(webhook::Settings {
        url: SecretSource::Value(Secret::new("http://127.0.0.1/")),
        send_resolved,
        max_alerts: 0,
        timeout: std::time::Duration::from_secs(10),
        signing_secrets: vec![],
    })
}

pub fn delivery(seq: i64, key: &str, resolve: bool) -> Delivery {
    Delivery {
        seq,
        receiver: "pager".into(),
        endpoint: receiver("pager").endpoints[0].id.clone(),
        key: key.to_owned(),
        id: format!("msg_{seq}"),
        first: !resolve,
        resolve,
        accepted_at: seq * 1_000,
        payload: format!(r#"{{"status":"{}","n":{seq}}}"#, if resolve { "resolved" } else { "firing" }).into(),
        attempts: 0,
        last_error: None,
    }
}
