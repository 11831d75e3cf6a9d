//! What a notebook cell shows: MIME bundles, live display, plain text where there is no notebook.
