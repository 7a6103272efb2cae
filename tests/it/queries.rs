//! Prometheus's HTTP API at the agent: its answers beside a real Prometheus's that has the same samples, the clients
//! that people use, and queries that ask for too much.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::configuration::paging;
use crate::support::agent::{Agent, Setup};
use crate::support::client::{self, Response, send};
use crate::support::http::{Answer, HttpService};
use crate::support::place::folder;
use crate::support::prometheus::{Prometheus, prometheus3, promtool, promtool3, run_promtool};
use crate::support::receiver::Receiver;
use crate::support::tcp::TcpService;
use crate::support::wait::{SOON, Witness, eventually, until};

/// Values that do not change: whenever each of the two looks, it sees the same.
const PAGE: &str = "# HELP shop_orders_total Orders.\n# TYPE shop_orders_total counter\n\
    shop_orders_total{path=\"/a\",code=\"200\"} 12\nshop_orders_total{path=\"/b\",code=\"500\"} 0.5\n\
    # TYPE shop_size gauge\nshop_size 1e21\n# TYPE shop_odd gauge\nshop_odd{v=\"nan\"} NaN\nshop_odd{v=\"inf\"} +Inf\n\
    shop_odd{v=\"small\"} 1e-7\n# TYPE shop_wait histogram\nshop_wait_bucket{le=\"1\"} 1\n\
    shop_wait_bucket{le=\"+Inf\"} 2\nshop_wait_sum 3\nshop_wait_count 2\n# TYPE shop_fall_bucket gauge\n\
    shop_fall_bucket{le=\"1\"} 3\nshop_fall_bucket{le=\"2\"} 1\nshop_fall_bucket{le=\"+Inf\"} 4\n\
    # TYPE shop_bad_bucket gauge\nshop_bad_bucket{le=\"x\"} 1\nshop_bad_bucket{le=\"+Inf\"} 2\n";

fn page(text: &str) -> HttpService {
    let headers = vec![("Content-Type".to_owned(), "text/plain; version=0.0.4".to_owned())];
    HttpService::start(Answer::Full { status: 200, headers, body: text.as_bytes().to_vec() })
}

fn watching(page: &HttpService) -> Agent {
    let agent = Agent::start(&format!(
        "defaults: {{interval: 300ms}}\ntargets: {{shop: {{scrape: {{url: \"{}\"}}}}}}",
        page.url("/metrics")
    ));
    agent.wait_for_verdict("shop", true);
    agent
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn post(address: &str, path: &str, pairs: &[(&str, &str)]) -> Response {
    try_post(address, path, pairs).unwrap()
}

fn try_post(address: &str, path: &str, pairs: &[(&str, &str)]) -> std::io::Result<Response> {
    let form = encoded(pairs);
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    send(address, request.as_bytes())
}

/// The labels that only one of the two adds.
const OWN: [&str; 4] = ["target", "service", "instance", "node"];

/// What may differ: times, labels that only one of the two adds, the order of series, the wording of a mistake.
fn normal(status: u16, mut answer: Value) -> Value {
    if let Some(error) = answer["error"].as_str() {
        let error = error.split("parse error: ").next().unwrap_or_default();
        // What follows names series, with the labels that only one of the two adds.
        let error = error.split(" of the operation: ").next().unwrap_or_default().to_owned();
        answer["error"] = error.into();
    }
    for entry in answer.pointer_mut("/data/result").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(labels) = entry.get_mut("metric").and_then(Value::as_object_mut) {
            labels.retain(|name, _| !OWN.contains(&name.as_str()));
        }
    }
    let is_list = matches!(answer.pointer("/data/resultType").and_then(Value::as_str), Some("vector" | "matrix"));
    if is_list && let Some(entries) = answer.pointer_mut("/data/result").and_then(Value::as_array_mut) {
        entries.sort_by_key(ToString::to_string);
    }
    for entry in answer["data"].as_array_mut().into_iter().flatten() {
        if let Some(labels) = entry.as_object_mut() {
            labels.retain(|name, _| !OWN.contains(&name.as_str()));
        }
    }
    if let Some(entries) = answer["data"].as_array_mut() {
        entries.retain(|entry| !entry.as_str().is_some_and(|name| OWN.contains(&name)));
        entries.sort_by_key(ToString::to_string);
    }
    for notes in ["warnings", "infos"] {
        if let Some(notes) = answer.get_mut(notes).and_then(Value::as_array_mut) {
            notes.sort_by_key(ToString::to_string);
        }
    }
    json!({"http": status, "answer": answer})
}

#[test]
fn answers_and_refusals_are_prometheus_s() {
    let Some(program) = prometheus3() else { return };
    let page = page(PAGE);
    let agent = watching(&page);
    let configuration = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n\
         - {{job_name: shop, static_configs: [{{targets: ['{}']}}]}}\n",
        page.url("/metrics").trim_start_matches("http://").trim_end_matches("/metrics")
    );
    let prometheus = Prometheus::start_program(&program, &configuration, "groups: []");
    // A rate needs two samples, and subqueries of one a few more seconds.
    until("Prometheus to have scraped", SOON, || {
        let scraped = prometheus.query("count_over_time(shop_size[1m])");
        scraped.first().is_some_and(|count| count["value"][1].as_str().and_then(|n| n.parse().ok()) >= Some(4.0))
    });
    let at = client::get(agent.address(), "/api/v1/query?query=time()").unwrap().json();
    let at = at["data"]["result"][1].as_str().unwrap().parse::<f64>().unwrap() as i64 + 1;
    let (at, later) = (at.to_string(), (at + 3).to_string());
    let other = format!("127.0.0.1:{}", prometheus.port);
    let instants = [
        "shop_orders_total",
        "shop_size * 1",
        "shop_odd",
        "sum(shop_orders_total)",
        "sum by (code) (shop_orders_total) > 1",
        "1 + 1",
        "1e6",
        "-0.0",
        "NaN",
        "-Inf",
        "'text \\u00e9 \"'",
        "vector(1500.5)",
        "no_such_metric",
        "histogram_quantile(0.5, shop_wait_bucket)",
        "1 +",
        "",
        "foo(shop_size)",
        "rate(shop_size)",
        "shop_size +\n sum(",
        "shop_orders_total * on () shop_odd",
        "quantile(2, shop_odd)",
        "quantile(2, shop_odd) + on ()\n quantile(2, shop_size)",
        "quantile_over_time(-1, shop_size[1m])",
        "rate(shop_size[1m]) + on ()\n sum(increase((shop_wait_count[1m])))",
        "sum(rate({__name__=~\"shop_(size|odd|orders_total)\"}[1m])) * 0",
        "sum(rate(shop_size[1m:1s])) * 0",
        "irate(shop_size[1m])",
        "histogram_quantile(0.5, shop_bad_bucket)",
        "histogram_quantile(0.5, shop_fall_bucket)",
        "histogram_quantile(3, shop_fall_bucket)",
    ];
    let mut requests: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    for query in instants {
        requests.push(("query", vec![("query", query), ("time", &at)]));
    }
    for pairs in [
        vec![("query", "1"), ("time", "foo")],
        vec![("query", "1"), ("time", "1700000000.1239")],
        vec![("query", "1"), ("time", "2015-07-01T20:10:51.781Z")],
        vec![("query", "1"), ("timeout", "foo")],
        vec![("query", "1"), ("time", "1"), ("limit", "-1")],
        vec![("query", "shop_orders_total{code=\"200\"}"), ("time", &at), ("limit", "1")],
        vec![("query", "sum by (v) (shop_odd) * 0"), ("time", &at), ("limit", "0")],
        vec![("query", "1"), ("lookback_delta", "foo")],
        vec![("query", "shop_size"), ("time", "1700000000")],
        vec![("query", "topk(3, shop_odd{v!=\"nan\"})"), ("time", &at), ("limit", "1")],
        vec![("query", "rate(shop_size[1m])"), ("time", &at), ("limit", "1")],
    ] {
        requests.push(("query", pairs));
    }
    for (query, start, end, step) in [
        ("vector(1)", "1", "2.5", "500ms"),
        ("1", "1", "3", "1"),
        ("shop_orders_total", &at, &at, "15"),
        ("shop_orders_total", &at, &later, "1"),
        ("sum by (code) (shop_orders_total) / 2", &at, &later, "500ms"),
        ("shop_odd", &at, &later, "1"),
        ("quantile(2, shop_odd)", &at, &later, "1"),
        ("max_over_time(shop_size[1m])", &at, &later, "1.5"),
        ("1", "2", "1", "1"),
        ("1", "1", "2", "0"),
        ("1", "1", "2", "-1"),
        ("1", "1", "2", "foo"),
        ("1", "1", "2", ""),
        ("1", "", "2", "1"),
        ("1", "1", "", "1"),
        ("1", "1", "11002", "1"),
        ("1", "1", "2", "1e300"),
        ("shop_size[5m]", "1", "2", "1"),
        ("'a'", "1", "2", "1"),
        ("1 +", "1", "2", "1"),
    ] {
        requests.push(("query_range", vec![("query", query), ("start", start), ("end", end), ("step", step)]));
    }
    requests.extend([
        ("series", vec![]),
        ("series", vec![("match[]", "shop_size"), ("start", "x")]),
        ("series", vec![("match[]", "shop_size{")]),
        ("series", vec![("match[]", "no_such_metric")]),
        // Prometheus rewrites the bounds of histograms as it scrapes them (`1` to `1.0`).
        ("series", vec![("match[]", "{__name__=~\"shop_.*\",__name__!=\"shop_wait_bucket\"}")]),
        ("series", vec![("match[]", "shop_size"), ("match[]", "shop_orders_total"), ("match[]", "shop_size")]),
        ("series", vec![("match[]", "shop_orders_total"), ("limit", "1")]),
        ("series", vec![("match[]", "shop_orders_total"), ("limit", "2")]),
        ("series", vec![("match[]", "shop_orders_total"), ("limit", "-1")]),
        ("labels", vec![("match[]", "shop_orders_total")]),
        ("labels", vec![("match[]", "shop_orders_total"), ("limit", "2")]),
        ("labels", vec![("match[]", "shop_size"), ("match[]", "shop_odd")]),
        ("label/__name__/values", vec![("match[]", "{__name__=~\"shop_.*\"}")]),
        ("label/v/values", vec![("match[]", "shop_odd"), ("limit", "3")]),
        ("label/v/values", vec![("limit", "-2")]),
        ("format_query", vec![("query", "a+ b  *c")]),
        ("format_query", vec![("query", "sum  by(job)(rate(x{a='b'}[5m] offset 1h))>bool 1")]),
        ("format_query", vec![("query", "1 +")]),
        ("format_query", vec![]),
        ("label/code/values", vec![]),
        ("label/code/values", vec![("match[]", "shop_orders_total{path=\"/a\"}")]),
        ("label/code/values", vec![("limit", "1")]),
        ("label/U__code/values", vec![]),
        ("label/path/values", vec![("start", "2"), ("end", "1")]),
        ("labels", vec![("match[]", "shop_size{")]),
        ("labels", vec![("match[]", "no_such_metric")]),
        ("metadata", vec![("metric", "shop_orders_total")]),
        ("metadata", vec![("metric", "no_such_metric")]),
        ("metadata", vec![("limit", "x")]),
        ("query_exemplars", vec![("query", "shop_size")]),
        ("rules", vec![("type", "foo")]),
        ("rules", vec![("group_limit", "0")]),
        ("rules", vec![("group_next_token", "x")]),
        ("rules", vec![("group_limit", "1"), ("group_next_token", "x")]),
        ("rules", vec![("file[]", "none")]),
        ("targets", vec![("scrapePool", "none"), ("state", "active")]),
    ]);
    let mut different = Vec::new();
    for (path, pairs) in requests {
        let get = |address: &str| client::get(address, &format!("/api/v1/{path}?{}", encoded(&pairs))).unwrap();
        let [ours, theirs] = [agent.address(), &other].map(|address| {
            let answer = get(address);
            let mut normal = normal(answer.status, answer.json());
            if path == "targets" {
                normal["answer"]["data"]["droppedTargetCounts"] = Value::Null;
            }
            normal
        });
        if ours != theirs {
            different.push(format!("{path} {pairs:?}\n  ours   {ours}\n  theirs {theirs}"));
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}

#[test]
fn grafana_s_requests_are_answered() {
    let page = page(PAGE);
    let agent = watching(&page);
    let address = agent.address();
    let now = jiff::Timestamp::now().as_second();
    let (start, end) = ((now - 60).to_string(), now.to_string());
    let good = |answer: Response| {
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("content-type"), "application/json");
        let answer = answer.json();
        assert_eq!(answer["status"], "success");
        answer["data"].clone()
    };
    let health = good(post(address, "/api/v1/query", &[("query", "1+1"), ("time", &end)]));
    assert_eq!(health["result"][1], "2");
    let form = [("query", "shop_orders_total"), ("start", &start), ("end", &end), ("step", "15")];
    assert_eq!(good(post(address, "/api/v1/query_range", &form))["resultType"], "matrix");
    let times = format!("start={start}&end={}", now + 60);
    let names = good(agent.get(&format!("/api/v1/labels?{times}")));
    assert!(names.as_array().unwrap().contains(&json!("path")), "{names}");
    let metrics = good(agent.get(&format!("/api/v1/label/__name__/values?{times}")));
    assert!(metrics.as_array().unwrap().contains(&json!("shop_size")), "{metrics}");
    let series = good(agent.get(&format!("/api/v1/series?{times}&match%5B%5D=shop_orders_total")));
    assert_eq!(series.as_array().unwrap().len(), 2);
    assert_eq!(good(post(address, "/api/v1/series", &[("match[]", "shop_size")])).as_array().unwrap().len(), 1);
    let metadata = good(agent.get("/api/v1/metadata"));
    assert_eq!(metadata["shop_orders_total"], json!([{"type": "counter", "unit": "", "help": "Orders."}]));
    assert!(good(agent.get("/api/v1/status/buildinfo"))["version"].as_str().unwrap().starts_with("3.5"));
    let exemplars = [("query", "shop_size"), ("start", &*start), ("end", &end)];
    assert_eq!(good(post(address, "/api/v1/query_exemplars", &exemplars)), json!([]));
    let groups = good(agent.get("/api/v1/rules?type=alert"))["groups"].clone();
    let rules = groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    assert!(rules.clone().any(|rule| rule["name"] == "ServiceDown"), "{groups}");
    for name in ["state", "query", "duration", "keepFiringFor", "labels", "annotations", "alerts", "health"] {
        assert!(rules.clone().all(|rule| !rule[name].is_null()), "no {name}");
    }
    let absent = agent.get("/api/v1/status/tsdb");
    assert_eq!((absent.status, absent.json()["errorType"].clone()), (404, json!("not_found")));
}

#[test]
fn rules_show_how_their_evaluation_went_and_their_alerts() {
    let page = page(PAGE);
    let rules = "groups: [{name: g, interval: 1s, limit: 7, rules: [\
        {record: 'a:b', expr: 'count(shop_odd)'}, \
        {alert: Odd, expr: 'shop_size > 0', labels: {severity: warning}, annotations: {summary: '{{ $value }}'}}, \
        {alert: Bad, expr: 'shop_odd * on () shop_orders_total'}]}]";
    let configuration = format!(
        "rule_files: [rules.yml]\ntargets: {{shop: {{scrape: {{url: \"{}\"}}}}}}\ndefaults: {{interval: 300ms}}",
        page.url("/")
    );
    let agent = Setup::new(&configuration).with_file("rules.yml", rules).start();
    until("the alert to fire", SOON, || {
        let json = agent.get("/api/v1/rules?rule_name%5B%5D=Odd").json();
        json["data"]["groups"][0]["rules"][0]["state"] == "firing"
    });
    let json = agent.get("/api/v1/rules?rule_group%5B%5D=g").json();
    let group = &json["data"]["groups"][0];
    assert_eq!((&group["interval"], &group["limit"]), (&json!(1.0), &json!(7)));
    let [recording, odd, bad] = group["rules"].as_array().unwrap().as_slice() else { panic!("{group}") };
    assert_eq!((&recording["type"], &recording["health"]), (&json!("recording"), &json!("ok")));
    assert_eq!(odd["annotations"]["summary"], "{{ $value }}");
    assert_eq!(odd["alerts"][0]["annotations"]["summary"], "1e+21");
    assert_eq!(bad["health"], "err");
    assert!(bad["lastError"].as_str().unwrap().contains("match"), "{bad}");
    let json = agent.get("/api/v1/rules?match%5B%5D=%7Bseverity%3D%22warning%22%7D&file%5B%5D=none").json();
    assert_eq!(json["data"]["groups"], json!([]));
}

#[test]
fn promtool_queries_the_agent() {
    let page = page(PAGE);
    let agent = watching(&page);
    let url = format!("http://{}", agent.address());
    for tool in [Some(promtool()), promtool3()].into_iter().flatten() {
        let folder = folder();
        for (arguments, wanted) in [
            (vec!["query", "instant", &url, "shop_size"], "shop_size{"),
            (vec!["query", "range", "--step=1s", &url, "shop_size"], "shop_size{"),
            (vec!["query", "series", "--match=shop_orders_total", &url], "code=\"500\""),
            (vec!["query", "labels", &url, "code"], "500"),
        ] {
            // A scrape that failed leaves nothing to see at that moment.
            eventually(&format!("{}: {arguments:?}", tool.display()), SOON, || {
                let output = run_promtool(&tool, &arguments, "", folder.path());
                let said = String::from_utf8_lossy(&output.stdout).contains(wanted);
                if output.status.success() && said { Ok(()) } else { Err(format!("{output:?}")) }
            });
        }
    }
}

#[test]
fn queries_that_ask_for_too_much_delay_no_page() {
    let lines: String = (0..5_000).map(|index| format!("flood{{i=\"{index}\"}} {index}\n")).collect();
    let witness = Witness::start();
    let (flood, mut service, receiver) = (page(&lines), TcpService::silent(), Receiver::start());
    let targets = format!(
        "targets:\n  port: {{tcp: {{address: \"{}\"}}}}\n  flood: {{scrape: {{url: \"{}\"}}}}\n",
        service.address(),
        flood.url("/")
    );
    let agent = paging(&receiver, &targets).start();
    agent.wait_for_verdict("port", true);
    agent.wait_for_verdict("flood", true);
    let now = jiff::Timestamp::now().as_second();
    let (start, end) = ((now - 300).to_string(), now.to_string());
    let query = "count(flood + on (i) flood)";
    let form = [("query", query), ("start", &start), ("end", &end), ("step", "0.1")];
    let over = AtomicBool::new(false);
    let ticks = |name: &str| agent.metrics(&format!("watchkeeper_rule_group_{name}"), &[]).iter().sum::<f64>();
    std::thread::scope(|clients| {
        for _ in 0..40 {
            // One that is refused asks again at once; a connection may be closed by those that follow.
            clients.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    drop(try_post(agent.address(), "/api/v1/query_range", &form));
                }
            });
        }
        let busy = || agent.metrics("watchkeeper_queries_refused_total", &["reason=\"busy\""]).iter().sum::<f64>();
        until("queries to run and to be refused", SOON, || busy() > 0.0);
        let before = busy();
        service.stop();
        receiver.wait_for_page("TargetDown", SOON);
        until("queries to be refused after the page, too", SOON, || busy() > before);
        over.store(true, Ordering::Relaxed);
    });
    let answer = client::get(agent.address(), "/health/live").unwrap();
    assert_eq!(answer.status, 200);
    // A busy machine misses some by itself, and one that stood still any number.
    let (made, missed) = (ticks("evaluations_total"), ticks("iterations_missed_total"));
    assert!(missed < made / 4.0 || witness.stood_still() > Duration::ZERO, "{missed} ticks missed, {made} made");
}

#[test]
fn each_of_very_many_clients_is_answered() {
    let lines: String = (0..2_000).map(|index| format!("flood{{i=\"{index}\"}} {index}\n")).collect();
    let flood = page(&lines);
    let agent = watching(&flood);
    let now = jiff::Timestamp::now().as_second();
    let (start, end) = ((now - 300).to_string(), now.to_string());
    let query = "count(flood + on (i) flood)";
    let form = [("query", query), ("start", &start), ("end", &end), ("step", "0.05"), ("timeout", "4")];
    // More than may connect at once, of whom most can neither run nor wait.
    let answers: Vec<Response> = std::thread::scope(|clients| {
        let ask = || try_post(agent.address(), "/api/v1/query_range", &form);
        let asked: Vec<_> = (0..100).map(|_| clients.spawn(ask)).collect();
        asked.into_iter().map(|client| client.join().unwrap().expect("an answer")).collect()
    });
    let refused = |answer: &&Response| answer.json()["errorType"] == "unavailable";
    let busy: Vec<&Response> = answers.iter().filter(refused).collect();
    assert!(!busy.is_empty() && busy.len() < 100, "{} of 100 were refused", busy.len());
    assert!(busy.iter().all(|answer| answer.status == 503 && answer.header("connection") == "close"));
    assert!(answers.iter().all(|answer| answer.json()["status"].is_string()));
}

#[test]
fn rules_and_their_alerts_are_shown_as_prometheus_shows_them() {
    let Some(program) = prometheus3() else { return };
    let page = page(PAGE);
    let rules = "groups: [{name: g, interval: 1s, limit: 7, rules: [\
        {record: 'a:b', expr: 'count(shop_odd)', labels: {x: y}}, \
        {alert: Odd, expr: 'shop_size>0', for: 0s, keep_firing_for: 1m, labels: {severity: warning}, \
         annotations: {summary: '{{ $value }}'}}, \
        {alert: Quiet, expr: 'shop_size < 0', for: 5m}, \
        {alert: Bad, expr: 'shop_odd * on () shop_orders_total'}]}]";
    let address = page.url("/metrics").trim_start_matches("http://").trim_end_matches("/metrics").to_owned();
    let configuration = format!(
        "rule_files: [rules.yml]\ntargets: {{shop: {{scrape: {{url: \"{}\"}}}}}}\ndefaults: {{interval: 300ms}}",
        page.url("/metrics")
    );
    let agent = Setup::new(&configuration).with_file("rules.yml", rules).start();
    let configuration = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nrule_files: [rules.yml]\nscrape_configs:\n\
         - {{job_name: shop, static_configs: [{{targets: ['{address}']}}]}}\n"
    );
    let prometheus = Prometheus::start_program(&program, &configuration, rules);
    let other = format!("127.0.0.1:{}", prometheus.port);
    for query in ["", "&type=alert", "&type=record", "&rule_name%5B%5D=Odd", "&exclude_alerts=true"] {
        let path = format!("/api/v1/rules?rule_group%5B%5D=g{query}");
        let shown = |address: &str| {
            let answer = client::get(address, &path).unwrap().json();
            let settled = !answer.to_string().contains("\"unknown\"") && answer.to_string().contains("\"health\"");
            let fires = query == "&type=record" || answer.to_string().contains("\"firing\"");
            (settled && fires).then(|| plain(answer))
        };
        until("both to have evaluated the rules", SOON, || shown(agent.address()).is_some() && shown(&other).is_some());
        assert_eq!(shown(agent.address()), shown(&other), "{path}");
    }
}

/// An answer of `rules` without times, places, the labels that only one of the two adds, and the wording of errors.
fn plain(mut answer: Value) -> Value {
    match &mut answer {
        Value::Object(members) => {
            for changing in ["evaluationTime", "lastEvaluation", "file", "lastError", "activeAt", "cause"] {
                members.remove(changing);
            }
            members.retain(|name, _| !OWN.contains(&name.as_str()));
            members.sort_keys();
            members.values_mut().for_each(|member| *member = plain(member.take()));
        }
        Value::Array(entries) => entries.iter_mut().for_each(|entry| *entry = plain(entry.take())),
        // 1 and 1.0.
        Value::Number(number) => answer = json!(number.as_f64()),
        _ => {}
    }
    answer
}

#[test]
fn a_query_and_its_form_are_bounded() {
    let page = page(PAGE);
    let agent = watching(&page);
    let long = "1 + ".repeat(30_000) + "1";
    let answer = post(agent.address(), "/api/v1/query", &[("query", &long)]);
    assert_eq!((answer.status, answer.json()["errorType"].clone()), (413, json!("bad_data")));
    assert_eq!(answer.header("connection"), "close");
    assert!(answer.body.contains("65536 bytes"), "{}", answer.body);
    // Who asks first need not send it.
    let head = "POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Content-Length: 5000000\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(send(agent.address(), head.as_bytes()).unwrap().status, 413);
    let patterns: String = (20..60).map(|count| format!("l{count}!~\"\\\\pL{{{count}}}\",")).collect();
    let answer = post(agent.address(), "/api/v1/query", &[("query", &format!("shop_size{{{patterns}}}"))]);
    assert_eq!((answer.status, answer.json()["errorType"].clone()), (400, json!("bad_data")));
    assert!(answer.body.contains("regular expressions"), "{}", answer.body);
    let timeout = post(agent.address(), "/api/v1/query", &[("query", "1"), ("timeout", "0")]);
    assert_eq!((timeout.status, timeout.json()["errorType"].clone()), (503, json!("timeout")));
    let put = send(agent.address(), b"PUT /api/v1/query?query=1 HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(put.status, 405);
    assert_eq!(agent.get("/api/v1/query?query=1").status, 200);
}

#[test]
fn the_command_line_asks_and_shows() {
    let page = page(PAGE);
    let agent = watching(&page);
    let url = format!("http://{}", agent.address());
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_watchkeeper"));
        let output = command.arg("query").args(arguments).args(["--url", &url]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, _) = run(&["sum by (code) (shop_orders_total)"]);
    assert_eq!((code, out.as_str()), (Some(0), "code  VALUE\n200   12\n500   0.5\n"));
    let (code, out, _) = run(&["shop_size * 0", "--range", "2s", "--step", "1s"]);
    assert!(code == Some(0) && out.contains("COURSE"), "{out}");
    let (code, out, _) = run(&["1 + 1", "--json"]);
    let data: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &data["result"][1]), (Some(0), &json!("2")));
    until("a second sample", SOON, || run(&["count_over_time(shop_size[1m]) > 1"]).1.contains("VALUE"));
    let (code, _, error) = run(&["rate(shop_size[1m])"]);
    assert_eq!(code, Some(0));
    assert!(error.starts_with("PromQL info: metric might not be a counter") && error.ends_with("(1:6)\n"), "{error}");
    let (_, out, error) = run(&["quantile(2, shop_size)", "--json"]);
    assert!(out.starts_with('{') && error.starts_with("PromQL warning: "), "{out}{error}");
    let (code, out, error) = run(&["sum(shop_size"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.contains("parse error: ") && error.contains("\n  sum(shop_size\n") && error.contains('^'), "{error}");
    let (code, _, _) = run(&["1", "--step", "1s"]);
    assert_eq!(code, Some(3), "a step needs a range");
}
