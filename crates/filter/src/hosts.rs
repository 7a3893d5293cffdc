//! Addresses in the place of host names.
//!
//! Owns looking names up, with a time-out. For the laptop, where a person sees what became of it; never for a node.

use std::{
    net::{IpAddr, ToSocketAddrs},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{
    FilterError,
    names::{self, Family, HostName},
};

/// A way to look a name up.
pub trait LookUp {
    /// Its addresses, or why there are none, as the end of a sentence that begins with the name.
    fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String>;
}

/// This machine's own way: `/etc/hosts`, DNS, whatever it is set up for.
#[derive(Debug, Clone, Copy)]
pub struct SystemHosts {
    /// So long is waited for each name.
    pub within: Duration,
}

impl LookUp for SystemHosts {
    fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let (sender, answer) = mpsc::channel();
        let asked = (name.to_owned(), 0);
        // A look-up cannot be given up; its thread is left behind.
        thread::spawn(move || {
            let found = asked.to_socket_addrs().map(|all| all.map(|one| one.ip()).collect::<Vec<_>>());
            // Nobody may be waiting any more.
            let _ = sender.send(found);
        });
        match answer.recv_timeout(self.within) {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(format!("cannot be looked up: {error}")),
            Err(_) => Err(format!("was not found within {} s", self.within.as_secs())),
        }
    }
}

/// The filter with the addresses of every host that it names in the place of the name. One that names none is
/// unchanged, and nothing is looked up for one that would not compile.
pub fn resolve(filter: &str, hosts: &impl LookUp) -> Result<String, FilterError> {
    let names = names::host_names(filter);
    if names.is_empty() {
        return Ok(filter.to_owned());
    }
    if let Some(one) = names.iter().find(|one| one.gateway) {
        let reason = "is used as a gateway: use `ether host` with its hardware address instead".to_owned();
        let (filter, name, position) = (filter.to_owned(), one.name.to_owned(), one.position);
        return Err(FilterError::Unresolved { filter, name, reason, position });
    }
    super::syntax(filter)?;
    let mut failed = None;
    let mut known: Vec<(String, Vec<IpAddr>)> = Vec::new();
    let resolved = names::replace(filter, |one| {
        if failed.is_some() {
            return one.name.to_owned();
        }
        match addresses(one, hosts, &mut known) {
            Ok(addresses) => written(&addresses),
            Err(reason) => {
                let (filter, name, position) = (filter.to_owned(), one.name.to_owned(), one.position);
                failed = Some(FilterError::Unresolved { filter, name, reason, position });
                one.name.to_owned()
            }
        }
    });
    failed.map_or(Ok(resolved), Err)
}

/// Each name is looked up once, however often it is there.
fn addresses(
    one: &HostName<'_>,
    hosts: &impl LookUp,
    known: &mut Vec<(String, Vec<IpAddr>)>,
) -> Result<Vec<IpAddr>, String> {
    let before = known.iter().find(|(name, _)| name == one.name).map(|(_, all)| all.clone());
    let all = if let Some(all) = before {
        all
    } else {
        let mut all = hosts.addresses(one.name)?;
        all.sort();
        all.dedup();
        known.push((one.name.to_owned(), all.clone()));
        all
    };
    let fitting: Vec<IpAddr> = all.into_iter().filter(|address| one.family.takes(address)).collect();
    match (fitting.is_empty(), one.family) {
        (false, _) => Ok(fitting),
        (true, Family::Any) => Err("has no address".to_owned()),
        (true, Family::Four) => Err("has no IPv4 address".to_owned()),
        (true, Family::Six) => Err("has no IPv6 address".to_owned()),
    }
}

/// As a filter has several of something.
fn written(addresses: &[IpAddr]) -> String {
    let all: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    match &all[..] {
        [one] => one.clone(),
        all => format!("({})", all.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Knows some names, and which were asked for.
    #[derive(Default)]
    struct Hosts(RefCell<Vec<String>>);

    impl LookUp for Hosts {
        fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
            self.0.borrow_mut().push(name.to_owned());
            let texts: &[&str] = match name {
                "one.example" => &["10.0.0.1"],
                "both.example" => &["fd00::1", "10.0.0.2", "10.0.0.2"],
                _ => return Err("cannot be looked up: no such name".to_owned()),
            };
            Ok(texts.iter().map(|text| text.parse().expect("an address")).collect())
        }
    }

    #[test]
    fn addresses_stand_in_the_place_of_names() {
        for (filter, expected) in [
            ("tcp port 80 and host one.example", "tcp port 80 and host 10.0.0.1"),
            ("not host both.example", "not host (10.0.0.2 or fd00::1)"),
            ("src both.example and port 53", "src (10.0.0.2 or fd00::1) and port 53"),
            ("ip host both.example or ip6 host both.example", "ip host 10.0.0.2 or ip6 host fd00::1"),
            ("host one.example or both.example", "host 10.0.0.1 or (10.0.0.2 or fd00::1)"),
            ("host 10.9.9.9", "host 10.9.9.9"),
        ] {
            let resolved = resolve(filter, &Hosts::default()).expect("known");
            assert_eq!(resolved, expected);
            crate::check(&resolved).expect("compiles");
        }
    }

    #[test]
    fn a_name_that_is_not_known_is_named_with_its_place() {
        let error = resolve("port 80 and host nowhere.example", &Hosts::default()).expect_err("unknown").to_string();
        assert!(error.contains("names the host \"nowhere.example\", which cannot be looked up"), "{error}");
        assert!(error.contains("(at character 18"), "{error}");
        let error = resolve("ip6 host one.example", &Hosts::default()).expect_err("no address").to_string();
        assert!(error.contains("has no IPv6 address"), "{error}");
        let error = resolve("gateway one.example", &Hosts::default()).expect_err("a gateway").to_string();
        assert!(error.contains("`ether host`"), "{error}");
    }

    #[test]
    fn nothing_is_looked_up_for_a_filter_that_does_not_compile_and_nothing_twice() {
        let hosts = Hosts::default();
        resolve("host one.example and prt 80", &hosts).expect_err("does not compile");
        assert_eq!(hosts.0.borrow().len(), 0);
        resolve("host one.example or (dst one.example and port 7)", &hosts).expect("known");
        assert_eq!(hosts.0.borrow().len(), 1);
    }

    #[test]
    fn this_machine_knows_itself() {
        let found = SystemHosts { within: Duration::from_secs(20) }.addresses("localhost").expect("known");
        assert!(found.iter().any(IpAddr::is_loopback), "{found:?}");
    }
}
