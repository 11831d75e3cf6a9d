//! Lists crates from cargo's local cache for completion, without network access.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::env;

/// The maximum number of names in a list.
const SHOWN: usize = 200;

/// Cargo's cache of downloaded crates and of registry indexes.
#[derive(Debug, Clone, Default)]
pub(super) struct Registry {
    /// The folder `CARGO_HOME`.
    home: Option<PathBuf>,
}

impl Registry {
    /// Returns the registry of the current user.
    pub(super) fn of_user() -> Self {
        let home = std::env::var_os(env::CARGO_HOME)
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
        Self { home }
    }

    /// Returns the names of crates that begin with `start`: downloaded crates first, then crates in
    /// a cached index.
    pub(super) fn names(&self, start: &str) -> Vec<String> {
        let here: BTreeSet<String> = self
            .packages()
            .filter_map(|package| Some(split(&package)?.0.to_owned()))
            .filter(|name| name.starts_with(start))
            .collect();
        let mut known = BTreeSet::new();
        for index in self.folders("index") {
            names_below(&index.join(".cache"), 2, start, &mut known);
        }
        let others = known.difference(&here);
        here.iter().chain(others).take(SHOWN).cloned().collect()
    }

    /// Returns the versions of a crate that begin with `start`, newest first. Downloaded versions
    /// come before all others.
    pub(super) fn versions(&self, name: &str, start: &str) -> Vec<String> {
        let mut here: Vec<String> = self
            .packages()
            .filter_map(|package| {
                let (known, version) = split(&package)?;
                (known == name).then(|| version.to_owned())
            })
            .collect();
        let mut others: Vec<String> = self
            .folders("index")
            .filter_map(|index| fs::read(index.join(".cache").join(place(name)?)).ok())
            .flat_map(|entry| versions_of(&entry))
            .filter(|version| !here.contains(version))
            .collect();
        for versions in [&mut here, &mut others] {
            versions.sort_by_cached_key(|version| Reverse(order(version)));
            versions.dedup();
        }
        here.append(&mut others);
        here.retain(|version| version.starts_with(start));
        here
    }

    /// Returns the downloaded packages, in the form `serde-1.0.228`.
    fn packages(&self) -> impl Iterator<Item = String> {
        self.folders("cache")
            .flat_map(|folder| entries(&folder))
            .filter_map(|path| {
                let name = path.file_name()?.to_str()?;
                Some(name.strip_suffix(".crate")?.to_owned())
            })
    }

    /// Returns the folders of this kind, one for each registry.
    fn folders(&self, kind: &str) -> impl Iterator<Item = PathBuf> + use<> {
        let home = self.home.as_ref();
        let folder = home.map(|home| home.join("registry").join(kind));
        folder.into_iter().flat_map(|folder| entries(&folder))
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

/// Splits `serde_json-1.0.1` into name and version. Both may contain hyphens, but only a version
/// begins with three numbers.
fn split(package: &str) -> Option<(&str, &str)> {
    package.match_indices('-').find_map(|(place, _)| {
        let (name, version) = (&package[..place], &package[place + 1..]);
        let mut numbers = version.split(['-', '+']).next()?.split('.');
        let is_number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u64>().is_ok());
        let is_version = (0..3).all(|_| is_number(numbers.next())) && numbers.next().is_none();
        is_version.then_some((name, version))
    })
}

/// Returns the path of a crate in an index. Names of up to three letters are in folders for their
/// length, all others in folders for their first letters.
fn place(name: &str) -> Option<PathBuf> {
    let name = name.to_lowercase();
    let folder = match name.len() {
        length @ (1 | 2) => PathBuf::from(length.to_string()),
        3 => Path::new("3").join(name.get(..1)?),
        _ => Path::new(name.get(..2)?).join(name.get(2..4)?),
    };
    Some(folder.join(name))
}

/// Collects the names of files that begin with `start`, in folders up to this depth.
fn names_below(folder: &Path, depth: usize, start: &str, names: &mut BTreeSet<String>) {
    for path in entries(folder) {
        if path.is_dir() {
            if depth > 0 {
                names_below(&path, depth - 1, start, names);
            }
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && name.starts_with(start)
        {
            names.insert(name.to_owned());
        }
    }
}

/// Returns the versions in an entry of cargo's index cache: a header, then pairs of a version and
/// its JSON, each terminated by NUL.
fn versions_of(entry: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Version {
        vers: String,
        #[serde(default)]
        yanked: bool,
    }
    entry
        .split(|byte| *byte == 0)
        .filter_map(|part| serde_json::from_slice::<Version>(part).ok())
        .filter(|version| !version.yanked)
        .map(|version| version.vers)
        .collect()
}

/// Returns a sort key for versions: a pre-release comes before its release.
fn order(version: &str) -> (Vec<u64>, bool, String) {
    let plain = version.split('+').next().unwrap_or(version);
    let (numbers, before) = plain.split_once('-').unwrap_or((plain, ""));
    let numbers = numbers.split('.').filter_map(|part| part.parse().ok());
    (numbers.collect(), before.is_empty(), before.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Creates a cargo folder with some crates.
    pub(in crate::rustc) fn registry(home: &Path) -> Registry {
        let write = |path: &str, text: &[u8]| {
            let path = home.join("registry").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for package in [
            "serde-1.0.9",
            "serde-1.0.10",
            "serde_json-1.0.1",
            "serde_yaml-0.9.34+deprecated",
            "base64ct-1.6.0",
        ] {
            write(&format!("cache/one/{package}.crate"), b"");
        }
        let version = |version: &str, yanked: bool| {
            format!(
                "{version}\0{{\"name\":\"serde\",\"vers\":\"{version}\",\"yanked\":{yanked}}}\0"
            )
        };
        let entry = "\u{3}\u{2}etag: \"x\"\0".to_owned()
            + &version("1.0.9", false)
            + &version("2.0.0-rc.1", false)
            + &version("2.0.0", false)
            + &version("3.0.0", true);
        write("index/one/.cache/se/rd/serde", entry.as_bytes());
        write("index/one/.cache/se/rd/serde_test", b"");
        write("index/one/.cache/3/s/ser", b"");
        write("index/one/config.json", b"{}");
        Registry {
            home: Some(home.to_owned()),
        }
    }

    #[test]
    fn crates_and_their_versions_are_found() {
        let home = tempfile::tempdir().unwrap();
        let registry = registry(home.path());
        assert_eq!(
            registry.names("ser"),
            ["serde", "serde_json", "serde_yaml", "ser", "serde_test"]
        );
        assert_eq!(registry.names("base"), ["base64ct"]);
        assert_eq!(
            registry.versions("serde", ""),
            ["1.0.10", "1.0.9", "2.0.0", "2.0.0-rc.1"]
        );
        assert_eq!(registry.versions("serde", "2."), ["2.0.0", "2.0.0-rc.1"]);
        assert_eq!(registry.versions("serde_yaml", "0"), ["0.9.34+deprecated"]);
        assert_eq!(registry.versions("한글", ""), [""; 0]);
        assert_eq!(Registry::default().names(""), [""; 0]);
    }

    #[test]
    fn an_index_has_its_own_order_of_names() {
        let of = |name| place(name).map(|path| path.display().to_string());
        assert_eq!(of("a").as_deref(), Some("1/a"));
        assert_eq!(of("rug").as_deref(), Some("3/r/rug"));
        assert_eq!(of("Serde").as_deref(), Some("se/rd/serde"));
    }
}
