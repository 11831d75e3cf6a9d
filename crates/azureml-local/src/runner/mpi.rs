//! MPI jobs: Open MPI's `mpirun` starts their processes on this machine.

use super::failure::Failure;
use super::supervisor::shell;
use std::collections::BTreeMap;
use std::env::split_paths;

/// The program that starts the processes, found in the job's `PATH`.
const MPIRUN: &str = "mpirun";

/// Variables with the command of each process and the prefix of its log's name.
const COMMAND: &str = "AZUREML_LOCAL_MPI_COMMAND";
const LOG: &str = "AZUREML_LOCAL_MPI_LOG";

/// The script of each process: runs the job's command with a separate log. Messages of `mpirun`
/// itself go to the log of the first process.
const PROCESS: &str = r#"exec >>"$AZUREML_LOCAL_MPI_LOG$(printf %02d "$OMPI_COMM_WORLD_RANK").txt" 2>&1
command=$AZUREML_LOCAL_MPI_COMMAND
unset AZUREML_LOCAL_MPI_COMMAND AZUREML_LOCAL_MPI_LOG
eval "$command""#;

/// The command that starts the processes, each with the job's command. `environment` is the job's;
/// `log` is the path of their logs without the two digits of the rank and the extension.
pub fn launch(
    processes: usize,
    command: String,
    log: String,
    environment: &mut BTreeMap<String, String>,
) -> Result<String, Failure> {
    let path = environment.get("PATH").map_or("", String::as_str);
    if !split_paths(path).any(|folder| folder.join(MPIRUN).is_file()) {
        return Err(Failure::user(format!(
            "the job's processes are to be joined by MPI, and there is no {MPIRUN} on the PATH of the local workspace\n\
             hint: install Open MPI (on Debian and Ubuntu `apt install openmpi-bin`) and start the local workspace again"
        )));
    }
    environment.insert(COMMAND.to_owned(), command);
    environment.insert(LOG.to_owned(), log);
    // In a container, the user is often root; the job runs as the same user.
    for name in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] {
        environment.insert(name.to_owned(), "1".to_owned());
    }
    // More processes than processors are slow but allowed. A process that is bound to one processor
    // could not use idle ones.
    Ok(format!(
        "exec {MPIRUN} --oversubscribe --bind-to none -n {processes} {} -c '{PROCESS}'",
        shell()
    ))
}

/// The variables that `mpirun` would set for a single process. It is started without `mpirun`, but
/// programs read them.
pub fn alone() -> BTreeMap<String, String> {
    [
        ("OMPI_COMM_WORLD_SIZE", "1"),
        ("OMPI_COMM_WORLD_RANK", "0"),
        ("OMPI_COMM_WORLD_LOCAL_SIZE", "1"),
        ("OMPI_COMM_WORLD_LOCAL_RANK", "0"),
        ("OMPI_COMM_WORLD_NODE_RANK", "0"),
        ("OMPI_UNIVERSE_SIZE", "1"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// The rank of the failed process, from the messages of `mpirun` in this log.
pub fn failed_rank(log: &str) -> Option<usize> {
    log.lines().rev().find_map(|line| {
        let line = line.trim();
        if let Some(process) = line.strip_prefix("Process name:") {
            // `[prterun-host-20278@1,1]`, in version 4 `[[20278,1],1]`.
            let (_, rank) = process.rsplit_once(',')?;
            return rank.trim_end_matches(']').parse().ok();
        }
        let (_, rank) = line.split_once("MPI_ABORT was invoked on rank ")?;
        rank.split(' ').next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_failed_is_found() {
        for (rank, log) in [
            (
                Some(1),
                "epoch 1\n   Process name: [prterun-vm-20278@1,1]\n   Exit code:    5\n-----\n",
            ),
            (
                Some(3),
                "  Process name: [[20278,1],3]\n  Exit code:    5\n",
            ),
            (
                Some(12),
                "MPI_ABORT was invoked on rank 12 in communicator MPI_COMM_WORLD\nwith errorcode 1.\n",
            ),
            (None, "error: no data\n"),
        ] {
            assert_eq!(failed_rank(log), rank, "{log}");
        }
    }

    #[test]
    fn without_mpirun_the_job_fails_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let mut environment = BTreeMap::from([("PATH".to_owned(), path)]);
        let mut launched = || launch(2, "true".to_owned(), "log_".to_owned(), &mut environment);
        let failure = launched().expect_err("there is none").to_string();
        assert!(failure.contains("no mpirun on the PATH"), "{failure}");
        assert!(failure.contains("\nhint: install Open MPI"), "{failure}");
        std::fs::write(folder.path().join(MPIRUN), "").unwrap();
        assert!(launched().is_ok_and(|command| command.contains(" -n 2 ")));
    }
}
