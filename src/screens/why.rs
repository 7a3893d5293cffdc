//! One pair that the user asks about: `:why SOURCE TARGET` narrows answers and connections to it.
//!
//! Owns how the two are written, what they are in addresses, and which answers and connections are about them. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use nodewatch_answers::Answer;
use nodewatch_protocol::Sums;

use super::{App, Layer, Screen, cursor::Cursor};
use crate::{
    model::{Place, Workloads},
    session::{
        Effect,
        node::watch::{NodeWatch, PairKey},
    },
};

/// Names that are told where one is unknown, and how much alike they have to be.
const NEAR: usize = 3;
const ALIKE: f64 = 0.8;

/// Places whose counts are told.
const PLACES: usize = 6;

/// Who asks, and who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    source: Side,
    target: Side,
}

/// One of both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Side {
    /// As it was typed.
    text: String,
    /// Its name, where it is one.
    name: Option<String>,
    /// Its addresses, each with the port that is meant; `None` is any.
    ends: Vec<(IpAddr, Option<u16>)>,
}

impl Side {
    fn takes(&self, (address, port): (IpAddr, u16)) -> bool {
        self.ends.iter().any(|(own, wanted)| *own == address && wanted.is_none_or(|wanted| wanted == port))
    }

    fn has(&self, address: IpAddr) -> bool {
        self.ends.iter().any(|(own, _)| *own == address)
    }
}

impl Why {
    /// `SOURCE to TARGET`.
    pub fn text(&self) -> String {
        format!("{} to {}", self.source.text, self.target.text)
    }

    /// An answer is about the pair where one of its connections is of it, or where it is about the target whoever asks.
    pub(super) fn is_about(&self, answer: &Answer) -> bool {
        let place = &answer.place;
        let named = self.target.name.as_ref().is_some_and(|name| {
            [&place.pod, &place.service, &place.node].into_iter().any(|known| known.as_ref() == Some(name))
        });
        let of_pair = |source, destination| self.source.takes(source) && self.target.takes(destination);
        let hurt = answer.connections();
        let hurt = hurt.iter().flat_map(|hurt| hurt.ends).any(|(source, destination)| of_pair(source, destination));
        hurt || named || place.target.is_some_and(|target| self.target.takes(target))
    }

    /// Whether a pair of ends is of it. From which port is asked is not known of pairs.
    pub(super) fn takes(&self, key: &PairKey) -> bool {
        self.source.has(key.source) && self.target.takes((key.destination, key.port))
    }
}

/// A name or an address without its port, and that.
fn without_port(text: &str) -> (&str, Option<u16>) {
    if text.parse::<IpAddr>().is_ok() {
        return (text, None);
    }
    let parts = text.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse::<u16>().ok()?)));
    parts.map_or((text, None), |(name, port)| (name.trim_start_matches('[').trim_end_matches(']'), Some(port)))
}

/// A name without its namespace.
fn own(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// That nothing is called so, and what is called nearly so.
fn unknown(text: &str, known: &BTreeSet<&str>) -> String {
    // Of names in one namespace all are alike at the front.
    let alike = |name: &str| {
        if name.contains(text) { 1.0 } else { strsim::jaro_winkler(own(text), own(name)) }
    };
    let mut near: Vec<(f64, &str)> = known.iter().map(|name| (alike(name), *name)).collect();
    near.retain(|(likeness, _)| *likeness >= ALIKE);
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let names: Vec<&str> = near.into_iter().take(NEAR).map(|(_, name)| name).collect();
    let hint = if names.is_empty() {
        "use an address, NAMESPACE/NAME of a pod or a service, or a node".to_owned()
    } else {
        format!("did you mean {}?", names.join(" or "))
    };
    format!("unknown name {text:?}: {hint}")
}

impl App {
    /// Narrows answers and connections to the pair that is typed, or ends that.
    pub(super) fn ask_why(&mut self, typed: &str) -> Result<Vec<Effect>, String> {
        let words: Vec<&str> = typed.split_whitespace().filter(|word| *word != "->").collect();
        match words.as_slice() {
            [] => self.end_why(),
            [source, target] => {
                let why = Why { source: self.side(source)?, target: self.side(target)? };
                self.answers.why = Some(why);
                self.answers.cursor = Cursor::default();
                if self.screen != Screen::Connections {
                    self.screen = Screen::Answers;
                }
                self.sift_connections();
            }
            _ => return Err("why SOURCE TARGET: two of them, each with :PORT where that is known".to_owned()),
        }
        Ok(Vec::new())
    }

    /// What each place has counted of the pair that is asked about since it was first seen there, a line each, those first
    /// that have seen most; nothing where none is asked about.
    pub fn why_counts(&self) -> Vec<String> {
        let Some(why) = &self.answers.why else { return Vec::new() };
        let mut counted: BTreeMap<(&str, &str), Sums> = BTreeMap::new();
        for (name, state) in &self.session.nodes {
            for (key, pair) in state.seen.watch.pairs().filter(|(key, _)| why.takes(key)) {
                *counted.entry((&key.interface, &name.0)).or_default() += pair.all;
            }
        }
        let mut counted: Vec<_> = counted.into_iter().collect();
        counted.sort_by_key(|(_, sums)| Reverse(sums.attempts));
        if counted.is_empty() {
            let full = |watch: &NodeWatch| {
                [watch.forgotten, watch.unlisted.pairs, watch.unlisted.no_room].iter().any(|count| *count > 0)
            };
            let known = if self.session.nodes.values().any(|state| full(&state.seen.watch)) {
                "is known: not all pairs had room"
            } else {
                "was seen where it is watched"
            };
            return vec![format!("no connection and no question to DNS of {} {known}", why.text())];
        }
        let more = counted.len().saturating_sub(PLACES);
        let line = |((interface, node), sums): &((&str, &str), Sums)| {
            let Sums { attempts, answered, failed, delayed, .. } = sums;
            format!(
                "{interface} of {node}: {attempts} attempts, {answered} answered, {failed} failed, {delayed} delayed"
            )
        };
        let lines = counted.iter().take(PLACES).map(line);
        lines.chain((more > 0).then(|| format!("and {more} more places"))).collect()
    }

    /// Answers and connections of all pairs again.
    pub(super) fn end_why(&mut self) {
        self.answers.why = None;
        self.sift_connections();
    }

    /// The pair is being typed: names are to be known.
    pub(super) fn types_why(&self) -> bool {
        matches!(self.top(), Some(Layer::Command(line)) if line.input.value().trim_start().starts_with("why "))
    }

    /// What can be named.
    pub(super) fn known_names(&self) -> BTreeSet<&str> {
        let nodes = self.session.nodes.keys().map(|name| name.0.as_str());
        let found = self.list.workloads.found.iter();
        let found = found.flat_map(|found| {
            let pods = found.pods.iter().map(|pod| pod.name.as_str());
            pods.chain(found.services.keys().map(String::as_str))
        });
        nodes.chain(found).collect()
    }

    fn side(&self, typed: &str) -> Result<Side, String> {
        let (name, port) = without_port(typed);
        let side = |name: Option<&str>, ends| Side { text: typed.to_owned(), name: name.map(str::to_owned), ends };
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(side(None, vec![(address, port)]));
        }
        let known = self.known_names();
        let exact = known.get(name).copied();
        // A name alone will do where only one is called so; of nodes the domain may be left out.
        let alone = || {
            let mut fitting = known.iter().filter(|known| {
                known.split_once('/').is_some_and(|(_, own)| own == name)
                    || known.split_once('.').is_some_and(|(host, _)| host == name)
            });
            fitting.next().copied().filter(|_| fitting.next().is_none())
        };
        if let Some(name) = exact.or_else(alone) {
            let ends = self.ends_of(name, port);
            if ends.is_empty() {
                return Err(format!("{name} has no address that is known"));
            }
            return Ok(side(Some(name), ends));
        }
        let in_cluster = self.session.terms.place != Place::Local;
        if in_cluster && self.list.workloads.found.is_none() {
            return Err(format!("pods and services are being looked up, so {name:?} is not known yet: try again"));
        }
        Err(unknown(name, &known))
    }

    /// Addresses of everything of that name.
    fn ends_of(&self, name: &str, port: Option<u16>) -> Vec<(IpAddr, Option<u16>)> {
        let nodes = self.session.nodes.values().filter(|state| state.node.name.0 == name);
        let mut ends: Vec<(IpAddr, Option<u16>)> =
            nodes.flat_map(|state| state.node.addresses.iter().map(move |address| (*address, port))).collect();
        let nothing = Workloads::default();
        let found = self.list.workloads.found.as_ref().unwrap_or(&nothing);
        let pods = found.pods.iter().filter(|pod| pod.name == name);
        ends.extend(pods.flat_map(|pod| pod.addresses.iter().map(move |address| (*address, port))));
        if let Some(service) = found.services.get(name) {
            ends.extend(service.addresses.iter().map(move |address| (*address, port)));
            // Behind it they have ports of their own.
            let backends = self.session.answers.backends(name);
            ends.extend(backends.into_iter().map(|(address, port)| (address, Some(port))));
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_the_end_of_an_address() {
        for (text, name, port) in [
            ("10.0.0.1", "10.0.0.1", None),
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("fd00::1", "fd00::1", None),
            ("[fd00::1]:443", "fd00::1", Some(443)),
            ("shop/api:8080", "shop/api", Some(8080)),
            ("shop/api", "shop/api", None),
            ("shop/api:http", "shop/api:http", None),
            ("node-1:99999", "node-1:99999", None),
        ] {
            assert_eq!(without_port(text), (name, port), "{text}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_near_ones() {
        let known = ["shop/payments", "shop/cart", "kube-system/coredns", "node-1"].into();
        assert_eq!(unknown("shop/paymets", &known), "unknown name \"shop/paymets\": did you mean shop/payments?");
        assert!(unknown("payment", &known).contains("shop/payments"));
        assert!(unknown("zzz", &known).contains("use an address"));
    }
}
