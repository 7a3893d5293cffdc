//! What becomes of a port beside what should answer on its node.
//!
//! Owns the classes, their words, and which of them are faults.

use nodewatch_protocol::PortScope;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whether a port should be there, and whether it is; from what is well to what is worst. In JSON a word, and `null` for what is
/// not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortClass {
    /// Nobody knows what to expect.
    #[default]
    Unknown,
    /// Open, and should be.
    Expected,
    /// Should answer and has no socket: packet rules take it to where it is served.
    ByRules,
    /// Open, and nobody says that it should be.
    Unexpected,
    /// Should answer, and nothing is there that could.
    Dead,
}

impl PortClass {
    /// All that have a word.
    const KNOWN: [Self; 4] = [Self::Expected, Self::ByRules, Self::Unexpected, Self::Dead];

    /// As JSON has it; empty for what is not known.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Expected => "expected",
            Self::Unexpected => "unexpected",
            Self::ByRules => "by_rules",
            Self::Dead => "dead",
        }
    }

    /// The class of that word; one that nobody knows, as a later release may have, is unknown.
    pub fn named(word: &str) -> Self {
        Self::KNOWN.into_iter().find(|class| class.word() == word).unwrap_or_default()
    }

    /// Somebody says what to expect.
    pub fn is_known(self) -> bool {
        self != Self::Unknown
    }

    /// Packets may be answered.
    pub fn is_open(self) -> bool {
        self != Self::Dead
    }

    /// Something is open that should not be, or should be and is not.
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Unexpected | Self::Dead)
    }

    /// It is open, nobody says that it should be, and other machines reach it: a socket that only its own machine reaches opens
    /// nothing. This is what the metric `UnexpectedPorts` counts.
    pub fn is_alarming(self, scope: PortScope) -> bool {
        self == Self::Unexpected && scope != PortScope::Loopback
    }
}

impl Serialize for PortClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_known() { serializer.serialize_str(self.word()) } else { serializer.serialize_none() }
    }
}

impl<'de> Deserialize<'de> for PortClass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map_or(Self::Unknown, |word| Self::named(&word)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_a_word_in_json_and_nothing_where_it_is_not_known() {
        for class in PortClass::KNOWN.into_iter().chain([PortClass::Unknown]) {
            let text = serde_json::to_string(&class).expect("JSON");
            assert_eq!(serde_json::from_str::<PortClass>(&text).expect("read"), class);
        }
        assert_eq!(serde_json::to_string(&PortClass::ByRules).expect("JSON"), "\"by_rules\"");
        assert_eq!(serde_json::to_string(&PortClass::Unknown).expect("JSON"), "null");
        assert_eq!(PortClass::named("what comes later"), PortClass::Unknown);
    }

    #[test]
    fn what_only_its_own_machine_reaches_alarms_nobody() {
        for scope in [PortScope::Node, PortScope::All] {
            assert!(PortClass::Unexpected.is_alarming(scope) && !PortClass::Dead.is_alarming(scope));
        }
        assert!(!PortClass::Unexpected.is_alarming(PortScope::Loopback));
        assert!(PortClass::Unexpected.is_fault() && !PortClass::Unknown.is_fault());
    }
}
