//! A connection with its buffers: bytes read and not yet used, bytes made and not yet sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroize as _;

use crate::record::Tally;

/// A byte stream: TCP today, TLS over it where a rule needs to look inside.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// First size of a read buffer. Holds a usual head, and is what a resting connection costs.
const BUFFER_START: usize = 8 * 1024;
/// Size a read buffer grows to while bulk flows: fewer, larger reads cost a tenth less processor time than at 64 KiB.
const BUFFER_MAX: usize = 256 * 1024;

/// Bytes that were read and not yet used.
#[derive(Default)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read filled all there was room for.
    filled: bool,
}

impl Buffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "more used than there was");
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Gives back what bulk made it grow to.
    pub(crate) fn settle(&mut self) {
        if self.is_empty() && self.data.len() > BUFFER_START {
            *self = Self::default();
        }
    }

    /// Reads once, up to this many bytes, into a buffer that is empty and stays as large as it was made first.
    pub(crate) fn poll_read<S: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut S,
        size: usize,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_empty(), "bytes would be lost");
        if self.data.len() < size {
            self.data = vec![0; size];
        }
        let mut buf = ReadBuf::new(&mut self.data[..size]);
        ready!(Pin::new(io).poll_read(cx, &mut buf))?;
        let count = buf.filled().len();
        (self.start, self.end) = (0, count);
        Poll::Ready(Ok(count))
    }

    fn room(&mut self) -> &mut [u8] {
        if self.is_empty() && (self.filled || self.data.is_empty()) && self.data.len() < BUFFER_MAX
        {
            let size = (self.data.len() * 2).clamp(BUFFER_START, BUFFER_MAX);
            self.data = vec![0; size];
        }
        if self.end == self.data.len() {
            if self.start > 0 {
                self.data.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                let size = (self.data.len() * 2).clamp(BUFFER_START, BUFFER_MAX);
                self.data.resize(size, 0);
            }
        }
        &mut self.data[self.end..]
    }
}

/// A stream with its buffers and counts.
pub(crate) struct Conn<S> {
    pub(crate) io: S,
    pub(crate) input: Buffer,
    pub(crate) output: Vec<u8>,
    sent: usize,
    /// Bytes were passed that the stream may hold back: TLS takes more than it can send.
    held: bool,
    /// The other side has ended its direction.
    pub(crate) eof: bool,
    /// Bytes read off the stream.
    pub(crate) read: u64,
    /// Bytes taken out of `input`.
    pub(crate) used: u64,
    /// Bytes written to the stream.
    pub(crate) written: u64,
}

impl<S: Stream> Conn<S> {
    pub(crate) fn new(io: S) -> Self {
        Self {
            io,
            input: Buffer::default(),
            output: Vec::new(),
            sent: 0,
            held: false,
            eof: false,
            read: 0,
            used: 0,
            written: 0,
        }
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.used += count as u64;
        self.input.consume(count);
    }

    /// Overwrites the first bytes that were made and sent: they held a secret.
    pub(crate) fn wipe_output(&mut self, count: usize) {
        if self.output.is_empty() && count <= self.output.capacity() {
            self.output.resize(count, 0);
            self.output.as_mut_slice().zeroize();
            self.output.clear();
        }
    }

    /// Whether everything made has been sent.
    pub(crate) fn flushed(&self) -> bool {
        self.output.is_empty()
    }

    /// Bytes taken from and given to this side so far.
    pub(crate) fn tally(&self) -> Tally {
        Tally {
            up: self.used,
            down: self.written,
        }
    }

    /// Counts that change whenever a byte moves.
    pub(crate) fn progress(&self) -> u64 {
        self.read + self.written
    }

    /// Reads once into `input`. Ready with 0 at the end of the stream, and when `input` is as large as it may be.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.eof {
            return Poll::Ready(Ok(0));
        }
        let room = self.input.room();
        let size = room.len();
        if size == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut buf = ReadBuf::new(room);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        let count = buf.filled().len();
        self.eof = count == 0;
        self.input.end += count;
        self.input.filled = count == size;
        self.read += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Sends what is in `output`, and what the stream held back.
    pub(crate) fn poll_flush_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.output.len() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.output[self.sent..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
            self.written += count as u64;
        }
        if !self.output.is_empty() || self.held {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.output.clear();
            self.sent = 0;
            self.held = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes up to `count` bytes of this connection's `input` to `to`, without a copy.
    pub(crate) fn poll_pass<T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Conn<T>,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(to.flushed(), "bytes made earlier go first");
        let passed = ready!(Pin::new(&mut to.io).poll_write(cx, &self.input.bytes()[..count]))?;
        if passed == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        to.written += passed as u64;
        to.held = true;
        self.consume(passed);
        Poll::Ready(Ok(passed))
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx)).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.extend_from_slice(bytes);
        std::future::poll_fn(|cx| self.poll_flush_output(cx)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_with_bulk_and_shrinks_at_rest() {
        let mut buffer = Buffer::default();
        let mut sizes = Vec::new();
        for _ in 0..8 {
            let room = buffer.room().len();
            sizes.push(room);
            buffer.end += room;
            buffer.filled = true;
            buffer.consume(room);
        }
        assert_eq!(sizes[0], BUFFER_START);
        assert_eq!(sizes[7], BUFFER_MAX);
        buffer.settle();
        assert_eq!(buffer.room().len(), BUFFER_START);
    }

    #[test]
    fn bytes_kept_move_to_the_front_when_room_is_needed() {
        let mut buffer = Buffer::default();
        let room = buffer.room().len();
        buffer.end = room;
        buffer.data[room - 1] = 7;
        buffer.consume(room - 1);
        assert!(!buffer.room().is_empty());
        assert_eq!(buffer.bytes(), [7]);
    }
}
