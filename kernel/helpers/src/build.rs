//! Building of prebuilt sets.

use crate::error::{Error, io};
use crate::facade::{self, Package};
use crate::layout;
use crate::set::{self, Helpers, Manifest, Named};
use crate::toolchain::Toolchain;
use crate::{UMBRELLA, env, own};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The lock file of the cache, held by a process that changes the cache.
pub(crate) const LOCK: &str = "lock";

/// Cargo's build folder, kept because it makes the next build faster.
pub(crate) const TARGET: &str = "target";

/// The folder of the bundle crate, which depends on all helper crates.
pub(crate) const UMBRELLA_FOLDER: &str = "umbrella";

/// The layout version of sets, a part of the hash. It must change with the layout, so that sets of
/// older kernels are not reused.
const CONTENT: &str = "sources with their manifests";

/// Prefix of the folder of an unfinished set.
pub(crate) const UNFINISHED: &str = "unfinished-";

/// Number of lines of cargo's output in an error message.
const SHOWN: usize = 40;

/// Builds the crates in these folders into a prebuilt set with the active compiler, unless the same
/// set already exists.
///
/// `progress` is called with each line of cargo's output. Concurrent builds wait for each other. A
/// killed build leaves only an unfinished folder that is never used.
///
/// # Errors
/// If a crate is missing or does not compile, if no toolchain is found, or if the cache cannot be
/// written.
pub fn build(crates: &[PathBuf], progress: &dyn Fn(&str)) -> Result<Helpers, Error> {
    build_in(&set::cache()?, &Toolchain::find()?, crates, progress)
}

/// Like [`build`], with another cache folder and compiler.
///
/// # Errors
/// The same as for [`build`].
pub fn build_in(
    cache: &Path,
    toolchain: &Toolchain,
    crates: &[PathBuf],
    progress: &dyn Fn(&str),
) -> Result<Helpers, Error> {
    if let Some(root) = set::root_of(cache) {
        own::folder(&root).map_err(io("use", &root))?;
    }
    own::folder(cache).map_err(io("use", cache))?;
    let lock = cache.join(LOCK);
    let lock_file = own::create(&lock).map_err(io("create", &lock))?;
    lock_file.lock().map_err(io("lock", &lock))?;

    for folder in [TARGET, UMBRELLA_FOLDER] {
        let folder = cache.join(folder);
        own::marked_folder(&folder, cache).map_err(io("use", &folder))?;
    }
    let umbrella = Umbrella::write(&cache.join(UMBRELLA_FOLDER), toolchain, crates)?;
    let packages = umbrella.packages()?;
    let facades: Vec<&Package> = packages
        .iter()
        .filter(|package| package.name != UMBRELLA && package.is_local_library())
        .collect();
    umbrella.write_root(&facades)?;

    let folder = cache.join(umbrella.hash(&facades)?);
    if let Ok(helpers) = Helpers::open(&folder, toolchain) {
        return Ok(helpers);
    }
    let files = umbrella.compile(cache, progress)?;

    let unfinished = own::staging(UNFINISHED, cache).map_err(io("create", cache))?;
    collect(&files, unfinished.path())?;
    let versions = layout::lock(unfinished.path());
    fs::copy(umbrella.folder.join("Cargo.lock"), &versions).map_err(io("write", &versions))?;
    for package in &facades {
        package.write_facade(unfinished.path(), &facades)?;
    }
    let named = |name: &String| {
        let package = facades.iter().find(|package| &package.name == name)?;
        Some(Named {
            package: name.clone(),
            library: package.crate_name(),
        })
    };
    let manifest = Manifest {
        rustc: toolchain.label(),
        crates: umbrella.names.iter().filter_map(named).collect(),
    };
    set::finish(unfinished.path(), &manifest)?;
    if let Some(name) = folder.file_name().filter(|_| folder.exists()) {
        // A set with the same name that could not be opened is damaged.
        own::remove(cache, name).map_err(io("remove", &folder))?;
    }
    own::publish(unfinished.path(), &folder).map_err(io("create", &folder))?;
    Helpers::open(&folder, toolchain)
}

/// The bundle crate: it depends on all helper crates and is compiled to the dynamic library.
struct Umbrella<'a> {
    folder: PathBuf,
    toolchain: &'a Toolchain,
    names: Vec<String>,
    /// The manifests of the helper crates' workspaces, from which the crates inherit.
    workspaces: BTreeSet<PathBuf>,
}

/// The output of `cargo metadata`.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

impl<'a> Umbrella<'a> {
    fn write(folder: &Path, toolchain: &'a Toolchain, crates: &[PathBuf]) -> Result<Self, Error> {
        let mut manifest = format!(
            "[package]\nname = {UMBRELLA:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [lib]\ncrate-type = [\"dylib\"]\n\n[workspace]\n\n\
             # Cells wait for the network, not for this code; building it is what people wait for.\n\
             [profile.release]\nopt-level = 1\ndebug = false\nstrip = \"debuginfo\"\ncodegen-units = 16\n\n\
             [dependencies]\n"
        );
        let mut names = Vec::new();
        let mut workspaces = BTreeSet::new();
        for folder in crates {
            let folder = fs::canonicalize(folder).map_err(|_| Error::NoPackage(folder.clone()))?;
            let (package, workspace) = own_package(&folder, toolchain)?;
            workspaces.insert(workspace.join("Cargo.toml"));
            // Writing to a String cannot fail.
            let _ = writeln!(manifest, "{}", facade::dependency(&package.name, &folder));
            names.push(package.name);
        }
        facade::write(&folder.join("Cargo.toml"), &manifest)?;
        // `cargo metadata` requires an existing crate root.
        facade::write(&folder.join("src/lib.rs"), "")?;
        // Pins the versions that the helper crates were tested with.
        let lock = folder.join("Cargo.lock");
        if let Some(tested) = crates.iter().find_map(|folder| lock_above(folder)) {
            fs::copy(&tested, &lock).map_err(io("write", &lock))?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            toolchain,
            names,
            workspaces,
        })
    }

    /// Returns the helper crates and all their dependencies.
    fn packages(&self) -> Result<Vec<Package>, Error> {
        let mut cargo = cargo(&self.folder, self.toolchain);
        cargo.args(["metadata", "--format-version=1"]);
        Ok(metadata(cargo)?.packages)
    }

    fn write_root(&self, facades: &[&Package]) -> Result<(), Error> {
        let mut root = String::new();
        let mut indirect = String::new();
        for package in facades {
            let _ = writeln!(root, "pub use {};", package.crate_name());
            if !self.names.contains(&package.name) {
                let _ = writeln!(
                    indirect,
                    "{}",
                    facade::dependency(&package.name, package.folder())
                );
            }
        }
        let path = self.folder.join("Cargo.toml");
        let mut manifest = fs::read_to_string(&path).map_err(io("read", &path))?;
        manifest.push_str(&indirect);
        facade::write(&path, &manifest)?;
        facade::write(&self.folder.join("src/lib.rs"), &root)
    }

    /// Returns the name of the set: a hash of all its inputs.
    fn hash(&self, facades: &[&Package]) -> Result<String, Error> {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(env!("CARGO_PKG_VERSION").as_bytes());
        add(CONTENT.as_bytes());
        add(self.toolchain.label().as_bytes());
        let mut files = vec![
            self.folder.join("Cargo.toml"),
            self.folder.join("Cargo.lock"),
        ];
        files.extend(self.workspaces.iter().cloned());
        for package in facades {
            files.push(package.folder().join("Cargo.toml"));
            if let Some(sources) = package.sources() {
                list(sources, &mut files)?;
            }
        }
        for file in files {
            add(file.as_os_str().as_encoded_bytes());
            add(&fs::read(&file).map_err(io("read", &file))?);
        }
        let digest = hash.finalize();
        let mut name = String::new();
        for byte in &digest[..8] {
            let _ = write!(name, "{byte:02x}");
        }
        Ok(name)
    }

    /// Compiles the bundle crate; returns the files that cells need: the library, metadata,
    /// procedural macros.
    fn compile(&self, cache: &Path, progress: &dyn Fn(&str)) -> Result<Vec<PathBuf>, Error> {
        let mut child = cargo(&self.folder, self.toolchain)
            .args([
                "build",
                "--release",
                "--message-format=json-render-diagnostics",
            ])
            .args(["--target", &self.toolchain.host])
            .env("CARGO_TARGET_DIR", cache.join(TARGET))
            // Cells share the toolchain's own standard library. The metadata separates these crates
            // from copies of the same crates that a cell adds with `:dep`.
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                "-Cprefer-dynamic\u{1f}-Cmetadata=azureml-kernel-helpers",
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| self.no_cargo(source))?;
        let stdout = child.stdout.take();
        let artifacts = std::thread::spawn(move || stdout.map(artifacts).unwrap_or_default());
        let mut said = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                progress(line.trim());
                said.push(line);
            }
        }
        let status = child.wait().map_err(|source| self.no_cargo(source))?;
        // The thread only reads lines and does not panic. If it did, no files would be found.
        let files = artifacts.join().unwrap_or_default();
        if status.success() {
            return Ok(files);
        }
        let from = said.len().saturating_sub(SHOWN);
        Err(Error::Build {
            output: said[from..].join("\n"),
        })
    }

    fn no_cargo(&self, source: std::io::Error) -> Error {
        Error::NoCargo {
            program: self.toolchain.cargo.clone(),
            source,
        }
    }
}

/// Returns the files that cargo reports as built or up to date: libraries and metadata, without
/// archives.
fn artifacts(messages: impl Read) -> Vec<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        #[serde(default)]
        filenames: Vec<PathBuf>,
    }
    BufReader::new(messages)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Message>(&line).ok())
        .flat_map(|message| message.filenames)
        .filter(|file| {
            let extension = file.extension().and_then(OsStr::to_str);
            matches!(extension, Some("rmeta" | "so"))
        })
        .collect()
}

/// Copies the finished files into a set.
fn collect(files: &[PathBuf], set: &Path) -> Result<(), Error> {
    let deps = layout::deps_folder(set);
    fs::create_dir_all(&deps).map_err(io("create", &deps))?;
    for file in files {
        link(file, &deps.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// Returns the package in `folder` and the root of its workspace.
fn own_package(folder: &Path, toolchain: &Toolchain) -> Result<(Package, PathBuf), Error> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(Error::NoPackage(folder.to_owned()));
    }
    let mut cargo = cargo(folder, toolchain);
    cargo.args(["metadata", "--format-version=1", "--no-deps"]);
    let metadata = metadata(cargo)?;
    let package = metadata
        .packages
        .into_iter()
        .find(|package| package.folder() == folder)
        .ok_or_else(|| Error::NoPackage(folder.to_owned()))?;
    Ok((package, metadata.workspace_root))
}

fn metadata(mut cargo: Command) -> Result<Metadata, Error> {
    let output = cargo.output().map_err(|source| Error::NoCargo {
        program: cargo.get_program().into(),
        source,
    })?;
    if !output.status.success() {
        return Err(Error::Build {
            output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    serde_json::from_slice(&output.stdout).map_err(|error| Error::Build {
        output: format!("cargo metadata: {error}"),
    })
}

/// Creates a cargo command that uses this compiler even if a toolchain file in `folder` selects
/// another, and that ignores the user's environment variables for other builds.
fn cargo(folder: &Path, toolchain: &Toolchain) -> Command {
    let mut cargo = Command::new(&toolchain.cargo);
    cargo.current_dir(folder).stdin(Stdio::null());
    for variable in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_TARGET_DIR",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        env::WRAPPER,
    ] {
        cargo.env_remove(variable);
    }
    cargo.env("RUSTC", &toolchain.rustc);
    cargo
}

/// Returns the Cargo.lock that applies to `folder`.
fn lock_above(folder: &Path) -> Option<PathBuf> {
    let folder = fs::canonicalize(folder).ok()?;
    folder
        .ancestors()
        .map(|above| above.join("Cargo.lock"))
        .find(|lock| lock.is_file())
}

/// Lists all files below `folder`, sorted.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let mut entries = fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(io("read", folder))?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        if entry.path().is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Creates a hard link to a file, or a copy if the file system does not allow one.
fn link(from: &Path, to: &Path) -> Result<(), Error> {
    if to.exists() {
        return Ok(());
    }
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(drop))
        .map_err(io("write", to))
}
