//! Pods' own interfaces, found by routes and bridges as clusters have them, by an agent without any right but NET_RAW.

use std::{os::unix::fs::PermissionsExt, process::Command};

use nodewatch_protocol::{CaptureSpec, CaptureState, FromAgent, Request, Response, ToAgent, Update};
use nodewatch_testing::{
    agent::Agent,
    namespaces::{Net, in_namespace, ip},
    packets::tshark,
};
use tempfile::TempDir;

use crate::{PROGRAM, on, possible};

/// An agent with the rights of one in a cluster, in one of two joined namespaces; `None` where that cannot be.
fn as_in_a_cluster() -> Option<(Net, Agent, TempDir)> {
    if !possible() {
        return None;
    }
    let net = Net::new();
    // Its own user can reach neither a folder of root's nor a program below it.
    let folder = tempfile::Builder::new().prefix("nodewatch-test").tempdir_in("/tmp").expect("a folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).expect("chmod");
    let program = folder.path().join("nodewatch-agent");
    std::fs::copy(PROGRAM, &program).expect("copy");
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", net.here)).arg("setpriv");
    command.args(["--reuid=65532", "--regid=65532", "--clear-groups", "--no-new-privs"]);
    command.args(["--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw", "--bounding-set=-all,+net_raw"]);
    command.arg(&program).args(["serve", "--stdio", "--ring"]).arg(folder.path().join("ring"));
    let agent = Agent::spawn(command, &folder.path().join("ring"));
    Some((net, agent, folder))
}

/// A pod's namespace beside a node's; gone when dropped.
pub(crate) struct Pod {
    name: String,
    address: String,
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = nodewatch_testing::program::run("ip", &["netns", "del", &self.name]);
    }
}

impl Pod {
    /// One at the node's end of a veth pair of that name, to which a route of its own leads.
    pub(crate) fn routed(net: &Net, host_end: &str, address: &str) -> Self {
        let pod = Self::paired(net, host_end, address, "32");
        ip(&["-n", &net.here, "route", "add", &format!("{address}/32"), "dev", host_end, "scope", "link"]);
        ip(&["-n", &pod.name, "route", "add", "10.66.0.1", "dev", "eth0"]);
        pod
    }

    fn paired(net: &Net, host_end: &str, address: &str, length: &str) -> Self {
        let pod = Self { name: format!("{}{host_end}", net.here), address: address.to_owned() };
        ip(&["netns", "add", &pod.name]);
        ip(&["-n", &net.here, "link", "add", host_end, "type", "veth", "peer", "name", "eth0", "netns", &pod.name]);
        ip(&["-n", &pod.name, "addr", "add", &format!("{address}/{length}"), "dev", "eth0"]);
        ip(&["-n", &pod.name, "link", "set", "eth0", "up"]);
        ip(&["-n", &net.here, "link", "set", host_end, "up"]);
        pod
    }

    /// Its namespace.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A packet from it to the node.
    pub(crate) fn send(&self, to: &str) {
        in_namespace(&self.name, || {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("bind");
            for _ in 0..3 {
                // Nobody listens: the refusal of one packet is told at the next.
                let _ = socket.send_to(b"pod", to);
            }
        });
    }
}

fn start(agent: &mut Agent, addresses: &[&str]) -> Vec<String> {
    let toward = addresses.iter().map(|address| address.parse().expect("an address")).collect();
    let spec = CaptureSpec { toward, filter: Some("udp port 9999".into()), ..on(&[]) };
    agent.say(&ToAgent::Request { id: 7, request: Request::StartCapture(spec) });
    let (mut done, mut found) = (false, None);
    agent.until("a capture", |message| {
        match message {
            FromAgent::Response { id: 7, response } => {
                assert_eq!(response, Response::Done);
                done = true;
            }
            FromAgent::Update(Update::Capture(CaptureState::Running { interfaces, .. })) => found = Some(interfaces),
            _ => {}
        }
        if done { found.take() } else { None }
    })
}

fn note(agent: &mut Agent, wanted: &str) -> String {
    agent.until(wanted, |message| match message {
        FromAgent::Update(Update::Note { message }) if message.contains(wanted) => Some(message),
        _ => None,
    })
}

#[test]
fn a_route_of_its_own_leads_to_a_pods_interface_and_one_that_comes_later_joins() {
    let Some((net, mut agent, _folder)) = as_in_a_cluster() else { return };
    let first = Pod::routed(&net, "cali1", "10.77.0.4");
    // By a table of its own that a rule leads to, as clouds' networks have it.
    let second = Pod::paired(&net, "eni2", "10.77.0.5", "32");
    ip(&["-n", &net.here, "route", "add", "10.77.0.5/32", "dev", "eni2", "scope", "link", "table", "77"]);
    ip(&["-n", &net.here, "rule", "add", "to", "10.77.0.5", "lookup", "77"]);
    ip(&["-n", &second.name, "route", "add", "10.66.0.1", "dev", "eth0"]);
    assert_eq!(start(&mut agent, &["10.77.0.4", "10.77.0.5"]), ["cali1", "eni2"]);
    first.send("10.66.0.1:9999");
    second.send("10.66.0.1:9999");
    net.send("10.66.0.1:9999", 3, b"not a pod's");
    let (last, files) = agent.stop();
    assert_eq!(last.packets, 6);
    let rows = tshark(&files[0], &["frame.interface_name", "ip.src"]);
    let of = |name: &str, address: &str| rows.iter().filter(|row| row[0] == name && row[1] == address).count();
    assert_eq!((of("cali1", &first.address), of("eni2", &second.address)), (3, 3), "{rows:?}");

    // A route that is not there yet leads to the default interfaces, and the pod's own joins when it comes.
    let interfaces = start(&mut agent, &["10.77.0.6"]);
    assert!(!interfaces.iter().any(|name| name == "cali3"), "{interfaces:?}");
    let third = Pod::routed(&net, "cali3", "10.77.0.6");
    note(&mut agent, "interface cali3 leads to a pod");
    third.send("10.66.0.1:9999");
    // One that goes with its pod is no loss.
    drop(third);
    note(&mut agent, "interface cali3 is gone with its pod");
    agent.say(&ToAgent::Request { id: 0, request: Request::StopCapture });
    let (_, _, files) = agent.ended();
    let newest = files.last().expect("a file");
    let rows = tshark(&agent.ring.join(&newest.name), &["frame.interface_name"]);
    assert_eq!(rows.iter().filter(|row| row[0] == "cali3").count(), 3, "{rows:?}");
    assert!(!newest.incomplete.contains("cali3"), "{newest:?}");
}

#[test]
fn behind_a_bridge_the_port_is_taken_and_what_leads_elsewhere_is_said() {
    let Some((net, mut agent, _folder)) = as_in_a_cluster() else { return };
    let here = |arguments: &[&str]| ip(&[&["-n", net.here.as_str()], arguments].concat());
    here(&["link", "add", "cni0", "type", "bridge"]);
    here(&["addr", "add", "10.78.0.1/24", "dev", "cni0"]);
    here(&["link", "set", "cni0", "up"]);
    let one = Pod::paired(&net, "veth7", "10.78.0.7", "24");
    let other = Pod::paired(&net, "veth8", "10.78.0.8", "24");
    for port in ["veth7", "veth8"] {
        here(&["link", "set", port, "master", "cni0"]);
    }
    // The bridge learns where it is by a packet of its own.
    nodewatch_testing::eventually("the bridge knows the pod", nodewatch_testing::program::SOON, || {
        one.send("10.78.0.1:9998");
        let known =
            nodewatch_testing::program::run("ip", &["-n", &net.here, "neigh", "show", "10.78.0.7", "dev", "cni0"]);
        String::from_utf8_lossy(&known.stdout).contains("lladdr")
    });
    assert_eq!(start(&mut agent, &["10.78.0.7"]), ["veth7"]);
    one.send("10.78.0.1:9999");
    other.send("10.78.0.1:9999");
    let (last, files) = agent.stop();
    assert_eq!(last.packets, 3);
    assert!(tshark(&files[0], &["frame.interface_name"]).iter().all(|row| row[0] == "veth7"));

    // To the other side leads what others use too.
    let toward = vec!["10.66.0.2".parse().expect("an address")];
    let spec = CaptureSpec { toward, ..on(&[]) };
    agent.say(&ToAgent::Request { id: 8, request: Request::StartCapture(spec) });
    let said = note(&mut agent, "no interface leads to this pod alone");
    assert!(said.contains("10.66.0.2"), "{said}");
    agent.stop();
}
