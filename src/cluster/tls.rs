//! TLS to the API server: whom it is trusted by, and the client's certificate.
//!
//! Owns what Go's TLS takes and rustls does not: a server's own certificate as the one that vouches for it, and client
//! certificates of X.509 version 1. Must not know where certificates come from.

use std::sync::Arc;

use jiff::{Timestamp, civil, tz::TimeZone};
use kube::{Config, client::ConfigExt};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};

/// A client's certificate with its key.
#[derive(Debug, Clone)]
pub(super) struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// From PEM. An error is why it cannot be used.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|_| "the client certificate is not valid PEM".to_owned())?;
        if chain.is_empty() {
            return Err("the client certificate contains no CERTIFICATE".to_owned());
        }
        let text = String::from_utf8_lossy(key);
        if text.contains("ENCRYPTED") {
            return Err("the client key is encrypted: remove its passphrase, as for kubectl".to_owned());
        }
        // The parser's own words have the key in them.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the client key is not valid PEM".to_owned())?;
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| format!("the client key cannot be used: {error}"))?;
        let identity = CertifiedKey::new(chain, key);
        match identity.keys_match() {
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
                Err("the client key does not match the client certificate".to_owned())
            }
            // What rustls cannot read of it, a version 1 for one, the server may.
            _ => Ok(Self(Arc::new(identity))),
        }
    }

    /// When the certificate ends.
    pub fn ends(&self) -> Option<Timestamp> {
        validity(self.0.cert.first()?).map(|(_, end)| end)
    }

    /// What tells it from another one.
    pub fn key(&self) -> String {
        let chain: Vec<String> = self.0.cert.iter().map(|one| crate::base::text::hex(one.as_ref())).collect();
        chain.join(",")
    }

    /// Whether the certificates are the same.
    pub fn is(&self, other: &Self) -> bool {
        self.0.cert == other.0.cert
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn provider() -> Arc<CryptoProvider> {
    if CryptoProvider::get_default().is_none() {
        // Somebody else may have been faster, which is as good.
        let _ = aws_lc_rs::default_provider().install_default();
    }
    CryptoProvider::get_default().map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone)
}

/// How the server is spoken to, with this client's certificate.
pub(super) fn client_config(config: &Config, identity: Option<Identity>) -> Result<ClientConfig, kube::Error> {
    provider();
    let mut tls = config.rustls_client_config()?;
    if let (Some(roots), None, false) = (&config.root_cert, &config.root_cert_file, config.accept_invalid_certs)
        && let Some(verifier) = OrItself::new(roots)
    {
        tls.dangerous().set_certificate_verifier(Arc::new(verifier));
    }
    if let Some(identity) = identity {
        // kube asks rustls to read the certificate, which refuses version 1: kube-rs/kube#1767.
        tls.client_auth_cert_resolver = Arc::new(identity);
    }
    Ok(tls)
}

/// As Go has it, a server's certificate is also trusted when it is itself among those that vouch.
#[derive(Debug)]
struct OrItself {
    usual: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
}

impl OrItself {
    fn new(roots: &[Vec<u8>]) -> Option<Self> {
        let roots: Vec<CertificateDer<'static>> = roots.iter().cloned().map(CertificateDer::from).collect();
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let usual = WebPkiServerVerifier::builder(Arc::new(store)).build().ok()?;
        Some(Self { usual, roots })
    }
}

impl ServerCertVerifier for OrItself {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = match self.usual.verify_server_cert(certificate, intermediates, name, stapled, now) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        if !self.roots.iter().any(|root| root.as_ref() == certificate.as_ref()) {
            return Err(refused);
        }
        let (Some((begins, ends)), Ok(now)) =
            (validity(certificate), Timestamp::from_second(now.as_secs().try_into().unwrap_or(i64::MAX)))
        else {
            return Err(refused);
        };
        if now < begins {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > ends {
            return Err(CertificateError::Expired.into());
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// From when until when a certificate is valid.
fn validity(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    const SEQUENCE: u8 = 0x30;
    let (_, certificate, _) = element(certificate.as_ref())?;
    let (SEQUENCE, mut rest, _) = element(certificate)? else { return None };
    if *rest.first()? == 0xa0 {
        // The version, which version 1 leaves out.
        (_, _, rest) = element(rest)?;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (SEQUENCE, validity, _) = element(rest)? else { return None };
    let (form, begins, rest) = element(validity)?;
    let begins = time(form, begins)?;
    let (form, ends, _) = element(rest)?;
    Some((begins, time(form, ends)?))
}

/// The first element of DER: its tag, what it holds, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.len() > 4 {
            return None;
        }
        length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = after;
    }
    let (inside, after) = rest.split_at_checked(length)?;
    Some((tag, inside, after))
}

/// UTCTime or GeneralizedTime, both to the second and in UTC, as certificates must have them.
fn time(form: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match form {
        0x17 => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        0x18 => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let at = civil::DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
    at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp())
}

#[cfg(test)]
mod tests {
    use rustls::{
        ClientConnection, DistinguishedName, ServerConfig, ServerConnection,
        server::danger::{ClientCertVerified, ClientCertVerifier},
    };

    use super::*;

    macro_rules! pem {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/support/pki/", $name)).as_slice()
        };
    }

    /// A server that asks for a certificate and takes any, as one that leaves the rest to others.
    #[derive(Debug)]
    struct Any;

    impl ClientCertVerifier for Any {
        fn client_auth_mandatory(&self) -> bool {
            false
        }

        fn root_hint_subjects(&self) -> &[DistinguishedName] {
            &[]
        }

        fn verify_client_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: UnixTime,
        ) -> Result<ClientCertVerified, rustls::Error> {
            Ok(ClientCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }

    /// A whole handshake in memory: the client's certificate as the server got it.
    fn handshake(
        roots: &[u8],
        server: (&[u8], &[u8]),
        identity: Option<Identity>,
        name: &str,
    ) -> Result<Option<Vec<u8>>, rustls::Error> {
        let mut config = Config::new("https://kube.example".parse().expect("a URL"));
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(roots).collect();
        config.root_cert = Some(roots.expect("certificates").iter().map(|root| root.to_vec()).collect());
        let client = client_config(&config, identity).expect("a configuration");
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(server.0).collect();
        let server = ServerConfig::builder()
            .with_client_cert_verifier(Arc::new(Any))
            .with_single_cert(chain.expect("a chain"), PrivateKeyDer::from_pem_slice(server.1).expect("a key"))
            .expect("a configuration");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut client = ClientConnection::new(Arc::new(client), name).expect("a client");
        let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).expect("in memory");
            }
            server.read_tls(&mut bytes.as_slice()).expect("in memory");
            server.process_new_packets()?;
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).expect("in memory");
            }
            client.read_tls(&mut bytes.as_slice()).expect("in memory");
            client.process_new_packets()?;
        }
        Ok(server.peer_certificates().and_then(|chain| chain.first()).map(|certificate| certificate.to_vec()))
    }

    #[test]
    fn a_servers_own_certificate_vouches_for_it_as_for_go() {
        let server = (pem!("server.pem"), pem!("server.key"));
        assert_eq!(handshake(pem!("ca.pem"), server, None, "kube.example"), Ok(None));
        assert_eq!(handshake(pem!("server.pem"), server, None, "kube.example"), Ok(None));
        let other = handshake(pem!("server.pem"), server, None, "other.example").expect_err("another name");
        assert!(other.to_string().contains("not valid for name"), "{other}");
        let another = handshake(pem!("first.pem"), server, None, "kube.example").expect_err("another certificate");
        assert!(another.to_string().contains("UnknownIssuer"), "{another}");
        let ended = (pem!("ended.pem"), pem!("ended.key"));
        let ended = handshake(pem!("ended.pem"), ended, None, "kube.example").expect_err("it has ended");
        assert!(ended.to_string().contains("xpired"), "{ended}");
    }

    #[test]
    fn a_client_certificate_of_version_1_is_sent() {
        let identity = Identity::from_pem(pem!("version1.pem"), pem!("version1.key")).expect("usable");
        let sent = CertificateDer::from_pem_slice(pem!("version1.pem")).expect("a certificate").to_vec();
        let server = (pem!("server.pem"), pem!("server.key"));
        assert_eq!(handshake(pem!("ca.pem"), server, Some(identity), "kube.example"), Ok(Some(sent)));
    }

    #[test]
    fn what_cannot_be_a_clients_certificate_is_said() {
        let refused = |certificate, key| Identity::from_pem(certificate, key).expect_err("refused");
        assert_eq!(
            refused(pem!("first.pem"), pem!("second.key")),
            "the client key does not match the client certificate"
        );
        assert!(refused(b"", pem!("first.key")).contains("no CERTIFICATE"));
        assert!(refused(pem!("first.pem"), b"no key").contains("the client key is not valid PEM"));
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(refused(pem!("first.pem"), encrypted).contains("encrypted"));
    }

    #[test]
    fn a_certificate_says_when_it_ends() {
        for (pem, ends) in [(pem!("ended.pem"), "2021-01-01T00:00:00Z"), (pem!("version1.pem"), "2120-01-01T00:00:00Z")]
        {
            let certificate = CertificateDer::from_pem_slice(pem).expect("a certificate");
            let (begins, found) = validity(&certificate).expect("both times");
            assert_eq!((begins.to_string().as_str(), found.to_string().as_str()), ("2020-01-01T00:00:00Z", ends));
            for length in 0..certificate.len().min(200) {
                let cut = CertificateDer::from(certificate[..length].to_vec());
                assert!(validity(&cut).is_none(), "cut at {length}");
            }
        }
    }
}
