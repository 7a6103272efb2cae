//! The data as the rules of a group see it in turn: with the `ALERTS` of the rules before them at this tick, which
//! the store will have only when the tick is over.

use std::collections::BTreeSet;

use crate::matcher::Matcher;
use crate::promql::{Select, Series};
use crate::sample::{Labels, Sample, Timestamp};

pub struct Overlay<'a> {
    base: &'a dyn Select,
    hidden: BTreeSet<Labels>,
    added: Vec<Sample>,
}

impl<'a> Overlay<'a> {
    pub fn over(base: &'a dyn Select) -> Self {
        Overlay { base, hidden: BTreeSet::new(), added: Vec::new() }
    }

    /// One rule's series: those that it had before the tick, and what it has now.
    pub fn replace(&mut self, before: &[Sample], now: &[Sample]) {
        self.hidden.extend(before.iter().chain(now).map(|sample| sample.labels.clone()));
        self.added.extend(now.iter().cloned());
    }
}

impl Select for Overlay<'_> {
    fn instant(&self, matchers: &[Matcher], at: Timestamp, lookback: i64) -> Vec<Sample> {
        let mut samples = self.base.instant(matchers, at, lookback);
        if !self.hidden.is_empty() {
            samples.retain(|sample| !self.hidden.contains(&sample.labels));
            let matching = |sample: &&Sample| matchers.iter().all(|matcher| matcher.matches_labels(&sample.labels));
            samples.extend(self.added.iter().filter(matching).cloned());
        }
        samples
    }

    fn range(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp) -> Vec<Series> {
        self.base.range(matchers, after, until)
    }
}
