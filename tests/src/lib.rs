//! End-to-end tests: notebooks executed by real clients, conformance judged by official clients.
