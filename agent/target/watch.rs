//! Everything that is watched: the owner of the targets' tasks. What has not changed runs on when the rest does.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use super::Target;
use super::manager::Manager;
use super::task::Shared;
use crate::config::files::read_text;
use crate::state::Grace;

const NAME: &str = "targets";

/// The tasks of all targets.
pub struct Watch {
    shared: Arc<Shared>,
    watched: BTreeMap<String, Watched>,
    tasks: JoinSet<Manager>,
    /// How a task ended that nobody had told to, while others were being stopped.
    broken: Option<String>,
}

struct Watched {
    target: Arc<Target>,
    /// Of what its files held when all of them could last be read.
    files: Option<u64>,
    stop: Arc<Notify>,
    task: Id,
}

/// What an apply has done, by the targets' names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    /// Of the changed ones, those with other labels: their series have ended.
    pub renewed: Vec<String>,
    pub removed: Vec<String>,
}

impl Watch {
    pub fn new(shared: Arc<Shared>) -> Self {
        Watch { shared, watched: BTreeMap::new(), tasks: JoinSet::new(), broken: None }
    }

    /// Watches these targets from now on, and no others. `graces` are those that still run, by target.
    ///
    /// A target that is equal to the one before, its files' content included, is left alone; a file that cannot be read
    /// now is no change. A changed one is taken
    /// over: see [`Manager::succeed`]. One that is gone ends with its series and what was kept of it.
    pub async fn apply(&mut self, targets: Vec<Target>, graces: &BTreeMap<String, Grace>) -> Applied {
        let wanted: BTreeMap<String, (Target, Option<u64>)> = targets
            .into_iter()
            .map(|target| (target.name.clone(), (target.clone(), fingerprint(&target.files))))
            .collect();
        let is_same = |name: &String, now: &Watched| {
            wanted
                .get(name)
                .is_some_and(|(target, files)| *target == *now.target && (files.is_none() || *files == now.files))
        };
        let ending =
            self.watched.iter().filter(|(name, now)| !is_same(name, now)).map(|(name, _)| name.clone()).collect();
        let mut ended = self.stop(ending).await;
        let mut applied = Applied::default();
        for (name, (target, files)) in wanted {
            if self.watched.contains_key(&name) {
                continue;
            }
            let (target, grace) = (Arc::new(target), graces.get(&name).cloned());
            let manager = match ended.remove(&name) {
                Some(before) => {
                    applied.renewed.extend((!before.has_labels_of(&target)).then(|| name.clone()));
                    applied.changed.push(name);
                    before.succeed(target.clone(), grace)
                }
                None => {
                    applied.added.push(name);
                    Manager::new(target.clone(), self.shared.clone(), grace)
                }
            };
            self.start(target, files, manager);
        }
        ended.keys().for_each(|name| self.shared.board.remove(name));
        applied.removed = ended.into_keys().collect();
        let watched = |name: &str| self.watched.contains_key(name);
        self.shared.memories.forget_others(watched, &self.shared.state);
        applied
    }

    /// Tells all to stop and waits until `deadline`; says so when they do not.
    pub async fn end(mut self, deadline: Instant) {
        let all = self.watched.keys().cloned().collect();
        if tokio::time::timeout_at(deadline, self.stop(all)).await.is_err() {
            tracing::error!(part = NAME, "did not stop in time and is cut off");
        }
    }

    /// Resolves when a task ends that nobody told to, with how it ended.
    pub async fn broken(&mut self) -> (&'static str, String) {
        if let Some(error) = self.broken.take() {
            return (NAME, error);
        }
        let error = match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok(_)) => "it ended by itself".to_owned(),
            Some(Err(error)) => error.to_string(),
        };
        (NAME, error)
    }

    fn start(&mut self, target: Arc<Target>, files: Option<u64>, manager: Manager) {
        let stop = Arc::new(Notify::new());
        let task = self.tasks.spawn(manager.run(stop.clone())).id();
        self.watched.insert(target.name.clone(), Watched { target, files, stop, task });
    }

    /// Stops targets and gives back what they leave. One that broke leaves nothing.
    async fn stop(&mut self, names: BTreeSet<String>) -> BTreeMap<String, Manager> {
        let ending = names.into_iter().filter_map(|name| Some((self.watched.remove(&name)?, name)));
        let mut ending: BTreeMap<Id, String> = ending
            .map(|(watched, name)| {
                watched.stop.notify_one();
                (watched.task, name)
            })
            .collect();
        let mut ended = BTreeMap::new();
        while !ending.is_empty() {
            match self.tasks.join_next_with_id().await {
                None => break,
                Some(Ok((id, manager))) => match ending.remove(&id) {
                    Some(name) => drop(ended.insert(name, manager)),
                    None => self.broken = Some("it ended by itself".to_owned()),
                },
                Some(Err(error)) => {
                    ending.remove(&error.id());
                    self.broken = Some(error.to_string());
                }
            }
        }
        ended
    }
}

/// Of what files hold now, where all of them can be read.
fn fingerprint(files: &[PathBuf]) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        read_text(file).ok()?.hash(&mut hasher);
    }
    Some(hasher.finish())
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
