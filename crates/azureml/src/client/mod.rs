//! Calls to a workspace's services, the same for Azure and for the local workspace.

pub mod blob;
mod created;
mod operation;
pub mod retry;
mod sas;

use crate::credential::{AccessToken, Credential};
use crate::error::{Error, Result, ServiceError, split_hint};
use crate::local::Local;
use crate::{env, http};
use azureml_wire::arm::{Page, Resource};
use azureml_wire::error::ErrorResponse;
use azureml_wire::local::Server;
use azureml_wire::routes::{API_VERSION, WorkspaceScope};
use azureml_wire::workspace::{Discovery, WorkspaceProperties};
use created::Created;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use retry::Retry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::Mutex;

const ARM: &str = "https://management.azure.com";
/// More pages than this are an endless list.
const PAGES: usize = 1000;

/// A workspace's services.
#[derive(Debug)]
pub struct Client {
    scope: WorkspaceScope,
    endpoint: Endpoint,
    http: reqwest::Client,
    /// The data plane's root, and the management root that it was discovered from.
    api: Mutex<Option<(String, String)>>,
    created: Created,
}

#[derive(Debug)]
enum Endpoint {
    Azure {
        root: String,
        credential: Arc<dyn Credential>,
    },
    Local(Local),
}

/// Where management calls go now, and what opens it.
struct Base {
    root: String,
    token: AccessToken,
    server: Option<Server>,
}

/// One call.
pub struct Call<'a> {
    /// What is to be done, for errors, e.g. `reading a run`.
    what: &'a str,
    method: Method,
    target: Target,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
}

/// Below which root a path lies.
enum Target {
    /// Azure Resource Manager's.
    Management(String),
    /// The discovered data plane's.
    Data(String),
    /// A whole URL that a service gave, e.g. of the next page.
    Url(String),
}

/// A successful answer. Has no `Debug`: it may hold a signature.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: bytes::Bytes,
}

impl<'a> Call<'a> {
    /// A call on a management path.
    pub fn management(what: &'a str, method: Method, path: String) -> Self {
        Self {
            what,
            method,
            target: Target::Management(path),
            query: vec![("api-version", API_VERSION.to_owned())],
            body: None,
        }
    }

    /// A call on a data plane path.
    pub fn data(what: &'a str, method: Method, path: String) -> Self {
        Self {
            what,
            method,
            target: Target::Data(path),
            query: Vec::new(),
            body: None,
        }
    }

    /// A call on a whole URL that a service gave. The token goes along, so it has to lead to the services that have it anyway.
    fn url(what: &'a str, url: String) -> Self {
        Self {
            what,
            method: Method::GET,
            target: Target::Url(url),
            query: Vec::new(),
            body: None,
        }
    }

    /// Adds a query parameter.
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Sets the body.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        // The wire's types are maps with text keys, which serialize without fail.
        self.body = serde_json::to_value(body).ok();
        self
    }
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
            http: http::client(&root)?,
            scope,
            endpoint: Endpoint::Azure {
                root: root.trim_end_matches('/').to_owned(),
                credential,
            },
            api: Mutex::default(),
            created: Created::default(),
        })
    }

    /// The services of the local workspace.
    pub fn local() -> Result<Self> {
        Ok(Self {
            http: http::client("http://127.0.0.1")?,
            scope: azureml_wire::local::scope(),
            endpoint: Endpoint::Local(Local::new()?),
            api: Mutex::default(),
            created: Created::default(),
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

    /// The HTTP client, for URLs that carry their own signature.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Makes a call and reads its answer.
    pub async fn read<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T> {
        let what = call.what.to_owned();
        let answer = self.send(call).await?;
        parse(&what, &answer.body)
    }

    /// As [`Client::read`], with `None` for what is not there.
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

    /// Reads a list page by page, as long as `more` of them are wanted.
    pub async fn pages<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        mut more: impl FnMut(Vec<T>) -> bool,
    ) -> Result<()> {
        let what = call.what.to_owned();
        let mut page: Page<T> = self.read(call).await?;
        let mut pages = 1;
        while more(std::mem::take(&mut page.value))
            && let Some(next) = page.next_link.take().filter(|next| !next.is_empty())
        {
            if pages == PAGES {
                return Err(Error::Answer {
                    call: what,
                    reason: "the list has no end".to_owned(),
                });
            }
            pages += 1;
            page = self.read(Call::url(&what, next)).await?;
        }
        Ok(())
    }

    /// Makes a call. All calls of this client may be made twice: names are chosen here, so a repeated `PUT` is the same, and
    /// the `POST`s ask for a state or for a fresh place.
    pub async fn send(&self, call: Call<'_>) -> Result<Answer> {
        let mut retry = Retry::new(call.what);
        let mut replaced = false;
        let mut renewed = false;
        loop {
            let base = self.base().await?;
            let sent = match self.send_once(&call, &base).await {
                Ok(response) | Err(Failed::Discovering(response)) => Ok(response),
                Err(Failed::Sending(error)) => Err(error),
                Err(Failed::Before(error)) => return Err(error),
            };
            // The local workspace may have been started again, here or elsewhere, or has to be.
            let is_lost = sent
                .as_ref()
                .map_or(true, |sent| sent.status() == StatusCode::UNAUTHORIZED);
            if let (Endpoint::Local(local), Some(server), true, false) =
                (&self.endpoint, &base.server, is_lost, replaced)
            {
                replaced = true;
                if local.replace(server).await? {
                    continue;
                }
            }
            // The token may have ended early, or this machine's clock may be wrong.
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
                Err(error) => retry.wait_or_fail(error).await?,
            }
        }
    }

    /// Does something of several calls; once more when the local workspace was lost on the way and is back.
    pub async fn surviving<T>(&self, work: impl AsyncFn() -> Result<T>) -> Result<T> {
        match work().await {
            Err(Error::Transport { .. }) if self.is_local() => {
                // Any call brings it back.
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
        let mut request = self
            .http
            .request(call.method.clone(), url)
            .query(&call.query)
            .bearer_auth(base.token.secret());
        request = match &call.body {
            Some(body) => request.json(body),
            // Some services want the length of an empty body said.
            None if call.method == Method::POST => request.body(""),
            None => request,
        };
        request.send().await.map_err(Failed::Sending)
    }

    async fn base(&self) -> Result<Base> {
        match &self.endpoint {
            Endpoint::Azure { root, credential } => Ok(Base {
                root: root.clone(),
                token: credential.token().await?,
                server: None,
            }),
            Endpoint::Local(local) => {
                let server = local.server().await?;
                Ok(Base {
                    root: server.url.trim_end_matches('/').to_owned(),
                    // It is good for as long as the server is there.
                    token: AccessToken::new(&server.token, SystemTime::now()),
                    server: Some(server),
                })
            }
        }
    }

    /// The data plane's root, discovered once for each management root.
    async fn api_root(&self, base: &Base) -> Result<String, Failed> {
        let mut kept = self.api.lock().await;
        if let Some((root, api)) = &*kept
            && *root == base.root
        {
            return Ok(api.clone());
        }
        let what = "finding the workspace's services";
        let unreadable = |reason: String| {
            Failed::Before(Error::Answer {
                call: what.to_owned(),
                reason,
            })
        };
        let request = self
            .http
            .get(format!("{}{}", base.root, self.scope))
            .query(&[("api-version", API_VERSION)])
            .bearer_auth(base.token.secret());
        let workspace: Resource<WorkspaceProperties> = discovered(what, request).await?;
        let url = workspace
            .properties
            .discovery_url
            .ok_or_else(|| unreadable("the workspace names no discovery URL".to_owned()))?;
        let discovery: Discovery = discovered(what, self.http.get(url)).await?;
        let api = discovery.api.trim_end_matches('/').to_owned();
        // A service on this machine may lead to others on it; nobody else may.
        let is_beside = http::is_loopback(&base.root) && http::is_loopback(&api);
        if !api.starts_with("https://") && !is_beside {
            return Err(unreadable(format!(
                "the services' address is not safe: {api}"
            )));
        }
        *kept = Some((base.root.clone(), api.clone()));
        Ok(api)
    }

    /// A URL from an answer, if it leads to the services that have the token anyway.
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

/// Whether a token may be sent there.
fn is_safe(root: &str) -> bool {
    root.starts_with("https://") || http::is_loopback(root)
}

/// Why a call was not answered.
enum Failed {
    /// Nothing was sent; trying again is no use.
    Before(Error),
    /// The service was not reached, did not answer, or not to the end.
    Sending(reqwest::Error),
    /// Where to send it could not be found out: this is what was answered to that.
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
    let body = response.bytes().await.map_err(Failed::Sending)?;
    parse(what, &body).map_err(Failed::Before)
}

/// Reads a JSON body.
pub fn parse<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T> {
    // An empty body stands for nothing, as after an accepted cancellation.
    let body: &[u8] = if body.is_empty() { b"null" } else { body };
    serde_json::from_slice(body).map_err(|error| Error::Answer {
        call: what.to_owned(),
        reason: error.to_string(),
    })
}

/// The error that a failed answer tells of.
fn service_error(
    what: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    tries: u32,
) -> Error {
    let (code, message) = code_and_message(body);
    // All that the blob store's answer to a HEAD has.
    let in_header = headers
        .get("x-ms-error-code")
        .and_then(|code| code.to_str().ok());
    let code = if code.is_empty() {
        in_header.unwrap_or_default().to_owned()
    } else {
        code
    };
    let message = if message.is_empty() {
        status
            .canonical_reason()
            .unwrap_or("no reason given")
            .to_owned()
    } else {
        message
    };
    let request_id = ["x-ms-request-id", "x-ms-correlation-request-id"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .map(str::to_owned);
    let (message, hint, _) = split_hint(&message);
    Error::Service(Box::new(ServiceError {
        call: what.to_owned(),
        status: status.as_u16(),
        code,
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
        request_id,
        tries,
    }))
}

/// The code and the message in an error's body: ARM's JSON, MLflow's, an authority's, or the blob store's XML.
fn code_and_message(body: &[u8]) -> (String, String) {
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        let xml = String::from_utf8_lossy(body);
        let text = |name: &str| blob::text(&xml, name).unwrap_or_default();
        // Azure's goes on with the request's id and the time.
        let message = text("Message");
        let message = message.split("\nRequestId:").next().unwrap_or_default();
        return (text("Code"), message.to_owned());
    };
    if let Ok(ErrorResponse { error }) = serde_json::from_value(json.clone())
        && !error.message.is_empty()
    {
        return (error.code, error.message);
    }
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    if json["error"].is_string() {
        // An authority's. Its first line says what is wrong; what follows is for its own people.
        let description = text("error_description");
        let first = description.lines().next().unwrap_or_default();
        return (text("error"), first.trim_end().to_owned());
    }
    (text("error_code"), text("message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::AccessToken;
    use futures::future::BoxFuture;
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

    /// A client of a service that gives these answers, one a connection; what it was asked comes from the task.
    async fn service(answers: Vec<String>) -> (Client, tokio::task::JoinHandle<Vec<String>>) {
        service_at(|_| answers).await
    }

    /// As [`service`], of one whose answers say where it is.
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
        let client = Client {
            http: http::client(&root).unwrap(),
            scope: azureml_wire::local::scope(),
            endpoint: Endpoint::Azure {
                root,
                credential: Arc::new(Always),
            },
            api: Mutex::default(),
            created: Created::default(),
        };
        (client, task)
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
        // The link is asked for as it is.
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
}
