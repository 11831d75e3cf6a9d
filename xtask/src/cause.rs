//! Why a program failed, read from its last words.

/// A reason that lies outside of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It did not reach a server.
    NoNetwork,
    /// It had no room to write.
    NoRoom,
}

/// In the words of the system.
const NO_ROOM: [&str; 3] = [
    "No space left on device",
    "Disk quota exceeded",
    "File too large (os error 27)",
];

/// In the words of pip, cargo, rustup and apt.
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

/// The cause that a program's lines name, if any. A full disk comes first: a download that has no room left is told as
/// both.
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
