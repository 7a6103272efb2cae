//! What rules select: for each of their selectors the series that pass it, and how far back these are kept.
//!
//! Kept right as series come and go, so that a rule's tick looks at no series that it does not select. Rules with the
//! same selector share what it selects.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::SeriesId;
use crate::clock::millis;
use crate::matcher::{MatchOp, Matcher};
use crate::sample::{Label, Labels};

/// How many places all selectors together may remember (8 bytes each). What goes beyond is looked for each time.
const MAX_PLACES: usize = if cfg!(test) { 24 } else { 1_000_000 };

/// What is read again and again, and how far back.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    pub matchers: Vec<Matcher>,
    pub window: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Selections {
    all: Vec<Remembered>,
    by_matchers: HashMap<Vec<Matcher>, usize>,
    /// By a label that they ask for (the metric's name is one): of several the one that the fewest others ask for.
    by_label: HashMap<Label, Vec<usize>>,
    /// The names of these labels.
    label_names: Vec<Arc<str>>,
    /// Those that ask for no label by its value.
    others: Vec<usize>,
    places: usize,
}

#[derive(Debug)]
struct Remembered {
    matchers: Vec<Matcher>,
    /// Milliseconds.
    window: i64,
    /// In the order that the store shows them in; none where they were too many.
    series: Option<Vec<SeriesId>>,
}

impl Selections {
    /// Selections of the same matchers are one, with the longest window.
    pub fn new(selections: Vec<Selection>) -> Self {
        let mut made = Selections::default();
        for Selection { matchers, window } in selections {
            let next = made.all.len();
            let index = *made.by_matchers.entry(matchers.clone()).or_insert(next);
            if index == next {
                made.all.push(Remembered { matchers, window: 0, series: Some(Vec::new()) });
            }
            made.all[index].window = made.all[index].window.max(millis(window));
        }
        made.index();
        made
    }

    /// So that a series is compared with few of many selectors.
    fn index(&mut self) {
        let mut asking: HashMap<Label, usize> = HashMap::new();
        for label in self.all.iter().flat_map(|selection| asked(&selection.matchers)) {
            *asking.entry(label).or_default() += 1;
        }
        for (index, selection) in self.all.iter().enumerate() {
            match asked(&selection.matchers).min_by_key(|label| asking.get(label)) {
                Some(label) => self.by_label.entry(label).or_default().push(index),
                None => self.others.push(index),
            }
        }
        self.label_names = self.by_label.keys().map(|label| label.name.clone()).collect();
        self.label_names.sort_unstable();
        self.label_names.dedup();
    }

    /// The selections that could select a series.
    fn candidates(&self, labels: &Labels) -> impl Iterator<Item = usize> {
        let indexed = labels.iter().filter(|label| self.label_names.contains(&label.name));
        indexed.filter_map(|label| self.by_label.get(label)).chain([&self.others]).flatten().copied()
    }

    /// The series that these matchers select, where that is remembered.
    pub fn find(&self, matchers: &[Matcher]) -> Option<&[SeriesId]> {
        self.all[*self.by_matchers.get(matchers)?].series.as_deref()
    }

    /// Takes up a series; how far back it is kept, milliseconds. `name_of` gives the metric name of those before it.
    pub fn add<'a>(&mut self, id: SeriesId, labels: &Labels, name_of: impl Fn(SeriesId) -> &'a str) -> i64 {
        let name = labels.metric_name();
        let mut window = 0;
        let candidates: Vec<usize> = self.candidates(labels).collect();
        for index in candidates {
            let selection = &mut self.all[index];
            if !selection.matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
                continue;
            }
            window = window.max(selection.window);
            if let Some(series) = selection.series.as_mut().filter(|_| self.places < MAX_PLACES) {
                let is_last = series.last().is_none_or(|last| name_of(*last) <= name);
                let at = if is_last { series.len() } else { series.partition_point(|id| name_of(*id) <= name) };
                series.insert(at, id);
                self.places += 1;
            } else {
                self.places -= selection.series.take().map_or(0, |series| series.len());
            }
        }
        window
    }

    /// Forgets the series with these labels, which are no more.
    pub fn thin(&mut self, gone: &[Labels], is_there: impl Fn(SeriesId) -> bool) {
        let touched: BTreeSet<usize> = gone.iter().flat_map(|labels| self.candidates(labels)).collect();
        for index in touched {
            let Some(series) = &mut self.all[index].series else { continue };
            let before = series.len();
            series.retain(|id| is_there(*id));
            self.places -= before - series.len();
        }
    }
}

/// The labels that matchers ask for by their values.
fn asked(matchers: &[Matcher]) -> impl Iterator<Item = Label> {
    let by_value = matchers.iter().filter(|matcher| matcher.op == MatchOp::Equal && !matcher.value.is_empty());
    by_value.map(|matcher| Label { name: matcher.name.clone(), value: matcher.value.clone() })
}
