//! The manager of one target: it keeps a task for each instance, and follows the addresses of the target's name.
//!
//! Most targets have one instance, which is the target: its task has the target's own labels and any of the name's
//! addresses. Where the name leads to several, each has a task that is pinned to it, and [`Whole`] makes the target's
//! verdict from theirs.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;

use super::Target;
use super::task::{Left, Place, Shared, Task};
use super::verdict::{Judge, Verdict};
use super::whole::Whole;
use crate::clock::millis;
use crate::net::Addresses;
use crate::sample::Timestamp;
use crate::state::Grace;

/// How many instances of one target are watched.
const MAX_INSTANCES: usize = 16;

pub struct Manager {
    target: Arc<Target>,
    shared: Arc<Shared>,
    grace: Option<Grace>,
    /// The host whose addresses are instances, and where it leads.
    host: Option<(String, Arc<Addresses>)>,
    /// What the name was last seen to lead to; empty until then.
    found: Vec<IpAddr>,
    /// Where there are several instances.
    whole: Option<Arc<Whole>>,
    formed_at: Option<Timestamp>,
    /// While it does not run.
    tasks: Vec<Task>,
}

impl Manager {
    /// `grace`: what still runs of the time in which failures make no verdict.
    pub fn new(target: Arc<Target>, shared: Arc<Shared>, grace: Option<Grace>) -> Self {
        let host = target.settings.instances().map(|host| (host.clone(), Arc::new(Addresses::of(&host))));
        let mut manager =
            Manager { target, shared, grace, host, found: Vec::new(), whole: None, formed_at: None, tasks: Vec::new() };
        let task = manager.single(Left::default(), manager.grace_of_all());
        manager.tasks.push(task);
        manager
    }

    /// A manager with other settings in the place of this one. Where the labels are the same the series go on, and
    /// verdicts stand until a look with the new settings says otherwise. Else this one's series end.
    pub fn succeed(mut self, target: Arc<Target>, grace: Option<Grace>) -> Self {
        let shared = self.shared.clone();
        // What a first success has ended stays over, though the caller may not know.
        let grace = grace.filter(|_| self.tasks.iter().all(Task::waits_for_first_success));
        let host = target.settings.instances();
        let same_labels = self.has_labels_of(&target);
        if !same_labels || host.as_ref() != self.host.as_ref().map(|(host, _)| host) {
            let tasks = std::mem::take(&mut self.tasks);
            let whole = self.whole.take();
            if !same_labels {
                drop((tasks, whole));
                return Manager::new(target, shared, grace);
            }
            let left = one_of(tasks, whole);
            let mut manager = Manager { tasks: Vec::new(), ..Manager::new(target, shared, grace) };
            let task = manager.single(left, manager.grace_of_all());
            manager.tasks.push(task);
            return manager;
        }
        let tasks = std::mem::take(&mut self.tasks);
        (self.target, self.grace, self.formed_at) = (target, grace, None);
        self.whole = self.whole.take().and_then(|before| before.succeed(self.target.clone())).map(Arc::new);
        for task in tasks {
            let grace = (self.grace_of_all().0.or(task.own_grace()), self.grace.clone());
            let task = match task.address() {
                Some(address) => self.part(address, task.leave(), grace),
                None => Some(self.single(task.leave(), grace)),
            };
            self.tasks.extend(task);
        }
        self
    }

    /// Whether the series of another target would go on where this one's stop.
    pub fn has_labels_of(&self, target: &Target) -> bool {
        target.series_labels(&self.shared.node) == self.target.series_labels(&self.shared.node)
    }

    /// Watches until it is told to stop.
    pub async fn run(mut self, stop: Arc<Notify>) -> Self {
        let mut running = Running::default();
        std::mem::take(&mut self.tasks).into_iter().for_each(|task| running.start(task));
        loop {
            tokio::select! {
                biased;
                () = stop.notified() => break,
                () = self.moved() => self.reform(&mut running).await,
                // None ends that was not told to.
                _ = running.tasks.next() => {}
            }
        }
        self.tasks = running.stop_all().await;
        self
    }

    /// Resolves when the name leads elsewhere; at most once in an interval, however often it does.
    async fn moved(&mut self) {
        let Some((_, addresses)) = &self.host else { return std::future::pending().await };
        addresses.differ(&self.found).await;
        if let Some(formed_at) = self.formed_at {
            let next = formed_at + millis(self.target.schedule.interval);
            tokio::time::sleep_until(self.shared.clock.instant(next)).await;
        }
    }

    /// Takes up the addresses that the name has now.
    async fn reform(&mut self, running: &mut Running) {
        let Some((_, addresses)) = &self.host else { return };
        let now = self.shared.clock.now();
        let (before, found) = (std::mem::take(&mut self.found), addresses.found());
        let wanted = members(running.addresses(), &found);
        self.formed_at = Some(now);
        self.found = found;
        match self.whole.clone() {
            None if wanted.len() < 2 => return,
            None => self.divide(&before, running).await,
            Some(whole) if wanted.len() < 2 => return self.unite(whole, &wanted, running).await,
            Some(_) => {}
        }
        self.exchange(&wanted, before.is_empty(), running).await;
    }

    /// From one instance to several: the target's own series go on as those of the whole. What was known of the one is
    /// known of its address, where that is among them.
    async fn divide(&mut self, before: &[IpAddr], running: &mut Running) {
        let Some(task) = running.stop(None).await else { return };
        let own_grace = task.own_grace();
        let mut left = task.leave();
        let verdict = left.judge.as_ref().map_or(Verdict::Unknown, Judge::verdict);
        let (target, shared) = (self.target.clone(), self.shared.clone());
        self.whole = left.facts.take().map(|facts| Arc::new(Whole::new(target, shared, facts, verdict)));
        let [address] = before else { return };
        if self.found.contains(address) {
            let left = left.relabelled(None);
            let grace = (self.grace_of_all().0.or(own_grace), self.grace.clone());
            self.part(*address, left, grace).into_iter().for_each(|task| running.start(task));
        }
    }

    /// From several instances to one, which has the target's own labels again.
    async fn unite(&mut self, whole: Arc<Whole>, wanted: &[IpAddr], running: &mut Running) {
        let tasks = running.stop_all().await;
        let (stays, gone): (Vec<Task>, Vec<Task>) =
            tasks.into_iter().partition(|task| task.address().is_some_and(|address| wanted.contains(&address)));
        gone.iter().for_each(|task| self.forget(task));
        self.whole = None;
        drop(gone);
        let task = self.single(one_of(stays, Some(whole)), self.grace_of_all());
        running.start(task);
    }

    /// Begins the instances that are new, and ends those whose addresses have left. In this order: where the only one
    /// that was up is replaced, its successor is to be looked at before the target is judged ([`Whole::settle`]).
    async fn exchange(&mut self, wanted: &[IpAddr], first: bool, running: &mut Running) {
        let now = self.shared.clock.now();
        let known = running.addresses();
        // An instance that comes later has the grace for itself: scaling up is not an outage.
        let later = (!self.target.grace.is_zero()).then(|| now + millis(self.target.grace));
        for address in wanted.iter().filter(|address| !known.contains(address)) {
            let grace = if first { self.grace_of_all() } else { (later, None) };
            if let Some(task) = self.part(*address, Left::default(), grace) {
                tracing::info!(target = self.target.name, instance = task.label(), "watching an instance");
                running.start(task);
            }
        }
        for address in known.iter().filter(|address| !wanted.contains(address)) {
            if let Some(task) = running.stop(Some(*address)).await {
                tracing::info!(target = self.target.name, instance = task.label(), "the name has lost this address");
                self.forget(&task);
            }
        }
        if self.found.len() > wanted.len() {
            let (found, watched) = (self.found.len(), wanted.len());
            tracing::warn!(target = self.target.name, found, watched, "more addresses than instances can be watched");
        }
        if let Some(whole) = &self.whole {
            whole.count(self.found.len());
            whole.settle(now);
        }
    }

    /// An instance that is no longer one.
    fn forget(&self, task: &Task) {
        self.shared.memories.forget(&self.target.name, task.label(), &self.shared.state);
        if let Some(whole) = &self.whole {
            whole.leave(task.label());
        }
    }

    /// The one instance of a target.
    fn single(&self, left: Left, grace: (Option<Timestamp>, Option<Grace>)) -> Task {
        let net = match &self.host {
            Some((_, addresses)) => Arc::new(self.shared.net.following(addresses.clone(), None)),
            None => self.shared.net.clone(),
        };
        let place = Place { label: self.target.instance.clone(), net, part: None };
        Task::new(self.target.clone(), self.shared.clone(), place, grace, left)
    }

    /// One of several instances.
    fn part(&self, address: IpAddr, left: Left, grace: (Option<Timestamp>, Option<Grace>)) -> Option<Task> {
        let ((host, addresses), whole) = (self.host.as_ref()?, self.whole.clone()?);
        let net = Arc::new(self.shared.net.following(addresses.clone(), Some(address)));
        let place = Place { label: self.target.instance_at(host, address), net, part: Some((address, whole)) };
        Some(Task::new(self.target.clone(), self.shared.clone(), place, grace, left))
    }

    /// The grace of the target, which its first instances share.
    fn grace_of_all(&self) -> (Option<Timestamp>, Option<Grace>) {
        let until = self.grace.as_ref().map(|grace| grace.configured_at + millis(self.target.grace));
        (until, self.grace.clone())
    }
}

/// What one task takes over where there were several, or one with another host: what is known of the one that stays,
/// and the target's own series.
fn one_of(tasks: Vec<Task>, whole: Option<Arc<Whole>>) -> Left {
    let stays = if tasks.len() == 1 { tasks.into_iter().next() } else { None };
    let left = stays.map(Task::leave).unwrap_or_default();
    match whole {
        Some(whole) => left.relabelled(whole.take_facts()),
        None => left,
    }
}

/// Which of the addresses that were found are watched: those that are already, then the others in their order.
fn members(watched: Vec<IpAddr>, found: &[IpAddr]) -> Vec<IpAddr> {
    let mut members: Vec<IpAddr> = watched.into_iter().filter(|address| found.contains(address)).collect();
    for address in found {
        if members.len() < MAX_INSTANCES && !members.contains(address) {
            members.push(*address);
        }
    }
    members
}

type Looking = Pin<Box<dyn Future<Output = Task> + Send>>;

/// The tasks under way, and how each is told to stop.
#[derive(Default)]
struct Running {
    tasks: FuturesUnordered<Looking>,
    stops: BTreeMap<Option<IpAddr>, Arc<Notify>>,
}

impl Running {
    fn start(&mut self, task: Task) {
        let stop = Arc::new(Notify::new());
        self.stops.insert(task.address(), stop.clone());
        self.tasks.push(Box::pin(task.run(stop)));
    }

    /// The addresses of several instances.
    fn addresses(&self) -> Vec<IpAddr> {
        self.stops.keys().copied().flatten().collect()
    }

    async fn stop(&mut self, address: Option<IpAddr>) -> Option<Task> {
        self.stops.remove(&address)?.notify_one();
        self.tasks.next().await
    }

    async fn stop_all(&mut self) -> Vec<Task> {
        self.stops.values().for_each(|stop| stop.notify_one());
        self.stops.clear();
        let mut tasks = Vec::new();
        while let Some(task) = self.tasks.next().await {
            tasks.push(task);
        }
        tasks
    }
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;
