//! The laptop's side of an S3 server.

use nodewatch_testing::bucket::{BUCKET, KEY, REGION, SECRET, config};
use nodewatch_tui::{
    model::{S3Url, StorageSettings, Way},
    storage::Storage,
};

/// With a prefix that every test takes.
pub async fn storage(endpoint: &str) -> Storage {
    Storage::with(settings(endpoint, "inc"), config(KEY, SECRET)).await
}

/// What a user would say of that server.
pub fn settings(endpoint: &str, prefix: &str) -> StorageSettings {
    StorageSettings {
        url: format!("s3://{BUCKET}/{prefix}").parse::<S3Url>().expect("a place"),
        endpoint: Some(endpoint.to_owned()),
        region: Some(REGION.to_owned()),
        path_style: None,
        form: nodewatch_protocol::ObjectForm::default(),
        way: Way::Grant,
    }
}
