//! A service whose server speaks first, as SMTP, MySQL and SSH do.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use super::server::Server;

/// Greets, then answers each line with the line in upper case.
#[derive(Clone, Copy, Debug)]
pub struct ServerFirst;

impl ServerFirst {
    /// The first line it sends.
    pub const GREETING: &str = "220 ready when you are\r\n";

    /// Starts it.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn start() -> Server {
        Server::bare(|stream| {
            // A client may leave at any point.
            talk(stream).ok();
        })
    }
}

fn talk(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(ServerFirst::GREETING.as_bytes())?;
    let reader = BufReader::new(stream.try_clone()?);
    for line in reader.lines() {
        // In one write, so that one read of the client gets it whole.
        stream.write_all((line?.to_uppercase() + "\n").as_bytes())?;
    }
    Ok(())
}
