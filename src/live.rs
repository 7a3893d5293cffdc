//! Running captures of several nodes as one pcapng stream, while they run.
//!
//! Owns the interleaving, and going on after a cut. Must not know what reads the stream.

use std::{collections::HashMap, io, sync::Arc};

use nodewatch_pcapng::{Block, InterfaceTable, Parser, ReadError, SectionBlock, enhanced_packet, section_header};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    task::JoinSet,
};

use crate::{agent_client::back_off, model::NodeName, site::Site};

/// Cuts in a row, without a byte in between, after which a node is given up.
const MAX_EMPTY_TRIES: u32 = 8;

/// The stream has ended before the captures did.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Whoever reads it has gone.
    #[error("the reader of the stream has gone")]
    Reader(#[from] io::Error),
    /// An agent's bytes.
    #[error("{node} sent something that is no pcapng")]
    Garbage {
        /// Whose.
        node: NodeName,
        /// What is wrong with it.
        source: ReadError,
    },
}

enum Piece {
    /// The stream begins, perhaps again.
    Begins,
    Bytes(Vec<u8>),
}

/// Follows the captures of these nodes until all have ended; returns how many packets went through, and the nodes whose
/// stream could not be had to its end. Files that were closed before `since` are left out.
pub async fn follow(
    site: Arc<dyn Site>,
    nodes: Vec<NodeName>,
    since: u64,
    mut out: impl AsyncWrite + Unpin,
) -> Result<(u64, Vec<(NodeName, String)>), LiveError> {
    let (sender, mut pieces) = mpsc::channel(16);
    let mut streams = JoinSet::new();
    for (number, node) in nodes.iter().cloned().enumerate() {
        streams.spawn(read(Arc::clone(&site), node, number, since, sender.clone()));
    }
    drop(sender);
    let mut buffer = Vec::new();
    let application = concat!("nodewatch-tui ", env!("CARGO_PKG_VERSION"));
    section_header(&mut buffer, &SectionBlock { hardware: "", application, comments: &[] });
    out.write_all(&buffer).await?;
    out.flush().await?;
    let mut table = InterfaceTable::default();
    let mut sources: HashMap<usize, Source> = HashMap::new();
    let mut packets = 0;
    while let Some((number, piece)) = pieces.recv().await {
        let source = sources.entry(number).or_default();
        let bytes = match piece {
            Piece::Begins => {
                source.begin_again();
                continue;
            }
            Piece::Bytes(bytes) => bytes,
        };
        buffer.clear();
        let taken = source.take(&bytes, &nodes[number], &mut table, &mut buffer);
        packets += taken.map_err(|source| LiveError::Garbage { node: nodes[number].clone(), source })?;
        out.write_all(&buffer).await?;
        out.flush().await?;
    }
    buffer.clear();
    table.write_counts(&mut buffer);
    out.write_all(&buffer).await?;
    out.shutdown().await?;
    let mut failed = Vec::new();
    while let Some(ended) = streams.join_next().await {
        failed.extend(ended.ok().flatten());
    }
    Ok((packets, failed))
}

/// What is known of one node's stream.
#[derive(Default)]
struct Source {
    parser: Parser,
    numbers: Vec<u32>,
    /// By interface: the time up to which packets and counts have gone through, and whether what comes is newer. What
    /// comes again after a cut is passed over.
    through: HashMap<u32, Through>,
}

#[derive(Default)]
struct Through {
    packets: u64,
    counts: u64,
    caught_up: bool,
}

impl Source {
    fn begin_again(&mut self) {
        self.parser = Parser::default();
        self.numbers.clear();
        self.through.values_mut().for_each(|one| one.caught_up = false);
    }

    fn take(
        &mut self,
        bytes: &[u8],
        node: &NodeName,
        table: &mut InterfaceTable,
        out: &mut Vec<u8>,
    ) -> Result<u64, ReadError> {
        self.parser.push(bytes);
        let mut packets = 0;
        while let Some(block) = self.parser.next_block()? {
            match block {
                Block::Section(_) => self.numbers.clear(),
                Block::Interface(interface) => {
                    let name = format!("{node}/{}", interface.name);
                    self.numbers.push(table.number(out, &name, &node.0, &interface));
                }
                Block::Statistics(counts) => {
                    let Some(&number) = self.numbers.get(counts.interface) else { continue };
                    let through = self.through.entry(number).or_default();
                    if counts.at > through.counts {
                        through.counts = counts.at;
                        table.count(number, &counts);
                    }
                }
                Block::Packet(packet) => {
                    let (number, data) = (self.numbers[packet.interface], [packet.data]);
                    let through = self.through.entry(number).or_default();
                    if !through.caught_up && through.packets > 0 && packet.nanos <= through.packets {
                        continue;
                    }
                    through.caught_up = true;
                    through.packets = through.packets.max(packet.nanos);
                    enhanced_packet(out, number, packet.nanos, packet.wire_length, data, packet.options);
                    packets += 1;
                }
                Block::Other(_) => {}
            }
        }
        Ok(packets)
    }
}

/// One node's bytes, from the beginning again after each cut. Returns why it was given up.
async fn read(
    site: Arc<dyn Site>,
    node: NodeName,
    number: usize,
    since: u64,
    pieces: mpsc::Sender<(usize, Piece)>,
) -> Option<(NodeName, String)> {
    let mut empty_tries = 0;
    loop {
        if pieces.send((number, Piece::Begins)).await.is_err() {
            return None;
        }
        let reason = match site.follow(&node, since).await {
            Err(error) => error.to_string(),
            Ok(mut bulk) => {
                let mut buffer = vec![0; 128 * 1024];
                loop {
                    match bulk.reader.read(&mut buffer).await {
                        // The agent's process ends when the capture does.
                        Ok(0) => return None,
                        Ok(read) => {
                            empty_tries = 0;
                            if pieces.send((number, Piece::Bytes(buffer[..read].to_vec()))).await.is_err() {
                                return None;
                            }
                        }
                        Err(error) => break error.to_string(),
                    }
                }
            }
        };
        empty_tries += 1;
        if empty_tries >= MAX_EMPTY_TRIES {
            return Some((node, reason));
        }
        back_off(empty_tries).await;
    }
}
