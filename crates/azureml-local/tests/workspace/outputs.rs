//! The files that a job writes: its two output folders and its named outputs.

use crate::support::{Workspace, put_blob, until};
use azureml_wire::local::scope;
use end_to_end::wait_for;
use serde_json::{Value, json};
use std::fs;

#[test]
fn every_process_of_a_job_finds_the_folders_outputs_and_logs() {
    let workspace = Workspace::start();
    workspace.submit(
        "alone",
        "echo hello > outputs/hello.txt; echo l > logs/l.txt",
        &json!({}),
    );
    workspace.complete("alone");
    assert_eq!(
        workspace.artifacts("alone"),
        ["logs/l.txt", "outputs/hello.txt", "user_logs/std_log.txt"]
    );
    workspace.submit(
        "many",
        "echo $RANK > outputs/$RANK.txt && echo $RANK > logs/$RANK.txt",
        &json!({ "distribution": { "distributionType": "PyTorch", "processCountPerInstance": 2 } }),
    );
    workspace.complete("many");
    let artifacts = workspace.artifacts("many");
    for path in ["outputs/0.txt", "outputs/1.txt", "logs/0.txt", "logs/1.txt"] {
        assert!(
            artifacts.contains(&path.to_owned()),
            "{path} in {artifacts:?}"
        );
    }
    // The code may already contain these names, as a folder or as a file.
    let code = workspace.code(
        "33333333-3333-3333-3333-333333333333",
        "cc",
        &[("outputs/kept.txt", "k"), ("logs", "a file")],
    );
    workspace.submit(
        "brought",
        "cat logs outputs/kept.txt",
        &json!({ "codeId": code }),
    );
    workspace.complete("brought");
    assert_eq!(workspace.log("brought"), "a filek");
}

#[test]
fn what_a_job_writes_to_logs_is_there_while_it_runs() {
    let workspace = Workspace::start();
    let gate = workspace.gate("gate");
    workspace.submit(
        "writes",
        &format!(
            "echo one > logs/own.txt; {}; echo two >> logs/own.txt",
            until(&gate)
        ),
        &json!({}),
    );
    wait_for("a line of its own log", || {
        let there = workspace
            .artifacts("writes")
            .contains(&"logs/own.txt".to_owned());
        (there && workspace.artifact("writes", "logs/own.txt").text() == "one\n").then_some(())
    });
    fs::write(&gate, "").expect("the folder is ours");
    workspace.complete("writes");
    assert_eq!(
        workspace.artifact("writes", "logs/own.txt").text(),
        "one\ntwo\n"
    );
}

fn place(path: &str) -> String {
    format!("azureml://datastores/workspaceblobstore/paths/{path}")
}

fn input(kind: &str, uri: &str) -> Value {
    json!({ "jobInputType": kind, "uri": uri })
}

#[test]
fn expressions_in_the_place_of_an_output_are_resolved() {
    let workspace = Workspace::start();
    let outputs = json!({ "outputs": {
        "folder": { "jobOutputType": "uri_folder",
            "uri": "azureml://datastores/${{default_datastore}}/paths/runs/${{name}}/${{output_name}}/" },
        "file": { "jobOutputType": "uri_file",
            "uri": "azureml://datastores/${{default_datastore}}/paths/files/${{ name }}.txt" },
    } });
    for name in ["one", "two"] {
        workspace.submit(
            name,
            &format!("echo {name} | tee ${{{{outputs.folder}}}}/f.txt > ${{{{outputs.file}}}}"),
            &outputs,
        );
        let shown = &workspace.get(&format!("/jobs/{name}"))["properties"]["outputs"];
        assert_eq!(
            shown["folder"]["uri"],
            place(&format!("runs/{name}/folder/"))
        );
        assert_eq!(shown["file"]["uri"], place(&format!("files/{name}.txt")));
        workspace.complete(name);
    }
    for name in ["one", "two"] {
        let reads = format!("reads-{name}");
        workspace.submit(
            &reads,
            "cat ${{inputs.a}}/f.txt ${{inputs.b}} ${{inputs.c}}/f.txt ${{inputs.d}} ${{inputs.e}}",
            &json!({ "inputs": {
                "a": input("uri_folder", &place(&format!("runs/{name}/folder"))),
                "b": input("uri_file", &place(&format!("files/{name}.txt"))),
                "c": input("uri_folder", &format!("azureml://jobs/{name}/outputs/folder")),
                "d": input("uri_file", &format!("azureml://jobs/{name}/outputs/file")),
                "e": input("uri_file", &format!("azureml://jobs/{name}/outputs/folder/paths/f.txt")),
            } }),
        );
        workspace.complete(&reads);
        assert_eq!(workspace.log(&reads), format!("{name}\n").repeat(5));
    }
}

#[test]
fn unknown_expressions_in_the_place_of_an_output_are_refused_by_name() {
    let workspace = Workspace::start();
    for (path, said) in [
        (
            "x/${{job_name}}",
            "names ${{job_name}}, which is not defined there",
        ),
        ("x/${{inputs.lr}}", "names ${{inputs.lr}}"),
        ("x/${{parent.name}}", "names ${{parent.name}}"),
        ("x/${{name", "without an end"),
    ] {
        let answer = workspace
            .try_submit(
                "refused",
                "true",
                &json!({ "outputs": { "model": { "jobOutputType": "uri_folder", "uri": place(path) } } }),
            )
            .expect(400)
            .json();
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(message.contains("the output \"model\""), "{message}");
        assert!(message.contains(said), "{message}");
        assert!(
            message.contains("\nhint: use ${{default_datastore}}, ${{name}}"),
            "{message}"
        );
    }
}

#[test]
fn an_output_of_a_job_is_found_where_the_job_has_put_it() {
    let workspace = Workspace::start();
    workspace.submit(
        "makes",
        "echo a > ${{outputs.default_place}}/x.txt; echo b > ${{outputs.placed}}/x.txt; \
         echo c > ${{outputs.file}}; echo d > ${{outputs.placed_file}}; echo e > ${{outputs.registered}}/x.txt; \
         echo f > ${{outputs.in_folder}}; echo g > outputs/x.txt",
        &json!({ "outputs": {
            "default_place": { "jobOutputType": "uri_folder" },
            "placed": { "jobOutputType": "uri_folder", "uri": place("custom/folder") },
            "file": { "jobOutputType": "uri_file" },
            "placed_file": { "jobOutputType": "uri_file", "uri": place("custom/d.txt") },
            "registered": { "jobOutputType": "uri_folder", "uri": place("custom/set"), "assetName": "set" },
            "in_folder": { "jobOutputType": "uri_file", "uri": place("custom/below/") },
        } }),
    );
    workspace.complete("makes");
    let of = |output: &str| format!("azureml://jobs/makes/outputs/{output}");
    let long = |output: &str| {
        let ws = scope().to_string();
        format!("azureml:/{ws}/jobs/makes/outputs/{output}")
    };
    workspace.submit(
        "takes",
        "cat ${{inputs.a}}/x.txt ${{inputs.b}}/x.txt ${{inputs.c}} ${{inputs.d}} ${{inputs.e}}/x.txt ${{inputs.f}} \
         ${{inputs.g}} ${{inputs.h}}/x.txt ${{inputs.i}}/x.txt",
        &json!({ "inputs": {
            "a": input("uri_folder", &of("default_place")),
            "b": input("uri_folder", &of("placed")),
            "c": input("uri_file", &of("file")),
            "d": input("uri_file", &of("placed_file")),
            "e": input("uri_folder", &of("registered")),
            "f": input("uri_file", &of("in_folder")),
            "g": input("uri_file", &of("artifacts/paths/outputs/x.txt")),
            "h": input("uri_folder", &long("placed")),
            "i": input("uri_folder", "azureml:set:1"),
        } }),
    );
    workspace.complete("takes");
    assert_eq!(workspace.log("takes"), "a\nb\nc\nd\ne\nf\ng\nb\ne\n");

    // A model from one of these outputs, and outputs that do not exist.
    let model = json!({ "properties": { "modelUri": of("placed"), "modelType": "custom_model" } });
    workspace
        .arm("PUT", "/models/m/versions/1", &model)
        .expect(201);
    workspace.submit(
        "takes-model",
        "cat ${{inputs.m}}/x.txt",
        &json!({ "inputs": { "m": input("custom_model", "azureml:m:1") } }),
    );
    workspace.complete("takes-model");
    assert_eq!(workspace.log("takes-model"), "b\n");
    for (name, uri, said) in [
        (
            "no-output",
            of("plased"),
            "the output \"plased\" of job \"makes\"; it has default_place",
        ),
        (
            "no-job",
            "azureml://jobs/gone/outputs/x".to_owned(),
            "job \"gone\", which this workspace does not have\nhint:",
        ),
        ("no-file", of("placed/paths/y.txt"), "there is nothing at"),
    ] {
        workspace.submit(
            name,
            "true",
            &json!({ "inputs": { "i": input("uri_file", &uri) } }),
        );
        let message = workspace.fail(name);
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn an_output_of_a_job_that_runs_is_not_there_yet() {
    let workspace = Workspace::start();
    let gate = workspace.gate("gate");
    let outputs = json!({ "outputs": { "o": { "jobOutputType": "uri_folder" } } });
    workspace.submit("runs", &until(&gate), &outputs);
    workspace.reach("runs", "Running");
    let uri = "azureml://jobs/runs/outputs/o";
    workspace.submit(
        "early",
        "true",
        &json!({ "inputs": { "i": input("uri_folder", uri) } }),
    );
    let message = workspace.fail("early");
    assert!(
        message.contains("job \"runs\", which is Running"),
        "{message}"
    );
    fs::write(&gate, "").expect("the folder is ours");
    workspace.complete("runs");
}

#[test]
fn trials_of_a_sweep_may_share_a_place_with_their_names_in_it() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    put_blob(&format!("{uri}/x?{query}"), b"x").expect(201);
    let sweep = |uri: &str| {
        json!({ "properties": {
            "jobType": "Sweep",
            "objective": { "primaryMetric": "m", "goal": "Maximize" },
            "samplingAlgorithm": { "samplingAlgorithmType": "Grid" },
            "searchSpace": { "x": ["choice", [["a", "b"]]] },
            "trial": {
                "command": "echo ${{search_space.x}} > ${{outputs.o}}/x.txt",
                "environmentId": scope().path(["environments", "rust-tch-gpu", "versions", "1"]),
            },
            "computeId": scope().path(["computes", "cpu-cluster"]),
            "outputs": { "o": { "jobOutputType": "uri_folder", "uri": uri } },
            "experimentName": "tests",
        } })
    };
    workspace
        .arm("PUT", "/jobs/s", &sweep(&place("trials/${{output_name}}")))
        .expect(400);
    workspace
        .arm(
            "PUT",
            "/jobs/s",
            &sweep(&place("trials/${{nme}}/${{name}}")),
        )
        .expect(400);
    workspace
        .arm("PUT", "/jobs/s", &sweep(&place("trials/${{name}}")))
        .expect(201);
    workspace.complete("s");
    for (trial, said) in [("s_0", "a\n"), ("s_1", "b\n")] {
        let shown = workspace.get(&format!("/jobs/{trial}"));
        let uri = &shown["properties"]["outputs"]["o"]["uri"];
        assert_eq!(*uri, place(&format!("trials/{trial}")));
        let reads = format!("reads-{trial}");
        workspace.submit(
            &reads,
            "cat ${{inputs.i}}/x.txt",
            &json!({ "inputs": { "i": input("uri_folder", &format!("azureml://jobs/{trial}/outputs/o")) } }),
        );
        workspace.complete(&reads);
        assert_eq!(workspace.log(&reads), said);
    }
}
