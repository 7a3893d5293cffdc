//! What there is below a prefix.
//!
//! Owns paging. Keys are as the server has them: hostile until they are shown or become paths.

use aws_sdk_s3::{error::ProvideErrorMetadata, types::EncodingType};

use super::{Storage, StorageError};
use crate::model::{MAX_LISTED, S3Url, StoredFile, StoredSummary};

/// A version of an object, for removal.
pub(super) struct Version {
    pub key: String,
    pub id: String,
    pub size: u64,
    pub latest: bool,
}

impl Storage {
    /// Objects below a place of this bucket.
    pub async fn list(&self, place: &S3Url) -> Result<Vec<StoredFile>, StorageError> {
        let mut found = Vec::new();
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&place.bucket)
            .prefix(&place.prefix)
            // XML has no way to write some of the characters that a key may have.
            .encoding_type(EncodingType::Url)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(StorageError::call("list the bucket"))?;
            let names = Names::of(page.encoding_type(), &place.prefix);
            for object in page.contents() {
                let Some(key) = object.key().and_then(|key| names.plain(key)) else { continue };
                found.push(StoredFile {
                    key,
                    size: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                    modified: object.last_modified().and_then(|at| at.to_millis().ok()).unwrap_or(0).max(0) as u64,
                });
            }
            if found.len() >= MAX_LISTED {
                break;
            }
        }
        Ok(found)
    }

    /// Every version below a place, where the server keeps versions.
    pub(super) async fn versions(&self, place: &S3Url) -> Result<Option<Vec<Version>>, StorageError> {
        let mut found = Vec::new();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let page = self
                .client
                .list_object_versions()
                .bucket(&place.bucket)
                .prefix(&place.prefix)
                .encoding_type(EncodingType::Url)
                .set_key_marker(key_marker)
                .set_version_id_marker(version_marker)
                .send()
                .await;
            let page = match page {
                Ok(page) => page,
                // Servers without versions.
                Err(error) if matches!(error.code(), Some("NotImplemented")) => return Ok(None),
                Err(error) => return Err(StorageError::call("list the bucket's versions")(error)),
            };
            let names = Names::of(page.encoding_type(), &place.prefix);
            let plain = |key: Option<&str>| key.and_then(|key| names.plain(key));
            found.extend(page.versions().iter().map(|version| Version {
                key: plain(version.key()).unwrap_or_default(),
                id: version.version_id().unwrap_or_default().to_owned(),
                size: version.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                latest: version.is_latest().unwrap_or(false),
            }));
            found.extend(page.delete_markers().iter().map(|marker| Version {
                key: plain(marker.key()).unwrap_or_default(),
                id: marker.version_id().unwrap_or_default().to_owned(),
                size: 0,
                latest: false,
            }));
            if !page.is_truncated().unwrap_or(false) {
                return Ok(Some(found));
            }
            key_marker = plain(page.next_key_marker());
            version_marker = page.next_version_id_marker().map(str::to_owned);
        }
    }

    /// Multipart uploads below a place that nobody has ended: key and id.
    pub(super) async fn uploads(&self, place: &S3Url) -> Result<Vec<(String, String)>, StorageError> {
        let mut found = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let page = self
                .client
                .list_multipart_uploads()
                .bucket(&place.bucket)
                .prefix(&place.prefix)
                .encoding_type(EncodingType::Url)
                .set_key_marker(key_marker)
                .set_upload_id_marker(id_marker)
                .send()
                .await
                .map_err(StorageError::call("list the bucket's uploads"))?;
            let names = Names::of(page.encoding_type(), &place.prefix);
            found.extend(
                page.uploads()
                    .iter()
                    .filter_map(|upload| Some((names.plain(upload.key()?)?, upload.upload_id()?.to_owned()))),
            );
            if !page.is_truncated().unwrap_or(false) {
                return Ok(found);
            }
            key_marker = page.next_key_marker().and_then(|key| names.plain(key));
            id_marker = page.next_upload_id_marker().map(str::to_owned);
        }
    }

    /// How much there is below a place.
    pub async fn summary(&self, place: &S3Url) -> Result<StoredSummary, StorageError> {
        let uploads = self.uploads(place).await?.len() as u64;
        if let Some(versions) = self.versions(place).await? {
            let latest = || versions.iter().filter(|version| version.latest);
            let objects = latest().count() as u64;
            return Ok(StoredSummary {
                objects,
                bytes: latest().map(|version| version.size).sum(),
                versions: versions.len() as u64 - objects,
                uploads,
            });
        }
        let files = self.list(place).await?;
        let bytes = files.iter().map(|file| file.size).sum();
        Ok(StoredSummary { objects: files.len() as u64, bytes, versions: 0, uploads })
    }
}

/// How a page of a list writes its keys.
enum Names<'a> {
    /// As `encoding-type=url` asks for it: the page says so.
    Encoded,
    /// The page does not say. Servers that ignore what was asked write keys as they are; others encode and do not say it.
    Unsaid { prefix: &'a str },
}

impl<'a> Names<'a> {
    fn of(said: Option<&EncodingType>, prefix: &'a str) -> Self {
        if said == Some(&EncodingType::Url) { Self::Encoded } else { Self::Unsaid { prefix } }
    }

    fn plain(&self, key: &str) -> Option<String> {
        match self {
            Self::Unsaid { prefix } if key.starts_with(prefix) => Some(key.to_owned()),
            _ => decoded(key),
        }
    }
}

/// A key as `encoding-type=url` writes it, a space being a plus.
fn decoded(key: &str) -> Option<String> {
    urlencoding::decode(&key.replace('+', "%20")).ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_the_server_writes_them_whether_it_heeds_the_encoding_or_not() {
        let prefix = "a+b/c%20d/";
        for (said, written, key) in [
            (Some(EncodingType::Url), "a%2Bb/c%2520d/x.pcapng", "a+b/c%20d/x.pcapng"),
            (None, "a+b/c%20d/x.pcapng", "a+b/c%20d/x.pcapng"),
            (None, "a%2Bb/c%2520d/x.pcapng", "a+b/c%20d/x.pcapng"),
        ] {
            assert_eq!(Names::of(said.as_ref(), prefix).plain(written).as_deref(), Some(key), "{said:?}");
        }
    }
}
