//! Protection of the pages against other web pages and other users: headers, tickets and cookies.

use crate::routes;
use crate::support::{Answer, Workspace, ask, cookie, look, put_blob, studio_link};
use azureml_wire::local::{env, scope};
use end_to_end::kill;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Asserts that a response has the common security headers.
#[track_caller]
fn is_sealed(what: &str, answer: &Answer) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{what}: {name}");
    }
    let policy = answer.header("content-security-policy").expect(what);
    assert!(policy.starts_with("default-src 'none'"), "{what}: {policy}");
    assert!(
        policy.contains("frame-ancestors 'none'"),
        "{what}: {policy}"
    );
    assert!(!policy.contains("unsafe"), "{what}: {policy}");
    let is_page = answer
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("text/html"))
        && !what.contains("/azuremllocal/");
    assert_eq!(policy.contains("sandbox"), !is_page, "{what}: {policy}");
}

#[test]
fn every_response_has_the_security_headers() {
    let workspace = Workspace::new();
    let mut server = workspace.serve(&[(env::TRACE, "")]);
    workspace.submit("job", "true", &json!({}));
    workspace.complete("job");
    let url = workspace.url();
    let bearer = format!("Bearer {}", workspace.token());
    let cookie = cookie(&workspace, "job");
    let link = studio_link(&workspace, "job");
    let mut statuses = BTreeSet::new();
    let mut see = |what: &str, answer: &Answer| {
        is_sealed(&format!("{what} {}", answer.status), answer);
        statuses.insert(answer.status);
    };
    let credentials: [&[(&str, &str)]; 5] = [
        &[],
        &[("Authorization", "Bearer wrong")],
        &[("Authorization", &bearer)],
        &[("Cookie", &cookie), ("Origin", &url)],
        &[("Authorization", &bearer), ("Host", "evil.example")],
    ];
    for path in routes::all("job") {
        for method in routes::METHODS {
            for credential in credentials {
                for body in [b"".as_slice(), b"{ not json"] {
                    let answer = ask(method, &format!("{url}{path}"), credential, body);
                    see(&format!("{method} {path}"), &answer);
                }
            }
        }
    }
    // Conditional requests, ranges, limits and conflicts, and the link with its ticket.
    see("the link", &ask("GET", &link, &[], &[]).expect(200));
    let owner = ("Authorization", bearer.as_str());
    let blob = format!("{url}/azuremllocal/azureml-blobstore/x.txt");
    ask(
        "PUT",
        &blob,
        &[owner, ("x-ms-blob-type", "BlockBlob")],
        b"x",
    )
    .expect(201);
    let tag = ask("HEAD", &blob, &[owner], &[]);
    let tag = tag.header("etag").expect("a tag");
    for (header, value, status) in [
        ("If-None-Match", tag, 304),
        ("If-Match", "\"other\"", 412),
        ("Range", "bytes=0-0", 206),
        ("Range", "bytes=9-", 416),
    ] {
        let answer = ask("GET", &blob, &[owner, (header, value)], &[]).expect(status);
        see(header, &answer);
    }
    see(
        "a blob there already",
        &ask("PUT", &blob, &[owner, ("If-None-Match", "*")], b"y").expect(409),
    );
    let job = format!("{url}{}", scope().path(["jobs", "other"]));
    see(
        "a large body",
        &ask("PUT", &job, &[owner], &vec![b' '; 9 << 20]).expect(413),
    );
    fs::remove_dir_all(workspace.home().join("tmp")).expect("the folder is ours");
    see(
        "a broken home",
        &ask(
            "PUT",
            &blob,
            &[owner, ("x-ms-blob-type", "BlockBlob")],
            b"y",
        )
        .expect(500),
    );
    let expected = [
        200, 201, 206, 303, 304, 400, 401, 403, 404, 405, 409, 412, 413, 416, 500,
    ];
    for status in expected {
        assert!(
            statuses.contains(&status),
            "{status} was not provoked: {statuses:?}"
        );
    }
    kill(server.id());
    server.wait().expect("it was ours");
}

#[test]
fn a_blob_is_never_a_document_of_the_pages_origin() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    for kind in [
        "text/html",
        "image/svg+xml",
        "text/javascript",
        "application/xml",
    ] {
        let url = format!("{uri}/page?{query}");
        let content = b"<script>alert(1)</script>";
        ask("PUT", &url, &[("x-ms-blob-content-type", kind)], content).expect(201);
        let shown = ask("GET", &url, &[], &[]).expect(200);
        assert_eq!(shown.header("content-type"), Some(kind));
        is_sealed("/azuremllocal/ page", &shown);
        // The policy of the pages allows scripts of their own origin, so these URLs must not serve
        // any.
        for part in [
            "script",
            "style",
            "worker",
            "serviceworker",
            "iframe",
            "object",
        ] {
            ask("GET", &url, &[("Sec-Fetch-Dest", part)], &[]).expect(403);
        }
        ask("GET", &url, &[("Sec-Fetch-Dest", "empty")], &[]).expect(200);
    }
    put_blob(&format!("{uri}/x?{query}"), b"x").expect(201);
    let error = ask("GET", &format!("{uri}/y?{query}"), &[], &[]).expect(404);
    is_sealed("/azuremllocal/ error", &error);
}

/// The `name=value` of the cookie that the server sets for a link, if any.
fn cookie_of(link: &str) -> Option<String> {
    let answer = ask("GET", link, &[], &[]).expect(200);
    let cookie = answer.header("set-cookie")?;
    Some(cookie.split(';').next()?.to_owned())
}

#[test]
fn a_ticket_is_good_once_and_not_after_a_restart() {
    let mut workspace = Workspace::start();
    workspace.submit("job", "true", &json!({}));
    workspace.complete("job");
    let (used, unused) = (
        studio_link(&workspace, "job"),
        studio_link(&workspace, "job"),
    );
    let cookie = cookie_of(&used).expect("a cookie");
    let url = workspace.url();
    workspace.kill();
    let mut server = workspace.serve(&[]);
    assert_eq!(workspace.url(), url, "the links lead to the new server");
    assert_eq!(cookie_of(&used), None);
    assert_eq!(cookie_of(&unused), None);
    // A cookie stays valid after a restart.
    look(&workspace, &cookie, "/studio/jobs").expect(200);
    let fresh = studio_link(&workspace, "job");
    assert!(cookie_of(&fresh).is_some());
    assert_eq!(cookie_of(&fresh), None);
    kill(server.id());
    server.wait().expect("it was ours");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

#[test]
fn a_cookie_is_good_for_its_own_port_and_home_alone() {
    let mut workspace = Workspace::start();
    workspace.submit("job", "true", &json!({}));
    workspace.complete("job");
    let first = cookie(&workspace, "job");
    let (first_name, value) = first.split_once('=').expect("a pair");
    // A copy of the folder has the same key.
    let other = Workspace::new();
    copy(workspace.home(), other.home());
    fs::remove_file(other.home().join("server.json")).expect("a copy");
    let mut copied = other.serve(&[]);
    let copied_name = cookie(&other, "job");
    let (copied_name, _) = copied_name.split_once('=').expect("a pair");
    assert_ne!(first_name, copied_name);
    look(&other, &format!("{copied_name}={value}"), "/studio/jobs").expect(403);
    look(&other, &first, "/studio/jobs").expect(403);
    // The same folder with another port.
    let port = workspace.url().replace("http://", "");
    workspace.kill();
    let _occupied = TcpListener::bind(port).expect("the port is free now");
    let mut server = workspace.serve(&[]);
    let moved_name = cookie(&workspace, "job");
    let (moved_name, _) = moved_name.split_once('=').expect("a pair");
    assert_ne!(first_name, moved_name);
    look(&workspace, &format!("{moved_name}={value}"), "/studio/jobs").expect(403);
    // The cookie is never accepted by the REST API, in any header.
    for header in ["Cookie", "Authorization"] {
        let credential = format!("Bearer {value}");
        let url = format!("{}{}/jobs", workspace.url(), scope());
        ask("GET", &url, &[(header, &credential)], &[]).expect(401);
    }
    for server in [&mut copied, &mut server] {
        kill(server.id());
        server.wait().expect("it was ours");
    }
}

/// The response to a request with these headers from a process of another user.
fn ask_as_nobody(workspace: &Workspace, path: &str, headers: &str) -> String {
    let url = workspace.url();
    let (host, port) = url
        .trim_start_matches("http://")
        .split_once(':')
        .expect("a port");
    let script = r#"exec 3<>"/dev/tcp/$1/$2"
        printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n' "$3" "$1" "$4" >&3
        cat <&3"#;
    let output = Command::new("bash")
        .args(["-c", script, "bash", host, port, path, headers])
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .output()
        .expect("bash runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_cookie_in_another_users_hands_opens_nothing() {
    if !rustix::process::geteuid().is_root() {
        println!("not tried: only root can start a process of another user");
        return;
    }
    let workspace = Workspace::start();
    workspace.submit("job", "true", &json!({}));
    let cookie = cookie(&workspace, "job");
    look(&workspace, &cookie, "/studio/jobs").expect(200);
    let stolen = ask_as_nobody(&workspace, "/studio/jobs", &format!("Cookie: {cookie}\r\n"));
    assert!(stolen.starts_with("HTTP/1.1 403"), "{stolen}");
    let link = studio_link(&workspace, "job");
    let path = link.strip_prefix(&workspace.url()).expect("its address");
    let stolen = ask_as_nobody(&workspace, path, "");
    assert!(!stolen.to_lowercase().contains("set-cookie"), "{stolen}");
    // The request did not use up the ticket.
    assert!(cookie_of(&link).is_some());
}

#[test]
fn only_pages_of_this_origin_change_or_load_something() {
    let workspace = Workspace::start();
    workspace.submit("job", "true", &json!({}));
    let cookie = cookie(&workspace, "job");
    let url = workspace.url();
    let stop = format!("{url}/studio/computes/ci-aml-workshop/stop");
    for (headers, status) in [
        (
            vec![("Origin", url.as_str()), ("Sec-Fetch-Site", "same-site")],
            403,
        ),
        (
            vec![("Origin", &url), ("Sec-Fetch-Site", "cross-site")],
            403,
        ),
        (
            vec![("Origin", "null"), ("Sec-Fetch-Site", "cross-site")],
            403,
        ),
        (vec![("Sec-Fetch-Site", "none")], 403),
        (
            vec![("Origin", "null"), ("Sec-Fetch-Site", "same-origin")],
            303,
        ),
        (
            vec![("Origin", &url), ("Sec-Fetch-Site", "same-origin")],
            303,
        ),
    ] {
        let mut headers = headers;
        headers.push(("Cookie", &cookie));
        let answer = ask("POST", &stop, &headers, &[]);
        assert_eq!(answer.status, status, "{headers:?}");
    }
    let page = format!("{url}/studio/jobs/job");
    for (site, destination, status) in [
        ("same-site", "script", 403),
        ("cross-site", "iframe", 403),
        ("same-origin", "document", 200),
        ("cross-site", "document", 200),
    ] {
        let headers = [
            ("Cookie", cookie.as_str()),
            ("Sec-Fetch-Site", site),
            ("Sec-Fetch-Dest", destination),
        ];
        let answer = ask("GET", &page, &headers, &[]);
        assert_eq!(answer.status, status, "{site} {destination}");
    }
}
