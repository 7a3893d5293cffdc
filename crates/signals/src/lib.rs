//! Signals: numbers that a node's kernel keeps, each with its unit, source, meaning and what is normal.
//!
//! Owns the one [`SIGNALS`] table, by which agents read, screens judge and docs/signals.md is written, and how the
//! difference of two readings is made. Pure: no I/O, no clock.
#![warn(missing_docs)]

mod difference;
mod judge;
mod reference;
mod table;

pub use difference::{Difference, difference};
pub use judge::{Normal, Seen, WINDOW_SECONDS};
pub use reference::reference;
pub use table::SIGNALS;

/// A signal's place in [`SIGNALS`].
pub type SignalId = u16;

/// One number that the kernel keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Its stable name, such as `tcp.listen_overflows`.
    pub name: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// Where it is read.
    pub origin: Origin,
    /// The field there, as the kernel calls it.
    pub field: &'static str,
    /// Whether it only rises.
    pub kind: Kind,
    /// What of a node it is about.
    pub scope: Scope,
    /// When nothing is wrong.
    pub normal: Normal,
    /// What it means, in one sentence.
    pub meaning: &'static str,
    /// What is known of false alarms; empty where nothing is.
    pub note: &'static str,
}

/// How a signal moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It counts what happens: differences tell something.
    Counter,
    /// It says how much there is now.
    Gauge,
}

/// What of a node a signal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The node's network namespace.
    Node,
    /// The node, as the sum over its CPUs.
    Cpus,
    /// One network interface.
    Interface,
    /// One listening socket.
    Listener,
    /// Connections from one address to one address and port.
    Path,
}

impl Scope {
    /// As people read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Cpus => "node, summed over CPUs",
            Self::Interface => "interface",
            Self::Listener => "listening socket",
            Self::Path => "source, destination and port",
        }
    }

    /// Whether a node can have several of it.
    pub fn has_items(self) -> bool {
        !matches!(self, Self::Node | Self::Cpus)
    }
}

/// Where signals are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `/proc/net/netstat`.
    Netstat,
    /// `/proc/net/snmp`.
    Snmp,
    /// `/proc/net/snmp6`.
    Snmp6,
    /// `/proc/net/softnet_stat`.
    Softnet,
    /// `/proc/net/sockstat`.
    Sockstat,
    /// `/proc/net/sockstat6`.
    Sockstat6,
    /// `/proc/net/stat/nf_conntrack`.
    Conntrack,
    /// `/proc/net/stat/arp_cache`.
    ArpCache,
    /// `/proc/net/stat/ndisc_cache`.
    NdiscCache,
    /// A file below `/proc/sys/net`.
    Sysctl,
    /// `/proc/pressure`.
    Pressure,
    /// The ioctl `ETHTOOL_GSTATS`.
    Ethtool,
    /// Netlink, `RTM_GETLINK`.
    Link,
    /// Netlink, `RTM_GETQDISC`.
    Qdisc,
    /// Netlink, `SOCK_DIAG_BY_FAMILY`.
    SockDiag,
}

impl Origin {
    /// As people read it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Netstat => "/proc/net/netstat",
            Self::Snmp => "/proc/net/snmp",
            Self::Snmp6 => "/proc/net/snmp6",
            Self::Softnet => "/proc/net/softnet_stat",
            Self::Sockstat => "/proc/net/sockstat",
            Self::Sockstat6 => "/proc/net/sockstat6",
            Self::Conntrack => "/proc/net/stat/nf_conntrack",
            Self::ArpCache => "/proc/net/stat/arp_cache",
            Self::NdiscCache => "/proc/net/stat/ndisc_cache",
            Self::Sysctl => "/proc/sys/net",
            Self::Pressure => "/proc/pressure",
            Self::Ethtool => "ETHTOOL_GSTATS",
            Self::Link => "RTM_GETLINK",
            Self::Qdisc => "RTM_GETQDISC",
            Self::SockDiag => "sock_diag",
        }
    }
}

impl Signal {
    /// Whether it only rises.
    pub fn is_counter(&self) -> bool {
        self.kind == Kind::Counter
    }
}

/// The signal of that name, and its place in the table.
pub fn find(name: &str) -> Option<(SignalId, &'static Signal)> {
    let at = SIGNALS.iter().position(|signal| signal.name == name)?;
    Some((at as SignalId, &SIGNALS[at]))
}

/// The signals that are read there.
pub fn of(origin: Origin) -> impl Iterator<Item = (SignalId, &'static Signal)> {
    let all = SIGNALS.iter().enumerate();
    all.filter(move |(_, signal)| signal.origin == origin).map(|(at, signal)| (at as SignalId, signal))
}

/// The signal that a statistic of a driver belongs to, by its name there: the allowances of ENA by their own names,
/// what every driver has (drops, stopped queues, timeouts) by the words that drivers share.
pub fn of_driver(statistic: &str) -> Option<SignalId> {
    let name = statistic.to_ascii_lowercase();
    // Whoever runs XDP drops on purpose.
    if name.contains("xdp") {
        return None;
    }
    let allowance = of(Origin::Ethtool).find(|(_, signal)| signal.field == name).map(|(at, _)| at);
    let by_words = || {
        let generic = if ["tx_timeout", "wd_expired", "reset"].iter().any(|word| name.contains(word)) {
            "driver.resets"
        } else if name.contains("queue_stop") || name.contains("stop_queue") {
            "driver.queue_stops"
        } else if name.contains("drop") || name.contains("out_of_buffer") || name.contains("no_buffer") {
            "driver.drops"
        } else {
            return None;
        };
        find(generic).map(|(at, _)| at)
    };
    allowance.or_else(by_words)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_stable_words_and_each_is_there_once() {
        let mut seen = BTreeSet::new();
        for signal in SIGNALS {
            assert!(seen.insert(signal.name), "{} twice", signal.name);
            let word = |part: &str| {
                let mut bytes = part.bytes();
                bytes.next().is_some_and(|b| b.is_ascii_lowercase())
                    && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            };
            assert!(signal.name.split('.').count() == 2 && signal.name.split('.').all(word), "{}", signal.name);
            assert!(signal.meaning.ends_with('.') && signal.meaning.len() < 200, "{}", signal.name);
            assert!(signal.note.is_empty() || signal.note.ends_with('.'), "{}", signal.name);
            assert!(!signal.unit.is_empty() && !signal.field.is_empty(), "{}", signal.name);
        }
        assert!(SIGNALS.len() < usize::from(SignalId::MAX));
    }

    #[test]
    fn no_field_of_a_source_is_read_twice() {
        let fields: BTreeSet<_> = SIGNALS.iter().map(|signal| (signal.origin, signal.field)).collect();
        assert_eq!(fields.len(), SIGNALS.len());
    }

    #[test]
    fn what_is_judged_against_another_signal_finds_it_and_fits_its_kind() {
        for signal in SIGNALS {
            let fits = match signal.normal {
                Normal::Informative => true,
                Normal::NeverRises | Normal::AtMost(_) | Normal::ShareOf { .. } => signal.is_counter(),
                Normal::Below(_) | Normal::BelowPercentOf { .. } | Normal::AboveShareOfMost(_) => !signal.is_counter(),
            };
            assert!(fits, "{}", signal.name);
            if let Normal::BelowPercentOf { of, .. } | Normal::ShareOf { of, .. } = signal.normal {
                let (_, other) = find(of).unwrap_or_else(|| panic!("{} names {of}", signal.name));
                assert_eq!(other.kind, signal.kind, "{}", signal.name);
                assert!(!other.scope.has_items(), "{of} is one number a node");
            }
        }
    }

    #[test]
    fn statistics_of_drivers_find_their_signal() {
        let named = |statistic: &str| of_driver(statistic).map(|at| SIGNALS[usize::from(at)].name);
        assert_eq!(named("pps_allowance_exceeded"), Some("ena.pps_allowance_exceeded"));
        assert_eq!(named("conntrack_allowance_available"), Some("ena.conntrack_allowance_available"));
        assert_eq!(named("queue_3_tx_queue_stop"), Some("driver.queue_stops"));
        assert_eq!(named("tx_queue_0_tx_timeouts"), Some("driver.resets"));
        assert_eq!(named("rx_queue_0_drops"), Some("driver.drops"));
        assert_eq!(named("rx_queue_0_xdp_drops"), None);
        assert_eq!(named("queue_0_tx_bytes"), None);
    }
}
