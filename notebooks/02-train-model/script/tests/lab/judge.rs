//! PyTorch itself judges what was written for want of it in tch.

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
    model::Net,
    optim::{Adadelta, StepLr},
};

use crate::{PREDICT, TRAINED, drawings, run, stderr};

/// Names the Python that has PyTorch.
const PYTHON: &str = "AZUREML_TEST_PYTHON_TORCH";

/// libtorch's generator is the process's, and tests run side by side.
static RANDOM_NUMBERS: Mutex<()> = Mutex::new(());

fn judge(arguments: &[&OsStr]) {
    let python = env::var_os(PYTHON)
        .unwrap_or_else(|| panic!("{PYTHON} is not set; run the tests by `cargo xtask test`"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/python/torch_judge.py");
    let mut command = Command::new(PathBuf::from(python));
    // This Python brings its own libtorch.
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
    let mut optimizer = Adadelta::new(vec![parameter.shallow_clone()], 1.0);
    let mut schedule = StepLr::new(2, 0.7);
    // Of all sizes, and one that is nothing at all.
    let sizes = Tensor::from_slice(&[1.0f32, 1e-3, 1e-6, 1e3, 0.0, 1.0]);

    let (mut gradients, mut values, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let list = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach()).expect("floats");
    for _ in 0..6 {
        let mut epoch = Vec::new();
        for _ in 0..5 {
            let gradient = random() * &sizes;
            optimizer.zero_grad();
            (&parameter * &gradient).sum(Kind::Float).backward();
            optimizer.step();
            epoch.push(list(&gradient));
            values.push(list(&parameter));
        }
        gradients.push(epoch);
        schedule.step(&mut optimizer);
        rates.push(optimizer.lr);
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
