//! Shared access signatures (SAS) for a container, if the service returns the account key instead.

use crate::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::Url;
use sha2::{Digest, Sha256};

/// The version of the Azure Storage API, for requests and for signatures.
pub const VERSION: &str = "2021-08-06";

/// The query of a service SAS to read, write and list one container until `expiry`.
pub fn container(
    account: &str,
    key: &str,
    container: &str,
    protocol: &str,
    expiry: DateTime<Utc>,
) -> Result<String> {
    let key = STANDARD.decode(key).map_err(|_| Error::Answer {
        call: "opening the datastore".to_owned(),
        reason: "the account's key is no base64".to_owned(),
    })?;
    let expiry = expiry.to_rfc3339_opts(SecondsFormat::Secs, true);
    let protocols = if protocol == "http" {
        "https,http"
    } else {
        "https"
    };
    let permissions = "racwl";
    // Permissions, start, expiry, resource, identifier, address, protocol, version, kind, snapshot,
    // encryption scope and the five response headers.
    let text = format!(
        "{permissions}\n\n{expiry}\n/blob/{account}/{container}\n\n\n{protocols}\n{VERSION}\nc\n\n\n\n\n\n\n"
    );
    let signature = STANDARD.encode(hmac(&key, text.as_bytes()));
    // The URL is used only to encode the query.
    let mut url = Url::parse("https://x").map_err(|error| Error::Http(error.to_string()))?;
    url.query_pairs_mut()
        .append_pair("sv", VERSION)
        .append_pair("sr", "c")
        .append_pair("sp", permissions)
        .append_pair("spr", protocols)
        .append_pair("se", &expiry)
        .append_pair("sig", &signature);
    Ok(url.query().unwrap_or_default().to_owned())
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |byte: u8| block.map(|key| key ^ byte);
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(text)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_gives_the_values_of_rfc_4231() {
        let hex = |bytes: [u8; 32]| {
            bytes
                .iter()
                .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
        };
        assert_eq!(
            hex(hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(hmac(
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First"
            )),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn a_signature_names_what_it_opens_and_not_the_key() {
        let query = container(
            "account",
            &STANDARD.encode("key"),
            "box",
            "https",
            DateTime::UNIX_EPOCH,
        )
        .unwrap();
        let (open, signature) = query.split_once("&sig=").unwrap();
        assert_eq!(
            open,
            "sv=2021-08-06&sr=c&sp=racwl&spr=https&se=1970-01-01T00%3A00%3A00Z"
        );
        assert!(signature.len() > 40);
    }
}
