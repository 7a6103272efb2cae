//! `/api/v1/series`, `/api/v1/labels` and `/api/v1/label/{name}/values`: which series there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::form::Form;
use super::gate::{LONGEST, Turn};
use super::notes::Notes;
use super::{Context, Refusal};
use crate::matcher::Matcher;
use crate::sample::{Label, Labels, Timestamp, is_stale};
use crate::store;

/// The most series that are listed.
const SERIES: usize = 50_000;

pub async fn series(State(context): State<Arc<Context>>, request: Request<Body>) -> Result<Response, Refusal> {
    let form = Form::read(request).await?;
    if form.all("match[]").next().is_none() {
        return Err(Refusal::BadData("no match[] parameter provided".to_owned()));
    }
    let (limit, times) = (form.limit()?, times(&form)?);
    let selectors = context.queries.alone(async { form.selectors() }).await;
    let selectors = selectors.map_err(|why| Refusal::parameter("match[]", why))?;
    let mut turn = context.queries.enter(LONGEST).await?;
    let mut found: BTreeSet<Labels> = BTreeSet::new();
    let mut add = |labels: &Labels| {
        found.insert(labels.clone());
    };
    visit(&context, &selectors, times, &mut turn, &mut add).await?;
    list(&found, limit, &mut turn).await
}

/// The names of labels.
pub async fn labels(State(context): State<Arc<Context>>, request: Request<Body>) -> Result<Response, Refusal> {
    strings(&context, request, |label| Some(&label.name)).await
}

/// The values of a label.
pub async fn values(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let name = unescaped(&name).unwrap_or(name);
    strings(&context, request, |label| (*label.name == *name).then_some(&label.value)).await
}

async fn strings(
    context: &Context,
    request: Request<Body>,
    of: impl Fn(&Label) -> Option<&Arc<str>> + Send + Sync,
) -> Result<Response, Refusal> {
    let form = Form::read(request).await?;
    let (limit, times) = (form.limit()?, times(&form)?);
    let mut selectors = context.queries.alone(async { form.selectors() }).await.map_err(Refusal::BadData)?;
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let mut turn = context.queries.enter(LONGEST).await?;
    let mut strings: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut add = |labels: &Labels| {
        for text in labels.iter().filter_map(&of) {
            if !strings.contains(text) {
                strings.insert(text.clone());
            }
        }
    };
    visit(context, &selectors, times, &mut turn, &mut add).await?;
    let strings: Vec<&str> = strings.iter().map(|text| &**text).collect();
    list(&strings, limit, &mut turn).await
}

/// Writes a list, in slices too.
async fn list<'v, T: Serialize + 'v>(
    values: impl IntoIterator<Item = &'v T>,
    limit: Option<usize>,
    turn: &mut Turn<'_>,
) -> Result<Response, Refusal> {
    let mut values = values.into_iter();
    let mut body = "{\"status\":\"success\",\"data\":[".to_owned();
    for (index, value) in values.by_ref().take(limit.unwrap_or(SERIES).min(SERIES)).enumerate() {
        if index > 0 {
            body.push(',');
        }
        body += &serde_json::to_string(value).unwrap_or_default();
        turn.pause_writing(&body).await?;
    }
    body.push(']');
    Notes::default().truncated(values.next().is_some()).write(&mut body);
    body.push('}');
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// From `start` to `end`; all that is kept where they are not given.
fn times(form: &Form) -> Result<(Timestamp, Timestamp), Refusal> {
    Ok((form.time_or("start", Timestamp::MIN)?, form.time_or("end", Timestamp::MAX)?))
}

/// Shows every series that matches one of the selectors and has a sample in the time; what several match, several times.
async fn visit(
    context: &Context,
    selectors: &[Vec<Matcher>],
    (start, end): (Timestamp, Timestamp),
    turn: &mut Turn<'_>,
    show: &mut (dyn FnMut(&Labels) + Send),
) -> Result<(), Refusal> {
    let now = store::lock(&context.store).moment();
    let times = (start.saturating_sub(1), end);
    for matchers in selectors {
        let mut reading = store::lock(&context.store).reading(matchers);
        let mut more = true;
        while more {
            turn.pause().await?;
            more = store::lock(&context.store).read(&mut reading, &now, times, &mut |labels, points| {
                if points.iter().any(|point| !is_stale(point.value)) {
                    show(labels);
                }
            });
        }
    }
    Ok(())
}

/// A name as Prometheus's API escapes those that are no plain names: `U__a_2e_b` is `a.b`.
fn unescaped(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix("U__")?;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once('_') {
        plain += before;
        let (code, tail) = after.split_once('_')?;
        match code {
            "" => plain.push('_'),
            code if code.len() <= 6 => plain.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?),
            _ => return None,
        }
        rest = tail;
    }
    Some(plain + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read() {
        for (escaped, plain) in [
            ("U__a_2e_b", Some("a.b")),
            ("U__a__b", Some("a_b")),
            ("U___1F600_", Some("\u{1F600}")),
            ("U__plain", Some("plain")),
            ("U__a_b", None),
            ("U__a_zz_", None),
            ("U___d800_", None),
            ("job", None),
        ] {
            assert_eq!(unescaped(escaped).as_deref(), plain, "{escaped}");
        }
    }
}
