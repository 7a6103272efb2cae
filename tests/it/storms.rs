//! Outages that go on while the agent is killed, stopped, reloaded with good and bad files, loses its disk, and is
//! let down by its receiver: no page without its resolve, no resolve without its page, none twice, none false.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use crate::configuration::{RULES, paging, paging_text};
use crate::reload::post_reload;
use crate::support::agent::{Agent, Setup, let_pass};
use crate::support::http::{Answer, HttpService};
use crate::support::mount::Tmpfs;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::wait::{SOON, until};
use crate::told::{assert_told, firing};

/// `WATCHKEEPER_STORM_SEEDS` names others, apart by commas.
const SEEDS: &str = "20261120";
/// How often each kind of event comes in a storm. `WATCHKEEPER_STORM_DECKS` says another number.
const DECKS: &str = "2";

const TARGETS: [&str; 3] = ["api", "web", "cache"];

#[test]
fn a_storm_of_outages_and_events_loses_no_page_and_no_resolve() {
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let decks = setting("WATCHKEEPER_STORM_DECKS", DECKS).parse().expect("WATCHKEEPER_STORM_DECKS: a number");
    for seed in setting("WATCHKEEPER_STORM_SEEDS", SEEDS).split(',') {
        println!("seed {seed}");
        storm(seed.trim().parse().expect("WATCHKEEPER_STORM_SEEDS: numbers"), decks);
    }
}

/// What happens to the agent.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Kill,
    Terminate,
    /// It starts again on a disk that takes nothing, and the disk is mended while it runs.
    StartReadOnly,
    /// As it is started again by a `kill -9` in the middle of a write.
    KillAndStartReadOnly,
    FullDisk,
    HangUp,
    Post,
    BadFile,
    /// A bad file, and the agent is started again on it: the last good one runs.
    StartWithBadFile,
    RenameRule,
    MoveReceiver,
    ChangeInterval,
}

const EVENTS: [Event; 12] = [
    Event::Kill,
    Event::Terminate,
    Event::StartReadOnly,
    Event::KillAndStartReadOnly,
    Event::FullDisk,
    Event::HangUp,
    Event::Post,
    Event::BadFile,
    Event::StartWithBadFile,
    Event::RenameRule,
    Event::MoveReceiver,
    Event::ChangeInterval,
];

/// How a receiver treats what it is sent.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Good,
    /// Two of five attempts fail.
    Fickle,
    Failing,
    Hanging,
    /// It has read everything when it cuts the connection.
    Cutting,
}

const MOODS: [Mood; 5] = [Mood::Good, Mood::Fickle, Mood::Failing, Mood::Hanging, Mood::Cutting];

fn storm(seed: u64, decks: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut deck = EVENTS.repeat(decks);
    random.shuffle(&mut deck);
    let mut storm = Storm::start(random);
    for (round, events) in deck.chunks(2).enumerate() {
        storm.round(round, events);
    }
    storm.assert_told();
}

struct Storm {
    random: fastrand::Rng,
    disk: Tmpfs,
    receiver: Receiver,
    api: HttpService,
    web: HttpService,
    cache: Redis,
    agent: Agent,
    rule: &'static str,
    path: &'static str,
    interval: &'static str,
    /// The incidents that must have been told: rule and target, and how many.
    incidents: BTreeMap<(String, String), usize>,
}

impl Storm {
    fn start(random: fastrand::Rng) -> Self {
        let (disk, receiver, cache) = (Tmpfs::mount(4096), Receiver::start(), Redis::start());
        let service = || HttpService::start(Answer::Status(200));
        let (api, web) = (service(), service());
        let text = text(&receiver, &disk, &[&api, &web], &cache, "/page", "500ms");
        let agent = Setup::new(&text).with_file("rules.yml", RULES).with_file("secret", "secret").start();
        let (rule, path, interval) = ("TargetDown", "/page", "500ms");
        Storm { random, disk, receiver, api, web, cache, agent, rule, path, interval, incidents: BTreeMap::new() }
    }

    /// Everything is up; some targets fail; the first event; they are paged; they recover; the second event; they
    /// have resolved.
    fn round(&mut self, round: usize, events: &[Event]) {
        TARGETS.iter().for_each(|target| self.agent.wait_for_verdict(target, true));
        let failing = self.some_targets();
        let mood = MOODS[self.random.usize(..MOODS.len())];
        println!("round {round}: {failing:?} fail, the receiver is {mood:?}, {events:?}");
        self.receiver.decide(answers(mood, self.random.fork()));
        failing.iter().for_each(|target| self.fail(target));
        let early = self.random.bool() && events[0] != Event::RenameRule;
        if early {
            let_pass(Duration::from_millis(self.random.u64(0..900)));
            self.happen(events[0]);
        }
        self.wait_for_alerts(&failing);
        self.count(&failing);
        if !early {
            self.happen(events[0]);
            self.wait_for_alerts(&failing);
        }
        if events[0] == Event::RenameRule {
            self.count(&failing);
        }
        self.mend();
        self.receiver.decide(answers(MOODS[self.random.usize(..2)], self.random.fork()));
        failing.iter().for_each(|target| self.recover(target));
        let Some(event) = events.get(1) else { return self.wait_for_alerts(&[]) };
        if *event == Event::RenameRule {
            self.wait_for_alerts(&[]);
        }
        let_pass(Duration::from_millis(self.random.u64(0..900)));
        self.happen(*event);
        self.wait_for_alerts(&[]);
        self.mend();
    }

    fn some_targets(&mut self) -> Vec<&'static str> {
        let mut some = TARGETS.to_vec();
        self.random.shuffle(&mut some);
        some.truncate(self.random.usize(1..=TARGETS.len()));
        some
    }

    fn fail(&mut self, target: &str) {
        let answers = [Answer::Status(503), Answer::Cut, Answer::Hang];
        let answer = answers[self.random.usize(..answers.len())].clone();
        match target {
            "api" => self.api.answer(answer),
            "web" => self.web.answer(answer),
            _ => self.cache.stop(),
        }
    }

    fn recover(&mut self, target: &str) {
        match target {
            "api" => self.api.answer(Answer::Status(200)),
            "web" => self.web.answer(Answer::Status(200)),
            _ => self.cache.start_again(),
        }
    }

    fn count(&mut self, failing: &[&str]) {
        for target in failing {
            *self.incidents.entry((self.rule.to_owned(), (*target).to_owned())).or_default() += 1;
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Kill => self.start_again(true),
            Event::Terminate => self.start_again(false),
            Event::StartReadOnly => self.start_read_only(false),
            Event::KillAndStartReadOnly => self.start_read_only(true),
            Event::FullDisk => drop(self.disk.fill()),
            Event::HangUp => self.reload_by(|storm| storm.agent.signal("HUP")),
            Event::Post => {
                let answer = post_reload(&self.agent, Some("Bearer secret"));
                assert_eq!(answer.status, 200, "{}", answer.body);
            }
            Event::BadFile => self.take_bad_file(),
            Event::StartWithBadFile => {
                self.take_bad_file();
                self.start_again(true);
                self.wait_for_good(false);
            }
            Event::RenameRule => {
                self.rule = if self.rule == "TargetDown" { "TargetAway" } else { "TargetDown" };
                let rules = RULES.replace("TargetDown", self.rule);
                self.reload_by(|storm| drop(storm.agent.setup.write("rules.yml", &rules)));
            }
            Event::MoveReceiver => {
                self.path = if self.path == "/page" { "/other" } else { "/page" };
                self.reload_by(Storm::configure);
            }
            Event::ChangeInterval => {
                self.interval = if self.interval == "500ms" { "600ms" } else { "500ms" };
                self.reload_by(Storm::configure);
            }
        }
    }

    /// What the events have left broken.
    fn mend(&mut self) {
        let ballast = self.disk.path().join("ballast");
        if ballast.exists() {
            std::fs::remove_file(ballast).unwrap();
        }
        self.disk.make_writable();
        until("the state to be durable", SOON, || self.agent.metric("watchkeeper_state_durable") == Some(1.0));
        self.configure();
        self.wait_for_good(true);
    }

    fn start_again(&mut self, kill: bool) {
        if kill {
            self.agent.kill9();
        } else {
            assert!(self.agent.terminate().success(), "{}", self.agent.errors());
        }
        self.agent.start_again();
    }

    fn start_read_only(&mut self, kill: bool) {
        if kill {
            self.agent.kill9();
        } else {
            assert!(self.agent.terminate().success(), "{}", self.agent.errors());
        }
        self.disk.make_read_only();
        self.agent.start_again();
        until("the state not to be durable", SOON, || self.agent.metric("watchkeeper_state_durable") == Some(0.0));
    }

    fn take_bad_file(&mut self) {
        let bad = format!("targets: {{api: {{htp: {{}}}}}}\nstate_dir: {}/state\n", self.disk.path().display());
        self.agent.setup.configure(&bad);
        if self.random.bool() {
            self.agent.signal("HUP");
        }
        self.wait_for_good(false);
    }

    fn configure(&mut self) {
        let services = [&self.api, &self.web];
        let text = text(&self.receiver, &self.disk, &services, &self.cache, self.path, self.interval);
        let path = self.agent.setup.folder().join("watchkeeper.yml");
        let before = std::fs::read_to_string(path).unwrap();
        if !before.starts_with(&text) {
            self.agent.setup.configure(&text);
        }
    }

    /// Waits until the agent has loaded its configuration once more.
    fn reload_by(&mut self, change: impl FnOnce(&mut Self)) {
        let count = |agent: &Agent| {
            agent.metrics("watchkeeper_config_reloads_total", &["outcome=\"applied\""]).iter().sum::<f64>()
        };
        let before = count(&self.agent);
        change(self);
        until("a reload", SOON, || count(&self.agent) > before);
    }

    fn wait_for_good(&self, good: bool) {
        let wanted = Some(f64::from(u8::from(good)));
        until(&format!("watchkeeper_config_last_reload_successful to be {wanted:?}"), SOON, || {
            self.agent.metric("watchkeeper_config_last_reload_successful") == wanted
        });
    }

    /// Waits until exactly these targets have a firing alert, under the rule's present name.
    fn wait_for_alerts(&self, targets: &[&str]) {
        let wanted: BTreeSet<_> = targets.iter().map(|target| (self.rule.to_owned(), (*target).to_owned())).collect();
        until(&format!("the alerts {wanted:?}"), SOON, || firing(&self.agent) == wanted);
    }

    /// What the receiver was told is what happened, in its order.
    fn assert_told(&mut self) {
        self.receiver.decide(|| Answer::Status(200));
        let wanted = 2 * self.incidents.values().sum::<usize>();
        let taken = || self.receiver.notifications().len();
        let depth = || self.agent.metrics("watchkeeper_outbox_depth", &[]).iter().sum::<f64>();
        until("the outbox to be empty", 2 * SOON, || depth() == 0.0);
        println!("{} notifications, {} attempts", taken(), self.receiver.attempts().len());
        assert_told(&self.receiver, &self.incidents);
        assert_eq!(taken(), wanted, "{}", self.receiver.dump());
        assert_eq!(self.agent.errors(), "");
    }
}

fn text(
    receiver: &Receiver,
    disk: &Tmpfs,
    [api, web]: &[&HttpService; 2],
    cache: &Redis,
    path: &str,
    interval: &str,
) -> String {
    let more = format!(
        "
state_dir: {}/state
auth: {{token_file: secret}}
targets:
  api: {{http: {{url: \"{}\"}}, interval: {interval}}}
  web: {{http: {{url: \"{}\"}}}}
  cache: {{redis: {{url: \"{}\"}}, interval: {interval}}}
",
        disk.path().display(),
        api.url("/"),
        web.url("/"),
        cache.url()
    );
    // So that a hanging receiver is one that fails.
    let url = format!("{}\", timeout: \"500ms", receiver.url().replace("/page", path));
    paging_text(receiver, &more).replace(&receiver.url(), &url)
}

fn answers(mood: Mood, random: fastrand::Rng) -> impl Fn() -> Answer + Send {
    let random = Mutex::new(random);
    let half = || Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec());
    move || match mood {
        Mood::Good => Answer::Status(200),
        Mood::Failing => Answer::Status(503),
        Mood::Hanging => Answer::Hang,
        Mood::Cutting => [Answer::Cut, half()][random.lock().unwrap().usize(..2)].clone(),
        Mood::Fickle => match random.lock().unwrap().u32(0..5) {
            0 => Answer::Status(429),
            1 => half(),
            _ => Answer::Status(200),
        },
    }
}

#[test]
fn a_receiver_that_hangs_holds_up_no_other() {
    let service = HttpService::start(Answer::Status(200));
    let (mut hanging, quick) = (Receiver::start(), Receiver::start());
    hanging.decide(|| Answer::Hang);
    let targets = format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/"));
    let hung = format!("name: people\n    webhook_configs: [{{url: \"{}\", timeout: 1m}}]", hanging.url());
    let text = paging_text(&quick, &targets)
        .replace("group_by: [alertname, target]}", "group_by: [alertname, target], continue: true}\n    - {receiver: others, matchers: ['test=\"yes\"'], group_by: [alertname, target]}")
        .replace("name: people\n", &format!("{hung}\n  - name: others\n"));
    let agent = Setup::new(&text).with_file("rules.yml", RULES).start();
    agent.wait_for_verdict("api", true);
    for _ in 0..2 {
        service.answer(Answer::Status(503));
        quick.wait_for_page("TargetDown", SOON);
        service.answer(Answer::Status(200));
        quick.wait_for_resolve("TargetDown", SOON);
    }
    assert_eq!(hanging.attempts().len(), 1, "it still hangs:\n{}", hanging.dump());
    hanging.stop();
    hanging.decide(|| Answer::Status(200));
    hanging.start_again();
    until("everything to be told", SOON, || hanging.accepted().len() == 4);
    let incidents = BTreeMap::from([(("TargetDown".to_owned(), "api".to_owned()), 2)]);
    assert_told(&hanging, &incidents);
    assert_told(&quick, &incidents);
}

#[test]
fn a_target_that_hangs_holds_up_no_other() {
    let (hanging, service) = (HttpService::start(Answer::Hang), HttpService::start(Answer::Status(200)));
    let receiver = Receiver::start();
    let targets = format!(
        "targets:\n  slow: {{http: {{url: \"{}\"}}, interval: 1m, timeout: 59s}}\n  api: {{http: {{url: \"{}\"}}}}\n",
        hanging.url("/"),
        service.url("/")
    );
    let agent = paging(&receiver, &targets).start();
    agent.wait_for_verdict("api", true);
    until("the look that hangs", SOON, || hanging.requests() == 1);
    service.answer(Answer::Status(503));
    receiver.wait_for_page("TargetDown", SOON);
    service.answer(Answer::Status(200));
    receiver.wait_for_resolve("TargetDown", SOON);
    assert_eq!((hanging.requests(), hanging.open()), (1, 1), "it hangs as before");
    assert!(agent.metrics("watchkeeper_target_up", &["target=\"slow\""]).is_empty(), "nothing is known of it");
    assert_told(&receiver, &BTreeMap::from([(("TargetDown".to_owned(), "api".to_owned()), 1)]));
}
