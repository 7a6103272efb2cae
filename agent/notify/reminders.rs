//! What an Alertmanager is reminded of: it forgets what nobody repeats. Each alert is sent again every minute while it
//! fires, and for 15 minutes after it has resolved, as Prometheus does.
//!
//! A reminder is no delivery: it is made when it is sent, from what was last told, so nothing of it is written, waits,
//! or piles up behind a peer that is down. What fires is known again after a start from the dispatcher's groups.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use crate::sample::Timestamp;

/// From one reminder of an alert to the next, in milliseconds.
const EVERY: i64 = 60_000;
/// How long an alert that has resolved is repeated, in milliseconds. What waited longer than this at a peer is
/// overtaken: the reminders say what fires, and what no longer does has timed out there.
pub const AFTER_RESOLVE: i64 = 900_000;
/// Alerts that are due soon go with those that are due now, in milliseconds.
const TOGETHER: i64 = 10_000;
/// The most alerts in one reminder; the rest follows in the next one.
const BATCH: usize = 256;

/// The alerts of one peer, by their labels.
#[derive(Debug, Default)]
pub struct Reminders(BTreeMap<String, Reminder>);

#[derive(Debug)]
struct Reminder {
    /// As it was told.
    alert: Value,
    due: Timestamp,
    /// Since when it is told as resolved.
    until: Option<Timestamp>,
}

impl Reminders {
    /// Takes over what a delivery tells: an array of alerts, as the API takes them.
    pub fn learn(&mut self, payload: &[u8], now: Timestamp) {
        for (key, alert) in parsed(payload) {
            let until = alert.get("endsAt").map(|_| now + AFTER_RESOLVE);
            self.0.insert(key, Reminder { alert, due: now + EVERY, until });
        }
    }

    /// Takes over what fires since before the start: due at once, since it may have timed out meanwhile.
    pub fn resume(&mut self, payload: &[u8], now: Timestamp) {
        for (key, alert) in parsed(payload) {
            self.0.entry(key).or_insert(Reminder { alert, due: now, until: None });
        }
    }

    /// When [`Reminders::take`] has something.
    pub fn due(&self) -> Option<Timestamp> {
        self.0.values().map(|reminder| reminder.due).min()
    }

    /// What is to be sent now, if anything. It is due again a minute later, whatever becomes of it.
    pub fn take(&mut self, now: Timestamp) -> Option<Bytes> {
        self.0.retain(|_, reminder| reminder.until.is_none_or(|until| until > now));
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        let mut due: Vec<&mut Reminder> =
            self.0.values_mut().filter(|reminder| reminder.due <= now + TOGETHER).collect();
        due.sort_by_key(|reminder| reminder.due);
        due.truncate(BATCH);
        due.iter_mut().for_each(|reminder| reminder.due = now + EVERY);
        let alerts = due.into_iter().map(|reminder| reminder.alert.clone()).collect();
        Some(Value::Array(alerts).to_string().into())
    }
}

/// The alerts of a payload that this agent has made, by their labels.
fn parsed(payload: &[u8]) -> Vec<(String, Value)> {
    let alerts: Vec<Value> = serde_json::from_slice(payload).unwrap_or_default();
    alerts.into_iter().map(|alert| (alert["labels"].to_string(), alert)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reminders: &mut Reminders, now: Timestamp) -> Option<String> {
        reminders.take(now).map(|payload| String::from_utf8(payload.to_vec()).unwrap())
    }

    const FIRING: &[u8] = br#"[{"labels":{"a":"1"},"startsAt":"t"}]"#;
    const ENDED: &[u8] = br#"[{"labels":{"a":"1"},"startsAt":"t","endsAt":"u"}]"#;

    #[test]
    fn what_fires_is_repeated_every_minute_and_what_has_resolved_for_fifteen() {
        let mut reminders = Reminders::default();
        reminders.learn(FIRING, 0);
        assert_eq!((told(&mut reminders, EVERY - 1), reminders.due()), (None, Some(EVERY)));
        for minute in 1..100 {
            assert_eq!(told(&mut reminders, minute * EVERY).as_deref(), str::from_utf8(FIRING).ok());
        }
        reminders.learn(ENDED, 100 * EVERY);
        let minutes = (101..200).filter(|minute| told(&mut reminders, minute * EVERY).is_some()).count();
        assert_eq!((minutes, reminders.due()), (14, None));
    }

    #[test]
    fn what_fires_since_before_the_start_is_told_at_once_and_never_undoes_a_resolve() {
        let mut reminders = Reminders::default();
        reminders.learn(ENDED, 0);
        reminders.resume(FIRING, 0);
        assert_eq!(reminders.due(), Some(EVERY), "the resolve is the newer truth");
        let mut fresh = Reminders::default();
        fresh.resume(FIRING, 5);
        assert_eq!(fresh.due(), Some(5));
    }

    #[test]
    fn many_go_in_turns_and_those_due_soon_together() {
        let mut reminders = Reminders::default();
        for n in 0..600 {
            reminders.learn(format!(r#"[{{"labels":{{"n":"{n}"}}}}]"#).as_bytes(), n);
        }
        let sizes: Vec<usize> = (0..4)
            .map_while(|_| reminders.take(EVERY + 1_000))
            .map(|payload| serde_json::from_slice::<Vec<Value>>(&payload).unwrap().len())
            .collect();
        assert_eq!(sizes, [256, 256, 88]);
    }
}
