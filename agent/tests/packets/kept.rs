//! What is kept of a capture and how it leaves: headers, flight recorders, streams, counts.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use nodewatch_protocol::{
    CaptureSpec, Content, FileState, Freeze, FromAgent, Recorder, Request, Response, ToAgent, Update,
};

use nodewatch_testing::{packets::tshark, program::run};

use crate::{PROGRAM, agent_in, captures, filtered, setup};

#[test]
fn headers_are_kept_and_payloads_are_not_and_lengths_stay_true() {
    let Some((net, mut agent)) = setup() else { return };
    let fields = ["frame.cap_len", "frame.len", "ip.len", "udp.length", "udp.payload", "dns.qry.name"];
    // A question for a name, which only `dns` keeps.
    let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01";
    for (content, of_data, of_question) in
        [(Content::Headers, "42", "42"), (Content::Dns, "42", "71"), (Content::Full, "542", "71")]
    {
        agent.start(CaptureSpec { content, ..filtered("udp port 7 or udp port 53") });
        net.send("10.66.0.1:7", 3, &[7; 500]);
        net.send("10.66.0.1:53", 2, question);
        let (statistics, files) = agent.stop();
        assert_eq!((statistics.packets, statistics.bytes), (5, 3 * 542 + 2 * 71), "{content:?}");
        let rows = tshark(files.last().expect("a file"), &fields);
        for row in &rows[..3] {
            assert_eq!(row[..4], [of_data, "542", "528", "508"], "{content:?}");
            assert_eq!(row[4].is_empty(), content != Content::Full, "{content:?}");
        }
        for row in &rows[3..] {
            assert_eq!(row[..2], [of_question, "71"], "{content:?}");
            assert_eq!(row[5] == "example.com", content != Content::Headers, "{content:?}");
        }
        let facts = run("capinfos", &[files.last().expect("a file").to_str().expect("a path")]).stdout;
        let facts = String::from_utf8(facts).expect("text");
        assert!(facts.contains(&format!("content {}:", content.word())), "{facts}");
    }
}

#[test]
fn a_flight_recorder_forgets_and_a_freeze_saves_what_was_before_and_after() {
    let Some((net, mut agent)) = setup() else { return };
    let recorder = Recorder { seconds: 8.into(), bytes: 1024 * 1024 };
    agent.start(CaptureSpec { recorder: Some(recorder), ..filtered("udp port 7") });
    let began = Instant::now();
    // One packet after the other, its number as its payload, and when each was sent.
    let mut sent: Vec<Instant> = Vec::new();
    let mut frozen = None;
    while began.elapsed() < Duration::from_secs(17) {
        sent.push(Instant::now());
        net.send("10.66.0.1:7", 1, &(sent.len() as u32 - 1).to_be_bytes());
        if frozen.is_none() && began.elapsed() >= Duration::from_secs(12) {
            let freeze = Freeze { before_seconds: 3.into(), after_seconds: 2.into(), cause: None };
            frozen = Some(Instant::now());
            assert_eq!(agent.ask(Request::Freeze(freeze)), Response::Done);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let frozen = frozen.expect("frozen");
    let (_, files) = agent.stop();
    let [file] = &files[..] else { panic!("one file, the recorder's memory is none: {files:?}") };
    let found: Vec<usize> = tshark(file, &["udp.payload"])
        .iter()
        .map(|row| usize::from_str_radix(&row[0], 16).expect("a number"))
        .collect();
    assert!(found.windows(2).all(|pair| pair[1] == pair[0] + 1), "without a hole: {found:?}");
    // 3 s before to 2 s after, but for what a busy machine does to the moments.
    let within = |number: usize, slack: i64| {
        let millis = |time: Instant| time.duration_since(began).as_millis() as i64;
        let at = millis(sent[number]) - millis(frozen);
        (-3000 - slack..=2000 + slack).contains(&at)
    };
    assert!(found.iter().all(|&number| within(number, 1000)), "nothing from outside: {found:?}");
    let missing: Vec<usize> = (0..sent.len()).filter(|&one| within(one, -500) && !found.contains(&one)).collect();
    assert_eq!(missing, Vec::<usize>::new(), "{found:?}");
    assert_eq!(
        nodewatch_pcapng::whole(std::fs::File::open(file).expect("open")).expect("read").packets,
        found.len() as u64
    );
    // What is older than the recorder's time is gone.
    let of = |name: &String| {
        let file = std::fs::File::open(agent.ring.join(name)).expect("open");
        nodewatch_pcapng::whole(file).expect("read").packets
    };
    let kept: u64 = captures(&agent.ring).iter().map(of).sum::<u64>() - found.len() as u64;
    let recent = sent.iter().filter(|at| at.elapsed() < Duration::from_secs(13)).count() as u64;
    assert!(kept <= recent && recent < sent.len() as u64, "{kept} of {} packets are kept", sent.len());

    let refused = agent.ask(Request::Freeze(Freeze::default()));
    assert!(matches!(refused, Response::Refused(refusal) if refusal.message.contains("no flight recorder")));
    agent.start(CaptureSpec { recorder: Some(recorder), ..filtered("udp port 7") });
    let too_much =
        agent.ask(Request::Freeze(Freeze { before_seconds: 9.into(), after_seconds: 1.into(), cause: None }));
    assert!(matches!(too_much, Response::Refused(refusal) if refusal.message.contains("less than the requested 9 s")));
}

#[test]
fn a_freeze_that_a_restart_comes_between_is_saved_all_the_same() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(CaptureSpec { recorder: Some(Recorder::default()), ..filtered("udp port 7") });
    net.send("10.66.0.1:7", 50, &[1; 20]);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(
        agent.ask(Request::Freeze(Freeze { before_seconds: 10.into(), after_seconds: 4.into(), cause: None })),
        Response::Done
    );
    agent.kill();
    let mut agent = agent_in(&net.here, net.ring.path());
    let saved = agent.until("the frozen file", |message| match message {
        FromAgent::Update(Update::Files(files)) => files.into_iter().find(|file| file.state == FileState::Closed),
        _ => None,
    });
    assert_eq!(saved.packets, 50);
    assert!(saved.incomplete.contains("was stopped while writing"), "{}", saved.incomplete);
    assert_eq!(tshark(&agent.ring.join(&saved.name), &["frame.len"]).len(), 50);
}

#[test]
fn a_running_capture_is_followed_over_its_files_to_its_end() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(CaptureSpec { rotate_seconds: 1.into(), ..filtered("udp port 7") });
    let mut follow = Command::new(PROGRAM);
    follow.args(["follow", "--ring"]).arg(&agent.ring).stdout(std::process::Stdio::piped());
    let mut follow = follow.spawn().expect("it starts");
    let mut stream = follow.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let mut reader = nodewatch_pcapng::Reader::new(&mut stream);
        let (mut sections, mut packets) = (0, 0);
        while let Some(block) = reader.next_block().expect("whole blocks") {
            match block {
                nodewatch_pcapng::Block::Section(section) => {
                    let marks = section.comments.iter().filter_map(|text| nodewatch_protocol::StreamMark::of(text));
                    sections += usize::from(marks.count() == 0);
                }
                nodewatch_pcapng::Block::Packet(_) => packets += 1,
                _ => {}
            }
        }
        (sections, packets)
    });
    for _ in 0..30 {
        net.send("10.66.0.1:7", 10, &[1; 20]);
        std::thread::sleep(Duration::from_millis(100));
    }
    let (statistics, _) = agent.stop();
    let (sections, packets) = reader.join().expect("no panic");
    assert!(follow.wait().expect("it ends").success());
    assert_eq!((statistics.packets, packets), (300, 300));
    assert!(sections >= 3);
}

#[test]
fn a_files_drops_are_in_the_file_and_in_the_list() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(CaptureSpec { rotate_bytes: CaptureSpec::MIN_FILE, ..filtered("udp port 7") });
    net.send("10.66.0.1:7", 1000, &[1; 500]);
    agent.say(&ToAgent::Request { id: 0, request: Request::StopCapture });
    let (statistics, _, files) = agent.ended();
    let in_files: u64 = files.iter().map(|file| file.packets).sum();
    let dropped: u64 = files.iter().map(|file| file.dropped.queue).sum();
    assert_eq!(in_files + dropped, statistics.packets);
    for file in &files {
        let path = agent.ring.join(&file.name);
        let mut reader = nodewatch_pcapng::Reader::new(std::fs::File::open(path).expect("open"));
        let mut counts = None;
        while let Some(block) = reader.next_block().expect("whole") {
            if let nodewatch_pcapng::Block::Statistics(found) = block {
                counts = Some(found);
            }
        }
        let counts = counts.expect("every file ends with its counts");
        assert_eq!((counts.delivered, counts.dropped_by_kernel), (file.packets, file.dropped.kernel), "{file:?}");
        assert_eq!(counts.received, file.packets + file.dropped.kernel + file.dropped.queue);
    }
}
