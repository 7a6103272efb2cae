//! What a PostgreSQL server's refusal means.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::probe::wire::{Driver, Meter, shown};
use crate::probe::{Failure, Reason};

/// An error of the driver as a failure: what the server said, else how the connection ended.
pub fn failure(error: &Error, phase: &'static str, meter: &Meter) -> Failure {
    if let Some(answer) = error.as_db_error() {
        return refusal(answer, phase);
    }
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let reason = match error.to_string().as_str() {
        "invalid configuration" | "authentication error" => Reason::Auth,
        _ => return meter.failure(phase).unwrap_or_else(|| foreign(error, phase)),
    };
    let error = match cause.as_str() {
        "password missing" => "the server asks for a password and the URL has none".to_owned(),
        other => shown(other),
    };
    Failure::new(reason, phase, error)
}

/// The connection still stands, and what was said on it cannot be understood.
fn foreign(error: &Error, phase: &'static str) -> Failure {
    let cause = error.source().map(|cause| format!(": {}", shown(&cause.to_string()))).unwrap_or_default();
    Failure::new(Reason::Protocol, phase, format!("the server does not speak PostgreSQL's protocol: {error}{cause}"))
}

/// Why a held connection is over, from its driver's last word.
pub async fn end(driver: &mut Driver<Result<(), Error>>, phase: &'static str) -> Failure {
    let failure = match driver.over().await {
        Some(Err(error)) => failure(&error, phase, &driver.meter),
        Some(Ok(())) => Failure::new(Reason::Reset, phase, "the connection is closed"),
        None => Failure::new(Reason::Protocol, phase, "the driver broke on what the server said"),
    };
    failure.at(driver.peer)
}

fn refusal(answer: &DbError, phase: &'static str) -> Failure {
    let code = answer.code().code();
    let reason = reason(code, answer.message());
    let mut error = format!("{} (SQLSTATE {code})", shown(answer.message()));
    if let Some(advice) = advice(code) {
        error = format!("{error}; {advice}");
    }
    Failure::new(reason, phase, error)
}

/// The reason behind an SQLSTATE. PgBouncer has one code (08P01) for nearly everything: its texts decide.
fn reason(code: &str, message: &str) -> Reason {
    match code {
        "53300" => Reason::Full,
        "28000" | "28P01" | "42501" => Reason::Auth,
        "57014" => Reason::Timeout,
        "08P01" => pooler_reason(message),
        "0A000" => Reason::Protocol,
        // 57P01 to 57P04, and 3D000: it answers, knows us, and does not have (or has no longer) what we came for.
        _ => Reason::NotServing,
    }
}

fn pooler_reason(message: &str) -> Reason {
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if says(&["no more connections allowed", "too many clients already", "remaining connection slots are reserved"]) {
        Reason::Full
    } else if says(&["authentication failed", "no such user", "not allowed"]) {
        Reason::Auth
    } else if says(&[
        "query_wait_timeout",
        "server_login_retry",
        "server login failed",
        "cannot connect to server",
        "shutting down",
        "paused",
        "disabled",
        "no such database",
        "server conn crashed",
    ]) {
        Reason::NotServing
    } else {
        Reason::Protocol
    }
}

fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" => "check user and password in the URL",
        "28000" => "check the role and the server's pg_hba.conf",
        "3D000" => "check the database's name in the URL",
        "42501" => "grant CONNECT on the database to the role",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlstate_says_whose_fault_it_is() {
        for (code, expected) in [
            ("53300", Reason::Full),
            ("28P01", Reason::Auth),
            ("28000", Reason::Auth),
            ("3D000", Reason::NotServing),
            ("57P01", Reason::NotServing),
            ("57P03", Reason::NotServing),
            ("57014", Reason::Timeout),
        ] {
            assert_eq!(reason(code, ""), expected, "{code}");
        }
    }

    #[test]
    fn pgbouncer_s_one_code_is_told_apart_by_its_texts() {
        for (message, expected) in [
            ("no more connections allowed (max_client_conn)", Reason::Full),
            ("server login failed: FATAL sorry, too many clients already", Reason::Full),
            ("password authentication failed", Reason::Auth),
            ("SASL authentication failed", Reason::Auth),
            ("server login has been failing, try again later (server_login_retry)", Reason::NotServing),
            ("query_wait_timeout", Reason::NotServing),
            ("pgbouncer is shutting down", Reason::NotServing),
            ("unsupported startup parameter: options", Reason::Protocol),
        ] {
            assert_eq!(reason("08P01", message), expected, "{message}");
        }
    }
}
