//! Alerts, and the way from an alert to notifications: routing and grouping, pure, with time as an argument.

pub mod group;
pub mod route;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::rfc3339;
use crate::sample::{Labels, Timestamp};

/// The annotation that says why a target failed, as the page was accepted.
pub const CAUSE: &str = "cause";

/// The annotation that says of a page that is repeated since when, and why, nobody can see whether its alert is over.
pub const BLIND: &str = "blind";

/// What makes an alert the same alert: where its rule stands, and its labels after templating.
/// `labels` includes `alertname`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertId {
    pub file: String,
    pub group: String,
    pub rule: String,
    pub labels: Labels,
}

/// inactive → pending (the expression holds, `for` not yet over) → firing → gone, which is resolved.
/// An inactive alert is one that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    Pending,
    Firing,
}

/// An alert that is pending or firing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub id: AlertId,
    pub annotations: BTreeMap<String, String>,
    /// The value of the expression, as last seen.
    #[serde(with = "value_text")]
    pub value: f64,
    pub state: AlertState,
    /// When the expression began to hold. On the agent's timeline: a restart moves it by the time the agent was down.
    pub active_at: Timestamp,
    /// When it began to fire: what pages say, the same after any restart.
    pub starts_at: Option<Timestamp>,
    /// Since when only `keep_firing_for` keeps it.
    pub keep_firing_since: Option<Timestamp>,
    /// Since when it is held because its inputs are stale or unknown.
    pub held_since: Option<Timestamp>,
    /// Which of its inputs are unknown while it is held, in words. Found anew at each tick, so it is not kept.
    #[serde(skip)]
    pub unknown_inputs: Vec<String>,
}

impl Alert {
    /// The annotation [`BLIND`], while it is held.
    pub fn blindness(&self) -> Option<String> {
        let since = rfc3339(self.held_since?);
        let inputs =
            if self.unknown_inputs.is_empty() { "not known".to_owned() } else { self.unknown_inputs.join(", ") };
        Some(format!("its inputs have been unknown since {since}, whether it is over cannot be seen: {inputs}"))
    }
}

/// Why an alert is no longer firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    Recovered,
    RuleRemoved,
    TargetRemoved,
    /// A reload gave its target other labels, another URL's among them: what fired was the target before.
    TargetChanged,
    /// Its rule has more alerts than its group's `limit`: Prometheus drops them all.
    LimitExceeded,
    /// It fires on, and another receiver is told of it now.
    RoutedElsewhere,
}

impl Resolution {
    /// In people's words: the annotation `resolution`.
    pub fn name(self) -> &'static str {
        match self {
            Resolution::Recovered => "recovered",
            Resolution::RuleRemoved => "rule removed",
            Resolution::TargetRemoved => "target removed",
            Resolution::TargetChanged => "target changed",
            Resolution::LimitExceeded => "limit exceeded",
            Resolution::RoutedElsewhere => "routed elsewhere",
        }
    }
}

/// What must be told to people: the only way from rules to notifications.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Fired(Alert),
    Resolved { alert: Alert, at: Timestamp, reason: Resolution },
}

/// Values as text: JSON has no NaN and no infinity.
mod value_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
