//! One series: its labels and its values, aligned with its source's rows.

use std::collections::VecDeque;
use std::ops::Range;

use crate::sample::{Labels, is_stale};

use super::slab::Key;

/// "No value in this row": a NaN that no measurement yields.
const ABSENT_BITS: u64 = 0xfff0_0000_0057_4b00;

#[derive(Debug)]
pub(super) struct Series {
    pub labels: Labels,
    pub source: Key,
    /// The number of the source's row that the first value stands in.
    first_row: u64,
    /// One value per row from `first_row` to the last row with a value; rows after that have none.
    values: VecDeque<f64>,
}

impl Series {
    pub fn new(labels: Labels, source: Key, first_row: u64) -> Self {
        Series { labels, source, first_row, values: VecDeque::new() }
    }

    /// The number of the row after the last one with a value.
    pub fn end(&self) -> u64 {
        self.first_row + self.values.len() as u64
    }

    pub fn rows(&self) -> usize {
        self.values.len()
    }

    /// Whether the last value says that the series has ended, or there is none.
    pub fn is_over(&self) -> bool {
        self.values.back().is_none_or(|last| is_stale(*last))
    }

    /// Writes the value of `row`, which is past the end, and forgets the values before the row `base`.
    pub fn push(&mut self, row: u64, base: u64, value: f64) {
        if self.end() <= base {
            self.values.clear();
            self.first_row = row;
        }
        let gone = self.first_row..base;
        for _ in gone.clone() {
            self.values.pop_front();
            self.first_row += 1;
        }
        // After an outage, or where less is kept now.
        if gone.count() > self.values.len() {
            self.values.shrink_to(self.values.len() + self.values.len() / 4 + 4);
        }
        while self.end() < row {
            self.push_back(f64::from_bits(ABSENT_BITS));
        }
        self.push_back(if is_absent(value) { f64::NAN } else { value });
    }

    /// Leaves rows out: those after them get their numbers. A last value is in none of them.
    pub fn cut(&mut self, rows: &Range<u64>) {
        if self.end() <= rows.start {
            return;
        }
        let index = |row: u64| usize::try_from(row.saturating_sub(self.first_row)).unwrap_or(usize::MAX);
        let (from, to) = (index(rows.start), index(rows.end).min(self.values.len()));
        self.values.drain(from..to);
        self.first_row = match self.first_row {
            first if first >= rows.end => first - (rows.end - rows.start),
            first => first.min(rows.start),
        };
    }

    /// Grows by a quarter, not by doubling: most of the store's memory is here.
    fn push_back(&mut self, value: f64) {
        if self.values.len() == self.values.capacity() {
            self.values.reserve_exact(self.values.len() / 4 + 4);
        }
        self.values.push_back(value);
    }

    /// Whether it had a value in this row or before.
    pub fn has_begun(&self, row: u64) -> bool {
        row >= self.first_row && !self.values.is_empty()
    }

    /// The value in a row, unless it is absent or the stale marker.
    pub fn value(&self, row: u64) -> Option<f64> {
        let index = usize::try_from(row.checked_sub(self.first_row)?).ok()?;
        self.values.get(index).copied().filter(|value| !is_absent(*value) && !is_stale(*value))
    }

    /// The newest row up to `row` that has a value (or the stale marker).
    pub fn last_written(&self, row: u64) -> Option<u64> {
        let newest = row.min(self.end().checked_sub(1)?);
        let count = usize::try_from((newest + 1).checked_sub(self.first_row)?).ok()?;
        let back = self.values.range(..count).rev().position(|value| !is_absent(*value))?;
        Some(newest - back as u64)
    }
}

fn is_absent(value: f64) -> bool {
    value.to_bits() == ABSENT_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Series {
        let source = super::super::slab::Slab::default().insert(());
        Series::new(Labels::default(), source, 5)
    }

    #[test]
    fn values_stand_in_their_rows_and_gaps_stay_gaps() {
        let mut series = series();
        series.push(5, 0, 1.0);
        series.push(8, 0, 2.0);
        let seen: Vec<_> = (4..10).map(|row| series.value(row)).collect();
        assert_eq!(seen, [None, Some(1.0), None, None, Some(2.0), None]);
        assert_eq!(series.last_written(7), Some(5));
        assert_eq!(series.last_written(4), None);
        assert_eq!(series.last_written(99), Some(8));
    }

    #[test]
    fn a_value_with_the_private_bits_is_an_ordinary_nan() {
        let mut series = series();
        series.push(5, 0, f64::from_bits(ABSENT_BITS));
        assert!(series.value(5).unwrap().is_nan());
    }

    #[test]
    fn rows_that_are_left_out_take_their_values_with_them() {
        for (first, seen) in [(5, vec![5.0, 6.0, 10.0, 11.0]), (8, vec![10.0, 11.0]), (10, vec![10.0, 11.0])] {
            let mut series = Series::new(Labels::default(), super::super::slab::Slab::default().insert(()), first);
            (first..12).for_each(|row| series.push(row, 0, row as f64));
            series.cut(&(7..10));
            let values: Vec<_> = (0..12).filter_map(|row| series.value(row)).collect();
            assert_eq!(values, seen);
            assert_eq!((series.value(7), series.value(8), series.end()), (Some(10.0), Some(11.0), 9));
        }
        let mut ended = series();
        ended.push(5, 0, 1.0);
        ended.cut(&(6..9));
        assert_eq!((ended.value(5), ended.end()), (Some(1.0), 6));
    }

    #[test]
    fn a_series_of_which_less_is_kept_gives_its_memory_back() {
        let mut series = series();
        (5..505).for_each(|row| series.push(row, 0, 0.0));
        series.push(505, 500, 0.0);
        assert!(series.values.capacity() < 20, "{}", series.values.capacity());
        assert_eq!(series.rows(), 6);
    }

    #[test]
    fn a_steady_series_does_not_grow() {
        let mut series = series();
        (5..65).for_each(|row| series.push(row, 5, 0.0));
        let capacity = series.values.capacity();
        (65..1_000).for_each(|row| series.push(row, row - 59, 0.0));
        assert_eq!(series.values.capacity(), capacity);
        assert_eq!(series.rows(), 60);
    }
}
