//! The blob store, with the requests of its clients.

use crate::support::{Answer, Workspace, ask, put_blob};
use end_to_end::kill;

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

    // Metadata belongs to one content and does not apply to the next.
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

fn put_block(blob: &str, id: &str, content: &[u8]) {
    let url = format!("{blob}&comp=block&blockid={id}");
    ask("PUT", &url, &[], content).expect(201);
}

fn put_block_list(blob: &str, ids: &[&str]) -> Answer {
    let ids: Vec<String> = ids
        .iter()
        .map(|id| format!("<Latest>{id}</Latest>"))
        .collect();
    let list = format!(
        "<?xml version=\"1.0\"?><BlockList>{}</BlockList>",
        ids.concat()
    );
    let url = format!("{blob}&comp=blocklist");
    ask("PUT", &url, &[], list.as_bytes())
}

#[test]
fn blocks_become_a_blob_when_they_are_listed() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    let blob = format!("{uri}/large.bin?{query}");
    put_block(&blob, "YQ%3D%3D", b"first ");
    put_block(&blob, "Yg%3D%3D", b"second");
    ask("HEAD", &blob, &[], &[]).expect(404);
    let list = |ids: &[&str]| put_block_list(&blob, ids);
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
fn a_block_list_whose_response_was_lost_is_accepted_again() {
    let mut workspace = Workspace::start();
    let (uri, query) = workspace.container();
    let name = uri
        .split_once("/azuremllocal/")
        .expect("a container")
        .1
        .to_owned();
    put_block(&format!("{uri}/large.bin?{query}"), "YQ%3D%3D", b"first ");
    put_block(&format!("{uri}/large.bin?{query}"), "Yg%3D%3D", b"second");
    let committed = put_block_list(&format!("{uri}/large.bin?{query}"), &["YQ==", "Yg=="]);
    let etag = committed.expect(201).header("etag").map(str::to_owned);

    workspace.kill();
    let mut server = workspace.serve(&[]);
    let blob = format!("{}/azuremllocal/{name}/large.bin?{query}", workspace.url());
    let again = put_block_list(&blob, &["YQ==", "Yg=="]).expect(201);
    assert_eq!(again.header("etag").map(str::to_owned), etag);
    let content = ask("GET", &blob, &[], &[]).expect(200).text();
    assert_eq!(content, "first second");

    // Another list is not a repetition of the commit, and neither is the same list after a new
    // content.
    put_block_list(&blob, &["Yg==", "YQ=="]).expect(400);
    put_blob(&blob, b"other").expect(201);
    put_block_list(&blob, &["YQ==", "Yg=="]).expect(400);
    assert_eq!(ask("GET", &blob, &[], &[]).expect(200).text(), "other");
    kill(server.id());
    server.wait().expect("it was ours");
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
    // The signature of one container is invalid for another.
    let (other, _) = workspace.container();
    put_blob(&format!("{other}/x?{query}"), b"x").expect(403);
    // A path cannot be both a file and a folder.
    put_blob(&format!("{uri}/a?{query}"), b"x").expect(201);
    put_blob(&format!("{uri}/a/b?{query}"), b"x").expect(409);
}

/// The properties of a blob: the response header, the request header and a value.
const PROPERTIES: [(&str, &str, &str); 5] = [
    ("content-type", "x-ms-blob-content-type", "text/csv"),
    ("content-encoding", "x-ms-blob-content-encoding", "x-plain"),
    ("content-language", "x-ms-blob-content-language", "ko-KR"),
    ("cache-control", "x-ms-blob-cache-control", "max-age=60"),
    (
        "content-disposition",
        "x-ms-blob-content-disposition",
        "attachment; filename=\"a.csv\"",
    ),
];

/// Asserts that a response has all properties and the metadata.
#[track_caller]
fn has_properties(answer: &Answer) {
    for (name, _, value) in PROPERTIES {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(answer.header("x-ms-meta-kind"), Some("table"));
}

#[test]
fn properties_and_metadata_are_kept_by_every_way_to_write() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    let at = |name: &str, more: &str| format!("{uri}/{name}?{query}{more}");
    let mut headers: Vec<(&str, &str)> = PROPERTIES
        .iter()
        .map(|(_, request, value)| (*request, *value))
        .collect();
    headers.push(("x-ms-meta-kind", "table"));
    let list = b"<BlockList><Latest>YQ==</Latest></BlockList>";

    ask("PUT", &at("put", ""), &headers, b"1,2").expect(201);
    ask(
        "PUT",
        &at("blocks", "&comp=block&blockid=YQ%3D%3D"),
        &[],
        b"1,2",
    )
    .expect(201);
    // The content type of the list is not that of the blob.
    let mut of_list = headers.clone();
    of_list.push(("Content-Type", "application/xml"));
    ask("PUT", &at("blocks", "&comp=blocklist"), &of_list, list).expect(201);
    put_blob(&at("set", ""), b"1,2").expect(201);
    ask("PUT", &at("set", "&comp=properties"), &headers, &[]).expect(200);
    ask("PUT", &at("set", "&comp=metadata"), &headers, &[]).expect(200);
    let source = at("put", "");
    ask(
        "PUT",
        &at("copy", ""),
        &[("x-ms-copy-source", &source)],
        &[],
    )
    .expect(202);
    // The standard HTTP headers describe the content, too.
    let mut plain: Vec<(&str, &str)> = PROPERTIES
        .iter()
        .map(|(name, _, value)| (*name, *value))
        .collect();
    plain.push(("x-ms-meta-kind", "table"));
    ask("PUT", &at("plain", ""), &plain, b"1,2").expect(201);
    for name in ["put", "blocks", "set", "copy", "plain"] {
        let head = ask("HEAD", &at(name, ""), &[], &[]).expect(200);
        has_properties(&head);
        let part = ask("GET", &at(name, ""), &[("Range", "bytes=0-1")], &[]).expect(206);
        has_properties(&part);
        let whole = ask("GET", &at(name, ""), &[], &[]).expect(200);
        has_properties(&whole);
        assert_eq!(whole.text(), "1,2", "{name}");
    }
    let listed = format!("{uri}?restype=container&comp=list&include=metadata&{query}");
    let listed = ask("GET", &listed, &[], &[]).expect(200).text();
    for element in [
        "<Content-Type>text/csv</Content-Type>",
        "<Content-Encoding>x-plain</Content-Encoding>",
        "<Content-Language>ko-KR</Content-Language>",
        "<Cache-Control>max-age=60</Cache-Control>",
        "<kind>table</kind>",
    ] {
        assert_eq!(listed.matches(element).count(), 5, "{element}: {listed}");
    }

    // A change of properties clears those that are not sent and keeps the metadata, and the
    // reverse.
    let one = [("x-ms-blob-content-type", "text/plain")];
    let before = ask("HEAD", &at("set", ""), &[], &[]);
    ask("PUT", &at("set", "&comp=properties"), &one, &[]).expect(200);
    let head = ask("HEAD", &at("set", ""), &[], &[]).expect(200);
    assert_eq!(head.header("content-type"), Some("text/plain"));
    assert_eq!(head.header("cache-control"), Some("no-store"));
    assert_eq!(head.header("content-encoding"), None);
    assert_eq!(head.header("x-ms-meta-kind"), Some("table"));
    assert_ne!(
        head.header("etag"),
        before.header("etag"),
        "a change is seen"
    );
    ask("PUT", &at("put", "&comp=metadata"), &[], &[]).expect(200);
    let head = ask("HEAD", &at("put", ""), &[], &[]).expect(200);
    assert_eq!(head.header("x-ms-meta-kind"), None);
    assert_eq!(head.header("content-language"), Some("ko-KR"));
    // New content has none of the old properties.
    put_blob(&at("put", ""), b"x").expect(201);
    let head = ask("HEAD", &at("put", ""), &[], &[]).expect(200);
    assert_eq!(head.header("content-language"), None);
}

/// Conditional headers, and the expected statuses of a read and of a write.
type Case<'a> = (&'a [(&'a str, &'a str)], u16, u16);

#[test]
fn conditions_are_those_of_the_service() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    let blob = format!("{uri}/a.txt?{query}");
    let there = put_blob(&blob, b"there").expect(201);
    let tag = there.header("etag").expect("a tag").to_owned();
    let date = there.header("last-modified").expect("a date").to_owned();
    let (old, new) = (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Fri, 31 Dec 2100 00:00:00 GMT",
    );
    let tag = tag.as_str();
    let cases: [Case; 12] = [
        (&[("If-Modified-Since", old)], 200, 201),
        (&[("If-Modified-Since", &date)], 304, 412),
        (&[("If-Modified-Since", new)], 304, 412),
        (&[("If-Unmodified-Since", old)], 412, 412),
        (&[("If-Unmodified-Since", &date)], 200, 201),
        (&[("If-Match", tag)], 200, 201),
        (&[("If-Match", "*")], 200, 201),
        (&[("If-Match", "\"other\"")], 412, 412),
        (&[("If-None-Match", tag)], 304, 412),
        (&[("If-None-Match", "\"other\"")], 200, 201),
        (&[("If-None-Match", "*")], 400, 409),
        (
            &[("If-None-Match", tag), ("If-Modified-Since", old)],
            200,
            412,
        ),
    ];
    for (conditions, read, write) in cases {
        for method in ["GET", "HEAD"] {
            let answer = ask(method, &blob, conditions, &[]);
            assert_eq!(answer.status, read, "{method} {conditions:?}");
        }
        if write == 201 {
            continue;
        }
        for (method, more, body) in [
            ("PUT", "", b"other".as_slice()),
            ("PUT", "&comp=blocklist", b"<BlockList></BlockList>"),
            ("PUT", "&comp=metadata", b""),
            ("PUT", "&comp=properties", b""),
            ("DELETE", "", b""),
        ] {
            let answer = ask(method, &format!("{blob}{more}"), conditions, body);
            assert_eq!(answer.status, write, "{method}{more} {conditions:?}");
        }
        let unchanged = ask("GET", &blob, &[], &[]).expect(200);
        assert_eq!(unchanged.text(), "there");
        assert_eq!(unchanged.header("etag"), Some(tag));
    }
    let not_modified = ask("GET", &blob, &[("If-None-Match", tag)], &[]).expect(304);
    assert_eq!(not_modified.header("etag"), Some(tag));
    assert_eq!(not_modified.text(), "");
    let refused = ask("GET", &blob, &[("If-Modified-Since", "yesterday")], &[]).expect(400);
    assert_eq!(
        refused.header("x-ms-error-code"),
        Some("InvalidHeaderValue")
    );
    // A missing blob matches no `ETag`.
    let other = format!("{uri}/b.txt?{query}");
    ask("GET", &other, &[("If-Match", "*")], &[]).expect(404);
    ask("PUT", &other, &[("If-Match", "*")], b"x").expect(412);
    ask("PUT", &other, &[("If-None-Match", "*")], b"x").expect(201);
    ask("DELETE", &blob, &[("If-Match", tag)], &[]).expect(202);
}

#[test]
fn of_two_who_write_if_there_is_none_one_does() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    for round in 0..20 {
        let url = format!("{uri}/{round}?{query}");
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| ask("PUT", &url, &[("If-None-Match", "*")], b"x").status))
                .collect();
            writers
                .into_iter()
                .map(|writer| writer.join().expect("an answer"))
                .collect()
        });
        let wrote = statuses.iter().filter(|status| **status == 201).count();
        assert_eq!(wrote, 1, "{statuses:?}");
    }
}

#[test]
fn copies_need_a_source_that_the_caller_may_read() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    let (other, _) = workspace.container();
    let (from, to) = (format!("{uri}/a?{query}"), format!("{uri}/b?{query}"));
    put_blob(&from, b"content").expect(201);
    let copy = |source: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("x-ms-copy-source", source)];
        headers.extend_from_slice(more);
        ask("PUT", &to, &headers, &[])
    };
    for source in [
        format!("{uri}/a"),
        format!("{other}/a?{query}"),
        format!("{uri}/a?{query}x"),
        "https://example.com/a".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("{uri}?{query}"),
        String::new(),
    ] {
        copy(&source, &[]).expect(403);
    }
    copy(&format!("{uri}/none?{query}"), &[]).expect(404);
    copy(&from, &[("x-ms-source-if-match", "\"other\"")]).expect(412);
    ask("HEAD", &to, &[], &[]).expect(404);
    let copied = copy(&from, &[]).expect(202);
    assert_eq!(copied.header("x-ms-copy-status"), Some("success"));
    assert_eq!(ask("GET", &to, &[], &[]).expect(200).text(), "content");
    copy(&from, &[("If-None-Match", "*")]).expect(409);
    copy(&from, &[("x-ms-blob-type", "BlockBlob")]).expect(201);
}

#[test]
fn a_folder_of_blobs_is_no_blob() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    put_blob(&format!("{uri}/folder/a?{query}"), b"x").expect(201);
    for name in ["folder", "folder/", "folder//", "none/", "."] {
        for method in ["HEAD", "GET"] {
            ask(method, &format!("{uri}/{name}?{query}"), &[], &[]).expect(404);
        }
    }
}

#[test]
fn blocks_and_their_list_may_come_at_once() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    let blob = format!("{uri}/large.bin?{query}");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..50 {
                    ask(
                        "PUT",
                        &format!("{blob}&comp=block&blockid=YQ%3D%3D"),
                        &[],
                        b"x",
                    )
                    .expect(201);
                }
            });
            scope.spawn(|| {
                let list = b"<BlockList><Latest>YQ==</Latest></BlockList>";
                for _ in 0..50 {
                    // A concurrent commit of another list may have removed the block.
                    let answer = ask("PUT", &format!("{blob}&comp=blocklist"), &[], list);
                    assert!([201, 400].contains(&answer.status), "{}", answer.text());
                }
            });
        }
    });
}

#[test]
fn a_content_that_changed_on_its_way_is_refused() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    // The MD5 digest of `x`.
    let right = "ndTkYSaMgDT1yFZOFVxnpg==";
    let put = |call: &str, header: (&str, &str), content: &[u8]| {
        let url = format!("{uri}/b?{query}{call}");
        ask(
            "PUT",
            &url,
            &[("x-ms-blob-type", "BlockBlob"), header],
            content,
        )
    };
    let large = vec![b'x'; 1 << 20];
    for call in ["", "&comp=block&blockid=YQ%3D%3D"] {
        for content in [&b"y"[..], &large] {
            let refused = put(call, ("Content-MD5", right), content)
                .expect(400)
                .text();
            assert!(refused.contains("<Code>Md5Mismatch</Code>"), "{refused}");
        }
        for wrong in ["x", "eA==", ""] {
            let refused = put(call, ("Content-MD5", wrong), b"x").expect(400).text();
            assert!(refused.contains("<Code>InvalidMd5</Code>"), "{refused}");
        }
        let refused = put(call, ("x-ms-content-crc64", "eHh4eHh4eHg="), b"x");
        let refused = refused.expect(400).text();
        assert!(refused.contains("hint: "), "{refused}");
    }
    put("", ("x-ms-blob-content-md5", right), b"y").expect(400);
    let blob = format!("{uri}/b?{query}");
    ask("GET", &blob, &[], &[]).expect(404);
    put("&comp=block&blockid=YQ%3D%3D", ("Content-MD5", right), b"x").expect(201);
    let list = b"<BlockList><Latest>YQ==</Latest></BlockList>";
    let refused = put("&comp=blocklist", ("Content-MD5", right), list).expect(400);
    assert!(refused.text().contains("Md5Mismatch"));
    ask("GET", &blob, &[], &[]).expect(404);
    put("", ("Content-MD5", right), b"x").expect(201);
    let found = ask("GET", &blob, &[], &[]).expect(200);
    assert_eq!(found.header("content-md5"), Some(right));
}
