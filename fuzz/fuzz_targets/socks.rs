//! SOCKS 4, 4a and 5.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    palisade_gate::fuzzing::socks_request(bytes);
});
