//! Request heads. What the gate accepts, another parser accepts as well, and reads the same in it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(seen) = palisade_gate::fuzzing::request_head(bytes) else {
        return;
    };
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut fields);
    let read = other.parse(bytes).expect("refused by the other parser");
    assert_eq!(read, httparse::Status::Complete(seen.length));
    assert_eq!(other.method.map(str::as_bytes), Some(&*seen.line[0]));
    assert_eq!(other.path.map(str::as_bytes), Some(&*seen.line[1]));
    let others = other
        .headers
        .iter()
        .map(|field| (field.name.as_bytes(), field.value.trim_ascii()));
    assert!(others.eq(seen.fields.iter().map(|(name, value)| (&**name, &**value))));
});
