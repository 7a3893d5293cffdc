//! Signed POST policies: what an agent may do with nothing but a form.
//!
//! Owns the policy document and its signature (AWS Signature Version 4, "Browser-based uploads using POST" in the
//! Amazon S3 API reference).

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sdk_s3::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::FutureExt;
use jiff::Timestamp;
use nodewatch_protocol::Grant;
use serde_json::{Value, json};

use super::Storage;
use crate::model::S3Url;

impl Storage {
    /// What allows an agent to make objects below that place, for that long.
    pub(super) fn grant(
        &self,
        place: &S3Url,
        credentials: &Credentials,
        now: SystemTime,
        valid: Duration,
        max_bytes: u64,
    ) -> Grant {
        let began = Timestamp::try_from(now).unwrap_or_default();
        let expires = Timestamp::try_from(now + valid).unwrap_or_default();
        let day = began.strftime("%Y%m%d").to_string();
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let settings = &self.settings;

        let mut fields = BTreeMap::from([
            ("x-amz-algorithm".to_owned(), "AWS4-HMAC-SHA256".to_owned()),
            ("x-amz-credential".to_owned(), format!("{}/{scope}", credentials.access_key_id())),
            ("x-amz-date".to_owned(), began.strftime("%Y%m%dT%H%M%SZ").to_string()),
        ]);
        if let Some(token) = credentials.session_token() {
            fields.insert("x-amz-security-token".to_owned(), token.to_owned());
        }
        if let Some(key) = &settings.form.kms_key {
            fields.insert("x-amz-server-side-encryption".to_owned(), "aws:kms".to_owned());
            fields.insert("x-amz-server-side-encryption-aws-kms-key-id".to_owned(), key.clone());
        }
        if let Some(class) = &settings.form.storage_class {
            fields.insert("x-amz-storage-class".to_owned(), class.clone());
        }
        let mut conditions: Vec<Value> = fields.iter().map(|(name, value)| json!({ name: value })).collect();
        conditions.extend([
            json!({"bucket": place.bucket}),
            json!(["starts-with", "$key", place.prefix]),
            json!(["content-length-range", 0, max_bytes]),
            json!({"x-amz-checksum-algorithm": "SHA256"}),
            json!(["starts-with", "$x-amz-checksum-sha256", ""]),
        ]);
        let policy = json!({
            "expiration": expires.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string(), "conditions": conditions,
        });
        let policy = STANDARD.encode(policy.to_string());
        let key = generate_signing_key(credentials.secret_access_key(), now, &self.region, "s3");
        fields.insert("x-amz-signature".to_owned(), calculate_signature(key, policy.as_bytes()));
        fields.insert("policy".to_owned(), policy);
        Grant {
            url: self.post_url(&place.bucket),
            fields,
            prefix: place.prefix.clone(),
            max_bytes,
            valid_seconds: valid.into(),
            zstd: settings.form.zstd,
            server: self.server_facts(),
        }
    }

    /// Where a bucket is posted to.
    pub(super) fn post_url(&self, bucket: &str) -> String {
        let in_path = self.path_style();
        match &self.settings.endpoint {
            Some(endpoint) if in_path => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            Some(endpoint) => match endpoint.split_once("://") {
                Some((scheme, host)) => format!("{scheme}://{bucket}.{}/", host.trim_end_matches('/')),
                None => format!("https://{bucket}.{endpoint}/"),
            },
            None => self.endpoint_of(bucket, in_path).unwrap_or_default(),
        }
    }

    /// As the SDK itself finds it: partitions, FIPS, dual-stack, and the path for a name with a dot, which would not match
    /// the certificate.
    fn endpoint_of(&self, bucket: &str, in_path: bool) -> Option<String> {
        let parameters = Params::builder()
            .bucket(bucket)
            .region(&self.region)
            .force_path_style(in_path)
            .use_fips(self.config.use_fips().unwrap_or(false))
            .use_dual_stack(self.config.use_dual_stack().unwrap_or(false))
            .build()
            .ok()?;
        // The rules are computed, nobody is asked.
        let endpoint = DefaultResolver::new().resolve_endpoint(&parameters).now_or_never()?.ok()?;
        let url = endpoint.url();
        Some(if url.matches('/').count() == 2 { format!("{url}/") } else { url.to_owned() })
    }

    /// The server's own address, where agents would not find it by the region alone.
    pub(super) fn own_endpoint(&self) -> Option<String> {
        let special = self.config.use_fips() == Some(true) || self.config.use_dual_stack() == Some(true);
        if self.settings.endpoint.is_some() || !special {
            return self.settings.endpoint.clone();
        }
        let url = self.endpoint_of("bucket", true)?;
        Some(url.trim_end_matches('/').trim_end_matches("/bucket").to_owned())
    }
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region, SdkConfig};

    use super::*;
    use crate::model::{StorageSettings, Way};

    async fn storage(region: &str, fips: bool, dual: bool) -> Storage {
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .use_fips(fips)
            .use_dual_stack(dual)
            .build();
        let settings = StorageSettings {
            url: "s3://caps/a".parse().expect("a place"),
            endpoint: None,
            region: Some(region.to_owned()),
            path_style: None,
            form: nodewatch_protocol::ObjectForm::default(),
            way: Way::Grant,
        };
        Storage::with(settings, config).await
    }

    #[tokio::test]
    async fn a_form_goes_where_the_sdk_itself_would_send_it() {
        for (region, fips, dual, bucket, url) in [
            ("eu-west-1", false, false, "caps", "https://caps.s3.eu-west-1.amazonaws.com/"),
            ("eu-west-1", false, false, "my.caps", "https://s3.eu-west-1.amazonaws.com/my.caps"),
            ("cn-north-1", false, false, "caps", "https://caps.s3.cn-north-1.amazonaws.com.cn/"),
            ("us-gov-west-1", true, false, "caps", "https://caps.s3-fips.us-gov-west-1.amazonaws.com/"),
            ("eu-west-1", false, true, "caps", "https://caps.s3.dualstack.eu-west-1.amazonaws.com/"),
            ("eusc-de-east-1", false, false, "caps", "https://caps.s3.eusc-de-east-1.amazonaws.eu/"),
        ] {
            assert_eq!(storage(region, fips, dual).await.post_url(bucket), url);
        }
        let special = storage("us-gov-west-1", true, false).await.own_endpoint();
        assert_eq!(special.as_deref(), Some("https://s3-fips.us-gov-west-1.amazonaws.com"));
        assert_eq!(storage("eu-west-1", false, false).await.own_endpoint(), None);
    }
}
