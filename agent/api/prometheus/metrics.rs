//! What queries cost the agent.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Refusal;

#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub running: Gauge,
    pub waiting: Gauge,
    pub answered: Counter,
    pub seconds: Counter<f64, AtomicU64>,
    refused: Family<Reason, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let help = "Queries of the API that are evaluated now";
        registry.register("watchkeeper_queries_running", help, self.running.clone());
        let help = "Queries of the API that wait for their turn";
        registry.register("watchkeeper_queries_waiting", help, self.waiting.clone());
        let help = "Queries of the API that were answered";
        registry.register("watchkeeper_queries_answered", help, self.answered.clone());
        let help = "How long queries of the API worked, without their waiting";
        registry.register("watchkeeper_queries_seconds", help, self.seconds.clone());
        let help = "Queries of the API that were refused: busy (too many at once), timeout, or limit";
        registry.register("watchkeeper_queries_refused", help, self.refused.clone());
        for reason in ["busy", "timeout", "limit"] {
            self.refused(reason, 0);
        }
    }

    pub fn refused(&self, reason: &'static str, times: u64) {
        self.refused.get_or_create_owned(&Reason { reason }).inc_by(times);
    }

    /// Counts a query that asks for more than one may have.
    pub fn too_much(&self, message: String) -> Refusal {
        self.refused("limit", 1);
        Refusal::Execution(message)
    }

    #[cfg(test)]
    pub fn refusals(&self, reason: &'static str) -> u64 {
        self.refused.get_or_create_owned(&Reason { reason }).get()
    }
}
