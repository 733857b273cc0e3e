//! Copies bytes both ways and reads none of them.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

use crate::words::Words;
use crate::{Result, orphaned};

/// As large as pays in bulk on loopback.
const BUFFER: usize = 256 * 1024;

pub(crate) async fn serve(words: &Words) -> Result<()> {
    let to: SocketAddr = words.get("to")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!(r#"{{"port": {}}}"#, listener.local_addr()?.port());
    let accept = async {
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(to).await?;
                upstream.set_nodelay(true)?;
                copy_bidirectional_with_sizes(&mut stream, &mut upstream, BUFFER, BUFFER).await
            });
        }
    };
    tokio::select! {
        ended = accept => ended,
        () = orphaned() => Ok(()),
    }
}
