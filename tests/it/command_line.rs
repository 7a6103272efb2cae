//! The commands that talk to a running agent, as people and programs use them: the real binary asks the real agent.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::configuration::paging;
use crate::support::agent::Agent;
use crate::support::http::{Answer, HttpService};
use crate::support::process::wait_for_exit;
use crate::support::receiver::Receiver;
use crate::support::wait::{SOON, until};

/// What a command said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    output: String,
    errors: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watchkeeper"));
    command.args(words).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(words: &[&str]) -> Said {
    ended(command(words).spawn().unwrap())
}

fn ended(mut child: Child) -> Said {
    wait_for_exit(&mut child, SOON);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), output: text(&output.stdout), errors: text(&output.stderr) }
}

/// Asks an agent.
fn ask(agent: &Agent, words: &[&str]) -> Said {
    let url = format!("http://{}", agent.address());
    run(&[words, &["--url", &url]].concat())
}

/// An agent that watches one service, which also is its region.
struct Scene {
    service: HttpService,
    receiver: Receiver,
    agent: Agent,
}

fn scene(status: u16) -> Scene {
    let (service, receiver) = (HttpService::start(Answer::Status(status)), Receiver::start());
    let more = format!(
        "
shipped_rules: {{disable: [EvaluationLate]}}
targets: {{api: {{http: {{url: \"{}\"}}, labels: {{team: web}}}}}}
region: {{name: us-east, inputs: [api], clean: 1s}}
",
        service.url("/health")
    );
    let agent = paging(&receiver, &more).start();
    agent.wait_for_verdict("api", status == 200);
    Scene { service, receiver, agent }
}

#[test]
fn status_shows_targets_with_their_cause_and_receivers() {
    let scene = scene(500);
    scene.receiver.wait_for_page("TargetDown", SOON);
    let said = ask(&scene.agent, &["status"]);
    assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "{said:?}");
    let line = |of: &str| said.output.lines().find(|line| line.starts_with(of)).unwrap_or_else(|| panic!("{said:?}"));
    assert!(line("api ").contains("DOWN") && line("api ").contains("500"), "{}", said.output);
    assert!(line("people ").contains("good"), "{}", said.output);
    assert!(line("config ").contains("good") && line("state ").contains("durable"), "{}", said.output);
    assert!(line("region ").contains("us-east: down"), "{}", said.output);
}

#[test]
fn status_is_json_for_programs() {
    let scene = scene(500);
    let json = ask(&scene.agent, &["status", "--json"]).json();
    assert_eq!(json["targets"][0]["target"], "api");
    assert_eq!(json["targets"][0]["verdict"], "down");
    assert!(json["targets"][0]["cause"].as_str().unwrap().contains("500"), "{json}");
    assert_eq!((&json["config"]["good"], &json["state"]["durable"]), (&true.into(), &true.into()));
    assert_eq!(json["receivers"][0]["receiver"], "people");
}

#[test]
fn alerts_are_listed_with_their_cause() {
    let scene = scene(500);
    scene.receiver.wait_for_page("TargetDown", SOON);
    let said = ask(&scene.agent, &["alerts"]);
    assert_eq!(said.code, Some(0));
    let line = said.output.lines().find(|line| line.starts_with("TargetDown")).unwrap_or_else(|| panic!("{said:?}"));
    assert!(["firing", "critical", "api is down", "500"].iter().all(|part| line.contains(part)), "{line}");
    let json = ask(&scene.agent, &["alerts", "--json"]).json();
    let names: Vec<&str> =
        json.as_array().unwrap().iter().filter_map(|alert| alert["labels"]["alertname"].as_str()).collect();
    assert!(names.contains(&"TargetDown"), "{json}");
}

#[test]
fn an_agent_that_is_not_there_is_an_error_with_what_to_do() {
    for (words, code) in [
        (&["status"][..], 1),
        (&["alerts"], 1),
        (&["watch", "--for", "1m"], 1),
        (&["region", "status", "us-east"], 2),
        (&["region", "status", "--binary"], 2),
    ] {
        let said = run(&[words, &["--url", "http://127.0.0.1:1"]].concat());
        assert_eq!((said.code, said.output.as_str()), (Some(code), ""), "{words:?}: {said:?}");
        for part in ["http://127.0.0.1:1", "connection refused", "watchkeeper run", "--url"] {
            assert!(said.errors.contains(part), "{part} in {:?}", said.errors);
        }
        assert_eq!(said.errors.lines().count(), 1, "{}", said.errors);
    }
}

#[test]
fn what_is_no_agent_is_told_apart() {
    let other = HttpService::start(Answer::text(200, "It works!"));
    for (words, code) in [
        (&["status"][..], 1),
        (&["alerts"], 1),
        (&["region", "status", "here"], 2),
        (&["region", "status", "here", "--binary"], 2),
    ] {
        let said = run(&[words, &["--url", &other.url("/")]].concat());
        assert_eq!(said.code, Some(code), "{words:?}: {said:?}");
    }
    assert!(run(&["status", "--url", &other.url("/")]).errors.contains("not answer as a watchkeeper agent does"));
    let speaks_json = HttpService::start(Answer::text(200, r#"{"status": "ok"}"#));
    for command in ["status", "alerts"] {
        let said = run(&[command, "--url", &speaks_json.url("/")]);
        assert_eq!((said.code, said.output.as_str()), (Some(1), ""), "{said:?}");
    }
}

#[test]
fn an_agent_that_wants_the_token_is_asked_with_it() {
    let receiver = Receiver::start();
    let agent = paging(&receiver, "auth: {token_file: secret, reading: token}").with_file("secret", "first\n").start();
    let denied = ask(&agent, &["status"]);
    assert_eq!(denied.code, Some(1), "{denied:?}");
    assert!(denied.errors.contains("--token-file"), "{denied:?}");
    let file = agent.setup.folder().join("secret");
    let said = ask(&agent, &["status", "--token-file", file.to_str().unwrap()]);
    assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "{said:?}");
    let gone = ask(&agent, &["status", "--token-file", "gone"]);
    assert!(gone.code == Some(1) && gone.errors.contains("gone"), "{gone:?}");
}

/// A configuration that scrapes, and rules with a name that the page has and one that it does not have.
fn to_check(agent: &Agent) -> String {
    agent.setup.write(
        "names.yml",
        "groups: [{name: names, labels: {severity: info}, rules: [
          {alert: There, expr: jobs_waiting > 5, annotations: {runbook_url: x}},
          {alert: Misspelt, expr: jobs_waitin > 5, annotations: {runbook_url: x}}]}]\n",
    );
    agent.setup.folder().join("watchkeeper.yml").display().to_string()
}

fn scraping(application: &HttpService) -> Agent {
    let target = format!("targets: {{app: {{scrape: {{url: \"{}\"}}}}}}", application.url("/metrics"));
    let agent = Agent::start(&format!("{target}\ndefaults: {{interval: 300ms}}\n"));
    until("a page", SOON, || application.requests() > 1);
    agent
}

#[test]
fn check_judges_names_by_what_a_running_agent_has() {
    let application = HttpService::start(Answer::text(200, "jobs_waiting 7\n"));
    let agent = scraping(&application);
    let config = to_check(&agent);
    let rules = agent.setup.folder().join("names.yml").display().to_string();
    let check = ["check", "--config", &config, &rules];
    let alone = run(&check);
    assert_eq!((alone.code, alone.errors.as_str()), (Some(0), ""), "any name could be scraped: {alone:?}");

    let url = format!("http://{}", agent.address());
    let said = run(&[&check[..], &["--running", "--url", &url]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.errors.contains("names.yml:3:35: warning: no configured target"), "{said:?}");
    assert!(said.errors.contains("did you mean `jobs_waiting`? (unknown-metric)\n1 warning\n"), "{said:?}");
    assert_eq!(run(&[&check[..], &["--running", "--strict", "--url", &url]].concat()).code, Some(1));
    let allowed = ["--running", "--strict", "--allow", "unknown-metric", "--url", &url];
    assert_eq!(run(&[&check[..], &allowed].concat()).code, Some(0));
    assert_eq!(run(&[&check[..], &["--allow", "unknown-metrik"]].concat()).code, Some(3), "wrong usage");

    let gone = run(&[&check[..], &["--running", "--url", "http://127.0.0.1:1"]].concat());
    assert_eq!((gone.code, gone.output.as_str()), (Some(1), ""), "{gone:?}");
    assert!(gone.errors.contains("cannot reach the agent at http://127.0.0.1:1"), "{gone:?}");
}

#[test]
fn check_asks_an_agent_that_wants_the_token_with_it() {
    let application = HttpService::start(Answer::text(200, "jobs_waiting 7\n"));
    let receiver = Receiver::start();
    let target = format!("targets: {{app: {{scrape: {{url: \"{}\"}}}}}}\n", application.url("/metrics"));
    let auth = "auth: {token_file: secret, reading: token}\n";
    let agent = paging(&receiver, &format!("{target}{auth}")).with_file("secret", "first\n").start();
    until("a page", SOON, || application.requests() > 1);
    let config = to_check(&agent);
    let rules = agent.setup.folder().join("names.yml").display().to_string();
    let check = ["check", "--config", &config, &rules, "--running", "--allow", "no-runbook"];
    let denied = ask(&agent, &check);
    assert!(denied.code == Some(1) && denied.errors.contains("--token-file"), "{denied:?}");
    let file = agent.setup.folder().join("secret");
    let said = ask(&agent, &[&check[..], &["--token-file", file.to_str().unwrap()]].concat());
    assert!(said.code == Some(0) && said.errors.contains("did you mean `jobs_waiting`?"), "{said:?}");
}

/// An agent that shows what it watches only to those who have its token.
fn closed(auth: &str) -> (HttpService, Agent) {
    let service = HttpService::start(Answer::Status(200));
    let more =
        format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}\nregion: {{name: r, inputs: [api]}}", service.url("/"));
    let agent = Agent::start(&format!("{auth}\nshipped_rules: {{disable: [NobodyIsPaged]}}\n{more}\n"));
    until("the first pass", SOON, || agent.get("/health").status == 200);
    assert_eq!(agent.get("/v1/status").status, 401);
    (service, agent)
}

const ASKING: [&[&str]; 4] = [&["status"], &["alerts"], &["watch", "--for", "1s"], &["region", "status"]];

#[test]
fn the_token_in_the_state_folder_opens_an_agent_on_this_machine() {
    let (_service, agent) = closed("auth: {reading: token}");
    let state = agent.setup.state().display().to_string();
    let asked = |words: &[&str], state: &str, url: &str| {
        let mut command = command(&[words, &["--url", url]].concat());
        ended(command.env("STATE_DIRECTORY", state).spawn().unwrap())
    };
    let url = format!("http://{}", agent.address());
    for words in ASKING {
        let said = asked(words, &state, &url);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
    }
    let said = asked(&["status"], "/nowhere", &url);
    assert_eq!(said.code, Some(1));
    assert!(said.errors.contains("/nowhere/token") && said.errors.contains("--token-file"), "{}", said.errors);
    assert_eq!(asked(&["region", "status"], "/nowhere", &url).code, Some(2));
    assert_eq!(asked(&["region", "status", "r", "--binary"], "/nowhere", &url).code, Some(0), "checks stay open");
}

#[test]
fn a_token_file_is_named_by_argument_or_variable_and_never_shown() {
    let (_service, agent) = closed("auth: {reading: token}");
    agent.setup.write("right", "right-token\n");
    agent.setup.write("wrong", "wrong-token\n");
    let file = |name: &str| agent.setup.folder().join(name).display().to_string();
    agent.setup.configure(&format!("auth: {{token_file: {}, reading: token}}", file("right")));
    agent.signal("HUP");
    let asked = |words: &[&str], variable: &str| {
        let mut command = command(&[words, &["--url", &format!("http://{}", agent.address())]].concat());
        ended(command.env("WATCHKEEPER_TOKEN_FILE", variable).spawn().unwrap())
    };
    let (right, wrong) = (file("right"), file("wrong"));
    until("the reload", SOON, || asked(&["status"], &right).code == Some(0));
    assert_eq!(asked(&["alerts", "--token-file", &right], &wrong).code, Some(0), "the argument wins");
    for (words, variable) in [(&["status", "--token-file", &wrong][..], &right), (&["status"], &wrong)] {
        let said = asked(words, variable);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.errors.contains("does not take the token in") && said.errors.contains(&wrong), "{}", said.errors);
        assert!(!said.errors.contains("wrong-token"), "{}", said.errors);
    }
    let said = asked(&["status", "--token-file", "/nowhere"], "");
    assert!(said.code == Some(1) && said.errors.contains("the token in /nowhere cannot be used"), "{said:?}");
}

#[test]
fn wrong_usage_is_3_and_help_has_an_example() {
    for words in [
        &["watch"][..],
        &["watch", "--for", "soon"],
        &["status", "--url", "nowhere"],
        &["region"],
        &["alerts", "x"],
        &["test"],
        &["test", "--replay", "history"],
    ] {
        assert_eq!(run(words).code, Some(3), "{words:?}");
    }
    for words in
        [&["status", "--help"][..], &["alerts", "--help"], &["watch", "--help"], &["region", "status", "--help"]]
    {
        let said = run(words);
        assert_eq!(said.code, Some(0));
        assert!(said.output.contains("Example") && said.output.contains("Exit code"), "{words:?}: {}", said.output);
    }
}

#[test]
fn the_region_has_an_exit_code_for_failover_tooling() {
    let scene = scene(200);
    until("the region to be up", SOON, || scene.agent.get("/v1/regions/us-east/check").status == 200);
    for words in [&["region", "status", "us-east"][..], &["region", "status"], &["region", "status", "--binary"]] {
        let said = ask(&scene.agent, words);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        assert!(said.output.starts_with("us-east: up") || said.output == "REGION-STATE=UP\n", "{}", said.output);
    }
    assert_eq!(ask(&scene.agent, &["region", "status", "--db"]).code, Some(2), "there is none");
    assert_eq!(ask(&scene.agent, &["region", "status", "eu-west"]).code, Some(2));

    scene.service.answer(Answer::Status(500));
    until("the region to be down", SOON, || scene.agent.get("/v1/regions/us-east/check").status == 503);
    let said = ask(&scene.agent, &["region", "status"]);
    assert_eq!(said.code, Some(2));
    assert!(said.output.starts_with("us-east: down") && said.output.contains("api is down"), "{}", said.output);
    let said = ask(&scene.agent, &["region", "status", "--binary"]);
    assert_eq!((said.code, said.output.as_str()), (Some(2), "REGION-STATE=DOWN\n"));
    let said = ask(&scene.agent, &["region", "status", "--json"]);
    assert_eq!((said.code, &said.json()["state"]), (Some(2), &"down".into()));
}

#[test]
fn a_degraded_region_is_1_and_still_0_for_a_load_balancer() {
    let service = HttpService::start(Answer::Status(200));
    let agent = Agent::start(&format!(
        "
targets: {{api: {{http: {{url: \"{}\"}}, interval: 1s, timeout: 1s}}}}
region: {{name: us-east, inputs: [{{target: api, soft_latency: 300ms}}]}}
",
        service.url("/")
    ));
    service.decide(|_| {
        std::thread::sleep(Duration::from_millis(500));
        Answer::Status(200)
    });
    until("the region to be degraded", SOON, || {
        agent.get("/v1/regions/us-east/check").header("region-state") == "degraded"
    });
    assert_eq!(ask(&agent, &["region", "status"]).code, Some(1));
    assert_eq!(ask(&agent, &["region", "status", "--binary"]).code, Some(0));
}

#[test]
fn a_watch_in_which_nothing_fires_is_good() {
    let scene = scene(200);
    until("the agent to be ready", SOON, || scene.agent.get("/health").status == 200);
    let said = ask(&scene.agent, &["watch", "--for", "2s"]);
    assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.output.ends_with("nothing fired\n"), "{}", said.output);
}

#[test]
fn a_watch_fails_on_what_fires_meanwhile_and_tells_it_as_it_comes() {
    let scene = scene(200);
    until("the agent to be ready", SOON, || scene.agent.get("/health").status == 200);
    let url = format!("http://{}", scene.agent.address());
    let watch = command(&["watch", "--for", "15s", "--json", "--url", &url]).spawn().unwrap();
    scene.service.answer(Answer::Status(500));
    scene.receiver.wait_for_page("TargetDown", SOON);
    // Longer than between two looks of the watch.
    crate::support::agent::let_pass(Duration::from_secs(2));
    scene.service.answer(Answer::Status(200));
    let said = ended(watch);
    assert_eq!(said.code, Some(1), "{said:?}");
    let events: Vec<Value> = said.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| {
        let is = |line: &&Value| line["event"] == event && line["alert"]["labels"]["alertname"] == "TargetDown";
        events.iter().filter(is).count()
    };
    assert_eq!((of("firing"), of("resolved")), (1, 1), "{}", said.output);
    assert_eq!(events.last().map(|event| &event["good"]), Some(&false.into()));
}

#[test]
fn what_fires_at_the_start_counts_unless_only_what_is_new_does() {
    let scene = scene(500);
    scene.receiver.wait_for_page("TargetDown", SOON);
    until("the agent to be ready", SOON, || scene.agent.get("/health").status == 200);
    // Later than every shipped rule that fires on this.
    until("the shipped page", SOON, || {
        scene.agent.get("/api/v1/alerts").body.contains("ServiceDown\",") && {
            let alerts = scene.agent.get("/api/v1/alerts").json();
            alerts["data"]["alerts"].as_array().unwrap().iter().all(|alert| alert["state"] == "firing")
        }
    });
    let said = ask(&scene.agent, &["watch", "--for", "1s"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.output.contains("fires already  TargetDown (critical) api"), "{}", said.output);
    let said = ask(&scene.agent, &["watch", "--for", "1s", "--new-only"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.output.contains("fires already  TargetDown"), "listed all the same: {}", said.output);
}

#[test]
fn a_watch_whose_agent_goes_is_no_good_one() {
    let mut scene = scene(200);
    until("the agent to be ready", SOON, || scene.agent.get("/health").status == 200);
    let url = format!("http://{}", scene.agent.address());
    let watch = command(&["watch", "--for", "4s", "--url", &url]).spawn().unwrap();
    crate::support::agent::let_pass(Duration::from_secs(1));
    scene.agent.kill9();
    let said = ended(watch);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.output.contains("AGENT LOST") && said.errors.contains("nobody watched at the end"), "{said:?}");
}

#[test]
fn a_watch_goes_on_when_the_agent_comes_back() {
    let service = HttpService::start(Answer::Status(200));
    let port = crate::support::place::free_port();
    let receiver = Receiver::start();
    let more = format!(
        "listen: 127.0.0.1:{port}\nshipped_rules: {{disable: [EvaluationLate]}}\n\
         targets: {{api: {{http: {{url: \"{}\"}}}}}}\n",
        service.url("/")
    );
    let mut agent = paging(&receiver, &more).start();
    until("the agent to be ready", SOON, || agent.get("/health").status == 200);
    let url = format!("http://127.0.0.1:{port}");
    let watch = command(&["watch", "--for", "10s", "--new-only", "--url", &url]).spawn().unwrap();
    crate::support::agent::let_pass(Duration::from_secs(1));
    agent.kill9();
    crate::support::agent::let_pass(Duration::from_secs(2));
    agent.start_again();
    let said = ended(watch);
    assert!(said.output.contains("AGENT LOST") && said.output.contains("agent is back"), "{said:?}");
    assert_eq!(said.code, Some(0), "{said:?}");
}
