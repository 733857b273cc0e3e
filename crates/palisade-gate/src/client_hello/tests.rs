use super::*;
use proptest::prelude::*;

fn u16(value: usize) -> [u8; 2] {
    u16::try_from(value).unwrap().to_be_bytes()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &u16(data.len()), data].concat()
}

fn names(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = entries
        .iter()
        .flat_map(|(kind, name)| [&[*kind][..], &u16(name.len()), name].concat())
        .collect();
    extension(0, &[&u16(list.len())[..], &list].concat())
}

fn message(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0]);
    body.extend([0, 2, 0x13, 1]);
    body.extend([1, 0]);
    body.extend(u16(extensions.len()));
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend(u16(body.len()));
    message.extend(body);
    message
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in message.chunks(size) {
        out.extend([22, 3, 1]);
        out.extend(u16(part.len()));
        out.extend(part);
    }
    out
}

fn read(bytes: &[u8]) -> Result<Option<Hello>, HelloError> {
    HelloReader::default().read(bytes, 65536)
}

fn of(extensions: &[u8]) -> Result<Hello, HelloError> {
    read(&records(&message(extensions), 16384)).map(|hello| hello.expect("complete"))
}

fn name(text: &str) -> Option<DnsName> {
    Some(DnsName::parse(text.as_bytes()).unwrap())
}

#[test]
fn d22_the_name_is_found() {
    let hello = of(&[extension(10, &[0, 2, 0, 29]), names(&[(0, b"API.example")])].concat());
    assert_eq!(hello.unwrap().name, name("api.example"));
    assert_eq!(of(&[]).unwrap().name, None);
}

#[test]
fn d28_the_name_may_stand_far_behind_and_in_pieces() {
    let large = [
        extension(51, &[1; 1300]),
        extension(21, &[0; 9000]),
        names(&[(0, b"a.example")]),
    ]
    .concat();
    for size in [16384, 400, 177] {
        let hello = read(&records(&message(&large), size)).unwrap().unwrap();
        assert_eq!(hello.name, name("a.example"), "records of {size}");
    }
    // One byte short is not decided.
    let bytes = records(&message(&large), 16384);
    assert_eq!(read(&bytes[..bytes.len() - 1]), Ok(None));
    assert_eq!(
        read(&records(&message(&large), 100)),
        Err(HelloError::TooLong),
        "too many pieces"
    );
    let huge = records(&[1, 1, 0, 1], 4);
    assert_eq!(read(&huge), Err(HelloError::TooLong));
}

#[test]
fn d29_one_name_of_one_kind() {
    for (bad, error) in [
        (
            names(&[(0, b"a.example"), (0, b"b.example")]),
            HelloError::NameList,
        ),
        (names(&[(1, b"a.example")]), HelloError::NameList),
        (names(&[(0, b"a.example"), (1, b"x")]), HelloError::NameList),
        (names(&[]), HelloError::Structure),
        (names(&[(0, b"a.example.")]), HelloError::TrailingDot),
        (
            names(&[(0, b"evil\0.a.example")]),
            HelloError::Name(HostError::Byte(0)),
        ),
        (names(&[(0, b"")]), HelloError::Name(HostError::Empty)),
        (
            names(&[(0, &[b'a'; 300])]),
            HelloError::Name(HostError::TooLong),
        ),
        (
            names(&[(0, b"127.0.0.1")]),
            HelloError::Name(HostError::NumericName),
        ),
        (
            [names(&[(0, b"a.example")]), names(&[(0, b"b.example")])].concat(),
            HelloError::DuplicateExtension,
        ),
        (extension(0, &[0, 9, 0, 0, 1, b'a']), HelloError::Structure),
    ] {
        assert_eq!(of(&bad), Err(error));
    }
}

#[test]
fn encrypted_hellos_are_noticed() {
    let hello = of(&[names(&[(0, b"a.example")]), extension(0xfe0d, &[0])].concat()).unwrap();
    assert!(hello.encrypted);
}

#[test]
fn d32_other_records_are_no_hello() {
    assert_eq!(read(b"SSH-2.0-x\r\n"), Err(HelloError::Record));
    assert_eq!(read(&[21, 3, 3, 0, 2, 2, 0]), Err(HelloError::Record));
    assert_eq!(
        read(&[22, 3, 1, 0, 0]),
        Err(HelloError::Record),
        "empty record"
    );
    assert_eq!(
        read(&[22, 3, 1, 0, 4, 2, 0, 0, 0]),
        Err(HelloError::NotHello)
    );
    let mut interleaved = records(&message(&[]), 20);
    interleaved[25] = 21;
    assert_eq!(read(&interleaved), Err(HelloError::Record));
    let mut surplus = message(&[]);
    surplus.push(0);
    assert_eq!(read(&records(&surplus, 16384)), Err(HelloError::Structure));
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = read(&records(&message(&bytes), 50));
        let _ = of(&extension(0, &bytes));
    }

    #[test]
    fn an_accepted_hello_means_the_same_however_it_is_cut(
        host in "[a-z]{1,20}\\.[a-z]{1,20}",
        filler in 0usize..3000,
        size in 60usize..5000,
        cuts in proptest::collection::vec(1usize..900, 0..20),
    ) {
        let extensions = [extension(21, &vec![0; filler]), names(&[(0, host.as_bytes())])].concat();
        let bytes = records(&message(&extensions), size);
        let mut reader = HelloReader::default();
        let mut seen = 0;
        let mut found = None;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            seen = (seen + cut).min(bytes.len());
            found = reader.read(&bytes[..seen], 65536).unwrap();
            prop_assert_eq!(found.is_some(), seen == bytes.len());
            if found.is_some() {
                break;
            }
        }
        prop_assert_eq!(found.unwrap().name, name(&host));
    }
}
