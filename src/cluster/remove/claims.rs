//! Which objects are the session's own to remove.
//!
//! Owns the comparison of the journal with what is there, by UID and label. Must not call a server.

use crate::{
    cluster::{inventory::Seen, objects::SESSION_LABEL},
    model::{Kind, MadeObject, SessionId},
};

/// What is to become of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// Ours, and there.
    Remove,
    /// Seen not to be there.
    Gone,
    /// There, but no longer ours to remove.
    LeftAlone(String),
    /// Goes with the namespace.
    WithNamespace,
}

/// Everything known or seen, and what is to become of it. An object is the session's when its label says so, unless
/// the journal knows another one by that name.
pub(super) fn claims(known: &[MadeObject], seen: &[Seen], session: &SessionId) -> Vec<(MadeObject, Claim)> {
    let mut claims = Vec::new();
    for one in seen.iter().filter(|one| one.session.as_ref() == Some(session)) {
        let mut same_name = known.iter().filter(|object| object.is_named_as(&one.object)).peekable();
        let another =
            same_name.peek().is_some() && same_name.all(|object| object.uid.is_some() && object.uid != one.object.uid);
        if !another {
            let purpose = known.iter().find(|object| object.uid == one.object.uid).map(|object| object.purpose.clone());
            let purpose = purpose.unwrap_or_else(|| one.object.purpose.clone());
            claims.push((MadeObject { purpose, ..one.object.clone() }, Claim::Remove));
        }
    }
    for object in known {
        if claims.iter().any(|(ours, _)| object.is(ours)) {
            continue;
        }
        let there = seen.iter().any(|one| object.uid.is_some() && one.object.uid == object.uid);
        let claim = match object.kind {
            Kind::Role | Kind::RoleBinding => Claim::WithNamespace,
            _ if there => Claim::LeftAlone(format!("it no longer carries the label {SESSION_LABEL}: left alone")),
            _ => Claim::Gone,
        };
        claims.push((object.clone(), claim));
    }
    claims
}

#[cfg(test)]
mod tests {
    use kube::api::ObjectMeta;

    use super::*;

    const SESSION: u32 = 1;

    fn job(name: &str, uid: Option<&str>) -> MadeObject {
        MadeObject {
            kind: Kind::Job,
            namespace: Some("n".into()),
            name: name.into(),
            uid: uid.map(str::to_owned),
            purpose: "node-1".to_owned().into(),
        }
    }

    fn seen(name: &str, uid: &str, session: Option<u32>) -> Seen {
        Seen {
            object: job(name, Some(uid)),
            session: session.map(SessionId::new),
            metadata: ObjectMeta::default(),
            state: String::new(),
            over: false,
        }
    }

    fn claim(known: &[MadeObject], seen: &[Seen]) -> Vec<(String, Claim)> {
        let claims = claims(known, seen, &SessionId::new(SESSION));
        claims.into_iter().map(|(object, claim)| (object.uid.unwrap_or_default(), claim)).collect()
    }

    #[test]
    fn what_carries_the_label_is_ours_with_or_without_a_journal() {
        let there = [seen("a", "1", Some(SESSION)), seen("b", "2", Some(7)), seen("c", "3", None)];
        assert_eq!(claim(&[], &there), [("1".into(), Claim::Remove)]);
        // Created, and killed before the answer came.
        assert_eq!(claim(&[job("a", None)], &there), [("1".into(), Claim::Remove)]);
        assert_eq!(claim(&[job("x", None)], &[]), [(String::new(), Claim::Gone)]);
    }

    #[test]
    fn an_object_that_took_the_name_of_ours_is_not_ours() {
        let there = [seen("a", "2", Some(SESSION))];
        assert_eq!(claim(&[job("a", Some("1"))], &there), [("1".into(), Claim::Gone)]);
        // Unless we were about to make one again.
        let known = [job("a", Some("1")), job("a", None)];
        assert_eq!(claim(&known, &there), [("2".into(), Claim::Remove), ("1".into(), Claim::Gone)]);
    }

    #[test]
    fn an_object_that_lost_its_label_is_left_alone_and_not_called_gone() {
        let claims = claim(&[job("a", Some("1"))], &[seen("a", "1", None)]);
        assert!(matches!(&claims[..], [(_, Claim::LeftAlone(_))]), "{claims:?}");
    }
}
