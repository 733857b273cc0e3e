//! What runs in the child: init, the first process inside, and the agent's process until it is the agent.
//!
//! Nothing here allocates or locks.

mod agent;
mod filesystem;
mod network;
mod rights;
mod serve;

use std::os::fd::AsFd;

use palisade_protocol::{FRAME_LEN, InitEvent, InitRequest, SetupStep};
use palisade_sys::clone::{Child, SHARED_ROOT, spawn};
use palisade_sys::process::close_all_from;
use palisade_sys::{process, signal};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{
    Signal, WaitOptions, set_parent_process_death_signal, setpgid, umask, waitpid,
};

use crate::child::ChildPlan;

pub(crate) use agent::landlock_abi;
pub(crate) use filesystem::{compose, keeps_attributes};
pub(crate) use network::CAPTURE_PORT;

/// A step that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    step: SetupStep,
    index: u32,
    errno: Errno,
}

/// Names the step of an error.
trait At<T> {
    fn at(self, step: SetupStep, index: u32) -> Result<T, Fault>;
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, step: SetupStep, index: u32) -> Result<T, Fault> {
        self.map_err(|errno| Fault { step, index, errno })
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, step: SetupStep, index: u32) -> Result<T, Fault> {
        self.map_err(|error| Fault {
            step,
            index,
            errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        })
    }
}

/// The child's whole life. Its exit status means nothing to anyone.
pub(crate) fn run(plan: &mut ChildPlan, kept: &[i32]) -> u8 {
    let outcome = build(plan, kept).and_then(|()| serve::serve(plan));
    if let Err(fault) = outcome {
        report(plan, fault);
        return 1;
    }
    0
}

fn report(plan: &ChildPlan, Fault { step, index, errno }: Fault) {
    let errno = errno.raw_os_error();
    tell(plan, InitEvent::Failed { step, index, errno });
}

/// Makes the boundary and hands the sockets out.
fn build(plan: &mut ChildPlan, kept: &[i32]) -> Result<(), Fault> {
    let mask = prepare(kept)?;
    if plan.beside {
        let builder = spawn(SHARED_ROOT, || builder(plan)).at(SetupStep::Spawn, 7)?;
        network::set_up(&mut plan.network)?;
        join(&builder)?;
        rights::take_identity(plan.identity)?;
    } else {
        network::set_up(&mut plan.network)?;
        build_tree(plan)?;
    }
    umask(mask);
    die_with_the_supervisor()?;
    rights::close_own_memory()?;
    plan.start_area.wipe("palisade-init");
    rustix::system::sethostname(plan.hostname.as_bytes()).at(SetupStep::Hostname, 0)?;
    rights::give_up()?;
    rustix::process::chdir(&*plan.agent.directory).at(SetupStep::Directory, 0)?;
    let control = plan.control.as_fd();
    plan.network
        .outbox
        .hand_out(control)
        .at(SetupStep::HandOver, 0)?;
    wait_for(plan, InitRequest::Begin)
}

/// Takes on the identity, which new files need, and makes the tree.
fn build_tree(plan: &ChildPlan) -> Result<(), Fault> {
    wait_for(plan, InitRequest::Proceed)?;
    rights::take_identity(plan.identity)?;
    filesystem::build(&plan.tree)
}

/// The builder's whole life. It shares its root and working directory with init, so that init moves with it.
fn builder(plan: &ChildPlan) -> u8 {
    match build_tree(plan) {
        Ok(()) => BUILT,
        Err(fault) => {
            report(plan, fault);
            REPORTED
        }
    }
}

/// Exit statuses of the builder.
const BUILT: u8 = 0;
const REPORTED: u8 = 1;

/// Waits for the builder. Where it failed, it has said why, and there is nothing left to do.
fn join(builder: &Child) -> Result<(), Fault> {
    let status = loop {
        match waitpid(Some(builder.pid), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            other => {
                break other
                    .at(SetupStep::Root, 3)?
                    .and_then(|(_, status)| status.exit_status());
            }
        }
    };
    match status.and_then(|s| u8::try_from(s).ok()) {
        Some(BUILT) => Ok(()),
        Some(REPORTED) => process::exit(1),
        _ => Err(Errno::CHILD).at(SetupStep::Root, 4),
    }
}

/// The first things: no signal, no foreign descriptor, a process group of its own so that keys typed at the terminal
/// reach the agent and not init. Yields the caller's file mode mask.
fn prepare(kept: &[i32]) -> Result<Mode, Fault> {
    die_with_the_supervisor()?;
    signal::block_all().at(SetupStep::Sync, 0)?;
    close_all_from(3, kept).at(SetupStep::Sync, 0)?;
    setpgid(None, None).at(SetupStep::Sync, 0)?;
    // Only a name in process listings.
    let _ = rustix::thread::set_name(c"palisade-init");
    Ok(umask(Mode::empty()))
}

/// The kernel forgets this at each change of identity, so it is asked for again then (prctl(2), PR_SET_PDEATHSIG).
fn die_with_the_supervisor() -> Result<(), Fault> {
    set_parent_process_death_signal(Some(Signal::KILL)).at(SetupStep::Sync, 0)
}

fn wait_for(plan: &ChildPlan, wanted: InitRequest) -> Result<(), Fault> {
    match hear(plan, RecvFlags::empty()) {
        Ok(Some(request)) if request == wanted => Ok(()),
        // Nobody is left to report to.
        Ok(None) => process::exit(1),
        Ok(Some(_)) => Err(Errno::PROTO).at(SetupStep::Sync, 0),
        Err(errno) => Err(errno).at(SetupStep::Sync, 0),
    }
}

/// Sends an event. A supervisor that is gone needs none: its death ends this process by itself.
fn tell(plan: &ChildPlan, event: InitEvent) {
    let _ = send(&plan.control, &event.encode(), SendFlags::NOSIGNAL);
}

/// The supervisor's next request; `None` when the supervisor is gone.
fn hear(plan: &ChildPlan, flags: RecvFlags) -> rustix::io::Result<Option<InitRequest>> {
    let mut bytes = [0; FRAME_LEN];
    let received = loop {
        match recv(&plan.control, &mut bytes, flags) {
            Ok((_, length)) => break length,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    };
    if received == 0 {
        return Ok(None);
    }
    let frame = bytes.get(..received).unwrap_or_default();
    InitRequest::decode(frame)
        .map(Some)
        .map_err(|_| Errno::PROTO)
}
