//! The agent's own metrics: encoded by prometheus-client, read through our own parser, appended to the store, so that
//! rules, `/metrics` and every other reader see them as they see everything else.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use thiserror::Error;

use crate::sample::{Labels, Timestamp};
use crate::store::{Refused, Store};

use super::catalogue::Catalogue;
use super::ingest::{Pages, Precedence, families};
use super::parse::{Dialect, Limits, ParseError};

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
    /// What the registry declares is added here as soon as it has a series.
    catalogue: Arc<Mutex<Catalogue>>,
    pages: Pages,
    /// Kept from one collection to the next.
    text: String,
}

impl OwnMetrics {
    /// Takes the complete registry. Samples get the `base` labels (target, job, instance, node) that they do not set
    /// themselves.
    pub fn new(registry: Registry, base: Labels, catalogue: Arc<Mutex<Catalogue>>, store: &mut Store) -> Self {
        const MAX_SERIES: usize = 20_000;
        let source = store.add_source("the agent's own metrics", MAX_SERIES);
        OwnMetrics { registry, catalogue, pages: Pages::new(source, base, Precedence::Page), text: String::new() }
    }

    /// Appends the present values as one complete report. The first series that does not fit is the error; the others
    /// are appended all the same.
    pub fn collect(&mut self, store: &mut Store, now: Timestamp) -> Result<(), OwnError> {
        self.text.clear();
        encode(&mut self.text, &self.registry)?;
        let page = self.pages.read(store, &self.text, Dialect::OpenMetrics, Limits::default())?;
        self.pages.append(store, now, true);
        if page.added > 0 {
            let families = families(&self.text, Dialect::OpenMetrics, Limits::default())?;
            self.catalogue.lock().unwrap_or_else(PoisonError::into_inner).extend(families);
        }
        page.refused.map_or(Ok(()), |refused| Err(refused.into()))
    }
}

#[cfg(test)]
mod tests;
