//! The receipt for the journal and for programs. Its fields are a contract.

use serde_json::{Value, json};

use super::{FileNote, Receipt};
use crate::{
    model::Notice,
    session::ledger::{Fate, What},
};

impl Receipt {
    /// The receipt for the journal and for programs.
    pub fn json(&self) -> Value {
        let objects = self.things.iter().filter_map(|thing| {
            let object = thing.as_object()?;
            let mut value = self.fate(&thing.fate);
            value["kind"] = json!(object.kind);
            value["namespace"] = json!(object.namespace);
            value["name"] = json!(object.name);
            value["uid"] = json!(object.uid);
            Some(value)
        });
        let fetched = self
            .files
            .fetched
            .iter()
            .map(|(path, size, sha256)| json!({"path": path, "bytes": size, "sha256": sha256}));
        let made = |(path, size): &(std::path::PathBuf, u64)| json!({"path": path, "bytes": size});
        let lost = self
            .files
            .lost
            .iter()
            .map(|note| json!({"node": note.node, "file": note.file, "bytes": note.size, "reason": note.reason}));
        let there = self.files.left_there.iter();
        let there = there.map(|note| json!({"node": note.node, "file": note.file, "bytes": note.size}));
        let detached = self.detached.as_ref().map(|detached| {
            json!({"until": detached.until, "agents": detached.agents, "captures": detached.captures,
                "recorders": detached.recorders,
                "untold": detached.untold, "nodes_that_join": detached.later.word()})
        });
        let delivered = self.files.delivered.iter().map(|(uri, size, sha256)| {
            let compared = !self.files.not_compared.contains(uri);
            json!({"uri": uri, "bytes": size, "sha256": sha256.as_ref().filter(|_| compared), "compared": compared})
        });
        let mut places = self.things.iter().filter_map(|thing| {
            let What::Captures { place, .. } = &thing.what else { return None };
            let word = match &thing.fate {
                Fate::Gone => "removed",
                Fate::Failed(_) | Fate::Removing => "left",
                Fate::Asked | Fate::Unknown(_) | Fate::There(_) | Fate::Kept => "kept",
            };
            Some(json!({"place": place, "fate": word}))
        });
        let storage = places.next();
        let cloud = self.things.iter().filter_map(|thing| {
            let What::Cloud(what) = &thing.what else { return None };
            let mut value = self.fate(&thing.fate);
            value["group"] = json!(thing.group);
            value["what"] = json!(what);
            Some(value)
        });
        let of_file = |note: &FileNote| json!({"node": note.node, "file": note.file, "reason": note.reason});
        let held = self.files.held.iter().map(|held| {
            let place = self.ring_folder.as_ref().map(|folder| folder.join(&held.file));
            json!({"node": held.node, "file": held.file, "bytes": held.size, "reason": held.reason, "path": place})
        });
        let troubles = self.troubles.iter().map(|(node, what)| json!({"node": node, "message": what}));
        let in_bucket = self.files.in_bucket.iter().map(|(uri, size)| json!({"uri": uri, "bytes": size}));
        let reports = self.reports.as_ref().map(|(place, state)| json!({"place": place, "state": state}));
        json!({
            "cloud": cloud.collect::<Vec<_>>(), "reports": reports,
            "delivered": delivered.collect::<Vec<_>>(), "storage": storage,
            "storage_earlier": places.collect::<Vec<_>>(),
            "session": self.session, "place": self.place, "left_behind": self.left_behind(),
            "objects": objects.collect::<Vec<_>>(), "fetched": fetched.collect::<Vec<_>>(),
            "merged": self.files.merged.iter().map(made).collect::<Vec<_>>(),
            "saved": self.files.saved.iter().map(made).collect::<Vec<_>>(),
            "lost": lost.collect::<Vec<_>>(), "left_on_nodes": there.collect::<Vec<_>>(), "detached": detached,
            "trouble": self.trouble.as_ref().map(Notice::line),
            "incomplete": self.files.incomplete.iter().map(of_file).collect::<Vec<_>>(),
            "undelivered": self.files.undelivered.iter().map(of_file).collect::<Vec<_>>(),
            "not_compared": self.files.unproved.iter().map(of_file).collect::<Vec<_>>(),
            "held": held.collect::<Vec<_>>(), "troubles": troubles.collect::<Vec<_>>(),
            "in_bucket": in_bucket.collect::<Vec<_>>(), "no_manifest": self.no_manifest, "noted": self.noted,
            "images": self.images, "whole": self.is_whole(),
        })
    }

    fn fate(&self, fate: &Fate) -> Value {
        match fate {
            Fate::Asked | Fate::Unknown(_) | Fate::There(_) if self.detached.is_some() => json!({"fate": "kept"}),
            Fate::Asked | Fate::Unknown(_) | Fate::There(_) | Fate::Removing => {
                json!({"fate": "left", "reason": "removal not confirmed"})
            }
            Fate::Gone => json!({"fate": "removed"}),
            Fate::Kept => json!({"fate": "kept"}),
            Fate::Failed(reason) => json!({"fate": "left", "reason": reason}),
        }
    }
}
