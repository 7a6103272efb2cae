//! Grouping: which alerts are told together, to whom, and when. Alertmanager's semantics for `group_wait`,
//! `group_interval`, `repeat_interval`, `group_by` and `continue`, with these differences, each on purpose:
//!
//! - a wait of 0 s flushes in the same step as the event, so that one transaction accepts the page;
//! - a group is receiver and group labels: two routes that lead to the same group are one group;
//! - an alert that fires again before its group's next flush is new (its `starts_at` is): it pages again;
//! - an alert that resolves before it was ever told of makes no notification;
//! - a group whose alerts have all resolved is forgotten with that flush;
//! - an alert that a changed tree leads elsewhere ends at its old receiver, and stays where it is at one that keeps it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::alert::route::Route;
use crate::alert::{Alert, AlertId, CAUSE, Event, Resolution};
use crate::clock::millis;
use crate::config::Alerting;
use crate::sample::{Labels, Timestamp};

/// Alerts that are told together. The whole of it survives a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The deduplication key: see [`key`].
    pub key: String,
    pub receiver: String,
    pub labels: Labels,
    pub timing: Timing,
    /// Sorted by [`AlertId`].
    pub members: Vec<Member>,
    /// When it is looked at next: a change to tell, or a repetition.
    pub due: Option<Timestamp>,
    /// When it was last flushed: later flushes stand on a grid of `group_interval` from here.
    pub flushed_at: Option<Timestamp>,
    /// When a notification of it was last made, `None` before the first.
    pub notified_at: Option<Timestamp>,
}

/// A route's waits, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    pub wait: i64,
    pub interval: i64,
    /// 0: never repeated.
    pub repeat: i64,
}

/// An alert in a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub alert: Alert,
    pub resolved: Option<Resolved>,
    /// The `starts_at` of the firing that was last told, `None` while nothing was.
    pub told: Option<Timestamp>,
}

/// How an alert ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    pub at: Timestamp,
    pub reason: Resolution,
}

/// What one receiver is to be told of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub key: String,
    pub receiver: String,
    pub group_labels: Labels,
    /// Those that fire, then those that have resolved; each sorted by id. Never empty.
    pub alerts: Vec<Notified>,
    /// The first of its group: nothing was told under this key before.
    pub first: bool,
    /// Whether something new fires, or a repetition is due; without it, it only tells of what resolved.
    pub news: bool,
}

/// An alert as it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notified {
    pub alert: Alert,
    pub resolved: Option<Resolved>,
    /// Nothing was told of it before.
    pub first: bool,
    /// It is why this is told: it fires anew, is repeated, or has resolved.
    pub news: bool,
}

/// What a step changes, to be committed and then applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dispatch {
    /// The changed groups by key; `None`: forgotten.
    pub groups: BTreeMap<String, Option<Group>>,
    pub notifications: Vec<Notification>,
    /// How many groups are due and wait for room at their receiver.
    pub put_off: usize,
}

/// Every group, and the routing tree that makes them. Steps are pure: [`Dispatcher::dispatch`] says what would
/// change, [`Dispatcher::apply`] changes it.
#[derive(Debug)]
pub struct Dispatcher {
    /// `None` while nobody is paged: groups then stand still, but learn what resolves.
    route: Option<Route>,
    groups: BTreeMap<String, Group>,
    /// Which groups an alert is in.
    places: HashMap<AlertId, BTreeSet<String>>,
}

/// The deduplication key of a group: from the receiver and the group's labels only, so that it is the same in
/// every process, on every node and after any change of the routing tree: `pager:{alertname="ServiceDown"}`.
pub fn key(receiver: &str, labels: &Labels) -> String {
    format!("{receiver}:{labels}")
}

impl Dispatcher {
    /// Groups as they were before a restart or a reload, under a routing tree that may be another. Groups whose
    /// receiver no longer exists are dropped: their keys are returned, to be deleted from the state.
    /// Give every alert that fires to [`Dispatcher::dispatch`] afterwards, as if it had just fired: what has its
    /// place already is left alone, and what a changed tree leads elsewhere is placed there.
    pub fn new(alerting: Option<&Alerting>, groups: Vec<Group>) -> (Self, Vec<String>) {
        let exists = |group: &Group| match alerting {
            Some(alerting) => alerting.receivers.iter().any(|receiver| receiver.name == group.receiver),
            None => true,
        };
        let (kept, gone): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(exists);
        let route = alerting.map(|alerting| alerting.route.clone());
        let mut dispatcher = Dispatcher { route, groups: BTreeMap::new(), places: HashMap::new() };
        for mut group in kept {
            group.timing = dispatcher.current_timing(&group).unwrap_or(group.timing);
            dispatcher.put(group);
        }
        (dispatcher, gone.into_iter().map(|group| group.key).collect())
    }

    /// Places the events in their groups and flushes every group that is due at `now`. Groups of a receiver in `full`
    /// stay due instead: they are flushed by the first step in which it has room again, and hold up no other.
    pub fn dispatch(&self, events: &[Event], now: Timestamp, full: &BTreeSet<String>) -> Dispatch {
        let mut touched = BTreeMap::new();
        for event in events {
            match event {
                Event::Fired(alert) => self.fire(&mut touched, alert, now),
                Event::Resolved { alert, at, reason } => {
                    self.resolve(&mut touched, alert, Resolved { at: *at, reason: *reason }, now);
                }
            }
        }
        if self.route.is_some() {
            let due = self.groups.values().filter(|group| group.is_due(now) && !touched.contains_key(&group.key));
            touched.extend(due.cloned().map(|group| (group.key.clone(), group)).collect::<Vec<_>>());
        }
        self.flush(touched, now, full)
    }

    /// Takes over what [`Dispatcher::dispatch`] returned, once it is committed.
    pub fn apply(&mut self, dispatch: Dispatch) {
        for (key, group) in dispatch.groups {
            self.remove(&key);
            if let Some(group) = group {
                self.put(group);
            }
        }
    }

    /// When [`Dispatcher::dispatch`] is wanted next, events aside, and while the receivers in `full` have no room.
    pub fn next_deadline(&self, full: &BTreeSet<String>) -> Option<Timestamp> {
        let groups = self.route.iter().flat_map(|_| self.groups.values());
        groups.filter(|group| !full.contains(&group.receiver)).filter_map(|group| group.due).min()
    }

    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Places an alert where the tree leads it. Where a changed tree leads it elsewhere, it is not told twice at one
    /// receiver: it stays in the group that it is in there, under its key, until it leaves it. A receiver that is no
    /// longer led to hears of its end there.
    fn fire(&self, touched: &mut BTreeMap<String, Group>, alert: &Alert, now: Timestamp) {
        let routes = self.route.iter().flat_map(|route| route.find(&alert.id.labels));
        let places: Vec<(&Route, Labels)> =
            routes.map(|route| (route, route.group_by.labels_of(&alert.id.labels))).collect();
        let settled = self.settle(touched, alert, &places, now);
        for (route, labels) in places {
            let key = key(&route.receiver, &labels);
            if settled.contains(&route.receiver) && !self.stands_in(alert, &key) {
                continue;
            }
            let known = self.groups.get(&key).cloned();
            let group = touched
                .entry(key)
                .or_insert_with_key(|key| known.unwrap_or_else(|| Group::new(key.clone(), route, labels)));
            group.fire(alert, now);
        }
    }

    /// Sees to the groups that an alert is in and that the tree does not lead to. The receivers at which it stays.
    fn settle(
        &self,
        touched: &mut BTreeMap<String, Group>,
        alert: &Alert,
        places: &[(&Route, Labels)],
        now: Timestamp,
    ) -> BTreeSet<String> {
        let led_to = |key: &str| places.iter().any(|(route, labels)| self::key(&route.receiver, labels) == key);
        let left = self.places.get(&alert.id).into_iter().flatten().filter(|key| !led_to(key));
        let mut settled = BTreeSet::new();
        for group in left.filter_map(|key| self.groups.get(key)).filter(|_| self.route.is_some()) {
            let group = touched.entry(group.key.clone()).or_insert_with(|| group.clone());
            if places.iter().any(|(route, _)| route.receiver == group.receiver) {
                group.fire(alert, now);
                settled.insert(group.receiver.clone());
            } else {
                group.resolve(alert, Resolved { at: now, reason: Resolution::RoutedElsewhere }, now);
            }
        }
        settled
    }

    fn stands_in(&self, alert: &Alert, key: &str) -> bool {
        self.places.get(&alert.id).is_some_and(|keys| keys.contains(key))
    }

    /// A resolved alert is taken out of the groups that it is in, whatever the tree says today.
    fn resolve(&self, touched: &mut BTreeMap<String, Group>, alert: &Alert, resolved: Resolved, now: Timestamp) {
        let mut keys = self.places.get(&alert.id).cloned().unwrap_or_default();
        keys.extend(self.keys_of(&alert.id.labels));
        for key in keys {
            if !touched.contains_key(&key)
                && let Some(known) = self.groups.get(&key)
            {
                touched.insert(key.clone(), known.clone());
            }
            if let Some(group) = touched.get_mut(&key) {
                group.resolve(alert, resolved, now);
            }
        }
    }

    fn keys_of(&self, labels: &Labels) -> Vec<String> {
        let routes = self.route.iter().flat_map(|route| route.find(labels));
        routes.map(|route| key(&route.receiver, &route.group_by.labels_of(labels))).collect()
    }

    fn flush(&self, touched: BTreeMap<String, Group>, now: Timestamp, full: &BTreeSet<String>) -> Dispatch {
        let mut dispatch = Dispatch::default();
        for (key, mut group) in touched {
            match self.route.is_some() && group.is_due(now) {
                true if full.contains(&group.receiver) => {
                    group.forget_untold();
                    dispatch.put_off += usize::from(!group.members.is_empty());
                }
                true => dispatch.notifications.extend(group.flush(now)),
                false => {}
            }
            if self.groups.get(&key) != Some(&group) {
                let kept = (!group.members.is_empty()).then_some(group);
                dispatch.groups.insert(key, kept);
            }
        }
        dispatch
    }

    /// The waits that today's tree gives to a group: those of a route that leads there, or at least to its receiver.
    fn current_timing(&self, group: &Group) -> Option<Timing> {
        let root = self.route.as_ref()?;
        let ways = group.members.iter().flat_map(|member| {
            let labels = &member.alert.id.labels;
            root.find(labels).into_iter().map(move |route| (route, route.group_by.labels_of(labels)))
        });
        let ways: Vec<_> = ways.filter(|(route, _)| route.receiver == group.receiver).collect();
        let exact = ways.iter().find(|(_, labels)| *labels == group.labels);
        exact.or(ways.first()).map(|(route, _)| Timing::of(route))
    }

    fn put(&mut self, group: Group) {
        for member in &group.members {
            self.places.entry(member.alert.id.clone()).or_default().insert(group.key.clone());
        }
        self.groups.insert(group.key.clone(), group);
    }

    fn remove(&mut self, key: &str) {
        let Some(group) = self.groups.remove(key) else { return };
        for member in &group.members {
            if let Some(keys) = self.places.get_mut(&member.alert.id) {
                keys.remove(key);
                if keys.is_empty() {
                    self.places.remove(&member.alert.id);
                }
            }
        }
    }
}

impl Timing {
    fn of(route: &Route) -> Self {
        Timing {
            wait: millis(route.group_wait),
            interval: millis(route.group_interval),
            repeat: millis(route.repeat_interval),
        }
    }
}

impl Group {
    fn new(key: String, route: &Route, labels: Labels) -> Self {
        Group {
            key,
            receiver: route.receiver.clone(),
            labels,
            timing: Timing::of(route),
            members: Vec::new(),
            due: None,
            flushed_at: None,
            notified_at: None,
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    fn find(&self, id: &AlertId) -> Result<usize, usize> {
        self.members.binary_search_by(|member| member.alert.id.cmp(id))
    }

    /// Takes an alert in. One that is here and fires already only has its annotations renewed.
    fn fire(&mut self, alert: &Alert, now: Timestamp) {
        match self.find(&alert.id) {
            Ok(at) => {
                let member = &mut self.members[at];
                let known = member.resolved.is_none() && member.alert.starts_at == alert.starts_at;
                if known {
                    member.renew(alert);
                    return;
                }
                member.alert = alert.clone();
                member.resolved = None;
            }
            Err(at) => self.members.insert(at, Member { alert: alert.clone(), resolved: None, told: None }),
        }
        self.bring_forward(alert, now);
    }

    fn resolve(&mut self, alert: &Alert, resolved: Resolved, now: Timestamp) {
        let Ok(at) = self.find(&alert.id) else { return };
        let member = &mut self.members[at];
        if member.resolved.is_none() {
            member.alert = alert.clone();
            member.resolved = Some(resolved);
            self.bring_forward(alert, now);
        }
    }

    /// Makes the group due for a change: after `group_wait` for the first flush, which an alert that has been
    /// firing for longer than that does not wait for; on the grid of `group_interval` after it.
    fn bring_forward(&mut self, alert: &Alert, now: Timestamp) {
        let due = match self.flushed_at {
            Some(flushed_at) => self.next_on_grid(flushed_at, now),
            None if fired_at(alert) + self.timing.wait < now => now,
            None => now + self.timing.wait,
        };
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    /// The first time of the grid that is not before `at`; the grid begins one interval after `from`.
    fn next_on_grid(&self, from: Timestamp, at: Timestamp) -> Timestamp {
        let interval = self.timing.interval;
        if interval == 0 {
            return at;
        }
        let steps = (at - from + interval - 1).div_euclid(interval).max(1);
        from + steps * interval
    }

    /// What has resolved before anybody was told makes no notification: while the group waits for room, it does not
    /// gather.
    fn forget_untold(&mut self) {
        self.members.retain(|member| member.resolved.is_none() || member.told.is_some());
    }

    /// Tells what has changed, or repeats; the resolved leave.
    fn flush(&mut self, now: Timestamp) -> Option<Notification> {
        let fresh = self.firing().any(|member| member.told != Some(fired_at(&member.alert)));
        let repeat = self.repeat_at().is_some_and(|at| at <= now) && self.firing().next().is_some();
        let news = fresh || repeat;
        let ended = self.members.iter().any(|member| member.resolved.is_some() && member.told.is_some());
        let notification = (news || ended).then(|| self.notification(news, repeat));
        self.members.retain(|member| member.resolved.is_none());
        for member in &mut self.members {
            member.told = Some(fired_at(&member.alert));
        }
        self.flushed_at = Some(now);
        if notification.is_some() {
            self.notified_at = Some(now);
        }
        self.due = self.repeat_at().map(|at| self.next_on_grid(now, at));
        notification
    }

    /// What fires as far as was told: what an endpoint must be told that is new, or forgets. What has resolved and was
    /// not told yet is part of it: its resolve follows.
    pub fn told(&self) -> Option<Notification> {
        let mut all = self.notification(false, false);
        all.alerts.retain(|told| !told.first);
        all.alerts.iter_mut().for_each(|told| told.resolved = None);
        (!all.alerts.is_empty()).then_some(all)
    }

    fn notification(&self, news: bool, repeat: bool) -> Notification {
        let ended = self.members.iter().filter(|member| member.resolved.is_some() && member.told.is_some());
        let alerts = self.firing().chain(ended);
        let told = |member: &Member| Notified {
            alert: member.as_told(),
            resolved: member.resolved,
            first: member.told.is_none(),
            news: repeat || member.resolved.is_some() || member.told != Some(fired_at(&member.alert)),
        };
        Notification {
            key: self.key.clone(),
            receiver: self.receiver.clone(),
            group_labels: self.labels.clone(),
            alerts: alerts.map(told).collect(),
            first: self.notified_at.is_none(),
            news,
        }
    }

    fn firing(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.resolved.is_none())
    }

    fn repeat_at(&self) -> Option<Timestamp> {
        self.notified_at.filter(|_| self.timing.repeat > 0).map(|at| at.saturating_add(self.timing.repeat))
    }
}

impl Member {
    /// A resolve ends the firing that was told, not one that came and went since.
    fn as_told(&self) -> Alert {
        let told = self.told.filter(|_| self.resolved.is_some());
        Alert { starts_at: told.or(self.alert.starts_at), ..self.alert.clone() }
    }

    /// Takes over the annotations of the same firing. The cause stays what it was when the page was accepted, unless
    /// there is one now: a restart knows none.
    fn renew(&mut self, alert: &Alert) {
        let cause = self.alert.annotations.remove_entry(CAUSE);
        self.alert.annotations.clone_from(&alert.annotations);
        if let Some((name, cause)) = cause {
            self.alert.annotations.entry(name).or_insert(cause);
        }
    }
}

fn fired_at(alert: &Alert) -> Timestamp {
    alert.starts_at.unwrap_or(alert.active_at)
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
