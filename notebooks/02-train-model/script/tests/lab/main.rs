//! Tests of the programs from outside, on a small part of the real data, and comparisons of the
//! library with PyTorch.

mod bad_input;
mod distributed;
mod judge;
mod predict;
mod train;

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use tempfile::TempDir;

/// The training program.
const TRAIN: &str = env!("CARGO_BIN_EXE_train");
/// The prediction program.
const PREDICT: &str = env!("CARGO_BIN_EXE_predict");

/// Number of images from MNIST: enough to train, within seconds, a network that recognises most
/// digits.
const TRAIN_COUNT: usize = 4000;
const TEST_COUNT: usize = 1000;

/// A network that is trained once for all tests.
static TRAINED: LazyLock<Trained> = LazyLock::new(Trained::new);

struct Trained {
    folder: TempDir,
    printed: String,
}

impl Trained {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        small_data(folder.path());
        let output = train(folder.path(), &["--epochs", "2"]);
        assert!(output.status.success(), "{}", stderr(&output));
        Self {
            printed: stdout(&output),
            folder,
        }
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("outputs/model")
    }
}

/// Returns the file with ten digits drawn by hand, 0 to 9.
fn drawings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/digits.json")
}

/// Runs the training program in `folder`, which contains `data`.
fn train(folder: &Path, arguments: &[&str]) -> Output {
    run(Command::new(TRAIN).args(arguments).current_dir(folder))
}

fn run(command: &mut Command) -> Output {
    command
        // Concurrent tests share the processors.
        .env("OMP_WAIT_POLICY", "passive")
        .env("RUST_BACKTRACE", "0")
        // The tests may run inside a job that sets this variable.
        .env_remove("MLFLOW_TRACKING_URI")
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes a small MNIST to `folder`/data: images unpacked, labels as `.gz`, so that both formats
/// are read.
fn small_data(folder: &Path) {
    let data = folder.join("data");
    fs::create_dir_all(&data).expect("a folder");
    for (part, count) in [("train", TRAIN_COUNT), ("t10k", TEST_COUNT)] {
        let images = idx(&format!("{part}-images-idx3-ubyte"), 16, count, 784);
        fs::write(data.join(format!("{part}-images-idx3-ubyte")), images).expect("a file");
        let name = format!("{part}-labels-idx1-ubyte");
        fs::write(
            data.join(format!("{name}.gz")),
            packed(&idx(&name, 8, count, 1)),
        )
        .expect("a file");
    }
}

/// Returns the first `count` entries of one of MNIST's files.
fn idx(name: &str, header: usize, count: usize, entry: usize) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../data/{name}.gz"));
    let mut bytes = vec![0; header + count * entry];
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    GzDecoder::new(file).read_exact(&mut bytes).expect("MNIST");
    bytes[4..8].copy_from_slice(&(count as u32).to_be_bytes());
    bytes
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}
