//! WebSocket over plain HTTP.

use crate::harness::{PLAIN_WAYS, Server, Setup, Way, request};

const ASK: &str =
    "connection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n";

fn websocket_server() -> Server {
    Server::new(|mut session| {
        session.request();
        session.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: y\r\n\r\n");
        session.send("hi");
        while let Some(bytes) = session.receive() {
            session.send_bytes(&bytes);
        }
    })
}

#[test]
fn f17_websockets_pass_and_are_counted() {
    for way in PLAIN_WAYS {
        let server = websocket_server();
        let gate = Setup::default().allow("a.example", 80, &server).start();
        let mut client = gate.tunnel(way, "a.example", 80);
        client.send(request(way, "a.example", "GET /ws", ASK, ""));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{way:?}: {head}");
        assert!(
            head.contains("sec-websocket-accept: y\r\n") && head.contains("upgrade: websocket\r\n")
        );
        assert_eq!(client.exactly(2), b"hi", "{way:?}");
        client.send([b'x'; 1000]);
        assert_eq!(client.exactly(1000), [b'x'; 1000], "{way:?}");
        client.end();
        assert_eq!(client.rest(), b"");
        let records = gate.sink.wait(1);
        let record = records
            .iter()
            .find(|r| r.path.as_deref() == Some("/ws"))
            .unwrap();
        assert_eq!(record.status, Some(101));
        assert!(
            record.up > 1000 && record.down > 1000,
            "{way:?}: {record:?}"
        );
        assert!(
            server
                .text()
                .contains("connection: upgrade\r\nupgrade: websocket\r\n"),
            "{way:?}"
        );
    }
}

#[test]
fn f17_a_refused_upgrade_is_an_ordinary_answer() {
    let server = Server::http("no");
    let gate = Setup::default().allow("a.example", 80, &server).start();
    let mut client = gate.proxy();
    client.send(request(Way::Forward, "a.example", "GET /", ASK, ""));
    client.response().assert_ok("no");
    client.send(request(Way::Forward, "a.example", "GET /", "", ""));
    client.response().assert_ok("no");
}

#[test]
fn f17_an_upgrade_needs_permission_and_no_body() {
    let server = websocket_server();
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .map("b.example", 80, &server)
        .start();
    gate.ask(Way::Forward, "b.example", "GET /", ASK, "")
        .assert_denied(403, "not-allowed");
    let lines = format!("{ASK}content-length: 5\r\n");
    gate.ask(Way::Forward, "a.example", "GET /", &lines, "hello")
        .assert_denied(400, "bad-request");
    assert!(server.is_untouched());
}
