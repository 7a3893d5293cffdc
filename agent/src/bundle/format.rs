//! One line of text for each message of rtnetlink, as `ip` writes it.
//!
//! Owns the layouts: `linux/rtnetlink.h`, `linux/fib_rules.h`, `linux/neighbour.h`, `linux/if_link.h`. A number without a
//! known name is told as a number. Whatever the bytes, nothing here panics.

use std::{
    collections::HashMap,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::signals::netlink::{attributes, u16_at, u32_at};

/// Names of interfaces by number.
pub(super) type Names = HashMap<u32, String>;

const INET: u8 = 2;
const INET6: u8 = 10;
/// Routes that the kernel keeps for one destination only.
const CLONED: u32 = 0x200;
/// Neighbours that are asked for nothing, as those of broadcast.
const NOARP: u16 = 0x40;

/// An interface's number and name, of a message about a link.
pub(super) fn name(message: &[u8]) -> Option<(u32, String)> {
    let name = attributes(message.get(16..)?).find(|(kind, _)| *kind == 3)?.1;
    Some((u32_at(message, 4)?, text(name)))
}

/// `2: eth0: mtu 1500 qdisc fq_codel state UP link 02:42:ac:11:00:02 master cni0 kind veth`.
pub(super) fn link(message: &[u8], names: &Names) -> Option<String> {
    let (number, name) = name(message)?;
    let mut line = format!("{number}: {name}:");
    let flags = u32_at(message, 8)?;
    for (kind, value) in attributes(message.get(16..)?) {
        match kind {
            1 if !value.is_empty() => add(&mut line, "link", hardware(value)),
            4 => add(&mut line, "mtu", u32_at(value, 0)?),
            6 => add(&mut line, "qdisc", text(value)),
            10 => add(&mut line, "master", interface(u32_at(value, 0)?, names)),
            13 => add(&mut line, "qlen", u32_at(value, 0)?),
            16 => add(&mut line, "state", named(value.first().copied()?.into(), &OPERATION)),
            18 => {
                if let Some((_, kind)) = attributes(value).find(|(kind, _)| *kind == 1) {
                    add(&mut line, "kind", text(kind));
                }
            }
            _ => {}
        }
    }
    for (bit, word) in [(0x1, "up"), (0x1_0000, "lower_up"), (0x8, "loopback"), (0x100, "promisc")] {
        if flags & bit != 0 {
            let _ = write!(line, " {word}");
        }
    }
    Some(line)
}

const OPERATION: [(u32, &str); 7] =
    [(0, "UNKNOWN"), (1, "NOTPRESENT"), (2, "DOWN"), (3, "LOWERLAYERDOWN"), (4, "TESTING"), (5, "DORMANT"), (6, "UP")];
const SCOPES: [(u32, &str); 5] = [(0, "global"), (200, "site"), (253, "link"), (254, "host"), (255, "nowhere")];

/// `eth0 inet 10.0.0.1/24 scope global`.
pub(super) fn address(message: &[u8], names: &Names) -> Option<String> {
    let (family, length, scope) = (*message.first()?, *message.get(1)?, *message.get(3)?);
    let rest = message.get(8..)?;
    // Between two ends, the first is this one and the second the other.
    let find = |wanted| attributes(rest).find(|(kind, _)| *kind == wanted).and_then(|(_, value)| ip(value));
    let address = find(2).or_else(|| find(1))?;
    let word = if family == INET6 { "inet6" } else { "inet" };
    let name = interface(u32_at(message, 4)?, names);
    let mut line = format!("{name} {word} {address}/{length} scope {}", named(scope.into(), &SCOPES));
    if let Some(peer) = find(1).filter(|peer| *peer != address) {
        add(&mut line, "peer", peer);
    }
    Some(line)
}

const TABLES: [(u32, &str); 3] = [(253, "default"), (254, "main"), (255, "local")];
const PROTOCOLS: [(u32, &str); 10] = [
    (1, "redirect"),
    (2, "kernel"),
    (3, "boot"),
    (4, "static"),
    (9, "ra"),
    (11, "zebra"),
    (12, "bird"),
    (16, "dhcp"),
    (186, "bgp"),
    (188, "ospf"),
];
const KINDS: [(u32, &str); 8] = [
    (2, "local"),
    (3, "broadcast"),
    (4, "anycast"),
    (5, "multicast"),
    (6, "blackhole"),
    (7, "unreachable"),
    (8, "prohibit"),
    (9, "throw"),
];

/// `default via 10.0.0.1 dev eth0 table main proto dhcp metric 100`.
pub(super) fn route(message: &[u8], names: &Names) -> Option<String> {
    let (family, length) = (*message.first()?, *message.get(1)?);
    let (table, protocol, scope, kind) = (message.get(4)?, message.get(5)?, message.get(6)?, message.get(7)?);
    let flags = u32_at(message, 8)?;
    if !matches!(family, INET | INET6) || flags & CLONED != 0 {
        return None;
    }
    let mut table = u32::from(*table);
    let (mut to, mut words, mut hops) = (None, Vec::new(), String::new());
    for (kind, value) in attributes(message.get(12..)?) {
        match kind {
            1 => to = ip(value),
            2 => words.push((0, format!(" from {}", ip(value)?))),
            5 => words.push((1, format!(" via {}", ip(value)?))),
            18 => words.push((1, format!(" via {}", value.get(2..).and_then(ip)?))),
            4 => words.push((2, format!(" dev {}", interface(u32_at(value, 0)?, names)))),
            7 => words.push((3, format!(" src {}", ip(value)?))),
            6 => words.push((4, format!(" metric {}", u32_at(value, 0)?))),
            8 => {
                for (metric, value) in attributes(value) {
                    match metric {
                        2 => words.push((5, format!(" mtu {}", u32_at(value, 0)?))),
                        8 => words.push((6, format!(" advmss {}", u32_at(value, 0)?))),
                        _ => {}
                    }
                }
            }
            30 => words.push((7, format!(" nhid {}", u32_at(value, 0)?))),
            9 => hops = next_hops(value, names),
            15 => table = u32_at(value, 0)?,
            _ => {}
        }
    }
    // In the order of `ip`, whatever that of the kernel is.
    words.sort();
    let mut line = String::new();
    if *kind != 1 {
        let _ = write!(line, "{} ", named((*kind).into(), &KINDS));
    }
    match to {
        Some(to) => drop(write!(line, "{to}/{length}")),
        None => line.push_str("default"),
    }
    line.extend(words.into_iter().map(|(_, word)| word));
    add(&mut line, "table", named(table, &TABLES));
    add(&mut line, "proto", named((*protocol).into(), &PROTOCOLS));
    if *scope != 0 {
        add(&mut line, "scope", named((*scope).into(), &SCOPES));
    }
    for (bit, word) in [(0x1, "dead"), (0x4, "onlink"), (0x10, "linkdown")] {
        if flags & bit != 0 {
            let _ = write!(line, " {word}");
        }
    }
    line.push_str(&hops);
    Some(line)
}

/// ` nexthop via 10.0.0.1 dev eth0 weight 1` for each, of `struct rtnexthop`.
fn next_hops(mut bytes: &[u8], names: &Names) -> String {
    let mut line = String::new();
    while let (Some(length), Some(weight), Some(number)) = (u16_at(bytes, 0), bytes.get(3), u32_at(bytes, 4)) {
        let length = usize::from(length);
        let Some(own) = bytes.get(8..length) else { break };
        line.push_str(" nexthop");
        for (kind, value) in attributes(own) {
            match kind {
                5 => drop(ip(value).map(|via| add(&mut line, "via", via))),
                18 => drop(value.get(2..).and_then(ip).map(|via| add(&mut line, "via", via))),
                _ => {}
            }
        }
        add(&mut line, "dev", interface(number, names));
        add(&mut line, "weight", u32::from(*weight) + 1);
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    line
}

/// `32766: from all lookup main`.
pub(super) fn rule(message: &[u8], _names: &Names) -> Option<String> {
    let (to_length, from_length) = (*message.get(1)?, *message.get(2)?);
    let (table, action, flags) = (*message.get(4)?, *message.get(7)?, u32_at(message, 8)?);
    let mut table = u32::from(table);
    let (mut priority, mut from, mut rest) = (0, None, String::new());
    let (mut mark, mut mask, mut goto) = (None, None, None);
    for (kind, value) in attributes(message.get(12..)?) {
        match kind {
            1 => add(&mut rest, "to", format_args!("{}/{to_length}", ip(value)?)),
            2 => from = ip(value),
            3 => add(&mut rest, "iif", text(value)),
            4 => goto = u32_at(value, 0),
            6 => priority = u32_at(value, 0)?,
            10 => mark = u32_at(value, 0),
            14 => match u32_at(value, 0) {
                Some(u32::MAX) | None => {}
                Some(shortest) => add(&mut rest, "suppress_prefixlength", shortest),
            },
            15 => table = u32_at(value, 0)?,
            16 => mask = u32_at(value, 0),
            17 => add(&mut rest, "oif", text(value)),
            19 => rest.push_str(if value.first() == Some(&0) { "" } else { " l3mdev" }),
            22 => add(&mut rest, "ipproto", value.first().copied()?),
            23 | 24 => {
                let title = if kind == 23 { "sport" } else { "dport" };
                add(&mut rest, title, format_args!("{}-{}", u16_at(value, 0)?, u16_at(value, 2)?));
            }
            _ => {}
        }
    }
    let not = if flags & 2 != 0 { "not " } else { "" };
    let from = from.map_or_else(|| "all".to_owned(), |from| format!("{from}/{from_length}"));
    let mut line = format!("{priority}: {not}from {from}{rest}");
    if let Some(mark) = mark {
        add(&mut line, "fwmark", format_args!("{mark:#x}/{:#x}", mask.unwrap_or(u32::MAX)));
    }
    match action {
        1 => add(&mut line, "lookup", named(table, &TABLES)),
        2 => add(&mut line, "goto", goto.unwrap_or_default()),
        3 => line.push_str(" nop"),
        other => drop(write!(line, " {}", named(other.into(), &KINDS))),
    }
    Some(line)
}

const STATES: [(u16, &str); 7] = [
    (0x01, "INCOMPLETE"),
    (0x02, "REACHABLE"),
    (0x04, "STALE"),
    (0x08, "DELAY"),
    (0x10, "PROBE"),
    (0x20, "FAILED"),
    (0x80, "PERMANENT"),
];

/// `10.0.0.1 dev eth0 lladdr 02:42:ac:11:00:01 REACHABLE`.
pub(super) fn neighbour(message: &[u8], names: &Names) -> Option<String> {
    let (family, number, state) = (*message.first()?, u32_at(message, 4)?, u16_at(message, 8)?);
    if !matches!(family, INET | INET6) || state & NOARP != 0 {
        return None;
    }
    let rest = message.get(12..)?;
    let find = |wanted| attributes(rest).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let mut line = format!("{} dev {}", ip(find(1)?)?, interface(number, names));
    if let Some(hardware_address) = find(2) {
        add(&mut line, "lladdr", hardware(hardware_address));
    }
    let word = STATES.iter().find(|(bit, _)| state & bit != 0).map_or("NONE", |(_, word)| word);
    let _ = write!(line, " {word}");
    Some(line)
}

/// Whatever is written into a text is taken.
fn add(line: &mut String, title: &str, value: impl std::fmt::Display) {
    let _ = write!(line, " {title} {value}");
}

fn named(number: u32, names: &[(u32, &str)]) -> String {
    let known = names.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

fn interface(number: u32, names: &Names) -> String {
    names.get(&number).cloned().unwrap_or_else(|| format!("if{number}"))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

fn hardware(bytes: &[u8]) -> String {
    let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(head: &[u8], parts: &[(u16, &[u8])]) -> Vec<u8> {
        head.iter().copied().chain(parts.iter().flat_map(|(kind, value)| attribute(*kind, value))).collect()
    }

    fn names() -> Names {
        [(2, "eth0".to_owned())].into()
    }

    #[test]
    fn tables_read_as_ip_writes_them() {
        let two = 2_u32.to_ne_bytes();
        let head = [2, 0, 0, 0, 254, 16, 0, 1, 0, 0, 0, 0];
        let via = message(&head, &[(5, &[10, 0, 0, 1]), (4, &two)]);
        assert_eq!(route(&via, &names()).as_deref(), Some("default via 10.0.0.1 dev eth0 table main proto dhcp"));
        let mut hop = vec![16, 0, 0, 0];
        hop.extend(two);
        hop.extend(attribute(5, &[10, 0, 0, 9]));
        hop[..2].copy_from_slice(&16_u16.to_ne_bytes());
        let head = [2, 24, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
        let several = message(&head, &[(1, &[10, 1, 2, 0]), (9, &hop)]);
        let expected = "10.1.2.0/24 table main proto static nexthop via 10.0.0.9 dev eth0 weight 1";
        assert_eq!(route(&several, &names()).as_deref(), Some(expected));
        let head = [2, 0, 32, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        let parts: [(u16, &[u8]); 4] = [
            (6, &1536_u32.to_ne_bytes()),
            (2, &[10, 0, 0, 7]),
            (15, &100_u32.to_ne_bytes()),
            (10, &0x80_u32.to_ne_bytes()),
        ];
        let expected = "1536: from 10.0.0.7/32 fwmark 0x80/0xffffffff lookup 100";
        assert_eq!(rule(&message(&head, &parts), &names()).as_deref(), Some(expected));
        let mut head = vec![2, 0, 0, 0];
        head.extend(two);
        head.extend(2_u16.to_ne_bytes());
        head.extend([0, 1]);
        let seen = message(&head, &[(1, &[10, 0, 0, 1]), (2, &[2, 0, 0, 0, 0, 1])]);
        let expected = "10.0.0.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE";
        assert_eq!(neighbour(&seen, &names()).as_deref(), Some(expected));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), family in 0..12_u8) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = family;
            }
            let names = names();
            let _ = (link(&bytes, &names), name(&bytes), address(&bytes, &names), route(&bytes, &names));
            let _ = (rule(&bytes, &names), neighbour(&bytes, &names), next_hops(&bytes, &names));
        }
    }
}
