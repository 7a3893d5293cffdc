//! The faults: each is made for real, in variants, beside traffic that is well.

use std::time::Duration;

use nodewatch_answers::Code;

use crate::lab::{Family, Lab};

/// A fault.
pub struct Fault {
    /// Its name in the table.
    pub name: &'static str,
    /// What should be said first; none where nothing should be.
    pub code: Option<Code>,
    /// Makes it, once agents watch. The number is the variant's.
    pub make: fn(&mut Lab, usize),
    /// The whole machine is changed by it: it is made alone.
    pub alone: bool,
    /// It needs IPv4: what it changes has no other form.
    pub only_v4: bool,
}

impl Fault {
    const fn new(name: &'static str, code: Code, make: fn(&mut Lab, usize)) -> Self {
        Self { name, code: Some(code), make, alone: false, only_v4: false }
    }

    const fn healthy(name: &'static str, make: fn(&mut Lab, usize)) -> Self {
        Self { name, code: None, make, alone: false, only_v4: false }
    }
}

/// Seconds in which all is well, before something is not.
const WELL: Duration = Duration::from_secs(5);

fn port(variant: usize) -> String {
    [8080, 443, 5432][variant % 3].to_string()
}

/// Seconds between two calls.
fn between(variant: usize) -> &'static str {
    ["0.1", "0.05", "0.2"][variant % 3]
}

/// A server and its clients, all well.
fn plain(lab: &mut Lab, variant: usize) -> (String, String) {
    let (server, port) = (lab.server(1), port(variant));
    lab.job("srv", "server.py", &["plain", &port]);
    lab.job("cli", "client.py", &["once", &server, &port, between(variant)]);
    lab.hear(WELL);
    (server, port)
}

/// Every cause.
pub const FAULTS: &[Fault] = &[
    Fault::new("a backend is killed", Code::EndpointGone, |lab, variant| {
        let port = port(variant);
        let address = lab.service(80, port.parse().expect("a port"));
        lab.job("srv", "server.py", &["plain", &port]);
        let second = lab.job("srv2", "server.py", &["plain", &port]);
        lab.job("cli", "client.py", &["once", &address, "80", between(variant)]);
        lab.hear(WELL);
        lab.end_job(second);
    }),
    Fault::new("an endpoint has left", Code::EndpointGone, |lab, variant| {
        let (port, backend) = (port(variant), port(variant).parse().expect("a port"));
        let address = lab.service(80, backend);
        lab.endpoints(backend, &[1, 2]);
        lab.job("srv", "server.py", &["plain", &port]);
        let second = lab.job("srv2", "server.py", &["plain", &port]);
        lab.job("cli", "client.py", &["once", &address, "80", between(variant)]);
        lab.hear(WELL);
        // The rules of the client's node still lead there.
        lab.endpoints(backend, &[1]);
        lab.end_job(second);
    }),
    Fault::new("a rule rejects by a reset", Code::PolicyDrop, |lab, variant| {
        plain(lab, variant);
        lab.nft(
            "a",
            "add table inet f; add chain inet f e { type filter hook forward priority 0; }; \
             add rule inet f e tcp flags & (syn|ack) == syn numgen random mod 2 < 1 reject with tcp reset",
        );
    }),
    Fault::new("a policy drops", Code::PolicyDrop, |lab, variant| {
        plain(lab, variant);
        let share = ["2 < 1", "3 < 1", "2 < 1"][variant % 3];
        lab.nft(
            "b",
            &format!(
                "add table netdev f; add chain netdev f e {{ type filter hook egress device eni0 priority 0; }}; \
                 add rule netdev f e tcp flags & (syn|ack) == syn numgen random mod {share} drop"
            ),
        );
    }),
    Fault::new("a policy rejects", Code::PolicyDrop, |lab, variant| {
        let (_, port) = plain(lab, variant);
        let table = lab.table();
        let reject = if table == "ip" { "icmp" } else { "icmpv6" };
        lab.nft(
            "b",
            &format!(
                "add table {table} f; add chain {table} f e {{ type filter hook forward priority 0; }}; \
                 add rule {table} f e tcp dport {port} tcp flags & (syn|ack) == syn numgen random mod 2 < 1 \
                 reject with {reject} type admin-prohibited"
            ),
        );
    }),
    // That of IPv6 has an address of its own.
    Fault {
        only_v4: true,
        ..Fault::new("the resolver throttles", Code::DnsThrottled, |lab, variant| {
            let server = lab.server(1);
            lab.job("srv", "server.py", &["dns", "53"]);
            lab.job("cli", "client.py", &["asks", &server, "53", between(variant)]);
            lab.hear(WELL);
            lab.nft(
                "wire",
                "add table inet f; add chain inet f e { type filter hook forward priority 0; }; \
             add rule inet f e udp dport 53 numgen random mod 2 < 1 drop",
            );
            for _ in 0..8 {
                lab.count(0, "ena.linklocal_allowance_exceeded", 20);
                lab.hear(Duration::from_secs(1));
            }
        })
    },
    Fault::new("a DNS server is silent", Code::DnsSilent, |lab, variant| {
        lab.job("srv", "server.py", &["dns_silent", "53"]);
        lab.job("srv2", "server.py", &["dns", "53"]);
        for number in [1, 2] {
            let server = lab.server(number);
            lab.job("cli", "client.py", &["asks", &server, "53", between(variant)]);
        }
    }),
    Fault::new("an idle connection is cut", Code::IdleCut, |lab, variant| {
        lab.inside("b", &["sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0"]);
        lab.inside("b", &["sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_established=30"]);
        let act = if variant == 1 { "drop" } else { "reject with tcp reset" };
        lab.nft(
            "b",
            &format!(
                "add table inet f; add chain inet f e {{ type filter hook forward priority 0; }}; \
                 add rule inet f e tcp flags & (syn|rst) == 0 ct state invalid,new {act}"
            ),
        );
        let (server, port) = plain(lab, variant);
        lab.job("cli", "client.py", &["rests", &server, &port, "0.5", "57"]);
        lab.hear(Duration::from_secs(60));
    }),
    Fault::new("the server closes what is idle", Code::KeepAliveRace, |lab, variant| {
        let (server, port) = (lab.server(1), port(variant));
        let timer = ["2.0", "1.5", "3.0"][variant % 3];
        lab.job("srv", "server.py", &["closes_idle", &port, timer]);
        lab.job("cli", "client.py", &["races", &server, &port, "0.03", timer]);
    }),
    Fault {
        alone: true,
        ..Fault::new("the connection table is full", Code::ConntrackFull, |lab, variant| {
            lab.nft(
                "b",
                "add table inet f; add chain inet f e { type filter hook forward priority 0; }; add rule inet f e ct state new accept",
            );
            let (server, port) = plain(lab, variant);
            lab.job("cli", "client.py", &["held", &server, &port, "0.05", "60"]);
            let most = ["60", "90", "120"][variant % 3];
            lab.for_all_of_the_machine("net.netfilter.nf_conntrack_max", most);
        })
    },
    Fault {
        only_v4: true,
        ..Fault::new("source ports are used up", Code::SnatPorts, |lab, variant| {
            let most = [20_009, 20_019, 20_007][variant % 3];
            lab.nft(
                "a",
                &format!(
                    "add table ip f; add chain ip f p {{ type nat hook postrouting priority 100; }}; \
                     add rule ip f p oifname eth0 ip protocol tcp masquerade to :20000-{most}"
                ),
            );
            let (server, port) = (lab.server(1), port(variant));
            lab.job("srv", "server.py", &["plain", &port]);
            lab.job("cli", "client.py", &["held", &server, &port, "0.2", "20"]);
        })
    },
    Fault {
        only_v4: true,
        ..Fault::new("packets escape untranslated", Code::InvalidReset, |lab, variant| {
            let port = port(variant);
            let address = lab.service(80, port.parse().expect("a port"));
            lab.job("srv", "server.py", &["strays", &port]);
            lab.job("srv2", "server.py", &["plain", &port]);
            lab.job("cli", "client.py", &["held", &address, "80", "0.3", "3"]);
        })
    },
    Fault::new("the instance is over its limit", Code::Allowance, |lab, variant| {
        plain(lab, variant);
        let signal =
            ["ena.pps_allowance_exceeded", "ena.bw_out_allowance_exceeded", "ena.conntrack_allowance_exceeded"]
                [variant % 3];
        lab.nft(
            "wire",
            "add table inet f; add chain inet f e { type filter hook forward priority 0; }; \
             add rule inet f e iifname toa tcp flags & (syn|ack) == syn numgen random mod 3 < 1 drop",
        );
        for _ in 0..15 {
            lab.count(0, signal, 40);
            lab.hear(Duration::from_secs(1));
        }
    }),
    Fault::new("the accept queue is full", Code::AcceptQueue, |lab, variant| {
        let (server, port) = (lab.server(1), port(variant));
        let backlog = ["2", "1", "3"][variant % 3];
        lab.job("srv", "server.py", &["accepts_late", &port, backlog]);
        lab.job("cli", "client.py", &["once", &server, &port, "0.4"]);
    }),
    Fault::new("a link takes less", Code::MtuHole, |lab, variant| {
        let mtu = ["1280", "1400", "1320"][variant % 3];
        lab.inside("wire", &["ip", "link", "set", "tob", "mtu", mtu]);
        lab.nft(
            "wire",
            "add table inet f; add chain inet f o { type filter hook output priority 0; }; \
             add rule inet f o icmp type destination-unreachable drop; add rule inet f o icmpv6 type packet-too-big drop",
        );
        let (server, port) = (lab.server(1), port(variant));
        lab.job("srv", "server.py", &["plain", &port]);
        lab.job("cli", "client.py", &["large", &server, &port, "0.5"]);
    }),
    Fault {
        only_v4: true,
        ..Fault::new("the way back is another", Code::ReturnPath, |lab, variant| {
            plain(lab, variant);
            lab.inside("b", &["ip", "link", "add", "eth9", "type", "veth", "peer", "name", "eth8"]);
            lab.inside("b", &["ip", "link", "set", "eth8", "up"]);
            lab.inside("b", &["ip", "link", "set", "eth9", "up"]);
            lab.inside("b", &["ip", "route", "add", "10.1.0.2/32", "dev", "eth9"]);
            lab.inside("b", &["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1"]);
        })
    },
    Fault {
        only_v4: true,
        ..Fault::new("answers leave elsewhere", Code::ReturnPath, |lab, variant| {
            plain(lab, variant);
            let second = lab.second_way();
            lab.inside("b", &["ip", "route", "add", "10.1.0.2/32", "via", &second]);
            // As what has a network interface of another's address.
            lab.nft(
                "wire",
                "add table inet f; add chain inet f e { type filter hook forward priority 0; }; add rule inet f e iifname tob2 drop",
            );
        })
    },
    Fault {
        only_v4: true,
        ..Fault::new("a balancer sends it back", Code::ReturnPath, |lab, variant| {
            let port = port(variant);
            lab.job("cli", "server.py", &["plain", &port]);
            lab.job("srv", "server.py", &["plain", &port]);
            let server = lab.server(1);
            lab.nft(
                "wire",
                &format!(
                    "add table ip nat; add chain ip nat pre {{ type nat hook prerouting priority -100; }}; \
                     add rule ip nat pre ip daddr 10.97.0.10 tcp dport 80 dnat to numgen random mod 2 map \
                     {{ 0 : 10.1.0.2 . {port}, 1 : {server} . {port} }}"
                ),
            );
            lab.job("cli", "client.py", &["once", "10.97.0.10", "80", between(variant)]);
        })
    },
    Fault::new("a route is missing", Code::ReturnPath, |lab, variant| {
        let (server, _) = plain(lab, variant);
        let length = if lab.family == Family::V4 { "32" } else { "128" };
        lab.inside("b", &["ip", "route", "del", &format!("{server}/{length}"), "dev", "eni0"]);
    }),
    Fault::new("a part is lost between", Code::WireLoss, |lab, variant| {
        plain(lab, variant);
        let share = ["4 < 1", "5 < 1", "3 < 1"][variant % 3];
        lab.nft(
            "wire",
            &format!(
                "add table inet f; add chain inet f e {{ type filter hook forward priority 0; }}; \
                 add rule inet f e iifname toa numgen random mod {share} drop"
            ),
        );
    }),
    Fault::new("all is lost between", Code::WireLoss, |lab, variant| {
        let (_, port) = plain(lab, variant);
        lab.nft(
            "wire",
            &format!(
                "add table inet f; add chain inet f e {{ type filter hook forward priority 0; }}; \
                 add rule inet f e iifname toa tcp dport {port} drop"
            ),
        );
    }),
    Fault {
        only_v4: true,
        ..Fault::new("an address answers for nothing", Code::Neighbour, |lab, variant| {
            let (server, port) = (lab.server(1), port(variant));
            // Behind the node is a link with many addresses, and one of them is nobody's any more.
            lab.inside("b", &["ip", "neigh", "flush", "dev", "eni0"]);
            lab.job("srv", "server.py", &["plain", &port]);
            lab.job("cli", "client.py", &["once", &server, &port, "0.2"]);
            lab.hear(WELL);
            lab.inside("srv", &["ip", "link", "set", "eth0", "arp", "off"]);
            lab.inside("b", &["ip", "neigh", "flush", "dev", "eni0"]);
        })
    },
    Fault::new("the receiver does not read", Code::SlowReceiver, |lab, variant| {
        let (server, port) = (lab.server(1), port(variant));
        lab.job("srv", "server.py", &["slow", &port, ["0.9", "1.5", "0.7"][variant % 3]]);
        for _ in 0..3 {
            lab.job("cli", "client.py", &["streams", &server, &port, "20"]);
        }
    }),
];

/// Busy, and well.
pub const HEALTHY: &[Fault] = &[
    Fault::healthy("much traffic, some of it refused", |lab, variant| {
        let (server, port) = (lab.server(1), port(variant));
        lab.job("srv", "server.py", &["plain", &port]);
        lab.job("srv2", "server.py", &["dns_unknown", "53"]);
        let second = lab.server(2);
        lab.job("cli", "client.py", &["once", &server, &port, "0.01"]);
        lab.job("cli", "client.py", &["once", &server, "9", "1"]);
        lab.job("cli", "client.py", &["rests", &server, &port, "1", "20"]);
        lab.job("cli", "client.py", &["asks", &second, "53", "0.02"]);
        lab.nft(
            "wire",
            "add table inet f; add chain inet f e { type filter hook forward priority 0; }; \
             add rule inet f e numgen random mod 2000 < 1 drop",
        );
    }),
    Fault::healthy("a scan of closed ports", |lab, variant| {
        let (server, port) = plain(lab, variant);
        let _ = port;
        for closed in ["1", "7", "9", "11", "13"] {
            lab.job("cli", "client.py", &["once", &server, closed, "0.5"]);
        }
    }),
    Fault::healthy("a server that is taken away well", |lab, variant| {
        let port = port(variant);
        let address = lab.service(80, port.parse().expect("a port"));
        lab.job("srv", "server.py", &["plain", &port]);
        let second = lab.job("srv2", "server.py", &["plain", &port]);
        lab.job("cli", "client.py", &["once", &address, "80", between(variant)]);
        lab.hear(WELL);
        // Its traffic goes elsewhere before it ends.
        let table = lab.table();
        lab.nft("a", &format!("flush chain {table} nat pre"));
        let one = lab.server(1);
        lab.nft(
            "a",
            &format!("add rule {table} nat pre {table} daddr {address} tcp dport 80 dnat to {}", end(&one, &port)),
        );
        lab.hear(Duration::from_secs(4));
        lab.end_job(second);
    }),
    Fault {
        only_v4: true,
        ..Fault::healthy("answers leave elsewhere, and arrive", |lab, variant| {
            plain(lab, variant);
            let second = lab.second_way();
            lab.inside("b", &["ip", "route", "add", "10.1.0.2/32", "via", &second]);
        })
    },
    Fault::healthy("limits that are reached, and nothing lost", |lab, variant| {
        plain(lab, variant);
        for _ in 0..10 {
            lab.count(0, "ena.pps_allowance_exceeded", 40);
            lab.count(1, "conntrack.clash_resolve", 9);
            lab.hear(Duration::from_secs(1));
        }
    }),
];

fn end(address: &str, port: &str) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}
