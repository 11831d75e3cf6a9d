//! The HTML pages: access, content, and escaping of everything that jobs write.

use crate::support::{Workspace, ask, cookie, look, studio_link, until};
use azureml_wire::local::scope;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

const CODE: &str = "<script>alert(1)</script>";

#[test]
fn a_link_opens_once_and_only_the_pages() {
    let workspace = Workspace::start();
    workspace.submit("job", "true", &json!({}));
    let url = workspace.url();
    let link = studio_link(&workspace, "job");
    let first = ask("GET", &link, &[], &[]).expect(200);
    assert!(first.header("set-cookie").is_some());
    assert_eq!(first.header("referrer-policy"), Some("no-referrer"));
    assert!(!first.text().contains("ticket"), "{}", first.text());
    let again = ask("GET", &link, &[], &[]).expect(200);
    assert_eq!(again.header("set-cookie"), None);
    // A link with a modified ticket.
    let changed = link.replace("ticket=", "ticket=9");
    assert_eq!(ask("GET", &changed, &[], &[]).header("set-cookie"), None);

    let cookie = cookie(&workspace, "job");
    for path in [
        "/studio/jobs",
        "/studio/jobs/job",
        "/studio/jobs/job/events",
        "/studio/jobs/job/files/user_logs/std_log.txt",
        "/studio/compare?run=job",
        "/studio/computes",
        "/studio/environments",
    ] {
        for wrong in ["", "azureml_local=1", &cookie.replace('=', "=9")] {
            let refused = look(&workspace, wrong, path).expect(403);
            assert!(refused.text().contains("portal_url"), "{}", refused.text());
        }
    }
    // Tickets, cookies and the owner's token are not interchangeable.
    let ticket = link.split("ticket=").nth(1).expect("a ticket");
    let (name, _) = cookie.split_once('=').expect("a pair");
    look(&workspace, &format!("{name}={ticket}"), "/studio/jobs").expect(403);
    look(&workspace, &cookie, &format!("{}/jobs", scope())).expect(401);
    ask(
        "GET",
        &format!("{url}/studio/jobs"),
        &[("Authorization", &format!("Bearer {}", workspace.token()))],
        &[],
    )
    .expect(403);
    let log = std::fs::read_to_string(workspace.home().join("server.log")).expect("a log");
    assert!(!log.contains(ticket));
}

#[test]
fn pages_keep_to_themselves() {
    let workspace = Workspace::start();
    workspace.submit("job", "true", &json!({}));
    let cookie = cookie(&workspace, "job");
    let page = look(&workspace, &cookie, "/studio/jobs/job").expect(200);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(!page.text().contains("ticket="), "a page holds no ticket");
    assert!(!page.text().contains(&workspace.token()));
    let stop = format!("{}/studio/computes/ci-aml-workshop/stop", workspace.url());
    let host = workspace.url().replace("http://", "");
    for (origin, host, status) in [
        (None, host.as_str(), 403),
        (Some("null"), &host, 403),
        (Some("http://evil.example"), &host, 403),
        (Some("http://127.0.0.1:1"), &host, 403),
        (Some("http://evil.example"), "evil.example", 403),
        (Some(workspace.url().as_str()), &host, 303),
    ] {
        let mut headers = vec![("Cookie", cookie.as_str()), ("Host", host)];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        let answer = ask("POST", &stop, &headers, &[]);
        assert_eq!(answer.status, status, "{origin:?} {host}");
    }
    let instance = workspace.get("/computes/ci-aml-workshop");
    assert_eq!(instance["properties"]["properties"]["state"], "Stopped");
}

#[test]
fn a_job_of_several_processes_shows_what_the_first_one_says() {
    let workspace = Workspace::start();
    let more =
        json!({ "distribution": { "distributionType": "PyTorch", "processCountPerInstance": 2 } });
    workspace.submit("ranks", "echo this is process $RANK", &more);
    workspace.complete("ranks");
    let cookie = cookie(&workspace, "ranks");
    let page = look(&workspace, &cookie, "/studio/jobs/ranks").expect(200);
    let page = page.text();
    assert!(
        page.contains("<h3>user_logs/std_log_process_00.txt</h3>"),
        "{page}"
    );
    assert!(page.contains("this is process 0"), "{page}");
    assert!(!page.contains("this is process 1"), "{page}");
    let events = look(&workspace, &cookie, "/studio/jobs/ranks/events?log=0").expect(200);
    assert!(
        events.text().contains("this is process 0"),
        "{}",
        events.text()
    );
}

#[test]
fn what_jobs_write_stays_text() {
    let workspace = Workspace::start();
    let command = r"mkdir -p outputs logs
        printf '<script>alert(1)</script>\033[31mred\033[0m\377\n'
        printf '<script>alert(1)</script>' > outputs/page.html
        printf 'x' > 'outputs/<img src=x onerror=alert(1)>.txt'
        ln -s /etc/passwd outputs/secret.txt
        head -c 1000000 /dev/zero | tr '\0' x > outputs/line.txt
        printf '\0\1' > outputs/model.pt";
    workspace.submit(
        "hostile",
        command,
        &json!({
            "displayName": CODE,
            "experimentName": "tests",
            "tags": { "<b>tag</b>": CODE },
        }),
    );
    workspace.complete("hostile");
    for (path, body) in [
        (
            "runs/log-parameter",
            json!({ "run_id": "hostile", "key": "lr", "value": CODE }),
        ),
        (
            "runs/log-metric",
            json!({ "run_id": "hostile", "key": CODE, "value": 0.5, "timestamp": 1, "step": 1 }),
        ),
    ] {
        workspace
            .ask("POST", &scope().mlflow(path), &body)
            .expect(200);
    }
    let cookie = cookie(&workspace, "hostile");
    for path in [
        "/studio/jobs",
        "/studio/jobs/hostile",
        "/studio/compare?run=hostile",
        "/studio/jobs/hostile/files/outputs/page.html",
        "/studio/jobs/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/studio/jobs/hostile/files/%3Cscript%3Ealert(1)",
    ] {
        let page = look(&workspace, &cookie, path).text();
        assert!(!page.contains("<script>alert"), "{path}: {page}");
        assert!(!page.contains("<img"), "{path}: {page}");
        assert!(!page.contains("<b>tag"), "{path}: {page}");
    }
    let page = look(&workspace, &cookie, "/studio/jobs/hostile").text();
    assert!(page.contains("red\u{fffd}"), "{page}");
    assert!(!page.contains('\u{1b}'));
    assert!(
        !page.contains("files/outputs/secret.txt"),
        "a link is no file"
    );

    let saved = look(
        &workspace,
        &cookie,
        "/studio/jobs/hostile/files/outputs/page.html?download=1",
    )
    .expect(200);
    assert_eq!(
        saved.header("content-type"),
        Some("application/octet-stream")
    );
    assert!(
        saved
            .header("content-disposition")
            .expect("one")
            .starts_with("attachment;")
    );
    assert!(
        saved
            .header("content-security-policy")
            .expect("one")
            .contains("sandbox")
    );
    assert_eq!(saved.text(), CODE);
    for path in [
        "outputs/secret.txt",
        "outputs/../../../../key",
        "..%2f..%2f..%2f..%2fkey",
        "%2fetc%2fpasswd",
    ] {
        for end in ["", "?download=1"] {
            look(
                &workspace,
                &cookie,
                &format!("/studio/jobs/hostile/files/{path}{end}"),
            )
            .expect(404);
        }
    }
    // A long line is shown in parts, and a binary file is not shown.
    let line = look(
        &workspace,
        &cookie,
        "/studio/jobs/hostile/files/outputs/line.txt",
    )
    .text();
    assert!(
        line.len() < 200_000 && line.contains("?to="),
        "{} bytes",
        line.len()
    );
    let model = look(
        &workspace,
        &cookie,
        "/studio/jobs/hostile/files/outputs/model.pt",
    )
    .text();
    assert!(model.contains("no text"), "{model}");
}

#[test]
fn code_is_shown_as_text_and_nothing_beside_it() {
    let workspace = Workspace::start();
    let code = workspace.code(
        "lab",
        &"0".repeat(64),
        &[
            ("train.rs", "fn main() {}"),
            ("src/%3Cimg%20src=x%3E.rs", CODE),
            ("src/model.rs", "x\x1b[31my"),
        ],
    );
    // A link that only another program could have created.
    let container = std::fs::read_dir(workspace.home().join("blobs"))
        .expect("the blobs")
        .flatten()
        .find(|entry| entry.path().join("source/train.rs").is_file())
        .expect("the snapshot's container");
    std::os::unix::fs::symlink("/etc/passwd", container.path().join("source/secret.rs"))
        .expect("a link");
    workspace.submit("job", "true", &json!({ "codeId": code }));
    let cookie = cookie(&workspace, "job");
    let page = look(&workspace, &cookie, "/studio/jobs/job")
        .expect(200)
        .text();
    for file in ["train.rs", "src/model.rs", "src/%3Cimg%20src%3Dx%3E.rs"] {
        let address = format!("/studio/codes/lab/1/files/{file}");
        assert!(page.contains(&address), "{address}: {page}");
        look(&workspace, &cookie, &address).expect(200);
    }
    assert!(!page.contains("<img"), "{page}");
    assert!(!page.contains("secret.rs"), "{page}");
    let hostile = "/studio/codes/lab/1/files/src/%3Cimg%20src%3Dx%3E.rs";
    let shown = look(&workspace, &cookie, hostile).expect(200).text();
    assert!(shown.contains("&#60;script&#62;alert(1)"), "{shown}");
    assert!(
        !shown.contains("<script>alert") && !shown.contains("<img"),
        "{shown}"
    );
    let plain = look(
        &workspace,
        &cookie,
        "/studio/codes/lab/1/files/src/model.rs",
    )
    .text();
    assert!(plain.contains(">xy</pre>"), "{plain}");
    let saved = look(&workspace, &cookie, &format!("{hostile}?download=1")).expect(200);
    assert_eq!(saved.text(), CODE);
    assert_eq!(
        saved.header("content-type"),
        Some("application/octet-stream")
    );
    for path in [
        "secret.rs",
        "src",
        "..%2f..%2f..%2fkey",
        "%2fetc%2fpasswd",
        "src/../train.rs",
    ] {
        for end in ["", "?download=1"] {
            let address = format!("/studio/codes/lab/1/files/{path}{end}");
            look(&workspace, &cookie, &address).expect(404);
        }
    }
    look(&workspace, &cookie, "/studio/codes/lab/2").expect(404);
}

#[test]
fn runs_that_are_no_jobs_are_shown_with_what_they_have() {
    let workspace = Workspace::start();
    workspace.submit("parent", "true", &json!({}));
    workspace.complete("parent");
    let mlflow = |call: &str, body: &Value| {
        workspace
            .ask("POST", &scope().mlflow(call), body)
            .expect(200)
            .json()
    };
    let run = |name: &str, parent: Option<&str>| {
        let tags: Vec<Value> = parent
            .map(|parent| json!({ "key": "mlflow.parentRunId", "value": parent }))
            .into_iter()
            .collect();
        let made = mlflow(
            "runs/create",
            &json!({ "run_name": name, "start_time": 1_767_225_600_000_i64, "tags": tags }),
        );
        let id = made["run"]["info"]["run_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        mlflow(
            "runs/log-metric",
            &json!({ "run_id": id, "key": "loss", "value": 0.25, "timestamp": 1, "step": 1 }),
        );
        id
    };
    let alone = run(CODE, None);
    let child = run("a child", Some("parent"));
    mlflow(
        "runs/update",
        &json!({ "run_id": alone, "status": "FAILED", "end_time": 1_767_225_661_000_i64 }),
    );
    let cookie = cookie(&workspace, "parent");
    let text = |path: &str| look(&workspace, &cookie, path).expect(200).text();

    let page = text(&format!("/studio/jobs/{alone}"));
    assert!(page.contains("&#60;script&#62;alert(1)") && !page.contains("<script>alert"));
    assert!(page.contains("Failed") && page.contains("1:01"), "{page}");
    assert!(
        page.contains("loss <b>0.25</b>") && page.contains("<svg"),
        "{page}"
    );
    assert!(
        !page.contains("class=\"danger\""),
        "nothing is there to cancel"
    );
    assert!(!page.contains("PUT /"), "nothing was asked for");

    let parent = text("/studio/jobs/parent");
    assert!(
        parent.contains("Child runs") && parent.contains("a child"),
        "{parent}"
    );
    let page = text(&format!("/studio/jobs/{child}"));
    assert!(
        page.contains("<a href=\"/studio/jobs/parent\">parent</a>"),
        "{page}"
    );
    let all = text("/studio/jobs");
    assert!(all.contains(&alone) && !all.contains(&child), "{all}");
    assert!(text("/studio/jobs?children=yes").contains(&child));
    let children = text("/studio/jobs?parent=parent");
    assert!(
        children.contains(&child) && !children.contains(&alone),
        "{children}"
    );
    let failed = text("/studio/jobs?status=Failed");
    assert!(
        failed.contains(&alone) && !failed.contains("/studio/jobs/parent"),
        "{failed}"
    );
    let both = text(&format!("/studio/compare?run={alone}&run={child}"));
    assert_eq!(both.matches("<svg").count(), 1, "{both}");

    mlflow("runs/delete", &json!({ "run_id": alone }));
    assert!(!text("/studio/jobs").contains(&alone));
}

#[test]
fn models_show_their_files_and_what_triton_would_find() {
    let workspace = Workspace::start();
    let command = "mkdir -p outputs/model outputs/repository/mnist/1
        echo x | tee outputs/model/model.onnx outputs/repository/mnist/config.pbtxt > outputs/repository/mnist/1/model.onnx";
    workspace.submit("job", command, &json!({}));
    workspace.complete("job");
    for (name, path) in [
        ("plain", "model"),
        ("served", "repository"),
        ("file", "model/model.onnx"),
    ] {
        let uri = format!("azureml://jobs/job/outputs/artifacts/paths/outputs/{path}");
        let body = json!({ "properties": { "modelUri": uri } });
        workspace
            .arm("PUT", &format!("/models/{name}/versions/1"), &body)
            .expect(201);
    }
    let cookie = cookie(&workspace, "job");
    let text = |path: &str| look(&workspace, &cookie, path).expect(200).text();
    let list = text("/studio/models");
    assert!(list.contains("/studio/models/plain/1"), "{list}");
    let plain = text("/studio/models/plain/1");
    assert!(plain.contains("plain/1/model.onnx"), "{plain}");
    assert!(
        plain.contains("<a href=\"/studio/jobs/job\">job</a>"),
        "{plain}"
    );
    let served = text("/studio/models/served/1");
    assert!(
        served.contains("ONNX Runtime") && served.contains(">there<"),
        "{served}"
    );
    for address in [
        "served/1/files/mnist/config.pbtxt",
        "plain/1/files/model.onnx",
        "file/1/files/model.onnx",
    ] {
        let file = text(&format!("/studio/models/{address}"));
        assert!(file.contains(">x\n</pre>"), "{file}");
    }
}

#[test]
fn what_went_wrong_is_told_in_the_readers_language() {
    let workspace = Workspace::start();
    workspace.submit("job", "true", &json!({}));
    let url = workspace.url();
    let cookie = cookie(&workspace, "job");
    let korean = ("Accept-Language", "ko-KR,ko;q=0.9");
    let address = format!("{url}/studio/jobs/nothing");
    let missing = ask("GET", &address, &[("Cookie", &cookie), korean], &[]).expect(404);
    let text = missing.text();
    assert!(
        text.contains("<html lang=\"ko\">") && text.contains("페이지가 없습니다"),
        "{text}"
    );
    assert!(text.contains("lang=\"en\">there is no job"), "{text}");
    let closed = ask("GET", &address, &[korean], &[]).expect(403).text();
    assert!(
        closed.contains("힌트: 셀에서 `run.portal_url()`"),
        "{closed}"
    );
}

#[test]
fn gpus_are_shown_at_work() {
    use std::os::unix::fs::PermissionsExt;
    let mut workspace = Workspace::new();
    let tools = tempfile::tempdir().expect("a folder");
    let tool = tools.path().join("nvidia-smi");
    let script = "#!/bin/sh\ncase $1 in\n-L) echo 'GPU 0: NVIDIA <b>H200 (UUID: GPU-1)';;\n*) echo 'NVIDIA <b>H200, 34, 1024, 143771';;\nesac\n";
    std::fs::write(&tool, script).expect("a script");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let path = format!(
        "{}:{}",
        tools.path().display(),
        std::env::var("PATH").expect("a PATH")
    );
    let mut server = workspace.serve(&[("PATH", &path)]);
    workspace.submit("job", "true", &json!({}));
    let cookie = cookie(&workspace, "job");
    let page = look(&workspace, &cookie, "/studio/computes")
        .expect(200)
        .text();
    assert!(page.contains("NVIDIA &#60;b&#62;H200"), "{page}");
    assert!(
        page.contains("34 %") && page.contains("1.1 GB / 151 GB"),
        "{page}"
    );
    workspace.kill();
    let _ = server.wait();
}

#[test]
fn the_list_is_filtered_and_goes_on() {
    let workspace = Workspace::start();
    for number in 0..53 {
        let experiment = if number == 7 { "other" } else { "tests" };
        workspace.submit(
            &format!("job-{number}"),
            "true",
            &json!({ "experimentName": experiment, "computeId": null }),
        );
    }
    let cookie = cookie(&workspace, "job-1");
    let list = |path: &str| {
        let text = look(&workspace, &cookie, path).expect(200).text();
        (text.matches("<th scope=\"row\">").count(), text)
    };
    let (count, first) = list("/studio/jobs");
    assert_eq!(count, 50);
    let next = first
        .split("class=\"button\" href=\"")
        .nth(1)
        .expect("a next page");
    let next = next
        .split('"')
        .next()
        .expect("an address")
        .replace("&#38;", "&");
    let (count, _) = list(&next);
    assert_eq!(count, 3);
    let (count, other) = list("/studio/jobs?experiment=other");
    assert_eq!(count, 1);
    assert!(other.contains("job-7"));
    assert_eq!(list("/studio/jobs?status=Failed&experiment=other").0, 0);
    let korean = ask(
        "GET",
        &format!("{}/studio/jobs", workspace.url()),
        &[("Cookie", &cookie), ("Accept-Language", "ko-KR,ko;q=0.9")],
        &[],
    );
    assert!(korean.text().contains("<html lang=\"ko\">"));
    assert!(korean.text().contains("실험"));
}

/// Reads events until `wanted` returns true.
fn until_event(stream: &mut BufReader<TcpStream>, wanted: impl Fn(&str, &Value) -> bool) {
    let mut kind = String::new();
    let mut line = String::new();
    loop {
        line.clear();
        assert!(
            stream.read_line(&mut line).expect("it goes on") > 0,
            "the stream ended"
        );
        if let Some(name) = line.trim_end().strip_prefix("event: ") {
            name.clone_into(&mut kind);
        } else if let Some(data) = line.trim_end().strip_prefix("data: ") {
            let data = serde_json::from_str(data).unwrap_or_else(|_| json!(data));
            if wanted(&kind, &data) {
                return;
            }
        }
    }
}

#[test]
fn a_page_follows_its_job() {
    let workspace = Workspace::start();
    let (first, second) = (workspace.gate("first"), workspace.gate("second"));
    let command = format!(
        "echo begun; {}; echo 'epoch 1 손실'; {}",
        until(&first),
        until(&second)
    );
    workspace.submit("live", &command, &json!({}));
    workspace.reach("live", "Running");
    let cookie = cookie(&workspace, "live");
    let host = workspace.url().replace("http://", "");
    let stream = TcpStream::connect(&host).expect("it answers");
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .expect("a limit");
    write!(
        &stream,
        "GET /studio/jobs/live/events HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n"
    )
    .expect("it listens");
    let mut events = BufReader::new(stream);
    until_event(&mut events, |kind, data| {
        kind == "log" && data.as_str().is_some_and(|text| text.contains("begun"))
    });
    std::fs::write(&first, "").expect("a gate");
    until_event(&mut events, |kind, data| {
        kind == "log"
            && data
                .as_str()
                .is_some_and(|text| text.contains("epoch 1 손실"))
    });
    workspace
        .ask(
            "POST",
            &scope().mlflow("runs/log-metric"),
            &json!({ "run_id": "live", "key": "train_loss", "value": 0.25, "timestamp": 1, "step": 1 }),
        )
        .expect(200);
    until_event(&mut events, |kind, data| {
        kind == "part"
            && data["name"] == "metrics"
            && data["html"]
                .as_str()
                .is_some_and(|html| html.contains("train_loss") && html.contains("<svg"))
    });
    std::fs::write(&second, "").expect("a gate");
    until_event(&mut events, |kind, data| {
        kind == "part"
            && data["name"] == "steps"
            && data["html"]
                .as_str()
                .is_some_and(|html| html.contains("Finalizing") || html.contains("Completed"))
    });
    until_event(&mut events, |kind, data| {
        kind == "end" && data == "Completed"
    });
}

#[test]
fn a_job_is_canceled_from_its_page() {
    let workspace = Workspace::start();
    workspace.submit("long", "sleep 600", &json!({}));
    workspace.reach("long", "Running");
    let cookie = cookie(&workspace, "long");
    let url = workspace.url();
    let answer = ask(
        "POST",
        &format!("{url}/studio/jobs/long/cancel"),
        &[("Cookie", &cookie), ("Origin", &url)],
        &[],
    )
    .expect(303);
    assert_eq!(answer.header("location"), Some("/studio/jobs/long"));
    workspace.reach("long", "Canceled");
    let page = look(&workspace, &cookie, "/studio/jobs/long").text();
    assert!(
        !page.contains("class=\"danger\""),
        "nothing is left to cancel"
    );
}

#[test]
fn peaks_survive_thinning() {
    let workspace = Workspace::start();
    workspace.submit("dense", "true", &json!({}));
    let metrics: Vec<Value> = (0..20_000)
        .map(|step| {
            let value = if step == 12_345 { 777.0 } else { 1.0 };
            json!({ "key": "loss", "value": value, "timestamp": step, "step": step })
        })
        .collect();
    for batch in metrics.chunks(1000) {
        workspace
            .ask(
                "POST",
                &scope().mlflow("runs/log-batch"),
                &json!({ "run_id": "dense", "metrics": batch }),
            )
            .expect(200);
    }
    let cookie = cookie(&workspace, "dense");
    let page = look(&workspace, &cookie, "/studio/jobs/dense").text();
    assert!(page.len() < 200_000, "{} bytes", page.len());
    let labels = ["700", "600", "800"];
    assert!(
        labels.iter().any(|label| page.contains(label)),
        "the axis reaches the peak"
    );
}
