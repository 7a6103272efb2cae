//! PostgreSQL and Redis as their probes see them: the library against real servers.

mod leaks;
mod pgbouncer;
mod postgres;
mod redis;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use watchkeeper::net::{Net, NetSettings, within};
use watchkeeper::probe::{Failure, Path, Prober, Reason, Report, Settings};

use crate::support::wait::SOON;

/// Long enough for any look here, on a slow machine too.
const LIMIT: Duration = Duration::from_secs(10);

/// What looks at this URL.
fn prober(url: &str) -> Prober {
    Settings::from_url(url).unwrap().unwrap().prober(net())
}

/// What looks as these settings of a kind say.
fn configured(kind: &str, settings: Value) -> Prober {
    Settings::deserialize(kind, settings).unwrap().unwrap().prober(net())
}

fn net() -> Arc<Net> {
    Arc::new(Net::new(NetSettings::default()))
}

async fn look(prober: &mut Prober, path: Path) -> Report {
    Box::pin(within(LIMIT, prober.look(path))).await.unwrap()
}

/// A look that must succeed.
#[track_caller]
fn good(report: Report) -> Report {
    assert_eq!(report.failure, None);
    report
}

/// A look that must fail so; returns the failure's text.
#[track_caller]
fn failed(report: &Report, reason: Reason) -> String {
    let failure = report.failure.as_ref().unwrap_or_else(|| panic!("not {reason:?} but good"));
    assert_eq!(failure.reason, reason, "{failure}");
    failure.to_string()
}

/// Waits until the held connection breaks.
async fn broken(prober: &mut Prober) -> Failure {
    timeout(SOON, prober.broken()).await.expect("the held connection breaks")
}

/// Looks until a look is good.
async fn until_good(prober: &mut Prober, path: Path) -> Report {
    until_report(prober, path, |report| report.failure.is_none()).await
}

/// Looks until something listens there, whatever it says.
async fn until_listening(prober: &mut Prober) -> Report {
    let refused = |failure: &Failure| failure.reason == Reason::Refused;
    until_report(prober, Path::Fresh, |report| !report.failure.as_ref().is_some_and(refused)).await
}

async fn until_report(prober: &mut Prober, path: Path, wanted: impl Fn(&Report) -> bool) -> Report {
    let deadline = Instant::now() + SOON;
    loop {
        let report = look(prober, path).await;
        if wanted(&report) {
            return report;
        }
        assert!(Instant::now() < deadline, "{:?}", report.failure);
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for what the runtime must run for, such as the end of a connection that was dropped.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {SOON:?} for {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The value of a series: its metric's name, and labels that it must have.
#[track_caller]
fn value(report: &Report, name: &str, labels: &[(&str, &str)]) -> f64 {
    let found = report.readings.iter().find(|reading| {
        let has =
            |(name, value): &(&str, &str)| reading.labels.iter().any(|label| label.0 == *name && label.1 == *value);
        reading.metric.name == name && labels.iter().all(has)
    });
    found.unwrap_or_else(|| panic!("no {name} {labels:?} in {:#?}", report.readings)).value
}

fn phases(report: &Report) -> Vec<&'static str> {
    report.phases.iter().map(|(phase, _)| *phase).collect()
}

/// An authority and a server's certificate for `localhost` from it, in PEM.
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

fn certificates(name: &str) -> Certificates {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "a test's authority");
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let signed = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    Certificates { authority: signed.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}
