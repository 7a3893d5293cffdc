//! Why a pod does not come up, read from the pod and from the events around it, within seconds.
//!
//! Owns which of Kubernetes' many words mean waiting and which mean failure. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};

use crate::model::{DeployProgress, Notice};

/// What a pod says of itself.
pub(super) fn of_pod(pod: &Pod) -> DeployProgress {
    let status = pod.status.as_ref();
    let reason = |text: &Option<String>| text.clone().unwrap_or_default();
    match status.and_then(|status| status.phase.as_deref()) {
        Some("Succeeded") => return DeployProgress::Ended("the agent ended by itself".to_owned()),
        Some("Failed") => {
            let (why, message) =
                status.map(|status| (reason(&status.reason), reason(&status.message))).unwrap_or_default();
            return DeployProgress::Ended(format!("its pod failed: {why} {message}").trim_end().to_owned());
        }
        _ => {}
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return DeployProgress::Ended("its pod is being deleted".to_owned());
    }
    if let Some(container) = status.and_then(|status| status.container_statuses.as_ref()?.first()) {
        return of_container(container);
    }
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let scheduled = conditions.into_iter().flatten().find(|condition| condition.type_ == "PodScheduled");
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

fn of_container(container: &ContainerStatus) -> DeployProgress {
    let Some(state) = &container.state else { return DeployProgress::Step("starting".to_owned()) };
    if state.running.is_some() {
        return DeployProgress::Running;
    }
    let waiting = state.waiting.as_ref();
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let message = waiting.and_then(|waiting| waiting.message.clone()).unwrap_or_else(|| reason.to_owned());
    let failed =
        |headline: String, next_step: &str| DeployProgress::Failed(Notice::error(headline, message.clone(), next_step));
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError" => failed(
            format!("the image {} cannot be pulled", container.image),
            "name an image that this node can pull with --image, or load it onto the node",
        ),
        "CrashLoopBackOff" => failed(
            "the agent's container ends again and again".to_owned(),
            &format!("see kubectl logs; its last end: {}", last_end(container)),
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
                ("the pod cannot be created", "the reason is the cluster's; the Job goes on trying")
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
