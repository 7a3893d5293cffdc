//! N-12: a link on the way takes less than is sent, and nobody says so.

use std::net::IpAddr;

use nodewatch_protocol::Finding;

use crate::{
    Certainty, Code,
    view::{Draft, ENOUGH_EXACT, View},
};

/// Smaller segments are not stuck because of their size.
const LARGE: u32 = 500;

pub(super) fn find(view: &View<'_>) -> Vec<Draft> {
    let groups = view.grouped(|trouble| {
        let stuck = trouble.showing(Finding::Stuck);
        stuck.filter(|case| case.amount >= LARGE && case.silence_millis < view.idle).map(|case| {
            let ends = [trouble.first().source, trouble.backend.0];
            if case.by_server { (ends[1], ends[0]) } else { (ends[0], ends[1]) }
        })
    });
    groups.into_iter().filter_map(|((from, to), hurt)| of(view, (from, to), hurt)).collect()
}

fn of(view: &View<'_>, (from, to): (IpAddr, IpAddr), hurt: Vec<usize>) -> Option<Draft> {
    if hurt.len() < ENOUGH_EXACT {
        return None;
    }
    // Something that is smaller, or later, must have arrived while these were sent in vain; else the way or the end is gone.
    let later = hurt.iter().filter(|&&at| view.troubles[at].seen.iter().any(|it| it.case.others_pass)).count();
    let shown =
        |at: usize| view.troubles[at].seen.iter().filter(|it| it.case.what == Finding::Stuck).map(|it| it.case.at);
    let first = hurt.iter().flat_map(|&at| shown(at)).min().unwrap_or(i64::MAX);
    let begun = hurt
        .iter()
        .filter(|&&at| view.troubles[at].first().id.is_some() && view.troubles[at].first().began > first)
        .count();
    // Of those that are begun each has had its small packets acknowledged, but for them being begun again.
    let repeated =
        view.troubles.iter().filter(|it| it.is_lost_attempt() && it.backend.0 == view.troubles[hurt[0]].backend.0);
    let exact = later >= ENOUGH_EXACT;
    if !exact && (begun < ENOUGH_EXACT || repeated.count() * 4 > hurt.len()) {
        return None;
    }
    let trouble = &view.troubles[hurt[0]];
    let at = trouble.millis();
    let stuck = hurt.iter().map(|&at| view.troubles[at].amount()).min().unwrap_or(0);
    let said = view.mtu.get(&to).or_else(|| view.mtu.get(&from)).copied();
    let node = view.last_node(trouble);
    let fragmentation = view.steps(node, "ip.fragmentation_fails", &hurt);
    let mut text = format!(
        "{} connections from {} to {} are stuck: segments of {stuck} bytes and more do not arrive, smaller ones do",
        hurt.len(),
        view.name((from, 0), at),
        view.name((to, 0), at)
    );
    if let Some(mtu) = said {
        text = format!("{text}; a link on the way takes {mtu} bytes");
    }
    let mut draft = Draft::of(Code::MtuHole, Certainty::Verdict, text);
    draft.place = view.place_of(trouble.backend, at);
    if !fragmentation.is_empty() {
        draft.place.node = Some(node.to_owned());
    }
    draft.of = view.attempts_of(&hurt).0;
    draft.counters = fragmentation;
    draft.ruled_out = vec![if exact {
        "loss of all packets: later bytes of the same connections were acknowledged".to_owned()
    } else {
        format!(
            "loss of all packets: {begun} of them were begun, and their small packets answered, after others were stuck"
        )
    }];
    draft.next = vec![
        format!("ping -M do -s 1372 {to}    # from the client's pod or node: lower -s until it passes, plus 28 is the MTU"),
        "AWS_VPC_ENI_MTU of the VPC CNI; transit gateway 8500, VPN and internet 1500; security groups must let ICMP type 3 code 4 in".to_owned(),
    ];
    draft.exact = true;
    draft.hurt = hurt;
    Some(draft)
}
