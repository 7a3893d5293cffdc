//! The guided exit: captures stopped, files fetched, objects removed and seen gone.
//!
//! Owns what is kept and what is removed, the order of the steps and what is left when one of them fails. Pure.

use std::collections::BTreeSet;

use nodewatch_protocol::UnixMillis;

use super::ledger::{Fate, Found, Ledger, What};
use crate::model::{Group, Keep, NodeName, Notice, Removal, S3Url, SeenObject, StoredSummary};

/// A capture that was asked to stop has this long to say that it has, in milliseconds.
pub const STOP_WITHIN: u64 = 15_000;
/// Agents have this long to say that they go on alone.
pub const DETACH_WITHIN: u64 = 5_000;
/// Whoever ends the program without a person there waits so long for what is under way beside the agents.
pub const LEAVE_WITHIN: u64 = 30_000;

/// What gives agents to nodes that join while nobody is attached is waited for so long, in milliseconds.
pub const STOOD_IN_WITHIN: u64 = 40_000;

/// Seconds between two questions for what there is, when the cluster could not say.
pub const STOCK_EVERY: u64 = 5;

/// How far the exit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has been done yet; Enter goes on.
    Asking,
    /// Waiting for captures to close their files.
    Stopping {
        /// When waiting ends.
        until: UnixMillis,
    },
    /// Agents are delivering to S3.
    Delivering {
        /// When waiting ends, unless it moves.
        until: UnixMillis,
    },
    /// Files are on their way.
    Fetching,
    /// Some files could not be fetched: again, or without them.
    FetchFailed,
    /// Objects are being removed.
    Removing,
    /// Something is still there: again, or leave it.
    RemoveFailed,
    /// Agents are being told to go on without this program.
    Detaching {
        /// When waiting ends.
        until: UnixMillis,
    },
    /// All done.
    Done,
}

impl Phase {
    /// Nothing was removed yet.
    pub fn is_before_removal(self) -> bool {
        matches!(
            self,
            Self::Asking | Self::Stopping { .. } | Self::Delivering { .. } | Self::Fetching | Self::FetchFailed
        )
    }
}

/// Whether the session is being left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Leaving {
    /// It goes on.
    #[default]
    Not,
    /// It is, by these steps.
    Going(Exit),
    /// It was; what came of it.
    Over(Exit),
}

/// The exit as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// How far it is.
    pub phase: Phase,
    /// Since when, by the laptop's steady clock.
    pub since: UnixMillis,
    /// What was made, and what has become of it.
    pub ledger: Ledger,
    /// How far the delivery was when it was last seen to move.
    pub delivered: u64,
    /// Why nothing can be said of the objects, or why nothing was touched.
    pub trouble: Option<Notice>,
    /// What is not to be removed, or fetched.
    pub keep: Keep,
    /// Agents that have not confirmed that they go on alone.
    pub untold: BTreeSet<NodeName>,
    /// No person is there to answer: failures end it instead of asking.
    pub unattended: bool,
    /// What came of it that is for the receipt alone.
    pub end: Box<AtEnd>,
}

/// What becomes of nodes that join while nobody is attached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Later {
    /// They are nobody's matter.
    #[default]
    Nothing,
    /// It is being seen to, and waited for until then.
    Asked {
        /// When waiting ends.
        until: UnixMillis,
    },
    /// This gives them agents.
    Served(String),
    /// They get none.
    Failed(Notice),
}

impl Later {
    /// In a word, for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Asked { .. } => "unknown",
            Self::Served(_) => "served",
            Self::Failed(_) => "not served",
        }
    }
}

/// What the receipt says of the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AtEnd {
    /// Files could not be fetched and nobody was there to ask: the session stays, as the only copies are in its rings.
    pub stranded: bool,
    /// What becomes of nodes that join later.
    pub later: Later,
    /// It was ended without waiting for what was under way.
    pub abandoned: bool,
    /// What S3 has of the session in the end: addresses and sizes. An error is why S3 does not say.
    pub in_bucket: Option<Result<Vec<(String, u64)>, Notice>>,
    /// Why the session's manifest is not where it should be.
    pub no_manifest: Vec<Notice>,
    /// What is to be known of the removal beside its objects.
    pub noted: Vec<String>,
    /// What flight recorders held and nobody saved.
    pub dropped: Vec<String>,
    /// What of others keeps the session's own namespace.
    pub holds: Vec<String>,
    /// For so many seconds the cluster has not answered to the removal.
    pub silent: Option<u64>,
    /// The user has asked to remove that too, and is asked whether this is meant.
    pub sure: bool,
}

impl Exit {
    /// Nothing done yet; everything is to be removed, but for captures in S3, which were put there to stay.
    pub fn new(unattended: bool, storage: Option<S3Url>) -> Self {
        let mut ledger = Ledger::default();
        let keep = storage.iter().map(|_| Group::Storage).collect();
        if let Some(place) = storage {
            ledger.expect(Group::Storage, What::Captures { place, found: StoredSummary::default() });
        }
        Self {
            phase: Phase::Asking,
            since: 0,
            ledger,
            delivered: 0,
            trouble: None,
            keep,
            untold: BTreeSet::new(),
            unattended,
            end: Box::default(),
        }
    }

    /// Captures are in this place too, where they went before.
    pub fn expect_captures(&mut self, places: impl IntoIterator<Item = S3Url>) {
        for place in places {
            self.ledger.expect(Group::Storage, What::Captures { place, found: StoredSummary::default() });
        }
    }

    /// Whether a group stays; agents do not run without their namespace.
    pub fn keeps(&self, group: Group) -> bool {
        self.keep.contains(&group) || (group == Group::Base && self.keep.contains(&Group::Agents))
    }

    /// Files are not fetched, and their rings go with the agents.
    pub fn discards_files(&self) -> bool {
        self.keeps(Group::Files) && !self.keeps(Group::Agents)
    }

    /// Keeps what would be removed, and the other way around.
    pub fn toggle(&mut self, group: Group) {
        if !self.keep.remove(&group) {
            self.keep.insert(group);
        }
    }

    /// The groups that there are.
    pub fn groups(&self) -> Vec<Group> {
        let there = |group: &Group| match group {
            Group::Storage | Group::Reports | Group::Alarms => self.ledger.of(*group).next().is_some(),
            Group::Files => true,
            // A session on the laptop itself makes no objects.
            Group::Agents | Group::Base => !self.ledger.stocked || self.ledger.has_objects(),
        };
        Group::ALL.into_iter().filter(there).collect()
    }

    /// What has become of a group in S3 or CloudWatch; true when that was the last thing to wait for.
    pub fn group_removed(&mut self, group: Group, outcome: &Result<Found, Notice>) -> bool {
        self.ledger.group_is(group, outcome);
        self.settle()
    }

    /// True when everything has been tried.
    fn settle(&mut self) -> bool {
        if !self.ledger.is_tried() {
            return false;
        }
        let settled = self.trouble.is_none() && self.ledger.left() == 0;
        self.phase = if settled { Phase::Done } else { Phase::RemoveFailed };
        true
    }

    /// Takes in what the cluster says there is.
    pub fn stock(&mut self, stock: Result<Vec<SeenObject>, Notice>) {
        match stock {
            Ok(seen) => {
                self.trouble = None;
                self.ledger.stock_objects(seen);
            }
            Err(notice) => self.trouble = Some(notice),
        }
    }

    /// Takes in how cleanup goes; true when it has ended.
    pub fn apply(&mut self, removal: Removal) -> bool {
        let (object, fate) = match removal {
            Removal::Removing(object) => (object, Fate::Removing),
            Removal::Gone(object) => (object, Fate::Gone),
            Removal::Kept(object) => (object, Fate::Kept),
            Removal::Failed(object, reason) => (object, Fate::Failed(reason)),
            Removal::Refused(notice) => {
                self.trouble = Some(notice);
                return false;
            }
            Removal::Noted(text) => {
                self.end.noted.push(text);
                return false;
            }
            Removal::Holds(others) => {
                self.end.holds = others;
                return false;
            }
            Removal::Silent(seconds) => {
                self.end.silent = (seconds > 0).then_some(seconds);
                return false;
            }
            Removal::Finished => {
                self.end.silent = None;
                self.ledger.objects_were_tried();
                return self.settle();
            }
        };
        self.ledger.object_is(object, fate);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Kind, MadeObject, Purpose},
        session::receipt::Receipt,
    };

    fn object(kind: Kind) -> MadeObject {
        MadeObject { kind, namespace: None, name: "nodewatch-1".into(), uid: None, purpose: Purpose::Unknown }
    }

    #[test]
    fn an_object_is_gone_only_when_it_was_seen_gone() {
        let mut exit = Exit::new(false, None);
        exit.stock(Ok(vec![
            SeenObject { object: object(Kind::Namespace), state: "active".into() },
            SeenObject { object: object(Kind::Job), state: "its pod is there".into() },
        ]));
        assert!(!exit.apply(Removal::Gone(object(Kind::Job))));
        assert!(!exit.apply(Removal::Removing(object(Kind::Namespace))));
        assert!(exit.apply(Removal::Finished));
        assert_eq!((exit.phase, exit.ledger.left()), (Phase::RemoveFailed, 1));
        exit.apply(Removal::Gone(object(Kind::Namespace)));
        exit.apply(Removal::Finished);
        assert_eq!(exit.phase, Phase::Done);
    }

    #[test]
    fn a_removal_that_was_refused_is_no_success_though_nothing_is_known_to_be_left() {
        let mut exit = Exit::new(false, None);
        exit.apply(Removal::Refused(Notice::error("another cluster", "its UID differs", "point it back")));
        exit.apply(Removal::Finished);
        assert_eq!(exit.phase, Phase::RemoveFailed);
        let receipt = Receipt { trouble: exit.trouble, ..Receipt::default() };
        assert!(receipt.left_behind());
        assert!(receipt.text().contains("another cluster: its UID differs"), "{}", receipt.text());
        assert_eq!(receipt.json()["left_behind"], true);
    }

    #[test]
    fn a_server_that_does_not_answer_is_known_until_it_does() {
        let mut exit = Exit::new(false, None);
        for (removal, silent) in [
            (Removal::Silent(20), Some(20)),
            (Removal::Silent(0), None),
            (Removal::Silent(5), Some(5)),
            (Removal::Finished, None),
        ] {
            exit.apply(removal);
            assert_eq!(exit.end.silent, silent);
        }
    }

    #[test]
    fn what_was_never_made_is_no_group_to_remove() {
        let mut exit = Exit::new(false, None);
        assert_eq!(exit.groups(), [Group::Files, Group::Agents, Group::Base], "nobody has said yet");
        exit.stock(Ok(Vec::new()));
        assert_eq!(exit.groups(), [Group::Files]);
    }

    #[test]
    fn agents_are_not_kept_without_their_namespace() {
        let mut exit = Exit::new(false, None);
        exit.toggle(Group::Agents);
        assert!(exit.keeps(Group::Agents) && exit.keeps(Group::Base) && !exit.keeps(Group::Files));
        exit.toggle(Group::Agents);
        assert!(Group::ALL.iter().all(|&group| !exit.keeps(group)));
    }
}
