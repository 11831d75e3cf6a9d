//! Predictions of the trained model for drawings.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{PREDICT, TRAINED, drawings, run, stderr, stdout};

#[test]
fn drawn_digits_are_recognised() {
    let folder = tempfile::tempdir().expect("a folder");
    let answers = folder.path().join("somewhere/predictions.json");
    let mut command = Command::new(PREDICT);
    command.arg("--model").arg(TRAINED.folder.path());
    command
        .arg("--digits")
        .arg(drawings())
        .arg("--output")
        .arg(&answers);
    let output = run(&mut command);
    assert!(output.status.success(), "{}", stderr(&output));

    let text = fs::read_to_string(&answers).expect("the answers");
    let answers: Value = serde_json::from_str(&text).expect("JSON");
    let predictions = answers["predictions"].as_array().expect("a list");
    assert_eq!(predictions.len(), 10);
    // The network of these tests was trained on a fifteenth of the data; the lab's network
    // recognises all ten digits.
    let right = (0..10)
        .filter(|digit| predictions[*digit]["digit"] == *digit)
        .count();
    assert!(right >= 8, "{right} of 10 in:\n{}", stdout(&output));

    for prediction in predictions {
        let numbers = |name: &str| -> Vec<f64> {
            let list = prediction[name].as_array().expect("a list");
            list.iter()
                .map(|number| number.as_f64().expect("a number"))
                .collect()
        };
        let probabilities = numbers("probabilities");
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let digit = prediction["digit"].as_u64().expect("a digit") as usize;
        let largest = probabilities.iter().copied().fold(0.0, f64::max);
        assert!((probabilities[digit] - largest).abs() < f64::EPSILON);
        assert!(
            (prediction["probability"].as_f64().expect("a number") - largest).abs() < f64::EPSILON
        );
        assert_eq!(
            (numbers("logits").len(), numbers("pixels").len()),
            (10, 784)
        );
    }

    let printed = stdout(&output);
    let first = predictions[0]["digit"].as_u64().expect("a digit");
    assert!(
        printed.contains(&format!("Drawing 1: {first} (")),
        "{printed}"
    );
    assert!(printed.contains("=@@="), "a picture is drawn: {printed}");
    assert!(
        printed
            .trim_end()
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("Recognised: "))
    );
}
