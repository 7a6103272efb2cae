//! What a script has loaded, in the agent's own store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use watchkeeper::matcher::Matcher;
use watchkeeper::sample::{Labels, METRIC_NAME, Timestamp, is_stale};
use watchkeeper::store::{Store, StoreLimits};

use crate::notation::Item;
use crate::script::Load;

/// More than any script needs.
const MAX_SERIES: usize = 10_000;

pub struct Data {
    floats: BTreeMap<Labels, BTreeMap<Timestamp, f64>>,
    /// Series that have native histograms.
    histograms: BTreeSet<Labels>,
    /// Series that have start timestamps.
    started: BTreeSet<Labels>,
    pub store: Store,
}

impl Default for Data {
    fn default() -> Self {
        let (floats, histograms, started) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Data { store: stored(&floats), floats, histograms, started }
    }
}

impl Data {
    /// Adds to what is there.
    pub fn load(&mut self, load: Load) {
        for (labels, items) in load.series {
            if load.nhcb {
                self.histograms.extend(converted(&labels));
            }
            if items.contains(&Item::Histogram) {
                self.histograms.insert(labels.clone());
            }
            let floats = self.floats.entry(labels).or_default();
            for (at, item) in (0..).step_by(load.step as usize).zip(items) {
                if let Item::Float(value) = item {
                    floats.insert(at, value);
                }
            }
        }
        self.started.extend(load.started);
        self.store = stored(&self.floats);
    }

    /// Whether a selector with these matchers could show a native histogram.
    pub fn has_histograms(&self, matchers: &[Matcher]) -> bool {
        any(&self.histograms, matchers)
    }

    pub fn has_start_timestamps(&self, matchers: &[Matcher]) -> bool {
        any(&self.started, matchers)
    }

    /// Whether a selector shows series with a type or unit label.
    pub fn has_type_and_unit(&self, matchers: &[Matcher]) -> bool {
        let typed = |labels: &&Labels| ["__type__", "__unit__"].iter().any(|name| !labels.get(name).is_empty());
        self.floats.keys().filter(typed).any(|labels| all_match(matchers, labels))
    }

    /// How many metric names a selector shows.
    pub fn names(&self, matchers: &[Matcher]) -> usize {
        let shown = self.floats.keys().filter(|labels| all_match(matchers, labels));
        shown.map(Labels::metric_name).collect::<BTreeSet<_>>().len()
    }
}

fn any(series: &BTreeSet<Labels>, matchers: &[Matcher]) -> bool {
    series.iter().any(|labels| all_match(matchers, labels))
}

fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches_labels(labels))
}

/// The native histogram that a part of a classic one goes into.
fn converted(labels: &Labels) -> Option<Labels> {
    let name = labels.metric_name();
    let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    Some(labels.with_all([(METRIC_NAME, base), ("le", "")]))
}

/// A source of its own for each series: a gap in one says nothing of the others.
fn stored(floats: &BTreeMap<Labels, BTreeMap<Timestamp, f64>>) -> Store {
    let mut store = Store::new(StoreLimits { series: MAX_SERIES, window: Duration::from_millis(i64::MAX as u64) });
    for (labels, points) in floats {
        let source = store.add_source("load", 1);
        for (at, value) in points {
            let row = (!is_stale(*value)).then(|| (store.series(source, labels).unwrap(), *value));
            store.append(source, *at, true, row.as_slice());
        }
    }
    store
}
