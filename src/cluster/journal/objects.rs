//! What pods, endpoint slices, services and policies are watched for.
//!
//! Owns the small forms of these objects and what each says; everything else of them is dropped while it is read.

use std::{borrow::Cow, collections::BTreeMap, fmt::Debug, net::IpAddr, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use nodewatch_answers::{News, PodPhase, Source};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use super::super::fields::{ContainerState, ContainerStatus, Endpoint, PodSpec, PodStatus, ServiceSpec};
use crate::base::text;

/// Labels that are read of an object.
const MOST_LABELS: usize = 64;

/// A kind of objects that says something.
pub(super) trait Told: DeserializeOwned + Clone + Debug + Send + 'static {
    /// What it is in the journal.
    const SOURCE: Source;
    /// Its API group, and the versions of it that are read, the newest first.
    const GROUP: &'static str;
    const VERSIONS: &'static [&'static str] = &["v1"];
    const KIND: &'static str;
    const PLURAL: &'static str;
    /// As in "list and watch on pods".
    const RIGHTS: &'static str;

    fn metadata(&self) -> &Metadata;

    /// What it says as it is now.
    fn news(self) -> Option<News>;

    /// What it says when it is gone.
    fn gone(self) -> Option<News>;
}

/// Of any object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
    deletion_grace_period_seconds: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
}

impl Metadata {
    /// `NAMESPACE/NAME`.
    fn full_name(&self) -> String {
        format!("{}/{}", text::visible(&self.namespace), text::visible(&self.name))
    }

    /// When its deletion was asked for; the server says when its time to end in peace is over.
    fn deleted(&self) -> Option<u64> {
        let ends = millis(self.deletion_timestamp.as_deref())?;
        let grace = u64::try_from(self.deletion_grace_period_seconds.unwrap_or(0)).unwrap_or(0);
        Some(ends.saturating_sub(grace.saturating_mul(1000)))
    }
}

fn millis(time: Option<&str>) -> Option<u64> {
    let time: Timestamp = time?.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

/// An object as a watch hands it on.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "T", bound = "T: Told")]
pub(super) struct Object<T> {
    metadata: ObjectMeta,
    pub told: T,
}

impl<T: Told> From<T> for Object<T> {
    fn from(told: T) -> Self {
        let of = told.metadata();
        let metadata = ObjectMeta {
            name: Some(of.name.clone()),
            namespace: Some(of.namespace.clone()),
            resource_version: of.resource_version.clone(),
            ..ObjectMeta::default()
        };
        Self { metadata, told }
    }
}

impl<T: Told> Resource for Object<T> {
    /// The version of its API.
    type DynamicType = &'static str;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(_: &Self::DynamicType) -> Cow<'_, str> {
        T::KIND.into()
    }

    fn group(_: &Self::DynamicType) -> Cow<'_, str> {
        T::GROUP.into()
    }

    fn version(version: &Self::DynamicType) -> Cow<'_, str> {
        (*version).into()
    }

    fn plural(_: &Self::DynamicType) -> Cow<'_, str> {
        T::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A pod.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pod {
    metadata: Metadata,
    spec: Option<PodSpec>,
    status: Option<PodStatus>,
}

impl Told for Pod {
    const SOURCE: Source = Source::Pods;
    const GROUP: &'static str = "";
    const KIND: &'static str = "Pod";
    const PLURAL: &'static str = "pods";
    const RIGHTS: &'static str = "list and watch on pods of all namespaces";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn news(self) -> Option<News> {
        let name = self.metadata.full_name();
        let deleted = self.metadata.deleted();
        let uid = text::visible(self.metadata.uid.as_deref()?);
        let status = self.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        let mut conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let ready = conditions.any(|condition| condition.kind == "Ready" && condition.status == "True");
        let phase = match phase {
            // Its addresses are others' to have.
            Some("Succeeded" | "Failed") => return Some(News::PodGone(uid)),
            _ if deleted.is_some() => PodPhase::Terminating,
            _ if ready => PodPhase::Ready,
            _ => PodPhase::NotReady,
        };
        let began = status.and_then(|status| status.start_time.as_deref());
        let started = millis(began.or(self.metadata.creation_timestamp.as_deref())).unwrap_or(0);
        let addresses = status.map(|status| status.addresses().collect()).unwrap_or_default();
        let restarts = restarts(status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default());
        let labels = self.metadata.labels.unwrap_or_default().into_iter().take(MOST_LABELS).collect();
        let (on_host, node) =
            self.spec.map(|spec| (spec.host_network == Some(true), spec.node_name)).unwrap_or_default();
        Some(News::Pod(nodewatch_answers::Pod {
            name,
            uid,
            node: text::visible(&node.unwrap_or_default()),
            addresses,
            phase,
            started,
            deleted,
            restarts,
            on_host,
            labels: Arc::new(labels),
        }))
    }

    fn gone(self) -> Option<News> {
        Some(News::PodGone(text::visible(&self.metadata.uid?)))
    }
}

/// How often containers have begun again, and when last: one that has ended again and waits did so when it ended.
fn restarts(containers: &[ContainerStatus]) -> (u32, Option<u64>) {
    let again = || containers.iter().filter(|one| one.restart_count > 0);
    let count = again().fold(0_u32, |all, one| all.saturating_add(one.restart_count));
    let moment = |state: &ContainerState| {
        let began = state.running.as_ref().and_then(|running| running.started_at.as_deref());
        let ended = || state.terminated.as_ref().and_then(|terminated| terminated.finished_at.as_deref());
        millis(began.or_else(ended))
    };
    let states = again().flat_map(|one| [&one.state, &one.last_state]);
    (count, states.flatten().filter_map(moment).max())
}

/// Some endpoints of a service.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Slice {
    metadata: Metadata,
    endpoints: Option<Vec<Endpoint>>,
    ports: Option<Vec<SlicePort>>,
}

#[derive(Debug, Clone, Deserialize)]
struct SlicePort {
    port: Option<i32>,
}

impl Told for Slice {
    const SOURCE: Source = Source::Endpoints;
    const GROUP: &'static str = "discovery.k8s.io";
    // The second one is all that there is before Kubernetes 1.21.
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const KIND: &'static str = "EndpointSlice";
    const PLURAL: &'static str = "endpointslices";
    const RIGHTS: &'static str = "list and watch on endpointslices (discovery.k8s.io)";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn news(self) -> Option<News> {
        let name = self.metadata.full_name();
        let service = self.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/service-name"));
        let Some(service) = service else { return Some(News::SliceGone(name)) };
        let service = format!("{}/{}", text::visible(&self.metadata.namespace), text::visible(service));
        let ports = self.ports.iter().flatten().filter_map(|port| u16::try_from(port.port?).ok());
        let ports: Vec<u16> = ports.collect();
        let mut backends = Vec::new();
        for endpoint in self.endpoints.iter().flatten() {
            let addresses = endpoint.addresses.iter().flatten().filter_map(|address| address.parse::<IpAddr>().ok());
            for address in addresses {
                backends.extend(ports.iter().map(|port| (address, *port, endpoint.is_ready())));
            }
        }
        Some(News::Slice { name, service, backends })
    }

    fn gone(self) -> Option<News> {
        Some(News::SliceGone(self.metadata.full_name()))
    }
}

/// A service.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Service {
    metadata: Metadata,
    spec: Option<ServiceSpec>,
}

impl Told for Service {
    const SOURCE: Source = Source::Services;
    const GROUP: &'static str = "";
    const KIND: &'static str = "Service";
    const PLURAL: &'static str = "services";
    const RIGHTS: &'static str = "list and watch on services";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn news(self) -> Option<News> {
        let spec = self.spec.as_ref();
        let ports = spec.into_iter().flat_map(|spec| spec.ports.iter().flatten());
        let ports: Vec<u16> = ports.filter_map(|port| u16::try_from(port.port?).ok()).collect();
        let addresses = spec.into_iter().flat_map(ServiceSpec::addresses);
        let addresses = addresses.flat_map(|address| ports.iter().map(move |port| (address, *port))).collect();
        Some(News::Service { name: self.metadata.full_name(), addresses })
    }

    fn gone(self) -> Option<News> {
        Some(News::Service { name: self.metadata.full_name(), addresses: Vec::new() })
    }
}

/// A policy.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Policy {
    metadata: Metadata,
    spec: Option<PolicySpec>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicySpec {
    pod_selector: Option<PodSelector>,
    policy_types: Option<Vec<String>>,
    egress: Option<Vec<IgnoredAny>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSelector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<IgnoredAny>>,
}

impl Told for Policy {
    const SOURCE: Source = Source::Policies;
    const GROUP: &'static str = "networking.k8s.io";
    const KIND: &'static str = "NetworkPolicy";
    const PLURAL: &'static str = "networkpolicies";
    const RIGHTS: &'static str = "list and watch on networkpolicies (networking.k8s.io)";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn news(self) -> Option<News> {
        let spec = self.spec?;
        let selector = spec.pod_selector.unwrap_or_default();
        let labels = selector.match_labels.unwrap_or_default();
        let only_labels = selector.match_expressions.is_none_or(|all| all.is_empty()) && labels.len() <= MOST_LABELS;
        // Without types a policy says what comes in, and what goes out where it has rules for that.
        let has = |name: &str| spec.policy_types.as_ref().map(|types| types.iter().any(|one| one == name));
        Some(News::Policy(nodewatch_answers::Policy {
            name: self.metadata.full_name(),
            selects: only_labels.then_some(labels),
            ingress: has("Ingress").unwrap_or(true),
            egress: has("Egress").unwrap_or_else(|| spec.egress.is_some_and(|rules| !rules.is_empty())),
        }))
    }

    fn gone(self) -> Option<News> {
        Some(News::PolicyGone(self.metadata.full_name()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said<T: Told>(value: Value) -> Option<News> {
        serde_json::from_value::<Object<T>>(value).expect("an object").told.news()
    }

    fn pod(metadata: &Value, status: &Value) -> Option<News> {
        let mut of = json!({"name": "web-0", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-11-26T12:00:00Z",
            "labels": {"app": "web"}});
        let (Some(of), Some(more)) = (of.as_object_mut(), metadata.as_object()) else { panic!("objects") };
        of.extend(more.clone());
        said::<Pod>(
            json!({"metadata": of, "spec": {"nodeName": "n1", "containers": [{"name": "c"}]}, "status": status}),
        )
    }

    /// Noon of that day.
    const NOON: u64 = 1_795_694_400_000;

    #[test]
    fn a_pod_says_how_far_it_is() {
        let status = json!({"phase": "Running", "startTime": "2026-11-26T12:00:05Z",
            "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}, {"ip": "hostile"}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"restartCount": 0, "state": {"running": {"startedAt": "2026-11-26T12:09:00Z"}}},
                {"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"finishedAt": "2026-11-26T12:01:00Z"}}}]});
        let Some(News::Pod(ready)) = pod(&json!({}), &status) else { panic!("a pod") };
        assert_eq!((ready.name.as_str(), ready.node.as_str(), ready.addresses.len()), ("shop/web-0", "n1", 2));
        assert_eq!((ready.phase, ready.started, ready.deleted), (PodPhase::Ready, NOON + 5_000, None));
        assert_eq!(ready.restarts, (3, Some(NOON + 60_000)), "not when one began that never ended");
        let deleted = json!({"deletionTimestamp": "2026-11-26T12:05:30Z", "deletionGracePeriodSeconds": 30});
        let Some(News::Pod(leaving)) = pod(&deleted, &status) else { panic!("a pod") };
        assert_eq!((leaving.phase, leaving.deleted), (PodPhase::Terminating, Some(NOON + 300_000)));
        let Some(News::Pod(new)) = pod(&json!({}), &json!({"phase": "Pending"})) else { panic!("a pod") };
        assert_eq!((new.phase, new.started, new.addresses.len()), (PodPhase::NotReady, NOON, 0));
        // Its address is free although its object stays.
        assert_eq!(pod(&json!({}), &json!({"phase": "Succeeded"})), Some(News::PodGone("u".into())));
    }

    #[test]
    fn odd_objects_say_what_they_can_and_names_are_visible() {
        let Some(News::Pod(odd)) =
            pod(&json!({"name": "\u{1b}[2J", "creationTimestamp": "yesterday", "labels": null}), &json!(null))
        else {
            panic!("a pod")
        };
        assert!(!odd.name.contains('\u{1b}') && odd.started == 0, "{odd:?}");
        assert_eq!(said::<Pod>(json!({"metadata": {}})), None, "without a UID it is nobody");
        assert_eq!(said::<Policy>(json!({"metadata": {"name": "p"}})), None);
        let none = Some(News::SliceGone("s/x".into()));
        assert_eq!(said::<Slice>(json!({"metadata": {"name": "x", "namespace": "s"}, "endpoints": null})), none);
    }

    #[test]
    fn a_slice_says_addresses_with_each_port_and_whether_they_take_traffic() {
        let slice = json!({"metadata": {"name": "web-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"port": 80}, {"port": 70_000}, {"name": "all"}],
            "endpoints": [{"addresses": ["10.0.0.1", "a.example"]},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "terminating": true}}]});
        let (one, other) = ("10.0.0.1".parse().expect("an address"), "10.0.0.2".parse().expect("an address"));
        let backends = vec![(one, 80, true), (other, 80, false)];
        let (name, service) = ("shop/web-x".to_owned(), "shop/web".to_owned());
        assert_eq!(said::<Slice>(slice), Some(News::Slice { name, service, backends }));
    }

    #[test]
    fn a_service_says_each_address_with_each_port_and_a_headless_one_none() {
        let service = |ips: Value| {
            let ports = json!([{"port": 80, "nodePort": 30_080}, {"port": 443}]);
            let spec = json!({"clusterIPs": ips, "ports": ports});
            match said::<Service>(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})) {
                Some(News::Service { addresses, .. }) => addresses.len(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((service(json!(["172.20.0.1", "fd00::1"])), service(json!(["None"]))), (4, 0));
    }

    #[test]
    fn a_policy_says_what_it_selects_and_which_ways() {
        let policy =
            |spec: Value| match said::<Policy>(json!({"metadata": {"name": "p", "namespace": "s"}, "spec": spec})) {
                Some(News::Policy(policy)) => {
                    (policy.selects.map(|labels| labels.len()), policy.ingress, policy.egress)
                }
                other => panic!("{other:?}"),
            };
        assert_eq!(policy(json!({"podSelector": {}})), (Some(0), true, false));
        assert_eq!(policy(json!({"podSelector": {"matchLabels": {"a": "b"}}, "egress": [{}]})), (Some(1), true, true));
        let expressions = json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]});
        assert_eq!(policy(json!({"podSelector": expressions, "policyTypes": ["Egress"]})), (None, false, true));
    }
}
