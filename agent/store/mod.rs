//! The samples in memory: series that share the column of times of the reports that they come from.
//!
//! A source is a stream of reports (a target's, the agent's own metrics, a rule group's results). Each report is one
//! row: a time, whether it is complete, and values. A series stands in a row or it does not; that is all that is
//! written, and staleness is read from it:
//! - not in the newest row: stale, as when Prometheus's scrape misses it (its stale marker);
//! - not in a row that is complete: gone;
//! - not in a row that is incomplete (the look failed): unknown, and [`Store::held`] shows its last real value.
//!
//! Pure: time is an argument, and whoever shares the store locks it.

mod metrics;
mod reading;
mod selections;
mod series;
mod slab;
mod source;
mod symbols;
mod values;
mod view;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;

pub use metrics::Metrics;
pub use reading::{Moment, Reading};
pub use selections::Selection;
pub(crate) use source::MAX_ROWS;
pub use view::View;

use crate::clock::millis;
use crate::promql::LOOKBACK;
use crate::sample::{Labels, Timestamp};
use selections::Selections;
use series::Series;
use slab::{Key, Slab};
use source::Source;
use symbols::Symbols;

/// A stream of reports. Never valid again once its source is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceId(Key);

/// A series. Never valid again once the series is gone, whoever takes its place: see [`Store::contains`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeriesId(Key);

/// What the store may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Series of all sources together.
    pub series: usize,
    /// How far back every series is kept. What a [`Selection`] selects is kept as far back as it looks, if that is
    /// longer.
    pub window: Duration,
}

/// Locks a store that is shared. A panic while it was locked leaves it usable: no operation stops half-way.
pub fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a series is not in the store.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("{source_name}: more than {max} series; its reports are cut, raise its max_series or report less")]
    SourceFull { source_name: String, max: usize },
    #[error("{source_name}: the store is full with {max} series; watch less or raise the limit")]
    StoreFull { source_name: String, max: usize },
    #[error("{labels}: a series of {owner} already; give one of them another label")]
    Taken { labels: Labels, owner: String },
    #[error("the source has been removed")]
    NoSource,
}

/// How much the store holds, and what it has turned away since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub sources: usize,
    pub series: usize,
    /// Values held, gaps included.
    pub samples: usize,
    /// What these values take.
    pub sample_bytes: usize,
    /// Distinct label strings.
    pub symbols: usize,
    pub refused: RefusedCounts,
    pub dropped: DroppedCounts,
}

/// Series refused, once for each time that they were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefusedCounts {
    pub source_full: u64,
    pub store_full: u64,
    pub taken: u64,
}

/// Samples dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DroppedCounts {
    /// Their report is not newer than the one before it, or its source is gone.
    pub out_of_order: u64,
    /// Their series stands twice in one report; the first counts.
    pub duplicate: u64,
    /// Their series is gone, or another source's.
    pub unknown_series: u64,
}

#[derive(Debug)]
pub struct Store {
    limits: StoreLimits,
    sources: Slab<Source>,
    series: Slab<Series>,
    symbols: Symbols,
    /// The newest series with these labels.
    by_labels: HashMap<Labels, SeriesId>,
    /// The series of each metric name ("" for those without).
    names: BTreeMap<Arc<str>, Vec<SeriesId>>,
    selections: Selections,
    next: Option<NextSelections>,
    /// Removed sources whose samples are still in the window, in order of removal.
    ended: VecDeque<(Timestamp, SourceId)>,
    refused: RefusedCounts,
    dropped: DroppedCounts,
}

impl Store {
    pub fn new(limits: StoreLimits) -> Self {
        Store {
            limits,
            sources: Slab::default(),
            series: Slab::default(),
            symbols: Symbols::default(),
            by_labels: HashMap::new(),
            names: BTreeMap::new(),
            selections: Selections::default(),
            next: None,
            ended: VecDeque::new(),
            refused: RefusedCounts::default(),
            dropped: DroppedCounts::default(),
        }
    }

    /// A new stream of reports with at most `max_series` series. `name` is what errors call it.
    pub fn add_source(&mut self, name: &str, max_series: usize) -> SourceId {
        SourceId(self.sources.insert(Source::new(name, max_series)))
    }

    /// The series with these labels in this source, made where there is none. The id may be kept as long as
    /// [`Store::contains`] it. A label set belongs to one source; that of a removed source may be taken over.
    pub fn series(&mut self, source: SourceId, labels: &Labels) -> Result<SeriesId, Refused> {
        if self.sources.get(source.0).is_none_or(|source| source.ended.is_some()) {
            return Err(Refused::NoSource);
        }
        let mut floor = Timestamp::MIN;
        if let Some((id, owner)) = self.owner(labels) {
            if owner == source {
                return Ok(id);
            }
            floor = self.ended_at(owner, labels)?;
        }
        self.make_room(source)?;
        Ok(self.insert_series(source, labels, floor))
    }

    /// Whether the series is still there. One that stood in no report for the window is not: ask for it anew.
    pub fn contains(&self, id: SeriesId) -> bool {
        self.series.contains(id.0)
    }

    /// Appends one report and returns how many of its values were written. `complete` says that what is not in it is
    /// gone; where the look failed it is unknown. A report that is not newer than the last one is dropped and counted.
    /// What a series' window, counted from `at`, has left behind is forgotten. While looks fail, the window before the
    /// last complete report stays, so that what is unknown can be held with its past.
    pub fn append(&mut self, source: SourceId, at: Timestamp, complete: bool, row: &[(SeriesId, f64)]) -> usize {
        let Some(stream) = self.sources.get_mut(source.0).filter(|stream| stream.accepts(at)) else {
            self.dropped.out_of_order += row.len() as u64;
            return 0;
        };
        let number = stream.push(at, complete);
        let (mut bases, oldest) = (Bases::default(), at.saturating_sub(stream.window));
        let all = stream.series.len();
        let written = row.iter().filter(|(id, value)| self.write(source, *id, number, &mut bases, *value)).count();
        if written < all {
            self.forget(source, |series, stream| {
                has_ended(series, stream) && series.end() <= bases.of(stream, series.window)
            });
        }
        if !complete {
            self.shorten_outage(source, oldest);
        }
        self.expire(at);
        written
    }

    /// What rules select from now on. What each selects is remembered as series come and go, and kept for its window:
    /// what more is kept than before fills from now on, what less is given back at once.
    pub fn select(&mut self, selections: Vec<Selection>) {
        self.begin_select(selections);
        while self.go_on_selecting(usize::MAX) {}
    }

    /// As [`Store::select`], a little at a time, since many series take long: [`Store::go_on_selecting`] does the work,
    /// and until it has ended the selections before hold.
    pub fn begin_select(&mut self, selections: Vec<Selection>) {
        let (waiting, windows) = (self.names.values().flatten().copied().collect(), Vec::new());
        self.next = Some(NextSelections { selections: Selections::new(selections), waiting, windows });
    }

    /// Compares so many series more with the selections to come. False where none are to come any more.
    pub fn go_on_selecting(&mut self, count: usize) -> bool {
        let Some(next) = &mut self.next else { return false };
        let (least, series) = (millis(self.limits.window), &self.series);
        for id in next.waiting.drain(..count.min(next.waiting.len())) {
            let Some(found) = series.get(id.0) else { continue };
            let window = next.selections.add(id, &found.labels, name_of(series)).max(least);
            next.windows.push((id.0, window));
        }
        if let Some(next) = self.next.take_if(|next| next.waiting.is_empty()) {
            self.take_up(next);
        }
        self.next.is_some()
    }

    fn take_up(&mut self, next: NextSelections) {
        self.selections = next.selections;
        for (key, window) in next.windows {
            if let Some(series) = self.series.get_mut(key) {
                series.window = window;
            }
        }
        let sources: Vec<Key> = self.sources.keys().collect();
        sources.into_iter().for_each(|source| self.shorten(source));
    }

    /// Brings a source to the windows that its series have now.
    fn shorten(&mut self, source: Key) {
        let Some(stream) = self.sources.get_mut(source) else { return };
        let windows = stream.series.iter().filter_map(|key| self.series.get(*key)).map(|series| series.window);
        stream.window = windows.max().unwrap_or_default();
        let mut bases = Bases::default();
        for key in &stream.series {
            if let Some(series) = self.series.get_mut(*key) {
                series.forget(bases.of(stream, series.window));
            }
        }
    }

    /// Ends every series of the source at `at`: its target was removed. What it held stays in the window; what it did
    /// not know is not held.
    pub fn remove_source(&mut self, source: SourceId, at: Timestamp) {
        let Some(stream) = self.sources.get_mut(source.0).filter(|stream| stream.ended.is_none()) else { return };
        let ended = stream.newest().map_or(at, |newest| at.max(newest));
        stream.ended = Some(ended);
        self.ended.push_back((ended, source));
        self.expire(at);
    }

    /// What Prometheus would show: a series that is not in its source's newest row is stale, and a value older than
    /// the lookback is none.
    pub fn current(&self) -> View<'_> {
        View::new(self, false)
    }

    /// As [`Store::current`], except that nothing is lost by not knowing: where a live source's newest row is
    /// incomplete, or older than the lookback, its series keep their last real value. In a range their points are moved
    /// so that the last one stands at the newest row (at the end of the range where that row is older than the
    /// lookback): the rate of what is unknown is its last rate.
    pub fn held(&self) -> View<'_> {
        View::new(self, true)
    }

    /// Everything that is neither stale at `at` nor older than the lookback, in order of metric names: labels, value and its time.
    pub fn newest(&self, at: Timestamp) -> impl Iterator<Item = (&Labels, f64, Timestamp)> {
        self.matching(&[]).filter_map(move |(series, source)| {
            let (value, written) = view::current_value(series, source, at, LOOKBACK)?;
            Some((&series.labels, value, written))
        })
    }

    /// The names of the metrics that have series.
    pub fn metric_names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
    }

    pub fn counts(&self) -> Counts {
        Counts {
            sources: self.sources.len(),
            series: self.series.len(),
            samples: self.series.values().map(Series::rows).sum(),
            sample_bytes: self.series.values().map(Series::bytes).sum(),
            symbols: self.symbols.len(),
            refused: self.refused,
            dropped: self.dropped,
        }
    }

    fn owner(&self, labels: &Labels) -> Option<(SeriesId, SourceId)> {
        let id = *self.by_labels.get(labels)?;
        Some((id, SourceId(self.series.get(id.0)?.source)))
    }

    /// When the labels' present owner ended, which frees them.
    fn ended_at(&mut self, owner: SourceId, labels: &Labels) -> Result<Timestamp, Refused> {
        let Some(stream) = self.sources.get(owner.0) else { return Ok(Timestamp::MIN) };
        stream.ended.ok_or_else(|| {
            self.refused.taken += 1;
            Refused::Taken { labels: labels.clone(), owner: stream.name.clone() }
        })
    }

    /// Makes sure that one more series fits. Before a live series is refused, those that have ended are forgotten.
    fn make_room(&mut self, source: SourceId) -> Result<(), Refused> {
        if self.is_full(source) && self.may_make_room(source) {
            self.forget(source, has_ended);
        }
        if let Some(full) = self.sources.get(source.0).filter(|_| self.is_full(source)) {
            self.refused.source_full += 1;
            return Err(Refused::SourceFull { source_name: full.name.clone(), max: full.max_series });
        }
        while self.series.len() >= self.limits.series {
            let Some((_, oldest)) = self.ended.pop_front() else {
                self.refused.store_full += 1;
                let source_name = self.sources.get(source.0).map(|stream| stream.name.clone()).unwrap_or_default();
                return Err(Refused::StoreFull { source_name, max: self.limits.series });
            };
            self.drop_source(oldest);
        }
        Ok(())
    }

    fn is_full(&self, source: SourceId) -> bool {
        self.sources.get(source.0).is_none_or(|stream| stream.series.len() >= stream.max_series)
    }

    /// Once for each row: a source that floods must not make the store search for room for every series.
    fn may_make_room(&mut self, source: SourceId) -> bool {
        let Some(stream) = self.sources.get_mut(source.0) else { return false };
        let row = Some(stream.next_row());
        std::mem::replace(&mut stream.made_room_at, row) != row
    }

    fn insert_series(&mut self, source: SourceId, labels: &Labels, floor: Timestamp) -> SeriesId {
        let labels = self.symbols.intern(labels);
        let first_row = self.sources.get(source.0).map_or(0, Source::next_row);
        let id = SeriesId(self.series.insert(Series::new(labels.clone(), source.0, 0, first_row)));
        let window = self.selections.add(id, &labels, name_of(&self.series)).max(millis(self.limits.window));
        self.next.iter_mut().for_each(|next| next.waiting.push_back(id));
        if let Some(series) = self.series.get_mut(id.0) {
            series.window = window;
        }
        if let Some(stream) = self.sources.get_mut(source.0) {
            stream.series.push(id.0);
            stream.window = stream.window.max(window);
            stream.floor = stream.floor.max(floor);
        }
        self.index_name(&labels, id);
        // With the key: insert alone would keep the label set of the series before it.
        self.by_labels.remove(&labels);
        self.by_labels.insert(labels, id);
        id
    }

    fn index_name(&mut self, labels: &Labels, id: SeriesId) {
        let name = labels.iter().find(|label| &*label.name == crate::sample::METRIC_NAME);
        let name = name.map_or_else(|| Arc::from(""), |label| label.value.clone());
        self.names.entry(name).or_default().push(id);
    }

    fn write(&mut self, source: SourceId, id: SeriesId, row: u64, bases: &mut Bases, value: f64) -> bool {
        let found = self.series.get_mut(id.0).filter(|series| series.source == source.0);
        let (Some(series), Some(stream)) = (found, self.sources.get(source.0)) else {
            self.dropped.unknown_series += 1;
            return false;
        };
        if series.end() > row {
            self.dropped.duplicate += 1;
            return false;
        }
        series.push(row, bases.of(stream, series.window), value);
        true
    }

    /// Removes the series of a source that `gone` picks.
    fn forget(&mut self, source: SourceId, mut gone: impl FnMut(&Series, &Source) -> bool) {
        let Some(stream) = self.sources.get(source.0) else { return };
        let picked = |key: &&Key| self.series.get(**key).is_some_and(|series| gone(series, stream));
        let keys: Vec<Key> = stream.series.iter().filter(picked).copied().collect();
        if keys.is_empty() {
            return;
        }
        self.remove_series(&keys);
        if let Some(stream) = self.sources.get_mut(source.0) {
            stream.series.retain(|key| self.series.contains(*key));
        }
    }

    /// Leaves out the rows of a long outage that nothing looks back to: those between the last complete one, with the
    /// window before it, and the present window. The last value of a series stays, and what stands before it.
    fn shorten_outage(&mut self, source: SourceId, oldest: Timestamp) {
        let Some(stream) = self.sources.get_mut(source.0) else { return };
        let Some(idle) = stream.idle(oldest) else { return };
        let ends = stream.series.iter().filter_map(|key| self.series.get(*key).map(Series::end));
        let last = ends.filter(|end| *end <= idle.end).max().unwrap_or(0);
        let idle = last.max(idle.start)..idle.end;
        stream.cut(&idle);
        for key in &stream.series {
            if let Some(series) = self.series.get_mut(*key) {
                series.cut(&idle);
            }
        }
    }

    /// Forgets the removed sources that nothing looks back to at `at`.
    fn expire(&mut self, at: Timestamp) {
        if self.ended.is_empty() {
            return;
        }
        let window = |source: SourceId| self.sources.get(source.0).map_or(0, |stream| stream.window);
        let is_kept = |(ended, source): &(Timestamp, SourceId)| *ended >= at.saturating_sub(window(*source));
        let (kept, gone): (VecDeque<_>, VecDeque<_>) = self.ended.iter().copied().partition(is_kept);
        self.ended = kept;
        gone.into_iter().for_each(|(_, source)| self.drop_source(source));
    }

    fn drop_source(&mut self, source: SourceId) {
        if let Some(stream) = self.sources.remove(source.0) {
            self.remove_series(&stream.series);
        }
    }

    fn remove_series(&mut self, keys: &[Key]) {
        let mut gone: Vec<Labels> = Vec::new();
        for key in keys {
            let Some(series) = self.series.remove(*key) else { continue };
            if self.by_labels.get(&series.labels) == Some(&SeriesId(*key)) {
                self.by_labels.remove(&series.labels);
            }
            self.symbols.release(&series.labels);
            gone.push(series.labels);
        }
        let names: BTreeSet<&str> = gone.iter().map(Labels::metric_name).collect();
        names.into_iter().for_each(|name| self.thin_name(name));
        let is_there = |id: SeriesId| self.series.contains(id.0);
        self.selections.thin(&gone, is_there);
        if let Some(next) = &mut self.next {
            next.selections.thin(&gone, is_there);
        }
    }

    fn thin_name(&mut self, name: &str) {
        let Some(series) = self.names.get_mut(name) else { return };
        series.retain(|id| self.series.contains(id.0));
        if series.is_empty() {
            self.names.remove(name);
        }
    }
}

/// Selections that are not in force yet.
#[derive(Debug)]
struct NextSelections {
    selections: Selections,
    /// The series that are still to be compared with them, in the order that the store shows them in.
    waiting: VecDeque<SeriesId>,
    /// How far back the others will be kept, milliseconds.
    windows: Vec<(Key, i64)>,
}

/// Whether a series stands in no row any more and is not merely unknown: a complete row without it followed, or its
/// last word is the stale marker, or it never had a value.
fn has_ended(series: &Series, source: &Source) -> bool {
    series.end() < source.next_row() && (series.is_over() || source.complete_since(series.end()))
}

/// The first row of each window that the series of a source have, looked up once for a report.
#[derive(Debug, Default)]
struct Bases(Vec<(i64, u64)>);

impl Bases {
    fn of(&mut self, source: &Source, window: i64) -> u64 {
        if let Some((_, base)) = self.0.iter().find(|(known, _)| *known == window) {
            return *base;
        }
        let base = source.base_of(window);
        self.0.push((window, base));
        base
    }
}

fn name_of<'a>(series: &'a Slab<Series>) -> impl Fn(SeriesId) -> &'a str {
    move |id| series.get(id.0).map_or("", |series| series.labels.metric_name())
}
