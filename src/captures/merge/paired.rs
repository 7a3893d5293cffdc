//! Packets of several nodes: one copy of each, or how to look at one node's.
//!
//! Owns what of pairing goes into the new file. What is the same packet is known elsewhere.

use std::{
    io::{self, Write},
    ops::RangeInclusive,
};

use nodewatch_pcapng::{Time, comments_before, enhanced_packet};

use super::{BUFFER, MergeError, Merged, Work, entry::Key};
use crate::packets::pairs::{self, Sighting};

/// The display filter of Wireshark that shows one side, where interfaces are of several nodes.
pub fn side_filter(interfaces: &[String]) -> Option<String> {
    let first = interfaces.first()?;
    let several = interfaces.iter().any(|other| pairs::node_of(other) != pairs::node_of(first));
    several.then(|| format!("frame.interface_name == {first:?}"))
}

impl Merged {
    /// Writes a packet that was paired, or cuts it.
    fn put(&mut self, window: &RangeInclusive<u64>, packet: &pairs::Packet, out: &mut Vec<u8>) {
        if !self.takes(window, time_of(packet.time)) {
            return;
        }
        let (ticks, wire_length) = (packet.ticks, packet.wire_length);
        let mut options = Vec::new();
        if let Some(comment) = &packet.comment {
            comments_before(&mut options, std::slice::from_ref(comment), &packet.options);
        } else {
            options.extend_from_slice(&packet.options);
        }
        enhanced_packet(out, packet.interface, ticks, wire_length, [&packet.data], &options);
        self.packets += 1;
    }
}

impl<W: Write> Work<'_, W> {
    /// How to look at one node's packets, for who has the file alone.
    pub(super) fn of_sides(&mut self) -> Option<String> {
        let interfaces = std::mem::take(&mut self.merged.interfaces);
        let filter = side_filter(&interfaces)?;
        Some(if self.pairs.is_some() {
            "one copy of each packet that several nodes captured: its comment has the times (UTC) at which each saw it"
                .to_owned()
        } else {
            format!("each packet is in it once for each node that captured it: {filter} shows one side")
        })
    }

    /// Lets a packet wait for the copies of other nodes.
    pub(super) fn pair(&mut self, sighting: &Sighting<'_>, within: i64) -> Result<(), MergeError> {
        self.now = self.now.max(sighting.time);
        let (from, to) = self.merge.window.clone().into_inner();
        let near = |time: u64, by: i64| i64::try_from(time).unwrap_or(i64::MAX).saturating_add(by);
        if sighting.time < near(from, -within) || sighting.time > near(to, within) {
            self.merged.takes(&self.merge.window, time_of(sighting.time));
            return Ok(());
        }
        let Some(mut pairs) = self.pairs.take() else { return Ok(()) };
        if let Some(known) = self.shared.interfaces.get(sighting.interface as usize) {
            pairs.describe(sighting.interface, &known.name, known.link_type);
        }
        pairs.take(sighting, self.now);
        let mut failed = None;
        pairs.release(self.now, &self.shared.cover, |packet| {
            self.merged.put(&self.merge.window, packet, &mut self.shared.buffer);
            if self.shared.buffer.len() >= BUFFER && failed.is_none() {
                self.shared.written += self.shared.buffer.len() as u64;
                failed = self.out.write_all(&self.shared.buffer).err();
                self.shared.buffer.clear();
            }
        });
        self.pairs = Some(pairs);
        self.written(failed)
    }

    fn written(&self, failed: Option<io::Error>) -> Result<(), MergeError> {
        failed.map_or(Ok(()), |source| Err(MergeError::Output { path: self.path.to_owned(), source }))
    }

    /// What still waits goes into the file.
    pub(super) fn end_pairs(&mut self) -> Result<(), MergeError> {
        let Some(pairs) = self.pairs.take() else { return Ok(()) };
        let mut failed = None;
        let paired = pairs.end(&self.shared.cover, |packet| {
            self.merged.put(&self.merge.window, packet, &mut self.shared.buffer);
            if self.shared.buffer.len() >= BUFFER && failed.is_none() {
                self.shared.written += self.shared.buffer.len() as u64;
                failed = self.out.write_all(&self.shared.buffer).err();
                self.shared.buffer.clear();
            }
        });
        self.merged.paired = Some(paired);
        self.written(failed)
    }
}

/// A moment as nanoseconds since the Unix epoch, as near to it as 64 bits hold; `None` for what has no time.
pub(super) fn nanos(key: Key) -> Option<i64> {
    if key.seconds == Key::FIRST.seconds {
        return None;
    }
    let nanos = i128::from(key.seconds) * 1_000_000_000 + i128::from(key.nanos);
    Some(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
}

fn time_of(nanos: i64) -> Time {
    Time { seconds: nanos.div_euclid(1_000_000_000), nanos: nanos.rem_euclid(1_000_000_000) as u32 }
}
