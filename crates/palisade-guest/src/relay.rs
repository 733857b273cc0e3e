//! The way to the gate where no descriptor can be passed: each connection of the inside is carried over a stream of its own, to a
//! Unix socket that the boundary shows.
//!
//! ```text
//!   agent ── any address, any TCP port ─▶ listener ─▶ relay ── opening, frames ─▶ the gate's socket
//!   agent ── any resolver, UDP port 53 ─▶ sockets  ─▶ relay ── a frame a query ─▶
//! ```
//!
//! One thread serves all, by `epoll`. Per connection it keeps what one side did not take at once, at most a frame each way, and reads no more
//! until that is gone: whoever is slow holds back who is fast.
//!
//! The agent sees the same socket and may speak to it itself. What it can say there is where it would like to go, and that is what it can
//! say by connecting, too: the gate decides. It can neither trace nor signal this process, which is another user's.

mod dns;
mod stream;
pub mod ways;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use palisade_protocol::RelayOpening;
use palisade_sys::rlimit;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{self, ip_original_dst, ipv6_original_dst};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, connect, getsockname,
    socket_with,
};

use self::dns::Dns;
use self::stream::{SCRATCH, Stream};
use self::ways::{Way, Ways};

/// Most connections at once: what is beyond waits to be accepted. Two descriptors each, within the usual hard limit.
const MOST_STREAMS: usize = 4096;
/// Descriptors for all that is no connection.
const OTHER_DESCRIPTORS: usize = 64;
/// Events taken from the kernel at a time.
const EVENTS: usize = 256;

/// What an event is about.
#[derive(Clone, Copy, Debug)]
enum Source {
    Listener(usize),
    /// A stream, and whether it is the gate's side of it.
    Stream(u32, bool),
    /// A socket for queries.
    Queries(usize),
    /// The gate's stream for queries.
    Answers,
}

impl Source {
    fn encode(self) -> EventData {
        let (kind, number) = match self {
            Self::Listener(index) => (0, index as u64),
            Self::Stream(number, false) => (1, number.into()),
            Self::Stream(number, true) => (2, number.into()),
            Self::Queries(index) => (3, index as u64),
            Self::Answers => (4, 0),
        };
        EventData::new_u64(kind << 32 | number)
    }

    fn decode(data: EventData) -> Option<Self> {
        let data = data.u64();
        let number = u32::try_from(data & u64::from(u32::MAX)).ok()?;
        Some(match data >> 32 {
            0 => Self::Listener(number as usize),
            1 => Self::Stream(number, false),
            2 => Self::Stream(number, true),
            3 => Self::Queries(number as usize),
            4 => Self::Answers,
            _ => return None,
        })
    }
}

/// See the module.
pub struct Relay {
    ways: Ways,
    gate: PathBuf,
    epoll: OwnedFd,
    streams: HashMap<u32, Stream>,
    next: u32,
    most: usize,
    /// Whether new connections are taken at the moment.
    accepting: bool,
    dns: Dns,
    scratch: Vec<u8>,
}

impl Relay {
    /// Between these sockets and the gate's, which is at this path.
    ///
    /// # Errors
    /// The kernel refused a descriptor.
    pub fn new(ways: Ways, gate: PathBuf) -> rustix::io::Result<Self> {
        let relay = Self {
            ways,
            gate,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            streams: HashMap::new(),
            next: 0,
            most: MOST_STREAMS,
            accepting: true,
            dns: Dns::default(),
            scratch: vec![0; SCRATCH],
        };
        for (index, way) in relay.ways.listeners.iter().enumerate() {
            relay.watch(way.socket.as_fd(), Source::Listener(index))?;
        }
        for (index, socket) in relay.ways.queries.iter().enumerate() {
            relay.watch(socket.as_fd(), Source::Queries(index))?;
        }
        Ok(relay)
    }

    /// The descriptors, for whoever closes all others.
    pub fn descriptors(&self) -> Vec<i32> {
        let listeners = self.ways.listeners.iter().map(|way| way.socket.as_raw_fd());
        let queries = self.ways.queries.iter().map(AsRawFd::as_raw_fd);
        let own = [self.epoll.as_raw_fd()].into_iter();
        own.chain(listeners).chain(queries).collect()
    }

    /// Serves for as long as the process lives.
    ///
    /// # Errors
    /// The kernel refused to wait.
    pub fn serve(mut self) -> rustix::io::Result<()> {
        if let Ok(files) = rlimit::raise_files() {
            let most = usize::try_from(files).unwrap_or(usize::MAX);
            self.most = (most.saturating_sub(OTHER_DESCRIPTORS) / 2).clamp(1, MOST_STREAMS);
        }
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            for event in &events {
                let flags = event.flags;
                match Source::decode(event.data) {
                    Some(Source::Listener(index)) => self.accept(index),
                    Some(Source::Stream(number, _)) => self.carry(number, flags),
                    Some(Source::Queries(index)) => self.ask(index),
                    Some(Source::Answers) => self.answer(flags),
                    None => {}
                }
            }
        }
    }

    fn watch(&self, socket: BorrowedFd<'_>, source: Source) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, socket, source.encode(), EventFlags::IN)
    }

    /// Takes one connection; there is another event for the next.
    fn accept(&mut self, index: usize) {
        let Some(way) = self.ways.listeners.get(index) else {
            return;
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let inside = match accept_with(&way.socket, flags) {
            Ok(inside) => inside,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                return self.accept_again(false);
            }
            Err(_) => return,
        };
        let Some(opening) = opening(way, &inside) else {
            return;
        };
        // A gate that cannot be reached is no gate: the connection ends as one that a host refused.
        let gate = match call(&self.gate) {
            Ok(gate) => gate,
            Err(_) => return cut(&inside),
        };
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let mut stream = Stream::new(inside, gate, opening);
        if stream.watch(&self.epoll, number).is_ok() {
            self.streams.insert(number, stream);
        }
        if self.streams.len() >= self.most {
            self.accept_again(false);
        }
    }

    fn accept_again(&mut self, accepting: bool) {
        // With nothing that could end there would be no time to begin again.
        if self.accepting == accepting || (!accepting && self.streams.is_empty()) {
            return;
        }
        self.accepting = accepting;
        for (index, way) in self.ways.listeners.iter().enumerate() {
            let _ = if accepting {
                self.watch(way.socket.as_fd(), Source::Listener(index))
            } else {
                epoll::delete(&self.epoll, &way.socket)
            };
        }
    }

    fn carry(&mut self, number: u32, flags: EventFlags) {
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        let goes_on = !flags.contains(EventFlags::ERR)
            && stream.carry(&mut self.scratch).unwrap_or(false)
            && stream.watch(&self.epoll, number).is_ok();
        if !goes_on && let Some(stream) = self.streams.remove(&number) {
            stream.end();
            self.accept_again(true);
        }
    }

    fn ask(&mut self, index: usize) {
        let Some(socket) = self.ways.queries.get(index) else {
            return;
        };
        let Some(opened) = self.dns.ask(index, socket, &self.gate) else {
            return;
        };
        // Without it no answer would come, and the next query opens another.
        if opened && let Some(gate) = self.dns.gate() {
            let _ = epoll::add(&self.epoll, gate, Source::Answers.encode(), EventFlags::IN);
        }
    }

    fn answer(&mut self, flags: EventFlags) {
        if flags.contains(EventFlags::ERR) {
            self.dns.close();
        }
        self.dns.answer(&self.ways.queries);
    }
}

/// What the gate is to be told of it.
fn opening(way: &Way, inside: &OwnedFd) -> Option<RelayOpening> {
    if way.proxy {
        return Some(RelayOpening::Proxy);
    }
    let own: SocketAddr = getsockname(inside).ok()?.try_into().ok()?;
    // Each is asked of its own family: gVisor answers the other one, too, with half an address.
    let told = match own {
        _ if !way.redirected => Err(Errno::NOENT),
        SocketAddr::V4(_) => ip_original_dst(inside).map(SocketAddr::V4),
        SocketAddr::V6(_) => ipv6_original_dst(inside).map(SocketAddr::V6),
    };
    // Where nothing was changed on the way, the connection's own end is where it was to go.
    Some(RelayOpening::Transparent(told.unwrap_or(own)))
}

fn call(gate: &PathBuf) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(gate)?)?;
    Ok(socket)
}

/// Lets a connection end as one that broke, not as one that was done.
fn cut(socket: &OwnedFd) {
    let _ = sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO));
}

#[cfg(test)]
mod tests;
