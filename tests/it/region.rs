//! The region as failover tooling sees it: the real agent over real services that go and come back.

use std::time::Duration;

use serde_json::Value;

use crate::configuration::pages_for_everything;
use crate::support::agent::{Agent, Setup};
use crate::support::client::{Response, send};
use crate::support::http::{Answer, HttpService};
use crate::support::postgres::{Postgres, Stop};
use crate::support::receiver::Receiver;
use crate::support::wait::{SOON, eventually, until};

/// An API and a database, and an agent that takes them for the region `us-east`.
struct Scene {
    api: HttpService,
    database: Postgres,
    agent: Agent,
}

fn configuration(api: &HttpService, database: &Postgres, region: &str) -> String {
    format!(
        "
defaults: {{interval: 1s, timeout: 1s, confirm: 50ms, fall: 3}}
targets:
  api: {{http: {{url: \"{}\"}}}}
  db: {{postgres: {{url: \"{}\"}}}}
region: {region}
",
        api.url("/health"),
        database.url()
    )
}

fn scene(region: &str) -> Scene {
    let (api, database) = (HttpService::start(Answer::Status(200)), Postgres::start());
    let agent = Agent::start(&configuration(&api, &database, region));
    Scene { api, database, agent }
}

const REGION: &str = "{name: us-east, role: primary, inputs: [{target: api, latency: 900ms}, db], clean: 1s}";
const CHECK: &str = "/v1/regions/us-east/check";
const CHECK_DB: &str = "/v1/regions/us-east/check/db";

impl Scene {
    /// Waits until the check answers with this status; its first line and its state then.
    #[track_caller]
    fn wait_for(&self, path: &str, status: u16, state: &str) -> Response {
        eventually(&format!("{path} to answer {status} {state}"), SOON, || {
            let answer = self.agent.get(path);
            let fits = answer.status == status && answer.header("region-state") == state;
            if fits { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
    }

    #[track_caller]
    fn region(&self) -> Value {
        let answer = self.agent.get("/v1/regions/us-east");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

fn first_line(answer: &Response) -> &str {
    answer.body.lines().next().unwrap_or_default()
}

#[test]
fn a_stopped_database_is_503_for_both_checks_and_comes_back_after_a_clean_while() {
    let mut scene = scene(REGION);
    let up = scene.wait_for(CHECK, 200, "up");
    assert_eq!((first_line(&up), up.header("cache-control")), ("REGION-STATE=UP", "no-store"));
    scene.database.stop(Stop::Immediate);
    for path in [CHECK, CHECK_DB] {
        let down = scene.wait_for(path, 503, "down");
        assert_eq!((first_line(&down), down.header("cache-control")), ("REGION-STATE=DOWN", "no-store"));
        assert!(!down.body.contains("REGION-STATE=UP"), "{}", down.body);
    }
    scene.database.start_again();
    for path in [CHECK, CHECK_DB] {
        scene.wait_for(path, 200, "up");
    }
    let is_up = |line: &&Value| line["attributes"]["check"] == "service" && line["attributes"]["to"] == "up";
    until("the last change to be logged", SOON, || scene.agent.log().iter().filter(is_up).count() >= 2);
    let lines = scene.agent.log();
    let changes: Vec<&Value> = lines.iter().filter(|line| line["message"] == "the region's state changed").collect();
    assert!(changes.iter().all(|line| line["level"] == "warn"), "{changes:#?}");
    let of_service = changes.iter().filter(|line| line["attributes"]["check"] == "service");
    // An agent that stood still with its machine does not know for a moment.
    let mut known: Vec<&Value> =
        of_service.map(|line| &line["attributes"]["to"]).filter(|to| *to != "unknown").collect();
    known.dedup();
    assert_eq!(known, ["up", "down", "up"], "{changes:#?}");
}

#[test]
fn a_failing_api_is_no_failing_database() {
    let scene = scene(REGION);
    scene.wait_for(CHECK_DB, 200, "up");
    scene.api.answer(Answer::Status(503));
    let down = scene.wait_for(CHECK, 503, "down");
    assert!(down.header("region-answer-age").parse::<u64>().is_ok_and(|age| age < 60), "{down:?}");
    assert_eq!(scene.agent.get(CHECK_DB).status, 200);
    let region = scene.region();
    assert_eq!((&region["checks"]["service"], &region["checks"]["db_connect"]), (&"down".into(), &"up".into()));
    assert_eq!(region["reasons"][0], "api is down");
    let api = &region["inputs"][0];
    assert_eq!((&api["target"], &api["state"], &api["database"]), (&"api".into(), &"down".into(), &false.into()));
    assert!(api["instances"][0]["error"].as_str().unwrap().contains("503"), "{api}");
}

#[test]
fn the_whole_answer_says_who_saw_what_and_until_when_it_holds() {
    let scene = scene(REGION);
    scene.wait_for(CHECK, 200, "up");
    let region = scene.region();
    assert_eq!(region["schema"], "region-health/1");
    assert_eq!(
        (&region["region"], &region["role"], &region["state"]),
        (&"us-east".into(), &"primary".into(), &"up".into())
    );
    assert_eq!(
        region["authority"],
        serde_json::json!({"mode": "single", "engine": "embedded", "need": 1, "fresh": 1, "configured": 1})
    );
    assert_eq!((&region["observer"]["region"], &region["observer"]["state"]), (&"us-east".into(), &"ok".into()));
    assert_eq!((&region["frozen"], &region["actionable"]), (&false.into(), &false.into()));
    let time = |name: &str| region[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let valid = time("valid_until") - time("generated_at");
    assert!((0..=6_000).contains(&valid), "{region}");
    assert!(time("since") <= time("generated_at"));
    let evidence = &region["evidence"][0];
    assert_eq!((&evidence["observer"], &evidence["observer_ok"]), (&region["observer"]["id"], &true.into()));
    assert!(evidence["age_ms"].as_i64().is_some_and(|age| (0..60_000).contains(&age)), "{evidence}");
    assert!(region["checks"]["latency_p99_ms"].is_number(), "{region}");

    let list = scene.agent.get("/v1/regions").json();
    assert_eq!((&list["schema"], &list["regions"][0]["region"]), (&"region-health/1".into(), &"us-east".into()));
    assert_eq!(list["regions"].as_array().unwrap().len(), 1);
}

#[test]
fn slow_looks_take_the_region_down() {
    let scene = scene("{name: us-east, inputs: [{target: api, latency: 300ms}], clean: 1s}");
    scene.wait_for(CHECK, 200, "up");
    scene.api.decide(|_| {
        std::thread::sleep(Duration::from_millis(500));
        Answer::Status(200)
    });
    let down = scene.wait_for(CHECK, 503, "down");
    assert_eq!(first_line(&down), "REGION-STATE=DOWN");
    assert_eq!(scene.region()["reasons"][0], "api is slower than 300ms");
    scene.agent.wait_for_verdict("api", true);
    scene.api.answer(Answer::Status(200));
    scene.wait_for(CHECK, 200, "up");
}

#[test]
fn a_degraded_region_is_200_and_429_for_consul() {
    let scene = scene("{name: us-east, inputs: [{target: api, soft_latency: 300ms}], clean: 1s}");
    scene.wait_for(CHECK, 200, "up");
    assert_eq!(scene.agent.get(&format!("{CHECK}?profile=consul")).status, 200);
    scene.api.decide(|_| {
        std::thread::sleep(Duration::from_millis(500));
        Answer::Status(200)
    });
    let degraded = scene.wait_for(CHECK, 200, "degraded");
    assert_eq!(first_line(&degraded), "REGION-STATE=UP");
    let consul = scene.agent.get(&format!("{CHECK}?profile=consul"));
    assert_eq!((consul.status, first_line(&consul)), (429, "REGION-STATE=UP"));
    assert_eq!(scene.agent.get(&format!("{CHECK}?profile=other")).status, 400);
}

#[test]
fn without_a_database_among_the_inputs_there_is_no_database_check() {
    let scene = scene("{name: us-east, inputs: [api]}");
    scene.wait_for(CHECK, 200, "up");
    let answer = scene.agent.get(CHECK_DB);
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("no database among its inputs"), "{}", answer.body);
    assert_eq!(scene.region()["checks"].get("db_connect"), None, "what cannot be known is left out");
}

#[test]
fn an_unknown_region_is_404_and_head_is_answered() {
    let scene = scene(REGION);
    scene.wait_for(CHECK, 200, "up");
    for path in ["/v1/regions/eu-west", "/v1/regions/eu-west/check", "/v1/regions/eu-west/check/db"] {
        let answer = scene.agent.get(path);
        assert_eq!((answer.status, answer.header("cache-control")), (404, "no-store"), "{path}");
        assert!(answer.body.contains("us-east"), "it says which there is: {}", answer.body);
    }
    let head = send(scene.agent.address(), format!("HEAD {CHECK} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    assert_eq!((head.status, head.body.as_str(), head.header("region-state")), (200, "", "up"));
    let post = send(scene.agent.address(), format!("POST {CHECK} HTTP/1.0\r\nContent-Length: 0\r\n\r\n").as_bytes());
    assert_eq!(post.unwrap().status, 405);
}

#[test]
fn without_a_region_every_address_of_regions_is_404_with_what_to_add() {
    let agent = Agent::start("targets: {port: {tcp: {address: \"127.0.0.1:1\"}}}");
    for path in ["/v1/regions", "/v1/regions/here", "/v1/regions/here/check"] {
        let answer = agent.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("add `region:"), "{}", answer.body);
    }
}

#[test]
fn until_the_first_verdict_the_answer_is_none() {
    // Nothing is looked at that could be: the look hangs, and the target is new.
    let hanging = HttpService::start(Answer::Hang);
    let agent = Agent::start(&format!(
        "
targets:
  api: {{http: {{url: \"{}\"}}, interval: 18s, timeout: 9s, fall: 1, grace: 10m}}
region: {{name: us-east, inputs: [api]}}
",
        hanging.url("/")
    ));
    let answer = eventually("the region", SOON, || {
        let answer = agent.get(CHECK);
        if answer.status == 503 { Ok(answer) } else { Err(format!("{answer:?}")) }
    });
    assert_eq!((first_line(&answer), answer.header("region-state")), ("REGION-STATE=NONE", "unknown"));
    assert_eq!(answer.header("region-answer-age"), "", "there is none that could have an age");
    let region = agent.get("/v1/regions/us-east").json();
    assert_eq!((&region["state"], &region["frozen"], region.get("answer")), (&"unknown".into(), &false.into(), None));
}

/// Restarts the agent so that it cannot know: the API hangs.
fn restart_blind(scene: &mut Scene, kill: bool) {
    if kill {
        scene.agent.kill9();
    } else {
        assert!(scene.agent.terminate().success());
    }
    let text = configuration(&scene.api, &scene.database, REGION);
    // Longer than the test: no verdict is made of the first look.
    let slow = text.replace("api: {http: {", "api: {interval: 14500ms, timeout: 14s, fall: 1, http: {");
    scene.api.answer(Answer::Hang);
    scene.agent.setup.configure(&slow);
    scene.agent.start_again();
}

#[test]
fn the_last_answer_outlives_a_restart_and_has_an_age() {
    for (kill, down) in [(false, false), (true, true)] {
        let mut scene = scene(REGION);
        scene.wait_for(CHECK, 200, "up");
        if down {
            scene.api.answer(Answer::Status(500));
            scene.wait_for(CHECK, 503, "down");
        }
        restart_blind(&mut scene, kill);
        let (status, line) = if down { (503, "REGION-STATE=DOWN") } else { (200, "REGION-STATE=UP") };
        let answer = scene.wait_for(CHECK, status, "unknown");
        assert_eq!(first_line(&answer), line);
        let age: u64 = answer.header("region-answer-age").parse().unwrap();
        assert!(age < 3_600, "{answer:?}");
        let region = scene.region();
        assert_eq!((&region["state"], &region["frozen"]), (&"unknown".into(), &true.into()));
        assert_eq!(region["actionable"], false);
        eventually("the answer to grow older", SOON, || {
            let now = scene.agent.get(CHECK);
            let older = now.header("region-answer-age").parse::<u64>().is_ok_and(|now| now > age);
            if older { Ok(()) } else { Err(format!("{now:?}")) }
        });
    }
}

#[test]
fn a_region_of_another_name_begins_without_an_answer() {
    let mut scene = scene(REGION);
    scene.wait_for(CHECK, 200, "up");
    restart_blind(&mut scene, false);
    scene.wait_for(CHECK, 200, "unknown");
    assert!(scene.agent.terminate().success());
    for (name, status) in [("eu-west", 503), ("us-east", 503)] {
        let text = configuration(&scene.api, &scene.database, &REGION.replace("us-east", name));
        let slow = text.replace("api: {http: {", "api: {interval: 14500ms, timeout: 14s, fall: 1, http: {");
        scene.agent.setup.configure(&slow);
        scene.agent.start_again();
        let answer = scene.agent.get(&format!("/v1/regions/{name}/check"));
        assert_eq!(
            (answer.status, first_line(&answer)),
            (status, "REGION-STATE=NONE"),
            "{name}: the old one's is forgotten"
        );
        assert!(scene.agent.terminate().success());
    }
}

#[test]
fn a_failed_region_pages_and_resolves() {
    let (api, receiver) = (HttpService::start(Answer::Status(200)), Receiver::start());
    let text = format!(
        "
defaults: {{interval: 300ms, timeout: 300ms, confirm: 50ms, fall: 3}}
evaluation: {{interval: 300ms}}
targets: {{api: {{http: {{url: \"{}\"}}}}}}
region: {{name: us-east, inputs: [api], clean: 1s}}
{}",
        api.url("/"),
        pages_for_everything(&receiver)
    );
    let agent = Setup::new(&text).start();
    until("the region to be up", SOON, || agent.get(CHECK).status == 200);
    until("the answer to be a metric", SOON, || {
        agent.metrics("watchkeeper_region_answer", &["check=\"service\"", "region=\"us-east\""]) == [1.0]
    });
    api.answer(Answer::Status(500));
    let page = receiver.wait_for_page("RegionFailed", SOON);
    assert_eq!(page.status(), "firing");
    api.answer(Answer::Status(200));
    receiver.wait_for_resolve("RegionFailed", SOON);
    let transitions = agent.metrics("watchkeeper_region_transitions_total", &["check=\"service\"", "state=\"down\""]);
    assert!(transitions.first() >= Some(&1.0), "{transitions:?}");
    until("the state to be a metric", SOON, || {
        agent.metrics("watchkeeper_region_state", &["check=\"service\"", "state=\"up\""]) == [1.0]
    });
    assert_eq!(agent.metrics("watchkeeper_region_answer_age_seconds", &["check=\"service\""]).len(), 1);
}
