//! Lists of label names: what is grouped by, matched on, or taken over.

/// Names as they are written, in which one is found soon, however many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    written: Vec<String>,
    sorted: Vec<String>,
}

impl Names {
    pub const NONE: &'static Names = &Names { written: Vec::new(), sorted: Vec::new() };

    pub fn new(written: Vec<String>) -> Self {
        let mut sorted = written.clone();
        sorted.sort_unstable();
        sorted.dedup();
        Names { written, sorted }
    }

    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.sorted.binary_search_by(|other| other.as_str().cmp(name)).is_ok()
    }

    /// As they are written.
    pub fn iter(&self) -> impl Iterator<Item = &String> {
        self.written.iter()
    }

    pub fn with(&self, name: &str) -> Self {
        Names::new(self.iter().map(String::as_str).chain([name]).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_stay_as_they_are_written() {
        let names = Names::new(["b", "a", "b"].map(str::to_owned).into()).with("0");
        assert_eq!(names.iter().collect::<Vec<_>>(), ["b", "a", "b", "0"]);
        assert!(["0", "a", "b"].iter().all(|name| names.contains(name)) && !names.contains("c"));
        assert!(Names::NONE.is_empty() && !Names::NONE.contains(""));
    }
}
