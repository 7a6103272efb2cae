//! Servers for tests: each on a free port of the loopback interface, counting what happens to it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// What a server has seen so far.
#[derive(Default)]
pub struct Seen {
    pub opened: AtomicUsize,
    pub closed: AtomicUsize,
    pub written: AtomicU64,
    pub requests: Mutex<Vec<String>>,
}

/// A server that runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Does `serve` with every connection. A connection counts as closed when `serve` is done with it.
    pub async fn start<F, S>(serve: F) -> Server
    where
        F: Fn(TcpStream, Arc<Seen>) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        Server::start_at(Ipv4Addr::LOCALHOST.into(), serve).await
    }

    pub async fn start_at<F, S>(ip: IpAddr, serve: F) -> Server
    where
        F: Fn(TcpStream, Arc<Seen>) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        Server::start_on(SocketAddr::new(ip, 0), serve).await
    }

    pub async fn start_on<F, S>(address: SocketAddr, serve: F) -> Server
    where
        F: Fn(TcpStream, Arc<Seen>) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let counted = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.opened.fetch_add(1, SeqCst);
                let (serving, counted) = (serve(stream, counted.clone()), counted.clone());
                tokio::spawn(async move {
                    serving.await;
                    counted.closed.fetch_add(1, SeqCst);
                });
            }
        });
        Server { address, seen, task }
    }

    /// Answers every request with the same bytes, then closes.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Server {
        let answer = Arc::new(answer.into());
        Server::start(move |stream, seen| answer_one(stream, seen, answer.clone())).await
    }

    /// The same at an address of the test's choice.
    pub async fn answering_on(address: SocketAddr, answer: impl Into<Vec<u8>>) -> Server {
        let answer = Arc::new(answer.into());
        Server::start_on(address, move |stream, seen| answer_one(stream, seen, answer.clone())).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Waits until there were as many connections and all are closed, for a while at most.
    pub async fn is_left_alone_after(&self, connections: usize) -> bool {
        let open = || self.seen.closed.load(SeqCst) < self.seen.opened.load(SeqCst).max(connections);
        let all_closed = async {
            while open() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), all_closed).await.is_ok()
    }
}

async fn answer_one(mut stream: TcpStream, seen: Arc<Seen>, answer: Arc<Vec<u8>>) {
    let request = read_head(&mut stream).await;
    seen.requests.lock().unwrap().push(request);
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
    read_to_end(&mut stream).await;
}

/// Reads up to the empty line that ends a request's head.
pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads until the other side closes.
pub async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) {
    let mut scrap = vec![0; 4096];
    while stream.read(&mut scrap).await.is_ok_and(|read| read > 0) {}
}

/// Writes the same bytes until the other side closes.
pub async fn write_for_ever(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8], seen: &Seen) -> io::Result<()> {
    loop {
        let written = stream.write(bytes).await?;
        seen.written.fetch_add(written as u64, SeqCst);
    }
}

/// An address at which nothing listens.
pub async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A listener whose queue is full: connecting to it hangs.
pub async fn hanging_port() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        queued.push(stream);
    }
    (address, queued, listener)
}

/// What the name server says of every name.
#[derive(Clone)]
pub enum Zone {
    Addresses { v4: Vec<Ipv4Addr>, v6: bool, ttl: u32 },
    NoSuchName,
    ServerFailure,
    Silence,
}

/// A name server over UDP.
pub struct NameServer {
    pub address: SocketAddr,
    pub zone: Arc<Mutex<Zone>>,
    pub asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NameServer {
    pub async fn start(zone: Zone) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (zone, asked) = (Arc::new(Mutex::new(zone)), Arc::new(AtomicUsize::new(0)));
        let (told, counted) = (zone.clone(), asked.clone());
        let task = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                counted.fetch_add(1, SeqCst);
                let zone = told.lock().unwrap().clone();
                if let Some(answer) = dns_answer(&query[..length], &zone) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        NameServer { address, zone, asked, task }
    }

    pub fn says(&self, zone: Zone) {
        *self.zone.lock().unwrap() = zone;
    }
}

/// RFC 1035, section 4: the question is given back, and each answer points at its name.
fn dns_answer(query: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0)? + 1;
    let question = &query[12..name_end + 4];
    let kind = u16::from_be_bytes([query[name_end], query[name_end + 1]]);
    let (code, records) = match zone {
        Zone::Silence => return None,
        Zone::NoSuchName => (3, Vec::new()),
        Zone::ServerFailure => (2, Vec::new()),
        Zone::Addresses { v4, ttl, .. } if kind == 1 => {
            (0, v4.iter().map(|address| record(1, *ttl, &address.octets())).collect())
        }
        Zone::Addresses { v6: true, ttl, .. } if kind == 28 => {
            (0, vec![record(28, *ttl, &std::net::Ipv6Addr::LOCALHOST.octets())])
        }
        Zone::Addresses { .. } => (0, Vec::new()),
    };
    let count = u8::try_from(records.len()).unwrap();
    let mut answer = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    answer.extend_from_slice(question);
    answer.extend(records.concat());
    Some(answer)
}

fn record(kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let parts: [&[u8]; 6] =
        [&[0xc0, 12], &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length.to_be_bytes(), data];
    parts.concat()
}
