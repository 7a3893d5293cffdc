//! One object under a signed POST policy: the form that S3 takes from browsers.
//!
//! Owns the form and what the answer means. Must not keep the policy anywhere.

use std::io::{self, Read};

use base64::{Engine, engine::general_purpose::STANDARD};
use nodewatch_protocol::Grant;
use ureq::SendBody;

use super::{Piece, UploadError, http::Http};

/// An error's text is read so far.
const ANSWER: u64 = 16 * 1024;

/// Sends it; the server compares the checksum. Returns the object's key.
pub(super) fn post(
    http: &Http,
    grant: &Grant,
    name: &str,
    piece: Piece,
    progress: &dyn Fn(u64),
) -> Result<String, UploadError> {
    if piece.size > grant.max_bytes {
        return Err(UploadError::TooLarge { size: piece.size, max: grant.max_bytes });
    }
    let key = format!("{}{name}", grant.prefix);
    let boundary = boundary();
    let (head, tail) = form(grant, &key, &STANDARD.encode(piece.sha256), &boundary);
    let length = head.len() as u64 + piece.size + tail.len() as u64;
    let file = Counted { inner: piece.source.take(piece.size), read: 0, progress };
    let mut body = head.as_bytes().chain(file).chain(tail.as_bytes());
    let host = || grant.url.split('/').nth(2).unwrap_or_default().to_owned();
    let answer = http
        .agent
        .post(&grant.url)
        .header("Content-Type", format!("multipart/form-data; boundary={boundary}"))
        .header("Content-Length", length.to_string())
        .send(SendBody::from_reader(&mut body))
        .map_err(|error| UploadError::Call { host: host(), source: Box::new(error) })?;
    let status = answer.status().as_u16();
    let mut text = String::new();
    let read = answer.into_body().into_reader().take(ANSWER).read_to_string(&mut text);
    if !(200..300).contains(&status) {
        return Err(UploadError::Refused { host: host(), status, message: message(&text) });
    }
    // Half an answer is none.
    read.map_err(|error| UploadError::Call { host: host(), source: Box::new(ureq::Error::Io(error)) })?;
    Ok(key)
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

/// S3's code and message out of its XML, or the beginning of whatever it is.
fn message(text: &str) -> String {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(plain(rest.split_once('<')?.0))
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{code}, {message}"),
        _ => text.chars().take(100).collect(),
    }
}

/// Text out of XML: its five entities.
fn plain(text: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

struct Counted<'a, R> {
    inner: R,
    read: u64,
    progress: &'a dyn Fn(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        (self.progress)(self.read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_code_and_message() {
        let xml = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Key &apos;a&amp;b&apos; expired.</Message></Error>";
        assert_eq!(message(xml), "AccessDenied, Key 'a&b' expired.");
        assert_eq!(message("bad gateway"), "bad gateway");
    }
}
