//! The interfaces of a file that is made out of others.
//!
//! Owns which description goes out once and what number it then has, and the sums of what was counted on each.

use std::collections::{BTreeMap, HashMap};

use crate::{
    INTERFACE_STATISTICS, Interface, Resolution, Statistics,
    write::{block, described, option, timestamp},
};

/// Bytes of descriptions that are remembered. Those that come later get a number each, whether or not they are new.
const REMEMBERED: usize = 32 * 1024 * 1024;
/// Comments of one interface, in bytes. An option has room for 65,535.
const COMMENTS: usize = 60_000;

/// Interfaces that were described, and what was counted on each.
#[derive(Debug, Default)]
pub struct InterfaceTable {
    /// By the bytes of the description.
    known: HashMap<Vec<u8>, u32>,
    remembered: usize,
    resolutions: Vec<Resolution>,
    counts: BTreeMap<u32, Sum>,
}

#[derive(Debug, Default)]
struct Sum {
    counts: Statistics,
    comment: String,
    more: u64,
}

impl InterfaceTable {
    /// None was described yet.
    pub fn is_empty(&self) -> bool {
        self.resolutions.is_empty()
    }

    /// The number of an interface under that name, whose packets are written with nanoseconds; its description is
    /// written when it is new.
    pub fn number(&mut self, out: &mut Vec<u8>, name: &str, description: &str, interface: &Interface) -> u32 {
        self.kept(out, name, description, &Interface { resolution: Resolution::NANOS, ..interface.clone() })
    }

    /// The same for one whose packets are written with its own ticks.
    pub fn kept(&mut self, out: &mut Vec<u8>, name: &str, description: &str, interface: &Interface) -> u32 {
        let mut bytes = Vec::new();
        described(&mut bytes, name, description, interface);
        if let Some(&number) = self.known.get(&bytes) {
            return number;
        }
        let number = self.resolutions.len() as u32;
        self.resolutions.push(interface.resolution);
        out.extend_from_slice(&bytes);
        if self.remembered < REMEMBERED {
            self.remembered += bytes.len();
            self.known.insert(bytes, number);
        }
        number
    }

    /// Adds what a file says was counted on the interface with that number.
    pub fn count(&mut self, number: u32, counts: &Statistics) {
        if number as usize >= self.resolutions.len() {
            return;
        }
        let Sum { counts: sum, comment, more } = self.counts.entry(number).or_default();
        sum.said |= counts.said;
        sum.at = sum.at.max(counts.at);
        // Files follow one another: counting began with the first.
        if counts.since > 0 && (sum.since == 0 || counts.since < sum.since) {
            sum.since = counts.since;
        }
        sum.received = sum.received.saturating_add(counts.received);
        sum.dropped_by_interface = sum.dropped_by_interface.saturating_add(counts.dropped_by_interface);
        sum.accepted_by_filter = sum.accepted_by_filter.saturating_add(counts.accepted_by_filter);
        sum.dropped_by_kernel = sum.dropped_by_kernel.saturating_add(counts.dropped_by_kernel);
        sum.delivered = sum.delivered.saturating_add(counts.delivered);
        for one in &counts.comments {
            // First, as looking through a full one for each of many more would take long.
            if comment.len() + one.len() > COMMENTS {
                *more += 1;
                continue;
            }
            if comment.split("; ").any(|other| other == one) {
                continue;
            }
            let between = if comment.is_empty() { "" } else { "; " };
            comment.push_str(between);
            comment.push_str(one);
        }
    }

    /// The sums, the last thing before the file is closed; none for an interface that nothing was said of.
    pub fn write_counts(&self, out: &mut Vec<u8>) {
        for (&number, Sum { counts, comment, more }) in self.counts.iter().filter(|(_, sum)| sum.counts.at > 0) {
            let resolution = self.resolutions[number as usize];
            let at = timestamp(resolution.ticks(counts.at));
            block(out, INTERFACE_STATISTICS, |body| {
                body.extend(number.to_le_bytes());
                body.extend(at);
                match (comment.as_str(), more) {
                    ("", 0) => {}
                    (comment, 0) => option(body, 1, comment.as_bytes()),
                    (comment, more) => option(body, 1, format!("{comment}; and {more} more").as_bytes()),
                }
                if counts.since > 0 {
                    option(body, 2, &timestamp(resolution.ticks(counts.since)));
                }
                option(body, 3, &at);
                for (code, count) in [
                    (4u16, counts.received),
                    (5, counts.dropped_by_interface),
                    (6, counts.accepted_by_filter),
                    (7, counts.dropped_by_kernel),
                    (8, counts.delivered),
                ] {
                    if counts.said & (1 << code) != 0 {
                        option(body, code, &count.to_le_bytes());
                    }
                }
                option(body, 0, &[]);
            });
        }
    }
}
