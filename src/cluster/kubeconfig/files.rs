//! The files of a kubeconfig: which ones count, how they are read and merged, and what an empty value means.
//!
//! Owns what an error says of its place in a file. Must not know what a value is used for.

use std::{
    io,
    path::{Path, PathBuf},
};

use kube::config::Kubeconfig;
use secrecy::ExposeSecret;
use serde_saphyr::options::DuplicateKeyPolicy;

use super::KubeconfigError;
use crate::base::disk;

/// A file that is larger is no kubeconfig.
const LARGEST: u64 = 64 << 20;

/// As kubectl has it: every file that `$KUBECONFIG` names and that exists, otherwise `~/.kube/config`.
pub(in crate::cluster) fn usual_files() -> Vec<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let named: Vec<PathBuf> = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    if named.is_empty() {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        return vec![home.join(".kube/config")];
    }
    let exist: Vec<PathBuf> = named.iter().filter(|path| path.exists()).cloned().collect();
    if exist.is_empty() { named } else { exist }
}

/// All of them as one: what an earlier one says counts.
pub(in crate::cluster) fn read(files: &[PathBuf]) -> Result<Kubeconfig, KubeconfigError> {
    files.iter().try_fold(Kubeconfig::default(), |all, file| {
        let next = read_one(file)?;
        all.merge(next).map_err(|error| KubeconfigError::Merge(format!("{}: {error}", file.display())))
    })
}

fn read_one(path: &Path) -> Result<Kubeconfig, KubeconfigError> {
    let unreadable = |error: io::Error| KubeconfigError::Read { path: path.to_owned(), reason: error.to_string() };
    let text = decoded(&disk::read_at_most(path, LARGEST).map_err(unreadable)?).map_err(unreadable)?;
    let mut file = parsed(&text).map_err(|error| {
        let place = error.location().map(|place| (place.line(), place.column()));
        let reason = error.without_snippet().to_string();
        let reason = reason.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        // The place is said before it.
        let reason = place
            .and_then(|(line, column)| reason.strip_suffix(&format!(" at line {line}, column {column}")))
            .unwrap_or(&reason)
            .to_owned();
        KubeconfigError::Parse { path: path.to_owned(), place, reason }
    })?;
    emptied(&mut file);
    let folder = path.parent().unwrap_or(Path::new(""));
    for user in file.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        absolute(folder, &mut user.client_certificate);
        absolute(folder, &mut user.client_key);
        absolute(folder, &mut user.token_file);
        if let Some(exec) = user.exec.as_mut().filter(|exec| exec.command.as_ref().is_some_and(|c| c.contains('/'))) {
            absolute(folder, &mut exec.command);
        }
    }
    for cluster in file.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        absolute(folder, &mut cluster.certificate_authority);
    }
    Ok(file)
}

/// Of several documents the first one counts; of none there is nothing.
fn parsed(text: &str) -> Result<Kubeconfig, serde_saphyr::Error> {
    let options = || serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
    let error = match serde_saphyr::from_multiple_with_options::<Kubeconfig>(text, options()) {
        Ok(documents) => return Ok(documents.into_iter().next().unwrap_or_default()),
        Err(error) => error,
    };
    // As Go has it, the last of a key counts, and null is nothing. Kubeconfig's own reader takes neither everywhere.
    let documents = serde_saphyr::from_multiple_with_options::<serde_json::Value>(text, options());
    let first = documents.ok().and_then(|documents| documents.into_iter().next());
    first.and_then(|value| serde_json::from_value(without_nulls(value)).ok()).ok_or(error)
}

fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            kept.map(|(key, value)| (key, without_nulls(value))).collect()
        }
        serde_json::Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        plain => plain,
    }
}

/// UTF-8, or UTF-16 with its mark, as some editors write it.
fn decoded(bytes: &[u8]) -> io::Result<String> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not valid UTF-16"))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => String::from_utf8(rest.to_vec())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not valid UTF-8")),
    }
}

/// What is empty is not there.
fn emptied(file: &mut Kubeconfig) {
    fn unset(value: &mut Option<String>) {
        if value.as_ref().is_some_and(String::is_empty) {
            *value = None;
        }
    }
    unset(&mut file.current_context);
    unset(&mut file.kind);
    unset(&mut file.api_version);
    for cluster in file.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        unset(&mut cluster.server);
        unset(&mut cluster.certificate_authority);
        unset(&mut cluster.certificate_authority_data);
        unset(&mut cluster.proxy_url);
        unset(&mut cluster.tls_server_name);
    }
    for user in file.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        unset(&mut user.username);
        unset(&mut user.token_file);
        unset(&mut user.client_certificate);
        unset(&mut user.client_certificate_data);
        unset(&mut user.client_key);
        unset(&mut user.impersonate);
        unset(&mut user.impersonate_uid);
        for secret in [&mut user.password, &mut user.token, &mut user.client_key_data] {
            if secret.as_ref().is_some_and(|secret| secret.expose_secret().is_empty()) {
                *secret = None;
            }
        }
    }
    for context in file.contexts.iter_mut().filter_map(|named| named.context.as_mut()) {
        unset(&mut context.user);
        unset(&mut context.namespace);
    }
}

fn absolute(folder: &Path, path: &mut Option<String>) {
    if let Some(file) = path
        && Path::new(file).is_relative()
        && let Some(joined) = folder.join(&*file).to_str()
    {
        *path = Some(joined.to_owned());
    }
}
