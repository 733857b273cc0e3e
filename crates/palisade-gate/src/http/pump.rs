//! Moves one body, or one direction of a tunnel, from one connection to the other.

use std::fmt;
use std::io;
use std::io::Write as _;
use std::task::{Context, Poll, ready};

use crate::conn::{Conn, Stream};
use crate::http::body::{BodyError, Decoder, Step};
use crate::http::head::Framing;

/// Bytes gathered for one write before the rest waits. Small bodies leave together with their head.
const GATHER: usize = 64 * 1024;

/// What broke the flow.
#[derive(Debug)]
pub(crate) enum PumpError {
    Read(io::Error),
    Write(io::Error),
    Body(BodyError),
}

impl fmt::Display for PumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "read: {error}"),
            Self::Write(error) => write!(f, "write: {error}"),
            Self::Body(error) => error.fmt(f),
        }
    }
}

/// One body on its way.
pub(crate) struct Pump {
    decoder: Decoder,
    /// Frame the body as chunks on the way out.
    chunked: bool,
    /// Pass the end of the stream on, as a tunnel does.
    shut: bool,
    stage: Stage,
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
    /// A body framed like this; it goes out in the same framing, except that `chunked` may be turned off for
    /// receivers of HTTP/1.0.
    pub(crate) fn body(framing: Framing, chunked_allowed: bool) -> Self {
        Self {
            decoder: Decoder::new(framing),
            chunked: framing == Framing::Chunked && chunked_allowed,
            shut: false,
            stage: Stage::Moving,
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

    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
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
            ready!(self.poll_move(cx, from, to))?;
            self.stage = Stage::Flushing;
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
            match self
                .decoder
                .step(from.input.bytes())
                .map_err(PumpError::Body)?
            {
                Step::Skip(count) => from.consume(count),
                Step::Data(count) if !self.chunked && to.flushed() => {
                    self.held_up = true;
                    let passed = ready!(from.poll_pass(cx, to, count)).map_err(PumpError::Write)?;
                    self.held_up = false;
                    self.decoder.took(passed);
                }
                Step::Data(_) if to.output.len() >= GATHER => ready!(self.poll_flush(cx, to))?,
                Step::Data(count) => {
                    let count = count.min(GATHER);
                    self.gather(from, to, count);
                    self.decoder.took(count);
                }
                Step::Done => {
                    if self.chunked {
                        to.output.extend_from_slice(b"0\r\n\r\n");
                    }
                    return Poll::Ready(Ok(()));
                }
                Step::More => {
                    ready!(self.poll_flush(cx, to))?;
                    if ready!(from.poll_fill(cx)).map_err(PumpError::Read)? == 0 {
                        self.decoder.end().map_err(PumpError::Body)?;
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }

    fn gather<A: Stream, B: Stream>(&self, from: &mut Conn<A>, to: &mut Conn<B>, count: usize) {
        let data = &from.input.bytes()[..count];
        if self.chunked {
            // Writing to a vector cannot fail.
            let _ = write!(to.output, "{count:x}\r\n");
        }
        to.output.extend_from_slice(data);
        if self.chunked {
            to.output.extend_from_slice(b"\r\n");
        }
        from.consume(count);
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
