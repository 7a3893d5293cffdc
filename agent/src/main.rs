//! `nodewatch-agent`: serves a node's open ports and packets over tunnels.
//!
//! Owns the command line and the exit code; everything else is the library's.

use std::{
    io::{self, Read, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use nodewatch_agent::{
    bundle,
    error::chain,
    gone,
    hub::{Hub, HubHandle, NodeFacts},
    lifetime::{End as Ending, Lifetime, Signals},
    live, panics, port_reports,
    reaper::{self, Reaper},
    ring::{Ring, store::Store},
    server, stand_in, unix_millis,
};
use nodewatch_ports::{ExpectedPorts, PortSet};
use nodewatch_protocol::{BUNDLE, Orders, ReportPlan, UnixMillis};
use nodewatch_report::Stream;

/// The node program of nodewatch-tui.
#[derive(Parser)]
#[command(version = nodewatch_protocol::version_text(env!("CARGO_PKG_VERSION")), about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watch this node and serve tunnels until SIGTERM
    Serve {
        #[command(flatten)]
        ring: RingFolder,
        #[command(flatten)]
        socket: Socket,
        /// Serve one tunnel on standard input and output instead of the socket, and exit with it
        #[arg(long)]
        stdio: bool,
        /// With --stdio: serve other tunnels on the socket too, for programs of the same user
        #[arg(long, requires = "stdio")]
        shared: bool,
        /// The node's name, for capture files; default: the host name
        #[arg(long, env = "NODEWATCH_NODE_NAME")]
        node_name: Option<String>,
        /// The node's own addresses; capture takes their interfaces by default
        #[arg(long, env = "NODEWATCH_NODE_ADDRESSES", value_delimiter = ',')]
        node_addresses: Vec<IpAddr>,
        /// Size of the ring's volume in bytes; captures never use more
        #[arg(long, env = "NODEWATCH_RING_LIMIT", value_name = "BYTES")]
        ring_limit: Option<u64>,
        /// Exit after this many seconds in any case; a session can change it
        #[arg(long, env = "NODEWATCH_DEADLINE_SECONDS", value_name = "SECONDS")]
        deadline: Option<u64>,
        /// Latest time to exit by this node's clock, e.g. 2026-01-01T00:00:00Z; never later than the deadline
        #[arg(long, env = "NODEWATCH_ENDS", value_name = "TIME", value_parser = time)]
        ends: Option<End>,
        /// What to start with, as JSON, for a pod that is restarted whenever it exits; past its end the agent idles
        /// until SIGTERM
        #[arg(long, env = "NODEWATCH_STAND_IN", value_name = "JSON", value_parser = orders)]
        stand_in: Option<Begin>,
        /// Exit after this many seconds without a heartbeat; a session can change it
        #[arg(long, env = "NODEWATCH_LEASE_SECONDS", value_name = "SECONDS")]
        lease: Option<u64>,
        /// Show which process and pod hold each port; needs the host's process namespace, root, SYS_PTRACE and
        /// DAC_READ_SEARCH
        #[arg(long, env = "NODEWATCH_PROCESSES")]
        processes: bool,
    },
    /// Report this node's open ports until SIGTERM, without a laptop: one line of JSON per report on standard output,
    /// and to CloudWatch Logs if a group is given
    Report(ReportArgs),
    /// Connect standard input and output to a serving agent
    Connect {
        #[command(flatten)]
        socket: Socket,
    },
    /// Wait for the end of a session and remove its namespace; used by `--reaper`
    Reap {
        /// The session's namespace
        #[arg(long, env = "NODEWATCH_NAMESPACE")]
        namespace: String,
        /// UID of the namespace; another namespace of the same name is not touched
        #[arg(long, env = "NODEWATCH_NAMESPACE_UID")]
        uid: String,
        /// ID of the session, which must be a label of the namespace
        #[arg(long, env = "NODEWATCH_SESSION")]
        session: String,
    },
    /// Write the running capture to standard output until it ends
    Follow {
        #[command(flatten)]
        ring: RingFolder,
        /// Skip files closed before this time, in milliseconds since the Unix epoch
        #[arg(long, default_value_t = 0, value_name = "MILLIS")]
        since: u64,
        /// The capture that began at this time, in milliseconds since the Unix epoch, and what continues it after a
        /// restart; default: the running capture
        #[arg(long, value_name = "MILLIS")]
        capture: Option<u64>,
        /// Only headers, and at most so many packets a second, the latest ones; how many were left out is in the stream
        #[arg(long, value_name = "PACKETS")]
        rate: Option<u32>,
    },
    /// Write a part of a capture file to standard output, or of bundle.json: the node's network state as it is now
    Fetch {
        #[command(flatten)]
        ring: RingFolder,
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
struct ReportArgs {
    /// Seconds between two reports
    #[arg(long, env = "NODEWATCH_INTERVAL", default_value_t = 60, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: u64,
    /// Ports to exclude, e.g. 22,8000-8100,53/udp,127.0.0.0/8; excluded ports are still counted
    #[arg(long, env = "NODEWATCH_EXCLUDE", default_value = "", hide_default_value = true, value_name = "LIST")]
    exclude: PortSet,
    /// Expected ports, in the same form; any other reachable port counts in UnexpectedPorts
    #[arg(long, env = "NODEWATCH_EXPECT", value_name = "LIST")]
    expect: Option<PortSet>,
    /// Send each report to this log group too, with the role of the pod's service account
    #[arg(long, env = "NODEWATCH_CLOUDWATCH", value_name = "GROUP", value_parser = log_group)]
    cloudwatch: Option<String>,
    /// One log group per node, GROUP/NODE, instead of one stream per node
    #[arg(long, env = "NODEWATCH_LOG_GROUP_PER_NODE", requires = "cloudwatch")]
    log_group_per_node: bool,
    /// Retention in days of a log group that is created here
    #[arg(long, env = "NODEWATCH_RETENTION_DAYS", default_value_t = 14, value_name = "DAYS",
        value_parser = retention)]
    retention_days: u32,
    /// The metrics' dimension `cluster`
    #[arg(long, env = "NODEWATCH_CLUSTER", default_value = "", hide_default_value = true, value_name = "NAME")]
    cluster: String,
    /// The node's name; default: the host name
    #[arg(long, env = "NODEWATCH_NODE_NAME")]
    node_name: Option<String>,
    /// The region of CloudWatch Logs
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1", value_name = "REGION")]
    region: String,
    /// Endpoint to use instead of AWS's
    #[arg(long, env = "AWS_ENDPOINT_URL", value_name = "URL")]
    endpoint: Option<String>,
}

impl ReportArgs {
    fn plan(self) -> ReportPlan {
        let hostname = self.node_name.unwrap_or_else(hostname);
        let Stream { group, stream } =
            Stream::of_node(&self.cloudwatch.unwrap_or_default(), self.log_group_per_node, &hostname);
        ReportPlan {
            group,
            stream,
            retention_days: self.retention_days,
            region: self.region,
            endpoint: self.endpoint.filter(|endpoint| !endpoint.is_empty()),
            cluster: self.cluster,
            // There is none.
            session: String::new(),
            interval_seconds: self.interval.into(),
            excluded: self.exclude.into_rules(),
            expectations: self.expect.map(|named| ExpectedPorts { list: Vec::new(), named: named.into_rules() }),
            hostname,
        }
    }
}

fn log_group(name: &str) -> Result<String, String> {
    nodewatch_report::check_group(name).map(|()| name.to_owned())
}

fn retention(text: &str) -> Result<u32, String> {
    nodewatch_report::check_retention(text)
}

#[derive(Args)]
struct RingFolder {
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
    panics::end_the_process();
    let outcome = run(Cli::parse().command);
    match outcome {
        Ok(By::Itself) => ExitCode::SUCCESS,
        Ok(By::Signal) => ExitCode::from(TERMINATED),
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(io::stderr(), "nodewatch-agent: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// What shells say of a program that SIGTERM has ended. For a Job that is no success: one whose pod is deleted makes another
/// pod, where with 0 it would be complete, and the other pod removed with it.
const TERMINATED: u8 = 143;

/// What has ended the program.
#[derive(Clone, Copy)]
enum By {
    /// There is nothing left to do.
    Itself,
    /// Somebody has told it to end.
    Signal,
}

fn run(command: Command) -> anyhow::Result<By> {
    match command {
        Command::Serve {
            ring,
            socket,
            stdio,
            shared,
            node_name,
            node_addresses,
            ring_limit,
            deadline,
            ends,
            stand_in,
            lease,
            processes,
        } => {
            let hostname = node_name.unwrap_or_else(hostname);
            let node = NodeFacts { hostname, addresses: node_addresses, processes };
            let deadline = deadline.map(Duration::from_secs);
            let ends = ends.and_then(|End(ends)| ends).map(|ends| left(ends, unix_millis()));
            let limits = Limits {
                ring: ring_limit,
                deadline: [deadline, ends].into_iter().flatten().min(),
                lease: lease.map(Duration::from_secs),
            };
            return block_on(serve(ring, socket, (stdio, shared), (node, stand_in.and_then(|Begin(it)| it)), limits))?;
        }
        Command::Report(arguments) => {
            let state = block_on(async {
                let mut signals = Signals::listen().context(NO_SIGNALS)?;
                let end = async move {
                    signals.next().await;
                    Ok(())
                };
                Ok::<_, anyhow::Error>(port_reports::run(arguments.plan(), end).await?)
            })??;
            let lost = state.lost();
            anyhow::ensure!(lost == 0, "{lost} reports did not reach CloudWatch Logs: {}", state.why_lost());
        }
        Command::Reap { namespace, uid, session } => {
            let reaper = Reaper { namespace, uid, session, server: reaper::InCluster::from_pod()? };
            return block_on(async {
                let mut signals = Signals::listen().context(NO_SIGNALS)?;
                tokio::select! {
                    done = tokio::task::spawn_blocking(move || reaper.run()) => {
                        done??;
                        Ok(By::Itself)
                    }
                    () = signals.next() => Ok(By::Signal),
                }
            })?;
        }
        Command::Connect { socket } => {
            block_on(server::connect(&socket.path, tokio::io::stdin(), tokio::io::stdout()))??;
        }
        Command::Follow { ring, since, capture, rate } => {
            gone::end_with_the_reader();
            let from = live::From { since, capture, rate };
            let missed = live::follow(&Store::open(ring.folder)?, &from, &mut io::stdout().lock())?;
            anyhow::ensure!(missed.is_nothing(), "{missed}");
        }
        Command::Fetch { file, offset, length, .. } if file == BUNDLE => {
            gone::end_with_the_reader();
            anyhow::ensure!(offset == 0, "a bundle is read from its beginning");
            let bundle = serde_json::to_vec(&bundle::take(Path::new("/proc")))?;
            let mut output = io::stdout().lock();
            io::copy(&mut bundle.as_slice().take(length), &mut output)?;
            output.flush()?;
        }
        Command::Fetch { ring, file, offset, length } => {
            gone::end_with_the_reader();
            let file = Store::open(ring.folder)?.read_from(&file, offset)?;
            let mut output = io::stdout().lock();
            io::copy(&mut file.take(length), &mut output)?;
            output.flush()?;
        }
    }
    Ok(By::Itself)
}

fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let outcome = runtime.block_on(work);
    // Dropped, it would wait for the thread that reads standard input, which ends only with its peer.
    runtime.shutdown_background();
    Ok(outcome)
}

const NO_SIGNALS: &str = "cannot listen for signals";

/// To end in, where a pod's grace period of 30 s runs.
const AT_ONCE: Duration = Duration::from_secs(22);
/// What was told last has so long to be written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);
/// To end in, where nobody waits.
const IN_PEACE: Duration = Duration::from_secs(600);

struct Limits {
    ring: Option<u64>,
    deadline: Option<Duration>,
    lease: Option<Duration>,
}

/// A time, or none where the variable is empty.
#[derive(Clone)]
struct End(Option<UnixMillis>);

fn time(text: &str) -> Result<End, String> {
    if text.is_empty() {
        return Ok(End(None));
    }
    let time: jiff::Timestamp = text.parse().map_err(|error| format!("invalid time {text:?}: {error}"))?;
    Ok(End(Some(time.as_millisecond().max(0) as u64)))
}

fn left(ends: UnixMillis, now: UnixMillis) -> Duration {
    Duration::from_millis(ends.saturating_sub(now))
}

/// What to begin, or nothing where the variable is empty.
#[derive(Clone)]
struct Begin(Option<Box<Orders>>);

fn orders(text: &str) -> Result<Begin, String> {
    if text.is_empty() {
        return Ok(Begin(None));
    }
    serde_json::from_str(text).map(|read| Begin(Some(read))).map_err(|error| error.to_string())
}

async fn serve(
    ring: RingFolder,
    socket: Socket,
    (stdio, shared): (bool, bool),
    (node, orders): (NodeFacts, Option<Box<Orders>>),
    limits: Limits,
) -> anyhow::Result<By> {
    // Before anything else: the first process of a container does not hear a signal that it has not asked for.
    let mut signals = Signals::listen().context(NO_SIGNALS)?;
    let hostname = node.hostname.clone();
    let name = hostname.clone();
    let opened = tokio::task::spawn_blocking(move || open(&ring.folder, stdio, &hostname, &limits));
    let (ring, lifetime) = tokio::select! {
        opened = opened => opened??,
        // What is recovered half is recovered at the next start.
        () = signals.next() => return Ok(By::Signal),
    };
    let has_captured = !ring.list().captures.is_empty();
    let hub = Hub::spawn(node, ring, lifetime.clone())?;
    let rests = orders.is_some();
    if let Some(orders) = orders {
        tokio::spawn(stand_in_for_the_laptop(*orders, hub.clone(), name, has_captured));
    }
    if shared {
        share(socket.path.clone(), hub.clone());
    }
    let tunnels = async {
        if stdio {
            server::serve_pipe(tokio::io::stdin(), tokio::io::stdout(), &hub).await
        } else {
            server::listen(&socket.path, hub.clone()).await
        }
    };
    let mut tunnels = pin!(tunnels);
    let mut served = None;
    let mut told = false;
    // The first cause stands.
    let mut by = None;
    let mut lapsed = false;
    let mut due = false;
    // Whatever comes later can only bring the end nearer.
    loop {
        tokio::select! {
            outcome = &mut tunnels, if served.is_none() => {
                served = Some(outcome);
                by.get_or_insert(By::Itself);
                hub.end_within(AT_ONCE);
            }
            end = lifetime.over(), if !lapsed && !due => {
                by.get_or_insert(By::Itself);
                (lapsed, due) = (end == Ending::Lease, end == Ending::Deadline);
                hub.end_within(if lapsed { IN_PEACE } else { AT_ONCE });
            }
            _ = lifetime.deadline(), if lapsed && !due => {
                due = true;
                hub.end_within(AT_ONCE);
            }
            () = signals.next() => {
                told = true;
                by.get_or_insert(By::Signal);
                hub.ended_by_others(AT_ONCE);
            }
            over = hub.over() => {
                over?;
                break;
            }
        }
    }
    if served.is_none() {
        served = last_words(tunnels, &hub).await;
    }
    if rests && !told && (lapsed || due) {
        // Started again it would only end again: whoever has made the pod removes it.
        signals.next().await;
    }
    served.unwrap_or(Ok(()))?;
    Ok(by.unwrap_or(By::Itself))
}

/// Lets tunnels write what they were told last; how they ended, if they have.
async fn last_words<T>(tunnels: Pin<&mut impl Future<Output = T>>, hub: &HubHandle) -> Option<T> {
    tokio::select! {
        outcome = tunnels => Some(outcome),
        () = hub.written(WRITTEN_WITHIN) => None,
    }
}

/// Does what it was ordered to before any laptop is there, and says what of it is refused.
async fn stand_in_for_the_laptop(orders: Orders, hub: HubHandle, name: String, has_captured: bool) {
    for refused in stand_in::begin(orders, &hub, &name, unix_millis(), has_captured).await {
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(io::stderr(), "nodewatch-agent: {refused}");
    }
}

/// Serves other tunnels on the socket too. The one on standard input and output goes on without them.
fn share(path: PathBuf, hub: HubHandle) {
    tokio::spawn(async move {
        if let Err(error) = server::listen(&path, hub).await {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(io::stderr(), "nodewatch-agent: {}", chain(&error));
        }
    });
}

/// Waits for the disk, and for what is torn to be mended.
fn open(folder: &Path, stdio: bool, hostname: &str, limits: &Limits) -> anyhow::Result<(Ring, Lifetime)> {
    let store = Store::open(folder)?;
    // First, as it is refused while another agent uses the folder, whose terms these are.
    let ring = Ring::open(store, hostname)?;
    // An agent on a pipe ends with it, and the next one is another.
    let file = (!stdio).then(|| folder.join("terms.json"));
    let lifetime = Lifetime::begin(limits.deadline, limits.lease, file);
    if let Some(limit) = limits.ring {
        ring.limit_volume(limit);
    }
    Ok((ring, lifetime))
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
