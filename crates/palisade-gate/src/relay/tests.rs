use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

/// One side speaks frames, and between them there is so little room that everything comes in pieces.
fn pair(room: usize) -> (Relayed<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(room);
    (Relayed::new(near), far)
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut all = RelayFrame::Data(bytes.len()).head().to_vec();
    all.extend_from_slice(bytes);
    all
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(Duration::from_secs(10), work).await;
    done.expect("it does not hang")
}

#[tokio::test]
async fn frames_of_any_size_are_read_as_one_stream() {
    for room in [1, 2, 3, 5, 100, 1 << 20] {
        let (mut relayed, mut far) = pair(room);
        let mut sent = framed(b"a");
        sent.extend_from_slice(&framed(b"bcd"));
        sent.extend_from_slice(&framed(&[7; 1000]));
        sent.extend_from_slice(&RelayFrame::End.head());
        let mut read = Vec::new();
        let write = async { far.write_all(&sent).await.map(|()| far) };
        let (wrote, count) =
            within(async { tokio::join!(write, relayed.read_to_end(&mut read)) }).await;
        assert_eq!(count.unwrap(), 1004);
        assert_eq!((&read[..4], &read[4..]), (&b"abcd"[..], &[7; 1000][..]));
        drop(wrote);
        // An end that was said stays one, though the carrier is gone.
        assert_eq!(relayed.read(&mut [0; 9]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_carrier_that_is_cut_is_no_end() {
    let whole = [framed(b"abc"), framed(b"def")].concat();
    for cut in 0..whole.len() {
        let (mut relayed, mut far) = pair(1 << 20);
        far.write_all(&whole[..cut]).await.unwrap();
        drop(far);
        let error = within(relayed.read_to_end(&mut Vec::new())).await;
        let error = error.expect_err("it was cut");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{cut}");
    }
}

#[tokio::test]
async fn frames_that_are_none_end_the_connection() {
    for head in [
        [0; 4],
        [3, 0, 0, 1],
        [1, 0, 0, 0],
        [1, 0xff, 0xff, 0xff],
        [2, 0, 0, 1],
    ] {
        let (mut relayed, mut far) = pair(1 << 20);
        far.write_all(&head).await.unwrap();
        let error = within(relayed.read(&mut [0; 9]))
            .await
            .expect_err("no frame");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{head:?}");
    }
}

#[tokio::test]
async fn what_is_written_is_framed_and_an_end_closes_nothing() {
    for room in [1, 7, 1 << 20] {
        let (mut relayed, mut far) = pair(room);
        let body = vec![9; RELAY_FRAME_MAX + 10];
        let write = async {
            relayed.write_all(&body).await.unwrap();
            relayed.shutdown().await.unwrap();
            relayed.shutdown().await.unwrap();
            relayed
        };
        let mut read = vec![0; body.len() + 2 * RELAY_HEAD_LEN + RELAY_HEAD_LEN];
        let (mut relayed, count) =
            within(async { tokio::join!(write, far.read_exact(&mut read)) }).await;
        count.unwrap();
        let expected = [
            framed(&body[..RELAY_FRAME_MAX]),
            framed(&body[..10]),
            RelayFrame::End.head().to_vec(),
        ];
        assert!(read == expected.concat());
        assert!(
            relayed.write(b"more").await.is_err(),
            "nothing after an end"
        );
        // The other direction goes on.
        let answer = framed(b"still");
        let mut text = [0; 5];
        let (sent, got) =
            within(async { tokio::join!(far.write_all(&answer), relayed.read_exact(&mut text)) })
                .await;
        sent.unwrap();
        got.unwrap();
        assert_eq!(&text, b"still");
    }
}

#[tokio::test]
async fn a_write_that_is_given_up_leaves_the_frame_whole() {
    let (mut relayed, mut far) = pair(8);
    // Taken over at once, though there is no room for it.
    let taken = within(relayed.write(b"0123456789")).await.unwrap();
    assert_eq!(taken, 10);
    let other = async {
        relayed.write_all(b"x").await.unwrap();
        relayed.flush().await.unwrap();
    };
    let mut read = vec![0; 14 + 5];
    let ((), count) = within(async { tokio::join!(other, far.read_exact(&mut read)) }).await;
    count.unwrap();
    assert_eq!(read, [framed(b"0123456789"), framed(b"x")].concat());
}
