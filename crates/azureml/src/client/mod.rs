//! Calls to the services of a workspace, the same for Azure and for the local workspace.

mod answer;
pub mod blob;
mod call;
pub mod operation;
pub mod pages;
mod recently_created;
pub mod retry;
pub mod sas;
mod xml;

use crate::credential::{AccessToken, Credential};
use crate::env;
use crate::error::{Error, Result};
use crate::http::{self, Unread};
use crate::local::{Local, Reached};
use azureml_wire::arm::{Page, Resource};
use azureml_wire::local::Server;
use azureml_wire::routes::{API_VERSION, WorkspaceScope};
use azureml_wire::workspace::{Discovery, WorkspaceProperties};
use call::Target;
use pages::Pages;
use recently_created::RecentlyCreated;
use reqwest::{Method, StatusCode};
use retry::Retry;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::Mutex;

pub use answer::{Answer, parse, redirected};
pub use call::Call;

const ARM: &str = "https://management.azure.com";
/// How often one call looks for a new server of the local workspace. Each server has a separate
/// token, and a server may be killed between two tries.
const REPLACED: u32 = 5;

/// The services of a workspace.
#[derive(Debug)]
pub struct Client {
    scope: WorkspaceScope,
    endpoint: Endpoint,
    /// The root URL of the data plane, and the management root that it was discovered from.
    api: Mutex<Option<(String, String)>>,
    created: RecentlyCreated,
}

#[derive(Debug)]
enum Endpoint {
    Azure {
        root: String,
        credential: Arc<dyn Credential>,
        http: reqwest::Client,
    },
    Local(Local),
}

/// The current root URL and credentials of management calls.
struct Base {
    root: String,
    token: AccessToken,
    http: reqwest::Client,
    server: Option<Server>,
}

impl Client {
    /// The services of a workspace on Azure.
    pub fn azure(scope: WorkspaceScope, credential: Arc<dyn Credential>) -> Result<Self> {
        let root = env::var(env::RESOURCE_MANAGER).unwrap_or_else(|| ARM.to_owned());
        if !is_safe(&root) {
            return Err(Error::invalid(
                "AZUREML_RESOURCE_MANAGER is no https address, and tokens would be sent there",
                "set it to what `az cloud show --query endpoints.resourceManager` says, or unset it",
            ));
        }
        Ok(Self {
            scope,
            endpoint: Endpoint::Azure {
                http: http::client(&root)?,
                root: root.trim_end_matches('/').to_owned(),
                credential,
            },
            api: Mutex::default(),
            created: RecentlyCreated::default(),
        })
    }

    /// The services of the local workspace.
    pub fn local() -> Result<Self> {
        Ok(Self {
            scope: azureml_wire::local::scope(),
            endpoint: Endpoint::Local(Local::new()?),
            api: Mutex::default(),
            created: RecentlyCreated::default(),
        })
    }

    /// The workspace.
    pub fn scope(&self) -> &WorkspaceScope {
        &self.scope
    }

    /// Whether this is the local workspace.
    pub fn is_local(&self) -> bool {
        matches!(self.endpoint, Endpoint::Local(_))
    }

    /// The HTTP client for a URL from a service that contains a signature.
    pub async fn http_for(&self, url: &str) -> Result<reqwest::Client> {
        let (root, http) = match &self.endpoint {
            Endpoint::Azure { root, http, .. } => (root.clone(), http.clone()),
            Endpoint::Local(local) => {
                let Reached { server, http } = local.reached().await?;
                (server.url, http)
            }
        };
        if http::is_safe(&root, url) {
            return Ok(http);
        }
        let url = url.split('?').next().unwrap_or_default();
        Err(Error::Answer {
            call: "reading where files lie".to_owned(),
            reason: format!("{url} is not encrypted, and a signature would be sent there"),
        })
    }

    /// Sends a call and parses the response.
    pub async fn read<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T> {
        let what = call.what.to_owned();
        let answer = self.send(call).await?;
        parse(&what, &answer.body)
    }

    /// Like [`Client::read`]; `None` for status 404.
    pub async fn find<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<Option<T>> {
        match self.read(call).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all pages of a list.
    pub async fn list<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<Vec<T>> {
        let mut all = Vec::new();
        self.pages(call, |mut page| {
            all.append(&mut page);
            true
        })
        .await?;
        Ok(all)
    }

    /// Reads a list page by page, while `more` returns `true`.
    pub async fn pages<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        mut more: impl FnMut(Vec<T>) -> bool,
    ) -> Result<()> {
        let what = call.what.to_owned();
        let mut pages = Pages::new(&what);
        let mut call = call;
        loop {
            let link = |page: &mut Page<T>| page.next_link.take();
            let (page, next) = self.read_page(&mut pages, call, link).await?;
            let are_wanted = more(page.value);
            match next.filter(|_| are_wanted) {
                Some(next) => call = Call::url(&what, next),
                None => return Ok(()),
            }
        }
    }

    /// Reads one page of a list; `next` extracts the link or token of the next page.
    pub async fn read_page<T: DeserializeOwned>(
        &self,
        pages: &mut Pages<'_>,
        call: Call<'_>,
        next: impl FnOnce(&mut T) -> Option<String>,
    ) -> Result<(T, Option<String>)> {
        let body = self.send(call).await?.body;
        let mut page = parse(pages.what, &body)?;
        let next = pages.next(body.len(), next(&mut page))?;
        Ok((page, next))
    }

    /// Sends a call with retries. All calls of this client are idempotent: the client chooses the
    /// names, so that a repeated `PUT` has the same result, and each `POST` requests a state or a
    /// new upload location.
    pub async fn send(&self, call: Call<'_>) -> Result<Answer> {
        let mut retry = Retry::new(call.what);
        let mut replaced = 0;
        let mut renewed = false;
        loop {
            let base = self.base().await?;
            let sent = match self.send_once(&call, &base).await {
                Ok(response) | Err(Failed::Discovering(response)) => Ok(response),
                Err(Failed::Sending(error)) => Err(error.into()),
                Err(Failed::Reading(unread)) => Err(unread),
                Err(Failed::Before(error)) => return Err(error),
            };
            // The local workspace may have been restarted, here or elsewhere, or must be started.
            let is_lost = sent
                .as_ref()
                .map_or(true, |sent| sent.status() == StatusCode::UNAUTHORIZED);
            if let (Endpoint::Local(local), Some(server), true) =
                (&self.endpoint, &base.server, is_lost)
                && replaced < REPLACED
            {
                replaced += 1;
                if local.replace(server).await? {
                    continue;
                }
            }
            // The token may have expired early, or the clock of this machine may be wrong.
            if let (Endpoint::Azure { credential, .. }, Ok(response), false) =
                (&self.endpoint, &sent, renewed)
                && response.status() == StatusCode::UNAUTHORIZED
            {
                renewed = true;
                credential.renew(&base.token).await?;
                continue;
            }
            match sent {
                Ok(response)
                    if response.status() == StatusCode::NOT_FOUND
                        && self.created.concerns(&call)
                        && retry.wait().await => {}
                Ok(response) => match retry.judge(response).await {
                    retry::Verdict::Done(Ok(answer)) => {
                        self.created.remember(&call);
                        return Ok(answer);
                    }
                    retry::Verdict::Done(Err(error)) => return Err(error),
                    retry::Verdict::Again => {}
                },
                Err(unread) => retry.wait_or_fail(&unread).await?,
            }
        }
    }

    /// Runs an operation of several calls; repeats it once when the local workspace was lost and is
    /// available again.
    pub async fn surviving<T>(&self, work: impl AsyncFn() -> Result<T>) -> Result<T> {
        match work().await {
            Err(Error::Transport { .. }) if self.is_local() => {
                // Any call starts the local workspace again.
                self.send(Call::management(
                    "finding the local workspace",
                    Method::GET,
                    self.scope.to_string(),
                ))
                .await?;
                work().await
            }
            result => result,
        }
    }

    async fn send_once(&self, call: &Call<'_>, base: &Base) -> Result<reqwest::Response, Failed> {
        let url = match &call.target {
            Target::Management(path) => format!("{}{path}", base.root),
            Target::Data(path) => format!("{}{path}", self.api_root(base).await?),
            Target::Url(url) => self.trusted(url, base).await.map_err(Failed::Before)?,
        };
        let mut request = base
            .http
            .request(call.method.clone(), url)
            .query(&call.query)
            .bearer_auth(base.token.secret());
        request = match &call.body {
            Some(body) => request.json(body),
            // Some services require the `Content-Length` header for an empty body, too.
            None if call.method == Method::POST => request.body(""),
            None => request,
        };
        request.send().await.map_err(Failed::Sending)
    }

    async fn base(&self) -> Result<Base> {
        match &self.endpoint {
            Endpoint::Azure {
                root,
                credential,
                http,
            } => Ok(Base {
                root: root.clone(),
                token: credential.token().await?,
                http: http.clone(),
                server: None,
            }),
            Endpoint::Local(local) => {
                let Reached { server, http } = local.reached().await?;
                Ok(Base {
                    http,
                    root: server.url.trim_end_matches('/').to_owned(),
                    // The token is valid for the lifetime of the server.
                    token: AccessToken::new(&server.token, SystemTime::now()),
                    server: Some(server),
                })
            }
        }
    }

    /// The root URL of the data plane, discovered once for each management root.
    async fn api_root(&self, base: &Base) -> Result<String, Failed> {
        let mut kept = self.api.lock().await;
        if let Some((root, api)) = &*kept
            && *root == base.root
        {
            return Ok(api.clone());
        }
        let what = "finding the workspace's services";
        let unreadable = |reason: String| Error::Answer {
            call: what.to_owned(),
            reason,
        };
        let request = base
            .http
            .get(format!("{}{}", base.root, self.scope))
            .query(&[("api-version", API_VERSION)])
            .bearer_auth(base.token.secret());
        let workspace: Resource<WorkspaceProperties> = discovered(what, request).await?;
        let url = workspace
            .properties
            .discovery_url
            .ok_or_else(|| unreadable("the workspace names no discovery URL".to_owned()))
            .map_err(Failed::Before)?;
        let checked = |url: String| {
            if http::is_safe(&base.root, &url) {
                return Ok(url);
            }
            Err(unreadable(format!(
                "the services' address is not safe: {url}"
            )))
        };
        let url = checked(url).map_err(Failed::Before)?;
        let discovery: Discovery = discovered(what, base.http.get(url)).await?;
        let api = checked(discovery.api.trim_end_matches('/').to_owned());
        let api = api.map_err(Failed::Before)?;
        *kept = Some((base.root.clone(), api.clone()));
        Ok(api)
    }

    /// Accepts a URL from a response if it leads to a service that receives the token anyway.
    async fn trusted(&self, url: &str, base: &Base) -> Result<String> {
        let origin = |url: &str| reqwest::Url::parse(url).ok().map(|url| url.origin());
        let api = self.api.lock().await;
        let roots = [Some(&base.root), api.as_ref().map(|(_, api)| api)];
        if roots
            .into_iter()
            .flatten()
            .any(|root| origin(root) == origin(url))
        {
            Ok(url.to_owned())
        } else {
            Err(Error::Answer {
                call: "reading the next page".to_owned(),
                reason: "it leads to another host".to_owned(),
            })
        }
    }
}

/// Whether a token may be sent to this root URL.
fn is_safe(root: &str) -> bool {
    root.starts_with("https://") || http::is_loopback(root)
}

/// The failure of a call without a response.
enum Failed {
    /// Nothing was sent; a retry is useless.
    Before(Error),
    /// The service was not reached, or did not respond.
    Sending(reqwest::Error),
    /// The response was not complete.
    Reading(Unread),
    /// The discovery of the data plane failed with this response.
    Discovering(reqwest::Response),
}

async fn discovered<T: DeserializeOwned>(
    what: &str,
    request: reqwest::RequestBuilder,
) -> Result<T, Failed> {
    let response = request.send().await.map_err(Failed::Sending)?;
    if !response.status().is_success() {
        return Err(Failed::Discovering(response));
    }
    let body = http::read(response, http::ANSWER)
        .await
        .map_err(Failed::Reading)?;
    parse(what, &body).map_err(Failed::Before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::AccessToken;
    use crate::hostile::{ELSEWHERE, REDIRECTS, Server};
    use futures::future::BoxFuture;
    use reqwest::header::HeaderMap;
    use serde_json::Value;
    use std::time::{Duration, SystemTime};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[derive(Debug)]
    struct Always;

    impl Credential for Always {
        fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
            let token = AccessToken::new("hidden", SystemTime::now() + Duration::from_hours(1));
            Box::pin(async { Ok(token) })
        }
    }

    /// A client of a service that sends these responses, one for each connection. The task returns
    /// the requests.
    async fn service(answers: Vec<String>) -> (Client, tokio::task::JoinHandle<Vec<String>>) {
        service_at(|_| answers).await
    }

    /// Like [`service`], with responses that contain the address of the service.
    async fn service_at(
        answers: impl FnOnce(&str) -> Vec<String>,
    ) -> (Client, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        let answers = answers(&root);
        let task = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                asked.push(String::from_utf8_lossy(&request[..read]).into_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        (client_at(&root), task)
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    }

    fn busy() -> String {
        answer("503 Busy", "retry-after: 0\r\n", "")
    }

    fn call() -> Call<'static> {
        Call::management("reading a thing", Method::GET, "/thing".to_owned())
    }

    #[tokio::test]
    async fn busy_services_and_cut_answers_are_asked_again() {
        let good = answer("200 OK", "", r#"{"a":1}"#);
        let cut = good[..good.len() - 3].to_owned();
        let (client, task) = service(vec![busy(), cut, good]).await;
        let read: Value = client.read(call()).await.unwrap();
        assert_eq!(read["a"], 1);
        let asked = task.await.unwrap();
        assert_eq!(asked.len(), 3);
        assert!(
            asked[0].starts_with("GET /thing?api-version="),
            "{}",
            asked[0]
        );
        assert!(
            asked[0].contains("authorization: Bearer hidden"),
            "{}",
            asked[0]
        );
    }

    #[tokio::test]
    async fn refusals_are_told_at_once_with_all_that_helps() {
        let body = r#"{"error":{"code":"UserError","message":"no such size","details":null,"target":null}}"#;
        let refused = answer("400 Bad Request", "x-ms-request-id: r1\r\n", body);
        let (client, _task) = service(vec![refused]).await;
        let error = client.send(call()).await.map(drop).unwrap_err();
        insta::assert_snapshot!(error, @r"
        reading a thing failed: no such size (UserError, HTTP 400, request r1)
        hint: the message says what the service did not like
        ");
    }

    #[tokio::test]
    async fn the_blob_stores_refusals_are_read_as_well() {
        let body = "<?xml version=\"1.0\"?><Error><Code>InsufficientStorage</Code><Message>the disk &amp; all is full\nhint: free some space\nRequestId:r2\nTime:now</Message></Error>";
        let refused = answer("507 Insufficient Storage", "", body);
        let headers_only = answer(
            "403 Forbidden",
            "x-ms-error-code: AuthenticationFailed\r\n",
            "",
        );
        let (client, _task) = service(vec![refused, headers_only]).await;
        let error = client.send(call()).await.map(drop).unwrap_err();
        insta::assert_snapshot!(error, @r"
        reading a thing failed: the disk & all is full (InsufficientStorage, HTTP 507)
        hint: free some space
        ");
        let error = client.send(call()).await.map(drop).unwrap_err();
        insta::assert_snapshot!(error, @r"
        reading a thing failed: Forbidden (AuthenticationFailed, HTTP 403)
        hint: ask the workspace's owner for the role `AzureML Data Scientist`
        ");
    }

    #[tokio::test]
    async fn who_may_not_see_the_workspace_is_told_so_at_once() {
        let body = r#"{"error":{"code":"AuthorizationFailed","message":"you may not read it"}}"#;
        let (client, task) = service(vec![answer("403 Forbidden", "", body)]).await;
        let call = Call::data("reading a run", Method::GET, "/run".to_owned());
        let error = client.send(call).await.map(drop).unwrap_err();
        assert!(
            error.to_string().contains(
                "reading a run failed: you may not read it (AuthorizationFailed, HTTP 403)"
            ),
            "{error}"
        );
        assert_eq!(task.await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_service_that_stays_busy_is_given_up() {
        let (client, task) = service(vec![busy(); 6]).await;
        let error = client.send(call()).await.map(drop).unwrap_err();
        assert!(
            error.to_string().contains("(HTTP 503, after 6 tries)"),
            "{error}"
        );
        assert_eq!(task.await.unwrap().len(), 6);
    }

    #[tokio::test]
    async fn long_operations_are_followed_to_their_end() {
        let status = |text: &str| {
            answer(
                "200 OK",
                "retry-after: 0\r\n",
                &format!(r#"{{"status":"{text}"}}"#),
            )
        };
        let failed = answer(
            "200 OK",
            "",
            r#"{"status":"Failed","error":{"code":"QuotaExceeded","message":"no cores are left"}}"#,
        );
        let pending = || answer("202 Accepted", "retry-after: 0\r\n", "");
        let done = || answer("200 OK", "", "{}");
        for (header, answers, said) in [
            (
                "azure-asyncoperation",
                vec![status("InProgress"), status("Succeeded")],
                None,
            ),
            (
                "azure-asyncoperation",
                vec![status("Creating"), failed],
                Some("making it failed: no cores are left (QuotaExceeded"),
            ),
            (
                "azure-asyncoperation",
                vec![status("Canceled")],
                Some("ended as Canceled"),
            ),
            ("location", vec![pending(), pending(), done()], None),
        ] {
            let count = answers.len();
            let (client, task) = service(answers).await;
            let root = client.base().await.unwrap().root;
            let mut headers = HeaderMap::new();
            headers.insert(header, format!("{root}/operation").parse().unwrap());
            let begun = Answer {
                status: StatusCode::ACCEPTED,
                headers,
                body: bytes::Bytes::new(),
            };
            let error = client.finish("making it", begun).await.err();
            let error = error.map(|error| error.to_string());
            match said {
                Some(said) => assert!(
                    error.as_ref().is_some_and(|e| e.contains(said)),
                    "{error:?}"
                ),
                None => assert_eq!(error, None),
            }
            let asked = task.await.unwrap();
            assert_eq!(asked.len(), count);
            assert!(asked[0].starts_with("GET /operation HTTP"), "{}", asked[0]);
        }
    }

    #[tokio::test]
    async fn a_list_is_read_page_by_page_as_long_as_more_is_wanted() {
        let pages = |root: &str| {
            let page = |number: u32, next: &str| {
                let next = match next {
                    "" => String::new(),
                    next => format!(r#","nextLink":"{root}/list?$skip={next}""#),
                };
                answer("200 OK", "", &format!(r#"{{"value":[{number}]{next}}}"#))
            };
            vec![page(1, "a%2Fb"), page(2, "c"), page(3, "")]
        };
        let (client, task) = service_at(pages).await;
        assert_eq!(client.list::<u32>(call()).await.unwrap(), [1, 2, 3]);
        let asked = task.await.unwrap();
        // The link is requested unchanged.
        assert!(
            asked[1].starts_with("GET /list?$skip=a%2Fb HTTP"),
            "{}",
            asked[1]
        );

        let (client, task) = service_at(pages).await;
        let mut seen = Vec::new();
        let read = client.pages(call(), |page: Vec<u32>| {
            seen.extend(page);
            seen.len() < 2
        });
        read.await.unwrap();
        assert_eq!(seen, [1, 2]);
        task.abort();
    }

    #[tokio::test]
    async fn a_next_page_elsewhere_is_not_given_the_token() {
        let page = answer(
            "200 OK",
            "",
            r#"{"value":[1],"nextLink":"https://elsewhere.example/x"}"#,
        );
        let (client, _task) = service(vec![page]).await;
        let error = client.list::<i32>(call()).await.unwrap_err();
        assert!(
            error.to_string().contains("it leads to another host"),
            "{error}"
        );
    }

    /// A client of the service at `root`.
    fn client_at(root: &str) -> Client {
        Client {
            scope: azureml_wire::local::scope(),
            endpoint: Endpoint::Azure {
                http: http::client(root).unwrap(),
                root: root.to_owned(),
                credential: Arc::new(Always),
            },
            api: Mutex::default(),
            created: RecentlyCreated::default(),
        }
    }

    #[tokio::test]
    async fn tokens_signatures_and_contents_follow_no_redirect() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "content").unwrap();
        for host in ELSEWHERE {
            let thief = Server::status(host, "200 OK", "");
            for status in REDIRECTS {
                let server = Server::redirect(status, &thief.url);
                let client = client_at(&server.url);
                let signed = format!("{}/box/blob?sig=s1gned", server.url);
                let to = folder.path().join("to");
                let container = blob::Container::from_signed_url(&client, &signed)
                    .await
                    .unwrap();
                let errors = [
                    client.send(call()).await.err(),
                    client
                        .send(Call::management("x", Method::PUT, "/x".into()).json(&"secret"))
                        .await
                        .err(),
                    blob::download(&client, "x", &signed, &to).await.err(),
                    container.put_file("name", &file, |_| {}).await.err(),
                    container.list("").await.err(),
                    crate::run::log::Tail::default()
                        .read(&client, Retry::new("x"), &signed)
                        .await
                        .err(),
                ];
                for error in errors {
                    let error = error.unwrap().to_string();
                    assert!(
                        error.contains(&format!("it redirects to {host}")),
                        "{error}"
                    );
                    assert!(!error.contains("s1gned"), "{error}");
                }
                assert!(server.heard().contains("s1gned"));
                assert!(!server.heard().to_lowercase().contains("\nreferer:"));
            }
            assert_eq!(thief.heard(), "", "{host}");
        }
    }

    #[tokio::test]
    async fn signatures_are_not_sent_in_the_clear() {
        let client = Client {
            endpoint: Endpoint::Azure {
                root: ARM.to_owned(),
                http: http::client("http://127.0.0.1").unwrap(),
                credential: Arc::new(Always),
            },
            ..client_at(ARM)
        };
        let store = Server::status("127.0.0.1", "200 OK", "");
        let signed = format!("{}/box/blob?sig=s1gned", store.url);
        let folder = tempfile::tempdir().unwrap();
        let error = blob::download(&client, "x", &signed, &folder.path().join("to"))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("is not encrypted") && !error.contains("s1gned"),
            "{error}"
        );
        assert!(
            blob::Container::from_signed_url(&client, &signed)
                .await
                .is_err()
        );
        assert_eq!(store.heard(), "");
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_an_error_at_once() {
        let server = Server::endless("200 OK");
        let error = client_at(&server.url).send(call()).await.err().unwrap();
        assert!(
            error
                .to_string()
                .contains("the answer is larger than 67.1 MB"),
            "{error}"
        );
        let server = Server::endless("400 Bad");
        let error = client_at(&server.url).send(call()).await.err().unwrap();
        assert!(error.to_string().contains("HTTP 400"), "{error}");
    }

    #[tokio::test]
    async fn a_wait_of_any_length_may_be_asked_for() {
        for wait in [u64::MAX, u64::MAX - 1, 1 << 40] {
            let after = format!("retry-after: {wait}\r\n");
            let server = Server::status("127.0.0.1", "503 Busy", &after);
            let error = client_at(&server.url).send(call()).await.err().unwrap();
            assert!(error.to_string().contains("HTTP 503"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_list_that_leads_back_to_itself_is_an_error() {
        let page = |root: &str| {
            let body = format!(r#"{{"value":[1],"nextLink":"{root}/list"}}"#);
            vec![answer("200 OK", "", &body); 3]
        };
        let (client, _task) = service_at(page).await;
        let error = client.list::<u32>(call()).await.unwrap_err().to_string();
        assert!(
            error.contains("leads back to a page that was read"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_file_that_cannot_fit_on_the_disk_is_not_begun() {
        let length = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 1_u64 << 60);
        let server = Server::start("127.0.0.1", move |stream| {
            let _ = std::io::Write::write_all(stream, length.as_bytes());
        });
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("to");
        let error = blob::download(&client_at(&server.url), "x", &server.url, &to)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("are free in"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
