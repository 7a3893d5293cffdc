//! The laptop's side of S3: listing, download, removal, checks, and what a hostile bucket can do to it.

use std::{path::Path, time::Duration};

use nodewatch_testing::{
    bucket::{BUCKET, Garage, KEY, Moto, SECRET, client_in, config, free_port, keys},
    proxy::{Fault, Proxy},
};
use nodewatch_tui::{
    model::{Outcome, PreflightCheck, SessionId, StorageSettings, StoredSummary},
    storage::{Storage, StorageError},
};

use crate::{
    delivery::session,
    storage::{settings, storage},
};

async fn put(client: &aws_sdk_s3::Client, key: &str, bytes: &[u8]) {
    client.put_object().bucket(BUCKET).key(key).body(bytes.to_vec().into()).send().await.expect("put");
}

/// Everything below a folder.
fn below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(below(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_resumed_after_cuts_and_checked() {
    let Some(garage) = Garage::start() else { return };
    let proxy = Proxy::start(garage.address);
    let bytes: Vec<u8> = (0..700_000u32).flat_map(u32::to_le_bytes).collect();
    put(&garage.client(), "inc/7f3a91c2/node-1/a.pcapng", &bytes).await;
    proxy.plan(|number| if number < 4 { Fault::HalfAnswer(500_000) } else { Fault::None });
    let folder = tempfile::tempdir().expect("a folder");
    let storage = storage(&proxy.endpoint()).await;
    let (path, _) = storage.download("inc/7f3a91c2/node-1/a.pcapng", folder.path(), |_| ()).await.expect("fetched");
    assert_eq!(std::fs::read(path).expect("read"), bytes);
    assert!(proxy.connections() >= 5, "it came in pieces");
    // Of one that cannot be unpacked nothing is left, and what was there stays.
    let client = garage.client();
    put(&client, "inc/7f3a91c2/node-1/a.pcapng.zst", b"no zstd").await;
    assert!(storage.download("inc/7f3a91c2/node-1/a.pcapng.zst", folder.path(), |_| ()).await.is_err());
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("there").flatten().map(|one| one.file_name()).collect();
    assert_eq!(left, ["a.pcapng"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_bucket_writes_nothing_outside_the_chosen_folder() {
    let Some(garage) = Garage::start() else { return };
    let client = garage.client();
    let hostile = [
        "inc/7f3a91c2/node-1/..",
        "inc/7f3a91c2/node-1/../../../../etc/passwd",
        "inc/7f3a91c2/../escape.pcapng",
        "inc/7f3a91c2/node-1/\u{1b}[2J.pcapng",
        "inc/7f3a91c2/node-1/.bashrc",
        "inc/7f3a91c2/node-1/a\\b.pcapng",
    ];
    for key in hostile {
        put(&client, key, b"evil").await;
    }
    let storage = storage(&garage.endpoint()).await;
    let listed = storage.list(&storage.settings().url).await.expect("listed");
    assert_eq!(listed.len(), hostile.len(), "{listed:?}");
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("captures");
    for key in hostile {
        match storage.download(key, &folder, |_| ()).await {
            Ok((path, _)) => assert_eq!(path.parent(), Some(folder.as_path()), "{key:?}"),
            Err(error) => assert!(matches!(error, StorageError::Foreign { .. }), "{key:?}: {error}"),
        }
    }
    let inside = folder.display().to_string();
    assert!(below(outer.path()).iter().all(|path| path.starts_with(&inside)));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_objects_are_listed() {
    let Some(garage) = Garage::start() else { return };
    let client = garage.client();
    let mut puts = tokio::task::JoinSet::new();
    for worker in 0..40 {
        let client = client.clone();
        puts.spawn(async move {
            for number in 0..250 {
                put(&client, &format!("inc/7f3a91c2/node-{worker}/{number:05}.pcapng"), b"").await;
            }
        });
    }
    puts.join_all().await;
    let storage = storage(&garage.endpoint()).await;
    assert_eq!(storage.list(&storage.settings().url).await.expect("listed").len(), 10_000);
    let removed = storage.remove(&session()).await.expect("removed");
    assert_eq!(removed, StoredSummary { objects: 10_000, ..StoredSummary::default() });
    assert_eq!(keys(&client, "").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_takes_one_sessions_objects_and_unfinished_uploads_and_nothing_else() {
    let Some(garage) = Garage::start() else { return };
    let client = garage.client();
    let others = ["inc/7f3a91c3/node-1/a.pcapng", "inc/7f3a91c2.pcapng", "inc/7f3a91c2x/a.pcapng", "other/7f3a91c2/a"];
    for key in others.iter().chain(&["inc/7f3a91c2/manifest.json", "inc/7f3a91c2/node-1/a.pcapng"]) {
        put(&client, key, b"12345").await;
    }
    for key in ["inc/7f3a91c2/node-1/big.pcapng", "inc/7f3a91c3/node-1/big.pcapng"] {
        client.create_multipart_upload().bucket(BUCKET).key(key).send().await.expect("begun");
    }
    let storage = storage(&garage.endpoint()).await;
    let place = storage.session(&session());
    let found = storage.summary(&place).await.expect("a summary");
    assert_eq!((found.objects, found.bytes, found.uploads), (2, 10, 1));
    assert_eq!(storage.remove(&session()).await.expect("removed"), found);
    assert!(storage.summary(&place).await.expect("a summary").is_empty());
    let mut left = others.map(str::to_owned);
    left.sort();
    assert_eq!(keys(&client, "").await, left);
    let uploads = client.list_multipart_uploads().bucket(BUCKET).send().await.expect("listed");
    assert_eq!(uploads.uploads().len(), 1, "another session's is its own");
    let foreign = storage.remove_one(&session(), "inc/7f3a91c3/node-1/a.pcapng").await;
    assert!(matches!(foreign, Err(StorageError::Foreign { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_finds_a_bucket_that_is_missing_or_not_ours() {
    let Some(garage) = Garage::start() else { return };
    let worst = |checks: Vec<PreflightCheck>| {
        let worst = checks.into_iter().max_by_key(|check| check.outcome).expect("a check");
        (worst.outcome, worst.detail)
    };
    let good = storage(&garage.endpoint()).await.check(&session()).await;
    assert!(good.iter().all(|check| !check.outcome.stops()), "{good:?}");
    assert!(good.iter().any(|check| check.detail.contains("s3://captures/inc/ is writable")), "{good:?}");
    assert_eq!(keys(&garage.client(), "").await, Vec::<String>::new(), "the trial is removed");

    let mut missing = settings(&garage.endpoint(), "inc");
    missing.url = "s3://no-such-bucket/inc".parse().expect("a place");
    let (outcome, detail) = worst(Storage::with(missing, config(KEY, SECRET)).await.check(&session()).await);
    assert!(outcome.stops() && detail.contains("no-such-bucket"), "{detail}");

    let forged = Storage::with(settings(&garage.endpoint(), "inc"), config(KEY, &"1".repeat(64))).await;
    let (outcome, detail) = worst(forged.check(&session()).await);
    assert_eq!(outcome, Outcome::NotPermitted, "{detail}");

    let nobody = format!("http://127.0.0.1:{}", free_port());
    let (outcome, detail) = worst(storage(&nobody).await.check(&session()).await);
    assert!(outcome == Outcome::Failed && detail.contains("unexpected answer"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_about_to_end_sign_nothing() {
    let soon = std::time::SystemTime::now() + Duration::from_secs(50);
    let credentials = aws_credential_types::Credentials::new(KEY, SECRET, None, Some(soon), "test");
    let provider = aws_credential_types::provider::SharedCredentialsProvider::new(credentials);
    let config = config(KEY, SECRET).into_builder().credentials_provider(provider).build();
    let storage = Storage::with(settings("http://127.0.0.1:1", "inc"), config).await;
    let refused = storage.sink(&SessionId::new(1), &"n".into()).await;
    assert!(matches!(refused, Err(StorageError::Credentials(_))), "{refused:?}");
}

/// S3's own answers about versions and openness, which Garage has none of.
#[tokio::test(flavor = "multi_thread")]
async fn every_version_goes_and_a_bucket_that_is_open_to_everybody_is_found() {
    use aws_sdk_s3::types::{BucketCannedAcl, BucketVersioningStatus, VersioningConfiguration};
    let Some(moto) = Moto::start() else { return };
    let client = client_in(&moto.endpoint, "us-east-1");
    client.create_bucket().bucket(BUCKET).send().await.expect("a bucket");
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    client.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await.expect("versions");
    for key in ["inc/7f3a91c2/node-1/a.pcapng", "inc/7f3a91c2/node-1/b.pcapng", "inc/7f3a91c3/node-1/a.pcapng"] {
        put(&client, key, b"one").await;
        put(&client, key, b"two").await;
    }
    client.delete_object().bucket(BUCKET).key("inc/7f3a91c2/node-1/b.pcapng").send().await.expect("a marker");
    let region = StorageSettings { region: Some("us-east-1".into()), ..settings(&moto.endpoint, "inc") };
    let storage = Storage::with(region, config(KEY, SECRET)).await;
    let found = storage.summary(&storage.session(&session())).await.expect("a summary");
    // Two versions of each and a marker; only a's second is what one sees.
    assert_eq!((found.objects, found.bytes, found.versions), (1, 3, 4));
    assert_eq!(storage.remove(&session()).await.expect("removed"), found);
    let left = client.list_object_versions().bucket(BUCKET).send().await.expect("listed");
    assert!(left.versions().iter().all(|version| version.key() == Some("inc/7f3a91c3/node-1/a.pcapng")));
    assert_eq!((left.versions().len(), left.delete_markers().len()), (2, 0));

    let worst = |checks: Vec<PreflightCheck>| checks.into_iter().map(|check| check.outcome).max();
    let checks = storage.check(&session()).await;
    // moto compares nothing in a form, which is found out.
    assert!(
        checks.iter().any(|check| check.outcome == Outcome::Warning && check.detail.contains("checksum")),
        "{checks:?}"
    );
    assert!(worst(checks) < Some(Outcome::Failed));
    client.put_bucket_acl().bucket(BUCKET).acl(BucketCannedAcl::PublicRead).send().await.expect("open");
    let checks = storage.check(&session()).await;
    assert!(checks.iter().any(|check| check.detail.contains("open to everyone")), "{checks:?}");
    assert_eq!(worst(checks), Some(Outcome::Failed));
}
