use super::*;
use crate::region::Role;

const SECOND: i64 = 1_000;
const CLEAN: Duration = Duration::from_secs(60);

fn input(target: &str, database: bool) -> Input {
    Input { target: target.to_owned(), database, latency: None, soft_latency: None, rise: 2, fall: 2 }
}

fn settings(inputs: Vec<Input>) -> Settings {
    Settings { name: "us-east".to_owned(), role: Some(Role::Primary), actionable: false, clean: CLEAN, inputs }
}

/// The region of an API and a database.
fn detector() -> Detector {
    Detector::new(settings(vec![input("api", false), input("db", true)]), [None, None], 0)
}

fn look(instance: &str, verdict: Verdict) -> Look {
    let took = Duration::from_millis(10);
    Look { instance: instance.to_owned(), verdict, since: 0, failing: false, at: Some(0), took, error: None }
}

/// A target with this verdict.
fn seen(verdict: Verdict) -> Option<Seen> {
    Some(Seen { verdict, blind: false, instances: vec![look("h:1", verdict)] })
}

/// A target that is up, with a good look that took so many milliseconds.
fn paced_look(at: Timestamp, millis: u64) -> Option<Seen> {
    let look = Look { at: Some(at), took: Duration::from_millis(millis), ..look("h:1", Verdict::Up) };
    Some(Seen { verdict: Verdict::Up, blind: false, instances: vec![look] })
}

const UP: Verdict = Verdict::Up;
const DOWN: Verdict = Verdict::Down;
const UNKNOWN: Verdict = Verdict::Unknown;

/// A step in which the API and the database have these verdicts.
fn step(detector: &mut Detector, api: Verdict, db: Verdict, now: Timestamp) -> Effects {
    detector.step(&[seen(api), seen(db)], now)
}

/// Steps each second from `from`, `seconds` times.
fn steps(detector: &mut Detector, api: Verdict, db: Verdict, from: Timestamp, seconds: i64) {
    for second in 0..seconds {
        step(detector, api, db, from + second * SECOND);
    }
}

fn states(detector: &Detector) -> (State, State) {
    (detector.service.state, detector.database.state)
}

fn answer(detector: &Detector) -> Option<Answer> {
    detector.service.decided.map(|decided| decided.answer)
}

#[test]
fn any_input_down_is_down_else_any_unknown_is_unknown() {
    let table = [
        (UP, UP, State::Up, State::Up),
        (DOWN, UP, State::Down, State::Up),
        (UP, DOWN, State::Down, State::Down),
        (DOWN, UNKNOWN, State::Down, State::Unknown),
        (UNKNOWN, DOWN, State::Down, State::Down),
        (UNKNOWN, UP, State::Unknown, State::Up),
        (UP, UNKNOWN, State::Unknown, State::Unknown),
        (UNKNOWN, UNKNOWN, State::Unknown, State::Unknown),
    ];
    for (api, db, service, database) in table {
        let mut detector = detector();
        step(&mut detector, api, db, SECOND);
        assert_eq!(states(&detector), (service, database), "{api:?} {db:?}");
    }
}

#[test]
fn the_first_good_verdicts_are_an_answer_at_once() {
    let mut detector = detector();
    step(&mut detector, UNKNOWN, UP, SECOND);
    assert_eq!(answer(&detector), None, "nothing was ever decided");
    let effects = step(&mut detector, UP, UP, 2 * SECOND);
    assert_eq!(answer(&detector), Some(Answer::Up));
    assert!(effects.keep);
}

#[test]
fn a_region_is_up_again_after_60_clean_seconds() {
    let mut detector = detector();
    step(&mut detector, DOWN, UP, 0);
    steps(&mut detector, UP, UP, SECOND, 60);
    assert_eq!(detector.service.state, State::Down, "59 s clean");
    assert!(detector.service.reasons[0].contains("up after 1 s more"), "{:?}", detector.service.reasons);
    step(&mut detector, UP, UP, 61 * SECOND);
    assert_eq!(detector.service.state, State::Up);
}

#[test]
fn what_is_unknown_in_between_proves_no_health() {
    for between in [UNKNOWN, DOWN] {
        let mut detector = detector();
        step(&mut detector, DOWN, UP, 0);
        steps(&mut detector, UP, UP, SECOND, 50);
        step(&mut detector, between, UP, 51 * SECOND);
        assert_eq!(answer(&detector), Some(Answer::Down));
        steps(&mut detector, UP, UP, 52 * SECOND, 60);
        assert_eq!(detector.service.state, State::Down, "after {between:?}");
        step(&mut detector, UP, UP, 112 * SECOND);
        assert_eq!(detector.service.state, State::Up);
    }
}

#[test]
fn time_in_which_nobody_watched_is_not_clean() {
    let mut detector = detector();
    step(&mut detector, DOWN, UP, 0);
    steps(&mut detector, UP, UP, SECOND, 10);
    // The agent was stopped.
    step(&mut detector, UP, UP, 100 * SECOND);
    assert_eq!(detector.service.state, State::Down);
    steps(&mut detector, UP, UP, 101 * SECOND, 60);
    assert_eq!(detector.service.state, State::Up);
}

#[test]
fn the_last_answer_stands_while_nothing_is_known_and_grows_old() {
    for (verdict, stands) in [(UP, Answer::Up), (DOWN, Answer::Down)] {
        let mut detector = detector();
        step(&mut detector, verdict, UP, SECOND);
        let effects = step(&mut detector, UNKNOWN, UP, 2 * SECOND);
        assert!(effects.keep, "that it does not stand any more is kept");
        step(&mut detector, UNKNOWN, UP, 9 * SECOND);
        assert_eq!(states(&detector).0, State::Unknown);
        let decided = detector.service.decided.unwrap();
        assert_eq!((decided.answer, decided.age(9 * SECOND)), (stands, 8 * SECOND));
    }
}

#[test]
fn an_answer_from_before_a_restart_stands_until_the_first_verdict() {
    let down = Some(Decided { answer: Answer::Down, at: 0 });
    let mut detector =
        Detector::new(settings(vec![input("api", false), input("db", true)]), [down, None], 100 * SECOND);
    step(&mut detector, UNKNOWN, UNKNOWN, 100 * SECOND);
    assert_eq!((states(&detector).0, answer(&detector)), (State::Unknown, Some(Answer::Down)));
    step(&mut detector, UP, UP, 101 * SECOND);
    assert_eq!(states(&detector), (State::Down, State::Up), "it was down: clean first; the database never was");
    steps(&mut detector, UP, UP, 102 * SECOND, 60);
    assert_eq!(states(&detector).0, State::Up);
}

#[test]
fn an_input_that_is_not_watched_is_unknown() {
    let mut detector = detector();
    detector.step(&[seen(UP), None], SECOND);
    assert_eq!(detector.service.state, State::Unknown);
    assert_eq!(detector.service.reasons, ["db is unknown: it is not watched"]);
}

#[test]
fn an_input_that_the_agent_cannot_look_at_is_unknown() {
    let mut detector = Detector::new(settings(vec![input("api", false)]), [None, None], 0);
    detector.step(&[seen(UNKNOWN).map(|seen| Seen { blind: true, ..seen })], SECOND);
    assert_eq!(detector.service.state, State::Unknown);
    assert_eq!(detector.service.reasons, ["api is unknown: the agent cannot look at it"]);
}

#[test]
fn an_input_of_which_some_instances_are_down_degrades() {
    let table: [(Verdict, &[Verdict], State, &str); 5] = [
        (UP, &[UP, UP], State::Up, ""),
        (UP, &[UP, DOWN, UP], State::Degraded, "api is down or too slow at 1 of 3 instances"),
        (UP, &[UP, UNKNOWN], State::Up, ""),
        (DOWN, &[DOWN, DOWN], State::Down, "api is down"),
        (UNKNOWN, &[DOWN, UNKNOWN], State::Unknown, "api is unknown: there is no verdict on it yet"),
    ];
    for (verdict, verdicts, state, reason) in table {
        let mut detector = Detector::new(settings(vec![input("api", false)]), [None, None], 0);
        let instances = verdicts.iter().enumerate().map(|(number, verdict)| look(&number.to_string(), *verdict));
        detector.step(&[Some(Seen { verdict, blind: false, instances: instances.collect() })], SECOND);
        assert_eq!(detector.service.state, state, "{verdicts:?}");
        assert_eq!(detector.service.reasons.concat(), reason, "{verdicts:?}");
    }
}

fn paced() -> Detector {
    let millis = Duration::from_millis;
    let api = Input { latency: Some(millis(500)), soft_latency: Some(millis(200)), ..input("api", false) };
    Detector::new(settings(vec![api]), [None, None], 0)
}

/// Looks that take so many milliseconds, one each 5 s; the state after each.
fn after_looks(detector: &mut Detector, from: Timestamp, looks: &[u64]) -> Vec<State> {
    let mut states = Vec::new();
    for (number, millis) in (0..).zip(looks) {
        let at = from + 5 * SECOND * number;
        // Looked through five times before the next look: it counts once.
        (0..5).for_each(|second| drop(detector.step(&[paced_look(at, *millis)], at + second * SECOND)));
        states.push(detector.service.state);
    }
    states
}

#[test]
fn looks_in_a_row_that_are_too_slow_are_down_and_softly_slow_ones_degraded() {
    use State::{Degraded, Down, Up};
    let table: [(&[u64], &[State]); 5] = [
        (&[10, 501, 10, 501], &[Up, Up, Up, Up]),
        (&[10, 501, 501], &[Up, Up, Down]),
        (&[10, 201, 201, 10, 10], &[Up, Up, Degraded, Degraded, Up]),
        (&[10, 500, 500], &[Up, Up, Degraded]),
        (&[501, 501, 10, 10], &[Up, Down, Down, Down]),
    ];
    for (looks, expected) in table {
        assert_eq!(after_looks(&mut paced(), SECOND, looks), expected, "{looks:?}");
    }
}

#[test]
fn a_slow_region_is_up_again_after_good_looks_and_60_clean_seconds() {
    let mut detector = paced();
    assert_eq!(after_looks(&mut detector, SECOND, &[501, 501]).last(), Some(&State::Down));
    let states = after_looks(&mut detector, 11 * SECOND, &[10; 14]);
    let down = states.iter().take_while(|state| **state == State::Down).count();
    // The second good look ends the slowness, at 16 s; the clean minute ends at 76 s, when the fourteenth is there.
    assert_eq!((down, states[13]), (13, State::Up));
}

#[test]
fn a_failed_look_says_nothing_about_latency() {
    let mut detector = paced();
    detector.step(&[paced_look(SECOND, 501)], SECOND);
    let mut failed = paced_look(2 * SECOND, 900);
    failed.iter_mut().for_each(|seen| seen.instances[0].failing = true);
    detector.step(&[failed], 2 * SECOND);
    assert_eq!(detector.service.state, State::Up);
    assert_eq!(detector.latency_p99(), Some(501.0));
}

#[test]
fn slowness_of_one_instance_of_two_degrades() {
    let mut detector = paced();
    for at in [SECOND, 6 * SECOND] {
        let mut seen = paced_look(at, 900);
        seen.iter_mut().for_each(|seen| seen.instances.push(Look { at: Some(at), ..look("h:2", UP) }));
        detector.step(&[seen], at);
    }
    assert_eq!(detector.service.state, State::Degraded);
    assert_eq!(detector.service.reasons, ["api is down or too slow at 1 of 2 instances"]);
}

#[test]
fn the_99th_percentile_is_that_of_the_slowest_input_by_nearest_rank() {
    let mut detector = Detector::new(settings(vec![input("api", false)]), [None, None], 0);
    assert_eq!(detector.latency_p99(), None);
    (1..=150)
        .for_each(|millis| drop(detector.step(&[paced_look(millis * SECOND, millis.unsigned_abs())], millis * SECOND)));
    assert_eq!(detector.latency_p99(), Some(149.0), "of the newest hundred: 51 to 150 ms");
}

#[test]
fn other_settings_keep_the_answer_and_what_is_known_of_unchanged_inputs() {
    let mut detector = detector();
    steps(&mut detector, UP, UP, 0, 3);
    detector.apply(settings(vec![input("db", true), input("cache", false)]));
    detector.step(&[seen(UP), None], 4 * SECOND);
    assert_eq!(detector.service.state, State::Unknown, "the new input has no verdict yet");
    assert_eq!(answer(&detector), Some(Answer::Up), "and the answer stands meanwhile");
    detector.step(&[seen(UP), seen(DOWN)], 5 * SECOND);
    assert_eq!((detector.service.state, detector.database.state), (State::Down, State::Up));
    detector.apply(settings(vec![input("db", true)]));
    detector.step(&[seen(UP)], 6 * SECOND);
    assert_eq!(detector.service.state, State::Down, "the one that was down is gone: clean first all the same");
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![4 => Just(UP), 1 => Just(DOWN), 1 => Just(UNKNOWN)]
    }

    proptest! {
        /// Whatever happens: an answer changes only by what was seen, and only to up after a clean while.
        #[test]
        fn answers_follow_what_was_seen(
            steps in prop::collection::vec((verdict(), verdict(), 1_i64..4), 1..300),
            restarts in prop::collection::vec(0_usize..300, 0..3),
        ) {
            let mut detector = detector();
            let (mut now, mut clean_since, mut last) = (0, None, None);
            for (number, (api, db, seconds)) in steps.into_iter().enumerate() {
                now += seconds * SECOND;
                if restarts.contains(&number) {
                    let decided = [detector.service.decided, detector.database.decided];
                    detector = Detector::new(detector.settings.clone(), decided, now);
                    clean_since = None;
                }
                let effects = step(&mut detector, api, db, now);
                let both = [api, db];
                clean_since = (both == [UP, UP]).then(|| clean_since.unwrap_or(now));
                let service = &detector.service;
                let answer = service.decided.map(|decided| decided.answer);
                if both.contains(&DOWN) {
                    prop_assert_eq!((service.state, answer), (State::Down, Some(Answer::Down)));
                } else if both.contains(&UNKNOWN) {
                    prop_assert_eq!((service.state, answer), (State::Unknown, last), "no data decides nothing");
                } else {
                    let clean = now - clean_since.unwrap_or(now) >= millis(CLEAN);
                    let up = last != Some(Answer::Down) || clean;
                    prop_assert_eq!(service.state, if up { State::Up } else { State::Down });
                }
                prop_assert!(effects.keep || answer == last, "what is answered is kept");
                // The database is one of the inputs: it is never worse off than the region.
                if detector.database.decided.is_some_and(|decided| decided.answer == Answer::Down) {
                    prop_assert_ne!(answer, Some(Answer::Up));
                }
                last = answer;
            }
        }
    }
}
