use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::sample::Labels;

const TICK: i64 = 5_000;

fn rule(pending_for: u64, keep_firing_for: u64) -> AlertingRule {
    AlertingRule {
        pending_for: Duration::from_secs(pending_for),
        keep_firing_for: Duration::from_secs(keep_firing_for),
        labels: Vec::new(),
        annotations: Vec::new(),
    }
}

fn id() -> AlertId {
    let labels = Labels::new([("alertname", "A")]);
    AlertId { file: "a.yml".to_owned(), group: "g".to_owned(), rule: "A".to_owned(), labels }
}

fn there(value: f64) -> Look {
    Look::There { value, annotations: BTreeMap::new() }
}

/// One alert from tick to tick, 5 s apart. `looks`: t(here), b(lind), g(one).
fn walk(rule: &AlertingRule, looks: &str) -> (Vec<&'static str>, Vec<Step>) {
    let mut alert: Option<Alert> = None;
    let mut words = Vec::new();
    let mut steps = Vec::new();
    for (tick, look) in looks.chars().enumerate() {
        let at = tick as i64 * TICK;
        let look = match look {
            't' => there(at as f64),
            'b' => Look::Blind { unknown: vec!["up".to_owned()] },
            _ => Look::Gone,
        };
        let mut step = Step::default();
        step.add(rule, &id(), alert.as_ref(), look, at);
        alert = step.after.first().cloned();
        words.push(word(&step, alert.as_ref()));
        steps.push(step);
    }
    (words, steps)
}

fn word(step: &Step, alert: Option<&Alert>) -> &'static str {
    match (step.events.first(), alert) {
        (Some(Event::Fired(_)), _) => "FIRES",
        (Some(Event::Resolved { .. }), _) => "RESOLVES",
        (None, None) => "-",
        (None, Some(alert)) => match (alert.state, alert.held_since, alert.keep_firing_since) {
            (AlertState::Pending, None, _) => "pending",
            (AlertState::Pending, Some(_), _) => "frozen",
            (AlertState::Firing, Some(_), _) => "held",
            (AlertState::Firing, None, Some(_)) => "kept",
            (AlertState::Firing, None, None) => "firing",
        },
    }
}

#[test]
fn an_alert_goes_from_tick_to_tick() {
    // for, keep_firing_for, what each tick shows, what becomes of the alert
    let table = [
        (0, 0, "tttg", "FIRES firing firing RESOLVES"),
        (10, 0, "tttg", "pending pending FIRES RESOLVES"),
        // `for` is over when it has passed, not when a tick after it comes.
        (5, 0, "ttt", "pending FIRES firing"),
        (7, 0, "ttt", "pending pending FIRES"),
        // A missing tick ends a pending alert: `for` begins anew.
        (10, 0, "ttgttt", "pending pending - pending pending FIRES"),
        (10, 60, "tgt", "pending - pending"),
        // keep_firing_for counts from the first tick without it.
        (0, 10, "tgggg", "FIRES kept kept RESOLVES -"),
        (0, 10, "tgtggg", "FIRES kept firing kept kept RESOLVES"),
        (0, 3, "tggg", "FIRES kept RESOLVES -"),
        // A second outage within keep_firing_for belongs to the first page; a later one pages again.
        (0, 10, "tggtgggt", "FIRES kept kept firing kept kept RESOLVES FIRES"),
        // Blind: a firing alert is held, whatever the time, and no timer runs.
        (0, 10, "tbbbbbbt", "FIRES held held held held held held firing"),
        (0, 0, "tbbg", "FIRES held held RESOLVES"),
        (0, 10, "tbbggg", "FIRES held held kept kept RESOLVES"),
        (0, 10, "tgbggg", "FIRES kept held kept kept RESOLVES"),
        // Blind: a pending alert neither progresses nor goes.
        (10, 0, "tbbbbttt", "pending frozen frozen frozen frozen pending FIRES firing"),
        (10, 0, "tbbg", "pending frozen frozen -"),
        // Nothing begins blind.
        (0, 0, "bbg", "- - -"),
    ];
    for (pending_for, keep, looks, expected) in table {
        let (words, _) = walk(&rule(pending_for, keep), looks);
        assert_eq!(words.join(" "), expected, "for: {pending_for}s, keep_firing_for: {keep}s, {looks}");
    }
}

#[test]
fn what_is_kept_or_held_keeps_its_last_value() {
    for looks in ["ttgg", "ttbb"] {
        let (_, steps) = walk(&rule(0, 60), looks);
        assert_eq!(steps[3].after[0].value, TICK as f64, "{looks}");
    }
}

#[test]
fn a_page_says_when_it_began_to_fire_and_keeps_that() {
    let (_, steps) = walk(&rule(10, 60), "ttttgbt");
    for step in &steps[2..] {
        assert_eq!(step.after[0].starts_at, Some(2 * TICK));
        assert_eq!(step.after[0].active_at, 0);
    }
}

#[test]
fn only_what_moves_is_changed_and_values_are_not_durable() {
    let (_, steps) = walk(&rule(0, 60), "ttggb");
    let durable = |step: &Step| match step.changes.as_slice() {
        [Change::Put { durable, .. }] => Some(*durable),
        _ => None,
    };
    let durable: Vec<_> = steps.iter().map(durable).collect();
    assert_eq!(durable, [Some(true), Some(false), Some(true), None, Some(true)]);
    let (_, steps) = walk(&rule(0, 0), "tbb");
    assert!(steps[2].changes.is_empty(), "a held alert costs nothing");
}

#[test]
fn the_same_value_again_changes_nothing() {
    let before = next(&rule(0, 0), &id(), None, there(f64::NAN), 0);
    let mut step = Step::default();
    step.add(&rule(0, 0), &id(), before.as_ref(), there(f64::NAN), TICK);
    assert!(step.changes.is_empty() && step.events.is_empty());
}

#[test]
fn a_resolve_says_when_and_why() {
    let (_, steps) = walk(&rule(0, 10), "tggg");
    let [Event::Resolved { alert, at, reason }] = steps[3].events.as_slice() else { panic!("{:?}", steps[3].events) };
    assert_eq!((*at, *reason), (3 * TICK, Resolution::Recovered));
    assert_eq!(alert.starts_at, Some(0));
    assert_eq!(steps[3].changes, [Change::Remove(id())]);
}

proptest! {
    #[test]
    fn every_resolve_has_its_page_and_no_page_comes_twice(
        looks in "[tbg]{0,60}",
        pending_for in 0u64..30,
        keep in 0u64..30,
    ) {
        let rule = rule(pending_for, keep);
        let (_, steps) = walk(&rule, &looks);
        let mut firing = false;
        for (look, step) in looks.chars().zip(&steps) {
            prop_assert!(step.events.len() <= 1);
            match step.events.first() {
                Some(Event::Fired(alert)) => {
                    prop_assert!(!firing, "two pages without a resolve");
                    prop_assert_eq!(look, 't');
                    let at = alert.starts_at.expect("a page has its start");
                    prop_assert!(at - alert.active_at >= millis(rule.pending_for), "fired too early");
                    firing = true;
                }
                Some(Event::Resolved { .. }) => {
                    prop_assert!(firing, "a resolve without its page");
                    prop_assert_eq!(look, 'g', "resolved though it was not seen to be gone");
                    firing = false;
                }
                None => {}
            }
            let active = step.after.first();
            prop_assert_eq!(firing, active.is_some_and(|alert| alert.state == AlertState::Firing));
            prop_assert_eq!(firing, active.is_some_and(|alert| alert.starts_at.is_some()));
            prop_assert_eq!(look == 'b', active.is_none() && look == 'b' || active.is_some_and(|alert| alert.held_since.is_some()));
        }
    }
}
