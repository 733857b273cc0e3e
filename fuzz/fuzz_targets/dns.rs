//! DNS queries. Each answer is read to its last byte, by a reader of its own.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(seen) = palisade_gate::fuzzing::dns_query(bytes) else {
        return;
    };
    for (at, answer) in seen.answers.iter().enumerate() {
        let records = read(answer).expect("an answer that cannot be read");
        assert_eq!(records, usize::from(at > 0));
    }
});

/// The number of answer records, if every byte has its place.
fn read(answer: &[u8]) -> Option<usize> {
    let word = |at: usize| Some(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    let counts = [word(4)?, word(6)?, word(8)?, word(10)?].map(usize::from);
    assert!(word(2)? & 0x8000 != 0 && counts[0] == 1 && counts[2] == 0);
    let mut at = name(answer, 12)? + 4;
    for _ in 0..counts[1] + counts[3] {
        at = name(answer, at)?;
        at += 10 + usize::from(word(at + 8)?);
    }
    (at == answer.len()).then_some(counts[1])
}

/// Where the name ends that begins here.
fn name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}
