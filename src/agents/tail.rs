//! The latest packets of a node's running capture, as lines.
//!
//! Owns reading that stream, and going on after a cut. The agent sends headers alone and leaves out what is too much;
//! how much that was is counted here. Must not know what shows them.

use std::sync::Arc;

use nodewatch_pcapng::{Block, Parser, lost_before};
use tokio::{io::AsyncReadExt, sync::mpsc};

use super::{
    client::back_off,
    site::{Site, StreamFrom},
};
use crate::{
    base::clock,
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
        let from = StreamFrom { since: clock::unix_millis(), capture: None, rate: Some(RATE) };
        let (reason, packets) = match site.follow(&node, from).await {
            Err(error) => (error.to_string(), 0),
            Ok(mut bulk) => match read(&mut bulk.reader, &news).await {
                Some(read) => read,
                None => return,
            },
        };
        empty = if packets > 0 { 0 } else { empty + 1 };
        if empty >= MAX_EMPTY_TRIES {
            // Nobody listens any more, or reads it.
            let _ = news.send(TailNews::Ended(reason)).await;
            return;
        }
        back_off(empty).await;
    }
}

/// Reads a stream to its end: why it ended, and after how many packets; `None` when nobody listens.
async fn read(
    reader: &mut (impl tokio::io::AsyncRead + Unpin),
    news: &mpsc::Sender<TailNews>,
) -> Option<(String, u64)> {
    let (mut parser, mut links, mut all) = (Parser::default(), Vec::new(), 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match reader.read(&mut buffer).await {
            Ok(0) => return Some(("the agent's stream ended".to_owned(), all)),
            Ok(read) => read,
            Err(error) => return Some((error.to_string(), all)),
        };
        parser.push(&buffer[..read]);
        let (mut lines, mut left_out) = (Vec::new(), 0);
        loop {
            match parser.next_block() {
                Ok(Some(Block::Section(_))) => links.clear(),
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
                Err(error) => return Some((format!("it sent invalid pcapng: {error}"), all)),
            }
        }
        if !lines.is_empty() && news.send(TailNews::Lines { lines, left_out }).await.is_err() {
            return None;
        }
    }
}
