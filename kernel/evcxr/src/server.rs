//! The code intelligence process: replies to requests on its standard input.

use std::fs::File;
use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use azureml_kernel_evaluator::code_intelligence::{Kind, Reply, Request, Start};
use azureml_kernel_evaluator::engine::env;
use azureml_kernel_evaluator::{Evaluator, Options};

use crate::engine::EvcxrEvaluator;

/// How long a running request may keep the process alive after its client has ended.
const GRACE: Duration = Duration::from_secs(20);

/// Serves requests until the standard input ends.
pub(crate) fn run() -> ! {
    // Not for the processes that this one starts.
    // SAFETY: the process has one thread.
    #[allow(unsafe_code)]
    unsafe {
        std::env::remove_var(env::ROLE);
    }
    // Nothing can be reported without the log; the kernel logs that this process fails.
    azureml_kernel::logging::start().ok();
    let served = replies().and_then(|replies| serve(&lines(), replies));
    if let Err(error) = &served {
        tracing::error!(%error, "the code intelligence process ends");
    }
    std::process::exit(i32::from(served.is_err()));
}

/// Takes the standard output for replies: whatever a library prints must not get among them.
fn replies() -> std::io::Result<File> {
    let replies = rustix::io::fcntl_dupfd_cloexec(std::io::stdout(), 3)?;
    let null = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(File::from(replies))
}

/// Reads lines in a thread, so that the end of the client is noticed during a request.
fn lines() -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
        drop(sender);
        // The evaluator removes its files when the last request has ended.
        std::thread::sleep(GRACE);
        std::process::exit(1);
    });
    lines
}

fn serve(lines: &Receiver<String>, mut replies: File) -> std::io::Result<()> {
    let Ok(first) = lines.recv() else {
        return Ok(());
    };
    let Start { cache, helpers } = serde_json::from_str(&first)?;
    let mut options = Options::default();
    options.cache = cache;
    options.helpers = helpers;
    let mut evaluator = match EvcxrEvaluator::start(options) {
        Ok(evaluator) => evaluator,
        Err(error) => return send(&mut replies, &Reply::Failed(error.to_string())),
    };
    for line in lines {
        let Request { kind, code, cursor } = serde_json::from_str(&line)?;
        let reply = match kind {
            Kind::Complete => Reply::Completions(evaluator.complete(&code, cursor)),
            Kind::Inspect => Reply::Documentation(evaluator.inspect(&code, cursor)),
        };
        send(&mut replies, &reply)?;
    }
    Ok(())
}

/// Sends one line in one call.
fn send(replies: &mut File, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    replies.write_all(&line)
}
