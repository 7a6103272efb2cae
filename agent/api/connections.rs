//! The connections of those who ask.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use super::{Context, router};
use crate::stop;

/// The most connections at once: for one more, the oldest is closed that waits for no query. Fewer queries than that may
/// run and wait.
const CONNECTIONS: usize = 64;
/// How long every connection stays open, so that it can ask: one more waits that long to be served.
const GRACE: Duration = Duration::from_millis(100);
/// The most bytes of a request's head.
const HEAD_LIMIT: usize = 16 * 1024;
/// How long a client may take to send a request's head, and to be idle between two.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The longest that one connection is served.
const CONNECTION_TIME: Duration = Duration::from_secs(300);

/// Serves until `stop` says true. A connection that misbehaves is closed; the others go on. However many stay open
/// and say nothing, a new one is served soon, and what has asked is answered.
pub async fn serve(listener: TcpListener, context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let router = router(context.clone());
    let mut connections = Connections::default();
    loop {
        let accepted = tokio::select! {
            () = stop::told(&mut stop) => return,
            Some(_) = connections.tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.make_room(|id| context.queries.is_asked_by(id)).await;
                connections.add(converse(stream, peer, router.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: without a pause this loop would take a whole core.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// The oldest first.
    by_age: VecDeque<(Instant, AbortHandle)>,
}

impl Connections {
    fn add(&mut self, conversation: impl Future<Output = ()> + Send + 'static) {
        let served = tokio::time::timeout(CONNECTION_TIME, conversation);
        let task = self.tasks.spawn(async move { drop(served.await) });
        self.by_age.push_back((Instant::now(), task));
    }

    /// Waits until there are fewer than may be, for which one that is not `needed` may be closed.
    async fn make_room(&mut self, needed: impl Fn(Id) -> bool) {
        loop {
            self.by_age.retain(|(_, task)| !task.is_finished());
            if self.by_age.len() < CONNECTIONS {
                return;
            }
            let oldest = self.by_age.iter().position(|(_, task)| !needed(task.id()));
            let age = oldest.map_or(Duration::ZERO, |oldest| self.by_age[oldest].0.elapsed());
            match oldest {
                Some(oldest) if age >= GRACE => drop(self.by_age.remove(oldest).inspect(|(_, task)| task.abort())),
                _ => drop(tokio::time::timeout(GRACE - age, self.tasks.join_next()).await),
            }
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router) {
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Connections {
        let mut connections = Connections::default();
        (0..CONNECTIONS).for_each(|_| connections.add(std::future::pending()));
        connections
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_connection_that_is_not_needed_goes_and_not_before_it_could_ask() {
        let mut connections = full();
        let first = connections.by_age[0].1.id();
        let second = connections.by_age[1].1.clone();
        let began = Instant::now();
        connections.make_room(|id| id == first).await;
        assert_eq!(began.elapsed(), GRACE);
        assert_eq!(connections.by_age.len(), CONNECTIONS - 1);
        assert_eq!(connections.by_age[0].1.id(), first);
        tokio::task::yield_now().await;
        assert!(second.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_needed_one_more_waits_for_the_first_to_end() {
        let mut connections = full();
        let ending = connections.by_age[7].1.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(7)).await;
            ending.abort();
        });
        let began = Instant::now();
        connections.make_room(|_| true).await;
        assert_eq!((began.elapsed().as_secs(), connections.by_age.len()), (7, CONNECTIONS - 1));
    }
}
