//! What leaves, and where it arrives.

use std::net::TcpListener;

use crate::support::{Who, as_everybody};

/// What the gate's side answers to a connection, or the shell's complaint.
fn connect(who: Who, options: &[&str], address: &str, port: u16) -> String {
    let script = format!("exec 3<>/dev/tcp/{address}/{port} && cat <&3");
    let said = who.shell(&[&["serve"], options].concat(), &script);
    if said.code == 0 { said.out } else { said.err }
}

#[test]
fn every_port_of_every_address_leads_to_the_gate() {
    as_everybody(|who| {
        let cases = [
            ("1.2.3.4", 443),
            ("169.254.169.254", 80),
            ("10.0.0.1", 9),
            ("198.51.100.7", 65535),
            ("2001:db8::1", 443),
            ("fd00::1", 12345),
        ];
        for (address, port) in cases {
            let told = connect(who, &[], address, port);
            assert!(
                told.starts_with(&format!("Transparent {address} {port} ")),
                "{told}"
            );
        }
    });
}

#[test]
fn the_proxy_port_is_on_both_loopback_addresses() {
    as_everybody(|who| {
        for address in ["127.0.0.1", "::1"] {
            let told = connect(who, &["port:4321"], address, 4321);
            assert!(
                told.starts_with(&format!("Proxy {address} 4321 ")),
                "{told}"
            );
        }
    });
}

#[test]
fn the_agents_own_servers_are_its_own() {
    as_everybody(|who| {
        let serve = r#"
import socket, threading
for family, bound, asked in [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET, "0.0.0.0", "127.0.0.1"), (socket.AF_INET6, "::", "::1")]:
    s = socket.socket(family); s.bind((bound, 0)); s.listen()
    c = socket.create_connection((asked, s.getsockname()[1])); a, _ = s.accept()
    a.sendall(b"own"); print(c.recv(3).decode())
"#;
        let said = who.shell(&["serve"], &format!("/usr/bin/python3 -c '{serve}'"));
        assert_eq!(said.fine(), "own\nown\nown\n");
    });
}

#[test]
fn the_hosts_loopback_is_not_the_insides() {
    as_everybody(|who| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let address = listener.local_addr().expect("address");
        std::net::TcpStream::connect(address).expect("reachable outside");
        let told = connect(who, &[], "127.0.0.1", address.port());
        assert!(told.contains("refused"), "{told}");
    });
}

#[test]
fn dns_queries_to_any_resolver_are_answered_from_there() {
    as_everybody(|who| {
        for resolver in ["8.8.8.8", "127.0.0.53", "2001:4860:4860::8888"] {
            // A connected socket takes an answer from nobody else.
            let ask =
                format!("exec 3<>/dev/udp/{resolver}/53; echo query >&3; timeout 5 head -n1 <&3");
            let said = who.shell(&["serve"], &ask);
            assert_eq!(said.fine(), format!("{resolver} query\n"));
        }
    });
}

#[test]
fn other_datagrams_are_refused() {
    as_everybody(|who| {
        let send = "exec 3<>/dev/udp/1.1.1.1/PORT; echo x >&3; sleep 0.2; echo y >&3";
        let refused = who.shell(&["serve"], &send.replace("PORT", "443"));
        assert_ne!(refused.code, 0);
        assert!(refused.err.contains("refused"), "{refused:?}");
        who.shell(&["serve"], &send.replace("PORT", "53")).fine();
    });
}

#[test]
fn there_is_only_loopback_and_it_cannot_be_changed() {
    as_everybody(|who| {
        let devices = who
            .shell(&[], "tail -n +3 /proc/net/dev | wc -l; cat /proc/net/dev")
            .fine();
        assert!(
            devices.starts_with("1\n") && devices.contains("lo:"),
            "{devices}"
        );
        let raw = "/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'";
        assert_ne!(who.shell(&[], raw).code, 0);
        let plain =
            "/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)'";
        who.shell(&[], plain).fine();
    });
}

#[test]
fn without_nftables_the_chosen_ports_are_caught_and_no_other_leads_anywhere() {
    as_everybody(|who| {
        let (netlink, netfilter) = (libc::AF_NETLINK, libc::NETLINK_NETFILTER);
        let refuse = format!(
            "refuse:{}:{}:{netlink}:{netfilter}",
            libc::SYS_socket,
            libc::EPROTONOSUPPORT
        );
        for (address, port) in [("1.2.3.4", 443), ("2001:db8::1", 80)] {
            let told = connect(who, &[&refuse], address, port);
            assert!(
                told.starts_with(&format!("Transparent {address} {port} ")),
                "{told}"
            );
        }
        let told = connect(who, &[&refuse], "1.2.3.4", 8443);
        assert!(told.contains("refused"), "{told}");
    });
}

#[test]
fn without_ipv6_everything_else_works() {
    as_everybody(|who| {
        let refuse = format!(
            "refuse:{}:{}:{}",
            libc::SYS_socket,
            libc::EAFNOSUPPORT,
            libc::AF_INET6
        );
        let told = connect(who, &[&refuse], "1.2.3.4", 8443);
        assert!(told.starts_with("Transparent 1.2.3.4 8443 "), "{told}");
        let ask = "exec 3<>/dev/udp/8.8.8.8/53; echo query >&3; timeout 5 head -n1 <&3";
        assert_eq!(
            who.shell(&["serve", &refuse], ask).fine(),
            "8.8.8.8 query\n"
        );
        let told = connect(who, &[&refuse], "2001:db8::1", 443);
        assert!(told.contains("not supported"), "{told}");
    });
}
