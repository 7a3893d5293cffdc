//! Sessions that are not this program's: what journals and labels say of them, and their removal.
//!
//! Owns the comparison of the two. A session without a journal here is somebody else's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::join_all, stream, stream::BoxStream};
use tokio::time::{sleep, timeout};

use super::{
    AgentSettings, Cluster,
    connect::Connection,
    identity,
    inventory::{self, Places, Seen},
    objects::namespace_name,
    remove::{self, Scope},
    strangers::Stranger,
};
use crate::{
    journal::{Entry, Journal, JournalError, Journals, Record},
    model::{
        ClusterIdentity, Failure, Holder, Keep, Kind, MadeObject, Notice, Removal, SeenObject, SessionId,
        SessionSummary,
    },
};

/// Between two tries with a server that asks to wait.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A session, and the way to its cluster.
#[derive(Clone)]
pub struct Leftover {
    /// What is known of it.
    pub summary: SessionSummary,
    /// Its cluster, where that answers as the one it began in.
    connection: Option<Connection>,
    identity: ClusterIdentity,
    places: Places,
}

impl Leftover {
    /// Exactly what would be removed.
    pub async fn plan(&self, journals: &Journals, within: Duration) -> Result<Vec<SeenObject>, Notice> {
        let plan = || async {
            let scope = self.scope(journals, Duration::ZERO).await?;
            Ok(remove::plan(&scope).await?.iter().map(Seen::summary).collect())
        };
        in_time(within, plan).await
    }

    /// What of others keeps its namespace, as in `ConfigMap notes`; and the kinds that may not be looked at.
    pub async fn strangers(&self, journals: &Journals, within: Duration) -> Result<(Vec<String>, Vec<String>), Notice> {
        let scope = || async { remove::contents(&self.scope(journals, Duration::ZERO).await?).await };
        let contents = in_time(within, scope).await?;
        Ok((contents.strangers.iter().map(Stranger::text).collect(), contents.hidden))
    }

    /// Removes it, ending with [`Removal::Finished`].
    pub fn remove(self, journals: Journals, patience: Duration) -> BoxStream<'static, Removal> {
        self.remove_with(journals, patience, BTreeSet::new())
    }

    /// The same, with its namespace as long as that holds no more of others than these objects.
    pub fn remove_with(
        self,
        journals: Journals,
        patience: Duration,
        contents: BTreeSet<String>,
    ) -> BoxStream<'static, Removal> {
        async move {
            match in_time(patience, || self.scope(&journals, patience)).await {
                Ok(scope) => remove::remove(Scope { with_contents: contents, ..scope }, Keep::new()),
                Err(notice) => stream::iter([Removal::Refused(notice), Removal::Finished]).boxed(),
            }
        }
        .flatten_stream()
        .boxed()
    }

    /// Its agents, to be looked at; `None` where its journal is not here.
    pub fn beside(&self, journals: &Journals, settings: AgentSettings) -> Option<Cluster> {
        let id = &self.summary.id;
        let record = journals.record(id).ok()?;
        Some(Cluster::observe(self.connection.clone()?, settings, journals.clone(), &record))
    }

    async fn scope(&self, journals: &Journals, patience: Duration) -> Result<Scope, Notice> {
        let Some(connection) = &self.connection else {
            let headline = format!("cannot show session {}", self.summary.id);
            let failure = if self.summary.moved { Failure::Moved } else { Failure::Unreachable };
            return Err(Notice::error(headline, self.summary.trouble.clone(), "").of(failure));
        };
        match journals.open(&self.summary.id) {
            Ok((journal, record)) => scope_of_record(connection, journal, record, patience).await,
            Err(JournalError::Unknown(_)) => Ok(scope_of_found(connection, &self.identity, self, patience)),
            Err(error) => Err(error.notice(format!("session {} was not touched", self.summary.id))),
        }
    }
}

/// What a server says in time; one that does not is one that cannot be reached. One that asks to wait is waited for.
async fn in_time<T, F>(within: Duration, mut work: impl FnMut() -> F) -> Result<T, Notice>
where
    F: Future<Output = Result<T, Notice>>,
{
    let mut busy = None;
    let patiently = async {
        loop {
            match work().await {
                Err(notice) if notice.failure == Failure::Busy => busy = Some(notice),
                said => return said,
            }
            sleep(AGAIN_AFTER).await;
        }
    };
    match timeout(within, patiently).await {
        Ok(said) => said,
        Err(_) => Err(busy.unwrap_or_else(|| {
            let cause = format!("the API server has not answered within {} s", within.as_secs());
            let next_step = "check the network and the VPN, then try again";
            Notice::error("cannot see what is there", cause, next_step).of(Failure::Unreachable)
        })),
    }
}

/// What to remove of a session with a journal here, by the context that it began with.
pub(super) async fn scope_of_record(
    at_hand: &Connection,
    journal: Journal,
    record: Record,
    patience: Duration,
) -> Result<Scope, Notice> {
    let connection = way_to(&record.header.cluster, at_hand).await?;
    let places = places_of(&record);
    Ok(Scope {
        client: connection.client.clone(),
        session: record.header.session,
        identity: Some(record.header.cluster),
        known: record.objects.into_iter().map(|(_, object)| object).collect(),
        places,
        journal: Some(Arc::new(journal)),
        before: record.before,
        with_contents: BTreeSet::new(),
        patience,
    })
}

/// The agents of a session with a journal here, to be looked at.
pub(super) async fn beside(
    at_hand: &Connection,
    journals: &Journals,
    settings: AgentSettings,
    session: &SessionId,
) -> Result<Cluster, Notice> {
    let headline = || format!("cannot show session {session}");
    let record = journals.record(session).map_err(|error| error.notice(headline()))?;
    let connection = way_to(&record.header.cluster, at_hand).await?;
    Ok(Cluster::observe(connection, settings, journals.clone(), &record))
}

/// A connection to a session's cluster by the session's own context. Where that cannot be used any more, the one at
/// hand will do if it is to the same cluster at the same address.
async fn way_to(cluster: &ClusterIdentity, at_hand: &Connection) -> Result<Connection, Notice> {
    let by_own = if at_hand.is_by_context_of(cluster) {
        at_hand.check(cluster).await.map(|()| at_hand.clone())
    } else {
        Connection::again(cluster).await
    };
    match by_own {
        Ok(connection) => Ok(connection),
        // Whether that way is right is for somebody to say.
        Err(notice) if notice.failure == Failure::Moved => Err(notice),
        Err(notice) => match at_hand.check(cluster).await {
            Ok(()) => Ok(at_hand.clone()),
            Err(moved) if moved.failure == Failure::Moved => Err(moved),
            Err(_) => Err(notice),
        },
    }
}

/// The user says that a session's cluster is the same at another address or with another CA: where its `kube-system`
/// has the UID that it had, the journal has the new way from now on.
pub async fn trust(at_hand: Option<&Connection>, journals: &Journals, session: &SessionId) -> Result<(), Notice> {
    let headline = || format!("the cluster address of session {session} was not changed");
    let (journal, record) = journals.open(session).map_err(|error| error.notice(headline()))?;
    let cluster = &record.header.cluster;
    let own = match Connection::by(cluster).await {
        Ok(connection) => identity::check_uid(&connection.client, cluster).await.map(|()| connection),
        Err(notice) => Err(notice),
    };
    let connection = match (own, at_hand) {
        (Ok(connection), _) => connection,
        (Err(_), Some(at_hand)) => {
            identity::check_uid(&at_hand.client, cluster).await?;
            at_hand.clone()
        }
        (Err(notice), None) => return Err(notice),
    };
    let now = connection.identity().await?;
    if now == *cluster {
        return Ok(());
    }
    journal.record(Entry::Moved(now)).map_err(|error| error.notice(headline()))
}

/// The same for every session of the cluster with that UID.
pub async fn trust_cluster(at_hand: Option<&Connection>, journals: &Journals, uid: &str) -> Result<(), Notice> {
    let records = journals.all().into_iter().flatten().filter(|record| !record.is_over());
    let (theirs, others): (Vec<Record>, Vec<Record>) =
        records.partition(|record| record.header.cluster.kube_system_uid == uid);
    if theirs.is_empty() {
        let known: BTreeSet<String> = others.into_iter().map(|record| record.header.cluster.kube_system_uid).collect();
        let known: Vec<String> = known.into_iter().collect();
        let cause = match known.len() {
            0 => "no session here has anything left".to_owned(),
            _ => format!("the clusters of sessions here have {}", known.join(", ")),
        };
        let headline = format!("no session here was started in a cluster whose kube-system has the UID {uid:?}");
        return Err(Notice::error(headline, cause, "see nodewatch-tui sessions").of(Failure::BadInput));
    }
    for record in theirs {
        // A program that has one open goes by its own connection.
        if journals.holder(&record) != Holder::Running {
            trust(at_hand, journals, &record.header.session).await?;
        }
    }
    Ok(())
}

/// What to remove of a session that only its labels tell of.
pub(super) fn scope_of_found(
    connection: &Connection,
    identity: &ClusterIdentity,
    found: &Leftover,
    patience: Duration,
) -> Scope {
    Scope {
        client: connection.client.clone(),
        session: found.summary.id.clone(),
        identity: Some(identity.clone()),
        known: Vec::new(),
        places: found.places.clone(),
        journal: None,
        before: BTreeSet::new(),
        with_contents: BTreeSet::new(),
        patience,
    }
}

/// One session of somebody else on this cluster.
pub(super) async fn elsewhere(
    connection: &Connection,
    identity: &ClusterIdentity,
    session: &SessionId,
) -> Result<Leftover, Notice> {
    let seen = inventory::everywhere(&connection.client).await?;
    let of_it: Vec<&Seen> = seen.iter().filter(|one| one.session.as_ref() == Some(session)).collect();
    if of_it.is_empty() {
        let headline = format!("no session {session} in context {:?}", connection.context());
        return Err(Notice::error(headline, "", "see nodewatch-tui sessions").of(Failure::BadInput));
    }
    Ok(compare(session, None, &of_it, identity, Some(connection), Holder::Elsewhere))
}

/// Every session that has something on this cluster, or a journal here that says so.
pub async fn leftovers(connection: &Connection, journals: &Journals) -> Result<Vec<Leftover>, Notice> {
    let identity = connection.identity().await?;
    let records: Vec<Record> = journals.all().into_iter().flatten().collect();
    on_cluster(connection, &identity, &records, journals).await
}

/// The same for every cluster that a journal knows, and for this one, each given so long. A cluster that does not
/// answer, or answers as another, is told in the sessions' `trouble`; a journal that cannot be read is told as a
/// notice.
pub async fn sessions(
    current: Option<&Connection>,
    journals: &Journals,
    within: Duration,
) -> (Vec<Leftover>, Vec<Notice>) {
    let mut notices = Vec::new();
    let mut records = Vec::new();
    for record in journals.all() {
        match record {
            Ok(record) => records.push(record),
            Err(error) => notices.push(error.notice("skipped a journal")),
        }
    }
    let mut found = Vec::new();
    let mut covered = BTreeSet::new();
    let mut away = None;
    if let Some(connection) = current {
        let here = || async {
            let identity = connection.identity().await?;
            let found = on_cluster(connection, &identity, &records, journals).await?;
            Ok((identity, found))
        };
        match in_time(within, here).await {
            Ok((identity, sessions)) => {
                covered.insert(identity.kube_system_uid);
                found.extend(sessions);
            }
            Err(notice) => {
                away = notice.failure.is_passing().then(|| (connection, notice.clone()));
                notices.push(notice);
            }
        }
    }
    let mut clusters: Vec<ClusterIdentity> = Vec::new();
    for record in records.iter().filter(|record| !record.is_over()) {
        let cluster = &record.header.cluster;
        if !covered.contains(&cluster.kube_system_uid) && !clusters.contains(cluster) {
            clusters.push(cluster.clone());
        }
    }
    // One that hangs holds up no other.
    let asked = clusters.iter().map(|cluster| {
        let theirs: Vec<Record> = records.iter().filter(|record| record.header.cluster == *cluster).cloned().collect();
        let known = away.as_ref().filter(|(connection, _)| connection.is_by_context_of(cluster));
        let known = known.map(|(_, notice)| notice.clone());
        async move {
            let answer = if let Some(notice) = known {
                Err(notice)
            } else {
                let asked = || async {
                    let connection = Connection::again(cluster).await?;
                    on_cluster(&connection, cluster, &theirs, journals).await
                };
                in_time(within, asked).await
            };
            (answer, theirs)
        }
    });
    for (answer, theirs) in join_all(asked).await {
        match answer {
            Ok(sessions) => found.extend(sessions),
            Err(notice) => {
                let unfinished = theirs.iter().filter(|record| !record.is_over());
                found.extend(unfinished.map(|record| unseen(record, journals.holder(record), &notice, None)));
            }
        }
    }
    found.sort_by(|a, b| (a.summary.began, &a.summary.id).cmp(&(b.summary.began, &b.summary.id)));
    // One session may be found by two contexts that lead to the same cluster.
    found.dedup_by(|a, b| a.summary.id == b.summary.id);
    (found, notices)
}

async fn on_cluster(
    connection: &Connection,
    identity: &ClusterIdentity,
    records: &[Record],
    journals: &Journals,
) -> Result<Vec<Leftover>, Notice> {
    let here = |record: &&Record| record.header.cluster.kube_system_uid == identity.kube_system_uid;
    let records: Vec<&Record> = records.iter().filter(here).collect();
    let seen = match inventory::everywhere(&connection.client).await {
        Ok(seen) => seen,
        // What this laptop has made it can find without looking through the whole cluster.
        Err(notice) if notice.failure == Failure::NotPermitted && !records.is_empty() => {
            let unfinished = records.iter().filter(|record| !record.is_over());
            let known = unfinished.map(|record| unseen(record, journals.holder(record), &notice, Some(connection)));
            return Ok(known.collect());
        }
        Err(notice) => return Err(notice),
    };
    let mut by_session: BTreeMap<SessionId, Vec<&Seen>> = BTreeMap::new();
    for one in &seen {
        if let Some(session) = &one.session {
            by_session.entry(session.clone()).or_default().push(one);
        }
    }
    for record in records.iter().filter(|record| !record.is_over()) {
        by_session.entry(record.header.session.clone()).or_default();
    }
    let found = by_session.into_iter().map(|(session, seen)| {
        let record = records.iter().find(|record| record.header.session == session).copied();
        let holder = record.map_or(Holder::Elsewhere, |record| journals.holder(record));
        // Its journal says how its cluster is reached; the check of who answers is by this connection.
        let mut found = compare(&session, record, &seen, identity, Some(connection), holder);
        found.summary.moved = record.is_some_and(|record| by_another_way(&record.header.cluster, identity));
        found
    });
    Ok(found.collect())
}

/// The session's own context leads there by another way than at its beginning.
fn by_another_way(then: &ClusterIdentity, now: &ClusterIdentity) -> bool {
    let same_context = (&then.context, &then.kubeconfig) == (&now.context, &now.kubeconfig);
    same_context && (&then.server, &then.ca_sha256) != (&now.server, &now.ca_sha256)
}

fn compare(
    session: &SessionId,
    record: Option<&Record>,
    seen: &[&Seen],
    identity: &ClusterIdentity,
    connection: Option<&Connection>,
    holder: Holder,
) -> Leftover {
    let namespaces = seen.iter().filter_map(|one| one.object.namespace.clone()).collect();
    let own = seen.iter().find(|one| one.object.kind == Kind::Namespace).map(|one| one.object.name.clone());
    let daemonset = seen.iter().any(|one| one.object.kind == Kind::DaemonSet);
    let mut places = Places { namespaces, own, daemonset };
    places.namespaces.extend(places.own.clone());
    if let Some(record) = record {
        let known = places_of(record);
        places.namespaces.extend(known.namespaces);
        places.own = places.own.or(known.own);
        places.daemonset |= known.daemonset;
    }
    let told = |of: fn(&Seen) -> Option<u64>| seen.iter().find_map(|one| of(one));
    let summary = SessionSummary {
        id: session.clone(),
        context: record.map_or(&identity.context, |record| &record.header.cluster.context).clone(),
        owner: record.map(|record| record.header.owner.clone()).or_else(|| seen.iter().find_map(|one| one.owner())),
        began: record.map(|record| record.header.began).or_else(|| told(Seen::began)),
        ends: record.map(|record| record.ends).or_else(|| told(Seen::ends)),
        holder,
        objects: seen.iter().map(|one| one.summary()).collect(),
        trouble: String::new(),
        moved: false,
    };
    Leftover { summary, connection: connection.cloned(), identity: identity.clone(), places }
}

/// A session as only its journal tells it.
fn unseen(record: &Record, holder: Holder, notice: &Notice, connection: Option<&Connection>) -> Leftover {
    let unknown = |object: &MadeObject| SeenObject { object: object.clone(), state: "unknown".to_owned() };
    let header = &record.header;
    Leftover {
        summary: SessionSummary {
            id: header.session.clone(),
            context: header.cluster.context.clone(),
            owner: Some(header.owner.clone()),
            began: Some(header.began),
            ends: Some(record.ends),
            holder,
            objects: record.objects.iter().map(|(_, object)| unknown(object)).collect(),
            trouble: notice.line(),
            moved: notice.failure == Failure::Moved,
        },
        connection: connection.cloned(),
        identity: header.cluster.clone(),
        places: places_of(record),
    }
}

fn places_of(record: &Record) -> Places {
    let header = &record.header;
    let own = header.own_namespace.then(|| namespace_name(&header.session));
    let daemonset = record.objects.iter().any(|(_, object)| object.kind == Kind::DaemonSet);
    Places { namespaces: BTreeSet::from([header.namespace.clone()]), own, daemonset }
}
