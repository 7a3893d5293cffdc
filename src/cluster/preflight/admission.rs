//! The server is asked before anything is made: each object once with `dryRun=All`, so that policies, webhooks, quotas
//! and pod security speak first, in their own words.
//!
//! Owns the asking and what an answer means. Must not create anything.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client, Error, client::Body};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    changes::{Change, changes},
    check,
};
use crate::{
    base::text,
    cluster::{
        AgentSettings,
        objects::{Draft, Session},
        template::ManifestError,
    },
    model::{Failure, Kind, NodeName, Notice, Outcome, PreflightCheck, Purpose, SessionId, StandIn},
};

/// What controllers make in a new namespace is waited for so long, and asked for so often.
const COMES_WITHIN: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How a server says that a pod's account is not there.
const NO_ACCOUNT: &str = "error looking up service account";

/// What became of a dry run.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// It would be made, as this, with these warnings.
    Taken(Value, Vec<String>),
    /// A policy, a quota, a webhook or pod security refuses it, in these words.
    Refused(String),
    /// The user may not create it.
    NotPermitted(String),
    /// It is there already, as the session has made it before; nobody refuses it.
    Exists,
    /// The question makes no sense there, or cannot be asked without making something.
    NotAsked(String),
    /// No answer this time.
    Unknown(String),
}

/// Asks for one object.
pub(super) async fn ask(client: &Client, draft: &Draft) -> Answer {
    let object = &draft.object;
    ask_for(client, object.kind, object.namespace.as_deref(), &draft.value).await
}

/// Asks, and again while the refusal says no more than that the namespace is new.
async fn ask_for(client: &Client, kind: Kind, namespace: Option<&str>, value: &Value) -> Answer {
    let until = Instant::now() + COMES_WITHIN;
    loop {
        match ask_once(client, kind, namespace, value).await {
            Answer::Refused(words) if is_coming(&words, value) && Instant::now() < until => sleep(ASK_EVERY).await,
            answer => return answer,
        }
    }
}

/// What is missing comes by itself: the account that every namespace gets, one that was just made, the sums of a quota.
/// One that somebody has named does not.
fn is_coming(words: &str, pod: &Value) -> bool {
    let account = pod.pointer("/spec/serviceAccountName").and_then(Value::as_str);
    let comes = account.is_none_or(|account| account.starts_with("nodewatch-agent-"));
    words.contains("status unknown for quota") || (comes && words.contains(NO_ACCOUNT))
}

async fn ask_once(client: &Client, kind: Kind, namespace: Option<&str>, value: &Value) -> Answer {
    let plural = match kind {
        Kind::Namespace => "namespaces",
        Kind::ServiceAccount => "serviceaccounts",
        Kind::Role => "roles",
        Kind::RoleBinding => "rolebindings",
        Kind::Job => "jobs",
        Kind::DaemonSet => "daemonsets",
        Kind::Pod => "pods",
    };
    let group = match value["apiVersion"].as_str().unwrap_or("v1").split_once('/') {
        Some((group, version)) => format!("/apis/{group}/{version}"),
        None => "/api/v1".to_owned(),
    };
    let place = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
    let path = format!("{group}{place}/{plural}?dryRun=All");
    let sent = async {
        let request = http::Request::post(path).header(http::header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(value.to_string().into_bytes())).map_err(Error::HttpError)?;
        let response = client.send(request).await?;
        let warnings = response.headers().get_all("warning").iter().filter_map(|value| warning(value.to_str().ok()?));
        let warnings = warnings.collect();
        let code = response.status().as_u16();
        let body = response.into_body().collect_bytes().await?;
        Ok::<_, Error>((code, warnings, body))
    };
    match sent.await {
        Ok((code, warnings, body)) => read(code, warnings, &body),
        Err(error) => Answer::Unknown(format!("the API server cannot be reached: {}", text::root_cause(&error))),
    }
}

/// The text of `299 - "text"`.
fn warning(header: &str) -> Option<String> {
    let quoted = header.trim().strip_prefix("299 ")?.split_once('"')?.1.strip_suffix('"')?;
    Some(quoted.replace("\\\"", "\"").replace("\\\\", "\\"))
}

fn read(code: u16, warnings: Vec<String>, body: &[u8]) -> Answer {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = || match value["message"].as_str() {
        Some(message) => message.to_owned(),
        None => format!(
            "status {code}: {}",
            text::visible(&String::from_utf8_lossy(body).chars().take(300).collect::<String>())
        ),
    };
    match code {
        200..=299 if value["metadata"].is_object() => Answer::Taken(value, warnings),
        200..=299 => Answer::Unknown(format!("the answer is not an object: {}", said())),
        400 if said().contains("dry run") => Answer::NotAsked(said()),
        401 => Answer::NotPermitted(said()),
        // What a role does not allow is told apart from what a policy refuses only by the words.
        403 if said().contains("cannot create resource") => Answer::NotPermitted(said()),
        409 if value["reason"] == "AlreadyExists" => Answer::Exists,
        // No such namespace, for one.
        404 | 409 => Answer::NotAsked(said()),
        429 | 500.. => Answer::Unknown(said()),
        _ => Answer::Refused(said()),
    }
}

/// As one or more checks; `what` is the object, as in `a Job in tools`.
fn checks(what: &str, sent: &Value, answer: Answer) -> Vec<PreflightCheck> {
    let name = "admission";
    match answer {
        Answer::Taken(got, warnings) => {
            let changed = changes(sent, &got);
            let mut checks: Vec<PreflightCheck> = warnings
                .into_iter()
                .map(|text| check(name, Outcome::Warning, format!("{what}: the server warns: {text}"), ""))
                .collect();
            if let Some(detail) = told(&changed) {
                let stops = changed.iter().any(|change| change.stops);
                let outcome = if stops { Outcome::Failed } else { Outcome::Warning };
                let fix = "ask whoever owns the cluster's policies, or use another namespace (--namespace)";
                checks.push(check(name, outcome, format!("{what} would be changed: {detail}"), fix));
            }
            if checks.is_empty() {
                checks.push(check(name, Outcome::Passed, format!("{what} would be created unchanged"), ""));
            }
            checks
        }
        Answer::Refused(words) => {
            let fix = if words.contains(NO_ACCOUNT) {
                "create the service account there, or name one that exists (--service-account)"
            } else {
                "ask whoever owns the policy for an exception, or use a namespace that has one (--namespace)"
            };
            vec![check(name, Outcome::Failed, format!("{what} is refused: {words}"), fix)]
        }
        Answer::NotPermitted(words) => {
            vec![check(name, Outcome::NotPermitted, format!("you may not create {what}: {words}"), "")]
        }
        Answer::Exists => vec![check(name, Outcome::Passed, format!("{what} is there already"), "")],
        Answer::NotAsked(words) => vec![check(name, Outcome::Unknown, format!("{what}: not checked: {words}"), "")],
        Answer::Unknown(words) => vec![check(name, Outcome::Unknown, format!("{what}: no answer: {words}"), "")],
    }
}

fn told(changes: &[Change]) -> Option<String> {
    let texts: Vec<String> = changes.iter().map(|change| format!("{} ({})", change.what, change.means)).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// What can be asked before a session's own namespace is there: the namespace itself, and a Job where one can be asked
/// for.
pub(super) async fn before_the_namespace(
    client: &Client,
    settings: &AgentSettings,
    nodes: &[NodeName],
) -> Result<Vec<PreflightCheck>, ManifestError> {
    // A Job in a namespace that is not there is answered with 404 before any policy is asked.
    const ELSEWHERE: &str = "default";
    let id = SessionId::new(0);
    let session = session(&id, settings);
    let namespace = session.namespace()?;
    let elsewhere = AgentSettings { namespace: Some(ELSEWHERE.to_owned()), ..settings.clone() };
    let there = self::session(&id, &elsewhere);
    let job = there.made_job(&first(nodes), 1, settings.budget)?;
    let others = others(there, nodes)?;
    let (of_namespace, of_job, of_others) =
        tokio::join!(ask(client, &namespace), ask(client, &job), ask_for_all(client, &others));
    let mut all = checks("the session's namespace", &namespace.value, of_namespace);
    all.extend(checks(&format!("an agent's Job in namespace {ELSEWHERE}"), &job.value, of_job).into_iter().map(
        |one| {
            // It goes into another namespace, for which other rules may hold.
            match one.outcome {
                Outcome::Passed => one,
                Outcome::Unknown | Outcome::NotPermitted => PreflightCheck {
                    outcome: Outcome::Passed,
                    detail: "an agent's Job is checked once its namespace exists, before the first one is created"
                        .to_owned(),
                    ..one
                },
                Outcome::Warning | Outcome::Failed => checked_again(one),
            }
        },
    ));
    let told = of_others.into_iter().filter(|one| matches!(one.outcome, Outcome::Warning | Outcome::Failed));
    all.extend(told.map(checked_again));
    Ok(all)
}

/// For another namespace other rules may hold.
fn checked_again(one: PreflightCheck) -> PreflightCheck {
    let detail = format!("{}; it is checked again in the session's own namespace", one.detail);
    PreflightCheck { outcome: Outcome::Warning, detail, ..one }
}

/// What goes into a session's own namespace beside the agents' Jobs.
fn others(session: Session<'_>, nodes: &[NodeName]) -> Result<Vec<Draft>, ManifestError> {
    let mut drafts = Vec::new();
    if session.settings.service_account.is_none() {
        drafts.push(session.service_account()?);
    }
    if session.settings.reaper {
        drafts.extend(session.reaper("not made yet")?);
    }
    drafts.extend(for_later(session, nodes)?);
    Ok(drafts)
}

/// What gives agents to nodes that join, where that was asked for.
fn for_later(session: Session<'_>, nodes: &[NodeName]) -> Result<Option<Draft>, ManifestError> {
    let what = StandIn { besides: nodes.to_vec(), ..StandIn::default() };
    session.settings.daemonset.then(|| session.agent_daemonset(&what)).transpose()
}

/// Asks for all of these at once.
pub(super) async fn ask_for_all(client: &Client, drafts: &[Draft]) -> Vec<PreflightCheck> {
    let asked = drafts.iter().map(|draft| async move {
        let object = &draft.object;
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let whose = if object.purpose == Purpose::Reaper { "the reaper's" } else { "a" };
        let what = format!("{whose} {} in namespace {namespace}", object.kind.word());
        match ask(client, draft).await {
            // A binding is asked about its Role, which is not there before it is made.
            Answer::NotAsked(_) if object.kind == Kind::RoleBinding => Vec::new(),
            answer => checks(&what, &draft.value, answer),
        }
    });
    join_all(asked).await.concat()
}

/// Everything that is to be made in a namespace that is there.
pub(super) async fn in_the_namespace(
    client: &Client,
    session: Session<'_>,
    namespace: &str,
    nodes: &[NodeName],
    account_is_there: bool,
) -> Result<Vec<PreflightCheck>, ManifestError> {
    let settings = session.settings;
    let job = session.made_job(&first(nodes), 1, settings.budget)?;
    let account = session.service_account()?;
    let pod = pod_of(&job.value, account_is_there);
    let later: Vec<Draft> = for_later(session, nodes)?.into_iter().collect();
    let (of_account, of_job, of_pod, of_later) = tokio::join!(
        async {
            match settings.service_account {
                None if !account_is_there => Some(ask(client, &account).await),
                _ => None,
            }
        },
        ask(client, &job),
        ask_for(client, Kind::Pod, Some(namespace), &pod),
        ask_for_all(client, &later),
    );
    let mut all = Vec::new();
    if let Some(answer) = of_account {
        all.extend(checks(&format!("a service account in namespace {namespace}"), &account.value, answer));
    }
    let job_checks = checks(&format!("an agent's Job in namespace {namespace}"), &job.value, of_job);
    let mut secrets = Vec::new();
    let what = format!("an agent's pod in namespace {namespace}");
    let pod_checks = match of_pod {
        // The pod stands in for one with an account that is made later.
        Answer::Refused(words) if words.contains(NO_ACCOUNT) && !account_is_there => {
            checks(&what, &pod, Answer::NotAsked(words))
        }
        // Jobs make their pods themselves, so a user needs no right to.
        Answer::NotPermitted(_) | Answer::NotAsked(_) | Answer::Exists => Vec::new(),
        answer => {
            if let Answer::Taken(got, _) = &answer {
                secrets = pull_secrets(&got["spec"]);
            }
            let told = checks(&what, &pod, answer);
            told.into_iter().filter(|one| one.outcome != Outcome::Passed).collect()
        }
    };
    all.extend(job_checks);
    all.extend(pod_checks);
    all.extend(of_later);
    all.extend(check_pull_secrets(client, namespace, settings, secrets).await);
    Ok(all)
}

/// A pod as the Job would make it. Its account may not be there yet, which the server would refuse.
fn pod_of(job: &Value, account_is_there: bool) -> Value {
    let template = &job["spec"]["template"];
    let mut spec = template["spec"].clone();
    if !account_is_there && let Some(spec) = spec.as_object_mut() {
        spec.remove("serviceAccountName");
    }
    let metadata = json!({"name": job["metadata"]["name"], "namespace": job["metadata"]["namespace"],
        "labels": template["metadata"]["labels"]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

fn pull_secrets(holder: &Value) -> Vec<String> {
    let secrets = holder["imagePullSecrets"].as_array().into_iter().flatten();
    secrets.filter_map(|secret| secret["name"].as_str().map(str::to_owned)).collect()
}

/// Whether the secrets that the image is pulled with are there: those that pods get, and those of a named account.
async fn check_pull_secrets(
    client: &Client,
    namespace: &str,
    settings: &AgentSettings,
    mut names: Vec<String>,
) -> Option<PreflightCheck> {
    if let Some(account) = &settings.service_account
        && let Ok(found) = Api::<ServiceAccount>::namespaced(client.clone(), namespace).get(account).await
    {
        names.extend(found.image_pull_secrets.into_iter().flatten().map(|secret| secret.name));
    }
    names.sort();
    names.dedup();
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(client.clone(), namespace);
    let (mut there, mut missing, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match secrets.get_metadata(&name).await {
            Ok(_) => there.push(name),
            Err(Error::Api(status)) if status.code == 404 => missing.push(name),
            // It may be there: what is not known refuses nothing.
            Err(_) => hidden.push(name),
        }
    }
    let what = "pull secrets";
    if !missing.is_empty() {
        let detail =
            format!("missing in namespace {namespace}: {}; private images cannot be pulled", missing.join(", "));
        return Some(check(
            what,
            Outcome::Warning,
            detail,
            "create them there (kubectl create secret docker-registry)",
        ));
    }
    match (there.is_empty(), hidden.is_empty()) {
        (true, true) => None,
        (_, false) => {
            Some(check(what, Outcome::Unknown, format!("cannot tell whether these exist: {}", hidden.join(", ")), ""))
        }
        (false, true) => Some(check(what, Outcome::Passed, there.join(", "), "")),
    }
}

/// What stops an agent in a namespace that is there now, and else what is worth knowing of it.
pub(super) fn verdict(checks: Vec<PreflightCheck>) -> Result<Vec<PreflightCheck>, Notice> {
    match checks.iter().find(|check| check.outcome.stops()) {
        None => Ok(checks.into_iter().filter(|check| check.outcome != Outcome::Passed).collect()),
        Some(worst) => {
            let failure = if worst.outcome == Outcome::NotPermitted { Failure::NotPermitted } else { Failure::Other };
            Err(Notice::error("the cluster does not admit agents", worst.detail.clone(), worst.fix.clone()).of(failure))
        }
    }
}

fn session<'a>(id: &'a SessionId, settings: &'a AgentSettings) -> Session<'a> {
    let now = crate::base::clock::unix_millis();
    Session { id, settings, began: now, ends: now }
}

/// A node to ask with: what is asked is the same for each.
fn first(nodes: &[NodeName]) -> NodeName {
    nodes.first().cloned().unwrap_or_else(|| "node".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u16, message: &str) -> Answer {
        read(code, Vec::new(), json!({"kind": "Status", "message": message}).to_string().as_bytes())
    }

    #[test]
    fn refusals_are_told_from_missing_rights_and_from_servers_that_are_away() {
        // As Kubernetes 1.36.2 says them.
        let policy = "jobs.batch \"agent-rec\" is forbidden: ValidatingAdmissionPolicy 'rec' with binding 'rec' denied \
            request: host network needs an exception, see go/net-exceptions";
        let quota = "jobs.batch \"agent-rec\" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: \
            count/jobs.batch=0, limited: count/jobs.batch=0";
        let security = "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": host namespaces \
            (hostNetwork=true)";
        for (code, words) in [(422, policy), (403, quota), (403, security)] {
            assert_eq!(refusal(code, words), Answer::Refused(words.to_owned()));
            let checks = checks("an agent's Job", &json!({}), refusal(code, words));
            assert_eq!(checks[0].outcome, Outcome::Failed);
            assert!(checks[0].detail.contains(words) && !checks[0].fix.contains("try again"), "{checks:?}");
        }
        let role = "jobs.batch is forbidden: User \"me\" cannot create resource \"jobs\" in API group \"batch\"";
        assert_eq!(refusal(403, role), Answer::NotPermitted(role.to_owned()));
        let webhook = "admission webhook \"x.example\" does not support dry run";
        assert_eq!(refusal(400, webhook), Answer::NotAsked(webhook.to_owned()));
        let away = "Internal error occurred: failed calling webhook \"x.example\": context deadline exceeded";
        for (code, words) in [(500, away), (429, "slow down"), (503, "no endpoints")] {
            let checks = checks("an agent's Job", &json!({}), refusal(code, words));
            assert_eq!(checks[0].outcome, Outcome::Unknown);
            assert!(checks[0].detail.contains(words));
        }
        assert!(matches!(read(200, vec![], b"<html>log in</html>"), Answer::Unknown(_)));
    }

    /// The Job of an agent that was killed, as the next deployment finds it.
    #[test]
    fn what_the_session_has_made_before_is_nothing_to_warn_of() {
        let said = json!({"kind": "Status", "reason": "AlreadyExists",
            "message": "jobs.batch \"agent-1\" already exists"});
        let answer = read(409, Vec::new(), said.to_string().as_bytes());
        assert_eq!(answer, Answer::Exists);
        assert_eq!(verdict(checks("an agent's Job", &json!({}), answer)), Ok(Vec::new()));
        assert!(matches!(refusal(409, "the object has been modified"), Answer::NotAsked(_)));
    }

    #[test]
    fn warnings_are_shown_as_the_server_words_them() {
        let header =
            "299 - \"would violate PodSecurity \\\"restricted:latest\\\": host namespaces (hostNetwork=true)\"";
        let text = warning(header).expect("a warning");
        assert_eq!(text, "would violate PodSecurity \"restricted:latest\": host namespaces (hostNetwork=true)");
        assert_eq!(warning("110 - \"stale\""), None);
        let object = json!({"metadata": {}});
        let checks = checks("an agent's Job", &object, Answer::Taken(object.clone(), vec![text.clone()]));
        assert!(checks[0].outcome == Outcome::Warning && checks[0].detail.contains(&text), "{checks:?}");
    }
}
