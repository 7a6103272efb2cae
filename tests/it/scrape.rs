//! Pages of metrics, good and hostile, scraped by the real agent.

use std::io::Write;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::support::agent::{Agent, Setup};
use crate::support::http::{Answer, HttpService};
use crate::support::wait::{SOON, eventually, until};

/// More than the agent needs in a debug build for pages within the caps, and far less than these pages are.
const MEMORY_KIB: u64 = 192 * 1024;

const OFTEN: &str = "defaults: {interval: 200ms, timeout: 190ms, confirm: 20ms}\n";

fn text_page(text: &str) -> Answer {
    let headers = vec![("Content-Type".to_owned(), "text/plain; version=0.0.4".to_owned())];
    Answer::Full { status: 200, headers, body: text.as_bytes().to_vec() }
}

fn openmetrics_page(text: &str) -> Answer {
    let headers = vec![("Content-Type".to_owned(), "application/openmetrics-text; version=1.0.0".to_owned())];
    Answer::Full { status: 200, headers, body: text.as_bytes().to_vec() }
}

fn packed_page(plain: &[u8]) -> Answer {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(plain).unwrap();
    let headers = vec![("Content-Encoding".to_owned(), "gzip".to_owned())];
    Answer::Full { status: 200, headers, body: packed.finish().unwrap() }
}

#[track_caller]
fn wait_for_values(agent: &Agent, name: &str, expected: &[f64]) {
    eventually(&format!("{name} to be {expected:?}"), SOON, || match agent.metrics(name, &[]) {
        values if values == expected => Ok(()),
        values => Err(format!("{values:?}")),
    });
}

#[test]
fn what_an_application_exposes_is_seen_and_ends_with_it() {
    let app = HttpService::start(text_page("# TYPE hits counter\nhits{job=\"x\"} 1\nload 0.5\n"));
    let agent = Agent::start(&format!("{OFTEN}targets: {{app: {{scrape: {{url: \"{}\"}}}}}}\n", app.url("/metrics")));
    agent.wait_for_verdict("app", true);
    wait_for_values(&agent, "hits", &[1.0]);
    let text = agent.get("/metrics").body;
    let instance = format!("instance=\"{}\"", app.url("/metrics"));
    let line = text.lines().find(|line| line.starts_with("hits{")).unwrap();
    for part in ["exported_job=\"x\"", "job=\"app\"", "target=\"app\"", "service=\"app\"", &instance] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(text.contains("# TYPE hits counter\n"));
    assert!(!text.contains("\nup{"), "Prometheus makes its own");
    assert_eq!(agent.metrics("scrape_samples_scraped", &[]), [2.0]);

    app.answer(openmetrics_page("# TYPE hits counter\nhits_total 5\n# EOF\n"));
    wait_for_values(&agent, "hits_total", &[5.0]);
    wait_for_values(&agent, "load", &[]);

    app.answer(openmetrics_page("# TYPE hits counter\nhits_total 6\n"));
    agent.wait_for_verdict("app", false);
    wait_for_values(&agent, "hits_total", &[]);
    wait_for_values(&agent, "scrape_samples_scraped", &[0.0]);
    let failing = agent.metrics("watchkeeper_target_failure", &["reason=\"body\""]);
    assert_eq!(failing, [1.0], "a page without its end is malformed");

    app.answer(packed_page(b"hits_total 7\n"));
    wait_for_values(&agent, "hits_total", &[7.0]);
}

#[test]
fn hostile_pages_cost_their_caps_and_delay_no_other_target() {
    let good = HttpService::start(text_page("good 1\n"));
    let many: String = (0..1_000_000).map(|series| format!("s{{n=\"{series}\"}} 1\n")).collect();
    let one_label = format!("a{{b=\"{}\"}} 1\n", "x".repeat(1 << 20));
    let pages = [
        ("endless", Answer::Flood),
        ("drip", Answer::Drip),
        ("stall", Answer::Stall),
        ("million", text_page(&many)),
        ("label", text_page(&one_label)),
        ("bomb", packed_page(&vec![b'\n'; 1 << 30])),
        ("garbage", text_page("\u{0}\u{1}what\n")),
        ("nul", text_page("a\u{0} 1\n")),
        ("bytes", Answer::Full { status: 200, headers: Vec::new(), body: b"a{b=\"\xff\"} 1\n".to_vec() }),
        ("no_eof", openmetrics_page("a 1\n")),
        ("html", Answer::with_header(200, "Content-Type", "text/html")),
    ];
    let services: Vec<_> = pages.map(|(name, answer)| (name, HttpService::start(answer))).into();
    let mut text = "defaults: {interval: 2s, timeout: 2s, confirm: 50ms}\ntargets:\n".to_owned();
    text += &format!("  good: {{scrape: {{url: \"{}\"}}, interval: 100ms, timeout: 90ms}}\n", good.url("/metrics"));
    for (name, service) in &services {
        // A million series are no more bytes than that: they meet their own cap.
        let max_bytes = if *name == "million" { 32 << 20 } else { 4 << 20 };
        text += &format!("  {name}: {{scrape: {{url: \"{}\", max_bytes: {max_bytes}}}}}\n", service.url("/metrics"));
    }
    let agent = Agent::start(&text);
    for (name, _) in &services {
        agent.wait_for_verdict(name, false);
    }
    let looks = good.requests();
    until("the good target to be scraped on and on", SOON, || good.requests() > looks + 50);
    agent.wait_for_verdict("good", true);
    wait_for_values(&agent, "good", &[1.0]);
    let peak = agent.memory_kib("VmHWM");
    assert!(peak < MEMORY_KIB, "{peak} KiB at its peak");
    assert!(agent.metric("watchkeeper_store_series").is_some_and(|series| series < 1_000.0), "nothing of them is kept");
    for (name, reason) in [("bomb", "body"), ("million", "body"), ("label", "body"), ("drip", "timeout")] {
        let of_target = format!("target=\"{name}\"");
        let parts = [of_target.as_str(), &format!("reason=\"{reason}\"")];
        until(name, SOON, || agent.metrics("watchkeeper_target_failure", &parts) == [1.0]);
    }
    let said = agent.get("/api/v1/targets").body;
    for cap in [
        "the page is larger than 4194304 bytes",
        "more than 20000 samples: expose less, or raise max_series",
        "raise max_label_bytes",
    ] {
        assert!(said.contains(cap), "{cap}: {said}");
    }
}

#[test]
fn a_page_of_other_series_every_time_is_bounded_by_the_target_s_cap() {
    let scrapes = std::sync::atomic::AtomicUsize::new(0);
    let churning = HttpService::start_deciding(move |_| {
        let scrape = scrapes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let page: String = (0..100).map(|series| format!("churn{{scrape=\"{scrape}\",n=\"{series}\"}} 1\n")).collect();
        text_page(&page)
    });
    let url = churning.url("/metrics");
    let agent = Agent::start(&format!("{OFTEN}targets: {{app: {{scrape: {{url: \"{url}\", max_series: 100}}}}}}\n"));
    until("thirty scrapes", SOON, || churning.requests() > 30);
    agent.wait_for_verdict("app", true);
    let own = 1_000.0;
    let held = agent.metric("watchkeeper_store_series").unwrap();
    assert!(held < own + 300.0, "{held} series");
    assert_eq!(agent.metrics("churn", &[]).len(), 100, "the newest page is there whole");
}

#[test]
fn every_metric_of_a_scrape_is_on_its_page() {
    let page = include_str!("../../docs/reference/probes/scrape.md");
    let names = watchkeeper::probe::scrape::METRICS.iter().map(|metric| metric.name);
    let missing: Vec<_> = names.filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn probe_shows_the_first_samples() {
    let app = HttpService::start(text_page(&(0..12).map(|n| format!("load{{n=\"{n}\"}} {n}\n")).collect::<String>()));
    let setup = Setup::new(&format!("targets: {{app: {{scrape: {{url: \"{}\"}}}}}}\n", app.url("/metrics")));
    let config = setup.folder().join("watchkeeper.yml");
    let probe = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_watchkeeper"));
        let output = command.args(["probe", "--config", config.to_str().unwrap(), "app"]).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = probe(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("scrape_samples_scraped 12\n"), "{text}");
    assert!(text.contains("the page, first 10 of 12 samples:\n    load{n=\"0\"} 0\n"), "{text}");
    let json: Value = serde_json::from_str(&probe(&["--json"]).1).unwrap();
    assert_eq!(json["page"]["samples"], 12);
    assert_eq!(json["page"]["first"][9]["labels"]["n"], "9");

    app.answer(text_page("load what\n"));
    let (code, text) = probe(&[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("failed (body): page: line 1: expected a number, found \"what\""), "{text}");
}
