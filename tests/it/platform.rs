//! A small platform, watched whole by one agent: an application in Node with prom-client, a gateway in Node, PostgreSQL,
//! Redis, certificates, a disk and memory. Each fault reaches the right people with the right words, ends for them as
//! it ended, and nobody hears of anything else.
//!
//! The rules are the shipped ones, word for word, with every duration cut to a sixtieth.

mod people;
mod quick;
mod scene;

use std::fs;

use people::{Page, critical, warning};
use scene::{HARD, MEMORY_MIB, SOFT, Scene};

use crate::support::cgroup::Group;
use crate::support::wait::{SOON, until};

#[test]
fn an_application_that_fails_or_is_slow_is_told_by_degrees() {
    let scene = Scene::start();
    let _visitors = scene.application.visit(40);
    until("the visits to be counted", SOON, || of_shop(&scene, "service:requests:increase5m") >= 20.0);

    let few_fail = warning("ErrorRateWarning", "shop fails more than 1% of its requests");
    let many_fail = critical("ErrorRateCritical", "P1", "shop fails more than 5% of its requests");
    let by_degrees = |worse: f64| scene.application.fail(worse);
    degrees(&scene, by_degrees, [(0.03, &few_fail), (0.2, &many_fail)]);

    let slow = warning("LatencyP95Warning", "shop answers slower than 500 ms");
    let slower = critical("LatencyP95Critical", "P1", "shop answers slower than 1 s");
    let by_degrees = |worse: f64| scene.application.slow_down(worse);
    degrees(&scene, by_degrees, [(0.6, &slow), (1.5, &slower)]);
    scene.agent.wait_for_verdict("shop", true);
}

fn of_shop(scene: &Scene, recorded: &str) -> f64 {
    scene.agent.metrics(recorded, &["service=\"shop\""]).first().copied().unwrap_or_default()
}

/// Worse and worse, each with its page, then well again, and both have ended.
#[track_caller]
fn degrees(scene: &Scene, become_worse: impl Fn(f64), degrees: [(f64, &Page); 2]) {
    let mut told = Vec::new();
    for (worse, page) in degrees {
        become_worse(worse);
        told.push(scene.people.told(page));
        scene.people.nothing_else(&told);
    }
    become_worse(0.0);
    told.iter().for_each(|page| scene.people.told_of_the_end(page));
    scene.people.nothing_else(&told);
    scene.people.forget();
}

#[test]
fn a_gateway_that_is_full_is_not_down_and_one_that_is_killed_is() {
    let mut scene = Scene::start();
    let nearly_full = warning("GatewayLoadHigh", "voice is loaded beyond its soft limit");
    let full = critical("GatewayFull", "P1", "voice has as many connections as it can have");
    // The agent's own connection is one of them.
    let some = scene.gateway.fill(SOFT - 1);
    let nearly_full = scene.people.told(&nearly_full);
    scene.people.nothing_else(std::slice::from_ref(&nearly_full));
    let rest = scene.gateway.fill(HARD - SOFT);
    let full = scene.people.told(&full);
    until("a fresh look to be refused", SOON, || scene.gateway.counts()["refused"].as_u64() >= Some(2));
    scene.agent.wait_for_verdict("voice", true); // full is not down, of which somebody would be told
    drop((some, rest));
    scene.people.told_of_the_end(&full);
    scene.people.told_of_the_end(&nearly_full);
    scene.people.nothing_else(&[full, nearly_full]);
    scene.people.forget();

    scene.gateway.kill();
    let down = scene.people.told(&critical("ServiceDown", "P0", "voice is down").because("refused"));
    scene.gateway.start_again();
    scene.people.told_of_the_end(&down);
    scene.people.nothing_else(&[down]);
    assert_eq!(scene.gateway.counts()["sessions"], 0, "no look has opened a session");
}

#[test]
fn databases_that_are_killed_are_told_each_for_itself() {
    let mut scene = Scene::start();
    let no_database = critical("ServiceDown", "P0", "database is down");
    let no_cache = critical("ServiceDown", "P1", "cache is down");
    scene.database.kill();
    let no_database = scene.people.told(&no_database);
    scene.cache.kill();
    let no_cache = scene.people.told(&no_cache);
    scene.people.nothing_else(&[no_database.clone(), no_cache.clone()]);
    scene.database.start_again();
    scene.people.told_of_the_end(&no_database);
    scene.cache.start_again();
    scene.people.told_of_the_end(&no_cache);
    scene.people.nothing_else(&[no_database, no_cache]);
}

#[test]
fn a_certificate_that_has_expired_is_told_of_each_target_that_shows_it() {
    let scene = Scene::start();
    scene.front.expire();
    let told = [
        critical("CertificateExpired", "P1", "the certificate of front has expired"),
        critical("CertificateExpired", "P1", "the certificate of front-port has expired"),
        critical("ServiceDown", "P1", "front is down").because("has expired on 2020-12-31"),
        critical("ServiceDown", "P1", "front-port is down").because("has expired on 2020-12-31"),
    ]
    .map(|page| scene.people.told(&page));
    scene.people.nothing_else(&told);
    scene.front.renew();
    told.iter().for_each(|page| scene.people.told_of_the_end(page));
    scene.people.nothing_else(&told);
}

#[test]
fn a_disk_that_is_full_and_memory_that_is_pressed_are_told() {
    let scene = Scene::start();
    let full = format!("{} of {} is full", scene.disk.path().display(), scene.node());
    let ballast = scene.disk.fill();
    let full = scene.people.told(&critical("DiskFull", "P1", &full));
    fs::remove_file(ballast).unwrap();
    scene.people.told_of_the_end(&full);
    scene.people.nothing_else(&[full]);
    scene.people.forget();
    match Group::new("platform") {
        Ok(group) => memory(&scene, &group),
        Err(why) => println!("skipped: memory pressed in a control group, which cannot be made here: {why}"),
    }
}

/// The pressure leaves the agent some room: it is watching, and lives in the same group.
fn memory(scene: &Scene, group: &Group) {
    const ROOM_MIB: u32 = 6;
    group.allow(u64::from(MEMORY_MIB) << 20);
    group.take(scene.agent.id());
    let limit = || scene.agent.metric("container_spec_memory_limit_bytes");
    until("the limit to be seen", SOON, || limit() == Some(f64::from(MEMORY_MIB << 20)));
    let taken = scene.agent.metric("container_memory_working_set_bytes").unwrap() / f64::from(1 << 20);
    let pressure = scene.memory.path().join("pressure");
    group.write(MEMORY_MIB - ROOM_MIB - taken.ceil() as u32, &pressure);
    let summary = format!("the pod of {} is near its memory limit", scene.node());
    let pressed = scene.people.told(&warning("ContainerMemoryHigh", &summary));
    fs::remove_file(pressure).unwrap();
    scene.people.told_of_the_end(&pressed);
    scene.people.nothing_else(&[pressed]);
}
