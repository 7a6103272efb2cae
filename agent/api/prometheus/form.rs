//! A request's parameters: from its query and, of a POST, from its form, which wins.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header::{CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use url::form_urlencoded;

use super::Refusal;
use crate::duration;
use crate::matcher::Matcher;
use crate::promql::{self, Expr, ExprKind, SyntaxError};
use crate::sample::Timestamp;

/// The most bytes of a form.
const FORM_LIMIT: usize = 64 * 1024;
/// The most bytes of a longer form that are waited for before it is refused.
const DROPPED: usize = 1 << 20;
/// How long a client may take to send its form.
const FORM_TIME: Duration = Duration::from_secs(10);
/// The most bytes of the compiled regular expressions of a request: these take about ten milliseconds to compile.
const PATTERNS: usize = 512 * 1024;
/// The most selectors in one request.
const SELECTORS: usize = 64;

#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    pub async fn read(request: Request<Body>) -> Result<Self, Refusal> {
        let (head, body) = request.into_parts();
        let mut pairs = Vec::new();
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if head.method == Method::POST && kind.starts_with("application/x-www-form-urlencoded") {
            let late = |_| Refusal::BadData(format!("the form did not arrive within {} s", FORM_TIME.as_secs()));
            let form = tokio::time::timeout(FORM_TIME, bytes(&head.headers, body)).await.map_err(late)??;
            pairs.extend(form_urlencoded::parse(&form).into_owned());
        }
        pairs.extend(form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned());
        Ok(Form(pairs))
    }

    /// The first value of a parameter, "" where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A time that must be given.
    pub fn time(&self, name: &str) -> Result<Timestamp, Refusal> {
        time(self.get(name)).map_err(|why| Refusal::parameter(name, why))
    }

    pub fn time_or(&self, name: &str, default: Timestamp) -> Result<Timestamp, Refusal> {
        if self.get(name).is_empty() {
            return Ok(default);
        }
        let refuse = |why| Refusal::parameter(name, format!("invalid time value for '{name}': {why}"));
        time(self.get(name)).map_err(refuse)
    }

    /// A duration in milliseconds, if it is given. It may be negative.
    pub fn duration(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        span(text).map(Some).map_err(|why| Refusal::parameter(name, why))
    }

    /// The most results that are wanted, if it is said: 0 says nothing.
    pub fn limit(&self) -> Result<Option<usize>, Refusal> {
        let text = self.get("limit");
        match text.parse::<i64>() {
            _ if text.is_empty() => Ok(None),
            Ok(limit) => match usize::try_from(limit) {
                Ok(limit) => Ok(Some(limit).filter(|limit| *limit > 0)),
                Err(_) => Err(Refusal::parameter("limit", "limit must be non-negative")),
            },
            Err(_) => Err(Refusal::parameter("limit", format!("{text:?} is not a whole number"))),
        }
    }

    /// A number; none where it is not given or negative.
    pub fn number(&self, name: &str) -> Result<Option<usize>, Refusal> {
        let text = self.get(name);
        match text.parse::<i64>() {
            _ if text.is_empty() => Ok(None),
            Ok(number) => Ok(usize::try_from(number).ok()),
            Err(_) => Err(Refusal::BadData(format!("{name} must be a number"))),
        }
    }

    /// The expression under a parameter.
    pub fn expression(&self, name: &str) -> Result<Expr, Refusal> {
        let text = self.get(name);
        promql::parse_within(text, PATTERNS).map_err(|error| Refusal::parameter(name, placed(text, &error)))
    }

    /// The selectors under `match[]`.
    pub fn selectors(&self) -> Result<Vec<Vec<Matcher>>, String> {
        let texts: Vec<&str> = self.all("match[]").collect();
        if texts.len() > SELECTORS {
            return Err(format!("match[] stands {} times: ask for {SELECTORS} at most", texts.len()));
        }
        let patterns = PATTERNS / texts.len().max(1);
        texts.into_iter().map(|text| selector(text, patterns)).collect()
    }
}

/// The bytes of a form. Of one that is too long the rest is taken and dropped: who is still sending reads no answer.
async fn bytes(headers: &HeaderMap, mut body: Body) -> Result<Vec<u8>, Refusal> {
    let too_large = || Refusal::TooLarge(format!("a form may have {FORM_LIMIT} bytes: narrow the query"));
    // It has not begun to send.
    if headers.contains_key(EXPECT) && body.size_hint().lower() > FORM_LIMIT as u64 {
        return Err(too_large());
    }
    let (mut form, mut dropped) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let broken = |error| Refusal::BadData(format!("the form did not arrive whole: {error}"));
        let data = frame.map_err(broken)?.into_data().unwrap_or_default();
        match form.len() + data.len() <= FORM_LIMIT && dropped == 0 {
            true => form.extend_from_slice(&data),
            false => dropped += data.len(),
        }
        if dropped > DROPPED {
            break;
        }
    }
    if dropped > 0 { Err(too_large()) } else { Ok(form) }
}

/// The matchers of an instant selector.
fn selector(text: &str, patterns: usize) -> Result<Vec<Matcher>, String> {
    let expr = promql::parse_within(text, patterns).map_err(|error| placed(text, &error))?;
    match expr.kind {
        ExprKind::Selector(selector) if selector.range.is_none() && selector.offset == 0 && selector.at.is_none() => {
            Ok(selector.matchers)
        }
        _ => Err(format!("1:1: parse error: {text:?} is not a selector of series as name{{label=\"value\"}}")),
    }
}

/// A syntax error as Prometheus writes it: line and column (of bytes) from 1.
pub fn placed(text: &str, error: &SyntaxError) -> String {
    if error.message.starts_with("no expression found") {
        return "unknown position: parse error: no expression found in input".to_owned();
    }
    format!("{}: parse error: {}", place(text, error.span.start), error.message)
}

/// Line and column (of bytes) from 1.
pub fn place(text: &str, offset: usize) -> String {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    format!("{line}:{column}")
}

/// Unix seconds with a fraction, or RFC 3339, as milliseconds.
fn time(text: &str) -> Result<Timestamp, String> {
    let refuse = || format!("cannot parse {text:?} to a valid timestamp");
    match text.parse::<f64>() {
        // As Prometheus rounds: the fraction alone, so that it is not lost beside 1.7 billion.
        Ok(seconds) if seconds.is_finite() => {
            let millis = (seconds.fract() * 1_000.0).round() as Timestamp;
            Ok((seconds.trunc() as Timestamp).saturating_mul(1_000).saturating_add(millis))
        }
        Ok(_) => Err(refuse()),
        Err(_) => rfc3339(text).ok_or_else(refuse),
    }
}

/// With a `T` and seconds, of which a minute has 60.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let at = |place: usize| text.as_bytes().get(place);
    let is_whole = at(10) == Some(&b'T') && at(16) == Some(&b':') && at(17).is_some_and(|digit| *digit < b'6');
    let time = text.parse::<jiff::Timestamp>().ok().filter(|_| is_whole)?;
    Some(time.as_millisecond())
}

/// Seconds with a fraction, or `1m30s`, as milliseconds.
fn span(text: &str) -> Result<i64, String> {
    let refuse = || format!("cannot parse {text:?} to a valid duration");
    match text.parse::<f64>() {
        // Go's durations are 64 bits of nanoseconds.
        Ok(seconds) if (seconds * 1e9).abs() <= i64::MAX as f64 => Ok((seconds * 1_000.0) as i64),
        Ok(seconds) if seconds.is_nan() => Err(refuse()),
        Ok(_) => Err(format!("{}. It overflows int64", refuse())),
        Err(_) => match duration::parse(text) {
            Ok(parsed) if i64::try_from(parsed.as_nanos()).is_ok() => Ok(crate::clock::millis(parsed)),
            _ => Err(refuse()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(query: &str) -> Form {
        Form(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, at) in [
            ("1700000000", 1_700_000_000_000),
            ("1700000000.1234", 1_700_000_000_123),
            ("1700000000.0005", 1_700_000_000_000),
            ("-1.5", -1_500),
            ("-1", -1_000),
            ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
            ("2015-07-01T22:10:51+02:00", 1_435_781_451_000),
        ] {
            assert_eq!(time(text), Ok(at), "{text}");
        }
        for wrong in [
            "",
            "foo",
            "NaN",
            "Inf",
            "2015-07-01",
            "2015-07-01 20:10:51Z",
            "2015-07-01T20:10Z",
            "2015-07-01T20:10:60Z",
            "12s",
        ] {
            assert_eq!(time(wrong), Err(format!("cannot parse {wrong:?} to a valid timestamp")));
        }
    }

    #[test]
    fn spans_are_seconds_or_units() {
        for (text, millis) in
            [("15", 15_000), ("0.5", 500), ("1m30s", 90_000), ("-1", -1_000), ("9223372036", 9_223_372_036_000)]
        {
            assert_eq!(span(text), Ok(millis), "{text}");
        }
        assert_eq!(span("1ns"), Err("cannot parse \"1ns\" to a valid duration".to_owned()));
        assert_eq!(span("0.0001"), Ok(0));
        assert!(span("9223372037").is_err() && span("300y").is_err());
        assert_eq!(span("1e300"), Err("cannot parse \"1e300\" to a valid duration. It overflows int64".to_owned()));
    }

    #[test]
    fn a_mistake_is_placed_by_line_and_column() {
        for (text, place) in [("1 +", "1:4: "), ("up\n + sum(", "2:"), ("foo(up)", "1:1: ")] {
            let error = promql::parse(text).unwrap_err();
            assert!(placed(text, &error).starts_with(place), "{text}: {}", placed(text, &error));
        }
    }

    #[test]
    fn a_limit_of_nothing_is_none() {
        assert_eq!(form("").limit(), Ok(None));
        assert_eq!(form("limit=0").limit(), Ok(None));
        assert_eq!(form("limit=2&limit=3").limit(), Ok(Some(2)));
        for wrong in ["limit=-1", "limit=x"] {
            assert!(matches!(form(wrong).limit(), Err(Refusal::BadData(_))), "{wrong}");
        }
    }

    #[test]
    fn only_selectors_select_series() {
        assert_eq!(form("match[]=up&match[]={a=\"b\"}").selectors().unwrap().len(), 2);
        for wrong in ["rate(up[5m])", "up[5m]", "up{", "1", "up offset 5m"] {
            assert!(form(&format!("match[]={wrong}")).selectors().is_err(), "{wrong}");
        }
        let many: String = (0..65).map(|_| "match[]=up&").collect();
        assert!(form(&many).selectors().unwrap_err().contains("65 times"));
    }
}
