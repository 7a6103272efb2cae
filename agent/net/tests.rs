use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::fake::{self, NameServer, Server, Zone};
use super::tls::tests::{Authority, acceptor, params};
use super::tls::{Tls, TlsSettings};
use super::{Addresses, Net, NetSettings, within};
use crate::probe::Reason;

const LIMIT: Duration = Duration::from_secs(2);

fn addresses(v4: &[[u8; 4]]) -> Zone {
    Zone::Addresses { v4: v4.iter().map(|octets| Ipv4Addr::from(*octets)).collect(), v6: false, ttl: 0 }
}

/// A net that asks one name server, and reads one hosts file.
fn net(name_server: &NameServer) -> Net {
    let settings = NetSettings {
        name_servers: vec![name_server.address],
        hosts_file: "/dev/null".into(),
        ..NetSettings::default()
    };
    Net::new(settings)
}

fn net_with_hosts(hosts: &str) -> (Net, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), hosts).unwrap();
    let settings = NetSettings { hosts_file: file.path().to_owned(), ..NetSettings::default() };
    (Net::new(settings), file)
}

#[tokio::test]
async fn literals_and_localhost_need_no_resolver() {
    let settings = NetSettings { resolv_conf: "/nowhere".into(), hosts_file: "/nowhere".into(), name_servers: vec![] };
    let net = Net::new(settings);
    let resolve = async |host| net.resolve(host).await.unwrap();
    let loopback: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    assert_eq!(resolve("localhost").await, loopback);
    assert_eq!(resolve("LocalHost.").await, loopback);
    assert_eq!(resolve("10.1.2.3").await, ["10.1.2.3".parse::<IpAddr>().unwrap()]);
    assert_eq!(resolve("[::1]").await, ["::1".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn families_take_turns_and_ipv4_goes_first() {
    let v4 = vec![Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 1)];
    let dns = NameServer::start(Zone::Addresses { v4, v6: true, ttl: 60 }).await;
    let found = net(&dns).resolve("api.example").await.unwrap();
    let text: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["10.0.0.1", "::1", "10.0.0.2"]);
}

#[tokio::test]
async fn an_answer_is_used_until_its_ttl_ends_and_no_longer() {
    let dns = NameServer::start(Zone::Addresses { v4: vec![Ipv4Addr::LOCALHOST], v6: true, ttl: 60 }).await;
    let net = net(&dns);
    for _ in 0..3 {
        net.resolve("kept.example").await.unwrap();
    }
    assert_eq!(dns.asked.load(SeqCst), 2);
    dns.says(addresses(&[[127, 0, 0, 1]]));
    net.resolve("brief.example").await.unwrap();
    dns.says(addresses(&[[127, 0, 0, 2]]));
    assert_eq!(net.resolve("brief.example").await.unwrap(), ["127.0.0.2".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn a_name_that_is_gone_is_the_target_s_failure_and_a_dead_resolver_the_agent_s() {
    let dns = NameServer::start(Zone::NoSuchName).await;
    let net = net(&dns);
    let long = "x".repeat(300);
    let reason = async |host| net.resolve(host).await.unwrap_err().reason;
    assert_eq!(reason("gone.example").await, Reason::Dns);
    assert_eq!(reason("").await, Reason::Dns);
    assert_eq!(reason(&long).await, Reason::Dns);
    dns.says(addresses(&[]));
    assert_eq!(reason("empty.example").await, Reason::Dns);
    dns.says(Zone::ServerFailure);
    assert_eq!(reason("failing.example").await, Reason::ResolverTimeout);
    dns.says(Zone::Silence);
    let silent = within(Duration::from_millis(200), net.resolve("silent.example")).await.unwrap().unwrap_err();
    assert_eq!(silent.reason, Reason::ResolverTimeout);
    assert_eq!(silent.to_string(), "resolve: the resolver did not answer within 200ms");
}

#[tokio::test]
async fn a_silent_resolver_does_not_hide_a_target_that_answers() {
    let server = Server::answering("").await;
    let port = server.address.port();
    let dns = NameServer::start(addresses(&[[127, 0, 0, 1]])).await;
    let net = net(&dns);
    assert!(within(LIMIT, net.dial("api.example", port, None)).await.unwrap().is_ok());
    dns.says(Zone::Silence);
    let connection = within(Duration::from_secs(2), net.dial("API.example", port, None)).await.unwrap();
    assert_eq!(connection.unwrap().peer, server.address);
}

#[tokio::test]
async fn a_name_that_is_gone_fails_and_says_whether_its_last_address_answers() {
    let server = Server::answering("").await;
    let address = server.address;
    let dns = NameServer::start(addresses(&[[127, 0, 0, 1]])).await;
    let net = net(&dns);
    let dial = async || within(LIMIT, net.dial("api.example", address.port(), None)).await.unwrap();
    assert!(dial().await.is_ok());
    dns.says(Zone::NoSuchName);
    let failure = dial().await.err().unwrap().failure;
    assert_eq!(failure.reason, Reason::Dns);
    assert!(failure.error.ends_with(&format!("its last address {address} still answers")), "{failure}");
    drop(server);
    while tokio::net::TcpStream::connect(address).await.is_ok() {}
    let failure = dial().await.err().unwrap().failure;
    assert_eq!(failure.reason, Reason::Dns);
    assert!(failure.error.contains("does not answer either (connect 127.0.0.1"), "{failure}");
}

#[tokio::test]
async fn the_hosts_file_goes_before_dns_and_is_read_again_when_it_changes() {
    let (net, file) = net_with_hosts("# comment\n10.9.8.7 Api.internal api # more\nnonsense x\n10.9.8.6 api\n");
    let resolve = async |host| net.resolve(host).await.map(|found| found[0].to_string());
    assert_eq!(resolve("api.internal").await.unwrap(), "10.9.8.7");
    assert_eq!(net.resolve("API").await.unwrap().len(), 2);
    std::fs::write(file.path(), "10.1.1.1 api\n").unwrap();
    assert_eq!(resolve("api").await.unwrap(), "10.1.1.1");
}

#[tokio::test]
async fn a_refused_address_costs_nothing_and_the_next_is_tried() {
    let server = Server::start_at([127, 0, 0, 2].into(), |mut stream, _| async move {
        fake::read_to_end(&mut stream).await;
    })
    .await;
    let (net, _file) = net_with_hosts("127.0.0.1 api\n127.0.0.2 api\n");
    let connection = net.dial("api", server.address.port(), None).await.ok().unwrap();
    assert_eq!(connection.peer, server.address);
    let phases: Vec<&str> = connection.phases.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(phases, ["resolve", "connect"]);
    drop(connection);
    assert!(server.is_left_alone_after(1).await);
}

#[tokio::test]
async fn an_address_whose_handshake_fails_or_hangs_is_not_the_last_that_is_tried() {
    let authority = Authority::new();
    let (acceptor, ca) = (acceptor(&authority.issue(params("api"))), authority.file());
    let good = Server::start_at([127, 0, 0, 3].into(), move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                fake::read_to_end(&mut stream).await;
            }
        }
    })
    .await;
    let port = good.address.port();
    let at = |last: u8| SocketAddr::new([127, 0, 0, last].into(), port);
    let _plain = Server::answering_on(at(1), "HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let _silent = Server::start_on(at(2), |mut stream, _| async move { fake::read_to_end(&mut stream).await }).await;
    let (net, _file) = net_with_hosts("127.0.0.1 api\n127.0.0.2 api\n127.0.0.3 api\n");
    let tls = Tls::new(TlsSettings { ca_file: Some(ca.path().to_owned()), ..TlsSettings::default() }, None);
    let connection = within(Duration::from_secs(3), net.dial("api", port, Some(&tls))).await.unwrap().ok().unwrap();
    assert_eq!(connection.peer, good.address);
    assert!(connection.tls.is_some_and(|facts| facts.verified));
    let phases: Vec<&str> = connection.phases.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(phases, ["resolve", "connect", "tls"], "a phase at several addresses is one");
}

#[tokio::test]
async fn a_net_that_follows_a_name_notes_its_addresses_and_keeps_to_one() {
    let dns = NameServer::start(addresses(&[[127, 0, 0, 3], [127, 0, 0, 2]])).await;
    let server = Server::start_at([127, 0, 0, 3].into(), |mut stream, _| async move {
        fake::read_to_end(&mut stream).await;
    })
    .await;
    let port = server.address.port();
    let all = net(&dns);
    let found = Arc::new(Addresses::of("api.example"));
    let dial = async |last: Option<u8>| {
        let only = last.map(|last| IpAddr::from([127, 0, 0, last]));
        let net = all.following(found.clone(), only);
        within(LIMIT, net.dial("API.example", port, None)).await.unwrap()
    };
    let ips = |lasts: &[u8]| lasts.iter().map(|last| IpAddr::from([127, 0, 0, *last])).collect::<Vec<_>>();
    assert_eq!(dial(None).await.ok().unwrap().peer, server.address);
    assert_eq!(found.found(), ips(&[2, 3]));
    assert_eq!(dial(Some(2)).await.err().unwrap().failure.reason, Reason::Refused, "not the other one");

    // An answer that is none is no news; another answer is.
    dns.says(Zone::NoSuchName);
    let failure = dial(Some(3)).await.err().unwrap().failure;
    assert_eq!(failure.reason, Reason::Dns);
    assert!(failure.error.contains(&format!("its last address {} still answers", server.address)), "{failure}");
    assert_eq!(found.found(), ips(&[2, 3]));
    dns.says(Zone::Addresses { v4: Vec::new(), v6: true, ttl: 0 });
    let before = ips(&[2, 3]);
    let (_, ()) = tokio::join!(dial(None), found.differ(&before));
    assert_eq!(found.found(), [IpAddr::from(std::net::Ipv6Addr::LOCALHOST)]);
    let elsewhere = all.following(found.clone(), Some([127, 0, 0, 9].into()));
    assert!(within(LIMIT, elsewhere.dial("127.0.0.3", port, None)).await.unwrap().is_ok(), "of that host only");
}

#[tokio::test]
async fn an_address_that_hangs_costs_its_share_only() {
    let (hanging, _queued, _listener) = fake::hanging_port().await;
    let other = SocketAddr::new([127, 0, 0, 2].into(), hanging.port());
    let _listener = tokio::net::TcpListener::bind(other).await.unwrap();
    let (net, _file) = net_with_hosts("127.0.0.1 api\n127.0.0.2 api\n");
    let connection = within(Duration::from_secs(2), net.dial("api", hanging.port(), None)).await.unwrap();
    assert_eq!(connection.ok().unwrap().peer, other);
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_named_with_its_address() {
    let (hanging, _queued, _listener) = fake::hanging_port().await;
    let net = Net::new(NetSettings::default());
    let dialled = within(Duration::from_secs(1), net.dial("127.0.0.1", hanging.port(), None)).await.unwrap();
    let error = dialled.err().unwrap();
    assert_eq!((error.failure.reason, error.failure.address), (Reason::Timeout, Some(hanging)));
    assert_eq!(error.phases.len(), 2);
}

#[tokio::test]
async fn when_all_addresses_fail_all_are_named() {
    let closed = fake::closed_port().await;
    let (net, _file) = net_with_hosts("127.0.0.1 api\n127.0.0.2 api\n");
    let failure = net.dial("api", closed.port(), None).await.err().unwrap().failure;
    assert_eq!(failure.reason, Reason::Refused);
    let port = closed.port();
    let also =
        format!("connect 127.0.0.1:{port}: connection refused (also connect 127.0.0.2:{port}: connection refused)");
    assert_eq!(failure.to_string(), also);
}

/// Runs itself again, where few files may be open.
#[test]
fn without_a_descriptor_left_the_fault_is_the_agent_s_own() {
    const MARK: &str = "WATCHKEEPER_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(MARK).is_none() {
        let this = std::env::current_exe().unwrap();
        let name = "net::tests::without_a_descriptor_left_the_fault_is_the_agent_s_own";
        let script = r#"ulimit -n 32; exec "$0" --exact "$1""#;
        let run = std::process::Command::new("sh").args(["-c", script]).arg(this).arg(name).env(MARK, "1").output();
        let run = run.unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let files: Vec<_> = (0..64).map_while(|_| std::fs::File::open("/dev/null").ok()).collect();
    assert!(files.len() < 32);
    let net = Net::new(NetSettings::default());
    let failure = runtime.block_on(net.dial("127.0.0.1", 1, None)).err().unwrap().failure;
    assert_eq!(failure.reason, Reason::OutOfResources, "{failure}");
}
