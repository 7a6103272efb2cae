//! From looks to a verdict: pure, with time as an argument.
//!
//! Each path (a fresh connection, the held one) has a state of its own:
//!
//! ```text
//! untried ──1 good──▶ up ──fall bad in a row──▶ down ──rise good in a row──▶ up
//!    └──────fall bad in a row (grace over)──────▲
//! untried, up ──blind, or nothing finished in time──▶ untried
//! down        ──blind, or nothing finished in time──▶ lost ──1 good──▶ up
//! ```
//!
//! The target is down when a path is down, else unknown when one is lost, else up when a path is up, else unknown:
//! that the agent went blind to an outage does not end it.

use serde::Serialize;

use super::Schedule;
use crate::clock::millis;
use crate::probe::{Blame, Failure, Path};
use crate::sample::Timestamp;

/// What is held to be true of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Unknown,
    Up,
    Down,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Unknown => "unknown",
            Verdict::Up => "up",
            Verdict::Down => "down",
        }
    }
}

/// What one instance of a target says about the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has had no verdict yet.
    New,
    Up,
    Down,
    /// It was down, and the agent cannot see whether it still is.
    Lost,
    /// It was up, and the agent cannot see whether it still is.
    Unseen,
}

/// The verdict on a target from those on its instances: up when one is, down when all are, else unknown. An instance
/// counts from its first verdict on: one that is being added neither makes an outage nor ends one.
pub fn of_all(instances: impl Iterator<Item = Standing> + Clone) -> Verdict {
    let mut judged = instances.filter(|standing| *standing != Standing::New);
    let any_judged = judged.clone().next().is_some();
    if judged.clone().any(|standing| standing == Standing::Up) {
        Verdict::Up
    } else if any_judged && judged.all(|standing| standing == Standing::Down) {
        Verdict::Down
    } else {
        Verdict::Unknown
    }
}

/// What one look says about the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Good,
    Bad,
    /// The server answered that it is full: no more is known than that it is there.
    Full,
    /// The agent could not look.
    Blind,
}

impl Outcome {
    pub fn of(failure: Option<&Failure>) -> Self {
        match failure.map(|failure| failure.reason.blame()) {
            None => Outcome::Good,
            Some(Blame::Target) => Outcome::Bad,
            Some(Blame::Full) => Outcome::Full,
            Some(Blame::Agent) => Outcome::Blind,
        }
    }
}

/// What a finished look leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The verdict before and after, where they differ.
    pub changed: Option<(Verdict, Verdict)>,
    /// The failure is not confirmed yet: look again on the same path soon, not at the next interval.
    pub confirm: bool,
}

/// The judge of one target instance.
#[derive(Debug)]
pub struct Judge {
    schedule: Schedule,
    /// Until when failures make no verdict; ended by the first success.
    grace_until: Option<Timestamp>,
    fresh: Streak,
    held: Streak,
    last_finished: Timestamp,
    /// Whether there has been a verdict.
    judged: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Streak {
    state: PathState,
    good: u32,
    bad: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum PathState {
    #[default]
    Untried,
    Up,
    Down,
    /// It was down, and the agent cannot see whether it still is.
    Lost,
}

impl Judge {
    pub fn new(schedule: Schedule, grace_until: Option<Timestamp>, now: Timestamp) -> Self {
        let (fresh, held) = (Streak::default(), Streak::default());
        Judge { schedule, grace_until, fresh, held, last_finished: now, judged: false }
    }

    /// Goes on with other settings. The verdict stands until a look with them says otherwise: what was down is up after
    /// one good look, because it is the settings that were mended, or down without a new page after a bad one.
    pub fn take_over(self, schedule: Schedule, holds: bool, grace_until: Option<Timestamp>, now: Timestamp) -> Self {
        let carried = |state| Streak::carried(state, &schedule);
        let (fresh, held) = match holds {
            true => (carried(self.fresh.state), carried(self.held.state)),
            false => (carried(self.fresh.state.worse(self.held.state)), Streak::default()),
        };
        Judge { schedule, grace_until, fresh, held, last_finished: now, judged: self.judged }
    }

    pub fn grace_until(&self) -> Option<Timestamp> {
        self.grace_until
    }

    pub fn standing(&self) -> Standing {
        let lost = [self.fresh.state, self.held.state].contains(&PathState::Lost);
        match self.verdict() {
            Verdict::Up => Standing::Up,
            Verdict::Down => Standing::Down,
            Verdict::Unknown if lost => Standing::Lost,
            Verdict::Unknown if self.judged => Standing::Unseen,
            Verdict::Unknown => Standing::New,
        }
    }

    pub fn verdict(&self) -> Verdict {
        let states = [self.fresh.state, self.held.state];
        if states.contains(&PathState::Down) {
            Verdict::Down
        } else if states.contains(&PathState::Up) && !states.contains(&PathState::Lost) {
            Verdict::Up
        } else {
            Verdict::Unknown
        }
    }

    /// Whether failures are still forgiven because the target is new.
    pub fn in_grace(&self, now: Timestamp) -> bool {
        self.grace_until.is_some_and(|until| now < until)
    }

    /// Whether a path has a good record: the fresh one is then looked at every `reconnect` only.
    pub fn is_settled(&self, path: Path) -> bool {
        let streak = match path {
            Path::Fresh => &self.fresh,
            Path::Held => &self.held,
        };
        streak.state == PathState::Up && streak.bad == 0
    }

    /// A look has finished.
    pub fn finish(&mut self, path: Path, outcome: Outcome, now: Timestamp) -> Step {
        self.last_finished = now;
        self.count(path, outcome, now)
    }

    /// The held connection broke: failure one on the held path.
    pub fn broke(&mut self, now: Timestamp) -> Step {
        self.count(Path::Held, Outcome::Bad, now)
    }

    /// Whether nothing has finished for so long (2·interval + timeout) that nothing is known any more.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now - self.last_finished > 2 * millis(self.schedule.interval) + millis(self.schedule.timeout)
    }

    /// Forgets everything: nothing is known any more.
    pub fn expire(&mut self) -> Option<(Verdict, Verdict)> {
        let before = self.verdict();
        self.fresh.forget();
        self.held.forget();
        (before != Verdict::Unknown).then_some((before, Verdict::Unknown))
    }

    fn count(&mut self, path: Path, outcome: Outcome, now: Timestamp) -> Step {
        let before = self.verdict();
        if matches!(outcome, Outcome::Good | Outcome::Full) {
            self.grace_until = None;
        }
        let forgiven = self.in_grace(now);
        let schedule = self.schedule;
        let streak = match path {
            Path::Fresh => &mut self.fresh,
            Path::Held => &mut self.held,
        };
        streak.count(outcome, &schedule, forgiven);
        let confirm = outcome == Outcome::Bad && streak.state != PathState::Down && streak.bad < schedule.fall;
        let after = self.verdict();
        self.judged |= after != Verdict::Unknown;
        Step { changed: (before != after).then_some((before, after)), confirm }
    }
}

impl PathState {
    fn worse(self, other: PathState) -> PathState {
        let order = [PathState::Down, PathState::Lost, PathState::Up];
        order.into_iter().find(|state| [self, other].contains(state)).unwrap_or_default()
    }
}

impl Streak {
    fn carried(state: PathState, schedule: &Schedule) -> Self {
        match state {
            PathState::Up => Streak { state, good: schedule.rise, bad: 0 },
            PathState::Down => Streak { state, good: schedule.rise.saturating_sub(1), bad: schedule.fall },
            PathState::Untried | PathState::Lost => Streak { state, ..Streak::default() },
        }
    }

    fn count(&mut self, outcome: Outcome, schedule: &Schedule, forgiven: bool) {
        match outcome {
            Outcome::Good => {
                self.bad = 0;
                self.good = self.good.saturating_add(1);
                if matches!(self.state, PathState::Untried | PathState::Lost) || self.good >= schedule.rise {
                    self.state = PathState::Up;
                }
            }
            Outcome::Bad => {
                self.good = 0;
                self.bad = self.bad.saturating_add(1);
                if self.bad >= schedule.fall && !forgiven {
                    self.state = PathState::Down;
                }
            }
            Outcome::Full => {
                self.bad = 0;
                if matches!(self.state, PathState::Untried | PathState::Lost) {
                    self.state = PathState::Up;
                }
            }
            Outcome::Blind => self.forget(),
        }
    }

    fn forget(&mut self) {
        let was_down = matches!(self.state, PathState::Down | PathState::Lost);
        let state = if was_down { PathState::Lost } else { PathState::Untried };
        *self = Streak { state, ..Streak::default() };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use Outcome::{Bad, Blind, Full, Good};
    use Path::{Fresh, Held};

    const SCHEDULE: Schedule = Schedule {
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        rise: 2,
        fall: 2,
        confirm: Duration::from_millis(250),
    };

    fn judge() -> Judge {
        Judge::new(SCHEDULE, None, 0)
    }

    /// The verdicts after each outcome on the fresh path.
    fn verdicts(judge: &mut Judge, outcomes: &[Outcome]) -> Vec<Verdict> {
        let each = |outcome: &Outcome| {
            judge.finish(Fresh, *outcome, 0);
            judge.verdict()
        };
        outcomes.iter().map(each).collect()
    }

    #[test]
    fn unknown_becomes_up_by_one_success_and_down_by_two_failures() {
        assert_eq!(judge().verdict(), Verdict::Unknown);
        assert_eq!(verdicts(&mut judge(), &[Good]), [Verdict::Up]);
        assert_eq!(verdicts(&mut judge(), &[Bad, Bad]), [Verdict::Unknown, Verdict::Down]);
        assert_eq!(verdicts(&mut judge(), &[Good, Bad, Good]), [Verdict::Up; 3]);
    }

    #[test]
    fn down_becomes_up_by_two_successes_in_a_row() {
        let mut judge = judge();
        verdicts(&mut judge, &[Bad, Bad]);
        assert_eq!(verdicts(&mut judge, &[Good, Bad, Good]), [Verdict::Down; 3]);
        assert_eq!(verdicts(&mut judge, &[Good]), [Verdict::Up]);
    }

    #[test]
    fn a_first_failure_is_confirmed_and_a_confirmed_one_is_not() {
        let mut judge = judge();
        assert!(judge.finish(Fresh, Bad, 0).confirm);
        let step = judge.finish(Fresh, Bad, 0);
        assert_eq!(step, Step { changed: Some((Verdict::Unknown, Verdict::Down)), confirm: false });
        assert!(!judge.finish(Fresh, Bad, 0).confirm);
    }

    #[test]
    fn a_broken_connection_is_failure_one_and_its_look_confirms() {
        let mut judge = judge();
        judge.finish(Held, Good, 0);
        assert!(judge.broke(0).confirm);
        assert_eq!(judge.verdict(), Verdict::Up);
        judge.finish(Held, Bad, 0);
        assert_eq!(judge.verdict(), Verdict::Down);
    }

    #[test]
    fn each_path_is_confirmed_on_its_own_and_either_makes_it_down() {
        let mut judge = judge();
        judge.finish(Held, Good, 0);
        judge.finish(Fresh, Bad, 0);
        judge.finish(Held, Good, 0);
        assert_eq!(judge.verdict(), Verdict::Up, "one failure on each side of a success on the other path");
        judge.finish(Fresh, Bad, 0);
        assert_eq!(judge.verdict(), Verdict::Down, "the held connection works, new ones are refused");
        judge.finish(Held, Good, 0);
        assert_eq!(judge.verdict(), Verdict::Down);
    }

    #[test]
    fn a_full_server_leaves_the_verdict_and_unknown_becomes_up() {
        assert_eq!(verdicts(&mut judge(), &[Full]), [Verdict::Up]);
        let mut judge = judge();
        assert_eq!(verdicts(&mut judge, &[Bad, Bad, Full, Full]).last(), Some(&Verdict::Down));
    }

    #[test]
    fn when_the_agent_is_at_fault_nothing_is_known() {
        let mut judge = judge();
        assert_eq!(verdicts(&mut judge, &[Bad, Bad, Blind]).last(), Some(&Verdict::Unknown));
        assert_eq!(verdicts(&mut judge, &[Good]), [Verdict::Up]);
        judge.finish(Held, Good, 0);
        judge.finish(Fresh, Blind, 0);
        assert_eq!(judge.verdict(), Verdict::Up, "the held connection still sees it");
    }

    #[test]
    fn going_blind_to_an_outage_does_not_end_it_whatever_the_other_path_said_before() {
        let mut judge = judge();
        judge.finish(Fresh, Good, 0);
        judge.finish(Held, Bad, 0);
        judge.finish(Held, Bad, 0);
        let step = judge.finish(Held, Blind, 0);
        assert_eq!(step.changed, Some((Verdict::Down, Verdict::Unknown)));
        judge.finish(Fresh, Good, 0);
        assert_eq!(judge.verdict(), Verdict::Unknown, "the path that was down has not been seen since");
        judge.finish(Held, Good, 0);
        assert_eq!(judge.verdict(), Verdict::Up);

        judge.finish(Fresh, Bad, 0);
        judge.finish(Fresh, Bad, 0);
        judge.expire();
        judge.finish(Held, Good, 0);
        assert_eq!(judge.verdict(), Verdict::Unknown);
        judge.finish(Fresh, Bad, 0);
        judge.finish(Fresh, Bad, 0);
        assert_eq!(judge.verdict(), Verdict::Down);
    }

    #[test]
    fn nothing_finished_for_two_intervals_and_a_timeout_is_unknown() {
        let mut judge = judge();
        judge.finish(Fresh, Good, 1_000);
        assert!(!judge.is_expired(13_000));
        assert!(judge.is_expired(13_001));
        assert_eq!(judge.expire(), Some((Verdict::Up, Verdict::Unknown)));
        assert_eq!(judge.expire(), None, "it was unknown already");
    }

    #[test]
    fn grace_forgives_until_it_ends_or_the_first_success() {
        let mut judge = Judge::new(SCHEDULE, Some(30_000), 0);
        judge.finish(Fresh, Bad, 5_000);
        judge.finish(Fresh, Bad, 10_000);
        assert_eq!(judge.verdict(), Verdict::Unknown);
        judge.finish(Fresh, Bad, 30_000);
        assert_eq!(judge.verdict(), Verdict::Down);

        let mut judge = Judge::new(SCHEDULE, Some(30_000), 0);
        verdicts(&mut judge, &[Good, Bad, Bad]);
        assert_eq!(judge.verdict(), Verdict::Down, "a success ended the grace");
    }

    fn whole(instances: &[Standing]) -> Verdict {
        of_all(instances.iter().copied())
    }

    #[test]
    fn a_target_is_down_when_all_its_instances_are_and_up_when_one_is() {
        use Standing::{Down, Lost, New, Unseen, Up};
        for (instances, verdict) in [
            (&[][..], Verdict::Unknown),
            (&[New, New], Verdict::Unknown),
            (&[Up, Up], Verdict::Up),
            (&[Up, Down, Lost, Unseen, New], Verdict::Up),
            (&[Down, Down], Verdict::Down),
            (&[Down, New], Verdict::Down),     // scaling up ends no outage
            (&[Down, Lost], Verdict::Unknown), // nor does going blind to a part of it
            (&[Lost, Lost], Verdict::Unknown),
            (&[Down, Unseen], Verdict::Unknown), // and being blind to what was up makes none
            (&[Unseen, New], Verdict::Unknown),
        ] {
            assert_eq!(whole(instances), verdict, "{instances:?}");
        }
    }

    #[test]
    fn an_instance_stands_as_it_was_last_seen() {
        let mut judge = judge();
        assert_eq!(judge.standing(), Standing::New);
        judge.finish(Fresh, Bad, 0);
        judge.finish(Fresh, Blind, 0);
        assert_eq!(judge.standing(), Standing::New, "one failure is no verdict");
        judge.finish(Fresh, Good, 0);
        assert_eq!(judge.standing(), Standing::Up);
        judge.finish(Fresh, Blind, 0);
        assert_eq!(judge.standing(), Standing::Unseen);
        verdicts(&mut judge, &[Bad, Bad]);
        assert_eq!(judge.standing(), Standing::Down);
        judge.expire();
        assert_eq!(judge.standing(), Standing::Lost);
    }

    #[test]
    fn with_other_settings_the_verdict_stands_until_their_first_good_look_or_their_failures() {
        let taken = |looks: &[Outcome]| {
            let mut judge = judge();
            verdicts(&mut judge, looks);
            judge.take_over(Schedule { rise: 5, fall: 3, ..SCHEDULE }, false, None, 9)
        };
        assert_eq!(verdicts(&mut taken(&[Bad, Bad]), &[Good]), [Verdict::Up]);
        assert_eq!(verdicts(&mut taken(&[Bad, Bad]), &[Bad, Good, Good]), [Verdict::Down; 3], "the new rise is five");
        assert_eq!(verdicts(&mut taken(&[Good]), &[Bad, Bad, Bad]), [Verdict::Up, Verdict::Up, Verdict::Down]);
        assert_eq!(verdicts(&mut taken(&[]), &[Good]), [Verdict::Up]);
        let mut lost = taken(&[Bad, Bad, Blind]);
        assert_eq!((lost.verdict(), lost.standing()), (Verdict::Unknown, Standing::Lost));
        assert_eq!(verdicts(&mut lost, &[Good]), [Verdict::Up]);
    }

    #[test]
    fn a_path_that_is_held_no_longer_leaves_its_outage_to_the_other() {
        let mut judge = judge();
        judge.finish(Fresh, Good, 0);
        judge.finish(Held, Bad, 0);
        judge.finish(Held, Bad, 0);
        let mut judge = judge.take_over(SCHEDULE, false, None, 0);
        assert_eq!(judge.verdict(), Verdict::Down);
        assert_eq!(verdicts(&mut judge, &[Good]), [Verdict::Up]);
    }

    fn standings() -> impl Strategy<Value = Vec<Standing>> {
        use Standing::{Down, Lost, New, Unseen, Up};
        prop::collection::vec(prop::sample::select(vec![New, Up, Down, Lost, Unseen]), 0..6)
    }

    proptest! {
        #[test]
        fn going_blind_never_ends_an_outage_nor_makes_one(instances in standings(), blind in prop::collection::vec(any::<bool>(), 6)) {
            let before = whole(&instances);
            let see = |(standing, blind): (&Standing, &bool)| match (standing, blind) {
                (Standing::Down, true) => Standing::Lost,
                (Standing::Up, true) => Standing::Unseen,
                (standing, _) => *standing,
            };
            let after: Vec<Standing> = instances.iter().zip(&blind).map(see).collect();
            prop_assert!(whole(&after) == before || whole(&after) == Verdict::Unknown);
        }

        #[test]
        fn instances_that_are_new_change_nothing_and_their_order_neither(instances in standings(), new in 0_usize..3) {
            let mut more = instances.clone();
            more.extend(std::iter::repeat_n(Standing::New, new));
            more.reverse();
            prop_assert_eq!(whole(&more), whole(&instances));
        }

        #[test]
        fn taking_over_keeps_the_verdict(looks in prop::collection::vec((any::<bool>(), 0_u8..5), 0..30), holds in any::<bool>()) {
            let mut judge = judge();
            for (held, outcome) in looks {
                match [Good, Bad, Full, Blind].get(usize::from(outcome)) {
                    Some(outcome) => drop(judge.finish(if held && holds { Held } else { Fresh }, *outcome, 0)),
                    None => drop(judge.expire()),
                }
            }
            let (verdict, standing) = (judge.verdict(), judge.standing());
            let taken = judge.take_over(SCHEDULE, holds, None, 0);
            prop_assert_eq!((taken.verdict(), taken.standing()), (verdict, standing));
        }

        #[test]
        fn only_a_good_look_or_a_full_server_makes_it_up(
            looks in prop::collection::vec((any::<bool>(), 0_u8..5), 0..60)
        ) {
            let mut judge = judge();
            for (held, outcome) in looks {
                let path = if held { Held } else { Fresh };
                let Some(outcome) = [Good, Bad, Full, Blind].get(usize::from(outcome)) else {
                    prop_assert_ne!(judge.expire().map(|(_, to)| to), Some(Verdict::Up));
                    continue;
                };
                if let Some((_, Verdict::Up)) = judge.finish(path, *outcome, 0).changed {
                    prop_assert!(matches!(outcome, Good | Full));
                }
            }
        }

        #[test]
        fn a_verdict_of_down_rests_on_fall_failures_in_a_row(
            looks in prop::collection::vec((any::<bool>(), 0_u8..4), 0..60)
        ) {
            let mut judge = judge();
            let mut bad = [0_u32; 2];
            for (held, outcome) in looks {
                let path = if held { Held } else { Fresh };
                let outcome = [Good, Bad, Full, Blind][usize::from(outcome)];
                let streak = &mut bad[usize::from(held)];
                *streak = if outcome == Bad { *streak + 1 } else { 0 };
                if let Some((_, Verdict::Down)) = judge.finish(path, outcome, 0).changed {
                    prop_assert!(bad.iter().any(|streak| *streak >= SCHEDULE.fall));
                }
            }
        }
    }
}
