//! The series of an evaluation over several steps, as they grow.

use std::collections::HashMap;

use super::vector::{Vector, without_name};
use super::{Point, Series};
use crate::promql::key::{Kept, Key};
use crate::sample::{Labels, Timestamp};

#[derive(Debug, Default)]
pub struct Collected {
    series: Vec<Series>,
    places: HashMap<Labels, usize>,
    /// Where the samples of the step before went: those of the next come mostly in the same order.
    order: Vec<usize>,
    points: usize,
}

impl Collected {
    pub fn add(&mut self, at: Timestamp, vector: Vector) {
        let nameless = vector.nameless;
        self.points += vector.samples.len();
        for (index, sample) in vector.samples.into_iter().enumerate() {
            let place = match self.order.get(index) {
                Some(place) if same(&self.series[*place].labels, &sample.labels, nameless) => *place,
                _ => self.place(sample.labels, nameless),
            };
            match self.order.get_mut(index) {
                Some(before) => *before = place,
                None => self.order.push(place),
            }
            self.series[place].points.push(Point { at, value: sample.value });
        }
    }

    pub fn len(&self) -> usize {
        self.series.len()
    }

    pub fn points(&self) -> usize {
        self.points
    }

    pub fn series(self) -> Vec<Series> {
        self.series
    }

    fn place(&mut self, labels: Labels, nameless: bool) -> usize {
        let labels = if nameless { without_name(&labels) } else { labels };
        let series = &mut self.series;
        *self.places.entry(labels).or_insert_with_key(|labels| {
            series.push(Series { labels: labels.clone(), points: Vec::new() });
            series.len() - 1
        })
    }
}

/// Whether the labels of a sample are those of a series.
fn same(known: &Labels, labels: &Labels, nameless: bool) -> bool {
    match nameless {
        true => Key { labels: known, kept: Kept::All } == Key { labels, kept: Kept::Unreserved },
        false => known == labels,
    }
}
