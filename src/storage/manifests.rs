//! What nodes' agents have delivered along with their captures: one document a ring, joined.
//!
//! Owns how they are found. What an earlier version called `manifest.json` is read too.

use std::{cmp::Reverse, collections::BTreeMap};

use aws_sdk_s3::{
    error::ProvideErrorMetadata,
    operation::{RequestId, put_object::PutObjectOutput},
};
use nodewatch_protocol::{MANIFEST, RingList, is_manifest, manifest_name};

use super::{Storage, StorageError};
use crate::model::{S3Url, SessionId, StoredFile};

/// A manifest is no larger than this.
const MOST: i64 = 16 * 1024 * 1024;
/// A node has no more rings in a session than this.
const MOST_RINGS: usize = 100;
/// Of one ring's manifests the newest have all that the older ones have; which of those that came at about the same
/// time is the last one, nobody knows.
const OF_A_RING: usize = 4;

impl Storage {
    /// What is remembered of a node's captures, of all its rings; `None` where nothing is.
    pub async fn manifest(&self, folder: &str) -> Option<RingList> {
        let place = S3Url { bucket: self.settings.url.bucket.clone(), prefix: format!("{folder}/manifest") };
        let rings = match self.list(&place).await {
            Ok(files) => newest(folder, files),
            // Who may read need not be one who may list.
            Err(_) => vec![vec![format!("{folder}/{MANIFEST}")]],
        };
        let mut all: Option<RingList> = None;
        for keys in rings {
            // Each ring's first: sums of one ring are not added up.
            let mut ring: Option<RingList> = None;
            for key in keys {
                ring = joined(ring, self.read(&key).await);
            }
            all = joined(all, ring);
        }
        all
    }

    /// A session's own document, as it is there.
    pub async fn session_manifest(&self, session: &SessionId) -> Option<Vec<u8>> {
        self.read_small(&format!("{}{MANIFEST}", self.session(session).prefix)).await
    }

    /// Puts a session's own document there. A bucket that refuses what could overwrite gets one more.
    pub async fn put_manifest(&self, session: &SessionId, bytes: Vec<u8>) -> Result<(), StorageError> {
        let prefix = self.session(session).prefix;
        let put = self.putting(&format!("{prefix}{MANIFEST}")).body(bytes.clone().into()).send().await;
        let error = match put {
            Ok(put) => return believed(&put),
            Err(error) => error,
        };
        let other = manifest_name(&format!("{:08x}", rand::random::<u32>()));
        let again = self.putting(&format!("{prefix}{other}")).if_none_match("*").body(bytes.into());
        if error.code() == Some("AccessDenied")
            && let Ok(put) = again.send().await
        {
            return believed(&put);
        }
        Err(StorageError::call("write to the bucket")(error))
    }

    async fn read(&self, key: &str) -> Option<RingList> {
        serde_json::from_slice(&self.read_small(key).await?).ok()
    }

    /// A small object of this product's own.
    async fn read_small(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.client.get_object().bucket(&self.settings.url.bucket).key(key).send().await.ok()?;
        if answer.content_length().is_some_and(|length| length > MOST) {
            return None;
        }
        Some(answer.body.collect().await.ok()?.into_bytes().to_vec())
    }
}

/// Every S3 names its request or gives a checksum as the tag; the page of a proxy that requires a login does neither.
fn believed(put: &PutObjectOutput) -> Result<(), StorageError> {
    let tag = put.e_tag().map(|tag| tag.trim_matches('"'));
    let is_sum = |tag: &str| tag.len() == 32 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
    if put.request_id().is_some() || tag.is_some_and(is_sum) {
        return Ok(());
    }
    let reason = "the answer is not S3's, probably from a proxy that requires a login: nothing was stored".to_owned();
    Err(StorageError::Call { operation: "write to the bucket", reason })
}

fn joined(one: Option<RingList>, other: Option<RingList>) -> Option<RingList> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.join(other)),
        (one, other) => one.or(other),
    }
}

/// The newest manifests of each of the newest rings. A ring may have any number of them: in a bucket that takes nothing
/// that could overwrite, each is an object of its own.
fn newest(folder: &str, files: Vec<StoredFile>) -> Vec<Vec<String>> {
    let mut rings: BTreeMap<String, Vec<StoredFile>> = BTreeMap::new();
    for file in files {
        let name = file.key.strip_prefix(folder).map(|rest| rest.trim_start_matches('/'));
        if let Some(name) = name.filter(|name| is_manifest(name)) {
            rings.entry(ring_of(name).to_owned()).or_default().push(file);
        }
    }
    let mut rings: Vec<Vec<StoredFile>> = rings.into_values().collect();
    for files in &mut rings {
        files.sort_by(|a, b| (b.modified, &b.key).cmp(&(a.modified, &a.key)));
        files.truncate(OF_A_RING);
    }
    rings.sort_by_key(|files| Reverse(files.first().map(|file| file.modified)));
    rings.truncate(MOST_RINGS);
    rings.into_iter().map(|files| files.into_iter().map(|file| file.key).collect()).collect()
}

/// The ring in a manifest's name; what follows it tells its manifests from each other.
fn ring_of(name: &str) -> &str {
    let rest = name.trim_start_matches("manifest").trim_end_matches(".json").trim_start_matches('-');
    rest.split('-').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, modified: u64) -> StoredFile {
        StoredFile { key: format!("inc/s/a/{name}"), size: 1, modified }
    }

    #[test]
    fn a_page_with_200_is_no_manifest() {
        let tagged = |tag: &str| PutObjectOutput::builder().e_tag(tag).build();
        assert!(believed(&tagged("\"d41d8cd98f00b204e9800998ecf8427e\"")).is_ok());
        assert!(believed(&tagged("\"5f3e-264\"")).is_err(), "a web server has tags too");
        let error = believed(&PutObjectOutput::builder().build()).expect_err("a page").notice("no manifest");
        assert!(error.line().contains("requires a login"), "{}", error.line());
    }

    #[test]
    fn of_each_ring_the_newest_manifests_are_read_however_many_there_are() {
        let mut files: Vec<StoredFile> = (1..=500).map(|at| file(&format!("manifest-aa-{at:x}.json"), at)).collect();
        files.push(file("manifest-bb.json", 7));
        files.push(file("manifest-bb-1.json", 8));
        files.push(file("manifest.json", 1));
        files.push(file("manifestation.json", 9));
        files.sort_by(|a, b| a.key.cmp(&b.key));
        let found = newest("inc/s/a", files);
        let last = |names: &[&str]| names.iter().map(|name| format!("inc/s/a/{name}")).collect::<Vec<_>>();
        assert_eq!(
            found,
            [
                last(&["manifest-aa-1f4.json", "manifest-aa-1f3.json", "manifest-aa-1f2.json", "manifest-aa-1f1.json"]),
                last(&["manifest-bb-1.json", "manifest-bb.json"]),
                last(&["manifest.json"]),
            ]
        );
    }

    #[test]
    fn of_too_many_rings_the_newest_are_read() {
        let files = (0..150).map(|ring| file(&format!("manifest-{ring:08x}.json"), 1000 - ring)).collect();
        let found = newest("inc/s/a", files);
        assert_eq!(found.len(), MOST_RINGS);
        assert_eq!(found[0], ["inc/s/a/manifest-00000000.json"]);
    }
}
