use super::*;
use crate::notify::webhook;
use crate::secret::{Secret, SecretSource};
use crate::state::samples;
use std::time::Duration;

#[path = "queue_model.rs"]
mod model;

fn receivers(names: &[&str]) -> Vec<Receiver> {
    let webhook = webhook::Settings {
        url: SecretSource::Value(Secret::new("http://127.0.0.1/")),
        send_resolved: true,
        max_alerts: 0,
        timeout: Duration::from_secs(10),
        signing_secrets: vec![],
    };
    names.iter().map(|name| Receiver { name: (*name).into(), webhooks: vec![webhook.clone()] }).collect()
}

fn queue(deliveries: Vec<Delivery>) -> Queue {
    let mut queue = Queue::new(Limits::default(), deliveries, vec![], 7);
    queue.configure(&receivers(&["pager"]));
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
    let (Work::Attempt(delivery) | Work::Abandon(delivery)) = work;
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
    let refused = Refused { receiver: "pager".into(), webhook: 0, key: "a".into(), at: 5, reason: "status 400".into() };
    assert_eq!(ops, [Op::DeleteDelivery(1), Op::PutRefused(refused.clone())]);
    queue.finish(taken(&work[0]), &give_up(), 5);

    let mut restarted = Queue::new(Limits::default(), vec![resolve(2, "a"), page(3, "a")], vec![refused], 7);
    restarted.configure(&receivers(&["pager"]));
    for queue in [&mut queue, &mut restarted] {
        let work = queue.start(6);
        assert_eq!(work, [Work::Abandon(resolve(2, "a"))]);
        let forgiven = Op::DeleteRefused { receiver: "pager".into(), webhook: 0, key: "a".into() };
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
    queue.configure(&receivers(&["pager"]));
    assert_eq!(seqs(&queue.start(1_000_000)), [1]);
}

#[test]
fn what_waits_for_a_receiver_that_was_removed_is_abandoned_but_not_while_nobody_is_paged() {
    let mut queue = queue(vec![page(1, "a")]);
    assert_eq!(queue.configure(&[]), (vec![], vec![]));
    assert!(queue.start(0).is_empty());
    let (ops, abandoned) = queue.configure(&receivers(&["chat"]));
    assert_eq!((ops, abandoned), (vec![Op::DeleteDelivery(1)], vec![page(1, "a")]));
    assert_eq!(queue.receivers(), BTreeSet::from(["chat".to_owned()]));
}

#[test]
fn a_receiver_that_has_used_up_its_share_says_so_and_drops_nothing() {
    let limits = Limits { deliveries: 2, ..Limits::default() };
    let mut queue = Queue::new(limits, vec![page(1, "a")], vec![], 7);
    queue.configure(&receivers(&["pager"]));
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
    queue.configure(&receivers(&["pager", "chat"]));
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
    let refused = Refused { receiver: "pager".into(), webhook: 0, key: "z".into(), at: 5, reason: "status 400".into() };
    let mut queue = Queue::new(Limits::default(), vec![page(1, "a")], vec![refused], 7);
    receivers[0].webhooks[0].send_resolved = false;
    let forgotten = Op::DeleteRefused { receiver: "pager".into(), webhook: 0, key: "z".into() };
    assert_eq!(queue.configure(&receivers).0, [forgotten]);
    let work = queue.start(0);
    assert_eq!(queue.settle(taken(&work[0]), &give_up(), 5), [Op::DeleteDelivery(1)]);
    queue.finish(taken(&work[0]), &give_up(), 5);
    assert_eq!(queue.lanes_of("pager").map(Lane::refused_keys).sum::<usize>(), 0);
}
