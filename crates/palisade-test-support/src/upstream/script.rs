//! Stand-ins written in another language, where only that has a server of the protocol: HTTP/2, WebSocket, gRPC, AWS.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::require::{Need, Skip, need, program};

/// Which stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// HTTP/2 and HTTP/1.1 over TLS (node).
    Http2,
    /// Echoes WebSocket messages over TLS (python, `websockets`).
    WebSocket,
    /// Answers gRPC calls over TLS (python, `grpc`).
    Grpc,
    /// Answers requests that are signed as AWS does, with the key of its arguments (python, `botocore`).
    Aws,
}

/// A running stand-in. It is killed when dropped.
pub struct ScriptServer {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<Value>>>,
    _files: TempDir,
}

impl Script {
    fn file(self) -> PathBuf {
        let name = match self {
            Self::Http2 => "http2.js",
            Self::WebSocket => "websocket.py",
            Self::Grpc => "grpc_server.py",
            Self::Aws => "aws.py",
        };
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scripts")
            .join(name)
    }

    fn interpreter(self) -> Result<PathBuf, Skip> {
        match self {
            Self::Http2 => program("node", "nodejs"),
            Self::WebSocket => {
                need(&[Need::PythonModule("websockets", "python3-websockets")])?;
                program("python3", "python3")
            }
            Self::Grpc => {
                need(&[Need::PythonModule("grpc", "python3-grpcio")])?;
                program("python3", "python3")
            }
            Self::Aws => {
                need(&[Need::PythonModule("botocore", "python3-botocore")])?;
                program("python3", "python3")
            }
        }
    }

    /// Starts it under these names, certified by this authority, with further arguments of its own.
    ///
    /// # Errors
    /// The interpreter or a module is not installed.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(
        self,
        authority: &Authority,
        names: &[&str],
        arguments: &[&str],
    ) -> Result<ScriptServer, Skip> {
        let interpreter = self.interpreter()?;
        let files = tempfile::tempdir().expect("make a directory");
        let (certificate, key) = authority.server_files(names, files.path());
        let mut child = Command::new(interpreter)
            .arg(self.file())
            .args([certificate, key])
            .args(arguments)
            .env_clear()
            .env("PATH", crate::require::PATH)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the stand-in");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let port = first.parse().unwrap_or_else(|_| {
            panic!("the stand-in {self:?} said {first:?} in place of its port")
        });
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let entry = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(entry);
            }
        });
        Ok(ScriptServer {
            child,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            log,
            _files: files,
        })
    }
}

impl ScriptServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it said of the requests so far, a JSON value each.
    pub fn log(&self) -> Vec<Value> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for ScriptServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl fmt::Debug for ScriptServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScriptServer({})", self.address)
    }
}
