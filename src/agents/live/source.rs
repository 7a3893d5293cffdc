//! One node's stream: what of it has gone through, and what is missing of it.
//!
//! Owns passing over what comes again after a cut, and the comments on gaps. Must not know where the bytes come from.

use std::collections::{BTreeMap, BTreeSet};

use nodewatch_pcapng::{Block, InterfaceTable, Parser, ReadError, Section, Statistics};
use nodewatch_protocol::StreamMark;

use super::{Missing, stream::Sink};
use crate::{base::text, model::NodeName};

/// A comment is no longer than this.
const MAX_COMMENT: usize = 2000;
/// What is missing before a packet is told in so many comments one by one; the rest is told together.
const MAX_MARKS: usize = 8;
/// Gaps of a node that are told in words; of more only the number.
const MAX_GAPS: usize = 1000;
/// Files that are known one by one; older ones are known to be through.
const MAX_FILES: usize = 10_000;

/// What is known of one node's stream.
#[derive(Default)]
pub(super) struct Source {
    parser: Parser,
    numbers: Vec<u32>,
    /// The interface that was described last, and the latest time of the node's packets and counts.
    last: (Option<u32>, u64),
    /// Packets that went through.
    pub(super) packets: u64,
    /// Something new has come since it began, perhaps again.
    pub(super) new: bool,
    /// Which capture it is of.
    pub(super) capture: Option<u64>,
    /// The capture has ended.
    pub(super) end: bool,
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
            told.push(format!("gap: {packets} packets of {files} are missing, of files {first} to {last}"));
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
    pub(super) fn begin_again(&mut self) {
        self.parser = Parser::default();
        self.numbers.clear();
        self.file = (0, 0);
        self.new = false;
    }

    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        node: &NodeName,
        table: &mut InterfaceTable,
        out: &mut Sink,
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
                    let number = out.interface(table, &node.0, &interface);
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
                    let number = self.numbers[packet.interface];
                    if !self.is_new(true) {
                        continue;
                    }
                    self.packets += 1;
                    self.last.1 = packet.nanos.max(self.last.1);
                    if self.marks.is_empty() {
                        out.packet(&node.0, number, &packet, packet.options);
                    } else {
                        let marks = std::mem::take(&mut self.marks).comments();
                        let options = with_comments(&marks, packet.options);
                        out.packet(&node.0, number, &packet, &options);
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
    pub(super) fn last_words(&mut self, table: &mut InterfaceTable) {
        // The stream's last sections have no interfaces, and counts without a time are left out.
        if let ((Some(number), at), false) = (self.last, self.marks.is_empty()) {
            let comments = std::mem::take(&mut self.marks).comments();
            table.count(number, &Statistics { comments, at: at.max(1), ..Statistics::default() });
        }
    }

    pub(super) fn missing(self) -> Missing {
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
