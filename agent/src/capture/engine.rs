//! The capture thread: from the rings of all interfaces to statistics and output.
//!
//! Owns the thread, its stop and its limits. Never waits for disk or network while packets come.

use std::{
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

use nodewatch_protocol::{
    CaptureRecord, CaptureSpec, Content, Dropped, InterfaceDrops, InterfaceState, PendingFreeze, Share, Statistics,
    StopReason, UnixMillis, Window,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::{
    decode::{self, Fragments, Link},
    devices::Devices,
    open::{self, Opened},
    output::{Channel, Moment, Origin, Output, Ways},
    own::OwnTraffic,
    packet::RawPacket,
    source::{PacketRing, RETIRE_MILLIS},
    start::{self, Beginning, How, Start, StartError, Word},
    statistics::Counters,
    taps::Tap,
    watch::{self, News, Order, Sight, Wanted},
    writer::Writer,
};
use crate::ring::Ring;

/// How long a disk may take to have the end of a capture written before that is told.
const REMEMBERED_WITHIN: Duration = Duration::from_secs(2);

/// What a running capture tells.
#[derive(Debug)]
pub enum CaptureEvent {
    /// Once a second, and once at the end.
    Statistics(Box<Statistics>),
    /// Files cannot be written any more.
    Failed(String),
    /// An interface is in trouble; the capture goes on.
    Trouble(String),
    /// Something that is worth knowing; nothing is missing.
    Note(String),
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
    /// When it began.
    pub since: UnixMillis,
    /// The interfaces that it reads, or will when they are there.
    pub interfaces: Vec<String>,
}

impl Capture {
    /// Opens every ring with its compiled filter, then starts the threads. This may take a while: libpcap compiles, the
    /// kernel makes rings. `notify` is called from all of the threads.
    pub fn start<N>(start: Start, notify: N) -> Result<Self, StartError>
    where
        N: Fn(CaptureEvent) + Clone + Send + 'static,
    {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| StartError::Threads(errno.into()))?;
        let wake = Arc::new(wake);
        let stop = Arc::new(OnceLock::new());
        let (engine, writer) = begin(start, Arc::clone(&wake), Arc::clone(&stop), notify)?;
        let since = engine.began.unix_millis();
        let interfaces = engine.taps.iter().map(|tap| tap.name.clone()).collect();
        let ring = engine.ring.clone();
        thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || {
                let ring = engine.ring.clone();
                let (reason, rings, notify) = engine.run();
                // The last file is closed before the end is told.
                let reason = if writer.join().is_ok() { reason } else { failed("the writer thread panicked") };
                ring.capture_ended(Moment::now().unix_millis(), reason.clone());
                // Whoever hears of the end may end this process: one that comes after it must not go on with the capture.
                ring.wait_remembered(REMEMBERED_WITHIN);
                notify(CaptureEvent::Ended(reason));
                open::close(rings);
            })
            .map_err(|error| {
                ring.capture_ended(Moment::now().unix_millis(), failed(&error.to_string()));
                StartError::Threads(error)
            })?;
        Ok(Self { stop, wake, since, interfaces })
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
    notify: N,
) -> Result<(Engine<N>, thread::JoinHandle<()>), StartError>
where
    N: Fn(CaptureEvent) + Clone + Send + 'static,
{
    let mut devices = Devices::open().map_err(StartError::Devices)?;
    let Beginning { interfaces, said, opener } = start::begin(&start, &mut devices)?;

    let now = Moment::now();
    let mut taps: Vec<Tap> = Vec::new();
    let mut channels: Vec<Channel> = Vec::new();
    let mut feeds: Vec<Feed> = Vec::new();
    let mut left_out = Vec::new();
    for one in interfaces {
        let channel = channels.len();
        let (link, snaplen) = match &one.how {
            How::Open(opened) => (opened.link, opened.snaplen),
            How::Down(hardware) => (Link::likely(*hardware), start.spec.snaplen),
            How::Gone => (Link::Ethernet, start.spec.snaplen),
            How::LeftOut => {
                left_out.push(one.name);
                continue;
            }
        };
        channels.push(Channel::new(&one.name, link, snaplen));
        let mut tap = Tap::new(one.name, channel);
        // What is missing at the beginning has been said.
        match one.how {
            How::Open(opened) => {
                tap.reading(opened.index, opened.lost, &mut channels, now);
                feeds.push(Feed { ring: opened.ring, tap: taps.len(), channel, until: None });
            }
            How::Down(_) => drop(tap.missing(InterfaceState::Down, &mut channels, now)),
            How::Gone | How::LeftOut => drop(tap.missing(InterfaceState::Gone, &mut channels, now)),
        }
        taps.push(tap);
    }

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
    let wanted = taps.iter().map(|tap| Wanted::new(tap.name.clone(), tap.index)).collect();
    let (orders, news) = watch::spawn(wanted, devices, opener, Arc::clone(&wake)).map_err(StartError::Threads)?;

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

/// One ring, and where its packets go.
struct Feed {
    ring: PacketRing,
    tap: usize,
    channel: usize,
    /// Its interface is gone: it is closed then, or when nothing is left in it.
    until: Option<Instant>,
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
    fn run(mut self) -> (StopReason, Vec<PacketRing>, N) {
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
            if let ControlFlow::Break(reason) = self.drain() {
                break reason;
            }
        };
        self.tick();
        let freezes = self.freezes();
        self.output.end(&self.channels, &freezes, Moment::now());
        (reason, self.feeds.into_iter().map(|feed| feed.ring).collect(), self.notify)
    }

    fn wait(&mut self, at_most: Duration) {
        let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
        let mut descriptors: Vec<PollFd<'_>> =
            self.feeds.iter().map(|feed| PollFd::from_borrowed_fd(feed.ring.as_fd(), PollFlags::IN)).collect();
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

    /// A ring has an error: mostly, its interface is down or gone.
    fn failed(&mut self, index: usize) {
        let feed = &mut self.feeds[index];
        // Reading the pending error clears it; otherwise every poll would return at once.
        let Some(error) = feed.ring.pending_error() else { return };
        if feed.until.is_some() {
            return;
        }
        let tap = feed.tap;
        let state = match error.raw_os_error() {
            Some(libc::ENETDOWN | libc::ENODEV) if feed.ring.is_bound() => InterfaceState::Down,
            Some(libc::ENETDOWN | libc::ENODEV) => InterfaceState::Gone,
            _ => {
                let message = format!("interface {}: {error}", self.taps[tap].name);
                return (self.notify)(CaptureEvent::Trouble(message));
            }
        };
        self.missing(tap, state);
        let tap_now = &mut self.taps[tap];
        tap_now.asked += 1;
        // The thread that looks lives for as long as this end of the way to it.
        let _ = self.orders.send(Order::Look { tap, index: tap_now.index, number: tap_now.asked });
    }

    fn missing(&mut self, tap: usize, state: InterfaceState) {
        let line = self.taps[tap].missing(state, &mut self.channels, Moment::now());
        if self.taps[tap].index.is_none() {
            self.retire(tap);
        }
        if let Some(line) = line {
            (self.notify)(CaptureEvent::Trouble(line));
        }
    }

    /// The ring of that interface brings nothing new; what is in it is still taken.
    fn retire(&mut self, tap: usize) {
        let until = Instant::now() + Duration::from_millis(3 * u64::from(RETIRE_MILLIS));
        for feed in self.feeds.iter_mut().filter(|feed| feed.tap == tap) {
            feed.until.get_or_insert(until);
        }
    }

    /// What the thread that looks after the interfaces has seen.
    fn hear(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            for News { tap, number, sight } in news {
                // Seen before the last that is known here.
                let old = number < self.taps[tap].asked;
                match sight {
                    Sight::Opened(opened) => self.back(tap, *opened),
                    Sight::Up(lost) if !old => self.up(tap, None, lost),
                    Sight::Renamed(name, lost) if !old => self.up(tap, Some(&name), lost),
                    Sight::Down if !old => self.missing(tap, InterfaceState::Down),
                    Sight::Gone if !old => self.missing(tap, InterfaceState::Gone),
                    Sight::Unreadable(reason) if !old => {
                        if self.taps[tap].state != InterfaceState::LeftOut {
                            let line =
                                format!("interface {} is there and cannot be read: {reason}", self.taps[tap].name);
                            (self.notify)(CaptureEvent::Trouble(line));
                        }
                        self.missing(tap, InterfaceState::LeftOut);
                    }
                    _ => {}
                }
            }
        }
    }

    /// The device that is read is up, perhaps under another name than it was asked for by.
    fn up(&mut self, tap: usize, name: Option<&str>, lost: u64) {
        let channel = self.taps[tap].channel();
        self.channels[channel].interface_drops += self.taps[tap].losses(lost);
        if self.taps[tap].state != InterfaceState::Reading
            && let Some(index) = self.taps[tap].index
        {
            self.reading(tap, index, lost);
        }
        if let Some(line) = self.taps[tap].called(name, &mut self.channels, Moment::now()) {
            (self.notify)(CaptureEvent::Trouble(line));
        }
    }

    fn reading(&mut self, tap: usize, index: u32, lost: u64) {
        let line = self.taps[tap].reading(index, lost, &mut self.channels, Moment::now());
        if let Some(line) = line {
            // That it was away has been told, and is the trouble.
            (self.notify)(CaptureEvent::Note(line));
        }
    }

    /// An interface is there under its name, perhaps another one with another link type.
    fn back(&mut self, tap: usize, opened: Opened) {
        self.retire(tap);
        if let Some(line) = self.taps[tap].replaced(opened.index, &mut self.channels, Moment::now()) {
            (self.notify)(CaptureEvent::Trouble(line));
        }
        let words = start::about(&self.taps[tap].name, &opened, self.spec.content, self.spec.snaplen);
        let Opened { index, link, snaplen, ring, lost, .. } = opened;
        self.reading(tap, index, lost);
        let same = |&channel: &usize| self.channels[channel].link == link;
        let channel = self.taps[tap].channels.iter().copied().find(same).unwrap_or_else(|| {
            self.channels.push(Channel::new(&self.taps[tap].name, link, snaplen));
            self.output.joined(&self.channels, &self.spec);
            // One that comes back as it was has had it said.
            for word in words {
                (self.notify)(word.into());
            }
            self.channels.len() - 1
        });
        let channels = &mut self.taps[tap].channels;
        channels.retain(|&one| one != channel);
        channels.push(channel);
        self.feeds.push(Feed { ring, tap, channel, until: None });
    }

    /// Takes what the rings hold. Breaks at a limit.
    fn drain(&mut self) -> ControlFlow<StopReason> {
        let Self { channels, feeds, counters, fragments, output, spec, own, left_out, .. } = self;
        let mut reached = None;
        for Feed { ring, channel, .. } in feeds.iter_mut() {
            let index = *channel;
            let link = channels[index].link;
            ring.drain(|packet| {
                let headers = decode::headers(link, packet.data);
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
            if let Err(error) = feed.ring.refuse_further() {
                (self.notify)(CaptureEvent::Trouble(crate::error::chain(&error)));
            }
        }
        let deadline = Instant::now() + Duration::from_millis(3 * u64::from(RETIRE_MILLIS));
        loop {
            self.read_drops();
            if let ControlFlow::Break(reason) = self.drain() {
                return Some(reason);
            }
            if self.feeds.iter().all(|feed| feed.ring.is_drained()) || Instant::now() >= deadline {
                return None;
            }
            // The wake-up descriptor may be readable, so poll might not wait.
            thread::sleep(Duration::from_millis(u64::from(RETIRE_MILLIS) / 10));
        }
    }

    fn read_drops(&mut self) {
        for Feed { ring, channel, .. } in &mut self.feeds {
            if let Ok(dropped) = ring.drops() {
                self.channels[*channel].kernel_drops += dropped;
            }
        }
    }

    /// Hands over the rings of interfaces that are gone once they are empty, to be closed elsewhere.
    fn close_retired(&mut self) {
        let now = Instant::now();
        let over = |feed: &mut Feed| feed.until.is_some_and(|until| now >= until);
        let rings: Vec<PacketRing> = self.feeds.extract_if(.., over).map(|feed| feed.ring).collect();
        if !rings.is_empty() {
            // The thread that looks lives for as long as this end of the way to it.
            let _ = self.orders.send(Order::Close(rings));
        }
    }

    fn tick(&mut self) {
        self.read_drops();
        self.close_retired();
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
                queue: self.output.dropped(),
            },
            interfaces: self.interfaces(now.instant),
            mix: self.counters.mix(),
            sizes: self.counters.sizes(),
            flows: self.counters.top_flows(),
            flows_tracked,
            flows_overflow,
            left_out: self.left_out,
        }
    }
    fn interfaces(&self, now: Instant) -> Vec<InterfaceDrops> {
        let read = self.taps.iter().map(|tap| {
            let channels = || tap.channels.iter().map(|&channel| &self.channels[channel]);
            InterfaceDrops {
                name: tap.name.clone(),
                packets: channels().map(|channel| channel.packets).sum(),
                kernel: channels().map(|channel| channel.kernel_drops).sum(),
                interface: channels().map(|channel| channel.interface_drops).sum(),
                gap_millis: tap.gap(now).as_millis() as u64,
                state: tap.state,
            }
        });
        let left_out = self.left_out_names.iter().map(|name| InterfaceDrops {
            name: name.clone(),
            packets: 0,
            kernel: 0,
            interface: 0,
            gap_millis: 0,
            state: InterfaceState::LeftOut,
        });
        read.chain(left_out).collect()
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
