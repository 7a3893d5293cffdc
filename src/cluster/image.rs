//! Image references as container runtimes read them.
//!
//! Owns the little that can be known of an image without its registry. Pure.

/// What is wrong with a reference, or odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing.
    Good,
    /// Nodes may do something else than was meant.
    Odd(String),
    /// No runtime takes it.
    Bad(String),
}

/// Reads `[registry/]name[:tag][@digest]`, as distribution's reference grammar has it.
pub(super) fn read(reference: &str) -> Reading {
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (reference, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Reading::Bad("its digest is not sha256: and 64 hexadecimal digits".to_owned());
    }
    let (name, tag) = match rest.rsplit_once(':') {
        // A colon before a slash is a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if tag.is_some_and(|tag| tag.is_empty() || tag.len() > 128 || !tag.bytes().all(word)) {
        return Reading::Bad("its tag has other characters than letters, digits and _.-".to_owned());
    }
    let mut parts: Vec<&str> = name.split('/').collect();
    let has_registry = parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost");
    if has_registry {
        parts.remove(0);
    }
    let part = |part: &&str| {
        let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        !part.is_empty() && part.bytes().all(small) && part.as_bytes()[0].is_ascii_alphanumeric()
    };
    if !parts.iter().all(part) {
        return Reading::Bad("its name has other characters than small letters, digits and _.-/".to_owned());
    }
    match (has_registry, tag, digest) {
        (_, None | Some("latest"), None) => {
            Reading::Odd("without a fixed tag nodes may run different versions".to_owned())
        }
        (false, _, _) => Reading::Odd(format!("without a registry nodes pull it from docker.io ({reference})")),
        _ => Reading::Good,
    }
}

fn is_digest(digest: &str) -> bool {
    digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_as_people_write_them() {
        let digest = format!("registry.example:5000/a/b@sha256:{}", "0".repeat(64));
        for good in ["registry.example/nodewatch-agent:0.1.0", "localhost/agent:1", &digest] {
            assert_eq!(read(good), Reading::Good, "{good}");
        }
        for odd in ["nodewatch-agent:0.1.0", "registry.example/agent", "registry.example/agent:latest", "a/b:1"] {
            assert!(matches!(read(odd), Reading::Odd(_)), "{odd}");
        }
        for bad in
            ["", "Agent:1", "a b:1", "agent:", "agent:a b", "registry.example/a@sha256:12", "a//b:1", "\u{1b}[2J"]
        {
            assert!(matches!(read(bad), Reading::Bad(_)), "{bad:?}");
        }
    }
}
