//! A rate limit of ten messages a second that always sends the last one.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lock;

/// The minimum interval between two messages.
const INTERVAL: Duration = Duration::from_millis(100);

/// Limits an action to ten times a second. Calls within the interval are merged into one action at
/// its end.
#[derive(Default)]
pub(super) struct Throttle(Mutex<State>);

#[derive(Default)]
struct State {
    last: Option<Instant>,
    waiting: bool,
}

impl Throttle {
    /// Runs `act` now, or at the end of the interval on a separate thread. `throttle` returns this
    /// throttle from `whole`.
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
