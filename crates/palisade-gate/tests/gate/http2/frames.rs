//! An agent or a server that writes frames byte by byte: what the library's would not send.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame as it came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The code of a reset or a goodbye.
    pub(super) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Fields as literals that no table remembers (RFC 7541 section 6.2.2).
pub(super) fn fields(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            // Lengths of seven bits and, beyond them, a variable number (section 5.1).
            if text.len() < 127 {
                out.push(u8::try_from(text.len()).unwrap());
            } else {
                out.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    out.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                out.push(u8::try_from(rest).unwrap());
            }
            out.extend(*text);
        }
    }
    out
}

/// GET of this path at `a.example`, and these fields.
pub(super) fn get(path: &[u8], more: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut all: Vec<(&[u8], &[u8])> = vec![
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"a.example"),
        (b":path", path),
    ];
    all.extend(more);
    fields(&all)
}

/// A connection.
pub(super) struct Raw {
    stream: OwnedReadHalf,
    write: Option<OwnedWriteHalf>,
    seen: Vec<u8>,
    /// The gate has said goodbye.
    pub(super) is_over: bool,
}

impl Raw {
    /// Says hello; what the gate says to that is read later.
    pub(super) async fn new(stream: TcpStream) -> Self {
        let (stream, write) = stream.into_split();
        let mut raw = Self {
            stream,
            write: Some(write),
            seen: Vec::new(),
            is_over: false,
        };
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        raw.send(&frame(SETTINGS, 0, 0, &[])).await;
        raw
    }

    /// The server's end: takes the hello and says its own.
    pub(super) async fn accepted(stream: TcpStream) -> Self {
        let (mut stream, write) = stream.into_split();
        let mut hello = [0; 24];
        let _ = stream.read_exact(&mut hello).await;
        let mut raw = Self {
            stream,
            write: Some(write),
            seen: Vec::new(),
            is_over: false,
        };
        raw.send(&frame(SETTINGS, 0, 0, &[])).await;
        raw
    }

    /// Says no more, and waits for the other side to end too.
    pub(super) async fn end(mut self) {
        self.write = None;
        while self.frame().await.is_some() {}
    }

    /// Sends; the gate may have closed already, which the next read shows.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        if let Some(write) = &mut self.write {
            let _ = write.write_all(bytes).await;
        }
    }

    /// Sends all of these while what comes is read.
    pub(super) fn flood(&mut self, frames: impl Iterator<Item = Vec<u8>> + Send + 'static) {
        let mut write = self.write.take().expect("not flooding yet");
        tokio::spawn(async move {
            for frame in frames {
                if write.write_all(&frame).await.is_err() {
                    return;
                }
            }
            // Held open: the gate is to end it.
            std::future::pending::<()>().await;
        });
    }

    /// The next frame; none at the end.
    pub(super) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if self.seen.len() >= 9 {
                let length = u32::from_be_bytes([0, self.seen[0], self.seen[1], self.seen[2]]);
                let end = 9 + length as usize;
                if self.seen.len() >= end {
                    let all: Vec<u8> = self.seen.drain(..end).collect();
                    return Some(Frame {
                        kind: all[3],
                        stream: u32::from_be_bytes(all[5..9].try_into().unwrap()),
                        payload: all[9..].to_vec(),
                    });
                }
            }
            let mut bytes = [0; 16384];
            let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read(&mut bytes));
            match read.await.expect("the gate says something") {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.seen.extend(&bytes[..count]),
            }
        }
    }

    /// The next frame of one of these kinds; none if the connection ends before.
    pub(super) async fn next(&mut self, kinds: &[u8]) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            if kinds.contains(&frame.kind) {
                return Some(frame);
            }
        }
    }

    /// What this stream comes to: `Ok` with the head of its response, `Err` with the code of its reset or of the
    /// connection's end.
    pub(super) async fn outcome(&mut self, stream: u32) -> Result<Vec<u8>, u32> {
        loop {
            let Some(frame) = self.next(&[HEADERS, RST_STREAM, GOAWAY]).await else {
                return Err(u32::MAX);
            };
            match frame.kind {
                GOAWAY => {
                    self.is_over = true;
                    return Err(frame.code());
                }
                RST_STREAM if frame.stream == stream => return Err(frame.code()),
                HEADERS if frame.stream == stream => return Ok(frame.payload),
                _ => {}
            }
        }
    }
}
