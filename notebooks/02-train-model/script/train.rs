//! Trains the workshop's network on MNIST: the counterpart of its `train.py`.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use azureml::{Run, RunContext};
use clap::Parser;
use tch::{Device, Kind, Reduction, Tensor, nn::VarStore};
use train_model::{
    data::{self, Part, Pictures},
    error::Error,
    model::Net,
    save,
};
use training::{Adadelta, Checkpoint, Compute, Settings, StepLr, error};

/// PyTorch MNIST example, in Rust
#[derive(Debug, Parser)]
#[command(name = "train")]
struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Folder of the four MNIST files, unpacked or .gz
    #[arg(long)]
    data: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    error::exit(|| run(&args))
}

fn run(args: &Args) -> Result<(), Error> {
    let settings = &args.settings;
    let compute = Compute::choose(settings.no_cuda);
    println!("{}", compute.announce());
    let context = Run::get_context();
    log_parameters(&context, settings);

    let folder = data::folder(args.data.as_deref())?;
    let train_data = Pictures::read(&folder, Part::Train)?.to_device(compute.device);
    let test_data = Pictures::read(&folder, Part::Test)?.to_device(compute.device);
    if settings.save_model {
        save::prepare(settings)?;
    }

    // Made on the CPU, so that a seed means the same weights on every device.
    settings.seed_weights();
    let mut variables = VarStore::new(Device::Cpu);
    let net = Net::new(&variables.root());
    variables.set_device(compute.device);
    let mut optimizer = Adadelta::new(variables.trainable_variables(), settings.lr);
    let mut scheduler = StepLr::new(1, settings.gamma);

    let checkpoint = Checkpoint::of(settings);
    let done = if settings.resume {
        checkpoint.load(&variables, &optimizer)?
    } else {
        None
    };
    match done {
        Some(epoch) => println!(
            "Going on after epoch {epoch}, from {}",
            checkpoint.path().display()
        ),
        None if settings.resume => println!(
            "Beginning anew: there is no {}",
            checkpoint.path().display()
        ),
        None => {}
    }
    let done = done.unwrap_or(0);
    for _ in 0..done {
        scheduler.step(&mut optimizer);
    }

    let mut accuracy = None;
    for epoch in done + 1..=settings.epochs {
        settings.seed_epoch(epoch);
        train(settings, &net, &train_data, &mut optimizer, epoch, &context)?;
        accuracy = Some(test(settings, &net, &test_data, epoch, &context)?);
        if let Some(usage) = compute.usage() {
            println!("{usage}");
        }
        scheduler.step(&mut optimizer);
        // A dry run trains nothing that anybody would go on with.
        if settings.save_model && !settings.dry_run {
            checkpoint.save(epoch, &variables, &optimizer)?;
        }
    }

    if settings.save_model {
        let accuracy = match accuracy {
            Some(accuracy) => accuracy,
            None => test(settings, &net, &test_data, done, &context)?,
        };
        save::save(settings, &mut variables, &net, &test_data, accuracy)?;
        println!(
            "Model saved in {}",
            settings.output.join(save::FOLDER).display()
        );
    }
    Ok(())
}

fn log_parameters(context: &RunContext, settings: &Settings) {
    context.log_param("epochs", settings.epochs);
    context.log_param("batch_size", settings.batch_size);
    context.log_param("lr", settings.lr);
    context.log_param("gamma", settings.gamma);
    context.log_param("seed", settings.seed);
}

fn train(
    settings: &Settings,
    net: &Net,
    pictures: &Pictures,
    optimizer: &mut Adadelta,
    epoch: i64,
    context: &RunContext,
) -> Result<(), Error> {
    let started = Instant::now();
    let total = pictures.count();
    let batches = (total as u64).div_ceil(settings.batch_size as u64) as i64;
    let mut seen = 0;
    for (number, batch) in (0..batches).zip(pictures.batches(settings.batch_size, true)) {
        optimizer.zero_grad();
        let loss = net.forward(&batch.images, true).nll_loss(&batch.labels);
        loss.backward();
        optimizer.step();

        if number % settings.log_interval == 0 {
            let loss = finite(&loss, epoch)?;
            let percent = 100.0 * number as f64 / batches as f64;
            println!("Train Epoch: {epoch} [{seen}/{total} ({percent:.0}%)]\tLoss: {loss:.6}");
            context.log_step("Train loss", loss, (epoch - 1) * batches + number);
            if settings.dry_run {
                break;
            }
        }
        seen += batch.labels.size()[0];
    }
    if !settings.dry_run {
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "Epoch {epoch} took {seconds:.1} s ({:.0} images/s)",
            seen as f64 / seconds
        );
    }
    Ok(())
}

/// Judges the network by pictures it has not seen, and returns how many of a hundred it recognises.
fn test(
    settings: &Settings,
    net: &Net,
    pictures: &Pictures,
    epoch: i64,
    context: &RunContext,
) -> Result<f64, Error> {
    let total = pictures.count();
    let mut loss_sum = 0.0;
    let mut correct = 0;
    tch::no_grad(|| {
        for batch in pictures.batches(settings.test_batch_size, false) {
            let output = net.forward(&batch.images, false);
            let loss = output.g_nll_loss::<Tensor>(&batch.labels, None, Reduction::Sum, -100);
            loss_sum += finite(&loss, epoch)?;
            let recognised = output.argmax(1, false).eq_tensor(&batch.labels);
            correct += recognised.sum(Kind::Int64).int64_value(&[]);
        }
        Ok::<(), Error>(())
    })?;
    let loss = loss_sum / total as f64;
    let accuracy = 100.0 * correct as f64 / total as f64;
    println!("\nTest set: Average loss: {loss:.4}, Accuracy: {correct}/{total} ({accuracy:.0}%)\n");
    context.log_step("Test loss", loss, epoch);
    context.log_step("Accuracy", accuracy, epoch);
    Ok(accuracy)
}

fn finite(loss: &Tensor, epoch: i64) -> Result<f64, Error> {
    let loss = loss.double_value(&[]);
    if loss.is_finite() {
        Ok(loss)
    } else {
        Err(training::Error::Diverged { epoch, loss }.into())
    }
}
