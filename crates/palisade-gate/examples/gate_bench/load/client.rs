//! One client connection: by CONNECT or not, within TLS or not.

use std::net::SocketAddr;
use std::path::Path;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::words::Words;
use crate::{Result, secured};

/// How connections are made.
pub struct Client {
    to: SocketAddr,
    host: String,
    /// The authority to ask for by CONNECT first; `{host}` stands for the host.
    connect: Option<String>,
    tls: Option<TlsConnector>,
    /// What `Host` and targets name, where it is not the host.
    authority: Option<String>,
    /// Targets are absolute.
    absolute: bool,
}

trait Bytes: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Bytes for S {}

/// A connection that is ready for requests.
pub struct Connection {
    stream: Box<dyn Bytes>,
    host: String,
    prefix: String,
    buffer: Vec<u8>,
}

impl Client {
    pub fn new(words: &Words) -> Result<Self> {
        let text = |key| words.has(key).then(|| words.get(key)).transpose();
        let tls = words
            .has("roots")
            .then(|| secured::connector(Path::new(words.text("roots")?)));
        Ok(Self {
            to: words.get("to")?,
            host: words.or("host", "bench.example".to_owned())?,
            connect: text("connect")?,
            authority: text("authority")?,
            absolute: words.has("absolute"),
            tls: tls.transpose()?,
        })
    }

    pub async fn connect(&self) -> Result<Connection> {
        self.connect_to(&self.host).await
    }

    pub async fn connect_to(&self, host: &str) -> Result<Connection> {
        let mut stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        if let Some(connect) = &self.connect {
            let authority = connect.replace("{host}", host);
            let ask = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
            stream.write_all(ask.as_bytes()).await?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut answer).await? == 0 {
                    return Err("the proxy closed the connection".into());
                }
            }
            if answer.get(9..12) != Some(b"200") {
                return Err(String::from_utf8_lossy(&answer).into_owned().into());
            }
        }
        let stream: Box<dyn Bytes> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned())?;
                Box::new(tls.connect(name, stream).await?)
            }
        };
        let host = self.authority.as_deref().unwrap_or(host);
        let prefix = if self.absolute {
            format!("http://{host}")
        } else {
            String::new()
        };
        Ok(Connection {
            stream,
            host: host.to_owned(),
            prefix,
            buffer: vec![0; 64 * 1024],
        })
    }
}

/// How the end of a body is known.
enum End {
    Length(usize),
    Chunks,
}

impl Connection {
    async fn ask(&mut self, path: &str) -> Result<()> {
        let Self { host, prefix, .. } = self;
        let request = format!(
            "GET {prefix}{path} HTTP/1.1\r\nhost: {host}\r\naccept: */*\r\nuser-agent: bench\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    /// Asks, and reads the whole answer. Returns the length of its body, as far as it has one.
    pub async fn get(&mut self, path: &str) -> Result<usize> {
        self.ask(path).await?;
        let (mut there, head) = self.head().await?;
        match ending(&self.buffer[..head])? {
            End::Length(length) => {
                let mut left = length.saturating_sub(there - head);
                while left > 0 {
                    let count = self.read(0).await?;
                    left = left.checked_sub(count).ok_or("more than was announced")?;
                }
                Ok(length)
            }
            End::Chunks => {
                while !self.buffer[..there].ends_with(b"\r\n0\r\n\r\n") {
                    if there > self.buffer.len() / 2 {
                        self.buffer.copy_within(there - 7..there, 0);
                        there = 7;
                    }
                    there += self.read(there).await?;
                }
                Ok(0)
            }
        }
    }

    /// Asks for a stream of events, and reads to the end of the first.
    pub async fn first_event(&mut self) -> Result<()> {
        self.ask("/events").await?;
        let (mut there, _) = self.head().await?;
        while !self.buffer[..there]
            .windows(15)
            .any(|text| text == b"data: {\"a\":1}\n\n")
        {
            there += self.read(there).await?;
        }
        Ok(())
    }

    /// Reads until the head is there. How many bytes are there, and how many of them are the head's.
    async fn head(&mut self) -> Result<(usize, usize)> {
        let mut there = 0;
        loop {
            there += self.read(there).await?;
            let bytes = &self.buffer[..there];
            let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
                continue;
            };
            if bytes.get(9..12) != Some(b"200") {
                return Err(String::from_utf8_lossy(bytes).into_owned().into());
            }
            return Ok((there, end + 4));
        }
    }

    async fn read(&mut self, at: usize) -> Result<usize> {
        match self.stream.read(&mut self.buffer[at..]).await? {
            0 => Err("the connection ended within an answer".into()),
            count => Ok(count),
        }
    }
}

fn ending(head: &[u8]) -> Result<End> {
    for line in head.split(|b| *b == b'\n') {
        let mut parts = line.splitn(2, |b| *b == b':');
        let (name, value) = (
            parts.next().unwrap_or(b""),
            parts.next().unwrap_or(b"").trim_ascii(),
        );
        if name.eq_ignore_ascii_case(b"content-length") {
            return Ok(End::Length(std::str::from_utf8(value)?.parse()?));
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Ok(End::Chunks);
        }
    }
    Err("an answer without a length".into())
}
