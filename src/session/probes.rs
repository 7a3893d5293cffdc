//! Ports that are tried from another node, so that open means reachable.
//!
//! Owns which node tries and what came of it. Pure.

use std::net::{IpAddr, SocketAddr};

use nodewatch_protocol::{Port, PortProtocol, PortScope, Probe, ProbeOutcome, Probed, Request, UnixMillis};

use super::{Effect, Session, node::Agent};
use crate::model::{NodeName, Notice, PortKey};

/// So often a port is tried: what fails now and then is not seen by one try.
pub const TRIES: u16 = 10;

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// The node that tried.
    pub from: NodeName,
    /// When.
    pub at: UnixMillis,
    /// What came of it.
    pub probed: Probed,
}

impl Session {
    /// Tries a port of a node from another one.
    pub(crate) fn probe(&mut self, name: NodeName, port: Port) -> Vec<Effect> {
        let why_not = match (port.protocol, port.local.ip()) {
            (PortProtocol::Tcp | PortProtocol::Udp, IpAddr::V6(address)) if address.is_unicast_link_local() => {
                "link-local addresses are not reachable from other nodes"
            }
            (PortProtocol::Tcp | PortProtocol::Udp, _) => "",
            _ => "only TCP and UDP can be probed",
        };
        if !why_not.is_empty() {
            self.notify(Notice::warning(format!("{port} was not probed"), why_not, ""));
            return Vec::new();
        }
        let target = match self.nodes.get(&name).map(|state| address_of(&state.node.addresses, port)) {
            Some(Some(address)) => SocketAddr::new(address, port.local.port()),
            _ if port.scope() == PortScope::Loopback => {
                self.notify(Notice::warning(format!("{port} was not probed"), "only its own node can reach it", ""));
                return Vec::new();
            }
            _ => {
                self.notify(Notice::warning(format!("{name} was not probed"), "its address is unknown", ""));
                return Vec::new();
            }
        };
        let others = || self.nodes.values().filter(|state| state.agent == Agent::Live && state.node.name != name);
        // The next one in order, so that probes of several nodes do not all come from the first.
        let from = others().find(|state| state.node.name > name).or_else(|| others().next());
        let Some(from) = from.map(|state| state.node.name.clone()) else {
            let next_step = "deploy to a second node";
            self.notify(Notice::warning("nothing was probed", "a probe needs an agent on another node", next_step));
            return Vec::new();
        };
        let probe = Probe { protocol: port.protocol, to: target, tries: TRIES };
        self.notify(Notice::info(format!("trying {target} of {name} {TRIES} times from {from}")).as_answer());
        self.ports.probing.insert((from.clone(), probe), Some(name));
        vec![Effect::Ask(from, Request::Probe(probe))]
    }

    /// Somebody outside the screens has a node try that address, which may be another node's.
    pub(super) fn note_probe(&mut self, from: &NodeName, probe: Probe) {
        let about = self.nodes.values().find(|state| state.node.addresses.contains(&probe.to.ip()));
        let about = about.map(|state| state.node.name.clone());
        let key = (from.clone(), probe);
        self.ports.tried.remove(&key);
        self.ports.probing.insert(key, about);
    }

    /// What came of it; `None` where no answer to it came.
    pub(super) fn probed(&mut self, from: &NodeName, probe: Probe, probed: Option<&Probed>) {
        let key = (from.clone(), probe);
        let Some(about) = self.ports.probing.remove(&key) else { return };
        // An answer to something else is none.
        let Some(probed) = probed.filter(|probed| probed.probe == probe) else { return };
        let result = ProbeResult { from: from.clone(), at: self.now, probed: probed.clone() };
        let of = about.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        let text = format!("{}{of}: {}", probe.to, probe_text(probed));
        // It is told of the node that it is about, or else of the one that has tried.
        if let Some(state) = self.nodes.get_mut(about.as_ref().unwrap_or(from)) {
            state.note_act(self.now, format!("probe from {from}: {text}"));
        }
        let all = probed.outcome == ProbeOutcome::Reached;
        let headline = format!("{text}, from {from}");
        let notice = if all { Notice::info(headline) } else { Notice::warning(headline, "", "") };
        // The node's event is what is found later.
        self.notify(notice.as_answer());
        self.ports.tried.insert(key, result.clone());
        if let Some(name) = about {
            let port = PortKey { port: probe.to.port(), protocol: probe.protocol };
            self.ports.probes.insert((name, port), result);
        }
    }
}

/// What came of a probe, for people.
pub fn probe_text(probed: &Probed) -> String {
    let word = probed.outcome.word();
    if probed.probe.tries > 1 {
        let time = match probed.reached {
            0 => String::new(),
            _ => format!(", {:.1} ms", probed.micros as f64 / 1000.0),
        };
        let failures = probed.failures.iter().map(|(outcome, count)| match outcome {
            ProbeOutcome::Failed { reason } => format!("; {count} {}: {reason}", outcome.word()),
            ProbeOutcome::Unreachable { by: Some(by), .. } => format!("; {count} {}, says {by}", outcome.word()),
            _ => format!("; {count} {}", outcome.word()),
        });
        let failures: String = failures.collect();
        return format!("{} of {} reached{time}{failures}", probed.reached, probed.probe.tries);
    }
    match &probed.outcome {
        ProbeOutcome::Failed { reason } => format!("{word}: {reason}"),
        ProbeOutcome::Silent => word.to_owned(),
        ProbeOutcome::Unreachable { by: Some(by), reason } => {
            format!("{word}: reported by {by} ({reason})")
        }
        ProbeOutcome::Unreachable { by: None, reason } => {
            format!("{word}: reported by the probing node ({reason})")
        }
        _ => format!("{word} in {:.1} ms", probed.micros as f64 / 1000.0),
    }
}

/// The same where there is little room.
pub fn probe_in_short(probed: &Probed) -> String {
    if probed.probe.tries > 1 {
        return format!("{}/{}", probed.reached, probed.probe.tries);
    }
    probed.outcome.word().to_owned()
}

/// Where a node's port is reached from elsewhere.
fn address_of(addresses: &[IpAddr], port: Port) -> Option<IpAddr> {
    match port.scope() {
        PortScope::Loopback => None,
        PortScope::Node | PortScope::All if port.local.ip().is_unspecified() => {
            let same = addresses.iter().find(|address| address.is_ipv4() == port.local.is_ipv4());
            same.or(addresses.first().filter(|_| port.is_dual())).copied()
        }
        PortScope::Node | PortScope::All => Some(port.local.ip()),
    }
}
