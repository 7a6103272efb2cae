use super::*;
use crate::notify::lane::FRESH_PAUSE;
use crate::notify::reminders::AFTER_RESOLVE;
use crate::notify::{Settings, alertmanager, slack};
use crate::secret::{Secret, SecretSource};
use crate::state::samples;
use std::time::Duration;

#[path = "queue_model.rs"]
mod model;

fn receivers(names: &[&str]) -> Vec<Receiver> {
    names.iter().map(|name| samples::receiver(name)).collect()
}

fn endpoint() -> String {
    samples::receiver("pager").endpoints[0].id.clone()
}

fn queue(deliveries: Vec<Delivery>) -> Queue {
    let mut queue = Queue::new(Limits::default(), deliveries, vec![], 7);
    queue.configure(&receivers(&["pager"]), 0);
    queue
}

fn page(seq: i64, key: &str) -> Delivery {
    samples::delivery(seq, key, false)
}

fn resolve(seq: i64, key: &str) -> Delivery {
    samples::delivery(seq, key, true)
}

fn seqs(work: &[Work]) -> Vec<i64> {
    work.iter().map(|work| taken(work).seq).collect()
}

fn taken(work: &Work) -> &Delivery {
    let (Work::Attempt(delivery) | Work::Abandon(delivery) | Work::Overtake(delivery) | Work::Remind(delivery)) = work;
    delivery
}

fn retry() -> Outcome {
    Outcome::Judged(Judgement::Retry { after: None, reason: "status 503".into() })
}

fn give_up() -> Outcome {
    Outcome::Judged(Judgement::GiveUp { reason: "status 400".into() })
}

fn done() -> Outcome {
    Outcome::Judged(Judgement::Done)
}

#[test]
fn a_resolve_waits_for_its_page_and_other_keys_do_not() {
    let mut queue = queue(vec![page(1, "a"), resolve(2, "a"), page(3, "b")]);
    let work = queue.start(0);
    assert_eq!(seqs(&work), [1, 3]);
    assert!(queue.start(0).is_empty(), "the resolve's page is under way");
    queue.finish(taken(&work[0]), &done(), 10);
    assert_eq!(seqs(&queue.start(10)), [2]);
}

#[test]
fn a_page_that_fails_keeps_its_resolve_waiting() {
    let mut queue = queue(vec![page(1, "a"), resolve(2, "a")]);
    let work = queue.start(0);
    queue.finish(taken(&work[0]), &retry(), 10);
    let at = queue.next_deadline(10).unwrap();
    assert!(queue.start(at - 1).is_empty());
    assert_eq!(seqs(&queue.start(at)), [1]);
}

#[test]
fn a_page_that_is_refused_for_good_takes_its_resolve_with_it() {
    let mut queue = queue(vec![page(1, "a"), resolve(2, "a"), page(3, "a")]);
    let work = queue.start(0);
    let ops = queue.settle(taken(&work[0]), &give_up(), 5);
    let refused =
        Refused { receiver: "pager".into(), endpoint: endpoint(), key: "a".into(), at: 5, reason: "status 400".into() };
    assert_eq!(ops, [Op::DeleteDelivery(1), Op::PutRefused(refused.clone())]);
    queue.finish(taken(&work[0]), &give_up(), 5);

    let mut restarted = Queue::new(Limits::default(), vec![resolve(2, "a"), page(3, "a")], vec![refused], 7);
    restarted.configure(&receivers(&["pager"]), 0);
    for queue in [&mut queue, &mut restarted] {
        let work = queue.start(6);
        assert_eq!(work, [Work::Abandon(resolve(2, "a"))]);
        let forgiven = Op::DeleteRefused { receiver: "pager".into(), endpoint: endpoint(), key: "a".into() };
        assert_eq!(queue.settle(taken(&work[0]), &Outcome::Abandoned, 6), [Op::DeleteDelivery(2), forgiven]);
        queue.finish(taken(&work[0]), &Outcome::Abandoned, 6);
        assert_eq!(queue.start(6), [Work::Attempt(page(3, "a"))], "the next outage pages again");
    }
}

#[test]
fn a_later_page_that_is_refused_does_not_take_the_resolve_of_the_first() {
    let later = Delivery { first: false, ..page(2, "a") };
    let mut queue = queue(vec![page(1, "a"), later.clone(), resolve(3, "a")]);
    for outcome in [done(), give_up()] {
        let work = queue.start(0);
        queue.finish(taken(&work[0]), &outcome, 0);
    }
    assert_eq!(queue.start(0), [Work::Attempt(resolve(3, "a"))]);
}

#[test]
fn a_later_page_that_is_delivered_gives_a_refused_key_its_resolve_back() {
    let later = Delivery { first: false, ..page(2, "a") };
    let mut queue = queue(vec![page(1, "a"), later, resolve(3, "a")]);
    let work = queue.start(0);
    queue.finish(taken(&work[0]), &give_up(), 0);
    let work = queue.start(0);
    assert_eq!(queue.settle(taken(&work[0]), &done(), 0).len(), 2, "the row of the refused key goes too");
    queue.finish(taken(&work[0]), &done(), 0);
    assert_eq!(queue.start(0), [Work::Attempt(resolve(3, "a"))]);
}

#[test]
fn while_a_webhook_fails_one_attempt_is_made_at_a_time_with_growing_pauses() {
    let mut queue = queue((1..=9).map(|seq| page(seq, &seq.to_string())).collect());
    let first = queue.start(0);
    assert_eq!(first.len(), 4);
    first.iter().for_each(|work| queue.finish(taken(work), &retry(), 10));
    let mut now = 10;
    let mut pauses = Vec::new();
    let mut tried = BTreeSet::new();
    for _ in 0..12 {
        let at = queue.next_deadline(now).unwrap();
        pauses.push(at - now);
        now = at;
        let work = queue.start(now);
        assert_eq!(work.len(), 1);
        assert_eq!(queue.next_deadline(now), None, "nothing else until it is answered");
        tried.insert(taken(&work[0]).seq);
        queue.finish(taken(&work[0]), &retry(), now);
    }
    assert_eq!(tried.len(), 9, "each has its turn");
    assert!((500..=1_000).contains(&pauses[0]), "four that failed together are one failure: {pauses:?}");
    assert!(pauses[10] >= 30_000 && pauses.iter().all(|pause| *pause <= 60_000), "{pauses:?}");

    now = queue.next_deadline(now).unwrap();
    let work = queue.start(now);
    queue.finish(taken(&work[0]), &done(), now);
    assert_eq!(queue.start(now).len(), 4, "after an outage, all that waited may go");
}

#[test]
fn a_delivery_that_can_never_be_sent_does_not_stand_before_the_others() {
    let mut queue = queue(vec![page(1, "poison")]);
    let mut now = 0;
    for _ in 0..10 {
        now = queue.next_deadline(now).unwrap();
        let work = queue.start(now);
        queue.finish(taken(&work[0]), &retry(), now);
    }
    queue.enqueue(vec![page(2, "new")], now);
    let at = queue.next_deadline(now).unwrap();
    assert!(at - now <= FRESH_PAUSE);
    assert_eq!(seqs(&queue.start(at)), [2]);
}

#[test]
fn a_receiver_that_names_a_time_is_not_asked_before_it() {
    let mut queue = queue(vec![page(1, "a")]);
    let work = queue.start(0);
    let after = Some(Duration::from_secs(30));
    queue.finish(taken(&work[0]), &Outcome::Judged(Judgement::Retry { after, reason: "status 429".into() }), 0);
    queue.enqueue(vec![page(2, "b")], 1);
    assert_eq!(queue.next_deadline(1), Some(30_000));
}

#[test]
fn a_disabled_webhook_keeps_what_waits_until_the_next_reload() {
    let mut queue = queue(vec![page(1, "a")]);
    let work = queue.start(0);
    let gone = Outcome::Judged(Judgement::Disable { reason: "status 410".into() });
    assert!(matches!(queue.settle(taken(&work[0]), &gone, 0)[..], [Op::Attempted { seq: 1, attempts: 1, .. }]));
    queue.finish(taken(&work[0]), &gone, 0);
    assert_eq!((queue.next_deadline(0), queue.start(1_000_000)), (None, vec![]));
    queue.configure(&receivers(&["pager"]), 0);
    assert_eq!(seqs(&queue.start(1_000_000)), [1]);
}

#[test]
fn what_waits_for_a_receiver_that_was_removed_is_abandoned_but_not_while_nobody_is_paged() {
    let mut queue = queue(vec![page(1, "a")]);
    assert_eq!(queue.configure(&[], 0), (vec![], vec![]));
    assert!(queue.start(0).is_empty());
    let (ops, abandoned) = queue.configure(&receivers(&["chat"]), 0);
    assert_eq!((ops, abandoned), (vec![Op::DeleteDelivery(1)], vec![page(1, "a")]));
    assert_eq!(queue.receivers(), BTreeSet::from(["chat".to_owned()]));
}

#[test]
fn a_receiver_that_has_used_up_its_share_says_so_and_drops_nothing() {
    let limits = Limits { deliveries: 2, ..Limits::default() };
    let mut queue = Queue::new(limits, vec![page(1, "a")], vec![], 7);
    queue.configure(&receivers(&["pager"]), 0);
    assert!(!queue.is_full("pager"));
    queue.enqueue(vec![page(2, "b"), page(3, "c")], 0);
    assert!(queue.is_full("pager"));
    let work = queue.start(0);
    assert_eq!(work.len(), 3);
    work.iter().for_each(|work| queue.finish(taken(work), &done(), 0));
    assert!(!queue.is_full("pager"));
    let limits = Limits { bytes: 10, ..Limits::default() };
    assert!(Queue::new(limits, vec![page(1, "a")], vec![], 7).is_full("pager"));
}

#[test]
fn one_receiver_s_backlog_takes_no_room_from_the_others() {
    let limits = Limits { deliveries: 4, ..Limits::default() };
    let mut queue = Queue::new(limits, vec![], vec![], 7);
    queue.configure(&receivers(&["pager", "chat"]), 0);
    queue.enqueue((1..10).map(|seq| page(seq, "a")).collect(), 0);
    assert_eq!(queue.full(), BTreeSet::from(["pager".to_owned()]));
    let to_chat = |seq| Delivery { receiver: "chat".into(), ..page(seq, "a") };
    queue.enqueue(vec![to_chat(10)], 0);
    assert!(!queue.is_full("chat"), "its share is half of all");
    queue.enqueue(vec![to_chat(11)], 0);
    assert!(queue.is_full("chat"));
}

#[test]
fn who_hears_no_resolves_has_no_refused_keys_to_remember() {
    let mut receivers = receivers(&["pager"]);
    let refused =
        Refused { receiver: "pager".into(), endpoint: endpoint(), key: "z".into(), at: 5, reason: "status 400".into() };
    let mut queue = Queue::new(Limits::default(), vec![page(1, "a")], vec![refused], 7);
    receivers[0] = Receiver::new("pager", vec![samples::webhook(false)]);
    let forgotten = Op::DeleteRefused { receiver: "pager".into(), endpoint: endpoint(), key: "z".into() };
    assert_eq!(queue.configure(&receivers, 0).0, [forgotten]);
    let work = queue.start(0);
    assert_eq!(queue.settle(taken(&work[0]), &give_up(), 5), [Op::DeleteDelivery(1)]);
    queue.finish(taken(&work[0]), &give_up(), 5);
    assert_eq!(queue.lanes_of("pager").map(Lane::refused_keys).sum::<usize>(), 0);
}

fn slack() -> Settings {
    Settings::Slack(slack::Settings {
        api_url: SecretSource::Value(Secret::new("http://127.0.0.1/")),
        channel: None,
        username: None,
        send_resolved: true,
        timeout: Duration::from_secs(10),
    })
}

fn peer(url: &str) -> Settings {
    Settings::Alertmanager(alertmanager::Settings {
        url: Secret::new(url),
        auth: None,
        timeout: Duration::from_secs(10),
    })
}

fn hook(url: &str) -> Settings {
    let Settings::Webhook(settings) = samples::webhook(true) else { panic!() };
    Settings::Webhook(crate::notify::webhook::Settings { url: SecretSource::Value(Secret::new(url)), ..settings })
}

/// A queue of one receiver, with deliveries for its endpoint at a place.
fn queue_of(receiver: &Receiver, deliveries: &[(usize, Delivery)]) -> Queue {
    let at = |(place, delivery): &(usize, Delivery)| Delivery {
        endpoint: receiver.endpoints[*place].id.clone(),
        ..delivery.clone()
    };
    let mut queue = Queue::new(Limits::default(), deliveries.iter().map(at).collect(), vec![], 7);
    queue.configure(std::slice::from_ref(receiver), 0);
    queue
}

#[test]
fn a_slack_webhook_is_told_one_message_a_second_and_others_do_not_wait_for_it() {
    let receiver = Receiver::new("pager", vec![slack(), hook("http://h/")]);
    let deliveries = [(0, page(1, "a")), (0, page(2, "b")), (1, page(3, "a")), (1, page(4, "b"))];
    let mut queue = queue_of(&receiver, &deliveries);
    let work = queue.start(0);
    assert_eq!(BTreeSet::from_iter(seqs(&work)), BTreeSet::from([1, 3, 4]));
    work.iter().for_each(|work| queue.finish(taken(work), &done(), 10));
    assert_eq!((queue.start(999), queue.next_deadline(10)), (vec![], Some(1_000)));
    assert_eq!(seqs(&queue.start(1_000)), [2]);
}

#[test]
fn deliveries_follow_their_endpoint_when_others_are_moved_or_removed() {
    let before = Receiver::new("pager", vec![hook("http://a/"), hook("http://b/"), slack()]);
    let mut queue = queue_of(&before, &[(0, page(1, "k")), (1, page(2, "k"))]);
    let after = Receiver::new("pager", vec![slack(), hook("http://b/")]);
    let (ops, abandoned) = queue.configure(std::slice::from_ref(&after), 0);
    assert_eq!((ops, seqs_of(&abandoned)), (vec![Op::DeleteDelivery(1)], vec![1]));
    let work = queue.start(0);
    assert_eq!((seqs(&work), &taken(&work[0]).endpoint), (vec![2], &after.endpoints[1].id));
}

fn seqs_of(deliveries: &[Delivery]) -> Vec<i64> {
    deliveries.iter().map(|delivery| delivery.seq).collect()
}

#[test]
fn deliveries_follow_a_changed_url_with_what_was_refused_and_what_is_under_way() {
    let before = Receiver::new("pager", vec![hook("http://a/"), hook("http://b/")]);
    let mut queue = queue_of(&before, &[(0, page(1, "k")), (0, page(2, "l")), (1, page(3, "k"))]);
    let work = queue.start(0);
    assert_eq!(seqs(&work).len(), 3);
    let refused = work.iter().find(|work| taken(work).seq == 2).unwrap();
    queue.finish(taken(refused), &give_up(), 0);
    let after = Receiver::new("pager", vec![hook("http://b/"), hook("http://c/")]);
    let (ops, abandoned) = queue.configure(std::slice::from_ref(&after), 0);
    let id = |receiver: &Receiver, place: usize| receiver.endpoints[place].id.clone();
    assert!(abandoned.is_empty());
    assert_eq!(ops[0], Op::MoveDelivery { seq: 1, endpoint: id(&after, 1) }, "moved, not written anew");
    assert!(matches!(&ops[1], Op::DeleteRefused { endpoint, .. } if *endpoint == id(&before, 0)));
    assert!(matches!(&ops[2], Op::PutRefused(refused) if refused.endpoint == id(&after, 1)));
    for work in &work {
        queue.finish(taken(work), &done(), 5);
    }
    assert_eq!(queue.lanes_of("pager").map(Lane::depth).sum::<usize>(), 0, "it ended under its new id");
}

#[test]
fn a_page_that_waits_need_not_be_told_again_but_one_that_may_have_arrived_must() {
    let mut queue = queue(vec![page(1, "a"), page(2, "b"), resolve(3, "b")]);
    let at = ("pager".to_owned(), endpoint());
    assert!(queue.will_tell(&at, "a"));
    assert!(!queue.will_tell(&at, "b"), "it hears last that it is over");
    assert!(!queue.will_tell(&at, "c"));
    queue.start(0);
    assert!(!queue.will_tell(&at, "a"), "under way, to where the endpoint was");
}

#[test]
fn deliveries_of_an_older_layout_find_their_webhook_by_its_place() {
    let receiver = Receiver::new("pager", vec![slack(), hook("http://a/"), hook("http://b/")]);
    let old = Delivery { endpoint: "webhook/#1".into(), ..page(1, "k") };
    let mut queue = Queue::new(Limits::default(), vec![old], vec![], 7);
    let (ops, abandoned) = queue.configure(std::slice::from_ref(&receiver), 0);
    assert!(abandoned.is_empty());
    assert_eq!(ops, [Op::MoveDelivery { seq: 1, endpoint: receiver.endpoints[2].id.clone() }]);
}

fn alerts(seq: i64, end: &str) -> Delivery {
    let payload = format!(r#"[{{"labels":{{"a":"1"}}{end}}}]"#);
    Delivery { payload: payload.into(), ..page(seq, "k") }
}

const END: &str = r#","endsAt":"t""#;

#[test]
fn a_peer_is_reminded_every_minute_of_what_it_was_told_last_and_no_reminder_undoes_a_resolve() {
    let receiver = Receiver::new("pager", vec![peer("http://am/")]);
    let mut queue = queue_of(&receiver, &[(0, alerts(1, ""))]);
    let work = queue.start(0);
    queue.finish(taken(&work[0]), &done(), 0);
    assert_eq!((queue.start(59_999), queue.next_deadline(0)), (vec![], Some(60_000)));
    let work = queue.start(60_000);
    let [Work::Remind(reminder)] = &work[..] else { panic!("{work:?}") };
    assert_eq!(reminder.payload, alerts(1, "").payload);
    assert!(queue.settle(reminder, &done(), 60_001).is_empty(), "nothing of it is written");

    let resolve = Delivery { endpoint: receiver.endpoints[0].id.clone(), ..alerts(2, END) };
    queue.enqueue(vec![resolve], 60_002);
    assert!(queue.start(60_002).is_empty(), "what is under way could arrive after it");
    queue.finish(reminder, &done(), 60_003);
    let work = queue.start(60_003);
    assert_eq!(seqs(&work), [2]);
    queue.finish(taken(&work[0]), &done(), 60_003);
    let work = queue.start(120_003);
    assert_eq!(taken(&work[0]).payload, alerts(2, END).payload);
    queue.finish(taken(&work[0]), &done(), 120_003);
    assert_eq!(queue.start(60_003 + AFTER_RESOLVE), []);
    assert_eq!(queue.next_deadline(60_003 + AFTER_RESOLVE), None);
}

#[test]
fn reminders_do_not_pile_up_behind_a_peer_that_is_down_and_the_other_peer_is_told() {
    let receiver = Receiver::new("pager", vec![peer("http://down/"), peer("http://up/")]);
    let mut queue = queue_of(&receiver, &[(0, alerts(1, "")), (1, alerts(2, ""))]);
    let (mut reminded, mut tried) = (0, 0);
    let mut now = 0;
    while now < 30 * 60_000 {
        for work in queue.start(now) {
            let down = taken(&work).endpoint == receiver.endpoints[0].id;
            tried += usize::from(down);
            reminded += usize::from(!down && matches!(work, Work::Remind(_)));
            let outcome = match &work {
                Work::Overtake(_) => Outcome::Overtaken,
                _ if down => retry(),
                _ => done(),
            };
            queue.finish(taken(&work), &outcome, now);
        }
        now = queue.next_deadline(now).unwrap().max(now + 1);
    }
    assert_eq!(reminded, 29);
    assert!(tried < 60, "{tried}");
    assert_eq!(queue.lanes_of("pager").map(Lane::depth).sum::<usize>(), 0, "reminders have overtaken the page");
    let work = queue.start(now + 60_000);
    assert!(work.iter().any(|work| taken(work).endpoint == receiver.endpoints[0].id), "and say it to who comes back");
}

#[test]
fn what_fires_since_before_the_start_is_said_again_at_once() {
    let receiver = Receiver::new("pager", vec![peer("http://am/")]);
    let mut queue = queue_of(&receiver, &[]);
    queue.resume("pager", &receiver.endpoints[0].id, &alerts(1, "").payload, 5);
    assert!(matches!(&queue.start(5)[..], [Work::Remind(_)]));
    let mut webhook = queue_of(&samples::receiver("pager"), &[]);
    webhook.resume("pager", &endpoint(), b"[]", 5);
    assert!(webhook.start(5).is_empty(), "nobody else is reminded");
}
