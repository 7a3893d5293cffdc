//! Probes that somebody on the way answers: a router, a firewall, the node itself; and a name server that answers nothing.

use std::net::SocketAddr;

use nodewatch_protocol::{CaptureSpec, PortProtocol, Probe, ProbeOutcome, RefusalKind, Request, Response};

use nodewatch_testing::{
    agent::Agent,
    namespaces::{Net, in_namespace, ip},
    program::run,
};

use crate::{PROGRAM, filtered, possible, setup};

fn outcome(agent: &mut Agent, protocol: PortProtocol, to: &str) -> ProbeOutcome {
    let to: SocketAddr = to.parse().expect("an address");
    match agent.ask(Request::Probe(Probe { protocol, to, tries: 1 })) {
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

/// The very incident: names are not resolved. The agent asks nobody, and goes on.
#[test]
fn a_name_server_that_never_answers_is_not_asked() {
    if !possible() {
        return;
    }
    let net = Net::new();
    let silent = in_namespace(&net.there, || std::net::UdpSocket::bind("10.66.0.2:53").expect("bound"));
    silent.set_nonblocking(true).expect("set");
    let resolver = net.ring.path().join("resolv.conf");
    std::fs::write(&resolver, "nameserver 10.66.0.2\n").expect("written");
    let mut command = std::process::Command::new("unshare");
    let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&resolver);
    command.args(["nsenter", &format!("--net=/run/netns/{}", net.here), PROGRAM, "serve", "--stdio", "--ring"]);
    let ring = net.ring.path().join("ring");
    command.arg(&ring);
    let mut agent = Agent::spawn(command, &ring);
    for filter in ["host db.example.com", "tcp port 80 and (host a.example.com or host b.example.com)"] {
        let spec = CaptureSpec { filter: Some(filter.into()), ..filtered("") };
        match agent.ask(Request::StartCapture(spec)) {
            Response::Refused(refusal) => assert_eq!(refusal.kind, RefusalKind::Invalid, "{refusal:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(agent.ask(Request::Heartbeat), Response::Done);
    }
    let asked = silent.recv(&mut [0; 512]).expect_err("nobody asks");
    assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);
}
