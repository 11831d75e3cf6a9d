//! `azureml-local`: runs the server of the local workspace, prints its status, and stops it.

use azureml_local::home::{Home, HomeError};
use azureml_local::runner::{guardian, supervision};
use azureml_local::serve::{Options, ServeError, serve};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A local workspace: a subset of Azure Machine Learning's REST API, which runs jobs as processes
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until it is idle
    Serve {
        #[command(flatten)]
        at: At,
        /// Stop after this number of seconds without requests and jobs; 0 disables the timeout
        #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
        idle_timeout: u64,
    },
    /// Print whether the server runs, and its address
    Status {
        #[command(flatten)]
        at: At,
    },
    /// Stop the server; jobs keep running, and the next server resumes them
    Stop {
        #[command(flatten)]
        at: At,
    },
    /// Watch over a job's processes (internal: started by the server)
    #[command(hide = true)]
    RunJob {
        /// The supervisor's folder
        folder: PathBuf,
    },
    /// Start a job's processes and end them (internal: started by `run-job`)
    #[command(hide = true)]
    SuperviseJob {
        /// The supervisor's folder
        folder: PathBuf,
        /// The process of `run-job`
        guardian: u32,
    },
    /// Run a job's command once its process is recorded (internal: started by `supervise-job`)
    #[command(hide = true)]
    HoldProcess {
        /// The process of `supervise-job`
        supervisor: u32,
        /// The command line
        #[arg(last = true)]
        command: String,
    },
}

#[derive(Debug, clap::Args)]
struct At {
    /// The home folder [default: `$AZUREML_LOCAL_HOME`, else azureml-local in the user's data
    /// folder]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

/// The exit code if another server holds the folder; a client that lost the race uses that server.
const TAKEN: u8 = 3;
/// The exit code if no server runs.
const NOT_RUNNING: u8 = 4;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::HoldProcess {
        supervisor,
        command,
    } = &cli.command
    {
        return guardian::hold(*supervisor, command);
    }
    // A supervisor lives as long as its job, so it uses one thread instead of one for each core.
    let runtime = match &cli.command {
        Command::RunJob { .. } | Command::SuperviseJob { .. } => {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
        }
        _ => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build(),
    };
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the local workspace cannot run: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match cli.command {
        Command::Serve { at, idle_timeout } => runtime.block_on(run(at, idle_timeout)),
        Command::Status { at } => status(at),
        Command::Stop { at } => stop(at),
        Command::RunJob { folder } => runtime.block_on(guardian::run(&folder)),
        Command::SuperviseJob { folder, guardian } => {
            runtime.block_on(supervision::run(&folder, guardian))
        }
        // Handled above, before the runtime starts.
        Command::HoldProcess { .. } => ExitCode::FAILURE,
    };
    // Does not wait for blocking tasks.
    runtime.shutdown_background();
    code
}

async fn run(at: At, idle_timeout: u64) -> ExitCode {
    let served = match Home::at(at.home) {
        Ok(home) => {
            let idle_timeout = (idle_timeout > 0).then(|| Duration::from_secs(idle_timeout));
            serve(Options { home, idle_timeout }).await
        }
        Err(error) => Err(error.into()),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                ServeError::Home(HomeError::Taken(_)) => ExitCode::from(TAKEN),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// The home folder, if a running server holds it.
fn running(at: At) -> Result<Home, ExitCode> {
    match Home::at(at.home) {
        Ok(home) if home.is_taken() => Ok(home),
        Ok(home) => {
            println!("no local workspace runs in {}", home.root().display());
            Err(ExitCode::from(NOT_RUNNING))
        }
        Err(error) => {
            eprintln!("error: {error}");
            Err(ExitCode::FAILURE)
        }
    }
}

fn status(at: At) -> ExitCode {
    let home = match running(at) {
        Ok(home) => home,
        Err(code) => return code,
    };
    match home.server() {
        Some(server) => println!(
            "the local workspace in {} answers at {} (process {}, version {})",
            home.root().display(),
            server.url,
            server.pid,
            server.version
        ),
        None => println!(
            "the local workspace in {} is starting",
            home.root().display()
        ),
    }
    ExitCode::SUCCESS
}

/// The maximum time for a server to stop.
const PATIENCE: Duration = Duration::from_secs(10);

fn stop(at: At) -> ExitCode {
    let home = match running(at) {
        Ok(home) => home,
        Err(code) => return code,
    };
    let pid = home
        .server()
        .and_then(|server| i32::try_from(server.pid).ok())
        .and_then(rustix::process::Pid::from_raw);
    let asked = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
    if !matches!(asked, Some(Ok(()))) {
        eprintln!(
            "error: the local workspace in {} does not say which process it is\nhint: try again in a moment",
            home.root().display()
        );
        return ExitCode::FAILURE;
    }
    let start = Instant::now();
    while home.is_taken() {
        if start.elapsed() > PATIENCE {
            eprintln!(
                "error: the local workspace in {} does not end\nhint: see {}",
                home.root().display(),
                home.log().display()
            );
            return ExitCode::FAILURE;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("the local workspace in {} has ended", home.root().display());
    ExitCode::SUCCESS
}
