//! One source: a stream of reports, and the column of their times that its series share.

use std::collections::VecDeque;
use std::ops::Range;

use crate::sample::Timestamp;

use super::slab::Key;

/// However often a source reports within the window, no more rows than these are kept: a day at 5 s, and a little.
pub(crate) const MAX_ROWS: usize = 20_000;
/// How many rows of an outage that nothing looks back to any more are worth the work of leaving them out.
const WORTH_LEAVING: u64 = if cfg!(test) { 3 } else { 64 };

#[derive(Debug)]
pub(super) struct Source {
    pub name: String,
    pub max_series: usize,
    pub series: Vec<Key>,
    /// The longest of its series', milliseconds: how far back rows are kept.
    pub window: i64,
    /// When its target was removed; everything in it ended then.
    pub ended: Option<Timestamp>,
    /// Nothing older is taken: another source's series with the same labels ended then.
    pub floor: Timestamp,
    /// The row for which series that have ended were last forgotten to make room.
    pub made_room_at: Option<u64>,
    rows: VecDeque<Row>,
    /// The number of the first row that is kept. Rows are numbered from 0 for the life of the source.
    base: u64,
    /// The number after the newest complete row.
    complete_until: u64,
    /// The number after the rows of the present outage that stay until it ends.
    settled_until: u64,
}

/// What one report left in the column.
#[derive(Debug, Clone, Copy)]
struct Row {
    at: Timestamp,
    complete: bool,
}

impl Source {
    pub fn new(name: &str, max_series: usize) -> Self {
        Source {
            name: name.to_owned(),
            max_series,
            series: Vec::new(),
            window: 0,
            ended: None,
            floor: Timestamp::MIN,
            made_room_at: None,
            rows: VecDeque::new(),
            base: 0,
            complete_until: 0,
            settled_until: 0,
        }
    }

    /// Whether a report of this time is the next one.
    pub fn accepts(&self, at: Timestamp) -> bool {
        self.ended.is_none() && at >= self.floor && self.newest().is_none_or(|newest| at > newest)
    }

    /// Adds a row; the number of the new row. Forgets the rows that the window has left behind, and those that are too
    /// many.
    pub fn push(&mut self, at: Timestamp, complete: bool) -> u64 {
        let number = self.next_row();
        self.rows.push_back(Row { at, complete });
        if complete {
            self.complete_until = number + 1;
        }
        let left = (self.base_of(self.window) - self.base).max(self.rows.len().saturating_sub(MAX_ROWS) as u64);
        self.rows.drain(..usize::try_from(left).unwrap_or(usize::MAX));
        self.base += left;
        number
    }

    /// The number of the first row of a window: it ends with what is known, which is the last complete row.
    pub fn base_of(&self, window: i64) -> u64 {
        let oldest = self.complete_at().map_or(Timestamp::MIN, |known| known.saturating_sub(window));
        let is_first = self.rows.front().is_none_or(|row| row.at >= oldest);
        let left = if is_first { 0 } else { self.rows.partition_point(|row| row.at < oldest) };
        self.base + left as u64
    }

    /// The rows before `oldest` since the last complete one, where they are worth leaving out.
    pub fn idle(&self, oldest: Timestamp) -> Option<Range<u64>> {
        let from = self.complete_until.max(self.settled_until).max(self.base);
        let to = self.base + self.rows.partition_point(|row| row.at < oldest) as u64;
        (to >= from + WORTH_LEAVING).then_some(from..to)
    }

    /// Leaves rows out of the column: those after them get their numbers. The rows before them are settled.
    pub fn cut(&mut self, rows: &Range<u64>) {
        self.settled_until = rows.start;
        let index = |row: u64| usize::try_from(row.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.rows.drain(index(rows.start)..index(rows.end));
        self.made_room_at = None;
    }

    fn complete_at(&self) -> Option<Timestamp> {
        self.time_of(self.complete_until.checked_sub(1)?)
    }

    /// The time of a row that is kept.
    pub fn time_of(&self, row: u64) -> Option<Timestamp> {
        let index = usize::try_from(row.checked_sub(self.base)?).ok()?;
        self.rows.get(index).map(|row| row.at)
    }

    pub fn base(&self) -> u64 {
        self.base
    }

    pub fn next_row(&self) -> u64 {
        self.base + self.rows.len() as u64
    }

    /// The time of the newest report.
    pub fn newest(&self) -> Option<Timestamp> {
        self.rows.back().map(|row| row.at)
    }

    /// The number and time of the newest row at or before `at`; none once the source has ended.
    pub fn row_at(&self, at: Timestamp) -> Option<(u64, Timestamp)> {
        if self.ended.is_some_and(|ended| at >= ended) {
            return None;
        }
        let count = match self.rows.back() {
            Some(newest) if newest.at <= at => self.rows.len(),
            _ => self.rows.partition_point(|row| row.at <= at),
        };
        let index = count.checked_sub(1)?;
        Some((self.base + index as u64, self.rows[index].at))
    }

    /// The numbers of the rows with `after < t <= until`.
    pub fn rows_between(&self, after: Timestamp, until: Timestamp) -> Range<u64> {
        let from = self.rows.partition_point(|row| row.at <= after);
        let to = match self.rows.back() {
            Some(newest) if newest.at <= until => self.rows.len(),
            _ => self.rows.partition_point(|row| row.at <= until).max(from),
        };
        self.base + from as u64..self.base + to as u64
    }

    /// The times of rows that are kept, and whether each is complete.
    pub fn rows(&self, rows: Range<u64>) -> impl Iterator<Item = (Timestamp, bool)> {
        let index = |row: u64| usize::try_from(row.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.rows.range(index(rows.start)..index(rows.end)).map(|row| (row.at, row.complete))
    }

    /// Whether a complete report followed in the rows from `from` on.
    pub fn complete_since(&self, from: u64) -> bool {
        self.complete_until > from
    }

    /// Whether one of the kept rows `from..=to` is complete.
    pub fn complete_between(&self, from: u64, to: u64) -> bool {
        let index = |row: u64| usize::try_from(row.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.complete_since(from) && from <= to && self.rows.range(index(from)..=index(to)).any(|row| row.complete)
    }
}
