//! One object under a signed POST policy: the form that S3 takes from browsers.
//!
//! Owns the form and what the answer means. Must not keep the policy anywhere.

use std::{
    cell::RefCell,
    io::{self, Read},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use nodewatch_protocol::Grant;
use ureq::{
    SendBody,
    http::{HeaderMap, Uri},
};

use super::{
    Piece, Stored,
    error::UploadError,
    http::{self, Http},
    proof::{self, Answer, Sums},
};
use crate::ring::store::hex;

/// An error's text is read so far.
const ANSWER: u64 = 16 * 1024;

/// Sends it; the server compares the checksum.
pub(super) fn post(
    http: &Http,
    grant: &Grant,
    name: &str,
    piece: Piece,
    progress: &dyn Fn(u64),
) -> Result<Stored, UploadError> {
    if piece.size > grant.max_bytes {
        return Err(UploadError::TooLarge { size: piece.size, max: grant.max_bytes });
    }
    let url: Uri = grant.url.parse().map_err(|_| UploadError::NoWay(format!("invalid URL {:?}", grant.url)))?;
    let way = http.way(&url).map_err(UploadError::NoWay)?;
    let key = format!("{}{name}", grant.prefix);
    let boundary = boundary();
    let sha256 = STANDARD.encode(piece.sha256);
    let (head, tail) = form(grant, &key, &sha256, &boundary);
    let size = piece.size;
    let length = head.len() as u64 + size + tail.len() as u64;
    let sent = RefCell::new(Sent { left: size, md5: Md5::new(), failed: None });
    let file = Counted { inner: piece.source, size, sent: &sent, progress };
    let mut body = head.as_bytes().chain(file).chain(tail.as_bytes());
    let host = || way.host.clone();
    let unanswered = |error: &ureq::Error| UploadError::Call {
        host: host(),
        reason: http::reason(error),
        late: http::is_late(error),
    };
    let answer = way
        .agent
        .post(&grant.url)
        .header("Content-Type", format!("multipart/form-data; boundary={boundary}"))
        .header("Content-Length", length.to_string())
        .send(SendBody::from_reader(&mut body));
    // Whatever the server makes of half a form, it is the file's fault.
    if let Some(error) = sent.borrow_mut().failed.take() {
        return Err(UploadError::Read(error));
    }
    let answer = answer.map_err(|error| unanswered(&error))?;
    let (facts, body) = answer.into_parts();
    let status = facts.status.as_u16();
    let mut text = Vec::new();
    let read = body.into_reader().take(ANSWER).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    if !(200..300).contains(&status) {
        let (code, said) = refusal(&text, &facts.headers);
        return Err(UploadError::Refused { host: host(), status, code, said });
    }
    // Half an answer is none.
    read.map_err(|error| unanswered(&ureq::Error::Io(error)))?;
    let header = |name: &str| facts.headers.get(name).and_then(|value| value.to_str().ok());
    let tag = element(&text, "ETag");
    let answer = Answer {
        status,
        sha256: header("x-amz-checksum-sha256"),
        tag: header("etag").or(tag.as_deref()),
        encryption: header("x-amz-server-side-encryption"),
        is_s3: header("x-amz-request-id").is_some() || text.contains("<PostResponse"),
    };
    let md5 = hex(&sent.into_inner().md5.finalize());
    let proved = proof::proved(answer, &Sums { sha256: &sha256, md5: &|| md5.clone() });
    let proved = proved.map_err(|problem| UploadError::Unproved { host: host(), problem })?;
    // What preflight has seen compare checksums may not be what has answered now.
    Ok(Stored { key, size, unproved: !proved && (grant.server.unchecked || !answer.is_s3) })
}

/// What goes before the file and behind it.
fn form(grant: &Grant, key: &str, checksum: &str, boundary: &str) -> (String, String) {
    let ours = [("key", key), ("x-amz-checksum-algorithm", "SHA256"), ("x-amz-checksum-sha256", checksum)];
    let given = grant.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let part = format!("--{boundary}\r\nContent-Disposition: form-data; name=");
    let fields = ours.into_iter().chain(given);
    let fields: Vec<String> = fields.map(|(name, value)| format!("{part}\"{name}\"\r\n\r\n{value}\r\n")).collect();
    let fields = fields.concat();
    let file = "\"file\"; filename=\"capture\"\r\nContent-Type: application/octet-stream\r\n\r\n";
    let head = format!("{fields}{part}{file}");
    (head, format!("\r\n--{boundary}--\r\n"))
}

/// 128 bits of chance: no capture holds it.
fn boundary() -> String {
    let chance = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    format!("nodewatch-{:016x}{:016x}", chance(), chance())
}

/// S3's code, and its code and message out of its XML, or the beginning of whatever it is.
fn refusal(text: &str, headers: &HeaderMap) -> (String, String) {
    let code = element(text, "Code").unwrap_or_default();
    let said = match element(text, "Message") {
        Some(message) if !code.is_empty() => format!("{code}, {message}"),
        _ => text.chars().take(100).collect(),
    };
    let region = headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
    (code, super::with_region(said, region))
}

fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(plain(rest.split_once('<')?.0))
}

/// Text out of XML: its five entities.
fn plain(text: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

/// How the file went.
struct Sent {
    left: u64,
    md5: Md5,
    failed: Option<io::Error>,
}

struct Counted<'a> {
    inner: Box<dyn Read + Send>,
    size: u64,
    sent: &'a RefCell<Sent>,
    progress: &'a dyn Fn(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut sent = self.sent.borrow_mut();
        let most = buffer.len().min(usize::try_from(sent.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = match self.inner.read(&mut buffer[..most]) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter")),
            read => read,
        };
        match read {
            Ok(read) => {
                sent.md5.update(&buffer[..read]);
                sent.left -= read as u64;
                (self.progress)(self.size - sent.left);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let again = io::Error::new(error.kind(), error.to_string());
                sent.failed = Some(error);
                Err(again)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_code_and_message_and_the_buckets_region() {
        let xml = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Key &apos;a&amp;b&apos; \
                   expired.</Message></Error>";
        let mut headers = HeaderMap::new();
        let (code, said) = refusal(xml, &headers);
        assert_eq!((code.as_str(), said.as_str()), ("AccessDenied", "AccessDenied, Key 'a&b' expired."));
        assert_eq!(refusal("bad gateway", &headers).1, "bad gateway");
        headers.insert("x-amz-bucket-region", "eu-west-3".parse().expect("a value"));
        let redirect = "<Error><Code>PermanentRedirect</Code><Message>Use another endpoint.</Message></Error>";
        assert_eq!(
            refusal(redirect, &headers).1,
            "PermanentRedirect, Use another endpoint. (the bucket is in eu-west-3: see --s3-region)"
        );
    }
}
