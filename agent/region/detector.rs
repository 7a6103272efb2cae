//! From what is seen of the inputs to the state of the region: pure, with time as an argument.
//!
//! | of the inputs | the check is |
//! |---|---|
//! | one is down, or slower than its `latency` | down |
//! | else one is unknown | unknown |
//! | else it was down, and they are not good for `clean` yet | down |
//! | else some instance of one is down or too slow, or one is slower than its `soft_latency` | degraded |
//! | else | up |
//!
//! What was decided last (up or down) outlives the unknown: that nobody can see proves neither.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Answer, Decided, Input, Question, Settings, State, VALID};
use crate::clock::millis;
use crate::duration;
use crate::sample::Timestamp;
use crate::target::verdict::Verdict;

/// How many of the newest looks at an instance the 99th percentile is taken over.
const LOOKS: usize = 100;

/// What is seen of an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// That on the target as a whole: judged once, by its own task.
    pub verdict: Verdict,
    /// Whether the agent cannot look.
    pub blind: bool,
    /// One or more.
    pub instances: Vec<Look>,
}

/// The newest look at one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    pub instance: String,
    pub verdict: Verdict,
    pub since: Timestamp,
    /// Whether it failed: it says nothing about latency.
    pub failing: bool,
    /// When it ended; `None` before the first.
    pub at: Option<Timestamp>,
    pub took: Duration,
    pub error: Option<String>,
}

/// What a step leads to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    pub transitions: Vec<Transition>,
    /// Whether what must outlive a restart has changed.
    pub keep: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    pub question: Question,
    pub from: State,
    pub to: State,
    pub reasons: Vec<String>,
}

/// The state of one region.
#[derive(Debug, Clone)]
pub struct Detector {
    settings: Settings,
    /// In the order of the settings' inputs.
    inputs: Vec<Watched>,
    service: Check,
    database: Check,
    stepped_at: Timestamp,
}

/// One question, and how it stands.
#[derive(Debug, Clone)]
pub struct Check {
    pub state: State,
    pub since: Timestamp,
    pub decided: Option<Decided>,
    pub reasons: Vec<String>,
    /// Since when every input is good.
    pub clean_since: Option<Timestamp>,
}

/// One input, and how it is.
#[derive(Debug, Clone)]
pub struct Watched {
    pub state: State,
    /// Why it is not up.
    pub reason: Option<String>,
    paces: BTreeMap<String, Pace>,
}

/// How fast the looks at one instance are.
#[derive(Debug, Clone, Default)]
struct Pace {
    looked_at: Option<Timestamp>,
    hard: Streak,
    soft: Streak,
    /// The newest looks, in milliseconds.
    recent: VecDeque<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Streak {
    over: u32,
    under: u32,
    slow: bool,
}

impl Detector {
    /// `decided` are the answers that the run before gave last.
    pub fn new(settings: Settings, decided: [Option<Decided>; 2], now: Timestamp) -> Self {
        let [service, database] = decided.map(|decided| Check::new(decided, now));
        let inputs = settings.inputs.iter().map(|_| Watched::new()).collect();
        Detector { settings, inputs, service, database, stepped_at: now }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// In the order of the settings' inputs.
    pub fn inputs(&self) -> &[Watched] {
        &self.inputs
    }

    /// How a question stands; `None` where the region has no inputs for it.
    pub fn check(&self, question: Question) -> Option<&Check> {
        match question {
            Question::Service => Some(&self.service),
            Question::Database => self.settings.has_database().then_some(&self.database),
        }
    }

    /// Takes over other settings of the same region: its answers stay, and what is known of inputs that are as
    /// before.
    pub fn apply(&mut self, settings: Settings) {
        let before: Vec<(Input, Watched)> = self.settings.inputs.drain(..).zip(self.inputs.drain(..)).collect();
        let known = |input: &Input| before.iter().find(|(known, _)| same_watch(known, input));
        let watched = |input| known(input).map_or_else(Watched::new, |(_, watched)| watched.clone());
        self.inputs = settings.inputs.iter().map(watched).collect();
        self.settings = settings;
    }

    /// Takes what is seen of each input, in the order of the settings' inputs; `None` of what is not watched.
    pub fn step(&mut self, seen: &[Option<Seen>], now: Timestamp) -> Effects {
        // Nobody has watched meanwhile: what was good before and is good now may have been anything between.
        let lapsed = now - self.stepped_at > millis(VALID);
        self.stepped_at = now;
        for ((input, watched), seen) in self.settings.inputs.iter().zip(&mut self.inputs).zip(seen) {
            watched.take(input, seen.as_ref());
        }
        let mut effects = Effects::default();
        let questions = [(Question::Service, &mut self.service), (Question::Database, &mut self.database)];
        for (question, check) in questions {
            let asked = |input: &Input| question == Question::Service || input.database;
            let inputs = self.settings.inputs.iter().zip(&self.inputs).filter(|(input, _)| asked(input));
            let inputs: Vec<&Watched> = inputs.map(|(_, watched)| watched).collect();
            if inputs.is_empty() {
                continue;
            }
            if lapsed {
                check.clean_since = None;
            }
            check.step(question, &inputs, self.settings.clean, now, &mut effects);
        }
        effects
    }

    /// The 99th percentile of the newest looks at the slowest input, in milliseconds.
    pub fn latency_p99(&self) -> Option<f64> {
        self.inputs.iter().flat_map(|watched| watched.paces.values()).filter_map(Pace::p99).max_by(f64::total_cmp)
    }
}

fn same_watch(a: &Input, b: &Input) -> bool {
    let watch = |input: &Input| (input.latency, input.soft_latency, input.rise, input.fall);
    a.target == b.target && watch(a) == watch(b)
}

impl Check {
    fn new(decided: Option<Decided>, now: Timestamp) -> Self {
        Check { state: State::Unknown, since: now, decided, reasons: Vec::new(), clean_since: None }
    }

    fn step(
        &mut self,
        question: Question,
        inputs: &[&Watched],
        clean: Duration,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let worst = inputs.iter().map(|input| input.state).max().unwrap_or(State::Unknown);
        self.clean_since = (worst.answer() == Some(Answer::Up)).then(|| self.clean_since.unwrap_or(now));
        self.reasons = inputs.iter().filter_map(|input| input.reason.clone()).collect();
        let state = self.after_recovery(worst, clean, now);
        let before = (self.state.answer().is_some(), self.decided.map(|decided| decided.answer));
        if let Some(answer) = state.answer() {
            self.decided = Some(Decided { answer, at: now });
        }
        if state != self.state {
            effects.transitions.push(Transition {
                question,
                from: self.state,
                to: state,
                reasons: self.reasons.clone(),
            });
            (self.state, self.since) = (state, now);
        }
        effects.keep |= before != (state.answer().is_some(), self.decided.map(|decided| decided.answer));
    }

    /// A region that was down stays so until its inputs have been good for a while.
    fn after_recovery(&mut self, worst: State, clean: Duration, now: Timestamp) -> State {
        let was_down = self.decided.is_some_and(|decided| decided.answer == Answer::Down);
        let Some(since) = self.clean_since.filter(|_| was_down) else { return worst };
        let left = millis(clean) - (now - since);
        if left <= 0 {
            return worst;
        }
        let left = Duration::from_millis(left.unsigned_abs()).as_secs_f64().ceil();
        self.reasons.push(format!("good again, and up after {left} s more of it"));
        State::Down
    }
}

impl Watched {
    fn new() -> Self {
        Watched { state: State::Unknown, reason: None, paces: BTreeMap::new() }
    }

    fn take(&mut self, input: &Input, seen: Option<&Seen>) {
        let looks = seen.map_or(&[][..], |seen| &seen.instances);
        self.paces.retain(|instance, _| looks.iter().any(|look| look.instance == *instance));
        for look in looks {
            self.paces.entry(look.instance.clone()).or_default().take(input, look);
        }
        (self.state, self.reason) = self.judge(input, seen);
        self.reason = self.reason.take().map(|reason| format!("{} is {reason}", input.target));
    }

    /// The verdict is the target's; of one that is up, the instances say how well it serves.
    fn judge(&self, input: &Input, seen: Option<&Seen>) -> (State, Option<String>) {
        match seen.map(|seen| (seen.verdict, seen)) {
            None => (State::Unknown, Some("unknown: it is not watched".to_owned())),
            Some((Verdict::Down, _)) => (State::Down, Some("down".to_owned())),
            Some((Verdict::Unknown, seen)) if seen.blind => {
                (State::Unknown, Some("unknown: the agent cannot look at it".to_owned()))
            }
            Some((Verdict::Unknown, _)) => (State::Unknown, Some("unknown: there is no verdict on it yet".to_owned())),
            Some((Verdict::Up, seen)) => self.judge_up(input, &seen.instances),
        }
    }

    fn judge_up(&self, input: &Input, looks: &[Look]) -> (State, Option<String>) {
        let is = |look: &&Look, is: fn(&Pace) -> bool| self.paces.get(&look.instance).is_some_and(is);
        let than = |limit: Option<Duration>| duration::format(limit.unwrap_or_default());
        let down = looks.iter().filter(|look| look.verdict == Verdict::Down).count();
        let slow = looks.iter().filter(|look| look.verdict != Verdict::Down && is(look, |pace| pace.hard.slow)).count();
        let all = looks.len();
        if slow > 0 && down + slow == all {
            return (State::Down, Some(format!("slower than {}", than(input.latency))));
        }
        if down + slow > 0 {
            return (State::Degraded, Some(format!("down or too slow at {} of {all} instances", down + slow)));
        }
        if looks.iter().any(|look| is(&look, |pace| pace.soft.slow)) {
            return (State::Degraded, Some(format!("slower than {}", than(input.soft_latency))));
        }
        (State::Up, None)
    }
}

impl Pace {
    fn take(&mut self, input: &Input, look: &Look) {
        let is_new = look.at.is_some() && look.at != self.looked_at;
        self.looked_at = look.at;
        if look.verdict == Verdict::Unknown {
            (self.hard, self.soft) = (Streak::default(), Streak::default());
        } else if is_new && !look.failing {
            self.hard.count(input.latency, look.took, input);
            self.soft.count(input.soft_latency, look.took, input);
            self.recent.truncate(LOOKS - 1);
            self.recent.push_front(look.took.as_secs_f64() * 1_000.0);
        }
    }

    /// By nearest rank.
    fn p99(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * 99).div_ceil(100);
        sorted.get(rank.checked_sub(1)?).copied()
    }
}

impl Streak {
    fn count(&mut self, limit: Option<Duration>, took: Duration, input: &Input) {
        let Some(limit) = limit else { return };
        if took > limit {
            (self.over, self.under) = (self.over.saturating_add(1), 0);
            self.slow |= self.over >= input.fall;
        } else {
            (self.over, self.under) = (0, self.under.saturating_add(1));
            self.slow &= self.under < input.rise;
        }
    }
}

#[cfg(test)]
#[path = "detector_tests.rs"]
mod tests;
