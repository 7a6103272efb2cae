//! What probers want kept over restarts, by target and instance, in the state's `meta` rows.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::state::{Op, State};

const PREFIX: &str = "memory ";
/// The most that one instance may have kept, in bytes.
const MAX_BYTES: usize = 4 * 1024;

/// Every memory, by the name of its row.
#[derive(Debug, Default)]
pub struct Memories(Mutex<BTreeMap<String, String>>);

impl Memories {
    /// `meta` are the rows that the state kept, of whatever sort.
    pub fn new(meta: &BTreeMap<String, String>) -> Self {
        let ours = meta.iter().filter(|(name, _)| name.starts_with(PREFIX));
        Memories(Mutex::new(ours.map(|(name, value)| (name.clone(), value.clone())).collect()))
    }

    pub fn of(&self, target: &str, instance: &str) -> Option<String> {
        self.lock().get(&name(target, instance)).cloned()
    }

    /// Keeps what an instance remembers. The looks do not wait for the disk.
    pub fn keep(&self, target: &str, instance: &str, value: String, state: &State) {
        if value.len() > MAX_BYTES {
            tracing::error!(target, instance, bytes = value.len(), "more than can be kept: it is left out");
            return;
        }
        let name = name(target, instance);
        if self.lock().insert(name.clone(), value.clone()).as_ref() != Some(&value) {
            commit(state, vec![Op::PutMeta { name, value }]);
        }
    }

    /// Forgets what is about none of the `watched` targets.
    pub fn forget_others(&self, watched: impl Fn(&str) -> bool, state: &State) {
        let mut kept = self.lock();
        let gone = |name: &&String| !name.split(' ').nth(1).is_some_and(&watched);
        let gone: Vec<String> = kept.keys().filter(gone).cloned().collect();
        gone.iter().for_each(|name| drop(kept.remove(name)));
        drop(kept);
        if !gone.is_empty() {
            commit(state, gone.into_iter().map(Op::DeleteMeta).collect());
        }
    }

    /// Forgets one instance.
    pub fn forget(&self, target: &str, instance: &str, state: &State) {
        let name = name(target, instance);
        if self.lock().remove(&name).is_some() {
            commit(state, vec![Op::DeleteMeta(name)]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of targets hold no spaces.
fn name(target: &str, instance: &str) -> String {
    format!("{PREFIX}{target} {instance}")
}

fn commit(state: &State, ops: Vec<Op>) {
    let state = state.clone();
    tokio::spawn(async move { state.commit(ops).await });
}
