//! One list of conformance checks of the SDK for every kind of workspace: the local one, the local
//! one behind a proxy that injects the faults of networks and busy services, and optionally one on
//! Azure.
//!
//! `AZUREML_TEST_WORKSPACE=config.json cargo xtask test a_workspace_on_azure` runs the list on the
//! Azure workspace of that file, with the credential that the SDK finds. It creates environments,
//! models, data and short jobs there, with names that begin with `conformance`.
//! `AZUREML_TEST_COMPUTE` is the compute target of the jobs (default `cpu-cluster`).

mod list;

use azureml::asynchronous::Workspace;
use azureml::credential::{AccessToken, Cached, Credential};
use azureml_wire::local;
use end_to_end::faults::{Fault, Plan, Proxy};
use end_to_end::{LocalWorkspace, as_client};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// Variable with the path of the `config.json` of a workspace on Azure.
const AZURE: &str = "AZUREML_TEST_WORKSPACE";
/// Variable with the seed of the mixed faults; by default a new one each time.
const SEED: &str = "AZUREML_TEST_SEED";

/// Tokens that are ascending numbers, so that the proxy can recognize the older ones.
#[derive(Debug, Default)]
struct Numbers(AtomicU32);

impl Credential for Numbers {
    fn token(&self) -> Pin<Box<dyn Future<Output = azureml::Result<AccessToken>> + Send + '_>> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let ends = SystemTime::now() + Duration::from_hours(1);
        Box::pin(async move { Ok(AccessToken::new(number.to_string(), ends)) })
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(future)
}

/// Runs the list behind a proxy.
fn behind(test: &str, plan: Plan) {
    let mut workspace = None;
    let printed = as_client(test, |command| {
        let started = LocalWorkspace::start();
        let proxy = Proxy::start(started.server().expect("it runs"), plan);
        command.env("AZUREML_RESOURCE_MANAGER", &proxy.url);
        workspace = Some((started, proxy));
    });
    if printed.is_none() {
        block_on(async {
            let scope = local::scope();
            let (name, subscription) = (&scope.workspace_name, &scope.subscription_id);
            let credential = Arc::new(Cached::new(Numbers::default()));
            let ws = Workspace::get_with(name, subscription, &scope.resource_group, credential);
            list::all(&ws.await.expect("the workspace opens")).await;
        });
        return;
    }
    let (workspace, proxy) = workspace.expect("it was started");
    let faults = proxy.faults();
    println!("{faults} faults, {} exchanges", workspace.validate_trace());
    assert!(faults > 5, "there were but {faults} faults");
}

#[test]
fn the_local_workspace_passes() {
    let workspace = LocalWorkspace::new();
    let printed = as_client("the_local_workspace_passes", |command| {
        workspace.apply(command);
    });
    if printed.is_none() {
        block_on(async {
            list::all(&Workspace::local().await.expect("the workspace opens")).await;
        });
    }
}

#[test]
#[ignore = "it needs a workspace on Azure, whose config.json AZUREML_TEST_WORKSPACE names"]
fn a_workspace_on_azure_passes() {
    let config = std::env::var_os(AZURE).map(PathBuf::from);
    let config = config.unwrap_or_else(|| panic!("{AZURE} names no config.json"));
    let config = config.canonicalize().expect("the file is there");
    let printed = as_client("a_workspace_on_azure_passes", |command| {
        command.env(AZURE, &config);
    });
    if printed.is_none() {
        block_on(async {
            let ws = Workspace::from_config_path(&config).await;
            list::all(&ws.expect("the workspace opens")).await;
        });
    }
}

macro_rules! every_call_once {
    ($($test:ident: $fault:expr;)*) => {
        $(
            #[test]
            fn $test() {
                behind(stringify!($test), Plan::First($fault));
            }
        )*
    };
}

every_call_once! {
    too_many_calls_are_waited_for: Fault::Status(429, Some("0"));
    a_service_that_is_away_is_waited_for: Fault::Status(503, Some("0"));
    a_time_out_is_tried_again: Fault::Status(408, None);
    an_internal_error_is_tried_again: Fault::Status(500, None);
    a_reset_connection_is_tried_again: Fault::Reset;
    an_answer_that_is_cut_off_is_asked_for_again: Fault::Cut;
    what_was_done_and_not_answered_is_done_once: Fault::Lost;
    slow_answers_are_waited_for: Fault::Slow;
    tokens_that_have_ended_are_renewed: Fault::Expired;
    what_was_just_made_is_looked_for_again: Fault::Unknown;
}

#[test]
fn faults_of_all_kinds_at_once_are_outlived() {
    let seed = std::env::var(SEED).map_or_else(
        |_| u64::from(std::process::id()),
        |seed| seed.parse().expect("the seed is a number"),
    );
    println!("{SEED}={seed}");
    behind(
        "faults_of_all_kinds_at_once_are_outlived",
        Plan::Seeded(seed),
    );
}
