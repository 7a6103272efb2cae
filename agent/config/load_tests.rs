use std::fs;

use super::*;
use crate::alert::route::GroupBy;
use crate::probe;
use crate::secret::SecretSource;
use crate::target::{Priority, Scope, Target};

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn from_environment(pairs: &[(&str, &str)]) -> Loaded {
    load(None, &variables(pairs), &[]).unwrap()
}

fn from_text(text: &str, pairs: &[(&str, &str)]) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watchkeeper.yml");
    fs::write(&path, text).unwrap();
    load(Some(&path), &variables(pairs), &[]).unwrap()
}

fn target<'a>(loaded: &'a Loaded, name: &str) -> &'a Target {
    loaded.config.targets.iter().find(|target| target.name == name).unwrap()
}

const API: &str = "targets:\n  api-app:\n    http: {url: 'http://api:8000/health'}\n";

#[test]
fn nothing_at_all_is_a_configuration() {
    let loaded = from_environment(&[("HOME", "/home/me")]);
    assert_eq!(loaded.config.listen.to_string(), "127.0.0.1:7799");
    assert_eq!(loaded.config.state_dir, Path::new("/home/me/.local/state/watchkeeper"));
    assert!(loaded.config.alerting.is_none());
    assert!(loaded.notes[0].starts_with("this host alone is watched"), "{:?}", loaded.notes);
    let [host] = loaded.config.targets.as_slice() else { panic!("{:?}", loaded.config.targets) };
    assert_eq!((host.name.as_str(), host.settings.kind(), host.scope), ("host", "host", Scope::Node));
    assert_eq!(host.instance, crate::node::name());
    assert_eq!(
        loaded.config.evaluation,
        Evaluation { interval: Duration::from_secs(5), react: true, query_offset: Duration::ZERO }
    );
}

#[test]
fn a_target_has_the_documented_defaults() {
    let loaded = from_text(API, &[]);
    let api = target(&loaded, "api-app");
    assert_eq!((api.job.as_str(), api.service.as_str(), api.priority), ("api-app", "api-app", Priority::P1));
    assert_eq!(api.schedule.interval, Duration::from_secs(5));
    assert_eq!(api.schedule.timeout, Duration::from_secs(2));
    assert_eq!(api.schedule.confirm, Duration::from_millis(250));
    assert_eq!((api.schedule.rise, api.schedule.fall, api.grace), (2, 2, Duration::ZERO));
}

#[test]
fn an_unset_timeout_is_80_percent_of_a_short_interval() {
    let loaded = from_text(&format!("{API}    interval: 1s\n"), &[]);
    assert_eq!(target(&loaded, "api-app").schedule.timeout, Duration::from_millis(800));
}

#[test]
fn labels_may_name_service_and_job() {
    let loaded = from_text(&format!("{API}    labels: {{service: api, job: web, team: core}}\n"), &[]);
    let api = target(&loaded, "api-app");
    assert_eq!((api.job.as_str(), api.service.as_str()), ("web", "api"));
    assert_eq!(api.labels.keys().collect::<Vec<_>>(), ["team"]);
}

#[test]
fn the_environment_lies_over_the_file() {
    let variables = [
        ("WATCHKEEPER__LISTEN", "0.0.0.0:80"),
        ("WATCHKEEPER__DEFAULTS__INTERVAL", "10s"),
        ("WATCHKEEPER__TARGETS__API_APP__PRIORITY", "P0"),
        ("WATCHKEEPER__TELEMETRY__LOG__LEVEL", ""),
        ("WATCHKEEPER_LISTEN", "ignored"),
        ("WATCHKEEPER_PORT", "tcp://10.0.0.1:7799"),
    ];
    let loaded = from_text(&format!("listen: 127.0.0.1:1\n{API}"), &variables);
    assert_eq!(loaded.config.listen.to_string(), "0.0.0.0:80");
    let api = target(&loaded, "api-app");
    assert_eq!((api.schedule.interval, api.priority), (Duration::from_secs(10), Priority::P0));
    assert_eq!(loaded.config.targets.len(), 1);
    assert_eq!(loaded.notes.len(), 1, "{:?}", loaded.notes);
    assert!(loaded.notes[0].contains("WATCHKEEPER_LISTEN is not read"));
}

#[test]
fn the_environment_names_targets_where_there_is_no_file() {
    let variables = [
        ("DATABASE_URL", "postgresql+asyncpg://me:hunter2@db:5432/app"),
        ("REDIS_URL", " Redis://:hunter2@cache:6379/0"),
        ("API_HOST", "api"),
        ("API_PORT", "8000"),
        ("ASPNETCORE_URLS", "http://+:5000"),
        ("ENGINE_INTERNAL_API_URL", "http://engine:5000/api/internal"),
        ("VOICE_GATEWAY_HOST", "gateway"),
        ("OPENAI_API_KEY", "hunter2"),
    ];
    let loaded = from_environment(&variables);
    let mut names: Vec<_> =
        loaded.config.targets.iter().map(|t| (t.name.as_str(), t.settings.kind(), t.instance.as_str())).collect();
    assert_eq!(names.pop().map(|(name, ..)| name), Some("host"));
    names.sort_unstable();
    let wanted = [
        ("api", "http", "http://api:8000/health"),
        ("database", "postgres", "db:5432"),
        ("engine", "http", "http://engine:5000/health"),
        ("redis", "redis", "cache:6379"),
        ("voice-gateway", "websocket", "gateway:4001"),
    ];
    assert_eq!(names, wanted);
    assert_eq!(
        loaded.notes,
        ["seen in the environment, but watched only where a configuration names it: OPENAI_API_KEY"]
    );
    assert!(!format!("{loaded:?}").contains("hunter2"));
    let with_file = from_text("labels: {a: b}\n", &variables);
    assert!(with_file.config.targets.is_empty());
}

#[test]
fn a_gateway_that_listens_everywhere_is_watched_on_this_machine() {
    let loaded = from_environment(&[("VOICE_GATEWAY_HOST", "0.0.0.0"), ("VOICE_GATEWAY_PORT", "4100")]);
    assert_eq!(target(&loaded, "voice-gateway").instance, "127.0.0.1:4100");
    assert!(from_environment(&[("VOICE_GATEWAY_PORT", "4100")]).config.targets.iter().all(|t| t.name == "host"));
}

#[test]
fn a_database_in_parts_needs_a_host() {
    let parts = [("POSTGRES_DB", "app"), ("POSTGRES_USER", "me"), ("POSTGRES_PASSWORD", "p@ss/word")];
    let loaded = from_environment(&parts);
    assert_eq!(loaded.config.targets.len(), 1, "the host alone");
    assert!(loaded.notes[0].contains("set DATABASE_URL or POSTGRES_HOST"));
    let loaded = from_environment(&[&parts[..], &[("POSTGRES_HOST", "db")]].concat());
    assert_eq!(target(&loaded, "database").instance, "db:5432");
}

#[test]
fn an_address_to_listen_on_is_watched_here() {
    let loaded = from_environment(&[("API_HOST", "0.0.0.0"), ("API_PORT", "3000")]);
    assert_eq!(target(&loaded, "api").instance, "http://127.0.0.1:3000/health");
}

#[test]
fn foreign_urls_are_noted_and_never_shown() {
    let loaded = from_environment(&[("DATABASE_URL", "mysql://me:hunter2@db/x"), ("REDIS_URL", "hunter2")]);
    assert_eq!(loaded.config.targets.len(), 1, "the host alone");
    assert_eq!(loaded.notes.len(), 3, "{:?}", loaded.notes);
    assert!(!loaded.notes.concat().contains("hunter2"));
}

#[test]
fn environment_and_log_level_lie_below_the_file() {
    let variables = [("NODE_ENV", "production"), ("LOG_LEVEL", "WARNING")];
    let loaded = from_text("labels: {region: east}\n", &variables);
    assert_eq!(loaded.config.labels, self::variables(&[("environment", "production"), ("region", "east")]));
    assert_eq!(loaded.config.log.level, LogLevel::Warn);
    let loaded = from_text("labels: {environment: staging}\ntelemetry: {log: {level: debug}}\n", &variables);
    assert_eq!(loaded.config.labels["environment"], "staging");
    assert_eq!(loaded.config.log.level, LogLevel::Debug);
}

#[test]
fn routes_inherit_and_have_alertmanager_s_defaults() {
    let loaded = load(Some(Path::new("tests/config/good/alerting-in-place.yml")), &variables(&[]), &[]).unwrap();
    let alerting = loaded.config.alerting.unwrap();
    let child = &alerting.route.routes[0];
    assert_eq!((child.receiver.as_str(), child.continues, &child.group_by), ("pager", true, &GroupBy::All));
    assert_eq!((child.group_wait, child.group_interval), (Duration::ZERO, Duration::ZERO));
    assert_eq!(child.repeat_interval, Duration::from_secs(4 * 3600));
    let webhook = webhook(&alerting.receivers[1]);
    assert_eq!(webhook.url, SecretSource::File("tests/config/good/../files/webhook-url".into()));
    assert_eq!((webhook.send_resolved, webhook.max_alerts, webhook.timeout), (false, 10, Duration::from_secs(5)));
}

fn webhook(receiver: &crate::notify::Receiver) -> &crate::notify::webhook::Settings {
    let crate::notify::Settings::Webhook(webhook) = &receiver.endpoints[0].settings else { panic!("no webhook") };
    webhook
}

#[test]
fn paths_start_at_the_file_that_names_them() {
    let loaded = load(Some(Path::new("tests/config/good/whole.yml")), &variables(&[("REGION", "x")]), &["ServiceDown"]);
    let loaded = loaded.unwrap();
    assert_eq!(loaded.config.state_dir, Path::new("tests/config/good/state"));
    let wanted = RuleFile { path: "tests/config/good/../files/rules/good.yml".into(), hold: false };
    assert_eq!(loaded.config.rule_files, [wanted]);
    let alerting = loaded.config.alerting.unwrap();
    let ops = webhook(&alerting.receivers[0]);
    assert_eq!(ops.url, SecretSource::File("tests/config/good/../files/webhook-url".into()));
}

/// A configuration of three files, in a folder of its own.
fn three_files() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("main.yml", "labels: {region: \"${REGION}\"}\nrule_files: ['*.rules']\nalerting: {file: am.yml}\n");
    write("am.yml", "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: \"http://${HOOK}/\"}]}]\n");
    write("x.rules", "groups: []\n");
    let path = folder.path().join("main.yml");
    (folder, path)
}

#[test]
fn a_kept_copy_loads_without_the_files_and_with_today_s_variables() {
    let (folder, path) = three_files();
    let loaded = load(Some(&path), &variables(&[("REGION", "east"), ("HOOK", "one")]), &[]).unwrap();
    drop(folder);
    let kept = serde_json::to_string(&loaded.source).unwrap();
    assert!(kept.contains("${HOOK}") && !kept.contains("one"), "kept unexpanded");
    let source: Source = serde_json::from_str(&kept).unwrap();
    let again = load_from_snapshot(&source, &variables(&[("REGION", "west"), ("HOOK", "one")]), &[]).unwrap();
    assert_eq!(again.config.labels["region"], "west");
    assert_eq!((&again.config.alerting, &again.source), (&loaded.config.alerting, &loaded.source));
    assert_eq!(again.config.rule_files, loaded.config.rule_files);
}

#[test]
fn a_wrong_override_does_not_stop_the_kept_copy() {
    let loaded = from_text(API, &[]);
    let bad = variables(&[("WATCHKEEPER__LISTEN", "nowhere"), ("WATCHKEEPER__DEFAULTS__INTERVAL", "9s")]);
    let again = load_from_snapshot(&loaded.source, &bad, &[]).unwrap();
    assert_eq!(again.config.listen.to_string(), "127.0.0.1:7799");
    assert_eq!(target(&again, "api-app").schedule.interval, Duration::from_secs(9));
    assert!(again.notes.iter().any(|note| note.contains("WATCHKEEPER__LISTEN")));
}

#[test]
fn a_rule_file_that_two_patterns_find_is_loaded_once() {
    let (_folder, path) = three_files();
    let text = fs::read_to_string(&path).unwrap().replace("['*.rules']", "[x.rules, {path: '?.rules', hold: true}]");
    fs::write(&path, text).unwrap();
    let loaded = load(Some(&path), &variables(&[("REGION", "r"), ("HOOK", "h")]), &[]).unwrap();
    assert_eq!(loaded.config.rule_files.len(), 1);
}

#[test]
fn a_missing_secret_file_does_not_stop_the_agent() {
    let text = "alerting:\n  route: {receiver: a}\n  receivers: [{name: a, webhook_configs: [{url_file: absent}]}]\n";
    let loaded = from_text(text, &[]);
    assert_eq!(loaded.unusable.len(), 1);
    assert!(loaded.unusable[0].message.contains("o such file"));
}

#[test]
fn the_state_folder_is_found_even_when_the_rest_is_bad() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.yml");
    let find = |pairs: &[(&str, &str)]| state_dir::find(Some(&path), &variables(pairs));
    fs::write(&path, "state_dir: state\nlisten: 5\nnonsense: ${UNSET}\n").unwrap();
    assert_eq!(find(&[]), folder.path().join("state"));
    assert_eq!(find(&[("WATCHKEEPER__STATE_DIR", "/s")]), Path::new("/s"));
    fs::write(&path, "listen: [\nstate_dir: ${STATE}/one\n\ttargets: {\n").unwrap();
    assert_eq!(find(&[("STATE", "/s")]), Path::new("/s/one"), "what is no YAML still has its line");
    fs::write(&path, "state_dir: [\n").unwrap();
    assert_eq!(find(&[("STATE_DIRECTORY", "/var/lib/one:/two"), ("HOME", "/h")]), Path::new("/var/lib/one"));
    assert_eq!(find(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]), Path::new("/x/watchkeeper"));
    assert_eq!(find(&[]), Path::new("/var/lib/watchkeeper"));
    assert_eq!(state_dir::find(None, &variables(&[("HOME", "/h")])), Path::new("/h/.local/state/watchkeeper"));
}

#[test]
fn kinds_are_those_of_the_list() {
    for kind in probe::KINDS {
        let text = format!("targets: {{x: {{{}: 5}}}}\n", kind.name);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.yml");
        fs::write(&path, text).unwrap();
        let problems = load(Some(&path), &variables(&[]), &[]).unwrap_err();
        assert!(problems[0].message.contains(&format!("`{}`: a mapping is wanted", kind.name)), "{problems:?}");
    }
}

#[test]
fn a_secret_that_is_not_right_yet_does_not_stop_the_watch() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("url"), "not a URL\n").unwrap();
    let path = folder.path().join("main.yml");
    fs::write(&path, "targets:\n  db:\n    postgres: {url_file: url}\n").unwrap();
    let loaded = load(Some(&path), &variables(&[]), &[]).unwrap();
    assert_eq!(target(&loaded, "db").instance, "db");
    assert!(loaded.unusable[0].to_string().contains("main.yml:3:5: `postgres`: not a PostgreSQL URL"));
}

#[test]
fn a_password_of_its_own_variable_is_taken_literally() {
    let password = "100%25 a@b/c:d?#";
    let pairs = [("POSTGRES_HOST", "db"), ("POSTGRES_USER", "me%41"), ("POSTGRES_PASSWORD", password)];
    let loaded = from_environment(&pairs);
    let probe::Settings::Postgres(settings) = &target(&loaded, "database").settings else { panic!("no database") };
    let url = settings.url.as_ref().unwrap().expose();
    assert_eq!(url, "postgres://me%2541:100%2525%20a%40b%2Fc%3Ad%3F%23@db:5432/me%2541");
}

/// The body of the fuzz loop: any text is a configuration, or is refused with every problem at its place.
fn loads_or_refuses(text: &str) {
    let main = FileText { path: "w.yml".into(), text: text.to_owned() };
    let env = variables(&[("HOME", "/home/me"), ("VAR", "5s"), ("WATCHKEEPER__EVALUATION__REACT", "false")]);
    let Err(problems) = build(Some(main), Files::Kept(&Source::default()), &env, &["ServiceDown"]) else { return };
    assert!(!problems.is_empty());
    // A vertical tab or the like ends no line here, but may for others.
    let lines = text.split(['\n', '\r']).count() + 1;
    for Problem { at, message } in problems {
        assert!(!message.is_empty() && at.line as usize <= lines && (at.line == 0 || at.column > 0), "{at}: {message}");
    }
}

#[test]
fn any_text_is_a_configuration_or_refused() {
    let seeds = [
        include_str!("../../tests/config/good/whole.yml"),
        include_str!("../../tests/config/good/kinds.yml"),
        include_str!("../../tests/config/good/anchors.yml"),
        include_str!("../../tests/config/good/alerting-in-place.yml"),
    ];
    let tokens = [
        "${VAR}",
        "${",
        "*a",
        "&a ",
        "<<: ",
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "'",
        "\"",
        "|\n",
        "\n",
        "  ",
        "\t",
        "#",
        "!!int ",
        "? ",
        "---\n",
        "5s",
        "http: ",
        "url_file: ",
        "99999999999999999999",
        "~",
        "\u{feff}",
        "\r",
    ];
    crate::fuzz::texts(1_500, &seeds, &tokens, loads_or_refuses);
}

#[test]
fn any_text_in_the_environment_is_a_target_or_noted() {
    let seeds =
        ["postgresql+asyncpg://me:p%40ss@db:5432/app?schema=public", "redis://:hunter2@cache:6379/0", "api:8000"];
    crate::fuzz::texts(1_500, &seeds, &["%", "@", ":", "[", "]", "?", "#", "\n", "://", "${X}", ","], |text| {
        let names = ["DATABASE_URL", "REDIS_URL", "API_HOST", "API_PORT", "ENGINE_INTERNAL_API_URL", "KEYCLOAK_URL"];
        for name in names {
            let pair = [(name, text)];
            for Problem { at, message } in load(None, &variables(&pair), &[]).err().unwrap_or_default() {
                assert!(at.file.contains(name), "{at}: {message}");
            }
        }
    });
}

#[test]
fn a_host_is_each_node_s_own_unless_it_says_otherwise() {
    let loaded =
        from_text("targets: {a: {host: {}}, b: {host: {}, scope: cluster}, c: {tls: {address: 'h:443'}}}\n", &[]);
    let scopes: Vec<_> = loaded.config.targets.iter().map(|target| target.scope).collect();
    assert_eq!(scopes, [Scope::Node, Scope::Cluster, Scope::Cluster]);
}

#[test]
fn every_profile_loads_by_its_name_alone() {
    for name in profile::names() {
        let loaded = from_environment(&[("WATCHKEEPER__PROFILE", name)]);
        assert!(loaded.config.targets.len() > 5, "{name}");
        assert!(loaded.config.alerting.is_none() && loaded.notes.is_empty(), "{name}: {:?}", loaded.notes);
    }
}

#[test]
fn a_file_and_the_environment_override_a_profile_in_any_part() {
    let text = "profile: orbisvoice\n\
        targets:\n  web: {priority: P3}\n  redis: false\n  api: {http: false, tcp: {address: 'api:3000'}}\n\
        \x20 extra: {tcp: {address: 'extra:1'}}\n";
    let loaded =
        from_text(text, &[("WATCHKEEPER__TARGETS__VOICE_GATEWAY__INTERVAL", "9s"), ("VOICE_GATEWAY_PORT", "4002")]);
    assert_eq!(target(&loaded, "web").priority, Priority::P3);
    assert_eq!(target(&loaded, "api").settings.kind(), "tcp");
    assert_eq!(target(&loaded, "extra").instance, "extra:1");
    assert_eq!(target(&loaded, "voice-gateway").schedule.interval, Duration::from_secs(9));
    assert_eq!(target(&loaded, "voice-gateway").instance, "voice-gateway:4002");
    assert!(loaded.config.targets.iter().all(|target| target.name != "redis"));
}

#[test]
fn the_environment_s_profile_wins_over_the_file_s() {
    let loaded = from_text("profile: orbisvoice\n", &[("WATCHKEEPER__PROFILE", "maxai")]);
    assert!(loaded.config.targets.iter().any(|target| target.name == "payments"));
    assert!(loaded.config.targets.iter().all(|target| target.name != "voice-gateway"));
}

#[test]
fn what_the_environment_names_is_not_added_to_a_profile() {
    let loaded = from_environment(&[("WATCHKEEPER__PROFILE", "orbisvoice"), ("API_URL", "http://api.internal:3000")]);
    let api: Vec<&str> =
        loaded.config.targets.iter().filter(|target| target.service == "api").map(|target| &*target.instance).collect();
    assert_eq!(api, ["http://api.internal:3000/health", "http://api.internal:3000/metrics"]);
}
