//! The token of a run: a JSON Web Token (RFC 7519) signed with HMAC-SHA256.
//!
//! Azure ML's Python packages parse the claims of their token, so an opaque token is not
//! sufficient.

use crate::hmac::{equal, hmac};
use azureml_wire::local::scope;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The header of every token; other algorithms are rejected.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// The token of a run. It has no `Debug` implementation because it contains a secret.
pub struct RunToken {
    /// The encoded token.
    pub text: String,
    /// The time of expiry.
    pub expiry: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    /// The id of the run.
    #[serde(rename = "runId")]
    run: String,
    /// The id of the run, as the standard claim.
    sub: String,
    /// The ARM id of the workspace.
    scope: String,
    /// The time of issue, in seconds since 1970.
    iat: i64,
    /// The time of expiry, in seconds since 1970.
    exp: i64,
}

impl RunToken {
    /// Signs a token for a run.
    pub fn sign(key: &[u8; 32], run: &str, now: DateTime<Utc>, expiry: DateTime<Utc>) -> Self {
        let claims = Claims {
            run: run.to_owned(),
            sub: run.to_owned(),
            scope: scope().to_string(),
            iat: now.timestamp(),
            exp: expiry.timestamp(),
        };
        // Serialization of text and numbers cannot fail.
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let signed = format!("{}.{}", BASE64.encode(HEADER), BASE64.encode(claims));
        let signature = BASE64.encode(hmac(key, &signed));
        Self {
            text: format!("{signed}.{signature}"),
            expiry,
        }
    }

    /// Verifies a token; returns its run.
    pub fn verify(key: &[u8; 32], token: &str, now: DateTime<Utc>) -> Option<String> {
        let (signed, signature) = token.rsplit_once('.')?;
        let expected = BASE64.encode(hmac(key, signed));
        if !equal(expected.as_bytes(), signature.as_bytes()) {
            return None;
        }
        let (header, claims) = signed.split_once('.')?;
        let claims: Claims = serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()?;
        (header == BASE64.encode(HEADER) && claims.exp > now.timestamp()).then_some(claims.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    const KEY: [u8; 32] = [7; 32];

    fn token() -> (String, DateTime<Utc>) {
        let now = Utc::now();
        let token = RunToken::sign(&KEY, "mighty_fox.1", now, now + TimeDelta::days(1));
        (token.text, now)
    }

    #[test]
    fn a_run_token_names_its_run_and_nobody_else_can_sign_one() {
        let (token, now) = token();
        let verify = |key, token: &str, now| RunToken::verify(key, token, now);
        assert_eq!(verify(&KEY, &token, now).as_deref(), Some("mighty_fox.1"));
        assert_eq!(verify(&[8; 32], &token, now), None);
        assert_eq!(verify(&KEY, &token, now + TimeDelta::days(2)), None);
        let parts: Vec<&str> = token.split('.').collect();
        let claims = String::from_utf8(BASE64.decode(parts[1]).unwrap()).unwrap();
        let other = BASE64.encode(claims.replace("fox", "ox"));
        let none = BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#);
        for forged in [
            format!("{}.{other}.{}", parts[0], parts[2]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{none}.{}.", parts[1]),
            format!("{}.{}.", parts[0], parts[1]),
            "run.mighty_fox.1.00".to_owned(),
            "..".to_owned(),
            String::new(),
        ] {
            assert_eq!(verify(&KEY, &forged, now), None, "{forged}");
        }
    }

    #[test]
    fn its_claims_are_those_of_a_json_web_token() {
        let (token, now) = token();
        let parts: Vec<&str> = token.split('.').collect();
        let read = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()
        };
        assert_eq!(read(parts[0])["alg"], "HS256");
        let claims = read(parts[1]);
        assert_eq!(claims["iat"], now.timestamp());
        assert_eq!(claims["exp"], now.timestamp() + 24 * 60 * 60);
        assert_eq!(claims["runId"], "mighty_fox.1");
        assert_eq!(claims["scope"], scope().to_string());
    }
}
