//! What a ring owes its packets when its disk stands still, its agent dies, or another one comes.

use std::{
    fs,
    io::Write,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nodewatch_pcapng as pcapng;
use nodewatch_protocol::{
    CaptureSpec, CaptureState, FileState, Freeze, FromAgent, Recorder, Request, Response, ToAgent, Update,
};

use nodewatch_testing::{namespaces::Net, packets::tshark, program::run};

use crate::{PROGRAM, agent_in, filtered, possible, setup};

#[test]
fn a_disk_that_stands_still_costs_neither_packets_nor_answers() {
    let Some((net, mut agent)) = setup() else { return };
    assert_eq!(agent.ask(Request::Heartbeat), Response::Done);
    // Whoever writes the list waits in its opening, as for a disk that does not answer.
    let part = agent.ring.join("manifest.part");
    assert!(run("mkfifo", &[part.to_str().expect("a path")]).status.success());
    agent.start(CaptureSpec { rotate_bytes: CaptureSpec::MIN_FILE, ..filtered("udp port 7") });
    for _ in 0..5 {
        net.send("10.66.0.1:7", 200, &[1; 500]);
        assert_eq!(agent.ask(Request::Heartbeat), Response::Done);
    }
    agent.say(&ToAgent::Request { id: 0, request: Request::StopCapture });
    let (statistics, _, files) = agent.ended();
    assert_eq!((statistics.packets, statistics.dropped.kernel), (1000, 0));
    assert_eq!(files.iter().map(|file| file.packets + file.dropped.queue).sum::<u64>(), 1000);
    // The list of before is the one on disk: what it does not know is found again by the next agent.
    agent.kill();
    fs::remove_file(&part).expect("removed");
    let mut agent = agent_in(&net.here, net.ring.path());
    let found = agent.until("the list of files", |message| match message {
        FromAgent::Update(Update::Files(files)) => Some(files),
        _ => None,
    });
    let of = |files: &[nodewatch_protocol::CaptureFile]| -> Vec<(String, u64, u64)> {
        files.iter().map(|file| (file.name.clone(), file.size, file.packets)).collect()
    };
    assert_eq!(of(&found), of(&files), "whole files stay as they are");
    assert!(found.iter().all(|file| !file.incomplete.contains("was stopped")), "{found:?}");
}

#[test]
fn a_second_agent_on_a_ring_is_told_so_and_changes_nothing() {
    let Some((_net, mut agent)) = setup() else { return };
    // A freeze is answered when the list is on the disk: from then on it changes no more.
    agent.start(CaptureSpec { recorder: Some(Recorder::default()), ..filtered("udp port 7") });
    assert_eq!(
        agent.ask(Request::Freeze(Freeze { before_seconds: 1.into(), after_seconds: 100.into(), cause: None })),
        Response::Done
    );
    let list = || fs::read(agent.ring.join("manifest.json")).expect("a list");
    let before = list();
    let second = Command::new(PROGRAM).args(["serve", "--stdio", "--ring"]).arg(&agent.ring).output().expect("it runs");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && said.contains("another agent uses the ring"), "{said}");
    assert_eq!(list(), before);
}

#[test]
fn a_freeze_over_an_agents_death_names_the_gap_in_file_and_list() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(CaptureSpec {
        recorder: Some(Recorder { seconds: 60.into(), bytes: 1 << 24 }),
        ..filtered("udp port 7")
    });
    net.send("10.66.0.1:7", 30, &[1; 20]);
    agent.until("room used in the ring", |message| match message {
        FromAgent::Update(Update::Ring(ring)) if ring.used > 2000 => Some(()),
        _ => None,
    });
    agent.kill();
    // So that there is a gap to see.
    std::thread::sleep(Duration::from_secs(2));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let mut agent = agent_in(&net.here, net.ring.path());
    // It is told as running while it is being taken up again, and reads packets from its new beginning on.
    agent.until("the capture taken up again", |message| match message {
        FromAgent::Update(Update::Capture(CaptureState::Running { since, .. })) if u128::from(since) >= now => Some(()),
        _ => None,
    });
    net.send("10.66.0.1:7", 20, &[1; 20]);
    assert_eq!(
        agent.ask(Request::Freeze(Freeze { before_seconds: 30.into(), after_seconds: 1.into(), cause: None })),
        Response::Done
    );
    let saved = agent.until("the frozen file", |message| match message {
        FromAgent::Update(Update::Files(files)) => files.into_iter().find(|file| file.state == FileState::Closed),
        _ => None,
    });
    assert_eq!((saved.packets, tshark(&agent.ring.join(&saved.name), &["frame.len"]).len()), (50, 50));
    let facts = run("capinfos", &[agent.ring.join(&saved.name).to_str().expect("a path")]).stdout;
    for text in [&saved.incomplete, &String::from_utf8(facts).expect("text")] {
        assert!(text.contains("gap: nothing was captured from"), "{text}");
    }
}

#[test]
fn a_disk_too_full_to_mark_a_torn_file_keeps_it_and_the_agent_starts() {
    if !possible() {
        return;
    }
    let net = Net::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a path");
    assert!(run("mount", &["-t", "tmpfs", "-o", "size=256k", "tmpfs", path]).status.success());
    // Whole blocks up to the end of a page but four bytes, so that cutting the torn end gives no page back.
    let mut bytes = Vec::new();
    let section = pcapng::SectionBlock { hardware: "n", application: "t", comments: &[] };
    pcapng::section_header(&mut bytes, &section);
    let interface = pcapng::InterfaceBlock { name: "eth0", link_type: 1, snaplen: 100, filter: None, description: "" };
    pcapng::interface_description(&mut bytes, &interface);
    pcapng::enhanced_packet(&mut bytes, 0, 5_000_000_000, 100, [&[0; 100]], &[]);
    let filler = u32::try_from(4092 - bytes.len()).expect("a short one");
    bytes.extend([0x0bad_u32.to_le_bytes(), filler.to_le_bytes()].concat());
    bytes.resize(4088, 0);
    bytes.extend(filler.to_le_bytes());
    let whole = bytes.len() as u64;
    bytes.extend([6, 0, 0]);
    fs::write(folder.path().join("torn-1.pcapng"), bytes).expect("room");
    let mut ballast = fs::File::create(folder.path().join("ballast")).expect("created");
    while ballast.write_all(&[0; 4096]).is_ok() {}
    let mut agent = agent_in(&net.here, folder.path());
    let files = agent.until("the list of files", |message| match message {
        FromAgent::Update(Update::Files(files)) => Some(files),
        _ => None,
    });
    let there = folder.path().join("torn-1.pcapng").metadata().map(|facts| facts.len());
    agent.kill();
    drop(ballast);
    assert!(run("umount", &[path]).status.success());
    assert_eq!((files[0].packets, files[0].size, there.expect("there")), (1, whole, whole));
    assert!(files[0].incomplete.contains("was stopped while writing"), "{}", files[0].incomplete);
}
