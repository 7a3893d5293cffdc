//! The session's objects, from the YAML in `manifests/`.
//!
//! Owns what is replaced in these files: session, node, namespace, image, times. Everything else is said there, once.

use std::time::Duration;

use kube::api::DynamicObject;
use nodewatch_protocol::UnixMillis;
pub(super) use nodewatch_protocol::{ENDS, SESSION_LABEL};
use serde_json::{Value, json};

use super::{
    AgentSettings,
    template::{self, ManifestError, set, set_variable},
};
use crate::{
    base::clock::{rfc3339, unix_millis},
    model::{Kind, MadeObject, NodeName, Purpose, SessionId, StandIn},
};

const NAMESPACE: &str = include_str!("../../manifests/namespace.yaml");
const SERVICE_ACCOUNT: &str = include_str!("../../manifests/service-account.yaml");
const AGENT_JOB: &str = include_str!("../../manifests/agent-job.yaml");
const AGENT_DAEMONSET: &str = include_str!("../../manifests/agent-daemonset.yaml");
const REAPER: &str = include_str!("../../manifests/reaper.yaml");

/// What the manifests have in place of a session's id.
const SAMPLE_SESSION: &str = "00000000";

/// The label that all objects carry.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by=nodewatch-tui";
/// The annotation that names an agent's node.
pub(super) const NODE: &str = "nodewatch-tui/node";
/// The annotations of namespace and service account.
pub(super) const OWNER: &str = "nodewatch-tui/owner";
pub(super) const BEGAN: &str = "nodewatch-tui/began";
/// The label of the DaemonSet's pods, and the annotation that says what they begin.
pub(super) const STAND_IN: &str = "nodewatch-tui/stand-in";
/// How many seconds an agent may run: the variable of its container.
pub(super) const DEADLINE: &str = "NODEWATCH_DEADLINE_SECONDS";
/// How much longer than the session the reaper may run.
pub(super) const REAPER_LONGER: Duration = Duration::from_secs(1800);

/// What the agent's volume holds beside the ring: a file that is being packed, the manifest.
const VOLUME_MORE: u64 = 176 * 1024 * 1024;
/// What its container may write beside the volume.
const CONTAINER_MORE: u64 = 100 * 1024 * 1024;

/// An object that is about to be created.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// How it will be known.
    pub object: MadeObject,
    /// All of it.
    pub value: Value,
}

impl Draft {
    /// As the client takes it.
    pub fn dynamic(&self) -> Result<DynamicObject, ManifestError> {
        let kind = self.object.kind.word();
        serde_json::from_value(self.value.clone()).map_err(|error| ManifestError { kind, reason: error.to_string() })
    }
}

/// A session, as far as its objects tell of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session<'a> {
    pub id: &'a SessionId,
    pub settings: &'a AgentSettings,
    pub began: UnixMillis,
    pub ends: UnixMillis,
}

/// A session's own namespace.
pub(super) fn namespace_name(session: &SessionId) -> String {
    format!("nodewatch-{session}")
}

impl Session<'_> {
    pub fn namespace(&self) -> Result<Draft, ManifestError> {
        let mut value = self.read(Kind::Namespace, NAMESPACE)?;
        self.annotate(Kind::Namespace, &mut value)?;
        Ok(draft(Kind::Namespace, value, Purpose::Session))
    }

    pub fn service_account(&self) -> Result<Draft, ManifestError> {
        let mut value = self.read(Kind::ServiceAccount, SERVICE_ACCOUNT)?;
        self.annotate(Kind::ServiceAccount, &mut value)?;
        Ok(draft(Kind::ServiceAccount, value, Purpose::Accounts))
    }

    /// The reaper's account, rights and Job, in the order of their creation.
    pub fn reaper(&self, namespace_uid: &str) -> Result<Vec<Draft>, ManifestError> {
        let kinds = [Kind::ServiceAccount, Kind::Role, Kind::RoleBinding, Kind::Job];
        let documents = REAPER.split("\n---\n").zip(kinds);
        documents
            .map(|(yaml, kind)| {
                let mut value = self.read(kind, yaml)?;
                if kind == Kind::Job {
                    let left = self.settings.budget + REAPER_LONGER;
                    set(kind, &mut value, "/spec/activeDeadlineSeconds", json!(left.as_secs()))?;
                    self.set_image(&mut value)?;
                    set_variable(&mut value, "NODEWATCH_NAMESPACE_UID", namespace_uid)?;
                }
                Ok(draft(kind, value, Purpose::Reaper))
            })
            .collect()
    }

    /// The Job for one node. `attempt` tells a node's Jobs of one session apart.
    pub fn agent_job(&self, node: &NodeName, attempt: usize, left: Duration) -> Result<Draft, ManifestError> {
        let kind = Kind::Job;
        let dns = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if node.0.is_empty() || !node.0.bytes().all(dns) {
            return Err(ManifestError { kind: Kind::Job.word(), reason: format!("invalid node name {:?}", node.0) });
        }
        let left = left.as_secs().max(1);
        let mut value = self.read(kind, AGENT_JOB)?;
        set(kind, &mut value, "/metadata/name", json!(job_name(self.id, node, attempt)))?;
        set(kind, &mut value, "/metadata/annotations", json!({NODE: node.0}))?;
        set(kind, &mut value, "/spec/activeDeadlineSeconds", json!(left))?;
        let names = "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution\
                     /nodeSelectorTerms/0/matchFields/0/values";
        set(kind, &mut value, names, json!([node.0]))?;
        self.set_image(&mut value)?;
        set_variable(&mut value, DEADLINE, &left.to_string())?;
        set_variable(&mut value, "NODEWATCH_LEASE_SECONDS", &self.settings.lease.as_secs().to_string())?;
        if let Some(ring) = self.settings.ring {
            set_variable(&mut value, "NODEWATCH_RING_LIMIT", &ring.to_string())?;
            let room = |more: u64| json!(ring.saturating_add(more).to_string());
            set(kind, &mut value, "/spec/template/spec/volumes/0/emptyDir/sizeLimit", room(VOLUME_MORE))?;
            let storage = "/spec/template/spec/containers/0/resources/limits/ephemeral-storage";
            set(kind, &mut value, storage, room(VOLUME_MORE + CONTAINER_MORE))?;
        }
        if let Some(account) = &self.settings.service_account {
            set(kind, &mut value, "/spec/template/spec/serviceAccountName", json!(account))?;
        }
        if let Some(role) = &self.settings.role {
            template::assume(&mut value, role)?;
        }
        if let Some(push) = &self.settings.push {
            template::wait_for_program(&mut value, &push.sha256, push.as_root)?;
        }
        // After that: what it adds stands.
        if self.settings.processes {
            template::see_processes(&mut value)?;
        }
        Ok(draft(kind, value, Purpose::Agent(node.clone())))
    }

    /// The same as it is made: the manifest is for kubectl too, which refuses what a server before 1.28 does not know;
    /// the server passes it over.
    pub fn made_job(&self, node: &NodeName, attempt: usize, left: Duration) -> Result<Draft, ManifestError> {
        let mut job = self.agent_job(node, attempt, left)?;
        // A pod that is still ending has its ring: another one begins when it is gone.
        job.value["spec"]["podReplacementPolicy"] = json!("Failed");
        Ok(job)
    }

    /// Agents for nodes that join later, in pods as those of the Jobs.
    pub fn agent_daemonset(&self, what: &StandIn) -> Result<Draft, ManifestError> {
        let kind = Kind::DaemonSet;
        let missing = |what: &str| ManifestError::new(kind, format!("the Job has no {what}"));
        let left = Duration::from_millis(self.ends.saturating_sub(unix_millis()));
        let mut job = self.agent_job(&"node-name".into(), 1, left)?.value;
        let mut template = job.pointer_mut("/spec/template").map(Value::take).ok_or_else(|| missing("template"))?;
        template["metadata"]["labels"][STAND_IN] = json!("true");
        template["metadata"]["annotations"][ENDS] = json!(rfc3339(self.ends));
        template["metadata"]["annotations"][STAND_IN] = json!(json!(what.orders).to_string());
        let pod = &mut template["spec"];
        // A DaemonSet takes no other.
        pod["restartPolicy"] = json!("Always");
        // An expression takes one name.
        let others =
            what.besides.iter().map(|node| json!({"key": "metadata.name", "operator": "NotIn", "values": [node.0]}));
        let terms = json!([{"matchFields": others.collect::<Vec<_>>()}]);
        pod["affinity"] = if what.besides.is_empty() {
            json!({})
        } else {
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
        };
        let variables = pod.pointer_mut("/containers/0/env").and_then(Value::as_array_mut);
        let variables = variables.ok_or_else(|| missing("variables"))?;
        // Nobody is there whom they could hear; who attaches tells them a lease.
        variables.retain(|variable| variable["name"] != "NODEWATCH_LEASE_SECONDS");
        for (name, annotation) in [("NODEWATCH_ENDS", ENDS), ("NODEWATCH_STAND_IN", STAND_IN)] {
            let path = format!("metadata.annotations['{annotation}']");
            variables.push(json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}));
        }
        let mut value = self.read(kind, AGENT_DAEMONSET)?;
        set(kind, &mut value, "/spec/template", template)?;
        Ok(draft(kind, value, Purpose::LaterNodes))
    }

    /// All of it for these nodes as YAML, in the order of creation.
    pub fn yaml(&self, nodes: &[NodeName]) -> Result<String, ManifestError> {
        let mut drafts = Vec::new();
        if self.settings.namespace.is_none() {
            drafts.push(self.namespace()?);
        }
        if self.settings.service_account.is_none() {
            drafts.push(self.service_account()?);
        }
        if self.settings.reaper {
            drafts.extend(self.reaper("the UID that the namespace gets")?);
        }
        for node in nodes {
            drafts.push(self.agent_job(node, 1, self.settings.budget)?);
        }
        if self.settings.daemonset {
            drafts.push(self.agent_daemonset(&StandIn { besides: nodes.to_vec(), ..StandIn::default() })?);
        }
        let documents: Result<Vec<String>, ManifestError> = drafts
            .iter()
            .map(|draft| {
                serde_saphyr::to_string(&draft.value)
                    .map_err(|error| ManifestError { kind: draft.object.kind.word(), reason: error.to_string() })
            })
            .collect();
        Ok(documents?.join("---\n"))
    }

    fn annotate(&self, kind: Kind, value: &mut Value) -> Result<(), ManifestError> {
        let annotations = json!({OWNER: self.settings.owner, BEGAN: rfc3339(self.began), ENDS: rfc3339(self.ends)});
        set(kind, value, "/metadata/annotations", annotations)
    }

    fn set_image(&self, value: &mut Value) -> Result<(), ManifestError> {
        let container = "/spec/template/spec/containers/0";
        set(Kind::Job, value, &format!("{container}/image"), json!(self.settings.image.reference))?;
        if let Some(policy) = self.settings.pull_policy {
            set(Kind::Job, value, &format!("{container}/imagePullPolicy"), json!(policy.word()))?;
        }
        Ok(())
    }

    fn read(&self, kind: Kind, yaml: &str) -> Result<Value, ManifestError> {
        let yaml = yaml.replace(SAMPLE_SESSION, self.id.as_str());
        let mut value: Value = serde_saphyr::from_str(&yaml)
            .map_err(|error| ManifestError { kind: kind.word(), reason: error.to_string() })?;
        if let (Some(namespace), true) = (&self.settings.namespace, kind != Kind::Namespace) {
            set(kind, &mut value, "/metadata/namespace", json!(namespace))?;
        }
        Ok(value)
    }
}

fn draft(kind: Kind, value: Value, purpose: Purpose) -> Draft {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let object = MadeObject {
        kind,
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name").unwrap_or_default(),
        uid: None,
        purpose,
    };
    Draft { object, value }
}

/// A node's name may be as long as a Job's, so a hash stands for it.
fn job_name(session: &SessionId, node: &NodeName, attempt: usize) -> String {
    // FNV-1a: the same in every build, as the name is read back from the cluster.
    let hash = node
        .0
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("agent-{session}-{hash:016x}-{attempt}")
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::Orders;

    use super::*;
    use crate::model::PullPolicy;

    fn settings() -> AgentSettings {
        AgentSettings {
            image: "registry/agent:1".into(),
            pull_policy: Some(PullPolicy::Never),
            budget: Duration::from_secs(600),
            lease: Duration::from_secs(60),
            namespace: None,
            reaper: true,
            service_account: None,
            ring: None,
            role: None,
            processes: false,
            daemonset: false,
            push: None,
            owner: "me@here".into(),
        }
    }

    fn with<T>(id: u32, settings: &AgentSettings, work: impl FnOnce(Session<'_>) -> T) -> T {
        let id = SessionId::new(id);
        work(Session { id: &id, settings, began: 1_700_000_000_000, ends: 1_700_000_600_000 })
    }

    fn job(node: &str) -> Result<Value, ManifestError> {
        let job = |session: Session<'_>| session.agent_job(&node.into(), 1, Duration::from_secs(90));
        with(0x7f3a_91c2, &settings(), job).map(|draft| draft.value)
    }

    /// As SECURITY.md and the guide say it.
    #[test]
    fn no_autoscaler_takes_an_agents_node_and_a_drain_has_its_grace() {
        let job = job("n").expect("a job");
        let daemonset = |session: Session<'_>| session.agent_daemonset(&StandIn::default());
        let later = with(1, &settings(), daemonset).expect("a DaemonSet").value;
        let told = include_str!("../../SECURITY.md").split_whitespace().collect::<Vec<_>>().join(" ");
        for object in [job, later] {
            let template = &object["spec"]["template"];
            for (key, value) in
                [("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"), ("karpenter.sh/do-not-disrupt", "true")]
            {
                assert_eq!(template["metadata"]["annotations"][key], value);
                assert!(told.contains(&format!("`{key}: \"{value}\"`")), "{key}");
            }
            let grace = template["spec"]["terminationGracePeriodSeconds"].as_u64().expect("a number");
            assert_eq!(grace, 30);
            let guide = include_str!("../../docs/guide.md");
            assert!(guide.contains(&format!("at most {grace} s, the pod's grace period")));
            assert!(template["spec"]["priorityClassName"].is_null() && object["kind"] != "PodDisruptionBudget");
        }
    }

    #[test]
    fn only_who_asks_for_processes_gets_the_rights_for_it() {
        let plain = job("n").expect("a job");
        assert!(plain["spec"]["template"]["spec"].get("hostPID").is_none());
        let settings = AgentSettings { processes: true, ..settings() };
        let draft = |session: Session<'_>| session.agent_job(&"n".into(), 1, Duration::from_secs(90));
        let job = with(1, &settings, draft).expect("a job").value;
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!((&pod["hostPID"], &pod["securityContext"]["runAsUser"]), (&json!(true), &json!(0)));
        let security = &pod["containers"][0]["securityContext"];
        assert_eq!(security["capabilities"]["add"], json!(["NET_RAW", "SYS_PTRACE", "DAC_READ_SEARCH"]));
        assert_eq!((&security["privileged"], &security["allowPrivilegeEscalation"]), (&json!(false), &json!(false)));
    }

    #[test]
    fn a_ring_that_was_asked_for_fits_its_volume_and_a_role_comes_with_a_token_for_aws_alone() {
        let gib = 1024 * 1024 * 1024;
        let settings = AgentSettings {
            ring: Some(4 * gib),
            role: Some("arn:aws:iam::1:role/r".into()),
            service_account: Some("captures".into()),
            ..settings()
        };
        let draft = |session: Session<'_>| session.agent_job(&"n".into(), 1, Duration::from_secs(90));
        let job = with(1, &settings, draft).expect("a job").value;
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "captures");
        assert_eq!(pod["automountServiceAccountToken"], false);
        let container = &pod["containers"][0];
        let variables = container["env"].as_array().expect("variables");
        let has = |name: &str, value: &str| variables.contains(&json!({"name": name, "value": value}));
        assert!(has("NODEWATCH_RING_LIMIT", &(4 * gib).to_string()) && has("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"));
        let size = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok()).expect("bytes");
        let volume = size(&pod["volumes"][0]["emptyDir"]["sizeLimit"]);
        assert!(volume > 4 * gib && size(&container["resources"]["limits"]["ephemeral-storage"]) > volume);
        let token = &pod["volumes"][1]["projected"]["sources"];
        assert_eq!(token.as_array().map(Vec::len), Some(1));
        assert_eq!(token[0]["serviceAccountToken"]["audience"], "sts.amazonaws.com");
        let account = with(1, &settings, |session| session.yaml(&["n".into()])).expect("YAML");
        assert!(!account.contains("name: nodewatch-agent-00000001"), "somebody else's account is not made");
    }

    #[test]
    fn a_job_for_one_node_and_one_session() {
        let job = job("12.example").expect("a job");
        assert_eq!(job["metadata"]["namespace"], "nodewatch-7f3a91c2");
        assert_eq!(job["metadata"]["labels"][SESSION_LABEL], "7f3a91c2");
        assert_eq!(job["metadata"]["annotations"]["nodewatch-tui/node"], "12.example");
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 90);
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "nodewatch-agent-7f3a91c2");
        let terms =
            &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        assert_eq!(terms[0]["matchFields"][0]["values"], json!(["12.example"]));
        let container = &pod["containers"][0];
        assert_eq!((&container["image"], &container["imagePullPolicy"]), (&json!("registry/agent:1"), &json!("Never")));
        let variables = container["env"].as_array().expect("variables");
        assert!(variables.contains(&json!({"name": "NODEWATCH_LEASE_SECONDS", "value": "60"})), "{variables:?}");
        assert!(variables.contains(&json!({"name": "NODEWATCH_DEADLINE_SECONDS", "value": "90"})), "{variables:?}");
    }

    #[test]
    fn the_pod_has_one_capability_and_nothing_of_the_host_but_its_network() {
        let job = job("a").expect("a job");
        let pod = &job["spec"]["template"]["spec"];
        let security = &pod["containers"][0]["securityContext"];
        assert_eq!(security["capabilities"], json!({"drop": ["ALL"], "add": ["NET_RAW"]}));
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["hostNetwork"], true);
        assert!(pod.get("hostPID").is_none() && pod.get("hostIPC").is_none());
        let volumes = pod["volumes"].as_array().expect("volumes");
        assert!(volumes.iter().all(|volume| volume.get("hostPath").is_none()));
    }

    #[test]
    fn every_object_carries_the_session_whatever_its_digits_look_like() {
        for (id, text) in [(1, "00000001"), (0x1234_5678, "12345678"), (0x1e12_3456, "1e123456")] {
            let yaml = with(id, &settings(), |session| session.yaml(&["a".into()])).expect("YAML");
            let documents: Vec<Value> =
                yaml.split("---\n").map(|one| serde_saphyr::from_str(one).expect("YAML")).collect();
            let kinds: Vec<&str> = documents.iter().filter_map(|object| object["kind"].as_str()).collect();
            let reaper = ["ServiceAccount", "Role", "RoleBinding", "Job"];
            assert_eq!(kinds, [&["Namespace", "ServiceAccount"], &reaper[..], &["Job"]].concat());
            for object in documents {
                assert_eq!(object["metadata"]["labels"][SESSION_LABEL], text, "{yaml}");
                assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "nodewatch-tui");
            }
        }
    }

    #[test]
    fn who_began_it_and_until_when_is_written_on_it() {
        let draft = with(1, &settings(), |session| session.namespace()).expect("a namespace");
        assert_eq!(draft.object.name, "nodewatch-00000001");
        let annotations = &draft.value["metadata"]["annotations"];
        assert_eq!((&annotations[OWNER], &annotations[ENDS]), (&json!("me@here"), &json!("2023-11-14T22:23:20Z")));
    }

    #[test]
    fn the_reaper_may_delete_its_own_namespace_and_nothing_else() {
        let drafts = with(1, &settings(), |session| session.reaper("uid-1")).expect("the reaper");
        let rules = drafts[1].value["rules"].as_array().expect("rules");
        let deleting: Vec<&Value> = rules
            .iter()
            .filter(|rule| rule["verbs"].as_array().is_some_and(|verbs| verbs.contains(&json!("delete"))))
            .collect();
        assert_eq!(deleting.len(), 1);
        assert_eq!(deleting[0]["resources"], json!(["namespaces"]));
        assert_eq!(deleting[0]["resourceNames"], json!(["nodewatch-00000001"]));
        let job = &drafts[3].value;
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 600 + 1800);
        assert!(job.to_string().contains("uid-1"));
    }

    #[test]
    fn in_a_namespace_of_somebody_else_nothing_names_our_own() {
        let settings = AgentSettings { namespace: Some("tools".into()), reaper: false, ..settings() };
        let yaml = with(1, &settings, |session| session.yaml(&["a".into()])).expect("YAML");
        assert!(!yaml.contains("nodewatch-00000001"), "{yaml}");
        assert_eq!(yaml.matches("namespace: tools").count(), 2, "{yaml}");
    }

    #[test]
    fn the_daemonset_is_for_nodes_that_join_and_its_agents_end_by_their_own_clock() {
        let what = StandIn {
            orders: Orders { capture: Some(nodewatch_protocol::CaptureSpec::default()), ..Orders::default() },
            besides: vec!["a".into(), "b".into()],
        };
        let draft = with(1, &settings(), |session| session.agent_daemonset(&what)).expect("a DaemonSet");
        assert_eq!((draft.object.kind, draft.object.name.as_str()), (Kind::DaemonSet, "agents-00000001"));
        let spec = &draft.value["spec"];
        assert_eq!(spec["updateStrategy"]["type"], "OnDelete");
        let template = &spec["template"];
        for (label, value) in spec["selector"]["matchLabels"].as_object().expect("labels") {
            assert_eq!(&template["metadata"]["labels"][label], value, "{label}");
        }
        assert_eq!(template["spec"]["restartPolicy"], "Always");
        let terms = template.pointer(
            "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields",
        );
        let named = |name: &str| json!({"key": "metadata.name", "operator": "NotIn", "values": [name]});
        assert_eq!(terms, Some(&json!([named("a"), named("b")])));
        let begins: Value =
            serde_json::from_str(template["metadata"]["annotations"][STAND_IN].as_str().expect("text")).expect("JSON");
        assert_eq!(begins["capture"]["snaplen"], json!(what.orders.capture.expect("a capture").snaplen));
        assert_eq!(template["metadata"]["annotations"][ENDS], "2023-11-14T22:23:20Z");
        let variables = template["spec"]["containers"][0]["env"].as_array().expect("variables");
        let names: Vec<&str> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
        assert!(names.contains(&"NODEWATCH_ENDS") && names.contains(&"NODEWATCH_STAND_IN"), "{names:?}");
        assert!(!names.contains(&"NODEWATCH_LEASE_SECONDS"), "nobody is there to renew it");
        assert_eq!(template["spec"]["containers"][0]["securityContext"]["capabilities"]["add"], json!(["NET_RAW"]));
    }

    #[test]
    fn a_name_cannot_write_yaml() {
        for name in ["", "a: b", "a\nb", "a\"b", "a]"] {
            assert!(job(name).is_err(), "{name:?}");
        }
    }
}
