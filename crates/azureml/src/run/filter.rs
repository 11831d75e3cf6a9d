//! Filters for runs.

use azureml_wire::Bag;
use azureml_wire::job::JobStatus;

/// A filter for [`Run::find`](crate::Run::find). By default it matches all runs that are not
/// archived.
///
/// ```
/// use azureml::{RunFilter, RunStatus};
///
/// let failed = RunFilter::new()
///     .experiment("train-model")
///     .status(RunStatus::Failed)
///     .tag("lab", "02")
///     .limit(10);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a filter finds nothing until it is given to `Run::find`"]
pub struct RunFilter {
    experiment: Option<String>,
    statuses: Vec<JobStatus>,
    tags: Bag,
    has_tags: Vec<String>,
    view: View,
    limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default)]
enum View {
    #[default]
    Active,
    Archived,
    All,
}

impl RunFilter {
    /// Matches all runs that are not archived.
    pub fn new() -> Self {
        Self::default()
    }

    /// Restricts the filter to an experiment.
    pub fn experiment(mut self, name: impl Into<String>) -> Self {
        self.experiment = Some(name.into());
        self
    }

    /// Restricts the filter to a status; repeated calls match any of the statuses.
    pub fn status(mut self, status: JobStatus) -> Self {
        self.statuses.push(status);
        self
    }

    /// Restricts the filter to a value of a tag; repeated calls must all match.
    pub fn tag(mut self, name: impl Into<String>, value: impl std::fmt::Display) -> Self {
        self.tags.insert(name.into(), value.to_string());
        self
    }

    /// Restricts the filter to runs with a tag of any value.
    pub fn has_tag(mut self, name: impl Into<String>) -> Self {
        self.has_tags.push(name.into());
        self
    }

    /// Matches only archived runs.
    pub fn archived(mut self) -> Self {
        self.view = View::Archived;
        self
    }

    /// Matches archived runs, too.
    pub fn with_archived(mut self) -> Self {
        self.view = View::All;
        self
    }

    /// Limits the result to the newest runs; older pages are not requested.
    pub fn limit(mut self, most: usize) -> Self {
        self.limit = Some(most);
        self
    }

    /// The value of the service's `listViewType`.
    pub(crate) fn view(&self) -> &'static str {
        match self.view {
            View::Active => "ActiveOnly",
            View::Archived => "ArchivedOnly",
            View::All => "All",
        }
    }

    pub(crate) fn most(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }

    pub(crate) fn wants(&self, experiment: &str, status: JobStatus, tags: &Bag) -> bool {
        self.experiment
            .as_deref()
            .is_none_or(|name| name == experiment)
            && (self.statuses.is_empty() || self.statuses.contains(&status))
            && self
                .tags
                .iter()
                .all(|(name, value)| tags.get(name) == Some(value))
            && self.has_tags.iter().all(|name| tags.contains_key(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_asked_for_has_to_hold() {
        let tags = Bag::from([("lab".to_owned(), "02".to_owned())]);
        let holds = |filter: &RunFilter| filter.wants("train", JobStatus::Failed, &tags);
        let filter = RunFilter::new().experiment("train").tag("lab", "02");
        for (filter, expected) in [
            (RunFilter::new(), true),
            (filter.clone(), true),
            (
                filter.clone().has_tag("lab").status(JobStatus::Failed),
                true,
            ),
            (
                filter
                    .clone()
                    .status(JobStatus::Completed)
                    .status(JobStatus::Failed),
                true,
            ),
            (filter.clone().status(JobStatus::Completed), false),
            (filter.clone().tag("lab", "03"), false),
            (filter.clone().has_tag("note"), false),
            (filter.experiment("other"), false),
        ] {
            assert_eq!(holds(&filter), expected, "{filter:?}");
        }
    }
}
