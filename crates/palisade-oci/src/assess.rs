//! How well each control is held in a container.

use palisade_boundary::{Assessment, BoundarySpec, Enforcement};

/// One answer per control that the spec uses.
pub(crate) fn assess(spec: &BoundarySpec) -> Vec<Assessment> {
    let enforced = |control, by: &str| Assessment {
        control,
        enforcement: Enforcement::Enforced(by.to_owned()),
    };
    let mut all = vec![
        enforced(
            "filesystem",
            "a read-only root of links and empty folders, and a mount for each thing the spec shows",
        ),
        enforced(
            "network",
            "a container without network (--network none); every socket in it that answers is the gate's",
        ),
        enforced(
            "identity",
            "the guest becomes the agent's user and empties the bounding set before the agent starts (CapBnd 0)",
        ),
        enforced(
            "system-calls",
            "the native filter, by the guest, over the same as the engine's profile",
        ),
    ];
    if palisade_guest::agent::landlock_abi() == 0 {
        let why =
            "this kernel has no Landlock, or it is switched off; files are held by the tree alone";
        all.push(Assessment {
            control: "landlock",
            enforcement: Enforcement::Unenforceable(why.to_owned()),
        });
    } else {
        all.push(enforced(
            "landlock",
            "Landlock, behind the tree, by the guest",
        ));
    }
    if spec.limits.memory.is_some() {
        all.push(enforced(
            "limits.memory",
            "the engine's control group, without swap",
        ));
    }
    if spec.limits.cpus.is_some() {
        all.push(enforced("limits.cpus", "the engine's control group"));
    }
    all.push(enforced("limits.processes", "the engine's control group"));
    all.push(enforced(
        "lifetime",
        "the guest is the first process and ends with its connection to palisade; the engine removes the container",
    ));
    all
}
