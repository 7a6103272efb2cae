//! What a receiver's answer means for a delivery.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::sample::Timestamp;
use crate::secret::Secret;

/// The longest that a receiver may ask us to wait: a page must not be put off for hours by a header.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(600);
/// How much of an answer's body is quoted.
const QUOTE: usize = 160;

/// What a receiver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The beginning of the body.
    pub body: String,
}

/// What becomes of the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    Done,
    /// Again later, without an end; `after` is the least that the receiver asked for.
    Retry {
        after: Option<Duration>,
        reason: String,
    },
    /// The receiver will never take this one.
    GiveUp {
        reason: String,
    },
    /// The receiver wants nothing any more, until the next reload or start. The delivery stays.
    Disable {
        reason: String,
    },
}

/// What an answer means to one kind of receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It has the page.
    Taken,
    /// It will never take this page.
    Refused,
    /// It takes no page any more.
    Gone,
    /// It may take it another time.
    Later,
}

/// Judges an answer, or why there was none, by what it means to the kind of receiver. `now` is the wall clock, for a
/// `Retry-After` that names a date.
pub fn judge(answer: &Result<Answer, String>, now: Timestamp, meaning: fn(&Answer) -> Meaning) -> Judgement {
    let answer = match answer {
        Ok(answer) => answer,
        Err(reason) => return Judgement::Retry { after: None, reason: reason.clone() },
    };
    let reason = describe(answer);
    match meaning(answer) {
        Meaning::Taken => Judgement::Done,
        Meaning::Refused => Judgement::GiveUp { reason },
        Meaning::Gone => Judgement::Disable { reason },
        Meaning::Later => {
            let after = answer.retry_after.as_deref().and_then(|text| retry_after(text, now));
            Judgement::Retry { after: after.map(|wait| wait.min(RETRY_AFTER_CAP)), reason }
        }
    }
}

impl Answer {
    /// Takes out of the body what must not be quoted: as it is, and as JSON writes it.
    pub fn without(mut self, secrets: &[Secret]) -> Self {
        for secret in secrets {
            for written in [secret.expose().to_owned(), secret.expose().replace('/', "\\/")] {
                self.body = self.body.replace(&written, "<secret>");
            }
        }
        self
    }
}

fn describe(answer: &Answer) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let quote: String = answer.body.trim().chars().take(QUOTE).map(plain).collect();
    if quote.is_empty() { format!("status {}", answer.status) } else { format!("status {}: {quote}", answer.status) }
}

/// Seconds, or one of the three forms of an HTTP date (RFC 9110, 10.2.3 and 5.6.7).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let forms = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let date = forms.iter().find_map(|form| DateTime::strptime(form, text).ok())?;
    let at = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond();
    Some(Duration::from_millis(u64::try_from(at - now).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::webhook::meaning;

    fn answer(status: u16, retry_after: Option<&str>) -> Result<Answer, String> {
        Ok(Answer { status, retry_after: retry_after.map(str::to_owned), body: String::new() })
    }

    #[test]
    fn no_answer_is_tried_again() {
        let judged = judge(&Err("connect 127.0.0.1:9: connection refused".into()), 0, meaning);
        let reason = "connect 127.0.0.1:9: connection refused".into();
        assert_eq!(judged, Judgement::Retry { after: None, reason });
    }

    #[test]
    fn retry_after_is_honoured_up_to_its_cap() {
        let now = 784_111_777_000; // Sun, 06 Nov 1994 08:49:37 GMT
        let wait = |text: &str| match judge(&answer(429, Some(text)), now, meaning) {
            Judgement::Retry { after, .. } => after.map(|wait| wait.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(wait("7"), Some(7));
        assert_eq!(wait("86400"), Some(600));
        assert_eq!(wait("99999999999999999999999"), Some(600));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(wait("Sunday, 06-Nov-94 08:49:47 GMT"), Some(10));
        assert_eq!(wait("Sun Nov  6 08:49:47 1994"), Some(10));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:27 GMT"), Some(0));
        for nonsense in ["", "soon", "-5", "1.5"] {
            assert_eq!(wait(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn an_answer_is_quoted_in_part_and_without_control_characters() {
        let body = format!("bad\nrequest{}", "x".repeat(500));
        let judged = judge(&Ok(Answer { status: 400, retry_after: None, body }), 0, meaning);
        let Judgement::GiveUp { reason } = judged else { panic!() };
        assert!(reason.starts_with("status 400: bad request") && reason.len() < 200, "{reason}");
    }
}
