use serde_json::Value;

use super::*;
use crate::alert::Resolution;
use crate::alert::group::Resolved;
use crate::sample::Labels;
use crate::state::samples;

fn settings(url: &str, auth: Option<Auth>) -> Settings {
    Settings { url: Secret::new(url), auth, timeout: Duration::from_secs(10) }
}

fn firing(service: &str) -> Notified {
    Notified { alert: samples::alert(service, 1_700_000_000_000), resolved: None, first: true, news: true }
}

fn alerts(told: Vec<Notified>) -> Value {
    let group_labels = Labels::default();
    let notification = Notification {
        key: "am:{}".into(),
        receiver: "am".into(),
        group_labels,
        alerts: told,
        first: true,
        news: true,
    };
    let message = settings("http://am:9093", None).messages(&notification, "http://127.0.0.1:7799").remove(0);
    serde_json::from_slice(&message.payload).unwrap()
}

#[test]
fn alerts_are_as_the_api_takes_them_and_only_what_has_ended_has_an_end() {
    let resolved = Some(Resolved { at: 1_700_000_060_000, reason: Resolution::Recovered });
    let told = alerts(vec![firing("db"), Notified { resolved, ..firing("cache") }]);
    let expected = json!({
        "labels": {"alertname": "ServiceDown", "service": "db", "severity": "critical"},
        "annotations": {"summary": "db is down"},
        "startsAt": "2023-11-14T22:13:20.000Z",
        "generatorURL": "http://127.0.0.1:7799/api/v1/alerts",
    });
    assert_eq!(told[0], expected, "a frozen end would be past when it arrives late");
    assert_eq!(told[1]["endsAt"], "2023-11-14T22:14:20.000Z");
    assert_eq!(told[1]["annotations"]["resolution"], "recovered");
}

#[test]
fn no_time_is_ahead_of_the_clock_that_others_have() {
    const STARTED: Timestamp = 1_700_000_000_000;
    let sent = |told: Notified, wall_ms| -> Value {
        let payload = Bytes::from(alerts(vec![told]).to_string());
        let delivery = Delivery { payload, ..samples::delivery(1, "k", false) };
        let request = settings("http://am:9093", None).request(&delivery, wall_ms).unwrap();
        serde_json::from_slice(&request.body).unwrap()
    };
    let times = |sent: &Value| (sent[0]["startsAt"].clone(), sent[0].get("endsAt").cloned());
    let resolved = |at| Notified { resolved: Some(Resolved { at, reason: Resolution::Recovered }), ..firing("db") };
    let at = |ms| Value::from(rfc3339(ms));
    assert_eq!(times(&sent(firing("db"), STARTED + 5)), (at(STARTED), None));
    assert_eq!(times(&sent(firing("db"), STARTED - 5)), (at(STARTED - 5), None));
    assert_eq!(times(&sent(resolved(STARTED + 9), STARTED + 9)), (at(STARTED), Some(at(STARTED + 9))));
    assert_eq!(times(&sent(resolved(STARTED + 9), STARTED - 5)), (at(STARTED - 5), Some(at(STARTED - 5))));
    assert_eq!(times(&sent(resolved(STARTED - 9), STARTED + 5)), (at(STARTED - 9), Some(at(STARTED - 9))));
}

#[test]
fn one_url_is_one_peer_whatever_stands_behind_its_host() {
    for (url, expected) in [
        ("http://am:9093", "http://am:9093/api/v2/alerts"),
        ("http://am:9093/prefix/", "http://am:9093/prefix/api/v2/alerts"),
        ("http://am:9093/api/v2/alerts", "http://am:9093/api/v2/alerts"),
    ] {
        let request = settings(url, None).request(&samples::delivery(1, "k", false), 0).unwrap();
        assert_eq!(request.url.expose(), expected);
    }
    assert_eq!(settings("am:9093", None).check()[0].0, "urls");
}

#[test]
fn who_we_are_is_read_for_each_attempt() {
    let secret = |text: &str| SecretSource::Value(Secret::new(text));
    let header = |auth| {
        let request = settings("http://am:9093", Some(auth)).request(&samples::delivery(1, "k", false), 0).unwrap();
        request.headers.iter().find(|(name, _)| *name == "authorization").unwrap().1.expose().to_owned()
    };
    let basic = Auth::Basic { username: "me".into(), password: secret("pass") };
    assert_eq!(header(basic), "Basic bWU6cGFzcw==");
    assert_eq!(header(Auth::Bearer(secret("token"))), "Bearer token");
    let missing = settings("http://am:9093", Some(Auth::Bearer(SecretSource::File("/nowhere/token".into()))));
    assert_eq!(missing.check()[0].0, "credentials");
    assert!(missing.request(&samples::delivery(1, "k", false), 0).is_err());
}

#[test]
fn every_status_is_judged() {
    for status in 100..=599 {
        let expected = match status {
            200..=299 => Meaning::Taken,
            400 | 413 | 422 => Meaning::Refused,
            _ => Meaning::Later,
        };
        assert_eq!(meaning(&Answer { status, retry_after: None, body: String::new() }), expected, "{status}");
    }
}
