//! Captures in S3, as far as the layers share it: where, under what conditions, and what is there.

use std::{fmt, str::FromStr};

use nodewatch_protocol::{ObjectForm, UnixMillis};
use serde::{Deserialize, Serialize};

use super::SessionId;

/// A bucket and a prefix in it, as `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct S3Url {
    /// The bucket.
    pub bucket: String,
    /// Empty, or ending in a slash.
    pub prefix: String,
}

/// A text that is not an S3 URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid S3 URL {text:?}: {reason}; write it as s3://bucket/prefix")]
pub struct ParseS3UrlError {
    text: String,
    reason: &'static str,
}

impl FromStr for S3Url {
    type Err = ParseS3UrlError;

    /// Bucket names as in "General purpose bucket naming rules" of the Amazon S3 user guide.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |reason| ParseS3UrlError { text: text.to_owned(), reason };
        let rest = text.strip_prefix("s3://").ok_or_else(|| bad("it does not begin with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(allowed) {
            return Err(bad("a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens"));
        }
        let prefix = prefix.trim_matches('/');
        if prefix.len() > 512 || prefix.chars().any(char::is_control) {
            return Err(bad("its prefix is too long or has control characters"));
        }
        if prefix.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(bad("its prefix has . or .. as a part"));
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { bucket: bucket.to_owned(), prefix })
    }
}

impl TryFrom<String> for S3Url {
    type Error = ParseS3UrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<S3Url> for String {
    fn from(url: S3Url) -> Self {
        url.to_string()
    }
}

impl fmt::Display for S3Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl S3Url {
    /// A place below this one.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        Self { bucket: self.bucket.clone(), prefix: format!("{}{name}/", self.prefix) }
    }

    /// The session and the node that a key below this place belongs to, and its file's name.
    pub fn split_key<'a>(&self, key: &'a str) -> Option<(SessionId, &'a str, &'a str)> {
        let mut parts = key.strip_prefix(&self.prefix)?.splitn(3, '/');
        let session = parts.next()?.parse().ok()?;
        Some((session, parts.next()?, parts.next()?))
    }

    /// One object of this bucket.
    pub fn object(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
}

/// Where captures go and how; nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageSettings {
    /// Where sessions' folders are.
    pub url: S3Url,
    /// Another server than AWS's.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The bucket's region; `None` asks the environment, then the bucket.
    #[serde(default)]
    pub region: Option<String>,
    /// The bucket goes into the path; `None` does so for another server.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// What becomes of files there.
    #[serde(flatten)]
    pub form: ObjectForm,
    /// What agents deliver with.
    #[serde(default)]
    pub way: Way,
}

impl StorageSettings {
    /// Both lead to the same objects.
    pub fn is_at_the_place_of(&self, other: &Self) -> bool {
        (&self.url, &self.endpoint) == (&other.url, &other.endpoint)
    }
}

/// What an agent delivers with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A policy that this laptop signs; no credentials are in the cluster.
    #[default]
    Grant,
    /// A role that the agents' service account may assume.
    Role(String),
    /// What EKS Pod Identity gives the agents' service account.
    PodIdentity,
}

/// More objects than this are not listed: nobody reads such a list.
pub const MAX_LISTED: usize = 100_000;

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was made.
    pub modified: UnixMillis,
}

/// What there is below a prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSummary {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Older versions and delete markers.
    pub versions: u64,
    /// Multipart uploads that were not ended.
    pub uploads: u64,
}

impl StoredSummary {
    /// Nothing at all.
    pub fn is_empty(&self) -> bool {
        self.objects + self.versions + self.uploads == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_and_written_in_one_form() {
        for (text, written) in [
            ("s3://bucket", "s3://bucket/"),
            ("s3://bucket/", "s3://bucket/"),
            ("s3://my.bucket-1/a/b/", "s3://my.bucket-1/a/b/"),
        ] {
            assert_eq!(text.parse::<S3Url>().expect(text).to_string(), written);
        }
        let url: S3Url = "s3://bucket/a".parse().expect("a place");
        assert_eq!(url.below("7f3a91c2").below("node-1").prefix, "a/7f3a91c2/node-1/");
    }

    #[test]
    fn a_key_tells_its_session_and_node() {
        let place: S3Url = "s3://bucket/a".parse().expect("a place");
        let (session, node, file) = place.split_key("a/7f3a91c2/node-1/x.pcapng").expect("ours");
        assert_eq!((session.as_str(), node, file), ("7f3a91c2", "node-1", "x.pcapng"));
        for key in ["b/7f3a91c2/n/x", "a/other/n/x", "a/7f3a91c2/manifest.json", "a/7f3a91c2", ""] {
            assert_eq!(place.split_key(key), None, "{key}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_by_name() {
        for text in ["bucket/a", "s3://", "s3://B/a", "s3://a_b/c", "s3://bucket/../x", "s3://bucket/a\u{7}"] {
            let error = text.parse::<S3Url>().expect_err(text).to_string();
            assert!(error.contains("s3://bucket/prefix"), "{error}");
        }
    }
}
