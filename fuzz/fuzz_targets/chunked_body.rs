//! Chunked bodies: the first byte says how large the pieces are in which the rest arrives.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((piece, body)) = bytes.split_first() {
        palisade_gate::fuzzing::chunked_body(body, usize::from(piece % 16));
    }
});
