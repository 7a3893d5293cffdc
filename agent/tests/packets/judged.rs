//! Flight recorders that freeze by themselves.

use std::net::TcpStream;

use nodewatch_protocol::{
    CaptureFile, CaptureSpec, FileState, Freeze, FreezeCause, FromAgent, Recorder, Request, Response, ToAgent, Update,
};
use nodewatch_testing::{
    agent::Agent,
    namespaces::{Net, in_namespace},
    program,
};

use crate::{filtered, setup};

/// So many connections to a port on which nobody listens.
fn refused(net: &Net, count: usize) {
    in_namespace(&net.there, || (0..count).for_each(|_| assert!(TcpStream::connect("10.66.0.1:4444").is_err())));
}

/// What is told in so many seconds: reasons to freeze, and the files as they are then.
fn seconds(agent: &mut Agent, count: usize) -> (Vec<(String, Freeze)>, Vec<CaptureFile>) {
    assert_eq!(agent.ask(Request::Heartbeat), Response::Done);
    let (mut froze, mut files, mut left) = (Vec::new(), Vec::new(), count);
    agent.until("seconds", |message| {
        match message {
            FromAgent::Update(Update::Froze(told)) => froze.push((told.message, told.freeze)),
            FromAgent::Update(Update::Files(told)) => files = told,
            FromAgent::Update(Update::Statistics(_)) => left -= 1,
            _ => {}
        }
        (left == 0).then_some(())
    });
    (froze, files)
}

#[test]
fn a_recorder_freezes_by_itself_once_in_ten_minutes_for_one_reason() {
    let Some((net, mut agent)) = setup() else { return };
    let freeze_on = Some("failures>1%".parse().expect("read"));
    agent.start(CaptureSpec { recorder: Some(Recorder::default()), freeze_on, ..filtered("tcp port 4444") });
    // The first two seconds are not judged.
    let (froze, _) = seconds(&mut agent, 4);
    assert_eq!(froze, [], "nothing has failed");
    refused(&net, 5);
    let (froze, _) = seconds(&mut agent, 4);
    let [(message, freeze)] = &froze[..] else { panic!("{froze:?}") };
    assert_eq!(message, "the flight recorder froze by itself: 5 of 5 attempts failed");
    assert_eq!((freeze.cause, freeze.before_seconds.get()), (Some(FreezeCause::Failures), 30));
    refused(&net, 5);
    // The same reason, found by somebody else.
    assert_eq!(agent.ask(Request::Freeze(*freeze)), Response::Done);
    let (froze, files) = seconds(&mut agent, 14);
    assert_eq!(froze, []);
    let [file] = &files[..] else { panic!("one file: {files:?}") };
    assert_eq!((file.state, file.packets), (FileState::Closed, 20));
    let bytes = std::fs::read(agent.ring.join(&file.name)).expect("the file");
    let said = b"frozen by itself: too many attempts failed";
    assert!(bytes.windows(said.len()).any(|part| part == said), "its comment has the reason");
}

/// As of a drain, an eviction or a node that is shut down: nobody can press the key afterwards.
#[test]
fn a_recorder_saves_all_that_it_holds_when_its_pod_is_ended() {
    let Some((net, mut agent)) = setup() else { return };
    agent.start(CaptureSpec { recorder: Some(Recorder::default()), ..filtered("tcp port 4444") });
    seconds(&mut agent, 1);
    refused(&net, 5);
    seconds(&mut agent, 2);
    program::kill(&agent.child, "TERM");
    let (mut told, mut froze, mut file) = (false, None, None);
    agent.until("the frozen file", |message| {
        match message {
            FromAgent::Update(Update::Ending) => told = true,
            FromAgent::Update(Update::Froze(said)) => froze = Some(said),
            FromAgent::Update(Update::Files(files)) => {
                file = files.into_iter().find(|file| file.state == FileState::Closed && file.packets == 10);
            }
            _ => {}
        }
        (told && file.is_some()).then_some(())
    });
    let (froze, file) = (froze.expect("it was told"), file.expect("a file"));
    assert_eq!(froze.message, "the flight recorder saves all that it holds: its pod is being ended");
    assert_eq!((froze.freeze.cause, froze.freeze.before_seconds.get()), (Some(FreezeCause::PodEnds), 120));
    let bytes = std::fs::read(agent.ring.join(&file.name)).expect("the file");
    let said = b"frozen by itself: its pod was being ended";
    assert!(bytes.windows(said.len()).any(|part| part == said), "its comment has the reason");
    // It waits until that has been fetched.
    agent.say(&ToAgent::Request { id: 0, request: Request::Fetched { file: file.name } });
    let end = agent.child.wait().expect("it ends");
    assert_eq!(end.code(), Some(143));
}
