//! The AWS SDK in the agent: over its own connections, with its own credentials.
//!
//! Owns which credentials are taken and how far they are narrowed. The node's own role is never used: a hostNetwork pod
//! could reach it, and it is not ours: the SDK's chain of sources, which would ask the node for it, is not even linked.
//! Must not know what is sent.

use std::{error::Error, fmt};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, ecs::EcsCredentialsProvider, provider_config::ProviderConfig,
    web_identity_token::WebIdentityTokenCredentialsProvider,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};

use super::http::{self, Http};

/// What any client here is made of: these connections, and the agent's own credentials narrowed to that policy. What
/// gets the credentials goes over `others`: it is no delivery.
pub(super) fn config(http: Http, others: Http, region: &str, policy: String) -> Result<SdkConfig, String> {
    let client = |http: Http| {
        let connector = SharedHttpConnector::new(UreqConnector(http));
        http_client_fn(move |_, _| connector.clone())
    };
    let region = Region::new(region.to_owned());
    let provider = ProviderConfig::default().with_region(Some(region.clone())).with_http_client(client(others));
    let credentials = credentials(&provider, policy)?;
    let config = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).region(region);
    Ok(config.http_client(client(http)).credentials_provider(credentials).build())
}

fn credentials(provider: &ProviderConfig, policy: String) -> Result<SharedCredentialsProvider, String> {
    let set = |name| std::env::var_os(name).is_some();
    if set("AWS_WEB_IDENTITY_TOKEN_FILE") {
        let narrowed = WebIdentityTokenCredentialsProvider::builder().configure(provider).policy(policy);
        Ok(SharedCredentialsProvider::new(narrowed.build()))
    } else if set("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        Ok(SharedCredentialsProvider::new(EcsCredentialsProvider::builder().configure(provider).build()))
    } else {
        let message = "this agent has no credentials of its own: neither a role for its service account nor a pod \
             identity reached it";
        Err(message.to_owned())
    }
}

/// The partition that names of resources are of: that of the agent's role, or the region's.
pub(super) fn partition(region: &str) -> String {
    partition_of(std::env::var("AWS_ROLE_ARN").ok().as_deref(), region)
}

fn partition_of(role: Option<&str>, region: &str) -> String {
    let named = role.and_then(|arn| arn.strip_prefix("arn:")?.split(':').next()).filter(|name| !name.is_empty());
    let by_region = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    let of_region = || by_region.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, name)| name);
    named.unwrap_or_else(of_region).to_owned()
}

/// A call that got no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) host: String,
    pub(super) reason: String,
    pub(super) late: bool,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer from {}: {}", self.host, self.reason)
    }
}

impl Error for Unanswered {}

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
    let way = http.way(&head.uri).map_err(|reason| ConnectorError::user(reason.into()))?;
    let failed = |error: &ureq::Error| {
        let (host, reason, late) = (way.host.clone(), http::reason(error), http::is_late(error));
        ConnectorError::io(Box::new(Unanswered { host, reason, late }))
    };
    let request = ureq::http::Request::from_parts(head, bytes);
    let answer = way.agent.run(request).map_err(|error| failed(&error))?;
    let (head, mut body) = answer.into_parts();
    let bytes = body.read_to_vec().map_err(|error| failed(&error))?;
    if head.status.is_success() && is_web_page(&bytes) {
        let reason = format!("{} with a web page, like a proxy that requires a login", head.status.as_u16());
        return Err(ConnectorError::io(Box::new(Unanswered { host: way.host.clone(), reason, late: false })));
    }
    let answer = ureq::http::Response::from_parts(head, SdkBody::from(bytes));
    HttpResponse::try_from(answer).map_err(|error| ConnectorError::other(Box::new(error), None))
}

/// By what it begins with: servers that are AWS's in all else call their JSON a page.
fn is_web_page(body: &[u8]) -> bool {
    let start = body.trim_ascii_start().to_ascii_lowercase();
    [b"<!doctype html".as_slice(), b"<html"].iter().any(|word| start.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_by_its_first_words() {
        for page in ["<!DOCTYPE html>\n<p>login", "\r\n<html lang=en>"] {
            assert!(is_web_page(page.as_bytes()), "{page}");
        }
        for answer in ["", "{}", "<?xml version=\"1.0\"?><Result/>", "{\"page\":\"<html>\"}"] {
            assert!(!is_web_page(answer.as_bytes()), "{answer}");
        }
    }

    #[test]
    fn the_partition_is_the_roles_and_else_the_regions() {
        for (role, region, partition) in [
            (Some("arn:aws-us-gov:iam::123456789012:role/nw"), "us-east-1", "aws-us-gov"),
            (Some("arn:aws-cn:iam::123456789012:role/nw"), "cn-north-1", "aws-cn"),
            (Some("arn:aws:iam::123456789012:role/nw"), "eu-west-1", "aws"),
            (None, "eu-west-1", "aws"),
            (None, "cn-northwest-1", "aws-cn"),
            (None, "us-gov-west-1", "aws-us-gov"),
            (None, "us-iso-east-1", "aws-iso"),
            (None, "us-isob-east-1", "aws-iso-b"),
            (None, "eusc-de-east-1", "aws-eusc"),
            (Some("role"), "us-gov-west-1", "aws-us-gov"),
        ] {
            assert_eq!(partition_of(role, region), partition, "{role:?} {region}");
        }
    }
}
