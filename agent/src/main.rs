//! `nodewatch-agent`: serves a node's open ports and packets over tunnels.
//!
//! Owns the command line and the exit code; everything else is the library's.

use std::{
    io::{self, Read, Write},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use nodewatch_agent::{
    capture::store::Store,
    error::chain,
    hub::{Hub, NodeFacts},
    lifetime, server,
};

/// The node program of nodewatch-tui.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watch this node and serve tunnels until SIGTERM
    Serve {
        #[command(flatten)]
        ring: Ring,
        #[command(flatten)]
        socket: Socket,
        /// Serve one tunnel on standard input and output instead of the socket, and end with it
        #[arg(long)]
        stdio: bool,
        /// The node's name, for capture files; default: the host name
        #[arg(long, env = "NODEWATCH_NODE_NAME")]
        node_name: Option<String>,
        /// The node's own addresses; capture takes their interfaces by default
        #[arg(long, env = "NODEWATCH_NODE_ADDRESSES", value_delimiter = ',')]
        node_addresses: Vec<IpAddr>,
    },
    /// Join standard input and output to a serving agent
    Connect {
        #[command(flatten)]
        socket: Socket,
    },
    /// Write a part of a capture file to standard output
    Fetch {
        #[command(flatten)]
        ring: Ring,
        /// The file's name in the ring
        file: String,
        /// The first byte to write
        #[arg(long, default_value_t = 0)]
        offset: u64,
        /// How many bytes to write
        #[arg(long)]
        length: u64,
    },
}

#[derive(Args)]
struct Ring {
    /// Folder of the capture files
    #[arg(long = "ring", env = "NODEWATCH_RING", default_value = "/var/lib/nodewatch/ring")]
    folder: PathBuf,
}

#[derive(Args)]
struct Socket {
    /// The agent's unix socket
    #[arg(long = "socket", env = "NODEWATCH_SOCKET", default_value = "/var/lib/nodewatch/agent.sock")]
    path: PathBuf,
}

fn main() -> ExitCode {
    let outcome = run(Cli::parse().command);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(io::stderr(), "nodewatch-agent: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve { ring, socket, stdio, node_name, node_addresses } => {
            let hostname = node_name.unwrap_or_else(hostname);
            let node = NodeFacts { hostname, addresses: node_addresses };
            block_on(serve(ring, socket, stdio, node))?
        }
        Command::Connect { socket } => {
            Ok(block_on(server::connect(&socket.path, tokio::io::stdin(), tokio::io::stdout()))??)
        }
        Command::Fetch { ring, file, offset, length } => {
            let file = Store::open(ring.folder)?.read_from(&file, offset)?;
            let mut output = io::stdout().lock();
            io::copy(&mut file.take(length), &mut output)?;
            Ok(output.flush()?)
        }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let outcome = runtime.block_on(work);
    // Dropped, it would wait for the thread that reads standard input, which ends only with its peer.
    runtime.shutdown_background();
    Ok(outcome)
}

async fn serve(ring: Ring, socket: Socket, stdio: bool, node: NodeFacts) -> anyhow::Result<()> {
    let hub = Hub::spawn(node, Store::open(ring.folder)?)?;
    let tunnels = async {
        if stdio {
            server::serve(tokio::io::stdin(), tokio::io::stdout(), &hub).await
        } else {
            server::listen(&socket.path, hub.clone()).await
        }
    };
    let outcome = tokio::select! {
        served = tunnels => served.map_err(anyhow::Error::from),
        signal = lifetime::ended() => signal.context("cannot listen for signals"),
    };
    hub.end().await;
    outcome
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
