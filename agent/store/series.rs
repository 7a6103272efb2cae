//! One series: its labels and its values, aligned with its source's rows.

use std::collections::VecDeque;

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
        while self.first_row < base {
            self.values.pop_front();
            self.first_row += 1;
        }
        while self.end() < row {
            self.push_back(f64::from_bits(ABSENT_BITS));
        }
        self.push_back(if is_absent(value) { f64::NAN } else { value });
    }

    /// Grows by a quarter, not by doubling: most of the store's memory is here.
    fn push_back(&mut self, value: f64) {
        if self.values.len() == self.values.capacity() {
            self.values.reserve_exact(self.values.len() / 4 + 4);
        }
        self.values.push_back(value);
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
    fn a_steady_series_does_not_grow() {
        let mut series = series();
        (5..65).for_each(|row| series.push(row, 5, 0.0));
        let capacity = series.values.capacity();
        (65..1_000).for_each(|row| series.push(row, row - 59, 0.0));
        assert_eq!(series.values.capacity(), capacity);
        assert_eq!(series.rows(), 60);
    }
}
