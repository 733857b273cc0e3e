//! How well each control is held in a sandbox of gVisor's.

use palisade_boundary::{Assessment, BoundarySpec, Control, Enforcement, Weakness};
use palisade_protocol::TreeEntry;

use super::rootless;

/// One answer per control that the spec uses; `by_root` says whether root starts the sandbox.
pub(crate) fn assess(spec: &BoundarySpec, by_root: bool) -> Vec<Assessment> {
    let tmpfs = |entry: &TreeEntry| matches!(entry, TreeEntry::Tmpfs { .. });
    let answers = [
        (
            Control::Filesystem,
            "a read-only root of links and empty folders, and a mount for each thing the spec shows; files are opened by a process \
             outside (gofer) that sees no other",
            true,
        ),
        (
            Control::Access,
            "read-only and writable mounts, the workspace's by palisade itself with its owner's files shown as the agent's; with \
             `review` and `scratch` an overlay of the host's, in a mount namespace that ends with the sandbox",
            true,
        ),
        (
            Control::Tmpfs,
            "the sandbox's own file system in memory, with a size; no program runs on those without `exec` (noexec)",
            spec.tree.iter().any(tmpfs),
        ),
        (
            Control::Network,
            "a network stack of gVisor's that has loopback alone (--network=none); every socket in it that answers is the relay's",
            true,
        ),
        (
            Control::Capture,
            "a rule of gVisor's packet filter (nat REDIRECT) that leads every TCP port to the relay and so to the gate; where it has \
             none, the relay's listeners at the ports that the policy names, and others are refused",
            true,
        ),
        (
            Control::Dns,
            "the gate, by way of the relay, which takes whatever is asked at port 53 of any address; no query leaves",
            true,
        ),
        (
            Control::Identity,
            "the agent's process becomes its user and empties the bounding set on its way; the guest beside it is another user",
            true,
        ),
        (
            Control::SystemCalls,
            "gVisor, which answers system calls itself; and inside it the native filter, by the guest",
            true,
        ),
        (
            Control::Landlock,
            "gVisor's gofer, which has nothing but the session's mounts: gVisor itself knows no Landlock",
            true,
        ),
        (
            Control::Lifetime,
            "the guest is the first process and ends with its connection to palisade; the sandbox ends with it",
            true,
        ),
    ];
    let used = answers.into_iter().filter(|(.., used)| *used);
    let mut all: Vec<Assessment> = used
        .map(|(control, by, _)| Assessment::enforced(control, by))
        .collect();
    all.extend(limits(spec, by_root));
    all.extend(crate::assess::masks(spec));
    all
}

fn limits(spec: &BoundarySpec, by_root: bool) -> Vec<Assessment> {
    let count = if by_root {
        "gVisor counts no processes of a user; a control group holds the host's processes that the sandbox is made of, with room for \
         gVisor's own, and a session that goes past that is ended"
    } else {
        "gVisor counts no processes of a user; RLIMIT_NPROC of a user namespace of its own holds the host's processes that the sandbox \
         is made of, with room for gVisor's own, and a session that goes past that is ended"
    };
    let mut all = vec![Assessment {
        control: Control::Processes,
        enforcement: Enforcement::Weaker(Weakness {
            why: count.to_owned(),
            fix: None,
        }),
    }];
    if !by_root {
        all.extend(rootless::limits::assess(spec));
        return all;
    }
    let limits = &spec.limits;
    let groups = [
        (
            limits.memory.is_some(),
            Control::Memory,
            "a control group around the sandbox, without swap",
        ),
        (
            limits.cpus.is_some(),
            Control::Cpus,
            "a control group around the sandbox",
        ),
    ];
    let asked = groups.into_iter().filter(|(asked, ..)| *asked);
    all.extend(asked.map(|(_, control, by)| Assessment::enforced(control, by)));
    all
}
