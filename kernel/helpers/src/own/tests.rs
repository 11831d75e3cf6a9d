use super::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let victim = folder.path().join("scratch");
    fs::create_dir(&victim).expect("the folder is ours");
    fs::write(victim.join("precious"), "data").expect("the folder is ours");
    (folder, victim)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("the folder is ours");
}

/// Changes the owner of a file, if this user is allowed to.
fn give_away(path: &Path) -> bool {
    let given = std::os::unix::fs::lchown(path, Some(65534), None).is_ok();
    if !given {
        eprintln!("not tried: a file of another user (this test is not run by root)");
    }
    given
}

#[test]
fn removal_spares_folders_without_a_mark() {
    let (folder, victim) = scratch();
    assert!(!remove(folder.path(), "scratch".as_ref()).expect("nothing fails"));
    assert!(victim.join("precious").exists());
    mark(&victim).expect("the folder is ours");
    assert!(remove(folder.path(), "scratch".as_ref()).expect("nothing fails"));
    assert!(!victim.exists());
    assert!(!remove(folder.path(), "scratch".as_ref()).expect("nothing fails"));
}

#[test]
fn removal_follows_no_link() {
    let (folder, victim) = scratch();
    mark(&victim).expect("the folder is ours");
    let parent = folder.path().join("cache");
    let ours = parent.join("ours");
    fs::create_dir_all(ours.join("deep/er")).expect("the folder is ours");
    mark(&ours).expect("the folder is ours");
    symlink(&victim, ours.join("deep/er/link")).expect("the folder is ours");
    symlink(&victim, parent.join("link")).expect("the folder is ours");
    symlink(&parent, folder.path().join("cache-link")).expect("the folder is ours");
    // Checks symbolic links as the folder, as its parent and as an entry.
    assert!(!remove(&parent, "link".as_ref()).expect("nothing fails"));
    assert!(!remove(&folder.path().join("cache-link"), "ours".as_ref()).expect("nothing fails"));
    assert!(remove(&parent, "ours".as_ref()).expect("nothing fails"));
    assert!(!ours.exists());
    assert!(victim.join("precious").exists());
    // A symbolic link is not a valid mark.
    let linked = parent.join("linked");
    fs::create_dir(&linked).expect("the folder is ours");
    symlink(victim.join(MARK), linked.join(MARK)).expect("the folder is ours");
    assert!(!remove(&parent, "linked".as_ref()).expect("nothing fails"));
}

#[test]
fn removal_spares_folders_of_another_user_and_what_is_too_deep() {
    let (folder, victim) = scratch();
    mark(&victim).expect("the folder is ours");
    if give_away(&victim) {
        assert!(!remove(folder.path(), "scratch".as_ref()).expect("nothing fails"));
        assert!(victim.join("precious").exists());
    }
    let deep = folder.path().join("deep");
    fs::create_dir_all(deep.join("d/".repeat(300))).expect("the folder is ours");
    mark(&deep).expect("the folder is ours");
    remove(folder.path(), "deep".as_ref()).expect_err("it is too deep");
    assert!(deep.join(MARK).exists());
}

#[test]
fn files_that_block_or_lead_elsewhere_are_refused() {
    let (folder, victim) = scratch();
    let file = |name: &str| folder.path().join(name);
    fifo(&file("fifo"));
    symlink(victim.join("precious"), file("link")).expect("the folder is ours");
    fs::create_dir(file("folder")).expect("the folder is ours");
    for name in ["fifo", "link", "folder"] {
        // Both return at once.
        open(&file(name)).expect_err(name);
        create(&file(name)).expect_err(name);
    }
    create(&file("new")).expect("the folder is ours");
    let mode = fs::metadata(file("new")).expect("it is there").mode();
    assert_eq!(mode & 0o777, 0o600);
    chmod(&file("new"), 0o666);
    open(&file("new")).expect_err("others can change it");
    chmod(&file("new"), 0o644);
    open(&file("new")).expect("it is ours");
    if give_away(&file("new")) {
        let error = open(&file("new")).expect_err("it is another's");
        assert!(error.to_string().contains("another user"), "{error}");
    }
}

#[test]
fn folders_that_others_can_change_are_refused_up_to_the_root() {
    let root = tempfile::tempdir().expect("a folder");
    chmod(root.path(), 0o755);
    let set = root.path().join("sets/one");
    folder(&set).expect("it is made");
    let mode = fs::metadata(&set).expect("it is there").mode();
    assert_eq!(mode & 0o022, 0);
    let library = set.join("lib.so");
    fs::write(&library, "library").expect("the folder is ours");
    for open in [&root.path().join("sets"), &set] {
        chmod(open, 0o755);
    }
    check(&library, root.path()).expect("all of it is ours");
    for changed in [root.path(), &root.path().join("sets"), &set, &library] {
        let before = fs::metadata(changed).expect("it is there").mode() & 0o777;
        for mode in [0o777, 0o775, 0o757] {
            chmod(changed, mode);
            let error = check(&library, root.path()).expect_err("others can change it");
            assert!(error.to_string().contains("chmod go-w"), "{error}");
        }
        chmod(changed, before);
        if give_away(changed) {
            check(&library, root.path()).expect_err("it is another's");
            std::os::unix::fs::lchown(changed, Some(0), None).expect("this is root");
        }
    }
    check(&library, root.path()).expect("all of it is ours again");
    // Other users cannot reach files in a closed folder.
    chmod(root.path(), 0o700);
    chmod(&library, 0o664);
    check(&library, root.path()).expect("others cannot reach it");
    symlink(&set, root.path().join("sets/two")).expect("the folder is ours");
    check(&root.path().join("sets/two/lib.so"), root.path()).expect_err("a link");
}

#[test]
fn a_shared_temporary_folder_has_to_be_sticky() {
    let temporary = tempfile::tempdir().expect("a folder");
    check_temporary(temporary.path()).expect("it is ours alone");
    chmod(temporary.path(), 0o1777);
    check_temporary(temporary.path()).expect("others cannot rename what is ours");
    chmod(temporary.path(), 0o777);
    check_temporary(temporary.path()).expect_err("others can");
}

#[derive(Default)]
struct Recorded(Vec<String>);

impl Recorded {
    fn note(&mut self, step: &str, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.0.push(format!("{step} {name}"));
    }
}

impl Disk for Recorded {
    fn sync(&mut self, path: &Path) -> io::Result<()> {
        self.note("sync", path);
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.note("rename", from);
        fs::rename(from, to)
    }
}

#[test]
fn a_published_set_survives_a_power_loss() {
    let root = tempfile::tempdir().expect("a folder");
    let parent = root.path().join("sets");
    let staging = parent.join("unfinished");
    fs::create_dir_all(staging.join("deps")).expect("the folder is ours");
    fs::write(staging.join("deps/lib.so"), "library").expect("the folder is ours");
    fs::write(staging.join("set.json"), "{}").expect("the folder is ours");
    chmod(&staging.join("deps"), 0o775);
    chmod(&staging.join("deps/lib.so"), 0o664);
    let mut disk = Recorded::default();
    publish_on(&mut disk, &staging, &parent.join("set")).expect("it is renamed");
    assert_eq!(
        disk.0,
        [
            "sync lib.so",
            "sync deps",
            "sync set.json",
            "sync unfinished",
            "rename unfinished",
            "sync sets",
        ]
    );
    check(&parent.join("set/deps/lib.so"), root.path()).expect("its modes are ours alone");
    publish(&parent.join("set"), &parent.join("again")).expect("the real disk does it");
    assert!(parent.join("again/set.json").exists());
}
