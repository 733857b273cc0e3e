//! Bad load: many of everything, and upstreams that misbehave, while good requests go on.

use std::time::Duration;

use crate::harness::{Server, Setup, Way, hello, request};

#[test]
fn misbehaving_upstreams_do_not_hurt_the_others() {
    let good = Server::http("ok");
    let resets = Server::new(|mut session| {
        session.request();
        session.reset();
    });
    let lies = Server::answers(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort");
    let hangs = Server::new(|mut session| while session.receive().is_some() {});
    let gate = Setup::default()
        .allow("good.example", 80, &good)
        .allow("resets.example", 80, &resets)
        .allow("lies.example", 80, &lies)
        .allow("hangs.example", 80, &hangs)
        .limits(|limits| limits.response_wait = Duration::from_millis(500))
        .start();
    let mut hanging = Vec::new();
    for _ in 0..20 {
        let mut client = gate.proxy();
        client.send(request(Way::Forward, "hangs.example", "GET /", "", ""));
        hanging.push(client);
        assert_eq!(gate.get(Way::Forward, "resets.example").status, 502);
        let mut client = gate.proxy();
        client.send(request(Way::Forward, "lies.example", "GET /", "", ""));
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        assert_eq!(client.rest(), b"short");
        gate.get(Way::Forward, "good.example").assert_ok("ok");
    }
    for mut client in hanging {
        assert_eq!(client.response().status, 504);
    }
    assert_eq!(gate.sink.wait(80).len(), 80, "each request one event");
}

#[test]
fn many_refusals_in_a_row() {
    let server = Server::echo();
    let gate = Setup::default()
        .allow("a.example", 443, &server)
        .limits(|limits| limits.summary_hosts = 10)
        .start();
    for n in 0..100 {
        let said = gate
            .open(Way::Connect, &format!("n{n}.evil.example"), 443)
            .map(|_| ())
            .unwrap_err();
        assert!(said.starts_with(b"HTTP/1.1 403 "));
    }
    let summary = gate.summary.get();
    assert_eq!(
        (
            summary.denied,
            summary.denied_hosts.len(),
            summary.denied_elsewhere
        ),
        (100, 10, 90)
    );
    let mut client = gate.tunnel(Way::Connect, "a.example", 443);
    client.send(hello("a.example"));
    assert_eq!(client.exactly(1), [22]);
}
