//! gVisor for an ordinary user: `runsc` runs as root of a user namespace of the caller's own, which is nobody on the host.
//!
//! ```text
//!   palisade ── starts ──▶ itself (become_sandbox): a new user namespace
//!            ── newuidmap, newgidmap ──▶ its maps: root is a subordinate id of the caller's, the agent is the caller
//!            ◀── end of the connection ── root of it: mounts, and becomes runsc
//! ```

mod ids;
mod inside;
pub(super) mod limits;
mod tell;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use palisade_boundary::{BoundarySpec, Control, StartError};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, listen, recv, send, socket_with,
};
use serde::{Deserialize, Serialize};

pub(super) use self::ids::{Ids, has_programs};
pub use self::inside::become_sandbox;
pub(super) use self::tell::tell;
use super::bundle::processes;
use super::layers::Beforehand;
use super::place::Place;
use super::streams::Streams;
use crate::engine::cannot;
use crate::running::{descriptor, wait};

/// What it is told of the session, in the session's folder.
const LIST: &str = "beforehand";
/// Where it calls, there.
const SOCKET: &str = "helper";
/// What it says once it is in a user namespace without maps.
const UNMAPPED: &[u8] = b"u";
/// What it is told once there are.
const MAPPED: &[u8] = b"m";
/// How long each step may take. All of them take some milliseconds; on a busy machine many times that.
const DEADLINE: Duration = Duration::from_secs(60);
/// Longest message of its end.
const MOST_BYTES: usize = 64 << 10;

/// What the process that becomes `runsc` is told.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    beforehand: Beforehand,
    /// Most processes and threads of the host's.
    processes: u64,
    /// How many processors they run on, where that is limited.
    processors: Option<u32>,
}

/// Whether there is all it takes, and all that is wanted can be had or was accepted.
pub(super) fn check(spec: &BoundarySpec) -> Result<Ids, StartError> {
    let ids = Ids::of_caller()?;
    has_programs()?;
    if spec.limits.memory.is_none() || spec.accepted.contains(&Control::Memory) {
        return Ok(ids);
    }
    let mut error = cannot(format!("hold {}", Control::Memory), limits::MEMORY.into());
    error.fix = Some(limits::FIX.into());
    Err(error)
}

/// Starts `program` so, with these streams. `helper` are words that lead to [`become_sandbox`].
pub(super) fn start(
    helper: &[OsString],
    ids: Ids,
    program: Vec<OsString>,
    place: &Place,
    beforehand: Beforehand,
    (spec, streams): (&BoundarySpec, &mut Streams),
) -> Result<Child, StartError> {
    let failed = |error: io::Error| cannot("start the sandbox".into(), error.to_string());
    let start = Start {
        beforehand,
        processes: processes(&spec.limits),
        processors: spec.limits.cpus.map(limits::whole),
    };
    // A name that is not UTF-8 is refused here.
    let bytes = serde_json::to_vec(&start).map_err(|e| failed(e.into()))?;
    let folder = place.path();
    fs::write(folder.join(LIST), bytes).map_err(failed)?;
    let listener = listen_in(&folder).map_err(failed)?;
    let child = spawn(helper, &folder, program, streams).map_err(failed)?;
    match follow(&listener, ids, &child) {
        Ok(()) => Ok(child),
        Err(error) => {
            end(child);
            Err(error)
        }
    }
}

/// Nobody else comes as far as that folder.
fn listen_in(folder: &Path) -> io::Result<OwnedFd> {
    let kind = SocketType::SEQPACKET;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    let (_folder, address) = address_in(folder)?;
    bind(&socket, &address)?;
    listen(&socket, 1)?;
    Ok(socket)
}

/// By way of a descriptor, because the name of a socket has at most 107 bytes.
fn address_in(folder: &Path) -> io::Result<(File, SocketAddrUnix)> {
    let folder = File::open(folder)?;
    let way = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    let address = SocketAddrUnix::new(way)?;
    Ok((folder, address))
}

fn spawn(
    helper: &[OsString],
    folder: &Path,
    program: Vec<OsString>,
    streams: &mut Streams,
) -> io::Result<Child> {
    let (own, words) = helper.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(own);
    command
        .args(words)
        .arg(folder)
        .arg("--")
        .args(program)
        .current_dir("/")
        .env_clear()
        .process_group(0);
    streams.give_to(&mut command);
    command.spawn()
}

fn follow(listener: &OwnedFd, ids: Ids, child: &Child) -> Result<(), StartError> {
    let failed = |error: io::Error| cannot("start the sandbox".into(), error.to_string());
    let control = accepted(listener, child).map_err(failed)?;
    match hear(&control).map_err(failed)?.as_slice() {
        UNMAPPED => ids.write(child.id())?,
        words => return Err(error_of(words)),
    }
    send(&control, MAPPED, SendFlags::NOSIGNAL).map_err(|e| failed(e.into()))?;
    match hear(&control).map_err(failed)?.as_slice() {
        // It has become runsc.
        [] => Ok(()),
        words => Err(error_of(words)),
    }
}

fn accepted(listener: &OwnedFd, child: &Child) -> io::Result<OwnedFd> {
    match wait(&[listener, &descriptor(child)?], DEADLINE)? {
        Some(0) => Ok(accept_with(listener, SocketFlags::CLOEXEC)?),
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        None => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn hear(control: &OwnedFd) -> io::Result<Vec<u8>> {
    if wait(&[control], DEADLINE)?.is_none() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut bytes = vec![0; MOST_BYTES];
    let (_, length) = recv(control, &mut bytes[..], RecvFlags::empty())?;
    bytes.truncate(length);
    Ok(bytes)
}

fn error_of(words: &[u8]) -> StartError {
    match serde_json::from_slice(words) {
        Ok((what, cause, fix)) => StartError { what, cause, fix },
        Err(_) => cannot("start the sandbox".into(), "it ended without a word".into()),
    }
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}
