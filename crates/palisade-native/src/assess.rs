//! How well each control of a spec would be held here.
//!
//! What a session cannot do without (namespaces, the filter) is no matter of degree: where it is missing, starting
//! fails and says why. So only that is judged here which can be less than promised while a boundary stands.

use palisade_boundary::{Assessment, BoundarySpec, Enforcement};
use palisade_protocol::{Ownership, TreeEntry};
use palisade_sys::landlock;

use crate::limits::{Surroundings, judge};

/// One answer per control that the spec uses.
pub fn assess(spec: &BoundarySpec, here: &Surroundings) -> Vec<Assessment> {
    assess_with(spec, here, landlock::abi())
}

fn assess_with(spec: &BoundarySpec, here: &Surroundings, landlock_abi: u32) -> Vec<Assessment> {
    let enforced = |control, by: &str| Assessment {
        control,
        enforcement: Enforcement::Enforced(by.to_owned()),
    };
    let mut all = vec![
        enforced(
            "filesystem",
            "a root of its own, holding what the spec shows and nothing else",
        ),
        enforced(
            "network",
            "a network namespace with loopback only; every socket in it that answers is the gate's",
        ),
        enforced("identity", identity(spec)),
        enforced("system-calls", "a filter of allowed calls (seccomp)"),
        landlock_assessment(landlock_abi),
    ];
    all.extend(judge(&spec.limits, here));
    all.push(enforced(
        "lifetime",
        "a process namespace whose first process dies with palisade and takes all others with it",
    ));
    all
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
        0 => Enforcement::Unenforceable(
            "this kernel has no Landlock, or it is switched off; files are held by the tree alone"
                .to_owned(),
        ),
        abi => Enforcement::Enforced(format!("Landlock ABI {abi}, behind the tree")),
    };
    Assessment {
        control: "landlock",
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
            egress: EgressWanted {
                proxy_port: 3128,
                fallback_ports: Vec::new(),
            },
            foreground: false,
        }
    }

    fn controls(assessments: &[Assessment]) -> Vec<&str> {
        assessments.iter().map(|a| a.control).collect()
    }

    #[test]
    fn every_control_is_answered_once_and_in_a_fixed_order() {
        let all = Limits {
            memory: Some(1 << 30),
            cpus: Some(1.0),
            processes: Some(100),
        };
        let here = Surroundings::default();
        let expected = [
            "filesystem",
            "network",
            "identity",
            "system-calls",
            "landlock",
            "limits.memory",
            "limits.cpus",
            "limits.processes",
            "lifetime",
        ];
        assert_eq!(controls(&assess(&spec(all), &here)), expected);
        let without = assess(&spec(Limits::default()), &here);
        assert!(!controls(&without).contains(&"limits.memory"));
        assert!(controls(&without).contains(&"limits.processes"));
    }

    #[test]
    fn a_memory_limit_without_groups_is_weaker_and_says_why() {
        let limits = Limits {
            memory: Some(1 << 30),
            ..Limits::default()
        };
        let judged = assess(&spec(limits), &Surroundings::default());
        let memory = judged
            .iter()
            .find(|a| a.control == "limits.memory")
            .expect("memory");
        let Enforcement::Weaker(why) = &memory.enforcement else {
            panic!("{memory:?}");
        };
        assert!(why.contains("Delegate=yes"), "{why}");
    }

    #[test]
    fn landlock_is_said_to_be_missing_where_it_is() {
        let judge = |abi| {
            let all = assess_with(&spec(Limits::default()), &Surroundings::default(), abi);
            all.into_iter()
                .find(|a| a.control == "landlock")
                .expect("landlock")
                .enforcement
        };
        assert!(matches!(judge(0), Enforcement::Unenforceable(_)));
        assert!(matches!(judge(7), Enforcement::Enforced(_)));
    }
}
