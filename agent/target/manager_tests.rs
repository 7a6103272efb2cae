use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::matcher::{MatchOp, Matcher};
use crate::net::NetSettings;
use crate::net::fake::Server;
use crate::promql;
use crate::sample::METRIC_NAME;
use crate::store;
use crate::target::task::tests::{shared, until};
use crate::target::tests::target;
use crate::target::watch::Watch;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BAD: &str = "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno";

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

#[test]
fn who_is_watched_stays_and_sixteen_are_enough() {
    let all: Vec<IpAddr> = (1..=20).map(address).collect();
    assert_eq!(members(Vec::new(), &all), all[..16]);
    let watched = all[4..].to_vec();
    assert_eq!(members(watched.clone(), &all), watched, "nobody is pushed out by a smaller address");
    assert_eq!(members(watched, &all[..6]), [address(5), address(6), address(1), address(2), address(3), address(4)]);
}

/// A target whose name stands in a hosts file, served at addresses of the loopback network.
struct Scene {
    watch: Watch,
    shared: Arc<Shared>,
    hosts: tempfile::NamedTempFile,
    port: u16,
    _state: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let hosts = tempfile::NamedTempFile::new().unwrap();
        let (shared, state) = shared(NetSettings { hosts_file: hosts.path().to_owned(), ..NetSettings::default() });
        let port = Server::answering(OK).await.address.port();
        Scene { watch: Watch::new(shared.clone()), shared, hosts, port, _state: state }
    }

    fn lead_to(&self, addresses: &[u8]) {
        let lines: String = addresses.iter().map(|last| format!("127.0.0.{last} api\n")).collect();
        std::fs::write(self.hosts.path(), lines).unwrap();
    }

    fn target(&self) -> Target {
        let mut target = target("api", "http", &format!("url: 'http://api:{}/health'", self.port));
        target.schedule.interval = Duration::from_millis(100);
        target.schedule.timeout = Duration::from_millis(90);
        target.schedule.confirm = Duration::from_millis(10);
        target
    }

    async fn start(&mut self, target: Target) {
        self.watch.apply(vec![target], &BTreeMap::new()).await;
    }

    async fn serve(&self, last: u8, answer: &str) -> Server {
        Server::answering_on(SocketAddr::new(address(last), self.port), answer).await
    }

    /// The newest values of a metric by the last part of the instance's address, or `name` for the target's own label.
    fn values(&self, metric: &str) -> BTreeMap<String, f64> {
        let store = store::lock(&self.shared.store);
        let of_metric = store.newest(self.shared.clock.now()).filter(|(labels, ..)| labels.get(METRIC_NAME) == metric);
        let host = |instance: &str| instance.split(['/', ':']).nth(3).unwrap_or_default().to_owned();
        of_metric.map(|(labels, value, _)| (host(labels.get("instance")), value)).collect()
    }

    async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        until(&self.shared, what, || reached(self)).await;
    }

    async fn until_values(&self, metric: &str, wanted: &[(&str, f64)]) {
        let wanted: BTreeMap<String, f64> = wanted.iter().map(|(host, value)| ((*host).to_owned(), *value)).collect();
        self.until(&format!("{metric} to be {wanted:?}"), |scene| scene.values(metric) == wanted).await;
    }
}

#[tokio::test]
async fn one_address_is_one_instance_with_the_target_s_own_labels() {
    let mut scene = Scene::new().await;
    scene.lead_to(&[2]);
    let _served = scene.serve(2, OK).await;
    let target = scene.target();
    scene.start(target).await;
    scene.until_values("watchkeeper_target_up", &[("api", 1.0)]).await;
    assert_eq!(scene.values("probe_success"), BTreeMap::from([("api".to_owned(), 1.0)]));
    assert_eq!(scene.values("watchkeeper_instance_up"), BTreeMap::new());
}

#[tokio::test]
async fn each_of_several_addresses_has_a_verdict_and_the_target_is_down_when_all_are() {
    let mut scene = Scene::new().await;
    scene.lead_to(&[2, 3, 4]);
    let mut served = [scene.serve(2, OK).await, scene.serve(3, OK).await, scene.serve(4, BAD).await];
    let target = scene.target();
    scene.start(target).await;
    let some = [("127.0.0.2", 1.0), ("127.0.0.3", 1.0), ("127.0.0.4", 0.0)];
    scene.until_values("watchkeeper_instance_up", &some).await;
    assert_eq!(scene.values("watchkeeper_target_up"), BTreeMap::from([("api".to_owned(), 1.0)]));
    scene.until_values("probe_success", &some).await;
    let cause = |instance: &str| {
        let instance = format!("http://{instance}:{}/health", scene.port);
        scene.shared.board.cause(&crate::sample::Labels::new([("target", "api"), ("instance", &instance)]))
    };
    assert_eq!(cause("127.0.0.2"), None);
    assert!(cause("127.0.0.4").unwrap().contains("503"));

    served[0] = Server::answering(OK).await;
    served[1] = Server::answering(OK).await;
    scene.until_values("watchkeeper_target_up", &[("api", 0.0)]).await;
    let cause = scene.shared.board.view("api").unwrap().error().unwrap();
    for named in ["127.0.0.2", "127.0.0.3", "127.0.0.4", "connection refused", "503"] {
        assert!(cause.contains(named), "{named} in {cause}");
    }
    served[2] = scene.serve(2, OK).await;
    scene.until_values("watchkeeper_target_up", &[("api", 1.0)]).await;
}

#[tokio::test]
async fn instances_come_and_go_with_the_name_s_addresses() {
    let mut scene = Scene::new().await;
    scene.lead_to(&[2]);
    let _served = [scene.serve(2, OK).await, scene.serve(3, OK).await];
    let target = scene.target();
    scene.start(target).await;
    scene.until_values("watchkeeper_target_up", &[("api", 1.0)]).await;
    let mut changes = scene.shared.board.subscribe();
    changes.mark_unchanged();

    scene.lead_to(&[2, 3]);
    scene.until_values("watchkeeper_instance_up", &[("127.0.0.2", 1.0), ("127.0.0.3", 1.0)]).await;
    scene.lead_to(&[3, 4]);
    scene.until_values("watchkeeper_instance_up", &[("127.0.0.3", 1.0), ("127.0.0.4", 0.0)]).await;
    assert_eq!(scene.values("probe_success").len(), 2, "the series of the address that left have ended");
    scene.lead_to(&[3]);
    scene.until_values("watchkeeper_instance_up", &[]).await;
    assert_eq!(scene.values("watchkeeper_target_up"), BTreeMap::from([("api".to_owned(), 1.0)]));
    scene.until_values("probe_success", &[("api", 1.0)]).await;
    let view = scene.shared.board.view("api").unwrap();
    assert_eq!((view.verdict, view.instances.len()), (Verdict::Up, 0));
}

#[tokio::test]
async fn scaling_up_while_some_are_down_neither_makes_nor_ends_an_outage() {
    let mut scene = Scene::new().await;
    scene.lead_to(&[2, 3]);
    let target = Target { grace: Duration::from_secs(60), ..scene.target() };
    scene.start(target).await;
    scene.until_values("watchkeeper_target_up", &[("api", 0.0)]).await;
    scene.lead_to(&[2, 3, 4]);
    let has =
        |scene: &Scene| scene.shared.board.view("api").unwrap().instances.values().filter(|view| view.looked).count();
    scene.until("the third to be looked at", |scene| has(scene) == 3).await;
    assert_eq!(scene.values("watchkeeper_instance_up").len(), 2, "the third has its grace");
    assert_eq!(scene.values("watchkeeper_target_up"), BTreeMap::from([("api".to_owned(), 0.0)]));
    let _served = scene.serve(4, OK).await;
    scene.until_values("watchkeeper_target_up", &[("api", 1.0)]).await;
}

#[tokio::test]
async fn the_only_instance_that_is_up_may_be_replaced_by_another_without_an_outage() {
    let mut scene = Scene::new().await;
    scene.lead_to(&[2, 3]);
    let _served = [scene.serve(2, OK).await, scene.serve(3, BAD).await, scene.serve(4, OK).await];
    let target = scene.target();
    scene.start(target).await;
    scene.until_values("watchkeeper_instance_up", &[("127.0.0.2", 1.0), ("127.0.0.3", 0.0)]).await;
    scene.until_values("watchkeeper_target_up", &[("api", 1.0)]).await;
    let began = scene.shared.clock.now();
    scene.lead_to(&[3, 4]);
    scene.until_values("watchkeeper_instance_up", &[("127.0.0.3", 0.0), ("127.0.0.4", 1.0)]).await;
    let store = store::lock(&scene.shared.store);
    let name = Matcher::new(METRIC_NAME, MatchOp::Equal, "watchkeeper_target_up").unwrap();
    let points =
        promql::series_between(&store.current(), &[name], began, scene.shared.clock.now() + 1).remove(0).points;
    assert!(points.iter().all(|point| point.value == 1.0), "{points:?}");
}
