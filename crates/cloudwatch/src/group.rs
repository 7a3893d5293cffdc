//! Log groups: made where they are missing, and their retention seen to until it is set.
//!
//! Owns what is known of each group. A group that somebody else made, or that has a retention, is left as it is.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use aws_sdk_cloudwatchlogs::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::LogGroupClass,
};
use nodewatch_protocol::{ReportState, Retention};

use nodewatch_report::chain;

use crate::lock;

/// The tag of every group that this product makes, and its value.
pub const MANAGED_BY: (&str, &str) = ("managed-by", "nodewatch-tui");

/// What is to be done for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Find out whose it is and what it has.
    Ask,
    /// It is ours and forgets nothing: say after how long it is to.
    Set,
    /// The same, and we were told that we may not.
    Denied,
    /// Somebody is at it.
    UnderWay,
    Nothing,
}

/// What is known of a group.
#[derive(Debug)]
struct Known {
    step: Step,
    retention: Retention,
}

/// Every group that reports went to.
#[derive(Debug)]
pub(crate) struct Groups {
    client: Client,
    /// Days after which a group that is made here forgets.
    retention_days: u32,
    /// What a group that is made here is marked with.
    tags: HashMap<String, String>,
    /// Where it is told how they stand.
    counts: Arc<Mutex<ReportState>>,
    known: Mutex<HashMap<String, Known>>,
    made: Mutex<BTreeSet<String>>,
    /// One makes a group, however many streams miss it.
    making: tokio::sync::Mutex<()>,
}

impl Groups {
    pub(crate) fn new(
        client: Client,
        retention_days: u32,
        tags: HashMap<String, String>,
        counts: Arc<Mutex<ReportState>>,
    ) -> Self {
        let (known, made, making) = (Mutex::default(), Mutex::default(), tokio::sync::Mutex::default());
        Self { client, retention_days, tags, counts, known, made, making }
    }

    /// Those that were made here.
    pub(crate) fn made(&self) -> BTreeSet<String> {
        lock(&self.made).clone()
    }

    /// Nothing is under way for any that waiting would help.
    pub(crate) fn are_settled(&self) -> bool {
        lock(&self.known).values().all(|known| !matches!(known.step, Step::UnderWay | Step::Set))
    }

    /// How all of them stand.
    fn retention(&self) -> Retention {
        lock(&self.known).values().fold(Retention::Unknown, |all, known| all.and(&known.retention))
    }

    /// Takes what is to be done, so that nobody else does it.
    fn take(&self, group: &str) -> Step {
        let mut all = lock(&self.known);
        let unknown = || Known { step: Step::Ask, retention: Retention::Unknown };
        let known = all.entry(group.to_owned()).or_insert_with(unknown);
        let step = known.step;
        if step != Step::Nothing {
            known.step = Step::UnderWay;
        }
        step
    }

    /// What comes next, and what is known by now.
    fn next(&self, group: &str, step: Step, retention: Option<Retention>) {
        let mut all = lock(&self.known);
        let unknown = || Known { step, retention: Retention::Unknown };
        let known = all.entry(group.to_owned()).or_insert_with(unknown);
        known.step = step;
        known.retention = retention.unwrap_or_else(|| known.retention.clone());
    }

    /// Somebody else has made it anew: what was known is of the one before.
    fn made_by_another(&self, group: &str) {
        if let Some(known) = lock(&self.known).get_mut(group).filter(|known| known.step == Step::Nothing) {
            known.step = Step::Ask;
        }
    }
}

/// What became of a try.
enum Tried {
    Done(Retention),
    /// It is ours, and has none.
    Ours,
    /// Whose it is was not told.
    Unasked {
        denied: bool,
        reason: String,
    },
    /// It cannot be set: we may not.
    Denied(String),
    /// It was not set this time.
    Failed(String),
}

fn is_denied(code: Option<&str>) -> bool {
    matches!(code, Some("AccessDeniedException" | "AccessDenied" | "UnknownOperationException"))
}

fn unasked<E: std::error::Error + ProvideErrorMetadata>(error: &E) -> Tried {
    Tried::Unasked { denied: is_denied(error.code()), reason: chain(error) }
}

impl Groups {
    pub(crate) async fn make(&self, name: &str) -> Result<(), String> {
        let _making = self.making.lock().await;
        let group = self.client.create_log_group().log_group_name(name);
        let tags = (!self.tags.is_empty()).then(|| self.tags.clone());
        match group.set_tags(tags).send().await.map_err(SdkError::into_service_error) {
            Ok(_) => {
                self.next(name, Step::Set, Some(Retention::Unknown));
                lock(&self.made).insert(name.to_owned());
                Ok(())
            }
            Err(error) if error.is_resource_already_exists_exception() => {
                self.made_by_another(name);
                Ok(())
            }
            Err(error) => Err(chain(&error)),
        }
    }

    /// Sees to it that a group that is ours forgets; called with each batch, until that is settled. False when it is worth
    /// another try before the next batch.
    pub(crate) async fn keep_retention(&self, group: &str) -> bool {
        let step = self.take(group);
        let tried = match step {
            Step::Nothing | Step::UnderWay => return true,
            Step::Ask => match self.ask(group).await {
                Tried::Ours => self.set_retention(group).await,
                tried => tried,
            },
            Step::Set | Step::Denied => self.set_retention(group).await,
        };
        let not_set = |reason| Some(Retention::NotSet { reason });
        let (next, retention) = match tried {
            Tried::Done(retention) => (Step::Nothing, Some(retention)),
            Tried::Denied(reason) => (Step::Denied, not_set(reason)),
            Tried::Failed(reason) => (Step::Set, not_set(reason)),
            // Whose it is nobody may say: nothing is claimed.
            Tried::Unasked { denied: true, reason } => {
                lock(&self.counts).warning = format!("whether log group {group} forgets is not known: {reason}");
                (Step::Nothing, None)
            }
            Tried::Unasked { denied: false, .. } | Tried::Ours => (Step::Ask, None),
        };
        self.next(group, next, retention);
        lock(&self.counts).retention = self.retention();
        !matches!(next, Step::Ask | Step::Set)
    }

    async fn ask(&self, name: &str) -> Tried {
        let list = self.client.describe_log_groups().log_group_name_prefix(name);
        let found = match list.send().await.map_err(SdkError::into_service_error) {
            Ok(found) => found,
            Err(error) => return unasked(&error),
        };
        // Of names that begin alike the shortest comes first.
        let Some(group) = found.log_groups().iter().find(|group| group.log_group_name() == Some(name)) else {
            return Tried::Unasked { denied: false, reason: format!("log group {name} is not in the list") };
        };
        if let Some(class) = group.log_group_class().filter(|class| **class != LogGroupClass::Standard) {
            lock(&self.counts).warning = silent(name, class.as_str());
        }
        let Some(arn) = group.arn().filter(|_| group.retention_in_days().is_none()) else {
            return Tried::Done(Retention::Theirs);
        };
        // This form of the name ends in `:*`, which tags are not asked with.
        let tags = self.client.list_tags_for_resource().resource_arn(arn.trim_end_matches(":*"));
        match tags.send().await.map_err(SdkError::into_service_error) {
            Ok(tags) => {
                let (key, value) = MANAGED_BY;
                let ours = tags.tags().and_then(|tags| tags.get(key)).is_some_and(|tag| tag == value);
                if ours { Tried::Ours } else { Tried::Done(Retention::Theirs) }
            }
            Err(error) => unasked(&error),
        }
    }

    async fn set_retention(&self, group: &str) -> Tried {
        let days = self.retention_days;
        let put = self.client.put_retention_policy().log_group_name(group).retention_in_days(days as i32);
        match put.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => Tried::Done(Retention::Set { days }),
            Err(error) if is_denied(error.code()) => Tried::Denied(chain(&error)),
            Err(error) => Tried::Failed(chain(&error)),
        }
    }
}

/// What a group of another class than the usual one means for what is made of reports.
pub fn silent(group: &str, class: &str) -> String {
    format!(
        "log group {group} is of the class {class}, which makes no metrics of reports: alarms and metrics will stay silent"
    )
}
