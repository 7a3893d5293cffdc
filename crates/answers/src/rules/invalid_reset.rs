//! N-09: a late packet escapes untranslated, and the client ends the connection.

use nodewatch_protocol::Finding;

use crate::{
    Certainty, Code,
    view::{Draft, ENOUGH_EXACT, View},
};

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
        if hurt.len() < ENOUGH_EXACT {
            continue;
        }
        let case = view.troubles[hurt[0]].first();
        let at = view.troubles[hurt[0]].millis();
        let text = format!(
            "{} connections to {known_as} were ended by their clients: a packet came from the backend {backend} untranslated, \
             and was answered with RST",
            hurt.len()
        );
        let mut draft = Draft::of(Code::InvalidReset, Certainty::Verdict, text);
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
        draft.exact = true;
        draft.hurt = hurt;
        drafts.push(draft);
    }
    drafts
}
