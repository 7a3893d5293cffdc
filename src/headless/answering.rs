//! `diagnose` on nodes: why connections fail there, by the session's rules.
//!
//! Owns for how long is looked, what is told meanwhile and at the end, and the exit code. How answers are found and how
//! they read is not known here.

use std::collections::BTreeMap;

use nodewatch_answers::{Answer, Code, Place as Where};
use tokio::time::Instant;

use super::{
    ExitCode, answers,
    gaps::{Gap, Gaps},
    output,
    run::{Run, Stop},
    select::Choice,
    team::Team,
    watch,
};
use crate::{
    base::text::time_of_day,
    cli::DiagnoseArgs,
    model::Notice,
    session::{Session, node::NodeState},
};

/// Watches until the time is over, a signal comes, nobody reads any more, or no node can be watched; then says what is known.
pub(super) async fn diagnose(run: &mut Run, choice: &Choice, arguments: &DiagnoseArgs) -> Result<ExitCode, Stop> {
    let spec = watch::spec(&arguments.packets).map_err(Stop::Notice)?;
    let mut team = Team::gather(run, choice, Some(watch::was_told_to_watch)).await?;
    let end = Instant::now() + arguments.duration;
    let mut given = BTreeMap::new();
    let mut told = Vec::new();
    let refused = |state: &NodeState| state.refusal.is_some();
    let (mut gaps, mut holes) = (Gaps::default(), Vec::new());
    loop {
        watch::begin(run, &mut team, &spec, &mut given);
        team.take_back(run.session());
        team.look(run.session(), refused);
        for state in team.members().iter().filter_map(|name| run.session().nodes.get(name)) {
            if let Some(gap) = gaps.look(state, run.session(), team.last_word(&state.node.name)) {
                output::progress(&gap.line());
                holes.push(gap);
            }
        }
        tell_new(run.session(), &mut told);
        if team.is_through(run.session(), refused) || Instant::now() >= end {
            break;
        }
        // A signal is a way to end it early, and so is a reader that has had enough.
        if run.step_for_reader().await.is_err() {
            break;
        }
    }
    let untold = watch::rest(run).await;
    let session = run.session();
    holes.extend(watch::left(session, &team, &mut gaps, &untold));
    let members = team.members();
    let states = members.iter().filter_map(|name| session.nodes.get(name));
    let refusals: Vec<Notice> = states.filter_map(|state| state.refusal.clone()).collect();
    let (found, looked) = session.answers.concluded(session.wall(session.now));
    let missing: Vec<&Notice> = team.failures().chain(&refusals).collect();
    answers::print(&found, &looked, &not_seen(session, &missing, &holes), arguments.output);
    for notice in &refusals {
        output::say(&format!("error: {}", notice.line()));
    }
    Ok(match answers::exit_code(&found) {
        ExitCode::Done => match team.outcome(members.len().saturating_sub(refusals.len()), refusals) {
            ExitCode::Done if !holes.is_empty() => ExitCode::Partly,
            exit => exit,
        },
        found => found,
    })
}

/// What tells an answer from others.
type Key = (Option<Code>, Where);

/// A line for each verdict and likely answer that did not stand before.
fn tell_new(session: &Session, told: &mut Vec<Key>) {
    let stand: Vec<&Answer> = session.answers.current().filter(|answer| answer.certainty.is_answer()).collect();
    let key = |answer: &&Answer| (answer.code, answer.place.clone());
    for answer in stand.iter().filter(|answer| !told.contains(&key(answer))) {
        let time = time_of_day(session.wall(session.now));
        output::progress(&format!("{time} {}: {}: {}", answer.certainty.word(), answer.title(), answer.text));
    }
    *told = stand.iter().map(key).collect();
}

/// What answers do not know of.
fn not_seen(session: &Session, missing: &[&Notice], holes: &[Gap]) -> Vec<String> {
    let mut lines: Vec<String> = missing.iter().map(|notice| notice.headline.clone()).collect();
    lines.extend(holes.iter().map(Gap::blind_spot));
    // Watching has ended by now.
    lines.extend(session.blind_spots_beside(|state| state.seen.watch.heard().is_some()));
    lines
}
