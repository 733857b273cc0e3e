//! Queries, over one stream to the gate. It answers some and leaves others, so each gets a number of ours on its way.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use palisade_protocol::{RELAY_HEAD_LEN, RelayFrame, RelayOpening};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, recvfrom, send, sendto};

use super::call;

/// Longest query that the gate takes, as over UDP.
const QUERY_MAX: usize = 1500;
/// Queries that wait for an answer; who asks more loses the oldest, as with any resolver that is asked too much.
const WAITING: usize = 1024;
/// Most bytes of answers that are not complete yet: the longest answer, and as much again.
const BUFFERED: usize = 2 * (RELAY_HEAD_LEN + 65_535);

/// Who asked.
#[derive(Clone, Copy)]
struct Asked {
    /// Our number, which the gate sees.
    number: u16,
    /// The asker's own.
    own: [u8; 2],
    socket: usize,
    from: SocketAddr,
}

/// See the module.
#[derive(Default)]
pub(super) struct Dns {
    gate: Option<OwnedFd>,
    waiting: Vec<Option<Asked>>,
    next: u16,
    /// What has come of the next answers.
    come: Vec<u8>,
}

impl Dns {
    /// The stream, where it is open.
    pub(super) fn gate(&self) -> Option<BorrowedFd<'_>> {
        self.gate.as_ref().map(AsFd::as_fd)
    }

    /// Ends it; the next query opens another.
    pub(super) fn close(&mut self) {
        self.gate = None;
        self.come = Vec::new();
    }

    /// Passes one query on; says whether the stream had to be opened for it. A query that cannot be passed on is lost, as a datagram may be.
    pub(super) fn ask(&mut self, index: usize, socket: &OwnedFd, path: &PathBuf) -> Option<bool> {
        // One byte more than is taken tells what is too long.
        let mut bytes = [0; QUERY_MAX + 1];
        let (_, length, from) = recvfrom(socket, &mut bytes, RecvFlags::DONTWAIT).ok()?;
        let from: SocketAddr = from?.try_into().ok()?;
        let query = bytes.get_mut(..length).filter(|q| q.len() <= QUERY_MAX)?;
        let id = query.first_chunk_mut::<2>()?;
        self.next = self.next.wrapping_add(1);
        let (number, own) = (self.next, *id);
        *id = number.to_be_bytes();
        let frame = [&RelayFrame::Data(length).head()[..], query].concat();
        let opened = self.gate.is_none();
        if opened {
            let gate = call(path).ok()?;
            whole(&gate, &RelayOpening::Dns.encode())?;
            self.gate = Some(gate);
        }
        if whole(self.gate.as_ref()?, &frame).is_none() {
            self.close();
            return None;
        }
        self.waiting.resize(WAITING, None);
        let asked = Asked {
            number,
            own,
            socket: index,
            from,
        };
        *self.waiting.get_mut(usize::from(number) % WAITING)? = Some(asked);
        Some(opened)
    }

    /// Passes on what answers there are.
    pub(super) fn answer(&mut self, sockets: &[OwnedFd]) {
        let Some(gate) = &self.gate else {
            return;
        };
        let mut bytes = [0; 4096];
        match recv(gate, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((_, count)) if count > 0 && self.come.len() + count <= BUFFERED => {
                self.come
                    .extend_from_slice(bytes.get(..count).unwrap_or_default());
            }
            Err(Errno::AGAIN | Errno::INTR) => return,
            _ => return self.close(),
        }
        while let Some((head, rest)) = self.come.split_first_chunk::<RELAY_HEAD_LEN>() {
            let Ok(RelayFrame::Data(length)) = RelayFrame::of_head(*head) else {
                return self.close();
            };
            let Some(answer) = rest.get(..length) else {
                return;
            };
            let answer = answer.to_vec();
            self.come.drain(..RELAY_HEAD_LEN + length);
            self.pass_on(answer, sockets);
        }
    }

    fn pass_on(&mut self, mut answer: Vec<u8>, sockets: &[OwnedFd]) -> Option<()> {
        let id = answer.first_chunk_mut::<2>()?;
        let number = u16::from_be_bytes(*id);
        let place = self.waiting.get_mut(usize::from(number) % WAITING)?;
        let asked = place.take_if(|asked| asked.number == number)?;
        *id = asked.own;
        let socket = sockets.get(asked.socket)?;
        sendto(socket, &answer, SendFlags::DONTWAIT, &asked.from).ok()?;
        Some(())
    }
}

/// All at once or not at all: half a frame would be the beginning of another. The gate takes queries as they come.
fn whole(gate: &OwnedFd, bytes: &[u8]) -> Option<()> {
    let sent = send(gate, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    (sent == Ok(bytes.len())).then_some(())
}
