//! Azure Machine Learning from Rust: workspaces, environments, jobs, runs and models.
