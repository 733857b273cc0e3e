//! Moves one body, or one direction of a tunnel, from one connection to the other.

use std::fmt;
use std::io;
use std::io::Write as _;
use std::task::{Context, Poll, ready};

use palisade_credential::DecodeError;
use palisade_policy::CredentialName;

use crate::conn::{Conn, Stream};
use crate::http::body::{BodyError, Decoder, Step};
use crate::http::filter::Filter;
use crate::http::frames::FrameError;
use crate::http::head::Framing;
use crate::http::trailers::Kept;

/// Bytes gathered for one write before the rest waits. Small bodies leave together with their head.
const GATHER: usize = 64 * 1024;

/// What broke the flow.
#[derive(Debug)]
pub(crate) enum PumpError {
    Read(io::Error),
    Write(io::Error),
    Body(BodyError),
    Coding(DecodeError),
    Frame(FrameError),
    /// The placeholder of this credential came by.
    Placeholder(CredentialName),
}

impl fmt::Display for PumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "read: {error}"),
            Self::Write(error) => write!(f, "write: {error}"),
            Self::Body(error) => error.fmt(f),
            Self::Coding(error) => error.fmt(f),
            Self::Frame(error) => error.fmt(f),
            Self::Placeholder(name) => write!(f, "the placeholder of credential {name}"),
        }
    }
}

/// One body on its way.
pub(crate) struct Pump {
    decoder: Decoder,
    filter: Filter,
    /// Trailers that are to be passed on.
    trailers: Option<Kept>,
    /// Frame the body as chunks on the way out.
    chunked: bool,
    /// Pass the end of the stream on, as a tunnel does.
    shut: bool,
    stage: Stage,
    /// Bytes wait in the output although more was read after them.
    owed: bool,
    /// What broke the flow, to be told once all that came before it is sent.
    broken: Option<PumpError>,
    /// What the filter let through, before it is framed.
    scratch: Vec<u8>,
    /// It waits for the receiving side.
    pub(crate) held_up: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Moving,
    Flushing,
    Shutting,
    Done,
}

impl Pump {
    /// A body that comes framed like this; it goes out in chunks, or as it is.
    pub(crate) fn body(framing: Framing, chunked: bool) -> Self {
        Self {
            decoder: Decoder::new(framing),
            filter: Filter::None,
            trailers: None,
            chunked,
            shut: false,
            stage: Stage::Moving,
            owed: false,
            broken: None,
            scratch: Vec::new(),
            held_up: false,
        }
    }

    /// Everything until the end, which is passed on.
    pub(crate) fn raw() -> Self {
        Self {
            shut: true,
            ..Self::body(Framing::UntilEnd, false)
        }
    }

    /// The same, looked at on its way.
    pub(crate) fn through(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// The same, with those of its trailers that may pass. Only chunks have any.
    pub(crate) fn with_trailers(mut self) -> Self {
        self.trailers = self.chunked.then(Kept::default);
        self
    }

    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Bytes wait for more of what might be a secret.
    pub(crate) fn is_holding(&self) -> bool {
        self.filter.is_holding()
    }

    /// Secrets redacted since this was asked last.
    pub(crate) fn take_found(&mut self) -> u64 {
        self.filter.take_found()
    }

    /// Sends on what is held back, without an end to wait for.
    pub(crate) fn release<B>(&mut self, to: &mut Conn<B>) {
        let mut made = std::mem::take(&mut self.scratch);
        self.filter.release(&mut made);
        self.frame(&made, &mut to.output);
        made.clear();
        self.scratch = made;
    }

    /// Moves what can be moved. Ready once all of the body is sent.
    pub(crate) fn poll<A: Stream, B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Conn<A>,
        to: &mut Conn<B>,
    ) -> Poll<Result<(), PumpError>> {
        self.held_up = false;
        if self.stage == Stage::Moving {
            if self.broken.is_none() {
                match ready!(self.poll_move(cx, from, to)) {
                    Ok(()) => self.stage = Stage::Flushing,
                    Err(error @ (PumpError::Read(_) | PumpError::Body(_))) if self.owed => {
                        self.broken = Some(error);
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            if self.broken.is_some() {
                ready!(self.poll_flush(cx, to))?;
            }
            if let Some(error) = self.broken.take() {
                return Poll::Ready(Err(error));
            }
        }
        if self.stage == Stage::Flushing {
            ready!(self.poll_flush(cx, to))?;
            self.stage = if self.shut {
                Stage::Shutting
            } else {
                Stage::Done
            };
        }
        if self.stage == Stage::Shutting {
            // The other side may be gone already: then there is nobody to tell.
            let _ = ready!(to.poll_shutdown(cx));
            self.stage = Stage::Done;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_move<A: Stream, B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Conn<A>,
        to: &mut Conn<B>,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            if self.filter.has_more() {
                ready!(self.poll_room(cx, to))?;
                self.push(&mut &[][..], to)?;
                continue;
            }
            match self
                .decoder
                .step(from.input.bytes())
                .map_err(PumpError::Body)?
            {
                Step::Skip(count) => from.consume(count),
                Step::Trailer(count) => {
                    if let Some(kept) = &mut self.trailers {
                        let line = &from.input.bytes()[..count - 2];
                        kept.line(line, |value| self.filter.whole(value));
                    }
                    from.consume(count);
                }
                Step::Data(count) => ready!(self.poll_data(cx, count, from, to))?,
                Step::Done => {
                    self.finish(to)?;
                    return Poll::Ready(Ok(()));
                }
                Step::More => {
                    if ready!(self.poll_more(cx, from, to))? == 0 {
                        self.decoder.end().map_err(PumpError::Body)?;
                    }
                }
            }
        }
    }

    /// Reads once. What was made waits for more to be sent with it only while more is there at once.
    fn poll_more<A: Stream, B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Conn<A>,
        to: &mut Conn<B>,
    ) -> Poll<Result<usize, PumpError>> {
        ready!(self.poll_room(cx, to))?;
        if let Poll::Ready(count) = from.poll_fill(cx) {
            self.owed = !to.flushed();
            return Poll::Ready(count.map_err(PumpError::Read));
        }
        ready!(self.poll_flush(cx, to))?;
        Poll::Pending
    }

    /// Moves some of `count` bytes of the body, which stand at the front of the input.
    fn poll_data<A: Stream, B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        count: usize,
        from: &mut Conn<A>,
        to: &mut Conn<B>,
    ) -> Poll<Result<(), PumpError>> {
        self.filter.look(&from.input.bytes()[..count])?;
        if self.filter.changes() {
            ready!(self.poll_room(cx, to))?;
            let count = count.min(GATHER);
            let mut rest = &from.input.bytes()[..count];
            let result = self.push(&mut rest, to);
            let taken = count - rest.len();
            from.consume(taken);
            self.decoder.took(taken);
            return Poll::Ready(result);
        }
        if !self.chunked && to.flushed() {
            self.held_up = true;
            let passed = ready!(from.poll_pass(cx, to, count)).map_err(PumpError::Write)?;
            self.held_up = false;
            self.took(passed);
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_room(cx, to))?;
        let count = count.min(GATHER);
        self.frame(&from.input.bytes()[..count], &mut to.output);
        from.consume(count);
        self.took(count);
        Poll::Ready(Ok(()))
    }

    fn took(&mut self, count: usize) {
        self.decoder.took(count);
        self.filter.took(count);
    }

    /// Lets bytes through the filter and onto the output.
    fn push<B>(&mut self, data: &mut &[u8], to: &mut Conn<B>) -> Result<(), PumpError> {
        if !self.chunked {
            return self.filter.push(data, &mut to.output);
        }
        let mut made = std::mem::take(&mut self.scratch);
        let result = self.filter.push(data, &mut made);
        self.frame(&made, &mut to.output);
        made.clear();
        self.scratch = made;
        result
    }

    fn finish<B>(&mut self, to: &mut Conn<B>) -> Result<(), PumpError> {
        let mut made = std::mem::take(&mut self.scratch);
        self.filter.finish(&mut made)?;
        self.frame(&made, &mut to.output);
        if self.chunked {
            to.output.extend_from_slice(b"0\r\n");
            if let Some(kept) = &self.trailers {
                to.output.extend_from_slice(kept.lines());
            }
            to.output.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    fn frame(&self, data: &[u8], output: &mut Vec<u8>) {
        if data.is_empty() {
            return;
        }
        if self.chunked {
            // Writing to a vector cannot fail.
            let _ = write!(output, "{:x}\r\n", data.len());
        }
        output.extend_from_slice(data);
        if self.chunked {
            output.extend_from_slice(b"\r\n");
        }
    }

    /// Ready once there is room for more in the output.
    fn poll_room<B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Conn<B>,
    ) -> Poll<Result<(), PumpError>> {
        if to.output.len() < GATHER {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(cx, to)
    }

    fn poll_flush<B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Conn<B>,
    ) -> Poll<Result<(), PumpError>> {
        self.held_up = true;
        ready!(to.poll_flush_output(cx)).map_err(PumpError::Write)?;
        self.held_up = false;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::time::Duration;

    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, DuplexStream, ReadBuf};

    use super::*;

    /// Takes more than it can send, as TLS does, and sends the rest when it is flushed or written to.
    struct Holding {
        io: DuplexStream,
        held: Vec<u8>,
    }

    impl Holding {
        fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            while !self.held.is_empty() {
                let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.held))?;
                self.held.drain(..count);
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Holding {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Holding {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            ready!(self.poll_send(cx))?;
            self.held.extend_from_slice(bytes);
            match self.poll_send(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(bytes.len())),
            }
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_send(cx)
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_a_stream_holds_back_is_sent_without_more_to_come() {
        for (size, framing) in [
            (100_000, Framing::Length(100_000)),
            (100_000, Framing::UntilEnd),
        ] {
            let (mut origin, from) = tokio::io::duplex(1 << 20);
            let (to, mut reader) = tokio::io::duplex(1000);
            let holding = Holding {
                io: to,
                held: Vec::new(),
            };
            tokio::io::AsyncWriteExt::write_all(&mut origin, &vec![7; size])
                .await
                .unwrap();
            let ended = framing == Framing::UntilEnd;
            // Either it stays open with nothing more to come, or it ends.
            let origin = (!ended).then_some(origin);
            let mut ends = (Conn::new(from), Conn::new(holding));
            let mut pump = Pump::body(framing, false);
            let moved = std::future::poll_fn(|cx| pump.poll(cx, &mut ends.0, &mut ends.1));
            let mut read = vec![0; size];
            let both = async { tokio::join!(moved, reader.read_exact(&mut read)) };
            let done = tokio::time::timeout(Duration::from_secs(10), both).await;
            let (moved, count) = done.expect("the last bytes are sent");
            moved.unwrap();
            assert_eq!(count.unwrap(), size);
            drop(origin);
        }
    }
}
