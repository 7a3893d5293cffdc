//! What would keep reports from getting anywhere, found out before anything is made.
//!
//! Owns when credentials are usable, and what of a log group is told before the first report.

use std::time::{Duration, SystemTime};

use aws_credential_types::{Credentials, provider::ProvideCredentials};
use aws_sdk_cloudwatchlogs::types::LogGroupClass;

use super::{Logs, LogsError};
use crate::model::{Failure, Notice};

/// Credentials have so long to come: a `credential_process` may ask somebody, and one that hangs never ends.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(20);

impl Logs {
    /// Whether there are credentials that can sign. Says why not at once, or when they did not come in time.
    pub async fn check_credentials(&self) -> Result<(), Notice> {
        let refused = |cause: String| {
            let next_step = "sign in, or choose another AWS_PROFILE";
            Notice::error("no AWS credentials for CloudWatch", cause, next_step).of(Failure::NotPermitted)
        };
        let none = || refused("none are configured".to_owned());
        let provider = self.config.credentials_provider().ok_or_else(none)?;
        let given = tokio::time::timeout(CREDENTIALS_WITHIN, provider.provide_credentials()).await;
        let late = |_| refused(format!("{} did not answer within {} s", asked(), CREDENTIALS_WITHIN.as_secs()));
        let credentials = given.map_err(late)?.map_err(|error| refused(nodewatch_report::chain(&error)))?;
        usable(&credentials, SystemTime::now()).map_err(refused)
    }

    /// What the log group is, where it is there already: what keeps metrics from being made of reports.
    pub async fn check_group(&self) -> Result<Option<String>, LogsError> {
        let group = &self.settings.group;
        let list = self.events.describe_log_groups().log_group_name_prefix(group);
        let found = list.send().await.map_err(LogsError::of("list log groups"))?;
        // Groups of nodes are alike: the first that is not as usual speaks for all.
        let ours =
            |name: &str| name == group || name.strip_prefix(group.as_str()).is_some_and(|rest| rest.starts_with('/'));
        let other = found.log_groups().iter().find_map(|found| {
            let name = found.log_group_name().filter(|name| ours(name))?;
            let class = found.log_group_class().filter(|class| **class != LogGroupClass::Standard)?;
            Some(nodewatch_cloudwatch::silent(name, class.as_str()))
        });
        Ok(other)
    }

    /// Both, as a session begins: what stops it, or what is to be said.
    pub async fn check(&self) -> Result<Option<Notice>, Notice> {
        self.check_credentials().await?;
        let warned = |warning: String| {
            Notice::warning(warning, "", "use a log group of class STANDARD: the class of a group cannot be changed")
        };
        match self.check_group().await {
            Ok(found) => Ok(found.map(warned)),
            // Reports may get there all the same, and say why when they do not.
            Err(error) => {
                let told = error.notice("cannot check the log group");
                Ok(Some(Notice::warning(told.headline, told.cause, told.next_step)))
            }
        }
    }
}

/// Who is asked for credentials, as far as the environment says it.
pub fn asked() -> String {
    let profile = std::env::var("AWS_PROFILE").ok().filter(|profile| !profile.is_empty());
    let profile = profile.map_or_else(|| "the default profile".to_owned(), |name| format!("profile {name}"));
    format!("{profile} (a credential_process, SSO, a role or the machine's metadata service)")
}

/// Whether they are not over yet.
fn usable(credentials: &Credentials, now: SystemTime) -> Result<(), String> {
    match credentials.expiry() {
        Some(end) if end <= now => {
            let since = now.duration_since(end).unwrap_or_default().as_secs();
            let since = if since < 7200 { format!("{} min", since / 60) } else { format!("{} h", since / 3600) };
            Err(format!("those from {} expired {since} ago", asked()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_are_over_sign_nothing() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let ending = |seconds: i64| {
            let end = if seconds < 0 {
                now - Duration::from_secs(seconds.unsigned_abs())
            } else {
                now + Duration::from_secs(seconds.unsigned_abs())
            };
            usable(&Credentials::new("k", "s", None, Some(end), "test"), now)
        };
        assert!(ending(1).is_ok() && usable(&Credentials::new("k", "s", None, None, "test"), now).is_ok());
        assert!(ending(0).is_err());
        assert!(ending(-180).is_err_and(|reason| reason.contains("expired 3 min ago")));
        assert!(ending(-200_000_000).is_err_and(|reason| reason.contains("expired 55555 h ago")));
    }
}
