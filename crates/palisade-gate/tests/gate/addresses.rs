//! Attacks on where a permitted name leads: private places, look-ups that change, addresses typed by hand.

use crate::harness::{
    PLAIN_WAYS, Server, Setup, TUNNELS, Way, hello, hello_with, in_records, request, rule,
};

#[test]
fn d13_private_and_metadata_addresses_are_refused_after_resolution() {
    for way in TUNNELS {
        let inner = Server::echo();
        let mut private = rule("private.example");
        private.private = true;
        let gate = Setup::default()
            .rule(rule("*.public.example"))
            .rule(private)
            .address("a.public.example", &["127.0.0.1"])
            .address("b.public.example", &["169.254.169.254"])
            .address("c.public.example", &["64:ff9b::a00:1"])
            .address("d.public.example", &["::ffff:127.0.0.1"])
            .address("private.example", &["127.0.0.1"])
            .start();
        let port = inner.address.port();
        for (at, (name, reason)) in [
            ("a.public.example", "private-address"),
            ("b.public.example", "metadata-address"),
            ("c.public.example", "private-address"),
            ("d.public.example", "private-address"),
        ]
        .into_iter()
        .enumerate()
        {
            if let Ok(mut client) = gate.open(way, name, port) {
                client.send(hello(name));
                assert_eq!(client.rest(), [21, 3, 3, 0, 2, 2, 49], "{way:?} {name}");
            }
            let record = gate.sink.wait(at + 1)[at].clone();
            assert_eq!(
                (record.denied, record.reason),
                (true, Some(reason)),
                "{way:?} {name}"
            );
        }
        assert_eq!(
            inner.connections(),
            0,
            "{way:?}: not even a connection is made"
        );
        let mut client = gate.tunnel(way, "private.example", port);
        client.send(hello("private.example"));
        assert_eq!(client.exactly(1), [22], "{way:?}");
    }
}

#[test]
fn d13_literal_private_addresses_need_a_rule_that_names_them() {
    let server = Server::http("ok");
    for way in PLAIN_WAYS {
        let gate = Setup::default()
            .allow("10.1.2.3", 80, &server)
            .allow("a.example", 80, &server)
            .start();
        for (at, address) in ["10.9.9.9", "169.254.169.254"].into_iter().enumerate() {
            let denied = match gate.open(way, address, 80) {
                Ok(mut client) => {
                    client.send(request(way, address, "GET /", "", ""));
                    client.response().denied().map(str::to_owned)
                }
                Err(_) => None,
            };
            let record = gate.sink.wait(at + 1)[at].clone();
            let said = denied.as_deref().or(record.reason);
            assert_eq!(
                (said, record.reason),
                (Some("not-allowed"), Some("not-allowed")),
                "{way:?} {address}"
            );
        }
        gate.get(way, "10.1.2.3").assert_ok("ok");
    }
}

#[test]
fn d14_the_address_that_was_checked_is_the_one_dialled() {
    let server = Server::http("ok");
    let mut private = rule("a.example");
    private.private = true;
    let gate = Setup::default()
        .rule(private)
        .address("a.example", &["127.0.0.1"])
        .start();
    let port = server.address.port();
    let mut client = gate.proxy();
    for _ in 0..3 {
        client.send(format!(
            "GET http://a.example:{port}/ HTTP/1.1\r\nhost: a.example:{port}\r\n\r\n"
        ));
        client.response().assert_ok("ok");
    }
    assert_eq!(
        gate.resolver.asked(),
        ["a.example"],
        "one look-up, then the very connection"
    );
    assert_eq!(gate.sink.wait(1)[0].address, Some([127, 0, 0, 1].into()));
}

#[test]
fn d35_refused_names_are_never_looked_up() {
    let server = Server::http("ok");
    let mut private = rule("allowed.example");
    private.private = true;
    for way in PLAIN_WAYS {
        let gate = Setup::default()
            .rule(private.clone())
            .map("allowed.example", 80, &server)
            .address("data.evil.example", &["127.0.0.1"])
            .start();
        if let Ok(mut client) = gate.open(way, "data.evil.example", 80) {
            client.send(request(way, "data.evil.example", "GET /", "", ""));
            client.response().assert_denied(403, "not-allowed");
        }
        assert!(gate.resolver.asked().is_empty(), "{way:?}");
        gate.get(way, "allowed.example").assert_ok("ok");
    }
}

#[test]
fn d41_localhost_and_the_gate_itself_are_no_destinations() {
    for way in [Way::Forward, Way::Connect, Way::Socks4a, Way::Socks5] {
        let server = Server::http("host service");
        let port = server.address.port();
        let gate = Setup::default()
            .rule(rule("localhost"))
            .rule(rule("127.0.0.1"))
            .allow("a.example", 80, &server)
            .map("localhost", port, &server)
            .start();
        for (at, host) in ["localhost", "127.0.0.1", "127.8.8.8"]
            .into_iter()
            .enumerate()
        {
            match gate.open(way, host, port) {
                Ok(mut client) => {
                    client.send(format!(
                        "GET http://{host}:{port}/ HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n"
                    ));
                    client.response().assert_denied(403, "loopback");
                }
                Err(said) => assert!(said[..2] != [5, 0] && said[..2] != [0, 0x5a]),
            }
            assert_eq!(
                gate.sink.wait(at + 1)[at].reason,
                Some("loopback"),
                "{way:?} {host}"
            );
        }
        assert_eq!(server.connections(), 0, "{way:?}");
        gate.get(way, "a.example").assert_ok("host service");
    }
}

#[test]
fn clients_that_look_names_up_themselves_reach_them_through_every_proxy() {
    let server = Server::echo();
    let gate = Setup::default().allow("a.example", 443, &server).start();
    let allowed = gate.synthetic("a.example").to_string();
    let other = gate.synthetic("other.example").to_string();
    for (at, way) in [Way::Connect, Way::Socks4a, Way::Socks5]
        .into_iter()
        .enumerate()
    {
        let mut client = gate.tunnel(way, &allowed, 443);
        client.send(hello("a.example"));
        assert_eq!(client.exactly(1), [22], "{way:?}");
        drop(client);
        assert_eq!(
            gate.sink.wait(2 * at + 1)[2 * at].host,
            "a.example",
            "{way:?}"
        );
        assert!(gate.open(way, &other, 443).is_err(), "{way:?}");
        let record = gate.sink.wait(2 * at + 2)[2 * at + 1].clone();
        assert_eq!(
            (record.reason, record.host.as_str()),
            (Some("not-allowed"), "other.example")
        );
    }
    // What was given out for one name does not carry another.
    let mut client = gate.tunnel(Way::Socks5, &allowed, 443);
    client.send(hello("other.example"));
    assert_eq!(client.rest(), [21, 3, 3, 0, 2, 2, 112]);
}

#[test]
fn an_address_typed_by_hand_is_just_that() {
    let server = Server::echo();
    let gate = Setup::default()
        .allow("a.example", 443, &server)
        .allow("192.0.2.7", 443, &server)
        .map("192.0.2.8", 443, &server)
        .start();
    // An allowed name in the ClientHello does not open an address no rule names.
    let mut client = gate.tunnel(Way::Transparent, "192.0.2.8", 443);
    client.send(hello("a.example"));
    assert_eq!(client.rest(), [21, 3, 3, 0, 2, 2, 49]);
    let record = gate.sink.only();
    assert_eq!(
        (record.reason, record.host.as_str()),
        (Some("not-allowed"), "192.0.2.8")
    );
    assert_eq!(
        record.error.as_deref(),
        Some("the ClientHello names a.example")
    );
    // Nor does one that was never given out by our DNS.
    let mut client = gate.caught("198.18.77.77:443".parse().unwrap());
    client.send(hello("a.example"));
    assert_eq!(client.rest(), [21, 3, 3, 0, 2, 2, 49]);
    // A named address is reached without a name, and not with one.
    let mut client = gate.tunnel(Way::Transparent, "192.0.2.7", 443);
    client.send(hello("a.example"));
    assert_eq!(client.rest(), [21, 3, 3, 0, 2, 2, 112]);
    assert!(server.is_untouched());
    let nameless = in_records(&hello_with(&[]), 16384);
    let mut client = gate.tunnel(Way::Transparent, "192.0.2.7", 443);
    client.send(&nameless);
    assert_eq!(client.exactly(nameless.len()), nameless);
}
