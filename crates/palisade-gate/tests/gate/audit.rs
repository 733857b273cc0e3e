//! Each request one event, whatever happens; without a log nothing passes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use palisade_audit::Entry;

use crate::harness::{PLAIN_WAYS, Server, Setup, TUNNELS, Way, hello, request};

#[test]
fn a01_what_the_agent_sends_is_escaped_in_the_log() {
    let server = Server::http("ok");
    let gate = Setup::default().allow("a.example", 80, &server).start();
    let mut client = gate.proxy();
    client.send("GET http://evil\x1b[31m.example/ HTTP/1.1\r\nhost: a.example\r\n\r\n");
    client.response();
    let mut client = gate.proxy();
    client.send([5, 1, 0]);
    client.exactly(2);
    client.send([&[5, 1, 0, 3, 9][..], b"a\r\n\"}\n{\"x", &[0, 80]].concat());
    client.exactly(10);
    let records = gate.sink.wait(2);
    assert!(
        records
            .iter()
            .all(|r| r.denied && !r.host.chars().any(char::is_control)),
        "{records:?}"
    );
    assert_eq!(records[1].host, "a\\x0d\\x0a\"}\\x0a{\"x");
    let long = format!("/{}", "x".repeat(20_000));
    gate.ask(Way::Forward, "a.example", &format!("GET {long}"), "", "")
        .assert_ok("ok");
    let path = gate.sink.wait(3)[2].path.clone().unwrap();
    assert!(path.len() < 1100, "fields are cut");
}

#[test]
fn a02_without_a_log_nothing_passes() {
    for way in PLAIN_WAYS {
        let server = Server::http("ok");
        let gate = Setup::default().allow("a.example", 80, &server).start();
        gate.get(way, "a.example").assert_ok("ok");
        let before = server.bytes().len();
        let address = std::net::SocketAddr::new(gate.synthetic("a.example"), 80);
        gate.sink.break_down();
        let opened = match way {
            Way::Transparent => Ok(gate.caught(address)),
            _ => gate.open(way, "a.example", 80),
        };
        match opened {
            Ok(mut client) => {
                client.send(request(way, "a.example", "GET /", "", ""));
                client.response().assert_denied(503, "audit-unavailable");
            }
            Err(said) if way == Way::Connect => {
                assert!(said.starts_with(b"HTTP/1.1 503 "), "{way:?}")
            }
            Err(reply) => assert!(
                matches!(reply[..2], [5, 2] | [0, 0x5b]),
                "{way:?} {reply:?}"
            ),
        }
        assert_eq!(server.bytes().len(), before, "{way:?}");
    }
}

#[test]
fn a02_a_log_that_fails_ends_what_is_open() {
    for way in TUNNELS {
        let server = Server::echo();
        let gate = Setup::default()
            .allow("a.example", 443, &server)
            .allow_tcp("b.example", 22, &server)
            .start();
        let mut open = gate.tunnel(way, "a.example", 443);
        open.send(hello("a.example"));
        assert_eq!(open.exactly(1), [22]);
        let mut other = gate.tunnel(way, "b.example", 22);
        other.send("x");
        assert_eq!(other.exactly(1), b"x");
        gate.sink.break_down();
        // The end of one connection is the event that cannot be stored.
        drop(other);
        open.rest();
    }
}

#[test]
fn a_session_that_ends_records_what_it_cuts_off() {
    for way in TUNNELS {
        let server = Server::echo();
        let slow = Server::new(|mut session| {
            session.request();
            session.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart");
            while session.receive().is_some() {}
        });
        let mut gate = Setup::default()
            .allow("a.example", 443, &server)
            .allow("slow.example", 80, &slow)
            .start();
        let mut tunnel = gate.tunnel(way, "a.example", 443);
        let bytes = hello("a.example");
        tunnel.send(&bytes);
        assert_eq!(tunnel.exactly(bytes.len()), bytes);
        let mut response = gate.proxy();
        response.send(request(Way::Forward, "slow.example", "GET /x", "", ""));
        response.head();
        assert_eq!(response.exactly(4), b"part");
        let mut waiting = gate.proxy();
        waiting.send(request(
            Way::Forward,
            "slow.example",
            "POST /y",
            "content-length: 9\r\n",
            "1",
        ));
        std::thread::sleep(Duration::from_millis(50));
        let summary = gate.stop();
        assert_eq!((summary.allowed, summary.denied), (3, 0), "{way:?}");
        let records = gate.sink.requests();
        assert_eq!(records.len(), 3, "{way:?}: {records:#?}");
        for record in &records {
            assert_eq!(
                record.error.as_deref(),
                Some("the session ended"),
                "{record:?}"
            );
        }
        let cut = records
            .iter()
            .find(|r| r.entry == way.entry() && r.port == 443)
            .unwrap();
        assert!(
            cut.up >= bytes.len() as u64 && cut.down >= bytes.len() as u64,
            "{cut:?}"
        );
        assert!(
            gate.sink.flushed.load(Ordering::SeqCst),
            "the log was flushed last"
        );
        assert_eq!(tunnel.rest(), b"", "what was open is closed");
    }
}

#[test]
fn x01_a_panic_ends_one_connection_and_opens_nothing() {
    let server = Server::http("ok");
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .rule(crate::harness::rule("panics.example"))
        .start();
    let mut open = gate.proxy();
    open.send(request(Way::Forward, "a.example", "GET /", "", ""));
    open.response().assert_ok("ok");
    gate.sink.wait(1);
    for way in TUNNELS {
        let before = gate.sink.requests().len();
        if let Ok(mut client) = gate.open(way, "panics.example", 443) {
            client.send(hello("panics.example"));
            assert_eq!(client.rest(), b"", "{way:?}");
        }
        let record = gate.sink.wait(before + 1)[before].clone();
        assert_eq!(record.error.as_deref(), Some("internal error"), "{way:?}");
    }
    open.send(request(Way::Forward, "a.example", "GET /", "", ""));
    open.response().assert_ok("ok");
}

#[test]
fn what_is_recorded_is_soon_flushed() {
    let server = Server::http("ok");
    let gate = Setup::default().allow("a.example", 80, &server).start();
    for _ in 0..3 {
        gate.get(Way::Forward, "a.example").assert_ok("ok");
        let end = std::time::Instant::now() + Duration::from_secs(5);
        while !gate.sink.flushed.load(Ordering::SeqCst) {
            assert!(std::time::Instant::now() < end);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn a_client_that_goes_away_is_recorded_once() {
    let server = Server::new(|mut session| {
        session.request();
        while session.receive().is_some() {}
    });
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .limits(|limits| limits.half_closed = Duration::from_millis(100))
        .start();
    let mut client = gate.proxy();
    client.send(request(Way::Forward, "a.example", "GET /slow", "", ""));
    std::thread::sleep(Duration::from_millis(50));
    drop(client);
    let record = gate.sink.only();
    assert!(!record.denied);
    assert!(record.error.unwrap().contains("ended before the response"));
}

#[test]
fn connections_without_a_request_leave_no_record() {
    let server = Server::http("ok");
    let gate = Setup::default().allow("a.example", 80, &server).start();
    drop(gate.proxy());
    gate.get(Way::Forward, "a.example").assert_ok("ok");
    assert_eq!(gate.sink.wait(1).len(), 1);
}

#[test]
fn a_port_scan_is_recorded() {
    let server = Server::echo();
    let gate = Setup::default().allow("a.example", 443, &server).start();
    drop(gate.caught("192.0.2.1:22".parse().unwrap()));
    let record = gate.sink.only();
    assert_eq!(
        (record.entry, record.host.as_str(), record.port),
        (Entry::Transparent, "192.0.2.1", 22)
    );
    assert_eq!(record.reason, Some("not-allowed"));
    drop(gate.tunnel(Way::Transparent, "a.example", 443));
    let record = gate.sink.wait(2)[1].clone();
    assert!(!record.denied && record.error.is_some(), "{record:?}");
    assert_eq!(server.connections(), 0);
}
