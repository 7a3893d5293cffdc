//! The laptop's way to S3: who vouches for the server, and how far the two clocks are apart.
//!
//! Owns what agents are told of authorities. Must not know buckets.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sdk_s3::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef},
    error::BoxError,
    primitives::{DateTime, DateTimeFormat},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::CertificateDer;

use crate::base::authorities;

/// A difference of clocks that changes nothing: an answer is on its way for a while.
const SAME: Duration = Duration::from_secs(30);
/// More authorities than this are a whole system's, not an S3 server's.
const MOST_AUTHORITIES: usize = 32;

/// Authorities that agents need to be told of, in PEM: those of `AWS_CA_BUNDLE`, and for another server than AWS's
/// those of `SSL_CERT_FILE`, without the public ones. An error is what to tell the user.
pub(super) fn authorities(of_another: bool) -> Result<Option<String>, String> {
    let system = std::env::var_os("SSL_CERT_FILE").filter(|path| of_another && !path.is_empty()).map(PathBuf::from);
    let mut found: Vec<CertificateDer<'static>> = Vec::new();
    if let Some(path) = authorities::bundle() {
        found.extend(authorities::read(&path)?.0);
    }
    if let Some(path) = system {
        found.extend(authorities::readable(&path)?);
    }
    found.retain(|der| !webpki_root_certs::TLS_SERVER_ROOT_CERTS.contains(der));
    found.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
    found.dedup();
    if found.len() > MOST_AUTHORITIES {
        return Err(format!(
            "SSL_CERT_FILE and AWS_CA_BUNDLE contain {} private authorities, more than agents can be given",
            found.len()
        ));
    }
    let pem: Vec<String> = found.iter().map(|der| to_pem(der)).collect();
    Ok((!pem.is_empty()).then(|| pem.concat()))
}

fn to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// How far the server's clock is ahead of ours, as its answers say it.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerClock(Arc<AtomicI64>);

impl ServerClock {
    /// The server's time.
    pub(super) fn now(&self) -> SystemTime {
        let now = SystemTime::now();
        let ahead = Duration::from_millis(self.ahead().unsigned_abs());
        if self.ahead() < 0 { now.checked_sub(ahead).unwrap_or(now) } else { now + ahead }
    }

    /// Milliseconds; 0 where the two are as good as the same.
    pub(super) fn ahead(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn heard(&self, date: &str, now: SystemTime) {
        let Ok(date) = DateTime::from_str(date, DateTimeFormat::HttpDate) else { return };
        let here = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let ahead = date.to_millis().unwrap_or(here) - here;
        let ahead = if ahead.unsigned_abs() < SAME.as_millis() as u64 { 0 } else { ahead };
        self.0.store(ahead, Ordering::Relaxed);
    }
}

impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "ServerClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.heard(date, SystemTime::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn the_servers_time_is_what_its_answers_say_and_a_moments_difference_is_none() {
        let clock = ServerClock::default();
        let here = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        clock.heard("Wed, 15 Nov 2023 00:13:20 GMT", here);
        assert_eq!(clock.ahead(), 7_200_000, "we are two hours behind");
        assert!(clock.now() > SystemTime::now() + Duration::from_secs(7_100));
        clock.heard("Tue, 14 Nov 2023 20:13:20 GMT", here);
        assert_eq!(clock.ahead(), -7_200_000);
        clock.heard("Tue, 14 Nov 2023 22:13:31 GMT", here);
        assert_eq!(clock.ahead(), 0);
        clock.heard("yesterday", here);
        assert_eq!(clock.ahead(), 0);
    }

    #[test]
    fn a_certificate_is_written_as_it_was_read() {
        let der = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[0];
        let again: Vec<_> = CertificateDer::pem_slice_iter(to_pem(der).as_bytes()).collect();
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].as_ref().expect("a certificate"), der);
    }
}
