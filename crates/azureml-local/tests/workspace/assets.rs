//! The workspace resource, environments, code and models.

use crate::support::{Workspace, put_blob};
use azureml_wire::local::scope;
use serde_json::{Value, json};

#[test]
fn the_workspace_says_where_everything_is() {
    let workspace = Workspace::start();
    let found = workspace.get("");
    assert_eq!(found["name"], "local");
    assert_eq!(found["id"], scope().to_string());
    let tracking = found["properties"]["mlFlowTrackingUri"]
        .as_str()
        .expect("a URI");
    assert_eq!(
        tracking,
        format!("{}/mlflow/v2.0{}", workspace.url(), scope())
    );
    let computes = workspace.get("/computes");
    let names: Vec<&str> = computes["value"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|compute| compute["name"].as_str())
        .collect();
    assert_eq!(names, ["cc-aml-gpu", "ci-aml-workshop", "cpu-cluster"]);
    let gpu = workspace.get("/computes/CC-AML-GPU");
    assert_eq!(
        gpu["properties"]["properties"]["scaleSettings"]["maxNodeCount"],
        1
    );
    assert!(
        gpu["properties"]["description"]
            .as_str()
            .expect("text")
            .contains("GPU")
    );
}

#[test]
fn environments_have_versions_that_do_not_change() {
    let workspace = Workspace::start();
    let put = |version: &str, image: &str| {
        workspace.arm(
            "PUT",
            &format!("/environments/mine/versions/{version}"),
            &json!({ "properties": { "image": image, "description": "d", "tags": { "a": "b" } } }),
        )
    };
    put("1", "ubuntu:24.04").expect(201);
    put("2", "ubuntu:26.04").expect(201);
    put("2", "ubuntu:26.04").expect(200);
    let refused = put("1", "debian:13").expect(409).json();
    let message = refused["error"]["message"].as_str().expect("text");
    assert!(
        message.contains("hint: register it as version 3"),
        "{message}"
    );

    let latest = workspace.get("/environments/mine/versions?$orderBy=createdtime%20desc&$top=1");
    assert_eq!(latest["value"].as_array().map(Vec::len), Some(1));
    assert_eq!(latest["value"][0]["name"], "2");
    assert_eq!(
        latest["value"][0]["properties"]["environmentType"],
        "UserCreated"
    );
    assert!(latest["nextLink"].is_string());
    let oldest = workspace.get("/environments/mine/versions?$orderBy=createdtime%20asc&$top=1");
    assert_eq!(oldest["value"][0]["name"], "1");
    let container = workspace.get("/environments/mine");
    assert_eq!(container["properties"]["latestVersion"], "2");
    assert_eq!(container["properties"]["nextVersion"], "3");

    let missing = workspace.arm("GET", "/environments/rust-tch/versions/1", &Value::Null);
    let missing = missing.expect(404).json();
    let message = missing["error"]["message"].as_str().expect("text");
    assert!(
        message.contains("there are: AzureML-acpt-pytorch-2.11-cuda13, mine, rust-tch-gpu"),
        "{message}"
    );
    workspace
        .arm("GET", "/environments/mine/versions/9", &Value::Null)
        .expect(404);
    workspace
        .arm("GET", "/environments/nobody/versions", &Value::Null)
        .expect(404);
    for (name, body) in [
        ("/environments/none/versions/1", json!({ "properties": {} })),
        (
            "/environments/none/versions/1",
            json!({ "properties": { "image": "i", "imagine": 1 } }),
        ),
        (
            "/environments/no%20name/versions/1",
            json!({ "properties": { "image": "i" } }),
        ),
    ] {
        workspace.arm("PUT", name, &body).expect(400);
    }
}

#[test]
fn a_listing_by_hash_keeps_the_hash_on_its_next_page() {
    let workspace = Workspace::start();
    let names = ["11111111-1111-1111-1111-111111111111", "x"];
    for name in names {
        workspace.code(name, "cc", &[("a.txt", "same")]);
    }
    workspace.code("y", "dd", &[("a.txt", "other")]);
    let first = workspace.get("/codes/x/versions?hash=cc&$top=1");
    let next = first["nextLink"].as_str().expect("there is more");
    let bearer = format!("Bearer {}", workspace.token());
    let second = crate::support::ask("GET", next, &[("Authorization", &bearer)], &[])
        .expect(200)
        .json();
    let listed = [&first, &second].map(|page| {
        let versions = page["value"].as_array().expect("a list");
        assert_eq!(versions.len(), 1, "{page}");
        let properties = &versions[0]["properties"]["properties"];
        assert_eq!(properties["hash_sha256"], "cc", "{page}");
        versions[0]["id"].as_str().expect("an id").to_owned()
    });
    assert_ne!(listed[0], listed[1]);
    assert!(second.get("nextLink").is_none(), "{second}");
}

#[test]
fn unchanged_code_is_found_again_and_half_uploads_are_not() {
    let workspace = Workspace::start();
    let name = "33333333-3333-3333-3333-333333333333";
    let by_hash = |hash: &str| {
        workspace.get(&format!(
            "/codes/{name}/versions?hash={hash}&hashVersion=202208"
        ))["value"]
            .clone()
    };
    assert_eq!(by_hash("cc"), json!([]));

    // An upload without a registration is no code snapshot, and each upload gets a separate
    // container.
    let (first, query) = workspace.container();
    put_blob(&format!("{first}/source/a.txt?{query}"), b"half").expect(201);
    let (second, _) = workspace.container();
    assert_ne!(first, second);
    assert_eq!(by_hash("cc"), json!([]));

    let id = workspace.code(name, "cc", &[("a.txt", "whole")]);
    let found = by_hash("cc");
    assert_eq!(found[0]["id"], id);
    assert_eq!(
        found[0]["properties"]["properties"]["hash_version"],
        "202208"
    );
    assert_eq!(by_hash("dd"), json!([]));
    // Registering the same content again succeeds; other content is a conflict.
    let code = |uri: &str, hash: &str| json!({ "properties": { "codeUri": uri, "properties": { "hash_sha256": hash } } });
    let same = workspace
        .arm(
            "PUT",
            &format!("/codes/{name}/versions/1"),
            &code(&first, "cc"),
        )
        .expect(201)
        .json();
    assert_eq!(
        same["properties"]["codeUri"],
        found[0]["properties"]["codeUri"]
    );
    workspace
        .arm(
            "PUT",
            &format!("/codes/{name}/versions/1"),
            &code(&first, "ee"),
        )
        .expect(409);

    // A version whose files are lost is not returned.
    let uri = found[0]["properties"]["codeUri"].as_str().expect("a URL");
    let bearer = format!("Bearer {}", workspace.token());
    crate::support::ask(
        "DELETE",
        &format!("{uri}/a.txt"),
        &[("Authorization", &bearer)],
        &[],
    )
    .expect(202);
    assert_eq!(by_hash("cc"), json!([]));

    // A new upload with the same hash replaces the files of the version.
    let again = workspace.code(name, "cc", &[("a.txt", "whole again")]);
    assert_eq!(again, id);
    let found = by_hash("cc");
    assert_eq!(found[0]["id"], id);
    assert_ne!(found[0]["properties"]["codeUri"], uri);
    workspace.submit("runs-it", "cat a.txt", &json!({ "codeId": id }));
    workspace.complete("runs-it");
    assert_eq!(workspace.log("runs-it"), "whole again");
}

#[test]
fn data_is_registered_by_version() {
    let workspace = Workspace::start();
    let body = |uri: &str| json!({ "properties": { "dataType": "uri_folder", "dataUri": uri } });
    let uri = "azureml://datastores/workspaceblobstore/paths/digits/";
    let put = |version: &str, uri: &str| {
        workspace.arm(
            "PUT",
            &format!("/data/digits/versions/{version}"),
            &body(uri),
        )
    };
    put("1", uri).expect(201);
    put("1", uri).expect(200);
    put("1", "azureml://datastores/workspaceblobstore/paths/other/").expect(409);
    put("2", "").expect(400);
    let found = workspace.get("/data/digits/versions/1");
    assert_eq!(found["properties"]["dataUri"], uri);
    assert_eq!(
        workspace.get("/data/digits")["properties"]["nextVersion"],
        "2"
    );
    assert_eq!(workspace.get("/data")["value"][0]["name"], "digits");
}

#[test]
fn models_are_registered_by_version() {
    let workspace = Workspace::start();
    workspace
        .arm("GET", "/models/mnist/versions", &Value::Null)
        .expect(404);
    workspace
        .arm("GET", "/models/mnist", &Value::Null)
        .expect(404);
    for version in ["1", "2"] {
        workspace.submit(&format!("j{version}"), "true", &json!({}));
        let body = json!({ "properties": {
            "modelUri": format!("azureml://jobs/j{version}/outputs/artifacts/paths/outputs/model"),
            "modelType": "custom_model",
            "jobName": "j",
        }});
        let made = workspace
            .arm("PUT", &format!("/models/mnist/versions/{version}"), &body)
            .expect(201)
            .json();
        assert_eq!(made["properties"]["flavors"], json!({}));
    }
    assert_eq!(
        workspace.get("/models/mnist/versions?$orderBy=createdtime%20desc&$top=1")["value"][0]["name"],
        "2"
    );
    assert_eq!(
        workspace.get("/models/mnist")["properties"]["nextVersion"],
        "3"
    );
    assert_eq!(workspace.get("/models")["value"][0]["name"], "mnist");
    let archived = json!({ "properties": {
        "modelUri": "azureml://jobs/j2/outputs/artifacts/paths/outputs/model", "isArchived": true
    }});
    workspace
        .arm("PUT", "/models/mnist/versions/2", &archived)
        .expect(200);
    assert_eq!(
        workspace.get("/models/mnist/versions")["value"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}
