//! What a session makes outside the laptop, in the one form that its journal has for all of it.
//!
//! Owns what it takes to find and remove each again, also from another run of the program.

use serde::{Deserialize, Serialize};

use super::{LogsSettings, MadeObject, StorageSettings};

/// Something of a session outside the laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Made {
    /// An object in the cluster.
    Object(MadeObject),
    /// Captures in S3.
    Captures {
        /// Where, and how to get there.
        captures: StorageSettings,
    },
    /// Reports in CloudWatch Logs, and log groups for them.
    Reports {
        /// Where, and what else is said of them.
        reports: LogsSettings,
    },
    /// Alarms on what was reported.
    Alarms {
        /// Where they look.
        alarms: LogsSettings,
    },
}

impl Made {
    /// The object, where it is one.
    pub fn as_object(&self) -> Option<&MadeObject> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// As people call it.
    pub fn text(&self) -> String {
        match self {
            Self::Object(object) => object.text(),
            Self::Captures { captures } => format!("captures in {}", captures.url),
            Self::Reports { reports } => format!("reports in log group {}", reports.group),
            Self::Alarms { alarms } => format!("alarms on log group {}", alarms.group),
        }
    }
}

impl From<MadeObject> for Made {
    fn from(object: MadeObject) -> Self {
        Self::Object(object)
    }
}
