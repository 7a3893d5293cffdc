//! What interfaces and the queues in front of them count, over netlink.
//!
//! Owns the two messages. Layouts: `linux/if_link.h`, `linux/rtnetlink.h`, `linux/gen_stats.h`.

use std::rc::Rc;

use nodewatch_signals::{Origin, SignalId, of};

use super::{
    Interfaces, Source, SourceError, Values,
    netlink::{Netlink, attributes, u32_at, u64_at},
};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
/// Lengths of `struct ifinfomsg` and `struct tcmsg`; in both the interface's number is behind four bytes.
const LINK: usize = 16;
const QDISC: usize = 20;
const INDEX: usize = 4;
const PARENT: usize = 12;
const TC_H_ROOT: u32 = u32::MAX;
const IFLA_IFNAME: u16 = 3;
const IFLA_STATS64: u16 = 23;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_CARRIER_CHANGES: u16 = 35;
/// Leaves out what each interface counts by protocol.
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
const TCA_STATS2: u16 = 7;
const TCA_STATS_QUEUE: u16 = 3;

/// Numbers of `struct rtnl_link_stats64`.
const STATS: [(&str, usize); 6] = [
    ("rx_errors", 4),
    ("tx_errors", 5),
    ("rx_dropped", 6),
    ("tx_dropped", 7),
    ("rx_fifo_errors", 14),
    ("rx_missed_errors", 15),
];
/// Numbers of `struct gnet_stats_queue`.
const QUEUE: [(&str, usize); 4] = [("qlen", 0), ("drops", 2), ("requeues", 3), ("overlimits", 4)];

fn signal(origin: Origin, field: &str) -> Option<SignalId> {
    of(origin).find(|(_, signal)| signal.field == field).map(|(at, _)| at)
}

/// The signals of these fields, and where they are.
fn places(origin: Origin, fields: &[(&str, usize)]) -> Vec<(SignalId, usize)> {
    fields.iter().filter_map(|(field, at)| Some((signal(origin, field)?, *at))).collect()
}

/// Every interface.
pub(super) struct Links {
    netlink: Netlink,
    interfaces: Interfaces,
    stats: Vec<(SignalId, usize)>,
    carrier: Option<SignalId>,
}

impl Links {
    pub(super) fn new(interfaces: Interfaces) -> Self {
        let stats = places(Origin::Link, &STATS);
        let carrier = signal(Origin::Link, "carrier_changes");
        Self { netlink: Netlink::new(None), interfaces, stats, carrier }
    }
}

impl Source for Links {
    fn origin(&self) -> Origin {
        Origin::Link
    }

    fn read(&mut self, values: &mut Values) -> Result<(), SourceError> {
        let mut body = vec![0; LINK];
        body.extend(8_u16.to_ne_bytes());
        body.extend(IFLA_EXT_MASK.to_ne_bytes());
        body.extend(RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
        let before = self.interfaces.take();
        let mut listed = Vec::with_capacity(before.len());
        let (stats, carrier) = (&self.stats, self.carrier);
        self.netlink.dump((RTM_GETLINK, RTM_NEWLINK), &body, |message| {
            let index = u32_at(message, INDEX)?;
            let rest = message.get(LINK..)?;
            let (mut name, mut counted, mut changes) = (None, None, None);
            for (kind, value) in attributes(rest) {
                match kind {
                    IFLA_IFNAME => name = value.split(|&byte| byte == 0).next(),
                    IFLA_STATS64 => counted = Some(value),
                    IFLA_CARRIER_CHANGES => changes = u32_at(value, 0),
                    _ => {}
                }
            }
            let name = String::from_utf8_lossy(name?);
            let known = before.get(listed.len()).filter(|(at, known)| *at == index && **known == *name);
            let name = known.map_or_else(|| Rc::from(&*name), |(_, known)| Rc::clone(known));
            // An interface of the same name that is another one counts for itself.
            let part = u64::from(index);
            for (signal, at) in stats {
                if let Some(value) = counted.and_then(|counted| u64_at(counted, at * 8)) {
                    values.add_item(*signal, &name, part, value);
                }
            }
            if let (Some(signal), Some(changes)) = (carrier, changes) {
                values.add_item(signal, &name, part, u64::from(changes));
            }
            listed.push((index, name));
            Some(())
        })?;
        self.interfaces.replace(listed);
        Ok(())
    }
}

/// The queue in front of every interface that has one: what it holds together, where it is made of several.
pub(super) struct Qdiscs {
    netlink: Netlink,
    interfaces: Interfaces,
    fields: Vec<(SignalId, usize)>,
}

impl Qdiscs {
    pub(super) fn new(interfaces: Interfaces) -> Self {
        Self { netlink: Netlink::new(None), interfaces, fields: places(Origin::Qdisc, &QUEUE) }
    }
}

impl Source for Qdiscs {
    fn origin(&self) -> Origin {
        Origin::Qdisc
    }

    fn read(&mut self, values: &mut Values) -> Result<(), SourceError> {
        let interfaces = self.interfaces.borrow();
        let fields = &self.fields;
        self.netlink.dump((RTM_GETQDISC, RTM_NEWQDISC), &[0; QDISC], |message| {
            let (index, parent) = (u32_at(message, INDEX)?, u32_at(message, PARENT)?);
            let rest = message.get(QDISC..)?;
            let interface = interfaces.iter().find(|(at, _)| *at == index).filter(|_| parent == TC_H_ROOT);
            let Some((_, name)) = interface else { return Some(()) };
            let all = attributes(rest).find(|(kind, _)| *kind == TCA_STATS2).map(|(_, value)| value);
            let queue = all.and_then(|all| attributes(all).find(|(kind, _)| *kind == TCA_STATS_QUEUE));
            for (signal, at) in fields {
                if let Some(value) = queue.and_then(|(_, queue)| u32_at(queue, at * 4)) {
                    values.add_item(*signal, name, u64::from(index), u64::from(value));
                }
            }
            Some(())
        })
    }
}
