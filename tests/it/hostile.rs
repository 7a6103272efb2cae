//! Targets that flood, drip, stall or hang: they cost bounded memory and delay no other target.

use crate::support::agent::{Agent, Setup};
use crate::support::http::{Answer, HttpService};
use crate::support::tcp::TcpService;
use crate::support::wait::{SOON, eventually, until};

/// More than the agent needs in a debug build, and far less than a flood brings within the test.
const MEMORY_KIB: u64 = 192 * 1024;

fn start(targets: &[(&str, String)], healthy: &HttpService) -> Agent {
    let mut text = format!(
        "defaults: {{interval: 1s, timeout: 900ms, confirm: 50ms}}\ntargets:\n  healthy: {{http: {{url: \"{}\"}}, interval: 100ms, timeout: 90ms}}\n",
        healthy.url("/")
    );
    for (name, settings) in targets {
        text += &format!("  {name}: {{{settings}}}\n");
    }
    Setup::new(&text).start()
}

#[test]
fn a_hanging_target_delays_no_other() {
    let healthy = HttpService::start(Answer::Status(200));
    let hanging = HttpService::start(Answer::Hang);
    let agent = start(&[("hanging", format!("http: {{url: \"{}\"}}", hanging.url("/")))], &healthy);
    agent.wait_for_verdict("healthy", true);
    // While one look hangs, the other target is looked at several times: counted, because a clock would be guessing.
    eventually("several looks at the healthy target during one at the hanging one", SOON, || {
        until("a look that hangs", SOON, || hanging.open() == 1);
        let (look, before) = (hanging.connections(), healthy.requests());
        until("the end of that look", SOON, || hanging.connections() > look || hanging.open() == 0);
        match healthy.requests() - before {
            3.. => Ok(()),
            few => Err(format!("{few} looks")),
        }
    });
    agent.wait_for_verdict("hanging", false);
}

#[test]
fn hostile_targets_are_down_cost_bounded_memory_and_leave_others_alone() {
    let healthy = HttpService::start(Answer::Status(200));
    let answers = [Answer::Flood, Answer::Drip, Answer::Stall, Answer::Hang, Answer::Cut];
    let web: Vec<_> = answers.into_iter().map(HttpService::start).collect();
    let huge_head =
        HttpService::start(Answer::Raw(format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(200_000)).into_bytes()));
    let garbage = HttpService::start(Answer::Raw(b"\x00\x01 what\r\n\r\n".to_vec()));
    let raw = [TcpService::flood(), TcpService::drip(), TcpService::silent(), TcpService::hang_up()];
    let mut targets = Vec::new();
    let names = ["flood", "drip", "stall", "hang", "cut", "huge_head", "garbage"];
    for (name, service) in names.iter().zip(web.iter().chain([&huge_head, &garbage])) {
        targets.push((*name, format!("http: {{url: \"{}\"}}", service.url("/"))));
    }
    let names =
        [("redis_flood", "pg_flood"), ("redis_drip", "pg_drip"), ("redis_mute", "pg_mute"), ("redis_cut", "pg_cut")];
    for ((redis, postgres), service) in names.iter().zip(&raw) {
        targets.push((*redis, format!("redis: {{url: \"redis://{}\"}}", service.address())));
        targets.push((*postgres, format!("postgres: {{url: \"postgres://u@{}/d\"}}", service.address())));
    }
    let agent = start(&targets, &healthy);
    for (name, _) in &targets {
        // A body that is too large is cut off, which says nothing about health by itself.
        if *name != "flood" {
            agent.wait_for_verdict(name, false);
        }
    }
    let looks = healthy.requests();
    until("the healthy target to be looked at on and on", SOON, || healthy.requests() > looks + 50);
    agent.wait_for_verdict("healthy", true);
    let peak = agent.memory_kib("VmHWM");
    assert!(peak < MEMORY_KIB, "{peak} KiB at its peak");
    for service in &web {
        assert!(service.open() <= 2, "{} connections are open", service.open());
    }
}
