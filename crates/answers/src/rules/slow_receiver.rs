//! N-16: the application does not read what comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use nodewatch_protocol::{Finding, Symptom};

use crate::{
    Certainty, Code,
    view::{Draft, ENOUGH_EXACT, View},
};

/// A window that is closed for less is no stall, in milliseconds.
const LONG: u32 = 500;
/// Windows that are closed for less, in milliseconds, are those of readers that pace themselves too.
const PACED: u32 = 2_000;

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| {
        let case = trouble.showing(Finding::Symptom(Symptom::Stalled)).filter(|case| case.amount >= LONG)?;
        // A server that does not read lets all its clients wait; a client is slow with one server, or with another.
        let client = (case.source, 0);
        Some(if case.by_server { (trouble.backend, None) } else { (client, Some(trouble.backend)) })
    });
    let mut drafts = Vec::new();
    for ((receiver, server), hurt) in groups {
        let case = |&at: &usize| view.troubles[at].first();
        let connections: BTreeSet<_> = hurt.iter().map(case).map(|case| (case.source, case.ports.0)).collect();
        if connections.len() < ENOUGH_EXACT {
            continue;
        }
        let asked = server.unwrap_or(receiver).0;
        let of = view.attempts(|ends| ends.destination == asked).0;
        let clients: BTreeMap<IpAddr, usize> = connections.iter().fold(BTreeMap::new(), |mut clients, (client, _)| {
            *clients.entry(*client).or_default() += 1;
            clients
        });
        // Of many clients some are slow, or slowed down on purpose.
        let of_one = clients.values().max().is_some_and(|most| *most >= ENOUGH_EXACT);
        if !of_one && !view.enough(&hurt, of, ENOUGH_EXACT) {
            continue;
        }
        let mut lengths: Vec<u32> = hurt.iter().map(|&at| view.troubles[at].amount()).collect();
        lengths.sort_unstable();
        let is_paced = lengths[lengths.len() / 2] < PACED;
        let at = view.troubles[hurt[0]].millis();
        let closed: u64 = hurt.iter().map(|&at| u64::from(view.troubles[at].amount())).sum();
        let name = view.name(receiver, at);
        let sender = match (server, clients.len()) {
            (Some(server), _) => view.name(server, at),
            (None, 1) => view.name((view.troubles[hurt[0]].first().source, 0), at),
            (None, several) => format!("{several} clients"),
        };
        let text = format!(
            "{name} does not read: it has closed its window on {} connections for 0.5 s and more, {:.1} s in all, while {sender} \
             had to wait",
            connections.len(),
            closed as f64 / 1000.0
        );
        let mut draft =
            Draft::of(Code::SlowReceiver, if is_paced { Certainty::Likely } else { Certainty::Verdict }, text);
        if is_paced {
            draft.not_seen = vec!["whether it takes no more on purpose, as a paced download does".to_owned()];
        }
        draft.place = view.place_of(receiver, at);
        draft.of = of;
        draft.ruled_out = vec!["loss: the receiver itself has said that it takes nothing".to_owned()];
        draft.next = match view.journal.pod_at(receiver.0, at).and_then(|pod| pod.name.split_once('/')) {
            Some((namespace, pod)) => vec![format!("kubectl top pod -n {namespace} {pod} --containers")],
            None => vec![format!("ss -tmi    # where {} is: Recv-Q and rcv_space", receiver.0)],
        };
        draft.next.push(
            "container_cpu_cfs_throttled_periods_total; a fixed SO_RCVBUF that is too small; consumer lag".to_owned(),
        );
        draft.hurt = hurt;
        drafts.push(draft);
    }
    drafts
}
