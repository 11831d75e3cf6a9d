//! The environment of a job's processes.

use crate::app::App;
use crate::runner::command::Bindings;
use crate::store::job::Job;
use azureml_wire::Bag;
use azureml_wire::local;
use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

/// What a job gets of the server's own environment: what tells a program where it is, and nothing that opens anything.
const KEPT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "TERM",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "PYTHONPATH",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
];

/// Families of variables that a job gets as well.
const KEPT_PREFIXES: &[&str] = &["LC_", "XDG_"];

/// Everything that all processes of a job find in their environment.
pub fn of_job(app: &App, job: &Job, bindings: &Bindings) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| {
            KEPT.contains(&name.as_str())
                || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
        .collect();
    if let Some(libtorch) = libtorch() {
        variables.insert("LIBTORCH".to_owned(), libtorch);
    }
    // A job shares this machine with the notebook and whatever else its user runs: OpenMP's threads that wait in busy loops
    // for one that has no processor make a training many times slower.
    variables
        .entry("OMP_WAIT_POLICY".to_owned())
        .or_insert_with(|| "passive".to_owned());
    let scope = local::scope();
    let token = app.signer.run_token(&job.name);
    let experiment_id = job.experiment_id.to_string();
    let tracking = app.tracking_uri();
    let service = app.url();
    let port_file = app.home.port_file().to_string_lossy().into_owned();
    for (name, value) in [
        ("AZUREML_RUN_ID", job.name.as_str()),
        ("AZUREML_ROOT_RUN_ID", &job.name),
        ("AZUREML_RUN_TOKEN", &token),
        ("AZUREML_EXPERIMENT_ID", &experiment_id),
        ("AZUREML_EXPERIMENT_NAME", &job.experiment),
        ("AZUREML_ARM_SUBSCRIPTION", &scope.subscription_id),
        ("AZUREML_ARM_RESOURCEGROUP", &scope.resource_group),
        ("AZUREML_ARM_WORKSPACE_NAME", &scope.workspace_name),
        ("AZUREML_ARM_PROJECT_NAME", &job.experiment),
        (
            "AZUREML_WORKSPACE_ID",
            crate::routes::workspace::WORKSPACE_ID,
        ),
        ("AZUREML_SERVICE_ENDPOINT", &service),
        (local::env::PORT_FILE, &port_file),
        ("MLFLOW_TRACKING_URI", &tracking),
        ("MLFLOW_TRACKING_TOKEN", &token),
        ("MLFLOW_RUN_ID", &job.name),
        ("MLFLOW_EXPERIMENT_ID", &experiment_id),
        ("MLFLOW_EXPERIMENT_NAME", &job.experiment),
        // Lines appear in the log when they are printed.
        ("PYTHONUNBUFFERED", "1"),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    for (name, binding) in bindings {
        let text = binding.text().to_owned();
        if let Some(name) = name.strip_prefix("inputs.") {
            variables.insert(format!("AZURE_ML_INPUT_{name}"), text.clone());
            variables.insert(format!("AZUREML_PARAMETER_{name}"), text);
        } else if let Some(name) = name.strip_prefix("outputs.") {
            variables.insert(format!("AZURE_ML_OUTPUT_{name}"), text);
        }
    }
    let own: Bag = job
        .properties
        .get("environmentVariables")
        .and_then(|own| serde_json::from_value(own.clone()).ok())
        .unwrap_or_default();
    for (name, value) in own {
        // A name with `=` or NUL is none; the value of another would be cut.
        if !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0') {
            variables.insert(name, value);
        }
    }
    variables
}

/// What the process of one rank has beside the common environment.
pub fn of_rank(rank: usize, nodes: usize, per_node: usize, port: u16) -> BTreeMap<String, String> {
    [
        ("MASTER_ADDR", "127.0.0.1".to_owned()),
        ("MASTER_PORT", port.to_string()),
        ("WORLD_SIZE", (nodes * per_node).to_string()),
        ("LOCAL_WORLD_SIZE", per_node.to_string()),
        ("NODE_RANK", (rank / per_node).to_string()),
        ("RANK", rank.to_string()),
        ("LOCAL_RANK", (rank % per_node).to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// The libtorch that stands for the environment's PyTorch: `$AZUREML_LIBTORCH`, else the one in the user's cache.
fn libtorch() -> Option<String> {
    let set = env::var_os(local::env::LIBTORCH).filter(|value| !value.is_empty());
    let folder = match set {
        // It was asked for by name: the job is to say what is wrong with it.
        Some(folder) => PathBuf::from(folder),
        None => local::cache()
            .map(|cache| cache.join("libtorch-2.11.0").join("torch"))
            .filter(|folder: &PathBuf| Path::is_dir(folder))?,
    };
    folder.into_os_string().into_string().ok()
}
