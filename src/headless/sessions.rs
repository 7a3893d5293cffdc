//! `sessions`, and `report` of one: what earlier sessions have left, and what the journals say of them.
//!
//! Owns where sessions are looked for, and how they are listed.

use std::time::Duration;

use serde_json::json;

use super::{ExitCode, output, records};
use crate::{
    agents::rings::LeftRing,
    base::text::{counted, date_and_time},
    cli::Format,
    cluster::{Connection, LOOK_WITHIN, Leftover, sessions as find},
    journal::Journals,
    model::{Holder, Notice, SeenObject, SessionId, Summary},
};

/// Lists every session that has something left, or is running here. Without a journal to ask only this machine's.
pub async fn sessions(
    asked: Option<(Result<Connection, Notice>, &Journals)>,
    rings: &[LeftRing],
    format: Format,
) -> ExitCode {
    let (found, notices) = match asked {
        Some((current, journals)) => find_all(current, journals, LOOK_WITHIN).await,
        None => (Vec::new(), Vec::new()),
    };
    let exit = match notices.first() {
        None => ExitCode::Done,
        Some(notice) if found.is_empty() && rings.is_empty() => ExitCode::of(notice),
        Some(_) => ExitCode::Partly,
    };
    let there: Vec<&Leftover> =
        found.iter().filter(|one| !one.summary.objects.is_empty() || one.summary.holder == Holder::Running).collect();
    match format {
        Format::Json | Format::Yaml => {
            let values = there.iter().map(|one| json!(one.summary)).chain(rings.iter().map(super::rings::json));
            output::print_values(&records::SESSION, values, format);
        }
        Format::Name => {
            let ids = there.iter().map(|one| &one.summary.id).chain(rings.iter().map(|ring| &ring.session));
            output::print_names(ids.map(ToString::to_string));
        }
        Format::Table | Format::Wide if there.is_empty() && rings.is_empty() => output::say("no sessions found"),
        Format::Table | Format::Wide => {
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let mut rows: Vec<Vec<String>> = there
                .iter()
                .map(|one| {
                    let summary = &one.summary;
                    let what = match summary.trouble.as_str() {
                        "" => {
                            let agents = counted(summary.agents(), "agent");
                            format!("{agents}, {}", counted(summary.objects.len(), "object"))
                        }
                        trouble => format!("{}, unknown: {trouble}", counted(summary.objects.len(), "object")),
                    };
                    vec![
                        summary.id.to_string(),
                        summary.holder.word().to_owned(),
                        or_dash(summary.owner.clone()),
                        summary.context.clone(),
                        or_dash(summary.began.map(date_and_time)),
                        or_dash(summary.ends.map(date_and_time)),
                        what,
                        or_dash(objects(&summary.objects)),
                    ]
                })
                .collect();
            rows.extend(rings.iter().map(super::rings::row));
            let heads = ["SESSION", "HOLDER", "OWNER", "CONTEXT", "BEGAN", "ENDS", "LEFT", "OBJECTS"];
            let wide = format == Format::Wide;
            output::print_table(if wide { &heads } else { &heads[..7] }, &output::cut(rows, wide, 7));
        }
    }
    exit
}

/// Each object in words; `None` where there is none.
fn objects(seen: &[SeenObject]) -> Option<String> {
    let named: Vec<String> = seen.iter().map(|seen| seen.object.text()).collect();
    (!named.is_empty()).then(|| named.join(", "))
}

/// What a session's report is made of: what was seen of it when it ended, or else what its journal has.
pub fn summary(journals: &Journals, session: &SessionId) -> Result<Summary, Notice> {
    let record = journals.record(session).map_err(|error| {
        let notice = error.notice(format!("no report for session {session}"));
        let next_step = format!("{}; to report from a recording, use --from", notice.next_step);
        Notice { next_step, ..notice }
    })?;
    let told = journals.told(&record);
    // Agents, packets and ports are known to the program that has it open, and to nobody else before that ends.
    if journals.holder(&record) == Holder::Running && told.nodes.is_empty() {
        let headline = format!("no report for session {session} yet");
        let cause = "it is still open in another program, which alone knows what was seen";
        return Err(Notice::error(headline, cause, "write it in that program, or detach there first"));
    }
    Ok(told)
}

/// All sessions; what could not be asked is said and returned. Without a usable context the journals' clusters are
/// asked all the same.
pub(super) async fn find_all(
    current: Result<Connection, Notice>,
    journals: &Journals,
    within: Duration,
) -> (Vec<Leftover>, Vec<Notice>) {
    let (current, unusable) = match current {
        Ok(connection) => (Some(connection), None),
        Err(notice) => (None, Some(notice)),
    };
    let (found, mut notices) = find(current.as_ref(), journals, within).await;
    notices.extend(unusable);
    for notice in &notices {
        output::say(&format!("error: {}", notice.line()));
    }
    (found, notices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{journal::Header, model::ClusterIdentity};

    #[test]
    fn a_session_that_another_program_has_open_has_no_report_yet() {
        let folder = tempfile::tempdir().expect("a folder");
        let journals = Journals::in_folder(folder.path());
        let session = SessionId::new(1);
        let header = Header {
            session: session.clone(),
            owner: "me@here".into(),
            began: 1,
            ends: 100,
            cluster: ClusterIdentity {
                kubeconfig: vec!["/k".into()],
                context: "c".into(),
                server: "https://s".into(),
                ca_sha256: None,
                kube_system_uid: "u".into(),
            },
            namespace: "n".into(),
            own_namespace: true,
            agents: None,
        };
        let journal = journals.create(&header).expect("created");
        let notice = summary(&journals, &session).expect_err("it goes on");
        assert!(notice.line().contains("still open in another program"), "{}", notice.line());
        drop(journal);
        assert!(summary(&journals, &session).is_ok(), "what its journal has");
    }
}
