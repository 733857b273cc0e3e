//! The demo's own upstream: one HTTP and one DNS socket on loopback, each served by a thread for as long as the demo
//! runs. It answers every request the same way, which is all the attempts need.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

/// A request that takes longer than this is not one of the demo's.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the upstream listens.
pub(crate) struct Upstream {
    pub(crate) http: SocketAddr,
    pub(crate) dns: SocketAddr,
}

impl Upstream {
    /// Starts it on two free loopback ports.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let own = Self {
            http: listener.local_addr()?,
            dns: socket.local_addr()?,
        };
        thread::spawn(move || {
            listener
                .incoming()
                .flatten()
                .for_each(|stream| drop(answer_http(stream)))
        });
        thread::spawn(move || answer_dns(&socket));
        Ok(own)
    }
}

fn answer_http(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") && head.len() < 16 * 1024 {
        match stream.read(&mut chunk)? {
            0 => break,
            n => head.extend_from_slice(&chunk[..n]),
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
}

fn answer_dns(socket: &UdpSocket) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query) {
        let mut reply = query[..length].to_vec();
        if reply.len() < 12 {
            continue;
        }
        // A response with one answer: the question's name, type A, class IN, 60 seconds, 192.0.2.53.
        reply[2] |= 0x80;
        reply[7] = 1;
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 53]);
        let _ = socket.send_to(&reply, from);
    }
}
