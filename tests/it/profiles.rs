//! The profiles, each with the services that it expects.

use std::time::Duration;

use crate::configuration::pages_for_everything;
use crate::support::agent::Setup;
use crate::support::http::{Answer, HttpService};
use crate::support::node::Gateway;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::Postgres;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::wait::{SOON, until};

/// A shipped rule waits for 10 s.
const PATIENT: Duration = Duration::from_secs(60);

const QUICK: &str = "defaults: {interval: 500ms, timeout: 400ms}\nevaluation: {interval: 500ms}\n";

/// An application with a health page, a front page and metrics.
fn application() -> HttpService {
    HttpService::start_deciding(|request| match request.path.as_str() {
        "/health" | "/healthz/readiness" | "/" => Answer::text(200, "ok"),
        "/metrics" => Answer::text(200, "# TYPE requests_total counter\nrequests_total{code=\"200\"} 5\n"),
        _ => Answer::Status(404),
    })
}

fn origin(service: &HttpService) -> String {
    service.url("").trim_end_matches('/').to_owned()
}

#[test]
fn orbisvoice_is_watched_whole_by_its_name_alone_and_every_part_can_be_overridden() {
    let (api, web, referrals) = (application(), application(), application());
    let (mut gateway, server, redis, receiver) =
        (Gateway::start(), Postgres::start(), Redis::start(), Receiver::start());
    let pooler = PgBouncer::before(&server, "");
    let file = format!(
        "{QUICK}{}targets:\n  referrals: {{http: {{url: \"{}/health\"}}, priority: P2}}\n  web: {{priority: P3}}\n",
        pages_for_everything(&receiver),
        origin(&referrals)
    );
    let agent = Setup::new(&file)
        .argument("--profile")
        .argument("orbisvoice")
        .environment("API_URL", &origin(&api))
        .environment("WEB_URL", &origin(&web))
        .environment("VOICE_GATEWAY_HOST", "127.0.0.1")
        .environment("VOICE_GATEWAY_PORT", &gateway.port.to_string())
        .environment("DATABASE_URL", &pooler.url())
        .environment("REDIS_URL", &redis.url())
        .start();
    for target in ["api", "api-metrics", "voice-gateway", "web", "database", "redis", "node", "referrals"] {
        agent.wait_for_verdict(target, true);
    }
    let web = || agent.metrics("watchkeeper_target_up", &["target=\"web\"", "priority=\"P3\""]);
    until("the web to have its priority", SOON, || web() == [1.0]);
    assert_eq!(agent.metrics("watchkeeper_websocket_connections_hard_limit", &[]), [1000.0]);
    assert_eq!(agent.metrics("requests_total", &["service=\"api\""]), [5.0]);
    assert_eq!(gateway.counts()["sessions"], 0, "the probe opens no session");

    gateway.kill();
    let page = receiver.wait_for_page("ServiceDown", PATIENT);
    let labels = &page.alert("firing", "ServiceDown").unwrap()["labels"];
    assert_eq!(
        (&labels["target"], &labels["severity"], &labels["priority"]),
        (&"voice-gateway".into(), &"critical".into(), &"P0".into())
    );
    gateway.start_again();
    receiver.wait_for_resolve("ServiceDown", PATIENT);
}

#[test]
fn maxai_is_watched_whole_and_what_is_not_there_can_be_left_out() {
    const SERVICES: [(&str, &str); 11] = [
        ("portal-web", "PORTAL_WEB_URL"),
        ("admin-web", "ADMIN_WEB_URL"),
        ("api-gateway", "API_GATEWAY_URL"),
        ("webhook-ingress", "WEBHOOK_INGRESS_URL"),
        ("iam", "IAM_URL"),
        ("prompt-svc", "PROMPT_SVC_URL"),
        ("orchestrator", "ORCHESTRATOR_URL"),
        ("billing-usage", "BILLING_USAGE_URL"),
        ("payments", "PAYMENTS_URL"),
        ("n8n", "N8N_URL"),
        ("load-balancer", "LOAD_BALANCER_URL"),
    ];
    let services = SERVICES.map(|(name, variable)| (name, variable, application()));
    let (server, cache, mut queue) = (Postgres::start(), Redis::start(), Redis::start());
    let receiver = Receiver::start();
    let pooler = PgBouncer::before(&server, "");
    let file = format!("profile: maxai\n{QUICK}{}targets: {{admin-web: false}}\n", pages_for_everything(&receiver));
    let mut setup = Setup::new(&file)
        .environment("DATABASE_URL", &pooler.url())
        .environment("REDIS_URL", &cache.url())
        .environment("REDIS_QUEUE_URL", &queue.url());
    for (_, variable, service) in &services {
        setup = setup.environment(variable, &origin(service));
    }
    let agent = setup.start();
    for (name, ..) in services.iter().filter(|(name, ..)| *name != "admin-web") {
        agent.wait_for_verdict(name, true);
    }
    for target in ["database", "redis-cache", "redis-queue", "node"] {
        agent.wait_for_verdict(target, true);
    }
    for service in ["api-gateway", "webhook-ingress", "iam", "prompt-svc", "orchestrator", "billing-usage", "payments"]
    {
        agent.wait_for_verdict(&format!("{service}-metrics"), true);
        assert_eq!(agent.metrics("requests_total", &[&format!("service=\"{service}\"")]), [5.0]);
    }
    assert!(agent.metrics("watchkeeper_target_up", &["target=\"admin-web\""]).is_empty(), "it was left out");

    queue.stop();
    let page = receiver.wait_for_page("ServiceDown", PATIENT);
    assert_eq!(page.alert("firing", "ServiceDown").unwrap()["labels"]["target"], "redis-queue");
    queue.start_again();
    receiver.wait_for_resolve("ServiceDown", PATIENT + SOON);
}
