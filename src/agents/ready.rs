//! What captures on this machine need, and whether it is there.
//!
//! Owns the checks and their fixes. Nothing is captured and nothing stays.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{local::find_agent, rings::Rings};
use crate::{
    base::{
        disk,
        text::{self, bytes, shell},
    },
    model::{Outcome, PreflightCheck, SessionId},
};

/// The capability's number, see capabilities(7).
const NET_RAW: u32 = 13;
/// With less than this free, a capture soon has nowhere to go.
const LITTLE: u64 = 1 << 30;

/// All checks, with the captures' folder as the environment gives it.
pub fn checks(rings: &Rings, session: &SessionId) -> Vec<PreflightCheck> {
    let agent = find_agent();
    let right = agent.as_ref().ok().map(|agent| right(agent, &held(), capability_of(agent).as_deref()));
    let agent = match &agent {
        Ok(path) => check("agent", Outcome::Passed, path.display().to_string(), ""),
        Err(error) => {
            let fix = "put nodewatch-agent into the folder of nodewatch-tui, or into one of PATH";
            check("agent", Outcome::Failed, text::chain(error), fix)
        }
    };
    let interfaces = interfaces(Path::new("/sys/class/net"));
    [Some(agent), right, Some(of_interfaces(&interfaces)), Some(folder(rings, session))].into_iter().flatten().collect()
}

fn check(what: &str, outcome: Outcome, detail: impl Into<String>, fix: impl Into<String>) -> PreflightCheck {
    PreflightCheck { check: what.to_owned(), outcome, detail: detail.into(), fix: fix.into() }
}

/// The capabilities that this process hands on to a program without some of its own.
fn held() -> String {
    fs::read_to_string("/proc/self/status").unwrap_or_default()
}

/// What the file gives to whoever starts it, see capabilities(7); `None` where it has none.
fn capability_of(program: &Path) -> Option<Vec<u8>> {
    let mut found = vec![0; 24];
    let length = rustix::fs::getxattr(program, "security.capability", &mut found[..]).ok()?;
    found.truncate(length);
    Some(found)
}

/// `NET_RAW`, without which a kernel shows nobody packets. Open ports need no right.
fn right(agent: &Path, status: &str, of_file: Option<&[u8]>) -> PreflightCheck {
    const WHAT: &str = "NET_RAW";
    let has = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> NET_RAW & 1 == 1)
    };
    let word = |at: usize| {
        let bytes = of_file?.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    // The lowest bit of the first word says that what is permitted is in force at once.
    let is_in_file = word(0).is_some_and(|magic| magic & 1 == 1) && word(4).is_some_and(|set| set >> NET_RAW & 1 == 1);
    let is_root = status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    if is_in_file {
        return check(WHAT, Outcome::Passed, format!("{} has it as a file capability", agent.display()), "");
    }
    if has("CapAmb:") || (is_root && has("CapEff:")) {
        return check(WHAT, Outcome::Passed, "this user has it", "");
    }
    let fix = format!("sudo setcap cap_net_raw=ep {}", shell(&agent.display().to_string()));
    check(WHAT, Outcome::Warning, "neither this user nor the agent's file has it: ports are shown, captures fail", fix)
}

/// An interface, and whether it is up.
type Interface = (String, bool);

fn interfaces(folder: &Path) -> Vec<Interface> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<Interface> = entries
        .map(|entry| {
            let state = fs::read_to_string(entry.path().join("operstate")).unwrap_or_default();
            // Those without a carrier of their own, as the loopback, say that they do not know.
            (entry.file_name().to_string_lossy().into_owned(), ["up", "unknown"].contains(&state.trim()))
        })
        .collect();
    found.sort();
    found
}

fn of_interfaces(found: &[Interface]) -> PreflightCheck {
    const WHAT: &str = "interfaces";
    let names = found.iter().map(|(name, up)| if *up { name.clone() } else { format!("{name} (down)") });
    let names = names.collect::<Vec<_>>().join(", ");
    let usable = found.iter().any(|(name, up)| *up && name != "lo");
    match (usable, names.is_empty()) {
        (true, _) => check(WHAT, Outcome::Passed, names, ""),
        (false, false) => {
            let fix = "bring one up, or capture the loopback with --interface lo";
            check(WHAT, Outcome::Warning, format!("none is up besides lo: {names}"), fix)
        }
        (false, true) => check(WHAT, Outcome::Unknown, "the system does not list them", ""),
    }
}

/// Where captures are until they are fetched: made for a moment, as a session would.
fn folder(rings: &Rings, session: &SessionId) -> PreflightCheck {
    const WHAT: &str = "room";
    let ring = match rings.create(session) {
        Ok(ring) => ring,
        Err(error) => {
            let fix = "set XDG_STATE_HOME to a folder that you can write to";
            return check(WHAT, Outcome::Failed, text::chain(&error), fix);
        }
    };
    let below: PathBuf = ring.path().ancestors().nth(2).map(Path::to_owned).unwrap_or_default();
    let Some(free) = disk::free(&ring.path()) else {
        return check(WHAT, Outcome::Unknown, format!("{}: the system does not say what is free", below.display()), "");
    };
    let detail = format!("{} free in {}", bytes(free), below.display());
    if free < LITTLE {
        let fix = "free some, set XDG_STATE_HOME to another disk, or limit captures with --max-bytes";
        return check(WHAT, Outcome::Warning, detail, fix);
    }
    check(WHAT, Outcome::Passed, detail, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_capture_is_known_from_the_user_and_the_file() {
        let agent = Path::new("/opt/a b/nodewatch-agent");
        let status = |uid: u32, effective: u64, ambient: u64| {
            format!("Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{effective:016x}\nCapAmb:\t{ambient:016x}\n")
        };
        let raw = 1 << NET_RAW;
        let file = [1u32 | 0x0200_0000, raw as u32, 0, 0, 0].map(u32::to_le_bytes).concat();
        let outcome = |status: &str, file: Option<&[u8]>| right(agent, status, file).outcome;
        assert_eq!(outcome(&status(1000, 0, 0), Some(&file)), Outcome::Passed);
        assert_eq!(outcome(&status(0, raw, 0), None), Outcome::Passed);
        assert_eq!(outcome(&status(1000, raw, raw), None), Outcome::Passed);
        // What a user has without handing it on, a root without it, and a file that has another one.
        let other = [1u32 | 0x0200_0000, 1, 0, 0, 0].map(u32::to_le_bytes).concat();
        for (status, file) in [
            (status(1000, raw, 0), None),
            (status(0, 0, 0), None),
            (status(1000, 0, 0), Some(&other[..])),
            (String::new(), Some(&file[..3])),
        ] {
            let check = right(agent, &status, file);
            assert_eq!(check.outcome, Outcome::Warning, "{status}");
            assert_eq!(check.fix, "sudo setcap cap_net_raw=ep '/opt/a b/nodewatch-agent'");
        }
    }

    #[test]
    fn a_machine_without_a_network_is_told() {
        let named = |names: &[(&str, bool)]| -> Vec<Interface> {
            names.iter().map(|(name, up)| ((*name).to_owned(), *up)).collect()
        };
        let found = of_interfaces(&named(&[("eth0", true), ("lo", true), ("wlan0", false)]));
        assert_eq!((found.outcome, found.detail.as_str()), (Outcome::Passed, "eth0, lo, wlan0 (down)"));
        assert_eq!(of_interfaces(&named(&[("eth0", false), ("lo", true)])).outcome, Outcome::Warning);
        assert_eq!(of_interfaces(&[]).outcome, Outcome::Unknown);
    }

    #[test]
    fn the_folder_of_captures_is_tried_and_nothing_stays() {
        let state = tempfile::tempdir().expect("a folder");
        let rings = Rings::in_folders([state.path().to_owned()]);
        let found = folder(&rings, &SessionId::new(7));
        assert!(found.detail.contains(" free in ") && found.detail.ends_with("/rings"), "{}", found.detail);
        assert_eq!(fs::read_dir(state.path().join("rings")).expect("the folder").count(), 0);
        let none = Rings::in_folders([PathBuf::from("/proc/none")]);
        assert_eq!(folder(&none, &SessionId::new(7)).outcome, Outcome::Failed);
    }
}
