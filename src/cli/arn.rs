//! Amazon resource names on the command line.
//!
//! Owns their form. Whether the resource exists is checked elsewhere.

/// The account and the resource of a service's ARN, if its partition and region have a valid form.
fn arn<'a>(text: &'a str, service: &str, regional: bool) -> Option<(&'a str, &'a str)> {
    let (account, resource) = {
        let mut parts = text.splitn(6, ':');
        let (arn, partition, named, region) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let word = |word: &str| {
            let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            !word.is_empty() && word.bytes().all(inside)
        };
        let words = |text: &str| text.split('-').all(word);
        let partition = words(partition) && partition.split('-').next() == Some("aws");
        let region = if regional { words(region) && region.contains('-') } else { region.is_empty() };
        if arn != "arn" || !partition || named != service || !region {
            return None;
        }
        (parts.next()?, parts.next()?)
    };
    let digits = (1..=12).contains(&account.len()) && account.bytes().all(|byte| byte.is_ascii_digit());
    let graphic = !resource.is_empty() && resource.bytes().all(|byte| byte.is_ascii_graphic());
    (digits && graphic).then_some((account, resource))
}

/// An SNS topic's ARN.
pub(super) fn sns_topic(text: &str) -> Result<String, String> {
    let named = |(account, topic): (&str, &str)| {
        let name = topic.strip_suffix(".fifo").unwrap_or(topic);
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        account.len() == 12 && (1..=256).contains(&topic.len()) && !name.is_empty() && name.bytes().all(inside)
    };
    let good = arn(text, "sns", true).is_some_and(named);
    good.then(|| text.to_owned())
        .ok_or_else(|| "expected an SNS topic, e.g. arn:aws:sns:eu-west-1:123456789012:name".to_owned())
}

/// An IAM role's ARN.
pub(super) fn role(text: &str) -> Result<String, String> {
    let name = arn(text, "iam", false).and_then(|(_, resource)| resource.strip_prefix("role/"));
    let good = name.is_some_and(|name| !name.is_empty());
    good.then(|| text.to_owned())
        .ok_or_else(|| "expected an IAM role, e.g. arn:aws:iam::123456789012:role/name".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_roles_of_any_partition_are_accepted_and_other_text_is_refused() {
        for topic in [
            "arn:aws:sns:eu-west-1:123456789012:name",
            "arn:aws-cn:sns:cn-north-1:123456789012:Name_1-x",
            "arn:aws-us-gov:sns:us-gov-west-1:123456789012:a.fifo",
        ] {
            assert_eq!(sns_topic(topic).as_deref(), Ok(topic));
        }
        for topic in [
            "",
            "name",
            "arn:aws:sns:eu-west-1:12345678901x:name",
            "arn:aws:sns:eu-west-1:abcdefghijkl:name",
            "arn:aws:sns:eu-west-1:123456789012:a name",
            "arn:aws:sns:eu-west-1:123456789012: name",
            "arn:aws:sns:eu-west-1:123456789012:name:more",
            "arn:aws:sns:eu-west-1:123456789012:",
            "arn:aws:sns:eu-west-1:123456789012:.fifo",
            "arn:aws:sns::123456789012:name",
            "arn::sns:eu-west-1:123456789012:name",
            "arn:awsome:sns:eu-west-1:123456789012:name",
            "arn:aws:sqs:eu-west-1:123456789012:name",
            "arn:aws:sns:eu west-1:123456789012:name",
        ] {
            assert!(sns_topic(topic).is_err(), "{topic}");
        }
        for good in ["arn:aws:iam::123456789012:role/nw", "arn:aws-us-gov:iam::123456789012:role/path/nw"] {
            assert_eq!(role(good).as_deref(), Ok(good));
        }
        for bad in
            ["nw", "arn:aws:iam::123456789012:user/nw", "arn:aws:iam::x:role/nw", "arn:aws:iam::123456789012:role/"]
        {
            assert!(role(bad).is_err(), "{bad}");
        }
    }
}
