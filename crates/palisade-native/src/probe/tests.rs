//! The probe agrees with the machine it runs on, and each lack it can name has a cause and a fix.

use palisade_boundary::CapabilityState::{Degraded, Missing, Present};
use rustix::thread::set_no_new_privs;

use super::*;
use crate::limits::GroupView;
use palisade_guest::filter;

fn state(probe: &Probe, name: &str) -> CapabilityState {
    let found = probe.capabilities.iter().find(|c| c.name == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {probe:?}"))
        .state
        .clone()
}

#[test]
fn names_are_unique_and_every_lack_has_a_fix() {
    let probe = probe();
    let mut names: Vec<_> = probe.capabilities.iter().map(|c| c.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    for capability in &probe.capabilities {
        if let Degraded { cause, fix } | Missing { cause, fix } = &capability.state {
            assert!(!cause.is_empty() && !fix.is_empty(), "{capability:?}");
        }
    }
}

/// Where a boundary can be made the probe says so; under a filter that refuses namespaces, as container engines attach,
/// it says that they are refused. The first half is the second's control.
#[test]
fn refused_namespaces_are_seen() {
    let free = probe();
    let refused = std::thread::spawn(|| {
        set_no_new_privs(true).expect("no_new_privs");
        let program = filter::compile(filter::Options::default());
        palisade_sys::seccomp::install(&program).expect("filter");
        probe()
    });
    let refused = refused.join().expect("thread");
    let Missing { cause, fix } = state(&refused, "user-namespaces") else {
        panic!("{refused:?}");
    };
    assert!(!refused.usable());
    assert!(
        cause.contains("refused") || cause.contains("AppArmor"),
        "{cause}"
    );
    assert!(
        fix.contains("container") || fix.contains("apparmor"),
        "{fix}"
    );
    let machine_allows = std::process::Command::new("unshare")
        .args(["--user", "--net", "--map-current-user", "true"])
        .status()
        .is_ok_and(|s| s.success());
    if machine_allows {
        assert!(
            matches!(state(&free, "user-namespaces"), Present(_)),
            "{free:?}"
        );
    }
}

#[test]
fn what_was_tried_is_told_in_words() {
    let fine = Attempt {
        loopback: Ok(()),
        ipv6: true,
        capture: Ok(()),
        memory_file_system: Ok(()),
        proc: Ok(()),
        overlay: Ok(()),
        terminals: Ok(()),
    };
    assert!(tried(&fine).iter().all(|c| matches!(c.state, Present(_))));

    let no_rights = Attempt {
        loopback: Err(Errno::PERM),
        ..fine
    };
    assert!(matches!(user_namespaces(&no_rights), Missing { .. }));
    let old = Attempt {
        memory_file_system: Err(Errno::NOSYS),
        ..fine
    };
    assert!(matches!(user_namespaces(&old), Missing { fix, .. } if fix == NEWER_KERNEL));
    let masked = proc_state(Err(Errno::PERM));
    assert!(matches!(masked, Missing { fix, .. } if fix.contains("systempaths=unconfined")));
    assert!(matches!(terminals(Err(Errno::NODEV)), Missing { .. }));
    let no_tproxy = capture(Err(Errno::NOENT));
    assert!(matches!(no_tproxy, Degraded { fix, .. } if fix.contains("nft_tproxy")));
    assert!(matches!(ipv6(false), Degraded { .. }));
    let no_overlay = overlays(Err(Errno::NODEV));
    assert!(matches!(no_overlay, Degraded { fix, .. } if fix.contains("modprobe overlay")));
    let no_attributes = overlays(Err(Errno::OPNOTSUPP));
    assert!(matches!(no_attributes, Degraded { fix, .. } if fix.contains("review")));
    assert!(matches!(landlock_state(0), Degraded { fix, .. } if fix.contains("lsm=")));
    assert!(matches!(landlock_state(7), Present(detail) if detail == "ABI 7"));
}

#[test]
fn limits_without_groups_are_a_lack_that_has_a_fix() {
    let bare = Surroundings {
        groups: GroupView::default(),
        ..Surroundings::default()
    };
    let Degraded { cause, fix } = limits_state(&bare) else {
        panic!("{:?}", limits_state(&bare));
    };
    assert!(
        cause.contains("limits.memory") && !cause.contains("limits.processes"),
        "{cause}"
    );
    assert!(fix.contains("Delegate=yes"), "{fix}");
}
