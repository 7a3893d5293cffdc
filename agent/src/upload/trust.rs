//! Who vouches for a server: the public authorities, and those that the environment or the laptop names.
//!
//! Owns which files are read. Must not know what is sent.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

/// Files of authorities, as OpenSSL and the AWS command line name them.
const FILES: [&str; 2] = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"];
/// All the authorities of a system take a quarter of a mebibyte.
const MOST: u64 = 8 << 20;

/// The public authorities, those of the environment's files, and these in PEM.
pub(super) fn roots(more: Option<&str>) -> RootCerts {
    let more = more.map(|pem| certificates(pem.as_bytes())).unwrap_or_default();
    let more = of_environment().iter().cloned().chain(more);
    let public = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| Certificate::from_der(der).to_owned());
    RootCerts::Specific(Arc::new(public.chain(more).collect()))
}

/// Read once, when the agent begins: later on, who tells where to deliver does not wait for a disk.
fn of_environment() -> &'static [Certificate<'static>] {
    static FOUND: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let files = FILES.iter().filter_map(|name| content(Path::new(&std::env::var_os(name)?)));
        files.flat_map(|pem| certificates(&pem)).collect()
    })
}

/// What a file of a bounded size has in it. Whatever else is named, such as a FIFO, may never end or begin, and the agent waits
/// for it before it says a word.
fn content(path: &Path) -> Option<Vec<u8>> {
    let found = std::fs::metadata(path).ok()?;
    (found.is_file() && found.len() <= MOST).then(|| std::fs::read(path).ok()).flatten()
}

/// What is no certificate is passed over, as everywhere.
fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let found = parse_pem(pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, fifo) = (folder.path().join("ca.pem"), folder.path().join("fifo"));
        std::fs::write(&file, "some").expect("written");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a FIFO");
        assert_eq!(content(&file).as_deref(), Some(&b"some"[..]));
        for other in [fifo.as_path(), Path::new("/dev/zero"), folder.path(), Path::new("/nowhere")] {
            assert_eq!(content(other), None, "{}", other.display());
        }
    }

    #[test]
    fn what_is_no_certificate_is_passed_over() {
        assert_eq!(certificates(b"nonsense").len(), 0);
        let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(certificates(key).len(), 0);
        let RootCerts::Specific(found) = roots(Some("nonsense")) else { panic!("no authorities") };
        assert!(found.len() >= webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
    }
}
