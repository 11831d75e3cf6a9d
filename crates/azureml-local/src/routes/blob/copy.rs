//! Copies within the blob store: Copy Blob and Put Blob From URL. Both are synchronous.

use super::condition::Conditions;
use super::response::{answer, set};
use super::{COPY_SOURCE, Target, properties};
use crate::blob::{self, Opened};
use crate::error::{Error, Result};
use crate::name::{BlobName, ContainerName};
use crate::signer::SignedQuery;
use crate::store::blob::Info;
use crate::workspace::caller::Caller;
use crate::workspace::uri::ACCOUNT;
use crate::workspace::uri::own_url;
use crate::workspace::{Shared, blocking};
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use std::fs::File;
use std::io;

impl Target {
    /// Copies another blob of this store to this one.
    pub async fn copy(&self, headers: &HeaderMap, caller: &Caller) -> Result<Response> {
        let source = source(&self.app, headers, caller)?;
        let (this, headers) = (self.clone(), headers.clone());
        blocking(move || {
            let conditions = Conditions::of(&headers)?;
            this.check_before_writing(&conditions)?;
            let Opened { mut file, found } =
                blob::open(&this.app.home, &source.container, &source.name)?;
            Conditions::of_source(&headers)?.check_write(Some(&found))?;
            let info = with_own(source.info(&found)?, &headers);
            let temporary = blob::temporary(&this.app.home);
            let copied = File::create_new(&temporary)
                .and_then(|mut copy| io::copy(&mut file, &mut copy))
                .map(drop)
                .map_err(Error::from);
            let found = this.publish(&conditions, &info, &temporary, copied)?;
            // Put Blob From URL sends a blob type; Copy Blob does not.
            let is_put = headers.contains_key("x-ms-blob-type");
            let status = if is_put {
                StatusCode::CREATED
            } else {
                StatusCode::ACCEPTED
            };
            let mut response = answer(status, Some(&found));
            if !is_put {
                let id = uuid::Uuid::new_v4().to_string();
                let named = HeaderName::from_static;
                set(response.headers_mut(), named("x-ms-copy-id"), &id);
                set(response.headers_mut(), named("x-ms-copy-status"), "success");
            }
            Ok(response)
        })
        .await
    }
}

/// The properties and metadata of the source, overridden by those in the request.
fn with_own(mut info: Info, headers: &HeaderMap) -> Info {
    let own = properties::of_blob(headers);
    if !own.metadata.is_empty() {
        info.metadata = own.metadata;
    }
    info.content_type = own.content_type.or(info.content_type);
    info.headers.extend(own.headers);
    info
}

/// The source blob of a copy. Returns an error if the caller may not read it.
fn source(app: &Shared, headers: &HeaderMap, caller: &Caller) -> Result<Target> {
    let refused = |message: &str| Error::Denied(format!("{COPY_SOURCE}: {message}"));
    let url = headers
        .get(COPY_SOURCE)
        .map(HeaderValue::as_bytes)
        .and_then(|url| std::str::from_utf8(url).ok())
        .unwrap_or_default();
    let (_, path) = own_url(url).ok_or_else(|| {
        refused("the local workspace copies its own blobs only\nhint: upload the file instead")
    })?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let decoded = blob::decode(path).unwrap_or_default();
    let (container, name) = decoded
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(ACCOUNT))
        .and_then(|path| path.strip_prefix('/'))
        .and_then(|path| path.split_once('/'))
        .ok_or_else(|| refused("the URL names no blob"))?;
    let signed = Uri::try_from(format!("/?{query}"))
        .ok()
        .and_then(|uri| Query::<SignedQuery>::try_from_uri(&uri).ok())
        .is_some_and(|Query(query)| app.signer.opens(&query, container, Some(name), "r"));
    if !signed && *caller != Caller::Owner {
        return Err(refused("the URL has no signature that opens it"));
    }
    Ok(Target {
        app: app.clone(),
        container: ContainerName::parse(container)?,
        name: BlobName::parse(name)?,
    })
}
