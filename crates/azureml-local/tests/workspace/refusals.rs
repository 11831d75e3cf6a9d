//! Error responses for missing or invalid resources: they name the resource and contain a hint.

use crate::support::{Answer, Workspace};
use azureml_wire::local::{env, scope};
use end_to_end::kill;
use serde_json::{Value, json};

fn message(answer: &Answer) -> String {
    answer.json()["error"]["message"]
        .as_str()
        .expect("a message")
        .to_owned()
}

#[test]
fn what_the_workspace_has_not_is_refused_by_its_name() {
    let workspace = Workspace::new();
    let mut server = workspace.serve(&[(env::TRACE, "")]);
    let ws = scope().to_string();
    let group = ws.split("/providers/").next().expect("a group").to_owned();
    let provider = "providers/Microsoft.MachineLearningServices";
    for (path, name) in [
        (format!("{ws}/components"), "no components"),
        (format!("{ws}/components/x/versions/1"), "no components"),
        (format!("{ws}/schedules/x"), "no schedules"),
        (format!("{ws}/onlineEndpoints"), "no endpoints"),
        (
            format!("{ws}/batchEndpoints/x/deployments/y"),
            "no endpoints",
        ),
        (format!("{ws}/serverlessEndpoints/x"), "no endpoints"),
        (format!("{ws}/connections"), "no connections"),
        (format!("{ws}/featuresets/x"), "no feature stores"),
        (format!("{ws}/listKeys"), "no keys of other resources"),
        (format!("{group}/{provider}/registries"), "no registries"),
        (
            "/registrymanagement/v1.0/registries/x/discovery".to_owned(),
            "no registries",
        ),
        (
            format!("{group}/{provider}/locations/local/vmSizes"),
            "no VM sizes",
        ),
        (format!("{group}/{provider}/workspaces/other"), "\"other\""),
        (
            format!("{group}/{provider}/workspaces/other/jobs/x"),
            "names another",
        ),
        (group.replace("/local", "/elsewhere"), "\"elsewhere\""),
        (format!("{ws}/toasters/x"), "\"/toasters/x\""),
        (format!("/history/v1.0{ws}/toasters"), "\"/toasters\""),
        ("/toasters".to_owned(), "\"/toasters\""),
    ] {
        for method in ["GET", "PUT", "POST", "DELETE"] {
            let answer = workspace.ask(method, &path, &json!({})).expect(404);
            let message = message(&answer);
            assert!(message.contains(name), "{method} {path}: {message}");
            assert!(message.contains("\nhint: "), "{method} {path}: {message}");
        }
    }
    for method in ["PUT", "DELETE"] {
        let answer = workspace
            .arm(method, "/datastores/mine", &json!({}))
            .expect(400);
        let message = message(&answer);
        assert!(
            message.contains("workspaceblobstore") && message.contains("hint: "),
            "{message}"
        );
    }
    let answer = workspace.arm("PATCH", "/jobs/x", &json!({})).expect(405);
    assert!(message(&answer).contains("GET"), "{}", answer.text());
    assert!(answer.header("allow").expect("methods").contains("PUT"));
    kill(server.id());
    server.wait().expect("it was ours");
}

#[test]
fn this_workspace_is_listed_in_any_case_of_its_subscription() {
    let workspace = Workspace::start();
    let ws = scope().to_string();
    let (list, _) = ws.rsplit_once('/').expect("a name");
    let (group, provider) = list.split_once("/providers/").expect("a provider");
    let (subscription, _) = group.split_once("/resourceGroups/").expect("a group");
    for path in [
        list.to_owned(),
        list.to_uppercase()
            .replace("/SUBSCRIPTIONS", "/subscriptions"),
        format!("{subscription}/providers/{provider}"),
    ] {
        let listed = workspace.ask("GET", &path, &Value::Null).expect(200).json();
        assert_eq!(listed["value"][0]["id"], ws, "{path}");
        assert_eq!(listed["value"].as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn an_error_of_a_body_names_the_member() {
    let workspace = Workspace::start();
    for (more, path) in [
        (
            json!({ "environmentVariables": { "A": "x", "EPOCHS": 5 } }),
            "properties.environmentVariables.EPOCHS",
        ),
        (
            json!({ "environmentVariables": { "A": true } }),
            "properties.environmentVariables.A",
        ),
        (json!({ "tags": { "a": [] } }), "properties.tags.a"),
        (
            json!({ "resources": { "instanceCount": "two" } }),
            "properties.resources.instanceCount",
        ),
        (
            json!({ "inputs": { "a": { "jobInputType": "literal", "value": 1 } } }),
            "properties.inputs.a.value",
        ),
        (
            json!({ "inputs": { "a": { "jobInputType": "toaster" } } }),
            "properties.inputs.a.jobInputType",
        ),
        (json!({ "limits": 3 }), "properties.limits"),
    ] {
        let answer = workspace.try_submit("job", "true", &more).expect(400);
        let message = message(&answer);
        assert!(message.contains(&format!("{path}: ")), "{path}: {message}");
    }
    let answer = workspace
        .try_submit(
            "job",
            "true",
            &json!({ "environmentVariables": { "EPOCHS": 5 } }),
        )
        .expect(400);
    assert!(message(&answer).contains("\nhint: "), "{}", answer.text());
    for (path, body, member) in [
        (
            "/environments/e/versions/1",
            json!({ "properties": { "image": 1 } }),
            "properties.image: ",
        ),
        (
            "/models/m/versions/1",
            json!({ "properties": { "modelUri": [] } }),
            "properties.modelUri: ",
        ),
        (
            "/data/d/versions/1",
            json!({ "properties": { "dataUri": "x", "dataType": 1 } }),
            "properties.dataType: ",
        ),
        (
            "/environments/rust-tch-gpu",
            json!({ "properties": { "isArchived": "x" } }),
            "properties.isArchived: ",
        ),
        ("/environments/rust-tch-gpu", json!([]), "properties: "),
        (
            "/codes/c/versions/1",
            json!({ "properties": [] }),
            "properties: ",
        ),
        ("/environments/rust-tch-gpu", json!("x"), "properties: "),
    ] {
        let answer = workspace.arm("PUT", path, &body).expect(400);
        let message = message(&answer);
        assert!(message.contains(member), "{member}: {message}");
    }
}

#[test]
fn a_body_of_many_members_is_refused_before_it_takes_memory() {
    let workspace = Workspace::start();
    let body = json!({ "properties": { "tags": vec![1; 300_000] } });
    let answer = workspace.arm("PUT", "/jobs/x", &body).expect(413);
    assert!(message(&answer).contains("hint: "), "{}", answer.text());
}

#[test]
fn a_name_is_archived_with_all_its_versions_and_comes_back() {
    let workspace = Workspace::start();
    for (kind, properties) in [
        ("environments", json!({ "image": "ubuntu" })),
        (
            "models",
            json!({ "modelUri": "azureml://datastores/workspaceblobstore/paths/x" }),
        ),
        (
            "data",
            json!({ "dataUri": "azureml://datastores/workspaceblobstore/paths/x", "dataType": "uri_folder" }),
        ),
    ] {
        for version in ["1", "2"] {
            workspace
                .arm(
                    "PUT",
                    &format!("/{kind}/mine/versions/{version}"),
                    &json!({ "properties": properties }),
                )
                .expect(201);
        }
        let count = |path: &str| {
            let listed = workspace.get(&format!("/{kind}{path}"));
            let listed = listed["value"].as_array().expect("a list").clone();
            listed
                .iter()
                .filter(|item| item["id"].as_str().is_some_and(|id| id.contains("/mine")))
                .count()
        };
        assert_eq!((count(""), count("/mine/versions")), (1, 2));
        // Like the official client: sends the response back with one member changed.
        let mut container = workspace.get(&format!("/{kind}/mine"));
        for (archived, names, versions) in [(true, 0, 0), (false, 1, 2)] {
            container["properties"]["isArchived"] = json!(archived);
            let put = workspace
                .arm("PUT", &format!("/{kind}/mine"), &container)
                .expect(200)
                .json();
            assert_eq!(put["properties"]["isArchived"], archived);
            assert_eq!(
                (count(""), count("/mine/versions")),
                (names, versions),
                "{kind}"
            );
            assert_eq!(count("?listViewType=All"), 1);
            assert_eq!(count("?listViewType=ArchivedOnly"), usize::from(archived));
        }
        let answer = workspace
            .arm("PUT", &format!("/{kind}/none"), &container)
            .expect(404);
        assert!(message(&answer).contains("hint: "), "{}", answer.text());
    }
}

#[test]
fn models_of_runs_are_kept_where_their_files_are() {
    let workspace = Workspace::start();
    workspace.submit(
        "trained",
        "mkdir -p outputs/model; echo w > outputs/model/w.txt",
        &json!({}),
    );
    workspace.complete("trained");
    let folder =
        "/datastores/workspaceartifactstore/paths/ExperimentRun/dcid.trained/outputs/model";
    for (number, uri, end) in [
        (
            "1",
            "azureml://jobs/trained/outputs/artifacts/paths/outputs/model",
            "/",
        ),
        (
            "2",
            "azureml://jobs/trained/outputs/artifacts/paths/outputs/model/",
            "/",
        ),
        ("3", "runs:/trained/outputs/model", "/"),
        ("4", "runs:/trained/outputs/model/w.txt", "/w.txt"),
    ] {
        let path = format!("/models/net/versions/{number}");
        let body = json!({ "properties": { "modelUri": uri } });
        // A second registration is idempotent.
        for status in [201, 200] {
            let model = workspace.arm("PUT", &path, &body).expect(status).json();
            let kept = model["properties"]["modelUri"].as_str().expect("a URI");
            assert!(kept.ends_with(&format!("{folder}{end}")), "{kept}");
        }
    }
    for uri in [
        "azureml://jobs/none/outputs/artifacts/paths/x",
        "runs:/none/x",
    ] {
        let body = json!({ "properties": { "modelUri": uri } });
        let answer = workspace
            .arm("PUT", "/models/net/versions/9", &body)
            .expect(400);
        assert!(message(&answer).contains("\"none\""), "{}", answer.text());
    }
    // The requests of the official client before a download.
    let ids = json!({ "values": ["runs:/trained/outputs/model", "azureml:net:4"] });
    let ws = scope();
    let data = workspace
        .ask(
            "POST",
            &format!("/data/v1.0{ws}/dataversion/batchGetResolvedUris"),
            &ids,
        )
        .expect(200)
        .json();
    assert_eq!(
        data["values"]["runs:/trained/outputs/model"]["type"],
        "uri_folder"
    );
    assert_eq!(data["values"]["azureml:net:4"]["type"], "uri_file");
    let models = workspace
        .ask(
            "POST",
            &format!("/modelregistry/v1.0{ws}/models/batchGetResolvedUris"),
            &ids,
        )
        .expect(200)
        .json();
    let path = models["values"]["azureml:net:4"]["path"]
        .as_str()
        .expect("a URI");
    assert!(path.ends_with("/w.txt"), "{path}");
}
