//! The latest packets of a node's running capture, as lines.
//!
//! Owns reading that stream, and going on after a cut. The agent sends headers alone and leaves out what is too much;
//! how much that was is counted here. Must not know what shows them.

use std::sync::Arc;

use nodewatch_pcapng::{Block, Parser, lost_before};
use nodewatch_protocol::{StreamMark, UnixMillis};
use tokio::{io::AsyncReadExt, sync::mpsc};

use super::{
    client::back_off,
    site::{Site, StreamFrom},
};
use crate::{
    model::{NodeName, TailLine, TailNews},
    packets,
};

/// Packets a second that an agent sends.
pub const RATE: u32 = 50;
/// Cuts in a row without a packet, after which it is given up.
const MAX_EMPTY_TRIES: u32 = 4;

/// Tells of a node's packets until the capture ends or nobody listens.
pub async fn tail(site: Arc<dyn Site>, node: NodeName, news: mpsc::Sender<TailNews>) {
    let mut empty = 0;
    loop {
        // Nothing but the file that is being written: the node's clock may be another than the laptop's.
        let from = StreamFrom { since: UnixMillis::MAX, capture: None, rate: Some(RATE) };
        let Read { why, packets, over } = match site.follow(&node, from).await {
            Err(error) => Read { why: error.to_string(), packets: 0, over: false },
            Ok(mut bulk) => match read(&mut bulk.reader, &news).await {
                Some(read) => read,
                None => return,
            },
        };
        empty = if packets > 0 { 0 } else { empty + 1 };
        if over || empty >= MAX_EMPTY_TRIES {
            // Nobody listens any more, or reads it.
            let _ = news.send(TailNews::Ended(why)).await;
            return;
        }
        back_off(empty).await;
    }
}

/// What came of a stream.
struct Read {
    /// Why it ended.
    why: String,
    packets: u64,
    /// Nothing more can come: the capture has ended, and this was all of it.
    over: bool,
}

/// Reads a stream to its end; `None` when nobody listens.
async fn read(reader: &mut (impl tokio::io::AsyncRead + Unpin), news: &mpsc::Sender<TailNews>) -> Option<Read> {
    let (mut parser, mut links, mut all, mut over) = (Parser::default(), Vec::new(), 0, false);
    let mut buffer = vec![0; 64 * 1024];
    let cut = |why: String, packets| Some(Read { why, packets, over: false });
    loop {
        let read = match reader.read(&mut buffer).await {
            Ok(0) if over => return Some(Read { why: "the capture has ended".to_owned(), packets: all, over }),
            Ok(0) => return cut("the agent's stream ended".to_owned(), all),
            Ok(read) => read,
            Err(error) => return cut(error.to_string(), all),
        };
        parser.push(&buffer[..read]);
        let (mut lines, mut left_out) = (Vec::new(), 0);
        loop {
            match parser.next_block() {
                Ok(Some(Block::Section(section))) => {
                    over |= section.comments.iter().any(|text| StreamMark::of(text) == Some(StreamMark::End));
                    links.clear();
                }
                Ok(Some(Block::Interface(interface))) => links.push((interface.name, interface.link_type)),
                Ok(Some(Block::Packet(packet))) => {
                    all += 1;
                    left_out += lost_before(packet.options);
                    let (interface, link_type) =
                        links.get(packet.interface).map_or(("", 0), |(name, link_type)| (name.as_str(), *link_type));
                    let text = packets::line(link_type, packet.data, packet.wire_length);
                    lines.push(TailLine { nanos: packet.nanos, interface: interface.to_owned(), text });
                }
                Ok(Some(Block::Statistics(_) | Block::Other(_))) => {}
                Ok(None) => break,
                Err(error) => return cut(format!("it sent invalid pcapng: {error}"), all),
            }
        }
        if !lines.is_empty() && news.send(TailNews::Lines { lines, left_out }).await.is_err() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::{
        FutureExt, StreamExt,
        future::BoxFuture,
        stream::{self, BoxStream},
    };

    use nodewatch_pcapng::{SectionBlock, section_header};

    use super::*;
    use crate::{
        agents::site::{Bulk, FilePart, OpenError, Tunnel},
        model::{DeployProgress, NodesChange},
    };

    /// What was asked for, and the bytes of each stream; where there are none it is refused.
    #[derive(Default)]
    struct Asked(Mutex<Vec<StreamFrom>>, Vec<u8>);

    impl Site for Asked {
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

        fn follow(&self, _node: &NodeName, from: StreamFrom) -> BoxFuture<'static, Result<Bulk, OpenError>> {
            self.0.lock().expect("whole").push(from);
            let bytes = self.1.clone();
            async move {
                if bytes.is_empty() {
                    return Err(OpenError::Refused("no stream".into()));
                }
                Ok(Bulk { reader: Box::new(std::io::Cursor::new(bytes)), guard: Box::new(()) })
            }
            .boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_asked_for_by_the_laptops_clock_and_it_ends() {
        let site = Arc::new(Asked::default());
        let (sender, mut news) = mpsc::channel(1);
        tail(Arc::clone(&site) as Arc<dyn Site>, "n".into(), sender).await;
        assert!(matches!(news.recv().await, Some(TailNews::Ended(why)) if why.contains("no stream")));
        let asked = site.0.lock().expect("whole").clone();
        // A laptop whose clock is behind would get files that were closed long ago first.
        let latest = StreamFrom { since: UnixMillis::MAX, capture: None, rate: Some(RATE) };
        assert_eq!(asked, [latest; MAX_EMPTY_TRIES as usize]);
    }

    #[tokio::test(start_paused = true)]
    async fn that_the_capture_has_ended_is_told_at_once() {
        let mut bytes = Vec::new();
        let comments = [StreamMark::End.to_string()];
        section_header(&mut bytes, &SectionBlock { hardware: "", application: "", comments: &comments });
        let site = Arc::new(Asked(Mutex::default(), bytes));
        let (sender, mut news) = mpsc::channel(1);
        tail(Arc::clone(&site) as Arc<dyn Site>, "n".into(), sender).await;
        assert!(matches!(news.recv().await, Some(TailNews::Ended(why)) if why == "the capture has ended"));
        assert_eq!(site.0.lock().expect("whole").len(), 1, "nobody waits for another one");
    }
}
