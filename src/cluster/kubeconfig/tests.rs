//! Kubeconfigs as people and tools write them, and what is said of bad ones.

use super::*;

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    fs::write(&path, text).expect("written");
    (folder, path)
}

/// A file of one context, with this cluster and this user.
fn one(cluster: &str, user: &str) -> String {
    format!(
        "clusters: [{{name: c, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n\
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
    )
}

fn chosen(cluster: &str, user: &str) -> Result<Chosen, String> {
    let (_folder, path) = written(&one(cluster, user));
    let file = read(&[path]).map_err(|error| error.to_string())?;
    choose(&file, "x", &Proxies::default()).map_err(|error| error.to_string())
}

#[test]
fn a_server_is_an_address_however_it_is_written() {
    for (server, url) in [
        ("127.0.0.1:18080", "http://127.0.0.1:18080/"),
        ("localhost:8080", "http://localhost:8080/"),
        ("kube.example", "http://kube.example/"),
        ("[::1]:6443", "http://[::1]:6443/"),
        (" https://kube.example:6443 ", "https://kube.example:6443/"),
        ("HTTPS://kube.example/k8s/c-1", "https://kube.example/k8s/c-1"),
    ] {
        assert_eq!(server_url(server).expect(server).to_string(), url);
    }
    for server in
        ["kube.example/path", "ftp://kube.example", "https://", "https:///path", "a b", "https://host:port", ""]
    {
        assert!(server_url(server).is_err(), "{server:?}");
    }
}

#[test]
fn what_is_empty_is_not_there() {
    let (_one, nulls) = written("clusters: null\ncontexts: null\nusers: null\ncurrent-context: \"\"\n");
    let exec = "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: plugin}";
    let (_two, real) = written(&one("server: 'https://kube.example'", &format!("token: '', username: '', {exec}")));
    let file = read(&[nulls, real]).expect("readable");
    assert_eq!(chosen_context(&file, None).as_deref(), Ok("x"), "the next file's counts");
    let found = choose(&file, "x", &Proxies::default()).expect("usable");
    assert!(matches!(found.source, Source::Plugin(_)), "{:?}", found.source);
    for empty in ["", " ", "# nothing\n", "---\n"] {
        let (_folder, path) = written(empty);
        assert!(read(&[path]).is_ok_and(|file| file.contexts.is_empty()), "{empty:?}");
    }
}

#[test]
fn nobodys_credentials_go_out_in_the_clear() {
    for user in ["token: abc", "exec: {command: plugin}", "username: me", "auth-provider: {name: gcp}"] {
        let found = chosen("server: 'http://kube.example'", user).expect(user);
        assert!(matches!(found.source, Source::Fixed(None)), "{:?}", found.source);
    }
}

#[test]
fn of_a_key_that_is_there_twice_the_last_one_counts() {
    let (_folder, path) = written(&format!("current-context: y\n{}", one("server: 'https://kube.example'", "")));
    assert_eq!(read(&[path]).expect("readable").current_context.as_deref(), Some("x"));
}

#[test]
fn what_is_wrong_is_told_with_its_place_on_one_line() {
    let (_folder, path) = written("apiVersion: v1\n\tkind: Config\n");
    let told = read(std::slice::from_ref(&path)).expect_err("a tab").to_string();
    assert!(told.starts_with(&format!("{}, line ", path.display())) && !told.contains('\n'), "{told}");
    let (_folder, path) = written("clusters:\n- name: c\n  cluster: [1]\n");
    let told = read(std::slice::from_ref(&path)).expect_err("a list").to_string();
    assert!(told.starts_with(&format!("{}, line 3, ", path.display())) && !told.contains('\n'), "{told}");
    let missing = path.with_file_name("none");
    assert!(
        read(std::slice::from_ref(&missing)).expect_err("missing").to_string().contains(&missing.display().to_string())
    );
    let (_folder, odd) = written("");
    fs::write(&odd, [0xff, 0xfe, 0x61]).expect("written");
    assert!(
        read(std::slice::from_ref(&odd)).is_ok_and(|file| file.contexts.is_empty()) || read(&[odd]).is_err(),
        "no panic"
    );
}

#[test]
fn a_file_that_is_missing_is_named() {
    let server = "server: 'https://kube.example'";
    let told = chosen(server, "client-certificate: nope.crt, client-key: nope.key").expect_err("missing");
    assert!(told.contains("the client certificate /") && told.contains("/nope.crt: "), "{told}");
    let told = chosen(&format!("{server}, certificate-authority: ca.crt"), "").expect_err("missing");
    assert!(told.contains("the certificate authority /") && told.contains("/ca.crt"), "{told}");
    let told = chosen(server, "client-certificate-data: '!'").expect_err("not valid base64");
    assert_eq!(told, "the client certificate is not valid base64");
}

#[test]
fn of_many_contexts_a_few_close_ones_are_named() {
    let rows: Vec<String> = (0..5000).map(|number| format!("{{name: team-{number}-staging}}")).collect();
    let (_folder, path) = written(&format!("contexts: [{}, {{name: prod-eu-1}}]", rows.join(", ")));
    let file = read(&[path]).expect("readable");
    let told = chosen_context(&file, Some("prod-eu")).expect_err("unknown").line();
    assert!(told.contains("prod-eu-1") && told.contains("4996 others") && told.len() < 300, "{told}");
}

#[test]
fn a_provider_of_old_is_told_its_plugin() {
    let server = "server: 'https://kube.example'";
    for (provider, plugin) in [
        ("name: gcp, config: {cmd-path: /nonexistent/gcloud}", "gke-gcloud-auth-plugin"),
        ("name: gcp, config: null", "gke-gcloud-auth-plugin"),
        ("name: azure, config: {apiserver-id: x}", "kubelogin"),
        ("name: oidc, config: {id-token: abc}", "kubelogin"),
        ("name: oidc, config: {id-token: a.eyJleHAiOjF9.b}", "kubelogin"),
        ("name: own", "plugin"),
    ] {
        let told = chosen(server, &format!("auth-provider: {{{provider}}}")).expect_err(provider);
        assert!(told.contains(plugin), "{told}");
    }
    let held = chosen(server, "auth-provider: {name: oidc, config: {id-token: a.eyJleHAiOjk5OTk5OTk5OTl9.b}}");
    assert!(matches!(held.expect("it is good").source, Source::Fixed(Some(_))));
}

#[test]
fn a_pods_account_is_used_with_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("token"), "t").expect("written");
    fs::write(folder.path().join("namespace"), "mine\n").expect("written");
    let missing = of_account(folder.path(), "10.0.0.1", "443").expect_err("no authority").to_string();
    assert!(missing.contains("ca.crt"), "{missing}");
    fs::write(folder.path().join("ca.crt"), include_bytes!("../../../tests/support/pki/ca.pem")).expect("written");
    let found = of_account(folder.path(), "fd00::1", "6443").expect("usable");
    assert_eq!(found.config.cluster_url.to_string(), "https://[fd00::1]:6443/");
    assert_eq!((found.config.default_namespace.as_str(), found.context.as_str()), ("mine", IN_CLUSTER));
    assert!(matches!(found.source, Source::File { .. }));
}
