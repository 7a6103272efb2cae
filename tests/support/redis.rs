//! A Redis server of a test's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use super::place::{folder, free_port};
use super::process::Process;
use super::wait::{SOON, eventually};

/// A server on a free port of 127.0.0.1 that writes nothing to disk.
pub struct Redis {
    pub port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    password: Option<String>,
    process: Option<Process>,
}

impl Redis {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with_password(password: &str) -> Self {
        Self::start_with(&["--requirepass", password])
    }

    /// With arguments of its own, as `--maxclients`, `10`; later ones win.
    pub fn start_with(arguments: &[&str]) -> Self {
        let at = arguments.iter().position(|argument| *argument == "--requirepass");
        let password = at.map(|at| arguments[at + 1].to_owned());
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut server = Redis { port: free_port(), folder: folder(), arguments, password, process: None };
        server.start_again();
        server
    }

    /// Its working folder, where certificates and dumps are.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Starts on the same port, after a stop or a kill.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "Redis runs already");
        let mut process = self.spawn();
        eventually("Redis to answer", SOON, || {
            if !process.is_running() {
                return Err(process.log_tail());
            }
            match self.try_command(&["PING"]) {
                Ok(answer) if answer.starts_with("-LOADING") => Err(answer),
                answer => answer.map_err(|error| error.to_string()),
            }
        });
        self.process = Some(process);
    }

    /// Starts without waiting until it answers: for tests of what it says before.
    pub fn launch(&mut self) {
        self.process = Some(self.spawn());
    }

    fn spawn(&self) -> Process {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]).args(&self.arguments);
        Process::start(&mut command, self.folder.path())
    }

    /// A proper stop: sessions end at once.
    pub fn stop(&mut self) {
        self.process.take().expect("Redis runs").stop("TERM");
    }

    pub fn kill(&mut self) {
        self.process.take().expect("Redis runs").kill();
    }

    /// Stops it from running without ending it: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.process.as_ref().expect("Redis runs").signal("STOP");
    }

    pub fn thaw(&self) {
        self.process.as_ref().expect("Redis runs").signal("CONT");
    }

    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// Opens a connection and leaves it idle until it is dropped.
    pub fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(stream)
    }

    /// How many connections it has taken since its start, the one that asks included.
    #[track_caller]
    pub fn connections_received(&self) -> usize {
        let stats = self.command(&["INFO", "stats"]);
        let count =
            stats.lines().find_map(|line| line.strip_prefix("total_connections_received:")?.trim().parse().ok());
        count.unwrap_or_else(|| panic!("no count of connections in {stats}"))
    }

    /// Runs one command on a connection of its own: the answer as text, an array's items one a line.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> String {
        let answer = self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        assert!(!answer.starts_with('-'), "{words:?}: {answer}");
        answer
    }

    fn try_command(&self, words: &[&str]) -> std::io::Result<String> {
        let mut connection = BufReader::new(self.connect()?);
        if let Some(password) = &self.password {
            send(&mut connection, &["AUTH", password])?;
        }
        send(&mut connection, words)
    }
}

fn send(connection: &mut BufReader<TcpStream>, words: &[&str]) -> std::io::Result<String> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    connection.get_mut().write_all(request.as_bytes())?;
    read_answer(connection)
}

fn read_answer(connection: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let count = || line[1..].parse::<usize>().unwrap_or(0);
    match line.as_bytes().first() {
        Some(b'$') if line == "$-1" => Ok(String::new()),
        Some(b'$') => {
            let mut text = vec![0; count() + 2];
            connection.read_exact(&mut text)?;
            Ok(String::from_utf8_lossy(&text[..text.len() - 2]).into_owned())
        }
        Some(b'*') => {
            let items: Result<Vec<_>, _> = (0..count()).map(|_| read_answer(connection)).collect();
            Ok(items?.join("\n"))
        }
        Some(b'-') => Ok(line.to_owned()),
        _ => Ok(line.get(1..).unwrap_or_default().to_owned()),
    }
}
