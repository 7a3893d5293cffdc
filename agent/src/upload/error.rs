//! Why an object did not get to the sink, and what that says about the next one.
//!
//! Owns the difference between a refusal of one object, one of all of them, and one for good.

use std::io;

use crate::ring::store::StoreError;

/// An object was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The ring's side.
    #[error(transparent)]
    Ring(#[from] StoreError),
    /// Reading or compressing.
    #[error("cannot read the file")]
    Read(#[source] io::Error),
    /// No answer, or half of one.
    #[error("no answer from {host}: {reason}")]
    Call {
        /// The server, and the proxy on the way to it.
        host: String,
        /// Why.
        reason: String,
        /// The time was over: the server may do late what it was asked to.
        late: bool,
    },
    /// The server said no.
    #[error("{host} answers {status}{}{said}", if said.is_empty() { "" } else { ": " })]
    Refused {
        /// The server, and the proxy on the way to it.
        host: String,
        /// The HTTP status.
        status: u16,
        /// S3's code.
        code: String,
        /// S3's code, its message, and what else the answer says about the reason.
        said: String,
    },
    /// Something answered that is not S3, or what it has is not what it was sent.
    #[error("{host} {problem}")]
    Unproved {
        /// The server, and the proxy on the way to it.
        host: String,
        /// What is wrong with its answer.
        problem: String,
    },
    /// The file is larger than the grant allows.
    #[error("{size} bytes are more than the {max} that a signed policy may allow: choose a smaller --rotate-size")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The policy's largest.
        max: u64,
    },
    /// Another object has its name already, and is left alone.
    #[error("{host} already has another object at {key}, which was not overwritten")]
    Taken {
        /// The server.
        host: String,
        /// The key.
        key: String,
    },
    /// There is no way to send anything.
    #[error("{0}")]
    NoWay(String),
}

/// What a failure says about what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// This object can never go.
    ForGood,
    /// Its bytes are gone.
    Lost,
    /// This object was refused; others may go.
    Object,
    /// Nothing can go now.
    Destination,
}

/// S3's codes of what has to do with all objects alike: the right to send, the clock, the bucket, the load.
const OF_ALL: [&str; 22] = [
    "AuthorizationHeaderMalformed",
    "BandwidthLimitExceeded",
    "ExpiredToken",
    "IllegalLocationConstraintException",
    "InternalError",
    "InvalidAccessKeyId",
    "InvalidToken",
    "NoSuchBucket",
    "OperationAborted",
    "PermanentRedirect",
    "RequestExpired",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "ServiceUnavailable",
    "SignatureDoesNotMatch",
    "SlowDown",
    "TemporaryRedirect",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

impl UploadError {
    /// What it says about what comes next.
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Ring(StoreError::File { source, .. }) | Self::Read(source)
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Fault::Lost
            }
            Self::TooLarge { .. } | Self::Taken { .. } => Fault::ForGood,
            Self::Refused { code, .. } if matches!(code.as_str(), "EntityTooLarge" | "KeyTooLongError") => {
                Fault::ForGood
            }
            Self::Refused { code, said, status, .. } if is_of_all(code, said, *status) => Fault::Destination,
            Self::Ring(_) | Self::Read(_) | Self::Refused { .. } | Self::Unproved { .. } => Fault::Object,
            Self::Call { .. } | Self::NoWay(_) => Fault::Destination,
        }
    }

    /// The server may yet do what it was asked to.
    pub(super) fn is_late(&self) -> bool {
        // A gateway has given up on the server behind it, which may not have.
        matches!(self, Self::Call { late: true, .. } | Self::Refused { status: 502 | 504, .. })
    }
}

/// A refusal that any object would have got.
fn is_of_all(code: &str, said: &str, status: u16) -> bool {
    OF_ALL.contains(&code)
        || said.to_lowercase().contains("policy expired")
        || matches!(status, 300..=399 | 404 | 407 | 408 | 429 | 500..=599)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_objects_refusal_is_not_everybodys_and_a_busy_server_refuses_nobody() {
        let refused = |status, code: &str, said: &str| UploadError::Refused {
            host: "s3".into(),
            status,
            code: code.into(),
            said: said.into(),
        };
        for (error, fault) in [
            (refused(403, "AccessDenied", "AccessDenied, Access Denied"), Fault::Object),
            (refused(400, "BadDigest", ""), Fault::Object),
            (
                refused(403, "AccessDenied", "AccessDenied, Invalid according to Policy: Policy expired."),
                Fault::Destination,
            ),
            (refused(400, "ExpiredToken", ""), Fault::Destination),
            (refused(403, "RequestTimeTooSkewed", ""), Fault::Destination),
            (refused(503, "SlowDown", ""), Fault::Destination),
            (refused(400, "ThrottlingException", ""), Fault::Destination),
            (refused(502, "", "bad gateway"), Fault::Destination),
            (refused(429, "", ""), Fault::Destination),
            (refused(301, "PermanentRedirect", ""), Fault::Destination),
            (refused(400, "EntityTooLarge", ""), Fault::ForGood),
            (UploadError::TooLarge { size: 2, max: 1 }, Fault::ForGood),
            (UploadError::Read(io::ErrorKind::NotFound.into()), Fault::Lost),
            (UploadError::Read(io::ErrorKind::Other.into()), Fault::Object),
            (UploadError::Call { host: "s3".into(), reason: String::new(), late: false }, Fault::Destination),
        ] {
            assert_eq!(error.fault(), fault, "{error:?}");
        }
    }
}
