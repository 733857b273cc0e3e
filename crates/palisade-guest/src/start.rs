//! The guest of a container: its first process, from its start to the agent's end.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use palisade_protocol::{
    GUEST_GATE, GUEST_PLAN, GUEST_SOCKET, GuestPlan, HAND_APART_PLAN, HAND_PLAN, InitEvent,
    InitRequest, SWEEP_FOLDER, SWEEP_PLAN, SetupStep,
};
use palisade_sys::clone::Stack;
use palisade_sys::process::close_all_from;
use palisade_sys::{environment, signal};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, chownat, fstat, unlink};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Gid, Uid, chdir};
use rustix::termios::isatty;

use crate::agent::{self, AgentPlan, NotStarted, Writable, landlock_abi};
use crate::hand::Namespaces;
use crate::network::{self, NetworkPlan};
use crate::program::program;
use crate::relay::{self, Relay};
use crate::serve::{serve, set_window};
use crate::streams::{self, StreamRights};
use crate::{At, Connection, Fault, Post, filter, hand, rights};

/// Why nothing could even be reported: the session's folder is not what it should be.
#[derive(Debug)]
pub enum NoSession {
    /// The plan cannot be read.
    Plan(std::io::Error),
    /// It is not a plan of this version.
    Malformed,
    /// Nobody listens.
    Connect(Errno),
}

impl std::fmt::Display for NoSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plan(error) => write!(f, "read the session's plan: {error}"),
            Self::Malformed => f.write_str("the session's plan is of another version of palisade"),
            Self::Connect(errno) => write!(f, "connect to palisade: {errno}"),
        }
    }
}

impl std::error::Error for NoSession {}

/// The guest's whole life, told by the plan in this folder. Yields its exit status: the agent's own, where it ran.
///
/// # Errors
/// There is no session.
pub fn run(folder: &Path) -> Result<u8, NoSession> {
    let bytes = std::fs::read(folder.join(GUEST_PLAN)).map_err(NoSession::Plan)?;
    let call = || call(&folder.join(GUEST_SOCKET)).map_err(NoSession::Connect);
    if bytes == HAND_PLAN {
        return Ok(hand::program::run(&call()?, hand::May::Mask));
    }
    if bytes == HAND_APART_PLAN {
        return Ok(hand::program::run(&call()?, hand::May::Apart));
    }
    if bytes == SWEEP_PLAN {
        // What an overlay keeps below its working folder has this name (overlayfs.rst). No link is followed.
        let left = std::fs::remove_dir_all(folder.join(SWEEP_FOLDER).join("work"));
        return Ok(u8::from(left.is_err()));
    }
    let plan = GuestPlan::decode(&bytes).map_err(|_| NoSession::Malformed)?;
    let control = call()?;
    let post = Post {
        control: Connection(control),
        terminal: terminal(plan.relayed),
    };
    let outcome = build(&plan, &post, folder).and_then(|Built { mut agent, relay }| {
        let terminal = post.terminal.as_ref().filter(|_| plan.foreground);
        serve(&post, relay, || {
            let pid = agent::start(&mut agent, terminal)?;
            if plan.relayed {
                rights::stand_aside(aside(&plan)).map_err(NotStarted::Fault)?;
            }
            Ok(pid)
        })
    });
    Ok(match outcome {
        Ok(end) => status(end),
        Err(fault) => {
            post.control.report(fault);
            FAILED
        }
    })
}

/// What `palisade` itself says of its own failures.
const FAILED: u8 = 125;

fn status(end: Option<InitEvent>) -> u8 {
    let status = match end {
        Some(InitEvent::Exited { code }) => code,
        Some(InitEvent::Killed { signal }) => 128 + signal,
        Some(InitEvent::ExecFailed { errno }) if errno == Errno::NOENT.raw_os_error() => 127,
        Some(InitEvent::ExecFailed { .. }) => 126,
        _ => FAILED.into(),
    };
    u8::try_from(status).unwrap_or(FAILED)
}

fn call(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// The container's own terminal, where it has one.
fn terminal(relayed: bool) -> Option<OwnedFd> {
    if relayed && isatty(rustix::stdio::stdin()) {
        // gVisor has no `/dev/tty`, and gives its first process the caller's own for a controlling terminal.
        return fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).ok();
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(c"/dev/tty", flags, Mode::empty()).ok()
}

/// What is there before the agent is.
struct Built {
    agent: AgentPlan,
    relay: Option<Relay>,
}

/// Everything up to the agent's start, which waits for the supervisor's word.
fn build(plan: &GuestPlan, post: &Post, folder: &Path) -> Result<Built, Fault> {
    signal::block_all().at(SetupStep::Sync, 0)?;
    // Only a name in process listings.
    let _ = rustix::thread::set_name(c"palisade-init");
    close_strangers(post)?;
    if let Some(terminal) = &post.terminal {
        size(plan, terminal);
    }
    let mut agent = agent_plan(plan)?;
    if plan.relayed {
        let relay = prepare_relay(plan, &mut agent, folder)?;
        chdir(&plan.directory).at(SetupStep::Directory, 0)?;
        agent.streams = look_at_streams()?;
        post.control.tell(InitEvent::Ready);
        post.control.wait_for(InitRequest::Begin)?;
        let relay = Some(relay);
        return Ok(Built { agent, relay });
    }
    no_other_network()?;
    let mut network = NetworkPlan::new(plan.egress.clone());
    network::set_up(&mut network)?;
    // Later they are no longer shown.
    let namespaces = Namespaces::of("self").at(SetupStep::HandOver, 1)?;
    network
        .outbox
        .push_namespaces(namespaces)
        .at(SetupStep::HandOver, 2)?;
    if let Some(identity) = plan.identity {
        become_the_agent(plan, identity)?;
    }
    rights::close_own_memory()?;
    rights::give_up()?;
    agent.streams = look_at_streams()?;
    let control = post.control.0.as_fd();
    network
        .outbox
        .hand_out(control)
        .at(SetupStep::HandOver, 0)?;
    post.control.wait_for(InitRequest::Begin)?;
    // Until then more may have been laid over what is shown.
    chdir(&plan.directory).at(SetupStep::Directory, 0)?;
    Ok(Built { agent, relay: None })
}

/// The agent becomes itself on its way to its program; this process, which relays from then on, becomes somebody else.
fn prepare_relay(plan: &GuestPlan, agent: &mut AgentPlan, folder: &Path) -> Result<Relay, Fault> {
    let ways = relay::ways::open(&plan.egress)?;
    clear_away()?;
    if let Some((uid, gid)) = plan.identity {
        let identity = (Uid::from_raw(uid), Gid::from_raw(gid));
        own_folders(plan, identity)?;
        agent.identity = Some(identity);
    }
    Relay::new(ways, folder.join(GUEST_GATE)).at(SetupStep::HandOver, 1)
}

/// What gVisor puts there unasked: devices that nobody here has a use for, and a variable.
fn clear_away() -> Result<(), Fault> {
    environment::clear().at(SetupStep::Privileges, 7)?;
    for device in [c"/dev/fuse", c"/dev/net/tun"] {
        match unlink(device) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).at(SetupStep::Privileges, 8),
        }
    }
    Ok(())
}

/// Whom this process becomes: nobody (the overflow id of the kernel), unless that is the agent.
fn aside(plan: &GuestPlan) -> (Uid, Gid) {
    const NOBODY: u32 = 65_534;
    let agent = plan.identity.map(|(uid, _)| uid);
    let id = if agent == Some(NOBODY) {
        NOBODY - 1
    } else {
        NOBODY
    };
    (Uid::from_raw(id), Gid::from_raw(id))
}

/// Folders that the engine made on the way are given to the agent by its own user, which still has the capability then: root
/// without all of its rights would not come through what is the agent's alone.
fn become_the_agent(plan: &GuestPlan, (uid, gid): (u32, u32)) -> Result<(), Fault> {
    let identity = (Uid::from_raw(uid), Gid::from_raw(gid));
    rights::keep_for_now()?;
    rights::take_identity(Some(identity))?;
    own_folders(plan, identity)
}

fn own_folders(plan: &GuestPlan, (uid, gid): (Uid, Gid)) -> Result<(), Fault> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    for (index, path) in (10..).zip(&plan.owned) {
        chownat(CWD, path, Some(uid), Some(gid), flags).at(SetupStep::Identity, index)?;
    }
    Ok(())
}

/// The engine's client tells the size of the window some time after the start, and programs look at once.
fn size(plan: &GuestPlan, terminal: &OwnedFd) {
    if let Some((rows, columns)) = plan.window {
        set_window(terminal, rows, columns);
    }
}

/// What is set up here would lead all of the host's connections to the gate, and the agent out, where an engine or a wrapper gave
/// the container another network than one of its own. That is looked at outside as well, but only later.
fn no_other_network() -> Result<(), Fault> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/net/{name}"));
    let routes = read("route");
    let routes = routes.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO));
    let routes = routes.at(SetupStep::Network, OTHER_NETWORK)?;
    let mut by_v4 = routes
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').next());
    // Without IPv6 there is no such file.
    let routes = read("ipv6_route").unwrap_or_default();
    let mut by_v6 = routes
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    let is_other = |device: &str| device != "lo";
    if by_v4.any(is_other) || by_v6.any(is_other) {
        return Err(Errno::NOTUNIQ).at(SetupStep::Network, OTHER_NETWORK);
    }
    Ok(())
}

/// The index of [`SetupStep::Network`] that says that the container has another network than loopback.
pub const OTHER_NETWORK: u32 = 9;

/// An engine with a hole (CVE-2024-21626) may have left a descriptor of the host open.
fn close_strangers(post: &Post) -> Result<(), Fault> {
    use std::os::fd::AsRawFd;
    let mut kept = vec![post.control.0.as_raw_fd()];
    kept.extend(post.terminal.as_ref().map(AsRawFd::as_raw_fd));
    kept.sort_unstable();
    close_all_from(3, &kept).at(SetupStep::Sync, 0)
}

fn agent_plan(plan: &GuestPlan) -> Result<AgentPlan, Fault> {
    let unfit = Err(Errno::INVAL);
    let Ok(program) = program(&plan.argv, &plan.environment) else {
        return unfit.at(SetupStep::Spawn, 8);
    };
    let writable = plan.writable.iter().map(|(path, directory)| {
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        let directory = *directory;
        Some(Writable { path, directory })
    });
    let Some(writable) = writable.collect() else {
        return unfit.at(SetupStep::Spawn, 9);
    };
    Ok(AgentPlan {
        program,
        identity: None,
        rlimits: Vec::new(),
        affinity: None,
        streams: StreamRights::default(),
        writable,
        landlock: landlock_abi(),
        filter: filter::compile(filter::Options::default()),
        stack: Stack::new(),
    })
}

/// A directory among the streams would be a way out; the engine's own pipes and terminals are none.
fn look_at_streams() -> Result<StreamRights, Fault> {
    let mut found = StreamRights::default();
    for (stream, place) in streams::all().into_iter().zip(&mut found) {
        let Ok(stat) = fstat(stream) else {
            continue;
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Err(Errno::ISDIR).at(SetupStep::Spawn, 10),
            kind => *place = streams::rights_of(stream, kind),
        }
    }
    Ok(found)
}
