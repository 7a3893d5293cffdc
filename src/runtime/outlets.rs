//! Where captures leave the program: the laptop's folder, S3, the viewer.
//!
//! Owns what the engine is given for that, and the work of each effect that is about it.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use nodewatch_protocol::{CaptureSpec, EACH_NODE, OwnSink, RingList, Sink};
use tokio::{
    sync::{OnceCell, Semaphore, mpsc},
    time::timeout,
};

use crate::{
    agents::site::Site,
    base::text,
    captures::{
        bundle,
        manifest::{self, NodeEntry, SessionManifest},
    },
    config::file::VIEWER,
    logs::Logs,
    model::{FetchProgress, Made, Node, NodeName, Notice, Outcome, PreflightCheck, SessionId},
    otlp::Exporter,
    session::{Event, Job, ledger::Found},
    storage::{Storage, StorageError},
};

/// S3 has so long to take the session's manifest, and to say what it has at the end.
const S3_WITHIN: Duration = Duration::from_secs(20);

/// Where captures leave the program.
#[derive(Debug, Clone)]
pub struct Outlets {
    /// The session's folder on the laptop.
    pub folder: PathBuf,
    /// S3, where it is used.
    pub storage: Option<Arc<Storage>>,
    /// Where in S3 captures of the session went before.
    pub earlier: Vec<Arc<Storage>>,
    /// CloudWatch, where it is used.
    pub logs: Option<Arc<Logs>>,
    /// The collector of metrics, where there is one.
    pub metrics: Option<Arc<Exporter>>,
    /// The viewer's program and arguments, `{}` standing for what it reads.
    pub viewer: Vec<String>,
    /// No capture file can have more bytes: what the session's rings may hold.
    pub largest: u64,
}

impl From<PathBuf> for Outlets {
    fn from(folder: PathBuf) -> Self {
        Self {
            folder,
            storage: None,
            earlier: Vec::new(),
            logs: None,
            metrics: None,
            viewer: VIEWER.map(str::to_owned).to_vec(),
            largest: CaptureSpec::default().ring_bytes,
        }
    }
}

impl Outlets {
    /// How S3 is reached, as a command line says it. AWS itself is found by the bucket's name alone.
    pub(super) fn storage_options(&self) -> Vec<String> {
        let Some(settings) = self.storage.as_ref().map(|storage| storage.settings()) else { return Vec::new() };
        let Some(endpoint) = settings.endpoint else { return Vec::new() };
        let region = settings.region.map(|region| ("--s3-region", region));
        let style = settings.path_style.map(|path| ("--s3-path-style", path.to_string()));
        let options = [Some(("--s3-endpoint", endpoint)), region, style].into_iter().flatten();
        options.flat_map(|(option, value)| [option.to_owned(), value]).collect()
    }
}

/// The outlets of a running session. Clones share it.
#[derive(Clone)]
pub(super) struct Outlet {
    pub(super) outlets: Outlets,
    pub(super) session: SessionId,
    /// The kubeconfig's context; none on this machine.
    pub(super) context: Option<String>,
    pub(super) site: Arc<dyn Site>,
    /// The journal knows where in S3 captures go.
    noted: Arc<OnceCell<()>>,
    /// Files that viewers have open, with names.
    pub(super) copies: Arc<OnceLock<Option<tempfile::TempDir>>>,
    turns: Arc<Semaphore>,
}

impl Outlet {
    pub(super) fn new(
        outlets: Outlets,
        session: SessionId,
        context: Option<String>,
        site: Arc<dyn Site>,
        turns: Arc<Semaphore>,
    ) -> Self {
        Self { outlets, session, context, site, noted: Arc::default(), copies: Arc::default(), turns }
    }

    /// The session's folder on the laptop.
    pub(super) fn folder(&self) -> &std::path::Path {
        &self.outlets.folder
    }

    fn storage(&self) -> Result<&Storage, Notice> {
        let none = || Notice::error("S3 is not set up", "no bucket was given", "start with --s3 s3://bucket/prefix");
        self.outlets.storage.as_deref().ok_or_else(none)
    }

    /// Everywhere in S3 that the session has captures.
    fn places(&self) -> Result<impl Iterator<Item = &Storage>, Notice> {
        Ok([self.storage()?].into_iter().chain(self.outlets.earlier.iter().map(Arc::as_ref)))
    }

    /// How an agent is to deliver. Before the first is told, the journal is.
    pub(super) async fn sink(&self, node: &NodeName) -> Result<(Sink, Option<Duration>), Notice> {
        let storage = self.storage()?;
        let made = || Made::Captures { captures: storage.settings() };
        self.noted.get_or_try_init(|| async { self.site.note_making(made()) }).await?;
        let sink = storage.sink(&self.session, node).await;
        sink.map_err(|error| error.notice(format!("{node} cannot deliver to S3; its ring keeps the files")))
    }

    /// How agents deliver with credentials of their own, each below its name; `None` where they have none.
    pub(super) async fn sink_of_each(&self) -> Option<OwnSink> {
        match self.sink(&EACH_NODE.into()).await.ok()?.0 {
            Sink::Own(own) => Some(own),
            Sink::Ring | Sink::Grant(_) => None,
        }
    }

    /// What would stop a delivery, as an error, or is worth knowing of it, as a warning; `None` when nothing is.
    pub(super) async fn check(&self) -> Option<Notice> {
        let checks = self.storage().ok()?.check(&self.session).await;
        let worst = checks.iter().filter(|check| check.outcome.stops()).max_by_key(|check| check.outcome);
        if let Some(worst) = worst {
            return Some(worst.clone().notice("captures would not reach S3"));
        }
        let worth_knowing = |check: &&PreflightCheck| matches!(check.outcome, Outcome::Warning | Outcome::Unknown);
        let found: Vec<&PreflightCheck> = checks.iter().filter(worth_knowing).collect();
        let details: Vec<&str> = found.iter().map(|check| check.detail.as_str()).collect();
        let next_step = found.first()?.fix.clone();
        Some(Notice::warning("preflight warning for S3", details.join("; "), next_step))
    }

    pub(super) async fn list(&self) -> Event {
        let storage = match self.storage() {
            Ok(storage) => storage,
            Err(notice) => return Event::Stored(Err(notice)),
        };
        let place = storage.settings().url;
        Event::Stored(storage.list(&place).await.map_err(|error| error.notice(format!("cannot list {place}"))))
    }

    /// What S3 has of the session, once nothing more gets there; `None` without S3.
    pub(super) async fn in_bucket(&self) -> Option<Event> {
        let storage = self.storage().ok()?;
        let place = storage.session(&self.session);
        let headline = format!("cannot see what is in {place}");
        Some(Event::InBucket(match timeout(S3_WITHIN, storage.list(&place)).await {
            Ok(found) => found.map_err(|error| error.notice(headline)),
            Err(_) => Err(no_answer(headline)),
        }))
    }

    pub(super) async fn stock(&self) -> Result<Found, Notice> {
        let mut found = Vec::new();
        for storage in self.places()? {
            let place = storage.session(&self.session);
            let there = storage.summary(&place).await;
            let there = there.map_err(|error| error.notice(format!("cannot see what is in {place}")))?;
            found.push((place, there));
        }
        Ok(Found::StoredIn(found))
    }

    pub(super) async fn remove_all(&self) -> Result<Found, Notice> {
        let mut found = Vec::new();
        for storage in self.places()? {
            let place = storage.session(&self.session);
            let removed = storage.remove(&self.session).await;
            found.push((place.clone(), removed.map_err(|error| error.notice(format!("{place} may still be there")))?));
            self.site.note_gone(Made::Captures { captures: storage.settings() })?;
        }
        Ok(Found::StoredIn(found))
    }

    /// Agents that may still be there go on delivering: what is removed under them would come back unseen.
    pub(super) fn not_removed(&self) -> Result<Found, Notice> {
        let place = self.storage()?.session(&self.session);
        let cause = "agents could not be removed and may deliver while their grants are valid, for an hour at most";
        let next_step = format!("once they are gone: nodewatch-tui cleanup {} --captures", self.session);
        Err(Notice::error(format!("{place} was not touched"), cause, next_step))
    }

    pub(super) async fn remove_one(&self, key: String) -> Event {
        let removed =
            async { self.storage()?.remove_one(&self.session, &key).await.map_err(|error| refused(&error, &key)) };
        Event::Ended(
            Job::RemoveStored,
            match removed.await {
                Ok(()) => Notice::info(format!("removed {key}")),
                Err(notice) => notice,
            },
        )
    }

    /// Brings an object home, telling how it goes.
    pub(super) async fn download(
        self,
        key: String,
        node: String,
        session: Option<String>,
        events: mpsc::Sender<Event>,
    ) {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        let folder = match &session {
            None => self.outlets.folder.clone(),
            // Beside this session's.
            Some(other) => self.outlets.folder.with_file_name(text::safe_component(other)),
        };
        let folder = folder.join(text::safe_component(&node));
        let progress = |have| {
            // Of a run of byte counts only what there is room for is news.
            let _ = events.try_send(Event::Download(key.clone(), FetchProgress::Bytes(have)));
        };
        let done = async {
            let storage = self.storage()?;
            storage.download(&key, &folder, progress).await.map_err(|error| {
                let name = key.rsplit('/').next().unwrap_or_default();
                error.notice(format!("{name} was not fetched from S3"))
            })
        };
        let outcome = match done.await {
            Ok((path, sha256)) => FetchProgress::Done { path, sha256 },
            Err(notice) => FetchProgress::Failed(notice),
        };
        // The app being gone ends everything anyway.
        let _ = events.send(Event::Download(key, outcome)).await;
    }

    /// What goes along with the captures: into the session's folder where there is one, and to S3.
    pub(super) async fn write_manifest(&self, captured: Vec<Node>, known: Vec<(Node, RingList)>) -> Vec<Notice> {
        let (folder, session) = (self.outlets.folder.clone(), self.session.clone());
        let bundles = tokio::task::spawn_blocking(move || bundle::listed(&folder, &session)).await.unwrap_or_default();
        if captured.is_empty() && known.is_empty() && bundles.is_empty() {
            return Vec::new();
        }
        let all: BTreeSet<NodeName> =
            captured.iter().chain(known.iter().map(|(node, _)| node)).map(|node| node.name.clone()).collect();
        let (nodes, names) = tokio::join!(manifest::gather(Arc::clone(&self.site), captured), self.site.names());
        let mut manifest = SessionManifest {
            session: self.session.clone(),
            context: self.context.clone(),
            written: crate::base::clock::rfc3339(crate::base::clock::unix_millis()),
            nodes,
            names,
            bundles,
        };
        let mut notices = Vec::new();
        if let Ok(storage) = self.storage() {
            let put = async {
                // Agents that are gone, as of a pod that was evicted, have left there what they knew.
                for node in all {
                    let place = storage.node(&self.session, &node);
                    if let Some(there) = storage.manifest(place.prefix.trim_end_matches('/')).await {
                        manifest.add(NodeEntry { instance_id: None, manifest: there });
                    }
                }
                if let Some(earlier) = storage.session_manifest(&self.session).await
                    && let Ok(earlier) = serde_json::from_slice(&earlier)
                {
                    manifest = manifest.clone().with(earlier);
                }
                for (node, ring) in &known {
                    manifest.add_missing(node.clone(), ring.clone());
                }
                let bytes = text::json_pretty(&manifest).unwrap_or_default().into_bytes();
                storage.put_manifest(&self.session, bytes).await
            };
            match timeout(S3_WITHIN, put).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => notices.push(error.notice("the session's manifest is not in S3")),
                Err(_) => notices.push(no_answer("the session's manifest may not be in S3")),
            }
        }
        for (node, ring) in known {
            manifest.add_missing(node, ring);
        }
        // Without files here nobody looks for it here.
        if self.outlets.folder.exists()
            && let Err(error) = manifest.write(&self.outlets.folder)
        {
            let headline = format!("the session's manifest was not written to {}", self.outlets.folder.display());
            notices.push(Notice::warning(headline, text::chain(&error), "make room, or choose another --out"));
        }
        notices
    }
}

fn no_answer(headline: impl Into<String>) -> Notice {
    let cause = format!("S3 did not answer within {} s", S3_WITHIN.as_secs());
    Notice::warning(headline, cause, "see nodewatch-tui preflight --s3")
}

fn refused(error: &StorageError, key: &str) -> Notice {
    error.notice(format!("{key} was not removed"))
}
