//! The local workspace's pages in a browser: every page as it looks, and logs that are longer than anybody reads.

use end_to_end::{LocalWorkspace, env, python, root};
use std::fs;
use std::process::Command;

/// Lets a reader look at the pages; see `tests/python/studio_page.py`.
fn look(workspace: &LocalWorkspace, scene: &str) {
    let pictures = root().join("target/test/studio").join(scene);
    fs::create_dir_all(&pictures).expect("a folder");
    let server = workspace.server().expect("it runs");
    let output = Command::new(python(env::PYTHON_FRONT_ENDS))
        .arg(root().join("tests/python/studio_page.py"))
        .args([scene, &server.url, &server.token])
        .arg(&pictures)
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}\nwhat was to be seen is in {}",
        String::from_utf8_lossy(&output.stderr),
        pictures.display()
    );
    println!("{said}");
}

#[test]
fn every_page_is_for_everybody() {
    look(&LocalWorkspace::start(), "pages");
}

#[test]
fn a_long_log_stays_smooth_and_the_server_small() {
    let workspace = LocalWorkspace::start();
    look(&workspace, "long_log");
    let pid = workspace.server().expect("it runs").pid;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let most = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|kilobytes| kilobytes.split_whitespace().next()?.parse::<u64>().ok())
        .expect("Linux counts it");
    println!("the server had at most {} MB", most / 1000);
    assert!(most < 256_000, "{most} kB");
}
