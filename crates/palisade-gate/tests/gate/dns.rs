//! DNS as the agent sees it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use palisade_audit::Entry;

use crate::harness::{Server, Setup, TestGate, question, rule};

fn code(reply: &[u8]) -> u8 {
    reply[3] & 15
}

fn address(gate: &TestGate, name: &str, kind: u16) -> Result<IpAddr, u8> {
    let reply = gate.ask_dns(&question(name, kind)).expect("an answer");
    if reply[7] == 0 {
        return Err(code(&reply));
    }
    match kind {
        1 => Ok(<[u8; 4]>::try_from(&reply[reply.len() - 4..])
            .unwrap()
            .into()),
        _ => Ok(<[u8; 16]>::try_from(&reply[reply.len() - 16..])
            .unwrap()
            .into()),
    }
}

#[test]
fn d35_every_name_has_an_address_and_nothing_is_looked_up() {
    let gate = Setup::default().rule(rule("a.example")).start();
    let first = address(&gate, "a.example", 1).unwrap();
    assert_eq!(first, Ipv4Addr::new(198, 18, 0, 1));
    assert_eq!(
        address(&gate, "secret-data.evil.example", 1),
        Ok(Ipv4Addr::new(198, 18, 0, 2).into())
    );
    assert_eq!(
        address(&gate, "A.Example", 1),
        Ok(first),
        "the same name, the same address"
    );
    let v6 = address(&gate, "a.example", 28).unwrap();
    assert_eq!(v6, "fd50:a115:ade0::1".parse::<Ipv6Addr>().unwrap());
    assert!(gate.resolver.asked().is_empty());
    let names: Vec<_> = gate
        .sink
        .records()
        .into_iter()
        .map(|r| (r.entry, r.host, r.denied))
        .collect();
    assert_eq!(
        names,
        [
            (Entry::Dns, "a.example".to_owned(), false),
            (Entry::Dns, "secret-data.evil.example".to_owned(), false),
        ]
    );
    let summary = gate.summary.get();
    assert_eq!(
        (summary.allowed, summary.denied),
        (0, 0),
        "names asked for are no requests"
    );
}

#[test]
fn special_names_need_a_rule() {
    let gate = Setup::default()
        .rule(rule("intranet"))
        .rule(rule("nas.local"))
        .start();
    for name in [
        "host",
        "printer.local",
        "x.onion",
        "metadata.google.internal",
        "1.2.3.4",
        "a b.example",
    ] {
        assert_eq!(address(&gate, name, 1), Err(3), "{name}");
    }
    assert!(address(&gate, "intranet", 1).is_ok());
    assert!(address(&gate, "nas.local", 1).is_ok());
    assert_eq!(
        address(&gate, "localhost", 1),
        Ok(Ipv4Addr::LOCALHOST.into())
    );
    assert_eq!(
        address(&gate, "x.localhost", 28),
        Ok(Ipv6Addr::LOCALHOST.into())
    );
}

#[test]
fn other_questions_have_empty_answers() {
    let gate = Setup::default().start();
    for kind in [16, 15, 33, 65, 64, 255, 6] {
        assert_eq!(address(&gate, "a.example", kind), Err(0), "type {kind}");
    }
    let mut chaos = question("version.bind", 16);
    let end = chaos.len() - 1;
    chaos[end] = 3;
    assert_eq!(code(&gate.ask_dns(&chaos).unwrap()), 5, "refused");
    assert!(gate.sink.records().is_empty());
    let reply = gate
        .ask_dns(&question("1.0.18.198.in-addr.arpa", 12))
        .unwrap();
    assert_eq!(code(&reply), 3, "not given out yet");
    gate.synthetic("a.example");
    let reply = gate
        .ask_dns(&question("1.0.18.198.in-addr.arpa", 12))
        .unwrap();
    assert!(reply.ends_with(b"\x01a\x07example\0"), "{reply:?}");
}

#[test]
fn malformed_queries_do_no_harm() {
    let gate = Setup::default().start();
    let good = question("a.example", 1);
    assert_eq!(
        gate.ask_dns(&[&good[..], b"surplus"].concat())
            .map(|r| code(&r)),
        Some(1)
    );
    let mut pointer = good.clone();
    pointer[12] = 0xc0;
    assert_eq!(gate.ask_dns(&pointer).map(|r| code(&r)), Some(1));
    let mut answer = good.clone();
    answer[2] = 0x81;
    assert_eq!(gate.ask_dns(&answer), None, "answers are not answered");
    assert!(address(&gate, "a.example", 1).is_ok());
}

#[test]
fn f26_the_number_of_names_is_bounded() {
    let gate = Setup::default().limits(|limits| limits.names = 3).start();
    for n in 0..3 {
        assert!(address(&gate, &format!("n{n}.example"), 1).is_ok());
    }
    for n in 3..9 {
        assert_eq!(
            address(&gate, &format!("n{n}.example"), 1),
            Err(2),
            "SERVFAIL"
        );
    }
    assert!(address(&gate, "n0.example", 1).is_ok());
    let records = gate.sink.records();
    assert_eq!(records.len(), 4, "three names and one record of the limit");
    assert_eq!(records[3].reason, Some("limit"));
}

#[test]
fn queries_over_tcp_are_answered_here_whatever_they_were_sent_to() {
    let server = Server::echo();
    let gate = Setup::default().allow_tcp("9.9.9.9", 53, &server).start();
    let mut client = gate.caught("9.9.9.9:53".parse().unwrap());
    for name in ["a.example", "b.example"] {
        let query = question(name, 1);
        let framed = [
            &u16::try_from(query.len()).unwrap().to_be_bytes()[..],
            &query,
        ]
        .concat();
        // In pieces.
        client.send(&framed[..5]);
        std::thread::sleep(Duration::from_millis(5));
        client.send(&framed[5..]);
        let length = client.exactly(2);
        let reply = client.exactly(usize::from(u16::from_be_bytes([length[0], length[1]])));
        assert_eq!(reply[reply.len() - 4..reply.len() - 2], [198, 18]);
    }
    assert_eq!(server.connections(), 0);
    client.send([0xff, 0xff, 0]);
    assert_eq!(
        client.rest(),
        b"",
        "a query too long to be one ends the connection"
    );
}

#[test]
fn a02_names_get_no_address_without_a_log() {
    let gate = Setup::default().start();
    assert!(address(&gate, "a.example", 1).is_ok());
    gate.sink.break_down();
    assert_eq!(address(&gate, "b.example", 1), Err(2));
}
