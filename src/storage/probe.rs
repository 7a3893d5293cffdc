//! What a server does with a form, tried out with an empty object: whether it takes one at all, and whether it compares
//! checksums.
//!
//! Owns the trial object, `preflight` below the session's own prefix. It is removed again.

use std::time::Duration;

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    primitives::SdkBody,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use base64::{Engine, engine::general_purpose::STANDARD};
use nodewatch_cloudwatch::told;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{Storage, StorageError};
use crate::{
    base::aws_http,
    model::{SessionId, Way},
};

/// The trial object's name.
const TRIAL: &str = "preflight";
/// A form has so long.
const WITHIN: Duration = Duration::from_secs(20);
/// Long enough for a trial, and for a clock that is a little off.
const VALID: Duration = Duration::from_secs(300);
const BOUNDARY: &str = "nodewatch-preflight-7d1f0c52a9";

/// What came of a form.
enum Posted {
    Taken,
    Refused { status: u16, said: String },
}

impl Storage {
    /// Writes as agents will, and removes it again.
    pub(super) async fn try_to_write(&self, session: &SessionId) -> Result<(), StorageError> {
        let key = format!("{}{TRIAL}", self.session(session).prefix);
        if self.settings.way == Way::Grant {
            match self.post(session, false).await? {
                Posted::Taken => {}
                Posted::Refused { status, said } => {
                    let operation = "write to the bucket by a form";
                    let demanded = status == 403 && self.demands_condition(session, &key).await;
                    let reason = if demanded {
                        "the bucket's policy requires If-None-Match, which a form cannot send: agents with --irsa or \
                         --pod-identity can"
                            .to_owned()
                    } else {
                        format!("{status} {said}").trim_end().to_owned()
                    };
                    return Err(StorageError::Call { operation, reason });
                }
            }
        } else if let Err(error) = self.putting(&key).body(Vec::new().into()).send().await {
            // A bucket that demands the condition gets it from agents that have a role.
            let conditional = self.putting(&key).if_none_match("*").body(Vec::new().into());
            let refused = error.raw_response().is_some_and(|raw| raw.status().as_u16() == 403);
            if !refused || conditional.send().await.is_err() {
                return Err(StorageError::call("write to the bucket")(error));
            }
        }
        self.remove_one(session, &key).await?;
        self.checks_sums(session).await;
        Ok(())
    }

    /// The bucket refuses what could overwrite, and takes the same when it cannot.
    async fn demands_condition(&self, session: &SessionId, key: &str) -> bool {
        let plain = self.putting(key).body(Vec::new().into()).send().await;
        let refused = matches!(&plain, Err(error) if error.code() == Some("AccessDenied"));
        let taken = refused && self.putting(key).if_none_match("*").body(Vec::new().into()).send().await.is_ok();
        if taken || plain.is_ok() {
            // An empty object that may not be removed is found with the session's others.
            let _ = self.remove_one(session, key).await;
        }
        taken
    }

    /// Whether the server compares checksums; asked once. Without an answer it is believed to, as AWS does.
    pub(super) async fn checks_sums(&self, session: &SessionId) -> bool {
        let unchecked = self.unchecked.get_or_try_init(|| async {
            let taken = if self.settings.way == Way::Grant {
                match self.post(session, true).await {
                    Ok(Posted::Taken) => true,
                    Ok(Posted::Refused { status: 400..=499, .. }) => false,
                    _ => return Err(()),
                }
            } else {
                let key = format!("{}{TRIAL}", self.session(session).prefix);
                let put = self.putting(&key).checksum_sha256(of_other_bytes()).body(Vec::new().into());
                match put.send().await {
                    Ok(_) => true,
                    Err(SdkError::ServiceError(error)) if error.raw().status().is_client_error() => false,
                    Err(_) => return Err(()),
                }
            };
            if taken {
                let key = format!("{}{TRIAL}", self.session(session).prefix);
                let _ = self.remove_one(session, &key).await;
            }
            Ok(taken)
        });
        !matches!(unchecked.await, Ok(true))
    }

    /// Posts the empty trial object as an agent does; with a `lie` under another's checksum.
    async fn post(&self, session: &SessionId, lie: bool) -> Result<Posted, StorageError> {
        let failed = |reason: String| StorageError::Call { operation: "write to the bucket by a form", reason };
        let grant = self.grant_at(&self.session(session), VALID, 1024).await?;
        let key = format!("{}{TRIAL}", grant.prefix);
        let sum = if lie { of_other_bytes() } else { STANDARD.encode(Sha256::digest([])) };
        let ours = [("key", key.as_str()), ("x-amz-checksum-algorithm", "SHA256"), ("x-amz-checksum-sha256", &sum)];
        let given = grant.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=");
        let fields = ours.into_iter().chain(given);
        let fields: Vec<String> = fields.map(|(name, value)| format!("{part}\"{name}\"\r\n\r\n{value}\r\n")).collect();
        let file = "\"file\"; filename=\"capture\"\r\nContent-Type: application/octet-stream\r\n\r\n\r\n";
        let form = format!("{}{part}{file}--{BOUNDARY}--\r\n", fields.concat());
        let request = http::Request::post(&grant.url)
            .header("Content-Type", format!("multipart/form-data; boundary={BOUNDARY}"))
            .header("Content-Length", form.len())
            .body(SdkBody::from(form))
            .map_err(|error| failed(error.to_string()))?;
        let request = HttpRequest::try_from(request).map_err(|error| failed(error.to_string()))?;
        let answer = timeout(WITHIN, aws_http::call(request)).await;
        let answer = answer.map_err(|_| failed(format!("no answer within {} s", WITHIN.as_secs())))?;
        let answer = answer.map_err(|error| failed(told(&error)))?;
        let status = answer.status().as_u16();
        let region = answer.headers().get("x-amz-bucket-region").map(str::to_owned);
        // Some servers call an empty answer a page too.
        let page =
            status != 204 && answer.headers().get("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        if (200..300).contains(&status) && !page {
            return Ok(Posted::Taken);
        }
        let body = timeout(WITHIN, aws_sdk_s3::primitives::ByteStream::new(answer.into_body()).collect()).await;
        let body = body.ok().and_then(Result::ok).map(|body| body.into_bytes().to_vec()).unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        let said: Vec<&str> = ["Code", "Message"].iter().filter_map(|name| element(&text, name)).collect();
        let mut said = said.join(", ");
        if page {
            "a web page, probably from a proxy that requires a login".clone_into(&mut said);
        }
        if let Some(region) = region.filter(|_| status < 400) {
            said = format!("{said} (the bucket is in {region}: see --s3-region)");
        }
        Ok(Posted::Refused { status, said })
    }
}

/// Of no empty object.
fn of_other_bytes() -> String {
    STANDARD.encode(Sha256::digest(b"other bytes"))
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once('<')?.0)
}
