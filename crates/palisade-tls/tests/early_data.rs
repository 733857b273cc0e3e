//! TLS 1.3 early data can be replayed by whoever saw it (RFC 8446, section 8), so neither side of the gate takes part.
#![allow(missing_docs)]

use std::sync::Arc;

use palisade_tls::{Connector, ConstrainedName, Interceptor, Offer, SessionAuthority};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const HOST: &str = "a.example";
const H1: Offer = Offer {
    http1: true,
    http2: false,
};

/// A server that takes early data, and the PEM text of its certificate.
fn willing_server() -> (TlsAcceptor, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([HOST.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.max_early_data_size = 4096;
    (TlsAcceptor::from(Arc::new(config)), certificate.pem())
}

/// A client that sends early data wherever it may.
fn willing_client(trust: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(
        CertificateDer::pem_slice_iter(trust.as_bytes()).filter_map(Result::ok),
    );
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_early_data = true;
    Arc::new(config)
}

fn name() -> ServerName<'static> {
    ServerName::try_from(HOST).unwrap()
}

/// Tickets come behind the handshake, so a client has to read once to have them.
async fn talk(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    mut server: impl AsyncRead + AsyncWrite + Unpin,
) {
    let asking = async {
        client.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"pong");
    };
    let answering = async {
        let mut asked = [0; 4];
        server.read_exact(&mut asked).await.unwrap();
        server.write_all(b"pong").await.unwrap();
        server.flush().await.unwrap();
    };
    tokio::join!(asking, answering);
}

/// Whether a client that has been there once may begin with early data the next time.
fn may_begin_early(config: &Arc<ClientConfig>) -> bool {
    let mut connection = ClientConnection::new(Arc::clone(config), name()).unwrap();
    connection.early_data().is_some()
}

#[tokio::test]
async fn f28_the_agents_side_offers_no_early_data() {
    let (acceptor, trust) = willing_server();
    control(&acceptor, &trust).await;

    let hosts = [ConstrainedName::Name(HOST.into())];
    let authority = SessionAuthority::new("test", &hosts).unwrap();
    let willing = willing_client(authority.certificate_pem());
    let interceptor = Interceptor::new(authority, 16).unwrap();
    let connector = TlsConnector::from(Arc::clone(&willing));
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (near, far) = duplex(64 * 1024);
        let accepting = interceptor.accept(far, HOST, H1);
        let (client, server) = tokio::join!(connector.connect(name(), near), accepting);
        let (client, (server, _)) = (client.unwrap(), server.unwrap());
        let kind = client.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(expected));
        talk(client, server).await;
    }
    // This takes the ticket, so it comes last.
    assert!(!may_begin_early(&willing));
}

#[tokio::test]
async fn f28_nothing_is_sent_early_to_a_server_that_would_take_it() {
    let (acceptor, trust) = willing_server();
    let ours = Connector::new(trust.clone().into_bytes());
    control(&acceptor, &trust).await;
    for resumed in [false, true] {
        let (near, far) = duplex(64 * 1024);
        let (client, server) = tokio::join!(ours.connect(near, HOST, H1), acceptor.accept(far));
        let ((client, _), mut server) = (client.unwrap(), server.unwrap());
        let connection = server.get_mut().1;
        let kind = connection.handshake_kind();
        assert_eq!(kind == Some(HandshakeKind::Resumed), resumed, "{kind:?}");
        assert!(connection.early_data().is_none());
        talk(client, server).await;
    }
}

/// A client that may begin early does so with this server.
async fn control(acceptor: &TlsAcceptor, trust: &str) {
    let willing = willing_client(trust);
    let (near, far) = duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::clone(&willing));
    let (client, server) = tokio::join!(connector.connect(name(), near), acceptor.accept(far));
    talk(client.unwrap(), server.unwrap()).await;
    assert!(may_begin_early(&willing), "the control");
}
