//! Messages of DNS in streams of TCP, put together as far as their first question.
//!
//! Owns where each stream's next message begins. Of a message no more is held than what is read of it.

use nodewatch_protocol::Tunnel;

use crate::{
    decode::Tuple,
    detail::{Message, SYN, Segment},
    table::Table,
};

/// The length of the length that stands before a message.
const PREFIX: usize = 2;
/// Of a message its header, its first name and that one's type are read.
const READ: usize = PREFIX + 12 + 255 + 4;
/// Messages that are looked for in one segment.
const MOST: usize = 64;

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: u128,
    destination: u128,
    ports: (u16, u16),
    interface: u16,
    tunnel: Option<Tunnel>,
}

#[derive(Debug, Default)]
struct Stream {
    /// The number of the next message's first byte.
    next: u32,
    /// Bytes of it that came already.
    held: Vec<u8>,
    last: i64,
}

/// Streams to and from port 53.
pub(crate) struct Streams(Table<Key, Stream>);

impl Streams {
    pub(crate) fn new(most: usize, seed: usize) -> Self {
        Self(Table::new(most, seed))
    }

    /// The messages that a segment completes.
    pub(crate) fn take(
        &mut self,
        (interface, tunnel): (u16, Option<Tunnel>),
        tuple: &Tuple,
        segment: &Segment<'_>,
        at: i64,
        mut give: impl FnMut(Message),
    ) {
        if segment.length == 0 && !segment.has(SYN) {
            return;
        }
        let Tuple { source, destination, source_port, destination_port, .. } = *tuple;
        let key = Key { source, destination, ports: (source_port, destination_port), interface, tunnel };
        let begins = segment.sequence.wrapping_add(u32::from(segment.has(SYN)));
        let place = self.0.find(&key).unwrap_or_else(|| {
            self.0.insert(key, Stream { next: begins, ..Stream::default() }, |stream| stream.last).0
        });
        let Some((_, stream)) = self.0.get_mut(place) else { return };
        stream.last = at;
        if segment.has(SYN) {
            (stream.next, stream.held) = (begins, Vec::new());
        }
        for _ in 0..MOST {
            match stream.message(begins, segment) {
                Some(message) => give(message),
                None => break,
            }
        }
    }
}

impl Stream {
    /// The next message, of what is held and what comes.
    fn message(&mut self, begins: u32, segment: &Segment<'_>) -> Option<Message> {
        let wanted = self.next.wrapping_add(self.held.len() as u32);
        let mut skipped = wanted.wrapping_sub(begins);
        if skipped > i32::MAX as u32 {
            // What is between was not seen. Most segments begin with a message.
            (self.next, skipped) = (begins, 0);
            self.held.clear();
        }
        let come = segment.payload.get(skipped as usize..).filter(|come| !come.is_empty())?;
        let room = READ - self.held.len();
        if self.held.is_empty() && come.len() >= PREFIX {
            let whole = whole(come);
            if come.len() >= whole.min(READ) {
                self.next = self.next.wrapping_add(whole as u32);
                return Message::of(&come[PREFIX..whole.min(come.len())]);
            }
        }
        self.held.extend_from_slice(&come[..come.len().min(room)]);
        let whole = whole(&self.held);
        if self.held.len() < PREFIX || self.held.len() < whole.min(READ) {
            return None;
        }
        let message = Message::of(&self.held[PREFIX..whole.min(self.held.len())]);
        self.next = self.next.wrapping_add(whole as u32);
        self.held.clear();
        message
    }
}

/// The length of a message that begins so, with what stands before it.
fn whole(bytes: &[u8]) -> usize {
    PREFIX + bytes.first_chunk().map_or(0, |&two| usize::from(u16::from_be_bytes(two)))
}
