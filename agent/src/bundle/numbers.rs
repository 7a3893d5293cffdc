//! Counters below `/proc/net`, by name.
//!
//! Owns which files are read and their forms. What is per socket or per connection is not: only counts are.

use std::path::Path;

use nodewatch_protocol::BundleSection;

use super::{Filling, load};
use crate::signals::SourceError;

/// `None` where the text has another form.
type Form = fn(&str, &mut Filling) -> Option<()>;

const FILES: [(&str, &str, Form); 12] = [
    ("TCP, UDP, IP and ICMP", "net/snmp", pairs),
    ("More of TCP and IP", "net/netstat", pairs),
    ("IPv6", "net/snmp6", words),
    ("SCTP", "net/sctp/snmp", words),
    ("IPsec", "net/xfrm_stat", words),
    ("Sockets", "net/sockstat", groups),
    ("IPv6 sockets", "net/sockstat6", groups),
    ("Packets by CPU, summed up", "net/softnet_stat", softnet),
    ("Connection tracking", "net/stat/nf_conntrack", cpus),
    ("Neighbour cache", "net/stat/arp_cache", cpus),
    ("IPv6 neighbour cache", "net/stat/ndisc_cache", cpus),
    ("Interfaces", "net/dev", interfaces),
];

/// A section a file, in order.
pub(super) fn read(proc: &Path) -> Vec<BundleSection> {
    let section = |(name, path, form): (&str, &str, Form)| {
        let mut filling = Filling::new(name, &format!("/proc/{path}"));
        let outcome = load(&proc.join(path)).and_then(|text| form(&text, &mut filling).ok_or(SourceError::Malformed));
        filling.done(outcome)
    };
    FILES.into_iter().map(section).collect()
}

/// `Tcp: A B` and below it `Tcp: 1 2`, named as nstat does. What is negative means that there is none.
fn pairs(text: &str, filling: &mut Filling) -> Option<()> {
    let mut lines = text.lines();
    while let Some(head) = lines.next() {
        let (group, names) = head.split_once(": ")?;
        let (again, numbers) = lines.next()?.split_once(": ")?;
        if group != again {
            return None;
        }
        for (name, number) in names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace()) {
            if let Ok(number) = number.parse() {
                filling.number(format!("{group}{name}"), number);
            }
        }
    }
    Some(())
}

/// `Udp6NoPorts   34`.
fn words(text: &str, filling: &mut Filling) -> Option<()> {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (name, number) = (words.next()?, words.next()?);
        if let Ok(number) = number.parse() {
            filling.number(name.to_owned(), number);
        }
    }
    Some(())
}

/// `TCP: inuse 1 orphan 0`.
fn groups(text: &str, filling: &mut Filling) -> Option<()> {
    for line in text.lines() {
        let (group, rest) = line.split_once(": ")?;
        let mut words = rest.split_ascii_whitespace();
        while let (Some(name), Some(number)) = (words.next(), words.next()) {
            filling.number(format!("{group} {name}"), number.parse().ok()?);
        }
    }
    Some(())
}

/// A line a CPU, hexadecimal, without names.
fn softnet(text: &str, filling: &mut Filling) -> Option<()> {
    let columns =
        [(0, "processed"), (1, "dropped"), (2, "time_squeeze"), (9, "received_rps"), (10, "flow_limit_count")];
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        for (at, name) in columns {
            if let Some(word) = words.get(at) {
                filling.number(name.to_owned(), u64::from_str_radix(word, 16).ok()?);
            }
        }
    }
    Some(())
}

/// Names, and below them a line a CPU, hexadecimal. `entries` is the same in each.
fn cpus(text: &str, filling: &mut Filling) -> Option<()> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    for (row, line) in lines.enumerate() {
        for (name, word) in names.iter().zip(line.split_ascii_whitespace()) {
            if row == 0 || *name != "entries" {
                filling.number((*name).to_owned(), u64::from_str_radix(word, 16).ok()?);
            }
        }
    }
    Some(())
}

/// `eth0: 1 2 ...` below two lines of heads: what is not nought.
fn interfaces(text: &str, filling: &mut Filling) -> Option<()> {
    const COLUMNS: [&str; 16] = [
        "rx_bytes",
        "rx_packets",
        "rx_errs",
        "rx_drop",
        "rx_fifo",
        "rx_frame",
        "rx_compressed",
        "rx_multicast",
        "tx_bytes",
        "tx_packets",
        "tx_errs",
        "tx_drop",
        "tx_fifo",
        "tx_colls",
        "tx_carrier",
        "tx_compressed",
    ];
    for line in text.lines().skip(2) {
        let (name, numbers) = line.rsplit_once(": ").or_else(|| line.split_once(':'))?;
        for (column, number) in COLUMNS.iter().zip(numbers.split_ascii_whitespace()) {
            let number: u64 = number.parse().ok()?;
            if number > 0 {
                filling.number(format!("{} {column}", name.trim()), number);
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(form: Form, text: &str) -> Vec<(String, u64)> {
        let mut filling = Filling::new("", "");
        form(text, &mut filling).expect("its form");
        filling.section.numbers.into_iter().collect()
    }

    #[test]
    fn counters_of_cpus_are_summed_up() {
        let text = "entries  clashres found\n00000010 00000001 0000000f\n00000010 00000002 00000001\n";
        let told = numbers(cpus, text);
        assert_eq!(told, [("clashres".to_owned(), 3), ("entries".to_owned(), 16), ("found".to_owned(), 16)]);
        assert_eq!(numbers(softnet, "0000000a 00000001\n00000005 00000000\n")[1], ("processed".to_owned(), 15));
    }

    #[test]
    fn interfaces_have_what_is_not_nought() {
        let text = "Inter-|\n face |\n  eth0: 100 2 0 3 0 0 0 0 0 0 0 0 0 0 0 0\n";
        let told = numbers(interfaces, text);
        assert_eq!(
            told.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["eth0 rx_bytes", "eth0 rx_drop", "eth0 rx_packets"]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,200}") {
            for (_, _, form) in FILES {
                let _ = form(&text, &mut Filling::new("", ""));
            }
        }
    }
}
