//! What an error of the AWS SDK says to people: one plain sentence, without its debug dumps.
//!
//! Owns which of the SDK's words say nothing. Must not know what was tried.

use std::error::Error;

use aws_sdk_cloudwatchlogs::error::ErrorMetadata;

/// The SDK's words for "see the cause".
const EMPTY: [&str; 6] = [
    "dispatch failure",
    "failed to construct request",
    "response error",
    "service error",
    "unhandled error",
    "an error occurred while loading credentials",
];

/// An error and its causes on one line: the service's code and message where it gave them. What an effect already tells
/// is not said twice.
pub fn told(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = match error.downcast_ref::<ErrorMetadata>() {
            Some(facts) => [facts.code(), facts.message()].into_iter().flatten().collect::<Vec<_>>().join(", "),
            None => error.to_string(),
        };
        let empty = text.is_empty() || EMPTY.contains(&text.as_str()) || text.starts_with("unhandled error (");
        if !empty && !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    if said.is_empty() { error.to_string() } else { said.join(": ") }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Caused(&'static str, Box<dyn Error + Send + Sync>);

    impl fmt::Display for Caused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Caused {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.1)
        }
    }

    #[test]
    fn an_error_is_its_code_and_message_and_no_dump() {
        let facts = ErrorMetadata::builder().code("AccessDenied").message("not authorized to assume the role").build();
        let error = Caused("service error", Box::new(Caused("unhandled error (AccessDenied)", facts.into())));
        assert_eq!(told(&error), "AccessDenied, not authorized to assume the role");
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let error = Caused("dispatch failure", Box::new(Caused("io: connection refused", refused.into())));
        assert_eq!(told(&error), "io: connection refused");
        assert_eq!(told(&Caused("service error", ErrorMetadata::builder().build().into())), "service error");
    }
}
