//! What listens outside. Each listener answers everybody with the token of this run, and ends with the process.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::path::Path;
use std::thread::spawn;
use std::time::Duration;

/// Nobody is waited for longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A port that is free for TCP may be taken for UDP.
const TRIES: usize = 20;
/// What the resolver answers (RFC 5737).
const ANSWER: [u8; 4] = [192, 0, 2, 77];

/// Where they are.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) web: SocketAddr,
    pub(super) web_v6: Option<SocketAddr>,
    pub(super) echo: SocketAddr,
    pub(super) direct: Option<SocketAddr>,
    pub(super) direct_echo: Option<SocketAddr>,
    pub(super) resolver: SocketAddr,
    pub(super) resolver_v6: Option<SocketAddr>,
    pub(super) abstract_name: String,
}

impl Listeners {
    pub(super) fn start(token: &str) -> io::Result<Self> {
        let loopback = (Ipv4Addr::LOCALHOST, 0).into();
        let loopback_v6: SocketAddr = (Ipv6Addr::LOCALHOST, 0).into();
        let direct = own_address();
        let abstract_name = format!("palisade-verify-{token}");
        let named = UnixAddr::from_abstract_name(&abstract_name)?;
        greet(UnixListener::bind_addr(&named)?, token);
        // What a machine lacks of these is listed as not tried.
        Ok(Self {
            web: web(loopback, token)?,
            web_v6: web(loopback_v6, token).ok(),
            echo: echo(loopback, token)?,
            direct: direct.and_then(|address| web(address, token).ok()),
            direct_echo: direct.and_then(|address| echo(address, token).ok()),
            resolver: resolver(loopback)?,
            resolver_v6: resolver(loopback_v6).ok(),
            abstract_name,
        })
    }

    /// One more, at a path.
    pub(super) fn listen_at(&self, path: &Path, token: &str) -> io::Result<()> {
        let listener = UnixListener::bind(path)?;
        // As for the folder it lies in.
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        greet(listener, token);
        Ok(())
    }
}

/// The address the machine would use to reach the world, if it has one. Nothing is sent.
fn own_address() -> Option<SocketAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(SocketAddr::new(own, 0))
}

fn web(at: SocketAddr, token: &str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(at)?;
    let address = listener.local_addr()?;
    let length = token.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{token}");
    serve(listener, move |mut stream| {
        let mut asked = [0; 1024];
        if stream.read(&mut asked)? > 0 {
            stream.write_all(answer.as_bytes())?;
        }
        Ok(())
    });
    Ok(address)
}

fn echo(at: SocketAddr, token: &str) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind(at)?;
    let address = socket.local_addr()?;
    let token = token.to_owned();
    answer_datagrams(socket, move |_| token.clone().into_bytes());
    Ok(address)
}

/// By UDP and TCP on one port.
fn resolver(at: SocketAddr) -> io::Result<SocketAddr> {
    let mut taken = None;
    for _ in 0..TRIES {
        let listener = TcpListener::bind(at)?;
        let address = listener.local_addr()?;
        match UdpSocket::bind(address) {
            Ok(socket) => {
                answer_datagrams(socket, answer_query);
                serve(listener, |mut stream| {
                    let mut length = [0; 2];
                    stream.read_exact(&mut length)?;
                    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                    stream.read_exact(&mut query)?;
                    let answer = answer_query(&query);
                    let length = u16::try_from(answer.len()).unwrap_or(0).to_be_bytes();
                    stream.write_all(&[length.as_slice(), &answer].concat())
                });
                return Ok(address);
            }
            Err(error) => taken = Some(error),
        }
    }
    Err(taken.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// The question with one address behind it (RFC 1035, section 4.1; the name is a pointer to the question's).
fn answer_query(query: &[u8]) -> Vec<u8> {
    let mut answer = query.to_vec();
    if let Some(head) = answer.get_mut(2..8) {
        head.copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    }
    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    answer.extend_from_slice(&ANSWER);
    answer
}

fn serve(
    listener: TcpListener,
    answer: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
) {
    spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever connects and says nothing is let go; nobody else waits for long.
            let patient = stream.set_read_timeout(Some(PATIENCE));
            let _ = patient.and_then(|()| answer(stream));
        }
    });
}

fn answer_datagrams(socket: UdpSocket, answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) {
    spawn(move || {
        let mut asked = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut asked) {
            // Who is gone gets no answer.
            let _ = socket.send_to(&answer(&asked[..length]), from);
        }
    });
}

fn greet(listener: UnixListener, token: &str) {
    let token = token.to_owned();
    spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // As above.
            let _ = stream.write_all(token.as_bytes());
        }
    });
}
