//! Targets as people think of them: a pod, a service, the pods with some labels; and what they are at one time.
//!
//! Owns how targets are written and read, and what is said of those that cannot be captured. Does nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use super::{NodeName, Selector};

/// More addresses than this on one node make a filter that costs more than it saves.
pub const MOST_ADDRESSES: usize = 200;
/// More targets than this at a time are no target.
pub const MOST_TARGETS: usize = 50;

/// The longest name of a pod or a service, and of a namespace.
const NAME_MOST: usize = 253;
const NAMESPACE_MOST: usize = 63;

/// What is to be captured, whichever nodes it is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// One pod by its name, also another one that gets it later.
    Pod(ObjectName),
    /// The ready pods of a service.
    Service(ObjectName),
    /// The pods with these labels.
    Pods {
        /// Their namespace; `None` is any.
        namespace: Option<String>,
        /// A label selector, which has been read.
        labels: String,
    },
}

/// A pod's or a service's name with its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectName {
    /// Its namespace; `None` is that of the context, as kubectl has it.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl ObjectName {
    /// Reads `NAMESPACE/NAME` or `NAME`; the error names the part that cannot be one.
    fn parse(text: &str, kind: &str) -> Result<Self, String> {
        let text = text.trim();
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        let wrong = |part: &str, what: &str| {
            let expected = "lower-case letters, digits, - and . are allowed";
            Err(format!("invalid {kind} {text:?}: {part:?} is no {what}: expected NAMESPACE/NAME, {expected}"))
        };
        if let Some(namespace) = namespace.filter(|part| !is_name(part, NAMESPACE_MOST) || part.contains('.')) {
            return wrong(namespace, "namespace");
        }
        if !is_name(name, NAME_MOST) {
            return wrong(name, "name");
        }
        Ok(Self { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

fn is_name(text: &str, most: usize) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    text.len() <= most && ends(bytes.first().copied()) && ends(bytes.last().copied()) && text.bytes().all(inner)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => write!(f, "pod {name}"),
            Self::Service(name) => write!(f, "service {name}"),
            Self::Pods { namespace: Some(namespace), labels } => write!(f, "pods with {labels} in {namespace}"),
            Self::Pods { namespace: None, labels } => write!(f, "pods with {labels}"),
        }
    }
}

impl Target {
    /// Reads a pod's name: `NAMESPACE/NAME`, or `NAME` in the context's namespace.
    pub fn pod(text: &str) -> Result<Self, String> {
        ObjectName::parse(text, "pod").map(Self::Pod)
    }

    /// Reads a service's name, in the same form.
    pub fn service(text: &str) -> Result<Self, String> {
        ObjectName::parse(text, "service").map(Self::Service)
    }

    /// The pods of a namespace, or of all, with these labels.
    pub fn pods(namespace: Option<&str>, labels: &str) -> Result<Self, String> {
        Selector::parse(labels)?;
        if let Some(namespace) = namespace.filter(|text| !is_name(text, NAMESPACE_MOST) || text.contains('.')) {
            return Err(format!("invalid namespace {namespace:?}"));
        }
        Ok(Self::Pods { namespace: namespace.map(str::to_owned), labels: labels.trim().to_owned() })
    }

    /// Reads targets as they are written in one line: `shop/web-0`, `svc:shop/web`, several of these with spaces or commas
    /// between them, or `-n shop -l app=web`. The error names the part that cannot be read.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let text = text.trim();
        if text.starts_with('-') {
            return Ok(vec![Self::by_labels(text)?]);
        }
        let mut found: Vec<Self> = Vec::new();
        for part in text.split(|character: char| character.is_whitespace() || character == ',') {
            let target = match part.split_once(':') {
                _ if part.is_empty() => continue,
                Some(("pod", name)) => Self::pod(name)?,
                Some(("svc" | "service", name)) => Self::service(name)?,
                Some((kind, _)) => return Err(format!("invalid target {part:?}: {kind:?} is neither pod nor svc")),
                None => Self::pod(part)?,
            };
            if !found.contains(&target) {
                found.push(target);
            }
        }
        if found.len() > MOST_TARGETS {
            return Err(format!("{} targets are more than {MOST_TARGETS}: use -n NAMESPACE -l LABEL", found.len()));
        }
        Ok(found)
    }

    fn by_labels(text: &str) -> Result<Self, String> {
        let (mut namespace, mut labels) = (None, None);
        let mut rest = text;
        while !rest.is_empty() {
            let (option, after) = rest.split_at(rest.len().min(2));
            // Labels may have spaces in them.
            let end = [" -n", " -l"].iter().filter_map(|next| after.find(next)).min().unwrap_or(after.len());
            let (value, next) = after.split_at(end);
            let (value, place) = match option {
                "-n" => (value, &mut namespace),
                "-l" => (value, &mut labels),
                _ => {
                    let wrong = rest.split_whitespace().next().unwrap_or_default();
                    return Err(format!("invalid target {text:?}: {wrong:?} is neither -n nor -l"));
                }
            };
            let value = value.trim();
            if value.is_empty() {
                return Err(format!("invalid target {text:?}: {option} needs a value"));
            }
            if place.replace(value).is_some() {
                return Err(format!("invalid target {text:?}: {option} stands twice"));
            }
            rest = next.trim_start();
        }
        match labels {
            Some(labels) => Self::pods(namespace, labels),
            None => Err(format!("invalid target {text:?}: -l is missing, as in -n NAMESPACE -l LABEL=VALUE")),
        }
    }

    /// As [`Target::parse_all`] reads it.
    pub fn written(&self) -> String {
        match self {
            Self::Pod(name) => name.to_string(),
            Self::Service(name) => format!("svc:{name}"),
            Self::Pods { namespace: Some(namespace), labels } => format!("-n {namespace} -l {labels}"),
            Self::Pods { namespace: None, labels } => format!("-l {labels}"),
        }
    }
}

/// Several targets, for people.
pub fn targets_text(targets: &[Target]) -> String {
    let shown: Vec<String> = targets.iter().take(3).map(ToString::to_string).collect();
    let more = targets.len() - shown.len();
    format!("{}{}", shown.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() })
}

/// A pod that can be captured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AimedPod {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// Its own addresses, at least one.
    pub addresses: Vec<IpAddr>,
}

/// A target that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The target.
    pub target: Target,
    /// Names that are like its own, or why nothing is.
    pub near: Vec<String>,
}

/// What targets are at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aimed {
    /// Their pods by node.
    pub nodes: BTreeMap<NodeName, Vec<AimedPod>>,
    /// Targets that are not there.
    pub missing: Vec<Missing>,
    /// What is there and cannot be captured, by name, with the reason.
    pub gaps: Vec<String>,
}

impl Aimed {
    /// Takes in a pod of a node, once.
    pub fn add(&mut self, node: NodeName, pod: AimedPod) {
        let pods = self.nodes.entry(node).or_default();
        if let Err(at) = pods.binary_search_by(|known| known.name.cmp(&pod.name)) {
            pods.insert(at, pod);
        }
    }

    /// The addresses of a node's pods.
    pub fn addresses(&self, node: &NodeName) -> BTreeSet<IpAddr> {
        self.nodes.get(node).into_iter().flatten().flat_map(|pod| pod.addresses.iter().copied()).collect()
    }

    /// The names of all pods.
    pub fn pods(&self) -> impl Iterator<Item = &str> {
        self.nodes.values().flatten().map(|pod| pod.name.as_str())
    }

    /// A node with more addresses than a filter can take, and how many.
    pub fn overfull(&self) -> Option<(&NodeName, usize)> {
        let counts = self.nodes.keys().map(|node| (node, self.addresses(node).len()));
        counts.into_iter().find(|(_, count)| *count > MOST_ADDRESSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let targets = Target::parse_all(text).expect(text);
        targets.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn targets_are_read_in_every_form_and_written_again() {
        assert_eq!(written("shop/web-0"), "pod shop/web-0");
        assert_eq!(
            written("web-0, svc:shop/web pod:a/b shop/web-0"),
            "pod web-0; service shop/web; pod a/b; pod shop/web-0"
        );
        assert_eq!(written("shop/web-0 shop/web-0"), "pod shop/web-0");
        assert_eq!(written("-n shop -l app=web"), "pods with app=web in shop");
        assert_eq!(written("-l app in (a, b),!c -n shop"), "pods with app in (a, b),!c in shop");
        assert_eq!(written("-l app=web"), "pods with app=web");
        assert_eq!(written(" "), "");
        for text in ["shop/web-0", "web-0", "svc:shop/web", "-n shop -l app in (a, b)", "-l app"] {
            let [target] = &Target::parse_all(text).expect(text)[..] else { panic!("one target: {text}") };
            assert_eq!(target.written(), text);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, named) in [
            ("shop/Web", "\"Web\" is no name"),
            ("Shop/web", "\"Shop\" is no namespace"),
            ("shop/web/0", "\"web/0\" is no name"),
            ("shop/", "\"\" is no name"),
            ("dep:shop/web", "\"dep\" is neither pod nor svc"),
            ("-n shop", "-l is missing"),
            ("-n -l a=b", "-n needs a value"),
            ("-l a=b -l c=d", "-l stands twice"),
            ("-x shop -l a=b", "\"-x\" is neither -n nor -l"),
            ("-l a in b", "found \"b\""),
        ] {
            let error = Target::parse_all(text).expect_err(text);
            assert!(error.contains(named), "{text}: {error}");
        }
        let many: Vec<String> = (0..=MOST_TARGETS).map(|number| format!("a/p{number}")).collect();
        assert!(Target::parse_all(&many.join(" ")).is_err_and(|error| error.contains("51 targets")));
    }

    #[test]
    fn a_pod_that_two_targets_have_counts_once_and_too_many_addresses_are_seen() {
        let pod = |name: &str, last: u32| AimedPod {
            name: name.to_owned(),
            addresses: vec![IpAddr::from((0x0a00_0000 + last).to_be_bytes())],
        };
        let mut aimed = Aimed::default();
        for _ in 0..2 {
            aimed.add("n1".into(), pod("s/a", 1));
        }
        aimed.add("n2".into(), pod("s/b", 2));
        assert_eq!(aimed.pods().collect::<Vec<_>>(), ["s/a", "s/b"]);
        assert_eq!(aimed.addresses(&"n1".into()).len(), 1);
        assert_eq!(aimed.overfull(), None);
        for number in 0..=MOST_ADDRESSES as u32 {
            aimed.add("n3".into(), pod(&format!("s/p{number}"), number + 10));
        }
        assert_eq!(aimed.overfull(), Some((&"n3".into(), MOST_ADDRESSES + 1)));
    }
}
