//! The Unicode normalization of names.

/// Normalises a name like the compiler (NFC): `e` with a combining accent becomes `é`.
pub(super) fn composed(name: &str) -> String {
    if name.is_ascii() {
        name.to_owned()
    } else {
        let normal = icu_normalizer::ComposingNormalizerBorrowed::new_nfc();
        normal.normalize(name).into_owned()
    }
}
