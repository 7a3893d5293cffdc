//! The causes, a file each: pure functions of what is seen.
//!
//! Owns that each is asked, and the one check that would decide where two fit. A rule needs a symptom that somebody has
//! felt, a mechanism, both at one place and time, and says which neighbours it has excluded; a counter alone is a note.

mod accept_queue;
mod allowance;
mod conntrack_full;
mod dns_silent;
mod dns_throttled;
mod endpoint_gone;
mod idle_cut;
mod invalid_reset;
mod keep_alive_race;
mod located;
mod mtu_hole;
mod neighbour;
mod notes;
mod policy_drop;
mod return_path;
mod slow_receiver;
mod snat_ports;
mod wire_loss;

use crate::{
    Code,
    view::{Draft, View},
};

/// What all rules find.
pub(crate) fn all(view: &View<'_>) -> Vec<Draft> {
    const RULES: [fn(&View<'_>) -> Vec<Draft>; 18] = [
        endpoint_gone::find,
        policy_drop::find,
        dns_throttled::find,
        dns_silent::find,
        idle_cut::find,
        keep_alive_race::find,
        conntrack_full::find,
        snat_ports::find,
        invalid_reset::find,
        allowance::find,
        accept_queue::find,
        mtu_hole::find,
        return_path::find,
        wire_loss::find,
        neighbour::find,
        slow_receiver::find,
        located::find,
        notes::find,
    ];
    RULES.iter().flat_map(|rule| rule(view)).collect()
}

/// The one check that would decide for a cause.
pub(crate) fn check(code: Code) -> &'static str {
    match code {
        Code::EndpointGone => "was the pod ready at that moment: kubectl get endpointslice -o wide",
        Code::PolicyDrop => "does a policy select the pod: kubectl get networkpolicy",
        Code::DnsThrottled => "ena.linklocal_allowance_exceeded of the node: did it rise",
        Code::DnsSilent => "the same question to the DNS server's pod itself: kubectl exec ... -- nslookup NAME SERVER",
        Code::IdleCut => "does a connection that is used every 30 s survive",
        Code::KeepAliveRace => "does the server close after equal idle times",
        Code::ConntrackFull => "conntrack.count of the node against conntrack.max",
        Code::SnatPorts => "conntrack.insert_failed of the node: did it rise",
        Code::InvalidReset => "does the client reset packets that carry the backend's own address",
        Code::Allowance => "ena.*_allowance_exceeded of both nodes: did they rise",
        Code::AcceptQueue => "kubectl exec POD -- ss -ltn: is Recv-Q above Send-Q",
        Code::MtuHole => "ping -M do -s 1372 from the client's node to the server",
        Code::ReturnPath => {
            "ip.reverse_path_drops of the node: did it rise; ip route get CLIENT from SERVER: which interface"
        }
        Code::WireLoss => "watch both nodes: was it sent by one and not seen by the other",
        Code::Neighbour => "arp.table_fulls, or ndisc.table_fulls, of the node: did it rise",
        Code::SlowReceiver => "kubectl top pod: is the receiver out of CPU",
    }
}
