//! The process that becomes `runsc`: root of a user namespace of the caller's own, in a mount namespace of its own.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use palisade_boundary::StartError;
use palisade_sys::clone::enter_new_user;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::{LIST, Start, UNMAPPED, address_in, limits};
use crate::engine::cannot;

/// Becomes the program that is named last; `folder` is the session's. Yields only where that failed: nothing where who started it has
/// been told, else why not.
pub fn become_sandbox(folder: &Path, program: &[OsString]) -> Option<StartError> {
    let failed = |error: io::Error| cannot("call palisade".into(), error.to_string());
    let control = match call(folder) {
        Ok(control) => control,
        Err(error) => return Some(failed(error)),
    };
    let error = match prepare(&control, &folder.join(LIST)) {
        Ok(()) => run(program),
        Err(error) => error,
    };
    let StartError { what, cause, fix } = &error;
    let told = serde_json::to_vec(&(what, cause, fix)).unwrap_or_default();
    let told = send(&control, &told, SendFlags::NOSIGNAL);
    told.err().map(|errno| failed(errno.into()))
}

fn call(folder: &Path) -> io::Result<OwnedFd> {
    let kind = SocketType::SEQPACKET;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    let (_folder, address) = address_in(folder)?;
    connect(&socket, &address)?;
    Ok(socket)
}

fn prepare(control: &OwnedFd, list: &Path) -> Result<(), StartError> {
    let own = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| cannot(what, error.to_string())
    };
    let start: Start = fs::read(list)
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from))
        .map_err(own("read what is to be mounted"))?;
    enter_new_user().map_err(|error| {
        let mut error = own("make a user namespace")(error);
        error.fix =
            Some("`palisade doctor` says what to set (user-namespaces), or run it by sudo".into());
        error
    })?;
    wait_for_maps(control).map_err(own("map ids for the sandbox"))?;
    become_root().map_err(|e| own("become root of the user namespace")(e.into()))?;
    limits::hold(start.processes, start.processors)
        .map_err(|e| own("hold the limits")(e.into()))?;
    start.beforehand.mount()
}

fn wait_for_maps(control: &OwnedFd) -> io::Result<()> {
    send(control, UNMAPPED, SendFlags::NOSIGNAL)?;
    let mut byte = [0; 1];
    match recv(control.as_fd(), &mut byte, RecvFlags::empty())? {
        (_, 1) => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// With no other group: what the caller is a member of is none of the sandbox's.
pub(super) fn become_root() -> rustix::io::Result<()> {
    set_thread_groups(&[])?;
    let (user, group) = (Uid::ROOT, Gid::ROOT);
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)
}

fn run(program: &[OsString]) -> StartError {
    let Some((name, words)) = program.split_first() else {
        return cannot("start the sandbox".into(), "no program was named".into());
    };
    let mut command = Command::new(name);
    let error = command.args(words).env_clear().exec();
    crate::runsc::not_run(Path::new(name), &error)
}
