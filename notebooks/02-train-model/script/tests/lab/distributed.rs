//! Distributed training produces the results of a single process.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
};

use serde_json::{Value, json};
use tch::{Device, nn::VarStore};
use train_model::{
    data::{Part, Pictures},
    error::Error,
    model::Net,
};
use training::{Adadelta, Processes, error};

use crate::{TEST_COUNT, TRAIN, run, small_data, stderr, stdout, train};

/// The variable with the path of the Python environment that contains Open MPI.
const PYTHON: &str = "AZUREML_TEST_PYTHON_MPI";

/// Set in the processes that a test starts from its own executable: the folder of the data and the
/// results.
const FOLDER: &str = "TRAIN_MODEL_TEST_FOLDER";

/// Timeout in seconds. A typical failure is that processes wait for each other.
const SECONDS: &str = "300";

fn mpirun(folder: &Path, processes: usize) -> Command {
    let python = env::var_os(PYTHON)
        .unwrap_or_else(|| panic!("{PYTHON} is not set; run the tests by `cargo xtask test`"));
    let mut command = Command::new(PathBuf::from(python).with_file_name("mpirun"));
    command
        .args(["--oversubscribe", "--bind-to", "none", "--timeout", SECONDS])
        .args(["-n", &processes.to_string()])
        // Tests may run as root in a container.
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMP_NUM_THREADS", "1")
        .current_dir(folder);
    command
}

fn train_together(folder: &Path, processes: usize, arguments: &[&str]) -> Output {
    run(mpirun(folder, processes).arg(TRAIN).args(arguments))
}

/// Trains from the same weights, with the same batches and without dropout. The last batch has
/// fewer examples than there are processes.
fn train_for_some_steps(folder: &Path) -> Result<(), Error> {
    let processes = Processes::join()?;
    let pictures = Pictures::read(&folder.join("data"), Part::Train)?.first(331);
    let variables = VarStore::new(Device::Cpu);
    // The first process's weights are used by all. With this seed and learning rate, rounding
    // errors stay small.
    tch::manual_seed(2 + processes.rank() as i64);
    let net = Net::new(&variables.root());
    let parameters = variables.trainable_variables();
    processes.broadcast(&parameters)?;
    let optimizer = Adadelta::new(parameters, 0.2);
    let mut losses = Vec::new();
    let mut norms = Vec::new();
    for chosen in pictures.batches(33, false) {
        let share = processes.share(&chosen);
        let batch = pictures.batch(&share.examples);
        let loss = net.forward(&batch.images, false).nll_loss(&batch.labels);
        let gradients = optimizer.gradients(&loss);
        let (gradients, loss) = processes.average(&share, gradients, loss.detach())?;
        optimizer.step(&gradients);
        losses.push(loss.double_value(&[]));
        norms.extend(gradients.iter().map(|part| part.norm().double_value(&[])));
    }
    if processes.is_first() {
        let result = json!({ "losses": losses, "norms": norms });
        let file = folder.join(format!("{}.json", processes.size()));
        fs::write(&file, result.to_string()).map_err(Error::write(&file))?;
    }
    Ok(())
}

fn numbers(result: &Value, name: &str) -> Vec<f64> {
    let list = result[name].as_array().expect("a list").iter();
    list.map(|number| number.as_f64().expect("a number"))
        .collect()
}

/// This test starts its own executable once for each process; those processes run the first lines.
#[test]
fn losses_and_gradients_are_those_of_one_process() {
    if let Some(folder) = env::var_os(FOLDER) {
        let ended = error::exit(|| train_for_some_steps(Path::new(&folder)));
        assert!(ended == ExitCode::SUCCESS);
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let result = |processes: usize| -> Value {
        let mut command = mpirun(folder.path(), processes);
        command
            .arg(env::current_exe().expect("this program"))
            .arg("--exact")
            .arg("distributed::losses_and_gradients_are_those_of_one_process")
            .env(FOLDER, folder.path());
        let output = run(&mut command);
        assert!(output.status.success(), "{}", stderr(&output));
        let file = folder.path().join(format!("{processes}.json"));
        serde_json::from_slice(&fs::read(file).expect("a result")).expect("JSON")
    };
    let one = result(1);
    assert_eq!(numbers(&one, "losses").len(), 11);
    for processes in [2, 3] {
        let several = result(processes);
        for name in ["losses", "norms"] {
            let (expected, found) = (numbers(&one, name), numbers(&several, name));
            assert_eq!(expected.len(), found.len());
            for (expected, found) in expected.iter().zip(&found) {
                assert!(
                    (expected - found).abs() < 1e-5,
                    "{name} with {processes} processes: {found}, alone {expected}"
                );
            }
        }
    }
}

/// Returns the output lines of a training without those with durations or ranks.
fn told(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", stderr(output));
    let printed = stdout(output);
    let lines = printed.lines();
    lines
        .filter(|line| !line.contains(" took ") && !line.starts_with("Rank "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn two_processes_learn_as_one_and_one_of_them_reports() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let output = train_together(
        folder.path(),
        2,
        &["--epochs", "2", "--no-cuda", "--precision=float32"],
    );
    let lines = told(&output);
    let progress = |line: &&String| line.starts_with("Train Epoch: ");
    assert_eq!(lines.iter().filter(progress).count(), 14, "{lines:?}");
    for rank in 0..2 {
        let first = format!(
            "Rank {rank} of 2: Training on the CPU with 1 thread in float32: --no-cuda was given"
        );
        let printed = stdout(&output);
        assert_eq!(printed.matches(&first).count(), 1, "{printed}");
    }
    let tests: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("Test set: "))
        .collect();
    assert_eq!(tests.len(), 2, "{lines:?}");
    let (_, accuracy) = tests[1].split_once("Accuracy: ").expect("the accuracy");
    let (correct, total) = accuracy.split_once('/').expect("a fraction");
    let correct: usize = correct.parse().expect("a count");
    assert!(correct > TEST_COUNT * 85 / 100, "{accuracy}");
    assert!(total.starts_with("1000 ("), "{accuracy}");

    // One process resumes from the checkpoint of two and computes the same accuracy.
    let alone = train(
        folder.path(),
        &[
            "--epochs",
            "2",
            "--no-cuda",
            "--resume",
            "--test-batch-size=500",
        ],
    );
    assert!(told(&alone).contains(tests[1]), "{}", stdout(&alone));
}

#[test]
fn several_processes_go_on_after_the_last_checkpoint() {
    let whole = tempfile::tempdir().expect("a folder");
    let cut_off = tempfile::tempdir().expect("a folder");
    for folder in [whole.path(), cut_off.path()] {
        small_data(folder);
    }
    let expected = told(&train_together(
        whole.path(),
        2,
        &["--no-cuda", "--epochs=2"],
    ));
    told(&train_together(
        cut_off.path(),
        2,
        &["--no-cuda", "--epochs=1"],
    ));
    let resumed = told(&train_together(
        cut_off.path(),
        2,
        &["--no-cuda", "--epochs=2", "--resume"],
    ));
    assert_eq!(
        resumed[0],
        "Going on after epoch 1, from outputs/checkpoint.safetensors"
    );
    let second = |line: &&String| !line.starts_with("Train Epoch: 2 ");
    let expected: Vec<&String> = expected.iter().skip_while(second).collect();
    assert_eq!(resumed[1..].iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_process_that_fails_ends_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    // The second process fails because it finds no data, while the first waits for it.
    let output = run(mpirun(folder.path(), 1)
        .args([TRAIN, "--no-cuda", ":", "-n", "1"])
        .args([TRAIN, "--no-cuda", "--data", "nowhere"]));
    assert!(!output.status.success());
    let told = stderr(&output);
    assert!(
        told.contains("error: the folder nowhere has neither train-images-idx3-ubyte nor"),
        "{told}"
    );
    assert!(!told.contains("timeout"), "{told}");
    assert!(!stdout(&output).contains("Test set"), "{}", stdout(&output));
}

/// Trains as one of several processes, and fails.
fn fails(variables: &[(&str, &OsStr)]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let mut command = Command::new(TRAIN);
    command.arg("--no-cuda").current_dir(folder.path());
    let output = run(command.envs(variables.iter().copied()));
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(!folder.path().join("outputs").exists());
    stderr(&output)
}

#[test]
fn processes_that_cannot_join_say_so() {
    let library = tempfile::tempdir().expect("a folder");
    fs::write(library.path().join("libmpi.so.40"), "no library").expect("a file");
    let mut searched = library.path().as_os_str().to_owned();
    if let Some(others) = env::var_os("LD_LIBRARY_PATH") {
        searched.push(":");
        searched.push(others);
    }
    let told = fails(&[
        ("OMPI_COMM_WORLD_SIZE", "2".as_ref()),
        ("LD_LIBRARY_PATH", &searched),
    ]);
    let told = told.replace(&library.path().display().to_string(), "[folder]");
    insta::assert_snapshot!(told, @r"
    error: this is one of 2 processes, and cannot join the others by MPI: [folder]/libmpi.so.40: file too short
    hint: start it by the mpirun of an Open MPI (3 to 5) that is installed where it runs; or start it alone
    ");
    let told = fails(&[("WORLD_SIZE", "2".as_ref())]);
    insta::assert_snapshot!(told, @r"
    error: this is one of 2 processes that were not started by Open MPI
    hint: choose Mpi as the job's distribution (`Distribution::mpi`), or start them by Open MPI's mpirun
    ");
}
