//! The stop signal, as every task hears it.

use tokio::sync::watch;

/// Resolves when the agent is told to stop, or when whoever would tell is gone.
pub async fn told(stop: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone.
    drop(stop.wait_for(|stop| *stop).await);
}
