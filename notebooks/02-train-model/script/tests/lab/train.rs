//! What the training program prints and leaves behind.

use std::{fs, path::Path};

use crate::{TEST_COUNT, TRAINED, small_data, stderr, stdout, train};

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
fn it_leaves_a_whole_model_and_nothing_else() {
    let model = TRAINED.model();
    assert_eq!(
        names(&model),
        [
            "examples.json",
            "model.json",
            "model.pt",
            "model.safetensors"
        ]
    );
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
fn it_says_why_it_trains_on_the_cpu() {
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
    assert!(first.ends_with(": --no-cuda was given"), "{first}");
}
