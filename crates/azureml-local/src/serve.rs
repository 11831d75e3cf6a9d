//! The lifecycle of the server: acquire the home folder, serve, and end when idle.

use crate::error::Error;
use crate::hmac::hex;
use crate::home::{Home, HomeError, random};
use crate::machine::Machine;
use crate::name::ContainerName;
use crate::port;
use crate::scheduler;
use crate::seed::seed;
use crate::server::activity::Activity;
use crate::server::entry::Entrance;
use crate::server::{self, peer::Peer, trace::Trace};
use crate::signer::Signer;
use crate::store::{Store, asset};
use crate::tickets::Tickets;
use crate::workspace::queue::Queue;
use crate::workspace::scheduling::Scheduling;
use crate::workspace::{Shared, Workspace};
use azureml_wire::local::{self, Server};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// The reasons why a local workspace cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The home folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store cannot be used.
    #[error("{0}")]
    Store(#[from] Error),
    /// The server cannot listen on its port.
    #[error("the local workspace cannot listen on loopback: {0}\nhint: see that 127.0.0.1 is up")]
    Listen(io::Error),
    /// The server cannot listen on its Unix socket.
    #[error(
        "the local workspace cannot make the Unix socket {}: {source}\n\
         hint: set AZUREML_LOCAL_HOME to a folder on a local disk", path.display()
    )]
    Socket {
        /// The path of the socket.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// Any other system error.
    #[error("the local workspace cannot run: {0}")]
    System(#[from] io::Error),
}

/// The options of a server.
#[derive(Debug)]
pub struct Options {
    /// The home folder.
    pub home: Home,
    /// The time without requests and jobs after which the server ends; `None` disables the timeout.
    pub idle_timeout: Option<Duration>,
}

/// The size in bytes above which the log is rotated at start.
const LOG_LIMIT: u64 = 10 << 20;

/// Serves until the idle timeout or a termination signal.
pub async fn serve(options: Options) -> Result<(), ServeError> {
    let home = options.home;
    let hold = home.take()?;
    start_log(&home)?;
    if let Some(target) = home.jobs_link() {
        tracing::warn!(
            target = %target.display(),
            "jobs is a link: its folder is used, and what is not of this workspace stays there"
        );
    }
    // With a handler for `SIGXFSZ`, a write beyond the file size limit fails with an error and does
    // not kill the server. (Unlike an ignored signal, a handler is not inherited by the programs of
    // jobs.)
    let _file_size = signal(SignalKind::from_raw(25))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let store = Store::open(&home.database())?;
    store.transaction(seed)?;
    let signer = Signer::new(home.key()?);
    crate::blob::create_container(&home, &ContainerName::default_datastore())?;
    let trace = match std::env::var_os(local::env::TRACE).filter(|path| !path.is_empty()) {
        Some(path) => Some(Trace::open(path.as_ref())?),
        None => None,
    };
    let listener = port::listen(home.port()).map_err(ServeError::Listen)?;
    let socket = listen_at(&home.socket()).map_err(|source| ServeError::Socket {
        path: home.socket(),
        source,
    })?;
    let port = listener.local_addr().map_err(ServeError::Listen)?.port();
    let app: Shared = Arc::new(Workspace {
        store: Arc::new(store),
        signer,
        port,
        scheduling: Arc::new(Scheduling::default()),
        machine: Machine::default(),
        blobs: Mutex::default(),
        home: home.clone(),
        hold,
    });
    let entrance = Arc::new(Entrance {
        app: Arc::clone(&app),
        token: hex(&random()?),
        trace,
        activity: Activity::default(),
    });
    scheduler::recover(&app).await?;
    tokio::task::spawn_blocking({
        let app = Arc::clone(&app);
        move || {
            let tidied = crate::blob::tidy(&app.home, |container| {
                // A container is kept if the query fails.
                app.store
                    .transaction(|store| asset::names_container(store, container))
                    .unwrap_or(true)
            });
            if let Err(error) = tidied {
                tracing::warn!(%error, "forgotten uploads could not be removed");
            }
        }
    });
    tokio::spawn(scheduler::run(Arc::clone(&app)));
    let router = server::router(Arc::clone(&entrance), &Arc::new(Tickets::new()?));
    home.set_port(port)?;
    let end = Arc::new(Notify::new());
    let ended = || Arc::clone(&end).notified_owned();
    let from_anybody = router.clone().into_make_service_with_connect_info::<Peer>();
    let on_port = axum::serve(listener, from_anybody).with_graceful_shutdown(ended());
    let on_socket = axum::serve(socket, router).with_graceful_shutdown(ended());
    let serving = async { tokio::try_join!(on_port.into_future(), on_socket.into_future()) };
    let mut serving = tokio::spawn(serving);
    let server = Server {
        url: app.url(),
        token: entrance.token.clone(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    home.publish(&server)?;
    tracing::info!(url = app.url(), "serving");
    // The output is optional: a closed or full stdout must not end the server.
    let _ = writeln!(
        io::stdout(),
        "the local workspace answers at {}, its files are in {}",
        app.url(),
        home.root().display()
    );

    tokio::select! {
        _ = terminate.recv() => tracing::info!("asked to end; jobs go on and are taken up by the next start"),
        _ = interrupt.recv() => tracing::info!("interrupted; jobs go on and are taken up by the next start"),
        () = idle(&entrance, options.idle_timeout) => tracing::info!("nobody needs it, ending"),
        () = app.hold.lost() => tracing::error!("the home folder was removed or replaced, ending"),
        result = &mut serving => {
            app.hold.withdraw(&server);
            return match result {
                Ok(Err(error)) => Err(ServeError::System(error)),
                _ => Err(ServeError::System(io::Error::other("it stopped answering"))),
            };
        }
    }
    app.hold.withdraw(&server);
    end.notify_waiters();
    // Requests in progress get some time to finish.
    let _ = tokio::time::timeout(Duration::from_secs(2), serving).await;
    Ok(())
}

/// Listens on the Unix socket. An existing socket belongs to a killed server, because this process
/// holds the home folder.
fn listen_at(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(local::socket_address(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Returns when no requests were received and no jobs existed for the timeout.
async fn idle(entrance: &Entrance, timeout: Option<Duration>) {
    let Some(timeout) = timeout else {
        return std::future::pending().await;
    };
    loop {
        let quiet = entrance.activity.quiet();
        let left = timeout.saturating_sub(quiet);
        if left.is_zero() && entrance.app.scheduling.read(Queue::is_empty) {
            return;
        }
        tokio::time::sleep(left.clamp(Duration::from_millis(50), Duration::from_secs(5))).await;
    }
}

fn start_log(home: &Home) -> io::Result<()> {
    let path = home.log();
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
        fs::rename(&path, path.with_extension("log.old"))?;
    }
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)?;
    let filter = tracing_subscriber::EnvFilter::try_from_env(local::env::LOG)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Fails only if a process starts a second server, as the tests of this crate do.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(file))
        .try_init();
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("{panic}");
    }));
    Ok(())
}
