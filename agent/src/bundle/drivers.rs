//! What drivers tell of their interfaces: which they are, and what they count.
//!
//! Owns how many interfaces are asked.

use std::{path::Path, time::Instant};

use nodewatch_protocol::BundleSection;

use super::{Filling, late, load};
use crate::signals::{SourceError, ioctl::Ethtool};

/// Of more interfaces, which are those of pods, the rest is counted.
const MOST: usize = 64;

/// Drivers, and their counters that are not nought.
pub(super) fn read(proc: &Path, by: Instant) -> [BundleSection; 2] {
    let mut drivers = Filling::new("Drivers", "ethtool -i");
    let mut counters = Filling::new("Counters of drivers", "ethtool -S");
    let outcome = fill(proc, by, &mut drivers, &mut counters);
    [drivers.done(outcome), counters.section]
}

fn fill(proc: &Path, by: Instant, drivers: &mut Filling, counters: &mut Filling) -> Result<(), SourceError> {
    let listed = load(&proc.join("net/dev"))?;
    let names: Vec<&str> = listed.lines().skip(2).filter_map(|line| Some(line.split_once(": ")?.0.trim())).collect();
    let mut ethtool = Ethtool::open().map_err(SourceError::Refused)?;
    for (at, name) in names.iter().enumerate() {
        if let Some(why) = late(by) {
            drivers.failed(why.clone());
            counters.failed(why);
            return Ok(());
        }
        if at == MOST {
            drivers.section.left_out += (names.len() - at) as u64;
            return Ok(());
        }
        // One without a driver, as loopback, has nothing to tell.
        if let Ok([driver, version, firmware, bus]) = ethtool.driver(name) {
            let more = [("version", version), ("firmware", firmware), ("bus", bus)];
            let more = more.into_iter().filter(|(_, value)| !value.is_empty() && value != "N/A");
            let words = more.map(|(title, value)| format!("{title} {value}"));
            let words: Vec<String> = std::iter::once(format!("{name}: driver {driver}")).chain(words).collect();
            drivers.line(words.join(" "));
        }
        let Ok(count) = ethtool.count(name) else { continue };
        let Ok(titles) = (if count == 0 { Ok(Vec::new()) } else { ethtool.names(name, count) }) else { continue };
        if let Ok(values) = ethtool.values(name, count) {
            for (title, value) in titles.iter().zip(values).filter(|(_, value)| **value > 0) {
                counters.number(format!("{name} {}", title.trim()), *value);
            }
        }
    }
    Ok(())
}
