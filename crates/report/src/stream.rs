//! Where a report goes: a log group and a stream in it, and which names and retentions CloudWatch Logs takes.

/// Where an event goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The log group.
    pub group: String,
    /// The log stream in it.
    pub stream: String,
}

impl Stream {
    /// A node's stream in a group that all share, or in a group of its own.
    pub fn of_node(group: &str, per_node: bool, node: &str) -> Self {
        // Of what names may have, a stream takes neither : nor *.
        let allowed = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        let name: String =
            node.chars().map(|character| if allowed(character) { character } else { '_' }).take(110).collect();
        let group = if per_node && !group.is_empty() { format!("{group}/{name}") } else { group.to_owned() };
        Self { group, stream: name }
    }
}

/// Whether CloudWatch Logs takes that name for a group; the error names what is wrong. Rules: `CreateLogGroup` in its API
/// reference.
pub fn check_group(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-/.#".contains(&byte);
    let wrong = if name.is_empty() || name.len() > 400 {
        "a log group has 1 to 400 characters here, as nodes' names may follow"
    } else if name.starts_with("aws/") {
        "aws/ is AWS's own"
    } else if !name.bytes().all(allowed) {
        "a log group has letters, digits and _ - / . # only"
    } else {
        return Ok(());
    };
    Err(format!("invalid log group {name:?}: {wrong}"))
}

/// The days that CloudWatch Logs takes for a retention, as `PutRetentionPolicy` in its API reference has them.
const RETENTIONS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// Days of retention; the error names what is wrong.
pub fn check_retention(text: &str) -> Result<u32, String> {
    let days = text.parse().ok().filter(|days| RETENTIONS.contains(days));
    days.ok_or_else(|| format!("invalid retention {text:?}: CloudWatch Logs accepts {RETENTIONS:?} days"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_group_can_have_are_refused() {
        assert_eq!(check_group("/nodewatch/prod_1.a#"), Ok(()));
        for name in ["", "a b", "aws/x", "a:b", "a*", "\u{1b}[2J"] {
            assert!(
                check_group(name).is_err_and(|error| error.starts_with(&format!("invalid log group {name:?}"))),
                "{name}"
            );
        }
    }
}
