//! N-09: a late packet escapes untranslated, and the client ends the connection.

use std::net::IpAddr;

use nodewatch_protocol::Finding;

use crate::{
    Certainty, Code,
    view::{Draft, ENOUGH_EXACT, View},
};

/// Others were seen on their way from the one to the other, or it is a service's address and one of its backends.
fn is_translated(view: &View<'_>, asked: IpAddr, backend: (IpAddr, u16)) -> bool {
    let service = view.journal.service_of(backend.0, backend.1);
    let is_its = service.is_some_and(|service| view.journal.is_address_of(asked, service));
    is_its || view.joined.is_translated(asked, backend.0)
}

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    // From the same port the client has a connection with another address.
    let groups = view.grouped(|trouble| {
        let stray = trouble.showing(Finding::Stray)?;
        // An answer to a beginning is not late: it has come past whoever was asked.
        if stray.id.is_some() {
            return None;
        }
        let other = stray.other.filter(|other| *other != stray.destination)?;
        Some((view.last_node(trouble).to_owned(), other, stray.destination))
    });
    let mut drafts = Vec::new();
    for ((node, known_as, backend), hurt) in groups {
        let at = view.troubles[hurt[0]].millis();
        // A pod's own address is no service's: its client has two connections from one port, as after it was made anew.
        let is_pods = view.journal.pod_at(known_as, at).is_some_and(|pod| !pod.on_host);
        if hurt.len() < ENOUGH_EXACT || is_pods {
            continue;
        }
        let trouble = view.troubles[hurt[0]];
        let case = trouble.showing(Finding::Stray).unwrap_or(trouble.first());
        let sure = is_translated(view, known_as, (backend, case.ports.1));
        let text = format!(
            "{} connections to {known_as} were ended by their clients: a packet came from the backend {backend} untranslated, \
             and was answered with RST",
            hurt.len()
        );
        let mut draft = Draft::of(Code::InvalidReset, if sure { Certainty::Verdict } else { Certainty::Likely }, text);
        draft.place = view.place_of((known_as, 0), at);
        draft.place.node = Some(node.clone());
        draft.of = view.attempts(|ends| ends.destination == known_as).0;
        draft.ruled_out =
            vec![format!("the server: the client has reset {}, which it has no connection with", case.destination)];
        draft.next = vec![
            format!(
                "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1    # on {node}; kube-proxy: conntrack.tcpBeLiberal"
            ),
            "iptables-save | grep -- '--ctstate INVALID'    # the rule that drops such packets must be there"
                .to_owned(),
        ];
        if !sure {
            let other = format!(
                "whether {known_as} is translated to {backend}: a client that was made anew resets old connections too"
            );
            draft.not_seen = vec![other];
        }
        draft.exact = true;
        draft.hurt = hurt;
        drafts.push(draft);
    }
    drafts
}
