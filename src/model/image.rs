//! The agents' image, how it is named and how it is pulled.

use serde::{Deserialize, Serialize};

use super::Notice;

/// What agents run from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentImage {
    /// As container runtimes read it; empty where there are no images.
    pub reference: String,
    /// Nobody has named it: it is the default, which is published nowhere.
    pub is_default: bool,
}

impl From<&str> for AgentImage {
    /// One that somebody has named.
    fn from(reference: &str) -> Self {
        Self { reference: reference.to_owned(), is_default: false }
    }
}

impl AgentImage {
    /// That it can be had only where somebody has loaded it by hand; `None` for one that was named.
    pub fn unpublished(&self) -> Option<Notice> {
        let cause = format!("docker.io/library/{} runs only on nodes that have it loaded", self.reference);
        let next_step = "name yours with --image or NODEWATCH_IMAGE, or use --push-agent busybox:1.36";
        self.is_default.then(|| Notice::warning("no agent image is published yet", cause, next_step))
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    /// Before each start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// It is there already.
    Never,
}

impl PullPolicy {
    /// As Kubernetes writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// The longest name of a repository, with its registry.
const LONGEST_NAME: usize = 255;
/// The longest tag.
const LONGEST_TAG: usize = 128;

/// An image's name, as container runtimes take it: `registry.example:5000/team/agent:1.2@sha256:...`. Whether there is such
/// an image, only a node finds out.
pub fn parse_image(text: &str) -> Result<String, String> {
    let bad = |reason: String| format!("invalid image {text:?}: {reason}; use e.g. registry.example/agent:1.2");
    let (named, digest) = text.split_once('@').map_or((text, None), |(named, digest)| (named, Some(digest)));
    // A registry's port is before the last slash.
    let tag_at = named.rfind(':').filter(|at| !named[*at..].contains('/'));
    let (name, tag) = tag_at.map_or((named, None), |at| (&named[..at], Some(&named[at + 1..])));
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
        _ => (None, name),
    };
    if let Some(registry) = registry.filter(|registry| !is_registry(registry)) {
        return Err(bad(format!("{registry:?} is not a registry")));
    }
    if let Some(part) = path.split('/').find(|part| !is_part(part)) {
        return Err(bad(format!("{part:?} is not part of a repository's name (lower-case letters, digits, . _ -)")));
    }
    let in_tag = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let is_tag =
        |tag: &str| (1..=LONGEST_TAG).contains(&tag.len()) && tag.bytes().all(in_tag) && !tag.starts_with(['.', '-']);
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return Err(bad(format!("{tag:?} is not a tag")));
    }
    let is_digest = |digest: &str| {
        let hex = digest.split_once(':').filter(|(algorithm, _)| !algorithm.is_empty()).map(|(_, hex)| hex);
        hex.is_some_and(|hex| hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
        return Err(bad(format!("{digest:?} is not a digest")));
    }
    if name.len() > LONGEST_NAME {
        return Err(bad(format!("its name is longer than {LONGEST_NAME} characters")));
    }
    Ok(text.to_owned())
}

fn is_registry(registry: &str) -> bool {
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    registry.bytes().all(in_host) && !registry.starts_with(['.', '-', ':'])
}

fn is_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_well = part.bytes().next().is_some_and(plain) && part.bytes().next_back().is_some_and(plain);
    ends_well && part.bytes().all(|byte| plain(byte) || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_as_container_runtimes_take_them() {
        let digest = format!("agent@sha256:{}", "ab".repeat(32));
        for good in [
            "i",
            "nodewatch-agent:0.1.0",
            "registry.example/agent:1",
            "localhost/a",
            "localhost:5000/a/b_c:V1.2-x",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/agent:1",
            "[::1]:5000/a:1",
            &digest,
        ] {
            assert_eq!(parse_image(good).as_deref(), Ok(good));
        }
        for (bad, told) in [
            ("", "\"\" is not part"),
            ("bad image", "\"bad image\" is not part"),
            ("Agent:1", "\"Agent\" is not part"),
            ("a//b", "\"\" is not part"),
            ("-a.b/c", "\"-a.b\" is not a registry"),
            ("a:", "\"\" is not a tag"),
            ("a:b c", "\"b c\" is not a tag"),
            ("a@sha256:12", "\"sha256:12\" is not a digest"),
            ("a\n", "is not part"),
        ] {
            let error = parse_image(bad).expect_err(bad);
            assert!(error.contains(told) && error.starts_with("invalid image"), "{bad:?}: {error}");
        }
    }
}
