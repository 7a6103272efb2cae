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
    Receiver { name: name.into(), webhooks: vec![] }
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
    assert_eq!(moved.notifications.iter().map(|n| n.receiver.as_str()).collect::<Vec<_>>(), ["chat"]);
    dispatcher.apply(moved);
    let ended = dispatcher.dispatch(&[resolved("a", 1_000, 70_000)], 70_000, &roomy());
    let receivers: Vec<_> = ended.notifications.iter().map(|n| n.receiver.as_str()).collect();
    assert_eq!(receivers, ["pager"], "who was paged hears of the end; the other's grid is not due yet");

    after.receivers.retain(|receiver| receiver.name == "chat");
    let (_, gone) = rerouted(dispatcher, Some(&after));
    assert_eq!(gone, ["pager:{}"]);
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
