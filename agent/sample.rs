//! The vocabulary of everything below: labels, timestamps, samples, metric declarations.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Unix milliseconds on the agent's own timeline (see [`crate::clock`]): it never goes back.
pub type Timestamp = i64;

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";

/// Prometheus's stale marker: a NaN with this bit pattern says "this series has ended here".
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The stale marker as a sample value.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Whether a value is the stale marker (ordinary NaN is not).
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// One label. Name and value are shared strings, so that a store can intern them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    pub name: Arc<str>,
    pub value: Arc<str>,
}

/// A set of labels, sorted by name, without duplicates and without empty values
/// (in Prometheus's data model an empty label is an absent one). Cloning is one reference count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Label]>);

impl Default for Labels {
    fn default() -> Self {
        Labels(Arc::from(Vec::new()))
    }
}

impl Labels {
    /// Builds a set from pairs in any order; of a repeated name the last wins, empty values are dropped.
    pub fn new<N: Into<Arc<str>>, V: Into<Arc<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let labels = pairs.into_iter().map(|(name, value)| Label { name: name.into(), value: value.into() }).collect();
        Self::from_labels(labels)
    }

    /// As [`Labels::new`], from labels that are made already.
    pub fn from_labels(mut labels: Vec<Label>) -> Self {
        labels.reverse();
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        labels.dedup_by(|later, kept| later.name == kept.name);
        labels.retain(|label| !label.value.is_empty());
        Labels(labels.into())
    }

    /// The value of a label, or "" where it is absent.
    pub fn get(&self, name: &str) -> &str {
        match self.0.binary_search_by(|label| (*label.name).cmp(name)) {
            Ok(found) => &self.0[found].value,
            Err(_) => "",
        }
    }

    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Label> {
        self.0.iter()
    }

    /// These labels with one set; an empty value removes it.
    pub fn with(&self, name: &str, value: &str) -> Self {
        self.with_all([(name, value)])
    }

    /// These labels with several set; empty values remove.
    pub fn with_all<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut labels = self.0.to_vec();
        labels.extend(pairs.into_iter().map(|(name, value)| Label { name: name.into(), value: value.into() }));
        Self::from_labels(labels)
    }

    /// Only the labels whose name passes.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        Labels(self.0.iter().filter(|label| keep(&label.name)).cloned().collect())
    }

    /// FNV-1a over the sorted labels, as Prometheus's `LabelSet.Fingerprint` computes it:
    /// stable across processes, and equal to Alertmanager's for the same labels.
    pub fn fingerprint(&self) -> u64 {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut hash = OFFSET;
        let mut add = |bytes: &[u8]| {
            for byte in bytes.iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
            }
        };
        for label in self.iter() {
            add(label.name.as_bytes());
            add(label.value.as_bytes());
        }
        hash
    }
}

/// `name{a="b", c="d"}` with values escaped, as PromQL writes it.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        f.write_str(name)?;
        let mut others = self.iter().filter(|label| &*label.name != METRIC_NAME).peekable();
        if others.peek().is_none() && !name.is_empty() {
            return Ok(());
        }
        f.write_str("{")?;
        while let Some(label) = others.next() {
            write!(f, "{}={:?}", label.name, label.value)?;
            if others.peek().is_some() {
                f.write_str(", ")?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A JSON object, as every Prometheus and Alertmanager API writes label sets.
impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|label| (&*label.name, &*label.value)))
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<String, String>::deserialize(deserializer).map(Labels::new)
    }
}

/// One value of one series at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub labels: Labels,
    pub value: f64,
}

/// What a metric counts, as the exposition's `# TYPE` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Gauge,
    Counter,
    Untyped,
}

/// The declaration of a metric: written once, beside the code that sets it.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: MetricKind,
    /// The labels that tell its series of one report from each other; the target's own are beside them.
    pub labels: &'static [&'static str],
}

impl Metric {
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Metric { name, help, kind: MetricKind::Gauge, labels: &[] }
    }

    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Metric { name, help, kind: MetricKind::Counter, labels: &[] }
    }

    pub const fn labelled(self, labels: &'static [&'static str]) -> Self {
        Metric { labels, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_unique_and_never_empty() {
        let labels = Labels::new([("b", "2"), ("a", "1"), ("b", "3"), ("c", "")]);
        assert_eq!(labels.to_string(), r#"{a="1", b="3"}"#);
        assert_eq!(labels.get("c"), "");
        assert_eq!(labels.with("a", "").to_string(), r#"{b="3"}"#);
    }

    #[test]
    fn the_fingerprint_is_prometheus_s() {
        // model.LabelSet{}.Fingerprint() is the FNV offset basis.
        assert_eq!(Labels::default().fingerprint(), 0xcbf2_9ce4_8422_2325);
        assert_ne!(Labels::new([("a", "bc")]).fingerprint(), Labels::new([("ab", "c")]).fingerprint());
    }

    #[test]
    fn only_the_marker_is_stale() {
        assert!(is_stale(stale_marker()));
        assert!(!is_stale(f64::NAN));
    }
}
