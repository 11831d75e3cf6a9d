//! The output and the files of the training program.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use crate::{TEST_COUNT, TRAIN, TRAINED, run, small_data, stderr, stdout, train};

fn losses(printed: &str) -> Vec<f64> {
    let lines = printed
        .lines()
        .filter(|line| line.starts_with("Train Epoch: "));
    lines
        .map(|line| {
            line.rsplit_once("\tLoss: ")
                .expect("a loss")
                .1
                .parse()
                .expect("a number")
        })
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn it_prints_as_the_workshop_does() {
    let printed = &TRAINED.printed;
    let mut lines = printed
        .lines()
        .filter(|line| line.starts_with("Train Epoch: 1 "));
    let first = lines.next().expect("the first batch");
    assert!(
        first.starts_with("Train Epoch: 1 [0/4000 (0%)]\tLoss: 2."),
        "{first}"
    );
    let second = lines.next().expect("the eleventh batch");
    assert!(
        second.starts_with("Train Epoch: 1 [640/4000 (16%)]\tLoss: "),
        "{second}"
    );
    assert_eq!(
        losses(printed).len(),
        14,
        "63 batches an epoch, a line for each tenth"
    );
    assert!(
        printed.contains("Train Epoch: 2 [3840/4000 (95%)]"),
        "{printed}"
    );
    assert!(
        printed.starts_with("Training on the "),
        "the device comes first: {printed}"
    );
}

#[test]
fn it_learns() {
    let printed = &TRAINED.printed;
    let losses = losses(printed);
    let late: f64 = losses.iter().rev().take(5).sum::<f64>() / 5.0;
    assert!(late < losses[0] / 4.0, "{losses:?}");

    let tests: Vec<&str> = printed
        .lines()
        .filter(|line| line.starts_with("Test set: "))
        .collect();
    assert_eq!(tests.len(), 2, "{printed}");
    let accuracy = tests[1].split_once("Accuracy: ").expect("the accuracy").1;
    let correct: usize = accuracy
        .split('/')
        .next()
        .and_then(|count| count.parse().ok())
        .expect("a count");
    assert!(correct > TEST_COUNT * 85 / 100, "{accuracy}");
    let percent = (correct as f64 / 10.0).round();
    assert!(
        (percent - correct as f64 / 10.0).abs() <= 0.5 && accuracy.contains("/1000 ("),
        "{accuracy}"
    );
}

#[test]
fn it_learns_in_sixteen_bits_too() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let output = train(folder.path(), &["--epochs=2", "--precision=bfloat16"]);
    assert!(output.status.success(), "{}", stderr(&output));
    // The saved model computes in 32 bits and is evaluated with them.
    let description = folder.path().join("outputs/model/model.json");
    let description = fs::read_to_string(description).expect("a description");
    let description: serde_json::Value = serde_json::from_str(&description).expect("JSON");
    let accuracy = description["accuracy"].as_f64().expect("a number");
    assert!(accuracy > 85.0, "{accuracy}");

    // A node with another processor can resume the training.
    let arguments = ["--epochs=3", "--precision=float32", "--resume"];
    let resumed = train(folder.path(), &arguments);
    let printed = stdout(&resumed);
    let first = printed.lines().next().unwrap_or_default();
    assert!(first.contains(" in float32: "), "{first}");
    assert!(printed.contains("Going on after epoch 2, "), "{printed}");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
}

#[test]
fn it_leaves_a_whole_model_and_nothing_else() {
    let model = TRAINED.model();
    assert_eq!(
        names(&model),
        [
            "MLmodel",
            "examples.json",
            "model.json",
            "model.onnx",
            "model.pt",
            "model.safetensors"
        ]
    );
    let outputs = TRAINED.folder.path().join("outputs");
    assert_eq!(
        names(&outputs),
        [
            "checkpoint.safetensors",
            "evaluation",
            "model",
            "model_repository"
        ]
    );
    let served = outputs.join("model_repository/mnist");
    assert_eq!(names(&served), ["1", "config.pbtxt"]);
    assert_eq!(names(&served.join("1")), ["model.pt"]);
    let description = fs::read_to_string(model.join("model.json")).expect("a description");
    let description: serde_json::Value = serde_json::from_str(&description).expect("JSON");
    assert_eq!(description["labels"][9], "9");
    assert!(
        description["accuracy"]
            .as_f64()
            .is_some_and(|accuracy| accuracy > 85.0)
    );
}

#[test]
fn a_seed_decides_all() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let first_loss = |seed: &str| {
        let output = train(
            folder.path(),
            &[
                "--dry-run",
                "--no-cuda",
                "--epochs=1",
                "--seed",
                seed,
                "--save-model=false",
            ],
        );
        assert!(output.status.success(), "{}", stderr(&output));
        losses(&stdout(&output))
    };
    let one = first_loss("7");
    assert_eq!(one.len(), 1, "a dry run does one batch");
    assert_eq!(one, first_loss("7"));
    assert_ne!(one, first_loss("8"));
    assert_eq!(
        names(folder.path()),
        ["data"],
        "nothing is saved when nobody wants it"
    );
}

#[test]
fn a_part_of_the_pictures_is_enough_for_a_try() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let arguments = ["--epochs=1", "--images=640", "--save-model=false"];
    let output = train(folder.path(), &arguments);
    let printed = stdout(&output);
    assert!(printed.contains("Train Epoch: 1 [0/640 (0%)]"), "{printed}");
    assert_eq!(losses(&printed).len(), 1, "{printed}");
}

#[test]
fn it_says_how_it_trains_on_the_cpu_and_why() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let output = train(
        folder.path(),
        &[
            "--dry-run",
            "--no-cuda",
            "--epochs",
            "1",
            "--save-model=false",
        ],
    );
    let printed = stdout(&output);
    let first = printed.lines().next().unwrap_or_default();
    assert!(first.starts_with("Training on the CPU with "), "{first}");
    let precision = if is_native_bfloat16() {
        "bfloat16"
    } else {
        "float32"
    };
    let reason = format!(" in {precision}: --no-cuda was given");
    assert!(first.ends_with(&reason), "{first}");
}

/// Whether the processor has bfloat16 instructions, according to the system.
fn is_native_bfloat16() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("avx512_bf16"))
}

/// Trains for an epoch and some batches, then kills the process.
fn train_and_be_killed(folder: &Path) {
    let mut child = Command::new(TRAIN)
        .args(["--no-cuda", "--epochs", "3"])
        .current_dir(folder)
        .env("OMP_WAIT_POLICY", "passive")
        .env_remove("MLFLOW_TRACKING_URI")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let reached = lines
        .map_while(Result::ok)
        .any(|line| line.starts_with("Train Epoch: 2 [640/"));
    // SIGKILL, like the loss of a node.
    child.kill().expect("a process");
    child.wait().expect("a process");
    assert!(reached, "it ended before its second epoch");
}

#[test]
fn a_killed_training_goes_on_as_if_nothing_had_been() {
    let whole = tempfile::tempdir().expect("a folder");
    let killed = tempfile::tempdir().expect("a folder");
    for folder in [whole.path(), killed.path()] {
        small_data(folder);
    }
    let arguments = ["--no-cuda", "--epochs", "3"];
    let undisturbed = train(whole.path(), &arguments);
    assert!(undisturbed.status.success(), "{}", stderr(&undisturbed));

    train_and_be_killed(killed.path());
    let resumed = train(killed.path(), &[&arguments[..], &["--resume"]].concat());
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let printed = stdout(&resumed);
    assert_eq!(
        printed.lines().nth(1),
        Some("Going on after epoch 1, from outputs/checkpoint.safetensors")
    );
    let from_second_epoch = |printed: &str| -> Vec<String> {
        let all = printed
            .lines()
            .skip_while(|line| !line.starts_with("Train Epoch: 2 "));
        // The duration differs between runs.
        all.filter(|line| !line.contains(" took "))
            .map(str::to_owned)
            .collect()
    };
    let expected = from_second_epoch(&stdout(&undisturbed));
    assert_eq!(from_second_epoch(&printed), expected);
    let weights = |folder: &Path| {
        fs::read(folder.join("outputs/model/model.safetensors")).expect("the weights")
    };
    assert!(
        weights(whole.path()) == weights(killed.path()),
        "the weights are the same"
    );
}

#[test]
fn what_is_finished_is_not_trained_again() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let arguments = ["--no-cuda", "--epochs", "1", "--resume"];
    let first = train(folder.path(), &arguments);
    assert!(first.status.success(), "{}", stderr(&first));
    assert_eq!(
        stdout(&first).lines().nth(1),
        Some("Beginning anew: there is no outputs/checkpoint.safetensors")
    );
    let second = train(folder.path(), &arguments);
    assert!(second.status.success(), "{}", stderr(&second));
    let printed = stdout(&second);
    assert!(losses(&printed).is_empty(), "{printed}");
    let test = |printed: &str| {
        let mut lines = printed.lines();
        lines
            .find(|line| line.starts_with("Test set: "))
            .map(str::to_owned)
    };
    assert!(test(&printed).is_some(), "{printed}");
    assert_eq!(test(&printed), test(&stdout(&first)));
}

#[test]
fn a_checkpoint_that_does_not_fit_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let outputs = folder.path().join("outputs");
    fs::create_dir(&outputs).expect("a folder");
    let checkpoint = outputs.join("checkpoint.safetensors");
    fs::copy(
        TRAINED.folder.path().join("outputs/checkpoint.safetensors"),
        &checkpoint,
    )
    .expect("a copy");
    let refused = |arguments: &[&str]| {
        let output = train(
            folder.path(),
            &[arguments, &["--no-cuda", "--resume"]].concat(),
        );
        assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
        stderr(&output)
    };
    let before = fs::read(&checkpoint).expect("the checkpoint");
    insta::assert_snapshot!(refused(&["--lr", "0.5"]), @r"
    error: cannot go on from outputs/checkpoint.safetensors: it was written with --lr 1, now it is 0.5
    hint: go on with --lr 1; or, to begin anew, leave --resume away or remove outputs/checkpoint.safetensors
    ");
    assert!(before == fs::read(&checkpoint).expect("the checkpoint"));
    // A file of another program.
    fs::copy(TRAINED.model().join("model.safetensors"), &checkpoint).expect("a copy");
    insta::assert_snapshot!(refused(&[]), @r"
    error: cannot go on from outputs/checkpoint.safetensors: it holds no number `settings.batch-size`
    hint: remove outputs/checkpoint.safetensors to begin anew
    ");
    File::options()
        .write(true)
        .open(&checkpoint)
        .and_then(|file| file.set_len(1000))
        .expect("a file");
    insta::assert_snapshot!(refused(&[]), @r"
    error: cannot go on from outputs/checkpoint.safetensors: it is damaged (MetadataIncompleteBuffer)
    hint: remove outputs/checkpoint.safetensors to begin anew
    ");
}

#[test]
fn a_full_disk_keeps_the_last_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let first = train(folder.path(), &["--no-cuda", "--epochs", "1"]);
    assert!(first.status.success(), "{}", stderr(&first));
    let checkpoint = folder.path().join("outputs/checkpoint.safetensors");
    let before = fs::read(&checkpoint).expect("the checkpoint");
    // Limits file sizes to 2 MB, which simulates a full disk.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "trap '' XFSZ; ulimit -f 4000; exec \"$0\" --no-cuda --epochs 2 --resume",
        TRAIN,
    ]);
    let output = run(command.current_dir(folder.path()));
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(
        stderr(&output).contains("no room is left on the disk"),
        "{}",
        stderr(&output)
    );
    assert!(before == fs::read(&checkpoint).expect("the checkpoint"));
}
