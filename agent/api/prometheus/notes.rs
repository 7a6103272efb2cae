//! What is to be said of an answer besides its data: Prometheus's `warnings` and `infos`.

use serde_json::Value;

use super::form::place;
use crate::promql::Annotation;

/// How many of each are shown: Prometheus's.
const MOST: usize = 10;
/// What stands under `warnings` where a limit has cut the results.
pub const TRUNCATED: &str = "results truncated due to limit";

#[derive(Debug, Default)]
pub struct Notes {
    warnings: Vec<String>,
    infos: Vec<String>,
}

impl Notes {
    /// What the evaluation of a text said. What it said of several places stands at the one of which it was said
    /// last, as in Prometheus.
    pub fn of(text: &str, annotations: &[Annotation]) -> Self {
        Notes { warnings: worded(text, annotations, true), infos: worded(text, annotations, false) }
    }

    pub fn truncated(mut self, truncated: bool) -> Self {
        self.warnings.extend(truncated.then(|| TRUNCATED.to_owned()));
        self
    }

    /// All of them, warnings first, each kind in order of the text.
    #[cfg(test)]
    pub fn lines(mut self) -> Vec<String> {
        self.warnings.sort();
        self.infos.sort();
        self.warnings.into_iter().chain(self.infos).collect()
    }

    /// The members of an answer, after those that it has.
    pub fn write(&self, out: &mut String) {
        for (name, notes) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if !notes.is_empty() {
                *out += &format!(",\"{name}\":{}", Value::from(notes.as_slice()));
            }
        }
    }
}

fn worded(text: &str, annotations: &[Annotation], is_warning: bool) -> Vec<String> {
    let kind = if is_warning { "warning" } else { "info" };
    let mut of_kind: Vec<&Annotation> = Vec::new();
    for note in annotations.iter().rev().filter(|note| note.is_warning == is_warning) {
        if of_kind.iter().all(|later| later.message != note.message) {
            of_kind.push(note);
        }
    }
    of_kind.sort_by_key(|note| note.span.start);
    let shown = of_kind.iter().take(MOST);
    let mut lines: Vec<String> =
        shown.map(|note| format!("PromQL {kind}: {} ({})", note.message, place(text, note.span.start))).collect();
    if of_kind.len() > MOST {
        lines.push(format!("{} more {kind} annotations omitted", of_kind.len() - MOST));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(is_warning: bool, message: &str, start: usize) -> Annotation {
        Annotation { is_warning, message: message.to_owned(), span: start..start + 1 }
    }

    #[test]
    fn warnings_and_infos_stand_apart_with_their_places() {
        let annotations = [note(false, "told", 4), note(true, "odd", 3), note(true, "odd", 5)];
        let notes = Notes::of("a +\n b", &annotations).truncated(true);
        let mut text = String::new();
        notes.write(&mut text);
        let wanted = format!(
            ",\"warnings\":[\"PromQL warning: odd (2:2)\",\"{TRUNCATED}\"],\"infos\":[\"PromQL info: told (2:1)\"]"
        );
        assert_eq!(text, wanted);
    }

    #[test]
    fn no_more_than_ten_are_shown() {
        let annotations: Vec<Annotation> = (0..12).map(|index| note(false, &format!("it is {index}"), index)).collect();
        let lines = worded("aaaaaaaaaaaaaaaa", &annotations, false);
        assert_eq!((lines.len(), lines[10].as_str()), (11, "2 more info annotations omitted"));
    }
}
