//! The engine's own interface, for questions: asking it takes a millisecond or two, and its command line takes twenty.
//!
//! One request of HTTP/1.0 a connection, over the Unix socket that the command line would use: such an answer is not cut into
//! chunks and ends with the connection. The engine is trusted (it is root), and what it says is bounded all the same.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use palisade_boundary::StartError;
use serde_json::Value;
use sha2::{Digest, Sha256};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as connect_to, socket_with,
};

use crate::engine::{Engine, PATIENCE, cannot};

/// Longest answer. An account of a container with ten thousand mounts has 5 MB.
const MOST_BYTES: usize = 64 << 20;
/// Where the engine listens that no setting names.
const USUAL: &str = "/var/run/docker.sock";

/// What tells the engine's command line where the engine listens.
#[derive(Clone, Debug, Default)]
pub struct ClientSettings {
    /// `DOCKER_HOST`.
    pub host: Option<OsString>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<OsString>,
    /// The folder of its settings: `DOCKER_CONFIG`, or `~/.docker`.
    pub folder: PathBuf,
}

/// An engine that listens at this socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Api(PathBuf);

impl Api {
    /// Where the command line would ask, if that is a Unix socket. What cannot be told is left to the command line.
    pub(crate) fn of(settings: &ClientSettings) -> Option<Self> {
        let host = match set(settings.host.as_ref()) {
            Some(host) => host.to_owned(),
            None => match context(settings)? {
                name if name == "default" => return Some(Self(USUAL.into())),
                name => host_of(&settings.folder, &name)?,
            },
        };
        let socket = host.strip_prefix("unix://")?;
        socket.starts_with('/').then(|| Self(socket.into()))
    }

    /// The engine's account of a container (`inspect`).
    pub(crate) fn account(&self, engine: Engine, container: &str) -> Result<Vec<u8>, StartError> {
        let what = "look at the container";
        let path = format!("/containers/{container}/json");
        match self.get(engine, what, &path, PATIENCE)? {
            (200, account) => Ok(account),
            (_, words) => Err(engine.refused(what, &String::from_utf8_lossy(&words))),
        }
    }

    /// Whether it has an image.
    pub(crate) fn has_image(&self, engine: Engine, name: &str) -> Result<bool, StartError> {
        let what = "look for the image of the root";
        let path = format!("/images/{name}/json");
        match self.get(engine, what, &path, PATIENCE)? {
            (200, _) => Ok(true),
            (404, _) => Ok(false),
            (_, words) => Err(engine.refused(what, &String::from_utf8_lossy(&words))),
        }
    }

    /// Status and body of an answer.
    pub(crate) fn get(
        &self,
        engine: Engine,
        what: &str,
        path: &str,
        patience: Duration,
    ) -> Result<(u16, Vec<u8>), StartError> {
        let silent = || engine.silent_at(what, &self.0, patience);
        let connection = connect(&self.0, patience).map_err(|error| {
            let at = self.0.display();
            let words = match error.kind() {
                io::ErrorKind::WouldBlock => return silent(),
                io::ErrorKind::PermissionDenied => format!("connect: permission denied: {at}"),
                _ => format!("Cannot connect to the Docker daemon at {at}: {error}"),
            };
            engine.refused(what, &words)
        })?;
        ask(connection, path, patience).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => silent(),
            _ => cannot(what.into(), format!("ask the engine: {error}")),
        })
    }
}

/// Waits no longer than `patience` where nobody accepts what waits there already.
pub(crate) fn connect(socket: &Path, patience: Duration) -> io::Result<UnixStream> {
    let kind = SocketType::STREAM;
    let stream = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&stream, Timeout::Send, Some(patience))?;
    connect_to(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(stream.into())
}

/// Status and body.
fn ask(mut connection: UnixStream, path: &str, patience: Duration) -> io::Result<(u16, Vec<u8>)> {
    let deadline = Instant::now() + patience;
    write!(connection, "GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut part = [0; 1 << 16];
    while answer.len() < MOST_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        connection.set_read_timeout(Some(left))?;
        match connection.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    parse(&answer).ok_or_else(|| io::Error::other("its answer is not HTTP"))
}

fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(end + 4)?;
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ');
    let status = status.nth(1)?.parse().ok()?;
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    // One that was cut short is none.
    match length.map(|(_, value)| value.trim().parse::<usize>()) {
        Some(Ok(length)) if length != body.len() => None,
        Some(Err(_)) => None,
        _ => Some((status, body.to_vec())),
    }
}

/// The context in use (docker-context(1)).
fn context(settings: &ClientSettings) -> Option<String> {
    if let Some(named) = set(settings.context.as_ref()) {
        return Some(named.to_owned());
    }
    let usual = Some("default".to_owned());
    let text = match fs::read(settings.folder.join("config.json")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return usual,
        Err(_) => return None,
    };
    let value: Value = serde_json::from_slice(&text).ok()?;
    match &value["currentContext"] {
        Value::Null => usual,
        Value::String(name) if name.is_empty() => usual,
        Value::String(name) => Some(name.clone()),
        _ => None,
    }
}

/// Where the engine of a context listens. It lies in a folder named by the digest of its name.
fn host_of(folder: &Path, context: &str) -> Option<String> {
    let digest = Sha256::digest(context.as_bytes());
    let digest: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    let path = folder.join("contexts/meta").join(digest).join("meta.json");
    let value: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let host = value["Endpoints"]["docker"]["Host"].as_str()?;
    Some(host.to_owned())
}

/// An empty variable is none.
fn set(variable: Option<&OsString>) -> Option<&str> {
    variable?.to_str().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn the_engine_is_looked_for_where_its_command_line_looks() {
        let folder = tempfile::tempdir().expect("folder");
        let settings = |host: &str, context: &str| ClientSettings {
            host: Some(host.into()),
            context: Some(context.into()),
            folder: folder.path().into(),
        };
        let at = |path: &str| Some(Api(path.into()));
        assert_eq!(Api::of(&settings("", "")), at(USUAL));
        assert_eq!(Api::of(&settings("unix:///a/b", "mine")), at("/a/b"));
        for elsewhere in [
            "tcp://host:2375",
            "ssh://host",
            "unix://relative",
            "unix://",
        ] {
            assert_eq!(Api::of(&settings(elsewhere, "")), None, "{elsewhere}");
        }
        // printf mine | sha256sum
        let digest = "3fd30542fe3f61b14bd4a4b2dc0b6fb30fa6f63ebce52dd1778aaa8c4dc02cff";
        let meta = folder
            .path()
            .join("contexts/meta")
            .join(digest)
            .join("meta.json");
        put(
            &meta,
            r#"{"Name":"mine","Endpoints":{"docker":{"Host":"unix:///m.sock"}}}"#,
        );
        assert_eq!(Api::of(&settings("", "mine")), at("/m.sock"));
        assert_eq!(Api::of(&settings("", "other")), None);
        put(
            &folder.path().join("config.json"),
            r#"{"currentContext":"mine"}"#,
        );
        assert_eq!(Api::of(&settings("", "")), at("/m.sock"));
        assert_eq!(Api::of(&settings("", "default")), at(USUAL));
        put(&folder.path().join("config.json"), "nonsense");
        assert_eq!(Api::of(&settings("", "")), None);
    }

    #[test]
    fn who_accepts_and_never_answers_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("folder");
        let place = folder.path().join("socket");
        let short = Duration::from_millis(50);
        let listener = UnixListener::bind(&place).expect("socket");
        // Nobody accepts: the kernel does, as long as there is room.
        let silent = ask(connect(&place, short).expect("room"), "/", short);
        let kind = silent.expect_err("no answer").kind();
        assert!(matches!(
            kind,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ));
        let mut waiting = Vec::new();
        let full = loop {
            match connect(&place, short) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(full, io::ErrorKind::WouldBlock);
        // The control: one that answers is heard.
        drop(waiting);
        let answer = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("connection");
                let asked = io::BufReader::new(&stream).lines();
                asked
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .count();
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nwell");
            }
        });
        let long = Duration::from_secs(600);
        let heard = ask(connect(&place, long).expect("room"), "/", long).expect("an answer");
        assert_eq!(heard, (200, b"well".to_vec()));
        drop(answer);
    }

    #[test]
    fn an_answer_that_is_cut_short_is_none() {
        let whole = b"HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse(whole), Some((404, b"{}".to_vec())));
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        let until_the_end = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n[1]";
        assert_eq!(parse(until_the_end), Some((200, b"[1]".to_vec())));
    }
}
