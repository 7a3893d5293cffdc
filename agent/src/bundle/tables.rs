//! Routes, rules, neighbours, addresses and links, over netlink.
//!
//! Owns which dumps are asked for and in which order; a line of each is [`super::format`]'s.

use std::time::Instant;

use nodewatch_protocol::BundleSection;

use super::{
    Filling,
    format::{self, Names},
    late,
};
use crate::signals::netlink::Netlink;

/// What a dump asks with, what its messages are, and how long the head of both is.
type Dump = ((u16, u16), usize);
const LINKS: Dump = ((18, 16), 16);
const ADDRESSES: Dump = ((22, 20), 8);
const RULES: Dump = ((34, 32), 12);
const ROUTES: Dump = ((26, 24), 12);
const NEIGHBOURS: Dump = ((30, 28), 12);
const INET: u8 = 2;
const INET6: u8 = 10;

/// A line of a message, where it is one to be told; `None` also where it is cut off.
type Line = fn(&[u8], &Names) -> Option<String>;

/// A section a table; what begins too late says so.
pub(super) fn read(by: Instant) -> Vec<BundleSection> {
    let mut names = Names::new();
    // Where it cannot be had the section of links says so.
    let _ = Netlink::new(None).dump(LINKS.0, &[0; LINKS.1], |message| {
        names.extend(format::name(message));
        Some(())
    });
    let mut sections = Vec::new();
    let tables: [(&str, &str, Dump, u8, Line); 8] = [
        ("Links", "ip link", LINKS, 0, format::link),
        ("Addresses", "ip address", ADDRESSES, 0, format::address),
        ("IPv4 rules", "ip rule", RULES, INET, format::rule),
        ("IPv6 rules", "ip -6 rule", RULES, INET6, format::rule),
        ("IPv4 routes", "ip route show table all", ROUTES, INET, format::route),
        ("IPv6 routes", "ip -6 route show table all", ROUTES, INET6, format::route),
        ("IPv4 neighbours", "ip neighbour", NEIGHBOURS, INET, format::neighbour),
        ("IPv6 neighbours", "ip -6 neighbour", NEIGHBOURS, INET6, format::neighbour),
    ];
    for (name, like, (kinds, head), family, line) in tables {
        let mut filling = Filling::new(name, &format!("rtnetlink, as {like}"));
        if let Some(why) = late(by) {
            filling.failed(why);
            sections.push(filling.section);
            continue;
        }
        let mut body = vec![0; head];
        body[0] = family;
        let outcome = Netlink::new(None).dump(kinds, &body, |message| {
            if let Some(line) = line(message, &names) {
                filling.line(line);
            }
            Some(())
        });
        sections.push(filling.done(outcome));
    }
    sections
}
