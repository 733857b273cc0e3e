//! Content codings. The first byte chooses the codings, the second the size of the pieces; the rest is a body, and also a
//! text that is encoded and has to come back.
#![no_main]

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use libfuzzer_sys::fuzz_target;
use palisade_credential::{Coding, ContentDecoder, DecodeError, Progress};

/// Where a bomb is no longer followed.
const ENOUGH: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let [choice, piece, body @ ..] = bytes else {
        return;
    };
    let codings: &[Coding] = match choice % 8 {
        0 => &[Coding::Gzip],
        1 => &[Coding::Deflate],
        2 => &[Coding::Brotli],
        3 => &[Coding::Zstd],
        4 => &[Coding::Gzip, Coding::Gzip],
        5 => &[Coding::Brotli, Coding::Deflate],
        6 => &[Coding::Gzip, Coding::Zstd],
        _ => &[],
    };
    let piece = usize::from(*piece).max(1);
    let (whole, end) = decode(codings, body, body.len().max(1));
    let (pieces, other_end) = decode(codings, body, piece);
    // An error may be seen a piece earlier or later; until then the same text has come out.
    let common = whole.len().min(pieces.len());
    assert_eq!(whole[..common], pieces[..common]);
    if common < ENOUGH {
        assert_eq!(end.is_ok(), other_end.is_ok(), "{end:?} {other_end:?}");
        if end.is_ok() {
            assert_eq!(whole.len(), pieces.len());
        }
    }

    for (coding, encoded) in [
        (
            Coding::Gzip,
            finish(
                GzEncoder::new(Vec::new(), Compression::fast()),
                body,
                GzEncoder::finish,
            ),
        ),
        (
            Coding::Deflate,
            finish(
                ZlibEncoder::new(Vec::new(), Compression::fast()),
                body,
                ZlibEncoder::finish,
            ),
        ),
        (
            Coding::Deflate,
            finish(
                DeflateEncoder::new(Vec::new(), Compression::fast()),
                body,
                DeflateEncoder::finish,
            ),
        ),
    ] {
        assert_eq!(
            decode(&[coding], &encoded, piece),
            (body.to_vec(), Ok(())),
            "{coding:?}"
        );
    }
});

fn decode(codings: &[Coding], body: &[u8], piece: usize) -> (Vec<u8>, Result<(), DecodeError>) {
    let mut decoder = ContentDecoder::new(codings);
    let mut out = Vec::new();
    for mut part in body.chunks(piece) {
        loop {
            let before = (out.len(), part.len());
            let progress = match decoder.push(&mut part, &mut out) {
                Ok(progress) => progress,
                Err(error) => return (out, Err(error)),
            };
            assert!(out.len() - before.0 <= ContentDecoder::STEP);
            if progress == Progress::Hungry {
                assert!(part.is_empty());
                break;
            }
            assert_ne!(
                before,
                (out.len(), part.len()),
                "neither input nor output moves"
            );
            if out.len() >= ENOUGH {
                return (out, Ok(()));
            }
        }
    }
    let end = decoder.finish();
    (out, end)
}

fn finish<E: std::io::Write>(
    mut encoder: E,
    body: &[u8],
    end: impl FnOnce(E) -> std::io::Result<Vec<u8>>,
) -> Vec<u8> {
    encoder.write_all(body).expect("a vector takes everything");
    end(encoder).expect("a vector takes everything")
}
