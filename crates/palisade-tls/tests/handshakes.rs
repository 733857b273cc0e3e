//! Handshakes between our own sides, and what independent programs make of the certificates.
#![allow(missing_docs)]

use std::net::IpAddr;
use std::process::Command;

use palisade_tls::{
    AcceptError, Alpn, ConnectError, Connector, ConstrainedName, Interceptor, Offer, RootsError,
    SessionAuthority,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

const H1: Offer = Offer {
    http1: true,
    http2: false,
};
const H2: Offer = Offer {
    http1: false,
    http2: true,
};
const BOTH: Offer = Offer {
    http1: true,
    http2: true,
};

fn authority() -> SessionAuthority {
    let address: IpAddr = "192.0.2.7".parse().unwrap();
    let hosts = [
        ConstrainedName::Name("a.example".into()),
        ConstrainedName::Name("b.example".into()),
        ConstrainedName::Address(address),
    ];
    SessionAuthority::new("test", &hosts).unwrap()
}

/// What the client and the server end up with.
type Both = (Result<Alpn, ConnectError>, Result<Alpn, AcceptError>);

async fn handshake(
    interceptor: &Interceptor,
    connector: &Connector,
    minted_for: &str,
    asked_for: &str,
    (client, server): (Offer, Offer),
) -> Both {
    let (near, far): (DuplexStream, DuplexStream) = duplex(64 * 1024);
    let connecting = async {
        let (mut stream, alpn) = connector.connect(near, asked_for, client).await?;
        stream.write_all(b"ping").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Ends without an error only if the server said that it ends (close_notify).
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"pong");
        Ok(alpn)
    };
    let accepting = async {
        let (mut stream, alpn) = interceptor.accept(far, minted_for, server).await?;
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"ping");
        stream.write_all(b"pong").await.unwrap();
        stream.shutdown().await.unwrap();
        Ok(alpn)
    };
    tokio::join!(connecting, accepting)
}

fn pair() -> (Interceptor, Connector) {
    let authority = authority();
    let connector = Connector::new(authority.certificate_pem().into());
    (Interceptor::new(authority, 16).unwrap(), connector)
}

#[tokio::test]
async fn both_sides_agree_on_what_both_offer() {
    let (interceptor, connector) = pair();
    for (client, server, agreed) in [
        (BOTH, H1, Alpn::Http1),
        (BOTH, H2, Alpn::Http2),
        (BOTH, BOTH, Alpn::Http2),
        (H1, BOTH, Alpn::Http1),
        (Offer::NONE, BOTH, Alpn::Http1),
        (BOTH, Offer::NONE, Alpn::Http1),
    ] {
        for host in ["a.example", "deep.a.example", "192.0.2.7"] {
            let (client, server) =
                handshake(&interceptor, &connector, host, host, (client, server)).await;
            assert_eq!(client.unwrap(), agreed);
            assert_eq!(server.unwrap(), agreed);
        }
    }
}

#[tokio::test]
async fn no_common_protocol_is_a_failure() {
    let (interceptor, connector) = pair();
    let (client, server) =
        handshake(&interceptor, &connector, "a.example", "a.example", (H2, H1)).await;
    assert!(client.is_err() && server.is_err());
}

#[tokio::test]
async fn c05_a_certificate_for_another_host_is_refused() {
    let (interceptor, connector) = pair();
    let (client, server) =
        handshake(&interceptor, &connector, "b.example", "a.example", (H1, H1)).await;
    assert!(
        matches!(client, Err(ConnectError::Certificate(_))),
        "{client:?}"
    );
    assert!(
        matches!(server, Err(AcceptError::Distrusted(_))),
        "{server:?}"
    );
}

#[tokio::test]
async fn the_name_constraint_holds_whatever_is_minted() {
    let (interceptor, connector) = pair();
    for host in ["c.example", "xa.example", "192.0.2.8", "2001:db8::1"] {
        let (client, _) = handshake(&interceptor, &connector, host, host, (H1, H1)).await;
        assert!(
            matches!(client, Err(ConnectError::Certificate(_))),
            "{host}: {client:?}"
        );
    }
}

#[tokio::test]
async fn an_authority_for_addresses_alone_signs_for_no_name_and_the_other_way_round() {
    let names = [ConstrainedName::Name("a.example".into())];
    let addresses = [ConstrainedName::Address("192.0.2.7".parse().unwrap())];
    for (hosts, good, bad) in [
        (&names[..], "a.example", "192.0.2.7"),
        (&addresses[..], "192.0.2.7", "a.example"),
    ] {
        let authority = SessionAuthority::new("test", hosts).unwrap();
        let connector = Connector::new(authority.certificate_pem().into());
        let interceptor = Interceptor::new(authority, 16).unwrap();
        let (client, _) = handshake(&interceptor, &connector, good, good, (H1, H1)).await;
        client.unwrap();
        let (client, _) = handshake(&interceptor, &connector, bad, bad, (H1, H1)).await;
        assert!(
            matches!(client, Err(ConnectError::Certificate(_))),
            "{bad}: {client:?}"
        );
    }
}

#[tokio::test]
async fn f29_another_sessions_authority_is_not_trusted() {
    let (interceptor, _) = pair();
    let hosts = [ConstrainedName::Name("a.example".into())];
    let other = SessionAuthority::new("other", &hosts).unwrap();
    let other = Connector::new(other.certificate_pem().into());
    let (client, server) =
        handshake(&interceptor, &other, "a.example", "a.example", (H1, H1)).await;
    assert!(
        matches!(client, Err(ConnectError::Certificate(_))),
        "{client:?}"
    );
    assert!(
        matches!(server, Err(AcceptError::Distrusted(_))),
        "{server:?}"
    );
}

#[tokio::test]
async fn f26_many_names_leave_few_leaves() {
    let authority = SessionAuthority::new("t", &[ConstrainedName::Name("example".into())]).unwrap();
    let connector = Connector::new(authority.certificate_pem().into());
    let interceptor = Interceptor::new(authority, 16).unwrap();
    for number in 0..200 {
        let host = format!("h{number}.example");
        let (client, _) = handshake(&interceptor, &connector, &host, &host, (H1, H1)).await;
        client.unwrap();
    }
    assert!(interceptor.leaves() <= 16, "{}", interceptor.leaves());
}

#[tokio::test]
async fn without_roots_nothing_is_verified_and_so_nothing_is_reached() {
    let (interceptor, _) = pair();
    for roots in [&b""[..], b"no certificate"] {
        let connector = Connector::new(roots.into());
        let (near, _far) = duplex(1024);
        let result = connector.connect(near, "a.example", H1).await;
        assert!(matches!(result, Err(ConnectError::Roots(RootsError::None))));
    }
    drop(interceptor);
}

/// OpenSSL reads what was made, and finds in it what the documentation says.
#[test]
fn openssl_reads_the_authority() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority().certificate_pem()).unwrap();
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-text", "-in"])
        .arg(&file)
        .output()
        .expect("openssl is installed wherever these tests run");
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "prime256v1",
        "CA:TRUE, pathlen:0",
        "DNS:a.example",
        "DNS:b.example",
        "IP:192.0.2.7/255.255.255.255",
        "CN = Palisade session test",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
