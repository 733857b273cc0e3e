//! How the sockets made inside reach the supervisor: the `Ready` frame, followed by one byte a socket that tells its
//! kind, with the descriptors attached to the same message.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use palisade_protocol::{FRAME_LEN, InitEvent, Listener, ListenerKind};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Most sockets of one boundary: well above two proxy, one transparent and two DNS ones with a port list to catch, and
/// below the 253 descriptors the kernel carries with one message (`SCM_MAX_FD`).
pub const MOST_SOCKETS: usize = 64;

/// Sockets on their way out. Its memory is reserved before `clone`.
#[derive(Debug)]
pub struct Outbox {
    sockets: Vec<OwnedFd>,
    kinds: [u8; MOST_SOCKETS],
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Outbox {
    /// Reserves the memory.
    pub fn new() -> Self {
        Self {
            sockets: Vec::with_capacity(MOST_SOCKETS),
            kinds: [0; MOST_SOCKETS],
        }
    }

    /// Adds a socket, within the reserved memory.
    ///
    /// # Errors
    /// `ENOBUFS` past [`MOST_SOCKETS`].
    pub fn push(&mut self, kind: ListenerKind, socket: OwnedFd) -> rustix::io::Result<()> {
        let place = self.kinds.get_mut(self.sockets.len());
        *place.ok_or(rustix::io::Errno::NOBUFS)? = tag(kind);
        self.sockets.push(socket);
        Ok(())
    }

    /// Sends all and closes them here. For use after `clone`.
    ///
    /// # Errors
    /// The connection broke.
    pub fn hand_out(&mut self, control: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let mut fds = [control; MOST_SOCKETS];
        for (place, socket) in fds.iter_mut().zip(&self.sockets) {
            *place = socket.as_fd();
        }
        let count = self.sockets.len();
        let frame = InitEvent::Ready.encode();
        let kinds = self.kinds.get(..count).unwrap_or_default();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(
            fds.get(..count).unwrap_or_default(),
        ));
        let parts = [IoSlice::new(&frame), IoSlice::new(kinds)];
        sendmsg(control, &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
        self.sockets.clear();
        Ok(())
    }
}

/// One message from inside.
#[derive(Debug)]
pub struct Message {
    /// What happened.
    pub event: InitEvent,
    /// The sockets that came with it.
    pub sockets: Vec<Listener>,
}

/// Reads one message without waiting; `None` when the other side is gone.
///
/// # Errors
/// `WouldBlock` where there is nothing yet; `InvalidData` for what is malformed.
pub fn receive(control: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    let mut bytes = [0u8; FRAME_LEN + MOST_SOCKETS];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let received = match recvmsg(control, &mut parts, &mut ancillary, flags) {
        // Init left with something unread, and the kernel says so once, before it yields what init had sent.
        Err(Errno::CONNRESET) => recvmsg(control, &mut parts, &mut ancillary, flags)?,
        other => other?,
    };
    let fds: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "message from init is malformed");
    let (frame, kinds) = bytes
        .get(..received.bytes)
        .and_then(|m| m.split_at_checked(FRAME_LEN))
        .ok_or_else(malformed)?;
    if kinds.len() != fds.len() {
        return Err(malformed());
    }
    let sockets = kinds
        .iter()
        .zip(fds)
        .map(|(tag, socket)| {
            Some(Listener {
                kind: kind(*tag)?,
                socket,
            })
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(malformed)?;
    let event = InitEvent::decode(frame).map_err(|_| malformed())?;
    Ok(Some(Message { event, sockets }))
}

fn tag(kind: ListenerKind) -> u8 {
    match kind {
        ListenerKind::Proxy => 1,
        ListenerKind::Transparent => 2,
        ListenerKind::DnsV4 => 3,
        ListenerKind::DnsV6 => 4,
    }
}

fn kind(tag: u8) -> Option<ListenerKind> {
    Some(match tag {
        1 => ListenerKind::Proxy,
        2 => ListenerKind::Transparent,
        3 => ListenerKind::DnsV4,
        4 => ListenerKind::DnsV6,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, send, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("socket pair")
    }

    #[test]
    fn as_many_sockets_as_there_is_room_for_come_out_with_their_kinds() {
        let (ours, theirs) = pair();
        let mut outbox = Outbox::new();
        let kinds = [
            ListenerKind::Proxy,
            ListenerKind::Transparent,
            ListenerKind::DnsV4,
            ListenerKind::DnsV6,
        ];
        let all = || kinds.into_iter().cycle().take(MOST_SOCKETS);
        for kind in all() {
            outbox.push(kind, pair().0).expect("room");
        }
        let full = outbox.push(ListenerKind::Proxy, pair().0);
        assert_eq!(full, Err(rustix::io::Errno::NOBUFS));
        outbox.hand_out(theirs.as_fd()).expect("sent");
        let message = receive(ours.as_fd())
            .expect("received")
            .expect("not the end");
        assert_eq!(message.event, InitEvent::Ready);
        let received: Vec<_> = message.sockets.iter().map(|l| l.kind).collect();
        assert_eq!(received, all().collect::<Vec<_>>());
    }

    #[test]
    fn what_was_sent_is_heard_although_the_sender_left_something_unread() {
        let (ours, theirs) = pair();
        send(&theirs, &InitEvent::Started.encode(), SendFlags::empty()).expect("sent");
        send(&ours, b"never read", SendFlags::empty()).expect("sent");
        drop(theirs);
        let message = receive(ours.as_fd())
            .expect("received")
            .expect("not the end");
        assert_eq!(message.event, InitEvent::Started);
        assert!(receive(ours.as_fd()).expect("the end").is_none());
    }

    #[test]
    fn the_end_and_malformed_messages_are_told_apart() {
        let (ours, theirs) = pair();
        let mut kind_without_socket = InitEvent::Ready.encode().to_vec();
        kind_without_socket.push(1);
        for malformed in [&kind_without_socket[..], b"short", &[9; FRAME_LEN]] {
            send(&theirs, malformed, SendFlags::empty()).expect("sent");
            let error = receive(ours.as_fd()).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        drop(theirs);
        assert!(receive(ours.as_fd()).expect("the end").is_none());
    }
}
