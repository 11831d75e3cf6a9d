//! Command-line settings that all training programs share.

use std::{
    fmt::{self, Display, Formatter},
    path::PathBuf,
};

use clap::{ArgAction, Args, ValueEnum, value_parser};
use tch::{Device, Kind};

use crate::distributed::Processes;

/// Training and output settings; add them to a program's own arguments with `#[command(flatten)]`.
#[derive(Args, Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Settings {
    /// Batch size for training; several processes share each batch
    #[arg(long, default_value_t = 64, value_parser = value_parser!(i64).range(1..=60_000))]
    pub batch_size: i64,
    /// Batch size for testing
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(i64).range(1..=10_000))]
    pub test_batch_size: i64,
    /// Number of passes over the training data
    #[arg(long, default_value_t = 14, value_parser = value_parser!(i64).range(1..))]
    pub epochs: i64,
    /// Learning rate
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub lr: f64,
    /// Factor of the learning rate after each epoch
    #[arg(long, default_value_t = 0.7, value_parser = positive)]
    pub gamma: f64,
    /// Floating-point format of computations during training; weights are kept in 32 bits. Default:
    /// bfloat16 on a CPU with instructions for it, otherwise float32
    #[arg(long, value_enum)]
    pub precision: Option<Precision>,
    /// Train on the CPU even if there is a GPU
    #[arg(long)]
    pub no_cuda: bool,
    /// Train only one batch of each epoch, as a quick check
    #[arg(long)]
    pub dry_run: bool,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 1, value_parser = value_parser!(i64).range(0..))]
    pub seed: i64,
    /// Number of batches between two progress lines
    #[arg(long, default_value_t = 10, value_parser = value_parser!(i64).range(1..))]
    pub log_interval: i64,
    /// Save the trained model and, after each epoch, a checkpoint
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true")]
    pub save_model: bool,
    /// Resume after the epoch of the checkpoint in the output folder; start from the beginning if
    /// there is none
    #[arg(long)]
    pub resume: bool,
    /// Output folder of the run
    #[arg(long, default_value = "outputs")]
    pub output: PathBuf,
}

/// Floating-point format of computations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 32 bits, as in the original PyTorch example.
    Float32,
    /// 16 bits with the range of 32: about twice as fast on processors that have instructions for
    /// it.
    Bfloat16,
}

impl Display for Precision {
    /// Formats the name as on the command line.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Float32 => "float32",
            Self::Bfloat16 => "bfloat16",
        })
    }
}

impl Precision {
    /// Returns the data type of tensors in this precision.
    pub fn kind(self) -> Kind {
        match self {
            Self::Float32 => Kind::Float,
            Self::Bfloat16 => Kind::BFloat16,
        }
    }

    /// Returns the default precision on `device`. On a CPU with bfloat16 instructions, 16 bits
    /// halve the longest wait of a lesson, and the loss of accuracy is smaller than the variation
    /// between seeds. On a GPU both take seconds.
    pub(crate) fn usual(device: Device) -> Self {
        #[cfg(target_arch = "x86_64")]
        let is_native = is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        let is_native = false;
        if device == Device::Cpu && is_native {
            Self::Bfloat16
        } else {
            Self::Float32
        }
    }
}

impl Settings {
    /// Seeds the random initialization of the network's weights.
    pub fn seed_weights(&self) {
        tch::manual_seed(self.seed);
    }

    /// Seeds the random numbers of an epoch, counted from 1: the order of the examples and dropout.
    /// An epoch therefore does not depend on whether the earlier epochs ran in the same process.
    pub fn seed_epoch(&self, epoch: i64) {
        Self::seed_with(self.seed, epoch);
    }

    fn seed_with(seed: i64, epoch: i64) {
        // An odd factor, so that neighbouring seeds and epochs never share random numbers.
        let mixed = (seed as u64).wrapping_add((epoch as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // Limited to 63 bits, as accepted by Python's torch.
        tch::manual_seed((mixed >> 1) as i64);
    }

    /// Seeds the random numbers that this process draws alone in an epoch (dropout). Must be called
    /// after the order of the examples, which all processes share, was drawn. The first process
    /// continues with the sequence of a single process.
    pub fn seed_process(&self, epoch: i64, processes: &Processes) {
        if !processes.is_first() {
            let seed = self
                .seed
                .wrapping_add((processes.rank() as i64).wrapping_mul(0x5851_F42D_4C95_7F2D));
            Self::seed_with(seed, epoch);
        }
    }

    /// The settings on which a training's results depend, for its checkpoints; names as on the
    /// command line. The precision is not included: weights have 32 bits with either precision, and
    /// a training may resume on a node with another processor.
    pub fn fixed(&self) -> [(&'static str, f64); 4] {
        [
            ("batch-size", self.batch_size as f64),
            ("lr", self.lr),
            ("gamma", self.gamma),
            ("seed", self.seed as f64),
        ]
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("it must be a number above 0".to_owned()),
    }
}
