use super::*;
use crate::alert::Resolution;
use crate::alert::group::Resolved;
use crate::state::samples;

const KEY: &str = "0123456789abcdef0123456789ABCDEF";
const AGENT: &str = "http://127.0.0.1:7799";

fn settings() -> Settings {
    Settings {
        routing_key: SecretSource::Value(Secret::new(KEY)),
        url: Secret::new(URL),
        severity: None,
        client: "Watchkeeper".to_owned(),
        send_resolved: true,
        timeout: Duration::from_secs(10),
    }
}

fn firing(service: &str) -> Notified {
    Notified { alert: samples::alert(service, 1_700_000_000_000), resolved: None, first: true, news: true }
}

fn ended(service: &str) -> Notified {
    let resolved = Resolved { at: 1_700_000_060_000, reason: Resolution::Recovered };
    Notified { resolved: Some(resolved), first: false, ..firing(service) }
}

fn notification(alerts: Vec<Notified>) -> Notification {
    let group_labels = Labels::default();
    Notification { key: "pager:{}".into(), receiver: "pager".into(), group_labels, alerts, first: true, news: true }
}

fn events(settings: &Settings, alerts: Vec<Notified>) -> Vec<(Message, Value)> {
    let messages = settings.messages(&notification(alerts), AGENT).into_iter();
    messages.map(|message| (message.clone(), serde_json::from_slice(&message.payload).unwrap())).collect()
}

fn event(settings: &Settings, told: Notified) -> Value {
    events(settings, vec![told]).remove(0).1
}

#[test]
fn every_alert_is_an_incident_of_its_own_from_page_to_resolve() {
    let pages = events(&settings(), vec![firing("db"), firing("cache")]);
    let resolves = events(&settings(), vec![ended("db"), ended("cache")]);
    for ((page, event), (resolve, end)) in pages.iter().zip(&resolves) {
        assert_eq!((page.key.as_str(), &event["dedup_key"]), (resolve.key.as_str(), &end["dedup_key"]));
        assert_eq!((&event["event_action"], &end["event_action"]), (&json!("trigger"), &json!("resolve")));
        assert_eq!((page.first, page.resolve, resolve.first, resolve.resolve), (true, false, false, true));
    }
    assert_ne!(pages[0].0.key, pages[1].0.key);
    assert_eq!(pages[0].0.key, r#"pager:{alertname="ServiceDown", service="db", severity="critical"}"#);
}

#[test]
fn an_alert_of_which_there_is_nothing_new_is_not_sent_again() {
    let known = Notified { first: false, news: false, ..firing("cache") };
    let told = events(&settings(), vec![firing("db"), known.clone()]);
    assert_eq!(told.len(), 1);
    let repeated = events(&settings(), vec![Notified { news: true, ..known }]);
    assert_eq!((repeated[0].0.first, &repeated[0].1["event_action"]), (false, &json!("trigger")));
    let deaf = Settings { send_resolved: false, ..settings() };
    assert!(events(&deaf, vec![ended("db")]).is_empty());
}

#[test]
fn an_alert_that_another_rule_still_fires_is_not_resolved() {
    let mut other = ended("db");
    other.alert.id.rule = "AnotherRule".into();
    let told = events(&settings(), vec![firing("db"), other]);
    assert_eq!(told.iter().map(|(message, _)| message.resolve).collect::<Vec<_>>(), [false]);
}

#[test]
fn an_event_says_what_where_how_bad_and_why() {
    let mut told = firing("db");
    let labels = told.alert.id.labels.with_all([("instance", "10.0.0.5:5432"), ("job", "databases")]);
    told.alert.id.labels = labels;
    for (name, value) in [("cause", "connection refused"), ("runbook_url", "https://runbooks/ServiceDown?a=1&b=2")] {
        told.alert.annotations.insert(name.to_owned(), value.to_owned());
    }
    let event = event(&settings(), told);
    let payload = &event["payload"];
    assert_eq!(payload["summary"], "db is down");
    assert_eq!(payload["source"], "10.0.0.5:5432");
    assert_eq!(payload["severity"], "critical");
    assert_eq!(payload["timestamp"], "2023-11-14T22:13:20.000Z");
    let place = (&payload["component"], &payload["group"], &payload["class"]);
    assert_eq!(place, (&json!("db"), &json!("databases"), &json!("ServiceDown")));
    assert_eq!(payload["custom_details"]["cause"], "connection refused");
    assert_eq!(payload["custom_details"]["labels"]["service"], "db");
    assert_eq!(event["links"][0]["href"], "https://runbooks/ServiceDown?a=1&b=2");
    assert_eq!(event["links"][1]["href"], "http://127.0.0.1:7799/api/v1/alerts");
    assert_eq!((&event["client"], &event["client_url"]), (&json!("Watchkeeper"), &json!(AGENT)));
}

#[test]
fn a_severity_is_one_of_four_words() {
    for (label, expected) in [
        ("critical", "critical"),
        ("page", "critical"),
        ("Warning", "warning"),
        ("info", "info"),
        ("error", "error"),
        ("catastrophe", "error"),
        ("", "error"),
    ] {
        assert_eq!(severity(label), expected, "{label}");
    }
    let fixed = Settings { severity: Some("info".into()), ..settings() };
    assert_eq!(event(&fixed, firing("db"))["payload"]["severity"], "info");
}

#[test]
fn what_is_longer_than_pagerduty_takes_is_cut_on_a_boundary_and_said() {
    let mut told = firing("db");
    told.alert.annotations.insert("summary".into(), "ü".repeat(2_000));
    told.alert.annotations.insert("description".into(), "é\"\n".repeat(400_000));
    let (message, event) = events(&settings(), vec![told]).remove(0);
    let request = settings().request(&delivery(&message), 0).unwrap();
    assert!(request.body.len() <= MAX_EVENT, "{}", request.body.len());
    let summary = event["payload"]["summary"].as_str().unwrap();
    assert_eq!((summary.chars().count(), summary.ends_with('…')), (MAX_SUMMARY, true));
    let details = event["payload"]["custom_details"]["details"].as_str().unwrap();
    assert!(details.starts_with("left out: the event was "), "{details}");
}

#[test]
fn an_event_at_the_limit_is_whole() {
    let mut whole = 0;
    for size in (511_000..512_000).step_by(10) {
        let mut told = firing("db");
        told.alert.annotations.insert("description".into(), "x".repeat(size));
        let message = settings().messages(&notification(vec![told]), AGENT).remove(0);
        let length = settings().request(&delivery(&message), 0).unwrap().body.len();
        assert!(length <= MAX_EVENT, "{length}");
        whole = whole.max(length);
    }
    assert!(whole > MAX_EVENT - 100, "nothing is cut before it must be: {whole}");
}

#[test]
fn a_key_of_any_length_stays_within_255_bytes_and_tells_alerts_apart() {
    let labels = |last: &str| Labels::new([("a", "ü".repeat(400).as_str()), ("b", last)]);
    let (one, other) = (dedup_key("pager", &labels("1")), dedup_key("pager", &labels("2")));
    assert!(one.len() <= MAX_KEY && other.len() <= MAX_KEY && one.len() > MAX_KEY - 4, "{one}");
    assert_ne!(one, other);
    assert_eq!(one, dedup_key("pager", &labels("1")));
    assert_ne!(dedup_key("chat", &labels("1")), one, "each receiver has its own incidents");
}

fn delivery(message: &Message) -> Delivery {
    Delivery { payload: message.payload.clone(), ..samples::delivery(7, &message.key, message.resolve) }
}

#[test]
fn the_routing_key_is_put_in_for_the_attempt_only() {
    let message = settings().messages(&notification(vec![firing("db")]), AGENT).remove(0);
    assert!(!String::from_utf8_lossy(&message.payload).contains(KEY), "it is not kept");
    let request = settings().request(&delivery(&message), 0).unwrap();
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!((&body["routing_key"], &body["event_action"]), (&json!(KEY), &json!("trigger")));
    assert_eq!(request.url.expose(), URL);
    assert!(!format!("{:?} {request:?}", settings()).contains(KEY));
}

#[test]
fn a_key_file_is_read_for_each_attempt() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let settings = Settings { routing_key: SecretSource::File(file.path().to_owned()), ..settings() };
    let message = settings.messages(&notification(vec![firing("db")]), AGENT).remove(0);
    let error = settings.request(&delivery(&message), 0).unwrap_err();
    assert!(error.contains("this one has 0"), "{error}");
    std::fs::write(file.path(), format!("{KEY}\n")).unwrap();
    assert!(settings.request(&delivery(&message), 0).is_ok());
    assert_eq!(settings.check(), []);
}

#[test]
fn every_status_is_judged() {
    for status in 100..=599 {
        let expected = match status {
            200..=299 => Meaning::Taken,
            400 | 413 => Meaning::Refused,
            _ => Meaning::Later,
        };
        assert_eq!(meaning(&Answer { status, retry_after: None, body: String::new() }), expected, "{status}");
    }
}
