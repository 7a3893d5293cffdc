//! Signed POST policies: what an agent may do with nothing but a form.
//!
//! Owns the policy document and its signature (AWS Signature Version 4, "Browser-based uploads using POST" in the
//! Amazon S3 API reference).

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use base64::{Engine, engine::general_purpose::STANDARD};
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
        if let Some(key) = &settings.kms_key {
            fields.insert("x-amz-server-side-encryption".to_owned(), "aws:kms".to_owned());
            fields.insert("x-amz-server-side-encryption-aws-kms-key-id".to_owned(), key.clone());
        }
        if let Some(class) = &settings.storage_class {
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
            zstd: settings.zstd,
        }
    }

    fn post_url(&self, bucket: &str) -> String {
        let in_path = self.path_style();
        match &self.settings.endpoint {
            Some(endpoint) if in_path => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            Some(endpoint) => match endpoint.split_once("://") {
                Some((scheme, host)) => format!("{scheme}://{bucket}.{}/", host.trim_end_matches('/')),
                None => format!("https://{bucket}.{endpoint}/"),
            },
            None => {
                let region = &self.region;
                let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                // A dot in the bucket's name would not match the certificate.
                if in_path || bucket.contains('.') {
                    format!("https://s3.{region}.{domain}/{bucket}")
                } else {
                    format!("https://{bucket}.s3.{region}.{domain}/")
                }
            }
        }
    }
}
