//! One interface as a capture's files describe it: its counts, its gaps, and what it stood for.
//!
//! Owns how many gaps are remembered one by one. Must not know buffers or files.

use std::collections::VecDeque;

use nodewatch_analysis::decode::Link;

/// Gaps of an interface that are known one by one; the oldest of more are told as one.
const MAX_GAPS: usize = 32;

/// One interface of the capture, as its files describe and count it.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Kernel name.
    pub name: String,
    /// How its packets begin.
    pub link: Link,
    /// Packets taken from it.
    pub packets: u64,
    /// Of these, handed to the disk.
    pub delivered: u64,
    /// Dropped by the kernel.
    pub kernel_drops: u64,
    /// Lost by the interface before any capture could see them.
    pub interface_drops: u64,
    /// Bytes of each packet that are kept at the most.
    pub snaplen: u32,
    /// When nothing was captured from it, oldest first.
    pub gaps: Vec<Gap>,
    /// When what it stands for changed, in nanoseconds since the Unix epoch, and how; the latest of them.
    pub marks: VecDeque<(u64, String)>,
}

/// A time in which nothing was captured from an interface, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Its beginning.
    pub from: u64,
    /// Its end; `None` while it lasts.
    pub to: Option<u64>,
    /// How many times of absence this stands for, which need not have followed each other without a pause.
    pub times: u32,
    /// The reason.
    pub why: &'static str,
}

impl Channel {
    /// One that nothing has come from yet.
    pub fn new(name: &str, link: Link, snaplen: u32) -> Self {
        Self {
            name: name.to_owned(),
            link,
            packets: 0,
            delivered: 0,
            kernel_drops: 0,
            interface_drops: 0,
            snaplen,
            gaps: Vec::new(),
            marks: VecDeque::new(),
        }
    }

    /// From now on it stands for something else.
    pub fn mark(&mut self, at: u64, what: &str) {
        if self.marks.len() == MAX_GAPS {
            self.marks.pop_front();
        }
        self.marks.push_back((at, what.to_owned()));
    }

    /// Nothing is captured from now on, or still nothing, for another reason.
    pub fn begin_gap(&mut self, gap: Gap) {
        if let Some(open) = self.gaps.last_mut().filter(|last| last.to.is_none()) {
            open.why = gap.why;
            return;
        }
        if self.gaps.len() >= MAX_GAPS {
            let oldest = self.gaps.remove(0);
            self.gaps[0].from = oldest.from;
            self.gaps[0].times += oldest.times;
        }
        self.gaps.push(gap);
    }

    /// What a file of that time says of them; empty where there were none.
    pub fn gaps_between(&self, from: u64, to: u64) -> String {
        let within = |gap: &Gap| {
            let (begin, end) = (gap.from.max(from), gap.to.unwrap_or(to).min(to));
            (begin < end).then(|| {
                let times = if gap.times > 1 { format!(", {} times", gap.times) } else { String::new() };
                let at = |nanos: u64| jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
                format!(
                    "nothing was captured from {} from {:.3} to {:.3} ({}{times})",
                    self.name,
                    at(begin),
                    at(end),
                    gap.why
                )
            })
        };
        let marks = self.marks.iter().filter(|(at, _)| (from..to).contains(at)).map(|(at, what)| {
            let at = jiff::Timestamp::from_nanosecond(i128::from(*at)).unwrap_or_default();
            format!("from {at:.3}: {what}")
        });
        self.gaps.iter().filter_map(within).chain(marks).collect::<Vec<_>>().join("; ")
    }
}
