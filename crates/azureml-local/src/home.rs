//! The home folder of a local workspace: its lock, its permissions and its layout.
//!
//! ```text
//! lock            locked while the server runs
//! server.json     the address and the token of the server
//! server.sock     the Unix socket for programs of this user
//! server.log      the log
//! key             the key that signs SAS URLs and run tokens
//! workspace.db    the database: everything but file contents
//! blobs/          {container}/{name}: contents of the blob store, including run artifacts
//! ballast         reserved space, released if a job's end cannot be stored on a full disk
//! port            the last port of the server; the next server uses it again
//! blocks/         uncommitted blocks of the blob store
//! jobs/           {name}/: working directory, inputs and supervisor of each unfinished job
//! tmp/            temporary files; emptied at start
//! ```
//!
//! `jobs` may be a link to a folder on another disk. The other folders may not, because files are
//! renamed from one to another. Folders that are removed recursively contain a mark
//! ([`crate::remove`]), so that unrelated folders stay.

use crate::dir::Dir;
use crate::durable::{self, Dirty};
use crate::hmac::hex;
use crate::hold::{self, Hold, LOCK};
use crate::name::BlobName;
use crate::remove;
use azureml_wire::local::{SERVER_FILE, SOCKET_FILE, Server};
use rustix::fs::FileType;
use sha2::{Digest, Sha256};
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use uuid::Uuid;

/// The size of the reserved space: enough to store the end of a few jobs.
const BALLAST: usize = 256 << 10;

/// The reasons why a home folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Neither `--home` nor an environment variable specifies a folder.
    #[error("no folder for the local workspace is known\nhint: set AZUREML_LOCAL_HOME")]
    Unknown,
    /// Another server holds the folder.
    #[error(
        "a local workspace is already running in {0}\nhint: see `azureml-local status`; \
         `azureml-local stop` ends it"
    )]
    Taken(PathBuf),
    /// The folder is shared by all users of the machine.
    #[error(
        "{0} is shared with other users\nhint: set AZUREML_LOCAL_HOME to a folder of your own, e.g. one in it"
    )]
    Shared(PathBuf),
    /// The folder, or something in it, belongs to another user, who may know the signing key.
    #[error(
        "{path} belongs to another user (uid {user})\n\
         hint: set AZUREML_LOCAL_HOME to a folder of your own, or remove {path} if you know why it is there"
    )]
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// The owner's uid.
        user: u32,
    },
    /// A part of the folder is a link.
    #[error(
        "{path} is a link to {target}, and files move there by renaming, which no link allows\n\
         hint: replace it by a folder, or set AZUREML_LOCAL_HOME to a folder on that disk; \
         only {jobs} may be a link"
    )]
    Linked {
        /// The path of the part.
        path: PathBuf,
        /// The target of the link.
        target: String,
        /// The only part that may be a link.
        jobs: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(
        "{path} cannot be used: {source}\nhint: set AZUREML_LOCAL_HOME to a folder that you may \
         write to, on a local disk"
    )]
    Io {
        /// The path of the file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
}

/// A home folder.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
    /// The content of the marks in its folders.
    owner: Arc<OnceLock<String>>,
    /// Published files that may not be durable yet.
    unsettled: Arc<Mutex<Dirty>>,
}

impl Home {
    /// The folder at `root`, or as specified by the environment. Creates nothing.
    pub fn at(root: Option<PathBuf>) -> Result<Self, HomeError> {
        let root = root
            .or_else(azureml_wire::local::home)
            .ok_or(HomeError::Unknown)?;
        let root = std::path::absolute(&root).map_err(|source| HomeError::Io {
            path: root.clone(),
            source,
        })?;
        Ok(Self {
            root,
            owner: Arc::default(),
            unsettled: Arc::default(),
        })
    }

    /// Creates and locks the folder. The lock is released when the result is dropped.
    pub fn take(&self) -> Result<Hold, HomeError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| HomeError::Io { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .map_err(io(&self.root))?;
        self.make_private()?;
        let path = self.root.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HomeError::Taken(self.root.clone())),
            Err(TryLockError::Error(source)) => return Err(HomeError::Io { path, source }),
        }
        // The lock file of a running server may have been removed.
        if self
            .server()
            .is_some_and(|server| !hold::has_ended(server.pid))
        {
            return Err(HomeError::Taken(self.root.clone()));
        }
        for folder in [self.temporary(), self.blobs(), self.blocks()] {
            self.refuse_link(&folder)?;
            fs::create_dir_all(&folder).map_err(io(&folder))?;
        }
        fs::create_dir_all(self.jobs()).map_err(io(&self.jobs()))?;
        let owner = hex(&Sha256::digest(
            [b"owner of folders\n", &self.key()?[..]].concat(),
        ));
        // `set` fails on a second call, with the same value.
        let _ = self.owner.set(owner);
        let temporary = self.temporary();
        self.empty_temporary().map_err(io(&temporary))?;
        self.take_ballast();
        // A killed server leaves its address file.
        let _ = fs::remove_file(self.root.join(SERVER_FILE));
        Hold::new(&self.root, lock).map_err(io(&self.root))
    }

    /// Returns an error if the path is a link.
    fn refuse_link(&self, path: &Path) -> Result<(), HomeError> {
        match fs::read_link(path) {
            Ok(target) => Err(HomeError::Linked {
                path: path.to_owned(),
                target: target.display().to_string(),
                jobs: self.jobs(),
            }),
            Err(_) => Ok(()),
        }
    }

    /// Removes temporary files and marked folders of a killed server. Their names are UUIDs.
    fn empty_temporary(&self) -> io::Result<()> {
        let folder = Dir::at(&self.temporary())?;
        for entry in folder.entries()? {
            let Some(name) = entry.name().filter(|name| Uuid::parse_str(name).is_ok()) else {
                continue;
            };
            let Some(name) = BlobName::of(name) else {
                continue;
            };
            // After a failure, the next start tries again.
            let _ = match entry.kind {
                FileType::RegularFile => folder.unlink(&name),
                FileType::Directory => {
                    remove::marked(&folder, &name, self.owner()).map_err(io::Error::other)
                }
                _ => Ok(()),
            };
        }
        Ok(())
    }

    /// The content of the marks in this workspace's folders; empty before [`Home::take`].
    pub fn owner(&self) -> &str {
        self.owner.get().map_or("", String::as_str)
    }

    /// The target of `jobs`, if it is a link.
    pub fn jobs_link(&self) -> Option<PathBuf> {
        fs::read_link(self.jobs()).ok()
    }

    /// Restricts a folder that was created by another program, e.g. `mkdir`, to this user.
    fn make_private(&self) -> Result<(), HomeError> {
        let io = |source| HomeError::Io {
            path: self.root.clone(),
            source,
        };
        let found = fs::metadata(&self.root).map_err(io)?;
        let mode = found.permissions().mode();
        // A sticky folder, such as /tmp, is shared: restricting it would lock out its other users.
        if mode & 0o1000 != 0 {
            return Err(HomeError::Shared(self.root.clone()));
        }
        check_owner(&self.root, &found)?;
        if mode & 0o077 != 0 {
            fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700)).map_err(io)?;
        }
        // Other users may have put files into the open folder, such as a key that they know.
        for entry in fs::read_dir(&self.root).map_err(io)? {
            let entry = entry.map_err(io)?;
            match entry.metadata() {
                Ok(metadata) => check_owner(&entry.path(), &metadata)?,
                // A server that starts or ends at the same time replaces and removes files.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io(error)),
            }
        }
        Ok(())
    }

    /// Reserves some space if enough is free.
    pub fn take_ballast(&self) {
        let path = self.root.join("ballast");
        let there =
            fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.len() == BALLAST as u64);
        let plenty = space(&self.root).is_none_or(|space| space > 4 * BALLAST as u64);
        if !there && plenty {
            // The reserve is optional: without it, a full disk only has an effect a little earlier.
            let _ = self.write_private("ballast", &vec![0; BALLAST]);
        }
    }

    /// Releases the reserved space; returns whether there was any.
    pub fn drop_ballast(&self) -> bool {
        fs::remove_file(self.root.join("ballast")).is_ok()
    }

    /// The Unix socket for programs of this user.
    pub fn socket(&self) -> PathBuf {
        self.root.join(SOCKET_FILE)
    }

    /// The file with the last port of the server.
    pub fn port_file(&self) -> PathBuf {
        self.root.join("port")
    }

    /// The last port of the server.
    pub fn port(&self) -> Option<u16> {
        fs::read_to_string(self.port_file())
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Stores the port of the server.
    pub fn set_port(&self, port: u16) -> Result<(), HomeError> {
        self.write_private("port", port.to_string().as_bytes())
            .map_err(|source| HomeError::Io {
                path: self.port_file(),
                source,
            })
    }

    /// Whether a running server holds the lock.
    pub fn is_taken(&self) -> bool {
        File::open(self.root.join(LOCK))
            .is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// A short id of the folder, which does not reveal its path.
    pub fn id(&self) -> String {
        hex(&Sha256::digest(self.root.as_os_str().as_bytes())[..4])
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("workspace.db")
    }

    /// The log.
    pub fn log(&self) -> PathBuf {
        self.root.join("server.log")
    }

    /// The blob store's containers.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Uncommitted blocks.
    pub fn blocks(&self) -> PathBuf {
        self.root.join("blocks")
    }

    /// Temporary files.
    pub fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The jobs' folders.
    pub fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// The signing key, created if it does not exist.
    pub fn key(&self) -> Result<[u8; 32], HomeError> {
        let path = self.root.join("key");
        let io = |source| HomeError::Io {
            path: path.clone(),
            source,
        };
        if let Ok(bytes) = fs::read(&path)
            && let Ok(key) = <[u8; 32]>::try_from(bytes)
        {
            return Ok(key);
        }
        let key = random().map_err(io)?;
        self.write_private("key", &key).map_err(io)?;
        Ok(key)
    }

    /// The address and token of the running server, from its file.
    pub fn server(&self) -> Option<Server> {
        serde_json::from_slice(&fs::read(self.root.join(SERVER_FILE)).ok()?).ok()
    }

    /// Publishes the address and token of this server.
    pub fn publish(&self, server: &Server) -> Result<(), HomeError> {
        let io = |source| HomeError::Io {
            path: self.root.join(SERVER_FILE),
            source,
        };
        let text = serde_json::to_vec_pretty(server).map_err(|error| io(error.into()))?;
        self.write_private(SERVER_FILE, &text).map_err(io)
    }

    /// Marks a published file as dirty: it may not be durable yet.
    pub fn unsettle(&self, file: PathBuf) {
        self.unsettled().add(file);
    }

    /// Syncs all dirty files. Must be called before a record is stored that relies on them.
    pub fn settle(&self) -> io::Result<()> {
        let dirty = self.unsettled().take();
        let settled = dirty.sync(&self.root);
        if settled.is_err() {
            self.unsettled().add_unnamed();
        }
        settled
    }

    fn unsettled(&self) -> MutexGuard<'_, Dirty> {
        self.unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Atomically replaces a file, and restricts it to this user.
    fn write_private(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let temporary = self.temporary().join(Uuid::new_v4().to_string());
        let mut file = private(&temporary)?;
        let written = file
            .write_all(content)
            .and_then(|()| durable::replace(&temporary, &self.root.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

/// Returns an error for a file that belongs to another user, except root.
fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), HomeError> {
    let user = metadata.uid();
    if user == 0 || user == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(HomeError::Foreign {
        path: path.to_owned(),
        user,
    })
}

/// Opens a file for writing and restricts it to this user. An existing file is not truncated.
pub fn private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// The free space for this user on the disk of `path`, in bytes.
pub fn space(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// 32 bytes from the system's random number generator.
pub fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_another_server_may_disappear_during_the_start() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = Home::at(Some(folder.path().to_owned())).expect("a home folder");
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let file = folder.path().join("server.json.new");
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    fs::write(&file, "").expect("the folder is writable");
                    fs::remove_file(&file).expect("the file exists");
                }
            });
            let starts: Vec<_> = (0..2000).map(|_| home.make_private()).collect();
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
            for start in starts {
                start.expect("the folder is usable");
            }
        });
    }

    #[test]
    fn what_another_user_put_there_is_not_used() {
        if !rustix::process::geteuid().is_root() {
            println!("not tried: it takes root to make a file of another user");
            return;
        }
        for planted in ["key", SERVER_FILE, "workspace.db", "jobs"] {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join(planted), [1; 32]).unwrap();
            std::os::unix::fs::chown(root.path().join(planted), Some(65_534), None).unwrap();
            let home = Home::at(Some(root.path().to_owned())).unwrap();
            let refused = home.take().expect_err("it is refused").to_string();
            assert!(
                refused.contains(planted) && refused.contains("65534"),
                "{refused}"
            );
        }
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(root.path(), Some(65_534), None).unwrap();
        let home = Home::at(Some(root.path().to_owned())).unwrap();
        assert!(matches!(
            home.take(),
            Err(HomeError::Foreign { user: 65_534, .. })
        ));
    }

    #[test]
    fn space_is_set_aside_and_given_up_once() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::at(Some(root.path().to_owned())).unwrap();
        let _lock = home.take().unwrap();
        assert_eq!(
            fs::read(root.path().join("ballast")).unwrap().len(),
            BALLAST
        );
        assert!(home.drop_ballast());
        assert!(!home.drop_ballast());
        home.take_ballast();
        assert!(home.drop_ballast());
    }
}
