//! Stages the files of a job in one folder.
//!
//! The traversal is not recursive: a job may nest folders to any depth. Links are followed within
//! the job's folder only, never to a folder that contains the link, and up to a maximum number of
//! files: a few links can give a file more paths than a disk can hold.

use crate::dir::{Dir, Entry, is_absent, part};
use crate::error::is_disk_full;
use crate::name::{BlobName, Relative};
use rustix::fs::{AtFlags, FileType};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The maximum number of files and folders of a job.
const MOST: usize = 1_000_000;

/// The maximum number of them that links lead to.
const MOST_BY_LINK: usize = 10_000;

/// The maximum number of individual messages.
const MOST_REASONS: usize = 100;

/// A folder or a file to stage.
struct Task {
    /// Its path in the job's folder.
    from: BlobName,
    /// Its path in the staging folder, and its name in messages.
    to: BlobName,
    shown: String,
    /// The paths of the links that led there.
    links: Vec<BlobName>,
}

/// The queue of tasks. Targets of links come last: they must not use up the limit of the real
/// files.
#[derive(Default)]
struct Waiting(VecDeque<Task>);

impl Waiting {
    fn push(&mut self, task: Task) {
        if task.links.is_empty() {
            self.0.push_back(task);
        } else {
            self.0.push_front(task);
        }
    }
}

/// Stages the files of a job.
pub struct Gatherer<'a> {
    /// The job's folder.
    job: Dir,
    /// Its path, without links.
    root: PathBuf,
    staging: &'a Dir,
    count: usize,
    by_link: usize,
    left_out: Vec<String>,
    unnamed: usize,
}

impl<'a> Gatherer<'a> {
    /// Stages from the job's folder at `root` to `staging`.
    pub fn new(job: Dir, root: &Path, staging: &'a Dir) -> io::Result<Self> {
        Ok(Self {
            job,
            root: root.canonicalize()?,
            staging,
            count: 0,
            by_link: 0,
            left_out: Vec::new(),
            unnamed: 0,
        })
    }

    /// Messages about files that were left out.
    pub fn left_out(mut self) -> Vec<String> {
        self.left_out.sort();
        self.left_out.dedup();
        if self.unnamed > 0 {
            let more = format!("{} more files and folders were not kept", self.unnamed);
            self.left_out.push(more);
        }
        self.left_out
    }

    fn leave_out(&mut self, shown: &str, why: &str) {
        if self.left_out.len() < MOST_REASONS {
            // A name may contain a line break.
            let shown = shown.escape_debug();
            self.left_out.push(format!("{shown} was not kept: {why}"));
        } else {
            self.unnamed += 1;
        }
    }

    /// Stages a file or a folder, if it exists.
    pub fn gather(&mut self, from: BlobName, to: BlobName, shown: &str) -> io::Result<()> {
        let mut waiting = Waiting::default();
        waiting.push(Task {
            from,
            to,
            shown: shown.to_owned(),
            links: Vec::new(),
        });
        while let Some(task) = waiting.0.pop_back() {
            let by_link = !task.links.is_empty();
            self.count += 1;
            self.by_link += usize::from(by_link);
            if self.count > MOST {
                self.leave_out(&task.shown, "the job has written too many files");
            } else if by_link && self.by_link > MOST_BY_LINK {
                self.leave_out(&task.shown, "too many files are reached by way of links");
            } else {
                self.bring(&task, &mut waiting)?;
            }
        }
        Ok(())
    }

    fn bring(&mut self, task: &Task, waiting: &mut Waiting) -> io::Result<()> {
        let kind = match self.job.stat(&task.from) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return self.refused(&task.shown, error),
        };
        match kind {
            FileType::Directory => self.open_folder(task, waiting),
            FileType::RegularFile => self.bring_file(task),
            FileType::Symlink => {
                self.follow(task, waiting);
                Ok(())
            }
            _ => {
                self.leave_out(&task.shown, "it is no file");
                Ok(())
            }
        }
    }

    /// Records why a single file or folder was left out; only a full disk ends the whole
    /// collection.
    fn refused(&mut self, shown: &str, error: io::Error) -> io::Result<()> {
        if is_disk_full(&error) {
            return Err(error);
        }
        let why = match error.kind() {
            io::ErrorKind::PermissionDenied => "it may not be read".to_owned(),
            _ => error.to_string(),
        };
        self.leave_out(shown, &why);
        Ok(())
    }

    fn open_folder(&mut self, task: &Task, waiting: &mut Waiting) -> io::Result<()> {
        let entries = match self.job.dir(&task.from).and_then(|folder| folder.entries()) {
            Ok(entries) => entries,
            Err(error) => return self.refused(&task.shown, error),
        };
        self.staging.make(&task.to)?;
        for entry in entries {
            match within(task, &entry) {
                Ok(next) => waiting.push(next),
                Err(why) => {
                    let shown = format!("{}/{}", task.shown, entry.shown());
                    self.leave_out(&shown, why);
                }
            }
        }
        Ok(())
    }

    fn bring_file(&mut self, task: &Task) -> io::Result<()> {
        let file = match self.job.file(&task.from) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return self.refused(&task.shown, error),
        };
        if let (Some(folder), _) = task.to.split() {
            self.staging.make(&folder)?;
        }
        self.link_or_copy(&file, task)
            .or_else(|error| self.refused(&task.shown, error))
    }

    /// A hard link uses no space, and is safe: the job has ended and its folder is removed next.
    fn link_or_copy(&self, mut file: &File, task: &Task) -> io::Result<()> {
        let (from, name) = self.job.parent(&task.from)?;
        let (to, new) = self.staging.parent(&task.to)?;
        match rustix::fs::linkat(&from, name, &to, new, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(error) if is_disk_full(&error.into()) => Err(error.into()),
            Err(_) => {
                let mut copy = self.staging.create(&task.to)?;
                io::copy(&mut file, &mut copy).map(drop)
            }
        }
    }

    /// Stages the target of a link.
    fn follow(&mut self, task: &Task, waiting: &mut Waiting) {
        let Ok(target) = self.root.join(task.from.as_str()).canonicalize() else {
            return self.leave_out(&task.shown, "it is a link to nothing");
        };
        let inside = target
            .strip_prefix(&self.root)
            .ok()
            .and_then(|path| path.to_str())
            .and_then(BlobName::of)
            // The supervisor's files do not belong to the job.
            .filter(|path| {
                [part::WORK, part::INPUTS, part::OUTPUTS]
                    .iter()
                    .any(|part| Path::new(path.as_str()).starts_with(part.as_str()))
            });
        let Some(from) = inside else {
            return self.leave_out(
                &task.shown,
                "it is a link that leads out of the job's folder",
            );
        };
        let mut links = task.links.clone();
        links.push(task.from.clone());
        let holds = |link: &BlobName| Path::new(link.as_str()).starts_with(from.as_str());
        if links.iter().any(holds) {
            return self.leave_out(&task.shown, "it is a link to a folder that holds it");
        }
        waiting.push(Task {
            from,
            to: task.to.clone(),
            shown: task.shown.clone(),
            links,
        });
    }
}

/// The task for an entry of a folder, or why it has none.
fn within(task: &Task, entry: &Entry) -> Result<Task, &'static str> {
    let name = entry.name().ok_or("its name is no UTF-8")?;
    let no_name = "no blob can have its name: it is too long, or has a backslash";
    Ok(Task {
        from: task.from.join(name).ok_or(no_name)?,
        to: task.to.join(name).ok_or(no_name)?,
        shown: format!("{}/{name}", task.shown),
        links: task.links.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn name(path: &str) -> BlobName {
        BlobName::parse(path).unwrap()
    }

    /// A folder in memory: on some disks, removing a folder takes milliseconds.
    fn quick_folder() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap()
    }

    /// Stages a job's `outputs`; returns the staged files and the messages.
    fn gathered(job: &Path) -> (Vec<String>, Vec<String>) {
        let staging = quick_folder();
        let to = Dir::at(staging.path()).unwrap();
        let mut gatherer = Gatherer::new(Dir::at(job).unwrap(), job, &to).unwrap();
        gatherer
            .gather(name("wd/outputs"), name("outputs"), "outputs")
            .unwrap();
        let mut found = Vec::new();
        crate::blob::walk(&to, None, &mut found).unwrap();
        let mut names: Vec<String> = found.into_iter().map(|found| found.name).collect();
        names.sort();
        (names, gatherer.left_out())
    }

    #[test]
    fn endless_outputs_are_brought_once() {
        let job = tempfile::tempdir().unwrap();
        let outputs = job.path().join("wd/outputs");
        fs::create_dir_all(outputs.join("a")).unwrap();
        fs::write(outputs.join("a/file"), "file").unwrap();
        for (link, target) in [
            ("one", "."),
            ("two", "."),
            ("a/up", ".."),
            ("a/far", "../../other"),
            ("self", "self"),
        ] {
            symlink(target, outputs.join(link)).unwrap();
        }
        fs::create_dir(job.path().join("wd/other")).unwrap();
        fs::write(job.path().join("wd/other/more"), "more").unwrap();
        symlink("../outputs", job.path().join("wd/other/back")).unwrap();
        symlink("..", job.path().join("wd/other/work")).unwrap();
        let (names, left_out) = gathered(job.path());
        assert_eq!(names, ["outputs/a/far/more", "outputs/a/file"]);
        let why = left_out.join("\n");
        for link in [
            "outputs/one",
            "outputs/two",
            "outputs/a/up",
            "outputs/a/far/back",
        ] {
            let line = format!("{link} was not kept: it is a link to a folder that holds it");
            assert!(why.contains(&line), "{line} in {why}");
        }
        assert!(why.contains("outputs/self was not kept"), "{why}");
    }

    #[test]
    fn endless_links_that_multiply_have_a_limit() {
        let job = tempfile::tempdir().unwrap();
        let outputs = job.path().join("wd/outputs");
        for level in 0..40 {
            let folder = outputs.join(format!("l{level}"));
            fs::create_dir_all(&folder).unwrap();
            for link in ["x", "y", "z"] {
                symlink(format!("../l{}", level + 1), folder.join(link)).unwrap();
            }
        }
        fs::create_dir_all(outputs.join("l40")).unwrap();
        fs::write(outputs.join("l40/file"), "file").unwrap();
        let (names, left_out) = gathered(job.path());
        let why = left_out.join("\n");
        assert!(
            names.contains(&"outputs/l40/file".to_owned()),
            "{} {why}",
            names.len()
        );
        assert!(names.len() <= MOST_BY_LINK + 1, "{}", names.len());
        assert!(
            why.contains("too many files are reached by way of links"),
            "{why}"
        );
        assert!(
            why.contains("more files and folders were not kept"),
            "{why}"
        );
    }

    #[test]
    fn deep_outputs_are_kept_as_deep_as_a_blobs_name_is_long() {
        let job = quick_folder();
        let mut here = Dir::at(job.path())
            .unwrap()
            .make(&name("wd/outputs"))
            .unwrap();
        here.write_new(&name("file"), b"file").unwrap();
        for _ in 0..2_000 {
            here = here.make(&name("d")).unwrap();
        }
        here.write_new(&name("deep"), b"deep").unwrap();
        let (names, left_out) = gathered(job.path());
        assert_eq!(names, ["outputs/file"]);
        assert_eq!(left_out.len(), 1);
        assert!(
            left_out[0].ends_with("it is too long, or has a backslash"),
            "{left_out:?}"
        );
    }
}
