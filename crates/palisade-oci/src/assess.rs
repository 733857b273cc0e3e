//! How well each control is held in a container.

use palisade_boundary::{Assessment, BoundarySpec, Control, Enforcement, Weakness};
use palisade_protocol::TreeEntry;

use crate::backend::reach;
use crate::engine::Engine;
use crate::podman::{Groups, NO_GROUP};
use crate::settings::Settings;
use crate::tree::Reach;

/// One answer per control that the spec uses.
pub(crate) fn assess(spec: &BoundarySpec, settings: &Settings) -> Vec<Assessment> {
    let engine = settings.engine;
    let enforced = |control, by: &str| Assessment::enforced(control, by);
    let tmpfs = |entry: &TreeEntry| matches!(entry, TreeEntry::Tmpfs { .. });
    let answers = [
        (
            Control::Filesystem,
            match settings.image {
                None => {
                    "a read-only root of links and empty folders, and a mount for each thing the spec shows"
                }
                Some(_) => {
                    "the image as a read-only root, and a mount for each thing of the host that the spec shows"
                }
            },
            true,
        ),
        (
            Control::Tmpfs,
            "the size each is made with (tmpfs); no program runs on those without `exec` (noexec)",
            spec.tree.iter().any(tmpfs),
        ),
        (
            Control::Network,
            "a container without network (--network none); every socket in it that answers is the gate's",
            true,
        ),
        (
            Control::Capture,
            "a rule of the kernel's (nftables TPROXY) that leads every TCP port to the gate; where the kernel has none, the gate's \
             listeners at the ports that the policy names, and others are refused",
            true,
        ),
        (
            Control::Dns,
            "the gate, which answers whatever is asked at port 53 of any address; no query leaves",
            true,
        ),
        (
            Control::Identity,
            "the guest becomes the agent's user and empties the bounding set before the agent starts",
            true,
        ),
        (
            Control::SystemCalls,
            "the native filter, by the guest, over the same as the engine's profile",
            true,
        ),
        (
            Control::Processes,
            if engine.is_rootless() {
                "RLIMIT_NPROC, which is counted for each user namespace, and this one is the container's alone"
            } else {
                "the engine's control group"
            },
            true,
        ),
        (
            Control::Lifetime,
            "the guest is the first process and ends with its connection to palisade; the engine removes the container",
            true,
        ),
    ];
    let used = answers.into_iter().filter(|(.., used)| *used);
    let mut all: Vec<Assessment> = used.map(|(control, by, _)| enforced(control, by)).collect();
    all.push(access(engine));
    all.extend(limits(spec, Groups::of(engine)));
    all.push(landlock());
    all.extend(masks(spec));
    all
}

fn access(engine: Engine) -> Assessment {
    let by = if reach(engine) == Reach::Host {
        "mounts, the workspace's by palisade's own hand with its owner's files shown as the agent's; with `review` and `scratch` an \
         overlay whose changes are kept apart"
    } else {
        "read-only and writable mounts of the engine's; with `review` an overlay that it mounts, with `scratch` one by palisade's own \
         hand and in the container's memory alone, whose changes are kept apart"
    };
    Assessment::enforced(Control::Access, by)
}

fn limits(spec: &BoundarySpec, groups: Groups) -> Vec<Assessment> {
    let missing: Vec<Control> = groups.missing(&spec.limits).collect();
    let memory = (spec.limits.memory.is_some())
        .then_some((Control::Memory, "the engine's control group, without swap"));
    let cpus =
        (spec.limits.cpus.is_some()).then_some((Control::Cpus, "the engine's control group"));
    let asked = memory.into_iter().chain(cpus);
    let answer = |(control, by): (Control, &str)| {
        if !missing.contains(&control) {
            return Assessment::enforced(control, by);
        }
        let (why, fix) = NO_GROUP;
        Assessment {
            control,
            enforcement: Enforcement::Unenforceable(Weakness {
                why: why.to_owned(),
                fix: Some(fix.to_owned()),
            }),
        }
    };
    asked.map(answer).collect()
}

fn landlock() -> Assessment {
    if palisade_guest::agent::landlock_abi() > 0 {
        return Assessment::enforced(Control::Landlock, "Landlock, behind the tree, by the guest");
    }
    let why =
        "this kernel has no Landlock, or it is switched off; files are held by the tree alone";
    weaker(Control::Landlock, why)
}

/// As on every boundary that shows the host's own files (see the native one).
pub(crate) fn masks(spec: &BoundarySpec) -> Option<Assessment> {
    let masks = |entry: &TreeEntry| matches!(entry, TreeEntry::Mask { .. });
    let covered = spec.tree.iter().any(masks);
    let enforcement = match (spec.late_masks, covered) {
        (true, _) => Enforcement::WeakerEverywhere(
            "what is there at the start is covered by mounts; what appears on the host later is covered a moment after, so an \
             agent that waits for it may be quicker"
                .to_owned(),
        ),
        (false, true) => Enforcement::Enforced("mounts of something empty and read-only".to_owned()),
        (false, false) => return None,
    };
    Some(Assessment {
        control: Control::Masks,
        enforcement,
    })
}

fn weaker(control: Control, why: &str) -> Assessment {
    Assessment {
        control,
        enforcement: Enforcement::Weaker(Weakness {
            why: why.to_owned(),
            fix: None,
        }),
    }
}
