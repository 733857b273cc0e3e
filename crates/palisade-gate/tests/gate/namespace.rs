//! The sockets a boundary hands out, for real: in a network namespace in which every address is local.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use palisade_protocol::ListenerKind;
use palisade_test_support::{Need, Outcome, Skip, conclude, need};
use socket2::{Domain, Socket, Type};

use crate::harness::{Client, Server, Setup, hello, question, socket};

/// Makes every address local, as a boundary does.
const ROUTES: &str = "ip link set lo up && ip route add local 0.0.0.0/0 dev lo && \
    ip -6 route add local ::/0 dev lo && exec \"$0\" --exact \"$1\"";
/// Set in the namespace, where the test runs a second time.
const INSIDE: &str = "PALISADE_TEST_INSIDE";
const NAME: &str = "namespace::destinations_are_told_by_the_sockets_of_a_namespace";

#[test]
fn destinations_are_told_by_the_sockets_of_a_namespace() {
    #[allow(
        clippy::disallowed_methods,
        reason = "a test tells its second run what it is"
    )]
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    conclude(NAME, outcome());
}

fn outcome() -> Outcome {
    need(&[
        Need::Program("unshare", "util-linux"),
        Need::Program("ip", "iproute2"),
    ])?;
    let unshare = || {
        let mut command = Command::new("unshare");
        command.arg("-Urn");
        command
    };
    if !unshare()
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        return Err(Skip::because(
            "user namespaces are not to be had",
            "set kernel.unprivileged_userns_clone or apparmor_restrict_unprivileged_userns",
        ));
    }
    let own = std::env::current_exe().unwrap();
    let mut command = unshare();
    command
        .args(["sh", "-c", ROUTES])
        .arg(own)
        .arg(NAME)
        .env(INSIDE, "1");
    let run = command.output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && said.contains("1 passed"),
        "{said}{run:?}"
    );
    Ok(())
}

fn inside() {
    let server = Server::echo();
    let dns4 = UdpSocket::bind("0.0.0.0:53").unwrap();
    let dns6 = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
    dns6.set_only_v6(true).unwrap();
    dns6.set_freebind_v6(true).unwrap();
    let any: SocketAddr = (Ipv6Addr::UNSPECIFIED, 53).into();
    dns6.bind(&any.into()).unwrap();
    let gate = Setup::default()
        .allow("a.example", 8443, &server)
        .start_on(vec![
            socket(
                ListenerKind::Transparent,
                TcpListener::bind("[::]:8443").unwrap(),
            ),
            socket(ListenerKind::DnsV4, dns4),
            socket(ListenerKind::DnsV6, dns6),
        ]);
    for (own, resolver) in [
        ("10.9.8.7:0", "9.9.9.9:53"),
        ("[::1]:0", "[2001:db8::53]:53"),
    ] {
        let v4 = ask(own, resolver, 1);
        let v6 = ask(own, resolver, 28);
        assert_eq!(v4, IpAddr::from([198, 18, 0, 1]), "{resolver}");
        for ip in [v4, v6] {
            let mut client = Client::new(TcpStream::connect((ip, 8443)).unwrap());
            client.send(hello("a.example"));
            assert_eq!(client.exactly(1), [22], "{ip}");
        }
    }
    let mut foreign = Client::new(TcpStream::connect("1.1.1.1:8443").unwrap());
    foreign.send(hello("a.example"));
    assert_eq!(foreign.rest(), [21, 3, 3, 0, 2, 2, 49]);
    let records = gate.sink.wait(1);
    assert!(
        records.iter().any(|r| r.denied && r.host == "1.1.1.1"),
        "{records:?}"
    );
}

/// Asks a resolver that does not exist. A connected socket takes answers from the address it asked alone.
fn ask(own: &str, resolver: &str, kind: u16) -> IpAddr {
    let socket = UdpSocket::bind(own).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket.connect(resolver).unwrap();
    socket.send(&question("a.example", kind)).unwrap();
    let mut reply = [0; 512];
    let count = socket
        .recv(&mut reply)
        .expect("an answer from the resolver asked");
    match kind {
        1 => <[u8; 4]>::try_from(&reply[count - 4..count])
            .unwrap()
            .into(),
        _ => <[u8; 16]>::try_from(&reply[count - 16..count])
            .unwrap()
            .into(),
    }
}
