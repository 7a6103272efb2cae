//! An HTTP/1.1 service in this process whose answers a test can switch while it runs.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::place::free_port;
use super::tcp::{TcpService, drip, wait_until_closed};

/// One request, as it was read. Header names are in lower case.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Whether the client wants the connection to end with the answer.
    pub last: bool,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value, or "" where it was not sent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// What is done with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A status with a short body.
    Status(u16),
    /// A whole answer; `Content-Length` is added.
    Full { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// These bytes as they are, then the end of the connection.
    Raw(Vec<u8>),
    /// No answer; the connection stays open.
    Hang,
    /// No answer; the connection is closed.
    Cut,
    /// A good head, then a body without an end, as fast as it is taken.
    Flood,
    /// A good head, then a byte now and then.
    Drip,
    /// A good head and half of the promised body, then nothing.
    Stall,
}

impl Answer {
    pub fn text(status: u16, body: &str) -> Self {
        Answer::Full { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    pub fn with_header(status: u16, name: &str, value: &str) -> Self {
        Answer::Full { status, headers: vec![(name.to_owned(), value.to_owned())], body: Vec::new() }
    }
}

type Decide = dyn Fn(&Request) -> Answer + Send + Sync;

/// A service on 127.0.0.1. Dropping it closes everything.
pub struct HttpService {
    answer: Arc<Mutex<Arc<Decide>>>,
    requests: Arc<AtomicUsize>,
    tcp: TcpService,
}

impl HttpService {
    /// Answers every request alike, until told otherwise.
    pub fn start(answer: Answer) -> Self {
        Self::start_deciding(move |_| answer.clone())
    }

    /// At an address of the test's choice, so that several can share a port.
    pub fn start_at(ip: Ipv4Addr, port: u16, answer: Answer) -> Self {
        Self::start_deciding_at(ip, port, move |_| answer.clone())
    }

    pub fn start_deciding(decide: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_deciding_at(Ipv4Addr::LOCALHOST, free_port(), decide)
    }

    fn start_deciding_at(ip: Ipv4Addr, port: u16, decide: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let answer: Arc<Mutex<Arc<Decide>>> = Arc::new(Mutex::new(Arc::new(decide)));
        let requests = Arc::new(AtomicUsize::new(0));
        let tcp = TcpService::start_at(ip, port, {
            let (answer, requests) = (answer.clone(), requests.clone());
            move |connection| {
                let _closed = serve(connection, &answer, &requests);
            }
        });
        HttpService { answer, requests, tcp }
    }

    /// Answers every later request like this, also on connections that are open.
    pub fn answer(&self, answer: Answer) {
        self.decide(move |_| answer.clone());
    }

    pub fn decide(&self, decide: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        *self.answer.lock().expect("no panic") = Arc::new(decide);
    }

    pub fn port(&self) -> u16 {
        self.tcp.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.tcp.port)
    }

    /// How many requests it has read since it was made.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// How many connections it has accepted since it was made.
    pub fn connections(&self) -> usize {
        self.tcp.accepted()
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.tcp.open()
    }

    /// Refuses new connections and breaks the open ones.
    pub fn stop(&mut self) {
        self.tcp.stop();
    }

    /// Listens again on the same port.
    pub fn start_again(&mut self) {
        self.tcp.start_again();
    }
}

/// Serves one connection until it ends; the error says how it ended and interests nobody.
fn serve(stream: &mut TcpStream, answer: &Mutex<Arc<Decide>>, requests: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = read_request(&mut reader)? {
        requests.fetch_add(1, Ordering::SeqCst);
        let decide = answer.lock().expect("no panic").clone();
        if !write_answer(stream, &decide(&request))? || request.last {
            break;
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, path, version) = (word(), word(), word());
    let last = version == "HTTP/1.0";
    let mut request = Request { method, path, last, headers: Vec::new(), body: Vec::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    request.last |= request.header("connection").eq_ignore_ascii_case("close");
    let length = request.header("content-length").parse().unwrap_or(0);
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// Whether the connection may carry another request.
fn write_answer(stream: &mut TcpStream, answer: &Answer) -> std::io::Result<bool> {
    match answer {
        Answer::Status(status) => write_full(stream, *status, &[], format!("status {status}\n").as_bytes())?,
        Answer::Full { status, headers, body } => write_full(stream, *status, headers, body)?,
        Answer::Raw(bytes) => stream.write_all(bytes)?,
        Answer::Hang => wait_until_closed(stream),
        Answer::Cut => {}
        Answer::Flood => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            while stream.write_all(&[b'x'; 16 * 1024]).is_ok() {}
        }
        Answer::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
            drip(stream);
        }
        Answer::Stall => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf\n")?;
            wait_until_closed(stream);
        }
    }
    Ok(matches!(answer, Answer::Status(_) | Answer::Full { .. }))
}

fn write_full(stream: &mut TcpStream, status: u16, headers: &[(String, String)], body: &[u8]) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    stream.write_all(&[head.as_bytes(), body].concat())
}
