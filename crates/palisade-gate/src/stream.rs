//! The streams that connections are made of.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use palisade_tls::ClientStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::conn::{Buffer, Stream};

/// A connection to a server, or to the operator's proxy on the way to one.
pub(crate) enum UpstreamStream {
    Plain(TcpStream),
    Tls(Box<ClientStream<ReadAhead<TcpStream>>>),
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

/// A stream that reads ahead while bulk flows: the TLS library asks for 4 KiB at a time, so that a record of 16 KiB would
/// take five system calls. It may begin with bytes that were read before.
pub(crate) struct ReadAhead<S> {
    ahead: Buffer,
    io: S,
    /// The last read filled all that was asked for, so there is more.
    bulk: bool,
}

/// How far to read ahead. A resting connection has no buffer.
const AHEAD: usize = 64 * 1024;

impl<S: Stream> ReadAhead<S> {
    /// The stream, after these bytes of it.
    pub(crate) fn new(seen: Buffer, io: S) -> Self {
        Self {
            ahead: seen,
            io,
            bulk: false,
        }
    }

    fn poll_direct(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.bulk = buf.remaining() == 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            if !this.bulk || buf.remaining() >= AHEAD {
                return this.poll_direct(cx, buf);
            }
            match this.ahead.poll_read(cx, &mut this.io, AHEAD) {
                Poll::Ready(count) => this.bulk = count? == AHEAD,
                Poll::Pending => {
                    // The flow stopped: a connection may rest for long.
                    this.ahead = Buffer::default();
                    this.bulk = false;
                    return Poll::Pending;
                }
            }
        }
        let count = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead.bytes()[..count]);
        this.ahead.consume(count);
        if this.ahead.is_empty() && !this.bulk {
            this.ahead = Buffer::default();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    /// The TLS library hands over several records at once.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn bulk_is_read_ahead_and_a_connection_at_rest_keeps_no_buffer() {
        let sent: Vec<u8> = (0..300_001_u32).map(|n| n.to_le_bytes()[0]).collect();
        for asked in [1, 100, 4096, 20_000, AHEAD + 1] {
            let (mut far, near) = tokio::io::duplex(1 << 20);
            far.write_all(&sent).await.unwrap();
            let mut stream = ReadAhead::new(Buffer::default(), near);
            let mut got = Vec::new();
            let mut most = 0;
            while got.len() < sent.len() {
                let mut piece = vec![0; asked];
                let count = stream.read(&mut piece).await.unwrap();
                got.extend_from_slice(&piece[..count]);
                most = most.max(stream.ahead.len());
            }
            assert!(got == sent, "{asked}");
            assert_eq!(most > 0, asked <= AHEAD, "{asked}");
            let mut piece = [0; 10];
            let idle = std::future::poll_fn(|cx| {
                let mut buf = ReadBuf::new(&mut piece);
                Poll::Ready(Pin::new(&mut stream).poll_read(cx, &mut buf))
            });
            assert!(idle.await.is_pending());
            assert_eq!(stream.ahead.capacity(), 0, "{asked}");
            far.write_all(b"more").await.unwrap();
            drop(far);
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"more");
        }
    }
}
