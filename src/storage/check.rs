//! What would stop a delivery: a bucket that is missing, public, or that nothing can be written to.
//!
//! Owns the checks before a session. Makes and removes one empty object below the session's own prefix.

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::head_bucket::HeadBucketError,
};

use super::{Storage, client, reason, region_of};
use crate::{
    base::{aws_http, text},
    model::{Outcome, PreflightCheck, SessionId, Way},
};

/// A clock that is further off than this is not corrected: a policy must not hold in a year that has not come.
const MOST_OFF: u64 = 24 * 60;

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
        if let Some((detail, fix)) = self.impossible() {
            return vec![check(Outcome::Failed, detail, fix)];
        }
        if let Err(error) = self.credentials().await {
            return vec![check(Outcome::NotPermitted, error.to_string(), "sign in, or choose another AWS_PROFILE")];
        }
        if let Err(error) = self.client.head_bucket().bucket(bucket).send().await {
            return vec![self.unusable(&error).await];
        }
        let off = self.clock.ahead() / 60_000;
        if off.unsigned_abs() > MOST_OFF {
            let detail = format!("this laptop's clock and S3's are {} minutes apart", off.unsigned_abs());
            return vec![check(Outcome::Failed, detail, "set the clock: what it signs is valid at another time")];
        }
        let mut checks = vec![self.public(bucket).await];
        let written = self.try_to_write(session).await;
        let unchecked = written.is_ok() && !self.checks_sums(session).await;
        checks.push(match written {
            Ok(()) => check(Outcome::Passed, format!("{} is writable", self.settings.url), ""),
            Err(error) => {
                check(Outcome::NotPermitted, error.to_string(), "grant the rights in manifests/s3-policy.json")
            }
        });
        if unchecked {
            let detail = format!(
                "{} accepts objects with a wrong checksum, so it does not prove that a file arrived intact",
                self.host()
            );
            let fix = "each file is kept on its node, if there is room, until it is fetched too";
            checks.push(check(Outcome::Warning, detail, fix));
        }
        if off != 0 {
            let way = if off > 0 { "behind" } else { "ahead of" };
            let detail = format!("this laptop's clock is {} minutes {way} S3's", off.unsigned_abs());
            checks.push(check(Outcome::Warning, detail, "set it; until then policies are signed with S3's time"));
        }
        if self.settings.way == Way::PodIdentity {
            let detail =
                "with EKS Pod Identity agents have all rights of their role, unless the association narrows them";
            let fix = "manifests/pod-identity-session-policy.json is a session policy for it";
            checks.push(check(Outcome::Passed, detail.to_owned(), fix));
        }
        checks
    }

    /// Why the bucket cannot be used, by the answer to who asked for it.
    async fn unusable(&self, error: &SdkError<HeadBucketError, HttpResponse>) -> PreflightCheck {
        let bucket = &self.settings.url.bucket;
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        match (status, region_of(error).filter(|region| *region != self.region)) {
            (301 | 307 | 400, Some(region)) => {
                let detail = format!("bucket {bucket} is in {region}, not in {}", self.region);
                check(Outcome::Failed, detail, &format!("--s3-region {}", text::shell(&region)))
            }
            (404, _) => {
                let fix = "create it, or choose another with --s3";
                check(Outcome::Failed, format!("bucket {bucket} does not exist"), fix)
            }
            (403, _) => {
                let fix = "grant the rights in manifests/s3-policy.json, or choose another AWS_PROFILE";
                check(Outcome::NotPermitted, format!("no access to bucket {bucket}"), fix)
            }
            (status, _) => {
                // An answer without a body says only that it is one: a list that is refused says why.
                let list = self.client.list_objects_v2().bucket(bucket).max_keys(1);
                let why = match (status, list.send().await) {
                    (1.., Err(error)) => reason(&error),
                    _ => reason(error),
                };
                let detail = format!("unexpected answer for bucket {bucket}: {} says {why}", self.host());
                check(Outcome::Failed, detail, "see --s3-endpoint and --s3-region")
            }
        }
    }

    /// What can be said without asking anybody, with what to do.
    fn impossible(&self) -> Option<(String, &'static str)> {
        let url = &self.settings.url;
        let bucket = &url.bucket;
        let grant = self.settings.way == Way::Grant;
        if bucket.ends_with("--x-s3") {
            let detail = format!(
                "{bucket} is a directory bucket (S3 Express One Zone): it has no upload forms, lists in no order, and \
                 keeps each object in one zone only"
            );
            return Some((detail, "use a general purpose bucket"));
        }
        if grant && self.settings.endpoint.is_none() && url.prefix.contains('$') {
            let detail = format!("the prefix {:?} contains a $, which is special in a POST policy", url.prefix);
            return Some((detail, "choose another prefix, or deliver with --irsa or --pod-identity"));
        }
        if let Some(detail) = aws_http::unusable_proxy(&self.post_url(bucket)) {
            return Some((detail, "set HTTPS_PROXY to such a proxy, or add the server to NO_PROXY"));
        }
        let plain = self.post_url(bucket).starts_with("http://");
        match client::authorities(self.settings.endpoint.is_some()) {
            Err(detail) if !plain => Some((
                detail,
                "point AWS_CA_BUNDLE at a file with your S3 server's authority \
                                                    alone",
            )),
            _ => None,
        }
    }

    /// The server, for people.
    fn host(&self) -> String {
        let url = self.post_url(&self.settings.url.bucket);
        url.split('/').nth(2).unwrap_or(&url).to_owned()
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
            (_, Ok(true)) => found(Outcome::Failed, format!("bucket {bucket} is open to everyone by its ACL"), block),
            (Ok(false), Ok(false)) => found(Outcome::Passed, format!("bucket {bucket} is not public"), ""),
            (Err(why), _) | (_, Err(why)) => {
                found(Outcome::Warning, format!("cannot tell whether {bucket} is public ({why})"), "")
            }
        }
    }
}

/// What is said of the bucket itself.
fn check(outcome: Outcome, detail: String, fix: &str) -> PreflightCheck {
    PreflightCheck { check: "S3 bucket".to_owned(), outcome, detail, fix: fix.to_owned() }
}
