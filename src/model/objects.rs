//! What a session makes in a cluster, and how its removal goes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{NodeName, Notice};

/// The kinds of objects that a session makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The session's own namespace.
    Namespace,
    /// An identity for pods.
    ServiceAccount,
    /// What the reaper may do.
    Role,
    /// That the reaper may do it.
    RoleBinding,
    /// One agent, or the reaper.
    Job,
    /// Agents on nodes that join while nobody is attached.
    DaemonSet,
    /// A Job's pod, or a DaemonSet's.
    Pod,
}

impl Kind {
    /// As Kubernetes writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::Job => "Job",
            Self::DaemonSet => "DaemonSet",
            Self::Pod => "Pod",
        }
    }

    /// What is kept or removed together with it.
    pub fn group(self) -> Group {
        match self {
            Self::Job | Self::DaemonSet | Self::Pod => Group::Agents,
            Self::Namespace | Self::ServiceAccount | Self::Role | Self::RoleBinding => Group::Base,
        }
    }
}

/// What a session leaves together or removes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Capture files on the nodes.
    Files,
    /// Jobs, the DaemonSet, and their pods.
    Agents,
    /// The namespace, and what is in it for the agents' sake.
    Base,
    /// Captures in S3.
    Storage,
    /// Reports in CloudWatch Logs.
    Reports,
    /// Alarms on them.
    Alarms,
}

impl Group {
    /// In the order of the guided exit.
    pub const ALL: [Self; 6] = [Self::Files, Self::Agents, Self::Base, Self::Storage, Self::Reports, Self::Alarms];
}

/// Groups that the user wants to keep.
pub type Keep = BTreeSet<Group>;

/// What an object is for. Journals have it as people call it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Purpose {
    /// That is not known.
    #[default]
    Unknown,
    /// The session as a whole.
    Session,
    /// The agents' account.
    Accounts,
    /// The reaper: its Job, its account and its rights.
    Reaper,
    /// Nodes that join while no laptop is attached.
    LaterNodes,
    /// The agent of this node.
    Agent(NodeName),
}

impl Purpose {
    const NAMED: [(Self, &str); 5] = [
        (Self::Unknown, ""),
        (Self::Session, "the session"),
        (Self::Accounts, "the agents' identity"),
        (Self::Reaper, "the reaper"),
        (Self::LaterNodes, "nodes that join"),
    ];

    /// For people: an agent goes by its node's name.
    pub fn text(&self) -> &str {
        match self {
            Self::Agent(node) => &node.0,
            named => Self::NAMED.iter().find(|(known, _)| known == named).map_or("", |(_, text)| text),
        }
    }
}

impl From<String> for Purpose {
    fn from(text: String) -> Self {
        let named = Self::NAMED.into_iter().find(|(_, known)| *known == text);
        // No node is called like one of those: names of nodes have no blanks.
        named.map_or_else(|| Self::Agent(NodeName(text)), |(purpose, _)| purpose)
    }
}

impl From<Purpose> for String {
    fn from(purpose: Purpose) -> Self {
        purpose.text().to_owned()
    }
}

/// Something that a session has made outside this program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeObject {
    /// Its kind.
    pub kind: Kind,
    /// The namespace that it is in.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The UID that the server gave it, where it is known.
    pub uid: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub purpose: Purpose,
}

impl MadeObject {
    /// An agent's Job, not the reaper's.
    pub fn is_agent(&self) -> bool {
        self.kind == Kind::Job && matches!(self.purpose, Purpose::Agent(_))
    }

    /// The same object, as far as anyone can tell without UIDs.
    pub fn is_named_as(&self, other: &Self) -> bool {
        (self.kind, &self.namespace, &self.name) == (other.kind, &other.namespace, &other.name)
    }

    /// The same object, by UID as far as this one's is known.
    pub fn is(&self, other: &Self) -> bool {
        self.is_named_as(other) && (self.uid.is_none() || self.uid == other.uid)
    }

    /// For a person: `Job agent-1 (node-1)`.
    pub fn text(&self) -> String {
        let purpose = match self.purpose.text() {
            "" => String::new(),
            text => format!(" ({text})"),
        };
        format!("{} {}{purpose}", self.kind.word(), self.name)
    }
}

/// An object with what the server says of it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenObject {
    /// The object.
    #[serde(flatten)]
    pub object: MadeObject,
    /// In a word or two: `1 pod running`, `being deleted`.
    pub state: String,
}

/// How the removal of a session's objects goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// Nothing was touched, and why.
    Refused(Notice),
    /// Deletion was asked for; it is still there.
    Removing(MadeObject),
    /// Seen gone.
    Gone(MadeObject),
    /// Left on purpose.
    Kept(MadeObject),
    /// Still there, and why.
    Failed(MadeObject, String),
    /// What the user should know of the removal beside its objects.
    Noted(String),
    /// What of others keeps the session's own namespace, as in `ConfigMap notes`.
    Holds(Vec<String>),
    /// The server has not answered for so many seconds; 0 once it does again.
    Silent(u64),
    /// Every object has been tried.
    Finished,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_object_is_for_is_read_as_it_was_written() {
        for purpose in
            Purpose::NAMED.map(|(purpose, _)| purpose).into_iter().chain([Purpose::Agent("ip-10-0-1-2".into())])
        {
            assert_eq!(Purpose::from(String::from(purpose.clone())), purpose);
        }
        let job: MadeObject =
            serde_json::from_str(r#"{"kind": "Job", "name": "agent-1", "purpose": "a"}"#).expect("an object");
        assert!(job.is_agent() && job.text() == "Job agent-1 (a)", "{}", job.text());
    }
}
