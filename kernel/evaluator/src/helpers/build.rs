//! Building the library of helper crates.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::metadata::{Metadata, Package};
use super::{HelperCrate, Library, Manifest, UMBRELLA, facade, pointer};
use crate::cache::Key;
use crate::env;
use crate::toolchain::Toolchain;

/// What a build says while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Another process builds; its result is waited for.
    Waiting,
    /// The build begins.
    Started,
    /// A crate is compiled: its number, and its name.
    Compiled {
        /// How many are done.
        done: usize,
        /// How many there are, about.
        of: usize,
        /// The package.
        package: String,
    },
    /// There is a finished library of the same content already.
    Reused,
}

/// Why the library could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A folder does not hold a library crate.
    #[error(
        "{folder} holds no Rust library\nhint: name a folder with a Cargo.toml that has a [lib] target"
    )]
    NoLibrary {
        /// The folder.
        folder: PathBuf,
    },
    /// cargo could not be asked.
    #[error("cannot ask cargo about the helper crates: {reason}\nhint: {hint}")]
    Metadata {
        /// What cargo said.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file could not be written.
    #[error(
        "cannot write {path}: {source}\nhint: make room, or name another folder in AZUREML_KERNEL_CACHE"
    )]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A tool could not be run.
    #[error("cannot run {program}: {source}\nhint: install Rust from https://rustup.rs")]
    Run {
        /// The tool.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A crate does not compile.
    #[error(
        "helper crates do not compile:\n{rendered}\nhint: `cargo build` in the crate's folder shows the same error"
    )]
    Compile {
        /// What the compiler said.
        rendered: String,
    },
}

/// Makes the crates in these folders available to cells: builds them when there is no finished library of the same content.
///
/// Two builds at once do not disturb each other: one builds, the other waits and uses the result.
pub fn build(
    crates: &[PathBuf],
    toolchain: &Toolchain,
    cache: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Library, BuildError> {
    let helpers = cache.join("helpers");
    let folder = helpers.join("build");
    create(&folder)?;
    let umbrella = Umbrella::describe(crates, toolchain)?;

    let library = Library::at(helpers.join(&umbrella.key));
    if library.manifest().is_none() {
        let lock_file = folder.join("lock");
        let lock = File::create(&lock_file).map_err(writing(&lock_file))?;
        if lock.try_lock().is_err() {
            progress(Progress::Waiting);
            lock.lock().map_err(writing(&lock_file))?;
        }
        if library.manifest().is_none() {
            progress(Progress::Started);
            umbrella.build(toolchain, &folder, &library, progress)?;
        } else {
            progress(Progress::Reused);
        }
    } else {
        progress(Progress::Reused);
    }
    publish_pointer(&helpers, toolchain, &umbrella.key)?;
    Ok(library)
}

/// The package that holds all helper crates, before it is built.
struct Umbrella {
    key: String,
    manifest: String,
    source: String,
    lock: Option<PathBuf>,
    roots: Vec<PathBuf>,
}

impl Umbrella {
    /// Reads what goes into the library, without building anything.
    fn describe(crates: &[PathBuf], toolchain: &Toolchain) -> Result<Self, BuildError> {
        let mut manifest = format!(
            "[package]\nname = \"azureml-kernel-helpers\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [lib]\nname = {UMBRELLA:?}\ncrate-type = [\"dylib\"]\npath = \"lib.rs\"\n\n[workspace]\n\n\
             [profile.release]\nopt-level = 2\ndebug = false\nstrip = \"debuginfo\"\npanic = \"unwind\"\n\n[dependencies]\n"
        );
        let mut source = String::from("//! All helper crates in one library.\n");
        let mut key = Key::new();
        key.add(env!("CARGO_PKG_VERSION"))
            .add(&toolchain.version)
            .add(toolchain.libdir.as_os_str().as_encoded_bytes());
        let mut roots = Vec::new();
        let mut lock = None;
        let mut locals = BTreeSet::new();
        for folder in crates {
            let no_library = || BuildError::NoLibrary {
                folder: folder.clone(),
            };
            let folder = folder.canonicalize().map_err(|_| no_library())?;
            let metadata = query(toolchain, &folder)?;
            let package = metadata.in_folder(&folder).ok_or_else(no_library)?;
            let library = package.library().ok_or_else(no_library)?;
            let crate_name = library.crate_name();
            writeln!(
                manifest,
                "{crate_name} = {{ package = {name:?}, path = {path:?} }}",
                name = package.name,
                path = folder.display().to_string(),
            )
            .ok();
            writeln!(source, "pub extern crate {crate_name};").ok();
            locals.extend(
                metadata
                    .with_local_dependencies(&[package])
                    .into_iter()
                    .map(|package| package.folder().to_owned()),
            );
            let candidate = metadata.workspace_root.join("Cargo.lock");
            if lock.is_none() && candidate.is_file() {
                lock = Some(candidate);
            }
            roots.push(folder);
        }
        key.add(&manifest).add(&source);
        if let Some(lock) = &lock {
            key.add(std::fs::read(lock).map_err(writing(lock))?);
        }
        for folder in &locals {
            hash_tree(&mut key, folder).map_err(writing(folder))?;
        }
        Ok(Self {
            key: key.finish(),
            manifest,
            source,
            lock,
            roots,
        })
    }

    fn build(
        &self,
        toolchain: &Toolchain,
        folder: &Path,
        library: &Library,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), BuildError> {
        let package = folder.join("package");
        create(&package)?;
        put(&package.join("Cargo.toml"), &self.manifest)?;
        put(&package.join("lib.rs"), &self.source)?;
        let lock = package.join("Cargo.lock");
        match &self.lock {
            // The versions that the checkout was tested with; and cargo needs no index.
            Some(from) => {
                std::fs::copy(from, &lock).map_err(writing(&lock))?;
            }
            None => {
                std::fs::remove_file(&lock).ok();
            }
        }
        let artifacts = compile(toolchain, &package, &folder.join("target"), progress)?;
        let metadata = query(toolchain, &package)?;

        let staging = tempfile::tempdir_in(folder).map_err(writing(folder))?;
        let staged = Library::at(staging.path().to_owned());
        collect(&artifacts, &staged)?;
        let roots: Vec<&Package> = self
            .roots
            .iter()
            .filter_map(|folder| metadata.in_folder(folder))
            .collect();
        let locals = metadata.with_local_dependencies(&roots);
        let facades = staged.facades();
        facade::write(&facades, &metadata, &locals).map_err(writing(&facades))?;
        let manifest = Manifest {
            rustc: toolchain.short_version().to_owned(),
            crates: roots
                .iter()
                .filter_map(|package| helper_crate(package))
                .collect(),
        };
        create(&staged.folder().join("shims"))?;
        for package in &locals {
            if let Some(helper) = helper_crate(package) {
                compile_shim(toolchain, &staged, &helper, is_root(&manifest, &helper))?;
            }
        }
        let text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
        put(&staged.folder().join("manifest.json"), &text)?;

        let target = library.folder();
        // Left there by a build that was killed half-way in an older version; a whole one would have been used.
        std::fs::remove_dir_all(target).ok();
        std::fs::rename(staging.keep(), target).map_err(writing(target))
    }
}

fn is_root(manifest: &Manifest, helper: &HelperCrate) -> bool {
    manifest.crates.contains(helper)
}

fn helper_crate(package: &Package) -> Option<HelperCrate> {
    Some(HelperCrate {
        package: package.name.clone(),
        library: package.library()?.crate_name(),
    })
}

/// cargo, undisturbed by what the environment says about builds.
fn cargo(toolchain: &Toolchain) -> Command {
    let mut command = Command::new(&toolchain.cargo);
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if env::BUILD_SETTINGS.contains(&&*name) || name.starts_with("CARGO_PROFILE_") {
            command.env_remove(&variable);
        }
    }
    command.env("RUSTC", &toolchain.rustc).stdin(Stdio::null());
    command
}

fn query(toolchain: &Toolchain, folder: &Path) -> Result<Metadata, BuildError> {
    let output = cargo(toolchain)
        .current_dir(folder)
        .args(["metadata", "--format-version=1", "--filter-platform"])
        .arg(&toolchain.host)
        .output()
        .map_err(|source| BuildError::Run {
            program: toolchain.cargo.clone(),
            source,
        })?;
    let failed = |reason: String| BuildError::Metadata {
        reason,
        hint: "`cargo metadata` in the crate's folder shows the same error; the first build needs the network",
    };
    if !output.status.success() {
        return Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

/// A line of `cargo build --message-format=json`.
#[derive(Debug, Deserialize)]
struct BuildMessage {
    reason: String,
    #[serde(default)]
    target: Option<BuiltTarget>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    #[serde(default)]
    message: Option<CompilerMessage>,
}

#[derive(Debug, Deserialize)]
struct BuiltTarget {
    name: String,
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct CompilerMessage {
    level: String,
    rendered: Option<String>,
}

/// A library that cargo has built.
struct Artifact {
    kind: Vec<String>,
    files: Vec<PathBuf>,
}

fn compile(
    toolchain: &Toolchain,
    package: &Path,
    target: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Artifact>, BuildError> {
    let running = |source| BuildError::Run {
        program: toolchain.cargo.clone(),
        source,
    };
    let metadata = query(toolchain, package)?;
    let mut child = cargo(toolchain)
        .current_dir(package)
        .args(["build", "--release", "--message-format=json", "--target"])
        .arg(&toolchain.host)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_BUILD_BUILD_DIR", target)
        // By unit separators: a path may hold spaces.
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            [
                "-Cprefer-dynamic",
                &format!("-Clink-arg=-Wl,-rpath,{}", toolchain.libdir.display()),
            ]
            .join("\u{1f}"),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(running)?;
    let said = child.stderr.take().map(|stderr| {
        std::thread::spawn(move || {
            let mut text = String::new();
            BufReader::new(stderr).read_to_string(&mut text).ok();
            text
        })
    });
    let mut artifacts = Vec::new();
    let mut errors = String::new();
    for line in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|stdout| BufReader::new(stdout).lines())
    {
        let Ok(message) = serde_json::from_str::<BuildMessage>(&line.map_err(running)?) else {
            continue;
        };
        match (message.reason.as_str(), message.target, message.message) {
            ("compiler-artifact", Some(target), _) => {
                progress(Progress::Compiled {
                    done: artifacts.len() + 1,
                    of: metadata.packages.len().max(artifacts.len() + 1),
                    package: target.name,
                });
                artifacts.push(Artifact {
                    kind: target.kind,
                    files: message.filenames,
                });
            }
            ("compiler-message", _, Some(message)) if message.level.starts_with("error") => {
                errors.push_str(&message.rendered.unwrap_or_default());
            }
            _ => {}
        }
    }
    let status = child.wait().map_err(running)?;
    let said = said
        .and_then(|reader| reader.join().ok())
        .unwrap_or_default();
    if status.success() {
        Ok(artifacts)
    } else {
        let rendered = if errors.is_empty() { said } else { errors };
        Err(BuildError::Compile {
            rendered: rendered.trim().to_owned(),
        })
    }
}

/// Puts what the compiler needs to know about the library, and the library, where cells look for it.
fn collect(artifacts: &[Artifact], library: &Library) -> Result<(), BuildError> {
    create(&library.library_folder())?;
    create(&library.metadata_folder())?;
    for artifact in artifacts {
        let is = |kind: &str| artifact.kind.iter().any(|one| one == kind);
        for file in &artifact.files {
            let extension = file.extension().unwrap_or_default();
            let folder = if is("dylib") && extension == "so" && is_umbrella(file) {
                library.library_folder()
            } else if (is("proc-macro") && extension == "so")
                || ((is("lib") || is("rlib")) && extension == "rmeta")
            {
                library.metadata_folder()
            } else {
                continue;
            };
            let copy = folder.join(file.file_name().unwrap_or_default());
            std::fs::copy(file, &copy).map_err(writing(&copy))?;
        }
    }
    Ok(())
}

fn is_umbrella(file: &Path) -> bool {
    file.file_stem()
        .is_some_and(|stem| stem.to_string_lossy() == format!("lib{UMBRELLA}"))
}

/// Compiles a crate that re-exports a helper crate from the dynamic library.
fn compile_shim(
    toolchain: &Toolchain,
    library: &Library,
    helper: &HelperCrate,
    is_root: bool,
) -> Result<(), BuildError> {
    let source = library.folder().join(format!("{}.shim.rs", helper.library));
    let text = if is_root {
        format!(
            "//! Re-exports `{0}`.\npub use {UMBRELLA}::{0}::*;\n",
            helper.library
        )
    } else {
        // Only another facade names it; code sees it through the crate that depends on it.
        "//! Stands for a crate that cells do not name.\n".to_owned()
    };
    put(&source, &text)?;
    let mut rustc = Command::new(&toolchain.rustc);
    for variable in env::BUILD_SETTINGS {
        rustc.env_remove(variable);
    }
    let search = |folder: PathBuf| format!("-Ldependency={}", folder.display());
    let output = rustc
        .args([
            "--crate-type=rlib",
            "--edition=2024",
            "--emit=metadata,link",
            "-Cprefer-dynamic",
        ])
        .args(["-Cmetadata=shim", "--crate-name", &helper.library])
        .arg("--target")
        .arg(&toolchain.host)
        .arg(search(library.metadata_folder()))
        .arg(search(library.library_folder()))
        .arg("--extern")
        .arg(format!(
            "{UMBRELLA}={}",
            library.dynamic_library().display()
        ))
        .arg("--out-dir")
        .arg(library.folder().join("shims"))
        .arg(&source)
        .output()
        .map_err(|source| BuildError::Run {
            program: toolchain.rustc.clone(),
            source,
        })?;
    std::fs::remove_file(&source).ok();
    if output.status.success() {
        Ok(())
    } else {
        Err(BuildError::Compile {
            rendered: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}

/// Makes this library the one that kernels with this toolchain use.
fn publish_pointer(helpers: &Path, toolchain: &Toolchain, key: &str) -> Result<(), BuildError> {
    let pointer = pointer(helpers, toolchain);
    let folder = helpers.join("current");
    create(&folder)?;
    let mut staged = tempfile::NamedTempFile::new_in(helpers).map_err(writing(helpers))?;
    std::io::Write::write_all(&mut staged, key.as_bytes()).map_err(writing(&pointer))?;
    staged
        .persist(&pointer)
        .map_err(|error| writing(&pointer)(error.error))?;
    Ok(())
}

/// Adds the names and contents of a package's files.
fn hash_tree(key: &mut Key, folder: &Path) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || name == "target" {
            continue;
        }
        let kind = entry.file_type()?;
        key.add(name.as_encoded_bytes());
        if kind.is_dir() {
            hash_tree(key, &entry.path())?;
            key.add("end of folder");
        } else if kind.is_file() {
            key.add(std::fs::read(entry.path())?);
        }
    }
    Ok(())
}

fn create(folder: &Path) -> Result<(), BuildError> {
    std::fs::create_dir_all(folder).map_err(writing(folder))
}

fn put(path: &Path, text: &str) -> Result<(), BuildError> {
    std::fs::write(path, text).map_err(writing(path))
}

fn writing(path: &Path) -> impl Fn(std::io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::Write {
        path: path.clone(),
        source,
    }
}
