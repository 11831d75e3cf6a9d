//! Updates of an open page: server-sent events with rendered parts.

use super::chart::{self, Chart, newest};
use super::file;
use super::language::Language;
use super::{computes, job, text};
use crate::error::Result;
use crate::store::series;
use crate::workspace::job::find_run;
use crate::workspace::{Shared, blocking};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures::Stream;
use futures::stream;
use serde::Deserialize;
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The polling interval.
const INTERVAL: Duration = Duration::from_millis(300);

/// Polling uses at most 1/8 of the time: the pause is at least 8 times the duration of a poll.
const SHARE: u32 = 8;

/// The maximum distance between a page and the end of its log, in bytes. A page that is further
/// behind skips to the end: the text would scroll too fast to read.
const BEHIND: u64 = 1 << 20;

/// The routes of the events.
pub fn router(app: &Shared) -> Router<Shared> {
    Router::new()
        .route("/jobs/{name}/events", get(of_job))
        .route("/computes/events", get(of_computes))
        .with_state(Live {
            app: Arc::clone(app),
            watches: Arc::default(),
        })
}

/// The state of the events.
#[derive(Clone)]
struct Live {
    app: Shared,
    watches: Arc<Watches>,
}

/// The query of a job's events: the state of the page.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    /// The received bytes of the log.
    log: u64,
    /// The number of charts.
    charts: usize,
    /// The position of their newest value.
    metric: i64,
}

type Events = Sse<
    axum::response::sse::KeepAliveStream<
        std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>,
    >,
>;

/// A part of a page: its name and its HTML.
type Part = (&'static str, Arc<str>);

/// A snapshot of a job for its pages.
#[derive(Clone, Default)]
struct View {
    parts: Vec<Part>,
    charts: Vec<Arc<Chart>>,
    log_name: &'static str,
    /// The length of the log.
    log: u64,
    /// The final status; `None` while the job has not ended.
    end: Option<&'static str>,
}

/// A job's name, and the language of the pages.
type Key = (String, Language);

type Jobs = HashMap<Key, watch::Sender<Arc<View>>>;

/// Jobs with open pages. Each job is polled once, however many pages show it.
#[derive(Default)]
struct Watches {
    jobs: Mutex<Jobs>,
}

impl Watches {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // No code panics while it holds the lock, so the map is consistent.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes a page to a job.
    fn join(live: &Live, name: &str, l: Language) -> watch::Receiver<Arc<View>> {
        let key = (name.to_owned(), l);
        let mut jobs = live.watches.jobs();
        if let Some(sender) = jobs.get(&key) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Arc::default());
        jobs.insert(key.clone(), sender);
        tokio::spawn(look_on(live.clone(), key));
        receiver
    }

    /// Publishes a snapshot; returns whether polling continues.
    fn show(&self, key: &Key, view: Option<Arc<View>>) -> bool {
        let mut jobs = self.jobs();
        let goes_on = view.as_ref().is_some_and(|view| view.end.is_none());
        let Some(sender) = jobs.get(key) else {
            return false;
        };
        if let Some(view) = view {
            sender.send_replace(view);
        }
        if goes_on && !sender.is_closed() {
            return true;
        }
        // The remaining subscribers receive the last snapshot and then the end of the channel.
        jobs.remove(key);
        false
    }
}

/// Polls a job while a page is open and the job has not ended.
async fn look_on(live: Live, key: Key) {
    let mut view = Arc::<View>::default();
    loop {
        let begun = Instant::now();
        let seen = match look(&live.app, &key.0, key.1, &view).await {
            Ok(seen) => Some(Arc::new(seen)),
            Err(error) => {
                tracing::warn!(%error, "a page could not be kept up to date");
                None
            }
        };
        if !live.watches.show(&key, seen.clone()) {
            return;
        }
        view = seen.unwrap_or(view);
        tokio::time::sleep(INTERVAL.max(begun.elapsed() * SHARE)).await;
    }
}

/// A new snapshot of a job; reuses the unchanged parts of `before`.
async fn look(app: &Shared, name: &str, l: Language, before: &View) -> Result<View> {
    let job = find_run(app, name).await?;
    let run = name.to_owned();
    let logged = app.db(move |store| series::newest(store, &run)).await?;
    let charts = if logged.is_none_or(|place| place == newest(&before.charts)) {
        before.charts.clone()
    } else {
        chart::of_run(app, name, &before.charts).await?
    };
    let parts = [
        ("steps", job::steps_part(app, l, &job).await?),
        ("overview", job::overview_part(l, &job)?),
        ("children", job::children_part(app, l, name).await?),
        ("details", job::details_part(app, l, name).await?),
        ("files", job::files_part(app, l, name).await?),
    ];
    let parts = parts.map(|(name, html)| {
        let same = before
            .parts
            .iter()
            .find(|old| old.0 == name && *old.1 == *html);
        same.map_or_else(|| (name, html.into()), Clone::clone)
    });
    let log_name = job::log_name(app, &job);
    let log = {
        let (app, name) = (Arc::clone(app), name.to_owned());
        blocking(move || match file::open_log(&app, &name, log_name)? {
            Some(log) => Ok(log.metadata()?.len()),
            None => Ok(0),
        })
        .await?
    };
    Ok(View {
        parts: parts.to_vec(),
        charts,
        log_name,
        log,
        end: job.status.is_terminal().then(|| job.status.as_str()),
    })
}

/// The event stream of one page.
struct Watcher {
    app: Shared,
    l: Language,
    name: String,
    views: watch::Receiver<Arc<View>>,
    view: Arc<View>,
    /// The parts that the page has received.
    parts: Vec<Part>,
    charts: usize,
    metric: i64,
    /// The bytes of the log that were sent.
    log: u64,
    /// The first bytes of a character that is not complete yet.
    started: Vec<u8>,
    waiting: VecDeque<Event>,
    ended: bool,
}

/// A job's events.
async fn of_job(
    State(live): State<Live>,
    l: Language,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Events> {
    let name = find_run(&live.app, &name).await?.name;
    // A page that reconnects sends its position in the log.
    let log = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok())
        .unwrap_or(asked.log);
    let watcher = Watcher {
        views: Watches::join(&live, &name, l),
        app: live.app,
        l,
        name,
        view: Arc::default(),
        parts: Vec::new(),
        charts: asked.charts,
        metric: asked.metric,
        log,
        started: Vec::new(),
        waiting: VecDeque::new(),
        ended: false,
    };
    let events = stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((Ok(event), watcher))
    });
    Ok(sse(events))
}

impl Watcher {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.ended {
                // The page closes the connection after the last event; the server ends the stream
                // in any case.
                return None;
            }
            let read = match self.read_log().await {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(%error, "a log could not be sent on");
                    return None;
                }
            };
            if read.is_some() {
                return read;
            }
            if let Some(status) = self.view.end {
                self.ended = true;
                return Some(Event::default().event("end").data(status));
            }
            self.views.changed().await.ok()?;
            self.view = Arc::clone(&self.views.borrow_and_update());
            if let Err(error) = self.tell() {
                tracing::warn!(%error, "a page could not be kept up to date");
                return None;
            }
        }
    }

    /// Queues the events with the changes that the page has not received.
    fn tell(&mut self) -> Result<()> {
        let part = |name: &str, html: &str| {
            Event::default()
                .event("part")
                .data(json!({ "name": name, "html": html }).to_string())
        };
        for new in &self.view.parts {
            let known = |old: &&Part| old.0 == new.0 && Arc::ptr_eq(&old.1, &new.1);
            if !self.parts.iter().any(|old| known(&old)) {
                self.waiting.push_back(part(new.0, &new.1));
            }
        }
        self.parts.clone_from(&self.view.parts);
        let charts = &self.view.charts;
        // Metrics are never removed: an equal number means the same metrics.
        if charts.len() == self.charts {
            for chart in charts.iter().filter(|chart| chart.newest > self.metric) {
                let html = job::chart_part(chart)?;
                self.waiting
                    .push_back(part(&format!("chart-{}", chart.id), &html));
            }
        } else {
            let html = job::metrics_part(self.l, charts)?;
            self.waiting.push_back(part("metrics", &html));
        }
        self.charts = charts.len();
        self.metric = newest(charts);
        Ok(())
    }

    /// The next part of the log, if it has grown.
    async fn read_log(&mut self) -> Result<Option<Event>> {
        let left_out = self.view.log.saturating_sub(self.log) > BEHIND;
        if left_out {
            self.started.clear();
            self.log = self.view.log - BEHIND / 2;
        }
        if self.log >= self.view.log {
            return Ok(None);
        }
        let tail = job::log(&self.app, &self.name, self.view.log_name, Some(self.log)).await?;
        if tail.bytes.is_empty() {
            return Ok(None);
        }
        self.log = tail.end;
        self.started.extend_from_slice(&tail.bytes);
        let whole = whole_characters(&self.started);
        let written: Vec<u8> = self.started.drain(..whole).collect();
        let log = text::plain(&written);
        Ok(Some(
            Event::default()
                .event(if left_out { "skip" } else { "log" })
                .id((self.log - self.started.len() as u64).to_string())
                .data(json!(log).to_string()),
        ))
    }
}

/// The length of the complete characters: an incomplete one at the end waits for its next bytes.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        // Invalid UTF-8 in the middle is sent at once. The last bytes may be an incomplete
        // character.
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

/// The events of the compute page.
async fn of_computes(State(Live { app, .. }): State<Live>, l: Language) -> Events {
    let events = stream::unfold((app, String::new()), move |(app, mut told)| async move {
        loop {
            if !told.is_empty() {
                tokio::time::sleep(INTERVAL).await;
            }
            let html = computes::list_part(&app, l).await.ok()?;
            if html != told {
                told.clone_from(&html);
                let data = json!({ "name": "computes", "html": html }).to_string();
                let event = Event::default().event("part").data(data);
                return Some((Ok(event), (app, told)));
            }
        }
    });
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
