//! What would stop a delivery: a bucket that is missing, public, or that nothing can be written to.
//!
//! Owns the checks before a session. Makes and removes one empty object below the session's own prefix.

use aws_sdk_s3::error::ProvideErrorMetadata;

use super::{Storage, StorageError, reason};
use crate::model::{Outcome, PreflightCheck, SessionId};

impl Storage {
    /// The bucket's own region, where it says so.
    pub(super) async fn bucket_region(&self) -> Option<String> {
        match self.client.head_bucket().bucket(&self.settings.url.bucket).send().await {
            Ok(answer) => answer.bucket_region().map(str::to_owned),
            // A redirect names the region too.
            Err(error) => {
                let header = error.raw_response()?.headers().get("x-amz-bucket-region")?;
                Some(header.to_owned())
            }
        }
    }

    /// Looks at the bucket as a session would use it.
    pub async fn check(&self, session: &SessionId) -> Vec<PreflightCheck> {
        let bucket = &self.settings.url.bucket;
        let check = |outcome, detail: String, fix: &str| PreflightCheck {
            check: "S3 bucket".to_owned(),
            outcome,
            detail,
            fix: fix.to_owned(),
        };
        if let Err(error) = self.credentials().await {
            return vec![check(Outcome::NotPermitted, error.to_string(), "sign in, or choose another AWS_PROFILE")];
        }
        if let Err(error) = self.client.head_bucket().bucket(bucket).send().await {
            let status = error.raw_response().map_or(0, |response| response.status().as_u16());
            let found = match status {
                404 => {
                    check(Outcome::Failed, format!("there is no bucket {bucket}"), "make it, or name another with --s3")
                }
                403 => {
                    let fix = "grant what manifests/s3-policy.json has, or choose another AWS_PROFILE";
                    check(Outcome::NotPermitted, format!("bucket {bucket} may not be used"), fix)
                }
                _ => {
                    let detail = format!("bucket {bucket} does not answer: {}", reason(&error));
                    check(Outcome::Failed, detail, "see --s3-endpoint and --s3-region")
                }
            };
            return vec![found];
        }
        let mut checks = vec![self.public(bucket).await];
        checks.push(match self.try_to_write(session).await {
            Ok(()) => check(Outcome::Passed, format!("{} can be written to", self.settings.url), ""),
            Err(error) => check(Outcome::NotPermitted, error.to_string(), "grant what manifests/s3-policy.json has"),
        });
        checks
    }

    async fn public(&self, bucket: &str) -> PreflightCheck {
        let found = |outcome, detail: String, fix: &str| PreflightCheck {
            check: "S3 privacy".to_owned(),
            outcome,
            detail,
            fix: fix.to_owned(),
        };
        let block = "block public access to it: aws s3api put-public-access-block";
        let by_policy = match self.client.get_bucket_policy_status().bucket(bucket).send().await {
            Ok(answer) => {
                let public = answer.policy_status().and_then(aws_sdk_s3::types::PolicyStatus::is_public);
                Ok(public.unwrap_or(false))
            }
            Err(error) if matches!(error.code(), Some("NoSuchBucketPolicy")) => Ok(false),
            Err(error) => Err(error.code().unwrap_or("no answer").to_owned()),
        };
        let everybody = |uri: &str| uri.ends_with("/AllUsers") || uri.ends_with("/AuthenticatedUsers");
        let by_acl = match self.client.get_bucket_acl().bucket(bucket).send().await {
            Ok(answer) => {
                let grantees = answer.grants().iter().filter_map(|grant| grant.grantee()?.uri());
                Ok(grantees.into_iter().any(everybody))
            }
            Err(error) => Err(error.code().unwrap_or("no answer").to_owned()),
        };
        match (by_policy, by_acl) {
            (Ok(true), _) => found(Outcome::Failed, format!("bucket {bucket} is public by its policy"), block),
            (_, Ok(true)) => found(Outcome::Failed, format!("bucket {bucket} is open to everybody by its ACL"), block),
            (Ok(false), Ok(false)) => found(Outcome::Passed, format!("bucket {bucket} is not public"), ""),
            (Err(why), _) | (_, Err(why)) => {
                found(Outcome::Warning, format!("whether {bucket} is public is not known ({why})"), "")
            }
        }
    }

    async fn try_to_write(&self, session: &SessionId) -> Result<(), StorageError> {
        let key = self.put(session, "preflight", Vec::new()).await?;
        self.remove_one(session, &key).await
    }
}
