//! A TCP service that behaves as told, whatever is said to it: for the other ends that nobody wishes for.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::place::free_port;
use super::wait::{SOON, eventually};

/// What is done with one accepted connection, on a thread of its own. The connection is closed when it returns.
pub type Serve = dyn Fn(&mut TcpStream) + Send + Sync;

/// Listens on 127.0.0.1, or another address of the loopback network, and gives each connection to one function. Dropping it closes everything.
pub struct TcpService {
    ip: Ipv4Addr,
    pub port: u16,
    serve: Arc<Serve>,
    accepted: Arc<AtomicUsize>,
    listening: Option<Listening>,
}

struct Listening {
    stopping: Arc<AtomicBool>,
    connections: Arc<Mutex<HashMap<usize, TcpStream>>>,
    acceptor: JoinHandle<()>,
}

impl TcpService {
    pub fn start(serve: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, free_port(), serve)
    }

    /// At an address of the test's choice.
    pub fn start_at(ip: Ipv4Addr, port: u16, serve: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let mut service = TcpService { ip, port, serve: Arc::new(serve), accepted: Arc::default(), listening: None };
        service.start_again();
        service
    }

    /// Takes connections and says nothing, ever.
    pub fn silent() -> Self {
        Self::start(wait_until_closed)
    }

    /// Sends without an end, as fast as the other side takes it.
    pub fn flood() -> Self {
        Self::start(|connection| while connection.write_all(&[b'x'; 16 * 1024]).is_ok() {})
    }

    /// Sends one byte now and then, without an end.
    pub fn drip() -> Self {
        Self::start(drip)
    }

    /// Sends these bytes to everyone and then says nothing.
    pub fn say(bytes: &'static [u8]) -> Self {
        Self::start(|connection| {
            drop(connection.write_all(bytes));
            wait_until_closed(connection);
        })
    }

    /// Closes every connection as soon as it is accepted.
    pub fn hang_up() -> Self {
        Self::start(|_| {})
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many connections it has accepted since it was made.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.listening.as_ref().map_or(0, |listening| listening.connections.lock().expect("no panic").len())
    }

    /// Refuses new connections and breaks the open ones.
    pub fn stop(&mut self) {
        let Some(listening) = self.listening.take() else { return };
        listening.stopping.store(true, Ordering::SeqCst);
        // The acceptor sees the flag when something connects.
        drop(TcpStream::connect((self.ip, self.port)));
        drop(listening.acceptor.join());
        for (_, connection) in listening.connections.lock().expect("no panic").drain() {
            drop(connection.shutdown(Shutdown::Both));
        }
    }

    /// Listens again on the same port.
    pub fn start_again(&mut self) {
        assert!(self.listening.is_none(), "the service listens already");
        // A process that another test starts has a copy of the socket that was closed, for as long as it is not itself.
        let listener = eventually("the port that was free", SOON, || TcpListener::bind((self.ip, self.port)));
        let stopping = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(Mutex::new(HashMap::new()));
        let acceptor = std::thread::spawn({
            let (stopping, connections) = (stopping.clone(), connections.clone());
            let (serve, accepted) = (self.serve.clone(), self.accepted.clone());
            move || accept(&listener, &stopping, &connections, &serve, &accepted)
        });
        self.listening = Some(Listening { stopping, connections, acceptor });
    }
}

impl Drop for TcpService {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(
    listener: &TcpListener,
    stopping: &AtomicBool,
    connections: &Arc<Mutex<HashMap<usize, TcpStream>>>,
    serve: &Arc<Serve>,
    accepted: &AtomicUsize,
) {
    for connection in listener.incoming() {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut connection) = connection else { continue };
        let index = accepted.fetch_add(1, Ordering::SeqCst);
        connections.lock().expect("no panic").extend(connection.try_clone().map(|open| (index, open)));
        let (serve, connections) = (serve.clone(), connections.clone());
        std::thread::spawn(move || {
            serve(&mut connection);
            drop(connection.shutdown(Shutdown::Both));
            connections.lock().expect("no panic").remove(&index);
        });
    }
}

/// Reads and forgets until the other side, or [`TcpService::stop`], closes.
pub fn wait_until_closed(connection: &mut TcpStream) {
    let mut bytes = [0; 4096];
    while matches!(connection.read(&mut bytes), Ok(1..)) {}
}

/// Writes one byte now and then until the other side closes.
pub fn drip(connection: &mut TcpStream) {
    while connection.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
}
