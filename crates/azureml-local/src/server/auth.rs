//! Authentication and authorization of requests.

use super::address::Area;
use crate::error::{Error, Result};
use crate::hmac::equal;
use crate::signer::SignedQuery;
use crate::store::job;
use crate::workspace::Workspace;
use crate::workspace::caller::Caller;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{Method, header};
use serde::Deserialize;

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        parts
            .extensions
            .get()
            .cloned()
            .ok_or_else(|| Error::Unauthenticated("no credential".to_owned()))
    }
}

/// Authenticates the caller and denies access to areas that it may not use.
pub async fn authenticate(
    app: &Workspace,
    owner_token: &str,
    area: Area,
    inner: &str,
    method: &Method,
    parts: &Parts,
) -> Result<Caller> {
    if matches!(area, Area::Discovery | Area::Page) {
        return Ok(Caller::Signed);
    }
    if area == Area::Blob
        && let Some(caller) = signed(app, inner, method, parts)?
    {
        return Ok(caller);
    }
    let token = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(|| Error::Unauthenticated("a bearer token is needed".to_owned()))?;
    if equal(token.as_bytes(), owner_token.as_bytes()) {
        return Ok(Caller::Owner);
    }
    let Some(run) = app.signer.run_of(token) else {
        return Err(Error::Unauthenticated(
            "the bearer token is not the one of this local workspace".to_owned(),
        ));
    };
    // SDK v1 requests the workspace of its run; the response contains no secrets.
    let is_workspace =
        area == Area::Arm && method == Method::GET && inner.trim_matches('/').is_empty();
    let is_runs = matches!(
        area,
        Area::Mlflow | Area::Metric | Area::History | Area::Artifact
    );
    // azureml-fsspec and mltable request the location of data to read it.
    let is_data = matches!(area, Area::Data | Area::Datastore) && method == Method::GET;
    if !is_workspace && !is_runs && !is_data {
        return Err(Error::Denied(
            "the token of a run opens its metrics and artifacts, and data to be read, alone"
                .to_owned(),
        ));
    }
    let name = run.clone();
    let active = app
        .db(move |store| Ok(job::get(store, &name)?.is_some_and(|job| !job.status.is_terminal())))
        .await?;
    if active {
        Ok(Caller::Run(run))
    } else {
        Err(Error::Unauthenticated(format!(
            "run {run} has ended, and its token with it"
        )))
    }
}

/// The query parameter of a blob listing.
#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    prefix: String,
}

/// The caller of a signed URL; `None` if the URL has no signature.
fn signed(app: &Workspace, inner: &str, method: &Method, parts: &Parts) -> Result<Option<Caller>> {
    let query = parts.uri.query().unwrap_or_default();
    if !query.split('&').any(|pair| pair.starts_with("sig=")) {
        return Ok(None);
    }
    let refused = || Error::Denied("the signature of this URL does not open it".to_owned());
    let Query(query): Query<SignedQuery> =
        Query::try_from_uri(&parts.uri).map_err(|_| refused())?;
    let path = crate::blob::decode(inner).ok_or_else(refused)?;
    let path = match path.trim_start_matches('/') {
        // A listing of the account has the container in its prefix.
        "" => Query::<Listing>::try_from_uri(&parts.uri)
            .map_err(|_| refused())?
            .0
            .prefix
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
        path => path.to_owned(),
    };
    let (container, blob) = match path.split_once('/') {
        Some((container, blob)) if !blob.is_empty() => (container, Some(blob)),
        Some((container, _)) => (container, None),
        None => (path.as_str(), None),
    };
    let letters = match (method, blob) {
        (&Method::GET | &Method::HEAD, Some(_)) => "r",
        (&Method::GET | &Method::HEAD, None) => "l",
        (&Method::DELETE, _) => "d",
        _ => "wc",
    };
    if app.signer.opens(&query, container, blob, letters) {
        Ok(Some(Caller::Signed))
    } else {
        Err(refused())
    }
}
