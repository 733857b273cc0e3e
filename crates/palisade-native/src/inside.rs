//! What runs in the child: init, the first process inside, and the agent's process until it is the agent.
//!
//! Nothing here allocates or locks.

mod filesystem;

use std::os::fd::AsFd;

use palisade_guest::serve::serve;
use palisade_guest::{At, Fault, agent, network, rights};
use palisade_protocol::{InitRequest, SetupStep};
use palisade_sys::clone::{Child, SHARED_ROOT, enter_new_network, spawn};
use palisade_sys::process::close_all_from;
use palisade_sys::{process, signal};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{
    Signal, WaitOptions, set_parent_process_death_signal, setpgid, umask, waitpid,
};

use crate::child::ChildPlan;

pub(crate) use filesystem::{compose, keeps_attributes};

/// The child's whole life. Its exit status means nothing to anyone.
pub(crate) fn run(plan: &mut ChildPlan, kept: &[i32]) -> u8 {
    let outcome = build(plan, kept).and_then(|()| {
        let terminal = plan.post.terminal.as_ref().filter(|_| plan.foreground);
        serve(&plan.post, None, || agent::start(&mut plan.agent, terminal))
    });
    if let Err(fault) = outcome {
        plan.post.control.report(fault);
        return 1;
    }
    0
}

/// Makes the boundary and hands the sockets out.
fn build(plan: &mut ChildPlan, kept: &[i32]) -> Result<(), Fault> {
    let mask = prepare(kept)?;
    if plan.beside {
        let builder = spawn(SHARED_ROOT, || builder(plan)).at(SetupStep::Spawn, 7)?;
        network(plan)?;
        join(&builder)?;
        rights::take_identity(plan.identity)?;
    } else {
        network(plan)?;
        build_tree(plan)?;
    }
    umask(mask);
    die_with_the_supervisor()?;
    rights::close_own_memory()?;
    plan.start_area.wipe("palisade-init");
    rustix::system::sethostname(plan.hostname.as_bytes()).at(SetupStep::Hostname, 0)?;
    rights::give_up()?;
    rustix::process::chdir(&*plan.directory).at(SetupStep::Directory, 0)?;
    let control = plan.post.control.0.as_fd();
    plan.network
        .outbox
        .hand_out(control)
        .at(SetupStep::HandOver, 0)?;
    plan.post.control.wait_for(InitRequest::Begin)
}

fn network(plan: &mut ChildPlan) -> Result<(), Fault> {
    enter_new_network().at(SetupStep::Network, 0)?;
    network::set_up(&mut plan.network)
}

/// Takes on the identity, which new files need, and makes the tree.
fn build_tree(plan: &ChildPlan) -> Result<(), Fault> {
    plan.post.control.wait_for(InitRequest::Proceed)?;
    rights::take_identity(plan.identity)?;
    filesystem::build(&plan.tree)
}

/// The builder's whole life. It shares its root and working directory with init, so that init moves with it.
fn builder(plan: &ChildPlan) -> u8 {
    match build_tree(plan) {
        Ok(()) => BUILT,
        Err(fault) => {
            plan.post.control.report(fault);
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
