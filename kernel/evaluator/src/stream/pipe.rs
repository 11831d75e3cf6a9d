//! The order of a pipe's bytes among the frames of the cell process.
//!
//! Started programs and C code write to a pipe, Rust code sends frames. The kernel may read either
//! long after it was written. So each frame carries the time at which it was sent and the number of
//! bytes that the pipe held then: together with the times of the reads, they determine the bytes
//! that precede the frame.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use crate::link;

/// Number of reads whose time is kept. A frame is handled long before so many further reads.
const READS_KEPT: usize = 256;

/// The bytes of one pipe, in order.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// The bytes that were read but do not precede a frame that was handled.
    held: VecDeque<u8>,
    /// Number of bytes read so far.
    read: u64,
    /// The latest reads, oldest first: the time, and the number of bytes read until then.
    reads: VecDeque<(u64, u64)>,
    /// Number of bytes read until the oldest of these reads.
    forgotten: u64,
}

impl Pipe {
    /// Reads the bytes in the pipe, at most `most`. Returns whether it held any.
    pub(super) fn fill(&mut self, pipe: impl AsFd, most: usize) -> bool {
        // Checking for bytes first avoids a blocking read. The descriptor must stay blocking,
        // because the writers may share it.
        let waiting = rustix::io::ioctl_fionread(&pipe).unwrap_or(0);
        let size = usize::try_from(waiting).map_or(most, |waiting| waiting.min(most));
        if size == 0 {
            return false;
        }
        let mut bytes = vec![0; size];
        let Ok(length) = rustix::io::read(&pipe, &mut bytes[..]) else {
            return false;
        };
        self.add(&bytes[..length], link::now());
        length > 0
    }

    fn add(&mut self, bytes: &[u8], time: u64) {
        self.held.extend(bytes);
        self.read += bytes.len() as u64;
        self.reads.push_back((time, self.read));
        if self.reads.len() > READS_KEPT
            && let Some((_, read)) = self.reads.pop_front()
        {
            self.forgotten = read;
        }
    }

    /// Takes the bytes that precede a frame; `waiting` is the number of bytes that the pipe held
    /// when the frame was sent.
    pub(super) fn before(&mut self, pipe: impl AsFd, time: u64, waiting: u32) -> Vec<u8> {
        let end = self.read_at(time) + u64::from(waiting);
        while self.read < end && self.fill(&pipe, self.missing(end)) {}
        self.take_until(end)
    }

    /// Takes all bytes that were read.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        self.held.drain(..).collect()
    }

    /// Returns the number of bytes that had been read at a time.
    fn read_at(&self, time: u64) -> u64 {
        let earlier = self.reads.iter().rev().find(|(at, _)| *at <= time);
        earlier.map_or(self.forgotten, |(_, read)| *read)
    }

    fn missing(&self, end: u64) -> usize {
        usize::try_from(end - self.read)
            .map_or(link::MAX_PAYLOAD, |bytes| bytes.min(link::MAX_PAYLOAD))
    }

    fn take_until(&mut self, end: u64) -> Vec<u8> {
        let taken = self.read - self.held.len() as u64;
        let count = usize::try_from(end.saturating_sub(taken)).unwrap_or(usize::MAX);
        self.held.drain(..count.min(self.held.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_came_after_a_frame_wait_for_the_next_one() {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let write = |text: &[u8]| rustix::io::write(&writer, text).expect("there is room");
        let mut pipe = Pipe::default();
        write(b"one");
        let first = link::now();
        write(b"two");
        let second = link::now();
        // The kernel reads everything before it handles the first frame.
        assert!(pipe.fill(&reader, link::MAX_PAYLOAD));
        assert_eq!(pipe.before(&reader, first, 3), b"one");
        assert_eq!(pipe.before(&reader, second, 6), b"two");
        // A frame that was sent after the read: all bytes so far precede it.
        write(b"three");
        assert!(pipe.fill(&reader, link::MAX_PAYLOAD));
        write(b"four");
        let third = link::now();
        write(b"five");
        assert_eq!(pipe.before(&reader, third, 4), b"threefour");
        assert_eq!(pipe.rest(), b"");
        assert!(pipe.fill(&reader, link::MAX_PAYLOAD));
        assert_eq!(pipe.rest(), b"five");
        assert!(!pipe.fill(&reader, link::MAX_PAYLOAD));
    }

    #[test]
    fn old_reads_are_forgotten_but_counted() {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let mut pipe = Pipe::default();
        for _ in 0..2 * READS_KEPT {
            rustix::io::write(&writer, b"x").expect("there is room");
            assert!(pipe.fill(&reader, 1));
        }
        assert_eq!(pipe.reads.len(), READS_KEPT);
        assert_eq!(pipe.before(&reader, 0, 0).len(), READS_KEPT);
        assert_eq!(pipe.rest().len(), READS_KEPT);
    }
}
