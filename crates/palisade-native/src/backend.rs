//! Starting a boundary.

use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use palisade_boundary::{
    Assessment, Backend, BoundarySpec, Limits, Probe, Running, StartError,
};
use palisade_protocol::InitRequest;
use palisade_sys::clone::{EVERY_NAMESPACE, Stack, spawn};
use palisade_sys::netlink::{nftables, route};
use palisade_sys::process::StartArea;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Gid, Uid};

use crate::child::{AgentPlan, ChildPlan, NetworkPlan};
use crate::egress::{MOST_SOCKETS, Outbox};
use crate::explain::{cannot, os, refused_namespaces};
use crate::limits::{LimitsPlan, Surroundings};
use crate::running::NativeRunning;
use crate::tree::Opener;
use crate::{filter, identity, inside, limits, program, tree};

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

    fn start(&self, spec: &BoundarySpec) -> Result<Box<dyn Running>, StartError> {
        let own = identity::is_own(&spec.identity)?;
        let limits = limits::plan(&spec.limits, &surroundings(&spec.limits))?;
        let (control, theirs) = connection()?;
        let mut plan = child_plan(spec, own, &limits, theirs)?;
        if !own {
            lend_standard_streams(spec);
        }
        let kept = plan.descriptors();
        let init = spawn(EVERY_NAMESPACE, || inside::run(&mut plan, &kept))
            .map_err(|e| refused_namespaces(&e))?;
        drop(plan);
        // From here on, dropping this ends the child.
        let mut running = NativeRunning {
            spec: spec.clone(),
            control,
            init,
            limits,
            ended: false,
            told_the_end: false,
        };
        let pid = running.init.pid;
        identity::map(pid, &spec.identity, own)?;
        running.limits.attach(pid.as_raw_nonzero().get().cast_unsigned())?;
        // An init that failed already says why in its place; whoever asks for the endpoint hears it.
        let _ = running.send(InitRequest::Proceed);
        Ok(Box::new(running))
    }
}

/// What limits rest on is only looked for where there are any: it costs a few file reads.
fn surroundings(limits: &Limits) -> Surroundings {
    if *limits == Limits::default() {
        return Surroundings::default();
    }
    Surroundings::read().unwrap_or_default()
}

fn connection() -> Result<(OwnedFd, OwnedFd), StartError> {
    let kind = SocketType::SEQPACKET;
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
        .map_err(|e| cannot("open a connection to init".into(), os(&e.into())))
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
    Ok(ChildPlan {
        control,
        terminal: terminal(),
        foreground: spec.foreground,
        start_area,
        network: network(spec)?,
        identity: (!own).then(|| {
            (Uid::from_raw(spec.identity.uid), Gid::from_raw(spec.identity.gid))
        }),
        hostname: c_string(OsStr::new(&spec.hostname), "host name")?,
        tree: tree::compile(&spec.tree, spec.limits.memory, &mut opener)?,
        agent: AgentPlan {
            directory: c_string(spec.command.directory.as_os_str(), "working directory")?,
            program: program::program(&spec.command)?,
            rlimits: limits.rlimits().to_vec(),
            affinity: limits.affinity().copied(),
            landlock: inside::landlock_abi(),
            filter: filter::compile(limits.filter_options()),
            stack: Stack::new(),
        },
    })
}

fn network(spec: &BoundarySpec) -> Result<NetworkPlan, StartError> {
    let fallback_ports = spec.egress.fallback_ports.clone();
    // Two proxy and two DNS sockets come on top.
    let most = MOST_SOCKETS - 4;
    if fallback_ports.len() > most {
        let cause = format!("{} ports are to be caught, at most {most} can be", fallback_ports.len());
        return Err(cannot("open the gate's listening sockets".into(), cause));
    }
    Ok(NetworkPlan {
        loopback: route::Setup::new(),
        capture: nftables::Capture::new(inside::CAPTURE_PORT),
        proxy_port: spec.egress.proxy_port,
        fallback_ports,
        outbox: Outbox::new(),
    })
}

/// The controlling terminal, where there is one.
fn terminal() -> Option<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(c"/dev/tty", flags, Mode::empty()).ok()
}

/// A pipe belongs to whoever made it, here the caller; an agent that is another user could use it but not open it again
/// as `/dev/stdout`. So pipes, and nothing else, are given to the agent. Where that is refused the agent does without.
fn lend_standard_streams(spec: &BoundarySpec) {
    let uid = Some(Uid::from_raw(spec.identity.host_uid));
    let gid = Some(Gid::from_raw(spec.identity.host_gid));
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let is_pipe = rustix::fs::fstat(stream)
            .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Fifo);
        // A named pipe has a place in the host's tree, where its owner must not change.
        if is_pipe && is_nameless(stream) {
            let _ = rustix::fs::fchown(stream, uid, gid);
        }
    }
}

/// Pipes made by pipe(2) live on a file system of their own.
fn is_nameless(stream: std::os::fd::BorrowedFd<'_>) -> bool {
    /// `PIPEFS_MAGIC`, `linux/magic.h`.
    const PIPEFS: i64 = 0x5049_5045;
    rustix::fs::fstatfs(stream).is_ok_and(|s| i64::from(s.f_type) == PIPEFS)
}

fn c_string(text: &OsStr, what: &str) -> Result<CString, StartError> {
    CString::new(text.as_bytes())
        .map_err(|_| cannot(format!("use the {what}"), "it holds a zero byte".into()))
}
