//! The routing tree: which receivers an alert goes to, and how it is grouped there.

use std::time::Duration;

use crate::matcher::{MatchOp, Matcher};
use crate::sample::Labels;

/// A node of the routing tree, Alertmanager's grammar; what a child leaves out, it inherits (filled in when loaded).
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub receiver: String,
    pub matchers: Vec<Matcher>,
    /// Whether later siblings are tried after this one matched.
    pub continues: bool,
    pub group_by: GroupBy,
    pub group_wait: Duration,
    pub group_interval: Duration,
    pub repeat_interval: Duration,
    pub routes: Vec<Route>,
}

/// Which labels tell groups apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// No label: one group.
    Labels(Vec<String>),
    /// `['...']`: every label, so each alert is its own group.
    All,
}

impl Route {
    /// The routes that an alert with these labels takes, in the order of the tree. As in Alertmanager: the deepest
    /// node that matches on each branch; a sibling after a match is tried only where that match `continues`.
    /// The root matches everything, so there is at least one. Only an alert of `priority="none"` (a watchdog) is for
    /// nobody but those who ask for it: it takes routes that name it, and no other.
    pub fn find(&self, labels: &Labels) -> Vec<&Route> {
        self.find_below(labels, labels.get("priority") != "none")
    }

    /// `wanted`: whether a route above asks for the alert, or none has to.
    fn find_below(&self, labels: &Labels, wanted: bool) -> Vec<&Route> {
        let wanted = wanted || self.matchers.iter().any(asks_by_name);
        let mut found = Vec::new();
        for child in self.routes.iter().filter(|child| child.accepts(labels)) {
            let below = child.find_below(labels, wanted);
            let ends = !below.is_empty() && !child.continues;
            found.extend(below);
            if ends {
                break;
            }
        }
        if found.is_empty() && wanted { vec![self] } else { found }
    }

    fn accepts(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches_labels(labels))
    }
}

/// Whether a matcher asks for alerts by their name, priority or severity: `severity!="critical"` does not.
fn asks_by_name(matcher: &Matcher) -> bool {
    matches!(&*matcher.name, "alertname" | "priority" | "severity")
        && matches!(matcher.op, MatchOp::Equal | MatchOp::Regex)
        && !matcher.matches("")
}

impl GroupBy {
    /// The labels of the group that an alert belongs to; a label that the alert lacks is left out.
    pub fn labels_of(&self, labels: &Labels) -> Labels {
        match self {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(names) => labels.filtered(|name| names.iter().any(|wanted| wanted == name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(receiver: &str, matchers: &[(&str, &str)], routes: Vec<Route>) -> Route {
        Route {
            receiver: receiver.to_owned(),
            matchers: matchers.iter().map(|(name, value)| Matcher::new(name, MatchOp::Equal, value).unwrap()).collect(),
            continues: false,
            group_by: GroupBy::Labels(Vec::new()),
            group_wait: Duration::ZERO,
            group_interval: Duration::ZERO,
            repeat_interval: Duration::from_secs(4 * 3600),
            routes,
        }
    }

    fn receivers(tree: &Route, labels: &[(&str, &str)]) -> Vec<String> {
        tree.find(&Labels::new(labels.iter().copied())).iter().map(|route| route.receiver.clone()).collect()
    }

    #[test]
    fn the_deepest_match_wins_and_the_root_takes_the_rest() {
        let tree = route(
            "root",
            &[],
            vec![route("team", &[("team", "a")], vec![route("pager", &[("severity", "critical")], vec![])])],
        );
        assert_eq!(receivers(&tree, &[("team", "a"), ("severity", "critical")]), ["pager"]);
        assert_eq!(receivers(&tree, &[("team", "a")]), ["team"]);
        assert_eq!(receivers(&tree, &[("severity", "critical")]), ["root"]);
    }

    #[test]
    fn later_siblings_are_tried_only_after_one_that_continues() {
        let mut tree = route(
            "root",
            &[],
            vec![route("log", &[("a", "1")], vec![]), route("one", &[("a", "1")], vec![]), route("two", &[], vec![])],
        );
        assert_eq!(receivers(&tree, &[("a", "1")]), ["log"]);
        tree.routes[0].continues = true;
        assert_eq!(receivers(&tree, &[("a", "1")]), ["log", "one"]);
        assert_eq!(receivers(&tree, &[("a", "2")]), ["two"]);
    }

    #[test]
    fn a_watchdog_goes_only_where_a_route_names_it() {
        let watchdog = [("alertname", "Watchdog"), ("severity", "none"), ("priority", "none"), ("source", "derived")];
        let not_critical = Matcher::new("severity", MatchOp::NotEqual, "critical").unwrap();
        let mut slack = route("slack", &[("source", "derived")], vec![]);
        slack.matchers.push(not_critical);
        let mut tree = route("root", &[], vec![slack]);
        assert_eq!(receivers(&tree, &watchdog), Vec::<String>::new(), "neither by default nor by what it is not");
        assert_eq!(receivers(&tree, &watchdog[..1]), ["root"], "another alert of its name is as any other");
        let named = [("alertname", "Watchdog")];
        tree.routes.push(route("deadman", &named, vec![route("inner", &[("source", "derived")], vec![])]));
        assert_eq!(receivers(&tree, &watchdog), ["inner"], "the routes before it do not swallow it");
    }

    #[test]
    fn group_labels_are_those_that_the_alert_has() {
        let labels = Labels::new([("a", "1"), ("b", "2")]);
        assert_eq!(GroupBy::Labels(vec!["b".into(), "c".into()]).labels_of(&labels), Labels::new([("b", "2")]));
        assert_eq!(GroupBy::All.labels_of(&labels), labels);
        assert_eq!(GroupBy::Labels(vec![]).labels_of(&labels), Labels::default());
    }
}
