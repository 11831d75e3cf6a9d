//! The content of `kernel_info_reply`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::kernelspec;
use crate::protocol;

/// Maximum time that a reply waits for the language's version; `rustc` needs a tenth of it.
const VERSION_LIMIT: Duration = Duration::from_secs(1);

/// Whether [`content`] resolves at once.
pub fn is_known(language_version: &watch::Receiver<Option<String>>) -> bool {
    language_version.borrow().is_some()
}

/// Returns the content of `kernel_info_reply`.
pub async fn content(mut language_version: watch::Receiver<Option<String>>) -> Value {
    let version =
        tokio::time::timeout(VERSION_LIMIT, language_version.wait_for(Option::is_some)).await;
    let version = match version {
        Ok(Ok(version)) => version.clone().unwrap_or_default(),
        // Not known in time, or rustc is missing, which each cell reports.
        _ => String::new(),
    };
    let own = env!("CARGO_PKG_VERSION");
    json!({
        "status": "ok",
        "protocol_version": protocol::VERSION,
        "implementation": "azureml-kernel",
        "implementation_version": own,
        "language_info": {
            "name": "rust",
            "version": version,
            "mimetype": "text/x-rust",
            "file_extension": ".rs",
            "pygments_lexer": "rust",
            "codemirror_mode": "rust",
            "nbconvert_exporter": "script",
        },
        "banner": format!("{} {own}, Rust {version}", kernelspec::DISPLAY_NAME),
        "debugger": true,
        "supported_features": ["debugger", "kernel subshells"],
        "help_links": [
            { "text": "The Rust Programming Language", "url": "https://doc.rust-lang.org/book/" },
            { "text": "Rust standard library", "url": "https://doc.rust-lang.org/std/" },
            { "text": "Crates", "url": "https://docs.rs/" },
            { "text": "Azure Machine Learning", "url": "https://learn.microsoft.com/azure/machine-learning/" },
        ],
    })
}
