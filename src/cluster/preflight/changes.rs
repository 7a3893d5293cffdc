//! What admission made of an object: how it differs from what was asked for, and what that means.
//!
//! Owns the differences that matter to an agent. What every server fills in is none. Pure.

use serde_json::Value;

use super::room::thousandths;
use crate::cluster::objects::SESSION_LABEL;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// What was changed, as in `spec.suspend is true`.
    pub what: String,
    /// What follows from it.
    pub means: &'static str,
    /// With it there would be no agent, or one that nobody finds again.
    pub stops: bool,
}

/// What a pod can be given that it was not asked for; the second text says what that means.
const ADDED_TO_PODS: [(&str, &str); 7] = [
    ("nodeSelector", "nodes without these labels get no agent"),
    ("runtimeClassName", "in a sandbox the agent does not see the node's interfaces"),
    ("schedulingGates", "nothing starts until they are removed"),
    ("priorityClassName", "it may evict other pods, or be evicted by them"),
    ("shareProcessNamespace", "its containers see each other's processes"),
    ("overhead", "it counts towards quotas and the node's capacity"),
    ("topologySpreadConstraints", "nodes may get no agent"),
];
/// The same for containers.
const ADDED_TO_CONTAINERS: [(&str, &str); 4] = [
    ("lifecycle", "it runs in the agent's container, which has no shell"),
    ("livenessProbe", "the kubelet restarts an agent that does not answer it"),
    ("readinessProbe", "an agent listens on no port, so it is never Ready"),
    ("startupProbe", "the kubelet restarts an agent that does not answer it"),
];

/// What servers of earlier versions do not know and leave out.
const UNKNOWN_TO_OLDER: [&str; 1] = ["spec.podReplacementPolicy"];

/// How the answer to a dry run differs from what was sent.
pub(super) fn changes(sent: &Value, got: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    altered(sent, got, "", &mut changes);
    if got.pointer("/spec/suspend") == Some(&Value::Bool(true)) && sent.pointer("/spec/suspend").is_none() {
        add(&mut changes, "spec.suspend is true", "nothing starts until the Job is resumed, e.g. by Kueue");
    }
    if let Some(manager) = got.pointer("/spec/managedBy").and_then(Value::as_str)
        && manager != "kubernetes.io/job-controller"
    {
        let means = "another controller decides whether the pods start";
        add(&mut changes, &format!("spec.managedBy is {manager}"), means);
    }
    for place in ["/spec/template/spec", "/spec"] {
        let (Some(sent), Some(got)) = (sent.pointer(place), got.pointer(place)) else { continue };
        if sent.get("containers").is_some() {
            added_to_pod(sent, got, &mut changes);
        }
    }
    changes
}

fn add(changes: &mut Vec<Change>, what: &str, means: &'static str) {
    changes.push(Change { what: what.to_owned(), means, stops: false });
}

fn added_to_pod(sent: &Value, got: &Value, changes: &mut Vec<Change>) {
    let names = |pod: &Value, list: &str| -> Vec<String> {
        let items = pod.get(list).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| item["name"].as_str().map(str::to_owned)).collect()
    };
    let fresh = |list: &str| -> String {
        let known = names(sent, list);
        names(got, list).into_iter().filter(|name| !known.contains(name)).collect::<Vec<_>>().join(", ")
    };
    for (list, word, means) in [
        (
            "containers",
            "containers injected",
            "they run next to the agent on the host's network and may keep its Job from ending",
        ),
        ("initContainers", "init containers injected", "they run before or alongside the agent"),
        ("volumes", "volumes added", "the pod gets their contents"),
    ] {
        let fresh = fresh(list);
        if !fresh.is_empty() {
            add(changes, &format!("{word}: {fresh}"), means);
        }
    }
    if got.get("hostUsers") == Some(&Value::Bool(false)) {
        add(changes, "hostUsers is false", "servers refuse user namespaces together with the host's network");
    }
    let is_new = |sent: &Value, got: &Value, key: &str| {
        let there = got.get(key).filter(|value| !value.is_null() && **value != Value::Bool(false));
        there.filter(|_| sent.get(key).is_none()).map(short)
    };
    for (key, means) in ADDED_TO_PODS {
        if let Some(value) = is_new(sent, got, key) {
            add(changes, &format!("{key} added: {value}"), means);
        }
    }
    if let Some(name) = got["schedulerName"].as_str().filter(|name| *name != "default-scheduler") {
        add(changes, &format!("schedulerName is {name}"), "another scheduler decides where the pod runs");
    }
    for (sent, got) in pairs(&sent["containers"], &got["containers"]) {
        for (key, means) in ADDED_TO_CONTAINERS {
            if let Some(value) = is_new(sent, got, key) {
                add(changes, &format!("{key} added: {value}"), means);
            }
        }
        for (list, word) in [("env", "variables"), ("volumeMounts", "mounts")] {
            let known: Vec<&Value> = items(&sent[list]).map(|item| &item["name"]).collect();
            let fresh = items(&got[list]).map(|item| &item["name"]).filter(|name| !known.contains(name));
            let fresh: Vec<&str> = fresh.filter_map(Value::as_str).collect();
            if !fresh.is_empty() {
                add(changes, &format!("{word} added: {}", fresh.join(", ")), "the agent's container gets them");
            }
        }
    }
    for (sent, got) in pairs(&sent["volumes"], &got["volumes"]) {
        if let (Some(sent), Some(got)) = (sent["emptyDir"].as_object(), got["emptyDir"].as_object()) {
            for (key, value) in got.iter().filter(|(key, _)| !sent.contains_key(*key)) {
                let means = match key.as_str() {
                    "medium" => "captures are kept in the node's memory",
                    _ => "with noexec a sent program (--push-agent) cannot start there",
                };
                add(changes, &format!("the volume's {key} is {}", short(value)), means);
            }
        }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Items of two lists that have the same name.
fn pairs<'a>(sent: &'a Value, got: &'a Value) -> impl Iterator<Item = (&'a Value, &'a Value)> {
    items(sent).filter_map(move |one| {
        let same = items(got).find(|other| other["name"] == one["name"])?;
        Some((one, same))
    })
}

/// Everything that was sent and is no more as it was.
fn altered(sent: &Value, got: &Value, path: &str, changes: &mut Vec<Change>) {
    match (sent, got) {
        (Value::Object(sent), Value::Object(_)) => {
            for (key, value) in sent {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match got.get(key) {
                    Some(got) => altered(value, got, &path, changes),
                    None if is_nothing(value) || UNKNOWN_TO_OLDER.contains(&path.as_str()) => {}
                    None => changes.push(change(&path, format!("{path} was removed"))),
                }
            }
        }
        (Value::Array(sent), Value::Array(got)) => {
            for (index, value) in sent.iter().enumerate() {
                let named = value.get("name").is_some();
                let same = if named {
                    got.iter().find(|other| other["name"] == value["name"])
                } else if value.is_object() {
                    got.iter().find(|other| holds(other, value)).or_else(|| got.get(index))
                } else {
                    got.iter().find(|other| *other == value)
                };
                let name = value["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                let place = format!("{path}[{name}]");
                match same {
                    Some(same) => altered(value, same, &place, changes),
                    None => changes.push(change(path, format!("{path} no longer has {}", short(value)))),
                }
            }
        }
        _ if sent == got || is_same_quantity(path, sent, got) => {}
        _ => changes.push(change(path, format!("{path} is {} instead of {}", short(got), short(sent)))),
    }
}

/// Everything of the second is in the first.
fn holds(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::Object(value), Value::Object(part)) => {
            part.iter().all(|(key, part)| value.get(key).is_some_and(|value| holds(value, part)))
        }
        _ => value == part,
    }
}

/// Servers leave out what is nothing.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(_) | Value::Bool(true) => false,
    }
}

/// `1000m` is `1`, as servers write it.
fn is_same_quantity(path: &str, sent: &Value, got: &Value) -> bool {
    let of = |value: &Value| match value {
        Value::String(text) => thousandths(text),
        Value::Number(number) => thousandths(&number.to_string()),
        _ => None,
    };
    (path.contains(".resources.") || path.ends_with("sizeLimit")) && of(sent).is_some() && of(sent) == of(got)
}

/// What follows from a value of ours that is another one now.
fn change(path: &str, what: String) -> Change {
    let has = |part: &str| path.contains(part);
    let (means, stops) = match () {
        () if path.ends_with(&format!("labels.{SESSION_LABEL}")) => ("a cleanup could not find it", true),
        () if path.ends_with("hostNetwork") => ("the agent would see a pod's network instead of the node's", true),
        () if has(".affinity") => ("the agent would run on another node, or nowhere", true),
        () if has("pod-security") => ("pods on the host's network may be refused there", false),
        () if path.rsplit('.').next() == Some("image") => ("it is not the requested image", false),
        () if has(".tolerations") => ("nodes with taints get no agent", false),
        () if has(".capabilities") => ("the agent cannot capture without NET_RAW", false),
        () if has("ecurityContext") => ("the agent's rights differ from what it needs", false),
        () if path.ends_with("activeDeadlineSeconds") || path.ends_with("ttlSecondsAfterFinished") => {
            ("it ends or is removed at another time than the session sets", false)
        }
        () if path.ends_with("backoffLimit") || path.ends_with("restartPolicy") => {
            ("an agent that restarts may lose its files", false)
        }
        () if has(".resources") => ("the agent's resources differ from what it needs", false),
        () if has(".volumes") || has(".volumeMounts") => ("captures are stored elsewhere", false),
        () if has(".env") => ("the agent's settings differ", false),
        () => ("it differs from the request", false),
    };
    Change { what, means, stops }
}

/// A value in a few words.
fn short(value: &Value) -> String {
    const MOST: usize = 80;
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job() -> Value {
        json!({"metadata": {"labels": {"nodewatch-tui/session": "00000001"}},
            "spec": {"backoffLimit": 20, "template": {"spec": {"hostNetwork": true, "automountServiceAccountToken": false,
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "agent", "image": "registry.example/agent:1",
                    "securityContext": {"capabilities": {"add": ["NET_RAW"], "drop": ["ALL"]}},
                    "resources": {"limits": {"cpu": "1000m"}}}],
                "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1000000000"}}]}}}})
    }

    fn said(alter: impl FnOnce(&mut Value)) -> (String, bool) {
        let mut got = job();
        alter(&mut got);
        let changes = changes(&job(), &got);
        let texts: Vec<String> = changes.iter().map(|change| format!("{}: {}", change.what, change.means)).collect();
        (texts.join("; "), changes.iter().any(|change| change.stops))
    }

    #[test]
    fn what_an_older_server_does_not_know_was_taken_away_by_nobody() {
        let sent = serde_json::json!({"spec": {"podReplacementPolicy": "Failed", "backoffLimit": 20}});
        assert_eq!(changes(&sent, &serde_json::json!({"spec": {"backoffLimit": 20}})), []);
        assert_eq!(changes(&sent, &serde_json::json!({"spec": {"podReplacementPolicy": "Failed"}})).len(), 1);
    }

    #[test]
    fn what_every_server_fills_in_is_no_change() {
        let (text, stops) = said(|got| {
            got["metadata"]["uid"] = json!("1");
            got["spec"]["suspend"] = json!(false);
            got["spec"]["completionMode"] = json!("NonIndexed");
            let pod = &mut got["spec"]["template"]["spec"];
            pod["schedulerName"] = json!("default-scheduler");
            pod["containers"][0]["terminationMessagePath"] = json!("/dev/termination-log");
            pod["containers"][0]["resources"]["limits"]["cpu"] = json!("1");
            pod["volumes"][0]["emptyDir"]["sizeLimit"] = json!("1G");
            pod.as_object_mut().expect("a pod").remove("automountServiceAccountToken");
        });
        assert_eq!((text.as_str(), stops), ("", false));
    }

    #[test]
    fn what_was_changed_is_named_with_what_it_means() {
        let pod = |got: &mut Value, key: &str, value: Value| got["spec"]["template"]["spec"][key] = value;
        let (text, _) = said(|got| {
            pod(got, "initContainers", json!([{"name": "istio-init"}]));
            got["spec"]["template"]["spec"]["containers"]
                .as_array_mut()
                .expect("containers")
                .insert(0, json!({"name": "a-proxy", "image": "proxy"}));
        });
        assert!(text.contains("containers injected: a-proxy") && text.contains("istio-init"), "{text}");
        let (text, _) = said(|got| got["spec"]["suspend"] = json!(true));
        assert!(text.contains("spec.suspend is true") && text.contains("Kueue"), "{text}");
        let (text, _) = said(|got| {
            got["spec"]["template"]["spec"]["containers"][0]["image"] = json!("mirror.example/agent:1");
        });
        assert!(text.contains("image is mirror.example/agent:1 instead of registry.example/agent:1"), "{text}");
        let (text, _) = said(|got| pod(got, "tolerations", json!([])));
        assert!(text.contains("nodes with taints get no agent"), "{text}");
        for (key, value) in [
            ("nodeSelector", json!({"pool": "a"})),
            ("runtimeClassName", json!("gvisor")),
            ("hostUsers", json!(false)),
            ("schedulerName", json!("volcano")),
        ] {
            let (text, _) = said(|got| pod(got, key, value));
            assert!(text.contains(key), "{key}: {text}");
        }
        let (text, _) = said(|got| {
            got["spec"]["template"]["spec"]["volumes"][0]["emptyDir"]["mountOptions"] = json!(["noexec"]);
        });
        assert!(text.contains("mountOptions") && text.contains("noexec"), "{text}");
    }

    #[test]
    fn what_would_leave_no_agent_or_one_that_nobody_finds_stops() {
        assert!(said(|got| got["spec"]["template"]["spec"]["hostNetwork"] = json!(false)).1);
        assert!(said(|got| got["metadata"]["labels"] = json!({"other": "x"})).1);
        let (text, stops) = said(|got| {
            got["spec"]["template"]["spec"]["containers"][0]["securityContext"]["capabilities"]["add"] = json!([]);
        });
        assert!(!stops && text.contains("NET_RAW"), "{text}");
    }

    #[test]
    fn the_answer_of_a_real_server_is_what_was_asked_for() {
        // Kubernetes 1.36.2, without any policy: the body that was sent, and the answer.
        let sent: Value =
            serde_json::from_str(include_str!("../../../tests/support/kubernetes/job-sent.json")).expect("JSON");
        let got: Value =
            serde_json::from_str(include_str!("../../../tests/support/kubernetes/job-dryrun.json")).expect("JSON");
        assert_eq!(changes(&sent, &got), []);
    }
}
