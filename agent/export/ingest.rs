//! A page of metrics becomes one row of the store: what is scraped, and the agent's own.
//!
//! A series is found by the text that names it in the page: first where it stood in the last page, then anywhere in
//! it. A page that names what the last one named allocates nothing per series.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::probe::Exposition;
use crate::sample::{Label, Labels, Timestamp};
use crate::store::{self, Refused, SeriesId, SourceId, Store};

use super::catalogue::{Catalogue, Family, FamilyKind};
use super::parse::{Dialect, Entry, Limits, ParseError, Sample, entries};

/// What a page held.
#[derive(Debug, Default)]
pub struct Page {
    pub samples: usize,
    /// Those that the store takes.
    pub stored: usize,
    /// Series that the page before did not name, or whose place in the store is another now.
    pub added: usize,
    /// Why the first one that the store does not take is refused; the store counts them all. Verdicts, which are left
    /// out without asking it, are not among them.
    pub refused: Option<Refused>,
}

/// Which label stands where the page and the source name the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// The page's own: for pages of the agent itself.
    Page,
    /// The source's; the page's is renamed to `exported_NAME`, as Prometheus does it without `honor_labels`.
    Source,
}

/// The pages of one source: the series that they name, and the row that comes next.
#[derive(Debug)]
pub struct Pages {
    source: SourceId,
    base: Labels,
    precedence: Precedence,
    last: Named,
    row: Vec<(SeriesId, f64)>,
}

impl Pages {
    /// `base` labels are on every series.
    pub fn new(source: SourceId, base: Labels, precedence: Precedence) -> Self {
        Pages { source, base, precedence, last: Named::default(), row: Vec::new() }
    }

    /// Reads a page; [`Pages::append`] then writes its row. A page that is malformed or over its limits leaves nothing.
    /// What the store refused before is tried again, at no other cost while it stays so. Timestamps in the page are not
    /// used: a report has one time, that at which it was read.
    pub fn read(
        &mut self,
        store: &mut Store,
        text: &str,
        dialect: Dialect,
        limits: Limits,
    ) -> Result<Page, ParseError> {
        self.row.clear();
        let mut finder = self.last.finder();
        let mut strangers = Vec::new();
        let mut samples = 0;
        for entry in entries(text, dialect, limits) {
            let entry = entry.inspect_err(|_| self.row.clear())?;
            let Entry::Sample(sample) = entry else { continue };
            let known = finder.find(sample.series);
            match known.flatten().filter(|series| store.contains(*series)) {
                Some(series) => self.row.push((series, sample.value)),
                None => strangers.push(Stranger { index: samples, sample, known, series: None }),
            }
            samples += 1;
        }
        let moved = finder.moved || samples != self.last.ends.len();
        let refused = self.introduce(store, &mut strangers);
        let added = strangers.iter().filter(|stranger| stranger.known != Some(stranger.series)).count();
        if moved || added > 0 {
            self.last = Named::of(entries(text, dialect, limits), &self.row, &strangers);
        }
        let new = strangers.iter().filter_map(|stranger| Some((stranger.series?, stranger.sample.value)));
        self.row.extend(new);
        Ok(Page { samples, stored: self.row.len(), added, refused })
    }

    /// Writes what was read last as one report, and forgets it.
    pub fn append(&mut self, store: &mut Store, at: Timestamp, complete: bool) {
        store.append(self.source, at, complete, &self.row);
        self.row.clear();
    }

    /// Gives the strangers their series, but for verdicts that are not ours; the first refusal.
    fn introduce(&self, store: &mut Store, strangers: &mut [Stranger<'_>]) -> Option<Refused> {
        let mut refused = None;
        let foreign = |name: &str| self.precedence == Precedence::Source && is_verdict(name);
        for stranger in strangers.iter_mut().filter(|stranger| !foreign(stranger.sample.name)) {
            match store.series(self.source, &labels(&self.base, self.precedence, &stranger.sample)) {
                Ok(series) => stranger.series = Some(series),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused
    }
}

/// A sample whose series the last page did not name, or the store has refused or forgotten.
struct Stranger<'a> {
    /// Its place among the page's samples.
    index: usize,
    sample: Sample<'a>,
    /// What it was in the last page, where that named it.
    known: Option<Option<SeriesId>>,
    series: Option<SeriesId>,
}

/// The series of a page in its order, with the texts that name them there.
#[derive(Debug, Default)]
struct Named {
    /// All texts, one after the other.
    texts: String,
    /// Where each text ends.
    ends: Vec<usize>,
    /// None where the store refused it.
    series: Vec<Option<SeriesId>>,
}

impl Named {
    /// `known` are the series of the page's samples but for the strangers, in the order of the page.
    fn of<'a>(
        page: impl Iterator<Item = Result<Entry<'a>, ParseError>>,
        known: &[(SeriesId, f64)],
        strangers: &[Stranger<'_>],
    ) -> Self {
        let mut named = Named::default();
        let mut known = known.iter().map(|(series, _)| *series);
        let mut strangers = strangers.iter().peekable();
        for entry in page {
            let Ok(Entry::Sample(sample)) = entry else { continue };
            let stranger = strangers.next_if(|stranger| stranger.index == named.ends.len());
            named.texts.push_str(sample.series);
            named.ends.push(named.texts.len());
            named.series.push(stranger.map_or_else(|| known.next(), |stranger| stranger.series));
        }
        named.texts.shrink_to_fit();
        named.ends.shrink_to_fit();
        named.series.shrink_to_fit();
        named
    }

    fn finder(&self) -> Finder<'_> {
        Finder { named: self, next: 0, by_text: None, moved: false }
    }

    fn text(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts[start..self.ends[index]]
    }
}

/// Goes through the last page's series beside a new page.
struct Finder<'a> {
    named: &'a Named,
    /// Which series comes next if nothing has changed.
    next: usize,
    /// Made for the first series that does not come where it came before.
    by_text: Option<HashMap<&'a str, usize>>,
    /// Whether there was one.
    moved: bool,
}

impl Finder<'_> {
    /// The series of a text that the last page has; `Some(None)` where it was refused.
    fn find(&mut self, text: &str) -> Option<Option<SeriesId>> {
        let named = self.named;
        if self.next < named.ends.len() && named.text(self.next) == text {
            self.next += 1;
            return Some(named.series[self.next - 1]);
        }
        self.moved = true;
        let by_text =
            self.by_text.get_or_insert_with(|| (0..named.ends.len()).map(|index| (named.text(index), index)).collect());
        let index = *by_text.get(text)?;
        self.next = index + 1;
        Some(named.series[index])
    }
}

/// Whether a name is that of a verdict. Only the tasks of targets give them: no page says of its own target that it is
/// up, and another agent's verdicts are that agent's to page.
fn is_verdict(name: &str) -> bool {
    ["watchkeeper_target_", "watchkeeper_instance_"].iter().any(|prefix| name.starts_with(prefix))
}

fn labels(base: &Labels, precedence: Precedence, sample: &Sample<'_>) -> Labels {
    let mut own = sample.to_labels();
    if precedence == Precedence::Page {
        // Of a repeated name the last wins.
        return Labels::from_labels(base.iter().cloned().chain(own).collect());
    }
    own.retain(|label| !label.value.is_empty());
    for index in 0..own.len() {
        if !base.get(&own[index].name).is_empty() {
            own[index].name = free_name(base, &own, &own[index].name).into();
        }
    }
    Labels::from_labels(own.into_iter().chain(base.iter().cloned()).collect())
}

/// `exported_NAME`, with as many `exported_` as it takes to be a name of its own.
fn free_name(base: &Labels, own: &[Label], name: &str) -> String {
    let mut free = format!("exported_{name}");
    while !base.get(&free).is_empty() || own.iter().any(|label| *label.name == *free) {
        free.insert_str(0, "exported_");
    }
    free
}

/// The families that a page declares, named as Prometheus's text format names them.
pub fn families(text: &str, dialect: Dialect, limits: Limits) -> Result<Vec<Family>, ParseError> {
    let mut help: BTreeMap<&str, String> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in entries(text, dialect, limits) {
        match entry? {
            Entry::Help { name, help: text } => drop(help.insert(name, text.into_owned())),
            Entry::Type { name, kind } => found.push((name, kind)),
            Entry::Unit { .. } | Entry::Sample(_) => {}
        }
    }
    let family = |(name, kind): (&str, FamilyKind)| Family {
        help: help.remove(name).unwrap_or_default().into(),
        name: match (kind, dialect) {
            (FamilyKind::Counter, Dialect::OpenMetrics) => format!("{name}_total").into(),
            (FamilyKind::Info, Dialect::OpenMetrics) => format!("{name}_info").into(),
            _ => name.to_owned().into(),
        },
        kind,
    };
    Ok(found.into_iter().map(family).collect())
}

/// How much larger than a page its source may be: after an outage a page may name other series than the one before,
/// whose series are unknown until then.
const UNKNOWN_TOO: usize = 2;

/// The pages that a target exposes: a source in the store that ends with this value. To be handed from an old task
/// to a new one, so that the series go on.
#[derive(Debug)]
pub struct Ingest {
    store: Arc<Mutex<Store>>,
    clock: Clock,
    catalogue: Arc<Mutex<Catalogue>>,
    pages: Pages,
    /// Whether the last page was cut: told when it begins.
    cut: bool,
    last_at: Timestamp,
}

impl Ingest {
    /// `base` labels (the target's) are on every series. `max_series` is what one page may hold.
    pub fn new(
        store: Arc<Mutex<Store>>,
        clock: Clock,
        name: &str,
        base: Labels,
        catalogue: Arc<Mutex<Catalogue>>,
        max_series: usize,
    ) -> Self {
        let source = store::lock(&store).add_source(name, max_series.saturating_mul(UNKNOWN_TOO));
        let pages = Pages::new(source, base, Precedence::Source);
        Ingest { store, clock, catalogue, pages, cut: false, last_at: Timestamp::MIN }
    }

    /// Reads a page; [`Ingest::record`] then writes it. The error says why the look has failed.
    pub fn read(&mut self, page: &Exposition) -> Result<Page, ParseError> {
        let read = self.pages.read(&mut store::lock(&self.store), &page.text, page.dialect, page.limits)?;
        let was_cut = std::mem::replace(&mut self.cut, read.refused.is_some());
        if let Some(refused) = read.refused.as_ref().filter(|_| !was_cut) {
            let left_out = read.samples - read.stored;
            tracing::warn!(%refused, left_out, "series of a page are left out");
        }
        if read.added > 0 {
            let families = families(&page.text, page.dialect, page.limits)?;
            self.catalogue.lock().unwrap_or_else(PoisonError::into_inner).extend(families);
        }
        Ok(read)
    }

    /// Appends what was read last. With `complete`, series that were not in it are gone; else, after a failed look,
    /// they are unknown.
    pub fn record(&mut self, at: Timestamp, complete: bool) {
        self.last_at = at.max(self.last_at.saturating_add(1));
        self.pages.append(&mut store::lock(&self.store), self.last_at, complete);
    }
}

/// The target was removed, or the agent stops: its series end. Not where its task broke: that ends no alert.
impl Drop for Ingest {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            store::lock(&self.store).remove_source(self.pages.source, self.clock.now());
        }
    }
}

#[cfg(test)]
mod tests;
