//! ClientHellos. The first byte says how large the records are that the hello is cut into anew.
//!
//! A server that accepts a hello must read the name in it that the gate has decided by.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((record, bytes)) = bytes.split_first() else {
        return;
    };
    let Some(seen) = palisade_gate::fuzzing::client_hello(bytes, usize::from(*record)) else {
        return;
    };
    let mut acceptor = rustls::server::Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() && acceptor.read_tls(&mut rest).is_ok() {}
    let Ok(Some(accepted)) = acceptor.accept() else {
        return;
    };
    let hello = accepted.client_hello();
    let name = hello.server_name().map(str::to_ascii_lowercase);
    assert_eq!(name, seen.name);
    let offered: Vec<&[u8]> = hello.alpn().into_iter().flatten().collect();
    assert_eq!(offered.contains(&&b"h2"[..]), seen.http2);
    assert_eq!(offered.contains(&&b"http/1.1"[..]), seen.http1);
});
