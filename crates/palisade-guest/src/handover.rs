//! How the sockets made inside reach the supervisor: the `Ready` frame, followed by one byte a socket that tells its
//! kind, with the descriptors attached to the same message. The namespaces of the inside go the same way, where the supervisor
//! cannot open them by itself.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::hand::Namespaces;
use palisade_protocol::{FRAME_LEN, InitEvent, Listener, ListenerKind};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Most sockets of one boundary: well above two proxy, one transparent and two DNS ones with a port list to catch, and
/// below the 253 descriptors the kernel carries with one message (`SCM_MAX_FD`).
pub const MOST_SOCKETS: usize = 64;

/// With both namespaces.
const MOST_DESCRIPTORS: usize = MOST_SOCKETS + 2;

/// Tags of the namespaces, beside those of the sockets.
const USER: u8 = 101;
const MOUNT: u8 = 102;

/// Sockets on their way out. Its memory is reserved before `clone`.
#[derive(Debug)]
pub struct Outbox {
    sockets: Vec<OwnedFd>,
    kinds: [u8; MOST_DESCRIPTORS],
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
            sockets: Vec::with_capacity(MOST_DESCRIPTORS),
            kinds: [0; MOST_DESCRIPTORS],
        }
    }

    /// Adds a socket, within the reserved memory.
    ///
    /// # Errors
    /// `ENOBUFS` past [`MOST_SOCKETS`].
    pub fn push(&mut self, kind: ListenerKind, socket: OwnedFd) -> rustix::io::Result<()> {
        if self.sockets.len() >= MOST_SOCKETS {
            return Err(Errno::NOBUFS);
        }
        self.add(tag(kind), socket)
    }

    /// Adds the namespaces, after all sockets.
    ///
    /// # Errors
    /// `ENOBUFS` where they were added before.
    pub fn push_namespaces(&mut self, of: Namespaces) -> rustix::io::Result<()> {
        self.add(USER, of.user)?;
        self.add(MOUNT, of.mount)
    }

    fn add(&mut self, tag: u8, descriptor: OwnedFd) -> rustix::io::Result<()> {
        *self
            .kinds
            .get_mut(self.sockets.len())
            .ok_or(Errno::NOBUFS)? = tag;
        self.sockets.push(descriptor);
        Ok(())
    }

    /// Sends all and closes them here. For use after `clone`.
    ///
    /// # Errors
    /// The connection broke.
    pub fn hand_out(&mut self, control: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let mut fds = [control; MOST_DESCRIPTORS];
        for (place, socket) in fds.iter_mut().zip(&self.sockets) {
            *place = socket.as_fd();
        }
        let count = self.sockets.len();
        let frame = InitEvent::Ready.encode();
        let kinds = self.kinds.get(..count).unwrap_or_default();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
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
    /// The namespaces that came with it.
    pub namespaces: Option<Namespaces>,
}

/// Reads one message without waiting; `None` when the other side is gone.
///
/// # Errors
/// `WouldBlock` where there is nothing yet; `InvalidData` for what is malformed.
pub fn receive(control: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    let mut bytes = [0u8; FRAME_LEN + MOST_DESCRIPTORS];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
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
    let event = InitEvent::decode(frame).map_err(|_| malformed())?;
    let mut message = Message {
        event,
        sockets: Vec::new(),
        namespaces: None,
    };
    sort(&mut message, kinds, fds).ok_or_else(malformed)?;
    Ok(Some(message))
}

fn sort(message: &mut Message, kinds: &[u8], fds: Vec<OwnedFd>) -> Option<()> {
    let (mut user, mut mount) = (None, None);
    for (tag, descriptor) in kinds.iter().zip(fds) {
        let twice = match *tag {
            USER => user.replace(descriptor).is_some(),
            MOUNT => mount.replace(descriptor).is_some(),
            tag => {
                let (kind, socket) = (kind(tag)?, descriptor);
                message.sockets.push(Listener { kind, socket });
                false
            }
        };
        if twice {
            return None;
        }
    }
    message.namespaces = match (user, mount) {
        (Some(user), Some(mount)) => Some(Namespaces {
            user,
            mount,
            root: None,
        }),
        (None, None) => None,
        _ => return None,
    };
    Some(())
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
        assert!(message.namespaces.is_none());
    }

    #[test]
    fn namespaces_come_out_as_the_two_they_are() {
        let (ours, theirs) = pair();
        let mut outbox = Outbox::new();
        for _ in 0..MOST_SOCKETS {
            outbox.push(ListenerKind::Proxy, pair().0).expect("room");
        }
        let own = || Namespaces::of("self").expect("own");
        outbox.push_namespaces(own()).expect("room");
        assert_eq!(outbox.push_namespaces(own()), Err(Errno::NOBUFS));
        outbox.hand_out(theirs.as_fd()).expect("sent");
        let message = receive(ours.as_fd()).expect("received");
        let message = message.expect("not the end");
        assert_eq!(message.sockets.len(), MOST_SOCKETS);
        let namespaces = message.namespaces.expect("both");
        assert!(namespaces.is_own_user().expect("shown"));
        // One alone is none.
        let mut outbox = Outbox::new();
        outbox.add(MOUNT, own().mount).expect("room");
        outbox.hand_out(theirs.as_fd()).expect("sent");
        receive(ours.as_fd()).expect_err("refused");
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
