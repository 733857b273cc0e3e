use super::*;
use proptest::prelude::*;

fn query(name: &str, kind: u16, class: u16, extra: &[u8]) -> Vec<u8> {
    let mut out = vec![
        0xab,
        0xcd,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        u8::from(!extra.is_empty()),
    ];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.bytes());
    }
    out.push(0);
    out.extend(kind.to_be_bytes());
    out.extend(class.to_be_bytes());
    out.extend(extra);
    out
}

const OPT: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];

#[test]
fn questions_are_understood_and_come_back_as_they_were() {
    let query = Query::parse(&query("aPi.ExAmple", 1, 1, &OPT)).unwrap();
    assert_eq!(query.kind, Kind::A);
    assert_eq!(query.name, Some(DnsName::parse(b"api.example").unwrap()));
    let answer = query.answer(Code::NoError, &Data::V4(Ipv4Addr::new(198, 18, 0, 1)));
    assert_eq!(&answer[..2], [0xab, 0xcd]);
    assert_eq!(answer[2..4], [0x85, 0x80]);
    assert_eq!(answer[4..12], [0, 1, 0, 1, 0, 0, 0, 1]);
    assert_eq!(&answer[12..25], b"\x03aPi\x07ExAmple\0");
    assert_eq!(
        answer[29..45],
        [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 198, 18, 0, 1]
    );
    assert_eq!(answer[45..48], [0, 0, 41]);
}

#[test]
fn what_is_no_query_is_dropped_or_refused() {
    assert_eq!(Query::parse(&[0; 11]), Err(BadQuery::Drop));
    let good = query("a.example", 1, 1, &[]);
    assert!(Query::parse(&good).is_ok());
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Query::parse(&bytes)
    };
    let malformed = Err(BadQuery::Refuse(0xabcd, Code::FormErr));
    assert_eq!(with(2, 0x81), Err(BadQuery::Drop), "an answer");
    assert_eq!(
        with(2, 0x29),
        Err(BadQuery::Refuse(0xabcd, Code::NotImp)),
        "UPDATE"
    );
    assert_eq!(with(5, 2), malformed, "two questions");
    assert_eq!(with(7, 1), malformed, "an answer section");
    assert_eq!(with(12, 0xc0), malformed, "a pointer");
    assert_eq!(with(12, 60), malformed, "a label past the end");
    assert_eq!(
        Query::parse(&[&good[..], &[0]].concat()),
        malformed,
        "bytes left over"
    );
    assert_eq!(
        Query::parse(&query("a", 1, 1, &[0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])),
        malformed
    );
    let long = vec!["a".repeat(63); 4].join(".");
    assert_eq!(Query::parse(&query(&long, 1, 1, &[])), malformed);
}

#[test]
fn d01_names_no_host_can_have_are_seen_as_such() {
    let mut dotted = query("", 1, 1, &[]);
    dotted.splice(12..13, *b"\x03a.b\x00");
    for bytes in [
        dotted,
        query("a b", 1, 1, &[]),
        query("x\u{0}y", 1, 1, &[]),
        query("", 1, 1, &[]),
    ] {
        assert_eq!(Query::parse(&bytes).unwrap().name, None);
    }
}

#[test]
fn reverse_names_lead_to_addresses() {
    let reverse = |name: &str| Query::parse(&query(name, 12, 1, &[])).unwrap().reverse;
    assert_eq!(
        reverse("1.0.18.198.IN-ADDR.arpa"),
        Some([198, 18, 0, 1].into())
    );
    let ip: Ipv6Addr = "fd50:a115:ade0::1".parse().unwrap();
    let nibbles = format!("{:032x}", u128::from(ip));
    let labels: Vec<String> = nibbles.chars().rev().map(String::from).collect();
    assert_eq!(
        reverse(&format!("{}.ip6.arpa", labels.join("."))),
        Some(ip.into())
    );
    for bad in [
        "1.0.18.in-addr.arpa",
        "256.0.18.198.in-addr.arpa",
        "a.example",
        "arpa",
    ] {
        assert_eq!(reverse(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Query::parse(&bytes);
        let _ = Query::parse(&[&[1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &bytes].concat());
    }

    #[test]
    fn names_round_trip(name in "[a-zA-Z0-9]{1,20}(\\.[a-zA-Z]{1,20}){0,5}", kind in 0u16..300) {
        let bytes = query(&name, kind, 1, &OPT);
        let parsed = Query::parse(&bytes).unwrap();
        prop_assert_eq!(&parsed.question[..], &bytes[12..bytes.len() - OPT.len()]);
        if let Some(found) = &parsed.name {
            prop_assert_eq!(found.as_str(), name.to_lowercase());
        }
        let answer = parsed.answer(Code::NoError, &Data::V6(Ipv6Addr::LOCALHOST));
        prop_assert!(answer.len() <= 512);
    }
}
