//! From a report to rows in the store. A steady report finds its series by comparing with the one before it,
//! so that nothing is allocated per series.

use std::sync::{Arc, Mutex};

use crate::clock::Clock;
use crate::probe::Reading;
use crate::sample::{Labels, METRIC_NAME, Metric, Timestamp};
use crate::store::{self, SeriesId, SourceId, Store};

/// The most series that one report stream of a probe may have: those of a host with hundreds of CPUs.
const MAX_SERIES: usize = 8_000;

/// One stream of reports of one target: a source in the store, with the series of its last report.
pub struct Recorder {
    store: Arc<Mutex<Store>>,
    source: SourceId,
    /// On every series.
    labels: Labels,
    clock: Clock,
    last: Vec<Known>,
    row: Vec<(SeriesId, f64)>,
    last_at: Timestamp,
}

struct Known {
    metric: &'static Metric,
    labels: Vec<(&'static str, String)>,
    series: SeriesId,
}

impl Recorder {
    pub fn new(store: Arc<Mutex<Store>>, clock: Clock, name: &str, labels: Labels) -> Self {
        let source = store::lock(&store).add_source(name, MAX_SERIES);
        Recorder { store, source, labels, clock, last: Vec::new(), row: Vec::new(), last_at: Timestamp::MIN }
    }

    /// Appends a report. `complete` says that what it does not contain is not there,
    /// rather than not seen.
    pub fn record(&mut self, at: Timestamp, complete: bool, readings: &[Reading]) {
        // Two reports in one millisecond are told apart: the store takes each time once.
        let at = at.max(self.last_at.saturating_add(1));
        self.last_at = at;
        let mut store = store::lock(&self.store);
        self.row.clear();
        for (index, reading) in readings.iter().enumerate() {
            let known = self.last.get(index).filter(|known| known.is(reading) && store.contains(known.series));
            let series = match known {
                Some(known) => known.series,
                None => {
                    self.last.truncate(index);
                    let labels = series_labels(&self.labels, reading);
                    // The store counts what it refuses.
                    let Ok(series) = store.series(self.source, &labels) else { continue };
                    if self.last.len() == index {
                        let labels = reading.labels.clone();
                        self.last.push(Known { metric: reading.metric, labels, series });
                    }
                    series
                }
            };
            self.row.push((series, reading.value));
        }
        store.append(self.source, at, complete, &self.row);
    }
}

/// The target was removed, or the agent stops: its series end. Not where its task broke: that ends no alert.
impl Drop for Recorder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        store::lock(&self.store).remove_source(self.source, self.clock.now());
    }
}

impl Known {
    fn is(&self, reading: &Reading) -> bool {
        std::ptr::eq(self.metric, reading.metric) && self.labels == reading.labels
    }
}

fn series_labels(base: &Labels, reading: &Reading) -> Labels {
    let own = reading.labels.iter().map(|(name, value)| (*name, value.as_str()));
    base.with_all(own.chain([(METRIC_NAME, reading.metric.name)]))
}
