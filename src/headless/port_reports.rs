//! Reports of the past, and alarms: what is in CloudWatch, without any agent.
//!
//! Owns what is printed of them and the exit code.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::StreamExt;
use serde_json::{Value, json};

use super::{ExitCode, ask::asked, output, records, select::named};
use crate::{
    agents::site::Site,
    base::{
        clock::unix_millis,
        text::{counted, date_and_time},
    },
    cli::{AlarmsCommand, CleanupArgs, Format, NodesArgs},
    journal::{Entry, Journals, Record},
    logs::{Filters, Logs, MAX_NAMES, Scope, asked as asked_for_credentials},
    model::{
        AlarmKind, Failure, Holder, LogsSettings, Made, NodeName, NodesChange, Notice, PastQuery, PastReport,
        PortClass, PortKey, Selector, SessionId, Way,
    },
    session::port_reports::changes,
};

/// Past reports that are read at most.
const MOST: usize = 100_000;
/// Before it is said that something is waited for.
const SILENT_FOR: Duration = Duration::from_secs(2);
/// The list of nodes has so long to come.
const LISTED_WITHIN: Duration = Duration::from_secs(60);

/// Refuses what would come to nothing: credentials that are missing, over, or do not come. Says what is waited for.
pub async fn check_credentials(logs: &Logs) -> Result<(), Notice> {
    let mut check = std::pin::pin!(logs.check_credentials());
    if let Ok(checked) = tokio::time::timeout(SILENT_FOR, &mut check).await {
        return checked;
    }
    output::say(&format!("waiting for AWS credentials from {}", asked_for_credentials()));
    check.await
}

/// What would keep this laptop's reports and alarms from CloudWatch, before anything is deployed.
pub async fn check(logs: &Logs) -> Result<(), Notice> {
    if logs.settings().way != Way::Grant && !logs.settings().alarms {
        return Ok(());
    }
    check_credentials(logs).await?;
    if let Some(notice) = logs.check().await? {
        output::say(&format!("warning: {}", notice.line()));
    }
    Ok(())
}

/// Reports that CloudWatch Logs has, oldest first; as a table what changed between them, newest first.
pub async fn past(
    logs: &Logs,
    nodes: &NodesArgs,
    since: Duration,
    port: Option<PortKey>,
    format: Format,
) -> Result<ExitCode, Notice> {
    if nodes.selector.is_some() {
        let cause = "labels of past nodes are unknown";
        return Err(Notice::error("-l cannot be used with --since", cause, "use --nodes").of(Failure::BadInput));
    }
    check_credentials(logs).await?;
    let query = PastQuery {
        nodes: nodes.nodes.iter().map(|name| named(name)).collect(),
        port,
        since: unix_millis().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        limit: MOST,
    };
    let reports = logs.past(&query).await.map_err(|error| error.notice("cannot read past reports"))?;
    if reports.first().is_some_and(|oldest| oldest.older_left_out) {
        let newest = counted(reports.len(), "report");
        output::say(&format!("showing only the newest {newest}: use a shorter --since, or --nodes"));
    }
    match format {
        Format::Json | Format::Yaml => {
            output::print_values(&records::PAST_PORT_REPORT, reports.iter().map(past_value), format);
        }
        Format::Name => output::print_names(reports.iter().map(|report| report.node.clone())),
        Format::Table | Format::Wide if reports.is_empty() => output::say("no reports in that period"),
        Format::Table | Format::Wide => {
            let rows: Vec<Vec<String>> =
                changes(&reports).into_iter().map(|(at, node, text)| vec![date_and_time(at), node, text]).collect();
            output::print_table(&["TIME", "NODE", "WHAT CHANGED"], &rows);
        }
    }
    let holes = reports.iter().filter(|report| report.incomplete.is_some()).count();
    if holes > 0 {
        output::say(&format!("warning: {} incomplete: closed ports are shown from complete reports only", are(holes)));
        return Ok(ExitCode::Partly);
    }
    Ok(ExitCode::Done)
}

fn past_value(report: &PastReport) -> Value {
    let ports = report.ports.iter().map(|past| match past.class {
        PortClass::Unknown => json!({"port": past.port}),
        class => json!({"port": past.port, "class": class}),
    });
    json!({"at": report.at, "node": report.node, "ports": ports.collect::<Vec<_>>(),
        "excluded": report.excluded, "unexpected": report.unexpected, "incomplete": report.incomplete})
}

fn are(reports: usize) -> String {
    format!("{} {}", counted(reports, "report"), if reports == 1 { "is" } else { "are" })
}

/// A cluster's alarms: made for the nodes that there are, listed, removed.
pub async fn alarms(logs: &Logs, command: AlarmsCommand, site: Option<Arc<dyn Site>>) -> Result<ExitCode, Notice> {
    check_credentials(logs).await?;
    let scope = Scope::Cluster;
    let failed = |headline: &'static str| move |error: crate::logs::LogsError| error.notice(headline);
    match command {
        AlarmsCommand::Create { nodes, metric_filter, output: format } => {
            let chosen = match site {
                Some(site) => choose(&*site, &nodes).await?,
                None => Vec::new(),
            };
            if metric_filter {
                let filters = logs.put_filters(unix_millis(), chosen.len()).await;
                match filters.map_err(failed("cannot create the metric filters"))? {
                    Filters::ByHostname => output::say("metric filters created, with the dimension hostname"),
                    Filters::Whole(names) => output::say(&format!(
                        "warning: {names} node names in an hour: above {MAX_NAMES} CloudWatch Logs disables the filters, \
                         so they were created without a dimension; alarms on single nodes need nodewatch-agent's own \
                         events"
                    )),
                }
            }
            let (made, removed) = logs.reconcile(&scope, &chosen).await.map_err(failed("cannot create all alarms"))?;
            let cluster = &logs.settings().cluster;
            match format.format {
                Format::Json | Format::Yaml => {
                    let value = json!({"cluster": cluster, "made": made, "removed": removed});
                    output::print_values(&records::ALARM_CHANGES, std::iter::once(value), format.format);
                }
                Format::Name => output::print_names(std::iter::once(cluster.clone())),
                Format::Table | Format::Wide => {
                    output::say(&format!("cluster {cluster}: {} created, {removed} removed", counted(made, "alarm")));
                }
            }
        }
        AlarmsCommand::List { output: format } => list(logs, format.format).await?,
        AlarmsCommand::Delete { session, yes } => {
            let whole = session.is_none();
            let scope = session.map_or(scope, Scope::Session);
            let there = logs.alarms(&scope).await.map_err(failed("cannot list the alarms"))?;
            let cluster = &logs.settings().cluster;
            if !there.is_empty()
                && !yes
                && !asked(&format!("Remove {} of {cluster}? [y/N]", counted(there.len(), "alarm"))).await
            {
                output::say("nothing was removed");
                return Ok(ExitCode::BadUsage);
            }
            let removed = logs.delete_alarms(&scope).await.map_err(failed("alarms may still exist"))?;
            if whole && !logs.settings().group.is_empty() {
                logs.delete_filters().await.map_err(failed("metric filters may still exist"))?;
            }
            output::say(&format!("cluster {cluster}: {} removed", counted(removed, "alarm")));
        }
    }
    Ok(ExitCode::Done)
}

async fn list(logs: &Logs, format: Format) -> Result<(), Notice> {
    let alarms = logs.all_alarms().await.map_err(|error| error.notice("cannot list the alarms"))?;
    let what = |kind: &AlarmKind| match kind {
        AlarmKind::Silent(node) => ("silent", node.0.clone()),
        AlarmKind::Errors => ("agent-errors", String::new()),
        AlarmKind::Unexpected => ("unexpected-ports", String::new()),
        AlarmKind::Answer(code) => (code.text(), String::new()),
    };
    match format {
        Format::Json | Format::Yaml => {
            let value = |alarm: &crate::model::Alarm| {
                let (alarmed_by, node) = what(&alarm.kind);
                json!({"name": alarm.name, "session": alarm.session, "alarm": alarmed_by,
                    "node": (!node.is_empty()).then_some(node), "state": alarm.state})
            };
            output::print_values(&records::ALARM, alarms.iter().map(value), format);
        }
        Format::Name => output::print_names(alarms.iter().map(|alarm| alarm.name.clone())),
        Format::Table | Format::Wide if alarms.is_empty() => output::say("no alarms for this cluster"),
        Format::Table | Format::Wide => {
            let row = |alarm: &crate::model::Alarm| {
                let (kind, node) = what(&alarm.kind);
                let session = alarm.session.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
                vec![kind.to_owned(), node, session, alarm.state.clone(), alarm.name.clone()]
            };
            let rows: Vec<Vec<String>> = alarms.iter().map(row).collect();
            output::print_table(&["ALARM", "NODE", "SESSION", "STATE", "NAME"], &rows);
        }
    }
    Ok(())
}

/// The chosen nodes of those that there are; all of them without a choice.
async fn choose(site: &dyn Site, arguments: &NodesArgs) -> Result<Vec<NodeName>, Notice> {
    let none = || Notice::error("cannot list the nodes", "no answer", "try again").of(Failure::Unreachable);
    let changes = site.nodes().filter(|change| {
        let answers = !matches!(change, NodesChange::Told(_));
        async move { answers }
    });
    let mut changes = std::pin::pin!(changes);
    let first = tokio::time::timeout(LISTED_WITHIN, changes.next()).await.map_err(|_| none())?;
    let nodes = match first.ok_or_else(none)? {
        NodesChange::Replaced(nodes) => nodes,
        NodesChange::Failed(notice) => return Err(notice),
        NodesChange::Applied(_) | NodesChange::Gone(_) | NodesChange::Told(_) => return Err(none()),
    };
    let bad = |headline: String| Notice::error(headline, "", "see nodewatch-tui nodes").of(Failure::BadInput);
    if let Some(selector) = &arguments.selector {
        let labels = Selector::parse(selector).map_err(bad)?;
        return Ok(nodes.into_iter().filter(|node| labels.takes(&node.labels)).map(|node| node.name).collect());
    }
    let names: BTreeSet<NodeName> = nodes.into_iter().map(|node| node.name).collect();
    let wanted = arguments.nodes.iter().map(|name| named(name));
    let wanted: Vec<NodeName> = wanted.collect();
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(name)) {
        return Err(bad(format!("node {:?} not found", unknown.0)));
    }
    Ok(if wanted.is_empty() { names.into_iter().collect() } else { wanted })
}

/// Alarms that sessions have left, and with `--reports` their log groups: named, asked about, removed.
pub async fn remove_left(journals: &Journals, arguments: &CleanupArgs, here: Option<&str>) -> ExitCode {
    let mut exit = ExitCode::Done;
    let all: Vec<Record> = journals.all().into_iter().flatten().collect();
    for record in all {
        let id = record.header.session.clone();
        let meant = arguments.sessions.contains(&id)
            || (arguments.sessions.is_empty()
                && journals.holder(&record) != Holder::Running
                && (arguments.all || here == Some(record.header.cluster.context.as_str())));
        let Some(settings) = record.logs.clone().filter(|_| meant) else { continue };
        if !record.has_alarms() && !arguments.reports {
            if !arguments.sessions.is_empty() {
                output::say(&format!(
                    "reports in log group {} are kept: --reports removes a group created here",
                    settings.group
                ));
            }
            continue;
        }
        if journals.holder(&record) == Holder::Running {
            output::say(&format!("error: session {id} is open in another nodewatch-tui here: quit it there first"));
            exit = ExitCode::LeftBehind;
            continue;
        }
        if let Err(notice) = remove_one(journals, arguments, &id, settings).await {
            output::say(&format!("error: {}", notice.line()));
            exit = ExitCode::LeftBehind;
        }
    }
    exit
}

async fn remove_one(
    journals: &Journals,
    arguments: &CleanupArgs,
    id: &SessionId,
    settings: LogsSettings,
) -> Result<(), Notice> {
    let left =
        |error: crate::logs::LogsError| error.notice(format!("alarms or log groups of session {id} may still exist"));
    let logs = Logs::open(settings.clone()).await;
    let scope = Scope::Session(id.clone());
    let alarms = logs.alarms(&scope).await.map_err(left)?;
    let groups = if arguments.reports { logs.groups_of(id).await.map_err(left)? } else { Vec::new() };
    let what = format!("{} and {} of session {id}", counted(alarms.len(), "alarm"), counted(groups.len(), "log group"));
    if arguments.dry_run {
        output::say(&format!("would remove {what}"));
        return Ok(());
    }
    // Alarms go with their session; reports are asked about.
    if !groups.is_empty() && !arguments.yes && !asked(&format!("Remove {what}? [y/N]")).await {
        return Err(Notice::error(format!("{what} are kept"), "not confirmed", "use --yes"));
    }
    logs.delete_alarms(&scope).await.map_err(left)?;
    logs.remove_groups(&groups).await.map_err(left)?;
    if !(alarms.is_empty() && groups.is_empty()) {
        output::say(&format!("removed  {what}"));
    }
    let reports = arguments.reports.then(|| Made::Reports { reports: settings.clone() });
    let headline = format!("the journal of session {id} still lists its alarms");
    let (journal, _) = journals.open(id).map_err(|error| error.notice(headline.clone()))?;
    for gone in [Made::Alarms { alarms: settings }].into_iter().chain(reports) {
        journal.record(Entry::Gone(gone)).map_err(|error| error.notice(headline.clone()))?;
    }
    Ok(())
}
