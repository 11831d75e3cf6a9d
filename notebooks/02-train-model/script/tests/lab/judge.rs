//! Comparisons with PyTorch of the parts that tch lacks.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use serde_json::json;
use tch::{Device, Kind, Tensor, nn::VarStore};
use train_model::{
    data::{Part, Pictures},
    model::Net,
};
use training::{Adadelta, StepLr};

use crate::{PREDICT, TRAINED, drawings, run, small_data, stderr, stdout, train};

/// The variable with the path of a Python with PyTorch.
const PYTHON: &str = "AZUREML_TEST_PYTHON_TORCH";

/// libtorch has one random generator per process, and tests run concurrently.
static RANDOM_NUMBERS: Mutex<()> = Mutex::new(());

fn judge(arguments: &[&OsStr]) {
    let python = env::var_os(PYTHON)
        .unwrap_or_else(|| panic!("{PYTHON} is not set; run the tests by `cargo xtask test`"));
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/python/torch_reference.py");
    let mut command = Command::new(PathBuf::from(python));
    // This Python contains a separate libtorch.
    let output = run(command
        .arg(script)
        .args(arguments)
        .env_remove("LD_LIBRARY_PATH"));
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn adadelta_and_step_lr_step_as_pytorch_does() {
    let options = (Kind::Float, Device::Cpu);
    let random = || {
        let _alone = RANDOM_NUMBERS
            .lock()
            .expect("no test panics while it holds this");
        Tensor::randn([6], options)
    };
    let start = random();
    let parameter = start.copy().set_requires_grad(true);
    let optimizer = Adadelta::new(vec![parameter.shallow_clone()], 1.0);
    let mut schedule = StepLr::new(2, 0.7);
    // Gradients of different magnitudes, including zero.
    let sizes = Tensor::from_slice(&[1.0f32, 1e-3, 1e-6, 1e3, 0.0, 1.0]);

    let (mut gradients, mut values, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let list = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach()).expect("floats");
    for _ in 0..6 {
        let mut epoch = Vec::new();
        for _ in 0..5 {
            let gradient = random() * &sizes;
            let loss = (&parameter * &gradient).sum(Kind::Float);
            optimizer.step(&optimizer.gradients(&loss));
            epoch.push(list(&gradient));
            values.push(list(&parameter));
        }
        gradients.push(epoch);
        schedule.step(&optimizer);
        rates.push(optimizer.lr());
    }
    let given = json!({
        "lr": 1.0,
        "gamma": 0.7,
        "step_size": 2,
        "start": list(&start),
        "gradients": gradients,
        "values": values,
        "rates": rates,
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trajectory.json");
    fs::write(&file, given.to_string()).expect("a file");
    judge(&["optimizer".as_ref(), file.as_ref()]);
}

#[test]
fn a_seed_gives_pytorchs_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("weights.safetensors");
    let variables = VarStore::new(Device::Cpu);
    {
        let _alone = RANDOM_NUMBERS
            .lock()
            .expect("no test panics while it holds this");
        tch::manual_seed(1);
        Net::new(&variables.root());
    }
    variables.save(&file).expect("a file");
    judge(&["weights".as_ref(), file.as_ref(), "1".as_ref()]);
}

/// Trains from the same weights, with the same batches and without dropout. This leaves the data,
/// the network, its gradients, the optimizer and the schedule to compare.
#[test]
fn training_gives_pytorchs_losses_and_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let data = folder.path().join("data");
    let pictures = Pictures::read(&data, Part::Train).expect("MNIST");
    let variables = VarStore::new(Device::Cpu);
    let net = {
        let _alone = RANDOM_NUMBERS
            .lock()
            .expect("no test panics while it holds this");
        // With larger steps, and from some initial weights, a rounding error grows tenfold every
        // other step: PyTorch then differs from itself as much when its images have another memory
        // layout.
        tch::manual_seed(2);
        Net::new(&variables.root())
    };
    let start = folder.path().join("start.safetensors");
    variables.save(&start).expect("a file");

    let optimizer = Adadelta::new(variables.trainable_variables(), 0.2);
    let mut schedule = StepLr::new(1, 0.7);
    let mut losses = Vec::new();
    for (number, chosen) in (1..=30).zip(pictures.batches(64, false)) {
        let batch = pictures.batch(&chosen);
        let loss = net.forward(&batch.images, false).nll_loss(&batch.labels);
        optimizer.step(&optimizer.gradients(&loss));
        losses.push(loss.double_value(&[]));
        if number % 10 == 0 {
            schedule.step(&optimizer);
        }
    }
    let end = folder.path().join("end.safetensors");
    variables.save(&end).expect("a file");
    let given = json!({
        "data": data,
        "start": start,
        "end": end,
        "losses": losses,
        "batch_size": 64,
        "lr": 0.2,
        "gamma": 0.7,
        "step_size": 10,
    });
    let file = folder.path().join("training.json");
    fs::write(&file, given.to_string()).expect("a file");
    judge(&["training".as_ref(), file.as_ref()]);
}

/// Dropout is random, so its effect on many copies of one image is compared: the mean and the
/// standard deviation of each digit's output.
#[test]
fn dropout_is_where_pytorch_has_it_and_as_strong() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = TRAINED.model().join("model.safetensors");
    let mut variables = VarStore::new(Device::Cpu);
    let answers = {
        let _alone = RANDOM_NUMBERS
            .lock()
            .expect("no test panics while it holds this");
        let net = Net::new(&variables.root());
        variables.load(&weights).expect("weights");
        let data = TRAINED.folder.path().join("data");
        let pictures = Pictures::read(&data, Part::Test).expect("MNIST");
        let copies = pictures.first(1).normalised().repeat([1000, 1, 1, 1]);
        // A fixed seed makes the test deterministic.
        tch::manual_seed(2);
        tch::no_grad(|| net.forward(&copies, true))
    };
    let given = json!({
        "data": TRAINED.folder.path().join("data"),
        "weights": weights,
        "answers": Vec::<Vec<f64>>::try_from(answers).expect("numbers"),
    });
    let file = folder.path().join("dropout.json");
    fs::write(&file, given.to_string()).expect("a file");
    judge(&["dropout".as_ref(), file.as_ref()]);
}

/// Compares the whole program with a PyTorch program, including dropout and shuffling, for three
/// seeds.
#[test]
fn it_learns_as_well_as_pytorch() {
    let folder = tempfile::tempdir().expect("a folder");
    small_data(folder.path());
    let accuracies: Vec<f64> = ["1", "2", "3"]
        .into_iter()
        .map(|seed| {
            let arguments = [
                "--epochs=2",
                "--no-cuda",
                "--save-model=false",
                "--seed",
                seed,
            ];
            let output = train(folder.path(), &arguments);
            assert!(output.status.success(), "{}", stderr(&output));
            let printed = stdout(&output);
            let (_, last) = printed.rsplit_once("Accuracy: ").expect("an accuracy");
            let (correct, total) = last.split_once('/').expect("a fraction");
            let total: f64 = total
                .split(' ')
                .next()
                .expect("a word")
                .parse()
                .expect("a count");
            100.0 * correct.parse::<f64>().expect("a count") / total
        })
        .collect();
    let given = json!({
        "data": folder.path().join("data"),
        "accuracies": accuracies,
        "seeds": [1, 2, 3],
    });
    let file = folder.path().join("accuracy.json");
    fs::write(&file, given.to_string()).expect("a file");
    judge(&["accuracy".as_ref(), file.as_ref()]);
}

#[test]
fn python_opens_the_model_and_answers_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let answers = folder.path().join("predictions.json");
    let mut command = Command::new(PREDICT);
    command.arg("--model").arg(TRAINED.model());
    command
        .arg("--digits")
        .arg(drawings())
        .arg("--output")
        .arg(&answers);
    let output = run(&mut command);
    assert!(output.status.success(), "{}", stderr(&output));
    judge(&["model".as_ref(), TRAINED.model().as_ref(), answers.as_ref()]);
}
