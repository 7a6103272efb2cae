//! What a Redis server's refusal means.

use redis::RedisError;

use crate::probe::wire::{Meter, shown};
use crate::probe::{Failure, Reason};

/// An error of the driver as a failure: what the server said, else how the connection ended.
pub fn failure(error: &RedisError, phase: &'static str, meter: &Meter) -> Failure {
    if let Some(code) = error.code() {
        return refusal(&format!("{code} {}", error.detail().unwrap_or_default()), phase);
    }
    meter.failure(phase).map_or_else(|| foreign(error, phase), |failure| spoken_end(failure, phase, meter))
}

/// How a connection ended whose driver has stopped.
pub fn end(phase: &'static str, meter: &Meter) -> Failure {
    let broke = || Failure::new(Reason::Protocol, phase, "the driver broke on what the server said");
    spoken_end(meter.failure(phase).unwrap_or_else(broke), phase, meter)
}

fn foreign(error: &RedisError, phase: &'static str) -> Failure {
    let error = format!("the server does not speak Redis's protocol: {}", shown(&error.to_string()));
    Failure::new(Reason::Protocol, phase, error)
}

/// A server that has no room, or does not talk to strangers, says so unasked and closes. The driver drops what
/// answers no question of its own: the meter has kept it.
fn spoken_end(failure: Failure, phase: &'static str, meter: &Meter) -> Failure {
    let line = meter.first_line();
    match line.strip_prefix('-') {
        Some(refused) if failure.reason == Reason::Reset => refusal(refused, phase),
        _ => failure,
    }
}

fn refusal(text: &str, phase: &'static str) -> Failure {
    let reason = reason(text);
    let mut error = shown(text);
    if let Some(advice) = advice(text, reason) {
        error = format!("{}; {advice}", error.trim_end_matches('.'));
    }
    Failure::new(reason, phase, error)
}

/// The reason behind an error line without its `-`: `CODE text`.
fn reason(text: &str) -> Reason {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    match text.split(' ').next().unwrap_or_default() {
        "WRONGPASS" | "NOAUTH" | "NOPERM" | "DENIED" => Reason::Auth,
        "LOADING" | "MASTERDOWN" | "MISCONF" | "BUSY" | "CLUSTERDOWN" | "READONLY" => Reason::NotServing,
        "ERR" if says(&["max number of clients"]) => Reason::Full,
        "ERR" if says(&["AUTH", "invalid password", "invalid username"]) => Reason::Auth,
        "ERR" if says(&["DB index"]) => Reason::NotServing,
        _ => Reason::Protocol,
    }
}

fn advice(text: &str, reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::Auth if text.starts_with("NOPERM") => "grant the user +ping and +info",
        Reason::Auth if text.starts_with("NOAUTH") => "put the password into the URL",
        Reason::Auth if text.starts_with("DENIED") => "set a password on the server, or switch protected-mode off",
        Reason::Auth => "check user and password in the URL",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_line_says_whose_fault_it_is() {
        for (line, expected) in [
            ("WRONGPASS invalid username-password pair or user is disabled.", Reason::Auth),
            ("NOAUTH Authentication required.", Reason::Auth),
            ("NOPERM this user has no permissions to run the 'info' command", Reason::Auth),
            ("ERR Client sent AUTH, but no password is set", Reason::Auth),
            ("ERR invalid password", Reason::Auth),
            ("ERR max number of clients reached", Reason::Full),
            ("ERR max number of clients + cluster connections reached", Reason::Full),
            ("LOADING Redis is loading the dataset in memory", Reason::NotServing),
            ("MASTERDOWN Link with MASTER is down", Reason::NotServing),
            ("MISCONF Redis is configured to save RDB snapshots", Reason::NotServing),
            ("ERR DB index is out of range", Reason::NotServing),
            ("ERR unknown command 'PING'", Reason::Protocol),
        ] {
            assert_eq!(reason(line), expected, "{line}");
        }
    }
}
