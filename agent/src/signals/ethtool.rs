//! What drivers count of their interfaces, such as the allowances of an EC2 instance.
//!
//! Owns which statistics of a driver are read. Those of an interface are looked up once by name, and again whenever
//! their number has changed, as with its queues.

use std::{
    hash::{Hash, Hasher},
    io,
    rc::Rc,
};

use nodewatch_signals::{Origin, SignalId, of_driver};
use rustc_hash::{FxHashMap, FxHasher};
use rustix::io::Errno;

use super::{Interfaces, Source, SourceError, Values, ioctl::Ethtool};

const NO_STATISTICS: &str = "its driver keeps no statistics";
/// So many interfaces without statistics are named.
const NAMED: usize = 4;

/// What is read of one interface.
#[derive(Default)]
struct Driver {
    name: Rc<str>,
    /// Statistics that it has.
    count: usize,
    /// Those that are read: where, which signal, and which part of it.
    wanted: Vec<(usize, SignalId, u64)>,
    /// Why there are none.
    none: Option<String>,
    seen: bool,
}

/// Every interface's driver.
pub(super) struct Drivers {
    interfaces: Interfaces,
    ethtool: Option<Ethtool>,
    known: FxHashMap<u32, Driver>,
}

impl Drivers {
    pub(super) fn new(interfaces: Interfaces) -> Self {
        Self { interfaces, ethtool: None, known: FxHashMap::default() }
    }
}

impl Source for Drivers {
    fn origin(&self) -> Origin {
        Origin::Ethtool
    }

    fn read(&mut self, values: &mut Values) -> Result<(), SourceError> {
        let ethtool = match &mut self.ethtool {
            Some(ethtool) => ethtool,
            none => none.insert(Ethtool::open().map_err(SourceError::Refused)?),
        };
        for (index, name) in self.interfaces.borrow().iter() {
            let driver = self.known.entry(*index).or_default();
            driver.seen = true;
            if driver.name != *name {
                *driver = Driver::look(ethtool, *index, name);
            }
            if !driver.wanted.is_empty() && driver.read(ethtool, values).is_err() {
                // It has gone, or has other statistics now.
                *driver = Driver::look(ethtool, *index, name);
                let again = driver.read(ethtool, values);
                driver.none = again.err().filter(|error| !is_gone(error)).map(|error| error.to_string());
            }
        }
        self.known.retain(|_, driver| std::mem::take(&mut driver.seen));
        say_missing(self.known.values(), values);
        Ok(())
    }
}

impl Driver {
    fn look(ethtool: &mut Ethtool, index: u32, name: &Rc<str>) -> Self {
        let mut driver = Self { name: Rc::clone(name), seen: true, ..Self::default() };
        let looked = ethtool.count(name).and_then(|count| {
            let names = if count == 0 { Vec::new() } else { ethtool.names(name, count)? };
            Ok((count, names))
        });
        match looked {
            Ok((0, _)) => driver.none = Some(NO_STATISTICS.to_owned()),
            Ok((count, names)) => {
                driver.count = count;
                let wanted = names.iter().enumerate();
                driver.wanted =
                    wanted.filter_map(|(at, name)| Some((at, of_driver(name)?, part(index, name)))).collect();
            }
            Err(error) if is_unsupported(&error) => driver.none = Some(NO_STATISTICS.to_owned()),
            Err(error) if is_gone(&error) => {}
            Err(error) => driver.none = Some(error.to_string()),
        }
        driver
    }

    fn read(&self, ethtool: &mut Ethtool, values: &mut Values) -> io::Result<()> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        if ethtool.count(&self.name)? != self.count {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let told = ethtool.values(&self.name, self.count)?;
        for (at, signal, part) in &self.wanted {
            if let Some(value) = told.get(*at) {
                values.add_item(*signal, &self.name, *part, *value);
            }
        }
        Ok(())
    }
}

/// A statistic keeps its part when others come before it.
fn part(index: u32, name: &str) -> u64 {
    let mut hasher = FxHasher::default();
    (index, name).hash(&mut hasher);
    hasher.finish()
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::OPNOTSUPP | Errno::INVAL))
}

fn is_gone(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NODEV)
}

/// Interfaces whose driver says nothing, in one line a reason.
fn say_missing<'a>(drivers: impl Iterator<Item = &'a Driver>, values: &mut Values) {
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for driver in drivers {
        let Some(reason) = driver.none.as_deref() else { continue };
        match by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(&driver.name),
            None => by_reason.push((reason, vec![&driver.name])),
        }
    }
    for (reason, mut names) in by_reason {
        names.sort_unstable();
        let more = names.len().saturating_sub(NAMED);
        names.truncate(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        values.miss(format!("{} of {}{more}", Origin::Ethtool.text(), names.join(", ")), reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_without_statistics_are_said_in_one_line_a_reason() {
        let driver = |name: &str, none: Option<&str>| Driver {
            name: Rc::from(name),
            none: none.map(str::to_owned),
            ..Driver::default()
        };
        let mut drivers: Vec<Driver> = (0..7).map(|at| driver(&format!("cali{at}"), Some("none"))).collect();
        drivers.extend([driver("eth0", None), driver("lo", Some("other"))]);
        let mut values = Values::default();
        say_missing(drivers.iter(), &mut values);
        let said = |source: &str, reason: &str| (source.to_owned(), reason.to_owned());
        let more = said("ETHTOOL_GSTATS of cali0, cali1, cali2, cali3 and 3 more", "none");
        assert_eq!(values.missing, [more, said("ETHTOOL_GSTATS of lo", "other")]);
    }

    #[test]
    fn a_statistic_keeps_its_part_and_no_two_share_one() {
        assert_eq!(part(3, "queue_0_rx_drops"), part(3, "queue_0_rx_drops"));
        assert_ne!(part(3, "queue_0_rx_drops"), part(4, "queue_0_rx_drops"));
        assert_ne!(part(3, "queue_0_rx_drops"), part(3, "queue_1_rx_drops"));
    }
}
