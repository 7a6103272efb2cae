//! How the agent starts, with what it is given, and how it stops.

use std::io::{Read, Write};
use std::time::Duration;

use crate::configuration::{RULES, pages_for_everything, paging};
use crate::support::agent::{Agent, Setup, let_pass};
use crate::support::http::{Answer, HttpService};
use crate::support::postgres::Postgres;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::tcp::TcpService;
use crate::support::wait::{SOON, until};

const BAD: &str = "\
listen: 127.0.0.1:0
targets:
  cache:
    redis: {ulr: redis://127.0.0.1:1}
  api:
    http: {url: http://127.0.0.1:1/}
    interval: soon
";

#[test]
fn a_bad_configuration_without_an_earlier_one_ends_with_every_error_at_its_place() {
    let ended = Setup::new(BAD).run_to_end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for expected in ["watchkeeper.yml:4:13: ", "url", "watchkeeper.yml:7:15: "] {
        assert!(ended.errors.contains(expected), "{expected} in:\n{}", ended.errors);
    }
}

#[test]
fn a_bad_configuration_after_a_good_one_leaves_the_good_one_running_and_pages() {
    let receiver = Receiver::start();
    let service = HttpService::start(Answer::Status(200));
    let good = format!(
        "{}defaults: {{interval: 300ms}}\ntargets: {{api: {{http: {{url: \"{}\"}}}}}}\n",
        pages_for_everything(&receiver),
        service.url("/")
    );
    let mut agent = Agent::start(&good);
    agent.wait_for_verdict("api", true);
    assert!(agent.terminate().success());
    agent.setup.configure(BAD);
    agent.start_again();
    agent.wait_for_verdict("api", true);
    let page = receiver.wait_for_page("ConfigRejected", Duration::from_secs(60));
    assert_eq!(page.status(), "firing");
    agent.wait_for_line("the place of the error", |line| line.to_string().contains("watchkeeper.yml:4:13"));
    assert_eq!(agent.metric("watchkeeper_config_last_reload_successful"), Some(0.0));

    // Mended: the alert is over with the next start.
    assert!(agent.terminate().success());
    agent.setup.configure(&good);
    agent.start_again();
    receiver.wait_for_resolve("ConfigRejected", Duration::from_secs(60));
}

#[test]
fn a_missing_configuration_file_is_an_error() {
    let ended = Setup::without_configuration().argument("--config").argument("nowhere.yml").run_to_end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("nowhere.yml"), "{}", ended.errors);
}

#[test]
fn without_a_receiver_it_says_loudly_that_nobody_is_paged() {
    let agent = Agent::start("targets: {port: {tcp: {address: \"127.0.0.1:1\"}}}");
    let line =
        agent.wait_for_line("nobody is paged", |line| line["message"].as_str().unwrap().contains("nobody is paged"));
    assert!(matches!(line["level"].as_str(), Some("warn" | "error")), "{line}");
    assert!(line.to_string().contains("webhook_configs"), "it says which lines to add: {line}");
}

/// Without a file; `listen` is given so that tests can run side by side.
fn from_environment() -> Setup {
    let setup = Setup::without_configuration().environment("WATCHKEEPER__LISTEN", "127.0.0.1:0");
    let state = setup.state().display().to_string();
    setup.environment("STATE_DIRECTORY", &state)
}

#[test]
fn what_the_environment_names_is_watched() {
    let (database, redis) = (Postgres::start(), Redis::start());
    let service =
        HttpService::start_deciding(|request| Answer::Status(if request.path == "/health" { 200 } else { 404 }));
    let agent = from_environment()
        .environment("DATABASE_URL", &database.url().replace("postgres://", "postgresql+asyncpg://"))
        .environment("REDIS_URL", &redis.url())
        .environment("API_HOST", "127.0.0.1")
        .environment("API_PORT", &service.port().to_string())
        .start();
    for target in ["database", "redis", "api"] {
        agent.wait_for_verdict(target, true);
    }
    agent.wait_for_verdict("host", true);
    assert_eq!(agent.metrics("watchkeeper_target_up", &[]).len(), 4);
}

#[test]
fn a_configuration_file_is_not_added_to_by_the_environment() {
    let redis = Redis::start();
    let text = format!("targets: {{cache: {{redis: {{url: \"{}\"}}}}}}", redis.url());
    let agent = Setup::new(&text).environment("REDIS_URL", &redis.url()).start();
    agent.wait_for_verdict("cache", true);
    assert_eq!(agent.metrics("watchkeeper_target_up", &[]).len(), 1);
}

#[test]
fn with_nothing_named_it_watches_its_host_and_says_what_to_do() {
    let agent = from_environment().environment("NODE_NAME", "node-7").start();
    agent.wait_for_verdict("host", true);
    assert_eq!(agent.metrics("node_load1", &["node=\"node-7\"", "instance=\"node-7\""]).len(), 1);
    let line = agent.wait_for_line("what to name", |line| line.to_string().contains("DATABASE_URL"));
    assert!(matches!(line["level"].as_str(), Some("warn" | "error")), "{line}");
    until("it to be ready", SOON, || agent.get("/health/ready").status == 200);
}

#[test]
fn sigterm_ends_it_cleanly_and_pages_nobody() {
    let receiver = Receiver::start();
    let service = HttpService::start(Answer::Status(200));
    let text = format!(
        "{}defaults: {{interval: 300ms}}\nrule_files: [rules.yml]\ntargets: {{api: {{http: {{url: \"{}\"}}}}}}\n",
        pages_for_everything(&receiver),
        service.url("/")
    );
    let mut agent = Setup::new(&text).with_file("rules.yml", RULES).start();
    agent.wait_for_verdict("api", true);
    let status = agent.terminate();
    assert_eq!(status.code(), Some(0), "{:?}", agent.lines());
    assert!(receiver.attempts().is_empty(), "{}", receiver.dump());
    assert_eq!(agent.errors(), "");
}

#[test]
fn sigterm_leaves_a_page_that_cannot_be_delivered_to_the_next_start() {
    let mut receiver = Receiver::start();
    let service = HttpService::start(Answer::Status(503));
    let text = format!(
        "{}defaults: {{interval: 300ms, confirm: 50ms}}\nrule_files: [rules.yml]\ntargets: {{api: {{http: {{url: \"{}\"}}}}}}\n",
        pages_for_everything(&receiver),
        service.url("/")
    );
    receiver.stop();
    let mut agent = Setup::new(&text).with_file("rules.yml", RULES).start();
    until("the alert to fire", SOON, || agent.get("/api/v1/alerts").body.contains("\"firing\""));
    assert_eq!(agent.terminate().code(), Some(0));
    receiver.start_again();
    agent.start_again();
    let page = receiver.wait_for_page("TargetDown", SOON);
    let_pass(Duration::from_secs(1));
    let pages = receiver.accepted().into_iter().filter(|delivery| delivery.alert("firing", "TargetDown").is_some());
    assert!(pages.map(|delivery| delivery.id().to_owned()).all(|id| id == page.id()), "{}", receiver.dump());
}

#[test]
fn a_second_signal_ends_it_at_once_and_what_is_accepted_stays() {
    let receiver = Receiver::start();
    receiver.script([Answer::Hang]);
    let service = HttpService::start(Answer::Status(503));
    let targets = format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/"));
    let mut agent = paging(&receiver, &targets).start();
    until("a delivery that hangs", SOON, || receiver.attempts().len() == 1);
    agent.signal("TERM");
    agent.wait_for_line("that it stops", |line| line.to_string().contains("a second signal stops at once"));
    assert!(agent.is_running(), "the delivery under way is waited for");
    assert_eq!(agent.terminate().code(), Some(0));
    let said = agent.lines().join("\n");
    assert!(said.contains("stopped at once"), "{said}");
    agent.start_again();
    let page = receiver.wait_for_page("TargetDown", SOON);
    assert_eq!(page.id(), receiver.attempts()[0].id(), "the same notification:\n{}", receiver.dump());
}

#[test]
fn a_signal_right_after_the_start_is_heard() {
    let mut agent = Agent::start("targets: {port: {tcp: {address: \"127.0.0.1:1\"}}}");
    assert_eq!(agent.terminate().code(), Some(0), "{:?}", agent.lines());
}

#[test]
fn the_address_is_printed_whatever_the_level() {
    let text = "telemetry: {log: {level: error}}\ntargets: {port: {tcp: {address: \"127.0.0.1:1\"}}}";
    let agent = Agent::start(text);
    agent.wait_for_line("the address", |line| line["attributes"]["address"] == agent.address());
    assert!(agent.log().iter().all(|line| line["message"] == "listening" || line["level"] == "error"));
}

#[test]
fn without_reactions_alerts_wait_for_their_regular_tick() {
    let service = HttpService::start(Answer::Status(503));
    let receiver = Receiver::start();
    for react in [true, false] {
        let text = format!(
            "{}defaults: {{interval: 300ms, confirm: 50ms}}\nevaluation: {{interval: 1h, react: {react}}}\n\
             rule_files: [rules.yml]\ntargets: {{api: {{http: {{url: \"{}\"}}}}}}\n",
            pages_for_everything(&receiver),
            service.url("/")
        );
        let agent = Setup::new(&text).with_file("rules.yml", RULES).start();
        if react {
            receiver.wait_for_page("TargetDown", SOON);
            continue;
        }
        agent.wait_for_verdict("api", false);
        let_pass(Duration::from_secs(2)); // forty times what a reaction may wait
        assert!(!agent.get("/api/v1/alerts").body.contains("TargetDown"), "its tick is within the hour");
    }
}

#[test]
fn usage_errors_exit_with_three() {
    for arguments in [&["--nonsense"][..], &["nonsense"], &["check", "--nonsense"], &["probe"], &["test"]] {
        let mut setup = Setup::without_configuration();
        for argument in arguments {
            setup = setup.argument(argument);
        }
        let ended = setup.run_to_end();
        assert_eq!(ended.code, Some(3), "{arguments:?}: {ended:?}");
        assert!(!ended.errors.is_empty(), "{arguments:?} says what is wrong");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    for arguments in
        [&["--help"][..], &["run", "--help"], &["check", "--help"], &["probe", "--help"], &["test", "--help"]]
    {
        let mut setup = Setup::without_configuration();
        for argument in arguments {
            setup = setup.argument(argument);
        }
        let ended = setup.run_to_end();
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        assert!(ended.output.contains("Example"), "{arguments:?}: {}", ended.output);
    }
}

/// Each start anew: the one that answers at once brings an evaluation while the other is not known yet.
#[test]
fn what_fires_by_absence_waits_for_the_first_look_at_every_target() {
    let quick = HttpService::start(Answer::text(200, "quick 1\n"));
    let slow = TcpService::start(|connection| {
        let _ = connection.read(&mut [0; 4096]);
        std::thread::sleep(Duration::from_millis(400));
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nslow 1\n");
    });
    let receiver = Receiver::start();
    let text = format!(
        "{}targets: {{quick: {{scrape: {{url: \"{}\"}}}}, slow: {{scrape: {{url: \"http://{}/\"}}}}}}\n\
         rule_files: [rules.yml]\n",
        pages_for_everything(&receiver),
        quick.url("/"),
        slow.address()
    );
    let rules = "groups: [{name: g, rules: [{alert: Gone, expr: absent(slow)}, {alert: There, expr: quick == 1}]}]";
    let mut agent = Setup::new(&text).with_file("rules.yml", rules).start();
    receiver.wait_for_page("There", SOON);
    for _ in 0..3 {
        agent.wait_for_verdict("slow", true);
        agent.kill9();
        agent.start_again();
    }
    let gone = receiver.attempts().iter().filter(|told| told.alert("firing", "Gone").is_some()).count();
    assert_eq!(gone, 0, "{}", receiver.dump());
}
