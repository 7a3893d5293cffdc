//! What would stop a session, found out before anything is created.
//!
//! Owns the checks and their fixes. Every call is a question: access reviews, lists, and one dry run.

mod admission;
mod changes;
mod room;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::api::{
    authorization::v1::SelfSubjectAccessReview,
    core::v1::{LimitRange, Namespace, Node as KubeNode, ResourceQuota},
};
use kube::{
    Client,
    api::{Api, ListParams, PostParams},
    client::Body,
};
use serde_json::json;

use super::{
    AgentSettings, PARALLEL,
    connect::Connection,
    error::{Attempt, notice},
    image::{Reading, read},
    lists::{Selection, pages},
    objects::{Draft, Session, namespace_name},
    template::ManifestError,
};
use crate::{
    base::{clock::unix_millis, text},
    model::{AgentImage, Failure, Node, NodeName, Notice, Outcome, PreflightCheck, Readiness, SessionId},
};

/// Clocks that differ by more make times on the screens misleading.
const CLOCK_WITHIN: Duration = Duration::from_secs(5);
/// The first version in which a Job's time to live is on by default.
const TTL_SINCE: (u32, u32) = (1, 21);

/// The check of the agents' image.
const IMAGE: &str = "image";

/// One thing that a user must be allowed.
struct Right {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    /// In the agents' namespace; otherwise in the whole cluster.
    namespaced: bool,
    /// Without it a session still works, without what is named here.
    costs: Option<&'static str>,
}

fn rights(settings: &AgentSettings) -> Vec<Right> {
    let mut rights = Vec::new();
    let mut need = |group, resource: &'static str, namespaced, verbs: &[&'static str], costs| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let right = |&verb: &&'static str| Right { verb, group, resource, subresource, namespaced, costs };
        rights.extend(verbs.iter().map(right));
    };
    need("", "nodes", false, &["list", "watch"], None);
    need("", "namespaces", false, &["get"], None);
    if settings.namespace.is_none() {
        need("", "namespaces", false, &["create", "delete"], None);
        need(
            "",
            "namespaces",
            false,
            &["patch"],
            Some("moving the session's end for the reaper and for other laptops"),
        );
    }
    need("", "serviceaccounts", true, &["list", "create", "delete"], None);
    need("batch", "jobs", true, &["list", "create", "delete"], None);
    need("batch", "jobs", true, &["patch"], Some("moving the session's end"));
    need("", "pods", true, &["list", "watch"], None);
    need("", "pods", true, &["delete"], Some("removing pods whose Job was deleted without them"));
    need("", "pods/exec", true, &["get"], None);
    need("", "pods/exec", true, &["create"], Some("tunnels on Kubernetes 1.35 and later"));
    need("", "events", true, &["list", "watch"], Some("the reasons why a pod does not start"));
    need("", "namespaces", false, &["list"], Some("finding sessions started on other laptops"));
    need(
        "",
        "services",
        false,
        &["list"],
        Some("service names in merged captures, their expected ports, and --service"),
    );
    need(
        "",
        "pods",
        false,
        &["list"],
        Some("pod names in merged captures, their expected ports, and captures of pods"),
    );
    need(
        "discovery.k8s.io",
        "endpointslices",
        false,
        &["list"],
        Some("whether a service's port has pods behind it, and --service"),
    );
    need("", "endpoints", false, &["list"], Some("the same on Kubernetes before 1.21"));
    let changes = Some("answers that know what was changed in the cluster");
    for (group, resource) in [("", "pods"), ("", "services"), ("discovery.k8s.io", "endpointslices")] {
        need(group, resource, false, &["watch"], changes);
    }
    need("networking.k8s.io", "networkpolicies", false, &["list", "watch"], changes);
    if settings.reaper {
        need("rbac.authorization.k8s.io", "roles", true, &["create"], None);
        need("rbac.authorization.k8s.io", "rolebindings", true, &["create"], None);
        need("", "services", true, &["list"], None);
        need("", "persistentvolumeclaims", true, &["list"], None);
        for resource in ["deployments", "statefulsets", "daemonsets"] {
            need("apps", resource, true, &["list"], None);
        }
    }
    if settings.daemonset {
        need("apps", "daemonsets", true, &["create", "patch", "delete"], None);
    }
    rights
}

/// The command that sees the same.
fn again(settings: &AgentSettings) -> String {
    match &settings.namespace {
        Some(name) => text::command(["preflight", "--namespace", name]),
        None => text::command(["preflight"]),
    }
}

/// Refuses what is known to fail; else what is worth knowing before the session.
pub(super) async fn gate(
    connection: &Connection,
    settings: &AgentSettings,
    nodes: &[NodeName],
) -> Result<Option<Notice>, Notice> {
    let checks = run(connection, settings, nodes).await;
    let failed: Vec<&PreflightCheck> = checks.iter().filter(|check| check.outcome.stops()).collect();
    let Some(worst) = failed.iter().map(|check| check.outcome).max() else {
        // That the default image is published nowhere was said before anything was asked.
        let told = checks.into_iter().filter(|check| !(settings.image.is_default && check.check == IMAGE));
        return Ok(warnings(&told.collect::<Vec<_>>()));
    };
    let details: Vec<String> = failed.iter().map(|check| format!("{}: {}", check.check, check.detail)).collect();
    let next_step = format!("{} shows how to fix it; nothing was created", again(settings));
    let failure = if worst == Outcome::NotPermitted { Failure::NotPermitted } else { Failure::Other };
    Err(Notice::error("preflight found problems that would stop the session", details.join("; "), next_step)
        .of(failure))
}

/// What does not stop a session and is worth knowing, as one notice.
pub(super) fn warnings(checks: &[PreflightCheck]) -> Option<Notice> {
    let found: Vec<&PreflightCheck> =
        checks.iter().filter(|check| matches!(check.outcome, Outcome::Warning | Outcome::Unknown)).collect();
    let details: Vec<String> = found.iter().map(|check| format!("{}: {}", check.check, check.detail)).collect();
    let next_step = match &found[..] {
        [] => return None,
        [one] if !one.fix.is_empty() => one.fix.clone(),
        _ => "nodewatch-tui preflight shows how to fix it".to_owned(),
    };
    Some(Notice::warning("preflight warns", details.join("; "), next_step))
}

/// Asks for these in a namespace that is there, before the first of them is made.
pub(super) async fn asked_for(client: &Client, drafts: &[Draft]) -> Result<Option<Notice>, Notice> {
    Ok(warnings(&admission::verdict(admission::ask_for_all(client, drafts).await)?))
}

/// Asks for an agent in the session's own namespace, which is there now; nothing of an agent is made yet.
pub(super) async fn in_own_namespace(
    client: &Client,
    session: Session<'_>,
    nodes: &[NodeName],
) -> Result<Option<Notice>, Notice> {
    let namespace = namespace_name(session.id);
    let checks = admission::in_the_namespace(client, session, &namespace, nodes, true).await;
    let checks = checks.map_err(|error| Notice::error("no agent", error.to_string(), "report this as a bug"))?;
    Ok(warnings(&admission::verdict(checks)?))
}

/// All checks, for these nodes or for all of them.
pub(super) async fn run(connection: &Connection, settings: &AgentSettings, nodes: &[NodeName]) -> Vec<PreflightCheck> {
    let client = &connection.client;
    let namespace = settings.namespace.clone().unwrap_or_else(|| namespace_name(&SessionId::new(0)));
    let program_for = settings.push.as_ref().map(|push| push.architecture);
    let (server, access, room, machines) = tokio::join!(
        server(client),
        access(client, settings, &namespace),
        agents_namespace(client, settings, nodes),
        machines(client, nodes, program_for),
    );
    let image = check_image(&settings.image);
    [server, access, room, machines, vec![image]].concat()
}

fn check(what: &str, outcome: Outcome, detail: impl Into<String>, fix: impl Into<String>) -> PreflightCheck {
    PreflightCheck { check: what.to_owned(), outcome, detail: detail.into(), fix: fix.into() }
}

/// A question that could not be asked. What passes by itself refuses nothing.
fn unanswered(what: &str, notice: &Notice) -> PreflightCheck {
    let outcome = match notice.failure {
        Failure::NotPermitted => Outcome::NotPermitted,
        passing if passing.is_passing() => Outcome::Unknown,
        _ => Outcome::Failed,
    };
    check(what, outcome, format!("{}: {}", notice.headline, notice.cause), notice.next_step.clone())
}

/// Version and clock, from one answer.
async fn server(client: &Client) -> Vec<PreflightCheck> {
    let attempt = Attempt { what: "ask the API server for its version".to_owned(), rights: "none" };
    let ask = async {
        let request = http::Request::get("/version").body(Body::empty()).map_err(kube::Error::HttpError)?;
        let response = client.send(request).await?;
        let date = response.headers().get("date").and_then(|date| date.to_str().ok()).map(str::to_owned);
        let status = response.status();
        let body = response.into_body().collect_bytes().await?;
        Ok::<_, kube::Error>((status, date, body))
    };
    let (status, date, body) = match ask.await {
        Ok(answer) => answer,
        Err(error) => return vec![unanswered("API server", &notice(&attempt, &error))],
    };
    let version: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut checks = vec![check_version(status.as_u16(), &version)];
    let date = date.and_then(|date| jiff::fmt::rfc2822::parse(&date).ok());
    checks.extend(date.map(|date| check_clock(date.timestamp().as_millisecond(), unix_millis() as i64)));
    checks
}

fn check_version(status: u16, version: &serde_json::Value) -> PreflightCheck {
    let text = version["gitVersion"].as_str().unwrap_or_default();
    let number = |name: &str| -> Option<u32> {
        version[name].as_str()?.trim_end_matches(|character: char| !character.is_ascii_digit()).parse().ok()
    };
    let what = "API server version";
    match (number("major"), number("minor")) {
        (Some(major), Some(minor)) if (major, minor) < TTL_SINCE => check(
            what,
            Outcome::Warning,
            format!("{text}: finished Jobs are kept until cleanup unless TTLAfterFinished is enabled"),
            "use the guided exit, or run nodewatch-tui cleanup",
        ),
        (Some(_), Some(_)) => check(what, Outcome::Passed, text, ""),
        // It is away for a moment.
        _ if status == 429 || status >= 500 => {
            check(what, Outcome::Unknown, format!("no answer: the API server says {status}"), "")
        }
        _ => {
            let detail = format!("the answer ({status}) is not a Kubernetes version");
            check(what, Outcome::Failed, detail, "check the server address in the kubeconfig")
        }
    }
}

fn check_clock(theirs: i64, ours: i64) -> PreflightCheck {
    // The header has whole seconds.
    let apart = Duration::from_millis((theirs - ours).unsigned_abs()).saturating_sub(Duration::from_secs(1));
    let (outcome, fix) = if apart > CLOCK_WITHIN {
        (Outcome::Warning, "set this machine's clock: times on the screens would mislead")
    } else {
        (Outcome::Passed, "")
    };
    check("clock", outcome, format!("differs from the API server's by {} s", (theirs - ours).abs() / 1000), fix)
}

/// Each verb on each kind that a session uses.
async fn access(client: &Client, settings: &AgentSettings, namespace: &str) -> Vec<PreflightCheck> {
    let rights = rights(settings);
    let total = rights.len();
    let answers: Vec<(Right, Result<bool, kube::Error>)> = stream::iter(rights)
        .map(|right| async move {
            let answer = allowed(client, &right, namespace).await;
            (right, answer)
        })
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    let mut missing = Vec::new();
    let mut unanswered_of = Vec::new();
    for (right, answer) in answers {
        match answer {
            Ok(true) => {}
            Ok(false) => missing.push(right),
            Err(error) => {
                let what = "check your rights".to_owned();
                let rights = "create on selfsubjectaccessreviews (authorization.k8s.io)";
                unanswered_of.push(unanswered("rights", &notice(&Attempt { what, rights }, &error)));
            }
        }
    }
    let known = total - missing.len() - unanswered_of.len();
    let mut checks = Vec::new();
    match unanswered_of.into_iter().max_by_key(|check| check.outcome) {
        None => checks.push(check("rights", Outcome::Passed, format!("{known} of {total} that a session uses"), "")),
        // The others were answered.
        Some(worst) => {
            let asked = format!("{}; {known} of {total} that a session uses are known", worst.detail);
            checks.push(PreflightCheck { detail: asked, ..worst });
        }
    }
    checks.extend(missing_rights(&missing));
    checks
}

async fn allowed(client: &Client, right: &Right, namespace: &str) -> Result<bool, kube::Error> {
    let mut attributes = json!({"verb": right.verb, "group": right.group, "resource": right.resource});
    if !right.subresource.is_empty() {
        attributes["subresource"] = json!(right.subresource);
    }
    if right.namespaced {
        attributes["namespace"] = json!(namespace);
    }
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "metadata": {}, "spec": {"resourceAttributes": attributes}});
    let review: SelfSubjectAccessReview = serde_json::from_value(review).map_err(kube::Error::SerdeError)?;
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// One check a kind, with the rule that would mend it.
fn missing_rights(missing: &[Right]) -> Vec<PreflightCheck> {
    let mut kinds: BTreeMap<(&str, &str, &str), Vec<&Right>> = BTreeMap::new();
    for right in missing {
        kinds.entry((right.group, right.resource, right.subresource)).or_default().push(right);
    }
    let check_kind = |((group, resource, subresource), mut rights): ((&str, &str, &str), Vec<&Right>)| {
        rights.sort_by_key(|right| right.verb);
        let verbs: Vec<&str> = rights.iter().map(|right| right.verb).collect();
        let verbs = verbs.join(", ");
        let slash = if subresource.is_empty() { "" } else { "/" };
        let resource = format!("{resource}{slash}{subresource}");
        let kind = if group.is_empty() { resource.clone() } else { format!("{resource} ({group})") };
        let costs: Option<Vec<&str>> = rights.iter().map(|right| right.costs).collect();
        let (outcome, without) = match costs {
            Some(mut costs) => {
                costs.dedup();
                (Outcome::Warning, format!("; optional: needed for {}", costs.join(", and ")))
            }
            None => (Outcome::NotPermitted, String::new()),
        };
        let group = if group.is_empty() { "\"\"" } else { group };
        let fix = format!("- apiGroups: [{group}]\n  resources: [{resource}]\n  verbs: [{verbs}]");
        check("rights", outcome, format!("no right to {verbs} on {kind}{without}"), fix)
    };
    kinds.into_iter().map(check_kind).collect()
}

/// Whether the agents' namespace lets them in and has room for them.
async fn agents_namespace(client: &Client, settings: &AgentSettings, nodes: &[NodeName]) -> Vec<PreflightCheck> {
    let (what, agents) = ("pod security", nodes.len());
    let broken =
        |error: ManifestError| vec![check("admission", Outcome::Failed, error.to_string(), "report this as a bug")];
    let Some(name) = &settings.namespace else {
        return admission::before_the_namespace(client, settings, nodes).await.unwrap_or_else(broken);
    };
    let attempt = |what: String, rights| Attempt { what, rights };
    let namespace = match Api::<Namespace>::all(client.clone()).get_opt(name).await {
        Ok(Some(namespace)) => namespace,
        Ok(None) => {
            let fix = format!("kubectl create namespace {}, or omit --namespace", text::shell(name));
            return vec![check("namespace", Outcome::Failed, format!("namespace {name:?} does not exist"), fix)];
        }
        Err(error) => {
            let attempt = attempt(format!("get namespace {name}"), "get on namespaces");
            return vec![unanswered("namespace", &notice(&attempt, &error))];
        }
    };
    let labels = namespace.metadata.labels.unwrap_or_default();
    let level = labels.get("pod-security.kubernetes.io/enforce").map_or("privileged", String::as_str);
    let mut checks = vec![match level {
        "privileged" => check(what, Outcome::Passed, format!("namespace {name} enforces {level}"), ""),
        _ => check(
            what,
            Outcome::Failed,
            format!("namespace {name} enforces {level}, which refuses pods on the host's network"),
            format!(
                "kubectl label --overwrite namespace {} pod-security.kubernetes.io/enforce=privileged",
                text::shell(name)
            ),
        ),
    }];
    let all = ListParams::default();
    let (quotas, limits) =
        tokio::join!(async { Api::<ResourceQuota>::namespaced(client.clone(), name).list(&all).await }, async {
            Api::<LimitRange>::namespaced(client.clone(), name).list(&all).await
        },);
    checks.push(match quotas {
        Ok(quotas) => room::quota(&quotas.items, agents.max(1)),
        Err(error) => {
            let attempt = attempt("list the quotas".to_owned(), "list on resourcequotas");
            PreflightCheck { outcome: Outcome::Warning, ..unanswered("quota", &notice(&attempt, &error)) }
        }
    });
    checks.push(match limits {
        Ok(limits) => room::limits(&limits.items),
        Err(error) => {
            let attempt = attempt("list the limit ranges".to_owned(), "list on limitranges");
            PreflightCheck { outcome: Outcome::Warning, ..unanswered("limit range", &notice(&attempt, &error)) }
        }
    });
    let (id, now) = (SessionId::new(0), unix_millis());
    let session = Session { id: &id, settings, began: now, ends: now };
    let account = settings.service_account.is_some();
    let admitted = admission::in_the_namespace(client, session, name, nodes, account).await;
    checks.extend(admitted.unwrap_or_else(broken));
    checks
}

async fn machines(client: &Client, chosen: &[NodeName], program_for: Option<&str>) -> Vec<PreflightCheck> {
    let wanted = |node: &Node| chosen.is_empty() || chosen.contains(&node.name);
    let mut nodes: Vec<Node> = Vec::new();
    let each = |node: KubeNode| {
        let mut node = super::nodes::convert(&node);
        node.machine.program_for = program_for.map(str::to_owned);
        nodes.extend(Some(node).filter(wanted));
    };
    if let Err(error) = pages(client, "/api/v1/nodes", Selection::default(), each).await {
        let attempt = Attempt { what: "list the nodes".to_owned(), rights: "list and watch on nodes" };
        return vec![unanswered("nodes", &notice(&attempt, &error))];
    }
    // Those of nodes that no agent runs on are of no interest.
    let tainted = nodes.iter().filter(|node| node.cannot_run().is_none() && !node.machine.taints.is_empty()).count();
    check_nodes(&nodes, tainted)
}

/// Nodes that agents can run on, and what else there is to say of them.
fn check_nodes(nodes: &[Node], tainted: usize) -> Vec<PreflightCheck> {
    let name = |node: &Node| node.name.0.clone();
    let (unfit, fit): (Vec<&Node>, Vec<&Node>) = nodes.iter().partition(|node| node.cannot_run().is_some());
    let mut checks = Vec::new();
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in &unfit {
        let reason = node.cannot_run().map(|reason| reason.to_string()).unwrap_or_default();
        reasons.entry(reason).or_default().push(name(node));
    }
    // Where some nodes will do, the session goes on with these.
    let outcome = if fit.is_empty() { Outcome::Failed } else { Outcome::Warning };
    checks.extend(reasons.into_iter().map(|(reason, names)| {
        check("compute", outcome, format!("no agent can run on {}: {reason}", shown(&names)), "choose other nodes")
    }));
    let architectures: BTreeSet<&str> = fit.iter().filter_map(|node| node.machine.architecture.as_deref()).collect();
    let architectures: Vec<&str> = architectures.into_iter().collect();
    match architectures.len() {
        0 => {}
        1 => checks.push(check("architecture", Outcome::Passed, format!("linux {}", architectures[0]), "")),
        _ => checks.push(check(
            "architecture",
            Outcome::Warning,
            format!("nodes are {}: the image must support each of them", architectures.join(" and ")),
            "build the image for several platforms (docker buildx)",
        )),
    }
    let not_ready: Vec<String> =
        fit.iter().filter(|node| node.readiness != Readiness::Ready).map(|node| name(node)).collect();
    checks.push(if not_ready.is_empty() {
        check("nodes", Outcome::Passed, format!("{} Ready", fit.len()), "")
    } else {
        let detail = format!("not Ready: {}", shown(&not_ready));
        check("nodes", Outcome::Warning, detail, "agents start there when the kubelet is back")
    });
    checks.push(check("taints", Outcome::Passed, format!("{tainted} nodes have some; agents tolerate all"), ""));
    checks
}

/// The first few names.
fn shown(names: &[String]) -> String {
    let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
    format!("{}{more}", names[..names.len().min(5)].join(", "))
}

fn check_image(image: &AgentImage) -> PreflightCheck {
    let what = IMAGE;
    if let Some(notice) = image.unpublished() {
        return check(what, Outcome::Warning, notice.fact(), notice.next_step);
    }
    let reference = image.reference.as_str();
    let fix = "set it with --image or NODEWATCH_IMAGE, e.g. registry.example/nodewatch-agent:0.1.0";
    match read(reference) {
        Reading::Good if reference.contains('@') => check(what, Outcome::Passed, format!("{reference}, by digest"), ""),
        Reading::Good => {
            let detail = format!("{reference}, by tag: the receipt has the digest that nodes ran");
            check(what, Outcome::Passed, detail, "")
        }
        Reading::Odd(detail) => check(what, Outcome::Warning, detail, fix),
        Reading::Bad(detail) => check(what, Outcome::Failed, format!("{reference:?}: {detail}"), fix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Machine;

    fn right(verb: &'static str, costs: Option<&'static str>) -> Right {
        Right { verb, group: "batch", resource: "jobs", subresource: "", namespaced: true, costs }
    }

    #[test]
    fn a_default_image_that_nobody_named_is_warned_of_as_published_nowhere() {
        let reference = "nodewatch-agent:0.1.0".to_owned();
        let asked = check_image(&AgentImage { reference, is_default: true });
        assert_eq!(asked.outcome, Outcome::Warning);
        assert!(asked.detail.contains("published") && asked.detail.contains("docker.io/library/"), "{}", asked.detail);
        assert!(asked.fix.contains("--push-agent") && asked.fix.contains("NODEWATCH_IMAGE"), "{}", asked.fix);
        let tagged = check_image(&AgentImage::from("registry.example/agent:1"));
        assert_eq!(tagged.outcome, Outcome::Passed);
        assert!(tagged.detail.contains("by tag"), "{}", tagged.detail);
        let digest = format!("registry.example/agent@sha256:{}", "0".repeat(64));
        assert_eq!(check_image(&AgentImage::from(digest.as_str())).detail, format!("{digest}, by digest"));
    }

    #[test]
    fn missing_rights_come_with_the_rule_that_mends_them() {
        let checks = missing_rights(&[right("delete", None), right("create", None)]);
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].outcome, Outcome::NotPermitted);
        assert_eq!(checks[0].detail, "no right to create, delete on jobs (batch)");
        assert_eq!(checks[0].fix, "- apiGroups: [batch]\n  resources: [jobs]\n  verbs: [create, delete]");
        let checks = missing_rights(&[right("patch", Some("moving the session's end"))]);
        assert_eq!(checks[0].outcome, Outcome::Warning);
    }

    #[test]
    fn the_operator_role_has_every_right_that_a_session_uses() {
        let settings = AgentSettings {
            image: AgentImage::default(),
            pull_policy: None,
            budget: Duration::ZERO,
            lease: Duration::ZERO,
            namespace: None,
            daemonset: true,
            reaper: true,
            service_account: None,
            ring: None,
            role: None,
            push: None,
            processes: false,
            owner: String::new(),
        };
        let role: serde_json::Value =
            serde_saphyr::from_str(include_str!("../../manifests/operator-rbac.yaml")).expect("YAML");
        let rules = role["rules"].as_array().expect("rules");
        for right in rights(&settings) {
            let slash = if right.subresource.is_empty() { "" } else { "/" };
            let resource = json!(format!("{}{slash}{}", right.resource, right.subresource));
            let has = |rule: &serde_json::Value, key: &str, value: &serde_json::Value| {
                rule[key].as_array().is_some_and(|all| all.contains(value))
            };
            let granted = rules.iter().any(|rule| {
                has(rule, "apiGroups", &json!(right.group))
                    && has(rule, "resources", &resource)
                    && has(rule, "verbs", &json!(right.verb))
            });
            assert!(granted, "{} on {resource} is missing from operator-rbac.yaml", right.verb);
        }
    }

    #[test]
    fn versions_and_clocks() {
        let version = |minor: &str| json!({"major": "1", "minor": minor, "gitVersion": format!("v1.{minor}")});
        assert_eq!(check_version(200, &version("33+")).outcome, Outcome::Passed);
        assert_eq!(check_version(200, &version("20")).outcome, Outcome::Warning);
        assert_eq!(check_version(404, &json!("what")).outcome, Outcome::Failed);
        assert_eq!(check_version(503, &json!("what")).outcome, Outcome::Unknown);
        assert_eq!(check_clock(10_000, 13_000).outcome, Outcome::Passed);
        assert_eq!(check_clock(100_000, 13_000).outcome, Outcome::Warning);
    }

    #[test]
    fn nodes_that_the_image_cannot_run_on_are_named() {
        let node = |name: &str, system: &str, architecture: &str| {
            let (system, architecture) = (Some(system.to_owned()), Some(architecture.to_owned()));
            let machine = Machine { system, architecture, ..Machine::default() };
            Node { readiness: Readiness::Ready, machine, ..Node::named(name.into()) }
        };
        let worst = |nodes: &[Node]| {
            let checks = check_nodes(nodes, 0);
            let worst = checks.iter().max_by_key(|check| check.outcome).expect("checks");
            (worst.outcome, worst.detail.clone())
        };
        let linux = node("a", "linux", "amd64");
        assert_eq!(worst(std::slice::from_ref(&linux)).0, Outcome::Passed);
        assert_eq!(worst(&[linux.clone(), node("b", "linux", "arm64")]).0, Outcome::Warning);
        let windows = node("win", "windows", "amd64");
        let (outcome, detail) = worst(&[linux.clone(), windows.clone()]);
        assert!(outcome == Outcome::Warning && detail.contains("win") && detail.contains("Linux"), "{detail}");
        assert_eq!(worst(&[windows]).0, Outcome::Failed, "no node is left");
        assert_eq!(worst(&[node("c", "linux", "s390x")]).0, Outcome::Failed);
        assert_eq!(worst(&[linux.clone(), node("c", "linux", "s390x")]).0, Outcome::Warning);
        let fargate = node("fargate-ip-10-0-1-2", "linux", "amd64");
        let (outcome, detail) = worst(&[linux, fargate]);
        assert!(outcome == Outcome::Warning && detail.contains("Fargate"), "{detail}");
    }
}
