//! What the environment names without meaning Watchkeeper: `DATABASE_URL`, `REDIS_URL`, `API_HOST`… become targets,
//! beside this host, where no configuration file is given; `NODE_ENV` and `LOG_LEVEL` lie below every other layer.

use std::collections::BTreeMap;

use url::Url;

use super::environment::position;
use super::tree::{Key, Node, Position, Value};

type Variables = BTreeMap<String, String>;

/// Variables that say too little of a service to watch it: which path costs nothing, or how health is told.
const UNWATCHED: &[&str] = &[
    "GEMINI_API_KEY",
    "LLM_PROVIDER",
    "LLM_API_KEY",
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "AZURE_OPENAI_ENDPOINT",
    "OLLAMA_HOST",
    "PINECONE_API_KEY",
];

/// What was found in the environment, as configuration; and what was seen but cannot be used.
pub(super) struct Discovered {
    pub tree: Node,
    pub notes: Vec<String>,
}

/// The lowest layer: the `environment` label, the log level, and, where `targets` is set, targets.
pub(super) fn discover(env: &Variables, targets: bool) -> Discovered {
    let mut found = Found { env, targets: Vec::new(), notes: Vec::new() };
    let mut sections = Vec::new();
    sections.extend(found.environment_label());
    sections.extend(found.log_level());
    if targets {
        found.database();
        found.redis();
        found.api();
        found.http_service("ENGINE_INTERNAL_API_URL", "engine", "/health");
        found.keycloak("KEYCLOAK_CLUSTER_URL");
        found.keycloak("KEYCLOAK_URL");
        found.voice_gateway();
        found.unwatched();
        found.host();
    }
    let place = Position::outside("environment");
    if !found.targets.is_empty() {
        sections.push((key("targets", &place), Node::new(&place, Value::Mapping(found.targets))));
    }
    Discovered { tree: Node::new(&place, Value::Mapping(sections)), notes: found.notes }
}

struct Found<'a> {
    env: &'a Variables,
    targets: Vec<(Key, Node)>,
    notes: Vec<String>,
}

impl Found<'_> {
    /// A variable that is set and not empty.
    fn get(&self, variable: &str) -> Option<&str> {
        self.env.get(variable).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    fn has(&self, target: &str) -> bool {
        self.targets.iter().any(|(key, _)| key.text == target)
    }

    /// Adds `target: {kind: {setting: value}}`.
    fn add(&mut self, variable: &str, target: &str, kind: &str, setting: &str, value: &str) {
        if self.has(target) {
            return;
        }
        let at = position(variable);
        let value = Node::from_variable(&at, value, false, &format!("${variable}"));
        self.targets.push((key(target, &at), mapping(&at, kind, mapping(&at, setting, value))));
    }

    /// This machine, beside what is named or alone.
    fn host(&mut self) {
        if self.targets.is_empty() {
            let note = "this host alone is watched: name targets in a configuration file (--config), or set \
                        DATABASE_URL, REDIS_URL, or API_HOST and API_PORT";
            self.notes.push(note.to_owned());
        }
        let at = Position::outside("environment");
        let nothing = Node::new(&at, Value::Mapping(Vec::new()));
        self.targets.push((key("host", &at), mapping(&at, "host", nothing)));
    }

    fn database(&mut self) {
        match self.get("DATABASE_URL").map(str::to_owned) {
            Some(url) if matches!(scheme(&url).as_str(), "postgres" | "postgresql") => {
                self.add("DATABASE_URL", "database", "postgres", "url", &url);
            }
            Some(_) => self.notes.push("DATABASE_URL is set, but is no postgres:// URL: it is not watched".to_owned()),
            None => self.database_parts(),
        }
        if let Some(host) = self.get("RDS_ENDPOINT").map(|host| with_port(host, 5432))
            && !self.has("database")
        {
            self.add("RDS_ENDPOINT", "database", "tcp", "address", &host);
        }
    }

    /// `POSTGRES_DB`, `POSTGRES_USER` and `POSTGRES_PASSWORD` name a database once a host is named too.
    fn database_parts(&mut self) {
        if self.get("POSTGRES_DB").or(self.get("POSTGRES_USER")).is_none() {
            return;
        }
        let Some(host) = self.get("POSTGRES_HOST") else {
            let note =
                "POSTGRES_DB or POSTGRES_USER is set, but no host: set DATABASE_URL or POSTGRES_HOST to watch it";
            self.notes.push(note.to_owned());
            return;
        };
        match self.database_url(host) {
            Some(url) => self.add("POSTGRES_HOST", "database", "postgres", "url", &url),
            None => self.notes.push("POSTGRES_HOST and POSTGRES_PORT are no host and port: not watched".to_owned()),
        }
    }

    fn database_url(&self, host: &str) -> Option<String> {
        let port = self.get("POSTGRES_PORT").unwrap_or("5432");
        let mut url = Url::parse(&format!("postgres://{host}:{port}")).ok()?;
        let user = self.get("POSTGRES_USER").unwrap_or("postgres");
        // What is set is taken for encoded as far as its own `%` go: these are the variable's, literally.
        let literal = |text: &str| text.replace('%', "%25");
        url.set_username(&literal(user)).ok()?;
        url.set_password(self.get("POSTGRES_PASSWORD").map(literal).as_deref()).ok()?;
        url.path_segments_mut().ok()?.push(self.get("POSTGRES_DB").unwrap_or(user));
        Some(url.into())
    }

    fn redis(&mut self) {
        match self.get("REDIS_URL").map(str::to_owned) {
            Some(url) if matches!(scheme(&url).as_str(), "redis" | "rediss") => {
                self.add("REDIS_URL", "redis", "redis", "url", &url);
            }
            Some(_) => self.notes.push("REDIS_URL is set, but is no redis:// URL: it is not watched".to_owned()),
            None => {}
        }
        if let Some(host) = self.get("ELASTICACHE_ENDPOINT").map(|host| with_port(host, 6379)) {
            self.add("ELASTICACHE_ENDPOINT", "redis", "redis", "url", &format!("redis://{host}"));
        }
    }

    /// `API_HOST` and `API_PORT`; an address to listen on is watched on this machine.
    fn api(&mut self) {
        if let Some(host) = self.get("API_HOST") {
            let host = on_this_machine(host);
            let port = self.get("API_PORT").map(|port| format!(":{port}")).unwrap_or_default();
            let url = format!("http://{host}{port}/health");
            self.add("API_HOST", "api", "http", "url", &url);
        } else if self.get("API_PORT").is_some() {
            self.notes.push("API_PORT is set without API_HOST: set API_HOST to watch it".to_owned());
        }
        self.http_service("API_URL", "api", "/health");
        if self.get("ASPNETCORE_URLS").is_some() && !self.has("api") {
            self.notes
                .push("ASPNETCORE_URLS says where to listen, not where to look: set API_HOST and API_PORT".to_owned());
        }
    }

    /// A service by its URL. Its health stands at the root of the host, unless the URL names a health path itself.
    fn http_service(&mut self, variable: &str, target: &str, path: &str) {
        let Some(text) = self.get(variable) else { return };
        match Url::parse(text) {
            Ok(mut url) if matches!(url.scheme(), "http" | "https") => {
                if !url.path().contains("health") {
                    url.set_path(path);
                    url.set_query(None);
                }
                self.add(variable, target, "http", "url", url.as_str());
            }
            _ => self.notes.push(format!("{variable} is set, but is no http:// or https:// URL: it is not watched")),
        }
    }

    fn keycloak(&mut self, variable: &str) {
        let Some(text) = self.get(variable) else { return };
        let url = format!("{}/realms/master/.well-known/openid-configuration", text.trim_end_matches('/'));
        self.add(variable, "keycloak", "http", "url", &url);
    }

    /// No message is ever sent to it, so that a look costs no session.
    fn voice_gateway(&mut self) {
        let Some(host) = self.get("VOICE_GATEWAY_HOST") else { return };
        let port = self.get("VOICE_GATEWAY_PORT").unwrap_or("4001");
        let url = format!("ws://{}:{port}/", on_this_machine(host));
        self.add("VOICE_GATEWAY_HOST", "voice-gateway", "websocket", "url", &url);
    }

    fn unwatched(&mut self) {
        let seen: Vec<&str> = UNWATCHED.iter().copied().filter(|name| self.get(name).is_some()).collect();
        if !seen.is_empty() {
            self.notes.push(format!(
                "seen in the environment, but watched only where a configuration names it: {}",
                seen.join(", ")
            ));
        }
    }

    /// `ASPNETCORE_ENVIRONMENT`, else `NODE_ENV`, in lower case.
    fn environment_label(&self) -> Option<(Key, Node)> {
        let variable = ["ASPNETCORE_ENVIRONMENT", "NODE_ENV"].into_iter().find(|name| self.get(name).is_some())?;
        let at = position(variable);
        let value = Node::from_variable(&at, &self.get(variable)?.to_lowercase(), false, &format!("${variable}"));
        Some((key("labels", &at), mapping(&at, "environment", value)))
    }

    fn log_level(&mut self) -> Option<(Key, Node)> {
        let level = match self.get("LOG_LEVEL")?.to_lowercase().as_str() {
            "trace" | "verbose" | "silly" => "trace",
            "debug" => "debug",
            "info" | "information" | "notice" | "log" | "http" => "info",
            "warn" | "warning" => "warn",
            "error" | "err" | "critical" | "fatal" => "error",
            _ => {
                self.notes.push("LOG_LEVEL is none of error, warn, info, debug, trace: it is not used".to_owned());
                return None;
            }
        };
        let at = position("LOG_LEVEL");
        let value = Node::from_variable(&at, level, false, "$LOG_LEVEL");
        Some((key("telemetry", &at), mapping(&at, "log", mapping(&at, "level", value))))
    }
}

/// `postgresql` of `postgresql+asyncpg://…`, in lower case.
fn scheme(url: &str) -> String {
    let scheme = url.trim().split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.split('+').next().unwrap_or_default().to_ascii_lowercase()
}

/// An address to listen on is looked at on this machine.
fn on_this_machine(host: &str) -> &str {
    if matches!(host, "0.0.0.0" | "::" | "[::]" | "+" | "*") { "127.0.0.1" } else { host }
}

fn with_port(host: &str, port: u16) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { host.to_owned() } else { format!("{host}:{port}") }
}

fn key(text: &str, at: &Position) -> Key {
    Key { text: text.to_owned(), at: at.clone() }
}

fn mapping(at: &Position, name: &str, value: Node) -> Node {
    Node::new(at, Value::Mapping(vec![(key(name, at), value)]))
}
