//! What changes on a page while somebody looks at it: server-sent events with rendered parts.

use super::chart::{self, Chart};
use super::file;
use super::language::Language;
use super::{computes, job, text};
use crate::app::{Shared, blocking};
use crate::error::Result;
use crate::store::series;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use azureml_wire::routes::encode;
use futures::Stream;
use futures::stream;
use serde::Deserialize;
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often something is looked for.
const INTERVAL: Duration = Duration::from_millis(300);

/// Looking takes at most one part in so many of the time.
const SHARE: u32 = 8;

/// How far a page may be behind its log; what is older is left out, because nobody could read it as it flies by.
const BEHIND: u64 = 1 << 20;

/// The address of a job's events, for a page that has the log up to `log` and these charts.
pub fn address(name: &str, log: u64, charts: &[Arc<Chart>]) -> String {
    format!(
        "/studio/jobs/{}/events?log={log}&charts={}&metric={}",
        encode(name),
        charts.len(),
        newest(charts)
    )
}

/// The place in the order of logging of the newest value in charts.
fn newest(charts: &[Arc<Chart>]) -> i64 {
    charts.iter().map(|chart| chart.newest).max().unwrap_or(0)
}

/// The query of a job's events: what the page has.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// How much of the log.
    log: u64,
    /// How many charts.
    charts: usize,
    /// The newest value in them.
    metric: i64,
}

type Events = Sse<
    axum::response::sse::KeepAliveStream<
        std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>,
    >,
>;

/// A part of a page: its name and its HTML.
type Part = (&'static str, Arc<str>);

/// A job as its pages show it right now.
#[derive(Clone, Default)]
struct View {
    parts: Vec<Part>,
    charts: Vec<Arc<Chart>>,
    log_name: &'static str,
    /// How long the log is.
    log: u64,
    /// The status of a job that has ended.
    end: Option<&'static str>,
}

/// A job's name, and the language of the pages.
type Key = (String, Language);

type Jobs = HashMap<Key, watch::Sender<Arc<View>>>;

/// The jobs that somebody looks at: each is looked up once, however many look at it.
#[derive(Default)]
pub struct Watches {
    jobs: Mutex<Jobs>,
}

impl Watches {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // Nothing in here panics half-way through a change.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody look at a job.
    fn join(app: &Shared, name: &str, l: Language) -> watch::Receiver<Arc<View>> {
        let key = (name.to_owned(), l);
        let mut jobs = app.watches.jobs();
        if let Some(sender) = jobs.get(&key) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Arc::default());
        jobs.insert(key.clone(), sender);
        tokio::spawn(look_on(Arc::clone(app), key));
        receiver
    }

    /// Shows what was seen; says whether anybody looks on.
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
        // Whoever still looks is told what was shown last, and then that there is no more.
        jobs.remove(key);
        false
    }
}

/// Looks at a job for as long as somebody wants to know.
async fn look_on(app: Shared, key: Key) {
    let mut view = Arc::<View>::default();
    loop {
        let begun = Instant::now();
        let seen = match look(&app, &key.0, key.1, &view).await {
            Ok(seen) => Some(Arc::new(seen)),
            Err(error) => {
                tracing::warn!(%error, "a page could not be kept up to date");
                None
            }
        };
        if !app.watches.show(&key, seen.clone()) {
            return;
        }
        view = seen.unwrap_or(view);
        tokio::time::sleep(INTERVAL.max(begun.elapsed() * SHARE)).await;
    }
}

/// A job as it is now; what has not changed since `before` is the same.
async fn look(app: &Shared, name: &str, l: Language, before: &View) -> Result<View> {
    let job = job::find(app, name).await?;
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

/// Somebody who looks at a job.
struct Watcher {
    app: Shared,
    l: Language,
    name: String,
    views: watch::Receiver<Arc<View>>,
    view: Arc<View>,
    /// What the page has been told.
    parts: Vec<Part>,
    charts: usize,
    metric: i64,
    /// How far the log has been sent.
    log: u64,
    /// The bytes of a character whose rest is still to come.
    started: Vec<u8>,
    waiting: VecDeque<Event>,
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
    let name = job::find(&app, &name).await?.name;
    // A page that has lost its connection says how far it had come.
    let log = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok())
        .unwrap_or(asked.log);
    let watcher = Watcher {
        views: Watches::join(&app, &name, l),
        app,
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
    /// The next event; none when there is nothing more to come.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.ended {
                // The page closes its side; whoever does not gets no more than this.
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

    /// Collects what the page does not know.
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
        // No metric ever goes: as many are the same ones.
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

    /// What follows in the log, if anything does.
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
