//! Metrics on their way to the workspace, beside the training loop.
