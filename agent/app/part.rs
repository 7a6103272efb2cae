//! A part of the agent that runs by itself, and how it is told to stop.

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What is said of a part that nobody told to end.
pub const ENDED: &str = "it ended by itself";

pub struct Part {
    pub name: &'static str,
    pub tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Part {
    pub fn new(name: &'static str) -> (Self, watch::Receiver<bool>) {
        let (stop, stopped) = watch::channel(false);
        (Part { name, stop, tasks: JoinSet::new() }, stopped)
    }

    /// Tells it to stop and waits until `deadline`; says so when it does not.
    pub async fn end(mut self, deadline: Instant) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline, all).await.is_err() {
            tracing::error!(part = self.name, "did not stop in time and is cut off");
        }
    }

    /// Resolves when one of its tasks ends that nobody told to, with how it ended.
    pub async fn broken(&mut self) -> (&'static str, String) {
        let error = match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok(())) => ENDED.to_owned(),
            Some(Err(error)) => error.to_string(),
        };
        (self.name, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_part_whose_task_panics_or_ends_is_seen() {
        let (mut part, _stop) = Part::new("evaluation");
        part.tasks.spawn(std::future::pending());
        part.tasks.spawn(async { panic!("a defect") });
        let (name, error) = part.broken().await;
        assert_eq!(name, "evaluation");
        assert!(error.contains("a defect"), "{error}");
        part.tasks.spawn(async {});
        assert_eq!(part.broken().await.1, "it ended by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_runs_or_has_nothing_to_do_is_not_broken() {
        let (mut busy, stopped) = Part::new("targets");
        let (mut empty, _stop) = Part::new("http");
        busy.tasks.spawn(async move {
            let mut stopped = stopped;
            crate::stop::told(&mut stopped).await;
        });
        let broken = async {
            tokio::select! { _ = busy.broken() => {}, _ = empty.broken() => {} }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), broken).await.is_err());
        busy.end(Instant::now() + Duration::from_secs(2)).await;
    }
}
