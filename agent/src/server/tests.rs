//! Peers that say nothing, read nothing, or say only half of it.

use nodewatch_protocol::{Refusal, RefusalKind};
use tokio::io::{DuplexStream, duplex, split};

use super::*;
use crate::{
    hub::{Hub, NodeFacts},
    lifetime::Lifetime,
    ring::{Ring, store::Store},
};

fn hub(folder: &Path) -> HubHandle {
    let ring = Ring::open(Store::open(folder).expect("a ring"), "test").expect("a ring");
    Hub::spawn(NodeFacts::default(), ring, Lifetime::begin(None, None, None)).expect("a hub")
}

/// A tunnel of that patience, and what becomes of it.
fn tunnel(
    patience: Patience,
    hub: &HubHandle,
    room: usize,
) -> (DuplexStream, tokio::task::JoinHandle<Result<(), ServeError>>) {
    let (ours, theirs) = duplex(room);
    let hub = hub.clone();
    let served = tokio::spawn(async move {
        let (reader, writer) = split(theirs);
        serve_with(patience, reader, writer, &hub).await
    });
    (ours, served)
}

async fn say(stream: &mut DuplexStream, value: &ToAgent) -> io::Result<()> {
    stream.write_all(&encode(value).expect("a line")).await
}

fn hello() -> ToAgent {
    ToAgent::Hello(Hello::of("test", "0"))
}

/// The first thing of that kind, passing over others.
async fn until<T>(stream: &mut DuplexStream, mut wanted: impl FnMut(FromAgent) -> Option<T>) -> T {
    let mut lines = Lines::default();
    let mut buffer = [0; 4096];
    loop {
        while let Some(line) = lines.next_line().expect("lines") {
            if let Some(found) = wanted(decode(&line).expect("the protocol")) {
                return found;
            }
        }
        let read = stream.read(&mut buffer).await.expect("readable");
        assert!(read > 0, "the tunnel has ended");
        lines.push(&buffer[..read]);
    }
}

fn answer_to(wanted: u64) -> impl FnMut(FromAgent) -> Option<Response> {
    move |message| match message {
        FromAgent::Response { id, response } if id == wanted => Some(response),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_tunnel_is_cut_and_a_silent_pipe_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path());
    let (mut stream, served) = tunnel(Patience::Tunnel, &hub, 1024 * 1024);
    say(&mut stream, &hello()).await.expect("room");
    assert!(matches!(served.await.expect("no panic"), Err(ServeError::Silence)));

    // A laptop that was suspended for an hour, and read nothing meanwhile.
    let (mut stream, served) = tunnel(Patience::Pipe, &hub, 512);
    say(&mut stream, &hello()).await.expect("room");
    sleep(Duration::from_secs(3600)).await;
    assert!(!served.is_finished());
    say(&mut stream, &ToAgent::Request { id: 5, request: Request::Heartbeat }).await.expect("room");
    assert_eq!(until(&mut stream, answer_to(5)).await, Response::Done);
    drop(stream);
    // The end of the pipe is the end.
    let _ = served.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_byte_now_and_then_is_no_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path());
    let (mut stream, served) = tunnel(Patience::Tunnel, &hub, 1024 * 1024);
    while !served.is_finished() {
        // Until the agent has cut it.
        let _ = stream.write_all(b" ").await;
        sleep(Duration::from_secs(10)).await;
    }
    assert!(matches!(served.await.expect("no panic"), Err(ServeError::Silence)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_and_never_reads_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path());
    let (mut stream, served) = tunnel(Patience::Tunnel, &hub, 512);
    say(&mut stream, &hello()).await.expect("room");
    let mut id = 0;
    while !served.is_finished() {
        id += 1;
        let beat = ToAgent::Request { id, request: Request::Heartbeat };
        // It no longer reads either, once answers wait.
        let _ = timeout(Duration::from_secs(5), say(&mut stream, &beat)).await;
        sleep(Duration::from_secs(5)).await;
    }
    assert!(matches!(served.await.expect("no panic"), Err(ServeError::Deaf)));
}

#[tokio::test(start_paused = true)]
async fn long_half_lines_are_few_and_a_whole_one_makes_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path());
    let half = vec![b' '; 2 * LONG];
    let mut waiting = Vec::new();
    for _ in 0..LONG_LINES {
        let (mut stream, served) = tunnel(Patience::Pipe, &hub, 4 * LONG);
        stream.write_all(&half).await.expect("room");
        waiting.push((stream, served));
    }
    while LONG_LINES_FREE.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let (mut stream, served) = tunnel(Patience::Pipe, &hub, 4 * LONG);
    // It may be cut in the middle of it.
    let _ = stream.write_all(&half).await;
    assert!(matches!(served.await.expect("no panic"), Err(ServeError::LongLines)));
    let (first, _) = &mut waiting[0];
    say(first, &hello()).await.expect("room");
    say(first, &ToAgent::Request { id: 1, request: Request::Heartbeat }).await.expect("room");
    assert_eq!(until(first, answer_to(1)).await, Response::Done);
    assert_eq!(LONG_LINES_FREE.available_permits(), 1);
}

/// A disk that hangs is a FIFO in the place of a file.
#[tokio::test]
async fn asks_that_wait_for_the_disk_hold_up_no_heartbeat_and_are_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path());
    let (mut stream, _served) = tunnel(Patience::Tunnel, &hub, 4 * 1024 * 1024);
    say(&mut stream, &hello()).await.expect("room");
    // Probes of a tunnel come one after the other, and one that nobody answers takes its time.
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    let probe = nodewatch_protocol::Probe {
        protocol: nodewatch_protocol::PortProtocol::Udp,
        to: silent.local_addr().expect("an address"),
        tries: 1,
    };
    for id in 0..=ASKS as u64 {
        say(&mut stream, &ToAgent::Request { id, request: Request::Probe(probe) }).await.expect("room");
    }
    let last = ASKS as u64;
    say(&mut stream, &ToAgent::Request { id: 1000, request: Request::Heartbeat }).await.expect("room");
    let mut refused = None;
    let beat = until(&mut stream, |message| match message {
        FromAgent::Response { id: 1000, response } => Some(response),
        FromAgent::Response { id, response } => {
            assert_eq!(id, last, "{response:?}");
            refused = Some(response);
            None
        }
        _ => None,
    });
    assert_eq!(beat.await, Response::Done);
    assert!(matches!(refused, Some(Response::Refused(Refusal { kind: RefusalKind::State, .. }))), "{refused:?}");
}

#[tokio::test]
async fn a_living_agents_socket_stays_and_a_dead_ones_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path());
    let path = folder.path().join("agent.sock");
    let living = UnixListener::bind(&path).expect("bound");
    assert!(matches!(listen(&path, hub.clone()).await, Err(ServeError::Taken(_))));
    UnixStream::connect(&path).await.expect("it is still there");
    drop(living);
    make_way(&path).await.expect("nobody serves there");
    assert!(!path.exists());

    std::fs::write(&path, b"somebody's").expect("written");
    assert!(matches!(listen(&path, hub).await, Err(ServeError::NoSocket(_))));
    assert_eq!(std::fs::read(&path).expect("still there"), b"somebody's");
}
