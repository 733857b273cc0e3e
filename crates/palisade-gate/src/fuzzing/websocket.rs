//! WebSocket frames.

use std::sync::Arc;

use palisade_credential::{Placeholders, Redactor};

use crate::http::frames::{FrameError, FrameRedaction, FrameScan};

/// What a server's frames became.
#[derive(Debug, PartialEq, Eq)]
pub struct SeenFrames {
    /// What the agent gets.
    pub out: Vec<u8>,
    /// They ended in a frame that cannot be searched.
    pub refused: bool,
}

/// Redacts what a server sends, at once and in pieces of `piece` bytes: the same comes out.
pub fn websocket_redaction(redactor: &Arc<Redactor>, bytes: &[u8], piece: usize) -> SeenFrames {
    let whole = redact(redactor, bytes, bytes.len().max(1));
    assert_eq!(redact(redactor, bytes, piece.max(1)), whole);
    let (out, end) = whole;
    SeenFrames {
        out,
        refused: end.is_err(),
    }
}

fn redact(
    redactor: &Arc<Redactor>,
    bytes: &[u8],
    piece: usize,
) -> (Vec<u8>, Result<u64, FrameError>) {
    let mut redaction = FrameRedaction::new(redactor);
    let mut out = Vec::new();
    let mut came = 0;
    for part in bytes.chunks(piece) {
        came += part.len();
        if let Err(error) = redaction.push(part, &mut out) {
            return (out, Err(error));
        }
        assert!(out.len() <= came, "more comes out than went in");
    }
    redaction.release(&mut out);
    assert!(!redaction.is_holding());
    (out, Ok(redaction.take_found()))
}

/// Looks for placeholders in what a client sends, byte by byte and in pieces of `piece` bytes: both find one or neither
/// does. Says after how many bytes it is found.
pub fn websocket_scan(
    placeholders: &Arc<Placeholders>,
    bytes: &[u8],
    piece: usize,
) -> Option<usize> {
    let new = || FrameScan::new(placeholders.scan(), placeholders.scan());
    let mut scan = new();
    let found = bytes
        .iter()
        .position(|byte| scan.push(std::slice::from_ref(byte)).is_some());
    let found = found.map(|at| at + 1);
    let (mut scan, mut came) = (new(), 0);
    for part in bytes.chunks(piece.max(1)) {
        let before = came;
        came += part.len();
        let here = found.is_some_and(|end| (before + 1..=came).contains(&end));
        assert_eq!(scan.push(part).is_some(), here, "up to byte {came}");
        if here {
            break;
        }
    }
    found
}
