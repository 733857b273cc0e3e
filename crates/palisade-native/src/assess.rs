//! How well each control of a spec would be held here.
//!
//! What a session cannot do without (namespaces, the filter) is no matter of degree: where it is missing, starting
//! fails and says why. So only that is judged here which can be less than promised while a boundary stands.

use palisade_boundary::{Assessment, BoundarySpec, Control, Enforcement, StartError, Weakness};
use palisade_protocol::{Changes, Ownership, TreeAccess, TreeEntry};
use palisade_sys::landlock;

use crate::limits::{Surroundings, judge};
use crate::probe::{LANDLOCK_FIX, catches_every_port};

/// One answer per control that the spec uses.
pub fn assess(spec: &BoundarySpec, here: &Surroundings) -> Vec<Assessment> {
    assess_with(spec, here, landlock::abi(), None)
}

/// The same, once it was tried whether every port is caught here.
pub fn examine(spec: &BoundarySpec, here: &Surroundings) -> Vec<Assessment> {
    assess_with(spec, here, landlock::abi(), catches_every_port())
}

/// Refuses what would be held less well than the spec accepts, by the look that the start goes by.
pub(crate) fn refuse_weaker(spec: &BoundarySpec, here: &Surroundings) -> Result<(), StartError> {
    let mut judged = judge(&spec.limits, here);
    judged.push(landlock_assessment(landlock::abi()));
    let weaker = judged.iter().find_map(|answer| {
        let accepted = spec.accepted.contains(&answer.control);
        let weakness = answer.enforcement.weakness().filter(|_| !accepted)?;
        Some((answer.control, weakness))
    });
    match weaker {
        None => Ok(()),
        Some((control, weakness)) => Err(StartError {
            what: format!("hold {control} as its words say"),
            cause: weakness.why.clone(),
            fix: weakness.fix.clone(),
        }),
    }
}

fn assess_with(
    spec: &BoundarySpec,
    here: &Surroundings,
    landlock_abi: u32,
    every_port: Option<bool>,
) -> Vec<Assessment> {
    let enforced = |control, by: &str| Assessment::enforced(control, by);
    let mut all = vec![
        enforced(
            Control::Filesystem,
            "a root of its own, holding what the spec shows and nothing else",
        ),
        enforced(Control::Access, &access(&spec.tree)),
    ];
    all.extend(masks(spec));
    all.extend(file_systems_in_memory(&spec.tree));
    all.extend([
        enforced(
            Control::Network,
            "a network namespace with loopback only; every socket in it that answers is the gate's",
        ),
        enforced(
            Control::Capture,
            &capture(&spec.egress.fallback_ports, every_port),
        ),
        enforced(
            Control::Dns,
            "the gate, which answers whatever is asked at port 53 of any address; no query leaves",
        ),
        enforced(Control::Identity, identity(spec)),
        enforced(Control::SystemCalls, "a filter of allowed calls (seccomp)"),
        landlock_assessment(landlock_abi),
    ]);
    all.extend(judge(&spec.limits, here));
    all.push(enforced(
        Control::Lifetime,
        "a process namespace whose first process dies with palisade and takes all others with it",
    ));
    all
}

/// What holds each way in which something is shown.
fn access(tree: &[TreeEntry]) -> String {
    let mut by = vec!["read-only mounts of what is shown to be read"];
    let mut because = |there: fn(&TreeEntry) -> bool, words| {
        if tree.iter().any(there) {
            by.push(words);
        }
    };
    let writable = |entry: &TreeEntry| matches!(entry, TreeEntry::Bind { access, .. } if *access == TreeAccess::Write);
    because(writable, "writable mounts of what may be written at once");
    let kept = |entry: &TreeEntry| matches!(entry, TreeEntry::Overlay { changes, .. } if matches!(changes, Changes::Kept(_)));
    because(
        kept,
        "an overlay (overlayfs) whose changes are kept apart with the session",
    );
    let in_memory = |entry: &TreeEntry| matches!(entry, TreeEntry::Overlay { changes, .. } if matches!(changes, Changes::Memory { .. }));
    because(
        in_memory,
        "an overlay (overlayfs) whose changes live in memory",
    );
    by.join("; ")
}

/// The kernel tells of what appears only afterwards, and a mount can only be laid over what is there. No boundary that
/// shows the host's own files does better.
fn masks(spec: &BoundarySpec) -> Option<Assessment> {
    let covered = spec
        .tree
        .iter()
        .any(|entry| matches!(entry, TreeEntry::Mask { .. }));
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

fn file_systems_in_memory(tree: &[TreeEntry]) -> Option<Assessment> {
    let mut all = tree.iter().filter_map(|entry| match entry {
        TreeEntry::Tmpfs { exec, .. } => Some(*exec),
        _ => None,
    });
    let first = all.next()?;
    let by = if first || all.any(|exec| exec) {
        "the size each is made with (tmpfs); no program runs on those without `exec` (noexec)"
    } else {
        "the size each is made with (tmpfs); no program runs on them (noexec)"
    };
    Some(Assessment::enforced(Control::Tmpfs, by))
}

/// Whether the kernel can catch every port shows when it is tried, and a start tries it in any case.
fn capture(chosen: &[u16], every_port: Option<bool>) -> String {
    let every = "a rule of the kernel's (nftables TPROXY) that leads every TCP port to the gate";
    let chosen: Vec<String> = chosen.iter().map(u16::to_string).collect();
    let chosen = format!(
        "the gate's listeners at TCP ports {}, which are all that the policy names; nothing listens at others, so they are \
         refused without a line in the log",
        chosen.join(", ")
    );
    match every_port {
        Some(true) => every.to_owned(),
        Some(false) => chosen,
        None => format!("{every}; where the kernel has none, {chosen}"),
    }
}

fn identity(spec: &BoundarySpec) -> &'static str {
    let mapped = spec.tree.iter().any(|entry| {
        matches!(
            entry,
            TreeEntry::Bind {
                ownership: Ownership::Agent,
                ..
            }
        )
    });
    let own = rustix::process::geteuid().as_raw() == spec.identity.host_uid;
    match (own, mapped) {
        (true, _) => "a user namespace with one unprivileged user, without capabilities",
        (false, false) => {
            "a user namespace with one unprivileged user other than the caller, without capabilities"
        }
        (false, true) => {
            "a user namespace with one unprivileged user other than the caller, without capabilities; the workspace's \
             owner is mapped by the mount"
        }
    }
}

/// Landlock is a second wall behind the tree, so without it the promise about files stands; that of Landlock does
/// not, and that is said.
fn landlock_assessment(abi: u32) -> Assessment {
    let enforcement = match abi {
        0 => Enforcement::Unenforceable(Weakness {
            why: "this kernel has no Landlock, or it is switched off; files are held by the tree alone"
                .to_owned(),
            fix: Some(LANDLOCK_FIX.to_owned()),
        }),
        abi => Enforcement::Enforced(format!("Landlock ABI {abi}, behind the tree")),
    };
    Assessment {
        control: Control::Landlock,
        enforcement,
    }
}

#[cfg(test)]
mod tests {
    use palisade_boundary::{Command, Identity, Limits};
    use palisade_protocol::EgressWanted;

    use super::*;

    fn spec(limits: Limits) -> BoundarySpec {
        BoundarySpec {
            command: Command {
                argv: vec!["true".into()],
                environment: Vec::new(),
                directory: "/".into(),
            },
            identity: Identity {
                uid: 1000,
                gid: 1000,
                host_uid: 1000,
                host_gid: 1000,
            },
            hostname: "palisade".into(),
            tree: Vec::new(),
            late_masks: false,
            limits,
            accepted: Vec::new(),
            egress: EgressWanted {
                proxy_port: 3128,
                fallback_ports: Vec::new(),
            },
            foreground: false,
        }
    }

    fn controls(assessments: &[Assessment]) -> Vec<Control> {
        assessments.iter().map(|a| a.control).collect()
    }

    /// The words for one control.
    fn words(spec: &BoundarySpec, control: Control) -> String {
        let all = assess(spec, &Surroundings::default());
        let found = all.into_iter().find(|a| a.control == control);
        found.expect("an answer").enforcement.to_string()
    }

    fn shown(access: TreeAccess) -> TreeEntry {
        TreeEntry::Bind {
            source: "/work".into(),
            target: "/work".into(),
            access,
            ownership: Ownership::Agent,
        }
    }

    fn overlay(changes: Changes) -> TreeEntry {
        TreeEntry::Overlay {
            source: "/work".into(),
            target: "/work".into(),
            changes,
            ownership: Ownership::Agent,
        }
    }

    #[test]
    fn every_control_is_answered_once_and_in_a_fixed_order() {
        let all = Limits {
            memory: Some(1 << 30),
            cpus: Some(1.0),
            processes: Some(100),
        };
        let here = Surroundings::default();
        let mut everything = spec(all);
        everything.late_masks = true;
        everything.tree = vec![TreeEntry::Tmpfs {
            path: "/memory".into(),
            size: None,
            exec: false,
        }];
        let answered = controls(&assess(&everything, &here));
        let expected: Vec<Control> = Control::ALL
            .into_iter()
            .filter(|control| answered.contains(control))
            .collect();
        assert_eq!(answered, expected);
        for spec in [everything, spec(Limits::default())] {
            let answered = controls(&assess(&spec, &here));
            let missing: Vec<_> = spec
                .controls()
                .into_iter()
                .filter(|c| !answered.contains(c))
                .collect();
            assert_eq!(missing, []);
        }
        let without = controls(&assess(&spec(Limits::default()), &here));
        for unused in [Control::Memory, Control::Masks, Control::Tmpfs] {
            assert!(!without.contains(&unused), "{unused}");
        }
        assert!(without.contains(&Control::Processes));
    }

    #[test]
    fn what_is_written_is_said_to_be_held_by_what_holds_it() {
        let mut spec = spec(Limits::default());
        for (entry, by) in [
            (shown(TreeAccess::Write), "writable mounts"),
            (overlay(Changes::Kept("/state".into())), "kept apart"),
            (overlay(Changes::Memory { size: None }), "in memory"),
        ] {
            spec.tree = vec![shown(TreeAccess::Read)];
            assert!(!words(&spec, Control::Access).contains(by));
            spec.tree.push(entry);
            assert!(words(&spec, Control::Access).contains(by), "{by}");
        }
    }

    #[test]
    fn masks_are_whole_where_nothing_can_appear() {
        let mut spec = spec(Limits::default());
        spec.tree = vec![TreeEntry::Mask {
            path: "/work/.env".into(),
            directory: false,
        }];
        assert!(words(&spec, Control::Masks).starts_with("enforced by mounts"));
        spec.late_masks = true;
        assert!(words(&spec, Control::Masks).starts_with("weaker on every boundary: "));
    }

    #[test]
    fn which_ports_are_caught_is_said_as_far_as_it_is_known() {
        let say = |tried| capture(&[22, 443], tried);
        assert!(say(Some(true)).contains("every TCP port") && !say(Some(true)).contains("443"));
        assert!(say(Some(false)).contains("22, 443") && !say(Some(false)).contains("TPROXY"));
        assert!(say(None).contains("TPROXY") && say(None).contains("22, 443"));
    }

    #[test]
    fn a_memory_limit_without_groups_is_weaker_and_says_why_and_what_to_do() {
        let limits = Limits {
            memory: Some(1 << 30),
            ..Limits::default()
        };
        let judged = assess(&spec(limits), &Surroundings::default());
        let memory = judged
            .iter()
            .find(|a| a.control == Control::Memory)
            .expect("memory");
        let Enforcement::Weaker(Weakness {
            why,
            fix: Some(fix),
        }) = &memory.enforcement
        else {
            panic!("{memory:?}");
        };
        assert!(why.contains("RLIMIT_DATA"), "{why}");
        assert!(fix.contains("Delegate=yes"), "{fix}");
    }

    #[test]
    fn landlock_is_said_to_be_missing_where_it_is() {
        let judge = |abi| {
            let all = assess_with(
                &spec(Limits::default()),
                &Surroundings::default(),
                abi,
                None,
            );
            all.into_iter()
                .find(|a| a.control == Control::Landlock)
                .expect("landlock")
                .enforcement
        };
        assert!(matches!(judge(0), Enforcement::Unenforceable(_)));
        assert!(matches!(judge(7), Enforcement::Enforced(_)));
    }
}
