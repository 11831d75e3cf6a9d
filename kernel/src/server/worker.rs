//! The thread that owns the evaluator and processes the jobs of its queue one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use azureml_kernel_evaluator::{CellName, Discard, Evaluator, Events, Outcome};
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::aborted;
use super::evaluator::{self, StartEvaluator, panicked};
use super::history::History;
use super::introspection;
use super::kernel::Kernel;
use super::late::Late;
use super::output::CellOutput;
use super::queue::{Job, Work};
use super::replies;
use super::request::Request;
use crate::protocol::content::ExecuteRequest;
use crate::protocol::message::Parent;

/// Resolves when the thread has ended and the evaluator was dropped.
pub type Stopped = oneshot::Receiver<()>;

/// Starts the thread, which then starts the evaluator.
pub fn start(kernel: Arc<Kernel>, start: StartEvaluator) -> Stopped {
    let (stopping, stopped) = oneshot::channel();
    let runtime = Handle::current();
    std::thread::spawn(move || {
        let mut evaluator = evaluator::start(start);
        let late = Arc::new(Late::new(&runtime, &kernel.iopub));
        evaluator.show_late(late.clone());
        // Cannot fail: set only here.
        let _ = kernel.interrupter.set(evaluator.interrupter());
        let _ = kernel.analyst.set(evaluator.analyst());
        kernel
            .comms
            .listen(&kernel.iopub, &kernel.activity, &runtime, evaluator.comms());
        let mut worker = Worker {
            kernel,
            runtime,
            evaluator,
            late,
        };
        worker.warm_up();
        while let Some(job) = worker.kernel.queue.next() {
            worker.work(job);
        }
        drop(worker);
        // Fails if the server stopped waiting because the evaluator took too long.
        let _ = stopping.send(());
    });
    stopped
}

struct Worker {
    kernel: Arc<Kernel>,
    runtime: Handle,
    evaluator: Box<dyn Evaluator>,
    late: Arc<Late>,
}

impl Worker {
    fn work(&mut self, job: Job) {
        let Job { request, work } = job;
        let kernel = self.kernel.clone();
        kernel
            .activity
            .begin(&kernel.iopub, &request.message.parent);
        let mut aborted = Vec::new();
        let worked = catch_unwind(AssertUnwindSafe(|| match work {
            Work::Execute(cell) => aborted = self.execute(&request, &cell),
            Work::Refuse(error) => {
                aborted = kernel
                    .queue
                    .take_cells_of(request.message.header.subshell_id.as_deref());
                kernel.queue.cell_ended();
                aborted::fail(&kernel.iopub, kernel.next_count(), &request, &error);
            }
            Work::History(asked) => request.reply(&self.history().reply(&asked)),
            Work::Variables(asked) => {
                asked.look(&kernel.debugger, &mut *self.evaluator);
                kernel.queue.cell_ended();
                asked.reply(&kernel.debugger, kernel.analyst.get(), &request);
            }
        }));
        if let Err(panic) = worked {
            kernel.queue.cell_ended();
            let error = panicked(&*panic);
            request.reply_error(&error.ename, &error.evalue);
        }
        kernel.activity.end(&kernel.iopub);
        aborted::abort(&kernel.iopub, &kernel.activity, &aborted);
    }

    /// Lets the evaluator load the standard library's sources while the kernel is idle. Otherwise
    /// the first completion or variable would wait for that.
    fn warm_up(&mut self) {
        if self.kernel.queue.has_cells() {
            return;
        }
        let evaluator = &mut self.evaluator;
        let warmed = catch_unwind(AssertUnwindSafe(|| {
            evaluator.warm_up();
        }));
        if let Err(panic) = warmed {
            let error = panicked(&*panic);
            tracing::warn!(error.evalue, "the evaluator did not warm up");
        }
    }

    /// Runs a cell; returns the waiting cells that its failure aborts.
    fn execute(&mut self, request: &Request, cell: &ExecuteRequest) -> Vec<Request> {
        let code = cell.code.as_str();
        let counts = !cell.silent && cell.store_history.unwrap_or(true);
        // A cell that does not increment the execution count shows the number of the next cell.
        let count = self.kernel.next_count();
        let blank = code.trim().is_empty();
        if counts && !blank {
            self.late.cell_begins(count, &request.message.parent);
        }
        let output = self.output(&request.message.parent, cell);
        output.publish(
            "execute_input",
            &json!({ "code": code, "execution_count": count }),
        );
        let mut payload = Vec::new();
        let outcome = if blank {
            Outcome::Ok(None)
        } else if let Some(name) = introspection::asked(code) {
            match self.evaluator.inspect(name, introspection::cursor(name)) {
                Some(data) => {
                    payload.push(introspection::page(&data));
                    Outcome::Ok(None)
                }
                None => Outcome::Error(introspection::unknown(name)),
            }
        } else {
            if counts {
                // JupyterLab sends the cell's id here.
                let id = request.message.metadata["cellId"].as_str();
                self.evaluator.name_cell(CellName {
                    id: id.map(str::to_owned),
                    count: u32::try_from(count).ok(),
                });
            }
            self.evaluate(code, &output)
        };
        self.kernel.stdin.cancel();
        if counts && !blank {
            self.kernel.executed.store(count, Ordering::SeqCst);
            self.history().add(count, code);
        }
        match outcome {
            Outcome::Ok(value) => {
                if let Some(data) = value {
                    if counts {
                        self.history().set_output(count, &data);
                    }
                    output.publish(
                        "execute_result",
                        &json!({ "execution_count": count, "data": data, "metadata": {} }),
                    );
                }
                output.finish();
                let expressions = self.user_expressions(cell);
                // Before the reply, because a front end may request completions after it.
                self.kernel.queue.cell_ended();
                request.reply(&json!({
                    "status": "ok",
                    "execution_count": count,
                    "user_expressions": expressions,
                    "payload": payload,
                }));
                Vec::new()
            }
            Outcome::Error(error) => {
                output.publish("error", &replies::error(&error));
                output.finish();
                let aborted = if cell.stop_on_error && !cell.silent {
                    self.kernel
                        .queue
                        .take_cells_of(request.message.header.subshell_id.as_deref())
                } else {
                    Vec::new()
                };
                self.kernel.queue.cell_ended();
                request.reply(&replies::execute_error(&error, count));
                aborted
            }
        }
    }

    fn output(&self, parent: &Parent, cell: &ExecuteRequest) -> CellOutput {
        CellOutput::new(
            &self.runtime,
            self.kernel.iopub.clone(),
            parent.clone(),
            cell.silent,
            cell.allow_stdin.then(|| self.kernel.stdin.clone()),
        )
    }

    /// Runs code; a panic of the evaluator is reported like other errors.
    fn evaluate(&mut self, code: &str, events: &dyn Events) -> Outcome {
        let evaluator = &mut self.evaluator;
        catch_unwind(AssertUnwindSafe(|| evaluator.execute(code, events)))
            .unwrap_or_else(|panic| Outcome::Error(panicked(&*panic)))
    }

    fn user_expressions(&mut self, cell: &ExecuteRequest) -> Value {
        let mut values = Map::new();
        for (name, code) in cell.user_expressions.iter().flatten() {
            let value = match self.evaluate(code, &Discard) {
                Outcome::Ok(data) => {
                    json!({ "status": "ok", "data": data.unwrap_or_default(), "metadata": {} })
                }
                Outcome::Error(error) => {
                    let mut content = replies::error(&error);
                    content["status"] = json!("error");
                    content
                }
            };
            values.insert(name.clone(), value);
        }
        Value::Object(values)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.kernel
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
