//! The deliveries' own metrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::notify::outbox::ReceiverStatus;
use crate::sample::Timestamp;

type Labels = Vec<(&'static str, String)>;

/// Gauges are those of the last [`Metrics::show`], counters are kept as things happen.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    depth: Family<Labels, Gauge>,
    oldest: Family<Labels, Gauge<f64, AtomicU64>>,
    last_error: Family<Labels, Gauge<f64, AtomicU64>>,
    failing: Family<Labels, Gauge>,
    disabled: Family<Labels, Gauge>,
    refused: Family<Labels, Gauge>,
    full: Family<Labels, Gauge>,
    pub(super) attempts: Family<Labels, Counter>,
    pub(super) given_up: Family<Labels, Counter>,
    pub(super) abandoned: Family<Labels, Counter>,
    reminders: Family<Labels, Counter>,
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds are far below 2^53")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}

pub(super) fn of(receiver: &str) -> Labels {
    vec![("receiver", receiver.to_owned())]
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let mut gauge = |name, help, metric: &Family<Labels, Gauge>| registry.register(name, help, metric.clone());
        gauge("watchkeeper_outbox_depth", "Deliveries that are accepted and not yet delivered", &self.depth);
        gauge("watchkeeper_outbox_full", "Whether this receiver has used up its share of the outbox", &self.full);
        gauge("watchkeeper_delivery_failing", "Whether the last attempt at this receiver failed", &self.failing);
        gauge(
            "watchkeeper_receiver_disabled",
            "Whether one of the receiver's endpoints wants nothing any more, until the next reload or start",
            &self.disabled,
        );
        gauge(
            "watchkeeper_receiver_refused_keys",
            "Keys whose first page this receiver refused for good",
            &self.refused,
        );
        registry.register(
            "watchkeeper_outbox_oldest_age_seconds",
            "How long the oldest delivery has been waiting, in seconds",
            self.oldest.clone(),
        );
        registry.register(
            "watchkeeper_delivery_last_error_timestamp_seconds",
            "When an attempt at this receiver last failed, in seconds since the epoch; the log says why",
            self.last_error.clone(),
        );
        let mut counter = |name, help, metric: &Family<Labels, Counter>| registry.register(name, help, metric.clone());
        counter("watchkeeper_delivery_attempts", "Attempts to deliver, by outcome", &self.attempts);
        counter("watchkeeper_deliveries_given_up", "Deliveries that the receiver refused for good", &self.given_up);
        counter(
            "watchkeeper_deliveries_abandoned",
            "Deliveries that were not sent: the resolve of a refused page, a receiver that was removed, or overtaken",
            &self.abandoned,
        );
        counter(
            "watchkeeper_reminders",
            "Times that an Alertmanager was told again what fires or has just resolved, by outcome",
            &self.reminders,
        );
    }

    pub(super) fn reminded(&self, receiver: &str, outcome: &str) {
        let labels = vec![("receiver", receiver.to_owned()), ("outcome", outcome.to_owned())];
        self.reminders.get_or_create_owned(&labels).inc();
    }

    pub(super) fn attempted(&self, receiver: &str, outcome: &str) {
        let labels = vec![("receiver", receiver.to_owned()), ("outcome", outcome.to_owned())];
        self.attempts.get_or_create_owned(&labels).inc();
    }

    /// Sets the gauges.
    pub(super) fn show(&self, receivers: &[ReceiverStatus], now: Timestamp) {
        for family in [&self.depth, &self.full, &self.failing, &self.disabled, &self.refused] {
            family.clear();
        }
        self.oldest.clear();
        self.last_error.clear();
        for receiver in receivers {
            let labels = of(&receiver.receiver);
            let set = |family: &Family<Labels, Gauge>, value: i64| {
                family.get_or_create_owned(&labels).set(value);
            };
            set(&self.depth, i64::try_from(receiver.depth).unwrap_or(i64::MAX));
            set(&self.full, i64::from(receiver.full));
            set(&self.failing, i64::from(receiver.failing));
            set(&self.disabled, i64::from(receiver.disabled));
            set(&self.refused, i64::try_from(receiver.refused_keys).unwrap_or(i64::MAX));
            let age = receiver.oldest_accepted_at.map_or(0, |at| now - at).max(0);
            self.oldest.get_or_create_owned(&labels).set(seconds(age));
            if let Some((at, _)) = &receiver.last_error {
                self.last_error.get_or_create_owned(&labels).set(seconds(*at));
            }
            for outcome in ["done", "retry", "given_up", "disabled"] {
                let labels = vec![("receiver", receiver.receiver.clone()), ("outcome", outcome.to_owned())];
                self.attempts.get_or_create_owned(&labels);
            }
            self.given_up.get_or_create_owned(&labels);
            self.abandoned.get_or_create_owned(&labels);
        }
    }
}
