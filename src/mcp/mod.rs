//! Tools for language models over standard input and output (MCP, by the official SDK): the headless twin, a command a tool.
//!
//! Owns the server's life. A tool runs this program's own command as a process, whose results become the answer, so that
//! whatever ends the server, a command cleans up after itself. Standard output carries the protocol and nothing else.

mod arguments;
mod bound;
mod budget;
mod captures;
mod capturing;
mod gathered;
mod refusal;
mod server;
pub mod tools;
mod twin;

use std::{
    ffi::OsString,
    io,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rmcp::{ServiceExt, service::ServerInitializeError};
use tokio::{
    io::{AsyncRead, ReadBuf, Stdin},
    sync::watch,
};

pub use bound::MOST_BYTES;
pub use budget::Limits;

use self::{server::Server, twin::Twin};
use crate::{
    headless::{ExitCode, Signals},
    model::Notice,
};

/// What tools may do, and how commands are run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program whose commands are run.
    pub program: PathBuf,
    /// Options that say which cluster, or this machine.
    pub site: Vec<OsString>,
    /// Options of commands that deploy.
    pub deploy: Vec<OsString>,
    /// Settings that were typed, as variables.
    pub environment: Vec<(String, String)>,
    /// This machine is the only node.
    pub local: bool,
    /// The one folder of captures.
    pub folder: PathBuf,
    /// Tools may change something.
    pub allow_changes: bool,
    /// And how much.
    pub limits: Limits,
}

/// Serves until standard input ends or a signal comes, and until every command that runs has cleaned up.
pub async fn serve(settings: Settings) -> Result<ExitCode, Notice> {
    let failed = |cause: String| Notice::error("cannot serve tools", cause, "");
    let mut signals = Signals::listen().map_err(|error| failed(error.to_string()))?;
    let (told_to_end, ending) = watch::channel(0);
    let twin = Twin::new(&settings, ending);
    let ends = twin.ends();
    let input = Input { from: tokio::io::stdin(), told_to_end: told_to_end.clone() };
    let served = async {
        match Server::new(settings, twin).serve((input, tokio::io::stdout())).await {
            Ok(service) => service.waiting().await.map(drop).map_err(|error| failed(error.to_string())),
            // Whoever asks for nothing has nothing to clean up.
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(failed(error.to_string())),
        }
    };
    // A client ends standard input first, and then sends a signal: that is one wish, and not yet that nothing be waited for.
    let mut signalled = 0;
    let outcome = tokio::select! {
        served = served => served,
        () = signals.next() => {
            signalled = 1;
            Ok(())
        }
    };
    at_least(&told_to_end, 1);
    let over = ends.over();
    tokio::pin!(over);
    let left_behind = loop {
        tokio::select! {
            left_behind = &mut over => break left_behind,
            // A second one: commands end without waiting.
            () = signals.next() => {
                signalled += 1;
                at_least(&told_to_end, signalled);
            }
        }
    };
    outcome.map(|()| if left_behind { ExitCode::LeftBehind } else { ExitCode::Done })
}

/// So often commands are told to end, if not oftener already.
fn at_least(told_to_end: &watch::Sender<u32>, times: u32) {
    told_to_end.send_if_modified(|told| std::mem::replace(told, times.max(*told)) < times);
}

/// Standard input, whose end is told at once: the SDK first lets tools finish that run.
struct Input {
    from: Stdin,
    told_to_end: watch::Sender<u32>,
}

impl AsyncRead for Input {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.from).poll_read(context, buffer));
        if read.is_err() || buffer.filled().len() == before {
            at_least(&self.told_to_end, 1);
        }
        Poll::Ready(read)
    }
}
