//! Samples that do not change.

use std::collections::BTreeMap;

use crate::matcher::{MatchOp, Matcher};
use crate::promql::{Select, Series, Visit};
use crate::sample::{METRIC_NAME, Sample, Timestamp, is_stale};

/// Series over time, stale markers among their points, by the metric's name.
pub struct Fixed(BTreeMap<String, Vec<Series>>);

impl Fixed {
    pub fn new(series: Vec<Series>) -> Self {
        let mut by_name: BTreeMap<String, Vec<Series>> = BTreeMap::new();
        for one in series {
            by_name.entry(one.labels.metric_name().to_owned()).or_default().push(one);
        }
        Fixed(by_name)
    }

    fn matching<'a>(&'a self, matchers: &'a [Matcher]) -> impl Iterator<Item = &'a Series> {
        let of_name = |m: &&Matcher| &*m.name == METRIC_NAME && m.op == MatchOp::Equal;
        let only = matchers.iter().find(of_name).map(|matcher| &*matcher.value);
        let named = self.0.iter().filter(move |(name, _)| only.is_none_or(|only| only == name.as_str()));
        let series = named.flat_map(|(_, series)| series);
        series.filter(|series| matchers.iter().all(|matcher| matcher.matches_labels(&series.labels)))
    }
}

impl Select for Fixed {
    fn instant(&self, matchers: &[Matcher], at: Timestamp, lookback: i64) -> Vec<Sample> {
        let newest = |series: &Series| {
            let point = series.points[..series.points.partition_point(|point| point.at <= at)].last()?;
            let shown = point.at > at - lookback && !is_stale(point.value);
            shown.then(|| Sample { labels: series.labels.clone(), value: point.value })
        };
        self.matching(matchers).filter_map(newest).collect()
    }

    fn range(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp, visit: &mut Visit<'_>) {
        for Series { labels, points } in self.matching(matchers) {
            let from = points.partition_point(|point| point.at <= after);
            let to = points.partition_point(|point| point.at <= until);
            if from < to {
                visit(labels, &points[from..to]);
            }
        }
    }
}
