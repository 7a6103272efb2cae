use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::CounterWithExemplar;
use prometheus_client::metrics::family::Family as Metrics;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Unit;

use super::*;
use crate::export::text;
use crate::store::StoreLimits;

struct Everything {
    requests: Counter,
    per_target: Metrics<Vec<(String, String)>, Gauge<f64, AtomicU64>>,
    registry: Registry,
}

fn everything() -> Everything {
    let mut registry = Registry::default();
    let requests = Counter::default();
    registry.register("watchkeeper_requests", "Requests", requests.clone());
    let per_target = Metrics::<Vec<(String, String)>, Gauge<f64, AtomicU64>>::default();
    registry.register("watchkeeper_age", "Age \"of\" a target", per_target.clone());
    let histogram = Histogram::new([0.5, 1.0]);
    histogram.observe(0.7);
    registry.register_with_unit("watchkeeper_took", "Time taken", Unit::Seconds, histogram);
    registry.register("watchkeeper_build", "Build", Info::new([("version", "1\\2\"3\n")]));
    let traced = CounterWithExemplar::<Vec<(String, String)>>::default();
    traced.inc_by(2, Some(vec![("trace_id".to_owned(), "a # {b".to_owned())]), None);
    registry.register("watchkeeper_traced", "Traced", traced);
    Everything { requests, per_target, registry }
}

fn store() -> Store {
    Store::new(StoreLimits { series: 100, window: Duration::from_secs(60) })
}

fn base() -> Labels {
    Labels::new([("target", "watchkeeper"), ("job", "watchkeeper")])
}

fn shown(store: &Store, own: &OwnMetrics, now: Timestamp) -> String {
    let catalogue = own.catalogue.lock().unwrap();
    let mut out = String::new();
    let samples = store.newest(now).map(|(labels, value, _)| (labels, value));
    let format = text::Format { dialect: Dialect::Prometheus, quoted: false };
    text::write(&mut out, format, samples, &catalogue, &BTreeMap::new(), &[]);
    out
}

#[test]
fn every_type_of_metric_passes_from_the_registry_to_the_exposition() {
    let mut store = store();
    let Everything { requests, per_target, registry } = everything();
    requests.inc_by(7);
    per_target.get_or_create(&vec![("target".into(), "db".into())]).set(f64::INFINITY);
    let mut own = OwnMetrics::new(registry, base(), Arc::default(), &mut store);
    own.collect(&mut store, 1).unwrap();
    let expected = r##"# HELP watchkeeper_age Age "of" a target.
# TYPE watchkeeper_age gauge
watchkeeper_age{job="watchkeeper",target="db"} +Inf
# HELP watchkeeper_build_info Build.
# TYPE watchkeeper_build_info gauge
watchkeeper_build_info{job="watchkeeper",target="watchkeeper",version="1\\2\"3\n"} 1
# HELP watchkeeper_requests_total Requests.
# TYPE watchkeeper_requests_total counter
watchkeeper_requests_total{job="watchkeeper",target="watchkeeper"} 7
# HELP watchkeeper_took_seconds Time taken.
# TYPE watchkeeper_took_seconds histogram
watchkeeper_took_seconds_bucket{job="watchkeeper",le="0.5",target="watchkeeper"} 0
watchkeeper_took_seconds_bucket{job="watchkeeper",le="1.0",target="watchkeeper"} 1
watchkeeper_took_seconds_bucket{job="watchkeeper",le="+Inf",target="watchkeeper"} 1
watchkeeper_took_seconds_count{job="watchkeeper",target="watchkeeper"} 1
watchkeeper_took_seconds_sum{job="watchkeeper",target="watchkeeper"} 0.7
# HELP watchkeeper_traced_total Traced.
# TYPE watchkeeper_traced_total counter
watchkeeper_traced_total{job="watchkeeper",target="watchkeeper"} 2
"##;
    assert_eq!(shown(&store, &own, 1), expected);
}

#[test]
fn a_metric_that_is_no_longer_set_is_gone_and_one_that_returns_is_there() {
    let mut store = store();
    let Everything { per_target, registry, .. } = everything();
    let labels = vec![("target".to_owned(), "db".to_owned())];
    let mut own = OwnMetrics::new(registry, base(), Arc::default(), &mut store);
    let mut seen_at = |now: Timestamp| {
        own.collect(&mut store, now).unwrap();
        shown(&store, &own, now).contains("watchkeeper_age{")
    };
    per_target.get_or_create(&labels).set(1.0);
    assert!(seen_at(1));
    per_target.remove(&labels);
    assert!(!seen_at(2));
    // By now the series has left the window: its id is dead.
    assert!(!seen_at(70_000));
    per_target.get_or_create(&labels).set(2.0);
    assert!(seen_at(70_001));
}

#[test]
fn what_fits_is_collected_when_not_everything_does() {
    let mut store = Store::new(StoreLimits { series: 3, window: Duration::from_secs(60) });
    let mut own = OwnMetrics::new(everything().registry, base(), Arc::default(), &mut store);
    let error = own.collect(&mut store, 1).unwrap_err().to_string();
    let expected = "the agent's own metrics do not fit: the agent's own metrics: the store is full with 3 series; \
                    watch less or raise the limit";
    assert_eq!(error, expected);
    assert_eq!(store.newest(1).count(), 3);
}

#[test]
fn the_store_s_counts_are_own_metrics_too() {
    let mut store = store();
    let metrics = crate::store::Metrics::default();
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let source = store.add_source("db", 10);
    store.append(source, 1, true, &[]);
    let series = store.series(source, &Labels::new([("__name__", "a")])).unwrap();
    store.append(source, 1, true, &[(series, 1.0)]);
    metrics.set(&store.counts());
    let mut own = OwnMetrics::new(registry, base(), Arc::default(), &mut store);
    own.collect(&mut store, 2).unwrap();
    let text = shown(&store, &own, 2);
    let labels = r#"job="watchkeeper",reason="out_of_order",target="watchkeeper""#;
    assert!(text.contains(&format!("watchkeeper_store_samples_dropped_total{{{labels}}} 1\n")), "{text}");
    assert!(text.contains("watchkeeper_store_series{job=\"watchkeeper\",target=\"watchkeeper\"} 1\n"), "{text}");
}
