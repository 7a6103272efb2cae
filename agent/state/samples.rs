//! Rows for tests.

use std::collections::BTreeMap;

use crate::alert::group::{Group, Member, Timing, key};
use crate::alert::{Alert, AlertId, AlertState};
use crate::notify::{Delivery, Receiver, Settings, webhook};
use crate::sample::{Labels, Timestamp};
use crate::secret::{Secret, SecretSource};
use crate::state::OpenError;

/// Opens a state whose folder this process may have had before. A process that another test starts has a copy of the
/// lock that was let go, for as long as it is not itself.
pub fn opened<T>(open: impl Fn() -> Result<T, OpenError>) -> T {
    for _ in 0..1_000 {
        match open() {
            Err(OpenError::Locked { .. }) => wait_a_moment(),
            opened => return opened.unwrap(),
        }
    }
    open().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "what is waited for is another process")]
fn wait_a_moment() {
    std::thread::sleep(std::time::Duration::from_millis(10));
}

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
