//! Real packets over veth pairs, captured by the real agent, refereed by tshark.

mod interfaces;
mod judged;
mod kept;
mod ports;
mod probes;
mod ring;
mod signals;
mod toward;
mod watch;

use std::{path::Path, process::Command};

use nodewatch_protocol::{
    CaptureAbility, CaptureSpec, CaptureState, Content, FromAgent, Hello, PortsKind, RefusalKind, Request, Response,
    StopReason, Terms, ToAgent, Transport, Update, encode,
};
use nodewatch_testing::{
    agent::Agent,
    eventually, here,
    namespaces::{Net, in_namespace},
    packets::tshark,
    program::{SOON, run},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-agent");

/// Whether namespaces can be made here; says why not.
fn possible() -> bool {
    here::possible(&["ip", "tshark", "nsenter", "setpriv"])
}

/// An agent in that namespace.
fn agent_in(namespace: &str, ring: &Path) -> Agent {
    Agent::in_net(PROGRAM, namespace, ring)
}

fn on(interfaces: &[&str]) -> CaptureSpec {
    CaptureSpec {
        interfaces: interfaces.iter().map(|&name| name.to_owned()).collect(),
        content: Content::Full,
        ..CaptureSpec::default()
    }
}

fn filtered(filter: &str) -> CaptureSpec {
    CaptureSpec { filter: Some(filter.to_owned()), ..on(&["veth0"]) }
}

/// An agent in one of two joined namespaces; `None` where that cannot be.
fn setup() -> Option<(Net, Agent)> {
    if !possible() {
        return None;
    }
    let net = Net::new();
    let agent = agent_in(&net.here, net.ring.path());
    Some((net, agent))
}

#[test]
fn several_interfaces_in_one_file_each_with_its_name_and_counts() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(CaptureSpec { filter: Some("udp port 5353".into()), ..on(&["veth0", "veth1"]) });
    net.send("10.66.0.1:5353", 200, b"four");
    net.send("[fd00:66:1::1]:5353", 100, &[9; 900]);
    net.send("10.66.0.1:9999", 50, b"not these");
    let (statistics, files) = agent.stop();

    assert_eq!((statistics.packets, statistics.interfaces.len()), (300, 2));
    assert_eq!(statistics.dropped, nodewatch_protocol::Dropped::default());
    let rows = tshark(&files[0], &["frame.interface_name", "udp.dstport", "ipv6.version", "frame.time_epoch"]);
    assert_eq!(rows.len(), 300);
    assert_eq!(rows.iter().filter(|row| row[0] == "veth0" && row[2].is_empty()).count(), 200);
    assert_eq!(rows.iter().filter(|row| row[0] == "veth1" && row[2] == "6").count(), 100);
    assert!(rows.iter().all(|row| row[1] == "5353"));
    assert!(rows.iter().any(|row| !row[3].ends_with("000")), "timestamps have nanoseconds: {:?}", rows[0]);

    let facts = run("capinfos", &[files[0].to_str().expect("a path")]);
    let facts = String::from_utf8_lossy(&facts.stdout).into_owned();
    assert!(facts.contains("nanoseconds (9)") && facts.contains("Number of stat entries = 1"), "{facts}");

    let mix: Vec<(&str, u64)> = statistics.mix.iter().map(|mix| (mix.protocol.as_str(), mix.share.packets)).collect();
    assert_eq!(mix, [("UDP", 300)]);
    assert_eq!(statistics.sizes, [200, 0, 0, 0, 100, 0, 0]);
    assert_eq!(statistics.flows.len(), 2);
    assert!(statistics.flows.iter().all(|flow| flow.transport == Transport::Udp && flow.to.port == 5353));
    assert_eq!(statistics.flows[0].share.bytes, 100 * (900 + 8 + 40 + 14));
}

#[test]
fn without_a_name_the_interfaces_with_addresses_are_taken_and_loopback_is_not() {
    let Some((_net, mut agent)) = setup() else { return };
    agent.start(CaptureSpec { interfaces: vec![], limit_seconds: Some(1.into()), ..CaptureSpec::default() });
    let interfaces = agent.until("the capture", |message| match message {
        FromAgent::Update(Update::Capture(CaptureState::Running { interfaces, .. })) => Some(interfaces),
        FromAgent::Update(Update::Capture(CaptureState::Stopped { .. })) => Some(vec![]),
        FromAgent::Update(Update::Statistics(statistics)) => {
            Some(statistics.interfaces.into_iter().map(|one| one.name).collect())
        }
        _ => None,
    });
    assert_eq!(interfaces, ["veth0", "veth1"]);
}

#[test]
fn snaplen_cuts_the_packet_and_keeps_its_length() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(CaptureSpec { snaplen: 64, ..filtered("udp port 7") });
    net.send("10.66.0.1:7", 10, &[1; 500]);
    let (statistics, files) = agent.stop();
    let rows = tshark(&files[0], &["frame.cap_len", "frame.len"]);
    assert_eq!(rows, vec![vec!["64".to_owned(), "542".to_owned()]; 10]);
    assert_eq!(statistics.bytes, 5420);
}

#[test]
fn a_vlan_tag_is_in_the_packet_and_the_filter_finds_it() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(filtered("vlan 5 and udp port 7"));
    net.send("10.66.0.1:7", 5, b"untagged");
    // Broadcast, tagged with 5: UDP from 10.67.0.2:9 to 10.67.0.1:7. The kernel hands the tag over beside the packet.
    let mut frame = vec![0xFF; 6];
    frame.extend([2, 0, 0, 0, 0, 9, 0x81, 0x00, 0, 5, 0x08, 0x00]);
    frame.extend([0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 67, 0, 2, 10, 67, 0, 1]);
    frame.extend([0, 9, 0, 7, 0, 12, 0, 0, b'f', b'o', b'u', b'r']);
    in_namespace(&net.there, || {
        let mut wire = pcap::Capture::from_device("veth0").expect("veth0").open().expect("opens");
        for _ in 0..8 {
            wire.sendpacket(frame.as_slice()).expect("sends");
        }
    });
    let (_, files) = agent.stop();
    let rows = tshark(&files[0], &["vlan.id", "ip.dst", "frame.len"]);
    let row = ["5", "10.67.0.1", "50"].map(str::to_owned).to_vec();
    assert_eq!(rows, vec![row; 8]);
}

#[test]
fn rotation_by_size_loses_no_packet() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(CaptureSpec { rotate_bytes: CaptureSpec::MIN_FILE, ..filtered("udp port 7") });
    net.send("10.66.0.1:7", 1000, &[1; 500]);
    let (statistics, files) = agent.stop();
    assert_eq!(statistics.packets, 1000);
    assert!(files.len() >= 8, "{files:?}");
    let sizes = files.iter().map(|file| file.metadata().expect("a file").len());
    assert!(sizes.max() <= Some(CaptureSpec::MIN_FILE + 512), "one file is at most that large");
    assert_eq!(files.iter().map(|file| tshark(file, &["frame.len"]).len()).sum::<usize>(), 1000);
}

#[test]
fn rotation_by_time_begins_a_new_file() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(CaptureSpec { rotate_seconds: 1.into(), ..filtered("udp port 7") });
    let mut sent = 0;
    agent.until("the third file", |message| match message {
        FromAgent::Update(Update::Files(files)) if files.len() >= 3 => Some(()),
        FromAgent::Update(Update::Statistics(_)) => {
            net.send("10.66.0.1:7", 3, b"tick");
            sent += 3;
            None
        }
        _ => None,
    });
    let (statistics, files) = agent.stop();
    assert_eq!(statistics.packets, sent);
    assert_eq!(files.iter().map(|file| tshark(file, &["frame.len"]).len() as u64).sum::<u64>(), sent);
}

#[test]
fn the_ring_stays_within_its_bound_and_says_what_goes() {
    let Some((net, mut agent)) = setup() else { return };
    let file = CaptureSpec::MIN_FILE;
    agent.start(CaptureSpec { rotate_bytes: file, ring_bytes: 3 * file, ..filtered("udp port 7") });
    net.send("10.66.0.1:7", 1000, &[1; 500]);
    let removed = agent.until("the removal of the oldest file", |message| match message {
        FromAgent::Update(Update::Trouble { message }) => Some(message),
        _ => None,
    });
    assert!(removed.contains("its oldest file") && removed.contains("-0001.pcapng"), "{removed}");
    let (_, files) = agent.stop();
    let total: u64 = files.iter().map(|file| file.metadata().expect("a file").len()).sum();
    assert!(total <= 3 * file, "{total}");
    assert_eq!(captures(&agent.ring).len(), files.len());
}

#[test]
fn limits_end_a_capture_by_themselves() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(CaptureSpec { limit_packets: Some(7), ..filtered("udp port 7") });
    net.send("10.66.0.1:7", 20, b"many");
    let (statistics, state, files) = agent.ended();
    assert!(matches!(state, CaptureState::Stopped { reason: StopReason::PacketLimit, .. }), "{state:?} {files:?}");
    assert_eq!((statistics.packets, tshark(&agent.ring.join(&files[0].name), &["frame.len"]).len()), (7, 7));

    agent.start(CaptureSpec { limit_bytes: Some(10_000), ..filtered("udp port 7") });
    net.send("10.66.0.1:7", 100, &[1; 500]);
    let (_, state, files) = agent.ended();
    assert!(matches!(state, CaptureState::Stopped { reason: StopReason::ByteLimit, .. }));
    // Ending statistics come on top.
    assert!((9_000..10_400).contains(&files[1].size), "{files:?}");

    agent.start(CaptureSpec { limit_seconds: Some(1.into()), ..filtered("udp port 7") });
    let (_, state, _) = agent.ended();
    assert!(matches!(state, CaptureState::Stopped { reason: StopReason::TimeLimit, .. }));
}

#[test]
fn a_capture_can_follow_a_capture_and_two_at_once_cannot_be() {
    let Some((net, mut agent)) = setup() else { return };
    for round in 1..=2 {
        agent.start(filtered("udp port 7"));
        let second = agent.ask(Request::StartCapture(on(&["veth0"])));
        assert!(matches!(second, Response::Refused(refusal) if refusal.kind == RefusalKind::State));
        net.send("10.66.0.1:7", 4, b"again");
        let (statistics, files) = agent.stop();
        assert_eq!((statistics.packets, files.len()), (4, round));
    }
    let nothing = agent.ask(Request::StopCapture);
    assert!(matches!(nothing, Response::Refused(refusal) if refusal.kind == RefusalKind::State));
}

#[test]
fn a_start_right_after_a_stop_waits_for_the_end_of_the_one_before() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(filtered("udp port 7"));
    net.send("10.66.0.1:7", 4, b"first");
    // In one breath.
    agent.say(&ToAgent::Request { id: 1001, request: Request::StopCapture });
    agent.say(&ToAgent::Request { id: 1002, request: Request::StartCapture(filtered("udp port 8")) });
    agent.say(&ToAgent::Request { id: 1003, request: Request::StartCapture(filtered("udp port 9")) });
    let mut answers = std::collections::BTreeMap::new();
    let spec = agent.until("the last answer", |message| match message {
        FromAgent::Response { id, response } => {
            answers.insert(id, response);
            None
        }
        // The first one's beginning is told too.
        FromAgent::Update(Update::Capture(CaptureState::Running { spec, .. })) => {
            (spec.filter.as_deref() != Some("udp port 7")).then_some(spec)
        }
        _ => None,
    });
    if !answers.contains_key(&1002) {
        assert_eq!(agent.until("the answer", |message| answer_to(message, 1002)), Response::Done);
    }
    assert_eq!(spec.filter.as_deref(), Some("udp port 8"));
    assert!(matches!(&answers[&1003], Response::Refused(refusal) if refusal.kind == RefusalKind::State), "{answers:?}");
    net.send("10.66.0.1:8", 3, b"second");
    let (statistics, _) = agent.stop();
    assert_eq!(statistics.packets, 3);
}

fn answer_to(message: FromAgent, wanted: u64) -> Option<Response> {
    match message {
        FromAgent::Response { id, response } if id == wanted => Some(response),
        _ => None,
    }
}

#[test]
fn what_cannot_be_captured_is_refused_and_nothing_begins() {
    let Some((_net, mut agent)) = setup() else { return };
    let mut refused = |spec| match agent.ask(Request::StartCapture(spec)) {
        Response::Refused(refusal) if refusal.kind == RefusalKind::Invalid => refusal.message,
        other => panic!("{other:?}"),
    };
    let message = refused(filtered("tcp prt 80"));
    assert!(message.contains("\"tcp prt 80\" does not compile") && message.contains("at character 5"), "{message}");
    let message = refused(on(&["veth0", "eth7"]));
    assert!(message.contains("no interface \"eth7\"") && message.contains("lo, veth0, veth1"), "{message}");
    assert!(refused(CaptureSpec { snaplen: 0, ..on(&["veth0"]) }).contains("snaplen 0"));
    assert_eq!(captures(&agent.ring), Vec::<String>::new());
}

#[test]
fn a_full_disk_ends_the_capture_with_whole_files_and_says_so() {
    if !possible() {
        return;
    }
    let net = Net::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a path");
    assert!(run("mount", &["-t", "tmpfs", "-o", "size=256k", "tmpfs", path]).status.success());
    let mut agent = agent_in(&net.here, folder.path());
    // Somebody else's.
    std::fs::write(folder.path().join("ballast"), vec![0; 200 * 1024]).expect("room");
    agent.start(filtered("udp port 7"));
    net.send("10.66.0.1:7", 1500, &[1; 500]);
    let (_, state, files) = agent.ended();
    let CaptureState::Stopped { reason: StopReason::Failed { message }, .. } = state else { panic!("{state:?}") };
    let whole = files.iter().map(|file| folder.path().join(&file.name)).all(|file| {
        let bytes = std::fs::read(file).expect("a file");
        nodewatch_pcapng::whole(bytes.as_slice()).expect("read").length == bytes.len() as u64
    });
    agent.kill();
    assert!(run("umount", &[path]).status.success());
    assert!(message.contains("No space left on device"), "{message}");
    assert!(whole, "a file ends in the middle of a block");
}

#[test]
fn a_killed_agents_files_are_found_again_whole() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(filtered("udp port 7"));
    net.send("10.66.0.1:7", 500, &[1; 500]);
    agent.until("a file with packets", |message| match message {
        FromAgent::Update(Update::Files(files)) if files.iter().any(|file| file.packets > 0) => Some(()),
        _ => None,
    });
    agent.kill();
    let name = captures(net.ring.path()).pop().expect("a file");
    // As if it had been killed in the middle of a write.
    let file = net.ring.path().join(&name);
    let length = file.metadata().expect("a file").len();
    std::fs::OpenOptions::new().write(true).open(&file).expect("open").set_len(length - 30).expect("cut");

    let mut agent = agent_in(&net.here, net.ring.path());
    let files = agent.until("the list of files", |message| match message {
        FromAgent::Update(Update::Files(files)) => Some(files),
        _ => None,
    });
    assert_eq!(files[0].name, name);
    assert_eq!(tshark(&file, &["frame.len"]).len() as u64, files[0].packets);
    assert!(files[0].packets > 0 && files[0].packets < 500 && files[0].incomplete.contains("was stopped"));

    // The capture has gone on by itself, in a file that says what is missing before it.
    net.send("10.66.0.1:7", 20, &[1; 500]);
    let (statistics, paths) = agent.stop();
    assert_eq!((statistics.packets, paths.len()), (20, 2));
    assert_eq!(tshark(&paths[1], &["frame.len"]).len(), 20);
    let facts = String::from_utf8(run("capinfos", &[paths[1].to_str().expect("a path")]).stdout).expect("text");
    assert!(facts.contains("gap: nothing was captured from"), "{facts}");
}

/// Names of the capture files in a ring's folder, oldest first.
fn captures(ring: &Path) -> Vec<String> {
    let names = std::fs::read_dir(ring).expect("the ring").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().expect("text")).collect();
    names.retain(|name| name.ends_with(".pcapng"));
    names.sort();
    names
}

#[test]
fn without_net_raw_ports_work_and_capture_says_what_is_missing() {
    if !possible() {
        return;
    }
    // Its own user can reach neither a folder of root's nor a program below it.
    let folder = tempfile::Builder::new().prefix("nodewatch-test").tempdir_in("/tmp").expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).expect("chmod");
    let program = folder.path().join("nodewatch-agent");
    std::fs::copy(PROGRAM, &program).expect("copy");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]);
    command.arg(&program).args(["serve", "--stdio", "--ring"]).arg(folder.path().join("ring"));
    let mut agent = Agent::spawn(command, &folder.path().join("ring"));
    let ability = agent.until("what it can capture", |message| match message {
        FromAgent::Update(Update::Agent(facts)) => Some(facts.capture),
        _ => None,
    });
    assert!(matches!(ability, CaptureAbility::Missing { right, .. } if right == "CAP_NET_RAW"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let wanted = format!("tcp {}", listener.local_addr().expect("an address"));
    agent.until("the port", |message| match message {
        FromAgent::Update(Update::Ports(ports)) if ports.opened.iter().any(|port| port.to_string() == wanted) => {
            Some(())
        }
        _ => None,
    });
    match agent.ask(Request::StartCapture(on(&["lo"]))) {
        Response::Refused(refusal) => {
            assert_eq!(refusal.kind, RefusalKind::NotPermitted);
            assert!(refusal.message.contains("CAP_NET_RAW") && refusal.next_step.contains("setcap"), "{refusal:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn several_tunnels_see_one_state_and_a_stalled_one_slows_nobody() {
    if !possible() {
        return;
    }
    let net = Net::new();
    let folder = tempfile::tempdir().expect("a folder");
    let (mut serve, connect) = serving(&net, folder.path(), &[]);
    let (mut one, mut two) = (connect(), connect());
    let stalled = stalled_tunnel(&folder.path().join("agent.sock"));
    one.start(filtered("udp port 7"));
    two.until("the capture", |message| match message {
        FromAgent::Update(Update::Capture(CaptureState::Running { .. })) => Some(()),
        _ => None,
    });
    // Ports that come and go make more lines than the stalled tunnel can take.
    in_namespace(&net.here, || {
        let held: Vec<_> = (0..20_000).filter_map(|_| std::net::UdpSocket::bind("127.0.0.1:0").ok()).collect();
        let opened = two.until("the ports", |message| match message {
            FromAgent::Update(Update::Ports(ports)) if ports.opened.len() > 100 => Some(ports.opened.len()),
            _ => None,
        });
        assert!(opened <= held.len());
    });
    net.send("10.66.0.1:7", 5, b"seen by both");
    let counted = two.until("packets counted", |message| match message {
        FromAgent::Update(Update::Statistics(statistics)) if statistics.packets > 0 => Some(statistics.packets),
        _ => None,
    });
    assert_eq!(counted, 5);
    drop(stalled);
    drop(two);
    let (statistics, files) = one.stop();
    assert_eq!((statistics.packets, tshark(&files[0], &["frame.len"]).len()), (5, 5));

    // SIGTERM ends it, and its tunnels with it.
    assert!(run("kill", &["-TERM", &serve.id().to_string()]).status.success());
    assert_eq!(serve.wait().expect("it ends").code(), Some(143));
    assert!(one.child.wait().expect("it ends").success());
}

/// A tunnel whose peer says Hello and then never reads.
fn stalled_tunnel(socket: &Path) -> std::os::unix::net::UnixStream {
    use std::io::Write;
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("connect");
    stream.write_all(&encode(&ToAgent::Hello(Hello::of("test", "0"))).expect("a line")).expect("hello");
    stream
}

/// An agent on a socket, and the way to open a tunnel to it.
fn serving(net: &Net, folder: &Path, more: &[&str]) -> (std::process::Child, impl Fn() -> Agent) {
    let (socket, ring) = (folder.join("agent.sock"), folder.join("ring"));
    let serve = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{}", net.here))
        .arg(PROGRAM)
        .args(["serve", "--ring"])
        .arg(&ring)
        .arg("--socket")
        .arg(&socket)
        .args(more)
        .spawn()
        .expect("the agent starts");
    eventually("its socket", SOON, || socket.exists());
    let connect = move || {
        let mut command = Command::new(PROGRAM);
        command.args(["connect", "--socket"]).arg(&socket);
        Agent::spawn(command, &ring)
    };
    (serve, connect)
}

/// The laptop is gone without a goodbye: the agent closes its file and ends well.
#[test]
fn a_lapsed_lease_ends_the_capture_with_a_whole_file() {
    if !possible() {
        return;
    }
    let net = Net::new();
    let folder = tempfile::tempdir().expect("a folder");
    let (mut serve, connect) = serving(&net, folder.path(), &["--deadline", "600", "--lease", "600"]);
    let mut agent = connect();
    agent.start(filtered("udp port 7"));
    net.send("10.66.0.1:7", 50, &[1; 100]);
    agent.until("all packets", |message| match message {
        FromAgent::Update(Update::Statistics(statistics)) if statistics.packets == 50 => Some(()),
        _ => None,
    });
    // The terms that it was started with are not the last word.
    let terms = Terms { left_seconds: 600.into(), lease_seconds: Some(2.into()) };
    assert_eq!(agent.ask(Request::Terms(terms)), Response::Done);
    agent.kill();
    assert!(serve.wait().expect("it ends").success());
    let ring = folder.path().join("ring");
    let files: Vec<_> =
        std::fs::read_dir(&ring).expect("the ring").map(|entry| entry.expect("an entry").path()).collect();
    let file = files.iter().find(|path| path.extension().is_some_and(|it| it == "pcapng")).expect("a file");
    assert_eq!(tshark(file, &["frame.len"]).len(), 50);
    assert!(ends_with_counts(file), "a file that was closed ends with its counts");
}

/// An interface statistics block, which is written when a file is closed.
fn ends_with_counts(file: &Path) -> bool {
    const INTERFACE_STATISTICS: [u8; 4] = [5, 0, 0, 0];
    let bytes = std::fs::read(file).expect("readable");
    let mut at = 0;
    let mut last = [0; 4];
    while let Some(head) = bytes.get(at..at + 8) {
        last.copy_from_slice(&head[..4]);
        at += u32::from_le_bytes([head[4], head[5], head[6], head[7]]).max(8) as usize;
    }
    last == INTERFACE_STATISTICS
}

/// What ports did while no tunnel was open is told to the next one.
#[test]
fn a_later_tunnel_hears_what_ports_did_before_it() {
    if !possible() {
        return;
    }
    let net = Net::new();
    let folder = tempfile::tempdir().expect("a folder");
    let (mut serve, connect) = serving(&net, folder.path(), &[]);
    let mut first = connect();
    let changed = |agent: &mut Agent, wanted: &str, opened: bool| {
        agent.until("the port", |message| match message {
            FromAgent::Update(Update::Ports(ports)) if ports.kind == PortsKind::Changes => {
                let all = if opened { ports.opened } else { ports.closed };
                all.iter().any(|port| port.to_string() == wanted).then_some(())
            }
            _ => None,
        });
    };
    first.until("the first scan", |message| matches!(message, FromAgent::Update(Update::Ports(_))).then_some(()));
    let listener = in_namespace(&net.here, || std::net::TcpListener::bind("127.0.0.1:4242").expect("bind"));
    changed(&mut first, "tcp 127.0.0.1:4242", true);
    drop(listener);
    changed(&mut first, "tcp 127.0.0.1:4242", false);
    drop(first);
    let history = connect().until("what ports did", |message| match message {
        FromAgent::Update(Update::PortHistory(history)) => Some(history),
        _ => None,
    });
    let told: Vec<(String, bool)> = history.iter().map(|change| (change.port.to_string(), change.opened)).collect();
    assert_eq!(told, [("tcp 127.0.0.1:4242".to_owned(), true), ("tcp 127.0.0.1:4242".to_owned(), false)]);
    assert!(run("kill", &["-TERM", &serve.id().to_string()]).status.success());
    assert_eq!(serve.wait().expect("it ends").code(), Some(143));
}
