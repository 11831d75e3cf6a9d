//! Validated names that may become paths.
//!
//! An external name becomes part of a path only as one of these types, which are created by
//! validation only. No function that returns a path takes a `&str`, and [`crate::dir::Dir`] opens
//! only these types.

use crate::error::{Error, Result};
use std::fmt;

mod sealed {
    /// Implemented in this module only, so that no other type can be a [`super::Relative`] path.
    pub trait Sealed {}
}

/// A relative path that cannot lead up: it contains no `..`, `.` or empty segments and is not
/// absolute.
pub trait Relative: sealed::Sealed {
    /// The path; its segments are separated by `/`.
    fn as_str(&self) -> &str;
}

/// The maximum length of a path segment on Linux file systems, in bytes.
const PART_LIMIT: usize = 255;
/// The maximum length of a blob's name, in bytes.
const BLOB_LIMIT: usize = 1024;

/// The container of the default datastore.
pub const DEFAULT_CONTAINER: &str = "azureml-blobstore";

/// The file that marks a folder as one of a workspace. No blob has this name.
pub const MARK: Fixed = Fixed::hidden(".azureml-local.mark");

fn is_part(part: &str) -> bool {
    !matches!(part, "" | "." | "..")
        && part != MARK.as_str()
        && part.len() <= PART_LIMIT
        && !part.contains(['/', '\\', '\0'])
}

macro_rules! checked {
    ($(#[$about:meta])* $name:ident) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl sealed::Sealed for $name {}

        impl Relative for $name {
            fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked! {
    /// The name of a run: a single path segment.
    RunName
}
checked! {
    /// The name of a job's input or output: a single path segment.
    PortName
}
checked! {
    /// The name of a container of the blob store: a single path segment.
    ContainerName
}
checked! {
    /// The name of a blob, or of a folder of blobs: a relative path.
    BlobName
}

/// A path that is a constant in the source code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed(&'static str);

impl Fixed {
    /// The path.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// A constant path of a single segment.
    ///
    /// # Panics
    ///
    /// Panics if the path is not a valid segment; in a constant, this is a compile error.
    pub const fn new(part: &'static str) -> Self {
        assert!(part.as_bytes()[0] != b'.');
        Self::hidden(part)
    }

    /// Like [`Fixed::new`], for a name that starts with a dot.
    pub const fn hidden(part: &'static str) -> Self {
        let bytes = part.as_bytes();
        assert!(!bytes.is_empty() && bytes[bytes.len() - 1] != b'.');
        let mut at = 0;
        while at < bytes.len() {
            assert!(bytes[at] != b'/' && bytes[at] != 0);
            at += 1;
        }
        Self(part)
    }
}

impl sealed::Sealed for Fixed {}

impl Relative for Fixed {
    fn as_str(&self) -> &str {
        self.0
    }
}

impl RunName {
    /// The maximum length of a run's name, in bytes. It leaves room for the prefix `dcid.` and the
    /// suffix of a trial.
    const LIMIT: usize = 240;

    /// Validates the name of a run, which need not exist.
    pub fn parse(name: &str) -> Result<Self> {
        let fine = name.len() <= Self::LIMIT
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if fine {
            Ok(Self(name.to_owned()))
        } else {
            Err(Error::not_found(format!(
                "there is no run {:?} in this workspace",
                shortened(name)
            )))
        }
    }

    /// The folder of the run's artifacts in the default container.
    pub fn artifacts(&self) -> BlobName {
        BlobName(format!("ExperimentRun/dcid.{}", self.0))
    }
}

impl PortName {
    /// Validates the name of an input or output.
    pub fn parse(name: &str) -> Result<Self> {
        if is_part(name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(Error::invalid(format!(
                "{:?} is no name of an input or an output\nhint: use letters, digits and `_`",
                shortened(name)
            )))
        }
    }

    /// The file or folder of the same name.
    pub fn to_blob_name(&self) -> BlobName {
        BlobName(self.0.clone())
    }
}

impl ContainerName {
    /// Validates the name of a container, which need not exist.
    pub fn parse(name: &str) -> Result<Self> {
        if is_part(name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(Error::Invalid {
                code: "InvalidResourceName",
                message: format!("{:?} is no name of a container", shortened(name)),
            })
        }
    }

    /// The container of the default datastore.
    pub fn default_datastore() -> Self {
        Self(DEFAULT_CONTAINER.to_owned())
    }

    /// A new, unique container name.
    pub fn unique() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }
}

impl BlobName {
    /// Validates the name of a blob, which need not exist.
    pub fn parse(name: &str) -> Result<Self> {
        Self::of(name).ok_or_else(|| Error::Invalid {
            code: "InvalidResourceName",
            message: format!(
                "{:?} is no name of a blob: it has an empty, `.` or `..` part, a backslash, or too many bytes\n\
                 hint: use at most {BLOB_LIMIT} bytes, {PART_LIMIT} between two slashes",
                shortened(name)
            ),
        })
    }

    /// Validates the name of a blob; returns `None` if it is invalid.
    pub fn of(name: &str) -> Option<Self> {
        (name.len() <= BLOB_LIMIT && name.split('/').all(is_part)).then(|| Self(name.to_owned()))
    }

    /// The blob of that name in this folder; `None` if the result is invalid.
    pub fn join(&self, name: &str) -> Option<Self> {
        Self::of(&format!("{self}/{name}"))
    }

    /// A new, unique blob name.
    pub fn unique() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The blob at a validated path in this folder. The result may exceed the length limit of a
    /// blob's name.
    #[must_use]
    pub fn with(&self, path: &Self) -> Self {
        Self(format!("{self}/{path}"))
    }

    /// Splits into the folder and the last segment; the folder is `None` for a single segment.
    pub fn split(&self) -> (Option<Self>, Self) {
        // The parts of a validated path are valid.
        match self.0.rsplit_once('/') {
            Some((folder, last)) => (Some(Self(folder.to_owned())), Self(last.to_owned())),
            None => (None, self.clone()),
        }
    }

    /// The blob of that name in `folder`, or at the top level if `folder` is `None`.
    pub fn within(folder: Option<&Self>, name: &str) -> Option<Self> {
        match folder {
            Some(folder) => folder.join(name),
            None => Self::of(name),
        }
    }
}

impl From<Fixed> for BlobName {
    fn from(fixed: Fixed) -> Self {
        Self(fixed.0.to_owned())
    }
}

/// Shortens a name for use in a message, because a client may send megabytes.
fn shortened(name: &str) -> String {
    let mut shown: String = name.chars().take(128).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that lead out of a folder, or that are not valid names.
    const TRAVERSALS: [&str; 16] = [
        "",
        ".",
        "..",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/..",
        "a/../b",
        "./a",
        "a/./b",
        "a\0b",
        "a\\b",
        "..\\a",
        "/",
        "a/../../b",
    ];

    #[test]
    fn traversal_no_name_leads_up_or_out() {
        for name in TRAVERSALS {
            assert!(BlobName::of(name).is_none(), "{name:?}");
            assert!(RunName::parse(name).is_err(), "{name:?}");
            assert!(PortName::parse(name).is_err(), "{name:?}");
            assert!(ContainerName::parse(name).is_err(), "{name:?}");
        }
        for path in ["a/b", "x/y/z"] {
            assert!(BlobName::of(path).is_some(), "{path:?}");
            assert!(RunName::parse(path).is_err(), "{path:?}");
            assert!(PortName::parse(path).is_err(), "{path:?}");
            assert!(ContainerName::parse(path).is_err(), "{path:?}");
        }
        assert!(BlobName::of(&"a".repeat(256)).is_none());
        assert!(BlobName::of(&"a/".repeat(1000)).is_none());
        assert!(RunName::parse(&"a".repeat(241)).is_err());
    }

    #[test]
    fn ordinary_names_are_names() {
        for name in ["a", "..a", "a..", "a.b", "%2e%2e", "é", "a b"] {
            assert_eq!(BlobName::parse(name).unwrap().as_str(), name);
        }
        let run = RunName::parse("mnist_000").unwrap();
        assert_eq!(run.artifacts().as_str(), "ExperimentRun/dcid.mnist_000");
        let (folder, last) = run.artifacts().split();
        assert_eq!(folder.unwrap().as_str(), "ExperimentRun");
        assert_eq!(last.as_str(), "dcid.mnist_000");
    }
}
