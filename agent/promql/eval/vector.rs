//! Instant vectors in the making.

use std::collections::HashSet;

use crate::promql::key::{Kept, Key, is_metadata, is_reserved};
use crate::sample::{Labels, Sample};

/// Samples, no two of the same labels. Where an operation takes the metric's name off, that is noted only: most label
/// sets on the way to a result are never looked at.
#[derive(Debug, Clone, Default)]
pub struct Vector {
    pub samples: Vec<Sample>,
    /// Whether the names that still stand in the labels do not count. Then none has a type or unit besides.
    pub nameless: bool,
}

impl Vector {
    pub fn named(samples: Vec<Sample>) -> Self {
        Vector { samples, nameless: false }
    }

    /// Of samples that lose their names. Types and units are so rare that they are taken off at once.
    pub fn unnamed(samples: Vec<Sample>) -> Self {
        let plain = !have_metadata(&samples);
        let vector = Vector { samples, nameless: true };
        if plain { vector } else { Vector::named(vector.shown()) }
    }

    /// A vector whose samples are made anew, and have no names.
    pub fn one(labels: Labels, value: f64) -> Self {
        Vector::named(vec![Sample { labels, value }])
    }

    /// The samples with the labels that they have in truth.
    pub fn shown(mut self) -> Vec<Sample> {
        if self.nameless {
            self.samples.iter_mut().for_each(|sample| sample.labels = without_name(&sample.labels));
        }
        self.samples
    }

    /// Writes off the names that do not count, for what looks at names.
    pub fn settled(self) -> Self {
        if self.nameless { Vector::named(self.shown()) } else { self }
    }

    pub fn map(mut self, compute: impl Fn(f64) -> f64) -> Self {
        self.samples.iter_mut().for_each(|sample| sample.value = compute(sample.value));
        self
    }
}

pub fn without_name(labels: &Labels) -> Labels {
    let named = labels.iter().any(|label| is_reserved(&label.name));
    if named { labels.filtered(|name| !is_reserved(name)) } else { labels.clone() }
}

/// Whether two of the samples are the same but for their names. Where all have one name, they are not.
pub fn only_names_differ(samples: &[Sample]) -> bool {
    (have_metadata(samples) || !share_a_name(samples)) && has_duplicates(samples, Kept::Unreserved)
}

pub fn have_metadata(samples: &[Sample]) -> bool {
    samples.iter().any(|sample| sample.labels.iter().any(|label| is_metadata(&label.name)))
}

pub fn share_a_name(samples: &[Sample]) -> bool {
    let mut names = samples.iter().map(|sample| sample.labels.metric_name());
    let first = names.next().unwrap_or_default();
    names.all(|name| name == first)
}

pub fn has_duplicates(samples: &[Sample], kept: Kept<'_>) -> bool {
    let mut seen = HashSet::with_capacity(samples.len());
    !samples.iter().all(|sample| seen.insert(Key { labels: &sample.labels, kept }))
}
