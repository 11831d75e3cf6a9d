//! Follows a run that another program has submitted. Jobs do not depend on the program that
//! submitted them.
//!
//! ```sh
//! cargo run --release -p azureml --example reattach -- RUN_ID
//! cargo run --release -p azureml --example reattach          # lists recent runs
//! ```

use azureml::prelude::*;

fn main() -> azureml::Result<()> {
    let ws = Workspace::from_config()?;
    let Some(id) = std::env::args().nth(1) else {
        for run in &Run::list(&ws, "train-model")? {
            println!("{}: {}", run.id(), run.status()?);
        }
        return Ok(());
    };

    let run = Run::get(&ws, &id)?;
    println!(
        "{} in {}: {}",
        run.id(),
        run.experiment_name(),
        run.status()?
    );

    // Prints the whole log so far, then new lines until the run has ended.
    let details = run.wait_for_completion(true)?;
    for change in &details.status_history {
        println!("{}: {}", change.status, change.time);
    }
    for metric in &run.metrics()? {
        println!("{}: {:?}", metric.name, metric.latest());
    }
    Ok(())
}
