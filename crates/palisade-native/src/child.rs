//! Everything the child needs after `clone`, made before it.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use palisade_sys::clone::Stack;
use palisade_sys::exec::Program;
use palisade_sys::netlink::{nftables, route};
use palisade_sys::process::StartArea;
use palisade_sys::rlimit::Resource;
use palisade_sys::seccomp::Instruction;
use rustix::process::{Gid, Uid};
use rustix::thread::CpuSet;

use crate::egress::Outbox;
use crate::streams::StreamRights;
use crate::tree::TreePlan;

/// See the module.
pub(crate) struct ChildPlan {
    /// The child's end of the connection to the supervisor.
    pub(crate) control: OwnedFd,
    /// The terminal, where there is one.
    pub(crate) terminal: Option<OwnedFd>,
    /// Whether the agent gets the terminal at once.
    pub(crate) foreground: bool,
    /// Whether tree and network are made beside each other, by two processes, or one after the other.
    pub(crate) beside: bool,
    /// Where the supervisor's arguments and environment lie in the copied memory.
    pub(crate) start_area: StartArea,
    pub(crate) network: NetworkPlan,
    /// Whom to become; `None` when the caller's own identity is the one that is mapped.
    pub(crate) identity: Option<(Uid, Gid)>,
    pub(crate) hostname: CString,
    pub(crate) tree: TreePlan,
    pub(crate) agent: AgentPlan,
}

/// The network inside.
pub(crate) struct NetworkPlan {
    pub(crate) loopback: route::Setup,
    pub(crate) capture: nftables::Capture,
    pub(crate) proxy_port: u16,
    pub(crate) fallback_ports: Vec<u16>,
    /// Where the sockets are gathered until they are handed out.
    pub(crate) outbox: Outbox,
}

/// The agent's process.
pub(crate) struct AgentPlan {
    pub(crate) directory: CString,
    pub(crate) program: Program,
    pub(crate) rlimits: Vec<(Resource, u64)>,
    pub(crate) affinity: Option<CpuSet>,
    pub(crate) streams: StreamRights,
    /// Landlock's ABI, 0 for none.
    pub(crate) landlock: u32,
    pub(crate) filter: Vec<Instruction>,
    pub(crate) stack: Stack,
}

impl ChildPlan {
    /// The descriptors above 2 that the child uses, in ascending order.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let mut all = vec![self.control.as_raw_fd()];
        all.extend(self.terminal.as_ref().map(AsRawFd::as_raw_fd));
        all.extend(self.tree.descriptors().map(|fd| fd.as_fd().as_raw_fd()));
        all.sort_unstable();
        all
    }
}
