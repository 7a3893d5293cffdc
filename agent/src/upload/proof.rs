//! What an answer proves: that the server has what it was sent, that it took something, or that it is no S3 at all.
//!
//! Owns the comparison of checksums. Must not know how the answer came.

use md5::{Digest, Md5};

/// What an answer to an upload says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    /// `x-amz-checksum-sha256`.
    pub(super) sha256: Option<&'a str>,
    /// `ETag`, in quotes or not.
    pub(super) tag: Option<&'a str>,
    /// `x-amz-server-side-encryption`: with a key of KMS the tag is no checksum.
    pub(super) encryption: Option<&'a str>,
    /// It has what only S3 puts into an answer.
    pub(super) is_s3: bool,
}

/// The checksums of what was sent.
pub(super) struct Sums<'a> {
    /// In base64.
    pub(super) sha256: &'a str,
    /// In lower-case hexadecimal; asked for only where nothing else proves it, as it costs as much as the sending.
    pub(super) md5: &'a dyn Fn() -> String,
}

/// Whether it is proved that the server has every byte; an error is what is wrong with the answer.
pub(super) fn proved(answer: Answer<'_>, sums: &Sums<'_>) -> Result<bool, String> {
    if let Some(sum) = answer.sha256 {
        return if sum == sums.sha256 {
            Ok(true)
        } else {
            Err("reports another checksum than the one sent".to_owned())
        };
    }
    let tag = answer.tag.map(|tag| tag.trim_matches('"'));
    let plain = answer.encryption.is_none_or(|way| way == "AES256");
    if let Some(tag) = tag.filter(|tag| plain && tag.len() == 32 && tag.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return if tag.eq_ignore_ascii_case(&(sums.md5)()) {
            Ok(true)
        } else {
            Err("stored something else than it was sent, by its ETag".to_owned())
        };
    }
    if answer.is_s3 || answer.status == 204 {
        return Ok(false);
    }
    let status = answer.status;
    Err(format!("answers {status} but not like S3, probably a proxy that requires a login: nothing was stored"))
}

/// In lower-case hexadecimal.
pub(super) fn md5(bytes: &[u8]) -> String {
    crate::ring::store::hex(&Md5::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_believed_when_it_is_proved() {
        let md5 = md5(b"packets");
        let sums = Sums { sha256: "c3Vt", md5: &|| md5.clone() };
        let quoted = format!("\"{md5}\"");
        let none = Answer { status: 200, ..Answer::default() };
        for (answer, outcome) in [
            (Answer { sha256: Some("c3Vt"), ..none }, Some(true)),
            (Answer { sha256: Some("b3RoZXI="), tag: Some(&quoted), ..none }, None),
            (Answer { tag: Some(&quoted), ..none }, Some(true)),
            (Answer { tag: Some("\"d41d8cd98f00b204e9800998ecf8427e\""), ..none }, None),
            // Under a KMS key, and of several parts, a tag is no checksum.
            (
                Answer {
                    tag: Some("\"d41d8cd98f00b204e9800998ecf8427e\""),
                    encryption: Some("aws:kms"),
                    is_s3: true,
                    ..none
                },
                Some(false),
            ),
            (Answer { tag: Some("\"d41d8cd98f00b204e9800998ecf8427e-2\""), is_s3: true, ..none }, Some(false)),
            (Answer { status: 204, ..none }, Some(false)),
            // A page with 200 is no delivery, whatever tag a web server gives it.
            (Answer { tag: Some("\"5f3e-264\""), ..none }, None),
            (none, None),
        ] {
            assert_eq!(proved(answer, &sums).ok(), outcome, "{answer:?}");
        }
    }

    #[test]
    fn the_second_checksum_is_made_only_where_the_first_is_not_answered() {
        let sums = Sums { sha256: "c3Vt", md5: &|| panic!("nobody needs it") };
        let answer = Answer {
            status: 200,
            sha256: Some("c3Vt"),
            tag: Some("\"d41d8cd98f00b204e9800998ecf8427e\""),
            ..Answer::default()
        };
        assert_eq!(proved(answer, &sums), Ok(true));
    }
}
