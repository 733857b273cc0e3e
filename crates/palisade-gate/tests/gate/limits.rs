//! Every limit ends what goes over it, and says so where it can.

use std::time::{Duration, Instant};

use crate::harness::{Server, Setup, TUNNELS, Way, hello, request};

const SHORT: Duration = Duration::from_millis(200);
/// The machine may be busy; no limit here is longer than this.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn f25_a_slow_head_is_cut_off() {
    let server = Server::http("ok");
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .limits(|limits| limits.head_time = SHORT)
        .start();
    for way in [Way::Forward, Way::Connect, Way::Socks5, Way::Transparent] {
        let mut client = gate.tunnel(way, "a.example", 80);
        let begin = Instant::now();
        let target = if way == Way::Forward {
            "http://a.example/"
        } else {
            "/"
        };
        client.send(format!("GET {target} HTTP/1.1\r\nhost: a.example\r\n"));
        let response = client.response();
        assert_eq!(
            (response.status, response.denied()),
            (408, Some("limit")),
            "{way:?}"
        );
        assert!(begin.elapsed() < SOON);
    }
    assert!(server.is_untouched());
    gate.get(Way::Forward, "a.example").assert_ok("ok");
}

#[test]
fn f25_one_byte_at_a_time_does_not_help() {
    let server = Server::http("ok");
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .limits(|limits| limits.head_time = SHORT)
        .start();
    let begin = Instant::now();
    let mut client = gate.proxy();
    for byte in request(Way::Forward, "a.example", "GET /", "x: y\r\n", "").bytes() {
        client.send([byte]);
        std::thread::sleep(Duration::from_millis(20));
        if begin.elapsed() > SHORT * 3 {
            break;
        }
    }
    assert_eq!(client.response().status, 408);
}

#[test]
fn f25_silence_is_cut_off_and_recorded() {
    let server = Server::echo();
    let gate = Setup::default()
        .allow("a.example", 443, &server)
        .limits(|limits| {
            limits.head_time = SHORT;
            limits.hello_time = SHORT;
        })
        .start();
    assert_eq!(gate.proxy().rest(), b"");
    assert_eq!(gate.sink.only().reason, Some("limit"));
    let mut socks = gate.proxy();
    socks.send([5, 1]);
    assert_eq!(socks.rest(), b"");
    assert_eq!(gate.sink.wait(2)[1].reason, Some("limit"));
    for (at, way) in TUNNELS.into_iter().enumerate() {
        let mut client = gate.tunnel(way, "a.example", 443);
        assert_eq!(client.rest(), b"", "{way:?}");
        assert_eq!(
            gate.sink.wait(3 + at)[2 + at].reason,
            Some("not-tls"),
            "{way:?}"
        );
    }
    assert!(server.is_untouched());
}

#[test]
fn f25_a_body_that_stops_is_cut_off() {
    let server = Server::http("ok");
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .limits(|limits| limits.stall = SHORT)
        .start();
    let mut client = gate.proxy();
    client.send(request(
        Way::Forward,
        "a.example",
        "POST /",
        "content-length: 10\r\n",
        "12345",
    ));
    assert_eq!(client.rest(), b"");
    assert!(gate.sink.only().error.unwrap().contains("stalled"));
    gate.get(Way::Forward, "a.example").assert_ok("ok");
}

#[test]
fn f25_an_upstream_that_never_answers_costs_a_504() {
    let server = Server::new(|mut session| while session.receive().is_some() {});
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .limits(|limits| limits.response_wait = SHORT)
        .start();
    assert_eq!(gate.get(Way::Forward, "a.example").status, 504);
    assert!(!gate.sink.only().denied);
}

#[test]
fn f25_a_response_nobody_reads_is_cut_off() {
    let server = Server::new(|mut session| {
        session.request();
        session.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
        let block = vec![0; 1 << 20];
        (0..100).for_each(|_| session.send_bytes(&block));
    });
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .limits(|limits| limits.stall = SHORT)
        .start();
    let mut client = gate.proxy();
    client.send(request(Way::Forward, "a.example", "GET /", "", ""));
    let record = gate.sink.only();
    assert!(record.error.unwrap().contains("stalled"));
    assert!(record.down < 50_000_000, "{}", record.down);
}

#[test]
fn f25_an_idle_tunnel_is_cut_off() {
    for way in TUNNELS {
        let server = Server::echo();
        let gate = Setup::default()
            .allow("a.example", 443, &server)
            .limits(|limits| limits.tunnel_idle = SHORT)
            .start();
        let mut client = gate.tunnel(way, "a.example", 443);
        client.send(hello("a.example"));
        let begin = Instant::now();
        client.rest();
        assert!(
            begin.elapsed() >= SHORT && begin.elapsed() < SOON,
            "{way:?}"
        );
        assert!(gate.sink.only().error.unwrap().contains("idle"), "{way:?}");
    }
}

#[test]
fn f26_heads_are_bounded() {
    for way in [Way::Forward, Way::Transparent, Way::Connect] {
        let server = Server::http("ok");
        let gate = Setup::default().allow("a.example", 80, &server).start();
        let long = format!("x: {}\r\n", "y".repeat(70_000));
        gate.ask(way, "a.example", "GET /", &long, "")
            .assert_denied(431, "limit");
        let many = "x: y\r\n".repeat(101);
        gate.ask(way, "a.example", "GET /", &many, "")
            .assert_denied(431, "limit");
        assert!(server.is_untouched(), "{way:?}");
        let just = format!("x: {}\r\n{}", "y".repeat(30_000), "z: w\r\n".repeat(90));
        gate.ask(way, "a.example", "GET /", &just, "")
            .assert_ok("ok");
    }
}

#[test]
fn f26_an_upstream_with_an_endless_head_is_given_up() {
    let server = Server::new(|mut session| {
        session.request();
        session.send("HTTP/1.1 200 OK\r\n");
        (0..20_000).for_each(|n| session.send(&format!("x-{n}: y\r\n")));
    });
    let gate = Setup::default().allow("a.example", 80, &server).start();
    assert_eq!(gate.get(Way::Forward, "a.example").status, 502);
}

#[test]
fn f26_connections_are_bounded() {
    let server = Server::http("ok");
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .limits(|limits| limits.connections = 3)
        .start();
    let mut open: Vec<_> = (0..3).map(|_| gate.proxy()).collect();
    for client in &mut open {
        client.send(request(Way::Forward, "a.example", "GET /", "", ""));
        client.response().assert_ok("ok");
    }
    for _ in 0..5 {
        assert_eq!(gate.proxy().rest(), b"", "closed unread");
    }
    let limited: Vec<_> = gate
        .sink
        .requests()
        .into_iter()
        .filter(|r| r.denied)
        .collect();
    assert!(
        !limited.is_empty() && limited.len() < 5,
        "recorded, but not once for each: {limited:?}"
    );
    assert_eq!(limited[0].reason, Some("limit"));
    drop(open.pop());
    let end = Instant::now() + SOON;
    loop {
        let mut client = gate.proxy();
        client.send(request(Way::Forward, "a.example", "GET /", "", ""));
        if client.head().starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert!(Instant::now() < end, "a place came free");
    }
}

#[test]
fn l04_limits_do_not_depend_on_what_the_agent_claims() {
    let server = Server::http("ok");
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .limits(|limits| limits.connections = 1)
        .start();
    let mut first = gate.proxy();
    first.send(request(
        Way::Forward,
        "a.example",
        "GET /",
        "x-forwarded-for: 1.1.1.1\r\n",
        "",
    ));
    first.response().assert_ok("ok");
    let mut second = gate.proxy();
    second.send(request(
        Way::Forward,
        "a.example",
        "GET /",
        "x-forwarded-for: 2.2.2.2\r\n",
        "",
    ));
    assert_eq!(second.rest(), b"");
}
