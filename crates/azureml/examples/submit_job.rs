//! Submits the training program of lab 02, follows its log, and registers the model.
//!
//! Run it in the root of the repository. Without a `config.json` there, the job runs in the local
//! workspace.
//!
//! ```sh
//! cargo build --release -p azureml-local
//! cargo run --release -p azureml --example submit_job
//! ```

use azureml::prelude::*;

const LAB: &str = "notebooks/02-train-model";

fn main() -> azureml::Result<()> {
    let ws = Workspace::from_config()?;
    println!("workspace {}", ws.name());

    let env = Environment::get(&ws, "rust-tch-gpu")?;
    let src = ScriptRunConfig::new(format!("{LAB}/script"))
        .script("train.rs") // compiled here; the job receives the binary
        .arguments(["--epochs", "2", "--data", "${{inputs.mnist}}"])
        .input("mnist", Input::folder(format!("{LAB}/data")))
        .compute_target("cc-aml-gpu")
        .environment(&env);
    let run = Experiment::new(&ws, "train-model").submit(&src)?;
    println!("run {}", run.id());
    if let Some(url) = run.portal_url() {
        println!("page {url}");
    }

    // Prints statuses and the log. A job that fails or is canceled is an error.
    run.wait_for_completion(true)?;

    if let Some(accuracy) = run.metrics()?.latest("Accuracy") {
        println!("accuracy {accuracy} %");
    }
    for file in &run.file_names()? {
        println!("{file}");
    }
    let model = run.register_model("mnist-cnn", "outputs/model")?;
    println!("model {}:{}", model.name(), model.version());
    Ok(())
}
