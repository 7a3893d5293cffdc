//! Delivery: closed files from the ring to S3, each until the server has taken it with its checksum.
//!
//! Owns the queue's order, back-off and what is secret of a sink, which lives in memory only. A file is never removed
//! here: the ring does that when it needs room. Must not know tunnels or packets.

mod http;
pub(crate) mod logs;
mod own;
mod post;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nodewatch_protocol::{CaptureFile, Delivery, Grant, MANIFEST, Sink, SinkState};

use crate::{
    capture::own::OwnTraffic,
    error::chain,
    ring::{
        Ring,
        store::{StoreError, hex, sha256},
    },
};
use http::Http;

/// Files under way at once.
const WORKERS: usize = 3;
/// After the first failure, doubled up to [`LONGEST_PAUSE`], with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The manifest is not sent more often than this while files are waiting.
const MANIFEST_EVERY: Duration = Duration::from_secs(10);
/// A grant that ends in less time than this begins no upload.
const NEARLY_OVER: Duration = Duration::from_secs(2);

/// A file was not delivered; it stays in the ring and is tried again.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The ring's side.
    #[error(transparent)]
    Ring(#[from] StoreError),
    /// Reading or compressing.
    #[error("cannot read the file")]
    Read(#[source] io::Error),
    /// No answer, or half of one.
    #[error("no answer from {host}")]
    Call {
        /// The server.
        host: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The server said no.
    #[error("{host} answers {status}{}{message}", if message.is_empty() { "" } else { ": " })]
    Refused {
        /// The server.
        host: String,
        /// The HTTP status.
        status: u16,
        /// S3's code and message.
        message: String,
    },
    /// The file is larger than the grant allows.
    #[error("{size} bytes are more than the {max} that a signed policy may allow: choose a smaller --rotate-size")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The policy's largest.
        max: u64,
    },
    /// The agent's own way, as the AWS SDK says it.
    #[error("{0}")]
    Own(String),
}

/// Where files go now.
#[derive(Clone)]
enum Destination {
    Ring,
    Grant(Arc<Grant>, Instant),
    Own(Arc<own::Own>),
}

impl Destination {
    fn is_usable(&self) -> bool {
        match self {
            Self::Ring => false,
            Self::Grant(_, expires) => Instant::now() + NEARLY_OVER < *expires,
            Self::Own(_) => true,
        }
    }
}

struct Shared {
    ring: Ring,
    http: Http,
    destination: Mutex<(Destination, u64)>,
    changed: Condvar,
    /// When the manifest was last sent, and whether it has changed since.
    manifest: Mutex<(Option<Instant>, bool)>,
    stop: AtomicBool,
}

/// The uploader's handle. Dropping it ends the workers after what they are doing.
pub struct Uploader {
    shared: Arc<Shared>,
}

impl Uploader {
    /// Starts the workers, which wait until they are told where to deliver.
    pub fn start(ring: Ring, traffic: OwnTraffic) -> io::Result<Self> {
        let sink = ring.manifest().sink;
        let shared = Arc::new(Shared {
            ring,
            http: Http::new(traffic),
            destination: Mutex::new((Destination::Ring, 0)),
            changed: Condvar::new(),
            manifest: Mutex::new((None, false)),
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
        let destination = match sink {
            Sink::Ring => Destination::Ring,
            Sink::Grant(grant) => {
                let expires = Instant::now() + grant.valid_seconds.duration();
                Destination::Grant(Arc::new(grant), expires)
            }
            Sink::Own(sink) => Destination::Own(Arc::new(own::Own::new(sink, shared.http.clone()))),
        };
        let own = match &destination {
            Destination::Own(own) => Some(own.sink().clone()),
            Destination::Ring | Destination::Grant(..) => None,
        };
        shared.ring.remember_sink(own);
        {
            let mut now = shared.lock();
            *now = (destination, now.1 + 1);
        }
        shared.changed.notify_all();
    }

    /// Where files go, for the people who watch.
    pub fn state(&self) -> SinkState {
        match &self.shared.lock().0 {
            Destination::Ring => SinkState::Ring,
            Destination::Grant(_, expires) => {
                let left_seconds = expires.saturating_duration_since(Instant::now()).as_secs();
                SinkState::Grant { left_seconds }
            }
            Destination::Own(_) => SinkState::Own,
        }
    }

    /// What goes along has changed: it is sent again, also when no file is.
    pub fn manifest_changed(&self) {
        self.shared.manifest().1 = true;
        self.wake();
    }

    /// There may be something to deliver.
    pub fn wake(&self) {
        self.shared.changed.notify_all();
    }

    /// Nothing more can be delivered now: everything is there, or there is no way.
    pub fn is_idle(&self) -> bool {
        let usable = self.shared.lock().0.is_usable();
        !usable || (self.shared.ring.queued() == 0 && !self.shared.manifest().1)
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (Destination, u64)> {
        self.destination.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn manifest(&self) -> MutexGuard<'_, (Option<Instant>, bool)> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits until something changes, or that long; a new destination ends any wait.
    fn pause(&self, generation: u64, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut now = self.lock();
        while now.1 == generation && !self.stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            now = self.changed.wait_timeout(now, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a change of the queue or of the destination.
    fn idle(&self) {
        let now = self.lock();
        if !self.stopped() {
            // A second, in case that the change came just before the wait.
            drop(self.changed.wait_timeout(now, Duration::from_secs(1)));
        }
    }

    /// Sends what is remembered of the node when it has changed: now, or when the last time is long enough ago.
    fn send_manifest(&self, destination: &Destination, now: bool) -> Result<(), UploadError> {
        {
            let mut manifest = self.manifest();
            let early = manifest.0.is_some_and(|at| at.elapsed() < MANIFEST_EVERY);
            if !manifest.1 || (early && !now) {
                return Ok(());
            }
            *manifest = (Some(Instant::now()), false);
        }
        let sent = self.upload_manifest(destination);
        if sent.is_err() {
            self.manifest().1 = true;
        }
        sent
    }

    fn upload_manifest(&self, destination: &Destination) -> Result<(), UploadError> {
        let bytes =
            serde_json::to_vec_pretty(&self.ring.manifest()).map_err(|error| UploadError::Read(error.into()))?;
        let (size, sha256) = sha256(&mut bytes.as_slice()).map_err(UploadError::Read)?;
        let piece = Piece { source: Box::new(io::Cursor::new(bytes)), size, sha256 };
        self.put(destination, MANIFEST, piece, &|_| ())?;
        Ok(())
    }

    /// One object; returns its key.
    fn put(
        &self,
        destination: &Destination,
        name: &str,
        piece: Piece,
        progress: &dyn Fn(u64),
    ) -> Result<String, UploadError> {
        match destination {
            Destination::Ring => Err(UploadError::Own("there is no sink".to_owned())),
            Destination::Grant(grant, _) => post::post(&self.http, grant, name, piece, progress),
            Destination::Own(own) => own.put(name, piece, progress),
        }
    }
}

trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send> Source for T {}

/// What is sent as one object.
struct Piece {
    source: Box<dyn Source>,
    size: u64,
    /// Of these bytes.
    sha256: [u8; 32],
}

fn work(shared: &Shared) {
    let mut failures = 0;
    while !shared.stopped() {
        let (destination, generation) = shared.lock().clone();
        if !destination.is_usable() {
            shared.idle();
            continue;
        }
        let free = |file: &CaptureFile| !matches!(file.delivery, Delivery::Sending { .. });
        let done = match shared.ring.to_deliver().into_iter().find(free) {
            Some(file) => deliver(shared, &destination, &file),
            None => shared.send_manifest(&destination, shared.ring.queued() == 0).map(|()| {
                shared.idle();
            }),
        };
        if done.is_ok() {
            failures = 0;
        } else {
            failures += 1;
            shared.pause(generation, back_off(failures));
        }
    }
}

/// Half of the pause is chance, so that nodes that failed together do not come again together.
fn back_off(failures: u32) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
    let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), failures);
    pause / 2 + pause / 2 * (chance % 1000) as u32 / 1000
}

fn deliver(shared: &Shared, destination: &Destination, file: &CaptureFile) -> Result<(), UploadError> {
    let ring = &shared.ring;
    let name = &file.name;
    match send(shared, destination, file) {
        Ok((key, size)) => {
            shared.manifest().1 = true;
            ring.set_delivery(name, Delivery::Delivered { key, size });
            // One that does not get there now is sent again with the next.
            let _ = shared.send_manifest(destination, false);
            Ok(())
        }
        Err(error) => {
            ring.set_delivery(name, Delivery::Waiting { reason: chain(&error) });
            Err(error)
        }
    }
}

fn send(shared: &Shared, destination: &Destination, file: &CaptureFile) -> Result<(String, u64), UploadError> {
    let ring = &shared.ring;
    let mut source = ring.store().read_from(&file.name, 0)?;
    let (size, sha256) = checksum(&mut source).map_err(UploadError::Read)?;
    ring.set_checksum(&file.name, hex(&sha256));
    let zstd = match destination {
        Destination::Grant(grant, _) => grant.zstd,
        Destination::Own(own) => own.sink().zstd,
        Destination::Ring => false,
    };
    let told = Mutex::new(Instant::now());
    let progress = |sent| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() > Duration::from_millis(500) {
            *told = Instant::now();
            ring.set_delivery(&file.name, Delivery::Sending { sent });
        }
    };
    let (name, piece) = if zstd {
        let mut packed = compress(ring, source, size)?;
        let (size, sha256) = checksum(&mut packed).map_err(UploadError::Read)?;
        (format!("{}.zst", file.name), Piece { source: Box::new(packed), size, sha256 })
    } else {
        (file.name.clone(), Piece { source: Box::new(source), size, sha256 })
    };
    let size = piece.size;
    Ok((shared.put(destination, &name, piece, &progress)?, size))
}

/// Into a file without a name, for which room is made like for any other.
fn compress(ring: &Ring, source: File, size: u64) -> Result<File, UploadError> {
    let _room = ring.reserve_scratch(size).ok_or(StoreError::Full { bytes: size, limit: ring.limit() })?;
    let mut packed = ring.store().scratch()?;
    zstd::stream::copy_encode(source, &mut packed, 3).map_err(UploadError::Read)?;
    packed.seek(SeekFrom::Start(0)).map_err(UploadError::Read)?;
    Ok(packed)
}

fn checksum(file: &mut File) -> io::Result<(u64, [u8; 32])> {
    let sum = sha256(file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        for failures in 1..40 {
            let pause = back_off(failures);
            assert!(pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE, "{failures}: {pause:?}");
        }
        assert!(back_off(30) >= LONGEST_PAUSE / 2);
        let several: std::collections::BTreeSet<Duration> = (0..20).map(|_| back_off(8)).collect();
        assert!(several.len() > 1, "all the same");
    }

    #[test]
    fn a_grant_does_not_show_its_secret() {
        let grant = Grant {
            url: "https://s3.example/b".into(),
            fields: [("x-amz-signature".to_owned(), "deadbeef".to_owned())].into(),
            prefix: "p/".into(),
            max_bytes: 1,
            valid_seconds: 9.into(),
            zstd: false,
        };
        assert_eq!(format!("{grant:?}"), "Grant(https://s3.example/bp/ for 9 s)");
    }
}
