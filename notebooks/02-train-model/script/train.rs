//! Trains the workshop's network on MNIST: the counterpart of its `train.py`. When started by
//! `mpirun`, its processes share each batch and produce the results of a single process.

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
use training::{Adadelta, Checkpoint, Compute, GraphedStep, Processes, Settings, StepLr, error};

/// Interval between two reports of the GPU's utilization.
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
    /// Train only on this number of images, the first ones, as a quick check
    #[arg(long, value_parser = value_parser!(i64).range(1..))]
    images: Option<i64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    error::exit(|| run(&args))
}

fn run(args: &Args) -> Result<(), Error> {
    let settings = &args.settings;
    let processes = Processes::join()?;
    let compute = Compute::choose(settings, &processes);
    match processes.size() {
        1 => println!("{}", compute.announce()),
        size => println!(
            "Rank {} of {size}: {}",
            processes.rank(),
            compute.announce()
        ),
    }
    // Only the first process reports.
    let report = Report(processes.is_first().then(|| Arc::new(Run::get_context())));
    report.parameters(settings, &compute, &processes);
    let _watch = report.0.as_ref().and_then(|context| {
        let context = Arc::clone(context);
        let gpu = compute.gpu()?;
        Some(gpu.watch(GPU_INTERVAL, move |usage| {
            for (name, value) in usage.metrics() {
                context.log(name, value);
            }
        }))
    });

    let folder = data::folder(args.data.as_deref())?;
    let train_data = Pictures::read(&folder, Part::Train)?;
    let train_data = train_data.first(args.images.unwrap_or(i64::MAX));
    let count = train_data.count();
    let train_data = train_data.to_device(compute.device);
    let test_data = Pictures::read(&folder, Part::Test)?.to_device(compute.device);
    if settings.save_model && processes.is_first() {
        save::prepare(settings)?;
    }

    // Created on the CPU, so that a seed results in the same weights on every device.
    settings.seed_weights();
    let mut variables = VarStore::new(Device::Cpu);
    let net = Net::new(&variables.root());
    variables.set_device(compute.device);
    let optimizer = Adadelta::new(variables.trainable_variables(), settings.lr);
    let mut scheduler = StepLr::new(1, settings.gamma);

    let checkpoint = Checkpoint::of(settings).depending_on("images", count as f64);
    let done = if settings.resume && processes.is_first() {
        let done = checkpoint.load(&variables, &optimizer)?;
        let path = checkpoint.path().display();
        report.say(&match done {
            Some(epoch) => format!("Going on after epoch {epoch}, from {path}"),
            None => format!("Beginning anew: there is no {path}"),
        });
        done.unwrap_or(0)
    } else {
        0
    };
    // Other processes may run on machines without the checkpoint file.
    let done = share_beginning(&processes, &variables, &optimizer, done)?;
    for _ in 0..done {
        scheduler.step(&optimizer);
    }

    let mut step = GraphedStep::new(&compute, settings.batch_size, |chosen: &Tensor| {
        let share = processes.share(chosen);
        let batch = train_data.batch(&share.examples);
        let images = batch.images.to_kind(compute.precision.kind());
        let loss = net.forward(&images, true).nll_loss(&batch.labels);
        let gradients = optimizer.gradients(&loss);
        let (gradients, loss) = processes.average(&share, gradients, loss.detach())?;
        optimizer.step(&gradients);
        Ok(loss)
    });
    let mut tested = None;
    for epoch in done + 1..=settings.epochs {
        settings.seed_epoch(epoch);
        train(settings, &processes, &mut step, &train_data, epoch, &report)?;
        tested = Some(test(
            settings, &processes, &net, &test_data, epoch, &report,
        )?);
        if let Some(usage) = compute.usage() {
            report.say(&format!("GPU: {usage}"));
        }
        scheduler.step(&optimizer);
        // A dry run produces no state worth resuming.
        if settings.save_model && !settings.dry_run && processes.is_first() {
            checkpoint.save(epoch, &variables, &optimizer)?;
        }
    }

    if settings.save_model {
        let (accuracy, answers) = match tested {
            Some(tested) => tested,
            None => test(settings, &processes, &net, &test_data, done, &report)?,
        };
        if processes.is_first() {
            let answers = if processes.is_alone() {
                answers
            } else {
                answer(settings, &net, &test_data)
            };
            evaluation::save(&settings.output, &test_data, &Tensor::cat(&answers, 0))?;
            save::save(settings, &mut variables, &net, &test_data, accuracy)?;
        }
        let folder = settings.output.join(save::FOLDER);
        report.say(&format!("Model saved in {}", folder.display()));
    }
    Ok(())
}

/// Prints and logs the progress; `None` in all processes except the first.
struct Report(Option<Arc<RunContext>>);

impl Report {
    fn say(&self, line: &str) {
        if self.0.is_some() {
            println!("{line}");
        }
    }

    fn log(&self, name: &str, value: f64, step: i64) {
        if let Some(context) = &self.0 {
            context.log_step(name, value, step);
        }
    }

    fn parameters(&self, settings: &Settings, compute: &Compute, processes: &Processes) {
        let Some(context) = &self.0 else { return };
        context.log_param("epochs", settings.epochs);
        context.log_param("batch_size", settings.batch_size);
        context.log_param("lr", settings.lr);
        context.log_param("gamma", settings.gamma);
        context.log_param("seed", settings.seed);
        context.log_param("precision", compute.precision);
        if !processes.is_alone() {
            context.log_param("processes", processes.size());
        }
    }
}

/// Copies the first process's weights and optimizer state to all processes; returns its number of
/// completed epochs.
fn share_beginning(
    processes: &Processes,
    variables: &VarStore,
    optimizer: &Adadelta,
    done: i64,
) -> Result<i64, Error> {
    processes.broadcast(&variables.trainable_variables())?;
    let memory: Vec<Tensor> = optimizer
        .state()
        .into_iter()
        .map(|(_, part)| part)
        .collect();
    processes.broadcast(&memory)?;
    // The other processes contribute 0.
    let [done] = processes.sum([done as f64])?;
    Ok(done as i64)
}

fn train(
    settings: &Settings,
    processes: &Processes,
    step: &mut GraphedStep<impl Fn(&Tensor) -> Result<Tensor, training::Error>>,
    pictures: &Pictures,
    epoch: i64,
    report: &Report,
) -> Result<(), Error> {
    let started = Instant::now();
    let total = pictures.count();
    let batches = (total as u64).div_ceil(settings.batch_size as u64) as i64;
    let tell = |number: i64, loss: &Tensor| -> Result<(), Error> {
        let loss = finite(loss.double_value(&[]), epoch)?;
        let (seen, percent) = (
            number * settings.batch_size,
            100.0 * number as f64 / batches as f64,
        );
        report.say(&format!(
            "Train Epoch: {epoch} [{seen}/{total} ({percent:.0}%)]\tLoss: {loss:.6}"
        ));
        report.log("Train loss", loss, (epoch - 1) * batches + number);
        Ok(())
    };
    // A loss is reported after the next steps are launched: reading it waits for the GPU, which
    // then still has work.
    let mut untold = None;
    let order = pictures.batches(settings.batch_size, true);
    settings.seed_process(epoch, processes);
    for (number, chosen) in (0..batches).zip(order) {
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
        report.say(&format!(
            "Epoch {epoch} took {seconds:.1} s ({:.0} images/s)",
            total as f64 / seconds
        ));
    }
    Ok(())
}

/// Evaluates the network on unseen images; returns the accuracy in percent and the outputs for this
/// process's part of the images.
fn test(
    settings: &Settings,
    processes: &Processes,
    net: &Net,
    pictures: &Pictures,
    epoch: i64,
    report: &Report,
) -> Result<(f64, Vec<Tensor>), Error> {
    let total = pictures.count();
    let mut answers = Vec::new();
    let mut loss_sum = 0.0;
    let mut correct = 0i64;
    // Each process evaluates some of the batches.
    let batches = pictures.batches(settings.test_batch_size, false);
    let batches = batches.skip(processes.rank()).step_by(processes.size());
    tch::no_grad(|| {
        for chosen in batches {
            let batch = pictures.batch(&chosen);
            let output = net.forward(&batch.images, false);
            let loss = output.g_nll_loss::<Tensor>(&batch.labels, None, Reduction::Sum, -100);
            loss_sum += loss.double_value(&[]);
            let recognised = output.argmax(1, false).eq_tensor(&batch.labels);
            correct += recognised.sum(Kind::Int64).int64_value(&[]);
            answers.push(output);
        }
    });
    let [loss_sum, correct] = processes.sum([loss_sum, correct as f64])?;
    let loss = finite(loss_sum / total as f64, epoch)?;
    let accuracy = 100.0 * correct / total as f64;
    report.say(&format!(
        "\nTest set: Average loss: {loss:.4}, Accuracy: {correct}/{total} ({accuracy:.0}%)\n"
    ));
    report.log("Test loss", loss, epoch);
    report.log("Accuracy", accuracy, epoch);
    Ok((accuracy, answers))
}

/// Returns the network's outputs for all images.
fn answer(settings: &Settings, net: &Net, pictures: &Pictures) -> Vec<Tensor> {
    tch::no_grad(|| {
        pictures
            .batches(settings.test_batch_size, false)
            .map(|chosen| net.forward(&pictures.batch(&chosen).images, false))
            .collect()
    })
}

fn finite(loss: f64, epoch: i64) -> Result<f64, Error> {
    if loss.is_finite() {
        Ok(loss)
    } else {
        Err(training::Error::Diverged { epoch, loss }.into())
    }
}
