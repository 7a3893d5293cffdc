//! The image that agents are deployed from, and another one that the user names while the session runs.
//!
//! Owns which image that is. Pure.

use super::{Effect, Permission, Session, node::Agent};
use crate::{
    base::text,
    model::{AgentImage, Failure, Notice, Place},
};

impl Session {
    /// Agents that are deployed from now on are to run that image.
    pub(crate) fn name_image(&self, reference: &str) -> Result<Vec<Effect>, String> {
        if self.terms.place == Place::Local {
            return Err("on this machine the agent is a program beside this one and has no image".to_owned());
        }
        if self.permission == Permission::ReadOnly {
            return Err("read-only: nothing was changed".to_owned());
        }
        Ok(vec![Effect::SetImage(reference.to_owned())])
    }

    /// Says which image agents are deployed from.
    pub(crate) fn tell_image(&mut self) -> Result<(), String> {
        if self.terms.place == Place::Local {
            return self.name_image("").map(drop);
        }
        self.notify(Notice::info(format!("agents are deployed from image {}", self.image.reference)));
        Ok(())
    }

    /// It was taken over, with what is odd about it, or not.
    pub(super) fn image_set(&mut self, reference: &str, outcome: Result<String, Notice>) {
        let odd = match outcome {
            Ok(odd) => odd,
            Err(notice) => return self.notify(notice),
        };
        self.image = AgentImage::from(reference);
        let failed = |agent: &Agent| matches!(agent, Agent::Failed(notice) if notice.failure == Failure::Image);
        let next_step = match self.nodes.values().filter(|state| failed(&state.agent)).count() {
            0 => String::new(),
            failed => format!("{{deploy}} tries again where the image failed ({})", text::counted(failed, "node")),
        };
        let headline = format!("agents are deployed from image {reference} from now on");
        let notice = if odd.is_empty() { Notice::info(headline) } else { Notice::warning(headline, odd, "") };
        self.notify(Notice { next_step, ..notice }.naming_keys());
    }
}
