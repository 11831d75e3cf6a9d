//! All URLs of the local workspace, for tests that try each of them.

use azureml_wire::local::scope;

/// The methods that are tried on each URL.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"];

const ARM: &[&str] = &[
    "",
    "/jobs",
    "/jobs/RUN",
    "/jobs/RUN/cancel",
    "/computes",
    "/computes/cpu-cluster",
    "/computes/ci-aml-workshop/start",
    "/computes/ci-aml-workshop/stop",
    "/operationsStatus/x",
    "/environments",
    "/environments/rust-tch-gpu",
    "/environments/rust-tch-gpu/versions",
    "/environments/rust-tch-gpu/versions/1",
    "/models",
    "/models/model",
    "/models/model/versions",
    "/models/model/versions/1",
    "/models/model/versions/1/startPendingUpload",
    "/data",
    "/data/data",
    "/data/data/versions",
    "/data/data/versions/1",
    "/codes",
    "/codes/code",
    "/codes/code/versions",
    "/codes/code/versions/1",
    "/codes/code/versions/1/startPendingUpload",
    "/datastores",
    "/datastores/workspaceblobstore",
    "/datastores/workspaceblobstore/listSecrets",
    "/components",
    "/schedules/x",
    "/onlineEndpoints",
    "/connections/x",
    "/toasters",
];

const HISTORY: &[&str] = &[
    "/rundata",
    "/runs/RUN",
    "/runs/RUN/details",
    "/runs/RUN/children",
    "/runs/RUN/events",
    "/runs/RUN/events/batch",
    "/runs/RUN/metricsingest/wait",
    "/runs/RUN/token",
    "/runs/RUN/serviceinstances/0",
    "/runs/RUN/artifacts",
    "/runs/RUN/artifacts/path",
    "/runs/RUN/artifacts/contentinfo",
    "/runs/RUN/artifacts/prefix/contentinfo",
    "/runs/RUN/artifacts/batch/metadata",
    "/experiments/tests/runs/RUN/details",
    "/experimentids/1/runs/RUN",
    "/toasters",
];

const MLFLOW: &[&str] = &[
    "/mlflow/experiments/create",
    "/mlflow/experiments/get",
    "/mlflow/experiments/get-by-name",
    "/mlflow/experiments/search",
    "/mlflow/experiments/list",
    "/mlflow/experiments/update",
    "/mlflow/experiments/delete",
    "/mlflow/experiments/restore",
    "/mlflow/experiments/set-experiment-tag",
    "/mlflow/experiments/delete-experiment-tag",
    "/mlflow/runs/create",
    "/mlflow/runs/get",
    "/mlflow/runs/update",
    "/mlflow/runs/search",
    "/mlflow/runs/delete",
    "/mlflow/runs/restore",
    "/mlflow/runs/log-metric",
    "/mlflow/runs/log-batch",
    "/mlflow/runs/log-parameter",
    "/mlflow/runs/log-inputs",
    "/mlflow/runs/log-model",
    "/mlflow/runs/set-tag",
    "/mlflow/runs/delete-tag",
    "/mlflow/metrics/get-history",
    "/mlflow/logged-models/search",
    "/mlflow/artifacts/list",
    "/mlflow-artifacts/artifacts",
    "/mlflow-artifacts/artifacts/RUN/x.txt",
    "/mlflow/toasters",
];

const OTHER: &[&str] = &[
    "/",
    "/discovery",
    "/toasters",
    "/-/arm/jobs",
    "/history",
    "/runs/RUN",
    "/studio/studio.css",
    "/studio/studio.js",
    "/studio/icon.svg",
    "/studio/jobs",
    "/studio/jobs/RUN",
    "/studio/jobs/RUN/cancel",
    "/studio/jobs/RUN/events",
    "/studio/jobs/RUN/files/user_logs/std_log.txt",
    "/studio/jobs/RUN/files/outputs/none.txt",
    "/studio/compare?run=RUN",
    "/studio/computes",
    "/studio/computes/ci-aml-workshop/start",
    "/studio/computes/ci-aml-workshop/stop",
    "/studio/data",
    "/studio/environments",
    "/studio/models",
    "/studio/models/model/1",
    "/studio/models/model/1/files/weights.txt",
    "/studio/toasters",
    "/azuremllocal",
    "/azuremllocal/azureml-blobstore",
    "/azuremllocal/azureml-blobstore?restype=container",
    "/azuremllocal/azureml-blobstore?restype=container&comp=list",
    "/azuremllocal/azureml-blobstore?restype=container&comp=metadata",
    "/azuremllocal/azureml-blobstore/x.txt",
    "/azuremllocal/azureml-blobstore/x.txt?comp=metadata",
    "/azuremllocal/azureml-blobstore/x.txt?comp=properties",
    "/azuremllocal/azureml-blobstore/x.txt?comp=block&blockid=YQ==",
    "/azuremllocal/azureml-blobstore/x.txt?comp=blocklist",
    "/azuremllocal/azureml-blobstore/x.txt?comp=toaster",
    "/azuremllocal/nowhere/x.txt",
];

/// All URLs, with the name of a run inserted. The run should have ended, because only then its
/// event stream ends.
pub fn all(run: &str) -> Vec<String> {
    let ws = scope();
    let below = |root: String, paths: &'static [&str]| {
        paths.iter().map(move |path| format!("{root}{path}"))
    };
    below(ws.to_string(), ARM)
        .chain(below(format!("/history/v1.0{ws}"), HISTORY))
        .chain(below(format!("/mlflow/v2.0{ws}/api/2.0"), MLFLOW))
        .chain(below(
            format!("/artifact/v2.0{ws}/artifacts"),
            &[
                "/ExperimentRun/dcid.RUN",
                "/contentinfo/ExperimentRun/dcid.RUN",
                "/prefix/contentinfo/ExperimentRun/dcid.RUN",
            ],
        ))
        .chain(below(
            format!("/data/v1.0{ws}"),
            &["/dataversion/batchGetResolvedUris", "/dataversion/x"],
        ))
        .chain(below(
            format!("/modelregistry/v1.0{ws}"),
            &["/models/batchGetResolvedUris", "/models"],
        ))
        .chain(below(
            ws.to_string().replace("/workspaces/local", ""),
            &["/workspaces", "/workspaces/other", "/registries"],
        ))
        .chain(below(
            format!("/metric/v2.0{ws}"),
            &["/runs/RUN/batch", "/runs/RUN/list", "/runs/RUN/full"],
        ))
        .chain(below(format!("/rp/workspaces{ws}"), &[""]))
        .chain(below(format!("/mlflow/v2.0{ws}"), &[""]))
        .chain(below(String::new(), OTHER))
        .map(|path| path.replace("RUN", run))
        .collect()
}
