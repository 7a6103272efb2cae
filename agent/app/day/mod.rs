//! A day of outages, reloads and restarts, played in seconds: the real judges, rules, groups, outbox and state under a
//! time that the test moves. Nothing that it finds depends on chance: a seed makes the day.
//!
//! `WATCHKEEPER_DAYS=FROM..TO` plays the days of those seeds instead of the first.

mod audit;
mod book;
mod plan;
mod process;
mod receivers;
mod truth;
mod watching;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::sample::Timestamp;
use audit::Audit;
use plan::Plan;
use process::{Machine, Process};
use receivers::Receivers;
use truth::Truth;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// How long everything gets to end after the day.
const EVENING: i64 = 60 * MINUTE;

#[derive(Debug, Clone, Copy)]
enum Act {
    Edit,
    Spoil,
    Kill,
    Stop,
    ReceiverDown,
}

/// How much happened.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "for people, by Debug")]
struct Told {
    seed: u64,
    looks: usize,
    verdicts: usize,
    reloads: usize,
    rejected: usize,
    kills: usize,
    stops: usize,
    attempts: usize,
    again: usize,
    pages: usize,
    resolves: usize,
}

struct Day {
    random: fastrand::Rng,
    machine: Machine,
    truth: Truth,
    plan: Plan,
    process: Option<Process>,
    began: Timestamp,
    told: Told,
    audit: Audit,
}

impl Day {
    async fn new(seed: u64) -> Day {
        fastrand::seed(seed);
        let mut random = fastrand::Rng::with_seed(seed);
        let clock = Clock::start();
        // Every day begins at midnight, so that ticks fall alike.
        tokio::time::advance(Duration::from_millis((DAY - clock.now().rem_euclid(DAY)).unsigned_abs())).await;
        let began = clock.now();
        crate::clock::WALL.set(Some(began));
        let receivers = Receivers::new(clock, seed);
        let machine = Machine { dir: folder(), clock, now: Arc::new(AtomicI64::new(began)), receivers };
        let plan = Plan::new();
        plan.write(machine.dir.path());
        let truth = Truth::new(&plan::targets(), began, began + DAY, &mut random);
        let process = Some(machine.start(&truth).await);
        let told = Told { seed, ..Told::default() };
        Day { random, machine, truth, plan, process, began, told, audit: Audit::new(began) }
    }

    fn now(&self) -> Timestamp {
        self.machine.clock.now()
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    /// What is to be done when.
    fn script(&mut self) -> Vec<(Timestamp, Act)> {
        let acts = [(Act::Edit, 40), (Act::Spoil, 3), (Act::Kill, 8), (Act::Stop, 4), (Act::ReceiverDown, 8)];
        let acts = acts.into_iter().flat_map(|(act, times)| std::iter::repeat_n(act, times));
        let mut script: Vec<(Timestamp, Act)> =
            acts.map(|act| (self.began + self.random.i64(5 * MINUTE..DAY), act)).collect();
        script.sort_by_key(|(at, _)| *at);
        script
    }

    async fn play(mut self) -> Told {
        for (at, act) in self.script() {
            self.pass_until(at).await;
            self.act(act).await;
        }
        self.pass_until(self.began + DAY).await;
        self.machine.receivers.calm_down();
        self.plan.at_last();
        self.reload().await;
        self.pass_until(self.began + DAY + EVENING).await;
        self.end().await
    }

    async fn pass_until(&mut self, until: Timestamp) {
        while self.now() < until {
            let step = self.random.i64(SECOND..=4 * SECOND).min(until - self.now());
            self.advance(step).await;
            let now = self.now();
            let process = self.process.as_mut().unwrap();
            // Ticks and looks that fall together come in either order.
            if self.random.bool() {
                process.settle().await;
            }
            process.watching.look(&mut self.truth, now);
            process.settle().await;
            self.audit.step(process, &self.machine.receivers, now);
        }
    }

    async fn advance(&self, by: i64) {
        tokio::time::advance(Duration::from_millis(by.unsigned_abs())).await;
        self.machine.now.store(self.now(), Ordering::SeqCst);
        crate::clock::WALL.set(Some(self.now()));
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Edit => {
                (0..self.random.usize(1..4)).for_each(|_| self.plan.edit(&mut self.random));
                self.reload().await;
            }
            Act::Spoil => {
                process::spoil(self.machine.dir.path());
                let process = self.process.as_mut().unwrap();
                assert!(!process.reload(&self.truth).await, "no mapping is no configuration");
                self.told.rejected += 1;
            }
            Act::Kill => {
                // A living agent notes the time every 5 s.
                self.process().state.commit(Vec::new()).await.unwrap();
                let lag = self.random.i64(0..5 * SECOND);
                self.advance(lag).await;
                self.end_process().await.kill().await;
                self.told.kills += 1;
                self.start().await;
            }
            Act::Stop => {
                self.end_process().await.stop().await;
                self.told.stops += 1;
                self.start().await;
            }
            Act::ReceiverDown => {
                let all = plan::receivers();
                let until = self.now() + self.random.i64(10 * MINUTE..70 * MINUTE);
                self.machine.receivers.go_down(all[self.random.usize(..all.len())], until);
            }
        }
    }

    async fn reload(&mut self) {
        self.plan.write(self.machine.dir.path());
        let process = self.process.as_mut().unwrap();
        assert!(process.reload(&self.truth).await, "the plan is good");
        process.settle().await;
        self.told.reloads += 1;
        self.audit.took_over(process, &self.machine.receivers, self.machine.clock.now());
    }

    /// Takes the process out, with what it has counted.
    async fn end_process(&mut self) -> Process {
        let process = self.process.take().unwrap();
        self.told.looks += process.watching.looks;
        self.told.verdicts += process.watching.verdicts;
        process
    }

    /// Starts the agent again after a while, maybe with an edited configuration.
    async fn start(&mut self) {
        let down = self.random.i64(2 * SECOND..10 * MINUTE);
        self.advance(down).await;
        if self.random.u8(0..3) == 0 {
            self.plan.edit(&mut self.random);
            self.plan.write(self.machine.dir.path());
        }
        let process = self.machine.start(&self.truth).await;
        process.settle().await;
        self.audit.took_over(&process, &self.machine.receivers, self.now());
        self.process = Some(process);
    }

    /// Everything is well and everybody was told.
    async fn end(mut self) -> Told {
        let now = self.now();
        let process = self.end_process().await;
        self.audit.end(&process, &self.machine.receivers, now);
        process.stop().await;
        let rows = process::rows(&self.machine).await;
        assert_eq!(rows.deliveries, [], "nothing waits");
        assert_eq!(rows.refused, [], "nothing was refused");
        let alerts: Vec<&str> = rows.alerts.iter().map(|alert| alert.id.labels.get("alertname")).collect();
        assert_eq!(alerts, ["Watchdog"], "nothing fires");
        let groups: Vec<&str> = rows.groups.iter().map(|group| group.receiver.as_str()).collect();
        assert_eq!(groups, ["deadman"], "nobody is told of anything");
        let receivers = &self.machine.receivers;
        self.told.attempts = receivers.attempts();
        (self.told.pages, self.told.resolves, self.told.again) =
            receivers.book(|book| (book.pages, book.resolves, book.again));
        self.told
    }
}

/// In memory, where there is such a place: what a disk does is tested elsewhere.
fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// `FROM..TO` of the environment, or the first seed.
fn seeds() -> std::ops::Range<u64> {
    let Ok(days) = std::env::var("WATCHKEEPER_DAYS") else { return 1..2 };
    let (from, to) = days.split_once("..").expect("WATCHKEEPER_DAYS=FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn a_day_of_outages_reloads_and_restarts_pages_and_resolves_everything_once() {
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        // Time stands still while somebody blocks: it moves only where the day says so.
        let (awake, asleep) = std::sync::mpsc::channel::<()>();
        let told = runtime.block_on(async {
            tokio::task::spawn_blocking(move || asleep.recv());
            let told = Day::new(seed).await.play().await;
            drop(awake);
            told
        });
        println!("{told:?}");
        assert!(told.pages > 50 && told.resolves > 50, "a day without outages shows nothing: {told:?}");
    }
}
