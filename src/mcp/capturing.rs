//! Captures as tools: one that is started goes on until another call, its time or the server's end.
//!
//! Owns when a capture counts as started, and what of its bytes is given back to the budget.

use std::ffi::OsString;

use serde_json::json;

use super::{
    arguments::{FreezeArguments, StartArguments, StopArguments, option},
    captures::Capture,
    refusal::Refusal,
    server::{Answer, Context, Server, Told, answer, lost},
    twin::{Outcome, Running},
};
use crate::model::SessionId;

/// A capture that was asked for without its size has this on each node.
const CAPTURE_BYTES: u64 = 16 << 20;

impl Server {
    pub(super) async fn start(&self, asked: Result<StartArguments, Refusal>, context: &Context) -> Answer {
        let asked = asked?;
        let seconds = self.budget.time(asked.seconds.unwrap_or(60))?;
        let recorder = asked.recorder_seconds.map(|seconds| self.budget.time(seconds)).transpose()?;
        let each = asked.bytes.unwrap_or(CAPTURE_BYTES);
        let (words, count) = self.chosen(&asked.on, context).await?;
        let nodes = self.budget.nodes(count)?;
        let bytes = each.saturating_mul(count as u64);
        self.budget.bytes(bytes)?;
        let mut command = self.watching("capture", seconds, asked.filter.as_deref());
        command.extend(words);
        let folder = self.settings.folder.join(format!("capture-{:08x}", rand::random::<u32>()));
        command.extend([OsString::from("--out"), folder.into()]);
        command.push(match recorder {
            Some(seconds) => option("recorder", &format!("{seconds}s,{each}")),
            None => option("max-bytes", &each.to_string()),
        });
        let begun = match self.twin.start(command, Some(nodes)) {
            Ok(running) => begun(running, context).await,
            Err(refusal) => Err(refusal),
        };
        let begun = begun.inspect_err(|_| self.budget.refund(bytes))?;
        let (running, session) = match begun {
            Begun::Runs(running, session) => (running, session),
            Begun::Ended(outcome) => {
                self.settle(bytes, &outcome);
                return Ok(answer(outcome, 0));
            }
        };
        let recorder = recorder.is_some();
        let record = json!({"kind": "capture", "session": session, "state": "running", "nodes": count, "recorder": recorder,
            "bytes_each": each, "seconds": seconds});
        let capture = Capture { running, bytes, bytes_each: each, nodes: count, recorder, outcome: None };
        self.captures.put(session, capture);
        Ok((json!({"outcome": "running"}), vec![record], 0))
    }

    pub(super) async fn freeze(&self, asked: Result<FreezeArguments, Refusal>, context: &Context) -> Answer {
        let asked = asked?;
        let (before, after) = (asked.before_seconds.unwrap_or(30), asked.after_seconds.unwrap_or(5));
        let (before, after) = (self.budget.time(before)?, self.budget.time(after)?);
        let (nodes, each) = self.captures.recorder(&asked.session)?;
        let bytes = each.saturating_mul(nodes as u64);
        self.budget.bytes(bytes)?;
        let mut command: Vec<OsString> = ["freeze", &asked.session, "-o", "json"].map(OsString::from).into();
        command.push(option("freeze-before", &format!("{before}s")));
        command.push(option("freeze-after", &format!("{after}s")));
        if self.settings.local {
            command.push("--local".into());
        }
        let folder = self.settings.folder.join(format!("freeze-{:08x}", rand::random::<u32>()));
        command.extend([OsString::from("--out"), folder.into()]);
        let outcome = self.obeyed(command, None, context).await.inspect_err(|_| self.budget.refund(bytes))?;
        self.settle(bytes, &outcome);
        Ok(answer(outcome, 0))
    }

    pub(super) async fn stop(&self, asked: Result<StopArguments, Refusal>, context: &Context) -> Answer {
        let asked = asked?;
        let Capture { mut running, bytes, outcome, .. } = self.captures.take(&asked.session)?;
        running.stop();
        let outcome = if let Some(outcome) = outcome {
            outcome
        } else {
            let mut told = Told::of(context);
            // It is on its way to its end, which a call that is taken back does not hasten.
            loop {
                tokio::select! {
                    outcome = &mut running.done => break outcome.map_err(|_| lost())?,
                    Some(line) = running.said.recv() => told.tell(&line).await,
                }
            }
        };
        self.settle(bytes, &outcome);
        Ok(answer(outcome, 0))
    }

    /// Of the bytes that were taken out of the budget those come back that no file has.
    fn settle(&self, bytes: u64, outcome: &Outcome) {
        let files = outcome.gathered.records().iter().filter_map(|record| record["bytes"].as_u64());
        self.budget.refund(bytes.saturating_sub(files.fold(0, u64::saturating_add)));
    }
}

/// A capture that was started.
enum Begun {
    /// It runs, under that session's ID.
    Runs(Running, String),
    /// It has ended before.
    Ended(Outcome),
}

/// Waits until a capture runs.
async fn begun(mut running: Running, context: &Context) -> Result<Begun, Refusal> {
    let mut told = Told::of(context);
    let mut taken_back = false;
    loop {
        tokio::select! {
            biased;
            Some(line) = running.said.recv() => {
                if let Some(session) = session_of(&line).filter(|_| !taken_back) {
                    return Ok(Begun::Runs(running, session));
                }
                told.tell(&line).await;
            }
            outcome = &mut running.done => return outcome.map(Begun::Ended).map_err(|_| lost()),
            () = context.ct.cancelled(), if !taken_back => {
                taken_back = true;
                running.stop();
            }
        }
    }
}

/// The session that says that it captures, or is armed: see `capture` of the headless commands.
fn session_of(line: &str) -> Option<String> {
    let (session, rest) = line.strip_prefix("session ")?.split_once(' ')?;
    let id: SessionId = session.parse().ok()?;
    (rest.starts_with("captures on") || rest.starts_with("is armed")).then(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_of_a_capture_is_read_from_what_it_says() {
        let of = |line| session_of(line).unwrap_or_default();
        assert_eq!(of("session 7f3a91c2 captures on 2 nodes"), "7f3a91c2");
        assert_eq!(of("session 7f3a91c2 is armed: nodewatch-tui freeze 7f3a91c2 saves"), "7f3a91c2");
        assert_eq!(of("session 7f3a91c2 on this machine ended without cleanup"), "");
        assert_eq!(of("a: session 7f3a91c2 is armed"), "");
    }
}
