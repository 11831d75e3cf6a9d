//! Trains the workshop's network on MNIST: the counterpart of its `train.py`.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use azureml::{Run, RunContext};
use clap::{ArgAction, Parser, value_parser};
use tch::{Device, Kind, Reduction, Tensor, nn::VarStore};
use train_model::{
    data::{self, Part, Pictures},
    device::Compute,
    error::{self, Error},
    model::Net,
    optim::{Adadelta, StepLr},
    save,
};

/// PyTorch MNIST example, in Rust
#[derive(Debug, Parser)]
#[command(name = "train")]
struct Args {
    /// Pictures in a batch while training
    #[arg(long, default_value_t = 64, value_parser = value_parser!(i64).range(1..=60_000))]
    batch_size: i64,
    /// Pictures in a batch while testing
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(i64).range(1..=10_000))]
    test_batch_size: i64,
    /// How often to go through the training data
    #[arg(long, default_value_t = 14, value_parser = value_parser!(i64).range(1..))]
    epochs: i64,
    /// Learning rate
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    lr: f64,
    /// Factor of the learning rate after each epoch
    #[arg(long, default_value_t = 0.7, value_parser = positive)]
    gamma: f64,
    /// Train on the CPU even where there is a GPU
    #[arg(long)]
    no_cuda: bool,
    /// One batch of each epoch only, to see whether everything works
    #[arg(long)]
    dry_run: bool,
    /// Seed of all randomness
    #[arg(long, default_value_t = 1, value_parser = value_parser!(i64).range(0..))]
    seed: i64,
    /// Batches between two lines of progress
    #[arg(long, default_value_t = 10, value_parser = value_parser!(i64).range(1..))]
    log_interval: i64,
    /// Save the trained model
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true")]
    save_model: bool,
    /// Folder of the four MNIST files, unpacked or .gz
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder for what the run leaves behind
    #[arg(long, default_value = "outputs")]
    output: PathBuf,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("it must be a number above 0".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    error::exit(|| run(&args))
}

fn run(args: &Args) -> Result<(), Error> {
    let compute = Compute::choose(args.no_cuda);
    println!("{}", compute.announce());
    tch::manual_seed(args.seed);
    let context = Run::get_context();
    log_parameters(&context, args);

    let folder = data::folder(args.data.as_deref())?;
    let train_data = Pictures::read(&folder, Part::Train)?.to_device(compute.device);
    let test_data = Pictures::read(&folder, Part::Test)?.to_device(compute.device);
    let model_folder = args.output.join("model");
    if args.save_model {
        save::prepare(&model_folder)?;
    }

    // Made on the CPU, so that a seed means the same weights on every device.
    let mut variables = VarStore::new(Device::Cpu);
    let net = Net::new(&variables.root());
    variables.set_device(compute.device);
    let mut optimizer = Adadelta::new(variables.trainable_variables(), args.lr);
    let mut scheduler = StepLr::new(1, args.gamma);

    let mut accuracy = 0.0;
    for epoch in 1..=args.epochs {
        train(args, &net, &train_data, &mut optimizer, epoch, &context)?;
        accuracy = test(args, &net, &test_data, epoch, &context)?;
        if let Some(usage) = compute.usage() {
            println!("{usage}");
        }
        scheduler.step(&mut optimizer);
    }

    if args.save_model {
        save::save(&model_folder, &mut variables, &net, &test_data, accuracy)?;
        println!("Model saved in {}", model_folder.display());
    }
    Ok(())
}

fn log_parameters(context: &RunContext, args: &Args) {
    context.log_param("epochs", args.epochs);
    context.log_param("batch_size", args.batch_size);
    context.log_param("lr", args.lr);
    context.log_param("gamma", args.gamma);
    context.log_param("seed", args.seed);
}

fn train(
    args: &Args,
    net: &Net,
    pictures: &Pictures,
    optimizer: &mut Adadelta,
    epoch: i64,
    context: &RunContext,
) -> Result<(), Error> {
    let started = Instant::now();
    let total = pictures.count();
    let batches = (total as u64).div_ceil(args.batch_size as u64) as i64;
    let mut seen = 0;
    for (number, batch) in (0..batches).zip(pictures.batches(args.batch_size, true)) {
        optimizer.zero_grad();
        let loss = net.forward(&batch.images, true).nll_loss(&batch.labels);
        loss.backward();
        optimizer.step();

        if number % args.log_interval == 0 {
            let loss = finite(&loss, epoch)?;
            let percent = 100.0 * number as f64 / batches as f64;
            println!("Train Epoch: {epoch} [{seen}/{total} ({percent:.0}%)]\tLoss: {loss:.6}");
            context.log_step("Train loss", loss, (epoch - 1) * batches + number);
            if args.dry_run {
                break;
            }
        }
        seen += batch.labels.size()[0];
    }
    if !args.dry_run {
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
    args: &Args,
    net: &Net,
    pictures: &Pictures,
    epoch: i64,
    context: &RunContext,
) -> Result<f64, Error> {
    let total = pictures.count();
    let mut loss_sum = 0.0;
    let mut correct = 0;
    tch::no_grad(|| {
        for batch in pictures.batches(args.test_batch_size, false) {
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
        Err(Error::Diverged { epoch, loss })
    }
}
