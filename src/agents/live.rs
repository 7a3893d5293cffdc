//! Running captures of several nodes as one pcapng stream, while they run.
//!
//! Owns the interleaving, going on after a cut, and what is said of what is missing. Must not know what reads the stream.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    sync::Arc,
};

use nodewatch_pcapng::{
    Block, InterfaceTable, Parser, ReadError, Section, SectionBlock, Statistics, enhanced_packet, section_header,
};
use nodewatch_protocol::StreamMark;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
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

/// Cuts in a row, without anything new in between, after which a node is given up.
const MAX_EMPTY_TRIES: u32 = 8;
/// A comment is no longer than this.
const MAX_COMMENT: usize = 2000;
/// What is missing before a packet is told in so many comments one by one; the rest is told together.
const MAX_MARKS: usize = 8;
/// Gaps of a node that are told in words; of more only the number.
const MAX_GAPS: usize = 1000;
/// Gaps that a line names.
const NAMED: usize = 4;
/// Files that are known one by one; older ones are known to be through.
const MAX_FILES: usize = 10_000;

/// The stream has ended before the captures did.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Whoever reads it has gone.
    #[error("the reader of the stream has gone")]
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
                "lacks {least}{} packets of {} that the ring let go before they were read",
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

/// Follows the captures of nodes, those that come meanwhile too, until no more can come and all have ended. Files that
/// were closed before `since` are left out.
pub async fn follow(
    site: Arc<dyn Site>,
    mut joining: mpsc::UnboundedReceiver<NodeName>,
    since: u64,
    mut out: impl AsyncWrite + Unpin,
) -> Result<Followed, LiveError> {
    let (sender, mut pieces) = mpsc::channel(16);
    let mut sender = Some(sender);
    let mut streams = JoinSet::new();
    let mut readers = Vec::new();
    let mut nodes: Vec<NodeName> = Vec::new();
    let mut buffer = Vec::new();
    let application = concat!("nodewatch-tui ", env!("CARGO_PKG_VERSION"));
    section_header(&mut buffer, &SectionBlock { hardware: "", application, comments: &[] });
    out.write_all(&buffer).await?;
    out.flush().await?;
    let mut table = InterfaceTable::default();
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
                // A task that was ended meanwhile asks no more.
                let _ = told.send(Reached { end: source.end, capture: source.capture, new: source.new });
                continue;
            }
            Piece::Bytes(_) if given_up.contains(&number) => continue,
            Piece::Bytes(bytes) => bytes,
        };
        buffer.clear();
        if let Err(error) = source.take(&bytes, &nodes[number], &mut table, &mut buffer) {
            // The others go on. What it sent before that is whole.
            given_up.insert(number);
            readers[number].abort();
            let reason = format!("it sent something that is no pcapng: {}", text::chain(&error));
            followed.cut.push((nodes[number].clone(), reason));
        }
        out.write_all(&buffer).await?;
        out.flush().await?;
    }
    buffer.clear();
    for source in sources.values_mut() {
        source.last_words(&mut table);
    }
    table.write_counts(&mut buffer);
    out.write_all(&buffer).await?;
    out.shutdown().await?;
    while let Some(ended) = streams.join_next().await {
        followed.cut.extend(ended.ok().flatten());
    }
    followed.packets = sources.values().map(|source| source.packets).sum();
    let missing = sources.into_iter().map(|(number, source)| (nodes[number].clone(), source.missing()));
    followed.missing = missing.filter(|(_, missing)| *missing != Missing::default()).collect();
    Ok(followed)
}

/// What is known of one node's stream.
#[derive(Default)]
struct Source {
    parser: Parser,
    numbers: Vec<u32>,
    /// The interface that was described last, and the latest time of the node's packets and counts.
    last: (Option<u32>, u64),
    /// Packets that went through.
    packets: u64,
    /// Something new has come since it began, perhaps again.
    new: bool,
    /// Which capture it is of.
    capture: Option<u64>,
    /// The capture has ended.
    end: bool,
    /// The file that is being read, by its sequence, and how many of its blocks have come on this stream.
    file: (u64, u64),
    /// By file: what has gone through. What comes again after a cut is passed over.
    through: BTreeMap<u64, Through>,
    /// Files up to this one are through, and known no more.
    long_through: Option<u64>,
    /// Packets that a file lacks, by its sequence.
    lacking: BTreeMap<u64, u64>,
    /// The same of files that are known one by one no more.
    long_lacking: Lacking,
    /// Files went of which nothing is known.
    forgotten: bool,
    gaps: BTreeSet<String>,
    /// How many more there were.
    more_gaps: u64,
    /// For the next packet.
    marks: Marks,
}

/// Files that lack packets, taken together.
#[derive(Default, Clone, Copy)]
struct Lacking {
    files: u64,
    packets: u64,
    /// The first and the last of them, by their sequences.
    span: Option<(u64, u64)>,
}

impl Lacking {
    fn add(&mut self, sequence: u64, packets: u64) {
        let (first, last) = self.span.unwrap_or((sequence, sequence));
        let span = Some((first.min(sequence), last.max(sequence)));
        *self = Self { files: self.files + 1, packets: self.packets.saturating_add(packets), span };
    }
}

/// What is to be said of what is missing: in a few comments, however much it is.
#[derive(Default)]
struct Marks {
    told: Vec<String>,
    files: Lacking,
    gaps: u64,
}

impl Marks {
    fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    fn gap(&mut self, comment: String) {
        if self.told.len() < MAX_MARKS { self.told.push(comment) } else { self.gaps += 1 }
    }

    fn missed(&mut self, sequence: u64, packets: u64, why: String) {
        if self.told.len() < MAX_MARKS {
            self.told.push(StreamMark::Missed { sequence, packets, why }.to_string());
        } else {
            self.files.add(sequence, packets);
        }
    }

    fn comments(self) -> Vec<String> {
        let Self { mut told, files, gaps } = self;
        if let Some((first, last)) = files.span {
            let (packets, files) = (files.packets, text::counted(files.files as usize, "more file"));
            told.push(format!("gap: {packets} packets of {files} are not here, of files {first} to {last}"));
        }
        if gaps > 0 {
            told.push(format!("gap: {} before this packet", text::counted(gaps as usize, "more gap")));
        }
        told
    }
}

#[derive(Default, Clone, Copy)]
struct Through {
    blocks: u64,
    packets: u64,
}

impl Source {
    fn begin_again(&mut self) {
        self.parser = Parser::default();
        self.numbers.clear();
        self.file = (0, 0);
        self.new = false;
    }

    fn take(
        &mut self,
        bytes: &[u8],
        node: &NodeName,
        table: &mut InterfaceTable,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        // Out of the way of what its blocks change.
        let mut parser = std::mem::take(&mut self.parser);
        parser.push(bytes);
        while let Some(block) = parser.next_block()? {
            match block {
                Block::Section(section) => {
                    self.numbers.clear();
                    self.section(&section);
                }
                Block::Interface(interface) => {
                    let name = format!("{node}/{}", interface.name);
                    let number = table.number(out, &name, &node.0, &interface);
                    self.numbers.push(number);
                    self.last.0 = Some(number);
                }
                Block::Statistics(counts) => {
                    let Some(&number) = self.numbers.get(counts.interface) else { continue };
                    if self.is_new(false) {
                        self.last.1 = counts.at.max(self.last.1);
                        table.count(number, &counts);
                    }
                }
                Block::Packet(packet) => {
                    let (number, data) = (self.numbers[packet.interface], [packet.data]);
                    if !self.is_new(true) {
                        continue;
                    }
                    self.packets += 1;
                    self.last.1 = packet.nanos.max(self.last.1);
                    if self.marks.is_empty() {
                        enhanced_packet(out, number, packet.nanos, packet.wire_length, data, packet.options);
                    } else {
                        let marks = std::mem::take(&mut self.marks).comments();
                        let options = with_comments(&marks, packet.options);
                        enhanced_packet(out, number, packet.nanos, packet.wire_length, data, &options);
                    }
                }
                Block::Other(_) => {}
            }
        }
        self.parser = parser;
        Ok(())
    }

    /// Whether the next block of the file has not gone through before, which from now on it has.
    fn is_new(&mut self, packet: bool) -> bool {
        let (file, blocks) = &mut self.file;
        if self.long_through.is_some_and(|through| *file <= through) {
            return false;
        }
        *blocks += 1;
        let through = self.through.entry(*file).or_default();
        let new = *blocks > through.blocks;
        if new {
            self.new = true;
            through.blocks = *blocks;
            through.packets += u64::from(packet);
        }
        if self.through.len() > MAX_FILES
            && let Some((oldest, _)) = self.through.pop_first()
        {
            self.long_through = self.long_through.max(Some(oldest));
        }
        new
    }

    fn section(&mut self, section: &Section) {
        for comment in &section.comments {
            match StreamMark::of(comment) {
                Some(StreamMark::Capture(since)) => {
                    self.capture.get_or_insert(since);
                }
                Some(StreamMark::File(sequence)) => self.file = (sequence, 0),
                Some(StreamMark::Missed { sequence, packets, why }) => self.missed(sequence, packets, why),
                Some(StreamMark::Forgotten(_)) if self.forgotten => {}
                Some(mark @ StreamMark::Forgotten(_)) => {
                    self.forgotten = true;
                    self.marks.gap(mark.to_string());
                }
                Some(StreamMark::End) => self.end = true,
                None if comment.starts_with("gap: ") && !self.gaps.contains(comment) => {
                    if self.gaps.len() < MAX_GAPS {
                        self.gaps.insert(comment.clone());
                    } else {
                        self.more_gaps += 1;
                    }
                    self.marks.gap(comment.clone());
                }
                None => {}
            }
        }
    }

    /// A file that has gone may have been read before a cut, in part or in whole.
    fn missed(&mut self, sequence: u64, packets: u64, why: String) {
        let known = |(_, last): (u64, u64)| sequence <= last;
        if self.long_lacking.span.is_some_and(known) || self.long_through.is_some_and(|through| sequence <= through) {
            return;
        }
        let through = self.through.get(&sequence).map_or(0, |through| through.packets);
        let packets = packets.saturating_sub(through);
        if packets > 0 && self.lacking.insert(sequence, packets).is_none() {
            self.new = true;
            self.marks.missed(sequence, packets, why);
        }
        if self.lacking.len() > MAX_FILES
            && let Some((sequence, packets)) = self.lacking.pop_first()
        {
            self.long_lacking.add(sequence, packets);
        }
    }

    /// What no packet came after.
    fn last_words(&mut self, table: &mut InterfaceTable) {
        // The stream's last sections have no interfaces, and counts without a time are left out.
        if let ((Some(number), at), false) = (self.last, self.marks.is_empty()) {
            let comments = std::mem::take(&mut self.marks).comments();
            table.count(number, &Statistics { comments, at: at.max(1), ..Statistics::default() });
        }
    }

    fn missing(self) -> Missing {
        Missing {
            files: self.long_lacking.files + self.lacking.len() as u64,
            packets: self.lacking.values().fold(self.long_lacking.packets, |all, packets| all.saturating_add(*packets)),
            more: self.forgotten,
            gaps: self.gaps.into_iter().collect(),
            more_gaps: self.more_gaps,
        }
    }
}

/// A packet's options with comments before them.
fn with_comments(comments: &[String], options: &[u8]) -> Vec<u8> {
    const COMMENT: u16 = 1;
    let mut all = Vec::new();
    for comment in comments {
        let most = comment.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_COMMENT).last().unwrap_or(0);
        let bytes = if comment.len() <= MAX_COMMENT { comment.as_bytes() } else { &comment.as_bytes()[..most] };
        all.extend(COMMENT.to_le_bytes());
        all.extend((bytes.len() as u16).to_le_bytes());
        all.extend_from_slice(bytes);
        all.resize(all.len().next_multiple_of(4), 0);
    }
    if options.is_empty() {
        // The end of options.
        all.extend([0; 4]);
    } else {
        all.extend_from_slice(options);
    }
    all
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
    let mut from = StreamFrom { since, capture: None };
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
