//! What is watched: things that go wrong on purpose, told with their pair, interface and role.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use nodewatch_protocol::{
    FromAgent, RefusalKind, Request, Response, Role, Service, Sums, Symptom, Symptoms, ToAgent, Update, WatchSpec,
    WatchState,
};
use nodewatch_testing::{
    agent::Agent,
    eventually,
    namespaces::{Net, in_namespace, ip},
    packets::tshark,
    program::{SOON, run},
};

use crate::{on, possible, serving, setup, toward::Pod};

const HERE: [u8; 4] = [10, 66, 0, 1];
const THERE: [u8; 4] = [10, 66, 0, 2];

/// Where something was seen: who asked whom on which port, for what, on which interface, and what that is.
type Place = (IpAddr, IpAddr, u16, Service, String, Role);

/// All that was told so far.
#[derive(Default)]
struct Told {
    symptoms: BTreeMap<(Place, Symptom), u32>,
    packets: BTreeMap<(Place, bool), u64>,
    /// Of the node.
    sums: Sums,
    seconds: usize,
    last: Symptoms,
}

impl Told {
    fn take(&mut self, symptoms: Symptoms) {
        assert!(symptoms.samples.iter().all(|sample| usize::from(sample.pair) < symptoms.pairs.len()));
        for pair in &symptoms.pairs {
            let interface = &symptoms.interfaces[usize::from(pair.interface)];
            let place =
                (pair.source, pair.destination, pair.port, pair.service, interface.name.clone(), interface.role);
            *self.packets.entry((place.clone(), symptoms.captured)).or_default() += pair.packets.iter().sum::<u64>();
            for count in &pair.symptoms {
                *self.symptoms.entry((place.clone(), count.0)).or_default() += count.1 + count.2;
            }
        }
        self.sums += symptoms.sums;
        self.seconds += 1;
        self.last = symptoms;
    }

    /// Takes in what is told until it is so.
    #[track_caller]
    fn until(&mut self, agent: &mut Agent, what: &str, so: impl Fn(&Self) -> bool) {
        agent.until(what, |message| match message {
            FromAgent::Update(Update::Symptoms(symptoms)) => {
                self.take(*symptoms);
                so(self).then_some(())
            }
            _ => None,
        });
    }

    /// So many seconds more.
    #[track_caller]
    fn seconds(&mut self, agent: &mut Agent, count: usize) {
        let end = self.seconds + count;
        self.until(agent, "seconds", |told| told.seconds >= end);
    }

    fn of(&self, place: &Place, symptom: Symptom) -> u32 {
        self.symptoms.get(&(place.clone(), symptom)).copied().unwrap_or_default()
    }

    fn lists(&self, name: &str) -> bool {
        self.last.interfaces.iter().any(|one| one.name == name)
    }
}

fn place(from: [u8; 4], to: [u8; 4], port: u16, service: Service) -> Place {
    (from.into(), to.into(), port, service, "veth0".to_owned(), Role::Node)
}

#[track_caller]
fn watch(agent: &mut Agent, spec: WatchSpec) {
    assert_eq!(agent.ask(Request::Watch(Some(spec))), Response::Done);
}

/// An agent that has watched for long enough to judge.
fn watching() -> Option<(Net, Agent, Told)> {
    let (net, mut agent) = setup()?;
    watch(&mut agent, WatchSpec::default());
    let mut told = Told::default();
    told.seconds(&mut agent, 4);
    assert!(told.lists("veth0") && told.lists("veth1") && !told.lists("lo"), "{:?}", told.last);
    Some((net, agent, told))
}

/// A server that takes every connection, reads what comes and says as much.
fn serve(namespace: &str, address: &str) {
    let listener = in_namespace(namespace, || TcpListener::bind(address).expect("bind"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count) = stream.read(&mut bytes)
                    && count > 0
                    && stream.write_all(&bytes[..count]).is_ok()
                {}
            });
        }
    });
}

/// A connection that says something and hears it back.
fn talk(namespace: &str, to: &str, length: usize) {
    in_namespace(namespace, || {
        let mut stream = TcpStream::connect(to).expect("connect");
        let bytes = vec![7; length];
        for piece in bytes.chunks(4096) {
            stream.write_all(piece).expect("write");
            let mut back = vec![0; piece.len()];
            stream.read_exact(&mut back).expect("read");
        }
    });
}

/// A question to DNS for a name of its own.
fn question(id: u8) -> Vec<u8> {
    let mut bytes = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5];
    bytes.extend(b"name");
    bytes.push(b'a' + id);
    bytes.extend(b"\x07example\0\0\x01\0\x01");
    bytes
}

/// A connection that is begun and not waited for.
fn begin(namespace: &str, to: &str) -> std::os::fd::OwnedFd {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
    in_namespace(namespace, || {
        let kind = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, kind, None).expect("a socket");
        // It is under way when this returns.
        let _ = connect(&socket, &to.parse::<SocketAddr>().expect("an address"));
        socket
    })
}

#[test]
fn what_goes_wrong_is_told_with_its_pair_interface_and_role() {
    let Some((net, mut agent, mut told)) = watching() else { return };
    let there = |arguments: &[&str]| ip(&[&["-n", net.there.as_str()], arguments].concat());
    serve(&net.here, "10.66.0.1:8080");
    // Packets to the client are seen here: an answer would be too.
    talk(&net.there, "10.66.0.1:8080", 10);

    // Nobody has that address; and for the first SYN nobody has the other one either.
    there(&["neigh", "replace", "10.66.0.77", "lladdr", "02:00:00:00:00:77", "dev", "veth0"]);
    let _unanswered = begin(&net.there, "10.66.0.77:4444");
    there(&["neigh", "replace", "10.66.0.1", "lladdr", "02:00:00:00:00:99", "dev", "veth0"]);
    let _delayed = begin(&net.there, "10.66.0.1:8080");
    there(&["neigh", "del", "10.66.0.1", "dev", "veth0"]);

    assert!(in_namespace(&net.there, || TcpStream::connect("10.66.0.1:1")).is_err());

    let server = in_namespace(&net.here, || UdpSocket::bind("10.66.0.1:53").expect("bind"));
    let client = in_namespace(&net.there, || UdpSocket::bind("10.66.0.2:0").expect("bind"));
    client.send_to(&question(1), "10.66.0.1:53").expect("sent");
    let mut asked = [0; 512];
    let (length, from) = server.recv_from(&mut asked).expect("a question");
    // There is no such name.
    (asked[2], asked[3]) = (0x81, 0x83);
    server.send_to(&asked[..length], from).expect("sent");
    client.send_to(&question(2), "10.66.0.1:53").expect("sent");

    let dns = place(THERE, HERE, 53, Service::Dns);
    let wanted = [
        (place(THERE, HERE, 1, Service::Tcp), Symptom::Refused),
        (place(THERE, [10, 66, 0, 77], 4444, Service::Tcp), Symptom::Unanswered),
        (place(THERE, HERE, 8080, Service::Tcp), Symptom::Delayed),
        (dns.clone(), Symptom::DnsNoName),
        (dns, Symptom::DnsUnanswered),
    ];
    told.until(&mut agent, "all of it", |told| wanted.iter().all(|(place, symptom)| told.of(place, *symptom) > 0));
    told.seconds(&mut agent, 2);
    for (place, symptom) in &wanted {
        assert_eq!(told.of(place, *symptom), 1, "{place:?} {symptom:?}");
    }
    let failures: Vec<_> = told.symptoms.keys().filter(|(_, symptom)| symptom.is_failure()).collect();
    assert_eq!(failures.len(), 3, "{failures:?}");
}

#[test]
fn what_is_lost_on_the_way_is_seen_again() {
    if !nodewatch_testing::here::possible(&["nft"]) {
        return;
    }
    let Some((net, mut agent, mut told)) = watching() else { return };
    serve(&net.there, "10.66.0.2:8081");
    let nft = |rule: &str| {
        let output = run("ip", &["netns", "exec", &net.there, "nft", rule]);
        assert!(output.status.success(), "{rule}: {}", nodewatch_testing::program::said(&output));
    };
    nft("add table inet lossy");
    nft("add chain inet lossy in { type filter hook input priority 0; }");
    // Only what carries data: every fifth.
    nft("add rule inet lossy in tcp dport 8081 meta length > 1000 numgen inc mod 5 0 drop");
    talk(&net.here, "10.66.0.2:8081", 100_000);
    let pair = place(HERE, THERE, 8081, Service::Tcp);
    told.until(&mut agent, "retransmissions", |told| told.of(&pair, Symptom::Retransmission) >= 3);
    told.seconds(&mut agent, 2);
    assert!(told.symptoms.keys().all(|(_, symptom)| !symptom.is_failure()), "{:?}", told.symptoms);
}

#[test]
fn traffic_that_is_well_has_no_failures() {
    let Some((net, mut agent, mut told)) = watching() else { return };
    serve(&net.here, "10.66.0.1:8080");
    for _ in 0..20 {
        talk(&net.there, "10.66.0.1:8080", 20_000);
    }
    let pair = place(THERE, HERE, 8080, Service::Tcp);
    told.until(&mut agent, "packets", |told| told.packets.get(&(pair.clone(), false)).is_some_and(|it| *it > 200));
    let watched = told.last.pairs.iter().find(|one| one.port == 8080).expect("the pair");
    assert!(watched.answers.is_some() && watched.round_trips.is_some(), "{watched:?}");
    told.seconds(&mut agent, 2);
    assert!(told.symptoms.keys().all(|(_, symptom)| !symptom.is_failure()), "{:?}", told.symptoms);
}

#[test]
fn a_pods_interface_that_comes_is_watched_and_goes_with_its_pod() {
    let Some((net, mut agent, mut told)) = watching() else { return };
    for round in 1..=2 {
        let pod = Pod::routed(&net, "eni7", "10.77.0.9");
        told.until(&mut agent, "its interface", |told| told.lists("eni7"));
        let role = told.last.interfaces.iter().find(|one| one.name == "eni7").map(|one| one.role);
        assert_eq!(role, Some(Role::Pod));
        pod.send("10.66.0.1:9999");
        let pair = ([10, 77, 0, 9].into(), HERE.into(), 9999, Service::Udp, "eni7".to_owned(), Role::Pod);
        let packets = |told: &Told| told.packets.get(&(pair.clone(), false)).copied().unwrap_or_default();
        told.until(&mut agent, "its packets", |told| packets(told) >= 3 * round);
        assert_eq!(packets(&told), 3 * round, "each once");
        drop(pod);
        told.until(&mut agent, "its end", |told| !told.lists("eni7"));
    }
}

/// Nothing but the neighbour's address has ever come to that pod.
#[test]
fn a_pod_whose_only_peer_drops_everything_has_failed_attempts() {
    let Some((net, mut agent, mut told)) = watching() else { return };
    let pod = Pod::routed(&net, "eni7", "10.77.0.9");
    told.until(&mut agent, "its interface", |told| told.lists("eni7"));
    told.seconds(&mut agent, 3);
    // The node passes nothing on, and says so to nobody; a new namespace has what the machine has.
    ip(&["netns", "exec", &net.here, "sysctl", "-qw", "net.ipv4.ip_forward=0"]);
    ip(&["-n", pod.name(), "route", "add", "10.66.0.99", "via", "10.66.0.1"]);
    let _unanswered = begin(pod.name(), "10.66.0.99:4444");
    let of_pod = ([10, 77, 0, 9].into(), [10, 66, 0, 99].into(), 4444, Service::Tcp, "eni7".to_owned(), Role::Pod);
    told.until(&mut agent, "its failure", |told| told.of(&of_pod, Symptom::Unanswered) == 1);
    assert_eq!((told.sums.failed, told.last.not_judged.one_direction), (1, 0));
}

#[test]
fn an_interface_of_the_node_that_goes_is_told_and_listed_as_gone_until_it_is_back() {
    let Some((net, mut agent, mut told)) = watching() else { return };
    let gone = |told: &Told| {
        let gone = told.last.interfaces.iter().filter(|one| one.gone);
        gone.map(|one| (one.name.clone(), one.role)).collect::<Vec<_>>()
    };
    assert_eq!(gone(&told), []);
    ip(&["-n", &net.here, "link", "del", "veth1"]);
    let word = agent.until("a word", |message| match message {
        FromAgent::Update(Update::Trouble { message }) => Some(message),
        _ => None,
    });
    assert_eq!(word, "interface veth1 is gone; not watched until it is back");
    told.until(&mut agent, "what is gone", |told| gone(told) == [("veth1".to_owned(), Role::Node)]);
    assert!(told.lists("veth0"));
    ip(&["-n", &net.here, "link", "add", "veth1", "type", "veth", "peer", "name", "veth1", "netns", &net.there]);
    ip(&["-n", &net.here, "addr", "add", "10.66.1.1/24", "dev", "veth1"]);
    ip(&["-n", &net.here, "link", "set", "veth1", "up"]);
    told.until(&mut agent, "it is back", |told| gone(told).is_empty() && told.lists("veth1"));
}

#[test]
fn what_is_captured_is_told_once_and_its_files_are_whole() {
    let Some((net, mut agent, mut told)) = watching() else { return };
    agent.start(on(&["veth0", "veth1"]));
    // The capture's own analysis, and nothing of these interfaces in the other one any more.
    let (mut captured, mut watched) = (0, 0);
    told.until(&mut agent, "one analysis of them", |told| told.last.captured && told.lists("veth0"));
    while captured < 2 || watched < 2 {
        told.seconds(&mut agent, 1);
        match (told.last.captured, told.lists("veth0")) {
            (true, true) => captured += 1,
            (false, false) => watched += 1,
            (true, false) => panic!("{:?}", told.last),
            // It is still to hear of the capture.
            (false, true) => watched = 0,
        }
    }
    net.send("10.66.0.1:7", 100, b"once");
    let pair = place(THERE, HERE, 7, Service::Udp);
    let of = |told: &Told, captured| told.packets.get(&(pair.clone(), captured)).copied().unwrap_or_default();
    told.until(&mut agent, "its packets", |told| of(told, true) >= 100);
    told.seconds(&mut agent, 3);
    assert_eq!((of(&told, true), of(&told, false)), (100, 0));
    let (_, files) = agent.stop();
    let rows = tshark(&files[0], &["udp.dstport", "frame.len"]);
    assert_eq!(rows.iter().filter(|row| row[0] == "7" && row[1] == "46").count(), 100);
    told.until(&mut agent, "what is watched again", |told| !told.last.captured && told.lists("veth0"));
    // One that is filtered takes nothing over.
    agent.start(crate::filtered("udp port 7"));
    told.seconds(&mut agent, 3);
    assert!(!told.last.captured && told.lists("veth0"), "{:?}", told.last);
}

#[test]
fn a_capture_that_takes_all_shows_what_goes_wrong_without_being_asked() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(on(&["veth0"]));
    let mut told = Told::default();
    told.seconds(&mut agent, 4);
    assert!(told.last.captured && told.lists("veth0") && !told.lists("veth1"), "{:?}", told.last);
    assert!(in_namespace(&net.there, || TcpStream::connect("10.66.0.1:1")).is_err());
    let refused = place(THERE, HERE, 1, Service::Tcp);
    told.until(&mut agent, "the refusal", |told| told.of(&refused, Symptom::Refused) == 1);
    // Watching takes over what it does not read, and leaves it at its end.
    watch(&mut agent, WatchSpec::default());
    told.until(&mut agent, "the rest", |told| !told.last.captured && told.lists("veth1") && !told.lists("veth0"));
    assert_eq!(agent.ask(Request::Watch(None)), Response::Done);
    let seconds = told.seconds;
    told.until(&mut agent, "the capture's", |told| told.seconds > seconds + 3 && told.last.captured);
    agent.stop();
}

#[test]
fn what_passes_several_interfaces_of_a_node_counts_once_there_also_behind_another_address() {
    if !nodewatch_testing::here::possible(&["nft"]) {
        return;
    }
    let Some((net, mut agent, mut told)) = watching() else { return };
    let pod = Pod::routed(&net, "eni7", "10.77.0.9");
    ip(&["-n", pod.name(), "route", "add", "10.66.0.2", "via", "10.66.0.1"]);
    let here = |arguments: &[&str]| {
        let output = run("ip", &[&["netns", "exec", net.here.as_str()], arguments].concat());
        assert!(output.status.success(), "{}", nodewatch_testing::program::said(&output));
    };
    here(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    here(&["nft", "add table ip masks"]);
    here(&["nft", "add chain ip masks out { type nat hook postrouting priority 100; }"]);
    here(&["nft", "add rule ip masks out oifname veth0 masquerade"]);
    let of_pod = ([10, 77, 0, 9].into(), THERE.into(), 1, Service::Tcp, "eni7".to_owned(), Role::Pod);
    let of_node = place(HERE, THERE, 1, Service::Tcp);
    told.until(&mut agent, "its interface", |told| told.lists("eni7"));
    told.seconds(&mut agent, 4);
    assert_eq!((told.sums.failed, told.sums.attempts), (0, 0), "{:?}", told.symptoms);
    for count in 1..=2 {
        assert!(in_namespace(pod.name(), || TcpStream::connect("10.66.0.2:1")).is_err());
        told.until(&mut agent, "both", |told| {
            [&of_pod, &of_node].iter().all(|place| told.of(place, Symptom::Refused) == count)
        });
        told.seconds(&mut agent, 2);
        assert_eq!((told.sums.failed, told.sums.attempts), (u64::from(count), u64::from(count)));
        if count == 1 {
            // The node's interface is analysed by the capture from now on.
            agent.start(on(&["veth0"]));
            let end = told.seconds + 10;
            told.until(&mut agent, "what is captured", |told| told.seconds >= end);
        }
    }
}

#[test]
fn what_waits_for_an_answer_at_the_end_is_judged_or_counted_and_told_before_it_is_off() {
    let [old, young] = [4444, 4445].map(|port| place(THERE, [10, 66, 0, 77], port, Service::Tcp));
    for told_to_stop in [true, false] {
        let Some((net, mut agent, mut told)) = watching() else { return };
        serve(&net.here, "10.66.0.1:8080");
        talk(&net.there, "10.66.0.1:8080", 10);
        ip(&["-n", &net.there, "neigh", "replace", "10.66.0.77", "lladdr", "02:00:00:00:00:77", "dev", "veth0"]);
        let _old = begin(&net.there, "10.66.0.77:4444");
        told.until(&mut agent, "its packets", |told| told.packets.contains_key(&(old.clone(), false)));
        told.seconds(&mut agent, 4);
        let _young = begin(&net.there, "10.66.0.77:4445");
        told.until(&mut agent, "its packets", |told| told.packets.contains_key(&(young.clone(), false)));
        assert_eq!((told.of(&old, Symptom::Unanswered), told.last.not_judged.undecided), (0, 0));
        if told_to_stop {
            agent.say(&ToAgent::Request { id: 0, request: Request::Watch(None) });
        } else {
            assert!(run("kill", &["-TERM", &agent.child.id().to_string()]).status.success());
        }
        agent.until("its last word", |message| match message {
            FromAgent::Update(Update::Symptoms(symptoms)) => {
                told.take(*symptoms);
                (!told_to_stop && told.last.not_judged.undecided > 0).then_some(())
            }
            FromAgent::Update(Update::Watch(WatchState::Off)) => Some(()),
            _ => None,
        });
        assert_eq!((told.of(&old, Symptom::Unanswered), told.last.not_judged.undecided), (1, 1), "{:?}", told.last);
        assert_eq!((told.of(&young, Symptom::Unanswered), told.sums.failed), (0, 1));
    }
}

/// Packet sockets that are open in a namespace.
fn sockets(namespace: &str) -> usize {
    let output = run("ip", &["netns", "exec", namespace, "cat", "/proc/net/packet"]);
    String::from_utf8_lossy(&output.stdout).lines().count().saturating_sub(1)
}

#[test]
fn it_ends_when_told_and_later_tunnels_know_how_it_stands() {
    if !possible() {
        return;
    }
    let net = Net::new();
    let folder = tempfile::tempdir().expect("a folder");
    let (mut serve, connect) = serving(&net, folder.path(), &[]);
    let mut one = connect();
    let state = |agent: &mut Agent| {
        agent.until("how it stands", |message| match message {
            FromAgent::Update(Update::Watch(state)) => Some(state),
            _ => None,
        })
    };
    assert_eq!(state(&mut one), WatchState::Off);
    let spec = WatchSpec { interfaces: vec!["veth1".into()], filter: Some("udp".into()) };
    watch(&mut one, spec.clone());
    let mut two = connect();
    let told = state(&mut two);
    assert!(matches!(&told, WatchState::On { spec: told, .. } if *told == spec), "{told:?}");
    assert_eq!(sockets(&net.here), 1);
    net.send("10.66.1.1:9", 5, b"watched");
    net.send("10.66.0.1:9", 5, b"elsewhere");
    let mut told = Told::default();
    told.until(&mut two, "a pair", |told| !told.last.pairs.is_empty());
    assert!(told.packets.keys().all(|(place, _)| place.4 == "veth1" && place.3 == Service::Udp), "{:?}", told.packets);

    // What is refused leaves it as it is.
    let mut refused = |spec| match one.ask(Request::Watch(Some(spec))) {
        Response::Refused(refusal) if refusal.kind == RefusalKind::Invalid => refusal.message,
        other => panic!("{other:?}"),
    };
    let message = refused(WatchSpec { filter: Some("tcp prt 80".into()), ..WatchSpec::default() });
    assert!(message.contains("\"tcp prt 80\" does not compile"), "{message}");
    let message = refused(WatchSpec { interfaces: vec!["veth0".into(), "eth7".into()], filter: None });
    assert!(message.contains("no interface \"eth7\"") && message.contains("lo, veth"), "{message}");
    told.seconds(&mut two, 1);

    watch(&mut one, WatchSpec::default());
    assert!(matches!(state(&mut two), WatchState::On { spec, .. } if spec == WatchSpec::default()));
    eventually("the sockets of before are closed", SOON, || sockets(&net.here) == 2);
    assert_eq!(one.ask(Request::Watch(None)), Response::Done);
    assert_eq!(state(&mut two), WatchState::Off);
    eventually("all are closed", SOON, || sockets(&net.here) == 0);
    assert!(run("kill", &["-TERM", &serve.id().to_string()]).status.success());
    assert_eq!(serve.wait().expect("it ends").code(), Some(143));
}
