//! The interfaces of a file that is made out of others.
//!
//! Owns which description goes out once and what number it then has.

use crate::{Interface, InterfaceBlock, Statistics, StatisticsBlock, interface_description, interface_statistics};

/// Interfaces that were described, and what was counted on each.
#[derive(Debug, Default)]
pub struct InterfaceTable {
    known: Vec<(String, Interface)>,
    counts: Vec<Statistics>,
}

impl InterfaceTable {
    /// The number of an interface under that name; its description is written when it is new.
    pub fn number(&mut self, out: &mut Vec<u8>, name: &str, description: &str, interface: &Interface) -> u32 {
        let same = |known: &Interface| {
            (known.link_type, known.snaplen, &known.filter)
                == (interface.link_type, interface.snaplen, &interface.filter)
        };
        if let Some(at) = self.known.iter().position(|(other, known)| other == name && same(known)) {
            return at as u32;
        }
        let block = InterfaceBlock {
            name,
            link_type: interface.link_type,
            snaplen: interface.snaplen,
            filter: interface.filter.as_deref(),
            description,
        };
        interface_description(out, &block);
        self.known.push((name.to_owned(), interface.clone()));
        self.counts.push(Statistics::default());
        self.known.len() as u32 - 1
    }

    /// Adds what a file says was counted on the interface with that number.
    pub fn count(&mut self, number: u32, counts: &Statistics) {
        let Some(sum) = self.counts.get_mut(number as usize) else { return };
        sum.at = sum.at.max(counts.at);
        sum.received += counts.received;
        sum.dropped_by_interface += counts.dropped_by_interface;
        sum.dropped_by_kernel += counts.dropped_by_kernel;
        sum.delivered += counts.delivered;
        for comment in &counts.comments {
            if !sum.comments.contains(comment) {
                sum.comments.push(comment.clone());
            }
        }
    }

    /// The sums, the last thing before the file is closed; none for an interface that nothing was said of.
    pub fn write_counts(&self, out: &mut Vec<u8>) {
        for (number, sum) in self.counts.iter().enumerate().filter(|(_, sum)| sum.at > 0) {
            let block = StatisticsBlock {
                interface: number as u32,
                at: sum.at,
                since: 0,
                received: sum.received,
                dropped_by_interface: sum.dropped_by_interface,
                dropped_by_kernel: sum.dropped_by_kernel,
                delivered: sum.delivered,
                comment: &sum.comments.join("; "),
            };
            interface_statistics(out, &block);
        }
    }
}
