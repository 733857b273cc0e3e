//! Starting a boundary.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use palisade_boundary::{
    Assessment, Backend, BoundarySpec, Command, Limits, Probe, Running, StartError,
};
use palisade_guest::agent::{AgentPlan, landlock_abi};
use palisade_guest::hand::Namespaces;
use palisade_guest::network::NetworkPlan;
use palisade_guest::program::program as lay_out;
use palisade_guest::{Connection, Post, filter};
use palisade_protocol::InitRequest;
use palisade_sys::clone::{EVERY_NAMESPACE_BUT_NETWORK, Stack, spawn};
use palisade_sys::exec::Program;
use palisade_sys::process::StartArea;
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Gid, Uid};

use crate::child::ChildPlan;
use crate::explain::{cannot, os, refused_namespaces};
use crate::limits::{LimitsPlan, Surroundings, Watch};
use crate::running::NativeRunning;
use crate::tree::{Opener, TreePlan};
use crate::{identity, inside, limits, streams, tree};

/// The Linux kernel's own means: namespaces, mounts, Landlock, a system-call filter, control groups.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativeBackend;

impl Backend for NativeBackend {
    fn name(&self) -> &'static str {
        "native"
    }

    fn probe(&self) -> Probe {
        crate::probe::probe()
    }

    fn assess(&self, spec: &BoundarySpec) -> Vec<Assessment> {
        crate::assess::assess(spec, &surroundings(&spec.limits))
    }

    fn examine(&self, spec: &BoundarySpec) -> Vec<Assessment> {
        crate::assess::examine(spec, &surroundings(&spec.limits))
    }

    fn start(&self, spec: &BoundarySpec) -> Result<Box<dyn Running>, StartError> {
        let own = identity::is_own(&spec.identity)?;
        let here = surroundings(&spec.limits);
        crate::assess::refuse_weaker(spec, &here)?;
        let limits = limits::plan(&spec.limits, &here)?;
        let (control, theirs) = connection()?;
        let mut plan = child_plan(spec, own, &limits, theirs)?;
        if !own {
            streams::lend_pipes(&spec.identity);
        }
        let watch = limits
            .needs_sampling()
            .then(|| watch(&control))
            .transpose()?;
        let kept = plan.descriptors();
        let init = spawn(EVERY_NAMESPACE_BUT_NETWORK, || {
            inside::run(&mut plan, &kept)
        })
        .map_err(|e| refused_namespaces(&e))?;
        drop(plan);
        // From here on, dropping this ends the child.
        let mut running = NativeRunning {
            spec: spec.clone(),
            control,
            init,
            inside: None,
            limits,
            watch,
            ended: false,
            frozen: None,
            told_the_end: false,
        };
        let pid = running.init.pid;
        // Where init failed in the meantime, its reason is the better one.
        identity::map(pid, &spec.identity, own).map_err(|e| running.failure().unwrap_or(e))?;
        if spec.late_masks {
            let inside = Namespaces::of(&pid.as_raw_nonzero().to_string());
            let inside = inside.map_err(|e| cannot("keep hold of the inside".into(), os(&e)))?;
            running.inside = Some(inside);
        }
        running
            .limits
            .attach(pid.as_raw_nonzero().get().cast_unsigned())?;
        // An init that failed already says why in its place; whoever asks for the endpoint hears it.
        let _ = running.send(InitRequest::Proceed);
        Ok(Box::new(running))
    }
}

/// Control groups are only looked for where a limit wants one: it costs a few file reads.
fn surroundings(limits: &Limits) -> Surroundings {
    let here = Surroundings::default();
    if !limits::want_groups(limits, &here) {
        return here;
    }
    Surroundings::read().unwrap_or(here)
}

fn connection() -> Result<(OwnedFd, OwnedFd), StartError> {
    let kind = SocketType::SEQPACKET;
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
        .map_err(|e| cannot("open a connection to init".into(), os(&e.into())))
}

fn watch(control: &OwnedFd) -> Result<Watch, StartError> {
    Watch::new(control.as_fd()).map_err(|e| cannot("watch the session's memory".into(), os(&e)))
}

fn child_plan(
    spec: &BoundarySpec,
    own: bool,
    limits: &LimitsPlan,
    control: OwnedFd,
) -> Result<ChildPlan, StartError> {
    let start_area = StartArea::locate()
        .map_err(|e| cannot("find the program's own arguments in memory".into(), os(&e)))?;
    let mut opener = Opener::new(&spec.identity, own);
    let mut tree = tree(spec, &mut opener)?;
    Ok(ChildPlan {
        post: Post {
            control: Connection(control),
            terminal: terminal(),
        },
        foreground: spec.foreground,
        beside: a_processor_is_free(),
        start_area,
        network: network(spec)?,
        identity: (!own).then(|| {
            (
                Uid::from_raw(spec.identity.uid),
                Gid::from_raw(spec.identity.gid),
            )
        }),
        hostname: c_string(OsStr::new(&spec.hostname), "host name")?,
        directory: c_string(spec.command.directory.as_os_str(), "working directory")?,
        agent: AgentPlan {
            identity: None,
            program: program(&spec.command)?,
            rlimits: limits.rlimits().to_vec(),
            affinity: limits.affinity().copied(),
            streams: streams::examine()?,
            writable: std::mem::take(&mut tree.writable),
            landlock: landlock_abi(),
            filter: filter::compile(limits.filter_options()),
            stack: Stack::new(),
        },
        tree,
    })
}

fn program(command: &Command) -> Result<Program, StartError> {
    lay_out(&command.argv, &command.environment)
        .map_err(|e| cannot("prepare the agent's program".into(), e.to_string()))
}

fn tree(spec: &BoundarySpec, opener: &mut Opener) -> Result<TreePlan, StartError> {
    let mut plan = tree::compile(&spec.tree, spec.limits.memory, opener)?;
    plan.late_masks = spec.late_masks;
    Ok(plan)
}

fn network(spec: &BoundarySpec) -> Result<NetworkPlan, StartError> {
    let count = spec.egress.fallback_ports.len();
    let most = NetworkPlan::MOST_PORTS;
    if count > most {
        let cause = format!("{count} ports are to be caught, at most {most} can be");
        return Err(cannot("open the gate's listening sockets".into(), cause));
    }
    Ok(NetworkPlan::new(spec.egress.clone()))
}

/// Whether a second process of ours would run at once. The tree and the network take about the same time and have nothing
/// to do with each other, so two processes make them in a fifth less time (4.4 ms against 5.4 ms for a whole session).
/// Where all processors are busy, each process more waits for its turn instead (15.8 ms against 11.1 ms).
fn a_processor_is_free() -> bool {
    let processors = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
    // "0.20 0.18 0.12 1/80 11206": how many can run right now, this one included (proc_loadavg(5)).
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let running = load
        .split(['/', ' '])
        .nth(3)
        .and_then(|n| n.parse::<u32>().ok());
    running.is_some_and(|running| running < processors)
}

/// The controlling terminal, where there is one.
fn terminal() -> Option<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(c"/dev/tty", flags, Mode::empty()).ok()
}

fn c_string(text: &OsStr, what: &str) -> Result<CString, StartError> {
    CString::new(text.as_bytes())
        .map_err(|_| cannot(format!("use the {what}"), "it holds a zero byte".into()))
}
