//! Searches hyperparameters of the training program of lab 02, and downloads the model of the best
//! trial.
//!
//! Run it in the root of the repository. Without a `config.json` there, the trials run in the local
//! workspace.
//!
//! ```sh
//! cargo build --release -p azureml-local
//! cargo run --release -p azureml --example sweep
//! ```

use azureml::prelude::*;

const LAB: &str = "notebooks/02-train-model";

fn main() -> azureml::Result<()> {
    let ws = Workspace::from_config()?;
    let src = ScriptRunConfig::new(format!("{LAB}/script"))
        .script("train.rs")
        .arguments([
            "--epochs",
            "1",
            "--images",
            "6000",
            "--data",
            "${{inputs.mnist}}",
        ])
        .input("mnist", Input::folder(format!("{LAB}/data")))
        .compute_target("cc-aml-gpu")
        .environment("rust-tch-gpu");
    // Each trial receives its values as arguments: `--lr 0.3 --gamma 0.5`.
    let sweep = SweepConfig::new(&src)
        .choice("lr", [0.3, 1.0])
        .choice("gamma", [0.5, 0.9])
        .primary_metric("Accuracy", Goal::Maximize)
        .max_concurrent_trials(2);
    let run = Experiment::new(&ws, "try-values").submit(&sweep)?;
    run.wait_for_completion(true)?;

    let trials = run.trials()?;
    for trial in &trials {
        match trial.best {
            Some(best) => println!("{}: {} = {best}", trial.label(), trials.primary_metric()),
            None => println!("{}: {}", trial.label(), trial.status),
        }
    }
    if let Some(best) = run.best_child()? {
        println!("best trial {}", best.id());
        best.download_files("outputs/model", "best-model")?;
    }
    Ok(())
}
