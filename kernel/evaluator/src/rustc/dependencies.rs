//! `:dep`: builds crates with cargo into the cache, as one dynamic library per set, for all later
//! kernels.
//!
//! A set is a folder named by a hash of its inputs: the compiler and the `:dep` lines. It contains
//! the library with all crates of the set, and the metadata that the compiler reads when a cell
//! uses them. Kernels share finished sets, but not builds in progress: cargo locks its target
//! folder.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use azureml_kernel_helpers::own;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::DeTable;

use super::compiler::Library;
use super::native;
use crate::cache::Key;
use crate::env;
use crate::toolchain::Toolchain;

/// The manifest of a set. A folder without it is not a set, so it is written last.
const MANIFEST: &str = "set.json";

/// The optimisation level of dependencies, where notebooks spend most of their computing time.
const OPT_LEVEL: u8 = 2;

/// Messages of compilers and linkers about failed writes.
pub(super) const NO_ROOM: [&str; 3] = [
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
];

/// The number of lines of cargo's output in an error.
const SHOWN: usize = 40;

/// The number of newest sets that are kept. A set has some ten megabytes, most of them hard links
/// to files in cargo's target folder.
const KEPT: usize = 24;

/// The maximum size of cargo's target folder in bytes, enough for a few large crates. The folder
/// avoids building common dependencies of two sets twice.
const MOST_BUILT: u64 = 4 << 30;

/// The version of the way sets are linked. Changing it invalidates sets of older kernels.
const LINKED: &str = "native symbols shown";

/// Cargo's target folder.
const TARGET: &str = "target";

/// The prefix of folders that are not complete yet, or are being removed.
const UNFINISHED: &str = "unfinished-";

/// The dependencies of a notebook: names, and the text after `=` in a `Cargo.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dependencies {
    pub(super) lines: BTreeMap<String, String>,
    /// Whether cargo must not use the network.
    pub(super) offline: bool,
}

/// Reasons why dependencies are not available.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The line cannot be parsed.
    #[error(
        "`:dep {0}` names no crate\nhint: write `:dep serde = \"1\"`, `:dep serde = {{ version = \"1\", features = [\"derive\"] }}`, or the path of a local crate"
    )]
    Line(String),
    /// The folder of a local crate has no package.
    #[error("{} holds no Cargo package\nhint: name the folder of its Cargo.toml", .0.display())]
    NoPackage(PathBuf),
    /// Cargo failed.
    #[error("the dependencies do not build:\n{0}\nhint: {1}")]
    Cargo(String, &'static str),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}\nhint: make room there, or set AZUREML_KERNEL_CACHE to another folder", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Dependencies {
    /// Adds the arguments of a `:dep` command.
    pub(super) fn add(&mut self, arguments: &str) -> Result<(), Error> {
        let arguments = arguments.trim();
        if arguments.starts_with(['.', '/']) {
            let folder = fs::canonicalize(arguments);
            let folder = folder.map_err(|_| Error::NoPackage(arguments.into()))?;
            let path = literal(&folder);
            self.lines
                .insert(package_name(&folder)?, format!("{{ path = {path} }}"));
            return Ok(());
        }
        let (name, specification) = match arguments.split_once(['=', '@']) {
            // The syntax of `cargo add`.
            Some((name, version)) if arguments[name.len()..].starts_with('@') => {
                (name, serde_json::json!(version.trim()).to_string())
            }
            Some((name, specification)) => (name, specification.trim().to_owned()),
            None => (arguments, String::new()),
        };
        let name = name.trim();
        let is_name = |character: char| character.is_alphanumeric() || "-_".contains(character);
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(Error::Line(arguments.to_owned()));
        }
        let specification = if specification.is_empty() {
            "\"*\""
        } else {
            &specification
        };
        self.lines
            .insert(name.to_owned(), with_whole_path(specification));
        Ok(())
    }

    /// Returns the finished crates, and builds them if the cache does not contain them. `progress`
    /// is called with each line of cargo's output.
    pub(super) fn provide(
        &self,
        toolchain: &Toolchain,
        cache: &Path,
        progress: &dyn Fn(&str),
    ) -> Result<Library, Error> {
        if self.lines.is_empty() {
            return Ok(Library::default());
        }
        own::folder(cache).map_err(file_error("use", cache))?;
        let cache = cache.join("dependencies");
        own::folder(&cache).map_err(file_error("use", &cache))?;
        let name = self.key(toolchain);
        let set = cache.join(&name);
        refuse_others(&set, &cache)?;
        if let Some(library) = read_set(&set) {
            // Marks the set as recently used.
            if let Ok(manifest) = own::create(&set.join(MANIFEST)) {
                manifest.set_modified(std::time::SystemTime::now()).ok();
            }
            return Ok(library);
        }
        let packages = cache.join("packages");
        own::folder(&packages).map_err(file_error("use", &packages))?;
        let package = packages.join(&name);
        // If two kernels need the same set, only one of them builds it.
        let _turn = take_turn(&package)?;
        if let Some(library) = read_set(&set) {
            return Ok(library);
        }
        let building = builds(&cache)?;
        building
            .lock_shared()
            .map_err(file_error("lock", &cache.join(BUILDS)))?;
        self.write_package(&package, &name)?;
        let names = self.names(toolchain, &package)?;
        let target = cache.join(TARGET);
        own::marked_folder(&target, &cache).map_err(file_error("use", &target))?;
        let mut messages = self.build(toolchain, &package, &target, &[], progress)?;
        if let Some(link) = native::exports(&messages, &package) {
            match self.build(toolchain, &package, &target, &[link], progress) {
                Ok(linked) => messages = linked,
                // Most crates need no exported C symbols, so the first build suffices.
                Err(error) => tracing::warn!(%error, "what is in C stays hidden from cells"),
            }
        }
        collect(&cache, &set, &Built::read(&messages, &names))?;
        drop(building);
        prune(&cache, &set);
        tidy(&cache, MOST_BUILT);
        read_set(&set).ok_or_else(|| {
            Error::Cargo(
                format!("{} cannot be read", set.display()),
                "run the cell again",
            )
        })
    }

    /// Returns the path of the `Cargo.lock` of these dependencies. It exists if they were built.
    pub(super) fn lock(&self, toolchain: &Toolchain, cache: &Path) -> PathBuf {
        let packages = cache.join("dependencies").join("packages");
        packages.join(self.key(toolchain)).join("Cargo.lock")
    }

    /// Returns the name of the set: a hash of all its inputs.
    fn key(&self, toolchain: &Toolchain) -> String {
        let mut key = Key::new();
        key.add(&toolchain.version)
            .add(OPT_LEVEL.to_string())
            .add(LINKED);
        for (name, specification) in &self.lines {
            key.add(name).add(specification);
            if let Some(path) = local_path(specification) {
                add_sources(&mut key, &path);
            }
        }
        key.finish()
    }

    /// Returns the names of the local crates, with a hash that changes with their sources. A local
    /// crate may depend on another, so all of them have the same hash.
    pub(super) fn local_sources(&self) -> Vec<(String, String)> {
        let local: Vec<(&String, PathBuf)> = self
            .lines
            .iter()
            .filter_map(|(name, line)| Some((name, local_path(line)?)))
            .collect();
        let mut key = Key::new();
        for (_, folder) in &local {
            add_sources(&mut key, folder);
        }
        let sources = key.finish();
        let names = local.into_iter().map(|(name, _)| name.replace('-', "_"));
        names.map(|name| (name, sources.clone())).collect()
    }

    fn write_package(&self, folder: &Path, name: &str) -> Result<(), Error> {
        let mut manifest = format!(
            "[package]\nname = \"{}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[lib]\ncrate-type = [\"dylib\"]\n\n[workspace]\n\n\
             [profile.release]\nopt-level = {OPT_LEVEL}\ndebug = false\nstrip = \"debuginfo\"\ncodegen-units = 16\n\n[dependencies]\n",
            umbrella(name)
        );
        for (name, specification) in &self.lines {
            // Writing to a string cannot fail.
            let _ = writeln!(manifest, "{name} = {specification}");
        }
        let sources = self.local_sources();
        let digits = sources.first().and_then(|(_, key)| key.get(..4));
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        for (name, specification) in &self.lines {
            if local_path(specification).is_none() {
                continue;
            }
            // Cargo identifies a local crate by its folder, and the compiler identifies its types
            // by this identity and the profile. Values behind `dyn Any` must not be downcast to
            // types of an edited crate, so the profile contains a number that depends on the
            // sources. A small crate is compiled identically with any large number of codegen
            // units.
            let package = renamed(specification).unwrap_or_else(|| name.clone());
            let units = 16 + number.unwrap_or_default();
            let _ = writeln!(
                manifest,
                "\n[profile.release.package.\"{package}\"]\ncodegen-units = {units}"
            );
        }
        let sources = folder.join("src");
        fs::create_dir_all(&sources).map_err(file_error("create", &sources))?;
        let path = folder.join("Cargo.toml");
        fs::write(&path, manifest).map_err(file_error("write", &path))?;
        // Cargo requires a root file before it reads the package.
        write_root(folder, &HashMap::new())
    }

    fn build(
        &self,
        toolchain: &Toolchain,
        package: &Path,
        target: &Path,
        flags: &[String],
        progress: &dyn Fn(&str),
    ) -> Result<String, Error> {
        let mut cargo = self.cargo(toolchain, package);
        cargo
            .args([
                "rustc",
                "--release",
                "--message-format=json-render-diagnostics",
            ])
            // With an explicit target, the flags do not apply to build scripts and procedural
            // macros.
            .args(["--target", &toolchain.host])
            .arg("--")
            .args(flags)
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_ENCODED_RUSTFLAGS", "-Cprefer-dynamic")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = cargo.spawn().map_err(file_error("run", &toolchain.cargo))?;
        let stdout = child.stdout.take();
        let messages = std::thread::spawn(move || {
            let mut text = String::new();
            if let Some(mut stdout) = stdout {
                stdout.read_to_string(&mut text).ok();
            }
            text
        });
        let mut said = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                progress(&line);
                said.push(line);
            }
        }
        let success = child.wait().is_ok_and(|status| status.success());
        if !success {
            return Err(failed(&said));
        }
        Ok(messages.join().unwrap_or_default())
    }

    /// Returns the names under which cells know the packages, by package identifier. Writes all
    /// names to the root of the package.
    fn names(
        &self,
        toolchain: &Toolchain,
        package: &Path,
    ) -> Result<HashMap<String, String>, Error> {
        let output = self
            .cargo(toolchain, package)
            .args(["metadata", "--format-version=1"])
            .output()
            .map_err(file_error("run", &toolchain.cargo))?;
        let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            failed(&said.lines().map(str::to_owned).collect::<Vec<_>>())
        })?;
        let root = metadata.resolve.root;
        let dependencies = metadata
            .resolve
            .nodes
            .into_iter()
            .find(|node| Some(&node.id) == root.as_ref())
            .map(|node| node.deps)
            .unwrap_or_default();
        let names = dependencies
            .into_iter()
            .map(|dependency| (dependency.pkg, dependency.name))
            .collect();
        write_root(package, &names)?;
        Ok(names)
    }

    fn cargo(&self, toolchain: &Toolchain, package: &Path) -> Command {
        let mut cargo = Command::new(&toolchain.cargo);
        env::without_build_settings(&mut cargo);
        if self.offline {
            cargo.arg("--offline");
        }
        cargo.current_dir(package).env("RUSTC", &toolchain.rustc);
        cargo
    }
}

/// Writes the root of the package, which re-exports every crate so that the library includes it.
fn write_root(package: &Path, names: &HashMap<String, String>) -> Result<(), Error> {
    let mut lines: Vec<_> = names
        .values()
        .map(|name| format!("pub use {name};\n"))
        .collect();
    lines.sort_unstable();
    let path = package.join("src/lib.rs");
    fs::write(&path, lines.concat()).map_err(file_error("write", &path))
}

/// The keys of a dependency's table that locate its package.
#[derive(Default, Deserialize)]
struct Location {
    path: Option<Spanned<String>>,
    package: Option<String>,
}

impl Location {
    /// Parses the text after `=`. Cargo reports what cannot be parsed.
    fn of(specification: &str) -> Self {
        #[derive(Deserialize)]
        struct Line {
            it: Location,
        }
        toml::from_str(&format!("{BEFORE}{specification}"))
            .map(|line: Line| line.it)
            .unwrap_or_default()
    }
}

/// The start of the line that [`Location::of`] parses.
const BEFORE: &str = "it = ";

/// Returns the path of a local crate, from the text after `=`.
fn local_path(specification: &str) -> Option<PathBuf> {
    let path = Location::of(specification).path?;
    Some(path.into_inner().into())
}

/// Returns the name of the package, if the notebook renames it.
fn renamed(specification: &str) -> Option<String> {
    Location::of(specification).package
}

/// Returns the specification with an absolute path, independent of the notebook's folder.
fn with_whole_path(specification: &str) -> String {
    let whole = Location::of(specification).path.and_then(|path| {
        let range = path.span().start - BEFORE.len()..path.span().end - BEFORE.len();
        let path = fs::canonicalize(path.into_inner()).ok()?;
        let mut whole = specification.to_owned();
        whole.replace_range(range, &literal(&path));
        Some(whole)
    });
    whole.unwrap_or_else(|| specification.to_owned())
}

/// Returns a path as a TOML string.
fn literal(path: &Path) -> String {
    // A JSON string is also a TOML string.
    serde_json::json!(path.to_string_lossy()).to_string()
}

/// Adds the names, sizes and modification times of a local crate's files to the key.
fn add_sources(key: &mut Key, folder: &Path) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if name.starts_with('.') || name == "target" {
            continue;
        }
        key.add(name.as_bytes());
        if about.is_dir() {
            add_sources(key, &entry.path());
        } else {
            let changed = about
                .modified()
                .ok()
                .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
                .unwrap_or_default();
            key.add(about.len().to_le_bytes())
                .add(changed.as_nanos().to_le_bytes());
        }
    }
}

/// Waits until no other kernel builds this package. The lock is released with the returned file.
fn take_turn(package: &Path) -> Result<fs::File, Error> {
    let root = package.parent().unwrap_or(package);
    own::marked_folder(package, root).map_err(file_error("use", package))?;
    let path = package.join("lock");
    let lock = own::create(&path).map_err(file_error("create", &path))?;
    lock.lock().map_err(file_error("lock", &path))?;
    Ok(lock)
}

/// The file that is locked during builds.
const BUILDS: &str = "builds";

fn builds(cache: &Path) -> Result<fs::File, Error> {
    let path = cache.join(BUILDS);
    own::create(&path).map_err(file_error("create", &path))
}

/// Removes incomplete folders of killed kernels, and cargo's target folder if it is too large. Does
/// nothing during a build.
fn tidy(cache: &Path, most: u64) {
    let Some(lock) = builds(cache).ok().filter(|lock| lock.try_lock().is_ok()) else {
        return;
    };
    let target = cache.join(TARGET);
    if size(&target) > most {
        let away = cache.join(format!("{UNFINISHED}{TARGET}"));
        if let Err(error) = fs::rename(&target, away) {
            tracing::warn!(%error, folder = %target.display(), "what cargo has built stays");
        }
    }
    let left = fs::read_dir(cache)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with(UNFINISHED));
    for name in left {
        if let Err(error) = own::remove(cache, &name) {
            tracing::debug!(%error, folder = ?name, "an unfinished folder stays");
        }
    }
    drop(lock);
}

/// Returns the total size of the files in a folder, in bytes.
fn size(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        // The metadata of a symbolic link is that of the link itself.
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => size(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The files that cargo has built.
struct Built {
    /// The crates that cells can name.
    crates: Vec<(String, PathBuf)>,
    /// The library with all crates.
    umbrella: Option<(String, PathBuf)>,
    /// All files that cells need.
    files: Vec<PathBuf>,
    /// The folders of native libraries.
    native: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    root: Option<String>,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    pkg: String,
}

#[derive(Deserialize)]
struct Artifact {
    package_id: String,
    target: Target,
    filenames: Vec<PathBuf>,
}

/// The output of a build script, as reported by cargo.
#[derive(Deserialize)]
struct BuildScript {
    linked_paths: Vec<String>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Built {
    fn read(messages: &str, names: &HashMap<String, String>) -> Self {
        let mut built = Self {
            crates: Vec::new(),
            umbrella: None,
            files: Vec::new(),
            native: messages
                .lines()
                .filter_map(|line| serde_json::from_str::<BuildScript>(line).ok())
                .flat_map(|script| script.linked_paths)
                .map(|path| {
                    let plain = path.split_once('=').map_or(path.as_str(), |(_, path)| path);
                    PathBuf::from(plain)
                })
                .collect(),
        };
        let artifacts = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
            .filter(|artifact| {
                !artifact
                    .target
                    .kind
                    .iter()
                    .any(|kind| kind == "custom-build")
            });
        for artifact in artifacts {
            let files = artifact.filenames.into_iter().filter(|file| {
                file.extension()
                    .is_some_and(|end| end == "rlib" || end == "rmeta" || end == "so")
            });
            let files: Vec<PathBuf> = files.collect();
            let main = files
                .iter()
                .find(|file| file.extension().is_some_and(|end| end != "rmeta"));
            if let Some(main) = main {
                if let Some(name) = names.get(&artifact.package_id) {
                    built.crates.push((name.clone(), main.clone()));
                } else if artifact.target.kind.iter().any(|kind| kind == "dylib") {
                    built.umbrella = Some((artifact.target.name.replace('-', "_"), main.clone()));
                }
            }
            built.files.extend(files);
        }
        built
    }
}

/// The manifest of a set. Paths are relative to the set's folder.
#[derive(Serialize, Deserialize)]
struct Manifest {
    umbrella: String,
    crates: Vec<(String, PathBuf)>,
    native: Vec<PathBuf>,
}

/// Copies the build output into a set, which is created atomically.
fn collect(cache: &Path, set: &Path, built: &Built) -> Result<(), Error> {
    let staging = own::staging(UNFINISHED, cache).map_err(file_error("create", cache))?;
    for file in &built.files {
        link_or_copy(file, staging.path())?;
    }
    let mut native = Vec::new();
    for folder in &built.native {
        // Output of build scripts in cargo's target folder is copied, because that folder may be
        // removed.
        if !folder.starts_with(cache.join(TARGET)) {
            native.push(folder.clone());
            continue;
        }
        let own = PathBuf::from(format!("native-{}", native.len()));
        let target = staging.path().join(&own);
        fs::create_dir(&target).map_err(file_error("create", &target))?;
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // Includes versioned names such as `libx.so.1`.
            let name = entry.file_name();
            let is_library = name
                .to_string_lossy()
                .split('.')
                .skip(1)
                .any(|part| part == "a" || part == "so");
            if is_library && path.is_file() {
                link_or_copy(&path, &target)?;
            }
        }
        native.push(own);
    }
    let name = |file: &Path| PathBuf::from(file.file_name().unwrap_or_default());
    let Some((umbrella, library)) = &built.umbrella else {
        return Err(Error::Cargo(
            "cargo has built no library".to_owned(),
            "run the cell again",
        ));
    };
    let mut crates: Vec<_> = built
        .crates
        .iter()
        .map(|(crate_name, file)| (crate_name.clone(), name(file)))
        .collect();
    crates.push((umbrella.clone(), name(library)));
    let manifest = Manifest {
        umbrella: umbrella.clone(),
        crates,
        native,
    };
    let path = staging.path().join(MANIFEST);
    // A struct of strings and paths always serializes.
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    fs::write(&path, text).map_err(file_error("write", &path))?;
    if let Some(name) = set
        .file_name()
        .filter(|_| set.exists() && read_set(set).is_none())
    {
        // The set is damaged, for example by a power loss.
        own::remove(cache, name).map_err(file_error("remove", set))?;
    }
    match own::publish(staging.path(), set) {
        // Another kernel may have published the set first.
        Err(error) if read_set(set).is_none() => Err(file_error("create", set)(error)),
        _ => Ok(()),
    }
}

fn link_or_copy(file: &Path, folder: &Path) -> Result<(), Error> {
    let target = folder.join(file.file_name().unwrap_or_default());
    // Cargo replaces files and never modifies them, so a hard link is as safe as a copy.
    if fs::hard_link(file, &target).is_err() {
        fs::copy(file, &target).map_err(file_error("write", &target))?;
    }
    Ok(())
}

fn read_set(folder: &Path) -> Option<Library> {
    let manifest: Manifest =
        serde_json::from_slice(&own::read(&folder.join(MANIFEST)).ok()?).ok()?;
    let crates: Vec<_> = manifest
        .crates
        .into_iter()
        .map(|(name, file)| (name, folder.join(file)))
        .collect();
    let library = Library {
        linked: Vec::new(),
        crates,
        folders: vec![folder.to_owned()],
        native: manifest
            .native
            .into_iter()
            .map(|path| folder.join(path))
            .collect(),
        umbrella: Some(manifest.umbrella),
    };
    library.is_there().then_some(library)
}

/// Returns an error if other users can write to a set, because its libraries are loaded into cells.
fn refuse_others(set: &Path, cache: &Path) -> Result<(), Error> {
    let Ok(entries) = fs::read_dir(set) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let path = entry.path();
        own::check(&path, cache).map_err(file_error("use", &path))?;
    }
    Ok(())
}

/// Removes the oldest sets beyond [`KEPT`]. A kernel that still uses one of them builds it again.
fn prune(cache: &Path, newest: &Path) {
    let mut sets: Vec<_> = fs::read_dir(cache)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|folder| folder != newest)
        .filter_map(|folder| {
            let made = fs::metadata(folder.join(MANIFEST)).ok()?.modified().ok()?;
            Some((made, folder))
        })
        .collect();
    sets.sort_unstable();
    let old = sets.len().saturating_sub(KEPT - 1);
    for (_, folder) in &sets[..old] {
        let name = folder.file_name().unwrap_or_default();
        // The package of the set is removed, too.
        for parent in [cache, &cache.join("packages")] {
            if let Err(error) = own::remove(parent, name) {
                tracing::debug!(%error, set = ?name, "an old set stays");
            }
        }
    }
}

/// Returns the name of a set's bundle crate. Sets that are loaded successively need different
/// names.
fn umbrella(key: &str) -> String {
    format!("dependencies-{key}")
}

fn package_name(folder: &Path) -> Result<String, Error> {
    let none = || Error::NoPackage(folder.to_owned());
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).map_err(|_| none())?;
    // Cargo reports errors in the rest of the file.
    let (manifest, _) = DeTable::parse_recoverable(&manifest);
    let package = manifest.get_ref().get("package").ok_or_else(none)?;
    let name = package.get_ref().get("name").ok_or_else(none)?;
    let name = name.get_ref().as_str().ok_or_else(none)?;
    Ok(name.to_owned())
}

/// Converts cargo's output to an error.
fn failed(said: &[String]) -> Error {
    let start = said.len().saturating_sub(SHOWN);
    let text = said[start..].join("\n");
    let contains = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let hint = if contains(&NO_ROOM) {
        "make room on the disk of the cache, or set AZUREML_KERNEL_CACHE to another folder"
    } else if contains(&[
        "Could not resolve host",
        "download of config.json failed",
        "Couldn't connect",
        "spurious network",
    ]) {
        "there is no way to the registry: connect, or use a crate that this machine has (`:offline 1`, or a path)"
    } else if contains(&["no matching package", "failed to select a version"]) {
        "check the name, the version and the features"
    } else {
        "the crate's own page says what it needs"
    };
    Error::Cargo(text, hint)
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let mut dependencies = Dependencies::default();
        dependencies.add("serde").expect("a name");
        dependencies
            .add("rand = { version = \"0.9\", features = [\"std\"] }")
            .expect("a table");
        assert_eq!(
            dependencies.lines.into_iter().collect::<Vec<_>>(),
            [
                (
                    "rand".to_owned(),
                    "{ version = \"0.9\", features = [\"std\"] }".to_owned()
                ),
                ("serde".to_owned(), "\"*\"".to_owned())
            ]
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = fs::canonicalize(folder.path()).expect("it exists");
        let folder = folder.join("a=b@1");
        fs::create_dir(&folder).expect("the folder is ours");
        fs::write(folder.join("Cargo.toml"), "package.name = \"c\"").expect("the folder is ours");
        for (line, name, specification) in [
            ("a@1.2", "a", "\"1.2\""),
            ("a@=1.2.3", "a", "\"=1.2.3\""),
            ("a={git=\"ssh://b@c\"}", "a", "{git=\"ssh://b@c\"}"),
            (
                &folder.display().to_string(),
                "c",
                &format!("{{ path = \"{}\" }}", folder.display()),
            ),
        ] {
            let mut dependencies = Dependencies::default();
            dependencies.add(line).expect("it is valid");
            assert_eq!(dependencies.lines[name], specification, "{line}");
        }
        let nonsense = Dependencies::default().add("a b c");
        assert!(matches!(nonsense, Err(Error::Line(_))));
        let nowhere = Dependencies::default().add("/nowhere/at/all");
        assert!(matches!(nowhere, Err(Error::NoPackage(_))));
    }

    #[test]
    fn local_crates_are_found() {
        for (specification, path) in [
            (r#"{ version = "1", path = "/a b/c" }"#, Some("/a b/c")),
            (r#"{ features = ["path"], path = "../x" }"#, Some("../x")),
            (r#"{ package = "path-x", path = '../x' }"#, Some("../x")),
            (r#"{"path"="a\u0020\"b"} # path"#, Some("a \"b")),
            (r#"{ features = ["path"] }"#, None),
            (r#"{ git = ", path = 'x'" }"#, None),
            (r#""1""#, None),
            ("{ path", None),
        ] {
            let found = local_path(specification);
            assert_eq!(found.as_deref(), path.map(Path::new), "{specification}");
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = fs::canonicalize(folder.path()).expect("it exists");
        fs::create_dir(folder.join("a\"b")).expect("the folder is ours");
        let whole = with_whole_path(&format!(
            r#"{{ features = ["path"], path = '{}/./a"b' }} # path"#,
            folder.display()
        ));
        let expected = format!(
            r#"{{ features = ["path"], path = "{}/a\"b" }} # path"#,
            folder.display()
        );
        assert_eq!(whole, expected);
    }

    #[test]
    fn packages_are_found() {
        for (specification, name) in [
            (r#"{ features = ["package"], package = "x" }"#, Some("x")),
            (r#"{ path = "my package", package = 'x' }"#, Some("x")),
            (r#"{ path = "/package = x" }"#, None),
            (r#""1""#, None),
        ] {
            assert_eq!(renamed(specification).as_deref(), name, "{specification}");
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        for manifest in [
            "[package]\nname = \"x\"\n[dependencies]\ny = ",
            "[ package ] # [lib]\nname = 'x' # the name\n",
            "package.name = \"x\"",
        ] {
            fs::write(folder.path().join("Cargo.toml"), manifest).expect("the folder is ours");
            assert_eq!(package_name(folder.path()).expect("it has a name"), "x");
        }
        fs::write(folder.path().join("Cargo.toml"), "[workspace]").expect("the folder is ours");
        assert!(matches!(
            package_name(folder.path()),
            Err(Error::NoPackage(_))
        ));
    }

    #[test]
    fn another_compiler_wants_another_set() {
        let toolchain = |version: &str| Toolchain {
            rustc: PathBuf::new(),
            cargo: PathBuf::new(),
            version: version.to_owned(),
            host: String::new(),
            sysroot: PathBuf::new(),
            libdir: PathBuf::new(),
        };
        let mut dependencies = Dependencies::default();
        dependencies.add("serde = \"1\"").expect("a name");
        let before = dependencies.key(&toolchain("rustc 1.95.0"));
        assert_eq!(before, dependencies.key(&toolchain("rustc 1.95.0")));
        assert_ne!(before, dependencies.key(&toolchain("rustc 1.95.1")));
        dependencies.add("serde = \"1.0\"").expect("a name");
        assert_ne!(before, dependencies.key(&toolchain("rustc 1.95.0")));
    }

    #[test]
    fn what_cargo_has_built_goes_when_it_is_too_large_and_nothing_is_built() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let target = cache.path().join(TARGET);
        let half = cache.path().join(format!("{UNFINISHED}set"));
        fs::create_dir_all(target.join("release")).expect("the folder is ours");
        fs::create_dir(&half).expect("the folder is ours");
        for marked in [&target, &half] {
            own::mark(marked).expect("the folder is ours");
        }
        fs::write(target.join("release/file"), [0; 1000]).expect("the folder is ours");
        let building = builds(cache.path()).expect("the folder is ours");
        building.lock_shared().expect("nobody holds it");
        tidy(cache.path(), 999);
        assert!(target.exists() && half.exists());
        drop(building);
        tidy(cache.path(), 1000);
        assert!(target.exists() && !half.exists());
        tidy(cache.path(), 999);
        assert!(!target.exists());
    }

    #[test]
    fn removal_of_dependencies_spares_what_is_not_marked_or_behind_a_link() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let precious = scratch.path().join("precious");
        fs::write(&precious, [0; 1000]).expect("the folder is ours");
        fs::write(scratch.path().join(MANIFEST), "{}").expect("the folder is ours");
        for name in [
            TARGET.to_owned(),
            format!("{UNFINISHED}set"),
            "packages".to_owned(),
        ] {
            std::os::unix::fs::symlink(scratch.path(), cache.path().join(name))
                .expect("the folder is ours");
        }
        let users = cache.path().join(format!("{UNFINISHED}thesis"));
        fs::create_dir(&users).expect("the folder is ours");
        tidy(cache.path(), 0);
        tidy(cache.path(), 0);
        for number in 0..KEPT + 2 {
            let link = cache.path().join(format!("set-{number:02}"));
            std::os::unix::fs::symlink(scratch.path(), link).expect("the folder is ours");
        }
        prune(cache.path(), Path::new("none"));
        assert!(precious.exists() && users.exists());
    }

    #[test]
    fn sets_that_others_can_change_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let cache = tempfile::tempdir().expect("a temporary folder");
        let set = cache.path().join("set");
        let library = set.join("lib.so");
        fs::create_dir(&set).expect("the folder is ours");
        fs::write(&library, "").expect("the folder is ours");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(cache.path(), open).expect("it is ours");
        refuse_others(&set, cache.path()).expect("it is ours");
        for changed in [cache.path(), &set, &library] {
            let mode = |mode| fs::set_permissions(changed, fs::Permissions::from_mode(mode));
            mode(0o777).expect("it is ours");
            let refused = refuse_others(&set, cache.path()).expect_err("others can change it");
            assert!(refused.to_string().contains("chmod go-w"), "{refused}");
            mode(0o755).expect("it is ours");
        }
    }

    #[test]
    fn the_oldest_sets_go() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let set = |number: usize| cache.path().join(format!("set-{number:02}"));
        for number in 0..KEPT + 2 {
            fs::create_dir_all(set(number)).expect("the folder is ours");
            own::mark(&set(number)).expect("the folder is ours");
            let manifest =
                fs::File::create(set(number).join(MANIFEST)).expect("the folder is ours");
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            manifest.set_modified(time).expect("the file is ours");
        }
        prune(cache.path(), &set(0));
        let left: Vec<_> = (0..KEPT + 2)
            .filter(|number| set(*number).exists())
            .collect();
        assert_eq!(left.len(), KEPT);
        assert!(
            left.contains(&0) && !left.contains(&1) && !left.contains(&2),
            "{left:?}"
        );
    }
}
