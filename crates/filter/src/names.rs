//! Host names in a filter: where they stand, and what may stand in their place.
//!
//! Owns telling a host's name from the words of pcap-filter(7), from numbers and from addresses. Pure.

use std::net::IpAddr;

/// Which addresses may stand in a name's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Any.
    Any,
    /// After `ip`, `arp` or `rarp`.
    Four,
    /// After `ip6`.
    Six,
}

impl Family {
    /// That address may.
    pub fn takes(self, address: &IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Four => address.is_ipv4(),
            Self::Six => address.is_ipv6(),
        }
    }
}

/// A host's name in a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostName<'a> {
    /// The name.
    pub name: &'a str,
    /// The byte at which it begins.
    pub position: usize,
    /// What it stands for.
    pub family: Family,
    /// It names a gateway: its hardware address is meant as well.
    pub gateway: bool,
}

/// What a word is, going by those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Host,
    Gateway,
    /// Of a network, port, protocol, interface: nothing that DNS is asked for.
    Other,
}

/// Words after which a name is none of a host.
const OTHERS: &[&str] = &[
    "net",
    "port",
    "portrange",
    "proto",
    "protochain",
    "type",
    "subtype",
    "dir",
    "direction",
    "ifname",
    "on",
    "rset",
    "ruleset",
    "reason",
    "action",
    "rnr",
    "rulenum",
    "srnr",
    "subrulenum",
    "mask",
    "vlan",
    "mpls",
    "pppoes",
    "geneve",
    "vxlan",
    "less",
    "greater",
    "ifindex",
    "llc",
    "lsap",
    "dsap",
];
/// Words that begin anew.
const HEADS: &[&str] = &[
    "src",
    "dst",
    "ip",
    "arp",
    "rarp",
    "ip6",
    "ipv6",
    "tcp",
    "udp",
    "icmp",
    "icmp6",
    "icmpv6",
    "igmp",
    "igrp",
    "pim",
    "vrrp",
    "carp",
    "sctp",
    "ah",
    "esp",
    "decnet",
    "host",
    "inbound",
    "outbound",
    "broadcast",
    "multicast",
    "ether",
    "link",
    "fddi",
    "tr",
    "wlan",
    "ppp",
    "slip",
    "radio",
    "arcnet",
    "ra",
    "ta",
    "addr1",
    "addr2",
    "addr3",
    "addr4",
    "address1",
    "address2",
    "address3",
    "address4",
    "stp",
    "ipx",
    "netbeui",
    "iso",
    "esis",
    "es-is",
    "isis",
    "is-is",
    "clnp",
    "lat",
    "sca",
    "mop",
    "moprc",
    "mopdl",
    "atalk",
    "aarp",
    "pppoed",
    "l1",
    "l2",
    "iih",
    "lsp",
    "snp",
    "csnp",
    "psnp",
    "lane",
    "metac",
    "bcc",
    "oam",
    "oamf4",
    "oamf4ec",
    "oamf4sc",
    "sc",
    "ilmic",
    "connectmsg",
    "metaconnect",
    "vpi",
    "vci",
    "fisu",
    "lssu",
    "lsu",
    "msu",
    "hfisu",
    "hlssu",
    "hmsu",
    "sio",
    "opc",
    "dpc",
    "sls",
    "hsio",
    "hopc",
    "hdpc",
    "hsls",
];
/// Words of expressions, and those that join.
const PLAIN: &[&str] = &[
    "and",
    "or",
    "not",
    "len",
    "length",
    "byte",
    "icmptype",
    "icmpcode",
    "icmp6type",
    "icmp6code",
    "tcpflags",
    "tcp-fin",
    "tcp-syn",
    "tcp-rst",
    "tcp-push",
    "tcp-ack",
    "tcp-urg",
    "tcp-ece",
    "tcp-cwr",
    "icmp-echoreply",
    "icmp-unreach",
    "icmp-sourcequench",
    "icmp-redirect",
    "icmp-echo",
    "icmp-routeradvert",
    "icmp-routersolicit",
    "icmp-timxceed",
    "icmp-paramprob",
    "icmp-tstamp",
    "icmp-tstampreply",
    "icmp-ireq",
    "icmp-ireqreply",
    "icmp-maskreq",
    "icmp-maskreply",
    "icmp6-destinationrunreach",
    "icmp6-destinationunreach",
    "icmp6-packettoobig",
    "icmp6-timeexceeded",
    "icmp6-parameterproblem",
    "icmp6-echo",
    "icmp6-echoreply",
    "icmp6-multicastlistenerquery",
    "icmp6-multicastlistenerreportv1",
    "icmp6-multicastlistenerdone",
    "icmp6-routersolicit",
    "icmp6-routeradvert",
    "icmp6-neighborsolicit",
    "icmp6-neighboradvert",
    "icmp6-redirect",
    "icmp6-routerrenum",
    "icmp6-nodeinformationquery",
    "icmp6-nodeinformationresponse",
    "icmp6-ineighbordiscoverysolicit",
    "icmp6-ineighbordiscoveryadvert",
    "icmp6-multicastlistenerreportv2",
    "icmp6-homeagentdiscoveryrequest",
    "icmp6-homeagentdiscoveryreply",
    "icmp6-mobileprefixsolicit",
    "icmp6-mobileprefixadvert",
    "icmp6-certpathsolicit",
    "icmp6-certpathadvert",
    "icmp6-multicastrouteradvert",
    "icmp6-multicastroutersolicit",
    "icmp6-multicastrouterterm",
];

/// Every host name in a filter, in order.
pub fn host_names(filter: &str) -> Vec<HostName<'_>> {
    let mut found = Vec::new();
    let (mut meaning, mut family, mut link) = (Meaning::Host, Family::Any, false);
    let mut at = 0;
    while let Some(rest) = filter.get(at..).filter(|rest| !rest.is_empty()) {
        let step = match token(rest) {
            Token::Space(length) => length,
            Token::Word(word) if OTHERS.contains(&word) => {
                meaning = Meaning::Other;
                word.len()
            }
            Token::Word(word) if HEADS.contains(&word) => {
                meaning = if meaning == Meaning::Gateway && word == "host" { Meaning::Gateway } else { Meaning::Host };
                match word {
                    "ip" | "arp" | "rarp" => (family, link) = (Family::Four, false),
                    "ip6" | "ipv6" => (family, link) = (Family::Six, false),
                    "ether" | "link" | "fddi" | "tr" | "wlan" | "ppp" | "slip" | "radio" | "arcnet" | "decnet" => {
                        (family, link) = (Family::Any, true);
                    }
                    "src" | "dst" | "host" | "ra" | "ta" => {}
                    _ => (family, link) = (Family::Any, false),
                }
                word.len()
            }
            Token::Word("gateway") => {
                meaning = Meaning::Gateway;
                "gateway".len()
            }
            Token::Word(word) => {
                if matches!(word, "and" | "or" | "not") {
                    // What follows a word that joins may begin anew, and `host` is what is meant then.
                    if begins_anew(&filter[at + word.len()..]) {
                        (meaning, family, link) = (Meaning::Host, Family::Any, false);
                    }
                } else if !PLAIN.contains(&word) && meaning != Meaning::Other && !(link && meaning == Meaning::Host) {
                    let gateway = meaning == Meaning::Gateway;
                    found.push(HostName { name: word, position: at, family, gateway });
                }
                word.len()
            }
            Token::Joint(length) => {
                if begins_anew(&filter[at + length..]) {
                    (meaning, family, link) = (Meaning::Host, Family::Any, false);
                }
                length
            }
        };
        at += step;
    }
    found
}

/// A qualifier follows: those before it hold no longer.
fn begins_anew(mut rest: &str) -> bool {
    loop {
        match token(rest) {
            Token::Space(0) => return false,
            Token::Space(length) | Token::Joint(length) => rest = &rest[length..],
            Token::Word("not" | "and" | "or") => rest = &rest[rest.find(char::is_whitespace).unwrap_or(rest.len())..],
            Token::Word(word) => return HEADS.contains(&word) || OTHERS.contains(&word) || word == "gateway",
        }
    }
}

enum Token<'a> {
    /// Neither word nor joint, or a number or an address.
    Space(usize),
    /// A word: an alphanumeric and what may follow it in a name.
    Word(&'a str),
    /// `&&`, `||`, `!`.
    Joint(usize),
}

fn token(rest: &str) -> Token<'_> {
    let Some(first) = rest.chars().next() else { return Token::Space(0) };
    match first {
        '[' => return Token::Space(bracket(rest)),
        '!' if !rest.starts_with("!=") => return Token::Joint(1),
        '&' if rest.starts_with("&&") => return Token::Joint(2),
        '|' if rest.starts_with("||") => return Token::Joint(2),
        // A name that a word of the language is written like: `ether proto \ip`.
        '\\' => {
            let end = rest.find([' ', '!', '(', ')', '\n', '\t']).unwrap_or(rest.len());
            return Token::Space(end);
        }
        _ => {}
    }
    // Addresses with colons: IPv6, and hardware.
    let colons = rest.find(|c: char| !(c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '-'))).unwrap_or(rest.len());
    let candidate = &rest[..colons];
    if candidate.contains(':') && (candidate.parse::<std::net::Ipv6Addr>().is_ok() || is_hardware(candidate)) {
        return Token::Space(colons);
    }
    if !first.is_ascii_alphanumeric() {
        return Token::Space(first.len_utf8());
    }
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))).unwrap_or(rest.len());
    // A name ends with a letter, a digit or a dot; what comes after is an operator.
    let end = rest[..end].trim_end_matches(['-', '_']).len();
    let word = &rest[..end];
    let number = word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
        || word.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || is_hardware(word);
    if number { Token::Space(end) } else { Token::Word(word) }
}

/// Six bytes in hexadecimal, with colons, dashes or dots between them.
fn is_hardware(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let hex = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes = parts.len() == 6 && parts.iter().all(|part| part.len() <= 2 && hex(part));
    let cisco: Vec<&str> = text.split('.').collect();
    let words = cisco.len() == 3 && cisco.iter().all(|part| part.len() == 4 && hex(part));
    bytes || words
}

/// To the end of an index: names of hosts are in none.
fn bracket(rest: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' if depth == 1 => return at + 1,
            b']' => depth -= 1,
            _ => {}
        }
    }
    rest.len()
}

/// The filter with something else in the place of each name.
pub fn replace(filter: &str, mut with: impl FnMut(&HostName<'_>) -> String) -> String {
    let mut replaced = String::with_capacity(filter.len());
    let mut at = 0;
    for name in host_names(filter) {
        replaced.push_str(&filter[at..name.position]);
        replaced.push_str(&with(&name));
        at = name.position + name.name.len();
    }
    replaced.push_str(&filter[at..]);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(filter: &str) -> Vec<&str> {
        host_names(filter).iter().map(|name| name.name).collect()
    }

    #[test]
    fn host_names_are_found_wherever_they_stand() {
        for (filter, expected) in [
            ("host db.example.com", &["db.example.com"][..]),
            ("db", &["db"]),
            (
                "tcp port 80 and host a.example and not host b.example and bogus x",
                &["a.example", "b.example", "bogus", "x"],
            ),
            ("src or dst db-1.example.com", &["db-1.example.com"]),
            ("host (a or b) or c", &["a", "b", "c"]),
            ("!host a&&(tcp||host b)", &["a", "b"]),
            ("port 80 and (src a or dst b)", &["a", "b"]),
            ("host a and port http or https", &["a"]),
            ("gateway router", &["router"]),
            ("host 10.0.0.1 or a.example", &["a.example"]),
            ("host xn--bcher-kva.example.", &["xn--bcher-kva.example."]),
            ("ip6 host v6.example", &["v6.example"]),
            ("host cafe", &["cafe"]),
            ("host 7f3a91c2.example", &["7f3a91c2.example"]),
        ] {
            assert_eq!(names(filter), expected, "{filter}");
        }
    }

    #[test]
    fn what_is_no_host_name_is_left_alone() {
        for filter in [
            "",
            "tcp port 443 and host 10.0.0.1",
            "host fd00::1 or host ::1 or net fe80::/10 or ip6 host 2001:db8::10.0.0.1",
            "ether host 02:00:00:00:00:01 or ether src 2-0-0-0-0-1 or ether dst 0200.0000.0001",
            "net 10.244 or net 192.168.0.0/16 or net loopback or net 10.0.0.0 mask 255.0.0.0",
            "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 and tcp[13] = 0x12",
            "icmp[icmptype] != icmp-echo and icmp6[icmp6type] == icmp6-neighborsolicit",
            "tcp port http or https or ftp-data",
            "ip proto \\tcp or ether proto \\ip6 or ip protochain sctp",
            "vlan 5 and (mpls 7 or pppoes) and greater 100 or len > 64",
            "inbound or outbound and ifindex 3 and broadcast or ip multicast",
            "type mgt subtype beacon",
            "portrange 6000-6008",
            "ether host somebody",
            "(tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420)",
        ] {
            assert_eq!(names(filter), Vec::<&str>::new(), "{filter}");
        }
    }

    #[test]
    fn families_follow_the_protocol_before_the_name() {
        let families: Vec<Family> =
            host_names("ip host a or ip6 host b or host c or arp host d or e").iter().map(|name| name.family).collect();
        assert_eq!(families, [Family::Four, Family::Six, Family::Any, Family::Four, Family::Four]);
    }
}
