//! The digests of request content, which detect corruption in transit.

use crate::error::{Error, Result};
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The header of the CRC64 digest, which is not supported.
const CRC64: &str = "x-ms-content-crc64";

/// The header with the digest of a whole blob.
const BLOB_MD5: &str = "x-ms-blob-content-md5";

/// The MD5 digests that the content must have.
#[derive(Debug)]
pub struct Digest(Vec<Vec<u8>>);

impl Digest {
    /// The digests of a request's content.
    pub fn of_request(headers: &HeaderMap) -> Result<Self> {
        if headers.contains_key(CRC64) {
            return Err(Error::Invalid {
                code: "UnsupportedHeader",
                message: format!(
                    "the local workspace does not check {CRC64}\nhint: send Content-MD5 instead, or neither"
                ),
            });
        }
        read(headers.get(header::HeaderName::from_static("content-md5"))).map(Self)
    }

    /// The digests of a request whose content is a whole blob.
    pub fn of_blob(headers: &HeaderMap) -> Result<Self> {
        let Self(mut digests) = Self::of_request(headers)?;
        digests.extend(read(headers.get(BLOB_MD5))?);
        Ok(Self(digests))
    }

    /// Returns an error if the content has another digest.
    pub fn check(&self, mut content: impl Read) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut digest = Md5::new();
        io::copy(&mut content, &mut digest)?;
        let digest = digest.finalize();
        if self.0.iter().all(|expected| expected[..] == digest[..]) {
            return Ok(());
        }
        Err(Error::Invalid {
            code: "Md5Mismatch",
            message: format!(
                "the MD5 digest of the content is {}, the request names another\nhint: send it again",
                STANDARD.encode(digest)
            ),
        })
    }

    /// Returns an error if the content of the file has another digest.
    pub fn check_file(&self, file: &Path) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.check(File::open(file)?)
    }
}

fn read(header: Option<&HeaderValue>) -> Result<Vec<Vec<u8>>> {
    let Some(header) = header else {
        return Ok(Vec::new());
    };
    let digest = STANDARD.decode(header.as_bytes()).unwrap_or_default();
    if digest.len() == 16 {
        return Ok(vec![digest]);
    }
    Err(Error::Invalid {
        code: "InvalidMd5",
        message: "Content-MD5 is the base64 text of 16 bytes".to_owned(),
    })
}
