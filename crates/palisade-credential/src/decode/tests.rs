use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::{Coding, ContentDecoder, DecodeError, Progress};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(text)
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(text)
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}

fn bare(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(text)
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}

/// What the reference encoders made of [`sample`]: Brotli 11, and zstd 19 with a checksum.
const BROTLI_SAMPLE: &str = include_str!("tests/sample.br.b64");
const ZSTD_SAMPLE: &str = include_str!("tests/sample.zst.b64");

/// 300,000 bytes that compress well, and not into one block.
fn sample() -> Vec<u8> {
    let mut text = Vec::new();
    let mut number: u32 = 1;
    while text.len() < 300_000 {
        number = number.wrapping_mul(1_103_515_245).wrapping_add(12345) & 0x7fff_ffff;
        text.extend_from_slice(
            format!(
                "{{\"event\":{},\"text\":\"the quick brown fox\"}}\n",
                number >> 16 & 15
            )
            .as_bytes(),
        );
    }
    text.truncate(300_000);
    text
}

fn unbase64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    let joined: String = text.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD
        .decode(joined)
        .unwrap_or_default()
}

/// Decodes pieces of this size, one step at a time, and holds each step to its limit.
fn decode(codings: &[Coding], body: &[u8], piece: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = ContentDecoder::new(codings);
    let mut out = Vec::new();
    for mut input in body.chunks(piece.max(1)) {
        loop {
            let before = out.len();
            let progress = decoder.push(&mut input, &mut out)?;
            assert!(out.len() - before <= ContentDecoder::STEP);
            if progress == Progress::Hungry {
                assert!(input.is_empty());
                break;
            }
        }
    }
    decoder.finish()?;
    Ok(out)
}

fn encoded(text: &[u8]) -> Vec<(Coding, Vec<u8>)> {
    vec![
        (Coding::Identity, text.to_vec()),
        (Coding::Gzip, gzip(text)),
        (Coding::Deflate, zlib(text)),
        (Coding::Deflate, bare(text)),
        (Coding::Zstd, zstd(text)),
    ]
}

#[test]
fn c08_what_the_reference_encoders_wrote_is_read() {
    let sample = sample();
    for piece in [1, 7, 1000, usize::MAX] {
        let brotli = decode(&[Coding::Brotli], &unbase64(BROTLI_SAMPLE), piece);
        assert!(brotli.as_ref() == Ok(&sample), "br in pieces of {piece}");
        let zstd = decode(&[Coding::Zstd], &unbase64(ZSTD_SAMPLE), piece);
        assert!(zstd.as_ref() == Ok(&sample), "zstd in pieces of {piece}");
    }
}

#[test]
fn c08_each_coding_is_undone_in_pieces_of_any_size() {
    let sample = sample();
    for (coding, body) in encoded(&sample) {
        for piece in [1, 3, 4096, usize::MAX] {
            let out = decode(&[coding], &body, piece);
            assert!(
                out.as_ref() == Ok(&sample),
                "{coding:?} in pieces of {piece}"
            );
        }
    }
}

#[test]
fn codings_on_top_of_one_another_are_undone_in_turn() {
    let sample = sample();
    let body = zstd(&gzip(&sample));
    for piece in [1, 100, usize::MAX] {
        let out = decode(&[Coding::Gzip, Coding::Zstd], &body, piece);
        assert!(out.as_ref() == Ok(&sample), "in pieces of {piece}");
    }
    let wrong = decode(&[Coding::Zstd, Coding::Gzip], &body, 100);
    assert_eq!(wrong, Err(DecodeError::Invalid(Coding::Gzip)));
}

#[test]
fn members_and_frames_follow_one_another() {
    let gzips = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
    assert_eq!(decode(&[Coding::Gzip], &gzips, 5), Ok(b"one two".to_vec()));
    let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let empty = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
    let frames = [
        &skippable[..],
        &zstd(b"one "),
        &empty,
        &zstd(b"two"),
        &skippable,
    ]
    .concat();
    for piece in [1, 4, usize::MAX] {
        assert_eq!(
            decode(&[Coding::Zstd], &frames, piece),
            Ok(b"one two".to_vec())
        );
    }
}

#[test]
fn every_optional_field_of_a_gzip_head_is_passed_over() {
    let body = gzip(b"text");
    let mut head = body[..10].to_vec();
    head[3] = 2 | 4 | 8 | 16;
    head.extend_from_slice(b"\x03\x00xyzname\0comment\0");
    let mut sum = flate2::Crc::new();
    sum.update(&head);
    let [low, high, ..] = sum.sum().to_le_bytes();
    let good = [&head[..], &[low, high], &body[10..]].concat();
    let bad = [&head[..], &[low ^ 1, high], &body[10..]].concat();
    for piece in [1, usize::MAX] {
        assert_eq!(decode(&[Coding::Gzip], &good, piece), Ok(b"text".to_vec()));
        let error = decode(&[Coding::Gzip], &bad, piece);
        assert_eq!(error, Err(DecodeError::Checksum(Coding::Gzip)));
    }
    for flags in [4, 8, 16, 8 | 16, 4 | 16] {
        let mut head = body[..10].to_vec();
        head[3] = flags;
        for (flag, field) in [(4, &b"\0\0"[..]), (8, b"n\0"), (16, b"\0")] {
            if flags & flag != 0 {
                head.extend_from_slice(field);
            }
        }
        head.extend_from_slice(&body[10..]);
        assert_eq!(
            decode(&[Coding::Gzip], &head, 1),
            Ok(b"text".to_vec()),
            "{flags}"
        );
    }
    let mut endless = body[..10].to_vec();
    endless[3] = 8;
    endless.resize(300_000, b'n');
    assert_eq!(
        decode(&[Coding::Gzip], &endless, 4096),
        Err(DecodeError::Invalid(Coding::Gzip))
    );
}

#[test]
fn events_come_out_as_they_come_in() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut decoder = ContentDecoder::new(&[Coding::Gzip]);
    for number in 0..50 {
        let event = format!("event: delta\ndata: {{\"n\": {number}}}\n\n");
        encoder
            .write_all(event.as_bytes())
            .unwrap_or_else(|e| unreachable!("{e}"));
        encoder.flush().unwrap_or_else(|e| unreachable!("{e}"));
        let piece = std::mem::take(encoder.get_mut());
        let mut out = Vec::new();
        assert_eq!(
            decoder.push(&mut piece.as_slice(), &mut out),
            Ok(Progress::Hungry)
        );
        assert_eq!(String::from_utf8_lossy(&out), event);
    }
}

#[test]
fn a_body_cut_short_is_an_error_and_an_empty_one_is_not() {
    let mut all = encoded(&sample()[..5000]);
    all.push((Coding::Brotli, unbase64(BROTLI_SAMPLE)));
    for (coding, body) in all.into_iter().skip(1) {
        for cut in (1..body.len()).step_by(body.len() / 40) {
            let out = decode(&[coding], &body[..cut], 100);
            assert_eq!(
                out,
                Err(DecodeError::Truncated(coding)),
                "{coding:?} at {cut}"
            );
        }
        assert_eq!(decode(&[coding], b"", 1), Ok(Vec::new()));
    }
}

#[test]
fn what_follows_the_end_is_an_error() {
    let mut all = encoded(b"some text");
    all.push((Coding::Brotli, unbase64(BROTLI_SAMPLE)));
    for (coding, body) in all.into_iter().skip(1) {
        assert!(decode(&[coding], &body, 50).is_ok(), "{coding:?}");
        for piece in [1, usize::MAX] {
            let longer = [&body[..], b"secret in the tail"].concat();
            let out = decode(&[coding], &longer, piece);
            assert_eq!(out, Err(DecodeError::Trailing(coding)), "{coding:?}");
        }
    }
}

#[test]
fn a_changed_byte_is_noticed() {
    let text = &sample()[..3000];
    let zstd = unbase64(ZSTD_SAMPLE);
    for (coding, body) in [
        (Coding::Gzip, gzip(text)),
        (Coding::Deflate, zlib(text)),
        (Coding::Zstd, zstd),
    ] {
        for last in 1..=4 {
            let mut body = body.clone();
            let index = body.len()
                - if coding == Coding::Gzip {
                    4 + last
                } else {
                    last
                };
            body[index] ^= 1;
            assert!(
                decode(&[coding], &body, 64).is_err(),
                "{coding:?}, {last} from the end"
            );
        }
    }
}

#[test]
fn a_bomb_is_taken_apart_in_steps() {
    const SIZE: usize = 64 * 1024 * 1024;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..SIZE / 65536 {
        encoder
            .write_all(&[0; 65536])
            .unwrap_or_else(|e| unreachable!("{e}"));
    }
    let inner = encoder.finish().unwrap_or_default();
    // A zstd frame of run-length blocks: 4 bytes stand for 128 KiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x58];
    for block in 1..=SIZE / 131_072 {
        let last = u32::from(block == SIZE / 131_072);
        frame.extend_from_slice(&(131_072_u32 << 3 | 1 << 1 | last).to_le_bytes()[..3]);
        frame.push(b'x');
    }
    let twice = gzip(&inner);
    for (codings, body) in [
        (vec![Coding::Gzip], inner),
        (vec![Coding::Zstd], frame),
        (vec![Coding::Gzip, Coding::Gzip], twice),
    ] {
        let mut decoder = ContentDecoder::new(&codings);
        let (mut input, mut out, mut total) = (body.as_slice(), Vec::new(), 0);
        while decoder.push(&mut input, &mut out) == Ok(Progress::More) {
            assert!(
                out.len() <= ContentDecoder::STEP && out.capacity() <= 2 * ContentDecoder::STEP
            );
            total += out.len();
            out.clear();
        }
        assert_eq!(total + out.len(), SIZE, "{codings:?}");
        assert_eq!(decoder.finish(), Ok(()));
    }
}

#[test]
fn a_window_larger_than_allowed_is_refused() {
    // Exponent 13 means 8 MiB, 14 means 16 MiB.
    let frame = |exponent: u8| {
        [
            0x28,
            0xb5,
            0x2f,
            0xfd,
            0,
            exponent << 3,
            1 | 1 << 3,
            0,
            0,
            b'x',
        ]
    };
    assert_eq!(decode(&[Coding::Zstd], &frame(13), 4), Ok(b"x".to_vec()));
    let error = decode(&[Coding::Zstd], &frame(14), 4);
    assert_eq!(error, Err(DecodeError::Window(Coding::Zstd)));
    // A Brotli stream that begins with the mark of the large window extension.
    let error = decode(&[Coding::Brotli], &[0x11, 30, 0, 0, 0, 0], 6);
    assert_eq!(error, Err(DecodeError::Invalid(Coding::Brotli)));
    let dictionary = [0x28, 0xb5, 0x2f, 0xfd, 1, 0x58, 7, 9, 0, 0, b'x'];
    let error = decode(&[Coding::Zstd], &dictionary, 4);
    assert_eq!(error, Err(DecodeError::Dictionary(Coding::Zstd)));
}

#[test]
fn names_of_codings() {
    use Coding::{Brotli, Deflate, Gzip, Zstd};
    assert_eq!(Coding::parse(b""), Some(vec![]));
    assert_eq!(Coding::parse(b"identity, "), Some(vec![]));
    assert_eq!(Coding::parse(b"GZip"), Some(vec![Gzip]));
    assert_eq!(Coding::parse(b"x-gzip ,\tbr"), Some(vec![Gzip, Brotli]));
    assert_eq!(
        Coding::parse(b"deflate,identity,zstd"),
        Some(vec![Deflate, Zstd])
    );
    assert_eq!(Coding::parse(b"gzip, gzip, gzip"), None);
    for other in ["compress", "dcb", "gzip;q=1", "aes128gcm", "gz ip", "br\0"] {
        assert_eq!(Coding::parse(other.as_bytes()), None, "{other}");
    }
    for asked in Coding::ACCEPT.split(", ") {
        assert_eq!(
            Coding::parse(asked.as_bytes()).map(|c| c[0].as_str()),
            Some(asked)
        );
    }
}

proptest! {
    #[test]
    fn any_text_comes_back(text in proptest::collection::vec(0u8..8, 0..5000), piece in 1usize..300) {
        for (coding, body) in encoded(&text) {
            prop_assert_eq!(decode(&[coding], &body, piece), Ok(text.clone()));
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_a_text(body in proptest::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
            let whole = decode(&[coding], &body, usize::MAX);
            prop_assert_eq!(whole, decode(&[coding], &body, piece));
        }
    }
}
