//! A call to a service: its method, address, query and body.

use azureml_wire::routes::API_VERSION;
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

/// One call.
pub struct Call<'a> {
    /// The operation, for errors, e.g. `reading a run`.
    pub(super) what: &'a str,
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Value>,
}

/// The address of a call.
pub(super) enum Target {
    /// A path of Azure Resource Manager.
    Management(String),
    /// A path of the discovered data plane.
    Data(String),
    /// A complete URL from a service, e.g. of the next page.
    Url(String),
}

impl<'a> Call<'a> {
    /// A call to a management path.
    pub fn management(what: &'a str, method: Method, path: String) -> Self {
        Self {
            what,
            method,
            target: Target::Management(path),
            query: vec![("api-version", API_VERSION.to_owned())],
            body: None,
        }
    }

    /// A call to a data plane path.
    pub fn data(what: &'a str, method: Method, path: String) -> Self {
        Self {
            what,
            method,
            target: Target::Data(path),
            query: Vec::new(),
            body: None,
        }
    }

    /// A call to a complete URL from a service. The token is sent with it, so the URL must
    /// lead to a service that receives the token anyway.
    pub(super) fn url(what: &'a str, url: String) -> Self {
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
        // The wire types are maps with text keys, whose serialisation cannot fail.
        self.body = serde_json::to_value(body).ok();
        self
    }
}
