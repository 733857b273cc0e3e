//! The agent's process, from its start to `execve`.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use palisade_protocol::SetupStep;
use palisade_sys::clone::{Stack, spawn_sharing_memory};
use palisade_sys::exec::Program;
use palisade_sys::landlock::{self, Ruleset, rights, scopes};
use palisade_sys::{process, rlimit, seccomp, signal};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Pid, Uid, WaitOptions, getpid, setpgid, waitpid};
use rustix::termios::tcsetpgrp;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::rights::become_without_any;
use crate::streams::{self, StreamRights};
use crate::{At, Fault};

/// `EBADFD`: what Landlock says to a file of a kernel-internal file system.
const BAD_DESCRIPTOR_STATE: i32 = Errno::BADFD.raw_os_error();

/// The agent's process.
#[derive(Debug)]
pub struct AgentPlan {
    /// What is run.
    pub program: Program,
    /// Whom it becomes on its way, where init stays another and keeps its rights until then.
    pub identity: Option<(Uid, Gid)>,
    /// Limits of each process.
    pub rlimits: Vec<(rlimit::Resource, u64)>,
    /// The processors it is bound to, where it is.
    pub affinity: Option<CpuSet>,
    /// Of the standard streams.
    pub streams: StreamRights,
    /// Where it may write.
    pub writable: Vec<Writable>,
    /// Landlock's ABI, 0 for none.
    pub landlock: u32,
    /// The system-call filter.
    pub filter: Vec<seccomp::Instruction>,
    /// For the time before `execve`.
    pub stack: Stack,
}

/// A place the agent may write to.
#[derive(Debug)]
pub struct Writable {
    /// Absolute, inside.
    pub path: CString,
    /// Whether it is a folder.
    pub directory: bool,
}

/// How the start went wrong.
#[derive(Debug)]
pub enum NotStarted {
    /// A step before the program.
    Fault(Fault),
    /// The program itself.
    Exec(Errno),
}

/// Starts the agent and returns once its program runs. It is given the terminal, where one is named.
///
/// # Errors
/// The step before the program that failed, or why the program could not be started.
pub fn start(plan: &mut AgentPlan, terminal: Option<&OwnedFd>) -> Result<Pid, NotStarted> {
    let AgentPlan {
        program,
        identity,
        rlimits,
        affinity,
        streams,
        writable,
        landlock,
        filter,
        stack,
    } = plan;
    let mut outcome = None;
    let mut child = || {
        let prepared = own_group(terminal)
            .and_then(|()| limit(rlimits, affinity.as_ref()))
            .and_then(|()| become_another(*identity))
            .and_then(|()| restrict(*landlock, writable, streams))
            .and_then(|()| signals(identity.is_some()))
            .and_then(|()| close_and_filter(filter));
        outcome = Some(match prepared {
            Err(fault) => NotStarted::Fault(fault),
            Ok(()) => NotStarted::Exec(Errno::from_io_error(&program.exec()).unwrap_or(Errno::IO)),
        });
    };
    let pid = spawn_sharing_memory(0, stack, &mut child)
        .at(SetupStep::Spawn, 0)
        .map_err(NotStarted::Fault)?;
    match outcome {
        None => Ok(pid),
        Some(reason) => {
            let _ = waitpid(Some(pid), WaitOptions::empty());
            Err(reason)
        }
    }
}

/// A process group of its own, which is given the terminal if it should have it. All signals are blocked here, so the
/// kernel does not stop a background process for this (tcsetpgrp(3)).
fn own_group(terminal: Option<&OwnedFd>) -> Result<(), Fault> {
    setpgid(None, None).at(SetupStep::Spawn, 1)?;
    match terminal {
        Some(terminal) => tcsetpgrp(terminal, getpid()).at(SetupStep::Spawn, 2),
        None => Ok(()),
    }
}

/// Of this process alone, though it shares init's memory: the kernel keeps identity and rights by thread.
fn become_another(identity: Option<(Uid, Gid)>) -> Result<(), Fault> {
    identity.map_or(Ok(()), become_without_any)
}

fn limit(rlimits: &[(rlimit::Resource, u64)], affinity: Option<&CpuSet>) -> Result<(), Fault> {
    for (index, (resource, value)) in (0..).zip(rlimits) {
        rlimit::lower(*resource, *value).at(SetupStep::Limits, index)?;
    }
    match affinity {
        Some(set) => sched_setaffinity(None, set).at(SetupStep::Limits, u32::MAX),
        None => Ok(()),
    }
}

/// Landlock says once more what the mounts say, from another part of the kernel: all may be read and run, only the
/// writable places may be written to.
fn restrict(abi: u32, writable: &[Writable], streams: &StreamRights) -> Result<(), Fault> {
    if abi == 0 {
        return Ok(());
    }
    let handled = rights::of_abi(abi);
    let rules = Ruleset::create(handled, scopes::of_abi(abi)).at(SetupStep::Landlock, 0)?;
    let grant = |path: &std::ffi::CStr, granted: u64, index: u32| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let place = match rustix::fs::open(path, flags, Mode::empty()) {
            // `/proc` and `/dev` are only there if the spec wants them.
            Err(Errno::NOENT) if index < 3 => return Ok(()),
            other => other.at(SetupStep::Landlock, index)?,
        };
        rules
            .add_path(place.as_fd(), granted & handled)
            .at(SetupStep::Landlock, index)
    };
    grant(c"/", rights::READ_ONLY, 0)?;
    // A process changes its own settings there; whose file it is decides the rest.
    grant(
        c"/proc",
        rights::READ_ONLY | rights::WRITE_FILE | rights::TRUNCATE,
        1,
    )?;
    grant(c"/dev", rights::READ_WRITE | rights::IOCTL_DEV, 2)?;
    for (index, place) in (3..).zip(writable) {
        let granted = if place.directory {
            rights::READ_WRITE
        } else {
            rights::READ_WRITE & rights::FILE
        };
        grant(&place.path, granted, index)?;
    }
    for (stream, granted) in streams::all().into_iter().zip(streams) {
        match rules.add_path(stream, granted & handled) {
            // What has no place in a tree, such as a pipe, is not held by Landlock.
            Err(error) if error.raw_os_error() == Some(BAD_DESCRIPTOR_STATE) => {}
            other => other.at(SetupStep::Landlock, u32::MAX - 1)?,
        }
    }
    rules.restrict_self().at(SetupStep::Landlock, u32::MAX)
}

/// In a sandbox (gVisor) the guest was started by a kernel that ignores nothing, and there each call takes long.
fn signals(in_sandbox: bool) -> Result<(), Fault> {
    if in_sandbox {
        signal::reset_own_dispositions();
    } else {
        signal::reset_dispositions();
    }
    signal::unblock_all().at(SetupStep::Spawn, 3)
}

fn close_and_filter(filter: &[seccomp::Instruction]) -> Result<(), Fault> {
    process::close_all_from(3, &[]).at(SetupStep::Spawn, 4)?;
    seccomp::install(filter).at(SetupStep::Seccomp, 0)
}

/// Landlock's ABI here, or 0.
pub fn landlock_abi() -> u32 {
    landlock::abi()
}
