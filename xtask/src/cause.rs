//! Detects why a program failed from the end of its output.

/// An external cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A server was not reachable.
    NoNetwork,
    /// The disk was full.
    NoRoom,
}

/// Messages of the operating system.
const NO_ROOM: [&str; 3] = [
    "No space left on device",
    "Disk quota exceeded",
    "File too large (os error 27)",
];

/// Messages of pip, cargo, rustup and apt.
const NO_NETWORK: [&str; 16] = [
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeout",
    "ReadTimeout",
    "Max retries exceeded",
    "ProxyError",
    "SSLError",
    "Connection aborted",
    "Network is unreachable",
    "network failure seems to have happened",
    "Could not resolve host",
    "Could not resolve proxy",
    "Could not connect to",
    "Failed to connect to",
    "Temporary failure resolving",
    "could not download file",
];

/// Returns the cause that a program's output contains, if any. A full disk has priority, because a
/// download that runs out of space reports both.
pub fn find(lines: &[String]) -> Option<Cause> {
    let any = |words: &[&str]| {
        lines
            .iter()
            .any(|line| words.iter().any(|word| line.contains(word)))
    };
    if any(&NO_ROOM) {
        Some(Cause::NoRoom)
    } else if any(&NO_NETWORK) {
        Some(Cause::NoNetwork)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_each_program_are_known() {
        for (line, cause) in [
            (
                "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
                Some(Cause::NoRoom),
            ),
            (
                "error: failed to write x.rmeta: No space left on device (os error 28)",
                Some(Cause::NoRoom),
            ),
            (
                "WARNING: Retrying after connection broken by 'NewConnectionError('<x>: [Errno 101] Network is unreachable')'",
                Some(Cause::NoNetwork),
            ),
            (
                "warning: spurious network error (3 tries remaining): [6] Could not resolve hostname (Could not resolve host: example.org)",
                Some(Cause::NoNetwork),
            ),
            (
                "  If a proxy or similar is necessary `net.git-fetch-with-cli` may help: network failure seems to have happened",
                Some(Cause::NoNetwork),
            ),
            (
                "error: could not download file from 'x' to 'y'",
                Some(Cause::NoNetwork),
            ),
            (
                "  Temporary failure resolving 'deb.example.org'",
                Some(Cause::NoNetwork),
            ),
            ("error[E0308]: mismatched types", None),
        ] {
            assert_eq!(find(&[line.to_owned()]), cause, "{line}");
        }
    }
}
