//! The data as the rules of a group see it in turn: with what the rules before them wrote at this tick (recorded
//! series, `ALERTS`), which the store will have only when the tick is over.

use std::collections::{BTreeMap, BTreeSet};

use crate::matcher::Matcher;
use crate::promql::{Point, Select, Visit};
use crate::sample::{Labels, Sample, Timestamp, stale_marker};

pub struct Overlay<'a> {
    base: &'a dyn Select,
    /// The tick.
    at: Timestamp,
    hidden: BTreeSet<Labels>,
    added: Vec<Sample>,
}

/// What one rule writes at a tick: the series that it had before, and what it has now.
#[derive(Debug, Default)]
pub struct Written {
    pub before: Vec<Labels>,
    pub now: Vec<Sample>,
}

impl<'a> Overlay<'a> {
    pub fn over(base: &'a dyn Select, at: Timestamp) -> Self {
        Overlay { base, at, hidden: BTreeSet::new(), added: Vec::new() }
    }

    /// From here on one rule's series are as it has written them. What an earlier rule wrote counts before it.
    pub fn replace(&mut self, written: &Written) {
        self.hidden.extend(written.before.iter().chain(written.now.iter().map(|sample| &sample.labels)).cloned());
        self.added.extend(written.now.iter().cloned());
    }

    fn matching(&self, matchers: &[Matcher]) -> impl Iterator<Item = &Sample> {
        self.added.iter().filter(|sample| matchers.iter().all(|matcher| matcher.matches_labels(&sample.labels)))
    }
}

impl Select for Overlay<'_> {
    fn instant(&self, matchers: &[Matcher], at: Timestamp, lookback: i64) -> Vec<Sample> {
        let mut samples = self.base.instant(matchers, at, lookback);
        if at >= self.at && !self.hidden.is_empty() {
            samples.retain(|sample| !self.hidden.contains(&sample.labels));
            samples.extend(self.matching(matchers).filter(|_| at - lookback < self.at).cloned());
        }
        samples
    }

    /// What is written at this tick follows what the series had before, whoever wrote that; a series that ends with
    /// this tick ends with a stale marker.
    fn range(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp, visit: &mut Visit<'_>) {
        if !(after < self.at && self.at <= until) || self.hidden.is_empty() {
            return self.base.range(matchers, after, until, visit);
        }
        let mut added: BTreeMap<&Labels, f64> =
            self.matching(matchers).map(|sample| (&sample.labels, sample.value)).collect();
        let mut joined: Vec<Point> = Vec::new();
        self.base.range(matchers, after, until, &mut |labels, points| {
            if !self.hidden.contains(labels) {
                return visit(labels, points);
            }
            joined.clear();
            joined.extend(points.iter().filter(|point| point.at < self.at));
            let value = added.remove(labels).unwrap_or_else(stale_marker);
            joined.push(Point { at: self.at, value });
            visit(labels, &joined);
        });
        for (labels, value) in added {
            visit(labels, &[Point { at: self.at, value }]);
        }
    }
}
