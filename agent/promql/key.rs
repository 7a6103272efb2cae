//! The labels by which series are grouped or matched, compared in place: no label set is made for a key.

use std::hash::{Hash, Hasher};

use super::ast::{Grouping, Matching};
use super::names::Names;
use crate::sample::{Label, Labels, METRIC_NAME};

/// Which labels count.
#[derive(Debug, Clone, Copy)]
pub enum Kept<'a> {
    All,
    /// All that an operation leaves which takes the metric's name off.
    Unreserved,
    /// These.
    Named(&'a Names),
    /// All but these and the metric's name.
    Others(&'a Names),
}

/// The metric's name, and what Prometheus takes off with it.
pub fn is_reserved(name: &str) -> bool {
    name == METRIC_NAME || is_metadata(name)
}

pub fn is_metadata(name: &str) -> bool {
    matches!(name, "__type__" | "__unit__")
}

/// Whether one of them [is reserved](is_reserved).
pub fn has_reserved(names: &Names) -> bool {
    [METRIC_NAME, "__type__", "__unit__"].iter().any(|name| names.contains(name))
}

/// Some of a series' labels. Equal where the labels that count are equal.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    pub labels: &'a Labels,
    pub kept: Kept<'a>,
}

impl<'a> Kept<'a> {
    pub fn by_grouping(grouping: Option<&'a Grouping>) -> Self {
        match grouping {
            None => Kept::Named(Names::NONE),
            Some(Grouping { without: true, labels }) => Kept::Others(labels),
            Some(Grouping { without: false, labels }) => Kept::Named(labels),
        }
    }

    pub fn by_matching(matching: Option<&'a Matching>) -> Self {
        match matching {
            None => Kept::Others(Names::NONE),
            Some(Matching { on: true, labels, .. }) => Kept::Named(labels),
            Some(Matching { on: false, labels, .. }) => Kept::Others(labels),
        }
    }

    pub fn keeps(self, name: &str) -> bool {
        match self {
            Kept::All => true,
            Kept::Unreserved => !is_reserved(name),
            Kept::Named(names) => names.contains(name),
            Kept::Others(names) => name != METRIC_NAME && !names.contains(name),
        }
    }
}

impl<'a> Key<'a> {
    fn iter(self) -> impl Iterator<Item = &'a Label> {
        self.labels.iter().filter(move |label| self.kept.keeps(&label.name))
    }

    /// The labels that count, as a set of their own.
    pub fn to_labels(self) -> Labels {
        self.labels.filtered(|name| self.kept.keeps(name))
    }
}

/// By the labels that count of each.
impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Key<'_> {}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|label| label.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_labels_that_count_are_compared() {
        let one = Labels::new([(METRIC_NAME, "a"), ("b", "1"), ("c", "2")]);
        let other = Labels::new([(METRIC_NAME, "x"), ("b", "1"), ("d", "3")]);
        let names = Names::new(vec!["b".to_owned()]);
        let same = |kept| Key { labels: &one, kept } == Key { labels: &other, kept };
        assert!(same(Kept::Named(&names)) && same(Kept::Named(Names::NONE)));
        assert!(!same(Kept::Others(&names)) && !same(Kept::Others(Names::NONE)));
        let others = Names::new(vec!["c".to_owned(), "d".to_owned()]);
        assert!(same(Kept::Others(&others)), "the metric's name does not count");
        assert_eq!(Key { labels: &one, kept: Kept::Others(&others) }.to_labels(), Labels::new([("b", "1")]));
    }
}
