//! The symbol table: every label name and value of the store is kept once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::sample::{Label, Labels};

/// Shared strings with the number of times that the store's series use each.
/// The count is the table's own: a label set that is still held outside keeps nothing here.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    uses: HashMap<Arc<str>, u32>,
}

impl Symbols {
    /// The same labels, made of the table's strings.
    pub fn intern(&mut self, labels: &Labels) -> Labels {
        let shared = labels.iter().map(|label| Label { name: self.take(&label.name), value: self.take(&label.value) });
        Labels::from_labels(shared.collect())
    }

    /// Gives back what [`Symbols::intern`] took; a string without a user is freed.
    pub fn release(&mut self, labels: &Labels) {
        for label in labels.iter() {
            self.give_back(&label.name);
            self.give_back(&label.value);
        }
    }

    pub fn len(&self) -> usize {
        self.uses.len()
    }

    fn take(&mut self, text: &Arc<str>) -> Arc<str> {
        let entry = self.uses.entry(text.clone());
        let shared = entry.key().clone();
        *entry.or_insert(0) += 1;
        shared
    }

    fn give_back(&mut self, text: &str) {
        let Some(uses) = self.uses.get_mut(text) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.uses.remove(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_are_one_and_are_freed_with_their_last_use() {
        let mut symbols = Symbols::default();
        let first = symbols.intern(&Labels::new([("job", "db"), ("instance", "db")]));
        let second = symbols.intern(&Labels::new([("job", "db")]));
        let value = |labels: &Labels| labels.iter().last().unwrap().value.clone();
        assert!(Arc::ptr_eq(&value(&first), &value(&second)));
        assert_eq!(symbols.len(), 3);

        symbols.release(&first);
        assert_eq!(symbols.len(), 2);
        symbols.release(&second);
        assert_eq!(symbols.len(), 0);
    }
}
