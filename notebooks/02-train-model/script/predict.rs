//! Recognises handwritten digits with the trained model.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use serde::Serialize;
use tch::{CModule, Kind, Tensor};
use train_model::{
    digits::{self, Digit},
    error::Error,
    save,
};
use training::{error, export::torchscript, file};

/// Recognises handwritten digits with the trained model
#[derive(Debug, Parser)]
#[command(name = "predict")]
struct Args {
    /// The model: model.pt, or the folder that contains it
    #[arg(long, default_value = "outputs/model")]
    model: PathBuf,
    /// JSON list of digits: each 28 strings of 28 characters (`#` is ink), or 784 numbers from 0 to
    /// 1
    #[arg(long)]
    digits: PathBuf,
    /// Output file of the predictions
    #[arg(long, default_value = "outputs/predictions.json")]
    output: PathBuf,
}

/// The prediction for one digit.
#[derive(Debug, Serialize)]
struct Prediction {
    /// The recognised digit.
    digit: usize,
    /// Probability of this digit, from 0 to 1.
    probability: f64,
    /// Probabilities of the ten digits.
    probabilities: Vec<f64>,
    /// Output of the model.
    logits: Vec<f64>,
    /// Input image: ink from 0 to 1, before normalisation.
    pixels: Vec<f32>,
}

#[derive(Debug, Serialize)]
struct Answers {
    predictions: Vec<Prediction>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    error::exit(|| run(&args))
}

fn run(args: &Args) -> Result<(), Error> {
    let digits = digits::read(&args.digits)?;
    let path = find(&args.model)?;
    let predictions = predict(&path, digits)?;
    for (number, prediction) in (1..).zip(&predictions) {
        print(number, prediction);
    }
    if let Some(folder) = args.output.parent() {
        fs::create_dir_all(folder).map_err(Error::write(folder))?;
    }
    let recognised: Vec<String> = predictions
        .iter()
        .map(|each| each.digit.to_string())
        .collect();
    let answers = serde_json::to_string(&Answers { predictions }).map_err(|error| {
        training::Error::Write {
            path: args.output.clone(),
            source: error.into(),
        }
    })?;
    file::write_bytes(&args.output, answers + "\n")?;
    println!("Recognised: {}", recognised.join(" "));
    Ok(())
}

/// Returns the model's file, given the file or one of the folders around it.
fn find(named: &Path) -> Result<PathBuf, Error> {
    let candidates = [
        named.to_path_buf(),
        named.join(save::SCRIPT),
        named.join(save::FOLDER).join(save::SCRIPT),
        named.join("outputs").join(save::FOLDER).join(save::SCRIPT),
    ];
    let found = candidates.into_iter().find(|path| path.is_file());
    Ok(found.ok_or_else(|| training::Error::NoModel {
        path: named.to_path_buf(),
    })?)
}

fn predict(path: &Path, digits: Vec<Digit>) -> Result<Vec<Prediction>, Error> {
    let model = CModule::load(path).map_err(torchscript::unusable(path))?;
    let logits = tch::no_grad(|| model.forward_ts(&[digits::to_tensor(&digits)]));
    let logits = logits.map_err(torchscript::unusable(path))?;
    let expected = [digits.len() as i64, 10];
    if logits.size() != expected {
        let problem = format!("it gives {:?} numbers, not {expected:?}", logits.size());
        return Err(training::Error::BadModel {
            path: path.to_path_buf(),
            problem,
        }
        .into());
    }
    let answers = digits.into_iter().zip(0..).map(|(digit, row)| {
        let logits = logits.get(row);
        let probabilities = numbers(&logits.softmax(0, Kind::Double))?;
        let digit_found = logits.argmax(0, false).int64_value(&[]) as usize;
        Ok(Prediction {
            digit: digit_found,
            probability: probabilities[digit_found],
            probabilities,
            logits: numbers(&logits)?,
            pixels: digit.pixels,
        })
    });
    answers.collect()
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>, Error> {
    Ok(Vec::try_from(tensor.to_kind(Kind::Double))?)
}

fn print(number: usize, prediction: &Prediction) {
    let picture = Digit {
        pixels: prediction.pixels.clone(),
    }
    .picture();
    let mut others: Vec<(usize, f64)> = prediction
        .probabilities
        .iter()
        .copied()
        .enumerate()
        .collect();
    others.retain(|(digit, _)| *digit != prediction.digit);
    others.sort_by(|one, other| other.1.total_cmp(&one.1));
    let (next, chance) = others[0];
    println!("{picture}");
    println!(
        "Drawing {number}: {} ({:.1} %), or else {next} ({:.1} %)\n",
        prediction.digit,
        100.0 * prediction.probability,
        100.0 * chance
    );
}
