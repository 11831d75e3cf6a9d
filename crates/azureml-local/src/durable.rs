//! Durability after a power loss.
//!
//! **Guaranteed.** When the server acknowledges a record in the store (a job, its end, a metric, a
//! tag, a registered version, the mark of a finished upload), the record is durable, and so is
//! every file that was published before: its content, its name and its parent folders. Acknowledged
//! content is never replaced by a partial file: a file is fsynced before it replaces another one.
//! The workspace's own files, such as its key, are durable once they are written.
//!
//! **Not guaranteed.** A blob that no record relies on may be lost, as a whole. A deleted blob may
//! reappear.
//!
//! The order of operations: the content of a file is fsynced before a record relies on it; a rename
//! is made durable by an fsync of its folder, and a new folder by an fsync of its parent; then
//! `SQLite` commits with `synchronous=FULL`. All of these file operations are in this module. A
//! test records them and simulates a power loss after each.

use crate::dir::{Dir, is_absent};
use crate::name::{BlobName, Relative};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::{mem, thread};

/// The maximum number of files that are synced individually.
const NAMED: usize = 32;

/// Published files that may not be durable.
#[derive(Debug, Default)]
pub struct Dirty {
    files: Vec<PathBuf>,
    /// Whether there are more files than are listed.
    more: bool,
}

impl Dirty {
    /// Adds a published file.
    pub fn add(&mut self, file: PathBuf) {
        if self.files.len() < NAMED {
            self.files.push(file);
        } else {
            self.more = true;
        }
    }

    /// Records that some files could not be synced.
    pub fn add_unnamed(&mut self) {
        self.more = true;
    }

    /// Removes and returns all entries.
    #[must_use]
    pub fn take(&mut self) -> Self {
        mem::take(self)
    }

    /// Syncs all files, with their folders up to `root`.
    pub fn sync(&self, root: &Path) -> io::Result<()> {
        if self.more {
            // `syncfs` also waits for the writes of other programs, but it is much faster than a
            // thousand fsyncs.
            File::open(root).and_then(|root| Ok(rustix::fs::syncfs(root)?))?;
            note(|| Op::SyncAll);
            return Ok(());
        }
        sync_each(&self.files, File::sync_data)?;
        for file in &self.files {
            note(|| Op::Sync(file.clone()));
        }
        let folders: BTreeSet<PathBuf> = self
            .files
            .iter()
            .flat_map(|file| file.ancestors().skip(1))
            .filter(|folder| folder.starts_with(root))
            .map(Path::to_owned)
            .collect();
        let folders: Vec<PathBuf> = folders.into_iter().collect();
        sync_each(&folders, File::sync_all)?;
        for folder in &folders {
            note(|| Op::Sync(folder.clone()));
        }
        Ok(())
    }
}

/// Syncs files in parallel, which costs about as much as a single sync.
fn sync_each(paths: &[PathBuf], sync: impl Fn(&File) -> io::Result<()> + Sync) -> io::Result<()> {
    let one = |path: &PathBuf| match File::open(path) {
        Ok(file) => sync(&file),
        // The file was removed, or replaced by another one in the list.
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(error),
    };
    for some in paths.chunks(NAMED) {
        thread::scope(|scope| {
            let waiting: Vec<_> = some.iter().map(|path| scope.spawn(|| one(path))).collect();
            waiting.into_iter().try_for_each(|waiting| {
                waiting
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
            })
        })?;
    }
    Ok(())
}

/// Moves a finished file to its place in a container at `root`. If it replaces another file, it is
/// synced first.
pub fn publish(
    temporary: &Path,
    container: &Dir,
    root: &Path,
    name: &BlobName,
) -> io::Result<PathBuf> {
    let to = root.join(name.as_str());
    note_written(temporary);
    if container.stat(name).is_ok() {
        File::open(temporary)?.sync_data()?;
        note(|| Op::Sync(temporary.to_owned()));
    }
    if let (Some(folder), _) = name.split() {
        container.make(&folder)?;
        note(|| Op::Folder(root.join(folder.as_str())));
    }
    container.rename_into(temporary, name)?;
    note(|| Op::Rename(temporary.to_owned(), to.clone()));
    Ok(to)
}

/// Moves a finished file to its place. The file is durable when this function returns.
pub fn replace(temporary: &Path, to: &Path) -> io::Result<()> {
    note_written(temporary);
    File::open(temporary)?.sync_data()?;
    note(|| Op::Sync(temporary.to_owned()));
    fs::rename(temporary, to)?;
    note(|| Op::Rename(temporary.to_owned(), to.to_owned()));
    match to.parent() {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

/// Syncs a folder, so that the names in it are durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    note(|| Op::Sync(folder.to_owned()));
    Ok(())
}

/// A file operation, for the simulation in the tests.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Op {
    /// The content of a file was written, without a sync.
    Written(PathBuf, Vec<u8>),
    /// A folder was created, with its parents.
    Folder(PathBuf),
    /// A file was renamed.
    Rename(PathBuf, PathBuf),
    /// The content of a file or the names in a folder were synced.
    Sync(PathBuf),
    /// Everything was synced.
    SyncAll,
    /// A record relies on the file from here on.
    #[cfg(test)]
    Acknowledged(PathBuf, Vec<u8>),
}

fn note_written(file: &Path) {
    note(|| Op::Written(file.to_owned(), fs::read(file).unwrap_or_default()));
}

#[cfg(not(test))]
fn note(_: impl FnOnce() -> Op) {}

#[cfg(test)]
use tests::note;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob;
    use crate::home::Home;
    use crate::name::ContainerName;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local! {
        static RECORD: RefCell<Option<Vec<Op>>> = const { RefCell::new(None) };
    }

    pub(super) fn note(op: impl FnOnce() -> Op) {
        RECORD.with_borrow_mut(|record| {
            if let Some(record) = record {
                record.push(op());
            }
        });
    }

    fn recorded(run: impl FnOnce()) -> Vec<Op> {
        RECORD.set(Some(Vec::new()));
        run();
        RECORD.take().unwrap()
    }

    /// A simulated disk: the state in memory and the durable state. Paths are names; files have
    /// numbers.
    #[derive(Default, Clone)]
    struct Disk {
        /// The names in memory and the durable ones: a file has a number, a folder has none.
        names: BTreeMap<PathBuf, Option<usize>>,
        kept: BTreeMap<PathBuf, Option<usize>>,
        /// The contents in memory and the durable ones.
        contents: Vec<(Vec<u8>, Vec<u8>)>,
    }

    impl Disk {
        fn apply(&mut self, op: &Op) {
            match op {
                Op::Written(path, content) => {
                    self.names.insert(path.clone(), Some(self.contents.len()));
                    self.contents.push((content.clone(), Vec::new()));
                }
                Op::Folder(path) => {
                    for folder in path.ancestors() {
                        self.names.entry(folder.to_owned()).or_insert(None);
                    }
                }
                Op::Rename(from, to) => {
                    let file = self.names.remove(from).expect("it was written");
                    self.names.insert(to.clone(), file);
                }
                Op::Sync(path) => {
                    if let Some(Some(file)) = self.names.get(path).copied() {
                        self.sync_content(file);
                    } else {
                        let inside = |name: &PathBuf| name.parent() == Some(path);
                        self.kept.retain(|name, _| !inside(name));
                        let names = self.names.iter().filter(|(name, _)| inside(name));
                        self.kept
                            .extend(names.map(|(name, file)| (name.clone(), *file)));
                    }
                }
                Op::SyncAll => {
                    self.kept = self.names.clone();
                    (0..self.contents.len()).for_each(|file| self.sync_content(file));
                }
                Op::Acknowledged(..) => {}
            }
        }

        fn sync_content(&mut self, file: usize) {
            self.contents[file].1 = self.contents[file].0.clone();
        }

        /// The content of a file after a power loss. With `names`, names that were not synced
        /// survive, too.
        fn read(&self, path: &Path, root: &Path, names: bool) -> Option<&[u8]> {
            let all = if names { &self.names } else { &self.kept };
            let reached = path
                .ancestors()
                .skip(1)
                .take_while(|folder| *folder != root)
                .all(|folder| all.contains_key(folder));
            let file = all.get(path).copied().flatten().filter(|_| reached)?;
            Some(&self.contents[file].1)
        }
    }

    /// Simulates a power loss after each operation: every file that a record relies on must exist,
    /// complete and not older than the record.
    fn check(ops: &[Op], root: &Path) -> Result<(), String> {
        let mut disk = Disk::default();
        // The valid contents of a file: the last acknowledged one, and those written later.
        let mut relied: BTreeMap<PathBuf, Vec<Vec<u8>>> = BTreeMap::new();
        let mut written: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        for (number, op) in ops.iter().enumerate() {
            disk.apply(op);
            match op {
                Op::Written(path, content) => {
                    written.insert(path.clone(), content.clone());
                }
                Op::Rename(from, to) => {
                    if let (Some(may), Some(new)) = (relied.get_mut(to), written.get(from)) {
                        may.push(new.clone());
                    }
                }
                Op::Acknowledged(path, content) => {
                    relied.insert(path.clone(), vec![content.clone()]);
                }
                _ => {}
            }
            for (path, may) in &relied {
                for names in [false, true] {
                    let found = disk.read(path, root, names).map(<[u8]>::to_vec);
                    if !found.as_ref().is_some_and(|found| may.contains(found)) {
                        return Err(format!(
                            "after operation {number}, {op:?}, {} is {found:?}",
                            path.display()
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Publishes a blob like the blob store does.
    fn put(home: &Home, container: &ContainerName, name: &str, content: &str) -> PathBuf {
        let temporary = blob::temporary(home);
        fs::write(&temporary, content).unwrap();
        let name = BlobName::parse(name).unwrap();
        blob::publish(home, &temporary, container, &name).unwrap();
        home.blobs().join(container.as_str()).join(name.as_str())
    }

    fn rely_on(files: &[(PathBuf, String)]) {
        for (file, content) in files {
            note(|| Op::Acknowledged(file.clone(), content.clone().into_bytes()));
        }
    }

    fn with_home(run: impl FnOnce(&Home, &ContainerName)) -> (Vec<Op>, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let home = Home::at(Some(root.path().to_owned())).unwrap();
        let ops = recorded(|| {
            let _lock = home.take().unwrap();
            let container = ContainerName::default_datastore();
            blob::create_container(&home, &container).unwrap();
            run(&home, &container);
        });
        (ops, root.path().to_owned())
    }

    #[test]
    fn power_loss_keeps_every_file_that_is_relied_upon() {
        for count in [1, 5, NAMED, NAMED + 1, 100] {
            let (ops, root) = with_home(|home, container| {
                let mut files = Vec::new();
                for round in 0..3 {
                    for number in 0..count {
                        // Some files are new, others replace existing ones.
                        let name = format!("code/{}/{number}.rs", (round * number) % 3);
                        let content = format!("{round} {number}");
                        let file = put(home, container, &name, &content);
                        files.retain(|(known, _)| *known != file);
                        files.push((file, content));
                    }
                    home.settle().unwrap();
                    rely_on(&files);
                    for number in 0..count {
                        put(
                            home,
                            container,
                            &format!("new/{round}/{number}"),
                            "unrelied",
                        );
                    }
                }
            });
            assert!(ops.len() > 9 * count);
            check(&ops, &root).unwrap_or_else(|why| panic!("{count}: {why}"));
        }
    }

    #[test]
    fn power_loss_keeps_the_workspaces_own_files() {
        let (ops, root) = with_home(|home, _| {
            let key = home.root().join("key");
            let content = fs::read(&key).unwrap();
            note(|| Op::Acknowledged(key.clone(), content.clone()));
            for port in [1, 2] {
                home.set_port(port).unwrap();
                note(|| Op::Acknowledged(home.port_file(), port.to_string().into_bytes()));
            }
        });
        check(&ops, &root).unwrap();
    }

    #[test]
    fn power_loss_is_noticed_where_a_sync_is_left_out() {
        let (ops, root) = with_home(|home, container| {
            let first = put(home, container, "a/b/c", "1");
            home.settle().unwrap();
            rely_on(&[(first.clone(), "1".to_owned())]);
            put(home, container, "a/b/c", "2");
            home.settle().unwrap();
            rely_on(&[(first, "2".to_owned())]);
        });
        check(&ops, &root).unwrap();
        let mut found = 0;
        for (number, op) in ops.iter().enumerate() {
            if matches!(op, Op::Sync(_)) {
                let mut fewer = ops.clone();
                fewer.remove(number);
                found += usize::from(check(&fewer, &root).is_err());
            }
        }
        assert!(found >= 5, "{found} of the syncs are missed");
    }
}
