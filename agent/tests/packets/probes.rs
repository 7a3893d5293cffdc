//! Probes that somebody on the way answers: a router, a firewall, the node itself.

use std::net::SocketAddr;

use nodewatch_protocol::{PortProtocol, Probe, ProbeOutcome, Request, Response};

use crate::{
    setup,
    support::{Agent, Net, ip, run},
};

fn outcome(agent: &mut Agent, protocol: PortProtocol, to: &str) -> ProbeOutcome {
    let to: SocketAddr = to.parse().expect("an address");
    match agent.ask(Request::Probe(Probe { protocol, to })) {
        Response::Probed(probed) => probed.outcome,
        other => panic!("{other:?}"),
    }
}

/// The other namespace as a router, which has no way to some networks.
fn route(net: &Net) {
    // The kernel says such things once a second by itself.
    for setting in ["net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"] {
        assert!(run("ip", &["netns", "exec", &net.there, "sysctl", "-wq", setting]).status.success());
    }
    for (kind, prefix) in [("unreachable", "10.67.1.0/24"), ("prohibit", "10.67.2.0/24")] {
        ip(&["-n", &net.there, "route", "add", kind, prefix]);
        ip(&["-n", &net.here, "route", "add", prefix, "via", "10.66.0.2"]);
    }
}

#[test]
fn who_says_that_a_port_cannot_be_reached_is_told() {
    let Some((net, mut agent)) = setup() else { return };
    route(&net);
    let router = Some("10.66.0.2".parse().expect("an address"));
    for protocol in [PortProtocol::Tcp, PortProtocol::Udp] {
        let told = outcome(&mut agent, protocol, "10.67.1.9:81");
        let wanted = ProbeOutcome::Unreachable { by: router, reason: "no answer from its host".into() };
        assert_eq!(told, wanted, "{protocol:?}");
        let told = outcome(&mut agent, protocol, "10.67.2.9:81");
        let wanted = ProbeOutcome::Unreachable { by: router, reason: "prohibited by a firewall".into() };
        assert_eq!(told, wanted, "{protocol:?}");
        // The other side itself, at an address of its own.
        assert_eq!(outcome(&mut agent, protocol, "10.66.0.2:81"), ProbeOutcome::Refused, "{protocol:?}");
        assert_eq!(outcome(&mut agent, protocol, "[fd00:66:0::2]:81"), ProbeOutcome::Refused, "{protocol:?}");
        // Nothing was sent.
        let told = outcome(&mut agent, protocol, "10.99.0.1:81");
        assert_eq!(told, ProbeOutcome::Failed { reason: "Network is unreachable".into() }, "{protocol:?}");
    }
}
