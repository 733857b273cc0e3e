//! One connection, both ways.

use std::os::fd::OwnedFd;

use palisade_protocol::{RELAY_FRAME_MAX, RELAY_HEAD_LEN, RelayFrame, RelayOpening};
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::{Source, cut};

/// Bytes of the memory that all connections read into.
pub(super) const SCRATCH: usize = RELAY_HEAD_LEN + RELAY_FRAME_MAX;

/// A connection of the inside and the stream that carries it.
pub(super) struct Stream {
    inside: Side,
    gate: Side,
    /// The inside has said its last.
    up_ended: bool,
    down: Down,
    /// Both were ended as they should be.
    whole: bool,
}

/// A socket, and what it did not take at once.
struct Side {
    socket: OwnedFd,
    pending: Vec<u8>,
    sent: usize,
    /// What the kernel watches it for.
    watched: EventFlags,
}

/// Where the reading of frames stands.
enum Down {
    Head([u8; RELAY_HEAD_LEN], usize),
    Data(usize),
    Ended,
}

impl Stream {
    pub(super) fn new(inside: OwnedFd, gate: OwnedFd, opening: RelayOpening) -> Self {
        let mut gate = Side::new(gate);
        gate.pending.extend(opening.encode());
        Self {
            inside: Side::new(inside),
            gate,
            up_ended: false,
            down: Down::Head([0; RELAY_HEAD_LEN], 0),
            whole: false,
        }
    }

    /// Tells the kernel what is waited for now.
    pub(super) fn watch(&mut self, epoll: &OwnedFd, number: u32) -> rustix::io::Result<()> {
        let reading = |wanted: bool| {
            if wanted {
                EventFlags::IN
            } else {
                EventFlags::empty()
            }
        };
        let writing = |side: &Side| {
            if side.pending.is_empty() {
                EventFlags::empty()
            } else {
                EventFlags::OUT
            }
        };
        let up = reading(!self.up_ended && self.gate.pending.is_empty());
        let ended = matches!(self.down, Down::Ended);
        let down = reading(!ended && self.inside.pending.is_empty());
        let (of_inside, of_gate) = (up | writing(&self.inside), down | writing(&self.gate));
        self.inside
            .watch(epoll, of_inside, Source::Stream(number, false))?;
        self.gate
            .watch(epoll, of_gate, Source::Stream(number, true))
    }

    /// Moves what can be moved; `false` once there is no more to come.
    pub(super) fn carry(&mut self, scratch: &mut [u8]) -> rustix::io::Result<bool> {
        self.up(scratch)?;
        self.down(scratch)?;
        self.whole = self.up_ended
            && matches!(self.down, Down::Ended)
            && self.gate.pending.is_empty()
            && self.inside.pending.is_empty();
        Ok(!self.whole)
    }

    /// From the inside to the gate.
    fn up(&mut self, scratch: &mut [u8]) -> rustix::io::Result<()> {
        if !self.gate.flush()? || self.up_ended {
            return Ok(());
        }
        let Some(room) = scratch.get_mut(RELAY_HEAD_LEN..) else {
            return Ok(());
        };
        let frame = match receive(&self.inside.socket, room)? {
            None => return Ok(()),
            Some(0) => {
                self.up_ended = true;
                RelayFrame::End
            }
            Some(length) => RelayFrame::Data(length),
        };
        let length = match frame {
            RelayFrame::Data(length) => length,
            RelayFrame::End => 0,
        };
        for (place, byte) in scratch.iter_mut().zip(frame.head()) {
            *place = byte;
        }
        let bytes = scratch.get(..RELAY_HEAD_LEN + length).unwrap_or_default();
        self.gate.put(bytes)
    }

    /// From the gate to the inside: one read, of a head or of what follows one.
    fn down(&mut self, scratch: &mut [u8]) -> rustix::io::Result<()> {
        if !self.inside.flush()? {
            return Ok(());
        }
        loop {
            match &mut self.down {
                Down::Ended => return Ok(()),
                Down::Head(head, there) => {
                    let room = head.get_mut(*there..).unwrap_or_default();
                    match receive(&self.gate.socket, room)? {
                        None => return Ok(()),
                        // It was cut: an end that was meant is said.
                        Some(0) => return Err(Errno::CONNRESET),
                        Some(count) => *there += count,
                    }
                    if *there < RELAY_HEAD_LEN {
                        continue;
                    }
                    match RelayFrame::of_head(*head).map_err(|_| Errno::PROTO)? {
                        RelayFrame::Data(length) => self.down = Down::Data(length),
                        RelayFrame::End => {
                            self.down = Down::Ended;
                            // One that is gone already needs no end.
                            let _ = shutdown(&self.inside.socket, Shutdown::Write);
                        }
                    }
                }
                Down::Data(left) => {
                    let room = scratch.get_mut(..*left).unwrap_or_default();
                    let count = match receive(&self.gate.socket, room)? {
                        None => return Ok(()),
                        Some(0) => return Err(Errno::CONNRESET),
                        Some(count) => count,
                    };
                    *left -= count;
                    if *left == 0 {
                        self.down = Down::Head([0; RELAY_HEAD_LEN], 0);
                    }
                    return self.inside.put(scratch.get(..count).unwrap_or_default());
                }
            }
        }
    }

    /// Closes it: where something was lost, the inside is told so.
    pub(super) fn end(self) {
        if !self.whole {
            cut(&self.inside.socket);
        }
    }
}

impl Side {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            pending: Vec::new(),
            sent: 0,
            watched: EventFlags::empty(),
        }
    }

    /// A socket that nothing is waited for is not watched at all: its end would be told over and over.
    fn watch(
        &mut self,
        epoll: &OwnedFd,
        wanted: EventFlags,
        source: Source,
    ) -> rustix::io::Result<()> {
        let before = std::mem::replace(&mut self.watched, wanted);
        match (before.is_empty(), wanted.is_empty()) {
            _ if before == wanted => Ok(()),
            (true, _) => epoll::add(epoll, &self.socket, source.encode(), wanted),
            (false, true) => epoll::delete(epoll, &self.socket),
            (false, false) => epoll::modify(epoll, &self.socket, source.encode(), wanted),
        }
    }

    /// Writes what is left; whether that is all.
    fn flush(&mut self) -> rustix::io::Result<bool> {
        while let Some(rest) = self
            .pending
            .get(self.sent..)
            .filter(|rest| !rest.is_empty())
        {
            match transmit(&self.socket, rest)? {
                None => return Ok(false),
                Some(count) => self.sent += count,
            }
        }
        // Its memory is given back: most connections never need any.
        self.pending = Vec::new();
        self.sent = 0;
        Ok(true)
    }

    /// Writes these, and keeps what is not taken. Called only when nothing is left.
    fn put(&mut self, mut bytes: &[u8]) -> rustix::io::Result<()> {
        while !bytes.is_empty() {
            match transmit(&self.socket, bytes)? {
                None => {
                    self.pending.extend_from_slice(bytes);
                    return Ok(());
                }
                Some(count) => bytes = bytes.get(count..).unwrap_or_default(),
            }
        }
        Ok(())
    }
}

fn receive(socket: &OwnedFd, room: &mut [u8]) -> rustix::io::Result<Option<usize>> {
    match recv(socket, room, RecvFlags::DONTWAIT) {
        Ok((_, count)) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn transmit(socket: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<Option<usize>> {
    match send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}
