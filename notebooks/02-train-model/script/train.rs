//! Trains the workshop's network on MNIST: the counterpart of its `train.py`.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use azureml::{Run, RunContext};
use clap::{Parser, value_parser};
use tch::{Device, Kind, Reduction, Tensor, nn::VarStore};
use train_model::{
    data::{self, Part, Pictures},
    error::Error,
    evaluation,
    model::Net,
    save,
};
use training::{Adadelta, Checkpoint, Compute, GraphedStep, Settings, StepLr, error};

/// Seconds between two reports of what the GPU is doing.
const GPU_INTERVAL: Duration = Duration::from_secs(1);

/// PyTorch MNIST example, in Rust
#[derive(Debug, Parser)]
#[command(name = "train")]
struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Folder of the four MNIST files, unpacked or .gz
    #[arg(long)]
    data: Option<PathBuf>,
    /// Learn from so many pictures only, the first ones: for trying things out
    #[arg(long, value_parser = value_parser!(i64).range(1..))]
    images: Option<i64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    error::exit(|| run(&args))
}

fn run(args: &Args) -> Result<(), Error> {
    let settings = &args.settings;
    let compute = Compute::choose(settings.no_cuda);
    println!("{}", compute.announce());
    let context = Arc::new(Run::get_context());
    log_parameters(&context, settings);
    let _watch = compute.gpu().map(|gpu| {
        let context = Arc::clone(&context);
        gpu.watch(GPU_INTERVAL, move |usage| {
            for (name, value) in usage.metrics() {
                context.log(name, value);
            }
        })
    });

    let folder = data::folder(args.data.as_deref())?;
    let train_data = Pictures::read(&folder, Part::Train)?;
    let train_data = train_data.first(args.images.unwrap_or(i64::MAX));
    let count = train_data.count();
    let train_data = train_data.to_device(compute.device);
    let test_data = Pictures::read(&folder, Part::Test)?.to_device(compute.device);
    if settings.save_model {
        save::prepare(settings)?;
    }

    // Made on the CPU, so that a seed means the same weights on every device.
    settings.seed_weights();
    let mut variables = VarStore::new(Device::Cpu);
    let net = Net::new(&variables.root());
    variables.set_device(compute.device);
    let optimizer = Adadelta::new(variables.trainable_variables(), settings.lr);
    let mut scheduler = StepLr::new(1, settings.gamma);

    let checkpoint = Checkpoint::of(settings).depending_on("images", count as f64);
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
        scheduler.step(&optimizer);
    }

    let mut step = GraphedStep::new(&compute, settings.batch_size, |chosen: &Tensor| {
        let batch = train_data.batch(chosen);
        let images = batch.images.to_kind(settings.precision.kind());
        let loss = net.forward(&images, true).nll_loss(&batch.labels);
        optimizer.step(&optimizer.gradients(&loss));
        loss.detach()
    });
    let mut tested = None;
    for epoch in done + 1..=settings.epochs {
        settings.seed_epoch(epoch);
        train(settings, &mut step, &train_data, epoch, &context)?;
        tested = Some(test(settings, &net, &test_data, epoch, &context)?);
        if let Some(usage) = compute.usage() {
            println!("GPU: {usage}");
        }
        scheduler.step(&optimizer);
        // A dry run trains nothing that anybody would go on with.
        if settings.save_model && !settings.dry_run {
            checkpoint.save(epoch, &variables, &optimizer)?;
        }
    }

    if settings.save_model {
        let (accuracy, answers) = match tested {
            Some(tested) => tested,
            None => test(settings, &net, &test_data, done, &context)?,
        };
        evaluation::save(&settings.output, &test_data, &answers)?;
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
    context.log_param(
        "precision",
        format!("{:?}", settings.precision).to_lowercase(),
    );
}

fn train(
    settings: &Settings,
    step: &mut GraphedStep<impl Fn(&Tensor) -> Tensor>,
    pictures: &Pictures,
    epoch: i64,
    context: &RunContext,
) -> Result<(), Error> {
    let started = Instant::now();
    let total = pictures.count();
    let batches = (total as u64).div_ceil(settings.batch_size as u64) as i64;
    let tell = |number: i64, loss: &Tensor| -> Result<(), Error> {
        let loss = finite(loss, epoch)?;
        let (seen, percent) = (
            number * settings.batch_size,
            100.0 * number as f64 / batches as f64,
        );
        println!("Train Epoch: {epoch} [{seen}/{total} ({percent:.0}%)]\tLoss: {loss:.6}");
        context.log_step("Train loss", loss, (epoch - 1) * batches + number);
        Ok(())
    };
    // A loss is told when the next steps are on their way: reading it waits for the GPU, which has something to do then.
    let mut untold = None;
    for (number, chosen) in (0..batches).zip(pictures.batches(settings.batch_size, true)) {
        let loss = step.run(&chosen)?;
        if let Some((number, loss)) = untold.take() {
            tell(number, &loss)?;
        }
        if number % settings.log_interval == 0 {
            untold = Some((number, loss.copy()));
            if settings.dry_run {
                break;
            }
        }
    }
    if let Some((number, loss)) = untold {
        tell(number, &loss)?;
    }
    if !settings.dry_run {
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "Epoch {epoch} took {seconds:.1} s ({:.0} images/s)",
            total as f64 / seconds
        );
    }
    Ok(())
}

/// Judges the network by pictures it has not seen, and returns how many of a hundred it recognises, and its answers.
fn test(
    settings: &Settings,
    net: &Net,
    pictures: &Pictures,
    epoch: i64,
    context: &RunContext,
) -> Result<(f64, Tensor), Error> {
    let total = pictures.count();
    let mut answers = Vec::new();
    let mut loss_sum = 0.0;
    let mut correct = 0;
    tch::no_grad(|| {
        for chosen in pictures.batches(settings.test_batch_size, false) {
            let batch = pictures.batch(&chosen);
            let output = net.forward(&batch.images, false);
            let loss = output.g_nll_loss::<Tensor>(&batch.labels, None, Reduction::Sum, -100);
            loss_sum += finite(&loss, epoch)?;
            let recognised = output.argmax(1, false).eq_tensor(&batch.labels);
            correct += recognised.sum(Kind::Int64).int64_value(&[]);
            answers.push(output);
        }
        Ok::<(), Error>(())
    })?;
    let loss = loss_sum / total as f64;
    let accuracy = 100.0 * correct as f64 / total as f64;
    println!("\nTest set: Average loss: {loss:.4}, Accuracy: {correct}/{total} ({accuracy:.0}%)\n");
    context.log_step("Test loss", loss, epoch);
    context.log_step("Accuracy", accuracy, epoch);
    Ok((accuracy, Tensor::cat(&answers, 0)))
}

fn finite(loss: &Tensor, epoch: i64) -> Result<f64, Error> {
    let loss = loss.double_value(&[]);
    if loss.is_finite() {
        Ok(loss)
    } else {
        Err(training::Error::Diverged { epoch, loss }.into())
    }
}
