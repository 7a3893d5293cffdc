//! What is heard of the API server, piece by piece.
//!
//! Owns the form in which it is told and recorded, and what each piece changes.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{Journal, Pod, Policy, Source};

/// A piece of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// All that there is of a kind follows.
    Lists(Source),
    /// That was all: what was not among it is gone.
    Listed(Source),
    /// A kind is not heard any more.
    Deaf(Source),
    /// A pod is like this.
    Pod(Pod),
    /// The pod with this UID is gone.
    PodGone(String),
    /// A slice of a service's endpoints is like this.
    Slice {
        /// `NAMESPACE/NAME`.
        name: String,
        /// `NAMESPACE/NAME` of the service.
        service: String,
        /// Address, port, and whether it takes traffic.
        backends: Vec<(IpAddr, u16, bool)>,
    },
    /// That slice is gone.
    SliceGone(String),
    /// A service has these cluster addresses and ports; none where it is gone.
    Service {
        /// `NAMESPACE/NAME`.
        name: String,
        /// Its cluster addresses with each of its ports.
        addresses: Vec<(IpAddr, u16)>,
    },
    /// A policy is like this.
    Policy(Policy),
    /// That policy is gone.
    PolicyGone(String),
}

impl Journal {
    /// Takes in what was heard at that moment.
    pub fn take_in(&mut self, now: u64, news: News) {
        match news {
            News::Lists(source) => self.lists(source),
            News::Listed(source) => self.listed(now, source),
            News::Deaf(source) => self.is_deaf(source),
            News::Pod(pod) => self.pod(now, pod),
            News::PodGone(uid) => self.pod_gone(now, &uid),
            News::Slice { name, service, backends } => {
                let mut all = BTreeMap::new();
                for (address, port, ready) in backends {
                    // An address may stand there twice.
                    *all.entry((address, port)).or_insert(false) |= ready;
                }
                self.slice(now, &name, &service, all);
            }
            News::SliceGone(name) => self.slice_gone(now, &name),
            News::Service { name, addresses } => self.service(&name, &addresses),
            News::Policy(policy) => self.policy(policy),
            News::PolicyGone(name) => self.policy_gone(&name),
        }
    }
}
