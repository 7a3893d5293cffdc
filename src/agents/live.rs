//! Running captures of several nodes as one pcapng stream, while they run.
//!
//! Owns the interleaving, going on after a cut, and what is said of what is missing. Must not know what reads the
//! stream.

mod source;
mod stream;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    sync::Arc,
};

use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    agents::{
        client::back_off,
        site::{Site, StreamFrom},
    },
    base::text,
    model::NodeName,
};
use source::Source;
use stream::{Naming, Stream};

/// Cuts in a row, without anything new in between, after which a node is given up.
const MAX_EMPTY_TRIES: u32 = 8;
/// Gaps that a line names.
const NAMED: usize = 4;
/// The stream has ended before the captures did.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Whoever reads it has gone.
    #[error("the reader closed the stream")]
    Reader(#[from] io::Error),
}

/// What went through, and what did not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Packets that went through.
    pub packets: u64,
    /// What is missing of a node's capture, where something is.
    pub missing: BTreeMap<NodeName, Missing>,
    /// Nodes whose stream could not be had to its end, and why.
    pub cut: Vec<(NodeName, String)>,
}

impl Followed {
    /// Every packet that the captures took went through.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.cut.is_empty()
    }

    /// The same with what came of each node's stream.
    fn of(mut self, sources: BTreeMap<usize, Source>, nodes: &[NodeName]) -> Self {
        self.packets = sources.values().map(|source| source.packets).sum();
        let missing = sources.into_iter().map(|(number, source)| (nodes[number].clone(), source.missing()));
        self.missing = missing.filter(|(_, missing)| *missing != Missing::default()).collect();
        self
    }

    /// A line for each thing that is missing.
    pub fn faults(&self) -> Vec<String> {
        let missing = self.missing.iter().map(|(node, missing)| format!("the stream of {node} {missing}"));
        let cut = self.cut.iter().map(|(node, reason)| format!("the stream of {node} was cut: {reason}"));
        missing.chain(cut).collect()
    }
}

/// What a node's stream lacks.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Files that went out of the ring before they were read whole.
    pub files: u64,
    /// Packets of them that are not in the stream.
    pub packets: u64,
    /// There were more, of which nothing is known.
    pub more: bool,
    /// Times in which nothing was captured, in words.
    pub gaps: Vec<String>,
    /// How many more of these there were.
    pub more_gaps: u64,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.files > 0 || self.more {
            let least = if self.more { "at least " } else { "" };
            parts.push(format!(
                "lacks {least}{} packets of {} that the ring removed before they were read",
                self.packets,
                text::counted(self.files as usize, "file")
            ));
        }
        parts.extend(self.gaps.iter().take(NAMED).map(|gap| format!("has a {gap}")));
        let unnamed = self.gaps.len().saturating_sub(NAMED) + self.more_gaps as usize;
        if let (1.., Some(last)) = (unnamed, self.gaps.last()) {
            parts.push(format!("has {} more, up to {last}", text::counted(unnamed, "gap")));
        }
        f.write_str(&parts.join(", "))
    }
}

enum Piece {
    /// The stream begins, perhaps again.
    Begins,
    Bytes(Vec<u8>),
    /// It has ended; whoever reads it is told how far it got.
    Ends(oneshot::Sender<Reached>),
}

/// How far a stream got.
struct Reached {
    /// The capture has ended.
    end: bool,
    /// Which capture it is of.
    capture: Option<u64>,
    /// Something came that had not come before.
    new: bool,
}

/// How captures are shown.
#[derive(Debug, Default)]
pub struct Live {
    /// One copy of each packet that several nodes have; copies wait so many nanoseconds for each other.
    pub pair: Option<i64>,
    /// Is told what the first interface is called, as `NODE/INTERFACE`: from then on packets come.
    pub first: Option<oneshot::Sender<String>>,
}

/// Follows the captures of nodes, those that come meanwhile too, until no more can come and all have ended. Files that
/// were closed before `since` are left out.
pub async fn follow(
    site: Arc<dyn Site>,
    mut joining: mpsc::UnboundedReceiver<NodeName>,
    since: u64,
    out: impl AsyncWrite + Unpin,
    live: Live,
) -> Result<Followed, LiveError> {
    let (sender, mut pieces) = mpsc::channel(16);
    let mut sender = Some(sender);
    let (mut streams, mut readers) = (JoinSet::new(), Vec::new());
    let mut nodes: Vec<NodeName> = Vec::new();
    let mut stream = Stream::begin(out, live).await?;
    let mut naming = Naming::new(Arc::clone(&site));
    stream.name(naming.first().await);
    let mut sources: BTreeMap<usize, Source> = BTreeMap::new();
    let mut followed = Followed::default();
    // They have sent something that is no pcapng.
    let mut given_up = BTreeSet::new();
    loop {
        let next = tokio::select! {
            biased;
            node = joining.recv(), if sender.is_some() => {
                match (node, &sender) {
                    (Some(node), Some(sender)) => {
                        let reading = read(Arc::clone(&site), node.clone(), nodes.len(), since, sender.clone());
                        readers.push(streams.spawn(reading));
                        nodes.push(node);
                    }
                    // The streams that there are have senders of their own.
                    _ => sender = None,
                }
                continue;
            }
            found = naming.next() => {
                stream.name(found);
                stream.write().await?;
                continue;
            }
            () = stream.look() => {
                stream.write().await?;
                continue;
            }
            piece = pieces.recv() => piece,
        };
        let Some((number, piece)) = next else { break };
        let source = sources.entry(number).or_default();
        let bytes = match piece {
            Piece::Begins => {
                source.begin_again();
                continue;
            }
            Piece::Ends(told) => {
                if source.end {
                    stream.sink.ended(&nodes[number].0);
                }
                // A task that was ended meanwhile asks no more.
                let _ = told.send(Reached { end: source.end, capture: source.capture, new: source.new });
                continue;
            }
            Piece::Bytes(_) if given_up.contains(&number) => continue,
            Piece::Bytes(bytes) => bytes,
        };
        if let Err(error) = source.take(&bytes, &nodes[number], &mut stream.table, &mut stream.sink) {
            // The others go on. What it sent before that is whole.
            given_up.insert(number);
            readers[number].abort();
            let reason = format!("it sent invalid pcapng: {}", text::chain(&error));
            followed.cut.push((nodes[number].clone(), reason));
        }
        stream.write().await?;
    }
    for source in sources.values_mut() {
        source.last_words(&mut stream.table);
    }
    stream.end().await?;
    while let Some(ended) = streams.join_next().await {
        followed.cut.extend(ended.ok().flatten());
    }
    Ok(followed.of(sources, &nodes))
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
    let mut from = StreamFrom { since, ..StreamFrom::default() };
    loop {
        if pieces.send((number, Piece::Begins)).await.is_err() {
            return None;
        }
        let reason = match site.follow(&node, from).await {
            Err(error) => error.to_string(),
            // At the end of this arm the stream is closed, before the next is opened.
            Ok(mut bulk) => {
                let mut buffer = vec![0; 128 * 1024];
                let reason = loop {
                    match bulk.reader.read(&mut buffer).await {
                        Ok(0) => break "the agent's stream ended before its capture did".to_owned(),
                        Ok(read) => {
                            if pieces.send((number, Piece::Bytes(buffer[..read].to_vec()))).await.is_err() {
                                return None;
                            }
                        }
                        Err(error) => break error.to_string(),
                    }
                };
                let (told, reached) = oneshot::channel();
                if pieces.send((number, Piece::Ends(told))).await.is_err() {
                    return None;
                }
                match reached.await {
                    Ok(Reached { end: false, capture, new }) => {
                        from.capture = capture.or(from.capture);
                        if new {
                            empty_tries = 0;
                        }
                    }
                    Ok(Reached { end: true, .. }) | Err(_) => return None,
                }
                reason
            }
        };
        empty_tries += 1;
        if empty_tries >= MAX_EMPTY_TRIES {
            return Some((node, reason));
        }
        back_off(empty_tries).await;
    }
}

#[cfg(test)]
mod tests;
