//! Who may change something, and where `auth` says so, who may read: whoever knows the token.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{Context, prometheus};
use crate::file;

/// The most that a token file may hold, in bytes.
const LONGEST: u64 = 4_096;

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("the token is wrong or missing: send the content of the agent's token file as `Authorization: Bearer …`")]
    Token,
    #[error("there is no token to compare with, so nothing is allowed: {0}")]
    NoToken(String),
}

/// Whether the request bears the token in the file, which is read anew each time: a rotated token counts at once.
pub fn check(headers: &HeaderMap, token_file: &Path) -> Result<(), Denied> {
    let token = read(token_file).map_err(|error| Denied::NoToken(format!("{}: {error}", token_file.display())))?;
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, given) = given.ok_or(Denied::Token)?;
    // Digests: how long the comparison takes tells nothing of the token.
    if Sha256::digest(given.trim()) == Sha256::digest(&token) { Ok(()) } else { Err(Denied::Token) }
}

/// The token in a file.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    file::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    let token = text.trim();
    if token.is_empty() { Err(io::Error::other("the file is empty")) } else { Ok(token.to_owned()) }
}

/// Makes a token of the agent's own where there is none, for its owner's eyes only.
pub fn ensure(path: &Path) -> io::Result<()> {
    if read(path).is_ok() {
        return Ok(());
    }
    let mut random = [0; 32];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
    // Whole or not at all: half a token on a full disk would stay for ever.
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    writeln!(file, "{}", BASE64_URL_SAFE_NO_PAD.encode(random))?;
    std::fs::rename(new, path)
}

/// Where reading is closed, everything but health and the checks of load balancers needs the token.
pub async fn reading(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    let auth = context.config.borrow().auth.clone();
    if !auth.closed || is_open(request.uri().path()) {
        return next.run(request).await;
    }
    match check(request.headers(), &auth.token_file) {
        Ok(()) => next.run(request).await,
        Err(denied) => refuse(&denied),
    }
}

fn is_open(path: &str) -> bool {
    let health = path == "/health" || path.starts_with("/health/");
    let region = path.strip_prefix("/v1/regions/").and_then(|rest| rest.split_once('/'));
    health || region.is_some_and(|(_, check)| check == "check" || check.starts_with("check/"))
}

pub fn refuse(denied: &Denied) -> Response {
    let status = match denied {
        Denied::Token => StatusCode::UNAUTHORIZED,
        Denied::NoToken(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = prometheus::error(status, "unauthorized", &denied.to_string());
    ([(WWW_AUTHENTICATE, "Bearer")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::os::unix::fs::PermissionsExt;

    fn bearing(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn only_the_token_opens() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "abc\n").unwrap();
        assert_eq!(check(&bearing("Bearer abc"), &file), Ok(()));
        assert_eq!(check(&bearing("bearer  abc "), &file), Ok(()));
        for wrong in ["Bearer", "Bearer ", "Bearer abcd", "Bearer ab", "Basic abc", "abc"] {
            assert_eq!(check(&bearing(wrong), &file), Err(Denied::Token), "{wrong}");
        }
        assert_eq!(check(&HeaderMap::new(), &file), Err(Denied::Token));
        std::fs::write(&file, "rotated").unwrap();
        assert_eq!(check(&bearing("Bearer abc"), &file), Err(Denied::Token));
        assert_eq!(check(&bearing("Bearer rotated"), &file), Ok(()));
    }

    #[test]
    fn an_empty_or_missing_file_opens_to_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        assert!(matches!(check(&bearing("Bearer x"), &file), Err(Denied::NoToken(_))));
        std::fs::write(&file, " \n").unwrap();
        assert!(matches!(check(&bearing("Bearer "), &file), Err(Denied::NoToken(_))));
    }

    #[test]
    fn a_token_is_made_once_and_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        ensure(&file).unwrap();
        let first = read(&file).unwrap();
        assert!(first.len() >= 43, "{first}");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        ensure(&file).unwrap();
        assert_eq!(read(&file).unwrap(), first);
    }

    #[test]
    fn health_and_the_checks_of_load_balancers_stay_open() {
        for open in ["/health", "/health/live", "/v1/regions/us-east/check", "/v1/regions/us-east/check/db"] {
            assert!(is_open(open), "{open}");
        }
        for closed in ["/", "/metrics", "/healthz", "/v1/regions", "/v1/regions/us-east", "/v1/regions/check"] {
            assert!(!is_open(closed), "{closed}");
        }
    }
}
