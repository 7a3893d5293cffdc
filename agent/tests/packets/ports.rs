//! Listening sockets of a namespace of their own, as `ss` lists them.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use nodewatch_agent::sockets::Scanner;

use nodewatch_testing::{
    here,
    namespaces::{Net, in_namespace, ip},
    program::run,
};

use crate::possible;

/// Every way of binding that is part of a port, and a group that is one port.
const OPEN: &str = r"
import socket, sys
kept = []
def bound(kind, address, port, device=None, v6only=None, protocol=0, scope=0, reuse=False):
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    s = socket.socket(family, kind, protocol)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse: s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if device: s.setsockopt(socket.SOL_SOCKET, 25, device.encode())
    if v6only is not None: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    s.bind((address, port, 0, scope) if family == socket.AF_INET6 else (address, port))
    if kind == socket.SOCK_STREAM: s.listen()
    kept.append(s)
tcp, udp = socket.SOCK_STREAM, socket.SOCK_DGRAM
bound(tcp, '0.0.0.0', 8010, 'veth0'); bound(tcp, '0.0.0.0', 8010, 'veth1'); bound(tcp, '0.0.0.0', 8011, 'lo')
bound(tcp, '::', 8003, v6only=0); bound(tcp, '::', 8004, v6only=1); bound(tcp, '::', 8005, 'veth0', 0)
bound(udp, '::', 8006, v6only=0); bound(udp, '0.0.0.0', 53); bound(udp, '10.66.0.1', 53, 'veth0')
for _ in range(3): bound(tcp, '0.0.0.0', 8030, reuse=True)
for name in ('veth0', 'veth1'):
    bound(udp, 'fe80::1', 5353, scope=socket.if_nametoindex(name))
try: bound(tcp, '0.0.0.0', 8020, protocol=262)
except OSError: pass
client = socket.socket(socket.AF_INET, udp); client.connect(('10.66.0.2', 9)); kept.append(client)
print('open', flush=True)
sys.stdin.read()
";

fn open(net: &Net) -> Child {
    let mut child = Command::new("ip")
        .args(["netns", "exec", &net.here, "python3", "-c", OPEN])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "open\n");
    child
}

/// As `ss` has them, with the interface inside the brackets.
fn listed(net: &Net) -> BTreeSet<String> {
    let output = run("ip", &["netns", "exec", &net.here, "ss", "-Htuln"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let place = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let place = match words[4].split_once("]%") {
            Some((address, rest)) => {
                let (device, port) = rest.rsplit_once(':').expect("a port");
                format!("{address}%{device}]:{port}")
            }
            None => words[4].to_owned(),
        };
        format!("{} {place}", words[0])
    };
    text.lines().map(place).collect()
}

#[test]
fn ports_are_as_ss_has_them() {
    if !possible() || !here::possible(&["ss"]) {
        return;
    }
    let net = Net::new();
    for link in ["veth0", "veth1"] {
        ip(&["-n", &net.here, "-6", "addr", "add", "fe80::1/64", "dev", link, "nodad"]);
    }
    let mut holder = open(&net);
    let (scan, ss) = (in_namespace(&net.here, || Scanner::default().scan(None)), listed(&net));
    drop(holder.stdin.take());
    let _ = holder.wait();
    let ours: BTreeSet<String> =
        scan.ports.iter().map(|port| format!("{} {}", port.protocol.word(), port.place())).collect();
    assert!(scan.gaps.is_empty(), "{:?}", scan.gaps);
    assert_eq!(ours, ss);
    for telling in
        ["tcp 0.0.0.0%veth0:8010", "tcp 0.0.0.0%veth1:8010", "tcp *:8003", "tcp [::]:8004", "tcp *%veth0:8005"]
    {
        assert!(ours.contains(telling), "{telling}: {ours:?}");
    }
    assert!(ours.contains("udp [fe80::1%veth0]:5353") && ours.contains("udp [fe80::1%veth1]:5353"), "{ours:?}");
}
