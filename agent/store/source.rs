//! One source: a stream of reports, and the column of their times that its series share.

use std::collections::VecDeque;

use crate::sample::Timestamp;

use super::slab::Key;

/// However often a source reports within the window, no more rows than these are kept.
pub(super) const MAX_ROWS: usize = 4_096;

#[derive(Debug)]
pub(super) struct Source {
    pub name: String,
    pub max_series: usize,
    pub series: Vec<Key>,
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
            ended: None,
            floor: Timestamp::MIN,
            made_room_at: None,
            rows: VecDeque::new(),
            base: 0,
            complete_until: 0,
        }
    }

    /// Whether a report of this time is the next one.
    pub fn accepts(&self, at: Timestamp) -> bool {
        self.ended.is_none() && at >= self.floor && self.newest().is_none_or(|newest| at > newest)
    }

    /// Adds a row and forgets those before `oldest` and what is too many; the number of the new row.
    pub fn push(&mut self, at: Timestamp, complete: bool, oldest: Timestamp) -> u64 {
        while self.rows.front().is_some_and(|row| row.at < oldest || self.rows.len() >= MAX_ROWS) {
            self.rows.pop_front();
            self.base += 1;
        }
        let number = self.next_row();
        self.rows.push_back(Row { at, complete });
        if complete {
            self.complete_until = number + 1;
        }
        number
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

    /// The numbers and times of the rows with `after < t <= until`, oldest first.
    pub fn rows_between(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = (u64, Timestamp)> {
        let from = self.rows.partition_point(|row| row.at <= after);
        let to = self.rows.partition_point(|row| row.at <= until).max(from);
        (from..to).map(|index| (self.base + index as u64, self.rows[index].at))
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
