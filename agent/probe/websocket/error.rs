//! What the library's errors and the gateway's close mean: reason, and words for people.

use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::http::{Response, StatusCode};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::net::failure_of_io;
use crate::probe::wire::{Meter, shown};
use crate::probe::{Failure, Reason};

/// What is wrong with an answer that names an extension.
pub const EXTENSION: &str = "the server breaks the protocol: it chose an extension, and none was offered";

/// The failure that an error during `phase` stands for.
pub fn failure(phase: &'static str, error: &Error, meter: &Meter) -> Failure {
    match error {
        Error::Io(error) => meter.failure(phase).unwrap_or_else(|| failure_of_io(phase, error)),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::HandshakeIncomplete | ProtocolError::ResetWithoutClosingHandshake) => {
            ended(phase, meter)
        }
        Error::Http(answer) => Failure::new(Reason::Status, phase, refusal(answer)),
        error => Failure::new(Reason::Protocol, phase, violation(error)),
    }
}

/// The connection ended without a close.
pub fn ended(phase: &'static str, meter: &Meter) -> Failure {
    let closed = || Failure::new(Reason::Reset, phase, "the server closed the connection");
    meter.failure(phase).unwrap_or_else(closed)
}

/// The server closed the connection in the protocol's own way before it was asked to.
pub fn closed(phase: &'static str, frame: Option<&CloseFrame>) -> Failure {
    let error = match frame {
        None => "the server closed the WebSocket without a code".to_owned(),
        Some(frame) if frame.reason.is_empty() => format!("the server closed the WebSocket with code {}", frame.code),
        Some(frame) => {
            format!("the server closed the WebSocket with code {}: {:?}", frame.code, shown(frame.reason.as_str()))
        }
    };
    Failure::new(Reason::NotServing, phase, error)
}

/// The status that was seen, where the error tells of one: the other handshake errors come after a 101.
pub fn status(error: &Error) -> u16 {
    match error {
        Error::Http(answer) => answer.status().as_u16(),
        Error::Protocol(
            ProtocolError::MissingUpgradeWebSocketHeader
            | ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::SecWebSocketAcceptKeyMismatch
            | ProtocolError::SecWebSocketSubProtocolError(_),
        ) => StatusCode::SWITCHING_PROTOCOLS.as_u16(),
        _ => 0,
    }
}

fn refusal(answer: &Response<Option<Vec<u8>>>) -> String {
    let status = answer.status();
    let remark = match status.as_u16() {
        200..=299 | 404 => ": what answers there is no WebSocket, check the URL's path",
        300..=399 => ": redirects are not followed, give the URL that it leads to",
        401 | 403 => ": the credentials are missing or refused, see `headers`",
        426 => ": the server wants another protocol or version",
        _ => "",
    };
    format!("status {status}, wanted 101{remark}")
}

fn violation(error: &Error) -> String {
    match error {
        Error::Protocol(error) => violation_of_protocol(error),
        Error::Capacity(CapacityError::TooManyHeaders) => "the answer has too many headers".to_owned(),
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            format!("the server sent a message of {size} bytes or more, and {max_size} are taken")
        }
        Error::AttackAttempt => "the answer's head is larger than 64 KiB, or comes in too many small pieces".to_owned(),
        Error::Utf8(_) => "the server sent text that is not UTF-8".to_owned(),
        error => shown(&format!("the server breaks the protocol: {error}")),
    }
}

fn violation_of_protocol(error: &ProtocolError) -> String {
    let words = match error {
        ProtocolError::SecWebSocketAcceptKeyMismatch => {
            "it answers 101 with a wrong Sec-WebSocket-Accept: what answers there has not read our request"
        }
        ProtocolError::MissingUpgradeWebSocketHeader => "it answers 101 without `Upgrade: websocket`",
        ProtocolError::MissingConnectionUpgradeHeader => "it answers 101 without `Connection: Upgrade`",
        ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol) => {
            "it speaks none of the `subprotocols`"
        }
        ProtocolError::SecWebSocketSubProtocolError(_) => "it chose a subprotocol that was not offered",
        ProtocolError::HttparseError(_) | ProtocolError::WrongHttpVersion => "its answer is not HTTP/1.1",
        ProtocolError::MaskedFrameFromServer => "it sent a masked frame",
        other => return format!("the server breaks the protocol: {other}"),
    };
    format!("the server breaks the protocol: {words}")
}
