//! What targets are now: the pods that they mean, where these run, and what cannot be captured of them.
//!
//! Owns which lists are asked for and how often. They are listed again and again, of one namespace wherever one is named:
//! that needs no right beyond list, and what is read of each object is small.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use futures::stream::BoxStream;
use kube::{Client, Error};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use super::{
    error::{Attempt, notice},
    fields::{Endpoint, Endpoints, Pod, Slice},
    lists::{Selection, pages},
    metadata::Metadata,
};
use crate::{
    agents::site::produce,
    base::text,
    model::{Aimed, AimedPod, Failure, Missing, NodeName, Notice, ObjectName, Target},
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// What has changed is looked at again after this before it is told, so that a rollout is one change.
const SETTLES: Duration = Duration::from_secs(2);
/// After failures looks are this far apart at the most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A look takes no longer.
const WITHIN: Duration = Duration::from_secs(25);
/// Pods of one target that are told of.
const MOST_PODS: usize = 10_000;
/// Reasons that are told one by one.
const MOST_GAPS: usize = 20;
/// Names that are looked through for one that is like an unknown one, and that are told.
const MOST_NAMES: usize = 5_000;
const NEAR: usize = 3;

#[derive(Deserialize)]
struct Named {
    metadata: Metadata,
}

/// What these targets are, and every change of that, for good.
pub(super) fn aim(client: Client, targets: Vec<Target>) -> BoxStream<'static, Result<Aimed, Notice>> {
    produce(move |tell| async move {
        let mut looks = Looks { client, targets, near: BTreeMap::new() };
        let mut known: Option<Aimed> = None;
        let mut failures = 0_u32;
        loop {
            let mut found = looks.look().await;
            if let (Ok(now), Some(before)) = (&found, &known)
                && now != before
            {
                sleep(SETTLES).await;
                found = looks.look().await;
            }
            failures = if found.is_ok() { 0 } else { failures + 1 };
            let news = found.as_ref().map_or(true, |now| known.as_ref() != Some(now));
            if let Ok(now) = &found {
                known = Some(now.clone());
            }
            if news && tell.send(found).await.is_err() {
                return;
            }
            sleep((EVERY * 2_u32.saturating_pow(failures.min(4))).min(LONGEST_PAUSE)).await;
        }
    })
}

struct Looks {
    client: Client,
    targets: Vec<Target>,
    /// Names that are like those of targets that are not there.
    near: BTreeMap<Target, Vec<String>>,
}

impl Looks {
    async fn look(&mut self) -> Result<Aimed, Notice> {
        let end = Instant::now() + WITHIN;
        let mut aimed = Aimed::default();
        for target in self.targets.clone() {
            let left = end.saturating_duration_since(Instant::now());
            let late = |_| {
                let headline = format!("cannot {}", attempt(&target).what);
                let cause = format!("no answer within {} s", WITHIN.as_secs());
                Notice::error(headline, cause, "try again").of(Failure::Busy)
            };
            let looked = timeout(left, self.look_at(&target, &mut aimed)).await.map_err(late)?;
            looked.map_err(|error| notice(&attempt(&target), &error))?;
        }
        let more = aimed.gaps.len().saturating_sub(MOST_GAPS);
        if more > 0 {
            aimed.gaps.truncate(MOST_GAPS);
            aimed.gaps.push(format!("{} more cannot be captured", text::counted(more, "pod")));
        }
        Ok(aimed)
    }

    async fn look_at(&mut self, target: &Target, aimed: &mut Aimed) -> Result<(), Error> {
        let before = (aimed.nodes.values().map(Vec::len).sum::<usize>(), aimed.gaps.len());
        let is_there = match target {
            Target::Pod(name) => {
                let fields = format!("metadata.name={}", name.name);
                let selection = Selection { fields: Some(&fields), ..Selection::default() };
                self.pods(Some(&self.namespace(name)), selection, aimed).await? > 0
            }
            Target::Pods { namespace, labels } => {
                let selection = Selection { labels: Some(labels), ..Selection::default() };
                self.pods(namespace.as_deref(), selection, aimed).await? > 0
            }
            Target::Service(name) => {
                let ready = self.service(name, aimed).await?;
                let is_there = ready > 0 || self.is_there(name).await?;
                if is_there && ready == 0 {
                    aimed.gaps.push(format!("service {}/{} has no ready pods", self.namespace(name), name.name));
                }
                is_there
            }
        };
        let now = (aimed.nodes.values().map(Vec::len).sum::<usize>(), aimed.gaps.len());
        if !is_there && now == before {
            let near = self.near(target).await;
            aimed.missing.push(Missing { target: target.clone(), near });
        } else {
            self.near.remove(target);
        }
        Ok(())
    }

    fn namespace(&self, name: &ObjectName) -> String {
        name.namespace.clone().unwrap_or_else(|| self.client.default_namespace().to_owned())
    }

    /// Takes in pods; how many there are.
    async fn pods(&self, namespace: Option<&str>, selection: Selection<'_>, aimed: &mut Aimed) -> Result<usize, Error> {
        let mut count = 0;
        pages(&self.client, &path("pods", namespace), selection, |pod: Pod| {
            count += 1;
            if count <= MOST_PODS {
                take_pod(pod, aimed);
            }
        })
        .await?;
        if count > MOST_PODS {
            aimed.gaps.push(format!("{} pods more than {MOST_PODS} are left out", count - MOST_PODS));
        }
        Ok(count)
    }

    /// Takes in the ready pods of a service; how many there are.
    async fn service(&self, name: &ObjectName, aimed: &mut Aimed) -> Result<usize, Error> {
        let namespace = self.namespace(name);
        let mut found: BTreeMap<(String, String), Vec<IpAddr>> = BTreeMap::new();
        let mut take = |endpoint: Endpoint| {
            let ready = endpoint.is_ready();
            let pod = endpoint.target_ref.filter(|reference| reference.kind == "Pod");
            let (Some(pod), Some(node), true) = (pod, endpoint.node_name, ready) else { return };
            let addresses = endpoint.addresses.into_iter().flatten();
            let addresses = addresses.filter_map(|address| address.parse::<IpAddr>().ok());
            found.entry((node, pod.name)).or_default().extend(addresses);
        };
        let labels = format!("kubernetes.io/service-name={}", name.name);
        let selection = Selection { labels: Some(&labels), ..Selection::default() };
        let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
        let listed = pages(&self.client, &slices, selection, |slice: Slice| {
            let is_its = slice.service() == Some(name.name.as_str());
            slice.endpoints.into_iter().flatten().filter(|_| is_its).for_each(&mut take);
        });
        match listed.await {
            Err(Error::Api(status)) if status.code == 404 => {
                let fields = format!("metadata.name={}", name.name);
                let selection = Selection { fields: Some(&fields), ..Selection::default() };
                pages(&self.client, &path("endpoints", Some(&namespace)), selection, |endpoints: Endpoints| {
                    if endpoints.metadata.name == name.name {
                        endpoints.ready().for_each(&mut take);
                    }
                })
                .await?;
            }
            listed => listed?,
        }
        let ready = found.len();
        for ((node, pod), mut addresses) in found {
            addresses.sort_unstable();
            addresses.dedup();
            if !addresses.is_empty() {
                let name = format!("{namespace}/{pod}");
                aimed.add(node.as_str().into(), AimedPod { name, addresses });
            }
        }
        Ok(ready)
    }

    /// There is a service of that name.
    async fn is_there(&self, name: &ObjectName) -> Result<bool, Error> {
        let fields = format!("metadata.name={}", name.name);
        let selection = Selection { fields: Some(&fields), ..Selection::default() };
        let mut there = false;
        let path = path("services", Some(&self.namespace(name)));
        pages(&self.client, &path, selection, |service: Named| there |= service.metadata.name == name.name).await?;
        Ok(there)
    }

    /// Names that are like that of a target which is not there; asked for once, and for what may be listed.
    async fn near(&mut self, target: &Target) -> Vec<String> {
        if let Some(known) = self.near.get(target) {
            return known.clone();
        }
        let (kind, name) = match target {
            Target::Pod(name) => ("pods", name),
            Target::Service(name) => ("services", name),
            Target::Pods { .. } => return Vec::new(),
        };
        let wanted = format!("{}/{}", self.namespace(name), name.name);
        let mut names: Vec<String> = Vec::new();
        // The namespace may be what is wrong.
        for path in [path(kind, Some(&self.namespace(name))), path(kind, None)] {
            // What may not be listed helps nobody.
            let _ = pages(&self.client, &path, Selection::default(), |named: Named| {
                if names.len() < MOST_NAMES {
                    names.push(named.metadata.full_name());
                }
            })
            .await;
            if !names.is_empty() {
                break;
            }
        }
        let near = nearest(names, &wanted);
        self.near.insert(target.clone(), near.clone());
        near
    }
}

fn nearest(names: Vec<String>, wanted: &str) -> Vec<String> {
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let close = |name: &str| {
        // People leave out what a controller has put behind the name.
        let part = if last(name).contains(&last(wanted)) || last(wanted).contains(&last(name)) { 0.5 } else { 0.0 };
        strsim::jaro_winkler(&last(name), &last(wanted)) + part
    };
    let mut near: Vec<(f64, String)> = names.into_iter().map(|name| (close(&name), name)).collect();
    near.retain(|(likeness, _)| *likeness > 0.6);
    near.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    near.into_iter().take(NEAR).map(|(_, name)| text::visible(&name)).collect()
}

fn path(kind: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/{kind}"),
        None => format!("/api/v1/{kind}"),
    }
}

fn attempt(target: &Target) -> Attempt {
    let rights = match target {
        Target::Pod(_) | Target::Pods { .. } => "list on pods",
        Target::Service(_) => "list on endpointslices (discovery.k8s.io) and services",
    };
    Attempt { what: format!("find {target}"), rights }
}

/// A pod that can be captured, or why it cannot.
fn take_pod(pod: Pod, aimed: &mut Aimed) {
    let name = text::visible(&pod.metadata.full_name());
    let host = pod.is_on_host();
    let mut addresses: Vec<IpAddr> = pod.addresses().collect();
    let node = pod.spec.and_then(|spec| spec.node_name);
    let phase = pod.status.and_then(|status| status.phase);
    let phase = text::visible(&phase.unwrap_or_else(|| "Unknown".to_owned()));
    if matches!(phase.as_str(), "Succeeded" | "Failed") {
        return aimed.gaps.push(format!("pod {name} has ended ({phase})"));
    }
    let Some(node) = node.filter(|node| !node.is_empty()) else {
        return aimed.gaps.push(format!("pod {name} is {phase}: it is on no node yet"));
    };
    if host {
        let node = text::visible(&node);
        return aimed
            .gaps
            .push(format!("pod {name} uses its node's network: capture {node} with a filter by its ports"));
    }
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return aimed.gaps.push(format!("pod {name} is {phase}: it has no address yet"));
    }
    aimed.add(NodeName(node), AimedPod { name, addresses });
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn taken(spec: &Value, status: &Value) -> Aimed {
        let pod = json!({"metadata": {"name": "p", "namespace": "s"}, "spec": spec, "status": status});
        let mut aimed = Aimed::default();
        take_pod(serde_json::from_value(pod).expect("a pod"), &mut aimed);
        aimed
    }

    #[test]
    fn a_pod_that_cannot_be_captured_is_said_by_name() {
        let ip = json!([{"ip": "10.0.0.7"}, {"ip": "fd00::7"}, {"ip": "hostile"}]);
        let there = taken(&json!({"nodeName": "a"}), &json!({"phase": "Running", "podIPs": ip}));
        assert_eq!((there.addresses(&"a".into()).len(), there.gaps.len()), (2, 0));
        for (spec, status, said) in [
            (json!({}), json!({"phase": "Pending"}), "pod s/p is Pending: it is on no node yet"),
            (json!({"nodeName": "a"}), json!({"phase": "Pending"}), "pod s/p is Pending: it has no address yet"),
            (json!({"nodeName": "a"}), json!({"phase": "Succeeded", "podIPs": ip}), "pod s/p has ended (Succeeded)"),
            (
                json!({"nodeName": "a", "hostNetwork": true}),
                json!({"phase": "Running", "podIPs": ip}),
                "pod s/p uses its node's network: capture a with a filter by its ports",
            ),
        ] {
            let aimed = taken(&spec, &status);
            assert_eq!((aimed.nodes.len(), &aimed.gaps[..]), (0, &[said.to_owned()][..]));
        }
    }

    #[test]
    fn names_that_are_like_an_unknown_one_come_first() {
        let names = ["shop/web-7d9f-abcde", "shop/db-0", "shop/wep-0"].map(str::to_owned).to_vec();
        assert_eq!(nearest(names.clone(), "shop/web"), ["shop/web-7d9f-abcde", "shop/wep-0"]);
        assert_eq!(nearest(names, "shop/zzz"), Vec::<String>::new());
    }
}
