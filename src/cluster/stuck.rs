//! A container that its image or its settings keep from running: one state machine over what a pod says in turn.
//!
//! Owns that such a pod stays failed, with its reason, until that container runs: while the kubelet backs off it says
//! that it creates the container, that it cannot, and that it waits. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::progress::AGENT;
use crate::model::{DeployProgress, Notice};

/// Why a container does not come to run.
#[derive(Debug, Clone)]
pub(super) struct Stuck {
    container: String,
    notice: Notice,
}

/// Reasons of a container that waits for what does not come by itself.
const REASONS: [&str; 9] = [
    "ErrImagePull",
    BACKING_OFF,
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "ImageInspectError",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];
/// Says that the next try is later, and not why the last one failed.
const BACKING_OFF: &str = "ImagePullBackOff";
/// How a container ends that was never started.
const NOT_STARTED: [&str; 2] = ["StartError", "ContainerCannotRun"];

impl Stuck {
    /// It is the agent's own container, not one that somebody has added.
    pub fn is_of_agent(&self) -> bool {
        self.container == AGENT
    }
}

/// What a pod's news mean after what was so before.
pub(super) fn hear(before: Option<Stuck>, pod: &Pod, news: DeployProgress) -> (Option<Stuck>, DeployProgress) {
    let before = before.filter(|stuck| !containers(pod).any(|one| one.name == stuck.container && has_run(one)));
    let waiting = containers(pod).find_map(|one| {
        let reason = one.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
        REASONS.contains(&reason).then(|| (one.name.clone(), reason))
    });
    match (news, waiting, before) {
        (DeployProgress::Failed(_), Some((name, BACKING_OFF)), Some(stuck)) if name == stuck.container => stays(stuck),
        (DeployProgress::Failed(notice), Some((container, _)), _) => stays(Stuck { container, notice }),
        (DeployProgress::Failed(_) | DeployProgress::Step(_), _, Some(stuck)) => stays(stuck),
        (news, ..) => (None, news),
    }
}

fn stays(stuck: Stuck) -> (Option<Stuck>, DeployProgress) {
    let told = DeployProgress::Failed(stuck.notice.clone());
    (Some(stuck), told)
}

/// Those that come before the agent's first, as they hold it up.
fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let before = status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
    let all = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    before.chain(all.filter(|one| one.name == AGENT))
}

fn has_run(container: &ContainerStatus) -> bool {
    let Some(state) = &container.state else { return false };
    let ended = state.terminated.as_ref().map(|end| end.reason.as_deref().unwrap_or_default());
    state.running.is_some() || ended.is_some_and(|reason| !NOT_STARTED.contains(&reason))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::progress;

    fn pod(init: &Value, agent: &Value) -> Pod {
        let status = |name: &str, state: &Value| json!({"name": name, "image": "reg/a:1", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        let init = if init.is_null() { json!([]) } else { json!([status("mesh-init", init)]) };
        serde_json::from_value(json!({"metadata": {}, "status": {"phase": "Pending", "initContainerStatuses": init,
            "containerStatuses": [status("agent", agent)]}}))
        .expect("a pod")
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"waiting": {"reason": reason, "message": message}})
    }

    /// What is told of each of these states of a pod in turn.
    fn told(states: &[(Value, Value)]) -> Vec<String> {
        let mut stuck = None;
        states
            .iter()
            .map(|(init, agent)| {
                let pod = pod(init, agent);
                let (now, told) = hear(stuck.take(), &pod, progress::of_pod(&pod));
                stuck = now;
                match told {
                    DeployProgress::Failed(notice) => notice.fact(),
                    DeployProgress::Step(step) => step,
                    other => format!("{other:?}"),
                }
            })
            .collect()
    }

    fn of_agent(states: &[Value]) -> Vec<String> {
        told(&states.iter().map(|state| (Value::Null, state.clone())).collect::<Vec<_>>())
    }

    #[test]
    fn a_container_that_was_never_started_keeps_that_reason_when_it_is_restarted() {
        let failed = json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "no such file"}});
        let told = of_agent(&[
            waiting("RunContainerError", "no such file: /nodewatch-agent"),
            failed,
            waiting("CrashLoopBackOff", "back-off 10s"),
            json!({"terminated": {"exitCode": 1, "reason": "Error"}}),
        ]);
        let reason = "the agent's container cannot be started: no such file: /nodewatch-agent";
        assert_eq!(told[..3], [reason; 3]);
        assert_eq!(told[3], "restarting, exit code 1 Error", "this time it ran");
    }

    #[test]
    fn the_last_reason_counts_and_backing_off_is_none() {
        let told = of_agent(&[
            waiting("ImagePullBackOff", "Back-off"),
            waiting("ErrImagePull", "i/o timeout"),
            waiting("ImagePullBackOff", "Back-off"),
            waiting("ErrImagePull", "not found"),
        ]);
        let of = |why: &str| format!("the image reg/a:1 cannot be pulled: {why}");
        assert_eq!(told, [of("Back-off"), of("i/o timeout"), of("i/o timeout"), of("not found")]);
    }

    #[test]
    fn a_container_before_the_agents_holds_it_up_until_it_runs() {
        let idle = waiting("PodInitializing", "");
        let states = [waiting("ErrImagePull", "not found"), waiting("PodInitializing", ""), json!({"running": {}})];
        let told = told(&states.map(|init| (init, idle.clone())));
        assert!(told[0].contains("mesh-init") && told[0] == told[1], "{told:?}");
        assert_eq!(told[2], "waiting: PodInitializing");
    }
}
