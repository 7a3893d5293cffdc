//! Streams that are cut, come again, and lack something.

use std::{collections::VecDeque, net::IpAddr, sync::Mutex};

use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use nodewatch_pcapng::{
    Block, InterfaceBlock, Parser, SectionBlock, enhanced_packet, interface_description, section_header,
};
use nodewatch_protocol::StreamMark;

use super::*;
use crate::{
    agents::site::{Bulk, FilePart, OpenError, Tunnel},
    model::{DeployProgress, NodesChange},
};

/// A site whose streams are written beforehand, and what was asked for.
struct Streams {
    written: Mutex<VecDeque<Vec<u8>>>,
    asked: Mutex<Vec<StreamFrom>>,
    /// What addresses are called, one answer after the other.
    names: Mutex<VecDeque<BTreeMap<IpAddr, String>>>,
    /// How long it takes until a stream begins.
    begins_after: std::time::Duration,
}

impl Site for Streams {
    fn nodes(&self) -> BoxStream<'static, NodesChange> {
        stream::pending().boxed()
    }

    fn deploy(&self, _nodes: Vec<NodeName>) -> BoxStream<'static, (NodeName, DeployProgress)> {
        stream::pending().boxed()
    }

    fn open(&self, _node: &NodeName) -> BoxFuture<'static, Result<Tunnel, OpenError>> {
        async { Err(OpenError::Refused("no tunnel".into())) }.boxed()
    }

    fn fetch(&self, _node: &NodeName, _part: FilePart) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        async { Err(OpenError::Refused("no file".into())) }.boxed()
    }

    fn names(&self) -> BoxFuture<'static, BTreeMap<IpAddr, String>> {
        let found = self.names.lock().expect("whole").pop_front().unwrap_or_default();
        async move { found }.boxed()
    }

    fn follow(&self, _node: &NodeName, from: StreamFrom) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        self.asked.lock().expect("whole").push(from);
        let bytes = self.written.lock().expect("whole").pop_front().unwrap_or_default();
        let begins_after = self.begins_after;
        async move {
            tokio::time::sleep(begins_after).await;
            Ok(Bulk { reader: Box::new(io::Cursor::new(bytes)), guard: Box::new(()) })
        }
        .boxed()
    }
}

fn mark(out: &mut Vec<u8>, mark: &StreamMark) {
    section_header(out, &SectionBlock { hardware: "", application: "", comments: &[mark.to_string()] });
}

/// A file's bytes behind its mark, with packets at these nanoseconds.
fn file(out: &mut Vec<u8>, sequence: u64, comment: &str, nanos: &[u64]) {
    mark(out, &StreamMark::File(sequence));
    let comments = [comment.to_owned()];
    section_header(out, &SectionBlock { hardware: "n", application: "t", comments: &comments });
    let interface = InterfaceBlock { name: "eth0", link_type: 1, snaplen: 0, filter: None, description: "" };
    interface_description(out, &interface);
    for &nanos in nanos {
        enhanced_packet(out, 0, nanos, 4, [&[1; 4]], &[]);
    }
}

fn streams(written: impl IntoIterator<Item = Vec<u8>>) -> Arc<Streams> {
    slow_streams(written, std::time::Duration::ZERO)
}

fn slow_streams(written: impl IntoIterator<Item = Vec<u8>>, begins_after: std::time::Duration) -> Arc<Streams> {
    let written = Mutex::new(written.into_iter().collect());
    Arc::new(Streams { written, asked: Mutex::default(), names: Mutex::default(), begins_after })
}

async fn followed(site: &Arc<Streams>) -> (Followed, Vec<(u64, String)>) {
    let (followed, packets, _) = followed_all(site, &["n1"]).await;
    (followed, packets)
}

/// Also what is said with the counts at the end.
async fn followed_all(site: &Arc<Streams>, nodes: &[&str]) -> (Followed, Vec<(u64, String)>, Vec<String>) {
    let (join, joining) = mpsc::unbounded_channel();
    for &node in nodes {
        join.send(node.into()).expect("room");
    }
    drop(join);
    let mut out = Vec::new();
    let followed = follow(site.clone(), joining, 0, &mut out, Live::default()).await.expect("a stream");
    let mut parser = Parser::default();
    parser.push(&out);
    let (mut packets, mut comments) = (Vec::new(), Vec::new());
    while let Some(block) = parser.next_block().expect("whole blocks") {
        match block {
            Block::Packet(packet) => {
                packets.push((packet.nanos, String::from_utf8_lossy(packet.options).into_owned()));
            }
            Block::Statistics(counts) => comments.extend(counts.comments),
            _ => {}
        }
    }
    (followed, packets, comments)
}

fn times(packets: &[(u64, String)]) -> Vec<u64> {
    packets.iter().map(|(nanos, _)| *nanos).collect()
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_after_a_cut_is_passed_over_by_its_place_and_not_by_its_time() {
    let mut cut = Vec::new();
    mark(&mut cut, &StreamMark::Capture(7));
    file(&mut cut, 1, "", &[100, 200, 50]);
    let torn = cut.len() - 10;
    cut.truncate(torn);
    let mut whole = Vec::new();
    mark(&mut whole, &StreamMark::Capture(7));
    // The clock was set back between the second and the third.
    file(&mut whole, 1, "", &[100, 200, 50, 60]);
    file(&mut whole, 2, "", &[70, 10]);
    mark(&mut whole, &StreamMark::End);
    let site = streams([cut, whole]);
    let (followed, packets) = followed(&site).await;
    assert_eq!(times(&packets), [100, 200, 50, 60, 70, 10]);
    assert!(followed.packets == 6 && followed.is_whole(), "{followed:?}");
    let asked = site.asked.lock().expect("whole").clone();
    // Also where the capture has ended meanwhile.
    assert_eq!(asked, [StreamFrom::default(), StreamFrom { capture: Some(7), ..StreamFrom::default() }]);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_counted_without_what_had_come_and_marked_where_it_is() {
    let mut cut = Vec::new();
    mark(&mut cut, &StreamMark::Capture(7));
    file(&mut cut, 1, "", &[1, 2]);
    file(&mut cut, 2, "", &[3, 4]);
    let mut rest = Vec::new();
    mark(&mut rest, &StreamMark::Capture(7));
    let why = || "it went".to_owned();
    // The first had come whole.
    mark(&mut rest, &StreamMark::Missed { sequence: 1, packets: 2, why: why() });
    mark(&mut rest, &StreamMark::Missed { sequence: 2, packets: 5, why: why() });
    file(&mut rest, 3, "gap: nothing was captured for a while", &[9, 10]);
    mark(&mut rest, &StreamMark::End);
    let (followed, packets) = followed(&streams([cut, rest])).await;
    assert_eq!(times(&packets), [1, 2, 3, 4, 9, 10]);
    let missing = Missing {
        files: 1,
        packets: 3,
        gaps: vec!["gap: nothing was captured for a while".into()],
        ..Missing::default()
    };
    assert_eq!(followed.missing, BTreeMap::from([("n1".into(), missing)]));
    assert!(!followed.is_whole());
    assert_eq!(
        followed.faults(),
        [
            "the stream of n1 lacks 3 packets of 1 file that the ring removed before they were read, has a gap: nothing was \
          captured for a while"
        ]
    );
    let marked = &packets[4].1;
    assert!(
        marked.contains("gap: 3 packets of file 2 are not here") && marked.contains("gap: nothing was"),
        "{marked}"
    );
    assert_eq!(packets[5].1, "");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_before_its_capture_is_cut() {
    let mut killed = Vec::new();
    mark(&mut killed, &StreamMark::Capture(7));
    file(&mut killed, 1, "", &[1]);
    let (followed, packets) = followed(&streams([killed])).await;
    assert_eq!((followed.packets, times(&packets)), (1, vec![1]));
    assert_eq!(followed.cut, [("n1".into(), "the agent's stream ended before its capture did".to_owned())]);
    assert!(!followed.is_whole());
}

#[tokio::test(start_paused = true)]
async fn a_hole_at_the_end_is_in_the_stream_too() {
    let mut stream = Vec::new();
    mark(&mut stream, &StreamMark::Capture(7));
    file(&mut stream, 1, "", &[1]);
    mark(&mut stream, &StreamMark::Missed { sequence: 2, packets: 5, why: "it went".into() });
    mark(&mut stream, &StreamMark::End);
    let (followed, packets, comments) = followed_all(&streams([stream]), &["n1"]).await;
    assert_eq!((times(&packets), followed.missing.len()), (vec![1], 1));
    assert!(comments.len() == 1 && comments[0].contains("5 packets of file 2 are not here"), "{comments:?}");
}

#[tokio::test(start_paused = true)]
async fn garbage_costs_the_node_that_sends_it_its_stream_and_the_others_nothing() {
    let (mut bad, mut good) = (Vec::new(), Vec::new());
    mark(&mut bad, &StreamMark::Capture(7));
    file(&mut bad, 1, "", &[1, 2]);
    bad.extend([0xee; 64]);
    mark(&mut good, &StreamMark::Capture(8));
    file(&mut good, 1, "", &[3, 4]);
    let torn = good.len() - 10;
    let mut whole = good.clone();
    mark(&mut whole, &StreamMark::End);
    // The good one comes again after the bad one was given up.
    let site = streams([bad, good[..torn].to_vec(), whole]);
    let (followed, packets, _) = followed_all(&site, &["n1", "n2"]).await;
    let mut times = times(&packets);
    times.sort_unstable();
    assert_eq!((followed.packets, times), (4, vec![1, 2, 3, 4]));
    let [(node, reason)] = &followed.cut[..] else { panic!("one is cut: {followed:?}") };
    assert!(node.0 == "n1" && reason.contains("invalid pcapng"), "{node}: {reason}");
    assert!(followed.missing.is_empty() && !followed.is_whole());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_brings_the_same_again_and_again_is_given_up() {
    let mut killed = Vec::new();
    mark(&mut killed, &StreamMark::Capture(7));
    file(&mut killed, 1, "", &[1]);
    let site = streams(std::iter::repeat_n(killed, 100));
    let (followed, packets) = followed(&site).await;
    assert_eq!((times(&packets), followed.cut.len()), (vec![1], 1));
    assert_eq!(site.asked.lock().expect("whole").len(), MAX_EMPTY_TRIES as usize);
}

/// However many files a slow reader loses, it is told in a few comments, and of all of them.
#[tokio::test(start_paused = true)]
async fn what_is_missing_is_told_in_a_few_comments_however_much_it_is() {
    const LOST: u64 = 25_000;
    let mut stream = Vec::new();
    mark(&mut stream, &StreamMark::Capture(7));
    for sequence in 1..=LOST {
        mark(&mut stream, &StreamMark::Missed { sequence, packets: 2, why: "it went before it was read".into() });
    }
    file(&mut stream, LOST + 1, "", &[100, 200]);
    let mut again = stream.clone();
    mark(&mut again, &StreamMark::End);
    // It is cut, and all of it comes again.
    let site = streams([stream, again]);
    let (followed, packets) = followed(&site).await;
    assert_eq!(times(&packets), [100, 200]);
    let comments = &packets[0].1;
    assert!(comments.len() < 2000, "{} bytes", comments.len());
    assert!(comments.contains("2 packets of file 1 are not here: it went before it was read"), "{comments}");
    let rest = format!("{} packets of {} more files are missing, of files 9 to {LOST}", 2 * (LOST - 8), LOST - 8);
    assert!(comments.contains(&rest), "{comments}");
    assert!(!packets[1].1.contains("gap"), "{}", packets[1].1);
    let missing = &followed.missing[&"n1".into()];
    assert_eq!((missing.files, missing.packets), (LOST, 2 * LOST));
}

#[test]
fn of_many_gaps_a_line_names_a_few() {
    let gaps: Vec<String> = (0..20).map(|number| format!("gap: {number:02} s")).collect();
    let missing = Missing { gaps, more_gaps: 3, ..Missing::default() };
    let said = missing.to_string();
    assert!(said.starts_with("has a gap: 00 s") && said.ends_with("has 19 gaps more, up to gap: 19 s"), "{said}");
}

/// Blocks of a stream: `I` for an interface, `N` for names, `P` for a packet with its comment.
async fn blocks(site: &Arc<Streams>, nodes: &[&str], live: Live) -> Vec<String> {
    let (join, joining) = mpsc::unbounded_channel();
    for &node in nodes {
        join.send(node.into()).expect("room");
    }
    drop(join);
    let mut out = Vec::new();
    follow(site.clone(), joining, 0, &mut out, live).await.expect("a stream");
    let mut parser = Parser::default();
    parser.push(&out);
    let mut found = Vec::new();
    while let Some(block) = parser.next_block().expect("whole blocks") {
        match block {
            Block::Interface(interface) => found.push(format!("I {}", interface.name)),
            Block::Packet(packet) => {
                found.push(format!("P {}", String::from_utf8_lossy(packet.options.get(4..).unwrap_or_default())));
            }
            Block::Other(other) => found.push(format!("N {}", String::from_utf8_lossy(other.anew))),
            Block::Section(_) | Block::Statistics(_) => {}
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn names_come_at_the_head_and_again_when_there_are_new_ones() {
    let mut whole = Vec::new();
    mark(&mut whole, &StreamMark::Capture(7));
    file(&mut whole, 1, "", &[100]);
    let cut = whole.clone();
    mark(&mut whole, &StreamMark::End);
    // The first is cut, and the other comes 40 s later.
    let site = slow_streams([cut, whole], std::time::Duration::from_secs(40));
    let name = |last: u8, name: &str| (IpAddr::from([10, 0, 0, last]), name.to_owned());
    let first: BTreeMap<_, _> = [name(1, "shop/cart.pod")].into();
    let then: BTreeMap<_, _> = [name(1, "shop/cart.pod"), name(2, "shop/pay.pod")].into();
    *site.names.lock().expect("whole") = [first.clone(), first.clone(), then].into();
    let (told, first_interface) = oneshot::channel();
    let found = blocks(&site, &["n1"], Live { pair: None, first: Some(told) }).await;
    assert_eq!(first_interface.await.expect("told"), "n1/eth0");
    assert_eq!(found[0], "I n1/eth0", "other programs want that first: {found:?}");
    assert!(found[1].starts_with("N ") && found[1].contains("shop/cart.pod"), "{found:?}");
    let again: Vec<&String> = found.iter().skip(2).filter(|block| block.starts_with("N ")).collect();
    assert!(matches!(again.as_slice(), [one] if one.contains("shop/pay.pod") && !one.contains("cart")), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn packets_that_two_nodes_have_go_through_once() {
    let packet = |id: u8| {
        let mut data = vec![0; 12];
        data.extend([8, 0, 0x45, 0, 0, 28, 0, id, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        data.extend([0, 7, 0, 9, 0, 8, 0, 0]);
        data
    };
    let stream = |packets: &[(u64, u8)]| {
        let mut out = Vec::new();
        mark(&mut out, &StreamMark::Capture(7));
        file(&mut out, 1, "", &[]);
        for (nanos, id) in packets {
            let data = packet(*id);
            enhanced_packet(&mut out, 0, *nanos, data.len() as u32, [&data], &[]);
        }
        mark(&mut out, &StreamMark::End);
        out
    };
    let site = streams([stream(&[(1_000, 1), (2_000, 2)]), stream(&[(21_000, 1)])]);
    let found = blocks(&site, &["n1", "n2"], Live { pair: Some(2_000_000_000), first: None }).await;
    let packets: Vec<&String> = found.iter().filter(|block| block.starts_with("P ")).collect();
    assert_eq!(packets.len(), 2, "{found:?}");
    assert!(packets.iter().any(|one| one.contains("00:00:00.000001, ")), "{found:?}");
}
