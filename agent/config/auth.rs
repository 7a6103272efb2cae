//! Reads `auth`.

use std::path::{Path, PathBuf};

use super::Auth;
use super::fields::Fields;
use super::tree::{Node, Problem};

pub(super) const KEYS: &[&str] = &["token_file", "reading"];
/// The token that the agent makes for itself, in the state folder.
pub const OWN_TOKEN: &str = "token";

/// Where the agent keeps its own token.
pub fn own_token(state_dir: &Path) -> PathBuf {
    state_dir.join(OWN_TOKEN)
}

/// What reading needs.
#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reading {
    Open,
    Token,
}

pub(super) fn auth(tree: &Node, state_dir: &Path, problems: &mut Vec<Problem>) -> Auth {
    let mut auth = Auth { token_file: own_token(state_dir), own_token: true, closed: false };
    let Some(mut fields) = tree.get("auth").and_then(|node| Fields::of(node, "auth", problems)) else { return auth };
    fields.only(KEYS, &[]);
    if let Some(path) = fields.text("token_file") {
        (auth.token_file, auth.own_token) = (PathBuf::from(path), false);
    }
    auth.closed = matches!(fields.get("reading"), Some(Reading::Token));
    auth
}
