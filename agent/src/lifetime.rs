//! When the agent ends: SIGTERM and SIGINT.
//!
//! Owns the signals only; what an end means is the hub's.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for a signal that ends the agent.
pub async fn ended() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
