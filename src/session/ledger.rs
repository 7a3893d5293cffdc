//! What the session has made outside this laptop: objects in the cluster, captures in S3, reports and alarms in
//! CloudWatch, as rows of one list.
//!
//! Owns what has become of each. Who is asked to remove it, and when, is for `leaving.rs`. Pure.

use crate::{
    base::text::{bytes, counted},
    model::{Group, Keep, MadeObject, Notice, S3Url, SeenObject, StoredSummary},
};

/// What has become of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Whoever keeps it was asked what there is.
    Asked,
    /// Whoever keeps it does not say, and why.
    Unknown(String),
    /// Nothing was done to it yet; what whoever keeps it says of it.
    There(String),
    /// Deletion was asked for.
    Removing,
    /// Seen gone.
    Gone,
    /// Left on purpose.
    Kept,
    /// Still there, as far as anybody knows, and why.
    Failed(String),
}

impl Fate {
    /// Nothing more has to be done for it.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Gone | Self::Kept)
    }

    /// Nothing was done to it yet.
    fn is_untouched(&self) -> bool {
        matches!(self, Self::Asked | Self::Unknown(_) | Self::There(_))
    }
}

/// What a thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An object in the cluster.
    Object(MadeObject),
    /// The session's captures in S3.
    Captures {
        /// Where.
        place: S3Url,
        /// How much there is, or was before it was removed.
        found: StoredSummary,
    },
    /// Something in CloudWatch, as people call it.
    Cloud(String),
}

/// What S3 or CloudWatch has of a group.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Objects in S3.
    Stored(StoredSummary),
    /// The same, by place.
    StoredIn(Vec<(S3Url, StoredSummary)>),
    /// As people call it.
    Text(String),
}

impl Found {
    /// What of it there is of a thing.
    fn of(&self, what: &What) -> Option<StoredSummary> {
        match (self, what) {
            (Self::Stored(found), What::Captures { .. }) => Some(*found),
            (Self::StoredIn(found), What::Captures { place, .. }) => {
                found.iter().find(|(known, _)| known == place).map(|(_, found)| *found)
            }
            _ => None,
        }
    }

    /// What there is of a thing, for people.
    pub fn text(&self, what: &What) -> String {
        let found = match self {
            Self::Stored(_) | Self::StoredIn(_) => self.of(what).unwrap_or_default(),
            Self::Text(text) => return text.clone(),
        };
        let mut text = format!("{}, {}", counted(found.objects as usize, "object"), bytes(found.bytes));
        if found.versions > 0 {
            text = format!("{text}, {}", counted(found.versions as usize, "older version"));
        }
        if found.uploads > 0 {
            text = format!("{text}, {}", counted(found.uploads as usize, "unfinished upload"));
        }
        text
    }
}

/// Something that the session made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// What it goes or stays with.
    pub group: Group,
    /// What it is.
    pub what: What,
    /// What has become of it.
    pub fate: Fate,
}

impl Thing {
    /// An object in the cluster.
    pub fn object(object: MadeObject, fate: Fate) -> Self {
        Self { group: object.kind.group(), what: What::Object(object), fate }
    }

    /// The object, where it is one.
    pub fn as_object(&self) -> Option<&MadeObject> {
        match &self.what {
            What::Object(object) => Some(object),
            What::Captures { .. } | What::Cloud(_) => None,
        }
    }

    /// As people call it.
    pub fn name(&self) -> String {
        match &self.what {
            What::Object(object) => format!("{} {}", object.kind.word(), object.name),
            What::Captures { place, .. } => place.to_string(),
            What::Cloud(what) => what.clone(),
        }
    }
}

/// The list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    things: Vec<Thing>,
    /// The cluster has said what there is.
    pub stocked: bool,
    /// The cluster's objects have all been tried.
    tried: bool,
}

impl Ledger {
    /// Everything, oldest first.
    pub fn things(&self) -> &[Thing] {
        &self.things
    }

    /// What is of a group.
    pub fn of(&self, group: Group) -> impl Iterator<Item = &Thing> {
        self.things.iter().filter(move |thing| thing.group == group)
    }

    /// Whether there are objects in the cluster.
    pub fn has_objects(&self) -> bool {
        self.things.iter().any(|thing| thing.as_object().is_some())
    }

    /// Something beside the cluster that may be there: whoever keeps it is to be asked.
    pub fn expect(&mut self, group: Group, what: What) {
        self.things.push(Thing { group, what, fate: Fate::Asked });
    }

    /// Calls something in CloudWatch by another name.
    pub fn rename(&mut self, group: Group, name: &str) {
        for thing in self.things.iter_mut().filter(|thing| thing.group == group) {
            if let What::Cloud(what) = &mut thing.what {
                name.clone_into(what);
            }
        }
    }

    /// What the cluster says there is, as long as nothing was done.
    pub fn stock_objects(&mut self, seen: Vec<SeenObject>) {
        self.stocked = true;
        self.things.retain(|thing| thing.as_object().is_none());
        self.things.extend(seen.into_iter().map(|one| Thing::object(one.object, Fate::There(one.state))));
    }

    /// What S3 or CloudWatch says there is of a group, as long as nothing of it was touched.
    pub fn stock(&mut self, group: Group, found: &Result<Found, Notice>) {
        for thing in self.things.iter_mut().filter(|thing| thing.group == group && thing.fate.is_untouched()) {
            thing.note(found);
            thing.fate = match found {
                Ok(found) => Fate::There(found.text(&thing.what)),
                Err(notice) => Fate::Unknown(notice.line()),
            };
        }
    }

    /// Objects that were made, of which nothing else is known.
    pub fn add_objects(&mut self, made: Vec<MadeObject>) {
        for object in made {
            if !self.knows(&object) {
                self.things.push(Thing::object(object, Fate::There(String::new())));
            }
        }
    }

    fn knows(&self, object: &MadeObject) -> bool {
        self.things.iter().filter_map(Thing::as_object).any(|known| known.is_named_as(object))
    }

    /// What is to be removed beside the cluster's objects, each group once; what is kept is settled with that.
    pub fn begin(&mut self, keep: &Keep) -> Vec<Group> {
        self.tried = false;
        let mut groups = Vec::new();
        for thing in self.things.iter_mut().filter(|thing| thing.as_object().is_none()) {
            if keep.contains(&thing.group) {
                thing.fate = Fate::Kept;
            } else if thing.fate != Fate::Gone {
                thing.fate = Fate::Removing;
                groups.push(thing.group);
            }
        }
        groups
    }

    /// What has become of an object.
    pub fn object_is(&mut self, object: MadeObject, fate: Fate) {
        let known = |thing: &&mut Thing| thing.as_object().is_some_and(|known| known.is_named_as(&object));
        match self.things.iter_mut().find(known) {
            Some(thing) => *thing = Thing::object(object, fate),
            None => self.things.push(Thing::object(object, fate)),
        }
    }

    /// What has become of a group in S3 or CloudWatch.
    pub fn group_is(&mut self, group: Group, outcome: &Result<Found, Notice>) {
        for thing in self.things.iter_mut().filter(|thing| thing.group == group) {
            thing.note(outcome);
            thing.fate = match outcome {
                Ok(_) => Fate::Gone,
                Err(notice) => Fate::Failed(notice.line()),
            };
        }
    }

    /// The cluster's objects have all been tried.
    pub fn objects_were_tried(&mut self) {
        self.tried = true;
    }

    /// Everything has been tried.
    pub fn is_tried(&self) -> bool {
        let waits = |thing: &Thing| thing.as_object().is_none() && thing.fate == Fate::Removing;
        self.tried && !self.things.iter().any(waits)
    }

    /// How many were neither seen gone nor kept on purpose.
    pub fn left(&self) -> usize {
        self.things.iter().filter(|thing| !thing.fate.is_settled()).count()
    }
}

impl Thing {
    fn note(&mut self, said: &Result<Found, Notice>) {
        let now = said.as_ref().ok().and_then(|said| said.of(&self.what));
        if let (What::Captures { found, .. }, Some(now)) = (&mut self.what, now) {
            *found = now;
        }
    }
}
