//! Response heads. What the gate accepts, another parser accepts as well, and reads the same in it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(seen) = palisade_gate::fuzzing::response_head(bytes) else {
        return;
    };
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Response::new(&mut fields);
    let read = other.parse(bytes).expect("refused by the other parser");
    assert_eq!(read, httparse::Status::Complete(seen.length));
    let code = other.code.map(|code| code.to_string().into_bytes());
    assert_eq!(code.as_ref(), Some(&seen.line[0]));
    let others = other
        .headers
        .iter()
        .map(|field| (field.name.as_bytes(), field.value.trim_ascii()));
    assert!(others.eq(seen.fields.iter().map(|(name, value)| (&**name, &**value))));
});
