//! Kubernetes: the node watch, the agents' objects, tunnels by exec, preflight, leftovers, and the removal of all that
//! was made.
//!
//! Owns every call to the API server. Speaks `model`, the journal and the tunnel's byte stream; must not know the app
//! or a screen.

mod aim;
mod calls;
mod connect;
mod credentials;
mod deploy;
mod error;
mod exec;
mod expected;
mod fields;
mod identity;
mod image;
mod inventory;
mod journal;
mod kinds;
mod kubeconfig;
mod leftovers;
mod lists;
mod metadata;
mod names;
mod nodes;
mod objects;
mod plugin;
mod pods;
mod preflight;
mod progress;
mod push;
mod remove;
mod sender;
mod stand_in;
mod strangers;
mod stuck;
mod template;
mod terms;
mod tls;
mod versions;
mod watch_pods;
mod workloads;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use kube::Client;
use nodewatch_answers::News;
use nodewatch_protocol::UnixMillis;

use connect::contexts;
pub use connect::{Connection, Target, context_name, sign_in, sign_in_again};
pub use leftovers::{Leftover, leftovers, sessions, trust, trust_cluster};
pub use push::Push;

use crate::{
    agents::site::{Bulk, FilePart, OpenError, Site, StreamFrom, Tunnel},
    base::clock::{steady_at, unix_millis},
    journal::{Deployed, Entry, Header, Journal, JournalError, Journals, Pushed, Record},
    model::{
        self, AgentImage, Aimed, ContextRow, DeployProgress, Expectations, Keep, Kind, Made, MadeObject, Moment,
        NetworkProgram, NodeName, NodesChange, Notice, PreflightCheck, PullPolicy, Removal, SeenObject, SessionId,
        SessionSummary, StandIn, Summary, Workloads,
    },
};
use inventory::Places;
use remove::Scope;

/// Calls of one kind in flight.
const PARALLEL: usize = 10;
/// An object that is still there after this long is reported with what holds it.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// What other sessions have left is looked for so long in each cluster.
pub const LOOK_WITHIN: Duration = Duration::from_secs(30);

/// What a session's agents are made of.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The agent image.
    pub image: AgentImage,
    /// When it is pulled; `None` leaves it to the manifest.
    pub pull_policy: Option<PullPolicy>,
    /// How long agents may run.
    pub budget: Duration,
    /// How long agents go on without a heartbeat.
    pub lease: Duration,
    /// A namespace that exists, in place of one of the session's own.
    pub namespace: Option<String>,
    /// What the ring on a node may take, in bytes; `None` leaves it to the manifest.
    pub ring: Option<u64>,
    /// A service account that exists, in place of the session's own.
    pub service_account: Option<String>,
    /// The role that agents assume to deliver to S3.
    pub role: Option<String>,
    /// Agents find out who holds ports.
    pub processes: bool,
    /// A Job in the cluster removes the namespace at the session's end.
    pub reaper: bool,
    /// Nodes that join while nobody is attached get an agent too.
    pub daemonset: bool,
    /// The agent program is sent into pods of a stock image.
    pub push: Option<Push>,
    /// Who is at it, as `user@host`.
    pub owner: String,
}

impl AgentSettings {
    /// As the journal keeps them.
    fn deployed(&self) -> Deployed {
        let pushed = self.push.as_ref().map(|push| Pushed {
            program: std::path::absolute(&push.path).unwrap_or_else(|_| push.path.clone()),
            sha256: push.sha256.clone(),
            as_root: push.as_root,
        });
        Deployed {
            image: self.image.reference.clone(),
            pull_policy: self.pull_policy.map(|policy| policy.word().to_owned()),
            pushed,
            lease_seconds: self.lease.as_secs(),
            processes: self.processes,
            ring: self.ring,
            service_account: self.service_account.clone(),
            role: self.role.clone(),
            reaper: self.reaper,
            daemonset: self.daemonset,
        }
    }
}

/// One cluster and what this session has made in it.
#[derive(Clone)]
pub struct Cluster {
    connection: Connection,
    session: SessionId,
    settings: AgentSettings,
    journals: Journals,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// What was made, or was about to be, and not seen gone, in order of creation; with the time of its making.
    /// By the steady clock.
    made: Mutex<Vec<(UnixMillis, MadeObject)>>,
    /// Where that is written down. Begun with the first creation.
    journal: Mutex<Option<(Arc<Journal>, Header)>>,
    /// When the agents end by themselves, by the steady clock, once the first was deployed.
    ends: Mutex<Option<UnixMillis>>,
    /// The image that agents are deployed from, once the user has named one in the session.
    image: Mutex<Option<AgentImage>>,
    /// What was in the session's own namespace before anything of it.
    before: Mutex<BTreeSet<String>>,
    /// What of others the user has said may go with that namespace.
    with_contents: Mutex<BTreeSet<String>>,
    /// Each node's current Job, by the Job's name.
    jobs: Mutex<HashMap<String, NodeName>>,
    /// Each node's current pod.
    pods: Mutex<pods::Pods>,
    /// The pods that have the agent program that is sent.
    pushed: Mutex<HashMap<NodeName, String>>,
    /// The server was asked for an agent in the session's own namespace.
    asked: AtomicBool,
    /// The pods are being followed.
    following: AtomicBool,
    /// Only one task makes the namespace.
    base: tokio::sync::Mutex<()>,
    /// Held for reading while something is created; removal waits for it.
    creating: Arc<tokio::sync::RwLock<()>>,
}

/// Every change under these locks is one call, so the data is whole even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// A session on a connected cluster. Nothing is made yet.
    pub fn new(connection: Connection, session: SessionId, settings: AgentSettings, journals: Journals) -> Self {
        Self { connection, session, settings, journals, state: Arc::default() }
    }

    /// A session that was begun earlier, taken up from its journal. The connection must be to its cluster.
    pub fn resume(
        connection: Connection,
        settings: AgentSettings,
        journals: Journals,
        (journal, record): (Journal, Record),
    ) -> Result<Self, JournalError> {
        journal.record(Entry::Attached)?;
        let header = record.header;
        let namespace = (!header.own_namespace).then(|| header.namespace.clone());
        let budget = Duration::from_millis(record.ends.saturating_sub(header.began));
        let settings = AgentSettings { budget, namespace, ..settings };
        let made = record.objects.into_iter().map(|(at, object)| (steady_at(at), object)).collect();
        let state = State {
            made: Mutex::new(made),
            ends: Mutex::new(Some(steady_at(record.ends))),
            before: Mutex::new(record.before),
            ..State::default()
        };
        let session = header.session.clone();
        *lock(&state.journal) = Some((Arc::new(journal), header));
        Ok(Self { connection, session, settings, journals, state: Arc::new(state) })
    }

    /// A session that another program has, or none: its agents can be talked to, nothing is made or removed.
    pub fn observe(connection: Connection, settings: AgentSettings, journals: Journals, record: &Record) -> Self {
        let header = &record.header;
        let namespace = (!header.own_namespace).then(|| header.namespace.clone());
        let state = State { made: Mutex::new(record.objects.clone()), ..State::default() };
        let settings = AgentSettings { namespace, ..settings };
        Self { connection, session: header.session.clone(), settings, journals, state: Arc::new(state) }
    }

    /// The session's id.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// What has been made so far and not been seen gone.
    pub fn made(&self) -> Vec<MadeObject> {
        lock(&self.state.made).iter().map(|(_, object)| object.clone()).collect()
    }

    /// Everything that would be applied for these nodes, as YAML.
    pub fn manifests(session: &SessionId, settings: &AgentSettings, nodes: &[NodeName]) -> Result<String, Notice> {
        let began = unix_millis();
        let ends = began + settings.budget.as_millis() as u64;
        let session = objects::Session { id: session, settings, began, ends };
        session.yaml(nodes).map_err(|error| {
            let next_step = "see nodewatch-tui nodes for node names";
            Notice::error("no manifests", error.to_string(), next_step).of(model::Failure::BadInput)
        })
    }

    /// What would stop a session on these nodes; all nodes when none is named.
    pub async fn preflight(&self, nodes: &[NodeName]) -> Vec<PreflightCheck> {
        preflight::run(&self.connection, &self.settings, nodes).await
    }

    fn client(&self) -> &Client {
        &self.connection.client
    }

    /// What agents that are deployed now are made of.
    fn settings(&self) -> AgentSettings {
        let named = lock(&self.state.image).clone();
        AgentSettings { image: named.unwrap_or_else(|| self.settings.image.clone()), ..self.settings.clone() }
    }

    fn namespace(&self) -> String {
        self.settings.namespace.clone().unwrap_or_else(|| objects::namespace_name(&self.session))
    }

    fn places(&self) -> Places {
        let namespace = self.namespace();
        let own = self.settings.namespace.is_none().then(|| namespace.clone());
        let daemonset = self.made().iter().any(|object| object.kind == Kind::DaemonSet);
        Places { namespaces: BTreeSet::from([namespace]), own, daemonset }
    }

    fn journal(&self) -> Option<(Arc<Journal>, Header)> {
        lock(&self.state.journal).clone()
    }

    fn scope(&self) -> Scope {
        let (journal, identity) = self.journal().map(|(journal, header)| (journal, header.cluster)).unzip();
        Scope {
            client: self.client().clone(),
            session: self.session.clone(),
            identity,
            known: self.made(),
            places: self.places(),
            journal,
            before: lock(&self.state.before).clone(),
            with_contents: lock(&self.state.with_contents).clone(),
            patience: PATIENCE,
        }
    }

    /// Removes leftovers of another session from this session's cluster.
    async fn sweep_scope(self, session: SessionId) -> Result<Scope, Notice> {
        let own = self.connection.identity().await?;
        match self.journals.open(&session) {
            Ok((journal, record)) => leftovers::scope_of_record(&self.connection, journal, record, PATIENCE).await,
            Err(JournalError::Unknown(_)) => {
                let found = leftovers::elsewhere(&self.connection, &own, &session).await?;
                Ok(leftovers::scope_of_found(&self.connection, &own, &found, PATIENCE))
            }
            Err(error) => Err(error.notice(format!("session {session} was not removed"))),
        }
    }
}

impl Site for Cluster {
    fn nodes(&self) -> BoxStream<'static, NodesChange> {
        nodes::watch(&self.connection, self.settings.push.as_ref().map(|push| push.architecture))
    }

    fn made(&self) -> Vec<MadeObject> {
        self.made()
    }

    fn deploy(&self, nodes: Vec<NodeName>) -> BoxStream<'static, (NodeName, DeployProgress)> {
        deploy::deploy(self.clone(), nodes)
    }

    fn attach(&self) -> BoxStream<'static, (NodeName, DeployProgress)> {
        watch_pods::attach(self.clone())
    }

    fn beside(&self, session: SessionId) -> BoxFuture<'static, Result<Arc<dyn Site>, Notice>> {
        let (at_hand, journals, settings) = (self.connection.clone(), self.journals.clone(), self.settings.clone());
        async move {
            let site = leftovers::beside(&at_hand, &journals, settings, &session).await?;
            Ok(Arc::new(site) as Arc<dyn Site>)
        }
        .boxed()
    }

    fn open(&self, node: &NodeName) -> BoxFuture<'static, Result<Tunnel, OpenError>> {
        let (cluster, node) = (self.clone(), node.clone());
        async move {
            push::ensure(&cluster, &node).await?;
            exec::open(&cluster, &node).await
        }
        .boxed()
    }

    fn agent_of(&self, node: &NodeName) -> Option<String> {
        lock(&self.state.pods).uid(node)
    }

    fn follow(&self, node: &NodeName, from: StreamFrom) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        exec::follow(self, node, from)
    }

    fn names(&self) -> BoxFuture<'static, BTreeMap<IpAddr, String>> {
        let connection = self.connection.clone();
        async move { names::names(&connection).await }.boxed()
    }

    fn expected(&self, nodes: Vec<NodeName>) -> Option<BoxFuture<'static, Expectations>> {
        Some(expected::expected(self.client().clone(), nodes).boxed())
    }

    fn network_programs(&self, node: &NodeName) -> Option<BoxFuture<'static, Result<Vec<NetworkProgram>, String>>> {
        Some(versions::programs(self.client().clone(), node.clone()).boxed())
    }

    fn workloads(&self) -> Option<BoxFuture<'static, Workloads>> {
        Some(workloads::workloads(self.client().clone()).boxed())
    }

    fn changes(&self) -> Option<BoxStream<'static, Result<News, Notice>>> {
        Some(journal::news(&self.connection))
    }

    fn aim(&self, targets: Vec<model::Target>) -> Option<BoxStream<'static, Result<Aimed, Notice>>> {
        Some(aim::aim(self.client().clone(), targets))
    }

    fn set_image(&self, reference: &str) -> Result<String, Notice> {
        terms::set_image(self, reference)
    }

    fn note_making(&self, made: Made) -> Result<(), Notice> {
        let Some((journal, _)) = self.journal() else { return Ok(()) };
        let not_before = format!("no {} until that is recorded", made.text());
        journal.record(Entry::Making(made)).map_err(|error| error.notice(not_before))
    }

    fn note_gone(&self, made: Made) -> Result<(), Notice> {
        let Some((journal, _)) = self.journal() else { return Ok(()) };
        let still = format!("the journal still lists {}", made.text());
        journal.record(Entry::Gone(made)).map_err(|error| error.notice(still))
    }

    fn fetch(&self, node: &NodeName, part: FilePart) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        exec::fetch(self, node, &part)
    }

    fn inventory(&self) -> BoxFuture<'static, Result<Vec<SeenObject>, Notice>> {
        let cluster = self.clone();
        async move {
            let scope = cluster.scope();
            let mut seen: Vec<SeenObject> = remove::plan(&scope).await?.iter().map(inventory::Seen::summary).collect();
            // Roles are not listed: they go with the namespace.
            let roles = scope.known.into_iter().filter(|object| matches!(object.kind, Kind::Role | Kind::RoleBinding));
            seen.extend(roles.map(|object| SeenObject { object, state: "goes with the namespace".to_owned() }));
            Ok(seen)
        }
        .boxed()
    }

    fn remove(&self, keep: Keep) -> BoxStream<'static, Removal> {
        let cluster = self.clone();
        async move {
            // What is being created is let finish, so that it is seen.
            drop(cluster.state.creating.write().await);
            let state = Arc::clone(&cluster.state);
            remove::remove(cluster.scope(), keep).inspect(move |removal| {
                if let Removal::Gone(object) = removal {
                    lock(&state.made).retain(|(_, known)| !known.is(object));
                }
            })
        }
        .flatten_stream()
        .boxed()
    }

    fn allow_contents(&self, names: Vec<String>) {
        *lock(&self.state.with_contents) = names.into_iter().collect();
    }

    fn note_ends(&self, ends: UnixMillis) {
        // A journal that cannot be written has been told of when it mattered, and its next entry tells it again.
        if let Some((journal, _)) = self.journal() {
            let _ = journal.record(Entry::Ends(ends));
        }
    }

    fn set_ends(&self, ends: UnixMillis) -> BoxFuture<'static, Result<(), Notice>> {
        terms::set_ends(self.clone(), ends).boxed()
    }

    fn stand_in(&self, what: StandIn) -> BoxFuture<'static, Result<String, Notice>> {
        stand_in::stand_in(self.clone(), what).boxed()
    }

    fn remember(&self, acts: Vec<Moment>) {
        if let Some((journal, _)) = self.journal() {
            // The report has them from this program as well, and from the journal only after it was killed.
            let _ = journal.record(Entry::Did(acts));
        }
    }

    fn detach(&self) {
        if let Some((journal, _)) = self.journal() {
            // Without the entry the session is called a leftover later, which is true as well.
            let _ = journal.record(Entry::Detached);
        }
    }

    fn conclude(&self, receipt: serde_json::Value, summary: &Summary) {
        if let Some((journal, _)) = self.journal() {
            // The receipt is on standard output too.
            let _ = journal.record(Entry::Receipt(receipt));
            // Without it the report has what the journal has.
            let _ = self.journals.save_summary(summary);
        }
    }

    fn contexts(&self) -> Result<Vec<ContextRow>, Notice> {
        contexts(&self.connection.kubeconfig)
    }

    fn leftovers(&self, everywhere: bool) -> BoxFuture<'static, Result<Vec<SessionSummary>, Notice>> {
        let cluster = self.clone();
        async move {
            let found = if everywhere {
                // What cannot be reached says so in its own row.
                match sessions(Some(&cluster.connection), &cluster.journals, LOOK_WITHIN).await {
                    (found, notices) if found.is_empty() => notices.into_iter().next().map_or(Ok(found), Err)?,
                    (found, _) => found,
                }
            } else {
                leftovers(&cluster.connection, &cluster.journals).await?
            };
            Ok(found.into_iter().map(|one| one.summary).filter(|one| one.id != cluster.session).collect())
        }
        .boxed()
    }

    fn trust(&self, session: SessionId) -> BoxFuture<'static, Result<(), Notice>> {
        let cluster = self.clone();
        async move { trust(Some(&cluster.connection), &cluster.journals, &session).await }.boxed()
    }

    fn sweep(&self, session: SessionId) -> BoxStream<'static, Removal> {
        let cluster = self.clone();
        async move {
            match cluster.sweep_scope(session).await {
                Ok(scope) => remove::remove(scope, Keep::new()),
                Err(notice) => futures::stream::iter([Removal::Refused(notice), Removal::Finished]).boxed(),
            }
        }
        .flatten_stream()
        .boxed()
    }
}
