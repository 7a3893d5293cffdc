//! One object with the agent's own credentials: those of its service account (IRSA) or of its pod identity.
//!
//! Owns how an object goes, whole or in parts, and that a capture never overwrites anything. Credentials of a role are
//! narrowed to the one prefix that this agent writes to. Must not know the queue.

use std::{
    collections::BTreeMap,
    error::Error,
    io::Read,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    Client,
    config::{RequestChecksumCalculation, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
    primitives::ByteStream,
    types::{
        ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, ServerSideEncryption, StorageClass,
    },
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use nodewatch_cloudwatch::told;
use nodewatch_protocol::OwnSink;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::{
    Object, Piece, Stored,
    aws::{self, Unanswered},
    error::UploadError,
    http::Http,
    proof::{self, Answer, Sums},
};

/// A larger object goes in parts of this size.
const PART: u64 = 16 * 1024 * 1024;
/// S3 takes so many parts.
const MAX_PARTS: u64 = 10_000;
/// Tries without an answer are remembered of so many objects.
const MOST_UNANSWERED: usize = 1000;
/// Another condition than "nobody has it" there is not.
const NOBODY_HAS_IT: &str = "*";

/// A bucket and the way to it.
pub(super) struct Role {
    sink: OwnSink,
    http: Http,
    others: Http,
    /// One client, and with it one set of credentials, for all objects.
    client: OnceCell<Client>,
    /// The server knows no conditional writes.
    unconditional: AtomicBool,
    /// The bucket takes nothing that could overwrite: each manifest has a name of its own.
    versioned: AtomicBool,
    /// What was sent and not answered: the checksum of each key.
    unanswered: Mutex<BTreeMap<String, String>>,
}

impl Role {
    pub(super) fn new(sink: OwnSink, http: &Http) -> Self {
        let authorities = sink.server.authorities.as_deref();
        Self {
            http: http.for_captures(authorities),
            others: http.trusting(authorities),
            client: OnceCell::new(),
            unconditional: AtomicBool::new(false),
            versioned: AtomicBool::new(false),
            unanswered: Mutex::default(),
            sink,
        }
    }

    pub(super) fn sink(&self) -> &OwnSink {
        &self.sink
    }

    /// Every manifest is an object more.
    pub(super) fn is_versioned(&self) -> bool {
        self.versioned.load(Ordering::Relaxed)
    }

    /// Sends it; the server compares the checksums.
    pub(super) fn put(&self, object: Object<'_>, piece: Piece, progress: &dyn Fn(u64)) -> Result<Stored, UploadError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(UploadError::Read)?;
        runtime.block_on(async {
            let client = self.client.get_or_try_init(|| async { self.connect() }).await?;
            match object {
                Object::File(name) => {
                    let key = format!("{}{name}", self.sink.prefix);
                    if piece.size <= PART {
                        self.whole(client, &key, bytes_of(piece)?, true).await
                    } else {
                        self.parts(client, &key, piece, progress).await
                    }
                }
                Object::Manifest(name) => self.manifest(client, name, bytes_of(piece)?).await,
            }
        })
    }

    fn connect(&self) -> Result<Client, UploadError> {
        let config = aws::config(self.http.clone(), self.others.clone(), &self.sink.region, self.policy());
        let mut settings = aws_sdk_s3::config::Builder::from(&config.map_err(UploadError::NoWay)?)
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
        let OwnSink { bucket, prefix, form, region, .. } = &self.sink;
        let partition = aws::partition(region);
        let mut statements = vec![json!({
            "Effect": "Allow", "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": format!("arn:{partition}:s3:::{bucket}/{prefix}*"),
        })];
        if let Some(key) = &form.kms_key {
            let actions = ["kms:GenerateDataKey", "kms:Decrypt"];
            statements.push(json!({"Effect": "Allow", "Action": actions, "Resource": key}));
        }
        json!({"Version": "2012-10-17", "Statement": statements}).to_string()
    }

    fn encryption(&self) -> Option<ServerSideEncryption> {
        self.sink.form.kms_key.as_ref().map(|_| ServerSideEncryption::AwsKms)
    }

    fn storage_class(&self) -> Option<StorageClass> {
        self.sink.form.storage_class.as_deref().map(StorageClass::from)
    }

    /// Whoever answers, for people.
    fn host(&self) -> String {
        let endpoint = self.sink.endpoint.as_deref();
        let named = endpoint.map(|url| url.split('/').nth(2).unwrap_or(url).to_owned());
        named.unwrap_or_else(|| format!("S3 in {}", self.sink.region))
    }

    fn condition(&self, wanted: bool) -> Option<String> {
        (wanted && !self.unconditional.load(Ordering::Relaxed)).then(|| NOBODY_HAS_IT.to_owned())
    }

    /// A manifest replaces the one before it; where the bucket refuses whatever could overwrite, each is an object
    /// more.
    async fn manifest(&self, client: &Client, name: &str, piece: Whole) -> Result<Stored, UploadError> {
        let prefix = &self.sink.prefix;
        if !self.is_versioned() {
            let sent = self.whole(client, &format!("{prefix}{name}"), piece.clone(), false).await;
            match sent {
                Err(UploadError::Refused { status: 403, ref code, .. }) if code == "AccessDenied" => {}
                sent => return sent,
            }
        }
        let stem = name.strip_suffix(".json").unwrap_or(name);
        let key = format!("{prefix}{stem}-{:x}.json", crate::unix_millis());
        let sent = self.whole(client, &key, piece, true).await?;
        self.versioned.store(true, Ordering::Relaxed);
        Ok(sent)
    }

    async fn whole(&self, client: &Client, key: &str, piece: Whole, new: bool) -> Result<Stored, UploadError> {
        let sha256 = STANDARD.encode(piece.sha256);
        let size = piece.bytes.len() as u64;
        loop {
            let condition = self.condition(new);
            let conditional = condition.is_some();
            let sent = client
                .put_object()
                .bucket(&self.sink.bucket)
                .key(key)
                .checksum_sha256(&sha256)
                .set_if_none_match(condition)
                .set_server_side_encryption(self.encryption())
                .set_ssekms_key_id(self.sink.form.kms_key.clone())
                .set_storage_class(self.storage_class())
                .body(ByteStream::from(piece.bytes.clone()))
                .send()
                .await;
            let answer = match sent.map_err(|error| self.told(&error)) {
                Ok(answer) => answer,
                Err(error) if conditional && is_status(&error, 412) => {
                    return self.compare(client, key, &sha256, size).await;
                }
                Err(error) if conditional && is_unknown_condition(&error) => {
                    self.unconditional.store(true, Ordering::Relaxed);
                    continue;
                }
                Err(error) => {
                    self.note_unanswered(key, &sha256, conditional && error.is_late());
                    return Err(error);
                }
            };
            self.was_sent(key, &sha256);
            let facts = Answer {
                status: 200,
                sha256: answer.checksum_sha256(),
                tag: answer.e_tag(),
                encryption: answer.server_side_encryption().map(ServerSideEncryption::as_str),
                is_s3: answer.request_id().is_some(),
            };
            return self.stored(key, size, facts, &Sums { sha256: &sha256, md5: &|| proof::md5(&piece.bytes) });
        }
    }

    fn stored(&self, key: &str, size: u64, answer: Answer<'_>, sums: &Sums<'_>) -> Result<Stored, UploadError> {
        let proved = proof::proved(answer, sums);
        let proved = proved.map_err(|problem| UploadError::Unproved { host: self.host(), problem })?;
        Ok(Stored { key: key.to_owned(), size, unproved: !proved && self.sink.server.unchecked })
    }

    /// Something has that key already: what we sent in a try whose answer was lost, or another's.
    async fn compare(&self, client: &Client, key: &str, sha256: &str, size: u64) -> Result<Stored, UploadError> {
        let head = client.head_object().bucket(&self.sink.bucket).key(key).checksum_mode(ChecksumMode::Enabled);
        let there = |unproved| Ok(Stored { key: key.to_owned(), size, unproved });
        match head.send().await {
            Ok(facts) => match facts.checksum_sha256() {
                Some(sum) if sum == sha256 => there(false),
                None if facts.content_length() == i64::try_from(size).ok() => there(true),
                _ => Err(UploadError::Taken { host: self.host(), key: key.to_owned() }),
            },
            // A right to write is none to look. Nobody else writes below this prefix, and the server compared what it
            // took: what was sent and not answered is what is there. Else the ring's copy stays until a laptop has it.
            Err(SdkError::ServiceError(error)) if error.raw().status().as_u16() == 403 => {
                there(!self.was_sent(key, sha256) || self.sink.server.unchecked)
            }
            Err(SdkError::ServiceError(error)) if error.raw().status().as_u16() == 404 => there(true),
            Err(error) => Err(self.told(&error)),
        }
    }

    /// A try that may have been taken all the same.
    fn note_unanswered(&self, key: &str, sha256: &str, may_be_there: bool) {
        if may_be_there {
            let mut unanswered = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
            while unanswered.len() >= MOST_UNANSWERED {
                unanswered.pop_first();
            }
            unanswered.insert(key.to_owned(), sha256.to_owned());
        }
    }

    /// Whether this was sent there and not answered, which it now is.
    fn was_sent(&self, key: &str, sha256: &str) -> bool {
        let mut unanswered = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        unanswered.remove(key).is_some_and(|sent| sent == sha256)
    }

    async fn parts(
        &self,
        client: &Client,
        key: &str,
        piece: Piece,
        progress: &dyn Fn(u64),
    ) -> Result<Stored, UploadError> {
        let begun = client
            .create_multipart_upload()
            .bucket(&self.sink.bucket)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.sink.form.kms_key.clone())
            .set_storage_class(self.storage_class())
            .send()
            .await
            .map_err(|error| self.told(&error))?;
        let Some(upload) = begun.upload_id() else {
            let problem = "started an upload without an upload ID: nothing was stored".to_owned();
            return Err(UploadError::Unproved { host: self.host(), problem });
        };
        let done = self.send_parts(client, key, upload, piece, progress).await;
        if !matches!(done, Ok((_, true))) {
            // What cannot be ended here is found by `nodewatch-tui cleanup`.
            let abort = client.abort_multipart_upload().bucket(&self.sink.bucket).key(key).upload_id(upload);
            let _ = abort.send().await;
        }
        done.map(|(stored, _)| stored)
    }

    /// What is stored now, and whether by this upload.
    async fn send_parts(
        &self,
        client: &Client,
        key: &str,
        upload: &str,
        mut piece: Piece,
        progress: &dyn Fn(u64),
    ) -> Result<(Stored, bool), UploadError> {
        let part = PART.max(piece.size.div_ceil(MAX_PARTS));
        let (mut parts, mut sums) = (Vec::new(), Sha256::new());
        let mut sent = 0;
        let mut proved = true;
        for number in 1.. {
            let mut bytes = Vec::with_capacity(part as usize);
            (&mut piece.source).take(part).read_to_end(&mut bytes).map_err(UploadError::Read)?;
            let bytes = Bytes::from(bytes);
            if bytes.is_empty() {
                break;
            }
            sent += bytes.len() as u64;
            let sum = Sha256::digest(&bytes);
            sums.update(sum);
            let sha256 = STANDARD.encode(sum);
            let answer = client
                .upload_part()
                .bucket(&self.sink.bucket)
                .key(key)
                .upload_id(upload)
                .part_number(number)
                .checksum_sha256(&sha256)
                .body(ByteStream::from(bytes.clone()))
                .send()
                .await
                .map_err(|error| self.told(&error))?;
            let facts = Answer {
                status: 200,
                sha256: answer.checksum_sha256(),
                tag: answer.e_tag(),
                encryption: answer.server_side_encryption().map(ServerSideEncryption::as_str),
                is_s3: answer.request_id().is_some(),
            };
            let sums = Sums { sha256: &sha256, md5: &|| proof::md5(&bytes) };
            proved &= !self.stored(key, sent, facts, &sums)?.unproved;
            let done = CompletedPart::builder()
                .part_number(number)
                .set_e_tag(answer.e_tag().map(str::to_owned))
                .checksum_sha256(sha256);
            parts.push(done.build());
            progress(sent);
        }
        if sent != piece.size {
            return Err(UploadError::Read(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let of_parts = format!("{}-{}", STANDARD.encode(sums.finalize()), parts.len());
        let whole = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let stored = Stored { key: key.to_owned(), size: sent, unproved: !proved };
        self.complete(client, upload, whole, (stored, &of_parts)).await
    }

    /// Makes one object of the parts that were sent, unless there is one already. False when there was.
    async fn complete(
        &self,
        client: &Client,
        upload: &str,
        whole: CompletedMultipartUpload,
        (stored, of_parts): (Stored, &str),
    ) -> Result<(Stored, bool), UploadError> {
        let key = stored.key.clone();
        loop {
            let condition = self.condition(true);
            let conditional = condition.is_some();
            let complete = client
                .complete_multipart_upload()
                .bucket(&self.sink.bucket)
                .key(&key)
                .upload_id(upload)
                .set_if_none_match(condition)
                .multipart_upload(whole.clone());
            match complete.send().await.map_err(|error| self.told(&error)) {
                Ok(_) => {
                    self.was_sent(&key, of_parts);
                    return Ok((stored, true));
                }
                Err(error) if conditional && is_status(&error, 412) => {
                    return Ok((self.compare(client, &key, of_parts, stored.size).await?, false));
                }
                Err(error) if conditional && is_unknown_condition(&error) => {
                    self.unconditional.store(true, Ordering::Relaxed);
                }
                Err(error) => {
                    self.note_unanswered(&key, of_parts, conditional && error.is_late());
                    return Err(error);
                }
            }
        }
    }

    fn told<E>(&self, error: &SdkError<E, HttpResponse>) -> UploadError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if let SdkError::ServiceError(context) = error {
            let (facts, raw) = (context.err().meta(), context.raw());
            let code = facts.code().unwrap_or_default().to_owned();
            let said: Vec<&str> = facts.code().into_iter().chain(facts.message()).collect();
            let said = super::with_region(said.join(", "), raw.headers().get("x-amz-bucket-region"));
            return UploadError::Refused { host: self.host(), status: raw.status().as_u16(), code, said };
        }
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        let mut of_credentials = false;
        while let Some(error) = cause {
            of_credentials |= error.is::<CredentialsError>();
            if let Some(Unanswered { host, reason, late }) = error.downcast_ref::<Unanswered>()
                && !of_credentials
            {
                return UploadError::Call { host: host.clone(), reason: reason.clone(), late: *late };
            }
            cause = error.source();
        }
        if of_credentials {
            return UploadError::NoWay(format!("this agent has no credentials: {}", told(error)));
        }
        let late = matches!(error, SdkError::TimeoutError(_));
        UploadError::Call { host: self.host(), reason: told(error), late }
    }
}

/// What is sent in one request.
#[derive(Clone)]
struct Whole {
    bytes: Bytes,
    sha256: [u8; 32],
}

fn bytes_of(mut piece: Piece) -> Result<Whole, UploadError> {
    let mut bytes = Vec::with_capacity(piece.size as usize);
    piece.source.read_to_end(&mut bytes).map_err(UploadError::Read)?;
    Ok(Whole { bytes: Bytes::from(bytes), sha256: piece.sha256 })
}

fn is_status(error: &UploadError, wanted: u16) -> bool {
    matches!(error, UploadError::Refused { status, .. } if *status == wanted)
}

/// A server that does not know the condition says so.
fn is_unknown_condition(error: &UploadError) -> bool {
    matches!(error, UploadError::Refused { status, code, .. } if *status == 501 || code == "NotImplemented")
}
