//! Files of certificate authorities.
//!
//! Owns that what is in them is looked at before a TLS client is: the SDK's ends the program over a certificate that it cannot
//! read. Must not know who is vouched for.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// The variable with the file of authorities that AWS's own programs read.
pub const AWS: &str = "AWS_CA_BUNDLE";

/// All the authorities of a system take a quarter of a mebibyte.
const MOST: u64 = 8 << 20;

/// That file.
pub fn bundle() -> Option<PathBuf> {
    std::env::var_os(AWS).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Those of a system's file that can be read, as its own clients take them.
pub fn readable(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = content(path)?;
    Ok(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect())
}

fn content(path: &Path) -> Result<Vec<u8>, String> {
    let unread = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    let found = std::fs::metadata(path).map_err(|error| unread(&error))?;
    // What never ends, or never begins, is no list.
    if !found.is_file() || found.len() > MOST {
        return Err(unread(&format!("not a file of at most {} MiB", MOST >> 20)));
    }
    std::fs::read(path).map_err(|error| unread(&error))
}

/// The certificates of a file, and as they are there, in PEM. An error is why it cannot be used, for people.
pub fn read(path: &Path) -> Result<(Vec<CertificateDer<'static>>, Vec<u8>), String> {
    let pem = content(path)?;
    let odd = |error: &dyn std::fmt::Display| format!("{} is not a list of certificates: {error}", path.display());
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| odd(&error))?;
    if found.is_empty() {
        return Err(odd(&"no certificate is in it"));
    }
    let mut roots = RootCertStore::empty();
    for der in &found {
        roots.add(der.clone()).map_err(|error| odd(&error))?;
    }
    Ok((found, pem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_could_not_take_is_refused_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let said = |content: &str| {
            let path = folder.path().join("ca.pem");
            std::fs::write(&path, content).expect("written");
            read(&path).expect_err("refused")
        };
        let block = |inside: &str| format!("-----BEGIN CERTIFICATE-----\n{inside}\n-----END CERTIFICATE-----\n");
        for content in [String::new(), "root:x:0:0\n".to_owned(), block("%%%"), block("AAAA"), block("MAA=")] {
            let error = said(&content);
            assert!(error.contains("ca.pem is not a list of certificates: "), "{content:?}: {error}");
        }
        let error = read(&folder.path().join("none")).expect_err("not there");
        assert!(error.starts_with("cannot read ") && error.contains("none"), "{error}");
        for path in ["/dev/zero", "/"] {
            let error = read(Path::new(path)).expect_err("no file");
            assert!(error.starts_with("cannot read ") && error.contains("not a file"), "{error}");
        }
    }
}
