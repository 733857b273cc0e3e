//! The server that all ways lead to, in clear text and within TLS.

use std::net::Ipv4Addr;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::words::Words;
use crate::{Result, orphaned, secured};

const BLOCK: usize = 256 * 1024;

pub(crate) async fn serve(words: &Words) -> Result<()> {
    let (certificate, key) = (words.text("certificate")?, words.text("key")?);
    let acceptor = secured::acceptor(Path::new(certificate), Path::new(key))?;
    let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let secure = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!(
        r#"{{"plain": {}, "secure": {}}}"#,
        plain.local_addr()?.port(),
        secure.local_addr()?.port()
    );
    tokio::select! {
        ended = accept(plain, None) => ended,
        ended = accept(secure, Some(acceptor)) => ended,
        () = orphaned() => Ok(()),
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match acceptor.clone() {
            None => drop(tokio::spawn(answer(stream))),
            Some(acceptor) => drop(tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream).await;
                }
            })),
        }
    }
}

/// Each read is one request: clients here wait for the answer before they ask again.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let small = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n{}",
        "x".repeat(100)
    );
    let mut request = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut request).await {
        let path = request[..count].split(|b| *b == b' ').nth(1).unwrap_or(b"");
        let path = String::from_utf8_lossy(path).into_owned();
        let done = if let Some(bytes) = path.strip_prefix("/bulk/") {
            bulk(&mut stream, bytes.parse().unwrap_or(0)).await
        } else if path == "/events" {
            events(&mut stream).await
        } else {
            stream.write_all(small.as_bytes()).await
        };
        if done.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn bulk(stream: &mut (impl AsyncWrite + Unpin), mut left: usize) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {left}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let block: Vec<u8> = (0..BLOCK).map(|at| ((at * 31) >> 3) as u8).collect();
    while left > 0 {
        let count = left.min(BLOCK);
        stream.write_all(&block[..count]).await?;
        left -= count;
    }
    Ok(())
}

/// One event at once, the end of the stream a little later: a proxy that waits for the end is seen.
async fn events(stream: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    stream.write_all(b"f\r\ndata: {\"a\":1}\n\n\r\n").await?;
    stream.flush().await?;
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    stream.write_all(b"0\r\n\r\n").await
}
