//! The differences between the kinds of versioned assets.

use crate::error::Result;
use crate::store::asset::Kind;
use serde_json::Value;

/// The rules of one kind of asset.
#[derive(Debug)]
pub struct Rules {
    /// The kind.
    pub kind: Kind,
    /// The properties that make up the content of a version. They are immutable.
    pub content: &'static [&'static str],
    /// Rejects a version that the service would reject.
    pub check: fn(&Value) -> Result<()>,
    /// The member with the URI of a version's files, which is resolved at registration.
    pub place: Option<&'static str>,
    /// Adds the properties of a version that clients rely on.
    pub complete: fn(&mut Value),
}
