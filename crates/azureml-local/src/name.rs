//! Names that may become paths.
//!
//! A name from outside becomes part of a path only as one of these types, and they are made by validation alone. No function
//! that yields a path takes a `&str`; [`crate::dir::Dir`] opens nothing else.

use crate::error::{Error, Result};
use crate::remove::MARK;
use std::fmt;

mod sealed {
    /// Implemented in this module alone.
    pub trait Sealed {}
}

/// A relative path that only leads down: no `..`, no `.`, nothing empty, nothing absolute.
pub trait Relative: sealed::Sealed {
    /// The path, its parts separated by `/`.
    fn as_str(&self) -> &str;
}

/// The length limit of one part of a path on Linux's file systems, in bytes.
const PART_LIMIT: usize = 255;
/// The length limit of a blob's name, in bytes.
const BLOB_LIMIT: usize = 1024;

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
    /// The name of a run: one part of a path.
    RunName
}
checked! {
    /// The name of an input or an output of a job: one part of a path.
    PortName
}
checked! {
    /// The name of a container of the blob store: one part of a path.
    ContainerName
}
checked! {
    /// The name of a blob, or of a folder of blobs: a relative path.
    BlobName
}

/// A path that the source code spells out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed(&'static str);

impl Fixed {
    /// The path itself.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// A path of the program's own.
    ///
    /// # Panics
    ///
    /// In a constant, where it does not compile: the path must be one part.
    pub const fn new(part: &'static str) -> Self {
        assert!(part.as_bytes()[0] != b'.');
        Self::hidden(part)
    }

    /// As [`Fixed::new`], of a name that begins with a dot.
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
    /// The length limit of a run's name, in bytes: `dcid.` comes before it, the suffix of a trial after it.
    const LIMIT: usize = 240;

    /// The run of that name; whether it exists is not checked.
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
    /// An input or output of that name.
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
    /// A container of that name; whether it exists is not checked.
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
        Self(crate::blob::DEFAULT_CONTAINER.to_owned())
    }

    /// A container that nobody has named before.
    pub fn unique() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }
}

impl BlobName {
    /// A blob of that name; whether it exists is not checked.
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

    /// A blob of that name, if it can be one.
    pub fn of(name: &str) -> Option<Self> {
        (name.len() <= BLOB_LIMIT && name.split('/').all(is_part)).then(|| Self(name.to_owned()))
    }

    /// The blob of that name in this folder, if it can be one.
    pub fn join(&self, name: &str) -> Option<Self> {
        Self::of(&format!("{self}/{name}"))
    }

    /// A blob that nobody has named before.
    pub fn unique() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The blob at a path that was checked, in this folder. It may be longer than a blob's name may be.
    #[must_use]
    pub fn with(&self, path: &Self) -> Self {
        Self(format!("{self}/{path}"))
    }

    /// The folder and the last part; no folder when there is one part alone.
    pub fn split(&self) -> (Option<Self>, Self) {
        // Parts of a checked path are checked paths.
        match self.0.rsplit_once('/') {
            Some((folder, last)) => (Some(Self(folder.to_owned())), Self(last.to_owned())),
            None => (None, self.clone()),
        }
    }

    /// The blob of the same name below `folder`, which has no folder where it is `None`.
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

/// A name as a message shows it: what somebody sent may be megabytes.
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

    /// Spellings of a way out, or of no name at all.
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
