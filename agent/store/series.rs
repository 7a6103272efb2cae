//! One series: its labels and its values, aligned with its source's rows.

use std::ops::Range;

use crate::sample::{Labels, is_stale};

use super::slab::Key;
use super::values::{ABSENT, Values, is_absent};

#[derive(Debug)]
pub(super) struct Series {
    pub labels: Labels,
    pub source: Key,
    /// How far back its values are kept, milliseconds.
    pub window: i64,
    /// The number of the source's row that the first value stands in.
    first_row: u64,
    /// One value per row from `first_row` to the last row with a value; rows after that have none.
    values: Values,
}

impl Series {
    pub fn new(labels: Labels, source: Key, window: i64, first_row: u64) -> Self {
        Series { labels, source, window, first_row, values: Values::default() }
    }

    /// The number of the row after the last one with a value.
    pub fn end(&self) -> u64 {
        self.first_row + self.values.len() as u64
    }

    pub fn rows(&self) -> usize {
        self.values.len()
    }

    /// What its values take.
    pub fn bytes(&self) -> usize {
        self.values.bytes()
    }

    /// Whether the last value says that the series has ended, or there is none.
    pub fn is_over(&self) -> bool {
        self.values.last().is_none_or(is_stale)
    }

    /// Writes the value of `row`, which is past the end, and forgets the values before the row `base`.
    pub fn push(&mut self, row: u64, base: u64, value: f64) {
        if self.end() <= base {
            self.values = Values::default();
            self.first_row = row;
        }
        self.forget(base);
        while self.end() < row {
            self.values.push(ABSENT);
        }
        self.values.push(if is_absent(value) { f64::NAN } else { value });
    }

    /// Forgets the values before the row `base`, but for the last one.
    pub fn forget(&mut self, base: u64) {
        let gone = base.min(self.end().saturating_sub(1)).saturating_sub(self.first_row);
        if gone == 0 {
            return;
        }
        self.first_row += gone;
        let gone = usize::try_from(gone).unwrap_or(usize::MAX);
        self.values.forget(gone);
        // After an outage, or where less is kept now.
        if gone > self.values.len() {
            self.values.shrink();
        }
    }

    /// Leaves rows out: those after them get their numbers. A last value is in none of them.
    pub fn cut(&mut self, rows: &Range<u64>) {
        if self.end() <= rows.start {
            return;
        }
        self.values.remove(self.places(rows));
        self.first_row = match self.first_row {
            first if first >= rows.end => first - (rows.end - rows.start),
            first => first.min(rows.start),
        };
    }

    /// Where the values of these rows stand.
    fn places(&self, rows: &Range<u64>) -> Range<usize> {
        let place = |row: u64| usize::try_from(row.saturating_sub(self.first_row)).unwrap_or(usize::MAX);
        let to = place(rows.end).min(self.values.len());
        place(rows.start).min(to)..to
    }

    /// The value in a row, unless it is absent or the stale marker.
    pub fn value(&self, row: u64) -> Option<f64> {
        let place = usize::try_from(row.checked_sub(self.first_row)?).ok()?;
        self.values.get(place).filter(|value| !is_absent(*value) && !is_stale(*value))
    }

    /// The rows of these that its values span.
    pub fn spanned(&self, rows: &Range<u64>) -> Range<u64> {
        let places = self.places(rows);
        let from = self.first_row + places.start as u64;
        from..from + places.len() as u64
    }

    /// Copies the values in the rows that they span: [`ABSENT`] and the stale marker are among them.
    pub fn copy(&self, rows: &Range<u64>, copies: &mut Vec<f64>) {
        self.values.copy(self.places(rows), copies);
    }

    /// The newest row up to `row` that has a value (or the stale marker).
    pub fn last_written(&self, row: u64) -> Option<u64> {
        let newest = row.min(self.end().checked_sub(1)?);
        let count = usize::try_from((newest + 1).checked_sub(self.first_row)?).ok()?;
        let place = (0..count).rev().find(|place| self.values.get(*place).is_some_and(|value| !is_absent(value)))?;
        Some(self.first_row + place as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Series {
        let source = super::super::slab::Slab::default().insert(());
        Series::new(Labels::default(), source, 0, 5)
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
        series.push(5, 0, ABSENT);
        assert!(series.value(5).unwrap().is_nan());
    }

    #[test]
    fn rows_that_are_left_out_take_their_values_with_them() {
        for (first, seen) in [(5, vec![5.0, 6.0, 10.0, 11.0]), (8, vec![10.0, 11.0]), (10, vec![10.0, 11.0])] {
            let mut series = Series::new(Labels::default(), super::super::slab::Slab::default().insert(()), 0, first);
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
        (5..505).for_each(|row| series.push(row, 0, row as f64 + 0.5));
        series.push(505, 500, 0.5);
        assert!(series.bytes() < 20 * 8, "{}", series.bytes());
        assert_eq!(series.rows(), 6);
        series.forget(1_000);
        assert_eq!((series.rows(), series.value(505)), (1, Some(0.5)), "the last one stays");
    }

    #[test]
    fn a_steady_series_does_not_grow() {
        let mut series = series();
        (5..105).for_each(|row| series.push(row, row.saturating_sub(59), row as f64 + 0.5));
        let bytes = series.bytes();
        (105..1_000).for_each(|row| series.push(row, row - 59, row as f64 + 0.5));
        assert_eq!(series.bytes(), bytes);
        assert_eq!(series.rows(), 60);
    }
}
