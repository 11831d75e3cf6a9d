//! A progress bar for loops.

use std::time::{Duration, Instant};

use crate::{Live, MimeBundle, display_live, html, in_notebook};

/// The minimum interval between two updates in a notebook.
const INTERVAL: Duration = Duration::from_millis(100);

/// The minimum interval between two lines in a terminal or a log.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows the progress of a loop from its first step to its last.
///
/// ```
/// let mut sum = 0;
/// for number in notebook::progress(1..=10) {
///     sum += number;
/// }
/// assert_eq!(sum, 55);
/// ```
///
/// In a notebook a bar is updated at most ten times a second. Elsewhere a line is printed at most
/// every five seconds. A loop that ends early leaves the bar at its last state.
pub fn progress<I: IntoIterator>(iterable: I) -> Progress<I::IntoIter> {
    let inner = iterable.into_iter();
    let (least, most) = inner.size_hint();
    Progress {
        bar: Bar::new(most.filter(|most| *most == least)),
        inner,
    }
}

/// The iterator of [`progress`].
#[derive(Debug)]
pub struct Progress<I> {
    inner: I,
    bar: Bar,
}

impl<I> Progress<I> {
    /// Sets a label beside the bar.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.bar.label = label.into();
        self
    }
}

impl<I: Iterator> Iterator for Progress<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let item = self.inner.next();
        self.bar.step(item.is_some());
        item
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl<I: ExactSizeIterator> ExactSizeIterator for Progress<I> {}

/// The state of the bar. It is not generic, so cells do not compile it again.
#[derive(Debug)]
struct Bar {
    label: String,
    total: Option<usize>,
    /// The number of items that the loop has finished.
    done: usize,
    /// Whether the loop is at an item.
    at_item: bool,
    ended: bool,
    begin: Option<Instant>,
    shown: Option<(Instant, Live)>,
}

impl Bar {
    fn new(total: Option<usize>) -> Self {
        Self {
            label: String::new(),
            total,
            done: 0,
            at_item: false,
            ended: false,
            begin: None,
            shown: None,
        }
    }

    /// Records that the loop has requested the next item; `more` is whether one exists.
    fn step(&mut self, more: bool) {
        self.begin.get_or_insert_with(Instant::now);
        self.done += usize::from(std::mem::replace(&mut self.at_item, more));
        let ends = !more && !std::mem::replace(&mut self.ended, true);
        let interval = if in_notebook() {
            INTERVAL
        } else {
            LINE_INTERVAL
        };
        let due = self
            .shown
            .as_ref()
            .is_none_or(|(last, _)| last.elapsed() >= interval);
        if ends || (more && due) {
            self.show();
        }
    }

    fn show(&mut self) {
        let bundle = self.bundle();
        match &mut self.shown {
            Some((last, live)) => {
                live.update(&bundle);
                *last = Instant::now();
            }
            None => self.shown = Some((Instant::now(), display_live(&bundle))),
        }
    }

    fn bundle(&self) -> MimeBundle {
        let seconds = self
            .begin
            .map_or(0.0, |begin| begin.elapsed().as_secs_f64());
        let count = self.total.map_or_else(
            || self.done.to_string(),
            |total| {
                let percent = (self.done * 100).checked_div(total).unwrap_or(100);
                format!("{} / {total} ({percent} %)", self.done)
            },
        );
        let text = [self.label.as_str(), &count, &format!("{seconds:.1} s")]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("  ");
        let bar = match self.total {
            Some(total) => format!(
                r#"<progress max="{}" value="{}"></progress>"#,
                total.max(1),
                self.done.max(usize::from(total == 0))
            ),
            None if self.ended => r#"<progress max="1" value="1"></progress>"#.to_owned(),
            None => "<progress></progress>".to_owned(),
        };
        MimeBundle::new()
            .html(format!("{bar} {}", html::escape(&text)))
            .text(text)
    }
}

impl Drop for Bar {
    /// Shows the final state when the loop ends early.
    fn drop(&mut self) {
        if self.shown.is_some() && !self.ended {
            self.show();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bar: &Bar) -> String {
        bar.bundle().plain_text().unwrap().to_owned()
    }

    #[test]
    fn items_pass_and_are_counted_when_they_are_done() {
        let mut steps = progress(["a", "b", "c"]).label("<x>");
        assert_eq!(steps.len(), 3);
        assert_eq!(steps.next(), Some("a"));
        assert!(text(&steps.bar).starts_with("<x>  0 / 3 (0 %)"));
        assert_eq!(steps.by_ref().collect::<Vec<_>>(), ["b", "c"]);
        assert!(text(&steps.bar).starts_with("<x>  3 / 3 (100 %)"));
        assert_eq!(steps.next(), None);
        let bundle = steps.bar.bundle();
        let html = bundle.get("text/html").unwrap().as_str().unwrap();
        assert!(
            html.starts_with(r#"<progress max="3" value="3"></progress> &lt;x&gt;"#),
            "{html}"
        );
    }

    #[test]
    fn a_loop_of_unknown_length_and_an_empty_one_have_a_bar_too() {
        let mut open = progress((0..4).filter(|number| number % 2 == 0));
        assert_eq!(open.by_ref().count(), 2);
        assert!(text(&open.bar).starts_with("2  "), "{}", text(&open.bar));
        let mut empty = progress(Vec::<u8>::new());
        assert_eq!(empty.next(), None);
        assert!(text(&empty.bar).starts_with("0 / 0 (100 %)"));
    }
}
