//! The name in the ClientHello against the decided host, on every way in.

use std::time::Duration;

use crate::harness::{
    Server, Setup, TUNNELS, TestGate, Way, hello, hello_with, in_records, server_name,
};

const MISMATCH: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

fn setup() -> (Server, TestGate) {
    let server = Server::echo();
    let gate = Setup::default()
        .allow("a.example", 443, &server)
        .allow("b.example", 443, &server)
        .limits(|limits| limits.hello_time = Duration::from_millis(500))
        .start();
    (server, gate)
}

fn refused(way: Way, bytes: &[u8], reason: &str) {
    let (server, gate) = setup();
    let mut client = gate.tunnel(way, "a.example", 443);
    client.send(bytes);
    let said = client.rest();
    assert_eq!(said.first(), Some(&21), "{way:?}: an alert, not {said:?}");
    let record = gate.sink.only();
    assert_eq!(
        (record.denied, record.reason),
        (true, Some(reason)),
        "{way:?}"
    );
    assert!(
        server.is_untouched(),
        "{way:?}: nothing left before the check"
    );
    if way == Way::Transparent {
        assert_eq!(server.connections(), 0, "it was not even dialled");
    }
    let mut good = gate.tunnel(way, "a.example", 443);
    good.send(hello("a.example"));
    assert_eq!(good.exactly(1), [22], "{way:?}");
}

#[test]
fn d22_the_name_must_equal_the_decided_host() {
    for way in TUNNELS {
        // b.example is allowed as well: it is still not what was asked for.
        refused(way, &hello("b.example"), "host-mismatch");
        refused(way, &hello("x.a.example"), "host-mismatch");
    }
}

#[test]
fn d22_the_alert_says_the_name_is_not_known() {
    let (_server, gate) = setup();
    let mut client = gate.tunnel(Way::Connect, "a.example", 443);
    client.send(hello("b.example"));
    assert_eq!(client.rest(), MISMATCH);
}

#[test]
fn d22_a_hello_without_name_is_refused() {
    for way in TUNNELS {
        refused(way, &in_records(&hello_with(&[]), 16384), "no-server-name");
    }
}

#[test]
fn d22_an_encrypted_hello_is_refused() {
    let ech = [&[0xfe, 0x0d, 0, 4][..], &[0, 0, 1, 0]].concat();
    for way in TUNNELS {
        let extensions = [server_name(&[(0, b"a.example")]), ech.clone()].concat();
        refused(
            way,
            &in_records(&hello_with(&extensions), 16384),
            "no-server-name",
        );
    }
}

#[test]
fn d28_a_name_far_behind_and_in_pieces_is_found() {
    let padding = [&[0, 21][..], &9000u16.to_be_bytes(), &[0; 9000]].concat();
    for way in TUNNELS {
        let of = |name: &[u8]| {
            let extensions = [padding.clone(), server_name(&[(0, name)])].concat();
            in_records(&hello_with(&extensions), 700)
        };
        refused(way, &of(b"b.example"), "host-mismatch");
        let (server, gate) = setup();
        let mut client = gate.tunnel(way, "a.example", 443);
        let good = of(b"a.example");
        for segment in good.chunks(1000) {
            client.send(segment);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(client.exactly(good.len()), good, "{way:?}");
        assert_eq!(server.bytes(), good);
    }
}

#[test]
fn d28_a_part_of_a_hello_is_never_decided_on() {
    for way in TUNNELS {
        let (server, gate) = setup();
        let mut client = gate.tunnel(way, "a.example", 443);
        let all = hello("a.example");
        client.send(&all[..all.len() - 1]);
        assert_eq!(client.rest(), b"", "{way:?}");
        assert_eq!(gate.sink.only().reason, Some("not-tls"), "{way:?}");
        assert!(server.is_untouched(), "{way:?}");
    }
}

#[test]
fn d29_odd_name_lists_are_refused() {
    for way in TUNNELS {
        for extensions in [
            server_name(&[(0, b"a.example"), (0, b"b.example")]),
            server_name(&[(1, b"a.example")]),
            server_name(&[(0, b"a.example.")]),
            server_name(&[(0, b"a.example\0.b.example")]),
            server_name(&[(0, &[b'a'; 300])]),
            [
                server_name(&[(0, b"a.example")]),
                server_name(&[(0, b"b.example")]),
            ]
            .concat(),
        ] {
            refused(
                way,
                &in_records(&hello_with(&extensions), 16384),
                "bad-request",
            );
        }
    }
}

#[test]
fn d29_upper_case_is_the_same_name() {
    for way in TUNNELS {
        let (_server, gate) = setup();
        let mut client = gate.tunnel(way, "a.example", 443);
        client.send(hello("A.EXAMPLE"));
        assert_eq!(client.exactly(1), [22], "{way:?}");
    }
}
