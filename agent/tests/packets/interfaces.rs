//! Interfaces as nodes have them: hundreds, of every link type, down, and gone and back again.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use nodewatch_protocol::{
    CaptureSpec, Content, FromAgent, InterfaceState, RefusalKind, Request, Response, Statistics, ToAgent, Update,
};

use nodewatch_testing::{
    agent::Agent,
    namespaces::{Net, in_namespace, ip},
    packets::tshark,
    program::run,
};

use crate::{filtered, on, setup};

/// A line of trouble that has this in it.
fn trouble(agent: &mut Agent, wanted: &str) -> String {
    agent.until(wanted, |message| match message {
        FromAgent::Update(Update::Trouble { message }) if message.contains(wanted) => Some(message),
        _ => None,
    })
}

fn note(agent: &mut Agent, wanted: &str) -> String {
    agent.until(wanted, |message| match message {
        FromAgent::Update(Update::Note { message }) if message.contains(wanted) => Some(message),
        _ => None,
    })
}

fn statistics(agent: &mut Agent, wanted: impl Fn(&Statistics) -> bool) -> Statistics {
    agent.until("statistics", |message| match message {
        FromAgent::Update(Update::Statistics(statistics)) if wanted(&statistics) => Some(*statistics),
        _ => None,
    })
}

/// Starts a capture, which must work, and waits for what is said of it, whichever comes first.
fn start_and_hear(agent: &mut Agent, spec: CaptureSpec, wanted: &str) -> String {
    agent.say(&ToAgent::Request { id: 77, request: Request::StartCapture(spec) });
    let (mut done, mut said) = (false, None);
    agent.until(wanted, |message| {
        match message {
            FromAgent::Response { id: 77, response } => {
                assert_eq!(response, Response::Done);
                done = true;
            }
            FromAgent::Update(Update::Trouble { message } | Update::Note { message }) if message.contains(wanted) => {
                said = Some(message);
            }
            _ => {}
        }
        if done { said.take() } else { None }
    })
}

/// What a file says of itself in comments.
fn comments(file: &std::path::Path) -> String {
    let bytes = fs::read(file).expect("a file");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn make_veth(net: &Net) {
    ip(&["-n", &net.here, "link", "add", "vx0", "type", "veth", "peer", "name", "vx0", "netns", &net.there]);
    for (name, host) in [(&net.here, 1), (&net.there, 2)] {
        ip(&["-n", name, "addr", "add", &format!("10.66.9.{host}/24"), "dev", "vx0"]);
        ip(&["-n", name, "link", "set", "vx0", "up"]);
    }
}

#[test]
fn an_interface_that_is_deleted_and_made_anew_is_taken_up_again_and_the_gap_is_told() {
    let Some((net, mut agent)) = setup() else { return };
    make_veth(&net);
    agent.start(CaptureSpec { filter: Some("udp port 7".into()), ..on(&["vx0"]) });
    net.send("10.66.9.1:7", 50, b"before");
    statistics(&mut agent, |one| one.packets == 50);
    ip(&["-n", &net.here, "link", "del", "vx0"]);
    trouble(&mut agent, "interface vx0 disappeared; the capture continues");
    let gone = statistics(&mut agent, |one| one.interfaces[0].state == InterfaceState::Gone);
    assert_eq!(gone.interfaces[0].packets, 50);
    make_veth(&net);
    let back = note(&mut agent, "interface vx0 is back");
    assert!(back.contains("nothing was captured from it for"), "{back}");
    net.send("10.66.9.1:7", 30, b"after");
    agent.say(&ToAgent::Request { id: 0, request: Request::StopCapture });
    let (last, _, files) = agent.ended();
    assert_eq!((last.packets, last.interfaces[0].packets), (80, 80));
    assert_eq!(last.interfaces[0].state, InterfaceState::Reading);
    assert!(last.interfaces[0].gap_millis > 0, "{last:?}");
    let file = agent.ring.join(&files[0].name);
    assert_eq!(tshark(&file, &["udp.dstport"]).len(), 80);
    assert!(files[0].incomplete.contains("nothing was captured from vx0 from"), "{files:?}");
    assert!(comments(&file).contains("nothing was captured from vx0 from"));
}

#[test]
fn an_interface_that_gets_another_name_is_said_and_so_is_who_has_its_name_then() {
    let Some((net, mut agent)) = setup() else { return };
    make_veth(&net);
    agent.start(CaptureSpec { filter: Some("udp port 7".into()), ..on(&["vx0"]) });
    net.send("10.66.9.1:7", 20, b"before");
    statistics(&mut agent, |one| one.packets == 20);
    let here = |arguments: &[&str]| ip(&[&["-n", net.here.as_str(), "link"], arguments].concat());
    here(&["set", "vx0", "down"]);
    here(&["set", "vx0", "name", "vx9"]);
    here(&["set", "vx9", "up"]);
    trouble(&mut agent, "interface vx0 was renamed to vx9");
    net.send("10.66.9.1:7", 30, b"renamed");
    statistics(&mut agent, |one| one.packets == 50);

    here(&["add", "vx0", "type", "veth", "peer", "name", "vx8", "netns", &net.there]);
    for (name, device, host) in [(&net.here, "vx0", 1), (&net.there, "vx8", 2)] {
        ip(&["-n", name, "addr", "add", &format!("10.66.8.{host}/24"), "dev", device]);
        ip(&["-n", name, "link", "set", device, "up"]);
    }
    let said = trouble(&mut agent, "another interface is now called vx0");
    assert!(said.contains("instead of vx9"), "{said}");
    net.send("10.66.8.1:7", 10, b"other");
    statistics(&mut agent, |one| one.packets == 60);
    let (last, files) = agent.stop();
    assert_eq!((last.packets, last.interfaces[0].state), (60, InterfaceState::Reading));
    let comments = comments(&files[0]);
    assert!(comments.contains("vx0 was renamed to vx9") && comments.contains("another interface is now called vx0"));
}

#[test]
fn an_interface_that_comes_back_with_another_link_type_goes_on_as_another_interface_of_the_file() {
    let Some((net, mut agent)) = setup() else { return };
    make_veth(&net);
    agent.start(CaptureSpec { filter: Some("udp port 7".into()), ..on(&["vx0"]) });
    net.send("10.66.9.1:7", 20, b"before");
    statistics(&mut agent, |one| one.packets == 20);
    ip(&["-n", &net.here, "link", "del", "vx0"]);
    trouble(&mut agent, "disappeared");
    // Straight at the IP header.
    let mut tun = tun(&net.here, "vx0", 65534);
    note(&mut agent, "interface vx0 is back");
    for _ in 0..10 {
        write(&mut tun, &PACKET);
    }
    let (last, files) = agent.stop();
    assert_eq!((last.packets, last.interfaces.len(), last.interfaces[0].packets), (30, 1, 30));
    let rows = tshark(&files[0], &["frame.interface_name", "frame.interface_id", "frame.encap_type", "udp.dstport"]);
    assert_eq!(rows.len(), 30);
    assert!(rows.iter().all(|row| row[0] == "vx0" && row[3] == "7"), "{rows:?}");
    assert_eq!(rows.iter().filter(|row| row[1] == "1").count(), 10, "{rows:?}");
    tun.kill().expect("running");
    tun.wait().expect("killed");
}

#[test]
fn an_interface_that_goes_down_and_up_is_captured_on_and_the_gap_is_told() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(filtered("udp port 7"));
    net.send("10.66.0.1:7", 5, b"before");
    ip(&["-n", &net.here, "link", "set", "veth0", "down"]);
    trouble(&mut agent, "interface veth0 went down");
    statistics(&mut agent, |one| one.interfaces[0].state == InterfaceState::Down && one.interfaces[0].gap_millis > 0);
    ip(&["-n", &net.here, "link", "set", "veth0", "up"]);
    note(&mut agent, "interface veth0 is back");
    net.send("10.66.0.1:7", 5, b"after");
    let (last, files) = agent.stop();
    assert_eq!((last.packets, tshark(&files[0], &["frame.len"]).len()), (10, 10));
    assert!(last.interfaces[0].gap_millis > 0);
    assert!(comments(&files[0]).contains("(it was down)"));
}

#[test]
fn an_interface_that_is_down_is_joined_when_it_comes_up_and_stops_no_other() {
    let Some((net, mut agent)) = setup() else { return };
    make_veth(&net);
    ip(&["-n", &net.here, "link", "set", "vx0", "down"]);
    let both = CaptureSpec { filter: Some("udp port 7".into()), ..on(&["vx0", "veth0"]) };
    start_and_hear(&mut agent, both, "interface vx0 is down; capture starts when it comes up");
    net.send("10.66.0.1:7", 5, b"others");
    ip(&["-n", &net.here, "link", "set", "vx0", "up"]);
    note(&mut agent, "interface vx0 is back");
    net.send("10.66.9.1:7", 5, b"joined");
    let (last, files) = agent.stop();
    assert_eq!(last.packets, 10);
    let rows = tshark(&files[0], &["frame.interface_name"]);
    assert_eq!(rows.iter().filter(|row| row[0] == "vx0").count(), 5);

    // Alone, it is waited for too; what cannot be a filter is refused all the same.
    ip(&["-n", &net.here, "link", "set", "vx0", "down"]);
    let refused = agent.ask(Request::StartCapture(CaptureSpec { filter: Some("tcp prt 7".into()), ..on(&["vx0"]) }));
    assert!(matches!(refused, Response::Refused(refusal) if refusal.message.contains("does not compile")));
    start_and_hear(&mut agent, on(&["vx0"]), "interface vx0 is down");
    agent.stop();
}

/// A tun device that says it is of that hardware, for as long as the child lives.
fn tun(namespace: &str, name: &str, hardware: u16) -> Child {
    const SCRIPT: &str = r#"
import sys, os, fcntl, struct, subprocess
f = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(f, 0x400454ca, struct.pack("16sH22x", sys.argv[1].encode(), 0x1001))
fcntl.ioctl(f, 0x400454cd, int(sys.argv[2]))
subprocess.run(["ip", "addr", "add", sys.argv[3] + "/24", "dev", sys.argv[1]], check=True)
subprocess.run(["ip", "link", "set", sys.argv[1], "up"], check=True)
print("ready", flush=True)
for line in sys.stdin:
    os.write(f, bytes.fromhex(line.strip()))
    print("sent", flush=True)
"#;
    let mut child = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{namespace}"))
        .args(["python3", "-c", SCRIPT, name, &hardware.to_string(), &format!("10.78.{}.1", hardware % 250)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let ready = BufReader::new(child.stdout.as_mut().expect("piped")).lines().next();
    assert_eq!(ready.expect("it starts").expect("text"), "ready", "{name}");
    child
}

fn write(tun: &mut Child, packet: &[u8]) {
    use std::io::Write;
    let input = tun.stdin.as_mut().expect("piped");
    for byte in packet {
        write!(input, "{byte:02x}").expect("it reads");
    }
    writeln!(input).expect("it reads");
    let sent = BufReader::new(tun.stdout.as_mut().expect("piped")).lines().next();
    assert_eq!(sent.expect("it goes on").expect("text"), "sent");
}

/// UDP from 10.78.0.9:40000 to 10.78.0.1:7.
const PACKET: [u8; 36] = [
    0x45, 0, 0, 36, 0, 1, 0, 0, 64, 17, 0, 0, 10, 78, 0, 9, 10, 78, 0, 1, 0x9C, 0x40, 0, 7, 0, 16, 0, 0, b'S', b'E',
    b'C', b'R', b'E', b'T', b'-', b'1',
];

#[test]
fn interfaces_of_every_link_type_are_captured_beside_the_others_and_read() {
    let Some((net, mut agent)) = setup() else { return };
    // A tun device, IPoIB, an IPv6 tunnel, GRE, GRE over IPv6, PPP, raw IP.
    let kinds = [65534, 32, 769, 778, 823, 512, 519];
    let mut tuns: Vec<(String, Child)> = kinds
        .iter()
        .map(|&hardware| (format!("ty{hardware}"), tun(&net.here, &format!("ty{hardware}"), hardware)))
        .collect();
    let default = CaptureSpec { filter: Some("udp port 7".into()), ..CaptureSpec::default() };
    agent.start(default);
    net.send("10.66.0.1:7", 5, b"SECRET-2");
    for (_, tun) in &mut tuns {
        write(tun, &PACKET);
    }
    let (last, files) = agent.stop();
    assert_eq!(last.packets, 5 + kinds.len() as u64, "{:?}", last.interfaces);
    let rows = tshark(&files[0], &["frame.interface_name", "udp.dstport", "frame.cap_len", "frame.len", "ip.src"]);
    for (name, _) in &tuns {
        let of: Vec<_> = rows.iter().filter(|row| row[0] == *name).map(|row| row[1..].join(" ")).collect();
        // Straight at the IP header, or with a header of what the kernel says, as this libpcap has it.
        let raw = "7 28 36 10.78.0.9";
        let cooked = "7 44 52 10.78.0.9";
        assert!(of == [cooked] || (of == [raw] && (name == "ty65534" || name == "ty519")), "{name}: {rows:?}");
    }
    assert!(!comments(&files[0]).contains("SECRET"));
    assert_eq!(last.flows.iter().filter(|flow| flow.to.port == 7).count(), 2, "{:?}", last.flows);
    for (_, mut tun) in tuns {
        tun.kill().expect("running");
        tun.wait().expect("killed");
    }
}

#[test]
fn an_interface_that_the_filter_does_not_fit_is_left_out_and_said() {
    let Some((net, mut agent)) = setup() else { return };
    let mut tun = tun(&net.here, "ty0", 65534);
    let filter = "udp port 7 or ether host 02:00:00:00:00:99";
    let both = CaptureSpec { filter: Some(filter.into()), ..on(&["ty0", "veth0"]) };
    start_and_hear(&mut agent, both, "skipped interface ty0");
    net.send("10.66.0.1:7", 5, b"others");
    let (last, files) = agent.stop();
    assert_eq!(last.packets, 5);
    let state = last.interfaces.iter().map(|one| (one.name.as_str(), one.state)).collect::<Vec<_>>();
    assert_eq!(state, [("veth0", InterfaceState::Reading), ("ty0", InterfaceState::LeftOut)]);
    assert!(comments(&files[0]).contains("cannot be read and were not captured: ty0"));
    // Alone it is an error, with the filter's advice.
    let alone = CaptureSpec { filter: Some("vlan 5".into()), ..on(&["ty0"]) };
    match agent.ask(Request::StartCapture(alone)) {
        Response::Refused(refusal) => {
            assert_eq!(refusal.kind, RefusalKind::Invalid);
            assert!(refusal.next_step.contains("pcap-filter"), "{refusal:?}");
        }
        other => panic!("{other:?}"),
    }
    tun.kill().expect("running");
    tun.wait().expect("killed");
}

#[test]
fn three_hundred_interfaces_share_sixty_four_mebibytes() {
    let Some((net, mut agent)) = setup() else { return };
    // All in one call of ip, as three hundred calls take their time.
    let lines = |n| format!("link add w{n} type veth peer name x{n}\nlink set w{n} up\nlink set x{n} up\n");
    let lines: Vec<String> = (0..150).map(lines).collect();
    let batch = net.ring.path().join("links");
    fs::write(&batch, lines.concat()).expect("room");
    ip(&["-n", &net.here, "-batch", batch.to_str().expect("a path")]);
    let names: Vec<String> = (0..150).flat_map(|n| [format!("w{n}"), format!("x{n}")]).collect();
    agent.start(CaptureSpec { interfaces: names, filter: Some("udp port 7".into()), ..CaptureSpec::default() });
    let maps = fs::read_to_string(format!("/proc/{}/smaps", agent_process(&agent))).expect("running");
    let mut rings = (0, 0);
    let mut ring = false;
    for line in maps.lines() {
        // A ring is a mapping of a socket.
        if line.contains('-') && line.contains(" rw-s ") {
            ring = line.contains("socket:");
        } else if let Some(size) = line.strip_prefix("Size:").filter(|_| ring) {
            rings.0 += 1;
            rings.1 += size.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
            ring = false;
        }
    }
    assert_eq!(rings.0, 300);
    assert!(rings.1 <= 64 * 1024, "{} KiB are mapped", rings.1);
    let (last, _) = agent.stop();
    assert_eq!(last.interfaces.len(), 300);
}

/// The agent's own process: `nsenter` becomes it.
fn agent_process(agent: &Agent) -> u32 {
    agent.child.id()
}

#[test]
fn a_filter_that_the_kernel_does_not_take_is_applied_by_the_agent_and_said() {
    let Some((net, mut agent)) = setup() else { return };
    // Too long for the kernel: more than 4,096 instructions.
    let hosts: Vec<String> = (0..700).map(|n| format!("ip6 host fd00:1::{n:x}")).collect();
    let long = format!("{} or udp port 7", hosts.join(" or "));
    let spec = CaptureSpec { snaplen: 60, ..filtered(&long) };
    let said = start_and_hear(&mut agent, spec, "the agent applies the filter");
    assert!(said.contains("instructions and the kernel accepts at most 4096"), "{said}");
    net.send("10.66.0.1:7", 40, &[1; 500]);
    net.send("10.66.0.1:9", 40, b"not these");
    let (last, files) = agent.stop();
    assert_eq!(last.packets, 40);
    let rows = tshark(&files[0], &["udp.dstport", "frame.cap_len", "frame.len"]);
    assert_eq!(rows, vec![["7", "60", "542"].map(str::to_owned).to_vec(); 40]);

    // Jumps back.
    start_and_hear(&mut agent, filtered("ip6 protochain 17 and inbound"), "the agent applies the filter");
    net.send("[fd00:66:0::1]:7", 20, b"six");
    net.send("10.66.0.1:7", 20, b"four");
    let (last, files) = agent.stop();
    assert_eq!((last.packets, tshark(files.last().expect("a file"), &["ipv6.dst"]).len()), (20, 20));
}

#[test]
fn loopback_shows_each_packet_once_and_its_ring_holds_no_other() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(CaptureSpec { filter: Some("udp port 7".into()), content: Content::Headers, ..on(&["lo"]) });
    in_namespace(&net.here, || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
        let _taker = std::net::UdpSocket::bind("127.0.0.1:7").expect("bind");
        for _ in 0..100 {
            socket.send_to(b"x", "127.0.0.1:7").expect("sent");
        }
    });
    // Stopped for a moment, the agent loses what does not fit its ring: every packet is captured or counted, once.
    statistics(&mut agent, |one| one.packets == 100);
    let id = agent_process(&agent).to_string();
    assert!(run("kill", &["-STOP", &id]).status.success());
    let sent = 60_000;
    in_namespace(&net.here, || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
        let _taker = std::net::UdpSocket::bind("127.0.0.1:7").expect("bind");
        for _ in 0..sent {
            socket.send_to(&[7; 1000], "127.0.0.1:7").expect("sent");
        }
    });
    assert!(run("kill", &["-CONT", &id]).status.success());
    let (last, _) = agent.stop();
    assert!(last.dropped.kernel > 0, "{:?}", last.dropped);
    assert_eq!(last.packets + last.dropped.kernel, 100 + sent, "{:?}", last.dropped);
}

#[test]
fn what_nobody_on_the_node_wanted_is_not_called_lost() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(on(&["veth0"]));
    // Two tags that no interface here has: captured, and then thrown away by the kernel as nobody's.
    let mut frame = vec![0xFF; 6];
    frame.extend([2, 0, 0, 0, 0, 9, 0x88, 0xA8, 0, 7, 0x81, 0, 0, 5, 0x08, 0x00]);
    frame.extend(PACKET);
    in_namespace(&net.there, || {
        let mut wire = pcap::Capture::from_device("veth0").expect("veth0").open().expect("opens");
        for _ in 0..8 {
            wire.sendpacket(frame.as_slice()).expect("sends");
        }
    });
    let dropped = run("ip", &["-n", &net.here, "-s", "-j", "link", "show", "veth0"]).stdout;
    let dropped = String::from_utf8(dropped).expect("text");
    assert!(!dropped.contains("\"dropped\":0,\"over_errors\""), "the kernel does count them: {dropped}");
    let (last, files) = agent.stop();
    assert_eq!(last.dropped, nodewatch_protocol::Dropped::default());
    assert!(!comments(&files[0]).contains("incomplete"));
}

#[test]
fn a_host_name_in_a_filter_is_refused_at_once() {
    let Some((_net, mut agent)) = setup() else { return };
    match agent.ask(Request::StartCapture(filtered("port 80 and host db.example.com"))) {
        Response::Refused(refusal) => {
            assert_eq!(refusal.kind, RefusalKind::Invalid);
            assert!(refusal.message.contains("names the host \"db.example.com\""), "{refusal:?}");
            assert!(refusal.next_step.contains("addresses"), "{refusal:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn pods_behind_a_vxlan_are_the_flows_and_their_headers_are_kept() {
    let Some((net, mut agent)) = setup() else { return };
    for (name, remote, host) in [(&net.here, "10.66.0.2", 1), (&net.there, "10.66.0.1", 2)] {
        let vxlan = ["type", "vxlan", "id", "42", "remote", remote, "dstport", "8472", "dev", "veth0"];
        ip(&[&["-n", name.as_str(), "link", "add", "vt0"][..], &vxlan].concat());
        ip(&["-n", name, "addr", "add", &format!("10.244.0.{host}/24"), "dev", "vt0"]);
        ip(&["-n", name, "link", "set", "vt0", "up"]);
    }
    agent.start(CaptureSpec { content: Content::Headers, ..filtered("udp port 8472") });
    net.send("10.244.0.1:7", 25, b"SECRET-SECRET-SECRET");
    let (last, files) = agent.stop();
    let flow = last.flows.iter().find(|flow| flow.to.port == 7).expect("the pods' flow");
    assert_eq!((flow.to.address.to_string(), flow.share.packets), ("10.244.0.1".into(), 25));
    assert_eq!(flow.tunnel, Some(nodewatch_protocol::Tunnel::Vxlan));
    let rows = tshark(&files[0], &["frame.len", "frame.cap_len"]);
    let cut = rows.iter().filter(|row| row[..] == ["112", "92"]).count();
    assert_eq!(cut, 25, "outer and inner headers, 50 and 42 bytes: {rows:?}");
    assert!(!comments(&files[0]).contains("SECRET"));
}
