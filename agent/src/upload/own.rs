//! One object with the agent's own credentials: those of its service account (IRSA) or of its pod identity.
//!
//! Owns the AWS SDK in the agent. The node's own role is never used: a hostNetwork pod could reach it, and it is not
//! ours. Credentials of a role are narrowed to the one prefix that this agent writes to.

use std::{
    io::{Read, SeekFrom},
    time::Duration,
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, ecs::EcsCredentialsProvider, provider_config::ProviderConfig,
    web_identity_token::WebIdentityTokenCredentialsProvider,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::{
    Client,
    config::{RequestChecksumCalculation, retry::RetryConfig, timeout::TimeoutConfig},
    error::DisplayErrorContext,
    primitives::{ByteStream, SdkBody},
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ServerSideEncryption, StorageClass},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use nodewatch_protocol::OwnSink;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Piece, UploadError, http::Http};

/// A larger object goes in parts of this size.
const PART: u64 = 16 * 1024 * 1024;
/// S3 takes so many parts.
const MAX_PARTS: u64 = 10_000;

/// A bucket and the way to it.
pub(super) struct Own {
    sink: OwnSink,
    http: Http,
}

impl Own {
    pub(super) fn new(sink: OwnSink, http: Http) -> Self {
        Self { sink, http }
    }

    pub(super) fn sink(&self) -> &OwnSink {
        &self.sink
    }

    /// Sends it; the server compares the checksums. Returns the object's key.
    pub(super) fn put(&self, name: &str, piece: Piece, progress: &dyn Fn(u64)) -> Result<String, UploadError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(UploadError::Read)?;
        let key = format!("{}{name}", self.sink.prefix);
        runtime.block_on(async {
            let client = self.client().await?;
            if piece.size <= PART {
                self.whole(&client, &key, piece).await
            } else {
                self.parts(&client, &key, piece, progress).await
            }
        })?;
        Ok(key)
    }

    async fn client(&self) -> Result<Client, UploadError> {
        let config = config(self.http.clone(), &self.sink.region, self.policy()).await?;
        let mut settings = aws_sdk_s3::config::Builder::from(&config)
            // Back-off and the next try are the queue's.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(Duration::from_secs(300)).build())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .force_path_style(self.sink.path_style);
        if let Some(endpoint) = &self.sink.endpoint {
            settings = settings.endpoint_url(endpoint);
        }
        Ok(Client::from_conf(settings.build()))
    }

    /// What is left of the role: writing below the prefix.
    fn policy(&self) -> String {
        let OwnSink { bucket, prefix, kms_key, .. } = &self.sink;
        let mut statements = vec![json!({
            "Effect": "Allow", "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": format!("arn:aws:s3:::{bucket}/{prefix}*"),
        })];
        if let Some(key) = kms_key {
            let actions = ["kms:GenerateDataKey", "kms:Decrypt"];
            statements.push(json!({"Effect": "Allow", "Action": actions, "Resource": key}));
        }
        json!({"Version": "2012-10-17", "Statement": statements}).to_string()
    }

    fn encryption(&self) -> Option<ServerSideEncryption> {
        self.sink.kms_key.as_ref().map(|_| ServerSideEncryption::AwsKms)
    }

    fn storage_class(&self) -> Option<StorageClass> {
        self.sink.storage_class.as_deref().map(StorageClass::from)
    }

    async fn whole(&self, client: &Client, key: &str, mut piece: Piece) -> Result<(), UploadError> {
        let mut bytes = Vec::with_capacity(piece.size as usize);
        piece.source.read_to_end(&mut bytes).map_err(UploadError::Read)?;
        client
            .put_object()
            .bucket(&self.sink.bucket)
            .key(key)
            .checksum_sha256(STANDARD.encode(piece.sha256))
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.sink.kms_key.clone())
            .set_storage_class(self.storage_class())
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map_err(told)?;
        Ok(())
    }

    async fn parts(&self, client: &Client, key: &str, piece: Piece, progress: &dyn Fn(u64)) -> Result<(), UploadError> {
        let begun = client
            .create_multipart_upload()
            .bucket(&self.sink.bucket)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.sink.kms_key.clone())
            .set_storage_class(self.storage_class())
            .send()
            .await
            .map_err(told)?;
        let upload = begun.upload_id().unwrap_or_default();
        let done = self.send_parts(client, key, upload, piece, progress).await;
        if done.is_err() {
            // What cannot be ended here is found by `nodewatch-tui cleanup`.
            let abort = client.abort_multipart_upload().bucket(&self.sink.bucket).key(key).upload_id(upload);
            let _ = abort.send().await;
        }
        done
    }

    async fn send_parts(
        &self,
        client: &Client,
        key: &str,
        upload: &str,
        mut piece: Piece,
        progress: &dyn Fn(u64),
    ) -> Result<(), UploadError> {
        let part = PART.max(piece.size.div_ceil(MAX_PARTS));
        let mut parts = Vec::new();
        let mut sent = 0;
        piece.source.seek(SeekFrom::Start(0)).map_err(UploadError::Read)?;
        for number in 1.. {
            let mut bytes = Vec::with_capacity(part as usize);
            (&mut piece.source).take(part).read_to_end(&mut bytes).map_err(UploadError::Read)?;
            if bytes.is_empty() {
                break;
            }
            sent += bytes.len() as u64;
            let sha256 = STANDARD.encode(Sha256::digest(&bytes));
            let answer = client
                .upload_part()
                .bucket(&self.sink.bucket)
                .key(key)
                .upload_id(upload)
                .part_number(number)
                .checksum_sha256(&sha256)
                .body(ByteStream::from(bytes))
                .send()
                .await
                .map_err(told)?;
            let done = CompletedPart::builder()
                .part_number(number)
                .set_e_tag(answer.e_tag().map(str::to_owned))
                .checksum_sha256(sha256);
            parts.push(done.build());
            progress(sent);
        }
        let whole = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = client.complete_multipart_upload().bucket(&self.sink.bucket).key(key).upload_id(upload);
        complete.multipart_upload(whole).send().await.map_err(told)?;
        Ok(())
    }
}

/// What any client here is made of: the agent's own connections, and its own credentials narrowed to that policy.
pub(super) async fn config(http: Http, region: &str, policy: String) -> Result<SdkConfig, UploadError> {
    let connector = SharedHttpConnector::new(UreqConnector(http));
    let http = http_client_fn(move |_, _| connector.clone());
    let region = Region::new(region.to_owned());
    let provider = ProviderConfig::default().with_region(Some(region.clone())).with_http_client(http.clone());
    let credentials = credentials(&provider, policy)?;
    let loader = aws_config::defaults(BehaviorVersion::latest()).region(region).http_client(http);
    Ok(loader.credentials_provider(credentials).load().await)
}

fn credentials(provider: &ProviderConfig, policy: String) -> Result<SharedCredentialsProvider, UploadError> {
    let set = |name| std::env::var_os(name).is_some();
    if set("AWS_WEB_IDENTITY_TOKEN_FILE") {
        let narrowed = WebIdentityTokenCredentialsProvider::builder().configure(provider).policy(policy);
        Ok(SharedCredentialsProvider::new(narrowed.build()))
    } else if set("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        Ok(SharedCredentialsProvider::new(EcsCredentialsProvider::builder().configure(provider).build()))
    } else {
        let message = "this agent has no credentials of its own: neither a role for its service account nor a pod \
             identity reached it";
        Err(UploadError::Own(message.to_owned()))
    }
}

fn told<E: std::error::Error>(error: E) -> UploadError {
    UploadError::Own(DisplayErrorContext(error).to_string())
}

/// The SDK's requests over the uploader's own connections.
#[derive(Debug)]
struct UreqConnector(Http);

impl HttpConnector for UreqConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let http = self.0.clone();
        // The runtime below has this one task: blocking it is what waiting means here.
        HttpConnectorFuture::new(async move { call(&http, request) })
    }
}

fn call(http: &Http, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(Box::new(error)))?;
    let (head, body) = request.into_parts();
    let bytes = body.bytes().ok_or_else(|| ConnectorError::user("a body that is not in memory".into()))?.to_vec();
    let request = ureq::http::Request::from_parts(head, bytes);
    let answer = http.agent.run(request).map_err(|error| ConnectorError::io(Box::new(error)))?;
    let (head, mut body) = answer.into_parts();
    let bytes = body.read_to_vec().map_err(|error| ConnectorError::io(Box::new(error)))?;
    let answer = ureq::http::Response::from_parts(head, SdkBody::from(bytes));
    HttpResponse::try_from(answer).map_err(|error| ConnectorError::other(Box::new(error), None))
}
