//! The environment of a job's processes.

use super::mark::Mark;
use crate::store::job::Job;
use crate::workspace::command::Bindings;
use crate::workspace::folder::Folder;
use crate::workspace::{self, Workspace};
use azureml_wire::local;
use serde_json::Value;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variables of the server's environment that a job inherits. They contain paths and settings,
/// no secrets.
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

/// Prefixes of further inherited variables.
const KEPT_PREFIXES: &[&str] = &["LC_", "XDG_"];

/// The common environment of all processes of a job.
pub fn of_job(
    app: &Workspace,
    job: &Job,
    folder: &Folder,
    bindings: &Bindings,
) -> BTreeMap<String, String> {
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
    // A job shares this machine with the notebook and other programs. OpenMP threads wait in busy
    // loops; if there are more threads than free processors, training becomes many times slower.
    variables
        .entry("OMP_WAIT_POLICY".to_owned())
        .or_insert_with(|| "passive".to_owned());
    let scope = local::scope();
    let token = app.signer.run_token(&job.name);
    let expiry = token.expiry.timestamp().to_string();
    let experiment_id = job.experiment_id.to_string();
    let tracking = app.tracking_uri();
    let service = app.url();
    let discovery = format!("{service}/discovery");
    let socket = app.home.socket().to_string_lossy().into_owned();
    for (name, value) in [
        ("AZUREML_RUN_ID", job.name.as_str()),
        (
            "AZUREML_ROOT_RUN_ID",
            job.parent.as_deref().unwrap_or(&job.name),
        ),
        ("AZUREML_RUN_TOKEN", &token.text),
        ("AZUREML_RUN_TOKEN_EXPIRY", &expiry),
        ("AZUREML_EXPERIMENT_ID", &experiment_id),
        ("AZUREML_EXPERIMENT_NAME", &job.experiment),
        ("AZUREML_ARM_SUBSCRIPTION", &scope.subscription_id),
        ("AZUREML_ARM_RESOURCEGROUP", &scope.resource_group),
        ("AZUREML_ARM_WORKSPACE_NAME", &scope.workspace_name),
        ("AZUREML_ARM_PROJECT_NAME", &job.experiment),
        ("AZUREML_WORKSPACE_ID", workspace::ID),
        ("AZUREML_SERVICE_ENDPOINT", &service),
        ("AZUREML_DISCOVERY_SERVICE_ENDPOINT", &discovery),
        (local::env::SOCKET, &socket),
        ("MLFLOW_TRACKING_URI", &tracking),
        ("MLFLOW_TRACKING_TOKEN", &token.text),
        ("MLFLOW_RUN_ID", &job.name),
        ("MLFLOW_EXPERIMENT_ID", &experiment_id),
        ("MLFLOW_EXPERIMENT_NAME", &job.experiment),
        // Unbuffered, so that lines appear in the log when they are printed.
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
    let command = job.command();
    let hyperparameters = command
        .and_then(|command| command.parameters.as_ref())
        .and_then(Value::as_object);
    for (name, value) in hyperparameters.into_iter().flatten() {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        variables.insert(format!("AZUREML_PARAMETER_{name}"), text);
    }
    let own = command.and_then(|command| command.environment_variables.as_ref());
    for (name, value) in own.into_iter().flatten() {
        // A name with `=` or NUL is invalid; a value with NUL would be truncated.
        if !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0') {
            variables.insert(name.clone(), value.clone());
        }
    }
    // Set last, so that the job cannot override it: remaining processes are found by the mark.
    let mark = Mark::of(folder.root());
    let (name, value) = mark.variable();
    variables.insert(name.to_owned(), value.to_owned());
    variables
}

/// Variables of one rank in addition to the common environment.
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

/// The libtorch that replaces the environment's PyTorch: `$AZUREML_LIBTORCH`, else the one that
/// `cargo xtask` has found or downloaded, else `$LIBTORCH`.
fn libtorch() -> Option<String> {
    let cache = local::cache();
    find_libtorch(|variable| env::var_os(variable), cache.as_deref())
}

fn find_libtorch(
    variable: impl Fn(&str) -> Option<OsString>,
    cache: Option<&Path>,
) -> Option<String> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    // An explicit setting is not checked here: the job reports what is wrong with it.
    let asked_for = set(local::env::LIBTORCH).map(PathBuf::from);
    // A link, resolved for each job: it may change during the lifetime of this process.
    let found = || cache.map(|cache| cache.join("libtorch"));
    let inherited = || set("LIBTORCH").map(PathBuf::from);
    let folder = asked_for
        .or_else(|| found().filter(|folder| folder.is_dir()))
        .or_else(|| inherited().filter(|folder| folder.is_dir()))?;
    // An absolute path: the job has another working directory.
    let folder = std::path::absolute(folder.canonicalize().unwrap_or(folder)).ok()?;
    folder.into_os_string().into_string().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_libtorch_of_a_job_is_looked_up_when_it_starts() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let cache = home.join("cache");
        let [asked_for, found, inherited] = ["asked-for", "found", "inherited"].map(|name| {
            std::fs::create_dir_all(home.join(name)).unwrap();
            home.join(name)
        });
        std::fs::create_dir_all(&cache).unwrap();
        let libtorch = |named: Option<&Path>, inherited: Option<&Path>| {
            let value = |name: &str| {
                let value = if name == "LIBTORCH" { inherited } else { named };
                value.map(|path| path.as_os_str().to_owned())
            };
            find_libtorch(value, Some(&cache)).map(PathBuf::from)
        };
        assert_eq!(libtorch(None, None), None);
        assert_eq!(libtorch(None, Some(&home.join("gone"))), None);
        assert_eq!(libtorch(None, Some(&inherited)), Some(inherited.clone()));
        // `cargo xtask` creates the link while the local workspace runs.
        symlink(&found, cache.join("libtorch")).unwrap();
        assert_eq!(libtorch(None, Some(&inherited)), Some(found.clone()));
        assert_eq!(libtorch(Some(Path::new("")), None), Some(found));
        assert_eq!(libtorch(Some(&asked_for), None), Some(asked_for));
        // An explicit path is used even if it does not exist; the launcher reports the error.
        let gone = home.join("gone");
        assert_eq!(libtorch(Some(&gone), None), Some(gone));
    }
}
