//! The cache of compiled libraries that kernels share, and the keys of its entries.

use sha2::{Digest, Sha256};

pub use azureml_kernel_helpers::cache_root as root;

/// A content hash that names a cache entry.
#[derive(Clone)]
pub(crate) struct Key(Sha256);

impl Key {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    /// Adds a part. Its length is hashed too, so that adjacent parts cannot be confused.
    pub(crate) fn add(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Returns the name: 32 hexadecimal digits.
    pub(crate) fn finish(&self) -> String {
        self.0.clone().finalize()[..16]
            .iter()
            .fold(String::new(), |name, byte| name + &format!("{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_where_parts_end() {
        let key = |parts: &[&str]| {
            let mut key = Key::new();
            for part in parts {
                key.add(part);
            }
            key.finish()
        };
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&[]).len(), 32);
    }
}
