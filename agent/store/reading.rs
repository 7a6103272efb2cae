//! Reading what matchers select a few series at a time, as of one moment: whoever reads much need not hold the store all
//! the while.

use std::collections::HashMap;

use super::slab::Key;
use super::view::Found;
use super::{SeriesId, Store};
use crate::matcher::Matcher;
use crate::promql::Visit;
use crate::sample::Timestamp;

/// How much is read at once: about a tenth of a millisecond.
const PIECE: usize = 512;
/// How many points are as much work as a series.
const POINTS: usize = 32;
/// How many matchers are.
const MATCHERS: usize = 16;
/// How many bytes of compiled patterns are.
const PATTERN_BYTES: usize = 2 * 1024;

/// When each source had last reported at some moment. What is reported later is not read.
#[derive(Debug)]
pub struct Moment(HashMap<Key, Timestamp>);

/// The series that are still to be looked at.
#[derive(Debug)]
pub struct Reading {
    ids: Vec<SeriesId>,
    next: usize,
    matchers: Vec<Matcher>,
    /// How much work it is to look at a series.
    effort: usize,
}

impl Reading {
    fn new(ids: Vec<SeriesId>, matchers: Vec<Matcher>) -> Self {
        let patterns: usize = matchers.iter().map(Matcher::size).sum();
        let effort = 1 + matchers.len() / MATCHERS + patterns / PATTERN_BYTES;
        Reading { ids, next: 0, matchers, effort }
    }
}

impl Store {
    pub fn moment(&self) -> Moment {
        let newest = |key: Key| {
            let source = self.sources.get(key)?;
            Some((key, source.ended.or(source.newest())?))
        };
        Moment(self.sources.keys().filter_map(newest).collect())
    }

    /// The series that matchers may select.
    pub fn reading(&self, matchers: &[Matcher]) -> Reading {
        if let Some(remembered) = self.selections.find(matchers) {
            return Reading::new(remembered.to_vec(), Vec::new());
        }
        let (lists, others) = self.unremembered(matchers);
        Reading::new(lists.concat(), others.into_iter().cloned().collect())
    }

    /// Goes on a little: shows each series that matches and has samples with `after < t <= until` with these, as
    /// [`Store::current`] does, except that what a removed source and the one after it had of the same series comes
    /// apart. False at the end.
    pub fn read(
        &self,
        reading: &mut Reading,
        moment: &Moment,
        (after, until): (Timestamp, Timestamp),
        visit: &mut Visit<'_>,
    ) -> bool {
        let (view, mut found, mut work) = (self.current(), Found::default(), 0);
        while let Some(id) = reading.ids.get(reading.next).filter(|_| work < PIECE) {
            reading.next += 1;
            work += reading.effort;
            let Some((series, source)) = self.series_and_source(*id) else { continue };
            let Some(newest) = moment.0.get(&series.source) else { continue };
            if !reading.matchers.iter().all(|matcher| matcher.matches_labels(&series.labels)) {
                continue;
            }
            view.points(series, source, after, until.min(*newest), &mut found);
            work += found.points.len() / POINTS;
            if !found.points.is_empty() {
                visit(&series.labels, &found.points);
            }
        }
        reading.next < reading.ids.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sample::Labels;
    use crate::store::StoreLimits;

    #[test]
    fn the_harder_a_series_is_to_match_the_fewer_are_looked_at_at_once() {
        let mut store = Store::new(StoreLimits { series: 10_000, window: Duration::from_secs(60) });
        let source = store.add_source("shop", 10_000);
        for index in 0..PIECE {
            store.series(source, &Labels::new([("__name__", "x".to_owned()), ("i", index.to_string())])).unwrap();
        }
        let pieces = |pattern: &str| {
            let matcher = Matcher::new("i", crate::matcher::MatchOp::Regex, pattern).unwrap();
            let (moment, mut reading) = (store.moment(), store.reading(&[matcher]));
            1 + std::iter::from_fn(|| store.read(&mut reading, &moment, (0, 9), &mut |_, _| {}).then_some(())).count()
        };
        assert_eq!(pieces("1|2"), 1);
        assert!(pieces(r"(\pL{9}){3}") > PIECE / 8);
    }

    #[test]
    fn what_is_reported_while_it_is_read_is_not_seen() {
        let mut store = Store::new(StoreLimits { series: 10_000, window: Duration::from_secs(60) });
        let source = store.add_source("shop", 10_000);
        let labels = |index: usize| Labels::new([("__name__", "x".to_owned()), ("i", index.to_string())]);
        let row: Vec<(SeriesId, f64)> =
            (0..PIECE + 88).map(|index| (store.series(source, &labels(index)).unwrap(), 1.0)).collect();
        store.append(source, 1_000, true, &row);
        let (moment, mut reading) = (store.moment(), store.reading(&[]));
        let mut lengths: Vec<usize> = Vec::new();
        assert!(store.read(&mut reading, &moment, (0, 9_000), &mut |_, points| lengths.push(points.len())));
        assert_eq!(lengths.len(), PIECE);
        store.append(source, 2_000, true, &row);
        let new = store.add_source("other", 10);
        let late = store.series(new, &Labels::new([("__name__", "y")])).unwrap();
        store.append(new, 2_000, true, &[(late, 1.0)]);
        assert!(!store.read(&mut reading, &moment, (0, 9_000), &mut |_, points| lengths.push(points.len())));
        assert_eq!(lengths, [1; PIECE + 88]);
        let mut again = store.reading(&[]);
        let now = store.moment();
        let mut last = 0;
        while store.read(&mut again, &now, (0, 9_000), &mut |_, points| last += points.len()) {}
        assert_eq!(last, 2 * (PIECE + 88) + 1);
    }
}
