//! Several accounts of one node's captures as one: of several rings, or of one ring at several times.
//!
//! Owns which of two accounts of a file is the later one. Neither order nor clocks decide that: what is once so (closed,
//! summed, delivered) is not undone.

use crate::{Amount, CaptureFile, CaptureRecord, Delivery, FileState, RingList};

impl RingList {
    /// Both, whichever of them is newer.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        let same_ring = self.ring == other.ring;
        for capture in other.captures {
            match self.captures.iter_mut().find(|known| is_same(known, &capture)) {
                Some(known) => {
                    if known.ended.is_none() {
                        *known = capture;
                    }
                }
                None => self.captures.push(capture),
            }
        }
        for record in other.files {
            match self.files.iter_mut().find(|known| known.file.name == record.file.name) {
                Some(known) => {
                    if rank(&record.file) > rank(&known.file) {
                        *known = record;
                    }
                }
                None => self.files.push(record),
            }
        }
        self.captures.sort_by_key(|capture| capture.since);
        let sum = if same_ring { Amount::larger } else { Amount::plus };
        self.delivered = sum(self.delivered, other.delivered);
        self.discarded = sum(self.discarded, other.discarded);
        self.lost = sum(self.lost, other.lost);
        if !same_ring {
            self.ring.clear();
        }
        if self.node.is_empty() {
            self.node = other.node;
        }
        self.sink = self.sink.or(other.sink);
        self.reports = self.reports.or(other.reports);
        self
    }
}

fn is_same(one: &CaptureRecord, other: &CaptureRecord) -> bool {
    one.since == other.since && one.interfaces == other.interfaces
}

/// A later account of a file has a higher one.
fn rank(file: &CaptureFile) -> (bool, u8, bool, bool, u64) {
    let delivery = match &file.delivery {
        Delivery::Held => 0,
        Delivery::Sending { .. } => 1,
        Delivery::Waiting { .. } => 2,
        Delivery::Lost { .. } => 3,
        Delivery::Delivered { .. } => 4,
    };
    (file.state == FileState::Closed, delivery, file.sha256.is_some(), file.fetched, file.size)
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self {
            files: self.files.saturating_add(other.files),
            bytes: self.bytes.saturating_add(other.bytes),
            packets: self.packets.saturating_add(other.packets),
        }
    }

    fn larger(self, other: Self) -> Self {
        if self.files >= other.files { self } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CaptureSpec, FilePlace, FileRecord, StopReason};

    fn file(name: &str, state: FileState, delivery: &Delivery) -> FileRecord {
        let record = serde_json::json!({
            "name": name, "size": 10, "packets": 1, "started": 1, "state": state, "delivery": delivery,
            "capture": 1, "place": FilePlace::Kept,
        });
        serde_json::from_value(record).expect("a record")
    }

    fn manifest(ring: &str, files: Vec<FileRecord>) -> RingList {
        let delivered = files.iter().filter(|record| record.file.delivery.is_delivered()).count() as u64;
        let delivered = Amount { files: delivered, bytes: 10 * delivered, packets: delivered };
        RingList { node: "n".into(), ring: ring.into(), files, delivered, ..RingList::default() }
    }

    fn delivered(name: &str) -> FileRecord {
        file(name, FileState::Closed, &Delivery::Delivered { key: name.into(), size: 10, unproved: false })
    }

    #[test]
    fn two_rings_of_a_node_lose_nothing_of_each_other() {
        let (one, other) = (manifest("a", vec![delivered("1")]), manifest("b", vec![delivered("2"), delivered("3")]));
        let joined = one.join(other);
        let names: Vec<&str> = joined.files.iter().map(|record| record.file.name.as_str()).collect();
        assert_eq!(names, ["1", "2", "3"]);
        assert_eq!(joined.delivered.files, 3);
    }

    #[test]
    fn of_one_ring_the_later_account_counts_whichever_comes_first() {
        let early = manifest("a", vec![file("1", FileState::Open, &Delivery::Held)]);
        let late = manifest("a", vec![delivered("1"), file("2", FileState::Open, &Delivery::Held)]);
        for joined in [early.clone().join(late.clone()), late.clone().join(early)] {
            assert!(joined.files.iter().any(|record| record.file.delivery.is_delivered()));
            assert_eq!((joined.files.len(), joined.delivered.files), (2, 1));
        }
        let running = CaptureRecord {
            since: 1,
            interfaces: vec!["eth0".into()],
            spec: CaptureSpec::default(),
            ended: None,
            ..serde_json::from_value(serde_json::json!({
                "since": 1, "interfaces": [], "spec": CaptureSpec::default(), "ended": null
            }))
            .expect("a record")
        };
        let ended = CaptureRecord { ended: Some((2, StopReason::Asked)), ..running.clone() };
        let with = |capture: CaptureRecord| RingList { captures: vec![capture], ..late.clone() };
        for joined in [with(running.clone()).join(with(ended.clone())), with(ended).join(with(running))] {
            assert!(joined.captures.len() == 1 && joined.captures[0].ended.is_some());
        }
    }
}
