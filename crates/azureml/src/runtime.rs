//! The tokio runtime of the blocking API, shared by the whole process.

use crate::error::{Error, Result};
use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("azureml")
        .enable_all()
        .build()
});

/// The interval at which the blocking API polls the stop button of the notebook.
const LOOK: Duration = Duration::from_millis(50);

/// The shared runtime.
pub fn shared() -> Result<&'static Runtime> {
    RUNTIME
        .as_ref()
        .map_err(|error| Error::Runtime(error.to_string()))
}

/// Runs `future` to completion on this thread, for the blocking API.
///
/// In a notebook the stop button ends it early and keeps the variables of the cell. Elsewhere an
/// interrupt ends the program as usual: a handler installed here would remain and take Ctrl-C from
/// the rest of the program.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    if Handle::try_current().is_ok() {
        return Err(Error::BlockingInsideRuntime);
    }
    let runtime = shared()?;
    if !notebook::in_notebook() {
        return runtime.block_on(future);
    }
    runtime.block_on(async {
        tokio::select! {
            result = future => result,
            () = interrupted() => Err(Error::Interrupted),
        }
    })
}

/// Waits for the stop button.
async fn interrupted() {
    while !notebook::interrupted() {
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocking_call_inside_a_runtime_is_an_error_and_no_panic() {
        let inner = Runtime::new().unwrap();
        let result = inner.block_on(async { block_on(async { Ok(1) }) });
        assert!(matches!(result, Err(Error::BlockingInsideRuntime)));
        assert_eq!(block_on(async { Ok(1) }).unwrap(), 1);
    }
}
