//! `cleanup`: the removal of what earlier sessions have left.
//!
//! Owns the plan that is shown first, the questions, and what exit code the outcome is.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, future::join_all, stream};
use serde_json::json;
use tokio::time::timeout;

use super::{
    ExitCode,
    ask::{answer, asked},
    output, records,
    sessions::find_all,
    signals::Signals,
};
use crate::{
    base::text::{counted, date_and_time},
    captures::manifest,
    cli::{CleanupArgs, Format, Options},
    cluster::{AgentSettings, Connection, Leftover, trust, trust_cluster},
    journal::{JournalError, Journals},
    model::{Failure, Holder, MadeObject, Notice, Removal, SeenObject, SessionId, SessionSummary},
    runtime::spool,
    session::files::held_text,
};

/// Sessions removed at once: each is mostly waiting.
const AT_ONCE: usize = 4;

/// Agents have so long to say what they have, before they are removed.
const ASKED_WITHIN: Duration = Duration::from_secs(5);

/// What is to be removed of one session.
struct Plan {
    session: Leftover,
    objects: Vec<SeenObject>,
    /// What of others goes with its namespace, as in `ConfigMap notes`.
    others: BTreeSet<String>,
}

/// What a cleanup has begun to remove and not seen gone.
#[derive(Default)]
struct Under(Mutex<Vec<(SessionId, MadeObject)>>);

impl Under {
    fn lock(&self) -> MutexGuard<'_, Vec<(SessionId, MadeObject)>> {
        // Every change under the lock is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was ended by a signal: what may still be there.
    fn told(&self, format: Format) -> ExitCode {
        const WHY: &str = "may still exist: interrupted by a signal";
        let left = self.lock();
        if left.is_empty() {
            output::say("error: interrupted by a signal");
            return ExitCode::Failed;
        }
        for (id, object) in left.iter() {
            match format {
                Format::Json | Format::Yaml => {
                    let value = json!({"session": id, "object": object, "outcome": "left", "reason": WHY});
                    output::print_values(&records::REMOVAL, [value].into_iter(), format);
                }
                _ => output::say(&format!("LEFT  {}: {WHY}", object.text())),
            }
        }
        ExitCode::LeftBehind
    }
}

/// Removes what is left: plan, question, removal. A signal ends it with the names of what may still be there.
pub async fn cleanup(
    options: &Options,
    journals: &Journals,
    arguments: &CleanupArgs,
    agents: Option<&AgentSettings>,
    connect: impl Future<Output = Result<Connection, Notice>>,
) -> ExitCode {
    let under = Under::default();
    let told_to_end = async {
        match Signals::listen() {
            Ok(mut signals) => signals.next().await,
            // What cannot be listened to never comes.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        exit = clean_up(options, journals, arguments, agents, connect, &under) => exit,
        () = told_to_end => {
            spool::hurry();
            under.told(arguments.output.format)
        }
    }
}

async fn clean_up(
    options: &Options,
    journals: &Journals,
    arguments: &CleanupArgs,
    agents: Option<&AgentSettings>,
    connect: impl Future<Output = Result<Connection, Notice>>,
    under: &Under,
) -> ExitCode {
    if arguments.forget {
        return forget(journals, &arguments.sessions);
    }
    let unknown = |id: &SessionId| matches!(journals.open(id), Err(JournalError::Unknown(_)));
    if let Some(settings) = options.storage().filter(|_| arguments.captures)
        && !arguments.sessions.is_empty()
        && arguments.sessions.iter().all(unknown)
    {
        return super::captures::remove_named(settings, journals, arguments).await;
    }
    let current = connect.await;
    let here = current.as_ref().ok().map(|connection| connection.context().to_owned());
    let at_hand = current.as_ref().ok().cloned();
    if let Some(uid) = &arguments.trust.trust_cluster
        && let Err(notice) = trust_cluster(at_hand.as_ref(), journals, uid).await
    {
        output::say(&format!("error: {}", notice.line()));
        return ExitCode::of(&notice);
    }
    let (mut found, mut notices) = find_all(current.clone(), journals, arguments.timeout).await;
    if ask_for_trust(&found, arguments, at_hand.as_ref(), journals).await {
        (found, notices) = find_all(current, journals, arguments.timeout).await;
    }
    let (chosen, mut exit) = choose(found, arguments, here.as_deref());
    if let Some(notice) = notices.first().filter(|_| chosen.is_empty() && exit == ExitCode::Done) {
        let Some(context) = here.filter(|_| notice.failure.is_passing()) else { return ExitCode::of(notice) };
        output::say(&format!(
            "error: cannot check context {context}: objects of earlier sessions may still exist there"
        ));
        return ExitCode::LeftBehind;
    }
    let Planned { plans, mut left, failed } = plan_all(chosen, journals, arguments).await;
    if failed {
        exit = ExitCode::LeftBehind;
    }
    let planned: usize = plans.iter().map(|plan| plan.objects.len()).sum();
    print_plan(&plans, arguments);
    if let Some(agents) = agents {
        say_what_is_lost(&plans, journals, agents, arguments.timeout).await;
    }
    if arguments.dry_run {
        super::port_reports::remove_left(journals, arguments, here.as_deref()).await;
        super::captures::remove_captures(journals, arguments, here.as_deref(), &left).await;
        return exit;
    }
    if planned > 0 && !(arguments.yes || confirmed(&plans, planned).await) {
        output::say("nothing was removed");
        return ExitCode::BadUsage;
    }
    left.extend(remove_all(plans, journals, arguments, under).await);
    if !left.is_empty() {
        exit = ExitCode::LeftBehind;
    }
    if super::port_reports::remove_left(journals, arguments, here.as_deref()).await != ExitCode::Done {
        exit = ExitCode::LeftBehind;
    }
    match super::captures::remove_captures(journals, arguments, here.as_deref(), &left).await {
        ExitCode::Done if planned == 0 && exit == ExitCode::Done && !arguments.captures && !arguments.reports => {
            output::say("nothing to do");
            exit
        }
        ExitCode::Done => exit,
        left => left,
    }
}

/// What is to be removed.
struct Planned {
    plans: Vec<Plan>,
    /// Sessions whose agents may still be there.
    left: BTreeSet<SessionId>,
    /// Of some it could not be found out.
    failed: bool,
}

async fn plan_all(chosen: Vec<Leftover>, journals: &Journals, arguments: &CleanupArgs) -> Planned {
    let mut planned = Planned { plans: Vec::new(), left: BTreeSet::new(), failed: false };
    for session in chosen {
        match plan(&session, journals, arguments).await {
            Ok((objects, others)) => planned.plans.push(Plan { session, objects, others }),
            Err(notice) => {
                output::say(&format!("error: session {} was not removed: {}", session.summary.id, notice.line()));
                for seen in &session.summary.objects {
                    output::say(&format!("LEFT  {}: not checked, may still exist", seen.object.text()));
                }
                planned.failed = true;
                planned.left.insert(session.summary.id.clone());
            }
        }
    }
    planned
}

/// Removes what was planned; the sessions of which something is left.
async fn remove_all(
    plans: Vec<Plan>,
    journals: &Journals,
    arguments: &CleanupArgs,
    under: &Under,
) -> BTreeSet<SessionId> {
    let mut left = BTreeSet::new();
    let mut removals = Vec::new();
    for plan in plans {
        let id = plan.session.summary.id.clone();
        if plan.session.summary.holder == Holder::Elsewhere && !confirmed_by_id(&plan.session, &id).await {
            output::say(&format!("session {id} is kept: its id was not typed"));
            left.insert(id);
        } else {
            let named = |seen: &SeenObject| (id.clone(), seen.object.clone());
            under.lock().extend(plan.objects.iter().map(named));
            let removal = remove(plan, journals, arguments, under);
            removals.push(async move { (removal.await, id) });
        }
    }
    let outcomes: Vec<(bool, SessionId)> = stream::iter(removals).buffer_unordered(AT_ONCE).collect().await;
    left.extend(outcomes.into_iter().filter(|(gone, _)| !gone).map(|(_, id)| id));
    left
}

/// Whether somebody is there and says that another way to a session's cluster is right.
pub async fn is_right(notice: &Notice) -> bool {
    if notice.failure != Failure::Moved || !io::stdin().is_terminal() {
        return false;
    }
    output::say(&notice.fact());
    asked("Is that right? [y/N]").await
}

/// Asks about sessions whose cluster is reached by another way; true when one was said to be right.
async fn ask_for_trust(
    found: &[Leftover],
    arguments: &CleanupArgs,
    at_hand: Option<&Connection>,
    journals: &Journals,
) -> bool {
    let mut trusted = false;
    if arguments.dry_run {
        return trusted;
    }
    let meant = |id: &SessionId| arguments.sessions.is_empty() || arguments.sessions.contains(id);
    for session in found.iter().filter(|one| one.summary.moved && meant(&one.summary.id)) {
        let Err(notice) = session.plan(journals, arguments.timeout).await else { continue };
        if is_right(&notice).await {
            match trust(at_hand, journals, &session.summary.id).await {
                Ok(()) => trusted = true,
                Err(notice) => output::say(&format!("error: {}", notice.line())),
            }
        }
    }
    trusted
}

/// The sessions that are meant. One that is named and cannot be had is said, and decides the exit code.
fn choose(found: Vec<Leftover>, arguments: &CleanupArgs, here: Option<&str>) -> (Vec<Leftover>, ExitCode) {
    let mut exit = ExitCode::Done;
    let mut chosen = Vec::new();
    for id in &arguments.sessions {
        match found.iter().find(|one| one.summary.id == *id) {
            Some(one) if one.summary.holder == Holder::Running => {
                output::say(&format!("error: session {id} is open in another nodewatch-tui here: quit it there first"));
                exit = ExitCode::LeftBehind;
            }
            Some(one) => chosen.push(one.clone()),
            None => output::say(&format!("session {id}: nothing left, here or in the clusters asked")),
        }
    }
    if !arguments.sessions.is_empty() {
        return (chosen, exit);
    }
    for one in found {
        let summary = &one.summary;
        let (id, owner) = (&summary.id, summary.owner.as_deref().unwrap_or("someone else"));
        match summary.holder {
            Holder::Running => output::say(&format!("session {id} is open in another nodewatch-tui here: left alone")),
            Holder::Elsewhere => {
                output::say(&format!("session {id} belongs to {owner}: left alone; cleanup {id} removes it"));
            }
            // Without --all only what this context leads to.
            Holder::Detached | Holder::Abandoned if arguments.all || here == Some(summary.context.as_str()) => {
                chosen.push(one);
            }
            Holder::Detached | Holder::Abandoned => {
                output::say(&format!("session {id} is in context {}: left alone, --all includes it", summary.context));
            }
        }
    }
    (chosen, exit)
}

async fn plan(
    session: &Leftover,
    journals: &Journals,
    arguments: &CleanupArgs,
) -> Result<(Vec<SeenObject>, BTreeSet<String>), Notice> {
    let objects = session.plan(journals, arguments.timeout).await?;
    if !arguments.with_namespace_contents {
        return Ok((objects, BTreeSet::new()));
    }
    let (others, _) = session.strangers(journals, arguments.timeout).await?;
    Ok((objects, others.into_iter().collect()))
}

fn print_plan(plans: &[Plan], arguments: &CleanupArgs) {
    let rows = plans.iter().flat_map(|plan| plan.objects.iter().map(move |seen| (&plan.session.summary, seen)));
    for plan in plans {
        for other in &plan.others {
            output::say(&format!("not of session {}, removed with its namespace: {other}", plan.session.summary.id));
        }
    }
    match arguments.output.format {
        // What becomes of each is told later, one value an object.
        Format::Json | Format::Yaml | Format::Name if !arguments.dry_run => {}
        format @ (Format::Json | Format::Yaml) => {
            let value = |(session, seen): (&SessionSummary, &SeenObject)| {
                json!({"session": session.id, "context": session.context, "action": "delete", "object": seen.object,
                    "state": seen.state})
            };
            output::print_values(&records::PLANNED_REMOVAL, rows.map(value), format);
        }
        Format::Name => output::print_names(rows.map(|(_, seen)| named(&seen.object))),
        Format::Table | Format::Wide => {
            let rows: Vec<Vec<String>> = rows
                .map(|(session, seen)| {
                    vec![
                        session.id.to_string(),
                        session.context.clone(),
                        seen.object.kind.word().to_owned(),
                        seen.object.namespace.clone().unwrap_or_else(|| "-".to_owned()),
                        seen.object.name.clone(),
                        seen.object.uid.clone().unwrap_or_default(),
                        seen.state.clone(),
                    ]
                })
                .collect();
            if !rows.is_empty() {
                output::print_table(&["SESSION", "CONTEXT", "DELETE", "NAMESPACE", "NAME", "UID", "STATE"], &rows);
            }
        }
    }
}

/// What agents have that nobody else has, before it goes. Nobody waits long for it.
async fn say_what_is_lost(plans: &[Plan], journals: &Journals, agents: &AgentSettings, patience: Duration) {
    let within = (patience / 4).min(ASKED_WITHIN);
    let with_agents = plans.iter().filter(|plan| plan.session.summary.may_have_agents());
    let asked = with_agents.map(|Plan { session, .. }| async move {
        let held = match session.beside(journals, agents.clone()) {
            Some(site) => timeout(within, manifest::held(Arc::new(site))).await.ok().and_then(Result::ok),
            None => None,
        };
        (&session.summary.id, held)
    });
    for (id, held) in join_all(asked).await {
        match held {
            None => output::say(&format!(
                "session {id}: captures and files of its agents will be lost; the agents did not list them"
            )),
            Some(held) => {
                for one in held {
                    output::say(&format!("session {id}: will be lost: {}", &held_text(&one)));
                }
            }
        }
    }
}

async fn confirmed(plans: &[Plan], planned: usize) -> bool {
    let others: usize = plans.iter().map(|plan| plan.others.len()).sum();
    // Sessions of other laptops are asked about one by one.
    if others == 0 && plans.iter().all(|plan| plan.session.summary.holder == Holder::Elsewhere) {
        return true;
    }
    let others = match others {
        0 => String::new(),
        others => format!(", and {} of others in the namespace", counted(others, "object")),
    };
    asked(&format!("Remove {}{others}? [y/N]", counted(planned, "object"))).await
}

/// Somebody else may be working with it: `--yes` does not speak for them.
async fn confirmed_by_id(session: &Leftover, id: &SessionId) -> bool {
    let summary = &session.summary;
    let owner = summary.owner.as_deref().unwrap_or("an unknown user");
    let began = summary.began.map_or_else(|| "at an unknown time".to_owned(), date_and_time);
    output::say(&format!("Session {id} was started by {owner} {began}, not on this laptop. Type its id to remove it:"));
    answer().await == id.as_str()
}

/// An object as kubectl names it.
fn named(object: &MadeObject) -> String {
    format!("{}/{}", object.kind.word().to_lowercase(), object.name)
}

/// True when everything was seen gone.
async fn remove(plan: Plan, journals: &Journals, arguments: &CleanupArgs, under: &Under) -> bool {
    let Plan { session, objects, others } = plan;
    let (id, quiet) = (session.summary.id.clone(), objects.is_empty());
    let patience: Duration = arguments.timeout;
    let mut removals = session.remove_with(journals.clone(), patience, others);
    let mut all_gone = true;
    let mut gone = 0;
    let mut silent = false;
    while let Some(removal) = removals.next().await {
        let (object, outcome, reason) = match &removal {
            Removal::Gone(object) => {
                gone += 1;
                (object, "removed", "")
            }
            Removal::Kept(object) => (object, "kept", ""),
            Removal::Failed(object, reason) => (object, "left", reason.as_str()),
            Removal::Refused(notice) => {
                output::say(&format!("error: session {id} was not removed: {}", notice.line()));
                all_gone = false;
                continue;
            }
            Removal::Noted(text) => {
                output::say(&format!("session {id}: {text}"));
                continue;
            }
            Removal::Silent(seconds) => {
                if *seconds > 0 && !silent {
                    output::say(&format!("session {id}: the API server does not answer; trying on"));
                }
                silent = *seconds > 0;
                continue;
            }
            // They are in the reason, which comes next.
            Removal::Removing(_) | Removal::Holds(_) | Removal::Finished => continue,
        };
        all_gone &= outcome != "left";
        under.lock().retain(|(session, known)| *session != id || !known.is_named_as(object));
        match arguments.output.format {
            format @ (Format::Json | Format::Yaml) => {
                let value = json!({"session": id, "object": object, "outcome": outcome, "reason": reason});
                output::print_values(&records::REMOVAL, [value].into_iter(), format);
            }
            // An object that was gone before is no news.
            _ if quiet && reason.is_empty() => {}
            Format::Name if outcome == "removed" => output::print_names([named(object)].into_iter()),
            _ if reason.is_empty() => output::progress(&format!("{outcome}  {}", object.text())),
            _ => output::say(&format!("LEFT  {}: {reason}", object.text())),
        }
    }
    if !quiet && all_gone {
        output::progress(&format!("session {id}: {gone} objects removed, nothing is left"));
    }
    all_gone
}

/// Drops journals of clusters that are gone for good.
fn forget(journals: &Journals, sessions: &[SessionId]) -> ExitCode {
    let mut exit = ExitCode::Done;
    for id in sessions {
        match journals.forget(id) {
            Ok(()) => output::say(&format!("session {id}: journal dropped; nothing was removed from its cluster")),
            Err(error) => {
                let notice = error.notice(format!("cannot forget session {id}"));
                output::say(&format!("error: {}", notice.line()));
                // As of every session that is open and therefore stays.
                let code =
                    if matches!(error, JournalError::InUse(_)) { ExitCode::LeftBehind } else { ExitCode::of(&notice) };
                exit = exit.or(code);
            }
        }
    }
    exit
}
