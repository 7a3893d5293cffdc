//! Capture filters: libpcap's compiler, and where in the text its objection lies.
//!
//! Owns the talk with libpcap, for the agent (which captures) and the TUI (which refuses a bad filter before anything
//! is created). The packets themselves never pass through it.
#![warn(missing_docs)]

pub use pcap::{BpfInstruction, BpfProgram};
use pcap::{Capture, Linktype};

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
}

fn place(filter: &str, position: usize) -> String {
    match filter.get(position..).map(str::trim) {
        Some(rest) if !rest.is_empty() => format!(" (at character {}: {rest:?})", position + 1),
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

/// Compiles a filter for one interface. A live handle is needed: only with one does libpcap write code that finds
/// VLAN tags where Linux puts them, beside the packet.
pub fn compile(interface: &str, filter: &str, snaplen: u32) -> Result<Compiled, FilterError> {
    let refused =
        |error: pcap::Error| FilterError::Interface { interface: interface.to_owned(), message: plain(&error) };
    let handle = Capture::from_device(interface)
        .map_err(refused)?
        .snaplen(snaplen as i32)
        .buffer_size(1024 * 1024)
        .open()
        .map_err(refused)?;
    let link = handle.get_datalink();
    let program = handle.compile(filter, true).map_err(|error| expression(filter, &error))?;
    Ok(Compiled { program, link_type: link.0, link_name: link.get_name().unwrap_or_else(|_| link.0.to_string()) })
}

/// Refuses a filter that no Ethernet interface takes, without any right.
pub fn check(filter: &str) -> Result<(), FilterError> {
    let dead = Capture::dead(Linktype::ETHERNET)
        .map_err(|error| FilterError::Interface { interface: "none".to_owned(), message: plain(&error) })?;
    dead.compile(filter, true).map(drop).map_err(|error| expression(filter, &error))
}

/// libpcap names no position; the longest beginning that compiles ends before it.
fn expression(filter: &str, error: &pcap::Error) -> FilterError {
    let mut ends = filter.match_indices(char::is_whitespace).map(|(at, _)| at);
    let position = match Capture::dead(Linktype::ETHERNET) {
        Ok(dead) => ends
            .rfind(|&end| !filter[..end].trim().is_empty() && dead.compile(&filter[..end], false).is_ok())
            .map_or(0, |end| end + filter[end..].len() - filter[end..].trim_start().len()),
        Err(_) => 0,
    };
    FilterError::Expression { filter: filter.to_owned(), message: plain(error), position }
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
        let error = check("tcp port 80 an udp").expect_err("does not compile");
        assert!(error.to_string().ends_with("(at character 13: \"an udp\")"), "{error}");
        let error = check("bogus").expect_err("does not compile");
        assert!(error.to_string().contains("(at character 1: \"bogus\")"), "{error}");
        let error = check("tcp and").expect_err("does not compile");
        assert!(error.to_string().contains("\"and\""), "{error}");
    }

    #[test]
    fn a_filter_with_a_zero_byte_is_refused() {
        assert!(check("tcp\0").is_err());
    }
}
