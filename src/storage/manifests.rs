//! What nodes' agents have delivered along with their captures: one document a ring, joined.
//!
//! Owns how they are found. What an earlier version called `manifest.json` is read too.

use aws_sdk_s3::error::ProvideErrorMetadata;
use nodewatch_protocol::{MANIFEST, NodeManifest, is_manifest, manifest_name};

use super::{Storage, StorageError};
use crate::model::{S3Url, SessionId};

/// A manifest is no larger than this.
const MOST: i64 = 16 * 1024 * 1024;
/// A node has no more rings in a session than this.
const MOST_RINGS: usize = 100;

impl Storage {
    /// What is remembered of a node's captures, of all its rings; `None` where nothing is.
    pub async fn manifest(&self, folder: &str) -> Option<NodeManifest> {
        let place = S3Url { bucket: self.settings.url.bucket.clone(), prefix: format!("{folder}/manifest") };
        let mut keys: Vec<String> = match self.list(&place).await {
            Ok(files) => files.into_iter().map(|file| file.key).collect(),
            // Who may read need not be one who may list.
            Err(_) => vec![format!("{folder}/{MANIFEST}")],
        };
        keys.retain(|key| key.strip_prefix(folder).is_some_and(|rest| is_manifest(rest.trim_start_matches('/'))));
        keys.truncate(MOST_RINGS);
        let mut all: Option<NodeManifest> = None;
        for key in keys {
            let Some(manifest) = self.read(&key).await else { continue };
            all = Some(match all {
                Some(others) => others.join(manifest),
                None => manifest,
            });
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
        let Err(error) = put else { return Ok(()) };
        let other = manifest_name(&format!("{:08x}", rand::random::<u32>()));
        let again = self.putting(&format!("{prefix}{other}")).if_none_match("*").body(bytes.into());
        if error.code() == Some("AccessDenied") && again.send().await.is_ok() {
            return Ok(());
        }
        Err(StorageError::call("write to the bucket")(error))
    }

    async fn read(&self, key: &str) -> Option<NodeManifest> {
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
