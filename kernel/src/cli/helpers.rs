//! The prebuilt crates that cells use without `:dep`: their list, build and removal.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use azureml_kernel_helpers::toolchain::Toolchain;
use azureml_kernel_helpers::{self as helpers, Helpers};
use jupyter_protocol::JupyterKernelspec;

use super::Failure;
use crate::kernelspec::folder;

/// The crates of this repository that every cell may use.
const OWN_CRATES: [&str; 2] = ["crates/azureml", "crates/notebook"];

/// The file in a prebuilt set that lists the kernelspecs which use it, one per line.
const USERS: &str = "used-by";

/// Maximum width of a progress line on a terminal, in characters.
const WIDTH: usize = 78;

/// Builds this repository's crates and `further` ones; returns the environment variables through
/// which kernels find them.
pub fn build(running: &Path, further: &[PathBuf]) -> Result<BTreeMap<String, String>, Failure> {
    let own = own_crates(running);
    if own.is_empty() {
        eprintln!(
            "warning: {} was not found, so cells cannot use it\nhint: run this in a checkout of the repository, or name the folder of the crate with `--crate`",
            OWN_CRATES[0]
        );
    }
    let crates: Vec<PathBuf> = own.into_iter().chain(further.iter().cloned()).collect();
    if crates.is_empty() {
        return Ok(BTreeMap::new());
    }
    eprintln!("Building the crates that cells use without `:dep` (once; takes minutes)");
    let terminal = std::io::stderr().is_terminal();
    let built = helpers::build(&crates, &|line| show(terminal, line));
    if terminal {
        eprint!("\r\u{1b}[2K");
    }
    let built = built?;
    let names: Vec<&str> = built
        .facades()
        .iter()
        .map(|facade| facade.name.as_str())
        .collect();
    eprintln!("Built {} in {}", names.join(", "), built.folder().display());
    Ok(BTreeMap::from([(
        helpers::env::HELPERS.to_owned(),
        built.folder().to_string_lossy().into_owned(),
    )]))
}

/// Shows cargo's progress: on a terminal in one line that is overwritten, otherwise line by line.
fn show(terminal: bool, line: &str) {
    if terminal {
        let line: String = line.trim().chars().take(WIDTH).collect();
        eprint!("\r\u{1b}[2K{line}");
        // A failure to show progress must not stop the build.
        let _ = std::io::stderr().flush();
    } else {
        eprintln!("{line}");
    }
}

/// Returns the repository's crates: from the checkout that contains the binary, otherwise from the
/// one that contains the working directory.
fn own_crates(running: &Path) -> Vec<PathBuf> {
    let here = std::env::current_dir().unwrap_or_default();
    running
        .ancestors()
        .chain(here.ancestors())
        .map(|root| OWN_CRATES.map(|name| root.join(name)))
        .find(|crates| crates.iter().all(|path| path.join("Cargo.toml").is_file()))
        .map(Vec::from)
        .unwrap_or_default()
}

/// Returns the prebuilt set that a kernelspec's kernels use.
pub fn set_of(spec: &JupyterKernelspec) -> Option<PathBuf> {
    let folder = spec.env.as_ref()?.get(helpers::env::HELPERS)?;
    Some(PathBuf::from(folder))
}

/// Checks that kernels can use the prebuilt crates in a folder; returns their names.
pub fn check(set: &Path) -> Result<Vec<String>, Failure> {
    let names = |found: Helpers| {
        found
            .facades()
            .iter()
            .map(|facade| facade.name.clone())
            .collect()
    };
    Ok(names(Helpers::open(set, &Toolchain::find()?)?))
}

/// Records that the kernelspec in `place` uses the crates in a folder.
pub fn add_user(set: &Path, place: &Path) -> std::io::Result<()> {
    let mut users = users(set);
    users.insert(place.to_owned());
    write_users(set, &users)
}

/// Removes prebuilt sets that neither a kernelspec nor a process uses any more, except the newest
/// ones.
pub fn prune() {
    helpers::prune(&|set| users(set).iter().any(|user| uses(user, set)));
}

/// Removes the crates in a folder unless another kernelspec than the one in `place` or a process
/// uses them; returns whether they were removed.
pub fn remove_user(set: &Path, place: &Path) -> Result<bool, Failure> {
    let mut users = users(set);
    if !users.remove(place) {
        // Not a set that this program has written.
        return Ok(false);
    }
    users.retain(|user| uses(user, set));
    write_users(set, &users)?;
    Ok(users.is_empty() && helpers::remove(set)?)
}

/// Whether the kernelspec in the folder `place` still uses the prebuilt set `set`.
fn uses(place: &Path, set: &Path) -> bool {
    folder::read(place).is_some_and(|spec| set_of(&spec).as_deref() == Some(set))
}

/// Returns the kernelspec folders that use the crates in a folder.
fn users(set: &Path) -> BTreeSet<PathBuf> {
    let text = std::fs::read_to_string(set.join(USERS)).unwrap_or_default();
    text.lines().map(PathBuf::from).collect()
}

fn write_users(set: &Path, users: &BTreeSet<PathBuf>) -> std::io::Result<()> {
    let lines: String = users
        .iter()
        .flat_map(|user| [user.to_string_lossy(), "\n".into()])
        .collect();
    let mut file = tempfile::NamedTempFile::new_in(set)?;
    file.write_all(lines.as_bytes())?;
    file.persist(set.join(USERS))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernelspec::folder::{Binary, install};

    /// Installs a kernelspec that uses the crates in `set`; returns its folder.
    fn installed(root: &Path, name: &str, set: &Path) -> PathBuf {
        let kernels = root.join(name);
        let variables = BTreeMap::from([(
            helpers::env::HELPERS.to_owned(),
            set.to_string_lossy().into_owned(),
        )]);
        let binary = Binary::InPlace(PathBuf::from("/bin/true"));
        install(&kernels, &binary, &variables).expect("the folder is ours");
        let place = folder::path(&kernels);
        add_user(set, &place).expect("the folder is ours");
        place
    }

    /// Creates a set with the files that these tests need.
    fn set_in(root: &Path) -> PathBuf {
        let set = root.join("set");
        std::fs::create_dir(&set).expect("a folder");
        std::fs::write(set.join("set.json"), "{}").expect("a file");
        set
    }

    #[test]
    fn crates_stay_as_long_as_a_kernelspec_uses_them() {
        let root = tempfile::tempdir().expect("a folder");
        let set = set_in(root.path());
        let first = installed(root.path(), "first", &set);
        let second = installed(root.path(), "second", &set);
        folder::remove(&root.path().join("first")).expect("it is there");
        assert!(!remove_user(&set, &first).expect("the folder is ours"));
        assert!(set.exists());
        folder::remove(&root.path().join("second")).expect("it is there");
        assert!(remove_user(&set, &second).expect("the folder is ours"));
        assert!(!set.exists());
    }

    #[test]
    fn a_kernelspec_that_went_away_by_itself_uses_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let set = set_in(root.path());
        let gone = installed(root.path(), "gone", &set);
        std::fs::remove_dir_all(gone).expect("it is there");
        let place = installed(root.path(), "place", &set);
        folder::remove(&root.path().join("place")).expect("it is there");
        assert!(remove_user(&set, &place).expect("the folder is ours"));
    }

    #[test]
    fn a_folder_that_nobody_wrote_down_is_left_alone() {
        let root = tempfile::tempdir().expect("a folder");
        let set = root.path().join("documents");
        std::fs::create_dir(&set).expect("a folder");
        assert!(!remove_user(&set, root.path()).expect("nothing to do"));
        assert!(set.exists());
    }
}
