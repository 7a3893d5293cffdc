//! Captures in S3, and the credentials of agents.

use clap::Args;

use super::arn;
use crate::model::{S3Url, Way};

/// Where captures are in S3.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "S3")]
pub struct S3Args {
    /// Upload captures to this bucket, in a folder for the session
    #[arg(id = "s3", long = "s3", value_name = "s3://BUCKET/PREFIX")]
    pub url: Option<S3Url>,
    /// S3 endpoint, which agents must reach too [default: $AWS_ENDPOINT_URL or AWS]
    #[arg(id = "s3_endpoint", long = "s3-endpoint", value_name = "URL", requires = "s3", hide_short_help = true)]
    pub endpoint: Option<String>,
    /// Region of the bucket [default: from the environment or the bucket]
    #[arg(id = "s3_region", long = "s3-region", value_name = "REGION", requires = "s3", hide_short_help = true)]
    pub region: Option<String>,
    /// Path-style bucket URLs [default: on for non-AWS endpoints]
    #[arg(id = "s3_path_style", long = "s3-path-style", value_name = "BOOL", requires = "s3", hide_short_help = true)]
    pub path_style: Option<bool>,
}

/// How captures are uploaded.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "S3")]
pub struct UploadArgs {
    /// Encrypt objects with this KMS key
    #[arg(id = "s3_kms_key", long = "s3-kms-key", value_name = "ARN", requires = "s3", hide_short_help = true)]
    pub kms_key: Option<String>,
    /// Storage class of the objects
    #[arg(
        id = "s3_storage_class",
        long = "s3-storage-class",
        value_name = "CLASS",
        requires = "s3",
        hide_short_help = true
    )]
    pub storage_class: Option<String>,
    /// Compress captures before the upload
    #[arg(long, requires = "s3", hide_short_help = true)]
    pub zstd: bool,
}

/// How agents authenticate to AWS.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Agent credentials")]
pub struct CredentialsArgs {
    /// IAM role that agents assume to upload and report by themselves (IRSA)
    ///
    /// The role must trust their service account. By default agents have no credentials: they upload with grants signed
    /// by this program, and this program sends their reports.
    #[arg(long, value_name = "ROLE_ARN", value_parser = arn::role, hide_short_help = true)]
    pub irsa: Option<String>,
    /// Let agents upload and report by themselves with EKS Pod Identity
    #[arg(long, requires = "service_account", conflicts_with = "irsa", hide_short_help = true)]
    pub pod_identity: bool,
}

impl CredentialsArgs {
    /// By what right agents deliver and report.
    pub fn way(&self) -> Way {
        match (&self.irsa, self.pod_identity) {
            (Some(role), _) => Way::Role(role.clone()),
            (None, true) => Way::PodIdentity,
            (None, false) => Way::Grant,
        }
    }
}
