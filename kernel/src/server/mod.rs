//! Serves one Jupyter connection.
//!
//! Each channel has a separate task. Work for the evaluator goes through a queue to the thread that
//! owns it ([`worker`]); requests about code (completion, inspection) go to another thread
//! ([`code_intelligence`]). The kernel therefore answers all requests other than cells while a cell runs,
//! and all requests that do not need the evaluator while it is starting.

mod aborted;
mod activity;
mod channel;
mod code_intelligence;
mod comm;
mod debugger;
mod evaluator;
mod handlers;
mod history;
mod info;
mod introspection;
mod kernel;
mod late;
mod lifetime;
mod output;
mod queue;
mod replies;
mod request;
mod stdin;
mod subshells;
mod verifier;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use azureml_kernel_evaluator::Completeness;
use jupyter_protocol::ConnectionInfo;
use tokio::sync::watch;

use crate::protocol::iopub::IoPub;
use crate::protocol::message::Session;
use crate::protocol::sockets::{self, BindError};
use crate::zmtp::{Context, Limits, echo};
use kernel::Kernel;

pub use evaluator::StartEvaluator;
pub use kernel::End;
pub use lifetime::{Parent, terminate_group};

/// Timeout for the evaluator to stop after an interrupt.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Timeout for sending the last broadcasts.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Time that the sockets stay open after the last message, which is sent in the background.
const LINGER: Duration = Duration::from_millis(100);

/// The language-specific parts of the kernel.
pub struct Engine {
    /// Starts the evaluator.
    pub start: StartEvaluator,
    /// Decides whether a cell is complete.
    pub is_complete: fn(&str) -> Completeness,
    /// The version of the language; `None` until it is known.
    pub language_version: watch::Receiver<Option<String>>,
}

/// Options of the server.
#[derive(Debug, Default)]
pub struct Options {
    /// The file of the history of all sessions; `None` keeps it in memory.
    pub history: Option<PathBuf>,
    /// The process whose end also ends the kernel.
    pub parent: Option<Parent>,
    /// Limits on the memory and the time that peers can use.
    pub limits: Limits,
}

/// Serves until the front end, a signal or the death of the parent ends the kernel; returns the
/// reason.
pub async fn serve(
    connection: &ConnectionInfo,
    engine: Engine,
    options: Options,
) -> Result<End, BindError> {
    let sockets = sockets::bind(connection).await?;
    let session = Arc::new(Session::new(&connection.key));
    let context = Context::new(options.limits);
    let iopub = IoPub::start(session.clone(), sockets.iopub, &context);
    iopub.status(None, "starting");

    let (ended, mut end) = watch::channel(None);
    let activity = Arc::<activity::Activity>::default();
    let analyst = Arc::default();
    let code_intelligence =
        code_intelligence::start(iopub.clone(), Arc::clone(&activity), Arc::clone(&analyst));
    let kernel = Arc::new(Kernel {
        session: session.clone(),
        iopub,
        stdin: stdin::start(session, sockets.stdin, &context),
        queue: queue::Queue::default(),
        code_intelligence,
        subshells: subshells::Subshells::default(),
        history: std::sync::Mutex::new(history::History::open(options.history)),
        debugger: debugger::Debugger::default(),
        activity,
        comms: Arc::default(),
        executed: std::sync::atomic::AtomicU64::new(0),
        interrupter: std::sync::OnceLock::new(),
        analyst,
        is_complete: engine.is_complete,
        language_version: engine.language_version,
        ended,
    });
    let stopped = worker::start(kernel.clone(), engine.start);
    tokio::spawn(echo::run(sockets.heartbeat, context.clone()));
    channel::start(
        kernel.clone(),
        request::Channel::Control,
        sockets.control,
        &context,
    );
    channel::start(
        kernel.clone(),
        request::Channel::Shell,
        sockets.shell,
        &context,
    );

    let from_outside = lifetime::ended_from_outside(kernel.clone(), options.parent);
    tracing::info!("the kernel serves");
    let end = tokio::select! {
        end = end.wait_for(Option::is_some) => end.ok().and_then(|end| *end).unwrap_or(End::Shutdown),
        end = from_outside => end,
    };
    tracing::info!(?end, "the kernel ends");
    stop(&kernel, stopped).await;
    Ok(end)
}

/// Interrupts the running cell, lets the evaluator clean up, and sends the last messages.
async fn stop(kernel: &Arc<Kernel>, mut stopped: worker::Stopped) {
    kernel.queue.close();
    kernel.code_intelligence.close();
    kernel.interrupt();
    if tokio::time::timeout(STOP_LIMIT, &mut stopped)
        .await
        .is_err()
    {
        // A running compiler does not react to the interrupt.
        lifetime::terminate_group();
        if tokio::time::timeout(STOP_LIMIT, &mut stopped)
            .await
            .is_err()
        {
            tracing::warn!("the evaluator did not stop in time");
        }
    }
    kernel.iopub.flush(FLUSH_LIMIT).await;
    tokio::time::sleep(LINGER).await;
}
