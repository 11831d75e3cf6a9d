//! The pages: who may see them, what they show, and that nothing of what jobs write comes alive in them.

use crate::support::{Answer, Workspace, ask, until};
use azureml_wire::local::scope;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

const CODE: &str = "<script>alert(1)</script>";

/// The link to a job's page, as a notebook shows it.
fn link(workspace: &Workspace, name: &str) -> String {
    workspace.get(&format!("/jobs/{name}"))["properties"]["services"]["Studio"]["endpoint"]
        .as_str()
        .expect("a link")
        .to_owned()
}

/// The cookie that a link is exchanged for.
fn cookie(workspace: &Workspace, name: &str) -> String {
    let answer = ask("GET", &link(workspace, name), &[], &[]).expect(200);
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("; HttpOnly"), "{cookie}");
    assert!(cookie.contains("; SameSite=Strict"), "{cookie}");
    cookie.split(';').next().expect("a pair").to_owned()
}

fn look(workspace: &Workspace, cookie: &str, path: &str) -> Answer {
    ask(
        "GET",
        &format!("{}{path}", workspace.url()),
        &[("Cookie", cookie)],
        &[],
    )
}

#[test]
fn a_link_opens_once_and_only_the_pages() {
    let workspace = Workspace::start();
    workspace.submit("job", "true", &json!({}));
    let url = workspace.url();
    let link = link(&workspace, "job");
    let first = ask("GET", &link, &[], &[]).expect(200);
    assert!(first.header("set-cookie").is_some());
    assert_eq!(first.header("referrer-policy"), Some("no-referrer"));
    assert!(!first.text().contains("ticket"), "{}", first.text());
    let again = ask("GET", &link, &[], &[]).expect(200);
    assert_eq!(again.header("set-cookie"), None);
    // A link that somebody has changed.
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
    // A ticket is no cookie, a cookie no credential, and the owner's token no cookie.
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
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
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
    // A long line is shown in parts, and a file that is no text not at all.
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

/// Reads events until `wanted` finds what it looks for.
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
