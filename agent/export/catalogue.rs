//! What is known of metrics apart from their samples: type and help.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::probe::KINDS;
use crate::sample::{Metric, MetricKind};

/// The type of a metric family, of Prometheus's text format and OpenMetrics together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
    Unknown,
}

impl FamilyKind {
    /// The type that a `# TYPE` line names.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "counter" => FamilyKind::Counter,
            "gauge" => FamilyKind::Gauge,
            "histogram" => FamilyKind::Histogram,
            "gaugehistogram" => FamilyKind::GaugeHistogram,
            "summary" => FamilyKind::Summary,
            "info" => FamilyKind::Info,
            "stateset" => FamilyKind::StateSet,
            "unknown" | "untyped" => FamilyKind::Unknown,
            _ => return None,
        })
    }

    /// The word that a `# TYPE` line has for it, as [`FamilyKind::named`] reads it.
    pub fn name(self) -> &'static str {
        match self {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            FamilyKind::Histogram => "histogram",
            FamilyKind::GaugeHistogram => "gaugehistogram",
            FamilyKind::Summary => "summary",
            FamilyKind::Info => "info",
            FamilyKind::StateSet => "stateset",
            FamilyKind::Unknown => "unknown",
        }
    }

    /// The nearest type that Prometheus's text format 0.0.4 has.
    pub fn prometheus_name(self) -> &'static str {
        match self {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge | FamilyKind::Info | FamilyKind::StateSet => "gauge",
            FamilyKind::Histogram => "histogram",
            FamilyKind::Summary => "summary",
            FamilyKind::GaugeHistogram | FamilyKind::Unknown => "untyped",
        }
    }

    /// A family's name and type as OpenMetrics has them: a counter's samples end in `_total`, an info's in `_info`, and
    /// the family's name does not. One whose samples do not is of unknown type.
    pub fn openmetrics_head(self, name: &str) -> (&str, &'static str) {
        let stem = match self {
            FamilyKind::Counter => name.strip_suffix("_total"),
            FamilyKind::Info => name.strip_suffix("_info"),
            _ => Some(name),
        };
        let kind = match self {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            FamilyKind::Histogram => "histogram",
            FamilyKind::Summary => "summary",
            FamilyKind::Info => "info",
            FamilyKind::StateSet => "stateset",
            FamilyKind::GaugeHistogram | FamilyKind::Unknown => "unknown",
        };
        stem.map_or((name, "unknown"), |stem| (stem, kind))
    }

    /// The samples of one family that do not bear its name, by what they append to it.
    fn suffixes(self) -> &'static [&'static str] {
        match self {
            FamilyKind::Histogram => &["_bucket", "_sum", "_count"],
            FamilyKind::Summary => &["_sum", "_count"],
            _ => &[],
        }
    }
}

impl From<MetricKind> for FamilyKind {
    fn from(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Gauge => FamilyKind::Gauge,
            MetricKind::Counter => FamilyKind::Counter,
            MetricKind::Untyped => FamilyKind::Unknown,
        }
    }
}

/// A metric family as Prometheus's text format names it (a counter's name ends as its samples' do).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    pub name: Cow<'static, str>,
    pub help: Cow<'static, str>,
    pub kind: FamilyKind,
}

impl From<&'static Metric> for Family {
    fn from(metric: &'static Metric) -> Self {
        Family { name: metric.name.into(), help: metric.help.into(), kind: metric.kind.into() }
    }
}

/// How many families are known at most, and how long a help text may be, in bytes.
const MAX_FAMILIES: usize = 10_000;
const MAX_HELP: usize = 1_024;

/// Families by name.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    families: BTreeMap<Cow<'static, str>, Family>,
}

impl Catalogue {
    /// Every metric that the kinds of probes declare.
    pub fn of_kinds() -> Self {
        let declared = KINDS.iter().flat_map(|kind| kind.metrics);
        let mut catalogue = Catalogue::default();
        catalogue.extend(declared.map(|metric| Family::from(*metric)));
        catalogue
    }

    /// Adds families; of a name that is there already the first stays. What is too many is left out, and a help text
    /// that is too long: what is scraped is not trusted.
    pub fn extend(&mut self, families: impl IntoIterator<Item = Family>) {
        for mut family in families {
            if self.families.len() >= MAX_FAMILIES {
                return;
            }
            if family.help.len() > MAX_HELP {
                family.help = Cow::Borrowed("");
            }
            self.families.entry(family.name.clone()).or_insert(family);
        }
    }

    pub fn get(&self, name: &str) -> Option<&Family> {
        self.families.get(name)
    }

    /// The family that a sample of this name belongs to.
    pub fn family_of(&self, sample: &str) -> Option<&Family> {
        self.get(sample).or_else(|| {
            let (stem, _) = sample.rsplit_once('_')?;
            self.get(stem).filter(|family| family.kind.suffixes().contains(&&sample[stem.len()..]))
        })
    }
}
