//! Everything the child needs after `clone`, made before it.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use palisade_guest::Post;
use palisade_guest::agent::AgentPlan;
use palisade_guest::network::NetworkPlan;
use palisade_sys::process::StartArea;
use rustix::process::{Gid, Uid};

use crate::tree::TreePlan;

/// See the module.
pub(crate) struct ChildPlan {
    pub(crate) post: Post,
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
    /// Where the agent starts.
    pub(crate) directory: CString,
    pub(crate) agent: AgentPlan,
}

impl ChildPlan {
    /// The descriptors above 2 that the child uses, in ascending order.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let mut all = vec![self.post.control.0.as_raw_fd()];
        all.extend(self.post.terminal.as_ref().map(AsRawFd::as_raw_fd));
        all.extend(self.tree.descriptors().map(|fd| fd.as_fd().as_raw_fd()));
        all.sort_unstable();
        all
    }
}
