//! The kernelspec: a folder with `kernel.json`, logos and, if it has no other stable path, the
//! binary.

pub mod folder;
pub mod locations;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use jupyter_protocol::JupyterKernelspec;
use serde_json::json;

use crate::env;

/// The name of the folder; notebooks refer to the kernel by this name.
pub const NAME: &str = "rust-azureml";

/// The name shown in Jupyter's launcher.
pub const DISPLAY_NAME: &str = "Rust (Azure ML)";

/// Variables of the installing shell that are copied into the kernelspec if they are set, because
/// Jupyter may be started from another environment.
const KEPT_VARIABLES: [&str; 4] = [
    env::RUST_SRC_PATH,
    env::RUSTUP_TOOLCHAIN,
    env::RUSTUP_HOME,
    env::CARGO_HOME,
];

/// The logos, by file name.
pub const LOGOS: [(&str, &[u8]); 3] = [
    ("logo-32x32.png", include_bytes!("logo/logo-32x32.png")),
    ("logo-64x64.png", include_bytes!("logo/logo-64x64.png")),
    ("logo-svg.svg", include_bytes!("logo/logo-svg.svg")),
];

/// Returns the kernelspec that starts `binary` with `extra` in its environment.
pub fn spec(binary: &Path, extra: &BTreeMap<String, String>) -> JupyterKernelspec {
    let mut variables: HashMap<String, String> = KEPT_VARIABLES
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect();
    variables.extend(extra.clone());
    JupyterKernelspec {
        argv: [
            &*binary.to_string_lossy(),
            "serve",
            "--connection-file",
            "{connection_file}",
        ]
        .map(str::to_owned)
        .to_vec(),
        display_name: DISPLAY_NAME.to_owned(),
        language: "rust".to_owned(),
        // Front ends offer their variable inspector only to kernels with this metadata.
        metadata: Some(HashMap::from([("debugger".to_owned(), json!(true))])),
        // A signal would also reach the compiler and the cell process. With a message, the kernel
        // decides what to interrupt.
        interrupt_mode: Some("message".to_owned()),
        env: Some(variables),
    }
}
