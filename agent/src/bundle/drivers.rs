//! What drivers tell of their interfaces: which they are, and what they count.
//!
//! Owns how many interfaces are asked, and which first.

use std::{path::Path, time::Instant};

use nodewatch_protocol::BundleSection;

use super::{Filling, late, load};
use crate::signals::{SourceError, ioctl::Ethtool};

/// Of more interfaces, which are those of pods, the rest is counted.
const MOST: usize = 64;
/// Drivers of the ends that pods' interfaces have on the node.
const OF_PODS: [&str; 2] = ["veth", "netkit"];
/// Where the kernel says which interfaces have a device below them, those of the namespace that is asked about.
const SYS: &str = "/sys/class/net";

/// Drivers, and their counters that are not nought.
pub(super) fn read(proc: &Path, by: Instant) -> [BundleSection; 2] {
    let mut drivers = Filling::new("Drivers", "ethtool -i");
    let mut counters = Filling::new("Counters of drivers", "ethtool -S");
    let outcome = fill(proc, by, &mut drivers, &mut counters);
    [drivers.done(outcome), counters.section]
}

/// An interface, and what its driver tells of itself.
struct Driven {
    name: String,
    /// Name, version, firmware, bus; nothing of one without a driver, as loopback.
    driver: Option<[String; 4]>,
    /// It is a NIC, or one of a virtual machine.
    has_device: bool,
}

fn fill(proc: &Path, by: Instant, drivers: &mut Filling, counters: &mut Filling) -> Result<(), SourceError> {
    let listed = load(&proc.join("net/dev"))?;
    let mut ethtool = Ethtool::open().map_err(SourceError::Refused)?;
    let names = listed.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    let driven = names.map(|name| Driven {
        driver: ethtool.driver(&name).ok(),
        has_device: Path::new(SYS).join(&name).join("device").exists(),
        name,
    });
    let (first, left_out) = first(driven.collect());
    for section in [&mut drivers.section, &mut counters.section] {
        section.left_out += left_out;
    }
    for Driven { name, driver, .. } in first {
        if let Some(why) = late(by) {
            drivers.failed(why.clone());
            counters.failed(why);
            return Ok(());
        }
        if let Some([driver, version, firmware, bus]) = driver {
            let more = [("version", version), ("firmware", firmware), ("bus", bus)];
            let more = more.into_iter().filter(|(_, value)| !value.is_empty() && value != "N/A");
            let words = more.map(|(title, value)| format!("{title} {value}"));
            let words: Vec<String> = std::iter::once(format!("{name}: driver {driver}")).chain(words).collect();
            drivers.line(words.join(" "));
        }
        let Ok(count) = ethtool.count(&name) else { continue };
        let Ok(titles) = (if count == 0 { Ok(Vec::new()) } else { ethtool.names(&name, count) }) else { continue };
        if let Ok(values) = ethtool.values(&name, count) {
            for (title, value) in titles.iter().zip(values).filter(|(_, value)| **value > 0) {
                counters.number(format!("{name} {}", title.trim()), *value);
            }
        }
    }
    Ok(())
}

/// Those for which there is room, and how many there are besides. The kernel's order has a NIC that came late, as one for more
/// addresses of pods, behind all pods' interfaces: here NICs come first, and pods' interfaces last.
fn first(mut driven: Vec<Driven>) -> (Vec<Driven>, u64) {
    let is_of_pod = |one: &Driven| one.driver.as_ref().is_some_and(|[name, ..]| OF_PODS.contains(&name.as_str()));
    driven.sort_by_key(|one| (!one.has_device, is_of_pod(one)));
    let left_out = driven.len().saturating_sub(MOST);
    driven.truncate(MOST);
    (driven, left_out as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nic_behind_the_interfaces_of_pods_comes_before_them() {
        let driven = |name: String, driver: &str, has_device| {
            let driver = (!driver.is_empty()).then(|| [driver.to_owned(), String::new(), String::new(), String::new()]);
            Driven { name, driver, has_device }
        };
        let mut all = vec![driven("lo".into(), "", false)];
        all.extend((0..70).map(|at| driven(format!("eni{at}"), "veth", false)));
        all.extend([driven("vlan5".into(), "802.1Q VLAN Support", false), driven("eth1".into(), "ena", true)]);
        let (first, left_out) = first(all);
        let names: Vec<&str> = first.iter().map(|one| one.name.as_str()).collect();
        assert_eq!((&names[..4], names.len(), left_out), (&["eth1", "lo", "vlan5", "eni0"][..], MOST, 9));
    }
}
