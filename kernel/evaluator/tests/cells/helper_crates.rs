//! Checks of helper crates, which every cell can use without `:dep` and without compiling them.

use std::path::{Path, PathBuf};

use azureml_kernel_evaluator::toolchain::Toolchain;
use azureml_kernel_helpers::build_in;
use serde_json::json;

use crate::support::{Engine, OwnCheck, error, ok_bundle, plain, start, start_with, value, write};

pub const CHECKS: &[OwnCheck] = &[
    (
        "missing_helpers_are_explained",
        missing_helpers_are_explained,
    ),
    (
        "helper_crates_are_there_and_share_their_statics",
        helper_crates_are_there_and_share_their_statics,
    ),
];

/// Creates two crates: one for cells, and a dependency of it. The first also depends on an external
/// crate.
fn crates(root: &Path) -> PathBuf {
    let write = |name: &str, text: &str| write(root, name, text);
    write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"surface\", \"under\"]\n",
    );
    write(
        "surface/Cargo.toml",
        "[package]\nname = \"surface\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\
         [dependencies]\nunder = { path = \"../under\" }\nserde_json = \"1\"\n",
    );
    write(
        "surface/src/lib.rs",
        r#"//! What cells use.
        use std::sync::atomic::{AtomicUsize, Ordering};

        static CALLS: AtomicUsize = AtomicUsize::new(0);

        pub use under::Kind;

        pub struct Card { text: String, value: serde_json::Value }

        impl Card {
            pub fn new(text: &str) -> Result<Self, under::Error> {
                let value = serde_json::from_str(text).map_err(|error| under::Error(error.to_string()))?;
                Ok(Self { text: text.to_owned(), value })
            }
            pub fn kind(&self) -> Kind { if self.value.is_object() { Kind::Object } else { Kind::Other } }
            pub fn evcxr_display(&self) {
                println!("EVCXR_BEGIN_CONTENT text/plain\n{}\nEVCXR_END_CONTENT", self.text);
            }
        }

        pub fn count() -> usize { CALLS.fetch_add(1, Ordering::SeqCst) + 1 }

        pub mod prelude { pub use crate::{Card, Kind, count}; }

        #[macro_export]
        macro_rules! twice { ($value:expr) => { $crate::double($value) }; }
        pub fn double(value: i32) -> i32 { value * 2 }
        "#,
    );
    write(
        "under/Cargo.toml",
        "[package]\nname = \"under\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
    );
    write(
        "under/src/lib.rs",
        "#[derive(Debug, PartialEq)] pub enum Kind { Object, Other }\n\
         #[derive(Debug)] pub struct Error(pub String);\n\
         impl std::fmt::Display for Error { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, \"bad card: {}\", self.0) } }\n\
         impl std::error::Error for Error {}\n",
    );
    root.join("surface")
}

fn missing_helpers_are_explained(engine: Engine, cache: &Path) {
    let mut evaluator = start(engine, cache);
    let (_, error) = error(&mut *evaluator, "use surface::Card;");
    assert_eq!(error.ename, "CompileError");
    assert!(
        plain(&error).contains("hint: run `azureml-kernel install`"),
        "{}",
        plain(&error)
    );
    assert_eq!(value(&mut *evaluator, "1 + 1"), "2");
}

fn helper_crates_are_there_and_share_their_statics(engine: Engine, cache: &Path) {
    let root = tempfile::tempdir().expect("a temporary folder");
    let surface = crates(root.path());
    let toolchain = Toolchain::find().expect("Rust is installed");
    let helpers = build_in(&cache.join("helpers"), &toolchain, &[surface], &|_| {})
        .expect("the crates compile");
    // The compiled library does not need its sources.
    drop(root);

    let mut evaluator = start_with(engine, cache, Some(&helpers));
    value(&mut *evaluator, "use surface::prelude::*;");
    value(&mut *evaluator, r#"let card = Card::new("{\"a\": 1}")?;"#);
    let variables = evaluator.variables();
    let card = variables
        .iter()
        .find(|variable| variable.name == "card")
        .expect("it lives on");
    assert!(
        ["Card", "surface::Card"].contains(&card.type_name.as_str()),
        "{}",
        card.type_name
    );
    let (_, shown) = ok_bundle(&mut *evaluator, "card");
    assert_eq!(json!(shown), json!({"text/plain": "{\"a\": 1}"}));
    assert_eq!(value(&mut *evaluator, "card.kind()"), "Object");
    assert_eq!(
        value(&mut *evaluator, "card.kind() == Kind::Object"),
        "true"
    );
    assert_eq!(value(&mut *evaluator, "surface::twice!(21)"), "42");
    assert_eq!(value(&mut *evaluator, "count()"), "1");
    assert_eq!(value(&mut *evaluator, "count()"), "2");
    let (_, failed) = error(&mut *evaluator, r#"let broken = Card::new("{")?;"#);
    assert_eq!(failed.ename, "Error");
    assert!(
        failed.evalue.starts_with("bad card: EOF"),
        "{}",
        failed.evalue
    );
    let completions = evaluator.complete("card.ki", 7);
    assert!(
        completions
            .matches
            .iter()
            .any(|one| one.text.starts_with("kind"))
    );
    value(&mut *evaluator, ":clear");
    assert_eq!(value(&mut *evaluator, "surface::count()"), "1");
    let (_, unknown) = error(&mut *evaluator, "Err::<(), _>(\"still told apart\")?;");
    assert_eq!(unknown.evalue, "still told apart");
}
