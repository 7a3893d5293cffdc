//! Capture filters: libpcap's compiler, and where in the text its objection lies.
//!
//! Owns the talk with libpcap, for the agent (which captures) and the TUI (which refuses a bad filter before anything
//! is created). libpcap never asks DNS here: names of hosts are found beforehand, and refused on a node or looked up on
//! the laptop. The packets themselves never pass through it.
#![warn(missing_docs)]

mod hosts;
mod names;

pub use hosts::{LookUp, SystemHosts, resolve};
pub use names::{Family, HostName, host_names};
use pcap::{Activated, Capture, Dead, Linktype};
pub use pcap::{BpfInstruction, BpfProgram};

/// A filter or an interface that libpcap does not take.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The interface could not be opened for compiling.
    #[error("cannot open interface {interface:?}: {message}")]
    Interface {
        /// Its name.
        interface: String,
        /// libpcap's reason.
        message: String,
    },
    /// The filter does not compile.
    #[error("filter {filter:?} does not compile: {message}{}", place(.filter, *.position))]
    Expression {
        /// The whole filter.
        filter: String,
        /// libpcap's objection.
        message: String,
        /// Byte at which the part begins that no longer compiles.
        position: usize,
    },
    /// The filter has a host's name in it, where nobody can look it up.
    #[error("filter {filter:?} names the host {name:?}, but nodes do not resolve names{}", place(.filter, *.position))]
    HostName {
        /// The whole filter.
        filter: String,
        /// The name.
        name: String,
        /// Byte at which it begins.
        position: usize,
    },
    /// A host's name could not be looked up.
    #[error("filter {filter:?} names the host {name:?}, which {reason}{}", place(.filter, *.position))]
    Unresolved {
        /// The whole filter.
        filter: String,
        /// The name.
        name: String,
        /// Why not, as the end of a sentence.
        reason: String,
        /// Byte at which it begins.
        position: usize,
    },
}

impl FilterError {
    /// What to do about it, where it is written.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::HostName { .. } | Self::Unresolved { .. } => "use the host's addresses, or see man pcap-filter",
            _ => "use tcpdump syntax, see man pcap-filter",
        }
    }
}

fn place(filter: &str, position: usize) -> String {
    const SHOWN: usize = 60;
    match filter.get(position..).map(str::trim) {
        Some(rest) if !rest.is_empty() => {
            let end = rest.char_indices().nth(SHOWN).map_or(rest.len(), |(at, _)| at);
            let more = if end < rest.len() { "…" } else { "" };
            format!(" (at character {}: {:?}{more})", filter[..position].chars().count() + 1, &rest[..end])
        }
        _ => " (at its end)".to_owned(),
    }
}

/// A filter ready for one interface's socket.
pub struct Compiled {
    /// For the kernel.
    pub program: BpfProgram,
    /// libpcap's number of the interface's link type.
    pub link_type: i32,
    /// libpcap's name of it.
    pub link_name: String,
}

impl Compiled {
    /// libpcap reads such an interface without its link layer's header and puts a LINUX_SLL header in its place.
    pub fn is_cooked(&self) -> bool {
        // LINUX_SLL, and what looks like it: IrDA, LAPD, netlink.
        matches!(self.link_type, 113 | 144 | 177 | 253)
    }
}

/// The optimiser's time grows with the square of the program, and above this no program that it makes fits the kernel.
const OPTIMISED: usize = 16_384;

/// Compiles a filter for one interface. A live handle is needed: only with one does libpcap write code that finds
/// VLAN tags where Linux puts them, beside the packet.
pub fn compile(interface: &str, filter: &str, snaplen: u32) -> Result<Compiled, FilterError> {
    no_names(filter)?;
    let refused =
        |error: pcap::Error| FilterError::Interface { interface: interface.to_owned(), message: plain(&error) };
    let handle = Capture::from_device(interface)
        .map_err(refused)?
        .snaplen(snaplen as i32)
        // Nothing is read from it: the least that libpcap makes do with.
        .buffer_size(2 * 1024)
        .open()
        .map_err(refused)?;
    let link = handle.get_datalink();
    let program = best(&handle, filter).map_err(|error| expression(filter, link, &error))?;
    Ok(Compiled { program, link_type: link.0, link_name: link.get_name().unwrap_or_else(|_| link.0.to_string()) })
}

/// The optimised program, or, of a filter that is too long for that, the plain one.
fn best<T: Activated>(handle: &Capture<T>, filter: &str) -> Result<BpfProgram, pcap::Error> {
    // A short text makes a short program.
    if filter.len() > 4096 {
        let plain = handle.compile(filter, false)?;
        if plain.get_instructions().len() > OPTIMISED {
            return Ok(plain);
        }
    }
    handle.compile(filter, true)
}

/// Refuses a filter that no Ethernet interface takes, without any right, and one with names of hosts in it.
pub fn check(filter: &str) -> Result<(), FilterError> {
    no_names(filter)?;
    let dead = Capture::dead(Linktype::ETHERNET)
        .map_err(|error| FilterError::Interface { interface: "none".to_owned(), message: plain(&error) })?;
    // The optimiser finds what can match no packet, and takes long with a long filter: the agent will tell.
    dead.compile(filter, filter.len() <= 4096).map(drop).map_err(|error| expression(filter, Linktype::ETHERNET, &error))
}

/// Names of hosts are an error, but what does not compile whatever they stand for is the first to tell.
fn no_names(filter: &str) -> Result<(), FilterError> {
    let Some(HostName { name, position, gateway, .. }) = host_names(filter).into_iter().next() else { return Ok(()) };
    // A gateway can only be named.
    if !gateway {
        syntax(filter)?;
    }
    Err(FilterError::HostName { filter: filter.to_owned(), name: name.to_owned(), position })
}

/// The filter would compile if its names were addresses.
pub(crate) fn syntax(filter: &str) -> Result<(), FilterError> {
    match Capture::dead(Linktype::ETHERNET) {
        Ok(dead) => dead
            .compile(&without_names(filter), false)
            .map(drop)
            .map_err(|error| expression(filter, Linktype::ETHERNET, &error)),
        Err(_) => Ok(()),
    }
}

/// An address in the place of each host's name.
fn without_names(filter: &str) -> String {
    names::replace(filter, |name| if name.family == Family::Six { "::1" } else { "127.0.0.1" }.to_owned())
}

/// libpcap names no position; the longest beginning that compiles ends before it. It is found by halving, so that a
/// long filter is compiled a few times only.
fn expression(filter: &str, link: Linktype, error: &pcap::Error) -> FilterError {
    FilterError::Expression { filter: filter.to_owned(), message: plain(error), position: objection(filter, link) }
}

fn objection(filter: &str, link: Linktype) -> usize {
    /// So many words may be needed before a beginning is a whole again.
    const INCOMPLETE: usize = 4;
    let Ok(dead) = Capture::dead(link) else { return 0 };
    let starts: Vec<usize> = words(filter).collect();
    // Where the first so many words end.
    let end = |words: usize| starts.get(words).copied().unwrap_or(filter.len());
    let compiles = |words: usize| words > 0 && begins_well(&dead, filter[..end(words)].trim_end());
    let last_before =
        |words: usize| (0..INCOMPLETE).filter_map(|back| words.checked_sub(back)).find(|&words| compiles(words));
    let (mut good, mut bad) = (0, starts.len() + 1);
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        if last_before(middle).is_some() { good = middle } else { bad = middle }
    }
    let position = last_before(good).map_or(0, end);
    // An unknown word is taken for a host's name, and it is the one to look at when what follows does not fit.
    let before = filter[..position].trim_end();
    let unknown = host_names(filter).into_iter().find(|name| name.position + name.name.len() == before.len());
    unknown.map_or(position, |name| name.position)
}

/// Where words begin.
fn words(filter: &str) -> impl Iterator<Item = usize> + '_ {
    let mut before = true;
    filter.char_indices().filter_map(move |(at, character)| {
        let begins = before && !character.is_whitespace();
        before = character.is_whitespace();
        begins.then_some(at)
    })
}

/// That much of a filter compiles, with the parentheses closed that it leaves open.
fn begins_well(dead: &Capture<Dead>, part: &str) -> bool {
    let open = part.matches('(').count().saturating_sub(part.matches(')').count());
    dead.compile(&format!("{}{}", without_names(part), ")".repeat(open)), false).is_ok()
}

/// libpcap's own words, without the crate's prefix.
fn plain(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(message) => message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_filter_passes() {
        check("tcp port 443 and host 10.0.0.1").expect("compiles");
        check("").expect("everything");
    }

    #[test]
    fn the_error_names_the_place() {
        for (filter, place) in [
            ("tcp port 80 an udp", "(at character 13: \"an udp\")"),
            ("tcp prt 80", "(at character 5: \"prt 80\")"),
            ("tcp and", "(at character 5: \"and\")"),
            ("(tcp port 80 or udp port) and host 10.0.0.1", "(at character 21: \"port) and host 10.0.0.1\")"),
            ("host é", "(at character 1: \"host é\")"),
        ] {
            let error = check(filter).expect_err("does not compile");
            assert!(matches!(error, FilterError::Expression { .. }), "{error:?}");
            assert!(error.to_string().ends_with(place), "{error}");
        }
    }

    #[test]
    fn the_place_in_a_long_filter_is_found_too() {
        let hosts: Vec<String> = (0..120).map(|n| format!("host 10.0.0.{n}")).collect();
        let filter = format!("{} and prot 80 or {}", hosts[..60].join(" or "), hosts[60..].join(" or "));
        let error = check(&filter).expect_err("does not compile").to_string();
        assert!(error.contains("\"and prot 80 or host") || error.contains("\"prot 80 or host"), "{error}");
        assert!(error.contains('…'), "the rest of it is left out: {error}");
    }

    #[test]
    fn a_filter_with_a_zero_byte_is_refused() {
        assert!(check("tcp\0").is_err());
    }

    #[test]
    fn names_of_hosts_are_refused_and_no_name_server_is_asked() {
        let error = check("tcp port 80 and host db.example.com").expect_err("a name");
        let FilterError::HostName { name, position, .. } = &error else { panic!("{error:?}") };
        assert_eq!((name.as_str(), *position), ("db.example.com", 21));
        assert!(
            error.to_string().contains("nodes do not resolve names (at character 22: \"db.example.com\")"),
            "{error}"
        );
        assert!(matches!(compile("lo", "host a.example", 100), Err(FilterError::HostName { .. })));
    }
}
