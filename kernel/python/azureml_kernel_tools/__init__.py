"""Rust notebooks in papermill and nbgrader."""
