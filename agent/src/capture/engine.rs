//! The capture thread: from the packet sockets of all interfaces to statistics and output.
//!
//! Owns the thread, its stop and its limits. Never waits for disk or network while packets come.

mod figures;
mod outages;
mod shown;

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, OnceLock,
        atomic::AtomicU64,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use nodewatch_analysis::decode::{self, Fragments, Link};
use nodewatch_protocol::{
    CaptureRecord, CaptureSpec, Content, InterfaceState, PendingFreeze, Share, Statistics, StopReason, Symptoms,
    UnixMillis,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::{
    channel::Channel,
    devices::Devices,
    open,
    output::{Origin, Output, Ways},
    own::OwnTraffic,
    packet::RawPacket,
    source::{PacketSocket, RETIRE_MILLIS},
    start::{self, Beginning, Chosen, How, Start, StartError, Word},
    statistics::Counters,
    taps::Tap,
    watch::{self, News, Order, Wanted},
    writer::Writer,
};
use crate::{
    moment::Moment,
    ring::Ring,
    symptoms::{Analyst, Lag},
};
pub use shown::Ask;
use shown::Shown;

/// How long a disk may take to have the end of a capture written before that is told.
const REMEMBERED_WITHIN: Duration = Duration::from_secs(2);

/// What a running capture tells.
#[derive(Debug)]
pub enum CaptureEvent {
    /// Once a second, and once at the end.
    Statistics(Box<Statistics>),
    /// What the packets show, once a second while somebody is there to be told.
    Symptoms(Box<Symptoms>),
    /// Files cannot be written any more.
    Failed(String),
    /// An interface is in trouble; the capture goes on.
    Trouble(String),
    /// Something that is worth knowing; nothing is missing.
    Note(String),
    /// That interface of a pod is captured too from now on.
    Joined(String),
    /// No more packets are read; files are still to be closed.
    Closing(StopReason),
    /// All files are closed; the last event.
    Ended(StopReason),
}

impl From<Word> for CaptureEvent {
    fn from(word: Word) -> Self {
        match word {
            Word::Trouble(line) => Self::Trouble(line),
            Word::Note(line) => Self::Note(line),
        }
    }
}

/// A running capture. It ends when told to or at its limits; dropping this value stops it too.
pub struct Capture {
    stop: Arc<OnceLock<StopReason>>,
    wake: Arc<OwnedFd>,
    asks: Sender<Ask>,
    /// When it began.
    pub since: UnixMillis,
    /// The interfaces that it reads, or will when they are there.
    pub interfaces: Vec<String>,
}

impl Capture {
    /// Opens every packet socket with its compiled filter, then starts the threads. This may take a while: libpcap
    /// compiles, the kernel allocates their memory. `notify` is called from all of the threads.
    pub fn start<N>(start: Start, notify: N) -> Result<Self, StartError>
    where
        N: Fn(CaptureEvent) + Clone + Send + 'static,
    {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| StartError::Threads(errno.into()))?;
        let wake = Arc::new(wake);
        let stop = Arc::new(OnceLock::new());
        let (asks, asked) = mpsc::channel();
        let (engine, writer) = begin(start, Arc::clone(&wake), Arc::clone(&stop), asked, notify)?;
        let since = engine.began.unix_millis();
        let interfaces = engine.taps.iter().map(|tap| tap.name.clone()).collect();
        let ring = engine.ring.clone();
        thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || {
                let ring = engine.ring.clone();
                let (reason, sockets, notify) = engine.run();
                notify(CaptureEvent::Closing(reason.clone()));
                // The last file is closed before the end is told.
                let reason = if writer.join().is_ok() { reason } else { failed("the writer thread panicked") };
                ring.capture_ended(Moment::now().unix_millis(), reason.clone());
                // Whoever hears of the end may end this process: one that comes after it must not go on with the
                // capture.
                ring.wait_remembered(REMEMBERED_WITHIN);
                notify(CaptureEvent::Ended(reason));
                open::close(sockets);
            })
            .map_err(|error| {
                ring.capture_ended(Moment::now().unix_millis(), failed(&error.to_string()));
                StartError::Threads(error)
            })?;
        Ok(Self { stop, wake, asks, since, interfaces })
    }

    /// The way to ask for symptoms of its packets, or for none any more.
    pub fn asks(&self) -> Sender<Ask> {
        self.asks.clone()
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

/// Opens what there is to open and begins the first file.
fn begin<N>(
    start: Start,
    wake: Arc<OwnedFd>,
    stop: Arc<OnceLock<StopReason>>,
    asked: Receiver<Ask>,
    notify: N,
) -> Result<(Engine<N>, thread::JoinHandle<()>), StartError>
where
    N: Fn(CaptureEvent) + Clone + Send + 'static,
{
    let mut devices = Devices::open().map_err(StartError::Devices)?;
    let Beginning { interfaces, said, opener } = start::begin(&start, &mut devices)?;
    let Chosen { led, toward, .. } = start.chosen;

    let now = Moment::now();
    let Tapped { taps, channels, feeds, left_out } = tap(interfaces, &led, &start.spec, now);

    let (jobs, job_queue) = mpsc::channel();
    let (give_back, empty) = mpsc::channel();
    let tell = notify.clone();
    let to_event = move |message| tell(CaptureEvent::Failed(message));
    let record = CaptureRecord {
        since: now.unix_millis(),
        interfaces: taps.iter().map(|tap| tap.name.clone()).collect(),
        spec: start.spec.clone(),
        ended: None,
        boot: now.boot.as_millis(),
        resumes: None,
    };
    let lost = Arc::new(AtomicU64::new(0));
    let ring = start.ring.clone();
    let writer = Writer::spawn(start.ring, start.spec.recorder, job_queue, give_back, Arc::clone(&lost), to_event)
        .map_err(StartError::Threads)?;
    let wanted = taps.iter().map(|tap| Wanted::new(tap.name.clone(), tap.index, tap.led)).collect();
    let (orders, news) =
        watch::spawn(wanted, toward, devices, opener, Arc::clone(&wake)).map_err(StartError::Threads)?;

    for word in said {
        notify(word.into());
    }
    // Only what can begin is remembered as running.
    ring.capture_began(record, !start.gap.is_empty());
    let ways = Ways { jobs, empty, lost, sequence: ring.sequence() };
    let origin = Origin { hostname: &start.hostname, gap: &start.gap, left_out: &left_out };
    let engine = Engine {
        output: Output::begin(ways, &start.spec, &channels, origin, now),
        channels,
        taps,
        feeds,
        left_out_names: left_out,
        orders,
        news,
        counters: Counters::default(),
        fragments: Fragments::default(),
        left_out: Share::default(),
        shown: Shown::new(asked, start.echoes),
        own: start.own,
        ring,
        spec: start.spec,
        began: now,
        window: (now.instant, Share::default()),
        wake,
        stop,
        notify,
    };
    Ok((engine, writer))
}

/// The interfaces of a capture as it begins.
struct Tapped {
    taps: Vec<Tap>,
    channels: Vec<Channel>,
    feeds: Vec<Feed>,
    /// Names of those that are not captured.
    left_out: Vec<String>,
}

/// Makes a channel of each interface, and reads those that are open.
fn tap(interfaces: Vec<start::Begun>, led: &BTreeSet<String>, spec: &CaptureSpec, now: Moment) -> Tapped {
    let mut taps: Vec<Tap> = Vec::new();
    let mut channels: Vec<Channel> = Vec::new();
    let mut feeds: Vec<Feed> = Vec::new();
    let mut left_out = Vec::new();
    for one in interfaces {
        let channel = channels.len();
        let (link, snaplen) = match &one.how {
            How::Open(opened) => (opened.link, opened.snaplen),
            How::Down(hardware) => (Link::likely(*hardware), spec.snaplen),
            How::Gone => (Link::Ethernet, spec.snaplen),
            How::LeftOut => {
                left_out.push(one.name);
                continue;
            }
        };
        channels.push(Channel::new(&one.name, link, snaplen));
        let led = led.contains(&one.name);
        let mut tap = Tap::new(one.name, channel);
        tap.led = led;
        // What is missing at the beginning has been said.
        match one.how {
            How::Open(opened) => {
                tap.reading(opened.index, opened.lost, &mut channels, now);
                feeds.push(Feed::new(opened.socket, taps.len(), channel));
            }
            How::Down(_) => drop(tap.missing(InterfaceState::Down, &mut channels, now)),
            How::Gone | How::LeftOut => drop(tap.missing(InterfaceState::Gone, &mut channels, now)),
        }
        taps.push(tap);
    }
    Tapped { taps, channels, feeds, left_out }
}

/// One packet socket, and where its packets go.
struct Feed {
    socket: PacketSocket,
    tap: usize,
    channel: usize,
    /// Its interface is gone: it is closed then, or when nothing is left in it.
    until: Option<Instant>,
    lag: Lag,
}

impl Feed {
    fn new(socket: PacketSocket, tap: usize, channel: usize) -> Self {
        Self { socket, tap, channel, until: None, lag: Lag::default() }
    }
}

struct Engine<N> {
    taps: Vec<Tap>,
    channels: Vec<Channel>,
    feeds: Vec<Feed>,
    /// Interfaces that cannot be read.
    left_out_names: Vec<String>,
    orders: Sender<Order>,
    news: Receiver<Vec<News>>,
    counters: Counters,
    /// Answers of DNS of which only the beginning has come.
    fragments: Fragments,
    /// This product's own packets, which are in no count and no file.
    left_out: Share,
    shown: Shown,
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
    fn run(mut self) -> (StopReason, Vec<PacketSocket>, N) {
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
                next_tick = after(next_tick, Instant::now());
            }
            if let Some(limit) = self.spec.limit_seconds
                && now.duration_since(self.began.instant) >= limit.duration()
            {
                break self.drain_to_the_end().unwrap_or(StopReason::TimeLimit);
            }
            self.wait(next_tick.saturating_duration_since(now));
            self.hear();
            self.heed();
            if let ControlFlow::Break(reason) = self.drain() {
                break reason;
            }
        };
        let now = self.count();
        self.show(now, Analyst::end);
        let freezes = self.freezes();
        self.output.end(&self.channels, &freezes, Moment::now());
        (reason, self.feeds.into_iter().map(|feed| feed.socket).collect(), self.notify)
    }

    fn wait(&mut self, at_most: Duration) {
        let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
        let mut descriptors: Vec<PollFd<'_>> =
            self.feeds.iter().map(|feed| PollFd::from_borrowed_fd(feed.socket.as_fd(), PollFlags::IN)).collect();
        descriptors.push(PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN));
        // An interrupted wait is a short one: the loop comes round again.
        let _ = poll(&mut descriptors, Some(&timeout));
        let failed: Vec<usize> = descriptors
            .iter()
            .take(self.feeds.len())
            .enumerate()
            .filter(|(_, descriptor)| descriptor.revents().contains(PollFlags::ERR))
            .map(|(index, _)| index)
            .collect();
        // It holds a count that wakes the thread until it is read.
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        for index in failed {
            self.failed(index);
        }
    }

    /// Takes what the sockets hold. Breaks at a limit.
    fn drain(&mut self) -> ControlFlow<StopReason> {
        let Self { channels, feeds, counters, fragments, output, spec, own, left_out, shown, .. } = self;
        shown.look();
        let mut reached = None;
        for Feed { socket, channel, lag, .. } in feeds.iter_mut() {
            let index = *channel;
            let link = channels[index].link;
            let mut shown = shown.of(index, &channels[index].name, || lag.passes_over(socket.is_behind()));
            socket.drain(|packet| {
                let headers = decode::headers(link, packet.data);
                if let Some(shown) = &mut shown {
                    shown.packet(link, &packet, &headers, own);
                }
                if !spec.include_own && headers.tuple.as_ref().is_some_and(|tuple| own.has(tuple)) {
                    left_out.packets += 1;
                    left_out.bytes += u64::from(packet.wire_length);
                    return ControlFlow::Continue(());
                }
                let whole = spec.content == Content::Dns
                    && headers.fragment.is_some()
                    && fragments.are_dns(&headers, packet.nanos);
                let kept =
                    if whole { packet.data.len() } else { decode::kept(spec.content, &headers, packet.data.len()) };
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
        for feed in &self.feeds {
            if let Err(error) = feed.socket.refuse_further() {
                (self.notify)(CaptureEvent::Trouble(crate::error::chain(&error)));
            }
        }
        let deadline = Instant::now() + Duration::from_millis(3 * u64::from(RETIRE_MILLIS));
        loop {
            self.read_drops();
            if let ControlFlow::Break(reason) = self.drain() {
                return Some(reason);
            }
            if self.feeds.iter().all(|feed| feed.socket.is_drained()) || Instant::now() >= deadline {
                return None;
            }
            // The wake-up descriptor may be readable, so poll might not wait.
            thread::sleep(Duration::from_millis(u64::from(RETIRE_MILLIS) / 10));
        }
    }

    fn read_drops(&mut self) {
        for Feed { socket, channel, .. } in &mut self.feeds {
            if let Ok(dropped) = socket.drops() {
                self.channels[*channel].kernel_drops += dropped;
            }
        }
    }

    fn tick(&mut self) {
        let now = self.count();
        self.show(now, Analyst::tell);
    }

    /// Tells what was captured since the last time, and when this is.
    fn count(&mut self) -> Moment {
        self.read_drops();
        self.close_retired();
        let now = Moment::now();
        let freezes = self.freezes();
        // Several files, so that the oldest can go while the newest grows.
        self.output.bound_file(self.ring.limit() / 4);
        self.output.tick(&self.channels, &freezes, now);
        let statistics = self.statistics(now);
        (self.notify)(CaptureEvent::Statistics(Box::new(statistics)));
        now
    }

    fn freezes(&self) -> Vec<PendingFreeze> {
        if self.spec.recorder.is_some() { self.ring.freezes() } else { Vec::new() }
    }
}

/// The next tick: a second after this one, and not before what comes in meanwhile is looked at.
fn after(tick: Instant, now: Instant) -> Instant {
    (tick + Duration::from_secs(1)).max(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_that_take_long_do_not_pile_up() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        assert_eq!(after(at(1000), at(1003)), at(2000));
        assert_eq!(after(at(1000), at(4500)), at(4500));
    }
}
