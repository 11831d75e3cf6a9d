//! The connection file: the addresses of the sockets and the signature key.

use std::path::{Path, PathBuf};

use jupyter_protocol::ConnectionInfo;

/// An error while reading a connection file.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionFileError {
    /// The file could not be read.
    #[error("cannot read the connection file {}: {source}\nhint: Jupyter writes this file and starts the kernel; choose \"Rust (Azure ML)\" in Jupyter instead of running `serve` by hand", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is not a connection file.
    #[error("the connection file {} is not valid: {source}\nhint: it must be JSON with `ip`, `transport`, `key`, `signature_scheme` and five ports, as Jupyter writes it", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// The file requests an unsupported signature scheme.
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
        // `*` is ZeroMQ's notation for all interfaces; the listener needs an address.
        "0.0.0.0".clone_into(&mut info.ip);
    }
    Ok(info)
}
