//! Aggregations. Sums are compensated (Neumaier's variant of Kahan's), as in Prometheus, so that the order of the
//! samples hardly matters and the last digit is the same.

use std::collections::HashMap;

use super::ast::{AggregateOp, Grouping};
use crate::sample::{Labels, METRIC_NAME, Sample};

/// One sample per group, in the order in which the groups first appear.
pub fn aggregate(op: AggregateOp, grouping: Option<&Grouping>, samples: Vec<Sample>) -> Vec<Sample> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<(Labels, Group)> = Vec::new();
    for sample in samples {
        let labels = group_labels(grouping, &sample.labels);
        match places.get(&labels) {
            Some(place) => groups[*place].1.add(op, sample.value),
            None => {
                places.insert(labels.clone(), groups.len());
                groups.push((labels, Group::new(sample.value)));
            }
        }
    }
    groups.into_iter().map(|(labels, group)| Sample { labels, value: group.result(op) }).collect()
}

fn group_labels(grouping: Option<&Grouping>, labels: &Labels) -> Labels {
    let Some(grouping) = grouping else { return Labels::default() };
    let named = |name: &str| grouping.labels.iter().any(|other| other == name);
    if grouping.without { labels.filtered(|name| name != METRIC_NAME && !named(name)) } else { labels.filtered(named) }
}

struct Group {
    value: f64,
    compensation: f64,
    count: f64,
    /// An average whose sum has overflowed goes on as a running mean.
    running_mean: bool,
}

impl Group {
    fn new(value: f64) -> Self {
        Group { value, compensation: 0.0, count: 1.0, running_mean: false }
    }

    fn add(&mut self, op: AggregateOp, value: f64) {
        self.count += 1.0;
        match op {
            AggregateOp::Sum => (self.value, self.compensation) = compensated(value, self.value, self.compensation),
            AggregateOp::Avg => self.add_to_mean(value),
            AggregateOp::Min if value < self.value || self.value.is_nan() => self.value = value,
            AggregateOp::Max if value > self.value || self.value.is_nan() => self.value = value,
            AggregateOp::Min | AggregateOp::Max | AggregateOp::Count => {}
        }
    }

    fn add_to_mean(&mut self, value: f64) {
        if !self.running_mean {
            let (sum, compensation) = compensated(value, self.value, self.compensation);
            if !sum.is_infinite() {
                (self.value, self.compensation) = (sum, compensation);
                return;
            }
            self.running_mean = true;
            self.value /= self.count - 1.0;
            self.compensation /= self.count - 1.0;
        }
        let weight = (self.count - 1.0) / self.count;
        let share = value / self.count;
        (self.value, self.compensation) = compensated(share, weight * self.value, weight * self.compensation);
    }

    fn result(&self, op: AggregateOp) -> f64 {
        match op {
            AggregateOp::Sum => self.value + self.compensation,
            AggregateOp::Avg if self.running_mean => self.value + self.compensation,
            // Two divisions, then one addition: the last digit depends on it.
            AggregateOp::Avg => self.value / self.count + self.compensation / self.count,
            AggregateOp::Min | AggregateOp::Max => self.value,
            AggregateOp::Count => self.count,
        }
    }
}

/// One step of a compensated sum: the new sum and the new compensation.
fn compensated(value: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + value;
    if total.is_infinite() {
        return (total, 0.0);
    }
    let lost = if sum.abs() >= value.abs() { (sum - total) + value } else { (value - total) + sum };
    (total, compensation + lost)
}
