//! Which pod is a node's agent, by its UID, and which news of pods and events are about it.
//!
//! Owns the one pod a node that counts, what a whole list says of those that are not in it, and how old an event may
//! be. Pure: must not ask the API server.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;

use super::{
    progress,
    stuck::{self, Stuck},
};
use crate::model::{DeployProgress, NodeName};

/// The pod that is a node's agent.
#[derive(Debug, Clone)]
struct Current {
    name: String,
    uid: String,
    created: Option<Timestamp>,
    /// When it was last seen to do well; what was said against it until then is over.
    good: Option<Timestamp>,
    /// It is being deleted, and its agent still runs.
    ending: bool,
    /// What keeps its container from running.
    stuck: Option<Stuck>,
    /// What it runs from, by digest.
    image: Option<String>,
}

/// Each node's pod.
#[derive(Debug, Default)]
pub(super) struct Pods {
    current: HashMap<NodeName, Current>,
    /// UIDs of pods that have ended.
    over: HashSet<String>,
    /// What the list that is coming in has shown so far.
    listing: Option<Listing>,
}

#[derive(Debug, Default)]
struct Listing {
    /// UIDs of the pods in it.
    seen: HashSet<String>,
    /// Nodes with a pod that has ended, and why.
    ended: HashMap<NodeName, String>,
}

impl Pods {
    /// The name of a node's pod.
    pub fn name(&self, node: &NodeName) -> Option<String> {
        self.current.get(node).map(|pod| pod.name.clone())
    }

    /// The UID of a node's pod.
    pub fn uid(&self, node: &NodeName) -> Option<String> {
        self.current.get(node).map(|pod| pod.uid.clone())
    }

    /// Whether the container of a node's agent never came to run, for want of its image or by its settings.
    pub fn is_stuck(&self, node: &NodeName) -> bool {
        self.current.get(node).and_then(|pod| pod.stuck.as_ref()).is_some_and(Stuck::is_of_agent)
    }

    /// A new agent was asked for: what was there before speaks for the node no more.
    pub fn forget(&mut self, node: &NodeName) {
        if let Some(pod) = self.current.remove(node) {
            self.over.insert(pod.uid);
        }
    }

    /// A list begins.
    pub fn list_begins(&mut self) {
        self.listing = Some(Listing::default());
    }

    /// A list is whole: a pod that was not in it is gone, whatever was missed.
    pub fn list_is_whole(&mut self) -> Vec<(NodeName, DeployProgress)> {
        let Some(listing) = self.listing.take() else { return Vec::new() };
        let missing: Vec<NodeName> = self
            .current
            .iter()
            .filter(|(_, pod)| !listing.seen.contains(&pod.uid))
            .map(|(node, _)| node.clone())
            .collect();
        let gone = missing.into_iter().map(|node| {
            self.forget(&node);
            (node, "its pod is gone".to_owned())
        });
        let mut ended: HashMap<NodeName, String> = gone.collect();
        let unknown = listing.ended.into_iter().filter(|(node, _)| !self.current.contains_key(node));
        ended.extend(unknown);
        ended.into_iter().map(|(node, why)| (node, DeployProgress::Ended(why))).collect()
    }

    /// A pod is there, or has changed; what there is to tell of its node.
    pub fn applied(&mut self, node: &NodeName, pod: &Pod) -> Vec<DeployProgress> {
        let news = progress::of_pod(pod);
        let uid = pod.uid().unwrap_or_else(|| pod.name_any());
        if let Some(listing) = &mut self.listing {
            listing.seen.insert(uid.clone());
        }
        if self.over.contains(&uid) {
            return Vec::new();
        }
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let mut told = Vec::new();
        match (self.current.get(node), &news) {
            (Some(current), _) if current.uid == uid => {}
            (Some(_), DeployProgress::Ended(_)) => return Vec::new(),
            (Some(current), _) if created < current.created => return Vec::new(),
            // The one that is being deleted has the tunnel for as long as it lives.
            (Some(current), news) if current.ending && *news != DeployProgress::Running => return Vec::new(),
            (Some(_), _) => {
                self.forget(node);
                told.push(DeployProgress::Ended("another pod has taken its place".to_owned()));
            }
            // Which of a list's pods count is known when it is whole.
            (None, DeployProgress::Ended(why)) => {
                if let Some(listing) = &mut self.listing {
                    listing.ended.insert(node.clone(), why.clone());
                }
                return Vec::new();
            }
            (None, _) => {}
        }
        let known = self.current.get(node).and_then(|current| current.image.clone());
        let image = progress::image_of(pod).or_else(|| known.clone());
        told.extend(image.clone().filter(|_| image != known).map(DeployProgress::Image));
        let before = self.current.get_mut(node).and_then(|current| current.stuck.take());
        let (stuck, news) = stuck::hear(before, pod, news);
        if matches!(news, DeployProgress::Ended(_)) {
            self.forget(node);
        } else {
            let current = Current {
                name: pod.name_any(),
                uid,
                created,
                good: progress::good_since(pod),
                ending: pod.metadata.deletion_timestamp.is_some(),
                stuck,
                image,
            };
            self.current.insert(node.clone(), current);
        }
        told.push(news);
        told
    }

    /// A pod has gone.
    pub fn deleted(&mut self, node: &NodeName, pod: &Pod) -> Option<DeployProgress> {
        let uid = pod.uid().unwrap_or_else(|| pod.name_any());
        (self.uid(node)? == uid).then(|| {
            self.forget(node);
            DeployProgress::Ended("its pod was deleted".to_owned())
        })
    }

    /// What an event says of a node's agent; `None` where that is no news. Of a pod whose container cannot run, that it is
    /// tried again is none.
    pub fn heard(&self, node: &NodeName, event: &Event) -> Option<DeployProgress> {
        let told = progress::of_event(event).filter(|_| self.counts(node, event))?;
        let is_stuck = self.current.get(node).is_some_and(|pod| pod.stuck.is_some());
        (!is_stuck || !matches!(told, DeployProgress::Step(_))).then_some(told)
    }

    /// Whether an event is news of what the node's agent is now: of its pod, and younger than the last good of it.
    fn counts(&self, node: &NodeName, event: &Event) -> bool {
        let about = &event.involved_object;
        let of_pod = about.kind.as_deref() == Some("Pod");
        let Some(current) = self.current.get(node) else {
            return !(of_pod && about.uid.as_ref().is_some_and(|uid| self.over.contains(uid)));
        };
        if of_pod && about.uid.as_ref().is_some_and(|uid| *uid != current.uid) {
            return false;
        }
        match (progress::time_of(event), current.good) {
            (Some(at), Some(good)) => at > good,
            // What cannot be told apart from old news is none.
            (None, Some(_)) => false,
            (_, None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(uid: &str, created: &str, phase: &str, state: &Value) -> Pod {
        let statuses =
            json!([{"name": "agent", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": state}]);
        serde_json::from_value(json!({
            "metadata": {"name": format!("pod-{uid}"), "uid": uid, "creationTimestamp": created},
            "status": {"phase": phase, "containerStatuses": statuses}}))
        .expect("a pod")
    }

    fn running(uid: &str) -> Pod {
        pod(uid, "2026-01-01T10:00:00Z", "Running", &json!({"running": {"startedAt": "2026-01-01T10:00:05Z"}}))
    }

    #[test]
    fn the_image_that_runs_is_told_once_by_its_digest() {
        let mut pods = Pods::default();
        let node = NodeName::from("n");
        let mut pod = running("a");
        let told = |pods: &mut Pods, pod: &Pod| {
            let images = pods.applied(&node, pod).into_iter().filter_map(|told| match told {
                DeployProgress::Image(image) => Some(image),
                _ => None,
            });
            images.collect::<Vec<_>>()
        };
        assert!(told(&mut pods, &pod).is_empty(), "the node has not said it yet");
        let status = pod.status.as_mut().and_then(|status| status.container_statuses.as_mut()).expect("a status");
        status[0].image_id = "docker-pullable://registry.example/agent@sha256:12".into();
        assert_eq!(told(&mut pods, &pod), ["registry.example/agent@sha256:12"]);
        assert!(told(&mut pods, &pod).is_empty());
    }

    fn event(reason: &str, uid: &str, at: &str) -> Event {
        serde_json::from_value(json!({"metadata": {}, "involvedObject": {"kind": "Pod", "uid": uid, "name": "x"},
            "reason": reason, "lastTimestamp": at}))
        .expect("an event")
    }

    fn ended(told: &[(NodeName, DeployProgress)]) -> Vec<&str> {
        told.iter()
            .map(|(node, progress)| match progress {
                DeployProgress::Ended(_) => node.0.as_str(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_list_after_a_gap_is_the_whole_truth() {
        let mut pods = Pods::default();
        let (a, b) = (NodeName::from("a"), NodeName::from("b"));
        assert_eq!(pods.applied(&a, &running("1")), [DeployProgress::Running]);
        assert_eq!(pods.applied(&b, &running("2")), [DeployProgress::Running]);
        pods.list_begins();
        pods.applied(&b, &running("2"));
        assert_eq!(ended(&pods.list_is_whole()), ["a"], "nobody was told when it went");
        assert_eq!((pods.name(&a), pods.name(&b)), (None, Some("pod-2".into())));
        pods.list_begins();
        pods.applied(&b, &running("2"));
        assert_eq!(pods.list_is_whole(), [], "once");
    }

    #[test]
    fn of_two_pods_in_a_list_the_one_that_lives_counts_in_either_order() {
        let failed = pod("1", "2026-01-01T09:00:00Z", "Failed", &json!({"terminated": {"exitCode": 1}}));
        let node = NodeName::from("a");
        for old_first in [true, false] {
            let mut pods = Pods::default();
            pods.list_begins();
            let mut told = Vec::new();
            let all = if old_first { [failed.clone(), running("2")] } else { [running("2"), failed.clone()] };
            for one in &all {
                told.extend(pods.applied(&node, one));
            }
            assert_eq!(told, [DeployProgress::Running]);
            assert_eq!(pods.list_is_whole(), []);
        }
        let mut pods = Pods::default();
        pods.list_begins();
        assert_eq!(pods.applied(&node, &failed), []);
        assert_eq!(ended(&pods.list_is_whole()), ["a"], "an agent that has ended is not waited for");
    }

    #[test]
    fn a_pod_that_takes_anothers_place_ends_it_first() {
        let mut pods = Pods::default();
        let node = NodeName::from("a");
        pods.applied(&node, &running("1"));
        let mut next = running("2");
        next.metadata.name = Some("pod-1".into());
        let told = pods.applied(&node, &next);
        assert!(matches!(&told[..], [DeployProgress::Ended(_), DeployProgress::Running]), "{told:?}");
        assert_eq!(pods.uid(&node).as_deref(), Some("2"), "of the same name, and another all the same");
        assert_eq!(pods.deleted(&node, &running("1")), None, "late news of the old one");
        assert_eq!(pods.applied(&node, &running("1")), []);
        assert!(pods.deleted(&node, &running("2")).is_some());
    }

    #[test]
    fn a_pod_that_is_being_deleted_counts_for_as_long_as_its_agent_runs() {
        let mut pods = Pods::default();
        let node = NodeName::from("a");
        let mut old = running("1");
        old.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T11:00:00Z")).expect("a time");
        let told = pods.applied(&node, &old);
        assert!(matches!(&told[..], [DeployProgress::Ending(_)]), "{told:?}");
        let waiting = pod("2", "2026-01-01T11:00:00Z", "Pending", &json!({"waiting": {"reason": "ContainerCreating"}}));
        assert_eq!(pods.applied(&node, &waiting), []);
        assert!(pods.deleted(&node, &old).is_some());
        assert!(matches!(&pods.applied(&node, &waiting)[..], [DeployProgress::Step(_)]));
    }

    #[test]
    fn events_count_when_they_are_younger_than_the_last_good_and_of_that_pod() {
        let mut pods = Pods::default();
        let node = NodeName::from("a");
        let counts = |pods: &Pods, uid, at| pods.counts(&node, &event("FailedScheduling", uid, at));
        assert!(counts(&pods, "1", "2026-01-01T09:00:00Z"), "nothing better is known");
        pods.applied(&node, &running("1"));
        assert!(!counts(&pods, "1", "2026-01-01T10:00:05Z"), "the container ran after it");
        assert!(!counts(&pods, "0", "2026-01-01T12:00:00Z"), "another pod's");
        assert!(counts(&pods, "1", "2026-01-01T10:00:06Z"));
        let undated: Event = serde_json::from_value(json!({"metadata": {}, "involvedObject": {}})).expect("an event");
        assert!(!pods.counts(&node, &undated));
        pods.deleted(&node, &running("1"));
        assert!(!counts(&pods, "1", "2026-01-01T12:00:00Z"), "it is over");
    }

    /// What containerd's kubelet says of an image that is nowhere, in its order, and at last of one that is there.
    #[test]
    fn a_pull_that_fails_stays_failed_with_its_reason_until_the_container_runs() {
        let mut pods = Pods::default();
        let node = NodeName::from("a");
        let waits = |reason: &str, message: &str| {
            let mut pod = pod(
                "1",
                "2026-01-01T10:00:00Z",
                "Pending",
                &json!({"waiting": {"reason": reason, "message": message}}),
            );
            let status = pod.status.as_mut().expect("a status");
            status.conditions = serde_json::from_value(json!([{"type": "PodScheduled", "status": "True",
                "lastTransitionTime": "2026-01-01T10:00:00Z"}]))
            .expect("conditions");
            pod
        };
        let mut told = Vec::new();
        told.extend(pods.applied(&node, &waits("ContainerCreating", "")));
        told.extend(pods.heard(&node, &event("Pulling", "1", "2026-01-01T10:00:01Z")));
        let not_found = "failed to resolve reference: not found";
        for (second, (reason, message)) in [
            ("ErrImagePull", not_found),
            ("ImagePullBackOff", "Back-off pulling image"),
            ("ContainerCreating", ""),
            ("ErrImagePull", not_found),
            ("ImagePullBackOff", "Back-off pulling image"),
        ]
        .into_iter()
        .enumerate()
        {
            told.extend(pods.applied(&node, &waits(reason, message)));
            for reason in ["Failed", "BackOff", "Pulling"] {
                told.extend(pods.heard(&node, &event(reason, "1", &format!("2026-01-01T10:00:1{second}Z"))));
            }
        }
        assert!(pods.is_stuck(&node));
        told.dedup();
        let [DeployProgress::Step(creating), DeployProgress::Step(pulling), DeployProgress::Failed(notice)] = &told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!((creating.as_str(), pulling.as_str()), ("waiting: ContainerCreating", "pulling the image"));
        assert_eq!((notice.cause.as_str(), notice.failure), (not_found, crate::model::Failure::Image));
        assert_eq!(pods.applied(&node, &running("1")), [DeployProgress::Running]);
        assert!(!pods.is_stuck(&node));
        // Another pod begins anew.
        pods.applied(&node, &waits("ErrImagePull", not_found));
        pods.forget(&node);
        let next = pod("2", "2026-01-01T10:01:00Z", "Pending", &json!({"waiting": {"reason": "ContainerCreating"}}));
        assert_eq!(pods.applied(&node, &next), [DeployProgress::Step("waiting: ContainerCreating".into())]);
    }
}
