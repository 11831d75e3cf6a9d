//! The connection file: where to listen and which key signs.

use std::path::{Path, PathBuf};

use jupyter_protocol::ConnectionInfo;

/// Why a connection file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionFileError {
    /// It could not be read.
    #[error("cannot read the connection file {}: {source}\nhint: Jupyter writes this file and starts the kernel; choose \"Rust (Azure ML)\" in Jupyter instead of running `serve` by hand", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not a connection file.
    #[error("the connection file {} is not valid: {source}\nhint: it must be JSON with `ip`, `transport`, `key`, `signature_scheme` and five ports, as Jupyter writes it", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It asks for a signature that this kernel does not know.
    #[error(
        "the connection file asks for the signature scheme `{0}`, which is not supported\nhint: use `hmac-sha256`, Jupyter's default"
    )]
    SignatureScheme(String),
}

/// Reads a connection file.
pub fn read(path: &Path) -> Result<ConnectionInfo, ConnectionFileError> {
    let text = std::fs::read(path).map_err(|source| ConnectionFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut info: ConnectionInfo =
        serde_json::from_slice(&text).map_err(|source| ConnectionFileError::Parse {
            path: path.to_owned(),
            source,
        })?;
    if !info.key.is_empty() && info.signature_scheme != "hmac-sha256" {
        return Err(ConnectionFileError::SignatureScheme(info.signature_scheme));
    }
    if info.ip == "*" {
        // ZeroMQ's word for every interface, which the Rust implementation does not know.
        "0.0.0.0".clone_into(&mut info.ip);
    }
    Ok(info)
}
