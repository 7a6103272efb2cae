//! The values of one series, all in the narrowest form that keeps every bit of them.
//!
//! Most series do not move within a window, or are whole numbers within a narrow span: then a value is nothing, or a
//! distance of one, two or four bytes from a common base. Every form is read at any place at once, without reading
//! what stands before it.

use std::collections::VecDeque;
use std::ops::Range;

use crate::sample::{STALE_BITS, is_stale, stale_marker};

/// "No value in this row": a NaN that no measurement yields.
pub(super) const ABSENT: f64 = f64::from_bits(0xfff0_0000_0057_4b00);
/// Up to here whole numbers and the distances between them are exact.
const WHOLE: f64 = 4_503_599_627_370_496.0;
/// After so many new values it is looked whether a narrower form will do, or as many as there are, if they are more.
const SETTLED: usize = 32;

pub(super) fn is_absent(value: f64) -> bool {
    value.to_bits() == ABSENT.to_bits()
}

#[derive(Debug)]
pub(super) struct Values {
    /// The value that all of them have, or what the distances are counted from.
    base: f64,
    cells: Cells,
    /// How many were written since it was last looked whether a narrower form will do.
    new: usize,
}

#[derive(Debug)]
enum Cells {
    /// So many times the same.
    Same(usize),
    One(VecDeque<u8>),
    Two(VecDeque<u16>),
    Four(VecDeque<u32>),
    /// The values themselves.
    Eight(VecDeque<f64>),
}

/// A distance from the base. The two highest numbers stand for "no value" and for the stale marker.
trait Cell: Copy + PartialEq {
    const ABSENT: Self;
    const STALE: Self;
    /// How many distances there are.
    const COUNT: f64;

    fn from_distance(distance: f64) -> Self;
    fn distance(self) -> f64;

    fn encode(base: f64, value: f64) -> Option<Self> {
        let distance = value - base;
        match value.to_bits() {
            _ if (0.0..Self::COUNT).contains(&distance) && is_whole(value) => Some(Self::from_distance(distance)),
            STALE_BITS => Some(Self::STALE),
            _ => is_absent(value).then_some(Self::ABSENT),
        }
    }

    fn decode(self, base: f64) -> f64 {
        match self {
            cell if cell == Self::ABSENT => ABSENT,
            cell if cell == Self::STALE => stale_marker(),
            cell => base + cell.distance(),
        }
    }
}

macro_rules! cell {
    ($cell:ty) => {
        impl Cell for $cell {
            const ABSENT: Self = Self::MAX;
            const STALE: Self = Self::MAX - 1;
            const COUNT: f64 = (Self::MAX - 1) as f64;

            fn from_distance(distance: f64) -> Self {
                distance as Self
            }

            fn distance(self) -> f64 {
                f64::from(self)
            }
        }
    };
}

cell!(u8);
cell!(u16);
cell!(u32);

/// Whether a value is a whole number that is its distance from others exactly. Not -0, which has bits of its own.
fn is_whole(value: f64) -> bool {
    value.abs() <= WHOLE && ((value as i64) as f64).to_bits() == value.to_bits()
}

/// What tells which form values can have.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// Of the first value, as long as all are the same.
    same: Option<u64>,
    whole: bool,
    least: f64,
    most: f64,
}

impl Span {
    fn of(first: f64) -> Self {
        Span { same: Some(first.to_bits()), whole: true, least: f64::INFINITY, most: f64::NEG_INFINITY }
    }

    fn add(&mut self, value: f64) {
        self.same = self.same.filter(|bits| *bits == value.to_bits());
        if is_absent(value) || is_stale(value) {
            return;
        }
        self.whole &= is_whole(value);
        self.least = self.least.min(value);
        self.most = self.most.max(value);
    }

    /// The bytes of the narrowest form, twice as wide as it must be now: what moves on steadily is not to need another
    /// one before all of it is new.
    fn width(&self) -> usize {
        let span = (self.most - self.least).max(0.0) * 2.0;
        match self.same {
            Some(_) => 0,
            None if !self.whole => 8,
            None if span < u8::COUNT => 1,
            None if span < u16::COUNT => 2,
            None if span < u32::COUNT => 4,
            None => 8,
        }
    }

    /// With a quarter of the distances below the least value.
    fn base(&self, count: f64) -> f64 {
        if self.least.is_finite() { (self.least - (count / 4.0).floor()).max(-WHOLE) } else { 0.0 }
    }
}

impl Default for Values {
    fn default() -> Self {
        Values { base: 0.0, cells: Cells::Same(0), new: 0 }
    }
}

impl Values {
    pub fn len(&self) -> usize {
        match &self.cells {
            Cells::Same(count) => *count,
            Cells::One(cells) => cells.len(),
            Cells::Two(cells) => cells.len(),
            Cells::Four(cells) => cells.len(),
            Cells::Eight(cells) => cells.len(),
        }
    }

    /// What is allocated.
    pub fn bytes(&self) -> usize {
        match &self.cells {
            Cells::Same(_) => 0,
            Cells::One(cells) => cells.capacity(),
            Cells::Two(cells) => cells.capacity() * 2,
            Cells::Four(cells) => cells.capacity() * 4,
            Cells::Eight(cells) => cells.capacity() * 8,
        }
    }

    /// The value at a place, [`ABSENT`] among them.
    pub fn get(&self, at: usize) -> Option<f64> {
        match &self.cells {
            Cells::Same(count) => (at < *count).then_some(self.base),
            Cells::One(cells) => cells.get(at).map(|cell| cell.decode(self.base)),
            Cells::Two(cells) => cells.get(at).map(|cell| cell.decode(self.base)),
            Cells::Four(cells) => cells.get(at).map(|cell| cell.decode(self.base)),
            Cells::Eight(cells) => cells.get(at).copied(),
        }
    }

    pub fn last(&self) -> Option<f64> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Copies the values at these places, which there are, in order.
    pub fn copy(&self, at: Range<usize>, copies: &mut Vec<f64>) {
        match &self.cells {
            Cells::Same(_) => copies.resize(copies.len() + at.len(), self.base),
            Cells::One(cells) => copies.extend(cells.range(at).map(|cell| cell.decode(self.base))),
            Cells::Two(cells) => copies.extend(cells.range(at).map(|cell| cell.decode(self.base))),
            Cells::Four(cells) => copies.extend(cells.range(at).map(|cell| cell.decode(self.base))),
            Cells::Eight(cells) => copies.extend(cells.range(at)),
        }
    }

    /// As [`Values::copy`], one value after the other.
    fn visit(&self, at: Range<usize>, mut visit: impl FnMut(f64)) {
        match &self.cells {
            Cells::Same(_) => at.for_each(|_| visit(self.base)),
            Cells::One(cells) => cells.range(at).for_each(|cell| visit(cell.decode(self.base))),
            Cells::Two(cells) => cells.range(at).for_each(|cell| visit(cell.decode(self.base))),
            Cells::Four(cells) => cells.range(at).for_each(|cell| visit(cell.decode(self.base))),
            Cells::Eight(cells) => cells.range(at).for_each(|value| visit(*value)),
        }
    }

    pub fn push(&mut self, value: f64) {
        self.new += 1;
        let base = self.base;
        let fits = match &mut self.cells {
            Cells::Same(0) => {
                (self.base, self.cells) = (value, Cells::Same(1));
                true
            }
            Cells::Same(count) if base.to_bits() == value.to_bits() => {
                *count += 1;
                true
            }
            Cells::Same(_) => false,
            Cells::One(cells) => push(cells, u8::encode(base, value)),
            Cells::Two(cells) => push(cells, u16::encode(base, value)),
            Cells::Four(cells) => push(cells, u32::encode(base, value)),
            Cells::Eight(cells) => push(cells, Some(value)),
        };
        if !fits {
            self.recode(Some(value));
        } else if self.new >= self.len().max(SETTLED) {
            self.narrow();
        }
    }

    /// Forgets the first values.
    pub fn forget(&mut self, count: usize) {
        self.remove(0..count.min(self.len()));
    }

    /// Takes out the values at these places, which there are.
    pub fn remove(&mut self, at: Range<usize>) {
        match &mut self.cells {
            Cells::Same(count) => *count -= at.len(),
            Cells::One(cells) => remove(cells, at),
            Cells::Two(cells) => remove(cells, at),
            Cells::Four(cells) => remove(cells, at),
            Cells::Eight(cells) => remove(cells, at),
        }
    }

    /// Gives back memory that the values do not need.
    pub fn shrink(&mut self) {
        self.recode(None);
    }

    fn narrow(&mut self) {
        self.new = 0;
        let width = match &self.cells {
            Cells::Same(_) => return,
            Cells::One(_) => 1,
            Cells::Two(_) => 2,
            Cells::Four(_) => 4,
            Cells::Eight(_) => 8,
        };
        if self.span(None).width() < width {
            self.recode(None);
        }
    }

    fn span(&self, more: Option<f64>) -> Span {
        let mut span = Span::of(self.get(0).or(more).unwrap_or_default());
        self.visit(0..self.len(), |value| span.add(value));
        more.into_iter().for_each(|value| span.add(value));
        span
    }

    /// Brings all values, and one more, into the narrowest form.
    fn recode(&mut self, more: Option<f64>) {
        let span = self.span(more);
        let len = self.len() + usize::from(more.is_some());
        (self.base, self.cells) = match span.width() {
            0 => (self.get(0).or(more).unwrap_or_default(), Cells::Same(len)),
            1 => self.coded(more, span.base(u8::COUNT), Cells::One),
            2 => self.coded(more, span.base(u16::COUNT), Cells::Two),
            4 => self.coded(more, span.base(u32::COUNT), Cells::Four),
            _ => {
                let mut cells = VecDeque::with_capacity(roomy(len));
                self.visit(0..self.len(), |value| cells.push_back(value));
                cells.extend(more);
                (0.0, Cells::Eight(cells))
            }
        };
        self.new = 0;
    }

    fn coded<C: Cell>(&self, more: Option<f64>, base: f64, form: impl Fn(VecDeque<C>) -> Cells) -> (f64, Cells) {
        let mut cells = VecDeque::with_capacity(roomy(self.len() + 1));
        let mut add = |value| cells.push_back(C::encode(base, value).unwrap_or(C::ABSENT));
        self.visit(0..self.len(), &mut add);
        more.into_iter().for_each(add);
        (base, form(cells))
    }
}

/// Grows by a quarter, not by doubling: most of the store's memory is here.
fn roomy(len: usize) -> usize {
    len + len / 4 + 4
}

fn push<T>(cells: &mut VecDeque<T>, cell: Option<T>) -> bool {
    let fits = cell.is_some();
    if fits && cells.len() == cells.capacity() {
        cells.reserve_exact(cells.len() / 4 + 4);
    }
    cells.extend(cell);
    fits
}

fn remove<T>(cells: &mut VecDeque<T>, at: Range<usize>) {
    // One leaves for each that comes: no range to drain.
    if at == (0..1) {
        cells.pop_front();
    } else {
        cells.drain(at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(values: &Values) -> Vec<u64> {
        let mut found = Vec::new();
        values.visit(0..values.len(), |value| found.push(value.to_bits()));
        let mut copies = Vec::new();
        values.copy(0..values.len(), &mut copies);
        assert_eq!(found, copies.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
        let one_by_one: Vec<u64> = (0..values.len()).map(|at| values.get(at).unwrap().to_bits()).collect();
        assert_eq!(found, one_by_one);
        found
    }

    fn of(list: impl IntoIterator<Item = f64>) -> Values {
        let mut values = Values::default();
        list.into_iter().for_each(|value| values.push(value));
        values
    }

    fn width(values: &Values) -> usize {
        match values.cells {
            Cells::Same(_) => 0,
            Cells::One(_) => 1,
            Cells::Two(_) => 2,
            Cells::Four(_) => 4,
            Cells::Eight(_) => 8,
        }
    }

    #[test]
    fn a_value_takes_as_much_room_as_all_of_them_need() {
        let counter = |step: i32| of((0..180).map(|n| f64::from(n * step)));
        assert_eq!(width(&of([7.5; 180])), 0);
        assert_eq!(width(&of((0..180).map(|n| f64::from(n % 11)))), 1);
        assert_eq!([1, 17, 150, 1_700].map(|step| width(&counter(step))), [1, 2, 2, 4]);
        assert_eq!(width(&of((0..180).map(|n| f64::from(n) * 0.1))), 8);
        assert_eq!(width(&of([1.0, f64::NAN, 2.0])), 8);
        assert_eq!(width(&of([1.0, -0.0])), 8);
        assert_eq!(width(&of([1e15, 1e15 + 1.0, stale_marker(), ABSENT])), 1);
        assert_eq!(width(&of([1e300, 1e300 + 1e290])), 8);
    }

    #[test]
    fn what_becomes_narrower_is_kept_so_after_a_window() {
        let mut values = of((0..60).map(|n| f64::from(n) * 0.1));
        for _ in 0..180 {
            values.push(1.0);
            values.forget(1);
        }
        assert_eq!((width(&values), values.len(), values.bytes()), (0, 60, 0));
    }

    #[test]
    fn a_counter_that_moves_on_steadily_is_seldom_coded_anew() {
        let mut values = of((0..60).map(|n| f64::from(n * 100)));
        let mut recoded = 0;
        for n in 60..6_060 {
            let before = values.base;
            values.push(f64::from(n * 100));
            values.forget(1);
            recoded += usize::from(values.base.to_bits() != before.to_bits());
        }
        assert_eq!(width(&values), 2);
        assert!(recoded <= 30, "{recoded}");
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-3..3_i32).prop_map(f64::from),
            2 => (0..100_000_i32).prop_map(f64::from),
            1 => (-5_i64..5).prop_map(|n| (n * (1 << 50)) as f64),
            1 => prop_oneof![Just(-0.0), Just(0.5), Just(f64::INFINITY), Just(f64::NAN), Just(ABSENT)],
            1 => Just(stale_marker()),
            1 => any::<u64>().prop_map(f64::from_bits),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_bit_is_kept(
            steps in prop::collection::vec((value(), 1..40_usize, 0..20_usize, 0..3_usize, any::<bool>()), 1..60),
        ) {
            let (mut values, mut plain) = (Values::default(), Vec::new());
            for (value, times, at, count, shrink) in steps {
                for _ in 0..times {
                    values.push(value);
                    plain.push(value.to_bits());
                }
                let range = at.min(plain.len())..(at + count).min(plain.len());
                values.remove(range.clone());
                plain.drain(range);
                let front = count.min(plain.len());
                values.forget(front);
                plain.drain(..front);
                if shrink {
                    values.shrink();
                }
                prop_assert_eq!(bits(&values), plain.clone());
            }
        }
    }
}
