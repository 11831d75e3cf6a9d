//! The compiler's wrapper (`RUSTC_WRAPPER`): answers for helper crates with the finished library.
//!
//! cargo asks for the facade of a helper crate like for any crate. Its answer lies in the cache: a library that re-exports the crate from
//! the finished dynamic library. Everything else is passed on to the compiler; the cell's crate is also told where the finished
//! libraries are.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::env;
use crate::helpers::Library;

/// The crate into which `evcxr` puts a cell.
const CELL_CRATE: &str = "ctx";

/// Does the compiler's work and ends with its exit code. Never returns.
pub(super) fn run() -> ! {
    let mut arguments = std::env::args_os().skip(1);
    let Some(rustc) = arguments.next() else {
        eprintln!("the wrapper of the compiler was started without a compiler");
        std::process::exit(2);
    };
    let mut arguments: Vec<OsString> = arguments.collect();
    let invocation = Invocation::of(&arguments);
    if let Some(helpers) =
        std::env::var_os(env::HELPERS).map(|folder| Library::at(PathBuf::from(folder)))
    {
        if let Some(facade) = std::env::var_os("CARGO_MANIFEST_DIR")
            && Path::new(&facade).starts_with(helpers.facades())
        {
            match answer(&helpers, &invocation) {
                Ok(()) => std::process::exit(0),
                Err(error) => {
                    eprintln!(
                        "cannot use the helper crate built ahead: {error}\nhint: run `azureml-kernel install` again"
                    );
                    std::process::exit(1);
                }
            }
        }
        if invocation.crate_name.as_deref() == Some(CELL_CRATE) {
            for folder in [helpers.library_folder(), helpers.metadata_folder()] {
                let mut search = OsString::from("-Ldependency=");
                search.push(folder);
                arguments.push(search);
            }
        }
    }
    let mut command = if std::env::var_os(env::EVCXR_WRAPS_RUSTC).is_some() {
        // The user asked for evcxr's cache or dynamic linking: evcxr's own wrapper goes on, in this binary without our role.
        let mut command =
            Command::new(std::env::current_exe().unwrap_or_else(|_| rustc.clone().into()));
        command.env_remove(env::ROLE).arg(&rustc);
        command
    } else {
        Command::new(&rustc)
    };
    let error = command.args(&arguments).exec();
    eprintln!("cannot run {}: {error}", rustc.display());
    std::process::exit(1);
}

/// What matters in the arguments that cargo gives the compiler.
#[derive(Debug, Default, PartialEq, Eq)]
struct Invocation {
    crate_name: Option<String>,
    extra_filename: String,
    out_dir: PathBuf,
    source: Option<PathBuf>,
    links: bool,
    reports_artifacts: bool,
}

impl Invocation {
    fn of(arguments: &[OsString]) -> Self {
        let mut invocation = Self::default();
        let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
        while let Some(argument) = arguments.next() {
            let mut value_of = |name: &str| {
                if argument == name {
                    return arguments.next().map(|value| value.into_owned());
                }
                let value = argument.strip_prefix(name)?.strip_prefix('=')?;
                Some(value.to_owned())
            };
            if let Some(name) = value_of("--crate-name") {
                invocation.crate_name = Some(name);
            } else if let Some(folder) = value_of("--out-dir") {
                invocation.out_dir = folder.into();
            } else if let Some(kinds) = value_of("--emit") {
                invocation.links = kinds.split(',').any(|kind| kind == "link");
            } else if let Some(kinds) = value_of("--json") {
                invocation.reports_artifacts |= kinds.split(',').any(|kind| kind == "artifacts");
            } else if let Some(setting) = value_of("-C") {
                if let Some(extra) = setting.strip_prefix("extra-filename=") {
                    extra.clone_into(&mut invocation.extra_filename);
                }
            } else if !argument.starts_with('-')
                && Path::new(&*argument)
                    .extension()
                    .is_some_and(|extension| extension == "rs")
            {
                invocation.source = Some(argument.into_owned().into());
            }
        }
        invocation
    }
}

/// Puts the finished library where cargo expects the compiled one.
fn answer(helpers: &Library, invocation: &Invocation) -> std::io::Result<()> {
    let name = invocation
        .crate_name
        .as_deref()
        .ok_or_else(|| std::io::Error::other("cargo did not name the crate"))?;
    let target = |prefix: &str, extension: &str| {
        invocation.out_dir.join(format!(
            "{prefix}{name}{}.{extension}",
            invocation.extra_filename
        ))
    };
    let mut artifacts = vec![("rmeta", "metadata")];
    if invocation.links {
        artifacts.push(("rlib", "link"));
    }
    for (extension, emitted) in artifacts {
        let artifact = target("lib", extension);
        std::fs::remove_file(&artifact).ok();
        std::fs::copy(helpers.shim(name, extension), &artifact)?;
        if invocation.reports_artifacts {
            eprintln!(
                "{}",
                serde_json::json!({"$message_type": "artifact", "artifact": artifact, "emit": emitted})
            );
        }
    }
    let dep_info = target("", "d");
    let source = invocation.source.clone().unwrap_or_default();
    std::fs::write(
        &dep_info,
        format!("{}: {}\n", dep_info.display(), source.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_understood() {
        let arguments: Vec<OsString> = [
            "--crate-name",
            "azureml",
            "--edition=2024",
            "facades/azureml/src/lib.rs",
            "--error-format=json",
            "--json=diagnostic-rendered-ansi,artifacts,future-incompat",
            "--crate-type",
            "lib",
            "--emit=dep-info,metadata,link",
            "-C",
            "opt-level=1",
            "-C",
            "metadata=12",
            "-C",
            "extra-filename=-34",
            "--out-dir",
            "/tmp/target/deps",
            "-L",
            "dependency=/tmp/target/deps",
        ]
        .map(OsString::from)
        .into();
        assert_eq!(
            Invocation::of(&arguments),
            Invocation {
                crate_name: Some("azureml".to_owned()),
                extra_filename: "-34".to_owned(),
                out_dir: "/tmp/target/deps".into(),
                source: Some("facades/azureml/src/lib.rs".into()),
                links: true,
                reports_artifacts: true,
            }
        );
    }

    #[test]
    fn a_question_to_the_compiler_names_no_crate() {
        assert_eq!(Invocation::of(&["-vV".into()]), Invocation::default());
    }
}
