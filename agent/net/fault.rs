//! What an operating system's error says about whose fault it is.

use std::io;

use crate::probe::{Failure, Reason};

const EPERM: i32 = 1;
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOBUFS: i32 = 105;

/// The failure that an I/O error during `phase` stands for. An error that came up through TLS is TLS's.
pub fn failure_of_io(phase: &'static str, error: &io::Error) -> Failure {
    Failure::new(reason_of_io(error), phase, words_of_io(error))
}

fn reason_of_io(error: &io::Error) -> Reason {
    if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        return Reason::Tls;
    }
    match error.raw_os_error() {
        Some(EMFILE | ENFILE | ENOMEM | ENOBUFS) => return Reason::OutOfResources,
        // The machine's own packet filter answers a forbidden connect with EPERM.
        Some(EPERM) => return Reason::NetworkUnreachable,
        _ => {}
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reason::Refused,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Reason::Timeout,
        io::ErrorKind::HostUnreachable => Reason::Unreachable,
        // No source address of that family, or no free port: nothing left this machine.
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown | io::ErrorKind::AddrNotAvailable => {
            Reason::NetworkUnreachable
        }
        io::ErrorKind::InvalidData => Reason::Protocol,
        _ => Reason::Reset,
    }
}

/// `connection refused`, without the number that the standard library appends.
fn words_of_io(error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
        _ => error.to_string(),
    };
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_is_the_side_s_that_made_it() {
        let os = io::Error::from_raw_os_error;
        let cases = [
            (os(111), Reason::Refused),
            (os(101), Reason::NetworkUnreachable),
            (os(99), Reason::NetworkUnreachable),
            (os(113), Reason::Unreachable),
            (os(110), Reason::Timeout),
            (os(EMFILE), Reason::OutOfResources),
            (os(ENFILE), Reason::OutOfResources),
            (os(EPERM), Reason::NetworkUnreachable),
            (os(104), Reason::Reset),
            (os(32), Reason::Reset),
            (io::ErrorKind::UnexpectedEof.into(), Reason::Reset),
            (io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError), Reason::Tls),
        ];
        for (error, reason) in cases {
            assert_eq!(failure_of_io("connect", &error).reason, reason, "{error}");
        }
    }

    #[test]
    fn errors_read_without_their_number() {
        let failure = failure_of_io("connect", &io::Error::from_raw_os_error(111));
        assert_eq!(failure.to_string(), "connect: connection refused");
    }
}
