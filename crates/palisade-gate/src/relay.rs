//! Connections that come framed, where the boundary cannot hand sockets out.
//!
//! What a stream says of its destination is the inside's word, as it is the kernel's elsewhere, and worth the same: it is what
//! the agent asks for, and is decided upon.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use palisade_protocol::{
    FrameError, OPENING_LEN, RELAY_FRAME_MAX, RELAY_HEAD_LEN, RelayFrame, RelayOpening,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::conn::{Conn, Stream};
use crate::detect::serve_proxy;
use crate::dns::answer::answer;
use crate::shared::Shared;
use crate::transparent::serve_transparent;

/// Longest query, as over UDP.
const QUERY_MAX: usize = 1500;

/// Serves one relayed stream.
pub(crate) async fn serve<S: Stream>(shared: Arc<Shared>, mut carrier: S) {
    let limits = &shared.limits;
    let mut bytes = [0; OPENING_LEN];
    let Ok(Ok(_)) = timeout(limits.hello_time, carrier.read_exact(&mut bytes)).await else {
        // Whoever connects and says nothing has asked for nothing.
        return;
    };
    let relayed = Relayed::new(carrier);
    match RelayOpening::decode(&bytes) {
        Ok(RelayOpening::Proxy) => serve_proxy(shared, Conn::new(relayed)).await,
        Ok(RelayOpening::Transparent(original)) => {
            serve_transparent(shared, Conn::new(relayed), original).await;
        }
        Ok(RelayOpening::Dns) => serve_dns(&shared, relayed.carrier).await,
        Err(FrameError) => {}
    }
}

/// Each frame is a query, as a datagram would be.
async fn serve_dns<S: Stream>(shared: &Shared, mut carrier: S) {
    let mut query = vec![0; QUERY_MAX];
    loop {
        let mut head = [0; RELAY_HEAD_LEN];
        let read = timeout(shared.limits.tunnel_idle, carrier.read_exact(&mut head));
        let (Ok(Ok(_)), Ok(RelayFrame::Data(length))) = (read.await, RelayFrame::of_head(head))
        else {
            return;
        };
        let Some(query) = query.get_mut(..length) else {
            return;
        };
        let read = timeout(shared.limits.stall, carrier.read_exact(query));
        let Ok(Ok(_)) = read.await else {
            return;
        };
        let Some(reply) = answer(shared, query) else {
            continue;
        };
        let mut framed = RelayFrame::Data(reply.len()).head().to_vec();
        framed.extend_from_slice(&reply);
        let written = timeout(shared.limits.stall, carrier.write_all(&framed));
        let Ok(Ok(())) = written.await else {
            return;
        };
    }
}

/// The bytes of a connection, out of and into their frames.
pub(crate) struct Relayed<S> {
    carrier: S,
    reading: Reading,
    /// Of the frame that is being written: what is not out yet.
    pending: Vec<u8>,
    /// How much of `pending` is out.
    sent: usize,
    ended: bool,
}

enum Reading {
    /// A head, of which so many bytes are there.
    Head([u8; RELAY_HEAD_LEN], usize),
    /// So many bytes of a frame are to come.
    Data(usize),
    Ended,
}

impl<S: Stream> Relayed<S> {
    fn new(carrier: S) -> Self {
        Self {
            carrier,
            reading: Reading::Head([0; RELAY_HEAD_LEN], 0),
            pending: Vec::new(),
            sent: 0,
            ended: false,
        }
    }

    /// Writes what is not out yet.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.pending.len() {
            let bytes = &self.pending[self.sent..];
            match ready!(Pin::new(&mut self.carrier).poll_write(cx, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.pending.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncRead for Relayed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.reading {
                Reading::Ended => return Poll::Ready(Ok(())),
                Reading::Head(head, there) => {
                    let mut rest = ReadBuf::new(&mut head[*there..]);
                    ready!(Pin::new(&mut this.carrier).poll_read(cx, &mut rest))?;
                    match rest.filled().len() {
                        // It was cut: an end that was meant is said.
                        0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                        count => *there += count,
                    }
                    if *there < RELAY_HEAD_LEN {
                        continue;
                    }
                    this.reading = match RelayFrame::of_head(*head) {
                        Ok(RelayFrame::Data(length)) => Reading::Data(length),
                        Ok(RelayFrame::End) => Reading::Ended,
                        Err(FrameError) => {
                            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                        }
                    };
                }
                Reading::Data(left) => {
                    if into.remaining() == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    let room = into.initialize_unfilled_to(into.remaining().min(*left));
                    let mut room = ReadBuf::new(room);
                    ready!(Pin::new(&mut this.carrier).poll_read(cx, &mut room))?;
                    let count = room.filled().len();
                    if count == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    into.advance(count);
                    *left -= count;
                    if *left == 0 {
                        this.reading = Reading::Head([0; RELAY_HEAD_LEN], 0);
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: Stream> AsyncWrite for Relayed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        if this.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(RELAY_FRAME_MAX);
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        // A frame that was begun has to be ended as it was, whatever the caller comes with the next time: so it is taken over.
        this.pending
            .extend_from_slice(&RelayFrame::Data(count).head());
        this.pending.extend_from_slice(&bytes[..count]);
        match this.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.carrier).poll_flush(cx)
    }

    /// The carrier stays as it is: it goes when both directions are done.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ended {
            ready!(this.poll_send(cx))?;
            this.ended = true;
            this.pending.extend_from_slice(&RelayFrame::End.head());
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.carrier).poll_flush(cx)
    }
}

#[cfg(test)]
mod tests;
