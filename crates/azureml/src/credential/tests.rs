//! All credentials against an authority on loopback.

use super::*;
use crate::hostile::{ELSEWHERE, REDIRECTS, Server};
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;

/// A secret that only the authority may receive.
const PLANTED: &str = "planted-5ecret";

/// Sends the given token responses in order, the last one repeatedly, and records the requests.
#[derive(Clone, Default)]
struct Authority(Arc<Mutex<Asked>>);

#[derive(Default)]
struct Asked {
    answers: Vec<(u16, Value)>,
    asked: Vec<String>,
}

impl Authority {
    /// Serves on loopback and returns the address.
    async fn serve(answers: Vec<(u16, Value)>) -> (Self, String) {
        let this = Self::default();
        this.0.lock().unwrap().answers = answers;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (this, address)
    }

    /// One line for each request: method, address, the header `secret`, the body.
    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }
}

async fn answer(State(authority): State<Authority>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let secret = parts
        .headers
        .get("secret")
        .map_or("", |secret| secret.to_str().unwrap());
    let mut asked = authority.0.lock().unwrap();
    asked.asked.push(format!(
        "{} {} [{secret}] {}",
        parts.method,
        parts.uri,
        String::from_utf8_lossy(&body)
    ));
    let (status, answer) = if asked.answers.len() > 1 {
        asked.answers.remove(0)
    } else {
        asked.answers[0].clone()
    };
    (StatusCode::from_u16(status).unwrap(), answer.to_string()).into_response()
}

fn token(secret: &str) -> (u16, Value) {
    let answer = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": secret});
    (200, answer)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// Environment variables for one test; without `PATH` in `set`, `az` is not found.
fn vars(set: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let mut all = BTreeMap::from([("PATH".to_owned(), "/nonexistent".to_owned())]);
    all.extend(
        set.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    move |name| all.get(name).cloned()
}

/// The token of the default chain with these environment variables.
async fn chain(set: &[(&str, &str)]) -> Result<AccessToken> {
    chain::Chain::from_vars(&vars(set)).token().await
}

/// A folder with a program `az` that runs `script`.
fn az(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("az");
    // Written under another name first: a program that is open for writing cannot be executed.
    let mut file = std::fs::File::create(folder.path().join("new")).unwrap();
    write!(file, "#!/bin/sh\n{script}\n").unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o755))
        .unwrap();
    drop(file);
    std::fs::rename(folder.path().join("new"), &path).unwrap();
    folder
}

fn path_with(folder: &Path) -> String {
    format!("{}:/usr/bin:/bin", folder.display())
}

#[tokio::test]
async fn a_client_secret_goes_to_the_authority() {
    let (authority, address) = Authority::serve(vec![token("t1")]).await;
    let set = [
        ("AZURE_AUTHORITY_HOST", address.as_str()),
        ("AZURE_TENANT_ID", "tenant/../x"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_CLIENT_SECRET", "a&b=c%"),
    ];
    let token = chain(&set).await.unwrap();
    assert_eq!(token.secret(), "t1");
    assert!(token.is_fresh());
    assert_eq!(
        authority.asked(),
        [
            "POST /tenant%2F..%2Fx/oauth2/v2.0/token [] grant_type=client_credentials&client_id=app\
          &scope=https%3A%2F%2Fmanagement.azure.com%2F.default&client_secret=a%26b%3Dc%25"
        ]
    );
}

#[tokio::test]
async fn the_managed_identity_is_named_and_hears_its_secret() {
    for expires in [json!(now() + 3600), json!((now() + 3600).to_string())] {
        let answer = json!({"access_token": "t1", "expires_on": expires, "resource": "x"});
        let (authority, address) = Authority::serve(vec![(200, answer)]).await;
        let endpoint = format!("{address}/MSI/token");
        let set = [
            ("MSI_ENDPOINT", endpoint.as_str()),
            ("MSI_SECRET", "hush"),
            ("DEFAULT_IDENTITY_CLIENT_ID", "id-1"),
        ];
        let token = chain(&set).await.unwrap();
        assert_eq!(token.secret(), "t1");
        assert!(token.is_fresh());
        assert_eq!(
            authority.asked(),
            [
                "GET /MSI/token?api-version=2017-09-01&resource=https%3A%2F%2Fmanagement.azure.com%2F&clientid=id-1 [hush] "
            ]
        );
    }
}

#[tokio::test]
async fn on_behalf_of_the_user_needs_no_secret() {
    let answer = json!({"token": "t1", "expiresOn": "2999-01-01T00:00:00+00:00"});
    let (authority, address) = Authority::serve(vec![(200, answer)]).await;
    let endpoint = format!("{address}/obo");
    // A managed identity without a client id is not configured.
    let set = [
        ("OBO_ENDPOINT", endpoint.as_str()),
        ("MSI_ENDPOINT", endpoint.as_str()),
        ("MSI_SECRET", "hush"),
    ];
    let token = chain(&set).await.unwrap();
    assert_eq!(token.secret(), "t1");
    assert!(token.is_fresh());
    assert_eq!(
        authority.asked(),
        ["GET /obo?resource=https%3A%2F%2Fmanagement.azure.com [] "]
    );
}

#[tokio::test]
async fn a_workload_shows_the_token_of_its_platform_as_it_is_now() {
    let (authority, address) = Authority::serve(vec![token("t1")]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let credential = WorkloadIdentity::from_vars(&vars(&[
        ("AZURE_AUTHORITY_HOST", address.as_str()),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
        (
            "AZUREML_RESOURCE_MANAGER",
            "https://management.chinacloudapi.cn/",
        ),
    ]))
    .unwrap();
    let text = credential.token().await.unwrap_err().to_string();
    assert!(
        text.contains("cannot read") && text.contains("\nhint: "),
        "{text}"
    );
    for assertion in ["one", "two"] {
        std::fs::write(&file, format!("{assertion}\n")).unwrap();
        credential.token().await.unwrap();
        let asked = authority.asked();
        assert_eq!(
            asked.last().unwrap(),
            &format!(
                "POST /tenant/oauth2/v2.0/token [] grant_type=client_credentials&client_id=app\
                 &scope=https%3A%2F%2Fmanagement.chinacloudapi.cn%2F.default\
                 &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                 &client_assertion={assertion}"
            )
        );
    }
}

#[tokio::test]
async fn az_is_asked_last() {
    let folder = az(
        r#"[ "$*" = "account get-access-token --output json --scope https://management.azure.com/.default" ] || exit 9
echo '{"accessToken": "t1", "expires_on": 32503680000, "expiresOn": "2999-01-01 00:00:00.000000"}'"#,
    );
    let token = chain(&[("PATH", &path_with(folder.path()))]).await.unwrap();
    assert_eq!(token.secret(), "t1");
    assert!(token.is_fresh());
    // The format of older versions.
    let folder = az(r#"echo '{"accessToken": "t2", "expiresOn": "2999-01-01 00:00:00.000000"}'"#);
    let token = chain(&[("PATH", &path_with(folder.path()))]).await.unwrap();
    assert!(token.secret() == "t2" && token.is_fresh());
}

#[tokio::test]
async fn the_order_is_kept_and_so_is_the_choice() {
    let folder = az(r#"echo '{"accessToken": "az", "expires_on": 32503680000}'"#);
    let path = path_with(folder.path());
    let file = folder.path().join("token");
    std::fs::write(&file, "assertion").unwrap();
    let (authority, address) = Authority::serve(vec![token("authority")]).await;
    let (compute, beside) = Authority::serve(vec![token("compute"), (500, json!({}))]).await;
    let (msi, obo) = (format!("{beside}/msi"), format!("{beside}/obo"));
    let all = [
        ("PATH", path.as_str()),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
        ("AZURE_AUTHORITY_HOST", &address),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "app"),
        ("OBO_ENDPOINT", &obo),
        ("MSI_ENDPOINT", &msi),
        ("MSI_SECRET", "hush"),
        ("DEFAULT_IDENTITY_CLIENT_ID", "id"),
        ("AZURE_CLIENT_SECRET", "secret"),
    ];
    // From the last to the first: each added credential precedes the earlier ones.
    for (count, expected) in [(1, "az"), (5, "client_assertion="), (10, "client_secret=")] {
        let token = chain(&all[..count]).await.unwrap();
        match authority.asked().last() {
            Some(asked) => {
                assert_eq!(token.secret(), "authority");
                assert!(asked.contains(expected), "{asked}");
            }
            None => assert_eq!(token.secret(), expected),
        }
    }
    // When the chosen credential fails later, no other one is used.
    let chain = chain::Chain::from_vars(&vars(&all[..9]));
    assert_eq!(chain.token().await.unwrap().secret(), "compute");
    let text = chain.token().await.unwrap_err().to_string();
    assert!(
        text.contains("asking for the managed identity failed"),
        "{text}"
    );
    assert!(
        compute
            .asked()
            .iter()
            .all(|asked| asked.starts_with("GET /msi?"))
    );
    assert_eq!(compute.asked().len(), 4, "one, and three tries");
}

#[tokio::test]
async fn a_chain_without_a_token_tells_what_was_tried() {
    let error = chain(&[("AZURE_CLIENT_ID", "app")]).await.unwrap_err();
    insta::assert_snapshot!(error, @r"
    no credential for Azure:
      client secret: AZURE_TENANT_ID and AZURE_CLIENT_SECRET are not set
      managed identity: MSI_ENDPOINT, MSI_SECRET and DEFAULT_IDENTITY_CLIENT_ID are not set
      on behalf of the user: OBO_ENDPOINT is not set
      workload identity: AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE are not set
      `az login`: the Azure CLI (`az`) cannot be run: No such file or directory (os error 2)
    hint: install the Azure CLI and sign in with `az login`, or work without an account: `Workspace::local()`
    ");

    let folder = az("echo 'ERROR: Please run az login to setup account.' >&2; exit 1");
    let (_, address) = Authority::serve(vec![(400, json!({"error": "no identity"}))]).await;
    let error = chain(&[
        ("PATH", &path_with(folder.path())),
        ("MSI_ENDPOINT", &address),
        ("MSI_SECRET", PLANTED),
        ("DEFAULT_IDENTITY_CLIENT_ID", "id"),
        ("OBO_ENDPOINT", &address),
        ("AZURE_AUTHORITY_HOST", "http://login.example.com"),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_CLIENT_SECRET", PLANTED),
    ])
    .await
    .unwrap_err();
    insta::assert_snapshot!(error, @r"
    no credential for Azure:
      client secret: AZURE_AUTHORITY_HOST is no https address, and a secret would be sent there
      managed identity: asking for the managed identity failed: Bad Request (no identity, HTTP 400)
      on behalf of the user: asking on behalf of the user failed: Bad Request (no identity, HTTP 400)
      workload identity: AZURE_FEDERATED_TOKEN_FILE is not set
      `az login`: `az account get-access-token` says: Please run az login to setup account.
    hint: sign in with `az login`, or work without an account: `Workspace::local()`
    ");
}

#[tokio::test]
async fn nobody_else_is_called_when_the_secret_is_refused() {
    let folder = az(r#"echo '{"accessToken": "az", "expires_on": 32503680000}'"#);
    let refusal = json!({
        "error": "invalid_client",
        // No authority quotes a secret; if one does, the secret is masked.
        "error_description": format!("AADSTS7000215: Invalid client secret provided: {PLANTED}.\r\nTrace ID: t\r\nTimestamp: now"),
        "error_codes": [7_000_215],
    });
    let (authority, address) = Authority::serve(vec![(401, refusal)]).await;
    let set = [
        ("PATH", path_with(folder.path())),
        ("AZURE_AUTHORITY_HOST", address),
        ("AZURE_TENANT_ID", "tenant".to_owned()),
        ("AZURE_CLIENT_ID", "app".to_owned()),
        ("AZURE_CLIENT_SECRET", PLANTED.to_owned()),
    ];
    let set: Vec<(&str, &str)> = set
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let error = chain(&set).await.unwrap_err();
    insta::assert_snapshot!(error, @r"
    no credential for Azure:
      client secret: signing in with a client secret failed: AADSTS7000215: Invalid client secret provided: ***. (invalid_client, HTTP 401)
    hint: check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; a secret ends on a day that its application's page shows
    ");
    assert_eq!(authority.asked().len(), 1);
}

#[tokio::test]
async fn an_authority_that_is_busy_is_asked_again() {
    let (authority, address) =
        Authority::serve(vec![(503, json!({})), (429, json!({})), token("t1")]).await;
    let set = [
        ("AZURE_AUTHORITY_HOST", address.as_str()),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_CLIENT_SECRET", "secret"),
    ];
    assert_eq!(chain(&set).await.unwrap().secret(), "t1");
    assert_eq!(authority.asked().len(), 3);
}

#[tokio::test]
async fn many_calls_at_once_make_one_request() {
    let (authority, address) = Authority::serve(vec![token("t1"), token("t2")]).await;
    let credential =
        Cached::new(OnBehalfOf::from_vars(&vars(&[("OBO_ENDPOINT", &address)])).unwrap());
    let calls = || async { join_all((0..50).map(|_| credential.token())).await };
    let tokens = calls().await;
    assert!(
        tokens
            .iter()
            .all(|token| token.as_ref().unwrap().secret() == "t1")
    );
    assert_eq!(authority.asked().len(), 1);
    // All callers have a refused token: one renewal serves all of them.
    let refused = credential.token().await.unwrap();
    let renewed = join_all((0..50).map(|_| credential.renew(&refused))).await;
    assert!(
        renewed
            .iter()
            .all(|token| token.as_ref().unwrap().secret() == "t2")
    );
    assert_eq!(authority.asked().len(), 2);
    assert!(
        calls()
            .await
            .iter()
            .all(|token| token.as_ref().unwrap().secret() == "t2")
    );
    assert_eq!(authority.asked().len(), 2);
}

#[tokio::test]
async fn many_calls_at_once_fail_together() {
    let (authority, address) = Authority::serve(vec![(400, json!({}))]).await;
    let credential =
        Cached::new(OnBehalfOf::from_vars(&vars(&[("OBO_ENDPOINT", &address)])).unwrap());
    let failed = join_all((0..50).map(|_| credential.token())).await;
    assert!(failed.iter().all(|token| matches!(
        token,
        Err(Error::Credential {
            is_refused: true,
            ..
        })
    )));
    assert_eq!(authority.asked().len(), 1);
    // A later caller tries again.
    credential.token().await.unwrap_err();
    assert_eq!(authority.asked().len(), 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_used_on_where_that_fails() {
    let ending = |secret: &str| (200, json!({"access_token": secret, "expires_in": 3600}));
    let (authority, address) =
        Authority::serve(vec![ending("t1"), (400, json!({})), ending("t2")]).await;
    let credential =
        Cached::new(OnBehalfOf::from_vars(&vars(&[("OBO_ENDPOINT", &address)])).unwrap());
    let mut first = credential.token().await.unwrap();
    assert!(first.renew_at < first.expires - Duration::from_secs(290));
    // Simulates a token at the end of its lifetime.
    first.renew_at = SystemTime::now();
    credential.keep(first).await;
    assert_eq!(credential.token().await.unwrap().secret(), "t1");
    assert_eq!(credential.token().await.unwrap().secret(), "t2");
    assert_eq!(authority.asked().len(), 3);
}

#[tokio::test]
async fn a_token_that_was_given_is_good_until_it_ends() {
    let given = AccessToken::new(PLANTED, SystemTime::now() + Duration::from_mins(1));
    assert_eq!(given.token().await.unwrap().secret(), PLANTED);
    let ended = AccessToken::new(PLANTED, SystemTime::now());
    let text = ended.token().await.unwrap_err().to_string();
    assert!(
        text.contains("has ended\nhint: ") && !text.contains(PLANTED),
        "{text}"
    );
}

/// The log output while this is the subscriber of the thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_seen_in_logs_errors_and_debug() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let quoting = (
        400,
        json!({"error": "e", "error_description": format!("you said {PLANTED}")}),
    );
    let unreadable = (200, json!({"accessToken": PLANTED}));
    let (_, address) = Authority::serve(vec![
        token(PLANTED),
        quoting.clone(),
        unreadable,
        (503, quoting.1),
    ])
    .await;
    let folder = az(&format!(
        "echo '{{\"accessToken\": \"{PLANTED}\", \"expires_on\": true}}'"
    ));
    let file = folder.path().join("token");
    std::fs::write(&file, PLANTED).unwrap();
    let path = path_with(folder.path());
    let all = [
        ("PATH", path.as_str()),
        ("AZURE_AUTHORITY_HOST", &address),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
        ("AZURE_CLIENT_SECRET", PLANTED),
        ("MSI_ENDPOINT", &address),
        ("MSI_SECRET", PLANTED),
        ("DEFAULT_IDENTITY_CLIENT_ID", "id"),
    ];
    let vars = vars(&all);
    let credentials: Vec<Box<dyn Credential>> = vec![
        Box::new(ClientSecret::from_vars(&vars).unwrap()),
        Box::new(ManagedIdentity::from_vars(&vars).unwrap()),
        Box::new(WorkloadIdentity::from_vars(&vars).unwrap()),
        Box::new(AzureCli::from_vars(&vars)),
        Box::new(Cached::new(chain::Chain::from_vars(&vars))),
    ];
    let mut seen = Vec::new();
    let mut tokens = 0;
    for credential in &credentials {
        match credential.token().await {
            Ok(token) => {
                tokens += 1;
                assert_eq!(token.secret(), PLANTED);
                seen.push(format!("{token:?}"));
            }
            Err(error) => seen.push(format!("{error} {error:?}")),
        }
        seen.push(format!("{credential:?}"));
    }
    let seen = seen.join("\n");
    assert_eq!(tokens, 1, "{seen}");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("tried again"), "something is logged: {log}");
    assert!(!(seen.clone() + &log).contains(PLANTED), "{seen}\n{log}");
}

#[tokio::test]
async fn secrets_of_credentials_follow_no_redirect() {
    let assertion = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(assertion.path(), PLANTED).unwrap();
    for host in ELSEWHERE {
        let thief = Server::status(host, "200 OK", "");
        for status in REDIRECTS {
            let server = Server::redirect(status, &thief.url);
            let file = assertion.path().to_str().unwrap();
            let application = [
                ("AZURE_AUTHORITY_HOST", server.url.as_str()),
                ("AZURE_TENANT_ID", "t"),
                ("AZURE_CLIENT_ID", "c"),
            ];
            let secret = [("AZURE_CLIENT_SECRET", PLANTED)];
            let platform = [("AZURE_FEDERATED_TOKEN_FILE", file)];
            let identity = [
                ("MSI_ENDPOINT", server.url.as_str()),
                ("MSI_SECRET", PLANTED),
                ("DEFAULT_IDENTITY_CLIENT_ID", "i"),
            ];
            let behalf = [("OBO_ENDPOINT", server.url.as_str())];
            for set in [
                [&application[..], &secret].concat(),
                [&application[..], &platform].concat(),
                identity.to_vec(),
                behalf.to_vec(),
            ] {
                let error = chain(&set).await.unwrap_err().to_string();
                assert!(!error.contains(PLANTED), "{error}");
                assert!(
                    error.contains(&format!("it redirects to {host}")),
                    "{error}"
                );
            }
            assert!(server.heard().contains(PLANTED), "{}", server.heard());
        }
        assert_eq!(thief.heard(), "", "{host}");
    }
}

#[tokio::test]
async fn a_token_without_a_credible_end_is_used_for_a_day() {
    for end in [
        json!({"expires_in": u64::MAX}),
        json!({"expires_in": u64::MAX.to_string()}),
        json!({"expires_on": u64::MAX}),
        json!({"expires_on": i64::MAX.to_string()}),
    ] {
        let mut answer = end;
        answer["access_token"] = json!("t");
        let token = token_in(&answer).unwrap();
        assert!(token.is_fresh());
        assert!(token.expires <= SystemTime::now() + LONGEST);
    }
    let script = format!(
        r#"echo '{{"accessToken": "t", "expires_on": {}}}'"#,
        i64::MAX
    );
    let folder = az(&script);
    let path = path_with(folder.path());
    assert!(chain(&[("PATH", &path)]).await.unwrap().is_fresh());
    // The tokens of an application may have any expiry, too.
    AccessToken::new("t", SystemTime::UNIX_EPOCH);
}
