//! A session that another program began: what that one saw and did, joined with what this one sees.
//!
//! Owns what of both goes into one report. Pure.

use nodewatch_protocol::{CaptureFile, Delivery, FileState, UnixMillis};

use super::{
    Effect, Session,
    exit::Phase,
    files::{Missed, Stored},
};
use crate::model::{CaptureRun, FileSummary, Moment, NodeName, NodeSummary, RatePoint, Span, Summary};

/// Points of rates a node in a report.
const MOST_POINTS: usize = 1024;
/// Moments and changes in a report: a session may be taken up many times.
const MOST_MOMENTS: usize = 5000;

impl Session {
    /// What was done on nodes since the last second, for the journal.
    pub(super) fn acts_due(&mut self) -> Vec<Effect> {
        // What is done from then on is in the summary of the end.
        if self.is_leaving() && self.exit_phase() != Some(Phase::Asking) {
            return Vec::new();
        }
        let ahead = self.wall_ahead;
        let mut acts: Vec<Moment> = Vec::new();
        for state in self.nodes.values_mut() {
            let name = &state.node.name.clone();
            acts.extend(state.take_acts().into_iter().map(|act| Moment {
                at: act.at.saturating_add_signed(ahead),
                node: Some(name.clone()),
                text: act.text,
            }));
        }
        if acts.is_empty() { Vec::new() } else { vec![Effect::Remember(acts)] }
    }

    /// What ports did until then is known from an earlier part of the session.
    pub(super) fn heard_until(&self) -> UnixMillis {
        // A program that was killed has told nothing of them.
        let told = self.earlier.as_ref().filter(|earlier| !earlier.nodes.is_empty());
        told.map_or(0, |earlier| self.steady(earlier.written))
    }

    /// Files that went with their ring. What was delivered while nobody was attached S3 alone can tell.
    pub(super) fn missed(&mut self, missed: Missed) {
        let unsure = self.life.attached.is_some()
            && self.terms.storage.is_some()
            && matches!(self.transfers.stored, Stored::Unknown | Stored::Asked);
        if unsure {
            self.transfers.missed.push(missed);
        } else {
            self.find_in_s3();
            self.tell_lost(&missed);
        }
    }

    /// What S3 has is known, or cannot be.
    pub(super) fn settle_missed(&mut self) {
        self.find_in_s3();
        for missed in std::mem::take(&mut self.transfers.missed) {
            self.tell_lost(&missed);
        }
    }

    /// Files of rings that are gone, of which nobody has heard that they were delivered, may be in S3.
    fn find_in_s3(&mut self) {
        let (Some(storage), Stored::Known(stored)) = (&self.terms.storage, &self.transfers.stored) else { return };
        for object in stored {
            let Some((session, node, name)) = storage.url.split_key(&object.key) else { continue };
            let state = self.nodes.get_mut(&NodeName(node.to_owned())).filter(|_| session == self.terms.id);
            let name = name.strip_suffix(".zst").unwrap_or(name);
            let file = state.and_then(|state| state.gone.former.iter_mut().find(|file| file.name == name));
            if let Some(file) = file.filter(|file| !file.delivery.is_over()) {
                file.delivery = Delivery::Delivered { key: object.key.clone(), size: object.size, unproved: false };
            }
        }
    }

    /// A node's ring as it was when an earlier program left: what of it is gone since is missed.
    pub(super) fn take_up_ring(&mut self, name: &NodeName) {
        let node = self.earlier.as_ref().and_then(|earlier| earlier.nodes.iter().find(|node| node.name == *name));
        let (Some(node), Some(state)) = (node, self.nodes.get_mut(name)) else { return };
        let files = node.files.iter().filter(|file| file.in_ring && !file.kept).map(file_of).collect();
        state.ring_was(node.ring.clone(), files);
        let ran = node.captures.last().is_some_and(|run| run.ended.is_none() && !run.is_recorder());
        state.fate.unseen = ran;
    }
}

/// A file of a ring as it was told.
fn file_of(file: &FileSummary) -> CaptureFile {
    CaptureFile {
        name: file.name.clone(),
        sequence: file.sequence,
        size: file.bytes,
        packets: file.packets,
        started: file.started,
        ended: file.ended,
        state: if file.ended == 0 { FileState::Open } else { FileState::Closed },
        dropped: file.dropped,
        incomplete: file.incomplete.clone(),
        sha256: file.sha256.clone(),
        delivery: Delivery::Held,
        fetched: false,
        since: file.since,
    }
}

/// One summary of what was seen before and of what is seen now.
pub(super) fn joined(earlier: &Summary, now: Summary) -> Summary {
    let mut nodes: Vec<NodeSummary> = Vec::new();
    let mut later = now.nodes;
    for before in &earlier.nodes {
        match later.iter().position(|node| node.name == before.name) {
            Some(index) => nodes.push(node(before.clone(), later.swap_remove(index))),
            None => nodes.push(left(before.clone())),
        }
    }
    nodes.append(&mut later);
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let watched: Vec<Span> = earlier.watched.iter().copied().chain(now.watched).collect();
    Summary {
        timeline: moments(earlier.timeline.clone(), now.timeline),
        nodes,
        watched,
        by: if now.by.is_empty() { earlier.by.clone() } else { now.by },
        answers: earlier.answers.clone().joined(now.answers),
        ..now
    }
}

/// In order of time, each once: the journal and the summary may both have it.
fn moments(earlier: Vec<Moment>, now: Vec<Moment>) -> Vec<Moment> {
    let mut all: Vec<Moment> = earlier.into_iter().chain(now).collect();
    all.sort_by(|a, b| (a.at, &a.node, &a.text).cmp(&(b.at, &b.node, &b.text)));
    all.dedup();
    all.drain(..all.len().saturating_sub(MOST_MOMENTS));
    all
}

/// A node of which nothing was seen since.
fn left(mut node: NodeSummary) -> NodeSummary {
    "not seen since".clone_into(&mut node.agent);
    node
}

fn node(earlier: NodeSummary, now: NodeSummary) -> NodeSummary {
    let mut flaps = earlier.flaps;
    for flap in now.flaps {
        match flaps.iter().position(|known| known.port == flap.port) {
            Some(index) => flaps[index] = flaps[index].clone().joined(flap),
            None => flaps.push(flap),
        }
    }
    flaps.sort_by_key(|flap| std::cmp::Reverse(flap.closed));
    let mut changes: Vec<_> = earlier.changes.into_iter().chain(now.changes).collect();
    changes.drain(..changes.len().saturating_sub(MOST_MOMENTS));
    let mut gaps = earlier.gaps;
    let new: Vec<String> = now.gaps.into_iter().filter(|gap| !gaps.contains(gap)).collect();
    gaps.extend(new);
    let mut full_queues = earlier.full_queues;
    for queue in now.full_queues {
        match full_queues.iter().position(|known| known.port == queue.port) {
            Some(index) => full_queues[index] = full_queues[index].clone().joined(queue),
            None => full_queues.push(queue),
        }
    }
    NodeSummary {
        full_queues,
        ring: if now.ring.is_empty() { earlier.ring } else { now.ring },
        ports: if now.ports.is_empty() { earlier.ports } else { now.ports },
        changes,
        rates: rates(earlier.rates.into_iter().chain(now.rates).collect()),
        capture: now.capture.or(earlier.capture),
        files: files(earlier.files, now.files),
        flaps,
        clients: earlier.clients + now.clients,
        outages: earlier.outages.into_iter().chain(now.outages).collect(),
        captures: captures(earlier.captures, now.captures),
        probes: earlier.probes.into_iter().chain(now.probes).collect(),
        gaps,
        ..now
    }
}

/// What was found here before stays here, whatever the ring says of it now.
fn files(earlier: Vec<FileSummary>, mut now: Vec<FileSummary>) -> Vec<FileSummary> {
    let mut all = Vec::new();
    for before in earlier {
        match now.iter().position(|file| file.name == before.name) {
            Some(index) => {
                let file = now.remove(index);
                let keeps = before.kept && !file.kept;
                all.push(if keeps {
                    FileSummary { place: before.place, kept: true, checked: before.checked, ..file }
                } else {
                    file
                });
            }
            None if before.kept => all.push(before),
            None => all.push(FileSummary { place: "no longer on the node".to_owned(), in_ring: false, ..before }),
        }
    }
    all.append(&mut now);
    all
}

/// A capture that went on meanwhile is one.
fn captures(earlier: Vec<CaptureRun>, now: Vec<CaptureRun>) -> Vec<CaptureRun> {
    let mut all = earlier;
    for run in now {
        match all.iter().position(|known| known.since == run.since) {
            Some(index) => all[index] = CaptureRun { began: all[index].began, ..run },
            None => all.push(run),
        }
    }
    all
}

/// In bounded memory: neighbours become one where there are too many, and never over a hole.
fn rates(mut points: Vec<RatePoint>) -> Vec<RatePoint> {
    while points.len() > MOST_POINTS {
        let mut fewer: Vec<RatePoint> = Vec::with_capacity(points.len() / 2 + 1);
        let mut open = false;
        for point in points.iter().copied() {
            match fewer.last_mut() {
                Some(last) if open && !last.is_before_a_hole(&point) => {
                    last.millis += point.millis;
                    last.packets += point.packets;
                    last.bytes += point.bytes;
                    open = false;
                }
                _ => {
                    fewer.push(point);
                    open = true;
                }
            }
        }
        if fewer.len() == points.len() {
            break;
        }
        points = fewer;
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_that_is_still_there_is_told_once() {
        let of = |gaps: &[&str]| NodeSummary {
            gaps: gaps.iter().map(|gap| (*gap).to_owned()).collect(),
            ..NodeSummary::named("a".into())
        };
        let both = node(of(&["ports: no udp_diag", "the ring was full"]), of(&["ports: no udp_diag", "evicted"]));
        assert_eq!(both.gaps, ["ports: no udp_diag", "the ring was full", "evicted"]);
    }
}
