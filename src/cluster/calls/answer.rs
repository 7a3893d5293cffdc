//! What an answer means before anybody reads it: to be asked again, no Kubernetes API, or with a warning.
//!
//! Owns what passes by itself. Must not know what was asked for.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use tower::BoxError;

use super::{
    CallError, Sort,
    body::{Bounded, beginning},
    foreign,
    news::News,
    reason,
};

/// A call is tried again for so long at most.
const TRY_FOR: Duration = Duration::from_secs(15);
/// Between two tries: this, doubled up to `LONGEST_PAUSE`, unless the server says when.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// A page's title stands in its beginning.
const BEGINNING: usize = 16 * 1024;

/// Another try.
pub(super) struct Again {
    pub pause: Duration,
    /// For a person.
    pub why: String,
}

/// Whether the same is to be asked again, after so many more tries and so long.
pub(super) fn next_try<B>(
    sort: Sort,
    answer: &Result<Response<B>, BoxError>,
    tries: u32,
    waited: Duration,
) -> Option<Again> {
    let backed_off = (FIRST_PAUSE * 2_u32.saturating_pow(tries.min(8))).min(LONGEST_PAUSE);
    let (pause, why) = match answer {
        Ok(answer) => {
            let code = answer.status().as_u16();
            let why = match code {
                // What was refused so has not been begun.
                429 => "the API server asks to wait: 429".to_owned(),
                500 | 502..=504 if sort.is_safe() => format!("the API server says {code}"),
                _ => return None,
            };
            (retry_after(answer.headers()).map_or(backed_off, |after| after.max(FIRST_PAUSE)), why)
        }
        // A watch that was cut before it began too.
        Err(error) if !matches!(sort, Sort::Write | Sort::Stream) && is_cut(error.as_ref()) => {
            (backed_off, "the connection to the API server was cut".to_owned())
        }
        Err(_) => return None,
    };
    (waited + pause <= TRY_FOR).then_some(Again { pause, why })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The connection ended before the answer came; the next one may not.
fn is_cut(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    if matches!(reason(error), Some(CallError::Asleep)) {
        return true;
    }
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let by_system = cause.downcast_ref::<std::io::Error>().is_some_and(|error| {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        });
        let by_http = cause.downcast_ref::<hyper::Error>();
        by_system || by_http.is_some_and(|error| error.is_incomplete_message() || error.is_canceled())
    })
}

/// Hands out what a Kubernetes API answers. What is none is named as what it is.
pub(super) async fn finish<B>(
    answer: Response<Bounded<B>>,
    sort: Sort,
    news: &News,
) -> Result<Response<Bounded<B>>, BoxError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (parts, body) = answer.into_parts();
    let code = parts.status.as_u16();
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if parts.status.is_redirection() && code != 304 {
        let to = header(header::LOCATION);
        let what = if to.is_empty() { "a redirect".to_owned() } else { format!("a redirect to {}", foreign(to)) };
        return Err(CallError::NotKubernetes { what, code }.into());
    }
    if header(header::CONTENT_TYPE).to_ascii_lowercase().starts_with("text/html") {
        let page = beginning(body, BEGINNING).await;
        return Err(CallError::NotKubernetes { what: page_named(&String::from_utf8_lossy(&page)), code }.into());
    }
    // Of what is made a warning is for the person; of what is read it is for us: a version that is going to go.
    let warns = matches!(sort, Sort::Question | Sort::Write);
    for warning in parts.headers.get_all(header::WARNING).into_iter().filter(|_| warns) {
        if let Some(words) = warning_text(&String::from_utf8_lossy(warning.as_bytes())) {
            news.warning(&words);
        }
    }
    Ok(Response::from_parts(parts, body))
}

/// As in `an HTML page, title "Sign in"`.
fn page_named(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    let between = |tag: &str| {
        let begin = lower.find(&format!("<{tag}"))?;
        let begin = begin + lower[begin..].find('>')? + 1;
        let end = begin + lower[begin..].find(&format!("</{tag}"))?;
        let words = page.get(begin..end)?.split_whitespace().collect::<Vec<_>>().join(" ");
        (!words.is_empty()).then(|| foreign(&words))
    };
    match between("title").or_else(|| between("h1")) {
        Some(title) => format!("an HTML page, title \"{title}\""),
        None => "an HTML page".to_owned(),
    }
}

/// The text of a header as in `299 - "v1 Endpoints is deprecated"`.
fn warning_text(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 ")?.split_once('"')?.1.rsplit_once('"')?.0;
    let mut escaped = false;
    let plain = quoted.chars().filter(|&character| {
        escaped = character == '\\' && !escaped;
        !escaped
    });
    Some(plain.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_by_its_title() {
        let portal = "<!DOCTYPE html><html><head><TITLE lang=en>\n Sign\u{1b}[2J in </TITLE></head></html>";
        assert_eq!(page_named(portal), r#"an HTML page, title "Sign\u{1b}[2J in""#);
        assert_eq!(
            page_named("<html><body><h1>502 Bad Gateway</h1></body></html>"),
            r#"an HTML page, title "502 Bad Gateway""#
        );
        assert_eq!(page_named("<html>"), "an HTML page");
    }

    #[test]
    fn a_warning_header_is_read_as_the_server_writes_it() {
        let header = r#"299 - "would violate PodSecurity \"restricted:latest\": host namespaces""#;
        assert_eq!(
            warning_text(header).as_deref(),
            Some(r#"would violate PodSecurity "restricted:latest": host namespaces"#)
        );
        assert_eq!(warning_text("110 - \"stale\""), None);
        assert_eq!(warning_text("299 - nothing"), None);
    }

    #[test]
    fn what_passes_is_asked_again_for_a_while_and_no_longer() {
        let answer = |code: u16, after: Option<&str>| {
            let mut answer = Response::builder().status(code);
            if let Some(after) = after {
                answer = answer.header("retry-after", after);
            }
            Ok(answer.body(()).expect("an answer"))
        };
        let pause = |sort, code, after, waited| {
            next_try(sort, &answer(code, after), 0, Duration::from_secs(waited)).map(|again| again.pause)
        };
        assert_eq!(pause(Sort::Read, 503, None, 0), Some(FIRST_PAUSE));
        assert_eq!(pause(Sort::Read, 429, Some("3"), 0), Some(Duration::from_secs(3)));
        assert_eq!(pause(Sort::Read, 429, Some("3"), 13), None, "told in time");
        assert_eq!(pause(Sort::Read, 429, Some("60"), 0), None, "nobody waits for a minute without a word");
        assert_eq!(pause(Sort::Write, 429, None, 0), Some(FIRST_PAUSE), "it was not begun");
        assert_eq!(pause(Sort::Write, 503, None, 0), None, "it may have been done");
        assert_eq!(pause(Sort::Question, 500, None, 0), Some(FIRST_PAUSE));
        assert_eq!(pause(Sort::Read, 403, None, 0), None);
    }
}
