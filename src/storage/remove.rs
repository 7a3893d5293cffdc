//! Removal of one session's objects: every version, every unfinished upload, and nothing that is not below its prefix.
//!
//! Owns what may be deleted. The prefix always ends in the session's id, so that no mistake reaches further.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::{Storage, StorageError};
use crate::model::{S3Url, SessionId, StoredSummary};

/// S3 takes so many keys at once.
const BATCH: usize = 1000;

impl Storage {
    /// Removes all of a session; what was removed. An error leaves what was not removed yet.
    pub async fn remove(&self, session: &SessionId) -> Result<StoredSummary, StorageError> {
        let place = self.session(session);
        let before = self.summary(&place).await?;
        for (key, id) in self.uploads(&place).await? {
            let key = ours(&place, key)?;
            let abort = self.client.abort_multipart_upload().bucket(&place.bucket).key(key).upload_id(id);
            abort.send().await.map_err(StorageError::call("end an unfinished upload"))?;
        }
        let doomed: Vec<(String, Option<String>)> = match self.versions(&place).await? {
            Some(versions) => versions.into_iter().map(|version| (version.key, Some(version.id))).collect(),
            None => self.list(&place).await?.into_iter().map(|file| (file.key, None)).collect(),
        };
        for batch in doomed.chunks(BATCH) {
            self.delete(&place, batch).await?;
        }
        let after = self.summary(&place).await?;
        if after.is_empty() {
            Ok(before)
        } else {
            let reason = format!("{} objects are still there", after.objects + after.versions + after.uploads);
            Err(StorageError::Call { operation: "confirm that the captures are gone", reason })
        }
    }

    /// Removes one object, in its latest version where there are several.
    pub async fn remove_one(&self, session: &SessionId, key: &str) -> Result<(), StorageError> {
        self.delete(&self.session(session), &[(key.to_owned(), None)]).await
    }

    async fn delete(&self, place: &S3Url, keys: &[(String, Option<String>)]) -> Result<(), StorageError> {
        let mut objects = Vec::new();
        for (key, version) in keys {
            let key = ours(place, key.clone())?;
            let object = ObjectIdentifier::builder().key(key).set_version_id(version.clone()).build();
            objects.push(
                object
                    .map_err(|error| StorageError::Call { operation: "name an object", reason: error.to_string() })?,
            );
        }
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build();
        let delete =
            delete.map_err(|error| StorageError::Call { operation: "name the objects", reason: error.to_string() })?;
        let call = self.client.delete_objects().bucket(&place.bucket).delete(delete);
        let answer = call.send().await.map_err(StorageError::call("delete the captures"))?;
        match answer.errors().first() {
            None => Ok(()),
            Some(error) => {
                let what = |text: Option<&str>| text.unwrap_or("unknown").to_owned();
                let reason = format!("{}: {}", what(error.key()), what(error.message()));
                Err(StorageError::Call { operation: "delete the captures", reason })
            }
        }
    }
}

/// A server's list is no authority on what is ours.
fn ours(place: &S3Url, key: String) -> Result<String, StorageError> {
    if key.starts_with(&place.prefix) {
        return Ok(key);
    }
    Err(StorageError::Foreign { key, prefix: place.prefix.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outside_the_sessions_prefix_is_not_touched() {
        let place: S3Url = "s3://bucket/a/7f3a91c2".parse().expect("a place");
        assert!(ours(&place, "a/7f3a91c2/n/x.pcapng".into()).is_ok());
        for key in ["a/7f3a91c3/n/x", "a/7f3a91c2", "a/7f3a91c2x/y", "", "/a/7f3a91c2/n"] {
            assert!(matches!(ours(&place, key.into()), Err(StorageError::Foreign { .. })), "{key}");
        }
    }
}
