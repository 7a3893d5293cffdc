//! The statistics of a running capture, as they are told once a second.
//!
//! Owns the window between two of them. Packets are counted elsewhere.

use std::time::Instant;

use nodewatch_protocol::{Dropped, InterfaceDrops, InterfaceState, Statistics, Window};

use super::{CaptureEvent, Engine};
use crate::moment::Moment;

impl<N: Fn(CaptureEvent)> Engine<N> {
    pub(super) fn statistics(&mut self, now: Moment) -> Statistics {
        let total = self.counters.total();
        let (last, before) = std::mem::replace(&mut self.window, (now.instant, total));
        let (flows_tracked, flows_overflow) = self.counters.flow_table();
        Statistics {
            at: now.unix_millis(),
            elapsed: now.instant.duration_since(self.began.instant).as_millis() as u64,
            packets: total.packets,
            bytes: total.bytes,
            window: Window {
                millis: now.instant.duration_since(last).as_millis() as u64,
                packets: total.packets - before.packets,
                bytes: total.bytes - before.bytes,
            },
            dropped: Dropped {
                kernel: self.channels.iter().map(|channel| channel.kernel_drops).sum(),
                interface: self.channels.iter().map(|channel| channel.interface_drops).sum(),
                queue: self.output.dropped(),
            },
            interfaces: self.interfaces(now.instant),
            mix: self.counters.mix(),
            sizes: self.counters.sizes(),
            flows: self.counters.top_flows(),
            flows_tracked,
            flows_overflow,
            left_out: self.left_out,
        }
    }

    fn interfaces(&self, now: Instant) -> Vec<InterfaceDrops> {
        let read = self.taps.iter().map(|tap| {
            let channels = || tap.channels.iter().map(|&channel| &self.channels[channel]);
            InterfaceDrops {
                name: tap.name.clone(),
                packets: channels().map(|channel| channel.packets).sum(),
                kernel: channels().map(|channel| channel.kernel_drops).sum(),
                interface: channels().map(|channel| channel.interface_drops).sum(),
                gap_millis: tap.gap(now).as_millis() as u64,
                state: tap.state,
            }
        });
        let left_out = self.left_out_names.iter().map(|name| InterfaceDrops {
            name: name.clone(),
            packets: 0,
            kernel: 0,
            interface: 0,
            gap_millis: 0,
            state: InterfaceState::LeftOut,
        });
        read.chain(left_out).collect()
    }
}
