//! Network namespaces.

use std::net::UdpSocket;

use crate::program::{run, said};

/// `ip`, which must do it.
#[track_caller]
pub fn ip(arguments: &[&str]) {
    let output = run("ip", arguments);
    assert!(output.status.success(), "ip {arguments:?}: {}", said(&output));
}

/// Two namespaces joined by two veth pairs, and a folder; gone when dropped.
pub struct Net {
    /// The side that a test looks at.
    pub here: String,
    /// The other one.
    pub there: String,
    /// A folder for an agent's ring.
    pub ring: tempfile::TempDir,
}

impl Default for Net {
    fn default() -> Self {
        Self::new()
    }
}

impl Net {
    /// Both sides have addresses in 10.66.0.0/24 and 10.66.1.0/24: 1 here, 2 there.
    pub fn new() -> Self {
        let id = std::process::id();
        let net = Self {
            here: format!("nwt{id}a"),
            there: format!("nwt{id}b"),
            ring: tempfile::tempdir().expect("a folder"),
        };
        ip(&["netns", "add", &net.here]);
        ip(&["netns", "add", &net.there]);
        for (link, subnet) in [("veth0", "10.66.0"), ("veth1", "10.66.1")] {
            ip(&["-n", &net.here, "link", "add", link, "type", "veth", "peer", "name", link, "netns", &net.there]);
            for (name, host) in [(&net.here, 1), (&net.there, 2)] {
                ip(&["-n", name, "addr", "add", &format!("{subnet}.{host}/24"), "dev", link]);
                let v6 = format!("fd00:66:{}::{host}/64", &subnet[6..]);
                ip(&["-n", name, "-6", "addr", "add", &v6, "dev", link, "nodad"]);
                ip(&["-n", name, "link", "set", link, "up"]);
                ip(&["-n", name, "link", "set", "lo", "up"]);
            }
        }
        net
    }

    /// Sends so many UDP packets with that payload from the other side.
    pub fn send(&self, to: &str, count: usize, payload: &[u8]) {
        in_namespace(&self.there, || {
            let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any).expect("bind");
            for _ in 0..count {
                // Nobody listens: the refusal of one packet is told at the next.
                let refused = socket.send_to(payload, to).is_err();
                if refused {
                    socket.send_to(payload, to).expect("the network takes it");
                }
            }
        });
    }
}

/// Runs on a thread of its own in that network namespace.
pub fn in_namespace<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    let file = std::fs::File::open(format!("/run/netns/{name}")).expect("the namespace");
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let kind = rustix::thread::LinkNameSpaceType::Network;
                rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind)).expect("setns");
                work()
            })
            .join()
            .expect("no panic")
    })
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.here, &self.there] {
            run("ip", &["netns", "del", name]);
        }
    }
}
