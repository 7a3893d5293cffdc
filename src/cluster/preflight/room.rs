//! Whether quotas and limit ranges of a namespace leave room for agents.
//!
//! Owns what one agent asks for, as `manifests/agent-job.yaml` has it, and Kubernetes' quantities. Pure.

use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};

use super::check;
use crate::model::{Outcome, PreflightCheck};

/// What one agent takes of a quota, in thousandths of the base unit.
const ONE_AGENT: [(&str, i128); 10] = [
    ("pods", 1_000),
    ("count/pods", 1_000),
    ("count/jobs.batch", 1_000),
    ("cpu", 50),
    ("requests.cpu", 50),
    ("limits.cpu", 1_000),
    ("memory", (64 << 20) * 1_000),
    ("requests.memory", (64 << 20) * 1_000),
    ("limits.memory", (256 << 20) * 1_000),
    ("requests.ephemeral-storage", (64 << 20) * 1_000),
];

pub(super) fn quota(quotas: &[ResourceQuota], agents: usize) -> PreflightCheck {
    for quota in quotas {
        let name = quota.metadata.name.as_deref().unwrap_or_default();
        let Some(hard) = quota.status.as_ref().and_then(|status| status.hard.as_ref()) else { continue };
        let used = quota.status.as_ref().and_then(|status| status.used.as_ref());
        for (resource, one) in ONE_AGENT {
            let Some(bound) = hard.get(resource).and_then(|quantity| thousandths(&quantity.0)) else { continue };
            let used = used.and_then(|used| used.get(resource)).and_then(|quantity| thousandths(&quantity.0));
            if bound - used.unwrap_or(0) < one * agents as i128 {
                let detail =
                    format!("quota {name} has no room for {agents} agents: {resource} of {}", hard[resource].0);
                return check("quota", Outcome::Failed, detail, "raise the quota, or choose fewer nodes");
            }
        }
    }
    check("quota", Outcome::Passed, format!("{} quotas leave room for {agents} agents", quotas.len()), "")
}

pub(super) fn limits(ranges: &[LimitRange]) -> PreflightCheck {
    for range in ranges {
        let name = range.metadata.name.as_deref().unwrap_or_default();
        let items = range.spec.iter().flat_map(|spec| &spec.limits);
        for item in items.filter(|item| item.type_ == "Container" || item.type_ == "Pod") {
            for (resource, ours) in [("cpu", 1_000), ("memory", (256 << 20) * 1_000)] {
                let most = item.max.as_ref().and_then(|max| max.get(resource));
                if let Some(most) = most
                    && thousandths(&most.0).is_some_and(|most| most < ours)
                {
                    let detail =
                        format!("limit range {name} allows {} {resource}, an agent's limit is above that", most.0);
                    return check(
                        "limit range",
                        Outcome::Failed,
                        detail,
                        "use another namespace, or none (--namespace)",
                    );
                }
            }
        }
    }
    check("limit range", Outcome::Passed, format!("{} limit ranges let agents in", ranges.len()), "")
}

/// A quantity as Kubernetes writes it (`100m`, `1.5`, `64Mi`, `2G`, `1e3`), in thousandths.
pub(super) fn thousandths(text: &str) -> Option<i128> {
    let end =
        text.find(|character: char| !(character.is_ascii_digit() || "+-.".contains(character))).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: f64 = match unit {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let number: f64 = number.parse().ok()?;
    Some((number * factor * 1000.0) as i128)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_as_kubernetes_writes_them() {
        let read = ["100m", "1.5", "64Mi", "2G", "1e3", "0"].map(|text| thousandths(text).expect(text));
        assert_eq!(read, [100, 1_500, (64 << 20) * 1_000, 2_000_000_000_000, 1_000_000, 0]);
        assert!(["", "x", "1Q", "Mi"].iter().all(|text| thousandths(text).is_none()));
    }

    #[test]
    fn a_quota_without_room_is_named_with_what_is_short() {
        let quota_of = |hard: &str, used: &str| -> Vec<ResourceQuota> {
            vec![
                serde_json::from_value(json!({"metadata": {"name": "small"},
                    "status": {"hard": {"requests.memory": hard, "pods": "100"}, "used": {"requests.memory": used}}}))
                .expect("a quota"),
            ]
        };
        assert_eq!(quota(&quota_of("1Gi", "512Mi"), 8).outcome, Outcome::Passed);
        let check = quota(&quota_of("1Gi", "513Mi"), 8);
        assert_eq!(check.outcome, Outcome::Failed);
        assert!(check.detail.contains("quota small") && check.detail.contains("requests.memory"), "{}", check.detail);
    }

    #[test]
    fn a_limit_range_below_an_agents_limit_is_named() {
        let range = |memory: &str| -> Vec<LimitRange> {
            vec![
                serde_json::from_value(json!({"metadata": {"name": "r"},
                    "spec": {"limits": [{"type": "Container", "max": {"memory": memory}}]}}))
                .expect("a limit range"),
            ]
        };
        assert_eq!(limits(&range("256Mi")).outcome, Outcome::Passed);
        assert_eq!(limits(&range("128Mi")).outcome, Outcome::Failed);
    }
}
