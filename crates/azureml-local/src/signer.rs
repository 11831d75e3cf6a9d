//! Signatures: shared access signatures of the blob store, passes of the pages, and the tokens of
//! runs ([`crate::run_token`]).
//!
//! All use one key in the home folder, so that they stay valid after a restart.

use crate::hmac::{equal, hex, hmac};
use crate::run_token::RunToken;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// Signs and verifies. It has no `Debug` implementation because it contains the key.
pub struct Signer {
    key: [u8; 32],
}

/// The permissions of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Read,
    /// Read and list.
    Browse,
    /// Read, write, delete and list.
    All,
}

impl Access {
    fn letters(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::Browse => "rl",
            Self::All => "rcwdl",
        }
    }
}

/// The query parameters of a signed URL. It has no `Debug` implementation because it contains the
/// signature.
#[derive(Default, serde::Deserialize)]
pub struct SignedQuery {
    /// `c` for a container, `b` for one blob.
    sr: Option<String>,
    /// The letters of the permissions.
    sp: Option<String>,
    /// The time of expiry.
    se: Option<String>,
    /// The signature.
    sig: Option<String>,
}

/// The lifetime of a signature: long enough for a notebook that is open all day.
const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// The lifetime of a run token: longer than any run. The token becomes invalid when its run ends.
const RUN_LIFETIME: TimeDelta = TimeDelta::days(366);

impl Signer {
    /// A signer with this key.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The SAS query of a URL for a container, or for one blob of it.
    pub fn sas(&self, container: &str, blob: Option<&str>, access: Access) -> String {
        let expiry = (Utc::now() + LIFETIME).to_rfc3339_opts(SecondsFormat::Secs, true);
        let resource = if blob.is_some() { "b" } else { "c" };
        let permissions = access.letters();
        let signature = self.sign(&scope(resource, permissions, &expiry, container, blob));
        // A colon needs no percent-encoding in a query.
        format!("sv=2024-11-04&spr=http&se={expiry}&sr={resource}&sp={permissions}&sig={signature}")
    }

    /// Whether a signed URL grants one of the permissions `letters` on `blob` of `container`.
    pub fn opens(
        &self,
        query: &SignedQuery,
        container: &str,
        blob: Option<&str>,
        letters: &str,
    ) -> bool {
        let (Some(resource), Some(permissions), Some(expiry), Some(signature)) =
            (&query.sr, &query.sp, &query.se, &query.sig)
        else {
            return false;
        };
        let signed = match resource.as_str() {
            "c" => None,
            "b" if blob.is_some() => blob,
            _ => return false,
        };
        let expected = self.sign(&scope(resource, permissions, expiry, container, signed));
        equal(expected.as_bytes(), signature.as_bytes())
            && permissions.contains(|letter| letters.contains(letter))
            && DateTime::parse_from_rfc3339(expiry).is_ok_and(|expiry| expiry > Utc::now())
    }

    /// The token for the processes of a run. It grants access to the metrics and artifacts of this
    /// run only.
    pub fn run_token(&self, run: &str) -> RunToken {
        let now = Utc::now();
        RunToken::sign(&self.run_key(), run, now, now + RUN_LIFETIME)
    }

    /// The run of a valid token.
    pub fn run_of(&self, token: &str) -> Option<String> {
        RunToken::verify(&self.run_key(), token, Utc::now())
    }

    /// A separate key for run tokens, because their text does not have a form that only this
    /// program signs.
    fn run_key(&self) -> [u8; 32] {
        hmac(&self.key, "run token")
    }

    /// A pass to the pages, valid until `expiry` (seconds since 1970). `kind` separates tickets
    /// from cookies, and the passes of different servers.
    pub fn page_pass(&self, kind: &str, expiry: i64, nonce: &str) -> String {
        let signature = self.sign(&format!("page\n{kind}\n{expiry}\n{nonce}"));
        format!("{expiry}.{nonce}.{signature}")
    }

    /// The expiry and the nonce of a valid pass of this kind.
    pub fn page_pass_of<'a>(&self, kind: &str, pass: &'a str, now: i64) -> Option<(i64, &'a str)> {
        let (expiry, rest) = pass.split_once('.')?;
        let (nonce, signature) = rest.split_once('.')?;
        let expiry: i64 = expiry.parse().ok()?;
        let expected = self.sign(&format!("page\n{kind}\n{expiry}\n{nonce}"));
        (equal(expected.as_bytes(), signature.as_bytes()) && expiry > now)
            .then_some((expiry, nonce))
    }

    /// HMAC-SHA256 in hexadecimal.
    fn sign(&self, text: &str) -> String {
        hex(&hmac(&self.key, text))
    }
}

fn scope(
    resource: &str,
    permissions: &str,
    expiry: &str,
    container: &str,
    blob: Option<&str>,
) -> String {
    format!(
        "sas\n{resource}\n{permissions}\n{expiry}\n{container}\n{}",
        blob.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_opens_what_it_is_for_and_in_its_time() {
        let signer = Signer::new([7; 32]);
        let pass = signer.page_pass("ticket", 100, "n");
        assert_eq!(signer.page_pass_of("ticket", &pass, 99), Some((100, "n")));
        assert_eq!(signer.page_pass_of("ticket", &pass, 100), None);
        assert_eq!(signer.page_pass_of("cookie", &pass, 99), None);
        let later = pass.replacen("100", "900", 1);
        assert_eq!(signer.page_pass_of("ticket", &later, 99), None);
        assert_eq!(Signer::new([8; 32]).page_pass_of("ticket", &pass, 99), None);
        for nonsense in ["", "..", "100.n", "x.n.s", "100.n."] {
            assert_eq!(signer.page_pass_of("ticket", nonsense, 0), None);
        }
    }

    fn query(text: &str) -> SignedQuery {
        let of = |name: &str| {
            text.split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
                .map(str::to_owned)
        };
        SignedQuery {
            sr: of("sr"),
            sp: of("sp"),
            se: of("se"),
            sig: of("sig"),
        }
    }

    #[test]
    fn hmac_is_the_one_of_rfc_4231() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        // A shorter key is padded with zeros, so this is test case 2 of RFC 4231.
        assert_eq!(
            Signer::new(key).sign("what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_signature_opens_what_it_names_and_nothing_else() {
        let signer = Signer::new([7; 32]);
        let container = query(&signer.sas("c", None, Access::All));
        assert!(signer.opens(&container, "c", Some("any/blob"), "w"));
        assert!(signer.opens(&container, "c", None, "l"));
        assert!(!signer.opens(&container, "d", Some("any/blob"), "r"));
        let blob = query(&signer.sas("c", Some("a"), Access::Read));
        assert!(signer.opens(&blob, "c", Some("a"), "r"));
        assert!(!signer.opens(&blob, "c", Some("a"), "w"));
        assert!(!signer.opens(&blob, "c", Some("b"), "r"));
        assert!(!signer.opens(&blob, "c", None, "l"));
        let mut wider = query(&signer.sas("c", Some("a"), Access::Read));
        wider.sp = Some("rw".to_owned());
        assert!(!signer.opens(&wider, "c", Some("a"), "w"));
        let mut late = query(&signer.sas("c", Some("a"), Access::Read));
        late.se = Some("2001-01-01T00:00:00Z".to_owned());
        assert!(!signer.opens(&late, "c", Some("a"), "r"));
        assert!(!Signer::new([8; 32]).opens(&blob, "c", Some("a"), "r"));
    }
}
