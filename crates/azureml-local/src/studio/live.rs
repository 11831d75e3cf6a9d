//! What changes on a page while somebody looks at it: server-sent events with rendered parts.

use super::language::Language;
use super::{computes, job, text};
use crate::app::Shared;
use crate::error::Result;
use crate::routes::job as calls;
use crate::store::mlflow;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use futures::stream;
use serde::Deserialize;
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// How often something is looked for.
const INTERVAL: Duration = Duration::from_millis(500);

/// The query of a job's events.
#[derive(Debug, Deserialize)]
pub struct Asked {
    /// How much of the log the page has.
    #[serde(default)]
    from: u64,
}

type Events = Sse<
    axum::response::sse::KeepAliveStream<
        std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>,
    >,
>;

/// What a page has been told: the parts by a hash of their text.
#[derive(Default)]
struct Told {
    parts: HashMap<&'static str, u64>,
}

impl Told {
    /// The event for a part, unless the page has it so.
    fn part(&mut self, name: &'static str, html: &str) -> Option<Event> {
        let mut hasher = DefaultHasher::new();
        html.hash(&mut hasher);
        let hash = hasher.finish();
        if self.parts.insert(name, hash) == Some(hash) {
            return None;
        }
        Some(
            Event::default()
                .event("part")
                .data(json!({ "name": name, "html": html }).to_string()),
        )
    }
}

struct JobWatch {
    app: Shared,
    l: Language,
    name: String,
    told: Told,
    /// How far the log has been sent.
    log: u64,
    /// The bytes of a character whose rest is still to come.
    started: Vec<u8>,
    /// The newest metric that has been drawn.
    metric: Option<i64>,
    waiting: VecDeque<Event>,
    first: bool,
    ended: bool,
}

/// A job's events.
pub async fn of_job(
    State(app): State<Shared>,
    l: Language,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Events> {
    let job = calls::find(&app, name).await?;
    // A page that has lost its connection says how far it had come.
    let log = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok())
        .unwrap_or(asked.from);
    let watch = JobWatch {
        app,
        l,
        name: job.name,
        told: Told::default(),
        log,
        started: Vec::new(),
        metric: None,
        waiting: VecDeque::new(),
        first: true,
        ended: false,
    };
    let events = stream::unfold(watch, |mut watch| async move {
        loop {
            if let Some(event) = watch.waiting.pop_front() {
                return Some((Ok(event), watch));
            }
            if watch.ended {
                // The page closes its side; whoever does not gets no more than this.
                return None;
            }
            if !std::mem::take(&mut watch.first) {
                tokio::time::sleep(INTERVAL).await;
            }
            if let Err(error) = watch.look().await {
                tracing::warn!(%error, "a page could not be kept up to date");
                return None;
            }
        }
    });
    Ok(sse(events))
}

impl JobWatch {
    /// Collects what is new.
    async fn look(&mut self) -> Result<()> {
        let job = calls::find(&self.app, self.name.clone()).await?;
        let name = self.name.clone();
        let metric = self
            .app
            .db(move |store| mlflow::newest_metric(store, &name))
            .await?;
        let steps = job::steps_part(&self.app, self.l, &job).await?;
        self.waiting.extend(self.told.part("steps", &steps));
        if metric != self.metric {
            self.metric = metric;
            let charts = job::metrics_part(&self.app, self.l, &self.name).await?;
            self.waiting.extend(self.told.part("metrics", &charts));
        }
        let details = job::details_part(&self.app, self.l, &self.name).await?;
        self.waiting.extend(self.told.part("details", &details));
        let files = job::files_part(&self.app, self.l, &self.name).await?;
        self.waiting.extend(self.told.part("files", &files));
        loop {
            let tail = job::log(&self.app, &self.name, Some(self.log)).await?;
            if tail.bytes.is_empty() {
                break;
            }
            self.log = tail.end;
            self.started.extend_from_slice(&tail.bytes);
            let whole = whole_characters(&self.started);
            let written: Vec<u8> = self.started.drain(..whole).collect();
            let event = Event::default()
                .event("log")
                .id((self.log - self.started.len() as u64).to_string())
                .data(json!(text::plain(&written)).to_string());
            self.waiting.push_back(event);
            // The next look goes on: the page must not hold a long log at once.
            if self.waiting.len() > 8 {
                return Ok(());
            }
        }
        if job.status.is_terminal() {
            self.ended = true;
            self.waiting
                .push_back(Event::default().event("end").data(job.status.as_str()));
        }
        Ok(())
    }
}

/// How many bytes are whole characters: a character that is cut in two waits for its second half.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        // Bytes that are no UTF-8 do not get better by waiting, but the last ones might.
        Err(_) => {
            let tail = bytes.len().saturating_sub(3);
            (tail..bytes.len())
                .find(|at| {
                    bytes[*at] >= 0xc0
                        && std::str::from_utf8(&bytes[*at..])
                            .is_err_and(|error| error.error_len().is_none())
                })
                .unwrap_or(bytes.len())
        }
        Ok(_) => bytes.len(),
    }
}

/// The computes' events.
pub async fn of_computes(State(app): State<Shared>, l: Language) -> Events {
    let events = stream::unfold(
        (app, Told::default(), true),
        move |(app, mut told, mut first)| async move {
            loop {
                if !std::mem::take(&mut first) {
                    tokio::time::sleep(INTERVAL).await;
                }
                let html = computes::list_part(&app, l).await.ok()?;
                if let Some(event) = told.part("computes", &html) {
                    return Some((Ok(event), (app, told, first)));
                }
            }
        },
    );
    sse(events)
}

fn sse(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Events {
    Sse::new(Box::pin(events) as std::pin::Pin<Box<dyn Stream<Item = _> + Send>>)
        .keep_alive(KeepAlive::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_sent_whole() {
        for (bytes, whole) in [
            ("가나".as_bytes(), 6),
            (&"가나".as_bytes()[..4], 3),
            (b"\xffabc", 4),
            (b"\xffab\xea\xb0", 3),
            (b"", 0),
        ] {
            assert_eq!(whole_characters(bytes), whole, "{bytes:?}");
        }
    }
}
