//! The blob store, as its clients use it.

use crate::support::{Workspace, ask, put_blob};

#[test]
fn blobs_are_written_read_by_range_and_listed() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    let blob = |name: &str| format!("{uri}/{name}?{query}");
    ask("HEAD", &blob("folder/a.txt"), &[], &[]).expect(404);
    let missing = ask("GET", &blob("folder/a.txt"), &[], &[]).expect(404);
    assert_eq!(missing.header("x-ms-error-code"), Some("BlobNotFound"));
    assert!(missing.text().contains("<Code>BlobNotFound</Code>"));

    let written = put_blob(&blob("folder/a.txt"), b"0123456789").expect(201);
    let tag = written.header("etag").expect("a tag").to_owned();
    let head = ask("HEAD", &blob("folder/a.txt"), &[], &[]).expect(200);
    assert_eq!(head.header("content-length"), Some("10"));
    assert_eq!(head.header("x-ms-blob-type"), Some("BlockBlob"));
    assert_eq!(head.header("etag"), Some(tag.as_str()));
    for (range, status, text, shown) in [
        ("bytes=2-4", 206, "234", Some("bytes 2-4/10")),
        ("bytes=8-", 206, "89", Some("bytes 8-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=4-99", 206, "456789", Some("bytes 4-9/10")),
        ("nonsense", 200, "0123456789", None),
    ] {
        let part = ask("GET", &blob("folder/a.txt"), &[("Range", range)], &[]).expect(status);
        assert_eq!(part.text(), text, "{range}");
        assert_eq!(part.header("content-range"), shown, "{range}");
    }
    let behind = ask(
        "GET",
        &blob("folder/a.txt"),
        &[("x-ms-range", "bytes=10-")],
        &[],
    )
    .expect(416);
    assert_eq!(behind.header("content-range"), Some("bytes */10"));
    ask(
        "GET",
        &blob("folder/a.txt"),
        &[("If-Match", "\"other\"")],
        &[],
    )
    .expect(412);
    ask(
        "GET",
        &blob("folder/a.txt"),
        &[("If-None-Match", &tag)],
        &[],
    )
    .expect(304);
    let kept = ask(
        "PUT",
        &blob("folder/a.txt"),
        &[("If-None-Match", "*")],
        b"new",
    )
    .expect(409);
    assert_eq!(kept.header("x-ms-error-code"), Some("BlobAlreadyExists"));

    // Metadata belongs to the content that it was said of.
    ask(
        "PUT",
        &format!("{}&comp=metadata", blob("folder/a.txt")),
        &[("x-ms-meta-upload_status", "completed")],
        &[],
    )
    .expect(200);
    let head = ask("HEAD", &blob("folder/a.txt"), &[], &[]).expect(200);
    assert_eq!(head.header("x-ms-meta-upload_status"), Some("completed"));
    put_blob(&blob("folder/a.txt"), b"other").expect(201);
    let head = ask("HEAD", &blob("folder/a.txt"), &[], &[]).expect(200);
    assert_eq!(head.header("x-ms-meta-upload_status"), None);

    put_blob(&blob("folder/deeper/b%20%26c.txt"), b"").expect(201);
    put_blob(&blob("z.txt"), b"z").expect(201);
    let list = |more: &str| {
        ask(
            "GET",
            &format!("{uri}?restype=container&comp=list&{query}{more}"),
            &[],
            &[],
        )
        .expect(200)
        .text()
    };
    let names = |xml: &str| -> Vec<String> {
        xml.split("<Name>")
            .skip(1)
            .map(|rest| rest.split('<').next().unwrap_or("").to_owned())
            .collect()
    };
    assert_eq!(
        names(&list("")),
        ["folder/a.txt", "folder/deeper/b &amp;c.txt", "z.txt"]
    );
    assert_eq!(
        names(&list("&prefix=folder/d")),
        ["folder/deeper/b &amp;c.txt"]
    );
    assert_eq!(names(&list("&delimiter=/")), ["z.txt", "folder/"]);
    let page = list("&maxresults=2");
    assert_eq!(names(&page).len(), 2);
    assert!(
        page.contains("<NextMarker>folder/deeper/b &amp;c.txt</NextMarker>"),
        "{page}"
    );
    assert_eq!(
        names(&list("&maxresults=2&marker=folder/deeper/b%20%26c.txt")),
        ["z.txt"]
    );

    ask("DELETE", &blob("z.txt"), &[], &[]).expect(202);
    ask("HEAD", &blob("z.txt"), &[], &[]).expect(404);
}

#[test]
fn blocks_become_a_blob_when_they_are_listed() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    let blob = format!("{uri}/large.bin?{query}");
    let block = |id: &str, content: &[u8]| {
        ask(
            "PUT",
            &format!("{blob}&comp=block&blockid={id}"),
            &[],
            content,
        )
    };
    block("YQ%3D%3D", b"first ").expect(201);
    block("Yg%3D%3D", b"second").expect(201);
    ask("HEAD", &blob, &[], &[]).expect(404);
    let list = |ids: &[&str]| {
        let ids: Vec<String> = ids
            .iter()
            .map(|id| format!("<Latest>{id}</Latest>"))
            .collect();
        let ids = ids.concat();
        ask(
            "PUT",
            &format!("{blob}&comp=blocklist"),
            &[],
            format!("<?xml version=\"1.0\"?><BlockList>{ids}</BlockList>").as_bytes(),
        )
    };
    let refused = list(&["YQ==", "Yw=="]).expect(400);
    assert_eq!(refused.header("x-ms-error-code"), Some("InvalidBlockList"));
    ask("HEAD", &blob, &[], &[]).expect(404);
    list(&["YQ==", "Yg=="]).expect(201);
    assert_eq!(
        ask("GET", &blob, &[], &[]).expect(200).text(),
        "first second"
    );
}

#[test]
fn names_do_not_lead_out_of_the_store() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    std::fs::write(workspace.home().join("blobs/outside.txt"), "outside")
        .expect("the folder is ours");
    for name in [
        "..%2Foutside.txt",
        "a%2F..%2F..%2Foutside.txt",
        "%2e%2e/outside.txt",
        "a//b",
        "a%00b",
        "a%5Cb",
    ] {
        let url = format!("{uri}/{name}?{query}");
        for answer in [ask("GET", &url, &[], &[]), put_blob(&url, b"x")] {
            assert!(
                (400..=404).contains(&answer.status),
                "{name}: {}",
                answer.status
            );
        }
    }
    let text =
        std::fs::read_to_string(workspace.home().join("blobs/outside.txt")).expect("it is there");
    assert_eq!(text, "outside");
    // A signature for one container opens no other.
    let (other, _) = workspace.container();
    put_blob(&format!("{other}/x?{query}"), b"x").expect(403);
    // A file cannot be a folder as well.
    put_blob(&format!("{uri}/a?{query}"), b"x").expect(201);
    put_blob(&format!("{uri}/a/b?{query}"), b"x").expect(409);
}
