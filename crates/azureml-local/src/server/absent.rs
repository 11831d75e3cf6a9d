//! The resources of Azure ML that the local workspace does not support.
//!
//! A request for one fails with an error that contains its name and a hint.

use crate::error::{Error, Result};
use axum::http::Uri;

/// A kind of resource that the local workspace does not support.
struct Absent {
    /// The path segments of its collections, in lower case.
    collections: &'static [&'static str],
    /// The name of the kind.
    name: &'static str,
    /// The hint in the error message.
    hint: &'static str,
}

const AZURE: &str = "use a workspace on Azure for them";

const ABSENT: &[Absent] = &[
    Absent {
        collections: &["components"],
        name: "components",
        hint: "submit the command itself as a job (`command(…)`), or use a workspace on Azure",
    },
    Absent {
        collections: &["schedules"],
        name: "schedules",
        hint: "submit the job when it is due, e.g. from cron, or use a workspace on Azure",
    },
    Absent {
        collections: &[
            "onlineendpoints",
            "batchendpoints",
            "serverlessendpoints",
            "inferencepools",
        ],
        name: "endpoints",
        hint: "run a job that reads the registered model, or use a workspace on Azure",
    },
    Absent {
        collections: &["registries"],
        name: "registries",
        hint: "register the asset in this workspace, or use a registry on Azure",
    },
    Absent {
        collections: &["connections"],
        name: "connections",
        hint: "give the job what it needs as environment variables or inputs",
    },
    Absent {
        collections: &["featuresets", "featurestoreentities"],
        name: "feature stores",
        hint: AZURE,
    },
    Absent {
        collections: &["labelingjobs"],
        name: "labeling jobs",
        hint: AZURE,
    },
    Absent {
        collections: &["marketplacesubscriptions", "marketplacemodels"],
        name: "marketplace subscriptions",
        hint: AZURE,
    },
    Absent {
        collections: &[
            "outboundrules",
            "outboundnetworkdependenciesendpoints",
            "privateendpointconnections",
            "privatelinkresources",
            "provisionmanagednetwork",
        ],
        name: "managed networks",
        hint: "the local workspace listens on loopback only, and its jobs use this machine's network",
    },
    Absent {
        collections: &[
            "listkeys",
            "resynckeys",
            "liststorageaccountkeys",
            "listnotebookkeys",
            "listnotebookaccesstoken",
            "preparenotebook",
        ],
        name: "keys of other resources",
        hint: "the token of the local workspace is in `server.json` in its folder",
    },
    Absent {
        collections: &["usages", "quotas", "updatequotas"],
        name: "quotas",
        hint: "every compute is this machine; its page under `/studio/computes` shows what it has",
    },
    Absent {
        collections: &["vmsizes"],
        name: "VM sizes",
        hint: "name any size: every compute is this machine",
    },
    Absent {
        collections: &["diagnose"],
        name: "diagnoses",
        hint: "see `server.log` in its folder",
    },
];

impl Absent {
    fn error(&self) -> Error {
        Error::NotFound {
            code: "ResourceNotFound",
            message: format!(
                "the local workspace has no {}\nhint: {}",
                self.name, self.hint
            ),
        }
    }
}

/// The error for an unknown path. It names the first unsupported kind of resource in the path.
pub fn nothing_at(path: &str) -> Error {
    let lower = path.to_ascii_lowercase();
    let absent = lower.split('/').find_map(|part| {
        ABSENT
            .iter()
            .find(|absent| absent.collections.contains(&part))
    });
    absent.map_or_else(
        || Error::NotFound {
            code: "ResourceNotFound",
            message: format!(
                "the local workspace has nothing at this address: {path:?}\n\
                 hint: it has jobs, computes, environments, models, data, codes and one datastore; \
                 use a workspace on Azure for anything else"
            ),
        },
        Absent::error,
    )
}

/// Handles requests to unknown paths.
pub async fn nothing(uri: Uri) -> Result<()> {
    // Routers are mounted at `/-/{area}`, see [`crate::server::address::Area::inner`].
    let path = uri.path();
    let shown = path
        .strip_prefix("/-/")
        .and_then(|path| path.find('/').map(|at| &path[at..]));
    Err(nothing_at(shown.unwrap_or(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_refused_by_its_name() {
        for (path, name) in [
            ("/components/x/versions/1", "no components"),
            ("/onlineEndpoints/x/deployments", "no endpoints"),
            (
                "/subscriptions/s/resourceGroups/g/providers/p/registries/r",
                "no registries",
            ),
            ("/toasters", "\"/toasters\""),
        ] {
            let error = nothing_at(path).to_string();
            assert!(
                error.contains(name) && error.contains("\nhint: "),
                "{error}"
            );
        }
    }
}
