use std::time::Duration;

use super::*;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::Select;
use crate::store::StoreLimits;

struct Scene {
    store: Arc<Mutex<Store>>,
    catalogue: Arc<Mutex<Catalogue>>,
    ingest: Ingest,
    clock: Clock,
    at: Timestamp,
}

fn scene() -> Scene {
    let store = Arc::new(Mutex::new(Store::new(StoreLimits { series: 50, window: Duration::from_secs(600) })));
    let (clock, catalogue) = (Clock::start(), Arc::default());
    let ingest = Ingest::new(store.clone(), clock, "app page", base(), Arc::clone(&catalogue), 10);
    Scene { store, catalogue, ingest, clock, at: clock.now() }
}

fn base() -> Labels {
    Labels::new([("target", "app"), ("job", "app"), ("instance", "http://app/metrics")])
}

fn page(text: &str) -> Exposition {
    Exposition {
        text: text.to_owned(),
        dialect: Dialect::Prometheus,
        limits: Limits { samples: 10, ..Limits::default() },
    }
}

impl Scene {
    fn scrape(&mut self, text: &str) -> Page {
        let read = self.ingest.read(&page(text)).unwrap();
        self.at += 1_000;
        self.ingest.record(self.at, true);
        read
    }

    fn fail(&mut self) {
        self.at += 1_000;
        self.ingest.record(self.at, false);
    }

    fn current(&self) -> Vec<String> {
        self.shown(|store, at| store.current().instant(&[], at, 300_000))
    }

    fn held(&self) -> Vec<String> {
        self.shown(|store, at| store.held().instant(&[], at, 300_000))
    }

    /// Without what the target adds.
    fn shown(&self, look: impl Fn(&Store, Timestamp) -> Vec<crate::sample::Sample>) -> Vec<String> {
        let samples = look(&store::lock(&self.store), self.at);
        let own = |labels: &Labels| labels.filtered(|name| base().get(name).is_empty());
        samples.iter().map(|sample| format!("{} {}", own(&sample.labels), sample.value)).collect()
    }
}

#[test]
fn a_page_becomes_a_row_with_the_target_s_labels() {
    let mut scene = scene();
    let read =
        scene.scrape("# TYPE a counter\n# HELP a What\na{code=\"200\"} 1\na{code=\"500\"} 2 1700000000000\nb NaN\n");
    assert_eq!((read.samples, read.stored, read.added), (3, 3, 3));
    assert_eq!(scene.current(), ["a{code=\"200\"} 1", "a{code=\"500\"} 2", "b NaN"]);
    let store = store::lock(&scene.store);
    let named = [Matcher::new("instance", MatchOp::Equal, "http://app/metrics").unwrap()];
    assert_eq!(store.current().instant(&named, scene.at, 300_000).len(), 3);
    assert_eq!(scene.catalogue.lock().unwrap().get("a").unwrap().help, "What");
}

#[test]
fn a_steady_page_allocates_nothing_per_series() {
    let mut scene = scene();
    let text = |value: u32| (0..10).map(|series| format!("a{{n=\"{series}\"}} {value}\n")).collect::<String>();
    scene.scrape(&text(0));
    scene.scrape(&text(1));
    let buffers = |scene: &Scene| {
        let Pages { last, row, .. } = &scene.ingest.pages;
        (last.texts.as_ptr(), last.ends.as_ptr(), last.series.as_ptr(), row.as_ptr(), row.capacity())
    };
    let before = buffers(&scene);
    for value in 2..100 {
        let read = scene.scrape(&text(value));
        // No series was looked for by its labels, and no text was kept.
        assert_eq!((read.stored, read.added), (10, 0));
        assert_eq!(buffers(&scene), before);
    }
    let finder = scene.ingest.pages.last.finder();
    assert!(finder.by_text.is_none() && !finder.moved);
}

#[test]
fn a_steady_page_of_a_thousand_series_allocates_no_more_than_one_of_ten() {
    assert_eq!(allocations_of_20_pages(10), allocations_of_20_pages(1_000));
}

/// Counted over reading and storing, once the window is full.
fn allocations_of_20_pages(series: usize) -> u64 {
    let mut store = Store::new(StoreLimits { series: 2_000, window: Duration::from_secs(10) });
    let source = store.add_source("app page", 2_000);
    let mut pages = Pages::new(source, base(), Precedence::Source);
    let text = |value: usize| -> String {
        let line = |n: usize| format!("hits{{path=\"/a\\\"b\",n=\"{n}\"}} {}.5\n", value * n);
        "# TYPE hits counter\n# HELP hits How many\n".to_owned() + &(0..series).map(line).collect::<String>()
    };
    let texts: Vec<String> = (0..60).map(text).collect();
    let mut at = 0;
    let mut scrape = |text: &String| {
        let page = pages.read(&mut store, text, Dialect::Prometheus, Limits::default()).unwrap();
        at += 1_000;
        pages.append(&mut store, at, true);
        assert_eq!(page.stored, series);
    };
    texts[..40].iter().for_each(&mut scrape);
    allocation_counter::measure(|| texts[40..].iter().for_each(&mut scrape)).count_total
}

#[test]
fn series_that_change_their_place_are_found_again() {
    let mut scene = scene();
    scene.scrape("a 1\nb 2\nc 3\n");
    assert_eq!(scene.scrape("c 4\na 5\nb 6\n").added, 0);
    assert_eq!(scene.current(), ["a 5", "b 6", "c 4"]);
    assert_eq!(scene.scrape("c 7\nnew 8\na 9\nb 10\n").added, 1);
    assert_eq!(scene.scrape("c 7\nnew 8\nb 10\n").added, 0);
    assert_eq!(scene.current(), ["b 10", "c 7", "new 8"]);
    assert_eq!(scene.scrape("c 7\nnew 8\na 1\nb 10\n").added, 1, "it has been away");
}

#[test]
fn a_series_that_the_store_has_forgotten_is_made_anew() {
    let mut scene = scene();
    scene.scrape("a 1\n");
    scene.at += 700_000;
    scene.fail();
    store::lock(&scene.store).remove_source(scene.ingest.pages.source, scene.at);
    let source = store::lock(&scene.store).add_source("app page", 10);
    scene.ingest.pages.source = source;
    scene.at += 700_000;
    scene.fail();
    scene.scrape("a 2\n");
    assert_eq!(scene.current(), ["a 2"]);
}

#[test]
fn what_the_page_leaves_out_is_gone_and_what_a_failed_look_leaves_out_is_unknown() {
    let mut scene = scene();
    scene.scrape("a 1\nb 2\n");
    scene.scrape("a 1\n");
    assert_eq!((scene.current(), scene.held()), (vec!["a 1".to_owned()], vec!["a 1".to_owned()]));
    scene.fail();
    assert_eq!((scene.current(), scene.held()), (vec![], vec!["a 1".to_owned()]));
}

#[test]
fn the_target_s_labels_win_and_the_page_s_are_kept_beside_them() {
    let mut scene = scene();
    scene.scrape("a{job=\"x\",exported_job=\"y\",instance=\"\",b=\"\"} 1\n");
    assert_eq!(scene.current(), ["a{exported_exported_job=\"x\", exported_job=\"y\"} 1"]);
}

#[test]
fn a_page_that_is_malformed_or_too_large_leaves_nothing() {
    let mut scene = scene();
    scene.scrape("a 1\n");
    let refused = |scene: &mut Scene, text: &str| scene.ingest.read(&page(text)).unwrap_err().to_string();
    assert!(refused(&mut scene, "a 2\nnew 1\nwhat?\n").starts_with("line 3: "));
    scene.fail();
    assert_eq!(scene.held(), ["a 1"]);
    let many: String = (0..11).map(|series| format!("a{series} 1\n")).collect();
    assert_eq!(refused(&mut scene, &many), "line 11: more than 10 samples: expose less, or raise max_series");
    assert_eq!(store::lock(&scene.store).counts().series, 1, "nothing of it is a series");
}

#[test]
fn a_series_that_stands_twice_counts_once() {
    let mut scene = scene();
    scene.scrape("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\n");
    assert_eq!(scene.current().len(), 1);
    assert_eq!(store::lock(&scene.store).counts().dropped.duplicate, 1);
    scene.scrape("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\n");
    assert_eq!(scene.current(), ["a{x=\"1\", y=\"2\"} 1"]);
    assert_eq!(store::lock(&scene.store).counts().dropped.duplicate, 2);
}

#[test]
fn what_does_not_fit_into_the_store_is_left_out_and_counted() {
    let mut scene = scene();
    let other = store::lock(&scene.store).add_source("other", 100);
    for series in 0..48 {
        let labels = Labels::new([("__name__", format!("other{series}"))]);
        store::lock(&scene.store).series(other, &labels).unwrap();
    }
    let read = scene.scrape("a 1\nb 2\nc 3\nd 4\n");
    assert_eq!((read.samples, read.stored), (4, 2));
    assert!(read.refused.unwrap().to_string().contains("the store is full"));
    let read = scene.scrape("a 1\nb 2\nc 3\nd 4\n");
    assert_eq!((read.stored, read.added), (2, 0), "what is refused again is not new");
    assert_eq!(store::lock(&scene.store).counts().refused.store_full, 4);
    store::lock(&scene.store).remove_source(other, scene.at);
    scene.at += 700_000;
    scene.scrape("a 1\nb 2\nc 3\nd 4\n");
    let read = scene.scrape("a 5\nb 6\nc 7\nd 8\n");
    assert_eq!((read.stored, read.added), (4, 0), "there is room now");
    assert_eq!(scene.current(), ["a 5", "b 6", "c 7", "d 8"]);
}

#[test]
fn no_page_gives_a_verdict() {
    let mut scene = scene();
    let text = "a 1\nwatchkeeper_target_up{kind=\"scrape\"} 1\nwatchkeeper_instance_up 1\nup 1\n";
    let read = scene.scrape(text);
    assert_eq!((read.samples, read.stored, read.refused), (4, 2, None));
    assert_eq!(scene.current(), ["a 1", "up 1"]);
    assert_eq!(scene.scrape(text).added, 0);
    let facts = store::lock(&scene.store).add_source("facts", 10);
    let verdict = base().with_all([("__name__", "watchkeeper_target_up"), ("kind", "scrape")]);
    assert!(store::lock(&scene.store).series(facts, &verdict).is_ok(), "it is still ours");
}

/// Whatever is served, page after page: what is stored is what a fresh reader finds in the page.
#[test]
fn any_pages_are_taken_as_if_each_were_the_first() {
    let seeds = ["a{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\n", "b NaN\na{target=\"q\",exported_target=\"r\"} +Inf\nc 4 5\n"];
    let verdict = "watchkeeper_target_up 1\n";
    let tokens = ["a 1\n", "b", "\n", "{", "}", "\"", ",", "target=\"x\"", "# TYPE a counter\n", " ", "9", verdict];
    let (mut steady, mut whole) = (scene(), 0);
    crate::fuzz::texts(3_000, &seeds, &tokens, |text| {
        let mut fresh = scene();
        fresh.at = steady.at;
        let (read, alone) = (steady.ingest.read(&page(text)), fresh.ingest.read(&page(text)));
        assert_eq!(read.as_ref().err(), alone.as_ref().err());
        for scene in [&mut steady, &mut fresh] {
            // Far enough for pages to be forgotten after a few.
            scene.at += 200_000;
            scene.ingest.record(scene.at, read.is_ok());
        }
        let (Ok(read), Ok(alone)) = (read, alone) else { return };
        assert_eq!(read.samples, alone.samples);
        // What the pages before named may fill the source.
        if read.refused.is_none() {
            whole += 1;
            assert_eq!((read.stored, alone.refused), (alone.stored, None));
            assert_eq!(sorted(steady.current()), sorted(fresh.current()));
        }
    });
    assert!(whole > 100, "{whole} pages were taken whole");
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

#[test]
fn the_series_end_with_the_ingest() {
    let mut scene = scene();
    scene.at = scene.clock.now() - 5_000;
    scene.scrape("a 1\n");
    let Scene { store, ingest, clock, .. } = scene;
    drop(ingest);
    assert!(store::lock(&store).held().instant(&[], clock.now(), 300_000).is_empty());
}
