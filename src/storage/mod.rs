//! S3 from the laptop: grants for agents, listing, download, removal, and what stops a delivery.
//!
//! Owns the laptop's AWS credentials and every call that is made with them. Must not know the app, a screen or
//! Kubernetes.

mod check;
mod client;
mod download;
mod grant;
mod list;
mod manifests;
mod probe;
mod remove;

use std::{error::Error, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::ProvideCredentials};
use aws_sdk_s3::{
    Client,
    config::{RequestChecksumCalculation, ResponseChecksumValidation, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
};
use nodewatch_cloudwatch::told;
use nodewatch_protocol::{Grant, OwnSink, ServerFacts, Sink};
use tokio::{sync::OnceCell, time::timeout};

use client::ServerClock;

use crate::{
    base::aws_http,
    model::{Failure, NodeName, Notice, S3Url, SessionId, StorageSettings, Way},
};

/// A grant holds so long, as far as the credentials that sign it do.
const GRANTED: Duration = Duration::from_secs(3600);
/// Credentials that end sooner than this sign nothing.
const TOO_SHORT: Duration = Duration::from_secs(60);
/// A bucket has so long to say its region, before anything is on the screen.
const REGION_WITHIN: Duration = Duration::from_secs(5);
/// Who gives credentials has so long: a program that a profile names may ask somebody, and may hang.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(20);
/// S3's largest object in one request.
const MAX_POST: u64 = 5 * 1024 * 1024 * 1024;

/// S3 did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There are no credentials, or they have ended.
    #[error("no usable AWS credentials: {0}")]
    Credentials(String),
    /// The call.
    #[error("cannot {operation}: {reason}")]
    Call {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        reason: String,
    },
    /// A file here.
    #[error(transparent)]
    Local(#[from] crate::base::disk::DiskError),
    /// What came is not what was stored.
    #[error("its SHA-256 is {found} instead of {expected}")]
    Checksum {
        /// Of what came.
        found: String,
        /// By the manifest or the server.
        expected: String,
    },
    /// Something that is not ours to touch.
    #[error("{key:?} is not below {prefix:?} and was not touched")]
    Foreign {
        /// The object.
        key: String,
        /// What it should be below.
        prefix: String,
    },
}

impl StorageError {
    fn call<E>(operation: &'static str) -> impl FnOnce(SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        move |error| Self::Call { operation, reason: reason(&error) }
    }

    /// For the user, as the reason why something was not done.
    pub fn notice(&self, headline: impl Into<String>) -> Notice {
        let (next_step, failure) = match self {
            Self::Credentials(_) => ("sign in, or choose another AWS_PROFILE", Failure::NotPermitted),
            Self::Call { .. } => ("see nodewatch-tui preflight --s3", Failure::Other),
            Self::Local(crate::base::disk::DiskError::Read { .. }) => {
                ("fetch it from the node, or check the object by hand", Failure::Other)
            }
            Self::Local(_) => ("make room, or choose another folder with --out", Failure::Other),
            Self::Checksum { .. } => ("try again; if that fails, fetch it from the node", Failure::Other),
            Self::Foreign { .. } => ("check the bucket by hand", Failure::Other),
        };
        Notice::error(headline, crate::base::text::chain(self), next_step).of(failure)
    }
}

/// Why a call failed, in one plain sentence: S3's code and message, and where the bucket is when it is not here.
fn reason<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let SdkError::ServiceError(context) = error else { return told(error) };
    let facts = context.err().meta();
    let said: Vec<&str> = facts.code().into_iter().chain(facts.message()).collect();
    let status = context.raw().status().as_u16();
    let said = if said.is_empty() { format!("the server answers {status}") } else { said.join(", ") };
    match region_of(error) {
        Some(region) if matches!(status, 301 | 307 | 400) => {
            format!("{said} (the bucket is in {region}: see --s3-region)")
        }
        _ => said,
    }
}

/// The region that an answer names as the bucket's.
fn region_of<E>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    error.raw_response()?.headers().get("x-amz-bucket-region").map(str::to_owned)
}

/// One place in S3, as this laptop reaches it.
#[derive(Debug, Clone)]
pub struct Storage {
    settings: StorageSettings,
    config: SdkConfig,
    client: Client,
    region: String,
    /// The server's, as far as it has answered.
    clock: ServerClock,
    /// Whether the server takes an object under another's checksum, once that is known.
    unchecked: Arc<OnceCell<bool>>,
}

impl Storage {
    /// Reads the environment and profiles; calls nobody but who gives the credentials.
    pub async fn open(settings: StorageSettings) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(aws_http::client());
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        // The chain of credentials makes a large future.
        let config = Box::pin(loader.load()).await;
        Self::with(settings, config).await
    }

    /// The same with what somebody else has read.
    pub async fn with(settings: StorageSettings, config: SdkConfig) -> Self {
        let region = config.region().map_or_else(|| "us-east-1".to_owned(), ToString::to_string);
        let client = Client::new(&config);
        let (clock, unchecked) = (ServerClock::default(), Arc::default());
        let mut storage = Self { settings, config, client, region, clock, unchecked };
        if storage.settings.endpoint.is_none() {
            let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
            storage.settings.endpoint =
                variable("AWS_ENDPOINT_URL_S3").or_else(|| storage.config.endpoint_url().map(str::to_owned));
        }
        storage.client = storage.client_in(&storage.region);
        // Without a region that somebody has chosen the bucket says its own.
        if storage.settings.region.is_none()
            && storage.settings.endpoint.is_none()
            && let Ok(Some(region)) = timeout(REGION_WITHIN, storage.bucket_region()).await
        {
            storage.client = storage.client_in(&region);
            storage.region = region;
        }
        storage
    }

    fn client_in(&self, region: &str) -> Client {
        let mut settings = aws_sdk_s3::config::Builder::from(&self.config)
            .region(Region::new(region.to_owned()))
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .interceptor(self.clock.clone())
            .force_path_style(self.path_style());
        if let Some(endpoint) = &self.settings.endpoint {
            settings = settings.endpoint_url(endpoint);
        }
        Client::from_conf(settings.build())
    }

    /// Another server than AWS's seldom has a name for each bucket.
    fn path_style(&self) -> bool {
        self.settings.path_style.unwrap_or(self.settings.endpoint.is_some())
    }

    /// What it was opened with, and what was found out.
    pub fn settings(&self) -> StorageSettings {
        StorageSettings { region: Some(self.region.clone()), ..self.settings.clone() }
    }

    /// Where a session's objects are.
    pub fn session(&self, session: &SessionId) -> S3Url {
        self.settings.url.below(session.as_str())
    }

    /// Where a node's are.
    pub fn node(&self, session: &SessionId, node: &NodeName) -> S3Url {
        self.session(session).below(&crate::base::text::safe_component(&node.0))
    }

    /// How an agent is to deliver, and for how long that holds: for good with its own credentials.
    pub async fn sink(&self, session: &SessionId, node: &NodeName) -> Result<(Sink, Option<Duration>), StorageError> {
        self.checks_sums(session).await;
        if self.settings.way == Way::Grant {
            let grant = self.grant_for(session, node, GRANTED, MAX_POST).await?;
            let valid = grant.valid_seconds.duration();
            return Ok((Sink::Grant(grant), Some(valid)));
        }
        let place = self.node(session, node);
        let own = OwnSink {
            bucket: place.bucket,
            prefix: place.prefix,
            region: self.region.clone(),
            endpoint: self.own_endpoint(),
            path_style: self.path_style(),
            form: self.settings.form.clone(),
            server: self.server_facts(),
        };
        Ok((Sink::Own(own), None))
    }

    /// A signed policy for one node's objects: at most that long, as far as the credentials hold, and at most that
    /// large.
    pub async fn grant_for(
        &self,
        session: &SessionId,
        node: &NodeName,
        at_most: Duration,
        max_bytes: u64,
    ) -> Result<Grant, StorageError> {
        self.grant_at(&self.node(session, node), at_most, max_bytes).await
    }

    async fn grant_at(&self, place: &S3Url, at_most: Duration, max_bytes: u64) -> Result<Grant, StorageError> {
        let credentials = self.credentials().await?;
        // By the server's clock: it judges when a policy is over.
        let now = self.clock.now();
        let left = credentials
            .expiry()
            .map_or(at_most, |at| at.duration_since(now).unwrap_or_default().saturating_sub(TOO_SHORT));
        let valid = left.min(at_most);
        if valid.is_zero() {
            return Err(StorageError::Credentials("they expire within a minute".to_owned()));
        }
        Ok(self.grant(place, &credentials, now, valid, max_bytes))
    }

    /// What agents are to know of the server.
    fn server_facts(&self) -> ServerFacts {
        let of_another = self.settings.endpoint.is_some();
        let plain = self.settings.endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
        // What is wrong with them preflight has said.
        let authorities = if plain { None } else { client::authorities(of_another).ok().flatten() };
        ServerFacts { unchecked: self.unchecked.get().copied().unwrap_or(false), authorities }
    }

    async fn credentials(&self) -> Result<Credentials, StorageError> {
        let none = || StorageError::Credentials("none are configured".to_owned());
        let provider = self.config.credentials_provider().ok_or_else(none)?;
        let found = timeout(CREDENTIALS_WITHIN, provider.provide_credentials()).await.map_err(|_| {
            let seconds = CREDENTIALS_WITHIN.as_secs();
            StorageError::Credentials(format!(
                "their source (a profile's credential_process?) did not answer within \
                                               {seconds} s"
            ))
        })?;
        let found = found.map_err(|error| StorageError::Credentials(told(&error)))?;
        match found.expiry() {
            // The SDK takes over what a profile's program says, also when that is long over.
            Some(at) if at <= self.clock.now() => {
                let ended = jiff::Timestamp::try_from(at).unwrap_or_default();
                Err(StorageError::Credentials(format!("they expired at {}", ended.strftime("%Y-%m-%d %H:%M:%S UTC"))))
            }
            _ => Ok(found),
        }
    }

    fn putting(&self, key: &str) -> aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder {
        let put = self.client.put_object().bucket(&self.settings.url.bucket).key(key);
        match &self.settings.form.kms_key {
            Some(kms) => put.server_side_encryption(aws_sdk_s3::types::ServerSideEncryption::AwsKms).ssekms_key_id(kms),
            None => put,
        }
    }
}
