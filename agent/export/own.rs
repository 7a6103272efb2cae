//! The agent's own metrics: encoded by prometheus-client, read through our own parser, appended to the store, so that
//! rules, `/metrics` and every other reader see them as they see everything else.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use thiserror::Error;

use crate::sample::{Labels, Timestamp};
use crate::store::{Refused, SeriesId, SourceId, Store};

use super::catalogue::{Catalogue, Family, FamilyKind};
use super::parse::{Dialect, Entry, Limits, ParseError, Sample, entries};

/// Why the agent's own metrics are not in the store. All of these are faults of the agent.
#[derive(Debug, Error)]
pub enum OwnError {
    #[error("the agent's own metrics cannot be encoded: {0}")]
    Encode(#[from] std::fmt::Error),
    #[error("the agent's own metrics cannot be read, {0}")]
    Parse(#[from] ParseError),
    #[error("the agent's own metrics do not fit: {0}")]
    Refused(#[from] Refused),
}

/// The registry of own metrics and the series that its samples are.
#[derive(Debug)]
pub struct OwnMetrics {
    registry: Registry,
    base: Labels,
    source: SourceId,
    /// What the registry declares is added here as soon as it has a series.
    catalogue: Arc<Mutex<Catalogue>>,
    /// Series by their text in the exposition.
    known: HashMap<String, SeriesId>,
    // Kept from one collection to the next.
    text: String,
    row: Vec<(SeriesId, f64)>,
}

impl OwnMetrics {
    /// Takes the complete registry. Samples get the `base` labels (target, job, instance, node) that they do not set
    /// themselves.
    pub fn new(registry: Registry, base: Labels, catalogue: Arc<Mutex<Catalogue>>, store: &mut Store) -> Self {
        const MAX_SERIES: usize = 20_000;
        let source = store.add_source("the agent's own metrics", MAX_SERIES);
        OwnMetrics { registry, base, source, catalogue, known: HashMap::new(), text: String::new(), row: Vec::new() }
    }

    /// Appends the present values as one complete report. The first series that does not fit is the error; the others
    /// are appended all the same.
    pub fn collect(&mut self, store: &mut Store, now: Timestamp) -> Result<(), OwnError> {
        self.text.clear();
        encode(&mut self.text, &self.registry)?;
        self.row.clear();
        let mut refused = None;
        let mut grown = false;
        for entry in entries(&self.text, Dialect::OpenMetrics, Limits::default()) {
            let Entry::Sample(sample) = entry? else { continue };
            let known = self.known.get(sample.series).copied().filter(|series| store.contains(*series));
            match known.map_or_else(|| store.series(self.source, &labels(&self.base, &sample)), Ok) {
                Ok(series) => {
                    self.row.push((series, sample.value));
                    if known.is_none() {
                        self.known.insert(sample.series.to_owned(), series);
                        grown = true;
                    }
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        store.append(self.source, now, true, &self.row);
        if grown {
            self.catalogue.lock().unwrap_or_else(PoisonError::into_inner).extend(families(&self.text)?);
            self.forget(store);
        }
        refused.map_or(Ok(()), |refused| Err(refused.into()))
    }

    /// Drops the texts of series that are gone, once there are as many as others.
    fn forget(&mut self, store: &Store) {
        if self.known.len() > 2 * self.row.len() {
            self.known.retain(|_, series| store.contains(*series));
        }
    }
}

fn labels(base: &Labels, sample: &Sample<'_>) -> Labels {
    // Of a repeated name the last wins: the sample's own.
    Labels::from_labels(base.iter().cloned().chain(sample.to_labels()).collect())
}

/// The families of an OpenMetrics text, named as Prometheus's text format names them.
fn families(text: &str) -> Result<Vec<Family>, ParseError> {
    let mut help: BTreeMap<&str, String> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in entries(text, Dialect::OpenMetrics, Limits::default()) {
        match entry? {
            Entry::Help { name, help: text } => drop(help.insert(name, text.into_owned())),
            Entry::Type { name, kind } => found.push((name, kind)),
            Entry::Unit { .. } | Entry::Sample(_) => {}
        }
    }
    let family = |(name, kind): (&str, FamilyKind)| Family {
        help: help.remove(name).unwrap_or_default().into(),
        name: match kind {
            FamilyKind::Counter => format!("{name}_total").into(),
            FamilyKind::Info => format!("{name}_info").into(),
            _ => name.to_owned().into(),
        },
        kind,
    };
    Ok(found.into_iter().map(family).collect())
}

#[cfg(test)]
mod tests;
