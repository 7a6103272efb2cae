//! One recording rule at one tick: the series that it writes.

use std::collections::{BTreeMap, BTreeSet};

use super::overlay::Written;
use super::{Outcome, RuleError, Turn};
use crate::sample::{Labels, METRIC_NAME, Sample};

impl Turn<'_> {
    /// `recorded` are the rule's series of the tick before. An error leaves them as they were, to the rules after it
    /// and, as unknown, in the store.
    pub(super) fn record(&self, labels: &[(String, String)], recorded: &[Labels], outcome: &mut Outcome) -> Written {
        match self.recorded(labels) {
            Ok(samples) => {
                let now = self.alone(samples, outcome);
                outcome.recorded.push(now.iter().map(|sample| sample.labels.clone()).collect());
                Written { before: recorded.to_vec(), now }
            }
            Err(error) => {
                outcome.errors.push(error);
                outcome.partial = true;
                outcome.recorded.push(recorded.to_vec());
                Written::default()
            }
        }
    }

    fn recorded(&self, labels: &[(String, String)]) -> Result<Vec<Sample>, RuleError> {
        let mut samples = self.vector(self.current)?;
        let mut seen = BTreeSet::new();
        for sample in &mut samples {
            let own = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            sample.labels = sample.labels.with_all([(METRIC_NAME, self.rule.name.as_str())].into_iter().chain(own));
            if !seen.insert(sample.labels.clone()) {
                let message = "vector contains metrics with the same labelset after applying rule labels: tell its \
                               series apart, or aggregate in the expression";
                return Err(self.error(message.to_owned()));
            }
        }
        self.within_limit(samples.len(), "series")?;
        Ok(samples)
    }

    /// Without the series that an earlier rule of the group recorded at this tick: that one counts, as in Prometheus,
    /// which complains only where the values differ.
    fn alone(&self, mut samples: Vec<Sample>, outcome: &mut Outcome) -> Vec<Sample> {
        let taken: BTreeSet<&Labels> = outcome.recorded.iter().flatten().collect();
        let written: BTreeMap<&Labels, u64> =
            outcome.samples.iter().map(|sample| (&sample.labels, sample.value.to_bits())).collect();
        let mut differ = 0;
        samples.retain(|sample| {
            let alone = !taken.contains(&sample.labels);
            differ += usize::from(!alone && written.get(&sample.labels) != Some(&sample.value.to_bits()));
            alone
        });
        if differ > 0 {
            let message = format!(
                "{differ} of its series are recorded by an earlier rule of the group already, with other values"
            );
            outcome.errors.push(self.error(message));
        }
        samples
    }
}
