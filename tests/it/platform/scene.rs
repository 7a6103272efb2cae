//! The platform, and the agent that watches all of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, Stream};
use watchkeeper::rule;

use super::people::People;
use super::quick::{in_a_sixtieth_of_their_time, shipped_files};
use crate::certificates::{Authority, BOTH, expired, server};
use crate::support::agent::{Agent, Setup};
use crate::support::application::Application;
use crate::support::mount::Tmpfs;
use crate::support::node::Gateway;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::tcp::TcpService;

/// Connections from which on the gateway is loaded, and how many it takes.
pub const SOFT: u32 = 10;
pub const HARD: u32 = 20;

/// What the agent's control group may use.
pub const MEMORY_MIB: u32 = 128;

pub struct Scene {
    pub application: Application,
    pub gateway: Gateway,
    pub database: Postgres,
    pub cache: Redis,
    pub front: Front,
    pub disk: Tmpfs,
    /// Where files are memory; too large to be filled.
    pub memory: Tmpfs,
    pub people: People,
    pub agent: Agent,
}

impl Scene {
    /// Everything is up, and nobody has been told of anything.
    #[track_caller]
    pub fn start() -> Self {
        let (application, gateway) = (Application::start(), Gateway::start_with(HARD));
        let (database, cache, front) = (Postgres::start(), Redis::start(), Front::start());
        let (disk, memory, people) = (Tmpfs::mount(4096), Tmpfs::mount(4 * MEMORY_MIB * 1024), People::start());
        let text = [
            OFTEN.to_owned(),
            rules(),
            format!(
                "
targets:
  shop: {{http: {{url: \"{}\"}}}}
  # A window of 5 minutes is 5 s here, and needs its samples; nothing takes this one down.
  shop-app: {{scrape: {{url: \"{}\"}}, service: shop, interval: 500ms, timeout: 500ms, fall: 100}}
  voice:
    websocket:
      url: \"{}\"
      hold: true
      reconnect: 1s
      load: {{metrics: \"{}\", gauge: 'ws_connections{{state=\"open\"}}', soft: {SOFT}, hard: {HARD}}}
    priority: P0
    fall: 10
  database: {{postgres: {{url: \"{}\"}}, priority: P0}}
  cache: {{redis: {{url: \"{}\"}}}}
  front: {{http: {{url: \"https://localhost:{port}/\", tls: {{ca_file: ca.pem}}}}}}
  front-port: {{tls: {{address: \"localhost:{port}\", ca_file: ca.pem}}}}
  machine: {{host: {{}}}}
",
                application.url("/health"),
                application.url("/metrics"),
                gateway.url(),
                gateway.metrics_url(),
                database.url(),
                cache.url(),
                port = front.service.port,
            ),
            people.alerting(disk.path()),
        ];
        let setup = Setup::new(&text.concat()).with_file("ca.pem", &front.root.certificate.pem());
        for (name, rules) in shipped_files() {
            setup.write(&format!("quick-{name}"), &in_a_sixtieth_of_their_time(&rules));
        }
        let agent = setup.start();
        for target in ["shop", "shop-app", "voice", "database", "cache", "front", "front-port", "machine"] {
            agent.wait_for_verdict(target, true);
        }
        people.nothing_else(&[]);
        Scene { application, gateway, database, cache, front, disk, memory, people, agent }
    }

    /// What the agent calls its machine.
    #[track_caller]
    pub fn node(&self) -> String {
        let page = self.agent.get("/metrics").body;
        let line = page.lines().find(|line| line.starts_with("node_load1{")).expect("the machine is watched");
        line.split_once("instance=\"").and_then(|(_, rest)| rest.split_once('"')).expect("an instance").0.to_owned()
    }
}

/// Four failures in a row and a whole interval for each look: a busy machine is no outage.
const OFTEN: &str = "
defaults: {interval: 1s, timeout: 1s, confirm: 50ms, fall: 4}
evaluation: {interval: 500ms}
";

/// The shipped rules are switched off: the same ones, quicker, take their place.
fn rules() -> String {
    let shipped = rule::shipped();
    let names: Vec<String> = rule::names(&shipped).iter().map(|name| format!("\"{name}\"")).collect();
    format!("shipped_rules: {{disable: [{}]}}\nrule_files: [{{path: quick-*.yml, hold: true}}]\n", names.join(", "))
}

/// What stands before everything: HTTPS, with a certificate that a test can replace.
pub struct Front {
    root: Authority,
    current: Arc<Mutex<Arc<ServerConfig>>>,
    service: TcpService,
}

impl Front {
    fn start() -> Self {
        let root = Authority::root();
        let current = Arc::new(Mutex::new(good(&root)));
        let service = TcpService::start({
            let current = current.clone();
            move |connection| {
                let config = current.lock().expect("no panic").clone();
                let _ended = serve(connection, config);
            }
        });
        Front { root, current, service }
    }

    pub fn expire(&self) {
        let config = self.root.issue(expired(server("localhost"))).config(BOTH, None);
        *self.current.lock().expect("no panic") = Arc::new(config);
    }

    pub fn renew(&self) {
        *self.current.lock().expect("no panic") = good(&self.root);
    }
}

fn good(root: &Authority) -> Arc<ServerConfig> {
    Arc::new(root.issue(server("localhost")).config(BOTH, None))
}

/// One request, one answer. The error says how the connection ended and interests nobody.
fn serve(connection: &mut TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = Stream::new(&mut tls, connection);
    if stream.read(&mut [0; 4096])? > 0 {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        tls.send_close_notify();
        tls.complete_io(connection)?;
    }
    Ok(())
}
