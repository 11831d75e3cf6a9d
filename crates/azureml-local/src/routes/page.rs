//! What a browser is shown that follows a job's link: where to look. It opens nothing and tells nothing.

use crate::app::Shared;
use crate::server::render::escape;
use axum::Router;
use axum::extract::Path;
use axum::response::Html;
use axum::routing::get;

/// The pages.
pub fn router() -> Router<Shared> {
    Router::new().route("/runs/{run}", get(run))
}

async fn run(Path(run): Path<String>) -> Html<String> {
    let run = escape(&run);
    Html(format!(
        "<!doctype html><meta charset=\"utf-8\"><title>{run} - local workspace</title>\
         <style>body{{font:16px/1.5 system-ui;max-width:40em;margin:4em auto;padding:0 1em}}\
         pre{{background:#8881;padding:1em;border-radius:6px}}</style>\
         <h1>Run {run}</h1>\
         <p>This run belongs to the local workspace on this machine. Look at it from a cell:</p>\
         <pre>let run = Run::get(&amp;ws, \"{run}\")?;\nrun.wait_for_completion(true)?;</pre>"
    ))
}
