//! Why a pod does not come up, read from the pod and from the events around it, within seconds.
//!
//! Owns which of Kubernetes' many words mean waiting and which mean failure. The container of the agent speaks for the
//! pod; others are looked at for reasons, as whoever admits pods may add some. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod, PodCondition, PodStatus};

use crate::model::{DeployProgress, Failure, Notice, disruption};

/// What a pod says of itself.
pub(super) fn of_pod(pod: &Pod) -> DeployProgress {
    let status = pod.status.as_ref();
    let reason = |text: &Option<String>| text.clone().unwrap_or_default();
    let is_deleted = pod.metadata.deletion_timestamp.is_some();
    match status.and_then(|status| status.phase.as_deref()) {
        // How it has ended since is no news.
        Some("Succeeded" | "Failed") if is_deleted => return DeployProgress::Ended("its pod was deleted".to_owned()),
        Some("Succeeded") => return DeployProgress::Ended("the agent ended by itself".to_owned()),
        Some("Failed") => {
            let (why, message) =
                status.map(|status| (reason(&status.reason), reason(&status.message))).unwrap_or_default();
            return DeployProgress::Ended(format!("its pod failed: {why} {message}").trim_end().to_owned());
        }
        _ => {}
    }
    let agent = status.and_then(agent_status);
    let runs = |container: &ContainerStatus| container.state.as_ref().is_some_and(|state| state.running.is_some());
    let conditions = || status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    // Without a deletion it may come to nothing: Kubernetes takes it back after two minutes.
    let disrupted = conditions().find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    if is_deleted {
        let words = |condition: &PodCondition| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            disruption::of_condition(&text(&condition.reason), &text(&condition.message))
        };
        let why = disrupted.map_or_else(|| "its pod is being deleted".to_owned(), words);
        // For as long as it is let, it closes its files and delivers.
        return if agent.is_some_and(runs) { DeployProgress::Ending(why) } else { DeployProgress::Ended(why) };
    }
    if let Some(agent) = agent {
        let begun = agent.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some());
        let before = status.and_then(|status| status.init_container_statuses.as_ref());
        let held = before.into_iter().flatten().find_map(held_up_by);
        return match held {
            Some(held) if !begun => held,
            _ => {
                of_container(agent, pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) == Some("Always"))
            }
        };
    }
    let scheduled = conditions().find(|condition| condition.type_ == "PodScheduled");
    match scheduled {
        Some(condition) if condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable") => {
            DeployProgress::Failed(Notice::error(
                "the pod cannot be scheduled onto its node",
                reason(&condition.message),
                "free some CPU, memory or pods on the node; the pod starts as soon as there is room",
            ))
        }
        Some(condition) if condition.status == "True" => DeployProgress::Step("waiting for the kubelet".to_owned()),
        _ => DeployProgress::Step("waiting for the scheduler".to_owned()),
    }
}

/// The container with this name is the agent's, whatever stands before it.
pub(super) const AGENT: &str = "agent";

fn agent_status(status: &PodStatus) -> Option<&ContainerStatus> {
    status.container_statuses.iter().flatten().find(|container| container.name == AGENT)
}

/// What the agent's container runs from, by digest, as its node says. Docker has a scheme before it; an image that was loaded
/// by hand has the digest of its settings alone.
pub(super) fn image_of(pod: &Pod) -> Option<String> {
    let agent = agent_status(pod.status.as_ref()?)?;
    let id = agent.image_id.split_once("://").map_or(agent.image_id.as_str(), |(_, id)| id);
    (!id.is_empty()).then(|| id.to_owned())
}

/// A container that must end, or be up, before the agent's begins.
fn held_up_by(container: &ContainerStatus) -> Option<DeployProgress> {
    let state = container.state.as_ref()?;
    let name = &container.name;
    if let Some(end) = &state.terminated {
        let waits = end.exit_code != 0;
        return waits.then(|| DeployProgress::Step(format!("container {name} ended, {}", last_end(container))));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    match reason {
        "" | "PodInitializing" | "ContainerCreating" => None,
        _ => Some(DeployProgress::Failed(Notice::error(
            format!("container {name}, which was added to the agent's pod, keeps it from starting"),
            [reason, waiting.message.as_deref().unwrap_or_default()].join(" ").trim_end().to_owned(),
            "ask whoever adds it for an exemption for nodewatch namespaces",
        ))),
    }
}

/// Until when whatever was said against a pod is over: its agent ran, or it was placed, or made, after that.
pub(super) fn good_since(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref();
    let started =
        status.and_then(agent_status).and_then(|agent| agent.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let scheduled = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "True")
        .and_then(|condition| condition.last_transition_time.as_ref());
    // These times have whole seconds: what is said in the second that it was made or placed in is news.
    let begun = scheduled.or(pod.metadata.creation_timestamp.as_ref());
    started.map(|time| time.0).or_else(|| begun?.0.checked_sub(SignedDuration::from_secs(1)).ok())
}

/// When an event was last so.
pub(super) fn time_of(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let times = [
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        series.map(|time| time.0),
    ];
    times.into_iter().flatten().max().or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

fn of_container(container: &ContainerStatus, always: bool) -> DeployProgress {
    let Some(state) = &container.state else { return DeployProgress::Step("starting".to_owned()) };
    if state.running.is_some() {
        return DeployProgress::Running;
    }
    // One that has ended well is not started again, also where another container keeps its pod from ending.
    if !always && state.terminated.as_ref().is_some_and(|end| end.exit_code == 0) {
        return DeployProgress::Ended("the agent ended by itself".to_owned());
    }
    let waiting = state.waiting.as_ref();
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let message = waiting.and_then(|waiting| waiting.message.clone()).unwrap_or_else(|| reason.to_owned());
    let refused = |headline: String, next_step: &str| Notice::error(headline, message.clone(), next_step);
    let failed = |headline: String, next_step: &str| DeployProgress::Failed(refused(headline, next_step));
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError" => {
            let headline = format!("the image {} cannot be pulled", container.image);
            let next_step = "{command}image NAME, then {deploy}";
            DeployProgress::Failed(refused(headline, next_step).naming_keys().of(Failure::Image))
        }
        "CrashLoopBackOff" => failed(
            "the agent's container keeps exiting".to_owned(),
            &format!("see kubectl logs; last exit: {}", last_end(container)),
        ),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => failed(
            "the agent's container cannot be started".to_owned(),
            "see kubectl describe pod; is it the agent image?",
        ),
        _ if state.terminated.is_some() => DeployProgress::Step(format!("restarting, {}", last_end(container))),
        "" => DeployProgress::Step("starting".to_owned()),
        other => DeployProgress::Step(format!("waiting: {other}")),
    }
}

fn last_end(container: &ContainerStatus) -> String {
    let state = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
        state.as_ref().and_then(|state| state.terminated.clone())
    };
    match state(&container.last_state).or(state(&container.state)) {
        Some(end) => {
            let why = end.reason.unwrap_or_default();
            format!("exit code {} {why} {}", end.exit_code, end.message.unwrap_or_default()).trim_end().to_owned()
        }
        None => "unknown".to_owned(),
    }
}

/// What an event says against the Job or pod that it names; `None` for good news and for what the pod says itself.
pub(super) fn of_event(event: &Event) -> Option<DeployProgress> {
    let message = event.message.clone().unwrap_or_default();
    let reason = event.reason.as_deref().unwrap_or_default();
    match reason {
        "FailedCreate" => {
            let (headline, next_step) = if message.contains("exceeded quota") {
                ("a quota refuses the pod", "raise the namespace's quota, or ask who set it for new namespaces")
            } else if message.contains("limit") && message.contains("LimitRange") || message.contains("usage per") {
                ("a limit range refuses the pod", "ask who set it for new namespaces")
            } else if message.contains("PodSecurity") || message.contains("violates") {
                ("pod security refuses the pod", "the agent needs hostNetwork and NET_RAW: ask for an exemption")
            } else if message.contains("admission webhook") || message.contains("denied the request") {
                ("an admission webhook refuses the pod", "ask its owner for an exemption for nodewatch namespaces")
            } else {
                ("the pod cannot be created", "the cluster refused it; the Job keeps retrying")
            };
            Some(DeployProgress::Failed(Notice::error(headline, message, next_step)))
        }
        "FailedScheduling" => Some(DeployProgress::Failed(Notice::error(
            "the pod cannot be scheduled onto its node",
            message,
            "free some CPU, memory or pods on the node; the pod starts as soon as there is room",
        ))),
        "FailedCreatePodSandBox" | "FailedMount" | "FailedKillPod" => {
            Some(DeployProgress::Step(format!("{reason}: {message}")))
        }
        "Pulling" => Some(DeployProgress::Step("pulling the image".to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: &serde_json::Value) -> DeployProgress {
        of_pod(&serde_json::from_value(serde_json::json!({"metadata": {}, "status": status})).expect("a pod"))
    }

    fn waiting(reason: &str) -> DeployProgress {
        pod(&serde_json::json!({"phase": "Pending", "containerStatuses": [{
            "name": "agent", "image": "reg/agent:1", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": "why"}}}]}))
    }

    fn headline(progress: Option<DeployProgress>) -> String {
        match progress {
            Some(DeployProgress::Failed(notice)) => notice.headline,
            other => panic!("no failure: {other:?}"),
        }
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_a_failure_at_once() {
        for reason in ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"] {
            assert_eq!(headline(Some(waiting(reason))), "the image reg/agent:1 cannot be pulled");
        }
        assert_eq!(waiting("ContainerCreating"), DeployProgress::Step("waiting: ContainerCreating".into()));
    }

    #[test]
    fn a_pod_that_was_deleted_has_ended_by_that_however_its_agent_did() {
        let time = "2026-01-01T10:00:00Z";
        for (phase, code) in [("Succeeded", 0), ("Failed", 143)] {
            let terminated = serde_json::json!({"terminated": {"exitCode": code}});
            let told = of_pod(&serde_json::from_value(serde_json::json!({
                "metadata": {"deletionTimestamp": time}, "status": {"phase": phase, "containerStatuses": [{
                    "name": "agent", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": terminated}]}}))
            .expect("a pod"));
            assert_eq!(told, DeployProgress::Ended("its pod was deleted".into()), "{phase}");
        }
    }

    #[test]
    fn a_pod_that_is_evicted_says_so_while_its_agent_runs() {
        let condition = serde_json::json!({"type": "DisruptionTarget", "status": "True",
            "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"});
        let evicted = |state: serde_json::Value| {
            let deleted = serde_json::json!({"deletionTimestamp": "2026-01-01T10:00:00Z"});
            let status = serde_json::json!({"phase": "Running", "conditions": [condition],
                "containerStatuses": [container("agent", &state)]});
            let of = |metadata| serde_json::json!({"metadata": metadata, "status": status});
            let only_said: Pod = serde_json::from_value(of(serde_json::json!({}))).expect("a pod");
            assert!(!matches!(of_pod(&only_said), DeployProgress::Ending(_)), "it may come to nothing");
            of_pod(&serde_json::from_value(of(deleted)).expect("a pod"))
        };
        let why = "its pod is evicted, as by kubectl drain or an autoscaler";
        assert_eq!(evicted(serde_json::json!({"running": {}})), DeployProgress::Ending(why.into()));
        assert_eq!(evicted(serde_json::json!({"terminated": {"exitCode": 143}})), DeployProgress::Ended(why.into()));
    }

    #[test]
    fn an_unschedulable_pod_says_why() {
        let progress = pod(&serde_json::json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}]}));
        assert_eq!(headline(Some(progress)), "the pod cannot be scheduled onto its node");
    }

    #[test]
    fn a_running_container_is_running_and_an_evicted_pod_has_ended() {
        let running = pod(&serde_json::json!({"phase": "Running", "containerStatuses": [{
            "name": "agent", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {}}}]}));
        assert_eq!(running, DeployProgress::Running);
        let evicted = pod(&serde_json::json!({"phase": "Failed", "reason": "Evicted", "message": "low on disk"}));
        assert_eq!(evicted, DeployProgress::Ended("its pod failed: Evicted low on disk".into()));
    }

    fn container(name: &str, state: &serde_json::Value) -> serde_json::Value {
        serde_json::json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state})
    }

    #[test]
    fn the_agents_container_speaks_for_the_pod_and_not_one_that_was_added() {
        let json = serde_json::json!({"phase": "Running", "containerStatuses": [
            container("a-sidecar", &serde_json::json!({"waiting": {"reason": "ImagePullBackOff"}})),
            container("agent", &serde_json::json!({"running": {}}))]});
        assert_eq!(pod(&json), DeployProgress::Running);
        let json = serde_json::json!({"phase": "Running", "containerStatuses": [
            container("a-sidecar", &serde_json::json!({"running": {}})),
            container("agent", &serde_json::json!({"terminated": {"exitCode": 0, "reason": "Completed"}}))]});
        assert_eq!(pod(&json), DeployProgress::Ended("the agent ended by itself".into()), "the pod goes on without it");
        let json = serde_json::json!({"phase": "Running", "containerStatuses": [
            container("agent", &serde_json::json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))]});
        assert_eq!(pod(&json), DeployProgress::Step("restarting, exit code 137 OOMKilled".into()));
    }

    #[test]
    fn a_container_that_was_put_before_the_agent_is_named_when_it_holds_it_up() {
        let status = |state: &serde_json::Value| {
            pod(&serde_json::json!({"phase": "Pending", "initContainerStatuses": [container("mesh-init", state)],
                "containerStatuses": [container("agent", &serde_json::json!({"waiting": {"reason": "PodInitializing"}}))]}))
        };
        let held = status(&serde_json::json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}));
        let notice = headline(Some(held));
        assert!(notice.contains("container mesh-init"), "{notice}");
        let ended = status(&serde_json::json!({"terminated": {"exitCode": 1, "reason": "Error"}}));
        assert_eq!(ended, DeployProgress::Step("container mesh-init ended, exit code 1 Error".into()));
        let done = status(&serde_json::json!({"terminated": {"exitCode": 0}}));
        assert_eq!(done, DeployProgress::Step("waiting: PodInitializing".into()));
    }

    #[test]
    fn what_refuses_a_pod_is_told_apart() {
        let event = |message: &str| {
            of_event(
                &serde_json::from_value(serde_json::json!({
                    "metadata": {}, "involvedObject": {"kind": "Job"}, "reason": "FailedCreate", "message": message}))
                .expect("an event"),
            )
        };
        assert_eq!(headline(event("exceeded quota: q, requested: pods=1")), "a quota refuses the pod");
        assert_eq!(
            headline(event("admission webhook \"x\" denied the request")),
            "an admission webhook refuses the pod"
        );
        assert_eq!(headline(event("violates PodSecurity \"baseline\"")), "pod security refuses the pod");
    }
}
