//! Not more than ten messages a second, and the last one always.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lock;

/// The least time between two messages.
const INTERVAL: Duration = Duration::from_millis(100);

/// Lets something be done at most ten times a second. What is asked for meanwhile is done once, when the time has come.
#[derive(Default)]
pub(super) struct Throttle(Mutex<State>);

#[derive(Default)]
struct State {
    last: Option<Instant>,
    waiting: bool,
}

impl Throttle {
    /// Does it now, or soon on a thread of its own. `throttle` finds this in `whole`.
    pub(super) fn soon<T: Send + Sync + 'static>(
        whole: &Arc<T>,
        throttle: fn(&T) -> &Self,
        act: fn(&T),
    ) {
        let mut state = lock(&throttle(whole).0);
        if state.waiting {
            return;
        }
        let rest = state.last.map_or(Duration::ZERO, |last| {
            INTERVAL.saturating_sub(last.elapsed())
        });
        if rest.is_zero() {
            state.last = Some(Instant::now());
            drop(state);
            return act(whole);
        }
        state.waiting = true;
        drop(state);
        let later = {
            let whole = whole.clone();
            move || {
                std::thread::sleep(rest);
                *lock(&throttle(&whole).0) = State {
                    last: Some(Instant::now()),
                    waiting: false,
                };
                act(&whole);
            }
        };
        if std::thread::Builder::new()
            .name("widget".to_owned())
            .spawn(later)
            .is_err()
        {
            lock(&throttle(whole).0).waiting = false;
            act(whole);
        }
    }
}
