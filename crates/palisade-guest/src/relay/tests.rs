use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use palisade_protocol::{OPENING_LEN, RELAY_HEAD_LEN, RelayFrame, RelayOpening};

use super::*;

/// A relay that runs, and the gate's side of it.
struct Lab {
    listening: SocketAddr,
    asked: SocketAddr,
    gate: UnixListener,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate");
        let gate = UnixListener::bind(&path).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let queries = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listening = listener.local_addr().unwrap();
        let asked = queries.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let ways = Ways {
            listeners: vec![Way {
                socket: listener.into(),
                proxy: false,
                redirected: false,
            }],
            queries: vec![queries.into()],
        };
        let relay = Relay::new(ways, path).unwrap();
        thread::spawn(move || relay.serve());
        Self {
            listening,
            asked,
            gate,
            _folder: folder,
        }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.listening).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client
    }

    fn accept(&self) -> (RelayOpening, UnixStream) {
        let (mut stream, _) = self.gate.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut opening = [0; OPENING_LEN];
        stream.read_exact(&mut opening).unwrap();
        (RelayOpening::decode(&opening).unwrap(), stream)
    }
}

/// Far longer than anything here takes: only what hangs comes to it.
const LONG: Duration = Duration::from_secs(60);

/// The next frame's bytes; none at an end.
fn frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut head = [0; RELAY_HEAD_LEN];
    stream.read_exact(&mut head).unwrap();
    let RelayFrame::Data(length) = RelayFrame::of_head(head).unwrap() else {
        return None;
    };
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    Some(bytes)
}

fn put(stream: &mut UnixStream, bytes: &[u8]) {
    let head = RelayFrame::Data(bytes.len()).head();
    stream.write_all(&[&head[..], bytes].concat()).unwrap();
}

fn end(stream: &mut UnixStream) {
    stream.write_all(&RelayFrame::End.head()).unwrap();
}

#[test]
fn each_direction_ends_alone() {
    let lab = Lab::new();
    let mut client = lab.connect();
    let (opening, mut gate) = lab.accept();
    assert_eq!(opening, RelayOpening::Transparent(lab.listening));
    client.write_all(b"question").unwrap();
    assert_eq!(frame(&mut gate).unwrap(), b"question");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(frame(&mut gate), None);
    put(&mut gate, b"answer");
    put(&mut gate, b", and more");
    end(&mut gate);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer, and more");
    // All is said, so the carrier is closed.
    assert_eq!(gate.read(&mut [0]).unwrap(), 0);
}

#[test]
fn what_the_gate_ends_first_goes_on_the_other_way() {
    let lab = Lab::new();
    let mut client = lab.connect();
    let (_, mut gate) = lab.accept();
    end(&mut gate);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    client.write_all(b"still").unwrap();
    assert_eq!(frame(&mut gate).unwrap(), b"still");
    drop(client);
    assert_eq!(frame(&mut gate), None);
}

#[test]
fn a_carrier_that_is_cut_looks_like_no_end() {
    let lab = Lab::new();
    for broken in [&[][..], &[9, 0, 0, 1], &RelayFrame::Data(9).head()] {
        let mut client = lab.connect();
        let (_, mut gate) = lab.accept();
        gate.write_all(broken).unwrap();
        drop(gate);
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn who_is_slow_holds_back_who_is_fast_and_nothing_is_lost() {
    const ALL: usize = 32 << 20;
    let lab = Lab::new();
    let mut client = lab.connect();
    let (_, mut gate) = lab.accept();
    // The kernel's buffers and two frames are filled, and then nothing goes any more.
    client.set_nonblocking(true).unwrap();
    let block = [7; 1 << 16];
    let mut sent = 0;
    let mut refused = 0;
    while refused < 50 && sent < ALL {
        match client.write(&block) {
            Ok(count) => (sent, refused) = (sent + count, 0),
            Err(_) => {
                refused += 1;
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
    assert!(sent < ALL, "{sent} bytes were taken that nobody read");
    client.set_nonblocking(false).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut come = 0;
    while let Some(bytes) = frame(&mut gate) {
        assert!(bytes.iter().all(|byte| *byte == 7));
        come += bytes.len();
    }
    assert_eq!(come, sent);
}

#[test]
fn a_thousand_connections_at_once_reach_the_gate_each_with_its_own_bytes() {
    let lab = Lab::new();
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut carriers = Vec::new();
    for number in 0..1000u32 {
        let mut client = lab.connect();
        client.write_all(&number.to_be_bytes()).unwrap();
        clients.push(client);
        carriers.push(lab.accept().1);
    }
    for gate in &mut carriers {
        let bytes = frame(gate).unwrap();
        put(gate, &bytes);
        end(gate);
    }
    for (number, client) in (0u32..).zip(&mut clients) {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, number.to_be_bytes());
    }
}

#[test]
fn answers_come_to_who_asked_whatever_their_order() {
    let lab = Lab::new();
    let ask = |text: &[u8]| {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client.send_to(text, lab.asked).unwrap();
        client
    };
    // The same number twice, which two programs may well choose.
    let first = ask(b"\x00\x01first");
    let (opening, mut gate) = lab.accept();
    assert_eq!(opening, RelayOpening::Dns);
    let asked_first = frame(&mut gate).unwrap();
    let second = ask(b"\x00\x01second");
    let asked_second = frame(&mut gate).unwrap();
    assert_eq!(&asked_second[2..], b"second");
    assert_ne!(asked_first[..2], asked_second[..2]);
    put(&mut gate, &asked_second);
    // Nobody asked that.
    put(&mut gate, b"\xff\xffnothing");
    put(&mut gate, &asked_first);
    for (client, expected) in [
        (&second, &b"\x00\x01second"[..]),
        (&first, b"\x00\x01first"),
    ] {
        let mut answer = [0; 100];
        let (length, from) = client.recv_from(&mut answer).unwrap();
        assert_eq!((&answer[..length], from), (expected, lab.asked));
    }
    // What no query is leaves the stream as it was.
    ask(b"x");
    ask(&[0; 2000]);
    let last = ask(b"\x00\x02last");
    assert_eq!(&frame(&mut gate).unwrap()[2..], b"last");
    // And a gate that closed is called again.
    drop(gate);
    let again = thread::spawn(move || {
        loop {
            last.send_to(b"\x00\x03again", lab.asked).unwrap();
            last.set_read_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            let mut answer = [0; 100];
            if let Ok(length) = last.recv(&mut answer) {
                return answer[..length].to_vec();
            }
        }
    });
    let (_, mut gate) = lab.accept();
    let query = frame(&mut gate).unwrap();
    put(&mut gate, &query);
    assert_eq!(again.join().unwrap(), b"\x00\x03again");
}
