//! The capture thread: from the rings of all interfaces to statistics and output.
//!
//! Owns the thread, its stop and its limits. Never waits for disk or network while packets come.

use std::{
    ops::ControlFlow,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use nodewatch_filter::FilterError;
use nodewatch_protocol::{
    CaptureRecord, CaptureSpec, Dropped, InterfaceDrops, PendingFreeze, Share, Statistics, StopReason, UnixMillis,
    Window,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::{
    decode::{self, Link},
    interfaces,
    output::{Channel, Moment, Origin, Output},
    own::OwnTraffic,
    source::{PacketRing, RETIRE_MILLIS, RawPacket, RingError},
    statistics::Counters,
    writer::Writer,
};
use crate::ring::Ring;

/// A capture could not be started; nothing runs and no file was begun.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An interface that this node does not have.
    #[error("no interface {name:?} on this node; it has {}", known.join(", "))]
    NoInterface {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// None was named and none qualifies.
    #[error("this node has no interface to capture on by default")]
    NoDefault,
    /// The interface's packets begin with a header that this program does not read.
    #[error("interface {interface:?} has link type {link_type}, which is not supported")]
    LinkType {
        /// Its name.
        interface: String,
        /// libpcap's name of it.
        link_type: String,
    },
    /// The filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The kernel's packet ring.
    #[error("cannot capture on interface {interface:?}")]
    Ring {
        /// The interface.
        interface: String,
        /// Why.
        source: RingError,
    },
    /// Threads or wake-ups.
    #[error("cannot start the capture threads")]
    Threads(#[source] std::io::Error),
}

/// What a running capture tells.
#[derive(Debug)]
pub enum CaptureEvent {
    /// Once a second, and once at the end.
    Statistics(Box<Statistics>),
    /// Files cannot be written any more.
    Failed(String),
    /// An interface is in trouble; the capture goes on.
    Trouble(String),
    /// All files are closed; the last event.
    Ended(StopReason),
}

/// What a capture needs to start.
pub struct Start {
    /// What to capture; its interfaces are ignored in favour of `interfaces`.
    pub spec: CaptureSpec,
    /// The interfaces to capture on, by name.
    pub interfaces: Vec<String>,
    /// The interfaces there are.
    pub known: Vec<nodewatch_protocol::Interface>,
    /// Where files go.
    pub ring: Ring,
    /// For the files' headers.
    pub hostname: String,
    /// Why there is nothing before the first file; empty for no such reason.
    pub gap: String,
    /// Connections that are left out.
    pub own: OwnTraffic,
}

/// A running capture. It ends when told to or at its limits; dropping this value stops it too.
pub struct Capture {
    stop: Arc<OnceLock<StopReason>>,
    wake: Arc<OwnedFd>,
    /// When it began.
    pub since: UnixMillis,
}

impl Capture {
    /// Opens every ring with its compiled filter, then starts the threads. `notify` is called from both of them.
    pub fn start<N>(start: Start, notify: N) -> Result<Self, StartError>
    where
        N: Fn(CaptureEvent) + Clone + Send + 'static,
    {
        let sources = open_sources(&start)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| StartError::Threads(errno.into()))?;
        let wake = Arc::new(wake);
        let stop = Arc::new(OnceLock::new());

        let (jobs, job_queue) = mpsc::channel();
        let (give_back, empty) = mpsc::channel();
        let tell = notify.clone();
        let to_event = move |message| tell(CaptureEvent::Failed(message));
        let now = Moment::now();
        start.ring.capture_began(CaptureRecord {
            since: now.unix_millis(),
            interfaces: start.interfaces.clone(),
            spec: start.spec.clone(),
            ended: None,
            boot: crate::clock::Clock::system().boot().as_millis(),
            resumes: None,
        });
        let ring = start.ring.clone();
        let writer = Writer::spawn(start.ring, start.spec.recorder, job_queue, give_back, to_event)
            .map_err(StartError::Threads)?;

        let origin = Origin { hostname: &start.hostname, gap: &start.gap };
        let (channels, rings) = sources.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        let engine = Engine {
            output: Output::begin(jobs, empty, &start.spec, &channels, origin, ring.sequence(), now),
            passed: vec![0; channels.len()],
            seen: vec![0; channels.len()],
            interface_drops_before: channels.iter().map(|one| interfaces::receive_drops(&one.name)).collect(),
            channels,
            rings,
            counters: Counters::default(),
            left_out: Share::default(),
            own: start.own,
            ring: ring.clone(),
            spec: start.spec,
            began: now,
            window: (now.instant, Share::default()),
            wake: Arc::clone(&wake),
            stop: Arc::clone(&stop),
            notify,
        };
        thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || {
                let (reason, notify) = engine.run();
                // The last file is closed before the end is told.
                let reason = if writer.join().is_ok() { reason } else { failed("the writer thread panicked") };
                ring.capture_ended(Moment::now().unix_millis(), reason.clone());
                notify(CaptureEvent::Ended(reason));
            })
            .map_err(StartError::Threads)?;
        Ok(Self { stop, wake, since: now.unix_millis() })
    }

    /// Asks the capture to end; [`CaptureEvent::Ended`] follows when its files are closed.
    pub fn stop(&self, reason: StopReason) {
        // The first reason stands.
        let _ = self.stop.set(reason);
        // A full counter means that a wake-up is already pending.
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop(StopReason::AgentEnds);
    }
}

fn failed(message: &str) -> StopReason {
    StopReason::Failed { message: message.to_owned() }
}

fn open_sources(start: &Start) -> Result<Vec<(Channel, PacketRing)>, StartError> {
    if start.interfaces.is_empty() {
        return Err(StartError::NoDefault);
    }
    let filter = start.spec.filter.as_deref().unwrap_or_default();
    let open = |name: &String| {
        let missing = || StartError::NoInterface {
            name: name.clone(),
            known: start.known.iter().map(|interface| interface.name.clone()).collect(),
        };
        let index = nix::net::if_::if_nametoindex(name.as_str()).map_err(|_| missing())?;
        let compiled = nodewatch_filter::compile(name, filter, start.spec.snaplen)?;
        let link = Link::from_number(compiled.link_type)
            .ok_or(StartError::LinkType { interface: name.clone(), link_type: compiled.link_name })?;
        let ring = PacketRing::open(index, compiled.program.get_instructions(), start.interfaces.len())
            .map_err(|source| StartError::Ring { interface: name.clone(), source })?;
        let channel =
            Channel { name: name.clone(), link, packets: 0, delivered: 0, kernel_drops: 0, interface_drops: 0 };
        Ok((channel, ring))
    };
    start.interfaces.iter().map(open).collect()
}

struct Engine<N> {
    channels: Vec<Channel>,
    rings: Vec<PacketRing>,
    interface_drops_before: Vec<Option<u64>>,
    /// Packets that the kernel says it has put into each ring.
    passed: Vec<u64>,
    /// Packets taken out of each ring so far.
    seen: Vec<u64>,
    counters: Counters,
    /// This product's own packets, which are in no count and no file.
    left_out: Share,
    own: OwnTraffic,
    ring: Ring,
    output: Output,
    spec: CaptureSpec,
    began: Moment,
    /// When the last statistics were made, and the totals then.
    window: (Instant, Share),
    wake: Arc<OwnedFd>,
    stop: Arc<OnceLock<StopReason>>,
    notify: N,
}

impl<N: Fn(CaptureEvent)> Engine<N> {
    fn run(mut self) -> (StopReason, N) {
        self.output.bound_file(self.ring.limit() / 4);
        let mut next_tick = self.began.instant + Duration::from_secs(1);
        let reason = loop {
            if let Some(reason) = self.stop.get() {
                let reason = reason.clone();
                break self.drain_to_the_end().unwrap_or(reason);
            }
            let now = Instant::now();
            if now >= next_tick {
                self.tick();
                next_tick += Duration::from_secs(1);
                continue;
            }
            if let Some(limit) = self.spec.limit_seconds
                && now.duration_since(self.began.instant) >= limit.duration()
            {
                break self.drain_to_the_end().unwrap_or(StopReason::TimeLimit);
            }
            self.wait(next_tick.duration_since(now));
            if let ControlFlow::Break(reason) = self.drain() {
                break reason;
            }
        };
        self.tick();
        let freezes = self.freezes();
        self.output.end(&self.channels, &freezes, Moment::now());
        (reason, self.notify)
    }

    fn wait(&self, at_most: Duration) {
        let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
        let mut descriptors: Vec<PollFd<'_>> =
            self.rings.iter().map(|ring| PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN)).collect();
        descriptors.push(PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN));
        // An interrupted wait is a short one: the loop comes round again.
        let _ = poll(&mut descriptors, Some(&timeout));
        for (index, descriptor) in descriptors.iter().take(self.rings.len()).enumerate() {
            // Reading the pending error clears it; otherwise every poll would return at once.
            if descriptor.revents().contains(PollFlags::ERR)
                && let Some(error) = self.rings[index].pending_error()
            {
                (self.notify)(CaptureEvent::Trouble(format!("interface {}: {error}", self.channels[index].name)));
            }
        }
    }

    /// Takes what the rings hold. Breaks at a limit.
    fn drain(&mut self) -> ControlFlow<StopReason> {
        let Self { channels, rings, counters, output, spec, seen, own, left_out, .. } = self;
        let mut reached = None;
        for (index, ring) in rings.iter_mut().enumerate() {
            let loopback = channels[index].name == "lo";
            ring.drain(|packet| {
                seen[index] += 1;
                // Loopback shows every packet twice, going out and coming in.
                if loopback && packet.outgoing {
                    return ControlFlow::Continue(());
                }
                let headers = decode::headers(channels[index].link, packet.data);
                if !spec.include_own && headers.tuple.as_ref().is_some_and(|tuple| own.has(tuple)) {
                    left_out.packets += 1;
                    left_out.bytes += u64::from(packet.wire_length);
                    return ControlFlow::Continue(());
                }
                let kept = decode::kept(spec.content, &headers, packet.data.len());
                if spec.limit_bytes.is_some_and(|limit| output.total_bytes + kept as u64 > limit) {
                    reached = Some(StopReason::ByteLimit);
                    return ControlFlow::Break(());
                }
                counters.count(&headers, packet.wire_length);
                let taken = output.packet(channels, index, &RawPacket { data: &packet.data[..kept], ..packet });
                // Only now: a file that this packet has closed does not count it.
                channels[index].packets += 1;
                channels[index].delivered += u64::from(taken);
                if spec.limit_packets.is_some_and(|limit| counters.total().packets >= limit) {
                    reached = Some(StopReason::PacketLimit);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            if let Some(reason) = reached {
                return ControlFlow::Break(reason);
            }
        }
        ControlFlow::Continue(())
    }

    /// After a stop: lets no more packets in, then takes those that the kernel has counted but not handed over yet.
    fn drain_to_the_end(&mut self) -> Option<StopReason> {
        for ring in &self.rings {
            if let Err(error) = ring.refuse_further() {
                (self.notify)(CaptureEvent::Trouble(crate::error::chain(&error)));
            }
        }
        let deadline = Instant::now() + Duration::from_millis(3 * u64::from(RETIRE_MILLIS));
        loop {
            self.read_drops();
            if let ControlFlow::Break(reason) = self.drain() {
                return Some(reason);
            }
            let complete = self.seen.iter().zip(&self.passed).all(|(seen, passed)| seen >= passed);
            if complete || Instant::now() >= deadline {
                return None;
            }
            // The wake-up descriptor is readable for good now, so poll would not wait.
            thread::sleep(Duration::from_millis(u64::from(RETIRE_MILLIS) / 10));
        }
    }

    fn read_drops(&mut self) {
        for (index, ring) in self.rings.iter().enumerate() {
            let channel = &mut self.channels[index];
            if let Ok((seen, dropped)) = ring.counts() {
                channel.kernel_drops += dropped;
                self.passed[index] += seen.saturating_sub(dropped);
            }
            if let (Some(before), Some(now)) =
                (self.interface_drops_before[index], interfaces::receive_drops(&channel.name))
            {
                channel.interface_drops = now.saturating_sub(before);
            }
        }
    }

    fn tick(&mut self) {
        self.read_drops();
        let now = Moment::now();
        let freezes = self.freezes();
        // Several files, so that the oldest can go while the newest grows.
        self.output.bound_file(self.ring.limit() / 4);
        self.output.tick(&self.channels, &freezes, now);
        let statistics = self.statistics(now);
        (self.notify)(CaptureEvent::Statistics(Box::new(statistics)));
    }

    fn freezes(&self) -> Vec<PendingFreeze> {
        if self.spec.recorder.is_some() { self.ring.freezes() } else { Vec::new() }
    }

    fn statistics(&mut self, now: Moment) -> Statistics {
        let total = self.counters.total();
        let (last, before) = std::mem::replace(&mut self.window, (now.instant, total));
        let (flows_tracked, flows_overflow) = self.counters.flow_table();
        Statistics {
            at: now.unix_millis(),
            elapsed: now.instant.duration_since(self.began.instant).as_millis() as u64,
            packets: total.packets,
            bytes: total.bytes,
            window: Window {
                millis: now.instant.duration_since(last).as_millis() as u64,
                packets: total.packets - before.packets,
                bytes: total.bytes - before.bytes,
            },
            dropped: Dropped {
                kernel: self.channels.iter().map(|channel| channel.kernel_drops).sum(),
                interface: self.channels.iter().map(|channel| channel.interface_drops).sum(),
                queue: self.output.queue_drops,
            },
            interfaces: self
                .channels
                .iter()
                .map(|channel| InterfaceDrops {
                    name: channel.name.clone(),
                    packets: channel.packets,
                    kernel: channel.kernel_drops,
                    interface: channel.interface_drops,
                })
                .collect(),
            mix: self.counters.mix(),
            sizes: self.counters.sizes(),
            flows: self.counters.top_flows(),
            flows_tracked,
            flows_overflow,
            left_out: self.left_out,
        }
    }
}
