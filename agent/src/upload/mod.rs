//! Delivery: closed files from the ring to S3, each until the server has taken it with its checksum.
//!
//! Owns the workers and what is secret of a sink, which lives in memory only. A file is never removed here: the ring
//! does that when it needs room. Must not know tunnels or packets.

mod aws;
mod error;
mod http;
pub(crate) mod logs;
mod post;
mod proof;
mod queue;
mod role;
mod trust;

use std::{
    io::{self, Read, Seek},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nodewatch_protocol::{Delivery, Grant, Sink, SinkState, manifest_name};
use zstd::stream::read::Encoder;

use crate::{
    capture::own::OwnTraffic,
    error::chain,
    ring::{
        Ring,
        store::{self, hex},
    },
};
pub use error::UploadError;
use http::Http;
use queue::{Next, Queue, Verdict};
use role::Role;

/// Files under way at once.
const WORKERS: usize = 3;
/// Of compression: more costs more than it saves.
const LEVEL: i32 = 3;
/// A grant that ends in less time than this begins no upload.
const NEARLY_OVER: Duration = Duration::from_secs(2);
/// Where each manifest is an object more, there are fewer of them.
const VERSIONED_EVERY: u32 = 30;
/// Names of a ring's manifest beside its first, for after a try that the server may yet end late.
const SPARE_NAMES: u32 = 8;

/// Where files go now.
#[derive(Clone)]
enum Destination {
    Ring,
    Grant(Arc<Grant>, Http, Instant),
    Role(Arc<Role>),
}

impl Destination {
    fn is_usable(&self) -> bool {
        match self {
            Self::Ring => false,
            Self::Grant(_, _, expires) => Instant::now() + NEARLY_OVER < *expires,
            Self::Role(_) => true,
        }
    }

    /// What tells one from another, whatever the right to send there.
    fn place(&self) -> Option<(&str, &str)> {
        match self {
            Self::Ring => None,
            Self::Grant(grant, ..) => Some((&grant.url, &grant.prefix)),
            Self::Role(role) => Some((&role.sink().bucket, &role.sink().prefix)),
        }
    }

    fn packs(&self) -> bool {
        match self {
            Self::Ring => false,
            Self::Grant(grant, ..) => grant.zstd,
            Self::Role(role) => role.sink().form.zstd,
        }
    }

    fn is_versioned(&self) -> bool {
        matches!(self, Self::Role(role) if role.is_versioned())
    }
}

struct Shared {
    ring: Ring,
    http: Http,
    state: Mutex<State>,
    changed: Condvar,
    stop: AtomicBool,
}

struct State {
    destination: Destination,
    /// Counts destinations: what was on its way to the one before says nothing of this one.
    generation: u64,
    queue: Queue,
    /// Tries to send the manifest that the server may yet end late.
    late: u32,
}

/// The uploader's handle. Dropping it ends the workers after what they are doing.
pub struct Uploader {
    shared: Arc<Shared>,
}

impl Uploader {
    /// Starts the workers, which wait until they are told where to deliver.
    pub fn start(ring: Ring, traffic: OwnTraffic) -> io::Result<Self> {
        let sink = ring.list().sink;
        let state = State { destination: Destination::Ring, generation: 0, queue: Queue::default(), late: 0 };
        let shared = Arc::new(Shared {
            ring,
            http: Http::new(traffic),
            state: Mutex::new(state),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let uploader = Self { shared };
        if let Some(sink) = sink {
            uploader.set(Sink::Own(sink));
        }
        for number in 0..WORKERS {
            let shared = Arc::clone(&uploader.shared);
            thread::Builder::new().name(format!("upload-{number}")).spawn(move || work(&shared))?;
        }
        Ok(uploader)
    }

    /// The connections, for what else goes out.
    pub(crate) fn http(&self) -> Http {
        self.shared.http.clone()
    }

    /// From now on files go there.
    pub fn set(&self, sink: Sink) {
        let shared = &self.shared;
        let mut state = shared.lock();
        let destination = match (sink, &state.destination) {
            (Sink::Ring, _) => Destination::Ring,
            // Told again, as by each tunnel that comes up: its client and its credentials go on.
            (Sink::Own(sink), Destination::Role(role)) if *role.sink() == sink => Destination::Role(Arc::clone(role)),
            (Sink::Own(sink), _) => Destination::Role(Arc::new(Role::new(sink, &shared.http))),
            (Sink::Grant(grant), before) => {
                let expires = Instant::now() + grant.valid_seconds.duration();
                let http = match before {
                    Destination::Grant(old, http, _) if old.server.authorities == grant.server.authorities => {
                        http.clone()
                    }
                    _ => shared.http.for_captures(grant.server.authorities.as_deref()),
                };
                Destination::Grant(Arc::new(grant), http, expires)
            }
        };
        let elsewhere = destination.place() != state.destination.place();
        let own = match &destination {
            Destination::Role(role) => Some(role.sink().clone()),
            Destination::Ring | Destination::Grant(..) => None,
        };
        state.destination = destination;
        state.generation += 1;
        state.queue.renewed(elsewhere);
        if elsewhere && !shared.ring.list().captures.is_empty() {
            state.queue.manifest_changed();
        }
        drop(state);
        shared.ring.remember_sink(own);
        shared.changed.notify_all();
    }

    /// Where files go, for the people who watch.
    pub fn state(&self) -> SinkState {
        match &self.shared.lock().destination {
            Destination::Ring => SinkState::Ring,
            Destination::Grant(_, _, expires) => {
                let left_seconds = expires.saturating_duration_since(Instant::now()).as_secs();
                SinkState::Grant { left_seconds }
            }
            Destination::Role(_) => SinkState::Own,
        }
    }

    /// What goes along has changed: it is sent again, also when no file is.
    pub fn manifest_changed(&self) {
        self.shared.lock().queue.manifest_changed();
        self.shared.changed.notify_all();
    }

    /// There may be something to deliver.
    pub fn wake(&self) {
        // Under the lock: a worker that has just found nothing is either waiting already, or looks again.
        let there_is_a_way = self.shared.lock().destination.is_usable();
        if there_is_a_way {
            self.shared.changed.notify_all();
        }
    }

    /// Nothing is under way and nothing more can go now: everything is there, or there is no way.
    pub fn is_idle(&self) -> bool {
        let state = self.shared.lock();
        if state.destination.is_usable() {
            state.queue.is_idle(self.shared.ring.to_deliver().len())
        } else {
            state.queue.is_still()
        }
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// What a worker is to do next, and for where; waits for it.
    fn next(&self) -> Option<(Destination, u64, Next)> {
        let mut state = self.lock();
        while !self.stopped() {
            let now = Instant::now();
            let mut until = None;
            if state.destination.is_usable() {
                let every = if state.destination.is_versioned() { VERSIONED_EVERY } else { 1 };
                let waiting = self.ring.to_deliver();
                let next = state.queue.next(waiting.iter().map(|file| file.name.as_str()), every, now);
                match next {
                    Next::Nothing(at) => until = at,
                    next => return Some((state.destination.clone(), state.generation, next)),
                }
            }
            // A second, in case that the ring's change came just before the wait.
            let most = Duration::from_secs(1);
            let wait = until.map_or(most, |until| until.saturating_duration_since(now).min(most));
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }

    fn deliver(&self, destination: &Destination, generation: u64, name: &str) {
        self.ring.set_delivery(name, Delivery::Sending { sent: 0 });
        match self.send(destination, name) {
            Ok(Stored { key, size, unproved }) => {
                // The ring first: nobody is to find it queued and not under way.
                self.ring.set_delivery(name, Delivery::Delivered { key, size, unproved });
                self.lock().queue.delivered(name);
            }
            Err(error) => {
                let verdict = {
                    let mut state = self.lock();
                    let current = state.generation == generation;
                    state.queue.failed(name, error.fault(), current, Instant::now())
                };
                let reason = chain(&error);
                let (waits, said) = match verdict {
                    Verdict::Again => (Delivery::Waiting { reason }, None),
                    Verdict::Never => {
                        let said = format!("{name} was not delivered and is kept in the ring: {reason}");
                        (Delivery::Lost { reason }, Some(said))
                    }
                    Verdict::Lost => {
                        let said = format!("cannot deliver {name}, its bytes are gone from the ring: {reason}");
                        (Delivery::Lost { reason }, Some(said))
                    }
                };
                let there = self.ring.set_delivery(name, waits);
                // Of one that had to go meanwhile, or was removed, that has been said.
                if let Some(said) = said.filter(|_| there) {
                    self.ring.say(said);
                }
                self.lock().queue.landed(name);
            }
        }
        self.changed.notify_all();
    }

    fn send(&self, destination: &Destination, name: &str) -> Result<Stored, UploadError> {
        let ring = &self.ring;
        let mut source = ring.store().read_from(name, 0)?;
        let (size, sha256) = store::sha256(&mut source).map_err(UploadError::Read)?;
        ring.set_checksum(name, hex(&sha256));
        let told = Mutex::new(Instant::now());
        let progress = |sent| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.elapsed() > Duration::from_millis(500) {
                *told = Instant::now();
                ring.set_delivery(name, Delivery::Sending { sent });
            }
        };
        source.rewind().map_err(UploadError::Read)?;
        if !destination.packs() {
            let piece = Piece { source: Box::new(source), size, sha256 };
            return put(destination, Object::File(name), piece, &progress);
        }
        // Twice rather than into a file of its own: the ring has no room to spare, and less when S3 was away for long.
        let mut packed = Encoder::new(&mut source, LEVEL).map_err(UploadError::Read)?;
        let (size, sha256) = store::sha256(&mut packed).map_err(UploadError::Read)?;
        drop(packed);
        source.rewind().map_err(UploadError::Read)?;
        let packed = Encoder::new(source, LEVEL).map_err(UploadError::Read)?;
        let piece = Piece { source: Box::new(packed), size, sha256 };
        put(destination, Object::File(&format!("{name}.zst")), piece, &progress)
    }

    fn deliver_manifest(&self, destination: &Destination, generation: u64) {
        let late = self.lock().late;
        let sent = self.send_manifest(destination, late);
        let mut state = self.lock();
        match sent {
            Ok(_) => state.queue.manifest_sent(),
            Err(error) => {
                if error.is_late() {
                    state.late += 1;
                }
                let current = state.generation == generation;
                let verdict = state.queue.manifest_failed(error.fault(), current, Instant::now());
                if verdict != Verdict::Again {
                    let reason = chain(&error);
                    self.ring.say(format!("the manifest of this node's captures was not delivered: {reason}"));
                }
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Sends what is remembered of the node. After tries that may end late it has another name, so that an older one
    /// never comes over a newer; whoever reads them joins them.
    fn send_manifest(&self, destination: &Destination, late: u32) -> Result<Stored, UploadError> {
        let manifest = self.ring.list();
        let name = match late % SPARE_NAMES {
            0 => manifest_name(&manifest.ring),
            spare => manifest_name(&format!("{}-{spare}", manifest.ring)),
        };
        let bytes = serde_json::to_vec_pretty(&manifest).map_err(|error| UploadError::Read(error.into()))?;
        let (size, sha256) = store::sha256(&mut bytes.as_slice()).map_err(UploadError::Read)?;
        let piece = Piece { source: Box::new(io::Cursor::new(bytes)), size, sha256 };
        put(destination, Object::Manifest(&name), piece, &|_| ())
    }
}

/// Sends one object.
fn put(
    destination: &Destination,
    object: Object<'_>,
    piece: Piece,
    progress: &dyn Fn(u64),
) -> Result<Stored, UploadError> {
    match (destination, object) {
        (Destination::Ring, _) => Err(UploadError::NoWay("no destination is set".to_owned())),
        (Destination::Grant(grant, http, _), Object::File(name) | Object::Manifest(name)) => {
            post::post(http, grant, name, piece, progress)
        }
        (Destination::Role(role), object) => role.put(object, piece, progress),
    }
}

/// The name of what is sent.
#[derive(Debug, Clone, Copy)]
enum Object<'a> {
    /// A capture, whose name is its own for good.
    File(&'a str),
    /// A manifest, which replaces the one before it.
    Manifest(&'a str),
}

/// What is sent as one object.
struct Piece {
    source: Box<dyn Read + Send>,
    size: u64,
    /// Of these bytes.
    sha256: [u8; 32],
}

/// What a server has now.
#[derive(Debug)]
struct Stored {
    key: String,
    size: u64,
    /// Nobody has compared it with what was sent.
    unproved: bool,
}

fn work(shared: &Shared) {
    while let Some((destination, generation, next)) = shared.next() {
        match next {
            Next::File(name) => shared.deliver(&destination, generation, &name),
            Next::Manifest => shared.deliver_manifest(&destination, generation),
            Next::Nothing(_) => {}
        }
    }
}

/// A refusal with the region where the bucket is, where the answer names it.
fn with_region(said: String, region: Option<&str>) -> String {
    match region {
        Some(region) => format!("{said} (the bucket is in {region}: see --s3-region)"),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_does_not_show_its_secret() {
        let grant = Grant {
            url: "https://s3.example/b".into(),
            fields: [("x-amz-signature".to_owned(), "deadbeef".to_owned())].into(),
            prefix: "p/".into(),
            max_bytes: 1,
            valid_seconds: 9.into(),
            zstd: false,
            server: nodewatch_protocol::ServerFacts::default(),
        };
        assert_eq!(format!("{grant:?}"), "Grant(https://s3.example/bp/ for 9 s)");
    }
}
