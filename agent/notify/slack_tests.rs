use super::*;
use crate::alert::Resolution;
use crate::alert::group::Resolved;
use crate::sample::Labels;
use crate::state::samples;

const AGENT: &str = "http://127.0.0.1:7799";

fn settings() -> Settings {
    Settings {
        api_url: SecretSource::Value(Secret::new("https://hooks.slack.com/services/T/B/secret")),
        channel: None,
        username: None,
        send_resolved: true,
        timeout: Duration::from_secs(10),
    }
}

fn firing(service: &str) -> Notified {
    Notified { alert: samples::alert(service, 1_700_000_000_000), resolved: None, first: true, news: true }
}

fn notification(alerts: Vec<Notified>) -> Notification {
    let group_labels = Labels::default();
    Notification { key: "chat:{}".into(), receiver: "chat".into(), group_labels, alerts, first: true, news: true }
}

fn json(settings: &Settings, alerts: Vec<Notified>) -> Value {
    let message = settings.messages(&notification(alerts), AGENT).remove(0);
    serde_json::from_slice(&message.payload).unwrap()
}

fn text_of(block: &Value) -> &str {
    block["text"]["text"].as_str().or_else(|| block["elements"][0]["text"].as_str()).unwrap()
}

#[test]
fn a_page_can_be_read() {
    let mut told = firing("db");
    for (name, value) in [
        ("description", "db does not answer <at all> & nobody knows"),
        ("cause", "connection refused"),
        ("runbook_url", "https://runbooks/ServiceDown?a=1&b=2"),
    ] {
        told.alert.annotations.insert(name.to_owned(), value.to_owned());
    }
    let message = json(&settings(), vec![told]);
    assert_eq!(message["text"], "[FIRING] db is down");
    let text = text_of(&message["blocks"][0]);
    for line in [
        ":red_circle: *Firing* *db is down*",
        "*Severity* critical",
        "*Description* db does not answer &lt;at all&gt; &amp; nobody knows",
        "*Cause* connection refused",
        "*Value* NaN",
        "*Since* 2023-11-14T22:13:20.000Z",
        "<https://runbooks/ServiceDown?a=1&amp;b=2|Runbook>",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text_of(&message["blocks"][1]).contains("chat"));
    assert_eq!((&message["channel"], &message["username"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_runbook_that_is_no_link_is_named() {
    let mut told = firing("db");
    told.alert.annotations.insert("runbook_url".to_owned(), "docs/runbooks/ServiceDown.md".to_owned());
    let message = json(&settings(), vec![told]);
    assert!(text_of(&message["blocks"][0]).contains("*Runbook* docs/runbooks/ServiceDown.md"), "{message}");
}

#[test]
fn a_resolve_says_when_and_why() {
    let resolved = Some(Resolved { at: 1_700_000_060_000, reason: Resolution::RoutedElsewhere });
    let message = json(&settings(), vec![Notified { resolved, first: false, ..firing("db") }]);
    assert_eq!(message["text"], "[RESOLVED] db is down");
    let text = text_of(&message["blocks"][0]);
    assert!(text.contains("*Ended* routed elsewhere") && text.contains("*Until* 2023-11-14T22:14:20.000Z"), "{text}");
    let deaf = Settings { send_resolved: false, ..settings() };
    let only = Notification { news: false, ..notification(vec![Notified { resolved, ..firing("db") }]) };
    assert!(deaf.messages(&only, AGENT).is_empty());
}

#[test]
fn everything_at_once_stays_within_slack_s_limits_and_what_is_cut_is_counted() {
    let huge = |service: usize| {
        let mut told = firing(&format!("<{service}>{}", "&".repeat(5_000)));
        for name in ["summary", "description", "cause", "runbook_url"] {
            told.alert.annotations.insert(name.to_owned(), "<&>😀".repeat(10_000));
        }
        told
    };
    let message = json(&settings(), (0..70).map(huge).collect());
    let blocks = message["blocks"].as_array().unwrap();
    assert!(blocks.len() <= 50 && width(message["text"].as_str().unwrap()) <= MAX_TEXT);
    for block in blocks {
        assert!((1..=MAX_BLOCK).contains(&width(text_of(block))), "{}", width(text_of(block)));
        let bare = text_of(block).replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
        assert!(!bare.contains('&'), "no escape is cut in two: {bare}");
    }
    assert!(text_of(&blocks[0]).contains(" characters)"));
    assert!(text_of(&blocks[MAX_ALERTS]).starts_with("30 more alerts are not shown. "));
}

#[test]
fn a_text_is_cut_after_whole_characters_and_escapes() {
    assert_eq!(escaped("a<b", 10), "a&lt;b");
    let cut = escaped(&"&".repeat(100), 60);
    assert!(cut.starts_with("&amp;&amp;") && cut.ends_with("… (+93 characters)") && width(&cut) <= 60, "{cut}");
}

#[test]
fn a_channel_and_a_name_are_passed_on_and_the_url_is_read_for_each_attempt() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let settings = Settings {
        api_url: SecretSource::File(file.path().to_owned()),
        channel: Some("#ops".into()),
        username: Some("watch".into()),
        ..settings()
    };
    let message = json(&settings, vec![firing("db")]);
    assert_eq!((&message["channel"], &message["username"]), (&json!("#ops"), &json!("watch")));
    assert!(settings.request(&samples::delivery(1, "k", false), 0).is_err());
    std::fs::write(file.path(), "https://hooks.slack.com/services/T/B/new\n").unwrap();
    let request = settings.request(&samples::delivery(1, "k", false), 0).unwrap();
    assert_eq!(request.url.expose(), "https://hooks.slack.com/services/T/B/new");
    assert!(!format!("{request:?}").contains("new"));
}

#[test]
fn every_status_is_judged_and_only_slack_s_own_yes_is_one() {
    let judged = |status, body: &str| meaning(&Answer { status, retry_after: None, body: body.to_owned() });
    for status in 100..=599 {
        let expected = match status {
            200..=299 => Meaning::Taken,
            400 | 413 => Meaning::Refused,
            403 | 404 | 410 => Meaning::Gone,
            _ => Meaning::Later,
        };
        assert_eq!(judged(status, "ok"), expected, "{status}");
    }
    for taken in ["ok", "ok\n", "", r#"{"ok":true}"#, r#"{"success":true}"#] {
        assert_eq!(judged(200, taken), Meaning::Taken, "{taken}");
    }
    for not in ["<html>Sign in</html>", "no_text", r#"{"ok":false,"error":"invalid_auth"}"#] {
        assert_eq!(judged(200, not), Meaning::Later, "{not}");
    }
    for (status, body, expected) in [
        (400, "invalid_payload", Meaning::Refused),
        (403, "action_prohibited", Meaning::Gone),
        (404, "no_service", Meaning::Gone),
        (410, "channel_is_archived", Meaning::Gone),
        (429, "rate_limited", Meaning::Later),
        (500, "rollup_error", Meaning::Later),
    ] {
        assert_eq!(judged(status, body), expected, "{body}");
    }
}
