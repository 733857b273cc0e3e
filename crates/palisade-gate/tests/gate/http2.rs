//! HTTP/2 through the gate: what an agent and a server that both speak it see of each other, and what does not get by.

mod attacks;
mod bodies;
mod credentials;
mod curl;
mod frames;
mod grpc;
mod refusals;
mod serving;
mod upstreams;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use palisade_audit::Spoken;
use palisade_policy::{PathPattern, Rule};
use palisade_test_support::authority::Authority;

use crate::harness::{Record, Server, Setup, TestGate, Way, rule};

const H2: &[&str] = &["h2"];

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

type Answer = Pin<Box<dyn Future<Output = ()> + Send>>;
type Handler = Arc<dyn Fn(Request<RecvStream>, SendResponse<Bytes>) -> Answer + Send + Sync>;

/// A server that speaks HTTP/2 and remembers the heads it saw. Its thread ends with the test process.
struct Upstream {
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
    address: SocketAddr,
}

impl Upstream {
    fn new<F>(
        handler: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with(&h2::server::Builder::new(), handler)
    }

    fn with<F>(
        builder: &h2::server::Builder,
        handler: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handler: Handler =
            Arc::new(move |request, respond| Box::pin(handler(request, respond)));
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let upstream = Self {
            heads: Arc::default(),
            connections: Arc::default(),
            address: listener.local_addr().unwrap(),
        };
        let (heads, connections) = (
            Arc::clone(&upstream.heads),
            Arc::clone(&upstream.connections),
        );
        let builder = builder.clone();
        std::thread::spawn(move || {
            run(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    *connections.lock().unwrap() += 1;
                    tokio::spawn(connection(
                        stream,
                        builder.clone(),
                        Arc::clone(&handler),
                        Arc::clone(&heads),
                    ));
                }
            });
        });
        upstream
    }

    /// Answers every request with 200 and this body.
    fn says(body: &'static str) -> Self {
        Self::new(move |_, mut respond| async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream
                .send_data(Bytes::from_static(body.as_bytes()), true)
                .unwrap();
        })
    }

    /// The heads of all requests so far, a line each for method, authority and path, and for each field.
    fn seen(&self) -> String {
        self.heads.lock().unwrap().concat()
    }

    fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Behind TLS for these names.
    fn within_tls(&self, authority: &Authority, names: &[&str], protocols: &[&str]) -> Server {
        let mut server = Server::http("unused");
        server.address = self.address;
        server.within_tls(authority, names, protocols)
    }
}

async fn connection(
    stream: tokio::net::TcpStream,
    builder: h2::server::Builder,
    handler: Handler,
    heads: Arc<Mutex<Vec<String>>>,
) {
    let Ok(mut connection) = builder.handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let mut head = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            head.push_str(&format!(
                "{name}: {}\n",
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
        heads.lock().unwrap().push(head);
        tokio::spawn(handler(request, respond));
    }
}

/// A gate that looks into `a.example`, of which `upstream` is the server; `b.example` is another host it looks into.
fn gate(upstream: &Upstream) -> TestGate {
    gate_with(upstream, |setup| setup)
}

fn gate_with(upstream: &Upstream, change: impl FnOnce(Setup) -> Setup) -> TestGate {
    let authority = Authority::new();
    let server = upstream.within_tls(&authority, &["a.example", "b.example"], H2);
    let setup = Setup::default()
        .rule(looked_into("a.example"))
        .rule(looked_into("b.example"))
        .map("a.example", 443, &server)
        .map("b.example", 443, &server)
        .intercept(&authority);
    change(setup).start()
}

fn looked_into(host: &str) -> Rule {
    Rule {
        paths: Some([PathPattern::parse("/**").unwrap()].into()),
        ..rule(host)
    }
}

/// The agent's end of a connection to `a.example`, on which HTTP/2 was agreed.
async fn agent(gate: &TestGate) -> SendRequest<Bytes> {
    agent_with(gate, &h2::client::Builder::new()).await
}

async fn agent_with(gate: &TestGate, builder: &h2::client::Builder) -> SendRequest<Bytes> {
    let (send, connection) = builder.handshake(stream(gate)).await.unwrap();
    tokio::spawn(connection);
    send
}

/// The same as a stream of frames.
fn stream(gate: &TestGate) -> tokio::net::TcpStream {
    let client = gate.tunnel(Way::Connect, "a.example", 443);
    let (client, protocol) = client.secure(&gate.trust, "a.example", H2).unwrap();
    assert_eq!(protocol.as_deref(), Some("h2"));
    client.stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(client.stream).unwrap()
}

/// A response, read to its end.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Got {
    #[track_caller]
    fn assert_ok(&self, body: &str) {
        assert_eq!((self.status, self.text().as_str()), (200, body), "{self:?}");
    }

    #[track_caller]
    fn assert_denied(&self, status: u16, code: &str) {
        let denied = self.headers.get("palisade-denied");
        let denied = denied.map(|value| value.to_str().unwrap());
        assert_eq!((self.status, denied), (status, Some(code)), "{self:?}");
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["palisade"]["reason"], code);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// `start` is method and path at `a.example`.
fn ask(start: &str) -> Request<()> {
    let (method, path) = start.split_once(' ').unwrap();
    Request::builder()
        .method(method)
        .uri(format!("https://a.example{path}"))
        .body(())
        .unwrap()
}

fn ask_with(start: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = ask(start);
    for (name, value) in fields {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

/// Sends a request, all of its body at once, and reads the response to its end.
async fn fetch(
    agent: &SendRequest<Bytes>,
    request: Request<()>,
    body: &[u8],
) -> Result<Got, h2::Error> {
    let mut agent = agent.clone().ready().await?;
    let (response, mut sender) = agent.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        sender.send_data(Bytes::copy_from_slice(body), true)?;
    }
    let wait = tokio::time::timeout(PATIENCE, async { got(response.await?).await });
    wait.await.expect("a response in time")
}

async fn got(response: Response<RecvStream>) -> Result<Got, h2::Error> {
    let (parts, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(Got {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body,
        trailers: stream.trailers().await?,
    })
}

/// Sends all of it, at the pace of who takes it.
async fn push(stream: &mut SendStream<Bytes>, mut data: Bytes, end: bool) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let room = room.ok_or(h2::Error::from(h2::Reason::STREAM_CLOSED))??;
        let piece = data.split_to(room.min(data.len()));
        stream.send_data(piece, end && data.is_empty())?;
    }
    Ok(())
}

/// Waits for the records of this many requests; the connections they came on have records of their own.
#[track_caller]
fn records(gate: &TestGate, count: usize) -> Vec<Record> {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let mut records = gate.sink.requests();
        records.retain(|record| matches!(record.spoken, Some(Spoken::H2 | Spoken::Grpc)));
        if records.len() >= count {
            return records;
        }
        assert!(
            std::time::Instant::now() < end,
            "{count} awaited, there are {records:#?}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn run<T>(task: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(task)
}
