//! Eventual consistency: the resources that this client has created recently.

use super::call::{Call, Target};
use reqwest::Method;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time until all of the service knows a new resource.
const SPREADING: Duration = Duration::from_mins(1);
/// The most resources that are remembered; a client does not use more that are all new.
const MOST: usize = 64;

/// The resources that this client has created recently. A 404 on one of them is retried.
#[derive(Debug, Default)]
pub struct RecentlyCreated(Mutex<VecDeque<(Instant, String)>>);

impl RecentlyCreated {
    /// Records the resource that a successful call has created, and forgets one that it has
    /// deleted.
    pub fn remember(&self, call: &Call<'_>) {
        let Target::Management(path) = &call.target else {
            return;
        };
        let mut created = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if call.method == Method::PUT {
            if created.len() == MOST {
                created.pop_front();
            }
            created.push_back((Instant::now(), path.clone()));
        } else if call.method == Method::DELETE {
            created.retain(|(_, made)| made != path);
        }
    }

    /// Whether a call concerns one of these resources.
    pub fn concerns(&self, call: &Call<'_>) -> bool {
        let (Target::Management(path) | Target::Data(path)) = &call.target else {
            return false;
        };
        if call.method == Method::PUT {
            return false;
        }
        let created = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        created
            .iter()
            .filter(|(time, _)| time.elapsed() < SPREADING)
            .any(|(_, made)| {
                // A job appears as a run in other paths: `…/runs/{name}/…`, or `?run_id={name}`.
                let run = made.rsplit_once("/jobs/").map(|(_, name)| name);
                is_within(path, made)
                    || run.is_some_and(|run| {
                        path.split_once("/runs/")
                            .is_some_and(|(_, rest)| is_within(rest, run))
                            || call.query.iter().any(|(_, value)| value == run)
                    })
            })
    }
}

/// Whether a path is `top` or a path below it.
fn is_within(path: &str, top: &str) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_asked_for_again() {
        let call = |method, path: &str| Call::management("x", method, path.to_owned());
        let data = |path: &str| Call::data("x", Method::GET, path.to_owned());
        let created = RecentlyCreated::default();
        assert!(!created.concerns(&call(Method::GET, "/w/jobs/j")));
        created.remember(&call(Method::GET, "/w/jobs/j"));
        assert!(!created.concerns(&call(Method::GET, "/w/jobs/j")));
        created.remember(&call(Method::PUT, "/w/jobs/j"));
        for (call, expected) in [
            (call(Method::GET, "/w/jobs/j"), true),
            (call(Method::POST, "/w/jobs/j/cancel"), true),
            (call(Method::GET, "/w/jobs/jj"), false),
            (call(Method::PUT, "/w/jobs/j"), false),
            (data("/history/v1.0/w/runs/j/details"), true),
            (data("/history/v1.0/w/runs/jj/details"), false),
            (data("/mlflow/runs/get").query("run_id", "j"), true),
        ] {
            assert_eq!(created.concerns(&call), expected);
        }
        created.remember(&call(Method::DELETE, "/w/jobs/j"));
        assert!(!created.concerns(&call(Method::GET, "/w/jobs/j")));
    }
}
