//! Each counter, raised by a known number, arrives on the wire as exactly that number.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
};

use nodewatch_protocol::{FromAgent, SignalsUpdate, Update};
use nodewatch_testing::{
    agent::Agent,
    here,
    namespaces::{Net, in_namespace, ip},
    program::{run, said},
};

use crate::{possible, setup};

/// The signals of an agent as its updates tell them: by name and item, what each rose by since the picture that came
/// first.
#[derive(Default)]
struct Told {
    names: BTreeMap<u32, (String, String)>,
    values: BTreeMap<(String, String), u64>,
    moved: BTreeMap<(String, String), u64>,
    missing: Vec<String>,
    pictures: usize,
}

impl Told {
    fn take(&mut self, update: SignalsUpdate) {
        self.pictures += usize::from(update.since.is_some());
        for series in update.told {
            let key = (series.name, series.item);
            self.names.insert(series.id, key.clone());
            self.values.insert(key.clone(), series.value);
            self.moved.insert(key, series.total);
        }
        for (id, by) in update.moved {
            let key = self.names.get(&id).expect("it was told").clone();
            let gauge = nodewatch_signals::find(&key.0).is_some_and(|(_, signal)| !signal.is_counter());
            let value = self.values.entry(key.clone()).or_default();
            *value = if gauge { by } else { *value + by };
            *self.moved.entry(key).or_default() += if gauge { 0 } else { by };
        }
        if let Some(missing) = update.missing {
            self.missing = missing.into_iter().map(|it| format!("{}: {}", it.source, it.reason)).collect();
        }
    }

    fn moved(&self, name: &str, item: &str) -> u64 {
        self.moved.get(&(name.to_owned(), item.to_owned())).copied().unwrap_or_default()
    }

    fn value(&self, name: &str, item: &str) -> Option<u64> {
        self.values.get(&(name.to_owned(), item.to_owned())).copied()
    }

    /// Takes in updates until it is so.
    #[track_caller]
    fn until(&mut self, agent: &mut Agent, what: &str, so: impl Fn(&Self) -> bool) {
        agent.until(what, |message| {
            if let FromAgent::Update(Update::Signals(update)) = message {
                self.take(update);
            }
            so(self).then_some(())
        });
    }

    /// The counter rises by exactly that, and no further while two more readings come.
    #[track_caller]
    fn rises(&mut self, (net, agent): (&Net, &mut Agent), (name, item): (&str, &str), by: u64) {
        self.until(agent, name, |told| told.moved(name, item) >= by);
        for _ in 0..2 {
            let before = self.moved("tcp.out_resets", "");
            // A connection that is refused, for a reading that has news of its own.
            let refused = in_namespace(&net.there, || TcpStream::connect("10.66.0.1:1"));
            assert!(refused.is_err());
            self.until(agent, "another reading", |told| told.moved("tcp.out_resets", "") > before);
        }
        assert_eq!(self.moved(name, item), by, "{name}");
    }
}

fn watched() -> Option<(Net, Agent, Told)> {
    let (net, mut agent) = setup()?;
    let mut told = Told::default();
    told.until(&mut agent, "the picture", |told| told.pictures == 1);
    Some((net, agent, told))
}

fn set(namespace: &str, name: &str, value: &str) {
    let output = run("ip", &["netns", "exec", namespace, "sysctl", "-qw", &format!("{name}={value}")]);
    assert!(output.status.success(), "{name}: {}", said(&output));
}

/// Begins connections and gives them up at once, so that no SYN is sent twice.
fn try_to_connect(namespace: &str, to: SocketAddr, count: usize) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
    in_namespace(namespace, || {
        for _ in 0..count {
            let kind = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, kind, None).expect("a socket");
            // It is under way when this returns.
            let _ = connect(&socket, &to);
        }
    });
}

#[test]
fn a_full_accept_queue_is_counted_and_shown() {
    let Some((net, mut agent, mut told)) = watched() else { return };
    let listener = in_namespace(&net.here, || {
        let listener = TcpListener::bind("10.66.0.1:8080").expect("bind");
        rustix::net::listen(&listener, 1).expect("a short queue");
        listener
    });
    let address: SocketAddr = "10.66.0.1:8080".parse().expect("an address");
    // One more than the backlog fits.
    let fill: Vec<TcpStream> =
        in_namespace(&net.there, || (0..2).map(|_| TcpStream::connect(address).expect("accepted")).collect());
    try_to_connect(&net.there, address, 3);
    told.rises((&net, &mut agent), ("tcp.listen_overflows", ""), 3);
    assert_eq!(told.moved("tcp.listen_drops", ""), 3);
    told.until(&mut agent, "the queue", |told| told.value("tcp.accept_queue", "10.66.0.1:8080") == Some(200));
    drop((fill, listener));
}

#[test]
fn datagrams_that_nobody_takes_are_counted_to_the_last() {
    let Some((net, mut agent, mut told)) = watched() else { return };
    net.send("10.66.0.1:9", 37, b"nobody is there");
    told.rises((&net, &mut agent), ("udp.no_ports", ""), 37);
    net.send("[fd00:66:1::1]:9", 11, b"here neither");
    told.rises((&net, &mut agent), ("udp6.no_ports", ""), 11);
    assert_eq!(told.moved("udp.no_ports", ""), 37);

    // A program that does not read: what does not fit its buffer is lost.
    let socket = in_namespace(&net.here, || UdpSocket::bind("10.66.0.1:5353").expect("bind"));
    rustix::net::sockopt::set_socket_recv_buffer_size(socket.as_fd(), 2048).expect("set");
    net.send("10.66.0.1:5353", 60, &[7; 900]);
    let held = {
        socket.set_nonblocking(true).expect("set");
        std::iter::from_fn(|| socket.recv(&mut [0; 1000]).ok()).count() as u64
    };
    assert!(held > 0 && held < 60, "{held}");
    told.rises((&net, &mut agent), ("udp.receive_buffer_errors", ""), 60 - held);
}

#[test]
fn packets_from_where_nobody_can_be_reached_are_counted() {
    let Some((net, mut agent, mut told)) = watched() else { return };
    set(&net.here, "net.ipv4.conf.all.rp_filter", "1");
    set(&net.here, "net.ipv4.conf.veth0.rp_filter", "1");
    // Whoever answers to an address is asked before, from one that can be reached.
    net.send("10.66.0.1:9", 1, b"here");
    // An address that the other side has, and to which this side has no way back through veth0.
    ip(&["-n", &net.there, "addr", "add", "10.77.0.2/32", "dev", "veth0"]);
    ip(&["-n", &net.here, "route", "add", "10.77.0.0/24", "dev", "veth1"]);
    in_namespace(&net.there, || {
        let socket = UdpSocket::bind("10.77.0.2:0").expect("bind");
        for _ in 0..23 {
            socket.send_to(b"asymmetric", "10.66.0.1:9").expect("sent");
        }
    });
    told.rises((&net, &mut agent), ("ip.reverse_path_drops", ""), 23);
}

/// A source NAT with one port for several connections.
#[test]
fn connections_without_a_free_port_for_their_nat_are_counted() {
    if !possible() || !here::possible(&["iptables"]) {
        return;
    }
    let Some((net, mut agent, mut told)) = watched() else { return };
    let rule = |arguments: &[&str]| {
        let output = run("ip", &[&["netns", "exec", &net.here, "iptables", "-t", "nat"], arguments].concat());
        output.status.success()
    };
    let masquerade = ["-A", "POSTROUTING", "-p", "tcp", "-j", "MASQUERADE", "--to-ports", "50000-50003"];
    if !rule(&masquerade) {
        return;
    }
    told.until(&mut agent, "conntrack", |told| told.value("conntrack.insert_failed", "").is_some());
    let listener = in_namespace(&net.there, || TcpListener::bind("10.66.0.2:443").expect("bind"));
    try_to_connect(&net.here, "10.66.0.2:443".parse().expect("an address"), 10);
    told.rises((&net, &mut agent), ("conntrack.insert_failed", ""), 6);
    assert_eq!(told.moved("conntrack.drop", ""), 6);
    assert!(told.value("conntrack.count", "") < told.value("conntrack.max", ""));
    drop(listener);
}

#[test]
fn local_ports_toward_one_address_and_port_are_counted() {
    let Some((net, mut agent, mut told)) = watched() else { return };
    set(&net.here, "net.ipv4.ip_local_port_range", "40000 40099");
    let listener = in_namespace(&net.there, || TcpListener::bind("10.66.0.2:443").expect("bind"));
    let held: Vec<TcpStream> =
        in_namespace(&net.here, || (0..30).map(|_| TcpStream::connect("10.66.0.2:443").expect("connected")).collect());
    let path = "10.66.0.1 to 10.66.0.2:443";
    told.until(&mut agent, "the ports", |told| told.value("tcp.ephemeral_ports", path) == Some(30));
    assert_eq!(told.value("tcp.ephemeral_range", ""), Some(100));
    drop((held, listener));
}

#[test]
fn an_interface_that_comes_drops_and_goes_is_followed() {
    let Some((net, mut agent, mut told)) = watched() else { return };
    let lo = told.missing.iter().any(|source| source.starts_with("ETHTOOL_GSTATS of lo"));
    assert!(lo, "{:?}", told.missing);
    ip(&["-n", &net.here, "link", "add", "late0", "type", "veth", "peer", "name", "late1"]);
    for link in ["late0", "late1"] {
        ip(&["-n", &net.here, "link", "set", link, "up"]);
    }
    told.until(&mut agent, "the interface", |told| told.value("link.carrier_changes", "late0").is_some());
    let before = told.moved("link.carrier_changes", "late0");
    for change in ["down", "up", "down", "up", "down"] {
        ip(&["-n", &net.here, "link", "set", "late1", change]);
    }
    told.rises((&net, &mut agent), ("link.carrier_changes", "late0"), before + 5);
    ip(&["-n", &net.here, "link", "del", "late0"]);
    agent.until("its end", |message| match message {
        FromAgent::Update(Update::Signals(update)) => {
            let gone = !update.gone.is_empty();
            told.take(update);
            gone.then_some(())
        }
        _ => None,
    });
}

/// Without root, and without any capability.
#[test]
fn no_right_is_needed() {
    if !possible() {
        return;
    }
    let net = Net::new();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("set");
    let program = folder.path().join("agent");
    std::fs::copy(crate::PROGRAM, &program).expect("copied");
    let mut command = std::process::Command::new("nsenter");
    command
        .arg(format!("--net=/run/netns/{}", net.here))
        .args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs"])
        .arg(&program)
        .args(["serve", "--stdio", "--ring"])
        .arg(folder.path().join("ring"));
    let mut agent = Agent::spawn(command, &folder.path().join("ring"));
    let mut told = Told::default();
    told.until(&mut agent, "the picture", |told| told.pictures == 1);
    net.send("10.66.0.1:9", 5, b"nobody");
    told.rises((&net, &mut agent), ("udp.no_ports", ""), 5);
    let refused: Vec<&String> =
        told.missing.iter().filter(|it| it.contains("refused") || it.contains("denied")).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
