use std::time::Duration;

use super::*;
use crate::alert::AlertState;
use crate::alert::route::GroupBy;
use crate::notify::Receiver;

const SECOND: i64 = 1_000;
const REPEAT: i64 = 4 * 3_600 * SECOND;

fn alerting(group_by: GroupBy, wait: u64, interval: u64) -> Alerting {
    let route = Route {
        receiver: "pager".into(),
        matchers: vec![],
        continues: false,
        group_by,
        group_wait: Duration::from_secs(wait),
        group_interval: Duration::from_secs(interval),
        repeat_interval: Duration::from_secs(4 * 3_600),
        routes: vec![],
    };
    Alerting { route, receivers: vec![receiver("pager")] }
}

fn receiver(name: &str) -> Receiver {
    Receiver { name: name.into(), endpoints: vec![] }
}

/// Every receiver has room.
fn roomy() -> BTreeSet<String> {
    BTreeSet::new()
}

fn one_group() -> GroupBy {
    GroupBy::Labels(vec![])
}

fn alert(name: &str, starts_at: Timestamp) -> Alert {
    let labels = Labels::new([("alertname", "Down"), ("service", name)]);
    Alert {
        id: AlertId { file: "f".into(), group: "g".into(), rule: "Down".into(), labels },
        annotations: BTreeMap::new(),
        value: 0.0,
        state: AlertState::Firing,
        active_at: starts_at,
        starts_at: Some(starts_at),
        keep_firing_since: None,
        held_since: None,
        unknown_inputs: Vec::new(),
    }
}

fn fired(name: &str, starts_at: Timestamp) -> Event {
    Event::Fired(alert(name, starts_at))
}

fn resolved(name: &str, starts_at: Timestamp, at: Timestamp) -> Event {
    Event::Resolved { alert: alert(name, starts_at), at, reason: Resolution::Recovered }
}

/// What a notification says: `+a` fires, `-a` has resolved; a star marks the first of its group.
fn said(notification: &Notification) -> String {
    let words = notification.alerts.iter().map(|told| {
        let sign = if told.resolved.is_some() { '-' } else { '+' };
        format!("{sign}{}", told.alert.id.labels.get("service"))
    });
    let star = if notification.first { "*" } else { "" };
    format!("{star}{}", words.collect::<Vec<_>>().join(" "))
}

/// Runs events at their times (seconds) against one configuration, stopping at every deadline up to `until`;
/// what is said is noted with its second.
fn story(alerting: &Alerting, events: &[(i64, Event)], until: i64) -> Vec<String> {
    let mut dispatcher = Dispatcher::new(Some(alerting), vec![]).0;
    let mut heard = Vec::new();
    let mut events = events.iter().peekable();
    loop {
        let next_event = events.peek().map(|(at, _)| at * SECOND);
        let Some(now) = [next_event, dispatcher.next_deadline(&roomy())].into_iter().flatten().min() else { break };
        if now > until * SECOND {
            break;
        }
        let mut batch = Vec::new();
        while let Some((_, event)) = events.next_if(|(at, _)| at * SECOND == now) {
            batch.push(event.clone());
        }
        let dispatch = dispatcher.dispatch(&batch, now, &roomy());
        heard.extend(dispatch.notifications.iter().map(|n| format!("{}:{}", now / SECOND, said(n))));
        dispatcher.apply(dispatch);
    }
    heard
}

#[test]
fn without_waits_every_change_is_told_in_its_own_step() {
    let events = [(10, fired("a", 10_000)), (20, fired("b", 20_000)), (30, resolved("a", 10_000, 30_000))];
    assert_eq!(story(&alerting(one_group(), 0, 0), &events, 100), ["10:*+a", "20:+a +b", "30:+b -a"]);
}

#[test]
fn a_second_outage_after_the_first_has_resolved_is_a_first_page_again() {
    let events = [(1, fired("a", 1_000)), (2, resolved("a", 1_000, 2_000)), (3, fired("a", 3_000))];
    assert_eq!(story(&alerting(one_group(), 0, 0), &events, 100), ["1:*+a", "2:-a", "3:*+a"]);
}

#[test]
fn a_resolve_ends_the_firing_that_was_told_and_not_one_that_came_and_went_since() {
    let mut dispatcher = Dispatcher::new(Some(&alerting(one_group(), 0, 60)), vec![]).0;
    let mut step = |event: Option<Event>, second: i64| {
        let events: Vec<Event> = event.into_iter().collect();
        let dispatch = dispatcher.dispatch(&events, second * SECOND, &roomy());
        dispatcher.apply(dispatch.clone());
        let alerts = dispatch.notifications.into_iter().flat_map(|notification| notification.alerts);
        alerts.map(|told| (told.resolved.is_some(), told.alert.starts_at)).collect::<Vec<_>>()
    };
    assert_eq!(step(Some(fired("a", 0)), 0), [(false, Some(0))]);
    assert_eq!(step(Some(resolved("a", 0, 10_000)), 10), []);
    assert_eq!(step(Some(fired("a", 20_000)), 20), []);
    assert_eq!(step(Some(resolved("a", 20_000, 30_000)), 30), []);
    assert_eq!(step(None, 60), [(true, Some(0))]);
}

#[test]
fn the_first_flush_waits_for_group_wait_and_gathers() {
    let events = [(0, fired("a", 0)), (29, fired("b", 29_000)), (31, fired("c", 31_000))];
    assert_eq!(story(&alerting(one_group(), 30, 300), &events, 400), ["30:*+a +b", "330:+a +b +c"]);
}

#[test]
fn later_flushes_stand_on_the_grid_of_group_interval() {
    let events = [(0, fired("a", 0)), (700, fired("b", 700_000)), (930, fired("c", 930_000))];
    assert_eq!(story(&alerting(one_group(), 30, 300), &events, 1_000), ["30:*+a", "930:+a +b +c"]);
}

#[test]
fn an_alert_that_has_fired_for_longer_than_group_wait_does_not_wait() {
    let events = [(100, fired("a", 5_000))];
    assert_eq!(story(&alerting(one_group(), 30, 300), &events, 200), ["100:*+a"]);
}

#[test]
fn what_fires_and_resolves_within_group_wait_is_never_told() {
    let events = [(0, fired("a", 0)), (10, resolved("a", 0, 10_000))];
    assert_eq!(story(&alerting(one_group(), 30, 300), &events, 10_000), Vec::<String>::new());
    let events = [(0, fired("a", 0)), (10, resolved("a", 0, 10_000)), (20, fired("a", 20_000))];
    assert_eq!(story(&alerting(one_group(), 30, 300), &events, 100), ["30:*+a"], "the group kept its timer");
    let events = [(0, fired("a", 0)), (5, fired("b", 5_000)), (10, resolved("a", 0, 10_000))];
    assert_eq!(story(&alerting(one_group(), 30, 300), &events, 100), ["30:*+b"]);
}

#[test]
fn an_alert_that_fires_again_within_group_interval_pages_again_at_the_flush() {
    let events = [(0, fired("a", 0)), (40, resolved("a", 0, 40_000)), (50, fired("a", 50_000))];
    let mut later = events.to_vec();
    later.push((400, resolved("a", 50_000, 400_000)));
    assert_eq!(story(&alerting(one_group(), 30, 300), &later, 1_000), ["30:*+a", "330:+a", "630:-a"]);
}

#[test]
fn a_group_is_repeated_while_it_fires_and_no_longer() {
    let alerting = alerting(one_group(), 0, 0);
    let four_hours = REPEAT / SECOND;
    let events = [(10, fired("a", 10_000)), (2 * four_hours, resolved("a", 10_000, 2 * REPEAT))];
    let first_repeat = format!("{}:+a", four_hours + 10);
    let end = format!("{}:-a", 2 * four_hours);
    assert_eq!(story(&alerting, &events, 20 * four_hours), ["10:*+a".to_owned(), first_repeat, end]);
}

#[test]
fn a_repetition_waits_for_the_grid() {
    let mut alerting = alerting(one_group(), 0, 300);
    alerting.route.repeat_interval = Duration::from_secs(400);
    assert_eq!(story(&alerting, &[(0, fired("a", 0))], 1_300), ["0:*+a", "600:+a", "1200:+a"]);
}

#[test]
fn groups_are_told_apart_by_their_labels() {
    let events = [(1, fired("a", 1_000)), (1, fired("b", 1_000))];
    let by_service = alerting(GroupBy::Labels(vec!["service".into()]), 0, 0);
    assert_eq!(story(&by_service, &events, 9), ["1:*+a", "1:*+b"]);
    assert_eq!(story(&alerting(GroupBy::All, 0, 0), &events, 9), ["1:*+a", "1:*+b"]);
    let by_name = alerting(GroupBy::Labels(vec!["alertname".into()]), 0, 0);
    assert_eq!(story(&by_name, &events, 9), ["1:*+a +b"]);
}

#[test]
fn the_key_is_made_of_receiver_and_group_labels_only() {
    let alerting = alerting(GroupBy::Labels(vec!["service".into()]), 0, 0);
    let dispatcher = Dispatcher::new(Some(&alerting), vec![]).0;
    let dispatch = dispatcher.dispatch(&[fired("a", 1_000)], 1_000, &roomy());
    assert_eq!(dispatch.notifications[0].key, r#"pager:{service="a"}"#);
}

#[test]
fn an_alert_that_takes_two_routes_is_told_to_both_and_resolves_at_both() {
    let mut alerting = alerting(one_group(), 0, 0);
    let mut first = alerting.route.clone();
    first.receiver = "log".into();
    first.continues = true;
    let second = alerting.route.clone();
    alerting.route.routes = vec![first, second];
    alerting.receivers.push(receiver("log"));
    let events = [(1, fired("a", 1_000)), (2, resolved("a", 1_000, 2_000))];
    assert_eq!(story(&alerting, &events, 9), ["1:*+a", "1:*+a", "2:-a", "2:-a"]);
}

#[test]
fn a_step_that_is_not_applied_changes_nothing() {
    let dispatcher = Dispatcher::new(Some(&alerting(one_group(), 0, 0)), vec![]).0;
    let once = dispatcher.dispatch(&[fired("a", 1_000)], 1_000, &roomy());
    assert_eq!(dispatcher.dispatch(&[fired("a", 1_000)], 1_000, &roomy()), once);
    assert_eq!(dispatcher.next_deadline(&roomy()), None);
}

#[test]
fn a_restart_or_reload_tells_nothing_twice_and_places_what_the_new_tree_leads_elsewhere() {
    let before = alerting(one_group(), 0, 0);
    let mut dispatcher = Dispatcher::new(Some(&before), vec![]).0;
    let page = dispatcher.dispatch(&[fired("a", 1_000)], 1_000, &roomy());
    dispatcher.apply(page);

    let (mut dispatcher, gone) = rerouted(dispatcher, Some(&before));
    assert!(gone.is_empty());
    assert_eq!(dispatcher.dispatch(&[fired("a", 1_000)], 2_000, &roomy()), Dispatch::default());

    let mut after = alerting(one_group(), 0, 60);
    after.route.receiver = "chat".into();
    after.receivers.push(receiver("chat"));
    dispatcher = rerouted(dispatcher, Some(&after)).0;
    let moved = dispatcher.dispatch(&[fired("a", 1_000)], 3_000, &roomy());
    let told: Vec<_> = moved.notifications.iter().map(|n| (n.receiver.as_str(), said(n))).collect();
    assert_eq!(told, [("chat", "*+a".to_owned()), ("pager", "-a".to_owned())], "who was paged hears where it went");
    assert_eq!(moved.notifications[1].alerts[0].resolved.unwrap().reason, Resolution::RoutedElsewhere);
    dispatcher.apply(moved);
    assert_eq!(dispatcher.dispatch(&[fired("a", 1_000)], 4_000, &roomy()), Dispatch::default());
    let ended = dispatcher.dispatch(&[resolved("a", 1_000, 70_000)], 70_000, &roomy());
    assert!(ended.notifications.is_empty(), "the other's grid is not due yet");

    after.receivers.retain(|receiver| receiver.name == "chat");
    let (dispatcher, gone) = rerouted(dispatcher, Some(&after));
    assert!(gone.is_empty());
    after.receivers.clear();
    let (_, gone) = rerouted(dispatcher, Some(&after));
    assert_eq!(gone, ["chat:{}"]);
}

#[test]
fn an_alert_that_is_grouped_differently_keeps_its_key_at_its_receiver_until_it_ends() {
    let mut dispatcher = Dispatcher::new(Some(&alerting(one_group(), 0, 0)), vec![]).0;
    let page = dispatcher.dispatch(&[fired("a", 1_000)], 1_000, &roomy());
    dispatcher.apply(page);
    let by_service = alerting(GroupBy::Labels(vec!["service".into()]), 0, 0);
    dispatcher = rerouted(dispatcher, Some(&by_service)).0;
    let step = dispatcher.dispatch(&[fired("a", 1_000), fired("b", 2_000)], 2_000, &roomy());
    let keys: Vec<_> = step.notifications.iter().map(|n| (n.key.as_str(), said(n))).collect();
    assert_eq!(keys, [(r#"pager:{service="b"}"#, "*+b".to_owned())], "no second page under another key");
    dispatcher.apply(step);
    let step = dispatcher.dispatch(&[resolved("a", 1_000, 3_000)], 3_000, &roomy());
    assert_eq!(step.notifications[0].key, "pager:{}");
    dispatcher.apply(step);
    let step = dispatcher.dispatch(&[fired("a", 4_000)], 4_000, &roomy());
    assert_eq!(step.notifications[0].key, r#"pager:{service="a"}"#, "the next outage is grouped as the tree says");
}

#[test]
fn what_was_not_yet_told_moves_without_a_word_to_its_old_receiver() {
    let mut dispatcher = Dispatcher::new(Some(&alerting(one_group(), 30, 0)), vec![]).0;
    let step = dispatcher.dispatch(&[fired("a", 1_000)], 1_000, &roomy());
    dispatcher.apply(step);
    let mut after = alerting(one_group(), 0, 0);
    after.route.receiver = "chat".into();
    after.receivers.push(receiver("chat"));
    dispatcher = rerouted(dispatcher, Some(&after)).0;
    let step = dispatcher.dispatch(&[fired("a", 1_000)], 2_000, &roomy());
    assert_eq!(step.notifications.iter().map(|n| n.receiver.as_str()).collect::<Vec<_>>(), ["chat"]);
    dispatcher.apply(step);
    let step = dispatcher.dispatch(&[], 60_000, &roomy());
    assert!(step.notifications.is_empty());
    dispatcher.apply(step);
    assert_eq!(dispatcher.groups().map(|group| group.receiver.as_str()).collect::<Vec<_>>(), ["chat"]);
}

#[test]
fn whatever_the_tree_becomes_every_page_gets_its_resolve_and_no_receiver_two_keys() {
    for seed in 0..300 {
        reroute_at_random(seed);
    }
}

/// A tree of one to two receivers and some grouping.
fn random_tree(random: &mut fastrand::Rng) -> Alerting {
    let group_by = [one_group(), GroupBy::All, GroupBy::Labels(vec!["service".into()])][random.usize(0..3)].clone();
    let mut tree = alerting(group_by, random.u64(0..2) * 15, random.u64(0..2) * 60);
    tree.receivers.push(receiver("chat"));
    if random.bool() {
        tree.route.receiver = "chat".into();
    }
    if random.bool() {
        let matcher = crate::matcher::Matcher::parse_list("service=\"a\"").unwrap();
        let mut child = Route { matchers: matcher, receiver: "pager".into(), ..tree.route.clone() };
        child.group_by = [one_group(), GroupBy::All][random.usize(0..2)].clone();
        tree.route.routes = vec![child];
    }
    tree
}

fn reroute_at_random(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tree = random_tree(&mut random);
    let mut dispatcher = Dispatcher::new(Some(&tree), vec![]).0;
    let mut firing: BTreeMap<&str, Timestamp> = BTreeMap::new();
    // (receiver, alert) → the key that is open there.
    let mut open: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut now = 1_000_000;
    for step in 0..100 {
        let last = step >= 80;
        now += if last { 600 * SECOND } else { random.i64(0..40 * SECOND) };
        let mut events = Vec::new();
        if random.u8(0..5) == 0 {
            tree = random_tree(&mut random);
            dispatcher = rerouted(dispatcher, Some(&tree)).0;
        }
        for name in ["a", "b", "c"] {
            match firing.get(name).copied() {
                Some(since) if last || random.u8(0..5) == 0 => {
                    firing.remove(name);
                    events.push(resolved(name, since, now));
                }
                None if !last && random.u8(0..3) == 0 => {
                    firing.insert(name, now);
                    events.push(fired(name, now));
                }
                Some(since) => events.push(fired(name, since)),
                None => {}
            }
        }
        let dispatch = dispatcher.dispatch(&events, now, &roomy());
        for notification in &dispatch.notifications {
            for told in &notification.alerts {
                let place = (notification.receiver.clone(), told.alert.id.labels.get("service").to_owned());
                match told.resolved {
                    Some(_) => assert_eq!(open.remove(&place), Some(notification.key.clone()), "seed {seed}"),
                    None => {
                        let before = open.insert(place, notification.key.clone());
                        assert!(before.is_none_or(|key| key == notification.key), "seed {seed}: two keys");
                    }
                }
            }
        }
        dispatcher.apply(dispatch);
        for (name, since) in firing.iter().filter(|(_, since)| **since + 60 * SECOND <= now) {
            let labels = &alert(name, *since).id.labels;
            let route = tree.route.find(labels)[0];
            let flushed = dispatcher.groups().all(|group| group.due.is_none_or(|due| due > now));
            let known = open.contains_key(&(route.receiver.clone(), (*name).to_owned()));
            let waits = dispatcher.groups().any(|group| {
                group.receiver == route.receiver && group.members.iter().any(|member| member.alert.id.labels == *labels)
            });
            assert!(known || waits || !flushed, "seed {seed}: {name} is lost");
        }
    }
    assert!(open.is_empty(), "seed {seed}: pages without their resolve: {open:?}");
    assert_eq!(dispatcher.groups().count(), 0, "seed {seed}");
}

#[test]
fn while_nobody_is_paged_groups_stand_still_but_learn_what_resolves() {
    let alerting = alerting(one_group(), 0, 0);
    let mut dispatcher = Dispatcher::new(Some(&alerting), vec![]).0;
    let page = dispatcher.dispatch(&[fired("a", 1_000)], 1_000, &roomy());
    dispatcher.apply(page);
    dispatcher = rerouted(dispatcher, None).0;
    assert_eq!(dispatcher.next_deadline(&roomy()), None);
    let step = dispatcher.dispatch(&[resolved("a", 1_000, 2_000), fired("b", 2_000)], 2_000, &roomy());
    assert!(step.notifications.is_empty());
    dispatcher.apply(step);
    dispatcher = rerouted(dispatcher, Some(&alerting)).0;
    let told = dispatcher.dispatch(&[], 3_000, &roomy());
    assert_eq!(told.notifications.iter().map(said).collect::<Vec<_>>(), ["-a"]);
}

fn full() -> BTreeSet<String> {
    BTreeSet::from(["pager".to_owned()])
}

#[test]
fn a_full_receiver_s_groups_wait_and_the_others_are_told() {
    let mut alerting = alerting(one_group(), 0, 0);
    let mut chat = alerting.route.clone();
    (chat.receiver, chat.continues) = ("chat".into(), true);
    let pager = alerting.route.clone();
    alerting.route.routes = vec![chat, pager];
    alerting.receivers.push(receiver("chat"));
    let mut dispatcher = Dispatcher::new(Some(&alerting), vec![]).0;
    let step = dispatcher.dispatch(&[fired("a", 1_000)], 1_000, &full());
    let told: Vec<&str> = step.notifications.iter().map(|told| told.receiver.as_str()).collect();
    assert_eq!((told, step.put_off), (vec!["chat"], 1));
    assert_eq!(step.groups.len(), 2, "its place in the full receiver's group is accepted");
    dispatcher.apply(step);
    assert!(dispatcher.next_deadline(&full()).is_some_and(|at| at > 1_000), "what waits for room is not waited for");
    let step = dispatcher.dispatch(&[], 2_000, &roomy());
    assert_eq!(step.notifications.iter().map(said).collect::<Vec<_>>(), ["*+a"]);
}

#[test]
fn what_a_full_receiver_was_told_of_is_resolved_when_there_is_room_and_the_rest_does_not_gather() {
    let alerting = alerting(one_group(), 0, 0);
    let mut dispatcher = Dispatcher::new(Some(&alerting), vec![]).0;
    let step = dispatcher.dispatch(&[fired("a", 1_000)], 1_000, &roomy());
    dispatcher.apply(step);
    let events = [resolved("a", 1_000, 2_000), fired("b", 2_000)];
    let step = dispatcher.dispatch(&events, 2_000, &full());
    dispatcher.apply(step);
    let step = dispatcher.dispatch(&[resolved("b", 2_000, 3_000)], 3_000, &full());
    dispatcher.apply(step);
    assert_eq!(dispatcher.groups().map(|group| group.members.len()).sum::<usize>(), 1);
    let step = dispatcher.dispatch(&[], 4_000, &roomy());
    assert_eq!(step.notifications.iter().map(said).collect::<Vec<_>>(), ["-a"]);
    dispatcher.apply(step);
    assert_eq!(dispatcher.groups().count(), 0);
}

#[test]
fn the_cause_of_a_page_survives_a_restart_that_knows_none() {
    let alerting = alerting(one_group(), 0, 0);
    let mut dispatcher = Dispatcher::new(Some(&alerting), vec![]).0;
    let mut paged = alert("a", 1_000);
    paged.annotations.insert(CAUSE.to_owned(), "connection refused".to_owned());
    let step = dispatcher.dispatch(&[Event::Fired(paged)], 1_000, &roomy());
    dispatcher.apply(step);
    assert_eq!(dispatcher.dispatch(&[fired("a", 1_000)], 2_000, &roomy()), Dispatch::default());
    let repeated = dispatcher.dispatch(&[], 1_000 + REPEAT, &roomy());
    assert_eq!(repeated.notifications[0].alerts[0].alert.annotations[CAUSE], "connection refused");
}

/// What one receiver believes after everything that it was told.
#[derive(Default)]
struct Believes {
    /// By key and alert: the `starts_at` that is open.
    open: BTreeMap<(String, AlertId), Timestamp>,
    last_told: BTreeMap<String, Timestamp>,
}

impl Believes {
    fn hear(&mut self, notification: &Notification, now: Timestamp) {
        let place = |told: &Notified| (notification.key.clone(), told.alert.id.clone());
        let was_open = self.open.keys().any(|(key, _)| *key == notification.key);
        assert_eq!(notification.first, !was_open, "first means that nothing is open");
        let mut changed = false;
        for told in &notification.alerts {
            match told.resolved {
                Some(_) => {
                    assert!(self.open.remove(&place(told)).is_some(), "a resolve without its page, or a second one");
                    changed = true;
                }
                None => changed |= self.open.insert(place(told), fired_at(&told.alert)) != told.alert.starts_at,
            }
        }
        let repeated = self.last_told.get(&notification.key).is_some_and(|last| last + REPEAT <= now);
        assert!(changed || repeated, "told without a change");
        self.last_told.insert(notification.key.clone(), now);
    }
}

#[test]
fn every_firing_that_is_told_is_resolved_exactly_once() {
    for seed in 0..400 {
        every_firing_is_resolved_once(seed);
    }
}

fn every_firing_is_resolved_once(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let group_by = [one_group(), GroupBy::All, GroupBy::Labels(vec!["service".into()])][random.usize(0..3)].clone();
    let (wait, interval) = (random.u64(0..3) * 15, random.u64(0..3) * 60);
    let alerting = alerting(group_by, wait, interval);
    let mut dispatcher = Dispatcher::new(Some(&alerting), vec![]).0;
    let mut believes = Believes::default();
    let mut firing: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut now = 1_000_000;
    for step in 0..120 {
        let last = step >= 100;
        let pause = if last { 600 * SECOND } else { random.i64(0..40 * SECOND) };
        let target = now + pause;
        let full = if !last && random.u8(0..4) == 0 { full() } else { roomy() };
        while let Some(due) = dispatcher.next_deadline(&full).filter(|due| *due <= target) {
            now = now.max(due);
            let dispatch = dispatcher.dispatch(&[], now, &full);
            dispatch.notifications.iter().for_each(|notification| believes.hear(notification, now));
            dispatcher.apply(dispatch);
            assert!(dispatcher.next_deadline(&full).is_none_or(|next| next > now), "a flush that makes no progress");
        }
        now = target;
        let mut events = Vec::new();
        for name in ["a", "b", "c"] {
            let chance = random.u8(0..4) == 0;
            match firing.get(name).copied() {
                Some(since) if chance || last => {
                    firing.remove(name);
                    events.push(resolved(name, since, now));
                }
                None if chance && !last => {
                    firing.insert(name.to_owned(), now);
                    events.push(fired(name, now));
                }
                Some(since) => events.push(fired(name, since)), // told again, as after a reload: no change
                None => {}
            }
        }
        let dispatch = dispatcher.dispatch(&events, now, &full);
        dispatch.notifications.iter().for_each(|notification| believes.hear(notification, now));
        dispatcher.apply(dispatch);
        if random.u8(0..10) == 0 {
            let saved: Vec<String> = dispatcher.groups().map(|g| serde_json::to_string(g).unwrap()).collect();
            let groups = saved.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            dispatcher = Dispatcher::new(Some(&alerting), groups).0;
        }
        let patience = i64::try_from(wait.max(interval)).unwrap() * SECOND;
        for (name, since) in &firing {
            let told = believes.open.iter().any(|((_, id), open)| id.labels.get("service") == name && open == since);
            assert!(
                told || now < since + patience || !full.is_empty(),
                "seed {seed}: {name} fires since {since} and nobody knows at {now}"
            );
        }
    }
    assert!(believes.open.is_empty(), "seed {seed}: pages without their resolve: {:?}", believes.open.keys());
    assert_eq!(dispatcher.groups().count(), 0, "seed {seed}");
}

/// The same groups under another routing tree.
fn rerouted(dispatcher: Dispatcher, alerting: Option<&Alerting>) -> (Dispatcher, Vec<String>) {
    Dispatcher::new(alerting, dispatcher.groups().cloned().collect())
}
