//! The store's own metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Counts;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

/// What the store holds and what it turned away.
#[derive(Debug, Default)]
pub struct Metrics {
    series: Gauge,
    samples: Gauge,
    sample_bytes: Gauge,
    symbols: Gauge,
    refused: Family<Why, Counter<u64, AtomicU64>>,
    dropped: Family<Why, Counter<u64, AtomicU64>>,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("watchkeeper_store_series", "Series held in memory", self.series.clone());
        registry.register("watchkeeper_store_samples", "Samples held in memory", self.samples.clone());
        let help = "Memory that the values of the samples take";
        registry.register("watchkeeper_store_sample_bytes", help, self.sample_bytes.clone());
        registry.register("watchkeeper_store_symbols", "Distinct label strings held in memory", self.symbols.clone());
        let refused = "Series refused, by reason: each time that one was reported";
        registry.register("watchkeeper_store_series_refused", refused, self.refused.clone());
        let dropped = "Samples dropped, by reason";
        registry.register("watchkeeper_store_samples_dropped", dropped, self.dropped.clone());
    }

    /// Shows these counts.
    pub fn set(&self, counts: &Counts) {
        let gauges = [
            (&self.series, counts.series),
            (&self.samples, counts.samples),
            (&self.sample_bytes, counts.sample_bytes),
            (&self.symbols, counts.symbols),
        ];
        for (gauge, count) in gauges {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let refused = &counts.refused;
        set(&self.refused, "source_full", refused.source_full);
        set(&self.refused, "store_full", refused.store_full);
        set(&self.refused, "taken", refused.taken);
        let dropped = &counts.dropped;
        set(&self.dropped, "out_of_order", dropped.out_of_order);
        set(&self.dropped, "duplicate", dropped.duplicate);
        set(&self.dropped, "unknown_series", dropped.unknown_series);
    }
}

/// The store counts for itself; the counter only shows it.
fn set(family: &Family<Why, Counter<u64, AtomicU64>>, reason: &'static str, count: u64) {
    family.get_or_create(&Why { reason }).inner().store(count, Ordering::Relaxed);
}
