//! The URIs of files in the workspace: URLs of the blob store, and paths in its datastore.

use crate::name::BlobName;
use serde_json::Value;

/// The storage account of the local workspace.
pub const ACCOUNT: &str = "azuremllocal";

/// The endpoint suffix for clients that build the blob host from the account name, as
/// `ACCOUNT.blob.local`.
pub const SUFFIX: &str = "local";

/// The name of the only datastore, which is the default one.
pub const DATASTORE: &str = "workspaceblobstore";

/// The other name, which the service uses for run artifacts; here it is the same container.
pub const ARTIFACT_STORE: &str = "workspaceartifactstore";

/// Whether a datastore of that name exists.
pub fn is_datastore(name: &str) -> bool {
    [DATASTORE, ARTIFACT_STORE]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// Splits a URL into root and path, if it points to the blob store of this or an earlier server.
pub fn own_url(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("http://")?;
    let slash = rest.find('/')?;
    let (host, path) = rest.split_at(slash);
    let (name, port) = host.split_once(':')?;
    let ours = matches!(name, "127.0.0.1" | "localhost")
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(ACCOUNT))
            .is_some_and(|path| path.starts_with('/'));
    ours.then(|| text.split_at("http://".len() + slash))
}

/// Replaces the address of an earlier server in URLs that a client sends back with this server's.
pub fn readdress(url: &str, value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((old, path)) = own_url(text)
                && old != url
            {
                *text = format!("{url}{path}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| readdress(url, item)),
        Value::Object(members) => members
            .iter_mut()
            .for_each(|(_, member)| readdress(url, member)),
        _ => {}
    }
}

/// The path of a URI in the default datastore; `None` if it names another location.
pub fn path_in_datastore(uri: &str) -> Option<BlobName> {
    let (_, rest) = uri.strip_prefix("azureml:")?.split_once("/datastores/")?;
    let (datastore, path) = rest.split_once("/paths/")?;
    let path = path.trim_matches('/');
    BlobName::of(path).filter(|_| is_datastore(datastore))
}
