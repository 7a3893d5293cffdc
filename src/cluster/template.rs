//! What is changed in an agent's pod beyond its template: the program that is sent, the node's processes, a role of AWS.
//!
//! Owns how a value is put into a manifest, and what each of these takes. Must not know sessions.

use serde_json::{Value, json};

use crate::model::Kind;

/// Where the program is in the pod, on a volume of its own.
pub(super) const PROGRAM: &str = "/var/lib/nodewatch-agent/nodewatch-agent";
const FOLDER: &str = "/var/lib/nodewatch-agent";
/// Room for the program, twice.
const ROOM: &str = "256Mi";
/// The pod's command: wait for the program, see that it is the one that was meant, become it. It does not wait for ever,
/// ends when it is told to, and looks again after each restart.
const WAIT: &str = "trap 'exit 0' TERM; n=0; \
    until [ -x \"$P\" ] && echo \"$NODEWATCH_PUSHED_SHA256  $P\" | sha256sum -c >/dev/null 2>&1; do \
    n=$((n+1)); [ $n -lt 600 ] || exit 0; sleep 1 & wait $!; done; trap - TERM; exec \"$P\" serve";

/// The manifests are part of the program and tested; this names the one that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("the built-in manifest of the {kind} cannot be used: {reason}")]
pub(super) struct ManifestError {
    pub kind: &'static str,
    pub reason: String,
}

impl ManifestError {
    pub fn new(kind: Kind, reason: String) -> Self {
        Self { kind: kind.word(), reason }
    }
}

/// Replaces what the manifest has at that place.
pub(super) fn set(kind: Kind, value: &mut Value, pointer: &str, new: Value) -> Result<(), ManifestError> {
    let place = value.pointer_mut(pointer);
    *place.ok_or_else(|| ManifestError { kind: kind.word(), reason: format!("it has no {pointer}") })? = new;
    Ok(())
}

pub(super) fn set_variable(job: &mut Value, name: &str, text: &str) -> Result<(), ManifestError> {
    let variables = job.pointer_mut("/spec/template/spec/containers/0/env").and_then(Value::as_array_mut);
    let variable = variables.into_iter().flatten().find(|variable| variable["name"] == name);
    *variable
        .and_then(|variable| variable.get_mut("value"))
        .ok_or_else(|| ManifestError { kind: "Job", reason: format!("it has no variable {name}") })? = json!(text);
    Ok(())
}

/// What it takes to find out which process holds a socket: the host's processes, and the right to look at those of others.
pub(super) fn see_processes(job: &mut Value) -> Result<(), ManifestError> {
    let pod = "/spec/template/spec";
    let context = format!("{pod}/securityContext");
    for (key, value) in [("runAsNonRoot", json!(false)), ("runAsUser", json!(0)), ("runAsGroup", json!(0))] {
        set(Kind::Job, job, &format!("{context}/{key}"), value)?;
    }
    let capabilities = format!("{pod}/containers/0/securityContext/capabilities/add");
    set(Kind::Job, job, &capabilities, json!(["NET_RAW", "SYS_PTRACE", "DAC_READ_SEARCH"]))?;
    let missing = || ManifestError { kind: "Job", reason: "it has no pod or no variables".to_owned() };
    let spec = job.pointer_mut(pod).and_then(Value::as_object_mut).ok_or_else(missing)?;
    spec.insert("hostPID".to_owned(), json!(true));
    let variables = job.pointer_mut(&format!("{pod}/containers/0/env")).and_then(Value::as_array_mut);
    variables.ok_or_else(missing)?.push(json!({"name": "NODEWATCH_PROCESSES", "value": "true"}));
    Ok(())
}

/// Where the kubelet puts the token for AWS, and renews it.
const TOKEN_FOLDER: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount";

/// What an EKS cluster's webhook would add for an annotated service account, said here so that it is seen: a token for
/// AWS alone, and the role that it is for. No Kubernetes token comes with it.
pub(super) fn assume(value: &mut Value, role: &str) -> Result<(), ManifestError> {
    let add = |value: &mut Value, path: &str, items: Vec<Value>| {
        let list = value.pointer_mut(path).and_then(Value::as_array_mut);
        let missing = || ManifestError { kind: "Job", reason: format!("it has no {path}") };
        list.ok_or_else(missing).map(|list| list.extend(items))
    };
    let pod = "/spec/template/spec";
    let token =
        json!({"serviceAccountToken": {"audience": "sts.amazonaws.com", "expirationSeconds": 3600, "path": "token"}});
    add(value, &format!("{pod}/volumes"), vec![json!({"name": "aws-token", "projected": {"sources": [token]}})])?;
    let mount = json!({"name": "aws-token", "mountPath": TOKEN_FOLDER, "readOnly": true});
    add(value, &format!("{pod}/containers/0/volumeMounts"), vec![mount])?;
    let variables = vec![
        json!({"name": "AWS_ROLE_ARN", "value": role}),
        json!({"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": format!("{TOKEN_FOLDER}/token")}),
    ];
    add(value, &format!("{pod}/containers/0/env"), variables)?;
    // The token is readable for the agent's own user only through the pod's group.
    let context = value.pointer_mut(&format!("{pod}/securityContext")).and_then(Value::as_object_mut);
    if let Some(context) = context {
        context.insert("fsGroup".to_owned(), json!(65532));
    }
    Ok(())
}

/// Makes an agent's Job one that waits for its program.
pub(super) fn wait_for_program(job: &mut Value, sha256: &str, as_root: bool) -> Result<(), ManifestError> {
    let pod = "/spec/template/spec";
    let container = format!("{pod}/containers/0");
    let missing = |what: &str| ManifestError::new(Kind::Job, format!("it has no {what}"));
    let add = |job: &mut Value, path: String, item: Value| {
        let list = job.pointer_mut(&path).and_then(Value::as_array_mut);
        list.ok_or_else(|| missing(&path)).map(|list| list.push(item))
    };
    add(job, format!("{container}/env"), json!({"name": "NODEWATCH_PUSHED_SHA256", "value": sha256}))?;
    add(job, format!("{container}/env"), json!({"name": "P", "value": PROGRAM}))?;
    add(job, format!("{container}/volumeMounts"), json!({"name": "program", "mountPath": FOLDER}))?;
    add(job, format!("{pod}/volumes"), json!({"name": "program", "emptyDir": {"sizeLimit": ROOM}}))?;
    let fields = job.pointer_mut(&container).and_then(Value::as_object_mut).ok_or_else(|| missing("container"))?;
    fields.remove("args");
    fields.insert("command".to_owned(), json!(["sh", "-c", WAIT]));
    let added = format!("{container}/securityContext/capabilities/add");
    if as_root {
        let context = format!("{pod}/securityContext");
        for (key, value) in [("runAsNonRoot", json!(false)), ("runAsUser", json!(0)), ("runAsGroup", json!(0))] {
            set(Kind::Job, job, &format!("{context}/{key}"), value)?;
        }
        Ok(())
    } else {
        // Nothing could take it up.
        set(Kind::Job, job, &added, json!([]))
    }
}
